using System;
using Millrace.Buffers;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Output: what may be sent, in what pieces, and the making of segments.</summary>
internal sealed partial class TcpSock
{
    /// <summary>Bytes of a super-packet at most. Linux: sk_gso_max_size.</summary>
    private const int GsoMaxSize = SkBuff.MaxGsoSize - 320 - 1;

    /// <summary>Segments of a super-packet at most; one that is signed is none. Linux: sk_gso_disable.</summary>
    private int GsoMaxSegments => Md5Keys is null ? 65535 : 1;

    /// <summary>Linux: sk_pacing_shift: super-packets hold about a millisecond of the pacing rate.</summary>
    private const int PacingShift = 10;

    // ---- MSS ----

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
        int mss = BoundToHalfWindow(MssOfMtu(pathMtu));
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

    // No segment is larger than half of the largest window that the peer ever offered, so that two fit. Linux: tcp_bound_to_half_wnd.
    private int BoundToHalfWindow(int size)
    {
        uint cutoff = Snd.MaxWnd > TcpConstants.DefaultMss ? Snd.MaxWnd >> 1 : Snd.MaxWnd;
        return cutoff != 0 && size > cutoff ? Math.Max((int)cutoff, 68 - HeaderLength) : size;
    }

    /// <summary>Bytes that the send loop gathers in one buffer. Linux: tcp_xmit_size_goal.</summary>
    public int SizeGoal(int mss, bool largeAllowed)
    {
        if (!largeAllowed)
            return mss;
        int goal = BoundToHalfWindow(GsoMaxSize);
        // Whole segments, and the same number as long as it fits.
        int size = GsoSegments * mss;
        if (goal < size || goal >= size + mss)
        {
            GsoSegments = (ushort)Math.Min(goal / mss, GsoMaxSegments);
            size = GsoSegments * mss;
        }
        return Math.Max(size, mss);
    }

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
        (Rare ??= new RareTcpState()).UrgentSent = true;
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

    // ---- What may be sent ----

    /// <summary>Packets that the congestion window allows now; at most half of it at once. Linux: tcp_cwnd_test.</summary>
    private uint CwndQuota()
    {
        uint inFlight = PacketsInFlight;
        if (inFlight >= Cc.Cwnd)
            return 0;
        return Math.Min(Math.Max(Cc.Cwnd >> 1, 1), Cc.Cwnd - inFlight);
    }

    /// <summary>Whether the first segment of the buffer fits the peer's window. Linux: tcp_snd_wnd_test.</summary>
    private bool FitsWindow(SkBuff skb, int mss)
    {
        SeqNumber end = skb.Length > mss ? skb.Tcp.Seq + mss : skb.Tcp.EndSeq;
        return end <= Snd.WndEnd;
    }

    /// <summary>Whether Nagle's algorithm, as Minshall amended it, holds a small segment back. Linux: tcp_nagle_check.</summary>
    private bool NagleHolds(bool partial, NagleFlags nagle)
    {
        if (!partial)
            return false;
        bool smallInFlight = Snd.Small > Snd.Una && Snd.Small <= Snd.Nxt;
        return (nagle & NagleFlags.Cork) != 0 || (nagle == NagleFlags.None && PacketsOut > 0 && smallInFlight);
    }

    private bool PassesNagle(SkBuff skb, int mss, NagleFlags nagle) =>
        (nagle & NagleFlags.Push) != 0 || InUrgentMode || (skb.Tcp.Flags & TcpFlags.Fin) != 0 || !NagleHolds(skb.Length < mss, nagle);

    /// <summary>Segments of a super-packet at the pacing rate: more on short paths, where a burst does no harm. Linux: tcp_tso_autosize.</summary>
    private uint TsoSegments(int mss)
    {
        uint least = Congestion?.MinTsoSegments(this) ?? 0;
        if (least == 0)
            least = (uint)Tcp.Sysctls.TcpMinTsoSegs;
        ulong bytes = PacingRate >> PacingShift;
        uint shift = MinRttUs >> Tcp.Sysctls.TcpTsoRttLog;
        if (shift < 32)
            bytes += (uint)GsoMaxSize >> (int)shift;
        bytes = Math.Min(bytes, GsoMaxSize);
        return (uint)Math.Min(Math.Max((uint)bytes / (uint)mss, least), GsoMaxSegments);
    }

    /// <summary>Bytes of the buffer that can go in one piece. Linux: tcp_mss_split_point.</summary>
    private int SplitPoint(SkBuff skb, int mss, uint maxSegments, NagleFlags nagle)
    {
        long window = Snd.WndEnd - skb.Tcp.Seq;
        long most = (long)mss * maxSegments;
        if (most <= window && skb != WriteQueue.Last)
            return (int)most;
        long needed = Math.Min(skb.Length, window);
        if (most <= needed)
            return (int)most;
        int partial = (int)(needed % mss);
        // Not a small last segment, if Nagle would hold it.
        return NagleHolds(partial != 0, nagle) ? (int)needed - partial : (int)needed;
    }

