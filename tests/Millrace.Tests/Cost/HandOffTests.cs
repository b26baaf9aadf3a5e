using System;
using System.Net;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Tracing;

namespace Millrace.Tests.Cost;

/// <summary>What crosses from one thread to another, and how often a device's thread waits, is counted.</summary>
public sealed class HandOffTests
{
    private static readonly IPEndPoint Service = new(IPAddress.Loopback, 80);

    /// <summary>The same exchange in virtual time: each completion that may not run in place is handed to another thread.</summary>
    [Fact]
    public void A_completion_on_the_pool_is_a_hand_off_and_one_in_place_is_none()
    {
        (long kicks, long wakeUps) = Exchange(inline: false);
        (long kicksInline, long wakeUpsInline) = Exchange(inline: true);
        Assert.Equal(wakeUps, wakeUpsInline);
        Assert.True(wakeUps > 10, "somebody waits for most of the bytes");
        Assert.Equal(wakeUps, kicks - kicksInline);
    }

    private static (long Kicks, long WakeUps) Exchange(bool inline)
    {
        using var simulation = new Simulation();
        NetStack stack = simulation.CreateStack(new NetStackOptions { InlineCompletions = inline });
        simulation.Spawn("reader", async () =>
        {
            using TcpListener listener = stack.Listen(Service);
            using TcpConnection connection = await listener.AcceptAsync();
            while (await connection.ReceiveAsync(new byte[100]) > 0)
            {
            }
        });
        simulation.Spawn("writer", async () =>
        {
            using TcpConnection connection = await stack.ConnectAsync(Service);
            for (int i = 0; i < 20; i++)
            {
                await connection.SendAsync(new byte[10]);
                await Task.Delay(TimeSpan.FromMilliseconds(10), simulation.TimeProvider);
            }
        });
        simulation.Run();
        return (stack.Cpus.Read(Mib.MillraceKicks), stack.Cpus.Read(Mib.MillraceAsyncWakeups));
    }

    [Fact]
    public void Each_wait_of_a_device_is_counted_by_the_next_poll()
    {
        using var stack = new NetStack();
        using var done = new ManualResetEventSlim();
        var driver = new RestlessDriver(() => stack.Cpus.Read(Mib.MillraceDeviceWaits), done);
        stack.AddDevice(driver);
        Assert.True(done.Wait(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken), "the device is polled");
        Assert.Equal([0, 1, 2, 3, 4], driver.Counted);
    }

    /// <summary>Its waits end at once, until it has been polled often enough.</summary>
    private sealed class RestlessDriver(Func<long> counted, ManualResetEventSlim done) : NetDriver
    {
        private readonly ManualResetEventSlim _wake = new();
        private int _polls;

        /// <summary>What was counted at each poll.</summary>
        public long[] Counted { get; } = new long[5];

        public override string Name => "restless";

        public override int Mtu => 1500;

        public override int Receive(int queue, ReadOnlySpan<IoVec> pieces, ref PacketOffload offload)
        {
            if (_polls == Counted.Length)
                return 0;
            Counted[_polls++] = counted();
            if (_polls == Counted.Length)
                done.Set();
            return 0;
        }

        public override int Transmit(int queue, ReadOnlySpan<IoVec> pieces, in PacketOffload offload) => 1;

        public override void Wait(int queue, TimeSpan timeout)
        {
            if (_polls < Counted.Length)
                return;
            _wake.Wait(timeout);
            _wake.Reset();
        }

        public override void Wake(int queue) => _wake.Set();

        protected override void Dispose(bool disposing)
        {
        }
    }
}
