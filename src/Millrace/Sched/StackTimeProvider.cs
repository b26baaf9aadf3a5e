using System;
using System.Threading;
using System.Threading.Tasks;

namespace Millrace.Sched;

/// <summary>
/// The host's clock as .NET asks for it. Its timers stand in the stack's wheel, so they keep virtual time where the host does, and the
/// stack's resolution where it does not. Callbacks run as work of the host.
/// </summary>
internal sealed class StackTimeProvider(CpuSet cpus) : TimeProvider
{
    public override long TimestampFrequency => 1_000_000;

    public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;

    public override long GetTimestamp() => cpus.Host.Now.Value;

    public override DateTimeOffset GetUtcNow() => cpus.Host.Epoch + cpus.Host.Now.ToTimeSpan();

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        ArgumentNullException.ThrowIfNull(callback);
        var timer = new Alarm(cpus, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    private sealed class Alarm(CpuSet cpus, TimerCallback callback, object? state) : TimerNode, ITimer
    {
        private readonly ExecutionContext? _context = ExecutionContext.Capture();
        private readonly CallbackWork _work = new();
        private Micros _period = Micros.Never;
        private bool _disposed;

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            Micros due = Check(dueTime, nameof(dueTime)), again = Check(period, nameof(period));
            if (_disposed)
                return false;
            _period = again.Value > 0 ? again : Micros.Never;
            Cpu cpu = cpus.Acquire();
            if (due == Micros.Never)
                cpus.Timers.Cancel(cpu, this);
            else
                cpus.Timers.Arm(cpu, this, cpu.Now.SaturatingAdd(due));
            cpus.Release(cpu);
            return true;
        }

        public void Dispose()
        {
            if (!_disposed)
                Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            _disposed = true;
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }

        internal override void Fire(Cpu cpu)
        {
            if (_period != Micros.Never)
                cpus.Timers.Arm(cpu, this, cpu.Now.SaturatingAdd(_period));
            // A callback that the host has not come to yet stands for this one too: a work is in one queue at a time.
            if (_work.TryClaim(this))
                cpu.Kick(_work);
        }

        private void Call()
        {
            if (_disposed)
                return;
            if (_context is null)
                Invoke();
            else
                ExecutionContext.Run(_context, static alarm => ((Alarm)alarm!).Invoke(), this);
        }

        private void Invoke() => callback(state);

        // Rounded up: a timer never fires early.
        private static Micros Check(TimeSpan time, string name)
        {
            if (time == Timeout.InfiniteTimeSpan)
                return Micros.Never;
            ArgumentOutOfRangeException.ThrowIfLessThan(time, TimeSpan.Zero, name);
            return new Micros((time.Ticks + TimeSpan.TicksPerMicrosecond - 1) / TimeSpan.TicksPerMicrosecond);
        }

        private sealed class CallbackWork : HostWork
        {
            private Alarm? _alarm;

            public CallbackWork() => Owner = ThreadContext.Current.Task;

            public bool TryClaim(Alarm alarm) => Interlocked.CompareExchange(ref _alarm, alarm, null) is null;

            public override void Execute() => Interlocked.Exchange(ref _alarm, null)!.Call();
        }
    }
}
