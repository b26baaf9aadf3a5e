using Millrace.Sched;

namespace Millrace.Sockets;

/// <summary>Options and state that most socks never have. Attached when one of them is first set.</summary>
internal sealed class RareSockState
{
    public Micros ReceiveTimeout = Micros.Never, SendTimeout = Micros.Never, LingerTime;
    public ulong MaxPacingRate = ulong.MaxValue;
    public long Cookie;
    public ErrorQueue? ErrorQueue;
    public int PeekOffset = -1, MaxAcceptBacklog;
    public (ushort Low, ushort High) PortRange;
    public uint Timestamping, TimestampBase;
}
