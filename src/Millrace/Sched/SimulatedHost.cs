using System;
using System.Threading;

namespace Millrace.Sched;

/// <summary>One machine of a simulated world: its clock is the world's, its tasks pass the world's baton.</summary>
internal sealed class SimulatedHost : Host
{
    private readonly SimulatedWorld _world;
    private CpuSet? _set;
    private bool _softirqs;

    public SimulatedHost(SimulatedWorld world)
    {
        _world = world;
        HasPreemptionPoints = true;
        Explores = world.Explore;
    }

    public override Micros Now => _world.Now;

    public override bool IsOver => _world.IsOver;

    public override DateTimeOffset Epoch => DateTimeOffset.UnixEpoch;

    public Micros NextDeadline => _softirqs ? Micros.Zero : _set?.Timers.NextDeadline ?? Micros.Never;

    public override void Park(TaskStruct task, Micros deadline)
    {
        if (task.State != TaskState.Running)
            _world.Park(task, deadline);
    }

    public override void Unpark(TaskStruct task) => _world.Unpark(task);

    public override TaskStruct? NextOn(Cpu cpu) => _world.NextOn(cpu);

    public override void OnContended(ref SpinWait spin) => _world.YieldToHolder();

    public override void Kick(CpuSet? set, HostWork? work)
    {
        if (work is not null)
            _world.Post(work);
        else
            _softirqs = true;
    }

    public override void Attach(CpuSet set) => _set = set;

    public override void Detach(CpuSet set) => _set = null;

    public override void PreemptionPoint(TaskStruct task) => _world.PreemptionPoint(task);

    public override void Explore() => _world.MaybeSwitch();

    /// <summary>Runs this machine's timers that are due, and softirqs that a task handed over, on a CPU that is idle.</summary>
    public void RunDue(Micros now)
    {
        if (_set is null)
            return;
        if (_softirqs)
        {
            _softirqs = false;
            _set.RunSoftirqd(runTimers: false);
        }
        while (_set.Timers.IsDue(now))
            _set.RaiseTimers();
    }

    public override void Dispose()
    {
    }
}
