using System.Threading;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Devices;

/// <summary>A protocol above the devices. Linux: packet_type.</summary>
internal abstract class PacketType
{
    /// <summary>Takes a packet over. Softirq; <see cref="SkBuff.Data"/> is at the network header.</summary>
    public abstract void Receive(Cpu cpu, SkBuff skb);
}

/// <summary>The NET_RX softirq: polls what is scheduled, within a budget, and hands packets to their protocol.</summary>
/// <remarks>Linux: net_rx_action, softnet_data, ptype_base.</remarks>
internal sealed class NetRx : SoftirqAction
{
    private readonly PollList[] _lists;
    private readonly Gro[] _gro;
    private Napi? _remote;

    public NetRx(int cpus, ReceiveLimits? limits = null)
    {
        Limits = limits ?? new ReceiveLimits();
        _lists = new PollList[cpus];
        _gro = new Gro[cpus];
        for (int i = 0; i < cpus; i++)
        {
            _lists[i] = new PollList();
            _gro[i] = new Gro(this);
        }
    }

    public ReceiveLimits Limits { get; }

    public ReceiveStamps Stamps { get; } = new();

    /// <summary>Set when the stack is built; null drops the family.</summary>
    public PacketType? Ipv4 { get; set; }

    public PacketType? Ipv6 { get; set; }

    public PacketType? Arp { get; set; }

    /// <summary>Puts a poll whose SCHED bit the caller has set on this CPU's list. Linux: __napi_schedule.</summary>
    public void Schedule(Cpu cpu, Napi napi)
    {
        cpu.Trace(Tp.__napi_schedule);
        _lists[cpu.Index].Add(napi);
        cpu.Raise(Softirq.NetRx);
    }

    /// <summary>
    /// As <see cref="Schedule"/>, by a thread that got none of the stack's CPUs: a holder of one takes the interrupt.
    /// Linux: net_rps_send_ipi.
    /// </summary>
    public void ScheduleRemote(CpuSet cpus, Napi napi)
    {
        do
            napi.NextPoll = Volatile.Read(ref _remote);
        while (Interlocked.CompareExchange(ref _remote, napi, napi.NextPoll) != napi.NextPoll);
        cpus.RaiseOnHolder(Softirq.NetRx);
    }

    private void TakeRemote(Cpu cpu)
    {
        for (Napi? napi = Interlocked.Exchange(ref _remote, null); napi is not null;)
        {
            Napi now = napi;
            napi = now.NextPoll;
            cpu.Interrupt(now);
        }
    }

    public override void Run(Cpu cpu)
    {
        cpu.Trace(Tp.net_rx_action);
        if (_remote is not null)
            TakeRemote(cpu);
        PollList list = _lists[cpu.Index];
        int budget = Limits.Budget, weight = Limits.Weight;
        Micros end = cpu.Now + new Micros(Limits.BudgetUsecs);
        PollList again = list.Spare;
        Gro gro = _gro[cpu.Index];
        gro.IsOpen = true;
        while (list.Take() is { } napi)
        {
            cpu.Mib.Inc(Mib.MillraceNapiPolls);
            int work = napi.TracedPoll(cpu, weight);
            budget -= work;
            if (work >= weight || !napi.TryComplete(cpu, work))
                again.Add(napi);
            if (list.IsEmpty)
                break;
            cpu.RefreshClock();
            if (budget <= 0 || cpu.Now >= end)
                break;
        }
        gro.Flush(cpu);
        gro.IsOpen = false;
        while (again.Take() is { } napi)
            list.Add(napi);
        if (!list.IsEmpty)
            cpu.Raise(Softirq.NetRx);
    }

    /// <summary>
    /// Receives a packet that may be merged with those that follow it in this round of polls. Outside of one, nothing would follow.
    /// Linux: napi_gro_receive.
    /// </summary>
    public void ReceiveMerging(Cpu cpu, SkBuff skb)
    {
        Gro gro = _gro[cpu.Index];
        if (gro.IsOpen)
            gro.Receive(cpu, skb);
        else
            Receive(cpu, skb);
    }

    /// <summary>Linux: netif_receive_skb, __netif_receive_skb_core.</summary>
    public void Receive(Cpu cpu, SkBuff skb)
    {
        cpu.Trace(Tp.__netif_receive_skb_core, skb.IfIndex);
        skb.NetworkOffset = skb.Headroom;
        Stamps.Stamp(cpu, skb);
        cpu.TracePacket(Tp.netif_receive_skb, skb, skb.IfIndex, skb.Length);
        PacketType? handler = skb.Protocol switch
        {
            EtherType.Ipv4 => Ipv4,
            EtherType.Ipv6 => Ipv6,
            EtherType.Arp => Arp,
            EtherType.None => null,
        };
        if (handler is null)
            Drops.Free(cpu, skb, DropReason.UnhandledProto);
        else
            handler.Receive(cpu, skb);
    }

    private sealed class PollList
    {
        private Napi? _first, _last;
        private PollList? _spare;

        public bool IsEmpty => _first is null;

        public PollList Spare => _spare ??= new PollList();

        public void Add(Napi napi)
        {
            napi.NextPoll = null;
            if (_last is null)
                _first = napi;
            else
                _last.NextPoll = napi;
            _last = napi;
        }

        public Napi? Take()
        {
            Napi? napi = _first;
            if (napi is null)
                return null;
            _first = napi.NextPoll;
            if (_first is null)
                _last = null;
            return napi;
        }
    }
}
