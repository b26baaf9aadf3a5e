using System;
using System.Collections.Generic;
using System.Threading.Tasks;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace;

/// <summary>
/// A world of its own: stacks on simulated machines, tasks of which exactly one runs at a time, and a clock that jumps to the next event
/// when none can. The same seed gives the same run, byte for byte, for programs that only the simulation schedules.
/// </summary>
/// <remarks>
/// Tasks wait by the stacks' calls and by <see cref="TimeProvider"/>. A task that sleeps, waits or starts threads by other means is
/// reported: nobody else could run meanwhile.
/// </remarks>
public sealed class Simulation : IDisposable
{
    private readonly SimulatedWorld _world;
    private readonly Prng _seeds;
    private readonly CpuSet _clock;
    private readonly List<NetStack> _stacks = [];

    /// <param name="seed">Decides everything that is left to chance: secrets, ports, sequence numbers, who runs next.</param>
    /// <param name="explore">
    /// Whether tasks are switched at random wherever that could happen on a real machine, so that different seeds find different races.
    /// </param>
    public Simulation(ulong seed = 1, bool explore = false)
    {
        _seeds = new Prng(seed);
        _world = new SimulatedWorld(_seeds.NextUInt64(), explore);
        SimulatedHost host = _world.AddHost();
        _clock = new CpuSet(host, 1, new BufferPool(_seeds.NextUInt64()), new Tracer("clock"));
        host.Attach(_clock);
        TimeProvider = new StackTimeProvider(_clock);
    }

    /// <summary>Virtual time since the simulation began.</summary>
    public TimeSpan Now => _world.Now.ToTimeSpan();

    /// <summary>Virtual time for .NET: <c>Task.Delay(delay, timeProvider)</c>, <c>new CancellationTokenSource(delay, timeProvider)</c>.</summary>
    public TimeProvider TimeProvider { get; }

    /// <summary>Makes a machine with a stack. The simulation disposes of it.</summary>
    /// <param name="options">
    /// Its seed, if it has none, comes from the simulation's; its <see cref="NetStackOptions.Cpus"/> are those of the machine, one unless
    /// it says otherwise.
    /// </param>
    public NetStack CreateStack(NetStackOptions? options = null)
    {
        options ??= new NetStackOptions();
        var stack = new NetStack(options.ForSimulation(_seeds.NextUInt64()), _world.AddHost(), ownsHost: false, buffers: null);
        _stacks.Add(stack);
        return stack;
    }

    /// <summary>Makes a machine with a stack of this name.</summary>
    public NetStack CreateStack(string name) => CreateStack(new NetStackOptions { Name = name });

    /// <summary>Adds a task whose calls block. It starts when the simulation runs.</summary>
    public void Spawn(string name, Action body) => _world.Spawn(name, body);

    /// <summary>
    /// Adds an asynchronous program. Its continuations run one after the other on a task of its own, so nothing in it is concurrent but
    /// what it awaits; other programs are other tasks.
    /// </summary>
    /// <remarks>
    /// It must not leave the simulation: no <c>Task.Run</c>, no delay without <see cref="TimeProvider"/>, and no
    /// <c>ConfigureAwait(false)</c> on what the program's own code completes, for .NET sends such a continuation to the thread pool. On what
    /// a stack completes it is free to. A program that comes back on another thread fails the run.
    /// </remarks>
    public void Spawn(string name, Func<Task> program) => _world.Spawn(name, program);

    /// <summary>
    /// Runs until every task has ended, or <paramref name="until"/> holds, or the clock has gone on by <paramref name="limit"/>, which a run
    /// with a limit waits for, though every task has ended. What is not finished goes on in the next run.
    /// </summary>
    /// <exception cref="SimulationDeadlockException">Nothing can ever run again, and some task has not ended.</exception>
    public void Run(TimeSpan? limit = null, Func<bool>? until = null) =>
        _world.Run(limit is { } time ? Micros.From(time) : Micros.Never, until);

    /// <summary>Ends what has not ended, and disposes of the stacks.</summary>
    public void Dispose()
    {
        _world.Dispose();
        foreach (NetStack stack in _stacks)
            stack.Dispose();
    }
}
