using System;
using System.Threading;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tests.Syscalls;

namespace Millrace.Tests.Sockets;

/// <summary>Address families come and go while sockets are made.</summary>
public sealed class FamilyTests
{
    private const int Spare = 30;

    /// <summary>A family that answers with an error of its own; what it does meanwhile is the test's.</summary>
    private sealed class Refusing(int family, Errno answer, Action? meanwhile = null) : NetProtoFamily
    {
        public override int Family => family;

        public override Errno Create(Cpu cpu, Socket socket, int protocol, Credentials credentials)
        {
            meanwhile?.Invoke();
            return answer;
        }
    }

    /// <summary>AF_INET, which is unregistered while it makes a socket.</summary>
    private sealed class VanishingInet(NetFamilies families, NetProtoFamily inet) : NetProtoFamily
    {
        public override int Family => Af.Inet;

        public override Errno Create(Cpu cpu, Socket socket, int protocol, Credentials credentials)
        {
            families.Unregister(Af.Inet);
            return inet.Create(cpu, socket, protocol, credentials);
        }
    }

    private static NetProtoFamily TakeInet(NetStack stack) => stack.Families.Unregister(Af.Inet)!;

    [Fact]
    public void A_family_is_there_from_its_registration_to_its_end() => CallBench.Run(k =>
    {
        NetFamilies families = k.Stack.Families;
        CallBench.Fails(Errno.EAFNOSUPPORT, k.P.Socket(Spare, CallBench.Stream, 0));
        Assert.Equal(Errno.OK, families.Register(new Refusing(Spare, Errno.EPROTO)));
        CallBench.Fails(Errno.EPROTO, k.P.Socket(Spare, CallBench.Stream, 0));
        Assert.Equal(Errno.EEXIST, families.Register(new Refusing(Spare, Errno.EIO)));
        families.Unregister(Spare);
        CallBench.Fails(Errno.EAFNOSUPPORT, k.P.Socket(Spare, CallBench.Stream, 0));
        Assert.Equal(Errno.ENOBUFS, families.Register(new Refusing(Af.Max, Errno.EIO)));
        Assert.Equal(Errno.ENOBUFS, families.Register(new Refusing(-1, Errno.EIO)));
    });

    [Fact]
    public void A_create_that_found_the_family_finishes_though_it_goes_meanwhile() => CallBench.Run(k =>
    {
        NetProtoFamily inet = TakeInet(k.Stack);
        Assert.Equal(Errno.OK, k.Stack.Families.Register(new VanishingInet(k.Stack.Families, inet)));
        int fd = k.Tcp();
        CallBench.Fails(Errno.EAFNOSUPPORT, k.P.Socket(CallBench.Inet, CallBench.Stream, 0));
        CallBench.Ok(k.P.Bind(fd, CallBench.Loopback(0)));
        CallBench.Ok(k.P.Listen(fd, 1));
        k.Stack.Families.Register(inet);
        CallBench.Ok(k.P.Connect(k.Tcp(), k.NameOf(fd)));
    });

    [Fact]
    public void A_socket_that_could_not_be_made_takes_no_descriptor() => CallBench.Run(k =>
    {
        int before = k.Tcp();
        for (int i = 0; i < 10; i++)
            CallBench.Fails(Errno.EAFNOSUPPORT, k.P.Socket(Spare, CallBench.Stream, 0));
        Assert.Equal(before + 1, k.Tcp());
    });

    [Fact]
    public void Under_every_schedule_a_create_makes_a_whole_socket_or_finds_no_family()
    {
        int made = 0, refused = 0;
        for (ulong seed = 0; seed < 40; seed++)
        {
            CallBench.Run(k =>
            {
                bool done = false;
                k.World.Spawn("registrar", () =>
                {
                    for (int i = 0; i < 50 && !done; i++)
                    {
                        NetProtoFamily inet = TakeInet(k.Stack);
                        k.P.Poll([], 0);
                        Assert.Equal(Errno.OK, k.Stack.Families.Register(inet));
                        k.P.Poll([], 0);
                    }
                });
                for (int i = 0; i < 50; i++)
                {
                    if (TryMake(k.P))
                        made++;
                    else
                        refused++;
                }
                done = true;
            }, explore: true, seed: seed, cpus: 2);
        }
        Assert.True(made > 100 && refused > 100, $"{made} made, {refused} refused");
    }

    // False: there was no such family. A socket that was made can be used, whatever became of its family.
    private static bool TryMake(Process process)
    {
        SysResult fd = process.Socket(CallBench.Inet, CallBench.Stream, 0);
        if (fd.IsError)
        {
            Assert.Equal(Errno.EAFNOSUPPORT, fd.Error);
            return false;
        }
        CallBench.Ok(process.Bind(fd.Value, CallBench.Loopback(0)));
        CallBench.Ok(process.Close(fd.Value));
        return true;
    }

    [Fact]
    public void Under_real_threads_too()
    {
        using var stack = new NetStack();
        int running = 2, made = 0;
        Exception? failure = null;
        var creators = new Thread[2];
        for (int t = 0; t < creators.Length; t++)
        {
            creators[t] = new Thread(() =>
            {
                try
                {
                    Process process = stack.CreateProcess();
                    for (int i = 0; i < 5000; i++)
                    {
                        if (TryMake(process))
                            Interlocked.Increment(ref made);
                    }
                }
                catch (Exception e)
                {
                    failure = e;
                }
                Interlocked.Decrement(ref running);
            });
            creators[t].Start();
        }
        while (Volatile.Read(ref running) > 0)
        {
            NetProtoFamily inet = TakeInet(stack);
            Assert.Equal(Errno.OK, stack.Families.Register(inet));
            Thread.Yield();
        }
        Array.ForEach(creators, static t => t.Join());
        Assert.Null(failure);
        Assert.True(made > 0);
        CallBench.Ok(stack.CreateProcess().Socket(CallBench.Inet, CallBench.Stream, 0));
    }
}
