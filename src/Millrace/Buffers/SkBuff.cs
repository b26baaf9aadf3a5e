using System;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using Millrace.Wire;

namespace Millrace.Buffers;

/// <summary>What is known of a packet's transport checksum.</summary>
/// <remarks>Linux: CHECKSUM_NONE, CHECKSUM_UNNECESSARY, CHECKSUM_PARTIAL.</remarks>
internal enum ChecksumState : byte
{
    /// <summary>Incoming: must be verified. Outgoing: is in the packet.</summary>
    None,

    /// <summary>Incoming: somebody trusted has verified it.</summary>
    Unnecessary,

    /// <summary>
    /// The field holds the folded pseudo-header; whoever puts the bytes on a medium sums from <see cref="SkBuff.ChecksumStart"/> to
    /// the end and stores the complement. Incoming: the sender was local, and the bytes never were at risk.
    /// </summary>
    Partial,
}

/// <summary>How a super-packet is cut. Linux: SKB_GSO_*.</summary>
[Flags]
internal enum GsoType : byte
{
    None = 0,
    TcpV4 = 1,
    TcpV6 = 2,
    UdpL4 = 4,

    /// <summary>CWR is on the first segment only. Linux: SKB_GSO_TCP_ECN.</summary>
    TcpEcn = 8,

    /// <summary>All segments carry CWR alike: it is AccECN's counter, not an event. Linux: SKB_GSO_TCP_ACCECN.</summary>
    TcpAccEcn = 16,
}

/// <summary>For whom the frame was that a packet came in. Linux: PACKET_HOST, PACKET_BROADCAST, PACKET_MULTICAST.</summary>
internal enum LinkTarget : byte
{
    Host,
    Broadcast,
    Multicast,
}

/// <summary>What a buffer's memory is charged to.</summary>
internal enum ChargeKind : byte
{
    None,

    /// <summary>In flight below the socket. Linux: sk_wmem_alloc, released by tcp_wfree.</summary>
    Transmit,

    /// <summary>Incoming: the buffer holds a reference to the sock that early demux found. Linux: sock_edemux.</summary>
    Reference,
}

/// <summary>Who is told when a buffer that was charged to him is gone. Base of the socks.</summary>
/// <remarks>Linux: skb->destructor with skb->sk.</remarks>
internal abstract class BufferOwner : Tracing.TraceSubject
{
    /// <summary>
    /// A buffer that was charged to the owner is gone, or has left the host. Called with no lock that the owner could want.
    /// Linux: tcp_wfree, sock_wfree, sock_edemux.
    /// </summary>
    internal virtual void OnBufferGone(SkBuff skb, ChargeKind charge, BufferCache cache)
    {
    }

    /// <summary>What sends the owner's buffers does so at the time that they bear. Linux: SK_PACING_FQ.</summary>
    internal virtual void OnPacedBelow()
    {
    }

    /// <summary>A buffer that asked for it has come to a place on its way out. Linux: skb_tstamp_tx.</summary>
    internal virtual void OnTransmitStamp(SkBuff skb, TransmitStamps place, BufferCache cache)
    {
    }
}

/// <summary>Places on a buffer's way whose time its sender wants to know. Linux: SKBTX_SCHED_TSTAMP, SKBTX_SW_TSTAMP, txstamp_ack.</summary>
[Flags]
internal enum TransmitStamps : byte
{
    None = 0,

    /// <summary>It enters the queueing discipline.</summary>
    Queued = 1,

    /// <summary>The device gets it.</summary>
    Sent = 2,

    /// <summary>Its last byte is acknowledged.</summary>
    Acked = 4,
}

/// <summary>A piece of payload outside the linear part: a range of a page. The page is a number, not a reference.</summary>
/// <remarks>Linux: skb_frag_t.</remarks>
internal unsafe struct SkbFragment
{
    public byte* Data;
    public int Length;

