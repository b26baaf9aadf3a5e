using System;
using System.Buffers;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>
/// Making received buffers smaller without losing a byte of them: payload is copied together, and the memory around it goes. For the case
/// that the receive buffer is full.
/// </summary>
/// <remarks>Linux: tcp_collapse. Each step returns by how many bytes the memory that is charged for the queue shrinks.</remarks>
internal static class Compaction
{
    /// <summary>A buffer of few bytes in large pages: its bytes move, and the pages go.</summary>
    public static int Compact(Cpu cpu, SkBuff skb)
    {
        int waste = skb.TrueSize - SkBuff.OverheadTrueSize - skb.Length;
        if (waste <= 0 || (skb.Tcp.Flags & (TcpFlags.Fin | TcpFlags.Syn)) != 0)
            return 0;
        cpu.Compact(skb);
        skb.TrueSize -= waste;
        return waste;
    }

    /// <summary>Whether the next buffer's overhead is worth a copy of its bytes: more than half of them.</summary>
    public static bool ShouldMerge(SkBuff skb, SkBuff next) =>
        skb.Tcp.EndSeq == next.Tcp.Seq && ((skb.Tcp.Flags | next.Tcp.Flags) & (TcpFlags.Fin | TcpFlags.Syn)) == 0
        && next.TrueSize > next.Length + (next.Length >> 1) && skb.FragmentCount < SkBuff.MaxFragments - 1;

    /// <summary>Copies the bytes of the next buffer, which is in no queue any more, behind those of the one before, and frees it.</summary>
    public static int Merge(Cpu cpu, SkBuff to, SkBuff from)
    {
        int length = from.Length, freed = from.TrueSize;
        byte[] bytes = ArrayPool<byte>.Shared.Rent(length);
        from.CopyTo(0, bytes.AsSpan(0, length));
        cpu.AppendCopy(to, bytes.AsSpan(0, length));
        ArrayPool<byte>.Shared.Return(bytes);
        to.TrueSize += length;
        to.Tcp.EndSeq = from.Tcp.EndSeq;
        to.Tcp.Flags |= from.Tcp.Flags;
        cpu.FreeSkb(from);
        return freed - length;
    }
}
