using System.Threading;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>
/// Identifications for packets that may be fragmented: a counter for each group of destinations, found by a keyed hash and moved on
/// by a random step that grows with the time since its last use, so that nobody learns from it how much is sent to others.
/// </summary>
/// <remarks>RFC 6864, RFC 7739. Linux: ip_idents_reserve, __ip_select_ident.</remarks>
internal sealed class IpIdGenerator(SipKey key, Host host, SharedPrng random)
{
    private const int Slots = 2048;

    private readonly int[] _ids = new int[Slots];
    private readonly int[] _used = new int[Slots];

    public ushort Next(IpAddr source, IpAddr destination, byte protocol)
    {
        ulong hash = SipHash.Hash13(key, source.High ^ destination.High, source.Low, destination.Low, protocol, 0);
        int slot = (int)(hash & (Slots - 1));
        int now = (int)host.Now.Milliseconds;
        int before = Interlocked.Exchange(ref _used[slot], now);
        uint step = 1;
        if (now != before)
            step += random.Below((uint)(now - before));
        return (ushort)Interlocked.Add(ref _ids[slot], (int)step);
    }
}