    /// <summary>The page's number in the buffer's pool; the fragment owns one reference to it.</summary>
    public int Page;
}

/// <summary>
/// A packet: a linear part, which the headers are in, and page fragments. Headers are stripped by moving <see cref="Data"/>, never
/// by copying.
/// </summary>
/// <remarks>
/// <code>
/// [ headroom | linear data ........ | tailroom ]   fragments: [page, offset, length] …
/// ^ Head     ^ Data                 ^ Tail     ^ End
/// </code>
/// A buffer and its pages belong to one <see cref="BufferPool"/> and return to it, whichever CPU or stack frees them. It has one
/// owner at a time; pages are shared by reference count and a shared page is never written. Linux: sk_buff.
/// </remarks>
internal sealed unsafe class SkBuff : SkBuffLink
{
    /// <summary>Linux: MAX_SKB_FRAGS.</summary>
    public const int MaxFragments = 17;

    /// <summary>The buffer's own linear memory: room for the headers of any packet.</summary>
    public const int OwnHeadSize = 256;

    /// <summary>Headroom that a new outgoing packet leaves for the headers below TCP's. Linux: MAX_TCP_HEADER.</summary>
    public const int TransmitHeadroom = 192;

    /// <summary>
    /// What a buffer counts in a socket's memory besides the block that its head is in, of which the last part is for the list of
    /// fragments: the sizes of Linux's sk_buff and skb_shared_info.
    /// </summary>
    public const int BufferTrueSize = 256, SharedInfoTrueSize = 320;

    /// <summary>
    /// What a buffer without payload counts in a socket's memory, so that a send buffer of the same number holds as much as in Linux.
    /// Linux: SKB_TRUESIZE(0).
    /// </summary>
    public const int OverheadTrueSize = BufferTrueSize + SharedInfoTrueSize;

    /// <summary>What a super-packet's segments may have together. Linux: GSO_LEGACY_MAX_SIZE.</summary>
    public const int MaxGsoSize = 65536;

    // An IPv6 header, and a TCP header with all the options that it can have.
    private const int MaxHeaders = 100;
    private const int Unset = -1;

    // Links of SeqTree; TimeNext and TimePrev order the retransmit queue by the time of sending.
    internal SkBuff? Left, Right, Parent, TimeNext, TimePrev;
    internal readonly uint TreePriority;

    public readonly BufferPool Pool;
    private readonly byte* _ownHead;

    public byte* Head { get; private set; }
    public byte* Data { get; private set; }
    public byte* End { get; private set; }

    /// <summary>All bytes, linear and fragments.</summary>
    public int Length { get; private set; }

    /// <summary>Bytes in fragments.</summary>
    public int FragmentBytes { get; private set; }

    private int _headPage;
    private int _fragmentCount;
    private FragmentArray _fragments;

    /// <summary>Bytes of memory that the buffer is charged for. Linux: truesize.</summary>
    public int TrueSize;

    /// <summary>The device that it came in on. Linux: skb_iif.</summary>
    public int IfIndex;
    public EtherType Protocol;

    /// <summary>Incoming: for whom the frame was; this host where there are no frames. Linux: pkt_type.</summary>
    public LinkTarget LinkTarget;
    public ChecksumState IpSummed;
    public ChargeKind Charge;
    public GsoType GsoType;
    public ushort GsoSize, GsoSegs;

    /// <summary>Where the partial checksum starts, as an offset from <see cref="Head"/>, and where its field is, from there.</summary>
    public int ChecksumStart;
    public int ChecksumOffset;

    /// <summary>Offsets from <see cref="Head"/>.</summary>
    public int NetworkOffset, TransportOffset;

    /// <summary>Flow hash, for queue selection. Linux: skb->hash.</summary>
    public uint Hash;
    public uint Mark;
    public int Priority;
    public int QueueIndex;

    /// <summary>Incoming: arrival. Outgoing: earliest departure, 0 for now. Microseconds. Linux: skb->tstamp.</summary>
    public long Time;

