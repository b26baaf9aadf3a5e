using Millrace.Sched;

namespace Millrace.Tcp;

/// <summary>The stack's spare <see cref="LossRecovery"/>s.</summary>
internal sealed class RecoveryPool
{
    private readonly TcpPool<LossRecovery> _pool = new();

    public LossRecovery Take(Cpu cpu) => _pool.Take(cpu);

    public void Return(Cpu cpu, LossRecovery recovery)
    {
        recovery.Reset();
        _pool.Return(cpu, recovery);
    }
}
