using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>How much a segment carries, and how much is gathered for one send.</summary>
internal sealed partial class TcpSock
{
    /// <summary>Segments of a super-packet at most; one that is signed is none. Linux: sk_gso_disable.</summary>
    private int GsoMaxSegments => Md5Keys is null ? 65535 : 1;

    /// <summary>Payload of a segment whose packet has <paramref name="mtu"/> bytes. Linux: tcp_mtu_to_mss.</summary>
    public int MssOfMtu(int mtu)
    {
        int mss = mtu - AfOps.HeaderLength - TcpHeader.MinLength;
        mss = Math.Min(mss, MssClamp);
        mss = Math.Max(mss, Tcp.Sysctls.TcpMinSndMss);
        return mss - (HeaderLength - TcpHeader.MinLength);
    }

    /// <summary>Adopts a path MTU. Linux: tcp_sync_mss.</summary>
    public int SyncMss(int pathMtu)
    {
        if (MtuSearch is { } search)
            search.High = Math.Min(search.High, pathMtu);
        int mss = Snd.BoundToHalfWindow(MssOfMtu(pathMtu), HeaderLength);
        PathMtu = pathMtu;
        if (MtuSearch is { Enabled: true } held)
            mss = Math.Min(mss, MssOfMtu(held.Low));
        MssCache = mss;
        return mss;
    }

    /// <summary>Payload that a segment may carry now, with the options it would have. Linux: tcp_current_mss.</summary>
    public int CurrentMss()
    {
        int mss = MssCache;
        if (Route is { IsObsolete: false } route && route.Mtu != PathMtu)
            mss = SyncMss(route.Mtu);
        return mss - ExtraOptionSize();
    }

    // The signature is not in the header length that the MSS cache allows for.
    private int SignatureSize => SigningKey is null ? 0 : TcpConstants.Md5OptionLength;

    // SACK blocks are not in the header length that the MSS cache allows for.
    private int SackOptionSize()
    {
        int blocks = SackBlocksToSend;
        return blocks == 0 ? 0 : TcpConstants.SackBaseLength + TcpConstants.SackPerBlock * blocks;
    }

    private int SackBlocksToSend
    {
        get
        {
            if (SackOut is not { } sack)
                return 0;
            int wanted = sack.Count + (sack.HasDuplicate ? 1 : 0);
            int room = TcpConstants.MaxOptionSpace - (HeaderLength - TcpHeader.MinLength) - SignatureSize - TcpConstants.SackBaseLength;
            return Math.Min(wanted, Math.Max(0, room / TcpConstants.SackPerBlock));
        }
    }

    /// <summary>Bytes that the send loop gathers in one buffer.</summary>
    public int SizeGoal(int mss, bool largeAllowed) =>
        largeAllowed ? TsoSizing.Goal(ref GsoSegments, mss, Snd.BoundToHalfWindow(TsoSizing.MaxBytes, HeaderLength), GsoMaxSegments) : mss;

    /// <summary>The MSS for a send, and the size of buffer it aims at. Linux: tcp_send_mss.</summary>
    public int SendMss(bool outOfBand, out int goal)
    {
        int mss = CurrentMss();
        goal = SizeGoal(mss, largeAllowed: !outOfBand);
        return mss;
    }

    /// <summary>Half of the largest window has been written since the last push. Linux: forced_push.</summary>
    public bool IsPushForced => Snd.Written > Snd.Pushed + (Snd.MaxWnd >> 1);

    /// <summary>Linux: tcp_mark_push.</summary>
    public void MarkPush(SkBuff skb)
    {
        skb.Tcp.Flags |= TcpFlags.Psh;
        Snd.Pushed = Snd.Written;
    }

    /// <summary>What has been written last is urgent. Linux: tcp_mark_urg.</summary>
    public void MarkUrgent()
    {
        AttachRare().UrgentSent = true;
        Snd.Up = Snd.Written;
    }

    /// <summary>
    /// Whether a small write had better wait for the packets that are still on this host: more may come. Linux: tcp_should_autocork.
    /// </summary>
    public bool ShouldAutocork(SkBuff skb, int goal) =>
        skb.Length < goal && Tcp.Sysctls.TcpAutocorking && !IsRtxEmpty && TransmitAllocated > skb.TrueSize
        && (skb.Tcp.Notes & BufferNotes.EndOfRecord) == 0;

    /// <summary>
    /// Memory for a copy of so many bytes; less, or none, under pressure. A connection with nothing queued gets its minimum.
    /// Linux: tcp_wmem_schedule.
    /// </summary>
    public int ScheduleCopy(Cpu cpu, int bytes)
    {
        if (ScheduleSend(cpu, bytes))
            return bytes;
        int left = Tcp.Sysctls.TcpWmem.Min - WriteQueued;
        if (left > 0)
            ForceSchedule(Math.Min(left, bytes));
        return Math.Min(bytes, ForwardAllocated);
    }

    /// <summary>Whether memory for one more buffer is to be had now.</summary>
    public bool MayGrow => !Proto.Memory.UnderPressure || WriteQueued < Tcp.Sysctls.TcpWmem.Min;

    /// <summary>A poller wants to be told of room.</summary>
    public void RequestWriteSpace()
    {
        Flags |= SockFlags.NoSpace;
        System.Threading.Thread.MemoryBarrier();
    }
}
