#pragma warning disable xUnit1051 // the calls end by virtual time
using System;
using System.Net;
using System.Threading;
using Millrace.Sched;
using static Millrace.Tests.Tcp.LoopbackPair;

namespace Millrace.Tests.Sched;

public sealed class ExternalClockHostTests : IDisposable
{
    private const int SoRcvTimeo = 20;

    private readonly ExternalClockHost _host = new();
    private readonly NetStack _stack;
    private readonly Process _process;
    private readonly int _listener;

    public ExternalClockHostTests()
    {
        _stack = new NetStack(new NetStackOptions { Seed = 1, Cpus = 2 }, _host, ownsHost: true, buffers: null);
        _process = _stack.CreateProcess();
        _listener = Ok(_process.Socket(2, 1, 0));
        Ok(_process.Bind(_listener, At));
        Ok(_process.Listen(_listener, 1));
        Ok(_process.SetSockOpt(_listener, SolSocket, SoRcvTimeo, [.. BitConverter.GetBytes(1L), .. BitConverter.GetBytes(0L)]));
    }

    public void Dispose() => _stack.Dispose();

    // Runs a blocking call on a thread of its own; returns, once the thread sleeps, what tells the time at which the call was over.
    private Func<(SysResult Result, Micros At)> Block(Func<SysResult> call)
    {
        (SysResult Result, Micros At) outcome = default;
        var thread = new Thread(() =>
        {
            SysResult result = call();
            outcome = (result, _host.Now);
            _host.OnTaskSettled();
        });
        thread.Start();
        while (_host.NextEvent == Micros.Never)
            Thread.Yield();
        return () =>
        {
            thread.Join();
            return outcome;
        };
    }

    [Fact]
    public void A_sleeper_whose_time_is_over_reads_that_time_however_far_the_clock_is_pushed()
    {
        Func<(SysResult Result, Micros At)> accept = Block(() => _process.Accept(_listener));
        _host.AdvanceTo(Micros.FromSeconds(5));
        Assert.Equal((Errno.EAGAIN, Micros.FromSeconds(1)), (accept().Result.Error, accept().At));
        Assert.Equal(Micros.FromSeconds(5), _host.Now);
    }

    [Fact]
    public void A_sleeper_that_a_segment_wakes_holds_the_clock_until_it_has_read_it()
    {
        Func<(SysResult Result, Micros At)> accept = Block(() => _process.Accept(_listener));
        _host.AdvanceTo(Micros.FromMilliseconds(300));
        Ok(_process.Connect(Ok(_process.Socket(2, 1, 0)), new IPEndPoint(IPAddress.Loopback, At.Port)));
        _host.AdvanceTo(Micros.FromSeconds(5));
        Assert.False(accept().Result.IsError);
        Assert.Equal(Micros.FromMilliseconds(300), accept().At);
    }
}
