namespace Millrace;

/// <summary>Where a step of the stack ran.</summary>
public enum TraceContext : byte
{
    /// <summary>In a task's system call: it may sleep.</summary>
    Task,

    /// <summary>In a softirq: the bottom half of an interrupt, or a timer.</summary>
    Softirq,

    /// <summary>In a device's interrupt.</summary>
    Hardirq,
}
