using System;
using System.Collections.Generic;
using System.IO;
using System.Net;
using System.Runtime.Versioning;
using System.Threading.Tasks;
using Millrace.Cli.Diagnostics;

namespace Millrace.Cli.Tests;

/// <summary>How <c>millrace ss</c> writes what it was told.</summary>
[SupportedOSPlatform("linux")]
public sealed class SocketTableTests
{
    private static SocketRow Row(SocketTimer timer = SocketTimer.None, long ms = 0, int retransmits = 0) =>
        new(TcpState.Established, "10.77.0.2:80", "10.77.0.1:4000", 0, 0, timer, ms, retransmits, "cubic", null);

    [Theory]
    [InlineData(SocketTimer.None, 0, "")]
    [InlineData(SocketTimer.Retransmit, 204, "timer:(on,204ms,2)")]
    [InlineData(SocketTimer.Probe, 1204, "timer:(persist,1.204ms,2)")]
    [InlineData(SocketTimer.TimeWait, 59_400, "timer:(timewait,59sec,2)")]
    [InlineData(SocketTimer.TimeWait, 60_000, "timer:(timewait,1min,2)")]
    [InlineData(SocketTimer.KeepAlive, 7_139_000, "timer:(keepalive,118min,2)")]
    [InlineData(SocketTimer.KeepAlive, 65_300, "timer:(keepalive,1min5sec,2)")]
    [InlineData(SocketTimer.Retransmit, 3000, "timer:(on,3sec,2)")]
    public void A_timer_is_written_as_ss_writes_it(SocketTimer timer, long ms, string expected) =>
        Assert.Equal(expected, SocketTable.TimerText(Row(timer, ms, 2)));

    [Fact]
    public void Every_state_has_the_name_that_ss_gives_it()
    {
        var names = new HashSet<string>();
        foreach (TcpState state in Enum.GetValues<TcpState>())
            names.Add(SocketTable.StateName(state));
        // A request sock's state is shown as SYN-RECV too.
        Assert.Equal(Enum.GetValues<TcpState>().Length - 1, names.Count);
        Assert.Equal("FIN-WAIT-2", SocketTable.StateName(TcpState.FinWait2));
    }

    [Fact]
    public void The_numbers_stand_in_the_words_and_the_order_of_ss()
    {
        var info = new TcpInfo
        {
            State = (byte)TcpState.Established,
            Options = 7,
            WindowScales = 0x7a,
            Rto = 204_000,
            Rtt = 1_234,
            RttVariance = 567,
            SendMss = 1448,
            SendCwnd = 10,
            SendSsthresh = 0x7fff_ffff,
            Reordering = 3,
            BytesAcked = 12345,
            SegmentsOut = 9,
            PacingRate = ulong.MaxValue,
            BusyTime = 200_000,
            ReceiveWindowLimited = 100_000,
            TotalRetransmits = 3,
            MinRtt = uint.MaxValue,
        };
        Assert.Equal("ts sack cubic wscale:10,7 rto:204 rtt:1.234/0.567 mss:1448 cwnd:10 bytes_acked:12345 segs_out:9 send 93873582bps "
            + "busy:200ms rwnd_limited:100ms(50.0%) retrans:0/3", TcpInfoText.Format("cubic", info));
    }

    [Fact]
    public void Listeners_come_first_and_columns_are_aligned()
    {
        SocketRow listener = Row() with { State = TcpState.Listen, Remote = "0.0.0.0:*", SendQueue = 4096 };
        var output = new StringWriter();
        SocketTable.Write(output, [Row(SocketTimer.Retransmit, 5, 0), listener], header: true);
        string[] lines = output.ToString().TrimEnd().Split(Environment.NewLine);
        Assert.Equal(
        [
            "State   Recv-Q  Send-Q  Local Address:Port  Peer Address:Port  Timer",
            "LISTEN       0    4096        10.77.0.2:80  0.0.0.0:*",
            "ESTAB        0       0        10.77.0.2:80  10.77.0.1:4000     timer:(on,005ms,0)",
        ], lines);
    }

    [Fact]
    public void Without_sockets_and_heading_nothing_is_written()
    {
        var output = new StringWriter();
        SocketTable.Write(output, [], header: false);
        Assert.Empty(output.ToString());
    }

    [Fact]
    public async Task What_a_stack_lists_comes_through_the_Unix_socket_whole()
    {
        using var stack = new NetStack(new NetStackOptions { Name = "mr0" });
        var at = new IPEndPoint(IPAddress.Loopback, 80);
        await using TcpListener listener = stack.Listen(at);
        await using TcpConnection client = await stack.ConnectAsync(at, cancel: TestContext.Current.CancellationToken);
        string directory = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
        string path;
        await using (ControlServer server = ControlServer.Start("serve", stack, directory))
        {
            path = RuntimeDirectory.SocketOf(directory, Environment.ProcessId);
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
            SocketReport report = await ControlClient.AskSocketsAsync(path, TestContext.Current.CancellationToken);
            Assert.Equal((Environment.ProcessId, "serve", "mr0"), (report.Pid, report.Command, report.Stack));
            Assert.Equal(3, report.Sockets.Count);
            SocketRow row = Assert.Single(report.Sockets, static s => s.State == TcpState.Listen);
            Assert.Equal(("127.0.0.1:80", "0.0.0.0:*", 1), (row.Local, row.Remote, row.ReceiveQueue));
            Assert.Contains(report.Sockets, s => s.Local == client.LocalEndPoint!.ToString() && s.Info!.Value.SendCwnd == 10);
        }
        Assert.False(File.Exists(path));
        await Assert.ThrowsAsync<CommandFailedException>(() => ControlClient.AskSocketsAsync(path, TestContext.Current.CancellationToken));
        Directory.Delete(directory);
    }

    [Fact]
    public void A_runtime_directory_that_others_can_enter_is_refused()
    {
        string directory = Directory.CreateTempSubdirectory().FullName;
        File.SetUnixFileMode(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.OtherExecute);
        using var stack = new NetStack();
        Assert.Throws<CommandFailedException>(() => ControlServer.Start("serve", stack, directory));
        Directory.Delete(directory);
    }
}
