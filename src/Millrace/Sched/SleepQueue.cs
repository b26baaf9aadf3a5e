using System.Collections.Generic;

namespace Millrace.Sched;

/// <summary>
/// When tasks that sleep are to be woken, the earliest first and those of one time in the order in which they went to sleep. A task that
/// was woken before its time leaves its entry behind, which is passed over.
/// </summary>
internal sealed class SleepQueue
{
    private readonly PriorityQueue<Sleeper, (long At, long Order)> _queue = new();
    private long _order;

    /// <summary>Entries, those of tasks that were woken before their time included.</summary>
    public int Count => _queue.Count;

    /// <summary>When the next one is to be woken; Never if nobody sleeps.</summary>
    public Micros Next
    {
        get
        {
            while (_queue.TryPeek(out Sleeper s, out _) && s.IsStale)
                _queue.Dequeue();
            return _queue.TryPeek(out _, out (long At, long) at) ? new Micros(at.At) : Micros.Never;
        }
    }

    /// <summary>A task that is about to sleep until a time.</summary>
    /// <param name="tasks">How many tasks there are: no more can sleep, so that what is above is left over.</param>
    public void Add(TaskStruct task, Micros deadline, int tasks)
    {
        if (_queue.Count > 64 + 2 * tasks)
            Prune();
        _queue.Enqueue(new Sleeper(task, task.SleepCount), (deadline.Value, _order++));
    }

    /// <summary>Takes a task whose time has come; null if there is none.</summary>
    public TaskStruct? TakeDue(Micros now)
    {
        if (Next > now)
            return null;
        return _queue.Dequeue().Task;
    }

    private void Prune()
    {
        List<(Sleeper, (long, long))> current = [];
        foreach ((Sleeper s, (long At, long Order) at) in _queue.UnorderedItems)
        {
            if (!s.IsStale)
                current.Add((s, at));
        }
        _queue.Clear();
        _queue.EnqueueRange(current);
    }

    private readonly record struct Sleeper(TaskStruct Task, int Sleep)
    {
        public bool IsStale => !Task.Blocked || Task.SleepCount != Sleep;
    }
}