    /// <summary>
    /// Whether a super-packet should wait to grow, because an ACK that lets more out is about to come. Linux: tcp_tso_should_defer.
    /// </summary>
    private bool ShouldDefer(SkBuff skb, ref bool cwndLimited, ref bool rwndLimited, uint maxSegments)
    {
        if (CaState >= CaState.Recovery)
            return false;
        // Only if something was sent within the last millisecond; else waiting makes bursts.
        if (Time - LastWireTime > Micros.FromMilliseconds(1))
            return false;
        long sendWindow = Snd.WndEnd - skb.Tcp.Seq;
        long congestionWindow = (long)(Cc.Cwnd - PacketsInFlight) * MssCache;
        long limit = Math.Min(sendWindow, congestionWindow);
        if (limit >= (long)maxSegments * MssCache)
            return false;
        if (skb != WriteQueue.Last && limit >= skb.Length)
            return false;
        int divisor = Tcp.Sysctls.TcpTsoWinDivisor;
        if (divisor > 0)
        {
            long chunk = Math.Min(Snd.Wnd, (long)Cc.Cwnd * MssCache) / divisor;
            if (limit >= chunk)
                return false;
        }
        else if (limit > 3L * MssCache)
        {
            return false;
        }
        if (Recovery?.Queue.First is not { } head)
            return false;
        // An ACK that is far away is not waited for.
        long srtt = Rtt.Srtt8 >> 3;
        long expected = head.SentTime + srtt;
        if (expected - Time.Value > Math.Min(srtt >> 1, 1000))
            return false;
        if (congestionWindow < sendWindow)
        {
            if (congestionWindow <= skb.Length)
            {
                cwndLimited = true;
                return true;
            }
        }
        else if (sendWindow <= skb.Length)
        {
            rwndLimited = true;
            return true;
        }
        return (skb.Tcp.Flags & TcpFlags.Fin) == 0 && (skb.Tcp.Notes & BufferNotes.EndOfRecord) == 0;
    }

    /// <summary>Whether the layers below hold enough of this connection already. Linux: tcp_small_queue_check.</summary>
    private bool IsSmallQueueFull(SkBuff skb, bool isRetransmit)
    {
        long limit = Math.Max(2L * skb.TrueSize, (long)Math.Min(PacingRate >> PacingShift, int.MaxValue));
        if (!IsPaced)
            limit = Math.Min(limit, Tcp.Sysctls.TcpLimitOutputBytes);
        if (isRetransmit)
            limit <<= 1;
        if (TransmitAllocated <= limit || IsRtxEmpty)
            return false;
        IsThrottled = true;
        return TransmitAllocated > limit;
    }

    // ---- The send loop ----

    /// <summary>
    /// Sends what windows, pacing and Nagle allow. True: nothing is in flight and yet something is left, so that the window must be
    /// probed. Linux: tcp_write_xmit.
    /// </summary>
    /// <param name="pushOne">0: all; 1: the first buffer; 2: one segment as a loss probe, whatever the congestion window says.</param>
    public bool WriteXmit(Cpu cpu, int mss, NagleFlags nagle, int pushOne)
    {
        cpu.BhDisable();
        cpu.Trace(Tp.tcp_write_xmit, this, WriteQueue.Count);
        RefreshTime(cpu);
        uint sent = 0;
        bool cwndLimited = false, rwndLimited = false;
        uint maxSegments = TsoSegments(mss);
        if (pushOne == 0)
        {
            if (TryMtuProbe(cpu, out bool probed))
            {
                cpu.BhEnable();
                return false;
            }
            sent = probed ? 1u : 0u;
        }
        while (SendHead is { } skb)
        {
            if (MustPace(cpu))
                break;
            uint quota = CwndQuota();
            if (quota == 0)
            {
                if (pushOne != 2)
                    break;
                quota = 1;
            }
            quota = Math.Min(quota, maxSegments);
            if ((long)quota * mss - skb.Length is > 0 and var missing)
                GrowFromNext(cpu, skb, (int)missing);
            int segments = Segmentation.SetSegments(skb, mss);
            if (!FitsWindow(skb, mss))
            {
                rwndLimited = true;
                break;
            }
            if (segments == 1)
            {
                if (!PassesNagle(skb, mss, skb == WriteQueue.Last ? nagle : NagleFlags.Push))
                    break;
            }
            else if (pushOne == 0 && ShouldDefer(skb, ref cwndLimited, ref rwndLimited, maxSegments))
            {
                break;
            }
            int limit = segments > 1 && !InUrgentMode ? SplitPoint(skb, mss, quota, nagle) : mss;
            if (skb.Length > limit)
                FragmentUnsent(cpu, skb, limit, mss);
            if (IsSmallQueueFull(skb, isRetransmit: false))
                break;
            // A buffer without a byte waits for the sender that is filling it.
            if (skb.Tcp.EndSeq == skb.Tcp.Seq)
                break;
            if (TransmitSkb(cpu, skb) != Errno.OK)
                break;
            OnNewDataSent(cpu, skb);
            if (skb.Length < skb.Tcp.Segments * mss)
                Snd.Small = skb.Tcp.EndSeq;
            sent += (uint)skb.Tcp.Segments;
            if (pushOne != 0)
                break;
        }
        bool stillOut = FinishWriteXmit(cpu, sent, cwndLimited, rwndLimited, pushOne);
        cpu.BhEnable();
        return stillOut;
    }

