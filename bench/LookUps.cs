using System;
using System.Diagnostics;
using System.Net;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Wire;

namespace Millrace.Bench;

/// <summary>`look-up`: what finding a connection by its 4-tuple costs in a table of some size.</summary>
internal static class LookUps
{
    private const int Batch = 4096;

    /// <summary>Nanoseconds of a look-up that finds, in random order, with the reference taken and given back.</summary>
    public static double Measure(int connections, double seconds)
    {
        using var stack = new NetStack();
        TaskContext context = stack.Cpus.Enter();
        try
        {
            var table = new EstablishedHash(new SipKey(1, 2));
            for (int i = 0; i < connections; i++)
                table.Insert(context.Cpu, new Entry(i));
            Cpu cpu = context.Cpu;
            long done = 0;
            Settling.Run(s => done += (long)(s / Run(table, cpu, connections, s) * 1e9), () => done);
            return Run(table, cpu, connections, seconds);
        }
        finally
        {
            stack.Cpus.Leave(ref context);
        }
    }

    private static double Run(EstablishedHash table, Cpu cpu, int connections, double seconds)
    {
        long start = Stopwatch.GetTimestamp(), done = 0;
        var random = new Prng(1);
        double elapsed;
        do
        {
            Find(table, cpu, connections, random);
            done += Batch;
            elapsed = Stopwatch.GetElapsedTime(start).TotalSeconds;
        }
        while (elapsed < seconds);
        return elapsed / done * 1e9;
    }

    private static void Find(EstablishedHash table, Cpu cpu, int connections, Prng random)
    {
        for (int i = 0; i < Batch; i++)
        {
            SockCommon found = table.LookUp(cpu, Entry.KeyOf((int)random.Below((uint)connections)))
                ?? throw new InvalidOperationException("what was inserted is not found");
            found.Put(cpu);
        }
    }

    private sealed class Entry : SockCommon
    {
        private static readonly IpAddr s_local = IpAddr.From(IPAddress.Parse("10.0.0.1"));

        public Entry(int number)
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
