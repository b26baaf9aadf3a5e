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

    /// <summary>The error to report, OK for none, and whether the destination cannot be reached at all.</summary>
    public static Errno ErrnoOf(in IcmpError error, out bool fatal)
    {
        fatal = false;
        if (error.IsV6)
            return ErrnoOf6(error, out fatal);
        switch ((IcmpType)error.Type)
        {
            case IcmpType.DestinationUnreachable:
                return ErrnoOfUnreachable((IcmpUnreachable)error.Code, out fatal);
            case IcmpType.TimeExceeded:
                return Errno.EHOSTUNREACH;
            case IcmpType.ParameterProblem:
                return Errno.EPROTO;
            case IcmpType.EchoReply or IcmpType.SourceQuench or IcmpType.Redirect or IcmpType.EchoRequest:
                return Errno.OK;
            default:
                return Errno.OK;
        }
    }

    private static Errno ErrnoOfUnreachable(IcmpUnreachable code, out bool fatal)
    {
        fatal = code is IcmpUnreachable.Protocol or IcmpUnreachable.Port or IcmpUnreachable.NetworkUnknown or IcmpUnreachable.HostUnknown
            or IcmpUnreachable.HostIsolated or IcmpUnreachable.NetworkProhibited or IcmpUnreachable.HostProhibited
            or IcmpUnreachable.PacketFiltered or IcmpUnreachable.PrecedenceViolation or IcmpUnreachable.PrecedenceCutoff;
        return code switch
        {
            IcmpUnreachable.Network => Errno.ENETUNREACH,
            IcmpUnreachable.Host => Errno.EHOSTUNREACH,
            IcmpUnreachable.Protocol => Errno.ENOPROTOOPT,
            IcmpUnreachable.Port => Errno.ECONNREFUSED,
            IcmpUnreachable.FragmentationNeeded => Errno.EMSGSIZE,
            IcmpUnreachable.SourceRouteFailed => Errno.EOPNOTSUPP,
            IcmpUnreachable.NetworkUnknown => Errno.ENETUNREACH,
            IcmpUnreachable.HostUnknown => Errno.EHOSTDOWN,
            IcmpUnreachable.HostIsolated => Errno.ENETUNREACH,
            IcmpUnreachable.NetworkProhibited => Errno.ENETUNREACH,
            IcmpUnreachable.HostProhibited => Errno.EHOSTUNREACH,
            IcmpUnreachable.NetworkTos => Errno.ENETUNREACH,
            IcmpUnreachable.HostTos => Errno.EHOSTUNREACH,
            IcmpUnreachable.PacketFiltered => Errno.EHOSTUNREACH,
            IcmpUnreachable.PrecedenceViolation => Errno.EHOSTUNREACH,
            IcmpUnreachable.PrecedenceCutoff => Errno.EHOSTUNREACH,
            _ => Errno.EHOSTUNREACH,
        };
    }

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
