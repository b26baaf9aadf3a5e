using System;
using System.IO;
using System.Net.Sockets;
using System.Runtime.Versioning;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;

namespace Millrace.Cli.Diagnostics;

/// <summary>Answers <c>millrace ss</c> on a Unix socket of this process's, which only its user may connect to.</summary>
internal sealed class ReportServer : IAsyncDisposable
{
    private readonly string _path;
    private readonly Socket _listener;
    private readonly string _command;
    private readonly NetStack _stack;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _serving;

    private ReportServer(string path, Socket listener, string command, NetStack stack)
    {
        _path = path;
        _listener = listener;
        _command = command;
        _stack = stack;
        _serving = ServeAsync();
    }

    /// <exception cref="CommandFailedException">The directory is not this user's alone.</exception>
    [UnsupportedOSPlatform("windows")]
    public static ReportServer Start(string command, NetStack stack, string directory)
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
            return new ReportServer(path, listener, command, stack);
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
        while (true)
        {
            try
            {
                using Socket client = await _listener.AcceptAsync(_stop.Token);
                await using var stream = new NetworkStream(client);
                await JsonSerializer.SerializeAsync(stream, SocketReport.Of(_command, _stack), SocketReportJson.Default.SocketReport, _stop.Token);
            }
            catch (OperationCanceledException)
            {
                return;
            }
            catch (Exception e) when (e is SocketException or IOException)
            {
                // The client is gone; the next may come.
            }
        }
    }
}
