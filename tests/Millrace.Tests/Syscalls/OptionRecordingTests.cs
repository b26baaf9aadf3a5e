using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Reflection;
using Millrace.Inet;
using Millrace.Tcp;
using Millrace.Tests.Support;

namespace Millrace.Tests.Syscalls;

/// <summary>Every option that Linux has and a TCP program can set as a number: the same values are taken, refused, and read back.</summary>
public sealed class OptionRecordingTests
{
    // Times are kept in microseconds, not in the recorder's jiffies of 4 ms.
    private static readonly HashSet<string> s_roundedThere = ["TCP_RTO_MAX_MS", "TCP_RTO_MIN_US", "TCP_DELACK_MAX_US"];

    private static readonly Dictionary<string, (int Level, Type Numbers)> s_levels = new()
    {
        ["SOL_SOCKET"] = (SocketLevel.Socket, typeof(So)),
        ["IPPROTO_IP"] = (SocketLevel.Ip, typeof(IpOption)),
        ["IPPROTO_IPV6"] = (SocketLevel.Ipv6, typeof(Ipv6Option)),
        ["IPPROTO_TCP"] = (SocketLevel.Tcp, typeof(TcpOption)),
    };

    public static TheoryData<string, string, int, string, string> Recorded()
    {
        var data = new TheoryData<string, string, int, string, string>();
        foreach (string[] row in Repository.Recording("sockopts.tsv"))
            data.Add(row[0], row[1], int.Parse(row[2], CultureInfo.InvariantCulture), row[3], row[4]);
        return data;
    }

    [Theory, MemberData(nameof(Recorded))]
    public void The_same_values_are_taken_refused_and_read_back(string level, string name, int number, string initial, string values)
    {
        (int levelNumber, Type numbers) = s_levels[level];
        bool known = numbers.GetFields(BindingFlags.Public | BindingFlags.Static).Any(f => (int)f.GetRawConstantValue()! == number);
        string[] pairs = values.Split(' ');
        (string actualInitial, string actual) = CallBench.Run(k =>
        {
            string first = Read(k, Open(k, level), levelNumber, number);
            return (first, string.Join(' ', pairs.Select(pair => Try(k, level, levelNumber, number, pair[..pair.IndexOf('=')]))));
        });
        if (!known)
        {
            Assert.Equal("ENOPROTOOPT", actualInitial);
            Assert.All(actual.Split(' '), static pair => Assert.EndsWith("=ENOPROTOOPT", pair, StringComparison.Ordinal));
            return;
        }
        Assert.Equal(initial, actualInitial);
        if (!s_roundedThere.Contains(name))
            Assert.Equal(values, actual);
    }

    private static int Open(CallBench k, string level) => k.Tcp(level == "IPPROTO_IPV6" ? CallBench.Inet6 : CallBench.Inet);

    private static string Read(CallBench k, int fd, int level, int option)
    {
        SysResult result = k.P.GetSockOpt(fd, level, option, out int value);
        return result.IsError ? result.Error.ToString() : value.ToString(CultureInfo.InvariantCulture);
    }

    private static string Try(CallBench k, string level, int levelNumber, int option, string value)
    {
        int fd = Open(k, level);
        SysResult set = k.P.SetSockOpt(fd, levelNumber, option, int.Parse(value, CultureInfo.InvariantCulture));
        string outcome = set.IsError ? set.Error.ToString() : Read(k, fd, levelNumber, option);
        CallBench.Ok(k.P.Close(fd));
        return $"{value}={outcome}";
    }
}