    private bool FinishWriteXmit(Cpu cpu, uint sent, bool cwndLimited, bool rwndLimited, int pushOne)
    {
        if (rwndLimited)
            Stats.Chrono.Start(ChronoType.ReceiveWindow, cpu.Now);
        else
            Stats.Chrono.Stop(ChronoType.ReceiveWindow, cpu.Now, NothingQueued);
        cwndLimited |= PacketsInFlight >= Cc.Cwnd;
        if (sent > 0 || cwndLimited)
            ValidateCwnd(cpu, cwndLimited);
        if (sent == 0)
            return PacketsOut == 0 && !WriteQueue.IsEmpty;
        if (InReduction)
            Recovery!.Prr.Out += sent;
        // One loss probe for each episode of silence.
        if (pushOne != 2)
            ScheduleLossProbe(cpu, advancingRto: false);
        return false;
    }

    /// <summary>Sends what is queued, and probes if nothing is in flight. Linux: __tcp_push_pending_frames.</summary>
    public void PushPending(Cpu cpu, int mss, NagleFlags nagle)
    {
        if (State == TcpState.Close)
            return;
        if (WriteXmit(cpu, mss, nagle, 0))
            CheckProbeTimer(cpu);
    }

    /// <summary>Sends the one buffer that is full, while the writer goes on. Linux: tcp_push_one.</summary>
    public void PushOne(Cpu cpu, int mss) => WriteXmit(cpu, mss, NagleFlags.Push, 1);

    /// <summary>Sends after an ACK has come, if anything is queued. Linux: tcp_push_pending_frames.</summary>
    public void PushPendingFrames(Cpu cpu)
    {
        if (SendHead is not null)
            PushPending(cpu, CurrentMss(), Nagle);
    }

    /// <summary>A buffer has been sent for the first time. Linux: tcp_event_new_data_sent.</summary>
    private void OnNewDataSent(Cpu cpu, SkBuff skb)
    {
        cpu.Trace(Tp.tcp_event_new_data_sent, this, skb.Tcp.Seq.Value, skb.Length);
        LossRecovery recovery = AttachRecovery(cpu);
        uint before = PacketsOut;
        Snd.Nxt = skb.Tcp.EndSeq;
        WriteQueue.Remove(skb);
        recovery.Queue.Append(skb);
        recovery.HighestSack ??= skb;
        Packets.Out += (uint)skb.Tcp.Segments;
        if (before == 0 || PendingTimer == TimerEvent.LossProbe)
            RearmRto(cpu);
        cpu.Mib.Add(Mib.TcpExtTCPOrigDataSent, skb.Tcp.Segments);
        CheckSpace(cpu);
    }

    // Fills a buffer that is smaller than what may be sent from the next one. Linux: tcp_grow_skb.
    private void GrowFromNext(Cpu cpu, SkBuff skb, int missing)
    {
        if (skb == WriteQueue.Last || WriteQueue.After(skb) is not { } next)
            return;
        if (!Segmentation.MayMerge(skb, next))
            return;
        int take = Math.Min(missing, next.Length);
        if (take > 0)
            MoveFront(cpu, skb, next, take);
    }

    // Moves unsent bytes from a buffer to the one before it; one that is empty then is gone. False: they do not fit. Linux: tcp_eat_one_skb.
    private bool MoveFront(Cpu cpu, SkBuff skb, SkBuff next, int take)
    {
        if (!Segmentation.TakeFront(cpu, skb, next, take))
            return false;
        skb.Tcp.EndSeq += take;
        next.Tcp.Seq += take;
        if (next.Length == 0)
        {
            Segmentation.InheritEnd(skb, next);
            skb.Tcp.EndSeq = next.Tcp.EndSeq;
            WriteQueue.Remove(next);
            FreeWriteSkb(cpu, next);
        }
        return true;
    }

    /// <summary>Cuts a buffer that has not been sent. Linux: tso_fragment, tcp_fragment.</summary>
    private void FragmentUnsent(Cpu cpu, SkBuff skb, int length, int mss)
    {
        SkBuff rest = Segmentation.Split(cpu, skb, length);
        ChargeWrite(Segmentation.Overhead);
        WriteQueue.InsertAfter(rest, skb);
        Segmentation.SetSegments(skb, mss);
        Segmentation.SetSegments(rest, mss);
    }