    /// <summary>When TCP last sent it, microseconds. Linux: skb_mstamp_ns.</summary>
    public long SentTime;

    /// <summary>Whom it is charged to, or the sock that early demux found.</summary>
    public BufferOwner? Owner;

    public TcpControlBlock Tcp;

    /// <summary>Incoming: the sequence number with which this SYN reopens a connection in TIME_WAIT; 0 for none. Linux: tcp_tw_isn.</summary>
    public uint ReopenIsn;

    /// <summary>Incoming: its payload has become another buffer's; only the shell is left to be freed.</summary>
    public bool IsCoalesced;

    /// <summary>Where times are wanted, and what tells the sender which bytes they are about. Linux: tx_flags, tskey.</summary>
    public TransmitStamps Stamps;
    public uint StampKey;

    /// <summary>A completion that somebody waits for: the zero-copy notice of the bytes inside. Linux: skb_zcopy, ubuf_info.</summary>
    public ZeroCopyNotice? ZeroCopy;

    internal SkBuff(BufferPool pool, byte* ownHead, uint priority)
    {
        Pool = pool;
        _ownHead = ownHead;
        TreePriority = priority;
        _headPage = BufferPool.NoPage;
    }

    /// <summary>Bytes in the linear part. Linux: skb_headlen.</summary>
    public int LinearLength => Length - FragmentBytes;

    public byte* Tail => Data + LinearLength;

    public int Headroom => (int)(Data - Head);

    public int Tailroom => (int)(End - Tail);

    public int FragmentCount => _fragmentCount;

    public bool IsGso => GsoSize != 0;

    public byte* NetworkHeader => Head + NetworkOffset;

    public byte* TransportHeader => Head + TransportOffset;

    public ReadOnlySpan<SkbFragment> Fragments => ((ReadOnlySpan<SkbFragment>)_fragments)[.._fragmentCount];

    public ref SkbFragment Fragment(int i)
    {
        Debug.Assert((uint)i < (uint)_fragmentCount, "a fragment of this buffer");
        return ref _fragments[i];
    }

    /// <summary>The linear bytes.</summary>
    public Span<byte> Linear => new(Data, LinearLength);

    /// <summary>
    /// A copy of the packet's first bytes, its network and transport header, for whoever reads of it later; null while it has no
    /// network header.
    /// </summary>
    public byte[]? CopyHeaders() =>
        NetworkOffset == Unset ? null : new ReadOnlySpan<byte>(NetworkHeader, Math.Min(MaxHeaders, (int)(Tail - NetworkHeader))).ToArray();

    /// <summary>Back to an empty buffer on its own head, with <paramref name="headroom"/> bytes before the data.</summary>
    internal void Reset(int headroom)
    {
        Debug.Assert(_fragmentCount == 0 && _headPage == BufferPool.NoPage && Next is null, "a pooled buffer holds nothing");
        Head = _ownHead;
        End = _ownHead + OwnHeadSize;
        Data = _ownHead + headroom;
        Length = FragmentBytes = 0;
        TrueSize = OverheadTrueSize;
        IfIndex = 0;
        NetworkOffset = Unset;
        IpSummed = ChecksumState.None;
        LinkTarget = LinkTarget.Host;
        Charge = ChargeKind.None;
        GsoType = GsoType.None;
        GsoSize = GsoSegs = 0;
        Hash = Mark = 0;
        Priority = QueueIndex = 0;
        Time = SentTime = 0;
        IsCoalesced = false;
        ReopenIsn = 0;
        Stamps = TransmitStamps.None;
        Tcp = default;
    }

    /// <summary>Puts the linear part into a page, whose reference the buffer takes over: device memory becomes the buffer's memory.</summary>
    public void UsePage(int page, byte* memory, int size, int headroom, int length)
    {
        Debug.Assert(_headPage == BufferPool.NoPage && Length == 0, "the buffer is fresh");
        _headPage = page;
        Head = memory;
        End = memory + size;
        Data = memory + headroom;
        Length = length;
        TrueSize = BufferTrueSize + size;
    }

