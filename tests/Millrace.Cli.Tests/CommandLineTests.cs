using System;
using System.IO;
using System.Threading;
using System.Threading.Tasks;

namespace Millrace.Cli.Tests;

public sealed class CommandLineTests
{
    private static Task<Tool> Run(params string[] args) => Tool.Run(args);

    [Theory]
    [InlineData("")]
    [InlineData("trcae")]
    [InlineData("trace --no-such-option")]
    [InlineData("trace surplus")]
    [InlineData("trace --bytes")]
    [InlineData("trace --bytes many")]
    [InlineData("trace --bytes -1")]
    [InlineData("serve")]
    [InlineData("serve --tun mr0 --address 10.77.0.2/24")]
    [InlineData("serve --tun mr0 --address 10.77.0.2 --http 80")]
    [InlineData("serve --tun mr0 --address 10.77.0.2/33 --http 80")]
    [InlineData("serve --tun mr0 --address 10.77.0.2/24 --http 0")]
    [InlineData("serve --tun mr0 --address 10.77.0.2/24 --http 70000")]
    [InlineData("serve --tun mr0 --address 10.77.0.2/24 --http 80 --kernel-address 10.78.0.1")]
    [InlineData("serve --tun mr0 --address 10.77.0.2/24 --http 80 --kernel-address ten")]
    [InlineData("serve --tun mr0 --address 10.77.0.2/24 --echo 7 --root /")]
    [InlineData("serve --address 10.77.0.2/24 --http 80")]
    [InlineData("serve --tun mr0 --tap mr1 --address 10.77.0.2/24 --http 80")]
    [InlineData("serve --tap mr0 --address 10.77.0.2/24 --http 80 --gateway 10.77.0.1")]
    [InlineData("serve --packet mr0 --address 10.77.0.2/24 --http 80 --kernel-address 10.77.0.1")]
    [InlineData("serve --packet mr0 --address 10.77.0.2/24 --http 80 --gateway here")]
    [InlineData("serve --xdp mr0 --address 10.77.0.2/24 --http 80 --mtu 1400")]
    [InlineData("get")]
    [InlineData("get ftp://10.78.0.1/ --tun mr1 --address 10.78.0.2/24")]
    [InlineData("get file --tun mr1 --address 10.78.0.2/24")]
    [InlineData("nc 80 --tun mr1 --address 10.78.0.2/24")]
    [InlineData("nc 10.78.0.1 http --tun mr1 --address 10.78.0.2/24")]
    [InlineData("nc -l host 80 --tun mr1 --address 10.78.0.2/24")]
    [InlineData("nc -k 10.78.0.1 80 --tun mr1 --address 10.78.0.2/24")]
    [InlineData("nc -l -w 3 80 --tun mr1 --address 10.78.0.2/24")]
    [InlineData("nc -w 0 10.78.0.1 80 --tun mr1 --address 10.78.0.2/24")]
    [InlineData("ss --pid 1 --socket /run/x")]
    [InlineData("sysctl")]
    [InlineData("sysctl -a net.ipv4.tcp_sack")]
    [InlineData("sysctl =1")]
    [InlineData("sysctl -a --pid 1 --socket /run/x")]
    [InlineData("tcp_metrics ten")]
    [InlineData("tcp_metrics --pid 1 --socket /run/x")]
    [InlineData("trace --loss 1.5")]
    [InlineData("trace --loss heavy")]
    [InlineData("trace --delay -1")]
    [InlineData("trace --seed -1")]
    [InlineData("trace --cpus 0")]
    [InlineData("trace --format xml")]
    [InlineData("trace --pcap")]
    public async Task A_bad_command_line_gets_one_line_and_exit_code_2(string line)
    {
        (int code, string output, string error) = await Run(line.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.Equal(2, code);
        Assert.Empty(output);
        Assert.StartsWith("millrace: ", error, StringComparison.Ordinal);
        Assert.EndsWith("--help)" + Environment.NewLine, error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd().Split('\n'));
    }

    [Fact]
    public async Task The_complaint_names_what_was_wrong()
    {
        Assert.Contains("trcae", (await Run("trcae")).Error, StringComparison.Ordinal);
        Assert.Contains("--bytes takes a number from 0 to 1073741824, not 'many'", (await Run("trace", "--bytes", "many")).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_command_that_fails_says_so_in_one_line_and_exits_with_1()
    {
        (int code, string output, string error) = await Run("trace", "--pcap", "/no/such/directory/x.pcapng");
        Assert.Equal(1, code);
        Assert.Empty(output);
        Assert.StartsWith("millrace: ", error, StringComparison.Ordinal);
        Assert.Contains("/no/such/directory/x.pcapng", error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd().Split('\n'));
    }

    [Fact]
    public async Task A_cancelled_command_exits_as_a_shell_says_interrupted()
    {
        using var cancel = new CancellationTokenSource();
        await cancel.CancelAsync();
        Assert.Equal(130, await CommandLine.RunAsync(["trace"], TextWriter.Null, TextWriter.Null, cancel.Token));
    }

    [Theory]
    [InlineData("--help", "trace")]
    [InlineData("trace --help", "--bytes")]
    [InlineData("serve --help", "curl http://10.77.0.2:8080/")]
    [InlineData("get --help", "sha256sum")]
    [InlineData("nc --help", "nc -N 10.78.0.2 9000")]
    [InlineData("ss --help", "millrace ss --pid")]
    [InlineData("sysctl --help", "millrace sysctl -a")]
    [InlineData("tcp_metrics --help", "millrace tcp_metrics --flush")]
    public async Task Every_command_has_help(string line, string mentions)
    {
        (int code, string output, string error) = await Run(line.Split(' '));
        Assert.Equal(0, code);
        Assert.Contains(mentions, output, StringComparison.Ordinal);
        Assert.Empty(error);
    }

    [Fact]
    public async Task A_socket_that_nobody_answers_at_is_one_line_and_exit_code_1()
    {
        var (code, output, error) = await Run("ss", "--socket", "/nonexistent/4711.sock");
        Assert.Equal(1, code);
        Assert.Empty(output);
        Assert.StartsWith("millrace: nobody answers at /nonexistent/4711.sock", error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd().Split('\n'));
    }
}