    /// <summary>A buffer of the write queue, charged to the socket; null if there is no memory for it. Linux: tcp_stream_alloc_skb.</summary>
    public SkBuff? AllocWriteSkb(Cpu cpu, bool force)
    {
        if (force)
            ForceSchedule(Segmentation.Overhead);
        else if (!ScheduleSend(cpu, Segmentation.Overhead))
            return null;
        SkBuff skb = cpu.AllocSkb();
        skb.TrueSize = Segmentation.Overhead;
        skb.IpSummed = ChecksumState.Partial;
        return skb;
    }

    /// <summary>Appends a new buffer to the write queue. Linux: tcp_skb_entail.</summary>
    public void Entail(Cpu cpu, SkBuff skb)
    {
        skb.Tcp.Seq = skb.Tcp.EndSeq = Snd.Written;
        skb.Tcp.Flags = TcpFlags.Ack;
        skb.Tcp.Segments = 0;
        QueueUnsent(cpu, skb);
        Nagle &= ~NagleFlags.Push;
        RestartAfterIdle(cpu);
    }

    // Linux: tcp_add_write_queue_tail.
    private void QueueUnsent(Cpu cpu, SkBuff skb)
    {
        if (WriteQueue.IsEmpty)
            Stats.Chrono.Start(ChronoType.Busy, cpu.Now);
        WriteQueue.PushLast(skb);
        WriteQueued += skb.TrueSize;
        Charge(skb.TrueSize);
    }

    // The queues' buffers hold so much more memory, or less.
    private void ChargeWrite(int bytes)
    {
        WriteQueued += bytes;
        if (bytes >= 0)
        {
            ForceSchedule(bytes);
            Charge(bytes);
        }
        else
        {
            Uncharge(-bytes);
        }
    }

    /// <summary>Ends a buffer that was queued to be sent, and its charge. Linux: tcp_wmem_free_skb.</summary>
    public void FreeWriteSkb(Cpu cpu, SkBuff skb)
    {
        WriteQueued -= skb.TrueSize;
        Uncharge(skb.TrueSize);
        cpu.FreeSkb(skb);
    }

    // ---- Making segments ----

    /// <summary>
    /// Sends a queued buffer: the segment gets headers of its own and shares the payload, the buffer stays. Linux: tcp_transmit_skb.
    /// </summary>
    private Errno TransmitSkb(Cpu cpu, SkBuff skb)
    {
        AttachRecovery(cpu);
        Micros priorWire = LastWireTime;
        LastWireTime = Micros.Max(LastWireTime, Time);
        skb.SentTime = LastWireTime.Value;
        Rate.OnSent(skb, PacketsOut == 0);
        if (InUrgentMode && skb.Tcp.Seq < Snd.Up)
            skb.Tcp.Flags |= TcpFlags.Urg;
        SkBuff segment = cpu.AllocSkb(SkBuff.TransmitHeadroom);
        if (skb.Length > 0)
            segment.ShareFragmentsFrom(skb, 0, skb.Length, cpu);
        segment.Tcp = skb.Tcp;
        segment.TrueSize = skb.TrueSize;
        (segment.Stamps, segment.StampKey) = (skb.Stamps, skb.StampKey);
        segment.SentTime = skb.SentTime;
        segment.Time = IsPaced ? LastWireTime.Value : 0;
        if (skb.ZeroCopy is { } notice)
        {
            notice.Hold();
            segment.ZeroCopy = notice;
        }
        Errno error = SendSegment(cpu, segment);
        AfterTransmit(skb, priorWire);
        return error;
    }

    /// <summary>Sends a segment without payload of its own. Linux: tcp_transmit_skb with clone_it = 0.</summary>
    private void TransmitEmpty(Cpu cpu, SeqNumber seq, TcpFlags flags, SeqNumber? ack = null)
    {
        SkBuff segment = cpu.AllocSkb(SkBuff.TransmitHeadroom);
        segment.Tcp.Seq = seq;
        segment.Tcp.EndSeq = (flags & (TcpFlags.Syn | TcpFlags.Fin)) != 0 ? seq + 1 : seq;
        segment.Tcp.Flags = flags;
        segment.Tcp.Segments = 1;
        segment.IpSummed = ChecksumState.Partial;
        SendSegment(cpu, segment, ack);
    }

