using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Millrace.Tests.Support;

namespace Millrace.Tests.Syscalls;

/// <summary>The system calls held against the kernel: each row of errno.tsv, with the same result and the same errno.</summary>
public sealed class ErrnoTests
{
    private const string BadPointer = "a Span cannot point nowhere: the C face's case";
    private const string NegativeLength = "a Span cannot have a negative length: the C face's case";
    private const string NoDatagrams = "there are no datagram sockets yet";
    private const string Restart = "the caller decides whether a cancelled call is made again";

    // Rows that cannot be a case here, each with its reason.
    private static readonly Dictionary<string, string> s_impossible = new()
    {
        ["socket_dgram_tcp"] = NoDatagrams,
        ["listen_udp"] = NoDatagrams,
        ["accept_udp"] = NoDatagrams,
        ["socket_mptcp"] = "there is no MPTCP",
        ["bind_neg_len"] = NegativeLength,
        ["accept_neg_len"] = NegativeLength,
        ["accept_efault"] = BadPointer,
        ["connect_efault"] = BadPointer,
        ["recv_efault_nodata"] = BadPointer,
        ["recv_efault_data"] = BadPointer,
        ["setsockopt_efault"] = BadPointer,
        ["accept_restart"] = Restart,
        ["accept_restart_signals"] = Restart,
        ["recv_restart"] = Restart,
    };

    private static IEnumerable<string[]> Rows => Repository.Recording("errno.tsv");

    public static TheoryData<string, string, int, string, string> Recorded()
    {
        var data = new TheoryData<string, string, int, string, string>();
        foreach (string[] row in Rows.Where(static row => !s_impossible.ContainsKey(row[0])))
            data.Add(row[0], row[1], int.Parse(row[2], CultureInfo.InvariantCulture), row[3], row[4]);
        return data;
    }

    [Theory, MemberData(nameof(Recorded))]
    public void The_call_returns_what_the_kernel_returned(string name, string calls, int result, string errno, string note)
    {
        Assert.NotEmpty(calls);
        (Outcome outcome, long took) = CallBench.Run(bench =>
        {
            Outcome outcome = ErrnoCases.All[name](bench);
            return (outcome, bench.NowMilliseconds - bench.CallBegan);
        });
        Assert.Equal((result, errno), (outcome.Result.Value, outcome.Result.IsError ? outcome.Result.Error.ToString() : "-"));
        string[] words = note.Split(' ', System.StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(string.Join(' ', words.Where(static w => w != "SIGPIPE" && !w.StartsWith("t=", System.StringComparison.Ordinal))), outcome.Note);
        // The recorder's clock ticked every 4 ms, and its helpers were threads that had to start.
        foreach (string time in words.Where(static w => w.StartsWith("t=", System.StringComparison.Ordinal)))
        {
            int recorded = int.Parse(time[2..^2], CultureInfo.InvariantCulture);
            Assert.InRange(took, recorded * 7 / 10, recorded + 10);
        }
    }

    [Fact]
    public void Every_row_is_a_case_or_has_a_reason_and_no_case_is_without_a_row()
    {
        string[] names = [.. Rows.Select(static row => row[0])];
        Assert.Equal(195, names.Length);
        Assert.Equal(names.Order(), ErrnoCases.All.Keys.Concat(s_impossible.Keys).Order());
    }
}
