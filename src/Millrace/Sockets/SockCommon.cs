using System.Diagnostics;
using System.Threading;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Sockets;

/// <summary>
/// What everything in the established table has, full sock or not: the 4-tuple, the state, the hash link, and a reference count that
/// a look-up takes. Small, because there can be millions.
/// </summary>
/// <remarks>
/// Linux: sock_common. A pooled sock is reused only when its count is zero; it publishes its key before the count becomes non-zero, so
/// a reader that got a reference and finds the key right has the right sock.
/// </remarks>
internal abstract class SockCommon : TimerNode
{
    private int _references;
    private byte _state = (byte)TcpState.Close;

    /// <summary>The local address that packets must be sent to; any if bound to none. Linux: skc_rcv_saddr, skc_v6_rcv_saddr.</summary>
    public IpAddr LocalAddr;

    /// <summary>Linux: skc_daddr.</summary>
    public IpAddr RemoteAddr;

    /// <summary>Linux: skc_num.</summary>
    public ushort LocalPort;

    /// <summary>Linux: skc_dport, in host order.</summary>
    public ushort RemotePort;

    /// <summary>The interface that it is bound to; 0 for all. Linux: skc_bound_dev_if.</summary>
    public int BoundIfIndex;

    /// <summary>The established table's entry; −1 while not in it.</summary>
    internal int HashEntry = -1;

    /// <summary>What routing and filters of the user's may go by. Linux: sk_mark, tw_mark.</summary>
    public uint Mark;

    /// <summary>A connection's own offset of its timestamps, milliseconds. Linux: tsoffset, ts_off, tw_ts_offset.</summary>
    public uint TsOffset;

    /// <summary>DSCP and ECN of IPv4's packets.</summary>
    public byte Tos;

    /// <summary>AF_INET or AF_INET6: what the user asked for; a mapped IPv6 sock speaks IPv4. Linux: skc_family.</summary>
    public byte Family;

    /// <summary>Read without a lock by look-ups.</summary>
    public TcpState State => (TcpState)Volatile.Read(ref _state);

    /// <summary>Linux: sk_state_store.</summary>
    protected void StoreState(TcpState state) => Volatile.Write(ref _state, (byte)state);

    /// <summary>Whether the packets are IPv4, whatever the family.</summary>
    public bool SpeaksV4 => RemoteAddr.IsV4;

    public int References => Volatile.Read(ref _references);

    /// <summary>Takes a reference beside one that the caller knows of. Linux: sock_hold.</summary>
    public void Hold()
    {
        int now = Atomic.Increment(ref _references);
        Debug.Assert(now > 1, "only a live sock can be held");
    }

    /// <summary>Takes a reference unless the last one is gone. Linux: refcount_inc_not_zero.</summary>
    public bool TryHold()
    {
        int seen = Volatile.Read(ref _references);
        while (seen > 0)
        {
            int was = Atomic.CompareExchange(ref _references, seen + 1, seen);
            if (was == seen)
                return true;
            seen = was;
        }
        return false;
    }

    /// <summary>Gives a reference back; the last one frees. Linux: sock_put, sock_gen_put.</summary>
    public void Put(Cpu cpu)
    {
        int now = Atomic.Decrement(ref _references);
        Debug.Assert(now >= 0, "references are given back as often as taken");
        if (now == 0)
            OnLastPut(cpu);
    }

    /// <summary>Makes the sock visible: its key stands, and the count becomes what its creator hands out.</summary>
    internal void Publish(int references) => Volatile.Write(ref _references, references);

    protected abstract void OnLastPut(Cpu cpu);

    /// <summary>Arms the sock's timer; an armed timer owns a reference. Linux: sk_reset_timer.</summary>
    protected void ArmNode(Cpu cpu, TimerService timers, Micros at)
    {
        // Held before it is armed: it may fire, and give its reference back, before Arm returns.
        Hold();
        if (timers.Arm(cpu, this, at))
            Put(cpu);
    }

    /// <summary>Disarms the sock's timer, and gives its reference back. Linux: sk_stop_timer.</summary>
    protected void DisarmNode(Cpu cpu, TimerService timers)
    {
        if (IsQueued && timers.Cancel(cpu, this))
            Put(cpu);
    }

    internal override void Describe(ref TraceEndpoints endpoints)
    {
        endpoints.Known = true;
        endpoints.LocalHigh = LocalAddr.High;
        endpoints.LocalLow = LocalAddr.Low;
        endpoints.LocalPort = LocalPort;
        endpoints.RemoteHigh = RemoteAddr.High;
        endpoints.RemoteLow = RemoteAddr.Low;
        endpoints.RemotePort = RemotePort;
    }

    internal override void OnBufferGone(SkBuff skb, ChargeKind charge, BufferCache cache)
    {
        if (charge == ChargeKind.Reference)
            Put((Cpu)cache);
    }
}
