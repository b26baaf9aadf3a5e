using System;
using System.Diagnostics;
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
                table.Insert(context.Cpu, new TableEntry(i));
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
            SockCommon found = table.LookUp(cpu, TableEntry.KeyOf((int)random.Below((uint)connections)))
                ?? throw new InvalidOperationException("what was inserted is not found");
            found.Put(cpu);
        }
    }
}