    /// <summary>Grows the linear part at its end. Linux: skb_put.</summary>
    public byte* Put(int n)
    {
        Debug.Assert(n <= Tailroom && FragmentBytes == 0, "there is room behind the linear data");
        byte* tail = Tail;
        Length += n;
        return tail;
    }

    /// <summary>Grows the linear part at its start. Linux: skb_push.</summary>
    public byte* Push(int n)
    {
        Debug.Assert(n <= Headroom, "there is room before the linear data");
        Data -= n;
        Length += n;
        return Data;
    }

    /// <summary>Strips <paramref name="n"/> linear bytes from the front, by moving an offset. Linux: __skb_pull.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Pull(int n)
    {
        Debug.Assert(n <= LinearLength, "the bytes are linear");
        Data += n;
        Length -= n;
    }

    /// <summary>Moves the linear part's start into the empty buffer. Linux: skb_reserve.</summary>
    public void Reserve(int n)
    {
        Debug.Assert(Length == 0 && n <= Tailroom, "only an empty buffer can be given headroom");
        Data += n;
    }

    /// <summary>
    /// Makes the first <paramref name="n"/> bytes linear, copying what is in fragments. False if the packet is shorter, or the
    /// linear part has no room. Linux: pskb_may_pull.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool MayPull(int n, BufferCache cache) => n <= LinearLength || PullFromFragments(n, cache);

    private bool PullFromFragments(int n, BufferCache cache)
    {
        int missing = n - LinearLength;
        if (n > Length || missing > Tailroom)
            return false;
        byte* to = Tail;
        int done = 0, dropped = 0;
        for (int i = 0; done < missing; i++)
        {
            ref SkbFragment f = ref _fragments[i];
            int take = Math.Min(f.Length, missing - done);
            Unsafe.CopyBlockUnaligned(to + done, f.Data, (uint)take);
            f.Data += take;
            f.Length -= take;
            done += take;
            if (f.Length == 0)
            {
                cache.ReleasePage(Pool, f.Page);
                dropped++;
            }
        }
        RemoveFragments(0, dropped);
        FragmentBytes -= missing;
        return true;
    }

    /// <summary>Appends a fragment and takes over its page reference.</summary>
    public void AddFragment(byte* data, int length, int page)
    {
        Debug.Assert(_fragmentCount < MaxFragments, "a fragment slot is free");
        _fragments[_fragmentCount++] = new SkbFragment { Data = data, Length = length, Page = page };
        Length += length;
        FragmentBytes += length;
    }

    /// <summary>Whether bytes at <paramref name="data"/> of <paramref name="page"/> continue the last fragment. Linux: skb_can_coalesce.</summary>
    public bool CanExtendLast(byte* data, int page)
    {
        if (_fragmentCount == 0)
            return false;
        ref SkbFragment last = ref _fragments[_fragmentCount - 1];
        return last.Page == page && last.Data + last.Length == data;
    }

    /// <summary>Grows the last fragment over bytes that continue it.</summary>
    public void ExtendLast(int length)
    {
        _fragments[_fragmentCount - 1].Length += length;
        Length += length;
        FragmentBytes += length;
    }

    /// <summary>Shortens the buffer to <paramref name="length"/> bytes. Linux: pskb_trim.</summary>
    public void Trim(int length, BufferCache cache)
    {
        if (length >= Length)
            return;
        int linear = LinearLength;
        if (length <= linear)
        {
            ReleaseFragments(cache);
            Length = length;
            return;
        }
        int left = length - linear, i = 0;
        for (; left > 0; i++)
        {
            ref SkbFragment f = ref _fragments[i];
            f.Length = Math.Min(f.Length, left);
            left -= f.Length;
        }
        for (int drop = i; drop < _fragmentCount; drop++)
            cache.ReleasePage(Pool, _fragments[drop].Page);
        _fragmentCount = i;
        FragmentBytes = length - linear;
        Length = length;
    }

