using System;
using System.IO;
using System.Net.Sockets;
using System.Runtime.Versioning;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;

namespace Millrace.Cli.Diagnostics;

/// <summary>Answers <c>millrace ss</c>, <c>millrace sysctl</c> and <c>millrace tcp_metrics</c> on a Unix socket of this process's, which only its user may connect to.</summary>
/// <remarks>One question a connection: the client sends a <see cref="ControlRequest"/> and ends its side; the answer is one JSON object.</remarks>
internal sealed class ControlServer : IAsyncDisposable
{
    /// <summary>How long a client may take for its question: clients are answered one after another.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private readonly string _path;
    private readonly Socket _listener;
    private readonly string _command;
    private readonly NetStack _stack;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _serving;

    private ControlServer(string path, Socket listener, string command, NetStack stack)
    {
        _path = path;
        _listener = listener;
        _command = command;
        _stack = stack;
        _serving = ServeAsync();
    }

    /// <exception cref="CommandFailedException">The directory is not this user's alone.</exception>
    [UnsupportedOSPlatform("windows")]
    public static ControlServer Start(string command, NetStack stack, string directory)
    {
        RuntimeDirectory.Ensure(directory);
        string path = RuntimeDirectory.SocketOf(directory, Environment.ProcessId);
        // One of a process that had this number and did not end well.
        File.Delete(path);
        var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            listener.Bind(new UnixDomainSocketEndPoint(path));
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            listener.Listen();
            return new ControlServer(path, listener, command, stack);
        }
        catch
        {
            listener.Dispose();
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _serving;
        _listener.Dispose();
        File.Delete(_path);
        _stop.Dispose();
    }

    private async Task ServeAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                using Socket client = await _listener.AcceptAsync(_stop.Token);
                using var patience = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
                patience.CancelAfter(Patience);
                await using var stream = new NetworkStream(client);
                await AnswerAsync(stream, patience.Token);
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException or IOException or JsonException)
            {
                // The client is gone, or never was ours; the next may come.
            }
        }
    }

    private async Task AnswerAsync(NetworkStream stream, CancellationToken cancel)
    {
        ControlRequest? request = await JsonSerializer.DeserializeAsync(stream, ControlJson.Default.ControlRequest, cancel);
        if (request?.Sysctls is { } words)
            await JsonSerializer.SerializeAsync(stream, SysctlReport.Of(_stack.Sysctls, words), ControlJson.Default.SysctlReport, cancel);
        else if (request?.Metrics is { } query)
            await JsonSerializer.SerializeAsync(stream, MetricsReport.Of(_stack, query), ControlJson.Default.MetricsReport, cancel);
        else
            await JsonSerializer.SerializeAsync(stream, SocketReport.Of(_command, _stack), ControlJson.Default.SocketReport, cancel);
    }
}
