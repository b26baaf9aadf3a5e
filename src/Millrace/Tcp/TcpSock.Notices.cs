using System.Threading;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Sockets;

namespace Millrace.Tcp;

/// <summary>What a sender can have reported about its bytes: that their memory is free again, and when they went.</summary>
internal sealed partial class TcpSock
{
    /// <summary>Sends that one notice covers at most, and their bytes. Linux: USHRT_MAX, the byte limit of msg_zerocopy_realloc.</summary>
    private const int MaxNoticeSends = ushort.MaxValue - 1, MaxNoticeBytes = 512 * 1024;

    /// <summary>What a notice that is yet to come counts. Linux: SKB_TRUESIZE(0).</summary>
    private const int NoticeMemory = 576;

    public override bool SupportsZeroCopy => true;

    // ---- Zero-copy ----

    /// <summary>
    /// The notice of one more zero-copy send, with a reference for the caller; null: too many are outstanding. A send that goes on
    /// where the last one stopped shares its notice. Linux: msg_zerocopy_realloc.
    /// </summary>
    public ZeroCopySend? BeginZeroCopy(long size)
    {
        if (WriteQueue.Last?.ZeroCopy is ZeroCopySend last && last.Sends < MaxNoticeSends && last.Bytes + size <= MaxNoticeBytes
            && last.First + (uint)last.Sends == AttachRare().ZeroCopyKey)
        {
            last.Sends++;
            last.Bytes += size;
            AttachRare().ZeroCopyKey++;
            last.Hold();
            return last;
        }
        if (Interlocked.Add(ref AttachRare().NoticeMemory, NoticeMemory) > Tcp.Sysctls.OptmemMax)
        {
            Interlocked.Add(ref AttachRare().NoticeMemory, -NoticeMemory);
            return null;
        }
        Hold();
        return new ZeroCopySend(this, AttachRare().ZeroCopyKey++) { Bytes = size };
    }

    /// <summary>Nothing of the send was taken: its number is free again. Linux: msg_zerocopy_put_abort.</summary>
    public void AbortZeroCopy(Cpu cpu, ZeroCopySend notice)
    {
        AttachRare().ZeroCopyKey--;
        notice.Sends--;
        notice.Release(cpu);
    }

    // Linux: __msg_zerocopy_callback.
    private void OnZeroCopyDone(Cpu cpu, ZeroCopySend send)
    {
        Interlocked.Add(ref AttachRare().NoticeMemory, -NoticeMemory);
        if (send.Sends > 0 && !Has(SockFlags.Dead))
        {
            const byte copied = 1;
            byte code = send.Copied ? copied : (byte)0;
            uint last = send.First + (uint)send.Sends - 1;
            if (ErrorQueue?.TryExtendLast(send.First, last, code) == true)
                ErrorReport(cpu);
            else
                AddNotice(cpu, new ErrorNotice { Origin = ErrorOrigin.ZeroCopy, Code = code, Info = send.First, Data = last });
        }
        Put(cpu);
    }

    /// <summary>One or several sends in a row whose memory is the caller's until this is done. Linux: ubuf_info_msgzc.</summary>
    internal sealed class ZeroCopySend(TcpSock sk, uint first) : ZeroCopyNotice
    {
        public uint First => first;

        /// <summary>How many sends; 0: the one that began it took nothing.</summary>
        public int Sends = 1;

        public long Bytes;

        protected override void OnCompleted(BufferCache cache) => sk.OnZeroCopyDone((Cpu)cache, this);
    }

    // ---- Timestamps ----

    // Linux: sock_set_timestamping.
    public override Errno SetTimestamping(Cpu cpu, uint flags)
    {
        if ((flags & ~TimestampFlags.All) != 0)
            return Errno.EINVAL;
        if ((flags & (TimestampFlags.Id | TimestampFlags.IdFromWritten)) == TimestampFlags.IdFromWritten)
            return Errno.EINVAL;
        if ((flags & TimestampFlags.Id) != 0 && (Timestamping & TimestampFlags.Id) == 0)
        {
            if (State is TcpState.Close or TcpState.Listen)
                return Errno.EINVAL;
            TimestampBase = ((flags & TimestampFlags.IdFromWritten) != 0 ? Snd.Written : Snd.Una).Value;
        }
        if ((flags & (TimestampFlags.Stats | TimestampFlags.TimeOnly)) == TimestampFlags.Stats)
            return Errno.EINVAL;
        // No device here has a clock of its own. Linux: sock_timestamping_bind_phc.
        if ((flags & TimestampFlags.BindPhc) != 0)
            return BoundIfIndex == 0 ? Errno.EOPNOTSUPP : Errno.EINVAL;
        Timestamping = flags;
        DemandStamps(SockFlags.DemandsSoftwareStamps, (flags & TimestampFlags.ReceiveSoftware) != 0);
        return Errno.OK;
    }

    protected override byte[] TransmitStatsOf(Cpu cpu, SkBuff skb) => TransmitStats.Write(cpu, this, skb);

    /// <summary>The last byte that was written is the one whose times are wanted. Linux: tcp_tx_timestamp.</summary>
    public void RequestStamps(uint flags)
    {
        // A full buffer leaves while the write that filled it waits for room: then the byte is on its way already.
        if ((flags & TimestampFlags.Transmit) == 0 || (WriteQueue.Last ?? Recovery?.Queue.Last) is not { } skb)
            return;
        if ((flags & TimestampFlags.Queued) != 0)
            skb.Stamps |= TransmitStamps.Queued;
        if ((flags & TimestampFlags.Sent) != 0)
            skb.Stamps |= TransmitStamps.Sent;
        if ((flags & TimestampFlags.Acked) != 0)
            skb.Stamps |= TransmitStamps.Acked;
        skb.StampKey = (skb.Tcp.Seq + skb.Length - 1).Value;
    }
}
