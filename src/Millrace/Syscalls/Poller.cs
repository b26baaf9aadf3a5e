using System;
using System.Collections.Generic;
using Millrace.Sched;
using Millrace.Sockets;

namespace Millrace.Syscalls;

/// <summary>poll(2): sleeps on many queues at once. Linux: poll_wqueues, do_poll.</summary>
internal sealed class Poller : PollTable
{
    private readonly List<Waiter> _waiters = [];
    private readonly TaskStruct _task;
    private PollEvents _interest;

    public Poller(TaskStruct task) => _task = task;

    public override void Wait(Cpu cpu, ref WaitQueueHead queue)
    {
        var waiter = new Waiter(_task) { Interest = _interest | PollEvents.Err | PollEvents.Hup };
        queue.Add(cpu, waiter, exclusive: false);
        _waiters.Add(waiter);
    }

    /// <summary>Looks, sleeps, looks again. Returns how many descriptors have something.</summary>
    public SysResult Run(ref TaskContext context, FdTable files, Span<PollDescriptor> descriptors, Micros deadline)
    {
        var held = new File?[descriptors.Length];
        for (int i = 0; i < descriptors.Length; i++)
            held[i] = descriptors[i].Fd >= 0 ? files.Get(descriptors[i].Fd) : null;
        SysResult result = Loop(ref context, held, descriptors, deadline);
        for (int i = 0, w = 0; i < held.Length; i++)
        {
            if (held[i] is not { } file)
                continue;
            if (w < _waiters.Count)
                Unqueue(ref context, file, _waiters[w++]);
            file.Release(ref context);
        }
        return result;
    }

    private SysResult Loop(ref TaskContext context, File?[] held, Span<PollDescriptor> descriptors, Micros deadline)
    {
        bool first = true;
        while (true)
        {
            _task.SetState(TaskState.Interruptible);
            int ready = 0;
            for (int i = 0; i < held.Length; i++)
            {
                ref PollDescriptor d = ref descriptors[i];
                if (d.Fd < 0)
                {
                    d.Returned = 0;
                    continue;
                }
                _interest = (PollEvents)(ushort)d.Events;
                PollEvents now = held[i] is { } file ? file.Poll(ref context, first ? this : null) : PollEvents.Nval;
                now &= _interest | PollEvents.Err | PollEvents.Hup | PollEvents.Nval;
                d.Returned = (short)now;
                if (now != PollEvents.None)
                    ready++;
            }
            first = false;
            bool late = context.Cpu.Now >= deadline;
            if (ready > 0 || late || _task.SignalPending)
            {
                _task.SetState(TaskState.Running);
                return ready > 0 || !_task.SignalPending ? ready : Errno.EINTR;
            }
            Scheduler.ScheduleTimeout(ref context, deadline, "poll");
        }
    }

    private static void Unqueue(ref TaskContext context, File file, Waiter waiter)
    {
        switch (file)
        {
            case Socket socket:
                socket.Wait.Remove(context.Cpu, waiter);
                break;
            case PipeFile pipe:
                pipe.Pipe.Wait.Remove(context.Cpu, waiter);
                break;
            case EpollFile epoll:
                epoll.Waiters.Remove(context.Cpu, waiter);
                break;
        }
    }

    /// <summary>Stays on its queue: what ends the sleep is the task's state. Linux: pollwake.</summary>
    private sealed class Waiter(TaskStruct task) : WaitQueueEntry
    {
        internal override bool Wake(Cpu cpu, in WakeKey key, out bool remove)
        {
            remove = false;
            return Scheduler.TryToWakeUp(cpu, task);
        }
    }
}
