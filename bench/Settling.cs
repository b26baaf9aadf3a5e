using System;
using System.Collections.Generic;
using System.Linq;

namespace Millrace.Bench;

/// <summary>
/// Decides when something that is compiled while it runs no longer becomes faster: not before some seconds, and not after too many. Told of by
/// processor time, so that a busy machine does not look like a cold program.
/// </summary>
internal sealed class Settling(double sliceSeconds, double leastSeconds = 5, double mostSeconds = 20)
{
    /// <summary>The last slices that must agree, and by how much the least may lie below the best of all.</summary>
    private const int Agreeing = 3;
    private const double Tolerance = 0.1;

    private readonly List<double> _rates = [];

    /// <summary>Runs something in this process, in many short calls, until it is compiled for good.</summary>
    /// <remarks>
    /// Tiered compilation takes seconds on one CPU: hot loops are replaced on the stack, then instrumented, then compiled for good, each in
    /// the background while the work occupies the processor. The settings stay those that users run with: without tiering the runtime's own
    /// copy loops stay without AVX2 for ever.
    /// </remarks>
    /// <param name="run">Works for so many seconds.</param>
    /// <param name="done">What it has got done so far.</param>
    public static void Run(Action<double> run, Func<double> done)
    {
        const double slice = 0.5, call = 0.05;
        var settling = new Settling(slice);
        do
        {
            double before = done();
            TimeSpan cpu = Environment.CpuUsage.TotalTime;
            for (double spent = 0; spent < slice; spent += call)
                run(call);
            settling.Add((done() - before) / (Environment.CpuUsage.TotalTime - cpu).TotalSeconds);
        }
        while (!settling.IsSettled);
    }

    /// <summary>One more slice is over.</summary>
    /// <param name="rate">What it got done for each second of processor time.</param>
    public void Add(double rate) => _rates.Add(rate);

    public bool IsSettled
    {
        get
        {
            double seconds = _rates.Count * sliceSeconds;
            if (seconds < leastSeconds || _rates.Count < Agreeing)
                return false;
            return seconds >= mostSeconds || _rates.TakeLast(Agreeing).Min() >= _rates.Max() * (1 - Tolerance);
        }
    }
}
