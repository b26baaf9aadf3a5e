using System;
using System.Collections.Generic;
using System.IO;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using System.Threading;
using System.Threading.Tasks;

namespace Millrace.Cli.Diagnostics;

/// <summary>Asks a running command for its sockets, its settings, or what it remembers of peers.</summary>
internal static class ControlClient
{
    /// <exception cref="CommandFailedException">Nobody answers there.</exception>
    public static Task<SocketReport> AskSocketsAsync(string path, CancellationToken cancel) =>
        AskAsync(path, new ControlRequest(), ControlJson.Default.SocketReport, cancel);

    /// <summary>Reads and writes settings, in order.</summary>
    /// <param name="words">None: all settings are read.</param>
    /// <exception cref="CommandFailedException">Nobody answers there.</exception>
    public static Task<SysctlReport> AskSysctlsAsync(string path, IReadOnlyList<SysctlWord> words, CancellationToken cancel) =>
        AskAsync(path, new ControlRequest(words), ControlJson.Default.SysctlReport, cancel);

    /// <summary>Reads or flushes what is remembered of peers.</summary>
    /// <exception cref="CommandFailedException">Nobody answers there.</exception>
    public static Task<MetricsReport> AskMetricsAsync(string path, MetricsQuery query, CancellationToken cancel) =>
        AskAsync(path, new ControlRequest(Metrics: query), ControlJson.Default.MetricsReport, cancel);

    private static async Task<T> AskAsync<T>(string path, ControlRequest request, JsonTypeInfo<T> answer, CancellationToken cancel)
    {
        try
        {
            using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancel);
            await using var stream = new NetworkStream(socket);
            await JsonSerializer.SerializeAsync(stream, request, ControlJson.Default.ControlRequest, cancel);
            socket.Shutdown(SocketShutdown.Send);
            return (await JsonSerializer.DeserializeAsync(stream, answer, cancel))!;
        }
        catch (Exception e) when (e is SocketException or IOException)
        {
            throw new CommandFailedException($"nobody answers at {path}: {e.Message}", e);
        }
        catch (Exception e) when (e is JsonException or ArgumentException)
        {
            throw new CommandFailedException($"{path} is no socket of millrace's: {e.Message}", e);
        }
    }

    /// <summary>The socket of the one process that runs.</summary>
    /// <exception cref="CommandFailedException">None runs, or more than one.</exception>
    public static string FindOnly(string directory)
    {
        var alive = new List<int>();
        foreach (int pid in RuntimeDirectory.Pids(directory))
        {
            if (Directory.Exists($"/proc/{pid}"))
                alive.Add(pid);
        }
        return alive.Count switch
        {
            1 => RuntimeDirectory.SocketOf(directory, alive[0]),
            0 => throw new CommandFailedException("no millrace serve, get or nc of this user is running"),
            _ => throw new CommandFailedException($"several are running: choose one by --pid ({string.Join(", ", alive)})"),
        };
    }
}
