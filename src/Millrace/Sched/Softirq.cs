namespace Millrace.Sched;

/// <summary>The softirq vectors in use, in the order in which they run; numbered as in Linux.</summary>
internal enum Softirq
{
    Timer = 1,
    NetTx = 2,
    NetRx = 3,
}

/// <summary>What a softirq vector does. Linux: softirq_action.</summary>
internal abstract class SoftirqAction
{
    /// <summary>Runs on a held CPU with no lock. Returns with what is left raised again.</summary>
    public abstract void Run(Cpu cpu);
}
