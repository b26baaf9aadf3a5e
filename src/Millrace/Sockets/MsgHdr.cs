using System;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Millrace.Sockets;

/// <summary>
/// A walk over the caller's memory: one span, or a list of ranges. Copies go through here and nowhere else, so here they are counted.
/// </summary>
/// <remarks>Linux: iov_iter.</remarks>
internal ref struct IoIter
{
    private Span<byte> _now;
    private ReadOnlySpan<IoVec> _rest;

    public IoIter(Span<byte> memory)
    {
        _now = memory;
        Count = memory.Length;
    }

    /// <summary>A walk over memory that is only read from.</summary>
    public static IoIter ForReading(ReadOnlySpan<byte> memory) => new(MemoryMarshal.CreateSpan(
        ref Unsafe.AsRef(in MemoryMarshal.GetReference(memory)), memory.Length));

    public IoIter(ReadOnlySpan<IoVec> ranges)
    {
        _rest = ranges;
        foreach (IoVec range in ranges)
            Count += range.Length;
        NextRange();
    }

    /// <summary>Bytes that are left.</summary>
    public long Count { get; private set; }

    /// <summary>The bytes that lie together from here on; empty only at the end.</summary>
    public readonly Span<byte> Contiguous => _now;

    public void Advance(int n)
    {
        Count -= n;
        _now = _now[n..];
        NextRange();
    }

    /// <summary>Copies from the caller's memory; the count must be there. Linux: copy_from_iter.</summary>
    public void CopyFromUser(scoped Span<byte> target)
    {
        while (!target.IsEmpty)
        {
            int take = Math.Min(target.Length, _now.Length);
            _now[..take].CopyTo(target);
            target = target[take..];
            Advance(take);
        }
    }

    /// <summary>Copies to the caller's memory; the room must be there. Linux: copy_to_iter.</summary>
    public void CopyToUser(scoped ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty)
        {
            int take = Math.Min(source.Length, _now.Length);
            source[..take].CopyTo(_now);
            source = source[take..];
            Advance(take);
        }
    }

    private unsafe void NextRange()
    {
        while (_now.IsEmpty && !_rest.IsEmpty)
        {
            _now = new Span<byte>((void*)_rest[0].Address, checked((int)_rest[0].Length));
            _rest = _rest[1..];
        }
    }
}

/// <summary>One message between a caller and a socket. Linux: msghdr.</summary>
internal ref struct MsgHdr
{
    public IoIter Iter;

    /// <summary>In: how to send or receive.</summary>
    public MessageFlags Flags;

    /// <summary>Out: what was special about it. Linux: msg_flags on return.</summary>
    public MessageFlags OutFlags;

    /// <summary>The other side's address: given to send to, or filled in by receiving.</summary>
    public SockAddr Name;
    public bool HasName;

    /// <summary>Control data: given, or room to fill.</summary>
    public Span<byte> Control;

    /// <summary>Out: bytes of <see cref="Control"/> that are filled.</summary>
    public int ControlLength;

    public readonly bool Has(MessageFlags flag) => (Flags & flag) != 0;

    /// <summary>Appends a control message, or notes that there was no room for all of it. Linux: put_cmsg.</summary>
    public void PutControl(int level, int type, scoped ReadOnlySpan<byte> data)
    {
        const int header = 16;
        int full = header + data.Length;
        Span<byte> room = Control[Math.Min(ControlLength, Control.Length)..];
        if (room.Length < header)
        {
            OutFlags |= MessageFlags.ControlTruncated;
            return;
        }
        int fits = Math.Min(full, room.Length);
        if (fits < full)
            OutFlags |= MessageFlags.ControlTruncated;
        BitConverter.TryWriteBytes(room, (ulong)fits);
        BitConverter.TryWriteBytes(room[8..], level);
        BitConverter.TryWriteBytes(room[12..], type);
        data[..(fits - header)].CopyTo(room[header..]);
        ControlLength += Math.Min((fits + 7) & ~7, room.Length);
    }
}
