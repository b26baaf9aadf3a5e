using System;
using System.Diagnostics;
using System.Numerics;
using Millrace.Buffers;

namespace Millrace.Sched;

/// <summary>A deadline in a <see cref="TimerWheel"/>. Linux: timer_list.</summary>
/// <remarks>
/// A sock is its own timer node, and is what buffers are charged to: the one is the base of the other because a class has one base, and
/// a million socks save an object each.
/// </remarks>
internal abstract class TimerNode : BufferOwner
{
    internal long Expires;

    /// <summary>Where it stands in whatever keeps its deadline, counted from 1; 0: nowhere. The links are there, for most nodes are idle.</summary>
    internal int Position;

    public bool IsQueued => Position != 0;

    /// <summary>The deadline has come. Runs in softirq, with no lock held; the node is not queued and may be armed again.</summary>
    internal abstract void Fire(Cpu cpu);
}

/// <summary>
/// A hierarchical timing wheel with a resolution of one microsecond: eight levels of 64 slots. Inserting and removing are O(1); a node
/// moves down once per level that it lies ahead, and fires at its exact time. The links of the slots' lists are numbers in slabs, which
/// grow by one at a time and are used again last in first out.
/// </summary>
/// <remarks>Varghese and Lauck, "Hashed and hierarchical timing wheels". Not synchronised.</remarks>
internal sealed class TimerWheel
{
    private const int Levels = 8;
    private const int SlotBits = 6;
    private const int Slots = 1 << SlotBits;
    private const long Horizon = 1L << (Levels * SlotBits);

    private const int SlabShift = 10;
    private const int SlabSize = 1 << SlabShift;

    /// <summary>The list of what is due, behind those of the slots.</summary>
    private const int Due = Levels * Slots;

    // Links and heads are places: 0 is none.
    private readonly int[] _heads = new int[Due + 1];
    private readonly ulong[] _occupied = new ulong[Levels];
    private Link[][] _slabs = [];
    private int _free;
    private long _now;

    /// <summary>Nodes in the wheel.</summary>
    public int Count { get; private set; }

    public void Insert(TimerNode node, Micros at)
    {
        Debug.Assert(!node.IsQueued, "a node stands in one slot");
        node.Expires = at.Value;
        if (_free == 0)
            Grow();
        int place = _free;
        ref Link link = ref At(place);
        _free = link.Next;
        link.Node = node;
        node.Position = place;
        Count++;
        Place(place);
    }

    public void Remove(TimerNode node)
    {
        Debug.Assert(node.IsQueued, "only a queued node can be removed");
        int place = node.Position;
        Unlink(place);
        ref Link link = ref At(place);
        link.Node = null;
        link.Next = _free;
        _free = place;
        node.Position = 0;
        Count--;
    }

    /// <summary>A time at or before the earliest deadline, when <see cref="TakeDue"/> should be called; Never if empty.</summary>
    public Micros NextExpiry
    {
        get
        {
            if (_heads[Due] != 0)
                return new Micros(_now);
            for (int level = 0; level < Levels; level++)
            {
                if (_occupied[level] != 0)
                    return new Micros(NextSlotStart(level));
            }
            return Micros.Never;
        }
    }

    /// <summary>Moves the wheel to <paramref name="now"/>, or to the first deadline before it, whose node it takes out; null: none is due.</summary>
    public TimerNode? TakeDue(Micros now)
    {
        while (true)
        {
            if (_heads[Due] is not 0 and int first)
            {
                TimerNode node = At(first).Node!;
                Remove(node);
                return node;
            }
            long next = NextExpiry.Value;
            if (next > now.Value)
                break;
            _now = next;
            Cascade();
        }
        if (now.Value > _now)
            _now = now.Value;
        return null;
    }

    private long NextSlotStart(int level)
    {
        int shift = level * SlotBits;
        int current = (int)(_now >> shift) & (Slots - 1);
        int ahead = BitOperations.TrailingZeroCount(BitOperations.RotateRight(_occupied[level], current));
        // The present slot of a level above the lowest holds only what is a whole turn ahead.
        if (ahead == 0 && level > 0)
            ahead = Slots;
        return ((_now >> shift) + ahead) << shift;
    }

    // The slots that begin now give up their nodes: to a finer level, or to the due list.
    private void Cascade()
    {
        for (int level = Levels - 1; level >= 0; level--)
        {
            int shift = level * SlotBits;
            if ((_now & ((1L << shift) - 1)) != 0)
                continue;
            int index = level * Slots + ((int)(_now >> shift) & (Slots - 1));
            int place = _heads[index];
            _heads[index] = 0;
            _occupied[level] &= ~(1UL << (index & (Slots - 1)));
            while (place != 0)
            {
                int next = At(place).Next;
                Place(place);
                place = next;
            }
        }
    }

    private void Place(int place)
    {
        long expires = At(place).Node!.Expires;
        if (expires <= _now)
        {
            PushFirst(place, Due);
            return;
        }
        long at = expires - _now >= Horizon ? _now + Horizon - 1 : expires;
        int level = (63 - BitOperations.LeadingZeroCount((ulong)(at ^ _now) | (Slots - 1))) / SlotBits;
        if (level >= Levels)
            level = Levels - 1;
        int slot = (int)(at >> (level * SlotBits)) & (Slots - 1);
        _occupied[level] |= 1UL << slot;
        PushFirst(place, level * Slots + slot);
    }

    // ---- The lists ----

    private ref Link At(int place) => ref _slabs[(place - 1) >> SlabShift][(place - 1) & (SlabSize - 1)];

    private void Grow()
    {
        int slab = _slabs.Length;
        Array.Resize(ref _slabs, slab + 1);
        _slabs[slab] = new Link[SlabSize];
        for (int place = (slab + 1) << SlabShift; place > slab << SlabShift; place--)
        {
            At(place).Next = _free;
            _free = place;
        }
    }

    private void PushFirst(int place, int list)
    {
        ref Link link = ref At(place);
        ref int head = ref _heads[list];
        link.List = list;
        link.Prev = 0;
        link.Next = head;
        if (head != 0)
            At(head).Prev = place;
        head = place;
    }

    private void Unlink(int place)
    {
        ref Link link = ref At(place);
        if (link.Next != 0)
            At(link.Next).Prev = link.Prev;
        if (link.Prev != 0)
            At(link.Prev).Next = link.Next;
        else
            _heads[link.List] = link.Next;
        if (link.List != Due && _heads[link.List] == 0)
            _occupied[link.List / Slots] &= ~(1UL << (link.List & (Slots - 1)));
    }

    private struct Link
    {
        public TimerNode? Node;
        public int Next, Prev, List;
    }
}
