using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Reflection;
using Millrace.Inet;
using Millrace.Tcp;
using Millrace.Tests.Support;

namespace Millrace.Tests.Syscalls;

/// <summary>docs/sockopts.md lists what the code has: numbers, access, and defaults.</summary>
public sealed class OptionDocTests
{
    private sealed record Row(string Name, int Number, string Access, string Default);

    public static TheoryData<string, int, Type> Levels => new()
    {
        { "SOL_SOCKET", SocketLevel.Socket, typeof(So) },
        { "IPPROTO_IP", SocketLevel.Ip, typeof(IpOption) },
        { "IPPROTO_IPV6", SocketLevel.Ipv6, typeof(Ipv6Option) },
        { "IPPROTO_TCP", SocketLevel.Tcp, typeof(TcpOption) },
    };

    private static List<Row> Documented(string level)
    {
        string text = Repository.Read("docs", "sockopts.md");
        string section = text[text.IndexOf($"## {level}\n", StringComparison.Ordinal)..];
        int end = section.IndexOf("\n## ", StringComparison.Ordinal);
        return [.. section[..end].Split('\n').Where(static line => line.StartsWith("| ", StringComparison.Ordinal)).Skip(1)
            .Select(static line => line.Split('|', StringSplitOptions.TrimEntries))
            .Select(static cells => new Row(cells[1], int.Parse(cells[2], CultureInfo.InvariantCulture), cells[3], cells[4]))];
    }

    [Theory, MemberData(nameof(Levels))]
    public void Every_option_of_the_code_has_a_row_and_no_other(string level, int number, Type constants)
    {
        Assert.True(number >= 0);
        IEnumerable<int> coded = constants.GetFields(BindingFlags.Public | BindingFlags.Static).Select(static f => (int)f.GetRawConstantValue()!);
        Assert.Equal(coded.Order(), Documented(level).Select(static row => row.Number).Order());
    }

    [Theory, MemberData(nameof(Levels))]
    public void Access_and_default_are_as_documented(string level, int number, Type constants)
    {
        Assert.NotNull(constants);
        CallBench.Run(k =>
        {
            foreach (Row row in Documented(level))
            {
                int family = level == "IPPROTO_IPV6" ? CallBench.Inet6 : CallBench.Inet;
                SysResult get = k.P.GetSockOpt(k.Tcp(family), number, row.Number, out int value);
                SysResult set = k.P.SetSockOpt(k.Tcp(family), number, row.Number, new byte[64]);
                Assert.Equal((row.Name, row.Access.Contains("get")), (row.Name, get.Error != Errno.ENOPROTOOPT));
                Assert.Equal((row.Name, row.Access.Contains("set")), (row.Name, set.Error != Errno.ENOPROTOOPT));
                if (int.TryParse(row.Default, CultureInfo.InvariantCulture, out int documented))
                    Assert.Equal((row.Name, documented), (row.Name, value));
            }
        });
    }
}
