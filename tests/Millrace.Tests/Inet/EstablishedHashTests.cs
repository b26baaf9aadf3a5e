using System;
using System.Net;
using System.Threading;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tests.Syscalls;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tests.Inet;

/// <summary>The tables of connections, listeners and mini-socks.</summary>
public sealed class EstablishedHashTests
{
    private static readonly IpAddr s_local = IpAddr.From(IPAddress.Parse("10.0.0.1"));

    private sealed class FakeSock : SockCommon
    {
        public FakeSock(int number)
        {
            LocalAddr = s_local;
            RemoteAddr = IpAddr.From(new IPAddress([10, 1, (byte)(number >> 8), (byte)number]));
            LocalPort = 80;
            RemotePort = (ushort)(1000 + (number >> 16));
            Publish(1);
        }

        public FlowKey Key => new(RemoteAddr, RemotePort, LocalAddr, LocalPort, 1);

        internal override void Fire(Cpu cpu)
        {
        }

        protected override void OnLastPut(Cpu cpu)
        {
        }
    }

    private static void OnCpu(Action<EstablishedHash, Cpu> test)
    {
        using var stack = new NetStack();
        TaskContext context = stack.Cpus.Enter();
        try
        {
            test(new EstablishedHash(new SipKey(1, 2)), context.Cpu);
        }
        finally
        {
            stack.Cpus.Leave(ref context);
        }
    }

    [Fact]
    public void What_is_inserted_is_found_with_a_reference_until_it_is_removed() => OnCpu((hash, cpu) =>
    {
        var sk = new FakeSock(1);
        Assert.Null(hash.LookUp(cpu, sk.Key));
        hash.Insert(cpu, sk);
        Assert.Same(sk, hash.LookUp(cpu, sk.Key));
        Assert.Equal(2, sk.References);
        Assert.Null(hash.LookUp(cpu, sk.Key with { RemotePort = 9 }));
        Assert.False(hash.TryInsertUnique(cpu, new FakeSock(1)));
        Assert.True(hash.Remove(cpu, sk));
        Assert.False(hash.Remove(cpu, sk));
        Assert.Null(hash.LookUp(cpu, sk.Key));
        Assert.Equal(0, hash.Count);
    });

    [Fact]
    public void It_grows_with_its_load_and_finds_everything_after() => OnCpu((hash, cpu) =>
    {
        const int many = 50_000;
        var all = new FakeSock[many];
        int before = hash.Buckets;
        for (int i = 0; i < many; i++)
            hash.Insert(cpu, all[i] = new FakeSock(i));
        Assert.True(hash.Buckets >= many - 1 && hash.Buckets > before, $"{hash.Buckets} buckets");
        foreach (FakeSock sk in all)
            Assert.Same(sk, hash.LookUp(cpu, sk.Key));
        foreach (FakeSock sk in all)
            Assert.True(hash.Remove(cpu, sk));
        Assert.Equal(0, hash.Count);
    });

    [Fact]
    public void A_sock_that_is_bound_to_a_device_is_found_only_by_its_packets() => OnCpu((hash, cpu) =>
    {
        var sk = new FakeSock(1) { BoundIfIndex = 7 };
        hash.Insert(cpu, sk);
        Assert.Null(hash.LookUp(cpu, sk.Key));
        Assert.Same(sk, hash.LookUp(cpu, sk.Key with { IfIndex = 7 }));
    });

    [Fact]
    public void The_order_is_secret()
    {
        FakeSock sk = new(1);
        uint Hash(ulong key) => new EstablishedHash(new SipKey(key, 0)).HashOf(sk.LocalAddr, sk.LocalPort, sk.RemoteAddr, sk.RemotePort);
        Assert.Equal(Hash(1), Hash(1));
        Assert.NotEqual(Hash(1), Hash(2));
    }

    // Runs readers on threads of their own while the writer works; a reader reports what it must not see.
    private static void UnderReaders(Func<EstablishedHash, Cpu, Func<Cpu, string?>> prepare, Action<EstablishedHash, Cpu> write)
    {
        using var stack = new NetStack(new NetStackOptions { Cpus = 4 });
        var hash = new EstablishedHash(new SipKey(3, 4));
        TaskContext context = stack.Cpus.Enter();
        Func<Cpu, string?> read = prepare(hash, context.Cpu);
        string? complaint = null;
        bool stop = false;
        var readers = new Thread[2];
        for (int i = 0; i < readers.Length; i++)
        {
            readers[i] = new Thread(() =>
            {
                TaskContext own = stack.Cpus.Enter();
                while (!Volatile.Read(ref stop) && complaint is null)
                    complaint ??= read(own.Cpu);
                stack.Cpus.Leave(ref own);
            });
            readers[i].Start();
        }
        try
        {
            write(hash, context.Cpu);
        }
        finally
        {
            Volatile.Write(ref stop, true);
            Array.ForEach(readers, static r => r.Join());
            stack.Cpus.Leave(ref context);
        }
        Assert.Null(complaint);
    }

