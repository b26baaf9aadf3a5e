using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Threading;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Tcp;

/// <summary>
/// The mini-socks, in the order in which they end. Nearly all live equally long, so a heap for each quarter of a second is all the order
/// there is; one timer turns it, and ends no more in one go than it should.
/// </summary>
/// <remarks>Linux: inet_timewait_death_row.</remarks>
internal sealed class TimeWaitRow(TcpProto tcp) : TimerNode
{
    private const int Slots = 512;

    /// <summary>Mini-socks that are ended in one go; then others have their turn for a while.</summary>
    internal const int MaxPerRun = 1024;
    private static readonly Micros Pause = Micros.FromMilliseconds(1);
    private static readonly Micros SlotLength = Micros.FromMilliseconds(250);

    private readonly Heap[] _slots = new Heap[Slots];
    private readonly Stack<TcpTimeWaitSock?[]> _spare = new();
    private SpinLock32 _lock;
    private long _turned;

    /// <summary>Those of the slot at <see cref="_turned"/> that have been looked at and end a turn later.</summary>
    private int _passed;
    private int _queued;
    private int _count;

    /// <summary>Mini-socks that exist. Linux: tw_refcount.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>Whether there may be one more. Linux: net.ipv4.tcp_max_tw_buckets.</summary>
    public bool TryReserve(Cpu cpu)
    {
        if (Interlocked.Increment(ref _count) <= tcp.Sysctls.TcpMaxTwBuckets)
            return true;
        Interlocked.Decrement(ref _count);
        cpu.Mib.Inc(Mib.TcpExtTCPTimeWaitOverflow);
        return false;
    }

    /// <summary>One has ended.</summary>
    public void OnEnded() => Interlocked.Decrement(ref _count);

    /// <summary>Lets a mini-sock live until <paramref name="deadline"/>; the row holds a reference. Linux: inet_twsk_schedule.</summary>
    public void Add(Cpu cpu, TcpTimeWaitSock tw, Micros deadline)
    {
        _lock.Lock(cpu);
        // It stands in the table already: a segment may have ended or moved it meanwhile.
        if (!tw.IsDead && !tw.IsQueued)
            Insert(cpu, tw, deadline);
        _lock.Unlock(cpu);
    }

    /// <summary>Gives a mini-sock a new deadline. Linux: inet_twsk_reschedule.</summary>
    public void Move(Cpu cpu, TcpTimeWaitSock tw, Micros deadline)
    {
        _lock.Lock(cpu);
        if (!tw.IsDead)
        {
            if (tw.IsQueued)
                Remove(tw);
            Insert(cpu, tw, deadline);
        }
        _lock.Unlock(cpu);
    }

    /// <summary>Takes a mini-sock out for its end. True for the one caller who did: he gives the row's reference back.</summary>
    public bool TryTake(Cpu cpu, TcpTimeWaitSock tw)
    {
        _lock.Lock(cpu);
        bool mine = !tw.IsDead;
        if (mine)
        {
            tw.IsDead = true;
            if (tw.IsQueued)
                Remove(tw);
        }
        _lock.Unlock(cpu);
        return mine;
    }

    /// <summary>Linux: tw_timer_handler.</summary>
    internal override void Fire(Cpu cpu)
    {
        long now = SlotAt(cpu.Now);
        int budget = MaxPerRun;
        while (budget > 0 && TakeDue(cpu, now) is { } tw)
        {
            budget--;
            tcp.KillTimeWait(cpu, tw);
        }
        _lock.Lock(cpu);
        if (budget == 0)
            tcp.Timers.Arm(cpu, this, cpu.Now + Pause);
        else if (_queued > 0)
            tcp.Timers.Arm(cpu, this, StartOf(NextOccupied()));
        _lock.Unlock(cpu);
    }

    private TcpTimeWaitSock? TakeDue(Cpu cpu, long now)
    {
        _lock.Lock(cpu);
        TcpTimeWaitSock? due = null;
        while (_queued > 0 && (due = FindDue(now)) is null && _turned < now)
        {
            _turned++;
            _passed = 0;
        }
        if (due is not null)
        {
            due.IsDead = true;
            // The place that it leaves goes to one of those.
            int passed = _passed;
            Remove(due);
            _passed = passed;
        }
        _lock.Unlock(cpu);
        return due;
    }

    private TcpTimeWaitSock? FindDue(long now)
    {
        ref Heap slot = ref _slots[_turned % Slots];
        for (; _passed < slot.Count; _passed++)
        {
            TcpTimeWaitSock tw = slot[slot.Count - 1 - _passed];
            if (SlotOf(tw) <= now)
                return tw;
        }
        return null;
    }

    // The present slot holds only what ends a whole turn later.
    private long NextOccupied()
    {
        long at = _turned + 1;
        while (_slots[at % Slots].Count == 0)
            at++;
        return at;
    }

    private static long SlotAt(Micros time) => time.Value / SlotLength.Value;

    private static Micros StartOf(long slot) => new(slot * SlotLength.Value);

    // Rounded up to the end of its slot, as a timer wheel rounds.
    private static long SlotOf(TcpTimeWaitSock tw) => SlotAt(tw.Deadline + SlotLength);

    private void Insert(Cpu cpu, TcpTimeWaitSock tw, Micros deadline)
    {
        if (_queued++ == 0)
            (_turned, _passed) = (SlotAt(cpu.Now), 0);
        tw.Deadline = deadline;
        long slot = SlotOf(tw);
        _slots[slot % Slots].Add(tw, _spare);
        if (!IsQueued || Expires > StartOf(slot).Value)
            tcp.Timers.Arm(cpu, this, StartOf(slot));
    }

    private void Remove(TcpTimeWaitSock tw)
    {
        _queued--;
        long index = SlotOf(tw) % Slots;
        if (index == _turned % Slots)
            _passed = 0;
        _slots[index].Remove(tw, _spare);
    }

    /// <summary>Mini-socks in no order, in pieces of one size, so that none is ever copied. Each knows its place.</summary>
    private struct Heap
    {
        private const int PieceShift = 6;
        private const int PieceSize = 1 << PieceShift;

        private TcpTimeWaitSock?[][]? _pieces;

        public int Count { get; private set; }

        public readonly TcpTimeWaitSock this[int index] => At(index)!;

        public void Add(TcpTimeWaitSock tw, Stack<TcpTimeWaitSock?[]> spare)
        {
            int piece = Count >> PieceShift;
            _pieces ??= new TcpTimeWaitSock?[]?[4]!;
            if (piece == _pieces.Length)
                Array.Resize(ref _pieces, 2 * piece);
            if ((Count & (PieceSize - 1)) == 0)
                _pieces[piece] = spare.TryPop(out TcpTimeWaitSock?[]? used) ? used : new TcpTimeWaitSock?[PieceSize];
            At(Count++) = tw;
            tw.Position = Count;
        }

        public void Remove(TcpTimeWaitSock tw, Stack<TcpTimeWaitSock?[]> spare)
        {
            Debug.Assert(At(tw.Position - 1) == tw, "a queued mini-sock stands in its place");
            ref TcpTimeWaitSock? last = ref At(--Count);
            last!.Position = tw.Position;
            At(tw.Position - 1) = last;
            last = null;
            tw.Position = 0;
            if ((Count & (PieceSize - 1)) != 0)
                return;
            spare.Push(_pieces![Count >> PieceShift]);
            _pieces[Count >> PieceShift] = null!;
        }

        private readonly ref TcpTimeWaitSock? At(int index) => ref _pieces![index >> PieceShift][index & (PieceSize - 1)];
    }
}