    /// <summary>Gives a segment its TCP header and hands it to the network layer. Linux: __tcp_transmit_skb.</summary>
    /// <param name="ack">What to acknowledge; null: everything that has come.</param>
    private unsafe Errno SendSegment(Cpu cpu, SkBuff segment, SeqNumber? ack = null)
    {
        cpu.Trace(Tp.__tcp_transmit_skb, this, segment.Tcp.Seq.Value, segment.Length, (long)segment.Tcp.Flags, Rcv.Nxt.Value);
        TcpFlags flags = segment.Tcp.Flags;
        bool syn = (flags & TcpFlags.Syn) != 0;
        int payload = segment.Length;
        Span<SeqRange> blocks = stackalloc SeqRange[TcpOptions.MaxSackBlocks];
        Md5Key? key = SigningKey;
        scoped var options = new OutgoingOptions { HasMd5 = key is not null };
        if (syn)
            AddSynOptions(segment, ref options);
        else
            AddEstablishedOptions(ref options, blocks);
        // A super-packet is pushed, so that the receiver hands it up at once; a lone segment may be a sign of congestion.
        if (!syn && segment.Tcp.Segments > 1)
            flags |= TcpFlags.Psh;
        int headerLength = TcpHeader.MinLength + options.Size;
        ushort window = syn ? (ushort)Math.Min(Rcv.Wnd, ushort.MaxValue) : SelectWindow(cpu);
        flags = MarkEcn(segment, flags, payload);
        byte* tcp = segment.Push(headerLength);
        TcpHeader.Write(tcp, LocalPort, RemotePort, segment.Tcp.Seq, (flags & TcpFlags.Ack) != 0 ? ack ?? Rcv.Nxt : default, headerLength, flags,
            window, UrgentPointer(segment, ref flags));
        if ((flags & TcpFlags.Urg) != 0)
            tcp[13] |= (byte)TcpFlags.Urg;
        byte* digest = options.Write(tcp + TcpHeader.MinLength);
        if (key is not null)
            Tcp.Signer.Compute(cpu, key, SourceAddr, RemoteAddr, segment, new Span<byte>(digest, Md5Signer.DigestLength));
        AccEcn?.OnOptionsWritten(options.HasAccEcn, SackOut is { HasDuplicate: true }, Time);
        segment.TransportOffset = segment.Headroom;
        FinishHeader(segment, payload);
        if ((flags & TcpFlags.Ack) != 0 && (ack is null || ack == Rcv.Nxt))
            OnAckSent(cpu);
        if (payload > 0)
        {
            OnDataSent();
            Stats.DataSegmentsOut += (uint)segment.Tcp.Segments;
            Stats.BytesSent += (ulong)payload;
        }
        if (segment.Tcp.EndSeq > Snd.Nxt || segment.Tcp.Seq == segment.Tcp.EndSeq)
            cpu.Mib.Add(Mib.TcpOutSegs, segment.Tcp.Segments);
        Stats.SegmentsOut += (uint)segment.Tcp.Segments;
        ChargeTransmit(segment);
        Errno error = AfOps.QueueXmit(cpu, this, segment);
        if (error == Errno.ENOBUFS)
            EnterCwr(cpu);
        return error;
    }

    private unsafe void FinishHeader(SkBuff segment, int payload)
    {
        if (segment.Tcp.SegmentSize != 0 && payload > segment.Tcp.SegmentSize)
        {
            segment.GsoSize = (ushort)segment.Tcp.SegmentSize;
            segment.GsoSegs = (ushort)segment.Tcp.Segments;
            segment.GsoType = AfOps.IsV6 ? GsoType.TcpV6 : GsoType.TcpV4;
            if (IsAccEcn)
                segment.GsoType |= GsoType.TcpAccEcn;
            else if ((segment.Tcp.Flags & TcpFlags.Cwr) != 0)
                segment.GsoType |= GsoType.TcpEcn;
        }
        byte* tcp = segment.TransportHeader;
        uint pseudo = Checksum.PseudoHeader(SourceAddr, RemoteAddr, IpProtocol.Tcp, segment.Length);
        Be.PutRaw16(tcp + TcpHeader.ChecksumOffset, Checksum.Fold(pseudo));
        segment.IpSummed = ChecksumState.Partial;
        segment.ChecksumStart = segment.TransportOffset;
        segment.ChecksumOffset = TcpHeader.ChecksumOffset;
    }

    private void ChargeTransmit(SkBuff segment)
    {
        segment.Owner = this;
        segment.Charge = ChargeKind.Transmit;
        AddTransmitAllocated(segment.TrueSize);
        Hold();
    }

    /// <summary>A segment has left the host, or was dropped on it. Linux: tcp_wfree.</summary>
    internal override void OnBufferGone(SkBuff skb, ChargeKind charge, BufferCache cache)
    {
        if (charge != ChargeKind.Transmit)
        {
            base.OnBufferGone(skb, charge, cache);
            return;
        }
        AddTransmitAllocated(-skb.TrueSize);
        var cpu = (Cpu)cache;
        if (IsThrottled)
            Tcp.SmallQueues.Add(cpu, this);
        Put(cpu);
    }

    private void AddEstablishedOptions(ref OutgoingOptions options, Span<SeqRange> blocks)
    {
        if (HasTimestamps)
        {
            options.HasTimestamp = true;
            options.TsVal = TimestampOf(Time);
            options.TsEcr = TsRecent;
        }
        if (SackOut is { } sack)
            options.SackBlocks = blocks[..sack.Report(blocks[..SackBlocksToSend])];
        if (IsAccEcn)
            AddAccEcnOption(ref options);
    }