    /// <summary>Drops <paramref name="n"/> bytes from the front, wherever they are. Linux: pskb_pull, __pskb_trim_head.</summary>
    public void DropFront(int n, BufferCache cache)
    {
        Debug.Assert(n <= Length, "the bytes are there");
        int linear = Math.Min(n, LinearLength);
        Pull(linear);
        n -= linear;
        int gone = 0;
        for (int left = n; left > 0;)
        {
            ref SkbFragment f = ref _fragments[gone];
            int take = Math.Min(f.Length, left);
            f.Data += take;
            f.Length -= take;
            left -= take;
            if (f.Length > 0)
                break;
            cache.ReleasePage(Pool, f.Page);
            gone++;
        }
        RemoveFragments(0, gone);
        Length -= n;
        FragmentBytes -= n;
    }

    /// <summary>
    /// Copies <paramref name="target"/>.Length bytes from <paramref name="offset"/> on. The range must lie inside.
    /// Linux: skb_copy_bits.
    /// </summary>
    public void CopyTo(int offset, Span<byte> target)
    {
        Debug.Assert(offset >= 0 && offset + target.Length <= Length, "the range lies inside the buffer");
        int linear = LinearLength;
        if (offset < linear)
        {
            int take = Math.Min(linear - offset, target.Length);
            new ReadOnlySpan<byte>(Data + offset, take).CopyTo(target);
            target = target[take..];
            offset += take;
        }
        offset -= linear;
        for (int i = 0; !target.IsEmpty; i++)
        {
            ref SkbFragment f = ref _fragments[i];
            if (offset < f.Length)
            {
                int take = Math.Min(f.Length - offset, target.Length);
                new ReadOnlySpan<byte>(f.Data + offset, take).CopyTo(target);
                target = target[take..];
                offset = 0;
            }
            else
            {
                offset -= f.Length;
            }
        }
    }

    /// <summary>The partial sum of the bytes from <paramref name="offset"/> to the end. Linux: skb_checksum.</summary>
    public uint Sum(int offset, uint seed)
    {
        Debug.Assert(offset <= Length, "the range lies inside the buffer");
        uint sum = seed;
        int linear = LinearLength, at = 0;
        if (offset < linear)
        {
            sum = Checksum.Partial(Data + offset, linear - offset, sum);
            at = linear - offset;
            offset = 0;
        }
        else
        {
            offset -= linear;
        }
        for (int i = 0; i < _fragmentCount; i++)
        {
            ref SkbFragment f = ref _fragments[i];
            if (offset >= f.Length)
            {
                offset -= f.Length;
                continue;
            }
            sum = Checksum.AddBlock(sum, Checksum.Partial(f.Data + offset, f.Length - offset), at);
            at += f.Length - offset;
            offset = 0;
        }
        return sum;
    }

    /// <summary>
    /// Gives this buffer references to the range [offset, offset + length) of <paramref name="source"/>'s fragments, counted from
    /// the first fragment's start. Buffers of different pools cannot share, so their bytes are copied.
    /// </summary>
    public void ShareFragmentsFrom(SkBuff source, int offset, int length, BufferCache cache)
    {
        for (int i = 0; length > 0; i++)
        {
            ref SkbFragment f = ref source._fragments[i];
            if (offset >= f.Length)
            {
                offset -= f.Length;
                continue;
            }
            int take = Math.Min(f.Length - offset, length);
            if (source.Pool == Pool)
            {
                cache.HoldPage(Pool, f.Page);
                AddFragment(f.Data + offset, take, f.Page);
            }
            else
            {
                cache.AppendCopy(this, new ReadOnlySpan<byte>(f.Data + offset, take));
            }
            length -= take;
            offset = 0;
        }
    }

