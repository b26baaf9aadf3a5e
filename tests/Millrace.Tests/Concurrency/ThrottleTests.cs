using System.Threading;
using Millrace.Tcp;

namespace Millrace.Tests.Concurrency;

/// <summary>A sender that stops because of what the layers below hold, and whoever takes the last of it away.</summary>
public sealed class ThrottleTests
{
    private const int Rounds = 100_000;

    /// <summary>
    /// In each round one thread stops sending while another says that all is gone; both wait for each other before and after. If the
    /// sender still saw the bytes and the other no sender that has stopped, nobody would ever send again. A processor that holds stores
    /// back makes that in a few rounds of thousands.
    /// </summary>
    [Fact]
    public void Either_the_sender_sees_that_all_is_gone_or_it_is_seen_to_have_stopped()
    {
        using var stack = new NetStack();
        var sk = (TcpSock)stack.Tcp.Allocate(null!);
        int arrived = 0, lost = 0;
        bool seesStopped = false;
        // The last of two to come lets both go on.
        void Meet(int meeting)
        {
            Interlocked.Increment(ref arrived);
            var spinner = new SpinWait();
            while (Volatile.Read(ref arrived) < 2 * meeting)
                spinner.SpinOnce(sleep1Threshold: -1);
        }
        var below = new Thread(() =>
        {
            for (int round = 0; round < Rounds; round++)
            {
                Meet((2 * round) + 1);
                sk.AddTransmitAllocated(-1);
                seesStopped = sk.IsThrottled;
                Meet((2 * round) + 2);
            }
        });
        below.Start();
        for (int round = 0; round < Rounds; round++)
        {
            sk.IsThrottled = false;
            sk.AddTransmitAllocated(1);
            Meet((2 * round) + 1);
            // Neither always comes first.
            Thread.SpinWait(round & 15);
            bool stops = sk.Throttle(0);
            Meet((2 * round) + 2);
            if (stops && !seesStopped)
                lost++;
        }
        below.Join();
        Assert.Equal(0, lost);
    }
}