    private ushort UrgentPointer(SkBuff segment, ref TcpFlags flags)
    {
        if (!InUrgentMode || segment.Tcp.Seq >= Snd.Up)
            return 0;
        long distance = Snd.Up - segment.Tcp.Seq;
        if (distance > ushort.MaxValue)
        {
            if (Snd.Nxt + 0xffff <= segment.Tcp.Seq)
                return 0;
            distance = ushort.MaxValue;
        }
        flags |= TcpFlags.Urg;
        return (ushort)distance;
    }

    /// <summary>An ACK has gone with a segment. Linux: tcp_event_ack_sent.</summary>
    private void OnAckSent(Cpu cpu)
    {
        if (SackOut is { } sack)
        {
            if (sack.CompressedAcks > 0)
            {
                cpu.Mib.Add(Mib.TcpExtTCPAckCompressed, sack.CompressedAcks);
                sack.CompressedAcks = 0;
                sack.CompressedDeadline = Micros.Never;
            }
            sack.ClearDuplicate();
        }
        Ack.OnAckSent(Ack.IsScheduled ? 1 : 0);
        AckDeadline = Micros.Never;
    }

    // Linux: tcp_event_data_sent.
    private void OnDataSent()
    {
        if (PacketsInFlight == 0)
            Congestion?.OnEvent(this, CaEvent.TxStart);
        LastSent = Time;
        // An answer soon after data has come: an interactive exchange.
        if ((Time - Ack.LastReceived).Value < Ack.Ato)
            Ack.IncPingPong();
    }

    // Linux: tcp_update_skb_after_send.
    private void AfterTransmit(SkBuff skb, Micros priorWire)
    {
        if (IsPaced && PacingRate != ulong.MaxValue && PacingRate != 0 && Stats.DataSegmentsOut >= TcpConstants.InitialCwnd)
        {
            long length = (long)((ulong)skb.Length * 1_000_000_000 / PacingRate) + _pacingRemainderNs;
            long credit = (LastWireTime - priorWire).Value * 1000;
            length -= Math.Min(length / 2, credit);
            _pacingRemainderNs = (int)(length % 1000);
            LastWireTime += new Micros(length / 1000);
        }
        Recovery!.Sent.Remove(skb);
        Recovery.Sent.Append(skb);
    }

    /// <summary>When the last segment left, or will leave: the pacing clock. Linux: tcp_wstamp_ns.</summary>
    public Micros LastWireTime;

    private int _pacingRemainderNs;

    /// <summary>Whether segments are spread by the stack's own timer. Linux: SK_PACING_NEEDED.</summary>
    public bool IsPaced;

    /// <summary>Whether the queueing discipline holds segments until their time. Linux: SK_PACING_FQ.</summary>
    private bool _isPacedBelow;

    internal override void OnPacedBelow() => IsPaced = _isPacedBelow = true;

    /// <summary>The send loop has stopped because the layers below were full. Linux: TSQ_THROTTLED.</summary>
    public volatile bool IsThrottled;

    /// <summary>The next run of the small-queue softirq has this connection on its list. Linux: TSQ_QUEUED.</summary>
    internal int SmallQueueQueued;
    internal TcpSock? NextSmallQueue;

    public override void OnPacingRequested() => IsPaced = true;

    private bool MustPace(Cpu cpu)
    {
        if (!IsPaced || _isPacedBelow || LastWireTime <= Time)
            return false;
        PacingDeadline = LastWireTime;
        ArmTimer(cpu, PacingDeadline);
        return true;
    }

    // ---- The window that we offer ----

    /// <summary>Payload that a buffer of so many bytes of memory holds. Linux: tcp_win_from_space.</summary>
    public int WindowFromSpace(int space) => (int)(((long)space * ScalingRatio) >> 8);

    /// <summary>Linux: tcp_space_from_win.</summary>
    public int SpaceFromWindow(int window) => (int)Math.Min(((long)window << 8) / ScalingRatio, int.MaxValue);

    /// <summary>A receive buffer holds twice the payload, until segments have shown otherwise. Linux: TCP_DEFAULT_SCALING_RATIO.</summary>
    public const byte DefaultScalingRatio = 128;

    /// <summary>Payload that there is room for. Linux: tcp_space.</summary>
    public int FreeReceiveSpace => WindowFromSpace(ReceiveBuffer - Lock.BacklogBytes - ReceiveAllocated);

    /// <summary>Linux: tcp_full_space.</summary>
    public int FullReceiveSpace => WindowFromSpace(ReceiveBuffer);

