using System;
using System.Net;
using System.Threading;
using Millrace.Sched;

namespace Millrace.Tests;

public sealed class SmokeTests
{
    private static void Ok(SysResult r) => Assert.False(r.IsError, r.ToString());

    [Fact]
    public void Loopback_on_threads()
    {
        using var stack = new NetStack();
        RunPair(stack, stack, new IPEndPoint(IPAddress.Loopback, 80), (name, body) =>
        {
            var t = new Thread(() => body()) { IsBackground = true };
            t.Start();
            return t;
        });
    }

    private static void RunPair(NetStack serverStack, NetStack clientStack, IPEndPoint at, Func<string, Action, Thread> start)
    {
        Exception? failure = null;
        Process server = serverStack.CreateProcess();
        int l = server.Socket(2, 1, 0).Value;
        Ok(server.Bind(l, at));
        Ok(server.Listen(l, 10));
        long got = 0;
        var t = start("server", () =>
        {
            try
            {
                int c = server.Accept(l).Value;
                var buffer = new byte[65536];
                while (true)
                {
                    var r = server.Recv(c, buffer);
                    Ok(r);
                    if (r.Value == 0)
                        break;
                    got += r.Value;
                }
                Ok(server.Send(c, "bye"u8));
                Ok(server.Close(c));
            }
            catch (Exception e) { failure = e; }
        });
        Process client = clientStack.CreateProcess();
        int s = client.Socket(2, 1, 0).Value;
        Ok(client.Connect(s, at));
        var data = new byte[100_000];
        long sent = 0;
        while (sent < 10_000_000)
        {
            var r = client.Send(s, data);
            Ok(r);
            sent += r.Value;
        }
        Ok(client.Shutdown(s, 1));
        var b = new byte[10];
        Assert.Equal(3, client.Recv(s, b).Value);
        Assert.Equal(0, client.Recv(s, b).Value);
        Ok(client.Close(s));
        Assert.True(t.Join(5000), "server did not end");
        Assert.Null(failure);
        Assert.Equal(sent, got);
    }

    [Fact]
    public void Wire_in_the_simulator()
    {
        using var world = new SimulatedWorld(1, false);
        var a = new NetStack(new NetStackOptions { Name = "a", Seed = 1, Cpus = 1 }, world.AddHost(), false, null);
        var b = new NetStack(new NetStackOptions { Name = "b", Seed = 2, Cpus = 1 }, world.AddHost(), false, null);
        NetStack.Wire(a, "eth0", b, "eth0");
        a.AddAddress("eth0", IPAddress.Parse("10.0.0.1"), 24);
        b.AddAddress("eth0", IPAddress.Parse("10.0.0.2"), 24);
        long got = 0;
        world.Spawn("server", () =>
        {
            Process server = b.CreateProcess();
            int l = server.Socket(2, 1, 0).Value;
            Ok(server.Bind(l, new IPEndPoint(IPAddress.Any, 80)));
            Ok(server.Listen(l, 10));
            int c = server.Accept(l).Value;
            var buffer = new byte[65536];
            while (true)
            {
                var r = server.Recv(c, buffer);
                Ok(r);
                if (r.Value == 0)
                    break;
                got += r.Value;
            }
            Ok(server.Close(c));
        });
        world.Spawn("client", () =>
        {
            Process client = a.CreateProcess();
            int s = client.Socket(2, 1, 0).Value;
            Ok(client.Connect(s, new IPEndPoint(IPAddress.Parse("10.0.0.2"), 80)));
            var data = new byte[100_000];
            long sent = 0;
            while (sent < 1_000_000)
            {
                var r = client.Send(s, data);
                Ok(r);
                sent += r.Value;
            }
            Ok(client.Close(s));
        });
        world.Run(Micros.Never);
        Assert.Equal(1_000_000, got);
    }
}
