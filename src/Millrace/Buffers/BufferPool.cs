using System;
using System.Collections.Generic;
using System.Threading;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Buffers;

/// <summary>The two sizes of page: one holds any packet of a common MTU, the other what a super-packet's payload needs.</summary>
internal enum PageSize : byte
{
    Small,
    Large,
}

/// <summary>
/// Where a stack's packet memory comes from: <see cref="SkBuff"/>s and pages, which live for ever in slabs of one age and go round
/// last in, first out. A page is a number; its reference count and address stand in arrays without references, so the collector
/// has nothing to trace and nothing to mark.
/// </summary>
/// <remarks>
/// Shared by the CPUs of a stack, which keep private caches (<see cref="BufferCache"/>), and by stacks that are wired together:
/// what another stack frees comes home. Memory is never returned to the system, which measured four times dearer than keeping it.
/// </remarks>
internal sealed unsafe class BufferPool
{
    public const int NoPage = -1;
    public const int SmallPageBytes = 2048;
    public const int LargePageBytes = 65536;

    private const int SlabBytes = 1 << 20;
    private const int SlabShift = 9;
    private const int MaxPagesPerSlab = 1 << SlabShift;
    private const int BuffersPerSlab = 128;

    private readonly Lock _lock = new();
    private readonly Stack<int> _freeSmall = new(), _freeLarge = new();
    private readonly Stack<SkBuff> _freeBuffers = new();
    private readonly List<byte[]> _pinned = [];
    private readonly Prng _priorities;
    private volatile PageSlab[] _slabs = [];
    private int _buffers, _pages;
    private long _allocatedBytes;

    public BufferPool(ulong seed) => _priorities = new Prng(seed);

    /// <summary>Bytes of memory taken from the system so far.</summary>
    public long AllocatedBytes
    {
        get
        {
            lock (_lock)
                return _allocatedBytes;
        }
    }

    /// <summary>Buffers and pages that the pool has given out, to packets or to the caches of CPUs.</summary>
    public (int Buffers, int Pages) InUse
    {
        get
        {
            lock (_lock)
                return (_buffers - _freeBuffers.Count, _pages - _freeSmall.Count - _freeLarge.Count);
        }
    }

    /// <summary>Buffers that exist, in use or free.</summary>
    public int BufferCount => Volatile.Read(ref _buffers);

    public static int BytesOf(PageSize size) => size == PageSize.Small ? SmallPageBytes : LargePageBytes;

    public byte* PageAddress(int page)
    {
        PageSlab slab = _slabs[page >> SlabShift];
        return slab.Base + (nint)(page & (MaxPagesPerSlab - 1)) * slab.PageBytes;
    }

    public int PageReferences(int page) => Volatile.Read(ref _slabs[page >> SlabShift].References[page & (MaxPagesPerSlab - 1)]);

    /// <summary>Takes one more reference to a page that the caller holds a reference to.</summary>
    /// <remarks>Memory that is no page of the pool, but the user's own, has nothing to count.</remarks>
    public void HoldPage(int page)
    {
        if (page != NoPage)
            AddReference(page);
    }

    private void AddReference(int page) => Atomic.Increment(ref _slabs[page >> SlabShift].References[page & (MaxPagesPerSlab - 1)]);

    /// <summary>Gives references back; the last one returns the page, by way of the freeing CPU's cache.</summary>
    public void ReleasePage(int page, BufferCache cache, int count = 1)
    {
        if (page == NoPage)
            return;
        PageSlab slab = _slabs[page >> SlabShift];
        ref int references = ref slab.References[page & (MaxPagesPerSlab - 1)];
        // The only holder needs no atomic operation: nobody else can be counting.
        if (Volatile.Read(ref references) != count && Atomic.Add(ref references, -count) != 0)
            return;
        references = 0;
        cache.Keep(this, page, slab.Size);
    }

    internal void TakeBack(ReadOnlySpan<int> pages, PageSize size)
    {
        lock (_lock)
        {
            Stack<int> free = size == PageSize.Small ? _freeSmall : _freeLarge;
            foreach (int page in pages)
                free.Push(page);
        }
    }

    /// <summary>Fills <paramref name="pages"/>, growing by a slab if the pool runs dry.</summary>
    internal void Fetch(Span<int> pages, PageSize size)
    {
        lock (_lock)
        {
            Stack<int> free = size == PageSize.Small ? _freeSmall : _freeLarge;
            foreach (ref int page in pages)
            {
                if (free.Count == 0)
                    AddPageSlab(size);
                page = free.Pop();
            }
        }
    }

    /// <summary>Sets the reference count of a page that the caller alone has.</summary>
    internal void SetReferences(int page, int count) => _slabs[page >> SlabShift].References[page & (MaxPagesPerSlab - 1)] = count;

    internal void TakeBack(ReadOnlySpan<SkBuff> buffers)
    {
        lock (_lock)
        {
            foreach (SkBuff skb in buffers)
                _freeBuffers.Push(skb);
        }
    }

    internal void Fetch(Span<SkBuff?> buffers)
    {
        lock (_lock)
        {
            foreach (ref SkBuff? skb in buffers)
            {
                if (_freeBuffers.Count == 0)
                    AddBufferSlab();
                skb = _freeBuffers.Pop();
            }
        }
    }

    private void AddPageSlab(PageSize size)
    {
        int pageBytes = BytesOf(size);
        int count = SlabBytes / pageBytes;
        byte[] memory = AllocatePinned(SlabBytes + LargePageBytes);
        fixed (byte* p = memory)
        {
            byte* start = (byte*)(((nint)p + LargePageBytes - 1) & ~(nint)(LargePageBytes - 1));
            int slab = _slabs.Length;
            _slabs = [.. _slabs, new PageSlab(start, size, pageBytes, count)];
            Stack<int> free = size == PageSize.Small ? _freeSmall : _freeLarge;
            for (int i = count - 1; i >= 0; i--)
                free.Push(slab << SlabShift | i);
            _pages += count;
        }
    }

    private void AddBufferSlab()
    {
        byte[] heads = AllocatePinned(BuffersPerSlab * SkBuff.OwnHeadSize);
        fixed (byte* p = heads)
        {
            for (int i = BuffersPerSlab - 1; i >= 0; i--)
                _freeBuffers.Push(new SkBuff(this, p + i * SkBuff.OwnHeadSize, _priorities.NextUInt32()));
        }
        _buffers += BuffersPerSlab;
    }

    private byte[] AllocatePinned(int bytes)
    {
        byte[] memory = GC.AllocateUninitializedArray<byte>(bytes, pinned: true);
        _pinned.Add(memory);
        _allocatedBytes += bytes;
        return memory;
    }

    private sealed class PageSlab(byte* start, PageSize size, int pageBytes, int count)
    {
        public readonly byte* Base = start;
        public readonly PageSize Size = size;
        public readonly int PageBytes = pageBytes;
        public readonly int[] References = new int[count];
    }
}