    [Fact]
    public void A_reader_never_misses_a_sock_that_is_replaced()
    {
        FakeSock one = new(1), two = new(1);
        UnderReaders((hash, cpu) =>
        {
            hash.Insert(cpu, one);
            return own =>
            {
                SockCommon? found = hash.LookUp(own, one.Key);
                found?.Put(own);
                return found is null ? "neither was found" : null;
            };
        }, (hash, cpu) =>
        {
            for (int i = 0; i < 200_000; i++)
                Assert.True(hash.TryReplace(cpu, (i & 1) == 0 ? one : two, (i & 1) == 0 ? two : one));
        });
    }

    [Fact]
    public void A_reader_misses_nothing_while_the_table_grows_and_entries_are_used_again()
    {
        const int stable = 300;
        UnderReaders((hash, cpu) =>
        {
            var socks = new FakeSock[stable];
            for (int i = 0; i < stable; i++)
                hash.Insert(cpu, socks[i] = new FakeSock(i));
            int next = 0;
            return own =>
            {
                FakeSock sk = socks[(uint)Interlocked.Increment(ref next) % stable];
                SockCommon? found = hash.LookUp(own, sk.Key);
                found?.Put(own);
                return found == sk ? null : $"sock {sk.RemoteAddr} was not found among {hash.Count} in {hash.Buckets}";
            };
        }, (hash, cpu) =>
        {
            for (int round = 0; round < 4; round++)
            {
                var coming = new FakeSock[20_000];
                for (int i = 0; i < coming.Length; i++)
                    hash.Insert(cpu, coming[i] = new FakeSock(1000 + round * 30_000 + i));
                foreach (FakeSock sk in coming)
                    hash.Remove(cpu, sk);
            }
            Assert.Equal(stable, hash.Count);
        });
    }

    // ---- Listeners ----

    [Fact]
    public void The_listener_that_fits_best_gets_the_connection() => CallBench.Run(k =>
    {
        int Listen(string address, bool toLoopback = false)
        {
            int fd = k.Tcp(address.Contains(':') ? CallBench.Inet6 : CallBench.Inet);
            k.P.SetSockOpt(fd, CallBench.SolSocket, So.ReusePort, 1);
            if (address.Contains(':'))
                CallBench.Ok(k.P.SetSockOpt(fd, SocketLevel.Ipv6, Ipv6Option.V6Only, 0));
            if (toLoopback)
                CallBench.Ok(k.P.SetSockOpt(fd, CallBench.SolSocket, So.BindToDevice, "lo"u8));
            CallBench.Ok(k.P.Bind(fd, new IPEndPoint(IPAddress.Parse(address), 8080)));
            CallBench.Ok(k.P.Listen(fd, 8));
            CallBench.Ok(k.P.Fcntl(fd, 4, CallBench.NonBlock));
            return fd;
        }

        // From the worst fit to the best: each that comes takes over from those before it.
        foreach ((string address, bool toLoopback) in new[] { ("::", false), ("0.0.0.0", false), ("0.0.0.0", true), ("127.0.0.1", false) })
        {
            int best = Listen(address, toLoopback);
            CallBench.Ok(k.P.Connect(k.Tcp(), CallBench.Loopback(8080)));
            CallBench.Ok(k.P.Accept(best));
        }
    });

    // ---- TIME_WAIT ----

    private static void LeaveInTimeWait(CallBench k)
    {
        (int client, int server, int listener) = k.Pair();
        CallBench.Ok(k.P.Close(client));
        CallBench.Ok(k.P.Close(server));
        CallBench.Ok(k.P.Close(listener));
    }

    [Fact]
    public void Time_wait_lasts_a_minute_and_ends_by_itself() => CallBench.Run(k =>
    {
        for (int i = 0; i < 50; i++)
        {
            LeaveInTimeWait(k);
            k.Sleep(100);
        }
        Assert.Equal(50, k.Stack.Tcp.TimeWaits.Count);
        k.Sleep(54_500);
        Assert.Equal(50, k.Stack.Tcp.TimeWaits.Count);
        k.Sleep(3_000);
        Assert.InRange(k.Stack.Tcp.TimeWaits.Count, 15, 35);
        k.Sleep(3_500);
        Assert.Equal((0, 0), (k.Stack.Tcp.TimeWaits.Count, k.Stack.Tcp.Established.Count));
    });

    [Fact]
    public void There_are_no_more_mini_socks_than_may_be() => CallBench.Run(k =>
    {
        k.Stack.Sysctls.TcpMaxTwBuckets = 3;
        for (int i = 0; i < 5; i++)
            LeaveInTimeWait(k);
        k.Sleep(50);
        Assert.Equal(3, k.Stack.Tcp.TimeWaits.Count);
        Assert.Equal(2, k.Stack.Cpus.Read(Mib.TcpExtTCPTimeWaitOverflow));
    });
}
