using Millrace.Sched;
using Millrace.Tcp;
using Millrace.Tests.Robustness;
using Millrace.Tracing;
using Millrace.Wire;

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

    private static TcpTimeWaitSock MiniSock(HostileLink link, Cpu cpu, int number)
    {
        var tw = new TcpTimeWaitSock
        {
            LocalAddr = IpAddr.FromV4(0x0a00_0001),
            RemoteAddr = IpAddr.FromV4(0x0a01_0000 + (uint)(number >> 15)),
            LocalPort = 80,
            RemotePort = (ushort)(1 + (number & 0x7fff)),
        };
        tw.SetState();
        tw.Publish(1);
        link.Stack.Tcp.Established.Insert(cpu, tw);
        Assert.True(link.Stack.Tcp.TimeWaits.TryReserve(cpu));
        return tw;
    }

    /// <summary>
    /// However many end at once: so many in one go, then others have their turn. And while none ends the row has nothing to do.
    /// </summary>
    [Fact]
    public void A_crowd_ends_in_pieces_and_wakes_nobody_before()
    {
        const int crowd = 10 * TimeWaitRow.MaxPerRun + 7;
        using var link = new HostileLink();
        link.Stack.Sysctls.TcpMaxTwBuckets = crowd;
        TimeWaitRow row = link.Stack.Tcp.TimeWaits;
        Cpu cpu = link.Stack.Cpus.Acquire();
        for (int i = 0; i < crowd; i++)
            row.Add(cpu, MiniSock(link, cpu, i), link.Clock.Now + Micros.FromSeconds(60));
        link.Stack.Cpus.Release(cpu);
        long fired = link.Stack.Cpus.Read(Mib.MillraceTimersFired);
        link.Advance(Micros.FromMilliseconds(59_999));
        Assert.Equal((crowd, fired), (row.Count, link.Stack.Cpus.Read(Mib.MillraceTimersFired)));
        for (int before = crowd; before > 0; before = row.Count)
        {
            link.Advance(Micros.FromMilliseconds(1));
            Assert.InRange(before - row.Count, 0, TimeWaitRow.MaxPerRun);
            Assert.True(link.Clock.Now < Micros.FromMilliseconds(60_500), "none is forgotten");
        }
        Assert.Equal(0, link.Stack.Tcp.Established.Count);
    }

    /// <summary>What is ended early, or lives longer than a turn of the row, leaves the others' places right.</summary>
    [Fact]
    public void Each_ends_at_its_own_time_whoever_left_before()
    {
        const int all = 600;
        using var link = new HostileLink();
        TimeWaitRow row = link.Stack.Tcp.TimeWaits;
        Cpu cpu = link.Stack.Cpus.Acquire();
        var minis = new TcpTimeWaitSock[all];
        // A third ends after ten seconds, a third a whole turn later, which is the same slot, and a third is ended before.
        for (int i = 0; i < all; i++)
        {
            minis[i] = MiniSock(link, cpu, i);
            row.Add(cpu, minis[i], Micros.FromSeconds(i % 3 == 1 ? 138 : 10));
        }
        for (int i = 2; i < all; i += 3)
        {
            Assert.True(row.TryTake(cpu, minis[i]));
            link.Stack.Tcp.KillTimeWait(cpu, minis[i]);
        }
        link.Stack.Cpus.Release(cpu);
        Assert.Equal(400, row.Count);
        link.Advance(Micros.FromSeconds(11));
        Assert.Equal(200, row.Count);
        Assert.All(minis, (tw, i) => Assert.Equal(i % 3 == 1, tw.IsQueued));
        link.Advance(Micros.FromSeconds(126));
        Assert.Equal(200, row.Count);
        link.Advance(Micros.FromSeconds(2));
        Assert.Equal((0, 0), (row.Count, link.Stack.Tcp.Established.Count));
    }
}
