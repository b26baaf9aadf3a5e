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

    // The page that payload is being copied into, and how far it is filled.
    private int _fillPage = BufferPool.NoPage;
    private byte* _fillMemory;
    private int _fillOffset;

    protected BufferCache(BufferPool pool) => Pool = pool;

    public BufferPool Pool { get; }

    /// <summary>Buffers and pages that wait here for use, the page that is being filled among them.</summary>
    public (int Buffers, int Pages) Cached => (_bufferCount, _smallCount + _largeCount + (_fillPage == BufferPool.NoPage ? 0 : 1));

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
            skb.Pool.TakeBack([skb]);
            return;
        }
        if (_bufferCount == _buffers.Length)
        {
            _bufferCount -= Batch;
            Pool.TakeBack(_buffers.AsSpan(_bufferCount, Batch));
        }
        _buffers[_bufferCount++] = skb;
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
        Pool.FirstReference(page);
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
        if (_fillPage != BufferPool.NoPage && _fillOffset == BufferPool.LargePageBytes)
        {
            if (Pool.PageReferences(_fillPage) == 1)
            {
                _fillOffset = 0;
            }
            else
            {
                Pool.ReleasePage(_fillPage, this);
                _fillPage = BufferPool.NoPage;
            }
        }
        if (_fillPage == BufferPool.NoPage)
        {
            _fillPage = AllocPage(PageSize.Large);
            _fillMemory = Pool.PageAddress(_fillPage);
            _fillOffset = 0;
        }
        page = _fillPage;
        return new Span<byte>(_fillMemory + _fillOffset, BufferPool.LargePageBytes - _fillOffset);
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
            Pool.HoldPage(_fillPage);
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