    /// <summary>
    /// The window to offer now: nothing less than was offered, in whole segments, and none at all rather than a silly one. RFC 9293
    /// §3.8.6.2.2. Linux: __tcp_select_window.
    /// </summary>
    public int ChooseWindow()
    {
        int mss = Ack.RcvMss;
        int free = FreeReceiveSpace, allowed = FullReceiveSpace;
        int full = Math.Min(Rcv.WndClamp, allowed);
        if (mss > full)
        {
            mss = full;
            if (mss <= 0)
                return 0;
        }
        if (Tcp.Sysctls.TcpShrinkWindow)
            return ChooseShrinkingWindow(free, full);
        if (free < full >> 1)
        {
            Ack.Quick = 0;
            if (Proto.Memory.UnderPressure)
                ClampReceiveThreshold();
            free = free >> Rcv.WndScale << Rcv.WndScale;
            if (free < allowed >> 4 || free < mss)
                return 0;
        }
        free = Math.Min(free, Rcv.Ssthresh);
        if (Rcv.WndScale > 0)
            return RoundUpToScale(free);
        int window = (int)Rcv.Wnd;
        if (window <= free - mss || window > free)
            window = free / mss * mss;
        else if (mss == full && free > window + (full >> 1))
            window = free;
        return window;
    }

    private int ChooseShrinkingWindow(int free, int full)
    {
        free = free >> Rcv.WndScale << Rcv.WndScale;
        if (free < full >> 1)
        {
            Ack.Quick = 0;
            if (Proto.Memory.UnderPressure)
                ClampReceiveThreshold();
            if (free < full >> 4 || free < Ack.RcvMss)
                return 0;
        }
        return Math.Min(free, RoundUpToScale(Rcv.Ssthresh));
    }

    private int RoundUpToScale(int window) => (window + (1 << Rcv.WndScale) - 1) >> Rcv.WndScale << Rcv.WndScale;

    // Linux: tcp_adjust_rcv_ssthresh.
    private void ClampReceiveThreshold() => Rcv.Ssthresh = Math.Min(Rcv.Ssthresh, 4 * AdvMss);

    /// <summary>The window field of the next segment; notes what was offered. Linux: tcp_select_window.</summary>
    private ushort SelectWindow(Cpu cpu)
    {
        if ((Ack.Pending & AckPending.NoMemory) != 0)
        {
            FastPath = false;
            Rcv.Wnd = 0;
            Rcv.Wup = Rcv.Nxt;
            return 0;
        }
        uint before = Rcv.Wnd, current = Rcv.Remaining;
        uint window = (uint)ChooseWindow();
        if (window < current && (!Tcp.Sysctls.TcpShrinkWindow || Rcv.WndScale == 0))
        {
            // The right edge never moves left.
            if (window == 0)
                cpu.Mib.Inc(Mib.TcpExtTCPWantZeroWindowAdv);
            window = (uint)RoundUpToScale((int)current);
        }
        Rcv.Wnd = window;
        Rcv.Wup = Rcv.Nxt;
        window = Rcv.WndScale == 0 && Tcp.Sysctls.TcpWorkaroundSignedWindows
            ? Math.Min(window, TcpConstants.MaxWindow)
            : Math.Min(window, 65535u << Rcv.WndScale);
        window >>= Rcv.WndScale;
        if (window == 0)
        {
            FastPath = false;
            if (before != 0)
                cpu.Mib.Inc(Mib.TcpExtTCPToZeroWindowAdv);
        }
        else if (before == 0)
        {
            cpu.Mib.Inc(Mib.TcpExtTCPFromZeroWindowAdv);
        }
        return (ushort)window;
    }

    /// <summary>
    /// The window and the scale to start with, from the receive buffer and what it may grow to. Linux: tcp_select_initial_window.
    /// </summary>
    public static void SelectInitialWindow(Sysctls sysctls, int space, int mss, bool scaling, int initialSegments, ref int clamp,
        out uint window, out byte scale)
    {
        if (clamp == 0)
            clamp = 65535 << TcpConstants.MaxWindowScale;
        space = Math.Min(clamp, Math.Max(space, 0));
        if (space > mss)
            space = space / mss * mss;
        window = (uint)(sysctls.TcpWorkaroundSignedWindows ? Math.Min(space, TcpConstants.MaxWindow) : space);
        if (initialSegments > 0)
            window = Math.Min(window, (uint)(initialSegments * mss));
        scale = 0;
        if (scaling)
        {
            space = Math.Max(space, Math.Max(sysctls.TcpRmem.Max, sysctls.RmemMax));
            space = Math.Min(space, clamp);
            scale = (byte)Math.Clamp(System.Numerics.BitOperations.Log2((uint)Math.Max(space, 1)) - 15, 0, TcpConstants.MaxWindowScale);
        }
        clamp = Math.Min(65535 << scale, clamp);
    }

    // ---- ACK, FIN, RST ----

    /// <summary>Sends an ACK now. Linux: tcp_send_ack.</summary>
    public void SendAck(Cpu cpu) => SendAck(cpu, TcpFlags.Ack);

