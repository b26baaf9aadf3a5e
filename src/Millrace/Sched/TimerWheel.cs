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
    internal TimerNode? Next, Prev;
    internal long Expires;
    internal byte Level, Slot;

    public bool IsQueued { get; internal set; }

    /// <summary>The deadline has come. Runs in softirq, with no lock held; the node is not queued and may be armed again.</summary>
    internal abstract void Fire(Cpu cpu);
}

/// <summary>
/// A hierarchical timing wheel with a resolution of one microsecond: eight levels of 64 slots. Inserting and removing are O(1); a node
/// moves down once per level that it lies ahead, and fires at its exact time.
/// </summary>
/// <remarks>Varghese and Lauck, "Hashed and hierarchical timing wheels". Not synchronised.</remarks>
internal sealed class TimerWheel
{
    private const int Levels = 8;
    private const int SlotBits = 6;
    private const int Slots = 1 << SlotBits;
    private const long Horizon = 1L << (Levels * SlotBits);

    private readonly TimerNode?[] _slots = new TimerNode?[Levels * Slots];
    private readonly ulong[] _occupied = new ulong[Levels];
    private TimerNode? _due;
    private long _now;

    /// <summary>Nodes in the wheel.</summary>
    public int Count { get; private set; }

    public void Insert(TimerNode node, Micros at)
    {
        Debug.Assert(!node.IsQueued, "a node stands in one slot");
        node.Expires = at.Value;
        node.IsQueued = true;
        Count++;
        Place(node);
    }

    public void Remove(TimerNode node)
    {
        Debug.Assert(node.IsQueued, "only a queued node can be removed");
        Unlink(node);
        node.IsQueued = false;
        Count--;
    }

    /// <summary>A time at or before the earliest deadline, when <see cref="TakeDue"/> should be called; Never if empty.</summary>
    public Micros NextExpiry
    {
        get
        {
            if (_due is not null)
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
            if (_due is { } node)
            {
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
            TimerNode? node = _slots[index];
            _slots[index] = null;
            _occupied[level] &= ~(1UL << (index & (Slots - 1)));
            while (node is not null)
            {
                TimerNode? next = node.Next;
                Place(node);
                node = next;
            }
        }
    }

    private void Place(TimerNode node)
    {
        if (node.Expires <= _now)
        {
            Link(node, ref _due, Levels, 0);
            return;
        }
        long at = node.Expires - _now >= Horizon ? _now + Horizon - 1 : node.Expires;
        int level = (63 - BitOperations.LeadingZeroCount((ulong)(at ^ _now) | (Slots - 1))) / SlotBits;
        if (level >= Levels)
            level = Levels - 1;
        int slot = (int)(at >> (level * SlotBits)) & (Slots - 1);
        _occupied[level] |= 1UL << slot;
        Link(node, ref _slots[level * Slots + slot], level, slot);
    }

    private static void Link(TimerNode node, ref TimerNode? head, int level, int slot)
    {
        node.Level = (byte)level;
        node.Slot = (byte)slot;
        node.Prev = null;
        node.Next = head;
        if (head is not null)
            head.Prev = node;
        head = node;
    }

    private void Unlink(TimerNode node)
    {
        if (node.Next is not null)
            node.Next.Prev = node.Prev;
        if (node.Prev is not null)
        {
            node.Prev.Next = node.Next;
        }
        else if (node.Level == Levels)
        {
            _due = node.Next;
        }
        else
        {
            ref TimerNode? head = ref _slots[node.Level * Slots + node.Slot];
            head = node.Next;
            if (head is null)
                _occupied[node.Level] &= ~(1UL << node.Slot);
        }
        node.Next = node.Prev = null;
    }
}
