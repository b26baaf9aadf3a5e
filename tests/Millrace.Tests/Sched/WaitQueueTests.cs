using System.Collections.Generic;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tests.Sched;

public sealed class WaitQueueTests
{
    private sealed class Entry(string name, List<string> log, bool sleeps = true) : WaitQueueEntry
    {
        internal override bool Wake(Cpu cpu, in WakeKey key, out bool remove)
        {
            log.Add(name);
            remove = sleeps;
            return sleeps;
        }
    }

    private readonly List<string> _log = [];

    private Entry New(string name, PollEvents interest = PollEvents.In, bool sleeps = true) => new(name, _log, sleeps) { Interest = interest };

    [Fact]
    public void One_exclusive_sleeper_is_woken_behind_all_who_only_watch()
    {
        using var test = new TestCpu();
        var queue = new WaitQueueHead();
        queue.Add(test.Cpu, New("first"), exclusive: true);
        queue.Add(test.Cpu, New("second"), exclusive: true);
        queue.Add(test.Cpu, New("watcher", sleeps: false), exclusive: false);
        Assert.Equal(1, queue.Wake(test.Cpu, new WakeKey(PollEvents.In)));
        Assert.Equal(["watcher", "first"], _log);
        queue.Wake(test.Cpu, new WakeKey(PollEvents.In));
        Assert.Equal(["watcher", "first", "watcher", "second"], _log);
    }

    [Fact]
    public void A_key_that_misses_consumes_nothing()
    {
        using var test = new TestCpu();
        var queue = new WaitQueueHead();
        queue.Add(test.Cpu, New("writer", PollEvents.Out), exclusive: true);
        queue.Add(test.Cpu, New("reader"), exclusive: true);
        Assert.Equal(1, queue.Wake(test.Cpu, new WakeKey(PollEvents.In)));
        Assert.Equal(["reader"], _log);
    }

    [Fact]
    public void An_exclusive_entry_that_was_awake_already_consumes_nothing()
    {
        using var test = new TestCpu();
        var queue = new WaitQueueHead();
        queue.Add(test.Cpu, New("awake", sleeps: false), exclusive: true);
        queue.Add(test.Cpu, New("asleep"), exclusive: true);
        Assert.Equal(1, queue.Wake(test.Cpu, new WakeKey(PollEvents.In)));
        Assert.Equal(["awake", "asleep"], _log);
    }

    [Fact]
    public void A_hand_over_skips_who_is_not_exclusive()
    {
        using var test = new TestCpu();
        var queue = new WaitQueueHead();
        queue.Add(test.Cpu, New("watcher"), exclusive: false);
        queue.Add(test.Cpu, New("reader"), exclusive: true);
        queue.Wake(test.Cpu, new WakeKey(PollEvents.In) { IsHandover = true });
        Assert.Equal(["reader"], _log);
    }

    [Theory]
    [InlineData(100, false)]
    [InlineData(101, true)]
    public void A_reader_who_has_seen_all_wants_only_what_is_newer(uint upTo, bool woken)
    {
        using var test = new TestCpu();
        var queue = new WaitQueueHead();
        Entry peeker = New("peeker");
        peeker.HasSeen = true;
        peeker.Seen = new SeqNumber(100);
        queue.Add(test.Cpu, peeker, exclusive: true);
        int n = queue.Wake(test.Cpu, new WakeKey(PollEvents.In) { HasUpTo = true, UpTo = new SeqNumber(upTo) });
        Assert.Equal(woken ? 1 : 0, n);
    }

    [Fact]
    public void The_end_wakes_a_reader_whatever_he_has_seen()
    {
        using var test = new TestCpu();
        var queue = new WaitQueueHead();
        Entry peeker = New("peeker", PollEvents.In | PollEvents.Terminal);
        peeker.HasSeen = true;
        peeker.Seen = new SeqNumber(100);
        queue.Add(test.Cpu, peeker, exclusive: true);
        Assert.Equal(1, queue.Wake(test.Cpu, new WakeKey(PollEvents.In | PollEvents.Hup) { HasUpTo = true, UpTo = new SeqNumber(1) }));
    }

    [Fact]
    public void Entries_leave_from_anywhere_and_can_come_again()
    {
        using var test = new TestCpu();
        var queue = new WaitQueueHead();
        Entry a = New("a"), b = New("b"), c = New("c");
        foreach (Entry e in new[] { a, b, c })
            queue.Add(test.Cpu, e, exclusive: true);
        queue.Remove(test.Cpu, b);
        queue.Remove(test.Cpu, b);
        queue.Remove(test.Cpu, c);
        queue.Add(test.Cpu, b, exclusive: true);
        queue.Wake(test.Cpu, new WakeKey(PollEvents.In), exclusive: 0);
        Assert.Equal(["a", "b"], _log);
        Assert.True(queue.IsEmpty);
    }

    /// <summary>
    /// A task that waits for a lock may still stand on the queue of what it waits for. A wake-up from there must not take it, or those
    /// behind it, from the lock's queue.
    /// </summary>
    [Fact]
    public void Waiting_for_a_lock_does_not_disturb_the_wait_around_it()
    {
        using var test = new TestCpu();
        WaitQueueHead data = new(), owner = new();
        TaskStruct task = new(1, "first"), other = new(2, "second");
        data.Prepare(test.Cpu, task, PollEvents.In, exclusive: true);
        owner.PrepareForLock(test.Cpu, task);
        owner.PrepareForLock(test.Cpu, other);
        Assert.Equal(1, data.Wake(test.Cpu, new WakeKey(PollEvents.In)));
        owner.PrepareForLock(test.Cpu, task);
        Assert.Equal(2, owner.Wake(test.Cpu, new WakeKey(PollEvents.In), exclusive: 0));
        Assert.Equal(1, test.Set.Read(Mib.MillraceWakeups));
        Assert.Equal(2, test.Set.Read(Mib.MillraceLockWakeups));
    }
}
