using System;
using System.Collections.Generic;
using System.Threading;

namespace Millrace.Linux;

/// <summary>
/// One XDP socket: memory for frames, and four rings through which the socket and the kernel pass each other the frames' numbers. One
/// half of the frames is for receiving, the other for sending.
/// </summary>
/// <remarks>Linux: UMEM, fill, completion, RX and TX ring. One thread receives, one sends.</remarks>
internal sealed unsafe class XdpSocket : IDisposable
{
    private const int RingSize = 2048, FrameSize = 4096, KernelHeadroom = 256, FrameHeader = 18;

    /// <summary>The largest IP packet that a frame holds.</summary>
    public const int MaxMtu = FrameSize - KernelHeadroom - FrameHeader;

    private const int RxRingOption = 2, TxRingOption = 3, MemoryOption = 4, FillRingOption = 5, CompletionRingOption = 6, ModeOption = 8;
    private const long RxOffset = 0, TxOffset = 0x8000_0000, FillOffset = 0x1_0000_0000, CompletionOffset = 0x1_8000_0000;
    private const ushort Copy = 2, ZeroCopy = 4, UseNeedWakeup = 8;
    private const int DontWait = 0x40;

    private readonly Stack<ulong> _free = new(RingSize);
    private readonly List<IDisposable> _mappings = [];
    private SharedMemory _memory = null!;
    private XdpRing _rx, _tx, _fill, _completion;

    private XdpSocket(QueueDescriptor descriptor) => Descriptor = descriptor;

    public QueueDescriptor Descriptor { get; }

    public bool IsZeroCopy
    {
        get
        {
            int flags = 0;
            uint length = sizeof(int);
            return Libc.GetSockOpt(Descriptor.Fd, Libc.LevelXdp, ModeOption, &flags, &length) == 0 && (flags & 1) != 0;
        }
    }

