using System;
using System.IO;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Cli.Trace;

namespace Millrace.Cli.Tun;

/// <summary>Writes a stack's trace to a file, one JSON object an event and line, until it is disposed of.</summary>
internal sealed class TraceFile : IAsyncDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(50);

    private readonly TraceSession _session;
    private readonly StreamWriter _writer;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _writing;
    private long _lost;

    public TraceFile(NetStack stack, Stream file)
    {
        _session = stack.Trace(1 << 18);
        _writer = new StreamWriter(file);
        _writing = WriteAsync();
    }

    public async ValueTask DisposeAsync()
    {
        _session.Dispose();
        await _stop.CancelAsync();
        await _writing;
        Drain();
        await _writer.DisposeAsync();
        _stop.Dispose();
    }

    private async Task WriteAsync()
    {
        using var timer = new PeriodicTimer(Interval);
        try
        {
            while (await timer.WaitForNextTickAsync(_stop.Token))
                Drain();
        }
        catch (OperationCanceledException)
        {
            // The end.
        }
    }

    private void Drain()
    {
        foreach (TraceEvent e in _session.Read())
            _writer.WriteLine(TraceLine.Write(e));
        if (_session.Lost > _lost)
        {
            // A gap in seq says where.
            _writer.WriteLine($"{{\"lost\":{_session.Lost - _lost}}}");
            _lost = _session.Lost;
        }
        _writer.Flush();
    }
}
