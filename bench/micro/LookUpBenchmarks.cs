using System;
using System.Net;
using BenchmarkDotNet.Attributes;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Wire;

namespace Millrace.Bench.Micro;

/// <summary>The established table.</summary>
public class LookUpBenchmarks : IDisposable
{
    private const int Batch = 1024;

    private readonly NetStack _stack = new();
    private readonly EstablishedHash _table = new(new SipKey(1, 2));
    private readonly FlowKey[] _present = new FlowKey[Batch], _absent = new FlowKey[Batch];
    private Cpu _cpu = null!;

    [Params(1_000, 100_000)]
    public int Connections { get; set; }

    [GlobalSetup]
    public void SetUp()
    {
        _cpu = _stack.Cpus.Acquire();
        for (int i = 0; i < Connections; i++)
            _table.Insert(_cpu, new Connection(i));
        var random = new Prng(1);
        for (int i = 0; i < Batch; i++)
        {
            _present[i] = Connection.KeyOf(random.Below(Connections));
            _absent[i] = Connection.KeyOf(Connections + i);
        }
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _stack.Cpus.Release(_cpu);
        _stack.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>A reference is taken, and given back.</summary>
    [Benchmark(OperationsPerInvoke = Batch)]
    public void Hit()
    {
        foreach (FlowKey key in _present)
            _table.LookUp(_cpu, key)!.Put(_cpu);
    }

    [Benchmark(OperationsPerInvoke = Batch)]
    public bool Miss()
    {
        bool found = false;
        foreach (FlowKey key in _absent)
            found |= _table.LookUp(_cpu, key) is not null;
        return found;
    }

    private sealed class Connection : SockCommon
    {
        private static readonly IpAddr s_local = IpAddr.From(IPAddress.Parse("10.0.0.1"));

        public Connection(int number)
        {
            FlowKey key = KeyOf(number);
            (LocalAddr, LocalPort, RemoteAddr, RemotePort) = (key.Local, key.LocalPort, key.Remote, key.RemotePort);
            Publish(1);
        }

        public static FlowKey KeyOf(int number) =>
            new(IpAddr.FromV4(0x0b00_0000u + (uint)(number >> 12)), (ushort)(1024 + (number & 0xfff)), s_local, 80, 1);

        internal override void Fire(Cpu cpu)
        {
        }

        protected override void OnLastPut(Cpu cpu)
        {
        }
    }
}