    private void SendAck(Cpu cpu, TcpFlags flags)
    {
        if (State == TcpState.Close)
            return;
        cpu.Trace(Tp.tcp_send_ack, this, Rcv.Nxt.Value);
        cpu.BhDisable();
        RefreshTime(cpu);
        TransmitEmpty(cpu, AcceptableSeq(), flags);
        cpu.BhEnable();
    }

    /// <summary>Acknowledges no more than up to <paramref name="rcvNxt"/>. Linux: __tcp_send_ack.</summary>
    public void SendAckOf(Cpu cpu, SeqNumber rcvNxt)
    {
        cpu.BhDisable();
        TransmitEmpty(cpu, AcceptableSeq(), TcpFlags.Ack, rcvNxt);
        cpu.BhEnable();
    }

    /// <summary>
    /// The sequence number of a segment without data: SND.NXT, unless the window has shrunk below it. Linux: tcp_acceptable_seq.
    /// </summary>
    private SeqNumber AcceptableSeq()
    {
        SeqNumber end = Snd.WndEnd;
        bool inside = end >= Snd.Nxt || (Snd.WndScale > 0 && Snd.Nxt - end < 1 << Snd.WndScale);
        return inside ? Snd.Nxt : end;
    }

    /// <summary>Closes the sending side: FIN on the last buffer, or in one of its own. Linux: tcp_send_fin.</summary>
    public void SendFin(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_send_fin, this);
        SkBuff? tail = WriteQueue.Last ?? (Proto.Memory.UnderPressure ? Recovery?.Queue.Last : null);
        if (tail is not null)
        {
            tail.Tcp.Flags |= TcpFlags.Fin;
            tail.Tcp.EndSeq++;
            Snd.Written++;
            if (WriteQueue.IsEmpty)
            {
                // It went with a buffer that is out already; its retransmission will carry it.
                Snd.Nxt++;
                return;
            }
        }
        else
        {
            SkBuff skb = AllocWriteSkb(cpu, force: true)!;
            skb.Tcp.Seq = Snd.Written;
            skb.Tcp.EndSeq = Snd.Written + 1;
            skb.Tcp.Flags = TcpFlags.Ack | TcpFlags.Fin;
            QueueUnsent(cpu, skb);
            Snd.Written++;
        }
        PushPending(cpu, CurrentMss(), NagleFlags.Off);
    }

    /// <summary>Tells the peer that the connection is gone. Linux: tcp_send_active_reset.</summary>
    public void SendActiveReset(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_send_active_reset, this);
        cpu.Mib.Inc(Mib.TcpOutRsts);
        cpu.BhDisable();
        RefreshTime(cpu);
        TransmitEmpty(cpu, AcceptableSeq(), TcpFlags.Ack | TcpFlags.Rst);
        cpu.BhEnable();
        cpu.Trace(Tp.tcp_send_reset, this);
    }

    /// <summary>Sends a segment just before SND.UNA, which the peer must answer. Linux: tcp_xmit_probe_skb.</summary>
    private void SendProbeSegment(Cpu cpu, bool urgent, Mib counter)
    {
        cpu.Mib.Inc(counter);
        cpu.BhDisable();
        TransmitEmpty(cpu, urgent ? Snd.Una : Snd.Una - 1, TcpFlags.Ack);
        cpu.BhEnable();
    }

    /// <summary>
    /// Probes a closed window: with data if any fits, else with an empty segment. Linux: tcp_write_wakeup.
    /// </summary>
    private Errno WriteWakeup(Cpu cpu, Mib counter)
    {
        if (State == TcpState.Close)
            return Errno.EPIPE;
        RefreshTime(cpu);
        if (SendHead is { } skb && skb.Tcp.Seq < Snd.WndEnd)
        {
            int mss = CurrentMss();
            int room = Snd.WndEnd - skb.Tcp.Seq;
            if (Snd.Pushed < skb.Tcp.EndSeq)
                Snd.Pushed = skb.Tcp.EndSeq;
            // A window that the buffer does not fit, or that is smaller than a segment: send what fits.
            if (room < skb.Tcp.EndSeq - skb.Tcp.Seq || skb.Length > mss)
            {
                int take = Math.Min(room, mss);
                skb.Tcp.Flags |= TcpFlags.Psh;
                if (take < skb.Length)
                    FragmentUnsent(cpu, skb, take, mss);
            }
            Segmentation.SetSegments(skb, mss);
            skb.Tcp.Flags |= TcpFlags.Psh;
            cpu.BhDisable();
            Errno error = TransmitSkb(cpu, skb);
            if (error == Errno.OK)
                OnNewDataSent(cpu, skb);
            cpu.BhEnable();
            return error;
        }
        if (HasUrgent && Snd.Up.IsBetween(Snd.Una + 1, Snd.Una + 0xffff))
            SendProbeSegment(cpu, urgent: true, counter);
        SendProbeSegment(cpu, urgent: false, counter);
        return Errno.OK;
    }
}
