using System;
using System.Diagnostics;

namespace Millrace.Buffers;

/// <summary>
/// One CPU's private stock of buffers and pages, last in first out, so that what is handed out next is what was used last and is
/// still in the cache. Touched only by the holder of the CPU, so it needs no lock. Base of the CPU.
/// </summary>
/// <remarks>Linux: the per-CPU page lists, napi_alloc_cache and task_frag.</remarks>
internal abstract unsafe class BufferCache
{
    private const int Batch = 32;

    private readonly int[] _small = new int[8 * Batch];
    private readonly int[] _large = new int[2 * Batch];
    private readonly SkBuff[] _buffers = new SkBuff[8 * Batch];
    private int _smallCount, _largeCount, _bufferCount;

    // Buffers of another stack that have ended here, and go home together.
    private readonly SkBuff[] _foreign = new SkBuff[Batch];
    private int _foreignCount;

    // The page that payload is being copied into, and how far it is filled. Its count in the pool stands FillBias above the references
    // that others hold; those that this CPU has given out, less those that it was given back, are counted here, with no atomic operation.
    // Linux: pagecnt_bias of page_frag_cache.
    private const int FillBias = 1 << 28;
    private const int NoFillPage = -2;
    private int _fillPage = NoFillPage;
    private byte* _fillMemory;
    private int _fillOffset, _fillGiven;

    protected BufferCache(BufferPool pool) => Pool = pool;

    public BufferPool Pool { get; }

    /// <summary>Buffers and pages that wait here for use, the page that is being filled among them.</summary>
    public (int Buffers, int Pages) Cached => (_bufferCount, _smallCount + _largeCount + (_fillPage == NoFillPage ? 0 : 1));

    /// <summary>Bytes that were copied from one place of the stack to another, which the path of payload does not do.</summary>
    public long AppendedBytes { get; private set; }

    /// <summary>An empty buffer on its own head with <paramref name="headroom"/> bytes before the data. Linux: alloc_skb.</summary>
    public SkBuff AllocSkb(int headroom = 0)
    {
        if (_bufferCount == 0)
        {
            Pool.Fetch(_buffers.AsSpan(0, Batch)!);
            _bufferCount = Batch;
        }
        SkBuff skb = _buffers[--_bufferCount];
        skb.Reset(headroom);
        return skb;
    }

    /// <summary>Ends a buffer: its owner is told, its memory goes back. Linux: kfree_skb, consume_skb.</summary>
    public void FreeSkb(SkBuff skb)
    {
        Debug.Assert(skb.Next is null && skb.Parent is null, "a buffer in a queue is not freed");
        if (skb.ZeroCopy is { } notice)
        {
            skb.ZeroCopy = null;
            notice.Release(this);
        }
        Orphan(skb);
        skb.ReleaseMemory(this);
        if (skb.Pool != Pool)
        {
            SendHome(skb);
            return;
        }
        if (_bufferCount == _buffers.Length)
        {
            _bufferCount -= Batch;
            Pool.TakeBack(_buffers.AsSpan(_bufferCount, Batch));
        }
        _buffers[_bufferCount++] = skb;
    }

    private void SendHome(SkBuff skb)
    {
        if (_foreignCount == Batch || (_foreignCount > 0 && _foreign[0].Pool != skb.Pool))
        {
            _foreign[0].Pool.TakeBack(_foreign.AsSpan(0, _foreignCount));
            _foreignCount = 0;
        }
        _foreign[_foreignCount++] = skb;
    }

    /// <summary>Frees all of a queue. Linux: __skb_queue_purge.</summary>
    public void FreeAll(SkBuffHead queue)
    {
        while (queue.PopFirst() is { } skb)
            FreeSkb(skb);
    }

    /// <summary>Takes a buffer from its owner's account: it leaves the host that the owner lives in. Linux: skb_orphan.</summary>
    public void Orphan(SkBuff skb)
    {
        BufferOwner? owner = skb.Owner;
        if (owner is null)
            return;
        ChargeKind charge = skb.Charge;
        skb.Owner = null;
        skb.Charge = ChargeKind.None;
        if (charge != ChargeKind.None)
            owner.OnBufferGone(skb, charge, this);
    }

    /// <summary>A page with one reference, which is the caller's.</summary>
    public int AllocPage(PageSize size)
    {
        ref int count = ref (size == PageSize.Small ? ref _smallCount : ref _largeCount);
        int[] pages = size == PageSize.Small ? _small : _large;
        if (count == 0)
        {
            int take = size == PageSize.Small ? Batch : 4;
            Pool.Fetch(pages.AsSpan(0, take), size);
            count = take;
        }
        int page = pages[--count];
        Pool.SetReferences(page, 1);
        return page;
    }

    /// <summary>Takes back a page whose last reference is gone.</summary>
    internal void Keep(BufferPool home, int page, PageSize size)
    {
        if (home != Pool)
        {
            home.TakeBack([page], size);
            return;
        }
        ref int count = ref (size == PageSize.Small ? ref _smallCount : ref _largeCount);
        int[] pages = size == PageSize.Small ? _small : _large;
        if (count == pages.Length)
        {
            count -= Batch;
            Pool.TakeBack(pages.AsSpan(count, Batch), size);
        }
        pages[count++] = page;
    }