    /// <summary>
    /// Gives this buffer references to the range [offset, offset + length) of all of <paramref name="source"/>, linear part included;
    /// a linear part that is no page's is copied.
    /// </summary>
    public void ShareRange(SkBuff source, int offset, int length, BufferCache cache)
    {
        int linear = Math.Min(source.LinearLength - offset, length);
        if (linear > 0)
        {
            if (source._headPage != BufferPool.NoPage && source.Pool == Pool)
            {
                cache.HoldPage(Pool, source._headPage);
                AddFragment(source.Data + offset, linear, source._headPage);
            }
            else
            {
                cache.AppendCopy(this, new ReadOnlySpan<byte>(source.Data + offset, linear));
            }
            length -= linear;
            offset += linear;
        }
        if (length > 0)
            ShareFragmentsFrom(source, offset - source.LinearLength, length, cache);
    }

    /// <summary>Moves the bytes behind <paramref name="length"/> to <paramref name="rest"/>, which is empty. No byte is copied. Linux: skb_split.</summary>
    public void SplitTo(SkBuff rest, int length, BufferCache cache)
    {
        Debug.Assert(LinearLength == 0 && rest.Length == 0, "queued payload is in fragments");
        rest.ShareFragmentsFrom(this, length, Length - length, cache);
        Trim(length, cache);
    }

    /// <summary>
    /// Moves up to <paramref name="count"/> bytes from the front of <paramref name="source"/> to the end of this buffer. False if
    /// the fragments would not fit; then nothing has moved. Linux: skb_shift.
    /// </summary>
    public bool TakeFront(SkBuff source, int count, BufferCache cache)
    {
        Debug.Assert(LinearLength == 0 && source.LinearLength == 0 && source.Pool == Pool, "queued payload is in fragments");
        int needed = 0, left = count;
        for (int i = 0; left > 0; i++)
        {
            ref SkbFragment f = ref source._fragments[i];
            bool extends = needed == 0 && i == 0 && CanExtendLast(f.Data, f.Page);
            needed += extends ? 0 : 1;
            left -= f.Length;
        }
        if (_fragmentCount + needed > MaxFragments)
            return false;
        left = count;
        int gone = 0;
        while (left > 0)
        {
            ref SkbFragment f = ref source._fragments[gone];
            int take = Math.Min(f.Length, left);
            bool whole = take == f.Length;
            if (!whole)
                cache.HoldPage(Pool, f.Page);
            Append(f.Data, take, f.Page, cache);
            left -= take;
            if (!whole)
            {
                f.Data += take;
                f.Length -= take;
                break;
            }
            gone++;
        }
        source.RemoveFragments(0, gone);
        source.Length -= count;
        source.FragmentBytes -= count;
        return true;
    }

    /// <summary>
    /// Copies all of <paramref name="from"/>'s payload into the room behind this buffer's linear part, and leaves it empty. False: there
    /// is not so much, or it is not this buffer's alone. Linux: the first part of skb_try_coalesce.
    /// </summary>
    public bool TryTakeIntoTail(SkBuff from, BufferCache cache)
    {
        if (FragmentBytes > 0 || from.Length > Tailroom || LinearIsShared || from.ZeroCopy is not null)
            return false;
        int length = from.Length;
        from.CopyTo(0, new Span<byte>(Put(length), length));
        from.Trim(0, cache);
        return true;
    }

