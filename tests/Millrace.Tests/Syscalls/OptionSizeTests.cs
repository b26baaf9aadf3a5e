using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Reflection;
using System.Text.RegularExpressions;
using Millrace.Inet;
using Millrace.Tcp;
using Millrace.Tests.Support;

namespace Millrace.Tests.Syscalls;

/// <summary>
/// Every number from 0 to 127 at every level, of a fresh socket: how many bytes a get returns into how much room, which lengths a set
/// takes, and with what error the rest is refused, as 6.18 was recorded to do; and what is not there is refused whole.
/// </summary>
public sealed partial class OptionSizeTests
{

    private static readonly Dictionary<string, (int Number, Type Options)> s_levels = new()
    {
        ["SOL_SOCKET"] = (SocketLevel.Socket, typeof(So)),
        ["IPPROTO_IP"] = (SocketLevel.Ip, typeof(IpOption)),
        ["IPPROTO_IPV6"] = (SocketLevel.Ipv6, typeof(Ipv6Option)),
        ["IPPROTO_TCP"] = (SocketLevel.Tcp, typeof(TcpOption)),
    };

    // The recorder's congestion control was bbr, which tells more of itself than cubic does.
    private static readonly (string Level, int Number) s_recorderIsOther = ("IPPROTO_TCP", TcpOption.CcInfo);

    public static TheoryData<int, string> Groups => new(
        from family in new[] { 4, 6 }
        from level in s_levels.Keys
        select (family, level));

    [Theory, MemberData(nameof(Groups))]
    public void Rooms_lengths_and_errors_are_the_recorded_ones(int family, string level)
    {
        Dictionary<string, string> recorded = Repository.Recording("sockopt_sizes.tsv")
            .Where(row => row[0] == family.ToString(CultureInfo.InvariantCulture) && row[1] == level)
            .ToDictionary(static row => row[2], static row => row[3]);
        HashSet<int> known = [.. s_levels[level].Options.GetFields(BindingFlags.Public | BindingFlags.Static).Select(static f => (int)f.GetRawConstantValue()!)];
        List<string> wrong = CallBench.Run(k =>
        {
            var differing = new List<string>();
            for (int number = 0; number < 128; number++)
            {
                string expected = recorded.GetValueOrDefault(number.ToString(CultureInfo.InvariantCulture)) ?? recorded["*"];
                string seen = string.Join(' ', expected.Split(' ').Select(probe => Try(k, family, s_levels[level].Number, number, probe)));
                bool right = known.Contains(number) && !(level == "IPPROTO_IPV6" && family == 4)
                    ? seen == expected || s_recorderIsOther == (level, number)
                    : Refusals().Count(seen) == expected.Split(' ').Length;
                if (!right)
                    differing.Add($"{number}: recorded {expected}\n    here     {seen}");
            }
            return differing;
        });
        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
    }

    [GeneratedRegex("=(ENOPROTOOPT|EINVAL|EOPNOTSUPP)")]
    private static partial Regex Refusals();

    // A probe is g or s, a length, and the recorded outcome.
    private static string Try(CallBench k, int family, int level, int number, string probe)
    {
        string what = probe[..probe.IndexOf('=')];
        int length = int.Parse(what[1..], CultureInfo.InvariantCulture);
        int fd = k.Tcp(family == 4 ? CallBench.Inet : CallBench.Inet6);
        SysResult result = what[0] == 'g' ? k.P.GetSockOpt(fd, level, number, new byte[length]) : k.P.SetSockOpt(fd, level, number, new byte[length]);
        CallBench.Ok(k.P.Close(fd));
        string outcome = result.IsError ? result.Error.ToString() : what[0] == 's' ? "OK" : result.Value.ToString(CultureInfo.InvariantCulture);
        return $"{what}={outcome}";
    }
}
