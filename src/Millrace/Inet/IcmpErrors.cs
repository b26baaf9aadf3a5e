using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>What an ICMP error means to a socket. Linux: icmp_err_convert, icmpv6_err_convert.</summary>
internal static class IcmpErrors
{
    public static bool IsPacketTooBig(in IcmpError error) => error.IsV6
        ? error.Type == (byte)Icmp6Type.PacketTooBig
        : error.Type == (byte)IcmpType.DestinationUnreachable && error.Code == (byte)IcmpUnreachable.FragmentationNeeded;

    /// <summary>Whether a request sock that has had this error is given up. Linux: the abort of tcp_v4_err, tcp_v6_err.</summary>
    public static bool EndsRequest(in IcmpError error)
    {
        if (error.IsV6)
            return ErrnoOf6(error, out bool fatal) != Errno.OK && fatal;
        return (IcmpType)error.Type switch
        {
            IcmpType.ParameterProblem or IcmpType.TimeExceeded => true,
            IcmpType.DestinationUnreachable => (IcmpUnreachable)error.Code is IcmpUnreachable.Network or IcmpUnreachable.Host,
            _ => false,
        };
    }

    /// <summary>Whether there is no way to the destination now, though there may be again. RFC 6069 §2.</summary>
    public static bool IsUnreachable(in IcmpError error) => error.IsV6
        ? error.Type == (byte)Icmp6Type.DestinationUnreachable && error.Code == 0
        : error.Type == (byte)IcmpType.DestinationUnreachable && (IcmpUnreachable)error.Code is IcmpUnreachable.Network or IcmpUnreachable.Host;

    /// <summary>The error to report; OK for none.</summary>
    public static Errno ErrnoOf(in IcmpError error)
    {
        if (error.IsV6)
            return ErrnoOf6(error, out _);
        return (IcmpType)error.Type switch
        {
            IcmpType.DestinationUnreachable => ErrnoOfUnreachable((IcmpUnreachable)error.Code),
            IcmpType.TimeExceeded => Errno.EHOSTUNREACH,
            IcmpType.ParameterProblem => Errno.EPROTO,
            _ => Errno.OK,
        };
    }

    private static Errno ErrnoOfUnreachable(IcmpUnreachable code) => code switch
    {
        IcmpUnreachable.Network => Errno.ENETUNREACH,
        IcmpUnreachable.Host => Errno.EHOSTUNREACH,
        IcmpUnreachable.Protocol => Errno.ENOPROTOOPT,
        IcmpUnreachable.Port => Errno.ECONNREFUSED,
        IcmpUnreachable.FragmentationNeeded => Errno.EMSGSIZE,
        IcmpUnreachable.SourceRouteFailed => Errno.EOPNOTSUPP,
        IcmpUnreachable.NetworkUnknown => Errno.ENETUNREACH,
        IcmpUnreachable.HostUnknown => Errno.EHOSTDOWN,
        IcmpUnreachable.HostIsolated => Errno.ENONET,
        IcmpUnreachable.NetworkProhibited => Errno.ENETUNREACH,
        IcmpUnreachable.HostProhibited => Errno.EHOSTUNREACH,
        IcmpUnreachable.NetworkTos => Errno.ENETUNREACH,
        IcmpUnreachable.HostTos => Errno.EHOSTUNREACH,
        IcmpUnreachable.PacketFiltered => Errno.EHOSTUNREACH,
        IcmpUnreachable.PrecedenceViolation => Errno.EHOSTUNREACH,
        IcmpUnreachable.PrecedenceCutoff => Errno.EHOSTUNREACH,
        _ => Errno.OK,
    };

    private static Errno ErrnoOf6(in IcmpError error, out bool fatal)
    {
        fatal = false;
        switch ((Icmp6Type)error.Type)
        {
            case Icmp6Type.DestinationUnreachable:
                fatal = error.Code is 1 or 4 or 5 or 6;
                return error.Code switch
                {
                    0 => Errno.ENETUNREACH,
                    1 => Errno.EACCES,
                    2 => Errno.EHOSTUNREACH,
                    3 => Errno.EHOSTUNREACH,
                    4 => Errno.ECONNREFUSED,
                    5 => Errno.EACCES,
                    6 => Errno.EACCES,
                    _ => Errno.EPROTO,
                };
            case Icmp6Type.TimeExceeded:
                return Errno.EHOSTUNREACH;
            case Icmp6Type.ParameterProblem:
                fatal = true;
                return Errno.EPROTO;
            default:
                return Errno.OK;
        }
    }
}
