using Millrace.Sched;
using Millrace.Tcp;
using Millrace.Tests.Robustness;

namespace Millrace.Tests.Tcp;

public sealed class TimeWaitRowTests
{
    /// <summary>
    /// A mini-sock stands in the table before it stands in the row: a segment on another CPU may end it between the two, and must not take
    /// with it those that stand in the row.
    /// </summary>
    [Fact]
    public void One_that_ends_before_it_stands_in_the_row_disturbs_no_other()
    {
        using var link = new HostileLink();
        TimeWaitRow row = link.Stack.Tcp.TimeWaits;
        Cpu cpu = link.Stack.Cpus.Acquire();
        TcpTimeWaitSock early = new(), other = new();
        // The end of a turn of the row, whose slot has the number that a mini-sock begins with.
        row.Add(cpu, other, Micros.FromMilliseconds(511 * 250));
        Assert.True(row.TryTake(cpu, early));
        row.Add(cpu, early, Micros.FromSeconds(60));
        Assert.False(row.TryTake(cpu, early));
        row.Move(cpu, other, Micros.FromSeconds(30));
        Assert.True(row.TryTake(cpu, other));
        Assert.False(row.TryTake(cpu, other));
        link.Stack.Cpus.Release(cpu);
    }
}
