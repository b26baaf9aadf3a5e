using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Numbers that a peer must not be able to guess: initial sequence numbers, timestamp offsets, where the search for a port starts.</summary>
/// <remarks>RFC 6528, RFC 6056 §3.3.4, RFC 7323 §5.4. Linux: secure_seq.c.</remarks>
internal sealed class SecureSequence(SipKey sequenceKey, SipKey timestampKey, SipKey portKey, Host host)
{
    /// <summary>RFC 6528 §3: a keyed hash of the 4-tuple plus a clock of 64 ns. Linux: secure_tcp_seq.</summary>
    public SeqNumber InitialSequence(IpAddr local, ushort localPort, IpAddr remote, ushort remotePort)
    {
        uint hash = (uint)Hash(sequenceKey, local, remote, (ulong)localPort << 16 | remotePort);
        return new SeqNumber(hash + (uint)(host.Now.Value * 1000 >> 6));
    }

    /// <summary>The offset of a pair of hosts' timestamps. Linux: secure_tcp_ts_off.</summary>
    public uint TimestampOffset(IpAddr local, IpAddr remote) => (uint)Hash(timestampKey, local, remote, 0);

    /// <summary>Linux: secure_ipv4_port_ephemeral, secure_ipv6_port_ephemeral.</summary>
    public ulong PortOffset(IpAddr local, IpAddr remote, ushort remotePort) => Hash(portKey, local, remote, remotePort);

    private static ulong Hash(in SipKey key, IpAddr a, IpAddr b, ulong c) => SipHash.Hash24(key, a.High, a.Low, b.High, b.Low, c);
}
