using System.Threading;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>
/// A station on a device's Ethernet: its two addresses, how much the second is to be believed, and the packets that wait for it. It is
/// the timer of its own state.
/// </summary>
/// <remarks>
/// Changed under the lock of its <see cref="NeighbourTable"/>; whoever sends reads state and address without it.
/// Linux: neighbour. RFC 4861 §5.1.
/// </remarks>
internal sealed class Neighbour(NeighbourTable table, NetDevice device, IpAddr address) : TimerNode
{
    /// <summary>States in which packets are sent without a question.</summary>
    public const NeighbourState Connected = NeighbourState.Reachable;

    /// <summary>States in which the address is known.</summary>
    public const NeighbourState Valid = NeighbourState.Reachable | NeighbourState.Stale | NeighbourState.Delay | NeighbourState.Probe;

    /// <summary>States that end by a timer.</summary>
    public const NeighbourState InTimer =
        NeighbourState.Incomplete | NeighbourState.Reachable | NeighbourState.Delay | NeighbourState.Probe;

    private int _state;
    private ulong _hardware;
    private long _confirmed;

    public NetDevice Device { get; } = device;

    public IpAddr Address { get; } = address;

    public NeighbourState State
    {
        get => (NeighbourState)Volatile.Read(ref _state);
        set => Volatile.Write(ref _state, (int)value);
    }

    public MacAddr Hardware
    {
        get => new(Volatile.Read(ref _hardware));
        set => Volatile.Write(ref _hardware, value.Value);
    }

    /// <summary>When it last gave a sign of life.</summary>
    public Micros Confirmed
    {
        get => new(Volatile.Read(ref _confirmed));
        set => Volatile.Write(ref _confirmed, value.Value);
    }

    /// <summary>When a packet last needed it to be asked about.</summary>
    public Micros Used;

    /// <summary>When state or address last changed; the table's order.</summary>
    public Micros Updated;

    /// <summary>Questions that have not been answered.</summary>
    public int Probes;

    /// <summary>Packets that wait for the address, and the memory that they are charged for.</summary>
    public readonly SkBuffHead Waiting = new();

    public int WaitingBytes;

    /// <summary>It is out of the table; who holds it must look it up again.</summary>
    public volatile bool IsDead;

    // The table's list, the one that was updated longest ago first.
    internal Neighbour? Older, Newer;

    internal override void Fire(Cpu cpu) => table.OnTimer(cpu, this);

    internal override void Describe(ref TraceEndpoints endpoints) =>
        (endpoints.RemoteHigh, endpoints.RemoteLow) = (Address.High, Address.Low);
}
