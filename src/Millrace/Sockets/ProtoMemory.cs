using System.Threading;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Sockets;

/// <summary>
/// The memory that the buffers of all socks of one protocol may take, counted in pages of 4096 bytes: below the first limit nobody
/// asks, above the second the protocol is under pressure, above the third nothing more is granted.
/// </summary>
/// <remarks>Linux: tcp_mem, memory_allocated, memory_pressure.</remarks>
internal sealed class ProtoMemory
{
    public const int Quantum = 4096;
    private const int QuantumShift = 12;

    private long _allocated;
    private int _pressure;

    /// <summary>Limits in pages: low, pressure, high. Linux: sysctl_mem.</summary>
    public long[] Limits { get; set; } = [long.MaxValue / 4, long.MaxValue / 3, long.MaxValue / 2];

    /// <summary>Pages in use.</summary>
    public long Allocated => Volatile.Read(ref _allocated);

    public bool UnderPressure => Volatile.Read(ref _pressure) != 0;

    /// <summary>Pages that hold this many bytes. Linux: sk_mem_pages.</summary>
    public static int Pages(int bytes) => (bytes + Quantum - 1) >> QuantumShift;

    public static int Bytes(int pages) => pages << QuantumShift;

    public long Add(int pages) => Atomic.Add(ref _allocated, pages);

    public void Remove(int pages) => Atomic.Add(ref _allocated, -pages);

    public void EnterPressure(Cpu cpu)
    {
        if (Atomic.Exchange(ref _pressure, 1) == 0)
            cpu.Mib.Inc(Mib.TcpExtTCPMemoryPressures);
    }

    public void LeavePressure() => Volatile.Write(ref _pressure, 0);
}
