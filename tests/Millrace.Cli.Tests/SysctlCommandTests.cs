using System;
using System.IO;
using System.Linq;
using System.Net.Sockets;
using System.Runtime.Versioning;
using System.Threading.Tasks;
using Millrace.Cli.Diagnostics;

namespace Millrace.Cli.Tests;

/// <summary><c>millrace sysctl</c> against a stack's control socket.</summary>
[SupportedOSPlatform("linux")]
public sealed class SysctlCommandTests : IAsyncDisposable
{
    private readonly NetStack _stack = new();
    private readonly string _directory = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
    private readonly ControlServer _server;

    public SysctlCommandTests() => _server = ControlServer.Start("serve", _stack, _directory);

    private string ControlPath => RuntimeDirectory.SocketOf(_directory, Environment.ProcessId);

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        _stack.Dispose();
        Directory.Delete(_directory);
    }

    private Task<Tool> Run(params string[] args) => Tool.Run(["sysctl", "--socket", ControlPath, .. args]);

    private static string Lines(params string[] lines) => string.Concat(lines.Select(static line => line + Environment.NewLine));

    [Fact]
    public async Task Settings_are_shown_in_the_order_in_which_they_were_named() =>
        Assert.Equal(new Tool(0, Lines("net.ipv4.tcp_sack = 1", "net.ipv4.tcp_rmem = 4096\t131072\t33554432"), ""),
            await Run("net/ipv4/tcp_sack", "net.ipv4.tcp_rmem"));

    [Fact]
    public async Task A_setting_is_written_and_shown_as_it_is_now()
    {
        Assert.Equal(new Tool(0, Lines("net.ipv4.tcp_fin_timeout = 17"), ""), await Run("net.ipv4.tcp_fin_timeout=0x11"));
        Assert.Equal(17, _stack.Sysctls.TcpFinTimeout);
        Assert.Equal(new Tool(0, Lines("8192\t131072\t33554432"), ""), await Run("-n", "net.ipv4.tcp_rmem = 8192"));
        Assert.Equal(8192, _stack.Sysctls.TcpRmem.Min);
    }

    [Fact]
    public async Task All_settings_are_shown_by_a()
    {
        Tool all = await Run("-a");
        Assert.Equal(0, all.Code);
        Assert.Equal(Sysctls.Names.Select(name => $"{name} = {_stack.Sysctls[name]}".TrimEnd()),
            all.Output.Split(Environment.NewLine, StringSplitOptions.RemoveEmptyEntries).Select(static line => line.TrimEnd()));
    }

    [Theory]
    [InlineData("net.ipv4.tcp_cubic", "net.ipv4.tcp_cubic: No such file or directory")]
    [InlineData("net.ipv4.tcp_cubic=1", "net.ipv4.tcp_cubic: No such file or directory")]
    [InlineData("net.ipv4.tcp_reordering=301", "net.ipv4.tcp_reordering: Invalid argument")]
    [InlineData("net.ipv4.tcp_reordering=", "net.ipv4.tcp_reordering: Invalid argument")]
    [InlineData("net.ipv4.tcp_congestion_control=vegas", "net.ipv4.tcp_congestion_control: No such file or directory")]
    [InlineData("net.ipv4.tcp_available_congestion_control=reno", "net.ipv4.tcp_available_congestion_control: Permission denied")]
    public async Task A_word_that_fails_is_one_line_in_the_kernels_words_and_the_others_are_done(string word, string complaint) =>
        Assert.Equal(new Tool(1, Lines("net.ipv4.tcp_dsack = 0"), Lines($"millrace: {complaint}")), await Run(word, "net.ipv4.tcp_dsack=0"));

    [Fact]
    public async Task Who_asks_no_question_of_ours_does_not_end_the_answers()
    {
        using (var stranger = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            await stranger.ConnectAsync(new UnixDomainSocketEndPoint(ControlPath), TestContext.Current.CancellationToken);
            await stranger.SendAsync("GET / HTTP/1.1\r\n\r\n"u8.ToArray(), TestContext.Current.CancellationToken);
            stranger.Shutdown(SocketShutdown.Send);
        }
        Assert.Equal(new Tool(0, Lines("1"), ""), await Run("-n", "net.ipv4.tcp_sack"));
    }
}
