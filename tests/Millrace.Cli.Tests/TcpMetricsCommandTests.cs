using System;
using System.IO;
using System.Net;
using System.Runtime.Versioning;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Cli.Diagnostics;

namespace Millrace.Cli.Tests;

/// <summary><c>millrace tcp_metrics</c> against a stack's control socket.</summary>
[SupportedOSPlatform("linux")]
public sealed class TcpMetricsCommandTests : IAsyncDisposable
{
    private readonly NetStack _stack = new();
    private readonly string _directory = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
    private readonly ControlServer _server;

    public TcpMetricsCommandTests() => _server = ControlServer.Start("serve", _stack, _directory);

    private string ControlPath => RuntimeDirectory.SocketOf(_directory, Environment.ProcessId);

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        _stack.Dispose();
        Directory.Delete(_directory);
    }

    private Task<Tool> Run(params string[] args) => Tool.Run(["tcp_metrics", "--socket", ControlPath, .. args]);

    // Both ends of a connection over the loopback device have ended.
    private async Task ConnectAndEndAsync(CancellationToken cancel)
    {
        using TcpListener listener = _stack.Listen(new IPEndPoint(IPAddress.Loopback, 80));
        using TcpConnection client = await _stack.ConnectAsync(new IPEndPoint(IPAddress.Loopback, 80), cancel: cancel);
        using TcpConnection server = await listener.AcceptAsync(cancel);
        client.Shutdown(System.Net.Sockets.SocketShutdown.Send);
        Assert.Equal(0, await server.ReceiveAsync(new byte[1], cancel));
        server.Shutdown(System.Net.Sockets.SocketShutdown.Send);
        Assert.Equal(0, await client.ReceiveAsync(new byte[1], cancel));
    }

    [Fact]
    public async Task What_an_ended_connection_left_is_shown_and_forgotten()
    {
        await ConnectAndEndAsync(TestContext.Current.CancellationToken);
        Tool shown = await Run();
        Assert.Equal((0, ""), (shown.Code, shown.Error));
        Assert.StartsWith("127.0.0.1 age ", shown.Output, StringComparison.Ordinal);
        Assert.EndsWith(" source 127.0.0.1" + Environment.NewLine, shown.Output, StringComparison.Ordinal);
        Assert.Equal("", (await Run("10.0.0.1")).Output);
        Assert.Equal("0 forgotten" + Environment.NewLine, (await Run("--flush", "10.0.0.1")).Output);
        Assert.Equal("1 forgotten" + Environment.NewLine, (await Run("--flush", "127.0.0.1")).Output);
        Assert.Equal("", (await Run()).Output);
    }
}