    /// <summary>
    /// A new buffer whose linear part is one page that holds <paramref name="size"/> bytes behind <paramref name="headroom"/>.
    /// </summary>
    public SkBuff AllocLinear(int size, int headroom = 64)
    {
        PageSize kind = size + headroom <= BufferPool.SmallPageBytes ? PageSize.Small : PageSize.Large;
        Debug.Assert(size + headroom <= BufferPool.BytesOf(kind), "an IP packet fits a large page, or is built of fragments");
        SkBuff skb = AllocSkb();
        int page = AllocPage(kind);
        skb.UsePage(page, Pool.PageAddress(page), BufferPool.BytesOf(kind), headroom, 0);
        return skb;
    }

    /// <summary>
    /// Room to copy payload into: at least one byte, at most a page. What is used of it is committed with
    /// <see cref="CommitFill"/>. Linux: sk_page_frag_refill.
    /// </summary>
    public Span<byte> FillSpace(out int page)
    {
        if (_fillPage != NoFillPage && _fillOffset == BufferPool.LargePageBytes)
        {
            bool isAlone = Pool.PageReferences(_fillPage) + _fillGiven == FillBias;
            if (!isAlone)
                LeaveFillPage();
            else
                BeginFillPage(_fillPage);
        }
        if (_fillPage == NoFillPage)
            BeginFillPage(AllocPage(PageSize.Large));
        page = _fillPage;
        return new Span<byte>(_fillMemory + _fillOffset, BufferPool.LargePageBytes - _fillOffset);
    }

    // Nobody else refers to the page, so nobody else counts.
    private void BeginFillPage(int page)
    {
        Pool.SetReferences(page, FillBias);
        _fillPage = page;
        _fillMemory = Pool.PageAddress(page);
        _fillOffset = _fillGiven = 0;
    }

    private void LeaveFillPage()
    {
        int page = _fillPage;
        _fillPage = NoFillPage;
        Pool.ReleasePage(page, this, FillBias - _fillGiven);
    }

    /// <summary>Takes one more reference to a page of <paramref name="pool"/>, to which the caller holds one already.</summary>
    public void HoldPage(BufferPool pool, int page)
    {
        if (page == _fillPage && pool == Pool)
            _fillGiven++;
        else
            pool.HoldPage(page);
    }

    /// <summary>Gives a reference to a page of <paramref name="pool"/> back; the last one returns the page.</summary>
    public void ReleasePage(BufferPool pool, int page)
    {
        if (page == _fillPage && pool == Pool)
            _fillGiven--;
        else
            pool.ReleasePage(page, this);
    }

    /// <summary>Appends the first <paramref name="length"/> bytes of the fill space to <paramref name="skb"/>.</summary>
    public void CommitFill(SkBuff skb, int length)
    {
        byte* data = _fillMemory + _fillOffset;
        if (skb.CanExtendLast(data, _fillPage))
        {
            skb.ExtendLast(length);
        }
        else
        {
            _fillGiven++;
            skb.AddFragment(data, length, _fillPage);
        }
        _fillOffset += length;
    }

    /// <summary>Appends a copy of <paramref name="data"/> to a buffer that has fragment slots for it.</summary>
    public void AppendCopy(SkBuff skb, ReadOnlySpan<byte> data)
    {
        AppendedBytes += data.Length;
        while (!data.IsEmpty)
        {
            Span<byte> space = FillSpace(out _);
            int take = Math.Min(space.Length, data.Length);
            data[..take].CopyTo(space);
            CommitFill(skb, take);
            data = data[take..];
        }
    }

    /// <summary>Appends a copy of the bytes of <paramref name="source"/> from <paramref name="offset"/> to its end.</summary>
    public void AppendCopy(SkBuff skb, SkBuff source, int offset)
    {
        AppendedBytes += source.Length - offset;
        while (offset < source.Length)
        {
            Span<byte> space = FillSpace(out _);
            int take = Math.Min(space.Length, source.Length - offset);
            source.CopyTo(offset, space[..take]);
            CommitFill(skb, take);
            offset += take;
        }
    }

    /// <summary>
    /// Copies a buffer's payload together, so that the pages which it was in can go. What stood before it, headers, is lost.
    /// </summary>
    public void Compact(SkBuff skb)
    {
        int length = skb.Length;
        byte[] bytes = System.Buffers.ArrayPool<byte>.Shared.Rent(length);
        skb.CopyTo(0, bytes.AsSpan(0, length));
        skb.Empty(this);
        AppendCopy(skb, bytes.AsSpan(0, length));
        System.Buffers.ArrayPool<byte>.Shared.Return(bytes);
    }

    /// <summary>Whether <paramref name="skb"/> can take more of the fill space without a new fragment slot, or has one.</summary>
    public bool CanFill(SkBuff skb) =>
        skb.FragmentCount < SkBuff.MaxFragments || skb.CanExtendLast(_fillMemory + _fillOffset, _fillPage);
}