    /// <summary>
    /// Appends all of <paramref name="from"/>'s payload by moving its fragments, and its linear page as one more. False if that
    /// cannot be done without copying. Linux: skb_try_coalesce.
    /// </summary>
    public bool TryCoalesce(SkBuff from, BufferCache cache)
    {
        if (from.Pool != Pool || from.ZeroCopy is not null || ZeroCopy is not null)
            return false;
        int linear = from.LinearLength;
        if (linear > 0 && from._headPage == BufferPool.NoPage)
            return false;
        int slots = _fragmentCount + from._fragmentCount + (linear > 0 ? 1 : 0);
        if (slots > MaxFragments && slots - (from.Continues(this) ? 1 : 0) > MaxFragments)
            return false;
        if (linear > 0)
        {
            cache.HoldPage(Pool, from._headPage);
            Append(from.Data, linear, from._headPage, cache);
        }
        for (int i = 0; i < from._fragmentCount; i++)
        {
            ref SkbFragment f = ref from._fragments[i];
            Append(f.Data, f.Length, f.Page, cache);
        }
        from._fragmentCount = 0;
        from.Length -= from.FragmentBytes;
        from.FragmentBytes = 0;
        from.Trim(0, cache);
        return true;
    }

    // Whether the first piece lies right behind the other's last fragment.
    private bool Continues(SkBuff other) =>
        LinearLength > 0 ? other.CanExtendLast(Data, _headPage) : _fragmentCount > 0 && other.CanExtendLast(_fragments[0].Data, _fragments[0].Page);

    // Appends bytes of a page and takes over the reference to it; a fragment that they continue has one already.
    private void Append(byte* data, int length, int page, BufferCache cache)
    {
        if (!CanExtendLast(data, page))
        {
            AddFragment(data, length, page);
            return;
        }
        ExtendLast(length);
        cache.ReleasePage(Pool, page);
    }

    /// <summary>
    /// Copies what is in the caller's own memory into pages, because the buffer is about to leave for where nobody tells when it is
    /// done with; the caller learns that it was copied. Linux: skb_orphan_frags.
    /// </summary>
    public void CopyForeignFragments(BufferCache cache)
    {
        if (ZeroCopy is not { } notice)
            return;
        for (int i = 0; i < _fragmentCount; i++)
        {
            ref SkbFragment f = ref _fragments[i];
            if (f.Page != BufferPool.NoPage)
                continue;
            int page = cache.AllocPage(f.Length <= BufferPool.SmallPageBytes ? PageSize.Small : PageSize.Large);
            byte* memory = Pool.PageAddress(page);
            Unsafe.CopyBlockUnaligned(memory, f.Data, (uint)f.Length);
            f.Data = memory;
            f.Page = page;
        }
        ZeroCopy = null;
        notice.Copied = true;
        notice.Release(cache);
    }

    /// <summary>Tells the owner that the buffer has come to a place, if he asked.</summary>
    public void Stamp(TransmitStamps place, BufferCache cache)
    {
        if ((Stamps & place) != 0)
            Owner?.OnTransmitStamp(this, place, cache);
    }

    /// <summary>Releases pages and fragments; the buffer is then as the pool holds it.</summary>
    internal void Empty(BufferCache cache)
    {
        ReleaseMemory(cache);
        Head = Data = _ownHead;
        End = _ownHead + OwnHeadSize;
        Length = FragmentBytes = 0;
    }

    internal void ReleaseMemory(BufferCache cache)
    {
        ReleaseFragments(cache);
        if (_headPage != BufferPool.NoPage)
        {
            cache.ReleasePage(Pool, _headPage);
            _headPage = BufferPool.NoPage;
        }
    }

    /// <summary>Whether writing to the linear part touches memory that somebody else sees.</summary>
    public bool LinearIsShared => _headPage != BufferPool.NoPage && Pool.PageReferences(_headPage) > 1;

    private void ReleaseFragments(BufferCache cache)
    {
        for (int i = 0; i < _fragmentCount; i++)
            cache.ReleasePage(Pool, _fragments[i].Page);
        _fragmentCount = 0;
        Length -= FragmentBytes;
        FragmentBytes = 0;
    }

    private void RemoveFragments(int index, int count)
    {
        if (count == 0)
            return;
        Span<SkbFragment> all = _fragments;
        all[(index + count).._fragmentCount].CopyTo(all[index..]);
        _fragmentCount -= count;
    }

    [InlineArray(MaxFragments)]
    private struct FragmentArray
    {
        private SkbFragment _first;
    }
}
