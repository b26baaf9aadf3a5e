using System.Diagnostics.CodeAnalysis;
using System.Threading;
using Millrace.Sched;
using Millrace.Sockets;

namespace Millrace.Syscalls;

/// <summary>
/// One call on one file: the CPU, the file's reference, and, if the call can be interrupted, the registration with the token.
/// </summary>
internal ref struct FileCall
{
    private readonly CpuSet _cpus;
    private readonly Interruption _interruption;
    private TaskContext _context;
    public readonly File File = null!;
    public readonly Errno Error;

    /// <param name="file">Held for the call, which gives the reference back; null: a bad descriptor.</param>
    public FileCall(CpuSet cpus, File? file, CancellationToken cancel)
    {
        _cpus = cpus;
        _interruption = new Interruption(cpus.Host, cancel);
        _context = cpus.Enter();
        if (file is null)
            Error = Errno.EBADF;
        else
            File = file;
    }

    [UnscopedRef]
    public ref TaskContext Context => ref _context;

    public void Dispose()
    {
        File?.Release(ref _context);
        _cpus.Leave(ref _context);
        _interruption.End();
    }
}

/// <summary>Ties a token to the calling task for one call: where Linux has a signal, the call ends with EINTR.</summary>
internal readonly struct Interruption
{
    private readonly CancellationTokenRegistration _registration;
    private readonly TaskStruct? _task;

    public Interruption(Host host, CancellationToken cancel)
    {
        if (!cancel.CanBeCanceled)
            return;
        _task = ThreadContext.Current.Task;
        _task.ClearSignal();
        _task.Host = host;
        _registration = cancel.UnsafeRegister(static task => ((TaskStruct)task!).Interrupt(), _task);
    }

    /// <summary>The call is over. No interruption comes after this.</summary>
    public void End()
    {
        if (_task is null)
            return;
        _registration.Dispose();
        _task.ClearSignal();
    }
}