    public static XdpSocket Open(AttachedInterface attached, int queue, bool? zeroCopy)
    {
        int fd = Libc.Socket(Libc.AddressFamilyXdp, Libc.SocketRaw | Libc.CloseOnExec, 0);
        if (fd < 0)
            throw new LinuxDeviceException($"Cannot make an XDP socket: {Libc.LastError}.", Libc.LastError);
        var socket = new XdpSocket(new QueueDescriptor(fd, attached.EventsFd));
        try
        {
            socket.MakeRings();
            socket.Bind(attached.Link, queue, zeroCopy);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Copies the next frame out; 0 if there is none.</summary>
    public int Receive(ReadOnlySpan<IoVec> pieces)
    {
        if (!_rx.TryPeek(out uint at))
            return 0;
        ref XdpDescriptor descriptor = ref _rx.Descriptor(at);
        int length = Pieces.Scatter(_memory.Start + descriptor.Address, (int)descriptor.Length, pieces);
        ulong frame = descriptor.Address & ~(ulong)(FrameSize - 1);
        _rx.Consume(at);
        _fill.Produce(frame);
        return length;
    }

    /// <summary>Queues a frame for the next <see cref="Flush"/>; 0 if it is too long, or no memory is free.</summary>
    public int Transmit(ReadOnlySpan<IoVec> pieces)
    {
        int length = Pieces.LengthOf(pieces);
        if (length > FrameSize || !TryTakeFrame(out ulong frame))
            return 0;
        Pieces.Gather(pieces, _memory.Start + frame);
        _tx.Produce(new XdpDescriptor { Address = frame, Length = (uint)length });
        return length;
    }

    /// <summary>Lets the kernel send what is queued. A call sends a batch; one that sends nothing is the last.</summary>
    public void Flush()
    {
        uint left = _tx.Unconsumed;
        while (left > 0 && _tx.NeedsWakeup)
        {
            _ = Libc.Send(Descriptor.Fd, null, 0, DontWait);
            uint now = _tx.Unconsumed;
            if (now == left)
                return;
            left = now;
        }
    }

    public void Dispose()
    {
        Descriptor.Dispose();
        foreach (IDisposable mapping in _mappings)
            mapping.Dispose();
    }

    private bool TryTakeFrame(out ulong frame)
    {
        if (_free.Count == 0)
            Reclaim();
        if (_free.Count == 0)
        {
            Flush();
            Reclaim();
        }
        return _free.TryPop(out frame);
    }

    private void Reclaim()
    {
        while (_completion.TryPeek(out uint at))
        {
            _free.Push(_completion.Address(at));
            _completion.Consume(at);
        }
    }

    private void MakeRings()
    {
        const long bytes = 2L * RingSize * FrameSize;
        _memory = Keep(SharedMemory.Allocate(bytes));
        ulong* registration = stackalloc ulong[] { (ulong)_memory.Start, (ulong)bytes, FrameSize, 0 };
        Set(MemoryOption, registration, 4 * sizeof(ulong));
        int size = RingSize;
        foreach (int option in (ReadOnlySpan<int>)[FillRingOption, CompletionRingOption, RxRingOption, TxRingOption])
            Set(option, &size, sizeof(int));
        ulong* offsets = stackalloc ulong[4 * XdpRing.OffsetWords];
        uint length = 4 * XdpRing.OffsetWords * sizeof(ulong);
        if (Libc.GetSockOpt(Descriptor.Fd, Libc.LevelXdp, 1, offsets, &length) < 0)
            throw Refused();
        _rx = MapRing(RxOffset, offsets, sizeof(XdpDescriptor));
        _tx = MapRing(TxOffset, offsets + XdpRing.OffsetWords, sizeof(XdpDescriptor));
        _fill = MapRing(FillOffset, offsets + 2 * XdpRing.OffsetWords, sizeof(ulong));
        _completion = MapRing(CompletionOffset, offsets + 3 * XdpRing.OffsetWords, sizeof(ulong));
        for (ulong i = 0; i < RingSize; i++)
        {
            _fill.Produce(i * FrameSize);
            _free.Push((RingSize + i) * FrameSize);
        }
    }

    private XdpRing MapRing(long offset, ulong* offsets, int entrySize)
    {
        SharedMemory ring = Keep(SharedMemory.Of(Descriptor.Fd, (long)offsets[2] + (long)RingSize * entrySize, offset));
        return new XdpRing(ring.Start, offsets, RingSize);
    }

    private void Bind(LinkInfo link, int queue, bool? zeroCopy)
    {
        uint* address = stackalloc uint[4];
        ushort flags = (ushort)(UseNeedWakeup | (zeroCopy switch { true => ZeroCopy, false => Copy, null => 0 }));
        address[0] = Libc.AddressFamilyXdp | (uint)flags << 16;
        address[1] = (uint)link.Index;
        address[2] = (uint)queue;
        address[3] = 0;
        Errno error = BindPatiently(address);
        if (error == Errno.OK)
            return;
        throw error switch
        {
            Errno.EBUSY => new LinuxDeviceException($"Queue {queue} of {link.Name} is another program's.", error),
            Errno.EINVAL => new LinuxDeviceException($"{link.Name} has no queue {queue}, or not for XDP sockets.", error),
            Errno.EOPNOTSUPP => new LinuxDeviceException($"{link.Name} cannot read and write the stack's memory itself.", error),
            _ => new LinuxDeviceException($"Cannot bind an XDP socket to queue {queue} of {link.Name}: {error}.", error),
        };
    }

    // The kernel takes a queue from a socket that is gone in a work item of its own, some time later.
    private Errno BindPatiently(uint* address)
    {
        const int attempts = 100;
        for (int i = 1; ; i++)
        {
            if (Libc.Bind(Descriptor.Fd, address, 4 * sizeof(uint)) == 0)
                return Errno.OK;
            Errno error = Libc.LastError;
            if (error != Errno.EBUSY || i == attempts)
                return error;
            Thread.Sleep(10);
        }
    }

    private SharedMemory Keep(SharedMemory memory)
    {
        _mappings.Add(memory);
        return memory;
    }

    private void Set(int option, void* value, uint length)
    {
        if (Libc.SetSockOpt(Descriptor.Fd, Libc.LevelXdp, option, value, length) < 0)
            throw Refused();
    }

    private static LinuxDeviceException Refused()
    {
        Errno error = Libc.LastError;
        return error == Errno.ENOBUFS
            ? new LinuxDeviceException("The memory of an XDP socket does not fit the limit of locked memory (ulimit -l).", error)
            : new LinuxDeviceException($"The kernel does not make an XDP socket's rings: {error}.", error);
    }
}

/// <summary>A frame's place in an XDP socket's memory. Linux: struct xdp_desc.</summary>
internal struct XdpDescriptor
{
    public ulong Address;
    public uint Length, Options;
}

/// <summary>One ring of an XDP socket, of which this side is the producer or the consumer. Its size is a power of two.</summary>
/// <remarks>Linux: struct xdp_ring_offset. The counters run on; only their owner writes them.</remarks>
internal readonly unsafe struct XdpRing(byte* start, ulong* offsets, uint size)
{
    /// <summary>Words that tell where a ring's parts are.</summary>
    public const int OffsetWords = 4;

    private const uint NeedWakeup = 1;

    private readonly uint* _producer = (uint*)(start + offsets[0]), _consumer = (uint*)(start + offsets[1]), _flags = (uint*)(start + offsets[3]);
    private readonly byte* _entries = start + offsets[2];
    private readonly uint _mask = size - 1;

    /// <summary>Whether the kernel waits to be called.</summary>
    public bool NeedsWakeup => (Volatile.Read(ref *_flags) & NeedWakeup) != 0;

    /// <summary>What the other side has not yet taken.</summary>
    public uint Unconsumed => *_producer - Volatile.Read(ref *_consumer);

    public ref XdpDescriptor Descriptor(uint at) => ref ((XdpDescriptor*)_entries)[at & _mask];

    public ulong Address(uint at) => ((ulong*)_entries)[at & _mask];

    public bool TryPeek(out uint at)
    {
        at = *_consumer;
        return Volatile.Read(ref *_producer) != at;
    }

    public void Consume(uint at) => Volatile.Write(ref *_consumer, at + 1);

    /// <summary>There is room: the ring holds all the frames that there are.</summary>
    public void Produce(ulong address)
    {
        uint at = *_producer;
        ((ulong*)_entries)[at & _mask] = address;
        Volatile.Write(ref *_producer, at + 1);
    }

    /// <inheritdoc cref="Produce(ulong)"/>
    public void Produce(in XdpDescriptor descriptor)
    {
        uint at = *_producer;
        ((XdpDescriptor*)_entries)[at & _mask] = descriptor;
        Volatile.Write(ref *_producer, at + 1);
    }
}
