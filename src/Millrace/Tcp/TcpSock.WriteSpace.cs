using System;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;

namespace Millrace.Tcp;

/// <summary>What an ACK makes possible: more is sent, and writers find room.</summary>
internal sealed partial class TcpSock
{
    /// <summary>Sends what the ACK has made possible. Linux: tcp_data_snd_check.</summary>
    public void CheckSendData(Cpu cpu)
    {
        PushPendingFrames(cpu);
        CheckSpace(cpu);
    }

    /// <summary>Wakes writers if a third of the buffer is free. Linux: tcp_check_space, tcp_new_space.</summary>
    public void CheckSpace(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_check_space, this);
        if (!Has(SockFlags.NoSpace))
            return;
        if (MayExpandSendBuffer())
        {
            ExpandSendBuffer();
            Cc.Stamp = cpu.Now;
        }
        WriteSpace(cpu);
        if (!Has(SockFlags.NoSpace))
            Transfer?.Chrono.Stop(ChronoType.SendBuffer, cpu.Now, NothingQueued);
    }

    /// <summary>Linux: sk_stream_write_space.</summary>
    public override void WriteSpace(Cpu cpu)
    {
        if (!IsWriteable || Socket is null)
            return;
        Flags &= ~SockFlags.NoSpace;
        WakeWriters(cpu);
    }

    /// <summary>Whether a third of the send buffer is free. Linux: __sk_stream_is_writeable.</summary>
    public bool IsWriteable => SendBuffer - WriteQueued >= WriteQueued >> 1 && IsBelowNotSentMark(1);

    /// <summary>Linux: sk_stream_memory_free.</summary>
    public bool HasSendRoom => WriteQueued < SendBuffer && IsBelowNotSentMark(0);

    // Linux: tcp_stream_memory_free.
    private bool IsBelowNotSentMark(int shift)
    {
        uint mark = NotsentLowat != 0 ? NotsentLowat : Tcp.Sysctls.TcpNotsentLowat;
        return (ulong)NotSentBytes << shift < mark;
    }

    // Linux: tcp_should_expand_sndbuf.
    private bool MayExpandSendBuffer()
    {
        if (Has(SockFlags.SendBufLocked) || Proto.Memory.UnderPressure || Proto.Memory.Allocated >= Proto.Memory.Limits[0])
            return false;
        return PacketsInFlight < Cc.Cwnd;
    }

    /// <summary>Two windows' worth of segments, as cubic needs it. Linux: tcp_sndbuf_expand.</summary>
    public void ExpandSendBuffer()
    {
        int segment = Math.Max(Math.Max(MssClamp, MssCache), 0) + 320 + 320;
        int perMss = (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)segment) + 256;
        uint segments = Math.Max(Math.Max(TcpConstants.InitialCwnd, Cc.Cwnd), (uint)Reorder.Degree + 1);
        uint expand = Congestion?.SendBufferExpansion(this) is > 0 and var asked ? asked : 2;
        long wanted = (long)perMss * segments * expand;
        if (SendBuffer < wanted)
            SendBuffer = (int)Math.Min(wanted, Tcp.Sysctls.TcpWmem.Max);
    }
}
