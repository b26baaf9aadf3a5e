namespace Millrace.Sched;

/// <summary>
/// A lock that its holder may sleep with, and that its waiters sleep for: what a .NET lock must not be, because the simulator would not
/// see its waiters.
/// </summary>
/// <remarks>Linux: struct mutex.</remarks>
internal sealed class TaskMutex
{
    private SpinLock32 _lock;
    private bool _held;
    private WaitQueueHead _waiters;

    /// <summary>Task context, no spinlock held. Linux: mutex_lock.</summary>
    public void Lock(ref TaskContext context)
    {
        context.Cpu.BhDisable();
        _lock.Lock(context.Cpu);
        if (_held)
            Wait(ref context);
        _held = true;
        _lock.Unlock(context.Cpu);
        context.Cpu.BhEnable();
    }

    /// <summary>Linux: mutex_unlock.</summary>
    public void Unlock(Cpu cpu)
    {
        cpu.BhDisable();
        _lock.Lock(cpu);
        _held = false;
        if (!_waiters.IsEmpty)
            _waiters.Wake(cpu, new WakeKey(PollEvents.In));
        _lock.Unlock(cpu);
        cpu.BhEnable();
    }

    private void Wait(ref TaskContext context)
    {
        do
        {
            _waiters.PrepareForLock(context.Cpu, context.Task);
            _lock.Unlock(context.Cpu);
            context.Cpu.BhEnable();
            Scheduler.ScheduleTimeout(ref context, Micros.Never, "mutex_lock");
            context.Cpu.BhDisable();
            _lock.Lock(context.Cpu);
        }
        while (_held);
        _waiters.Remove(context.Cpu, context.Task.LockWait);
        context.Task.SetState(TaskState.Running);
    }
}
