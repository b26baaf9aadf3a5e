using System;
using System.Collections.Generic;
using System.Linq;
using System.Reflection;
using System.Text.RegularExpressions;
using Millrace.Tests.Support;

namespace Millrace.Tests.Sockets;

public sealed class SysctlTests
{
    // Named for mechanisms that are still being built; this list only gets shorter.
    private static readonly HashSet<string> s_notReadYet =
    [
        "TcpSyncookies", "TcpMaxSynBacklog",
    ];

    // Bounds that are not 6.18's, on purpose: name, least, greatest.
    private static readonly Dictionary<string, (long Min, long Max)> s_ownBounds = new()
    {
        ["net.ipv4.tcp_ecn"] = (0, 5), // Newer kernels: AccECN.
        ["net.ipv4.tcp_ecn_option"] = (0, 3), // Newer kernels.
        ["net.ipv4.ip_unprivileged_port_start"] = (0, 32768), // Its greatest depends on ip_local_port_range.
    };

    // A setting's own property, behind the one that leads to the group that it is in, if it is in one.
    private static IEnumerable<(PropertyInfo? Group, PropertyInfo Setting)> Properties
    {
        get
        {
            foreach (PropertyInfo p in Of(typeof(Sysctls)))
            {
                if (p.PropertyType == typeof(NeighbourSysctls))
                {
                    foreach (PropertyInfo inner in Of(p.PropertyType))
                        yield return (p, inner);
                }
                else
                {
                    yield return (null, p);
                }
            }
        }
    }

    private static IEnumerable<PropertyInfo> Of(Type settings) => settings
        .GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(static p => p.GetIndexParameters().Length == 0);

    private static Dictionary<string, string> Snapshot(Sysctls settings) => Sysctls.Names.ToDictionary(static n => n, n => settings[n]);

    [Fact]
    public void Every_property_shows_under_exactly_one_name_and_every_name_has_a_property()
    {
        var unnamed = new List<string>();
        var shown = new HashSet<string> { "net.ipv4.tcp_available_congestion_control" };
        foreach ((PropertyInfo? group, PropertyInfo property) in Properties)
        {
            var settings = new Sysctls();
            object owner = group?.GetValue(settings) ?? settings;
            Dictionary<string, string> before = Snapshot(settings);
            property.SetValue(owner, Another(property.GetValue(owner)!));
            string[] changed = [.. Snapshot(settings).Where(now => before[now.Key] != now.Value).Select(static now => now.Key)];
            if (changed.Length == 1)
                shown.Add(changed[0]);
            else
                unnamed.Add($"{group?.Name} {property.Name}: {string.Join(' ', changed)}");
        }
        Assert.Empty(unnamed);
        Assert.Equal(Sysctls.Names.Order(), shown.Order());
    }

    [Fact]
    public void What_is_written_by_name_is_what_the_property_says()
    {
        var settings = new Sysctls { ["net.ipv4.tcp_sack"] = "0", ["net/ipv4/tcp_rmem"] = "1 2\t3", ["net.ipv4.tcp_mem"] = "4 5" };
        Assert.False(settings.TcpSack);
        Assert.Equal((1, 2, 3), settings.TcpRmem);
        Assert.Equal("1\t2\t3", settings["net.ipv4.tcp_rmem"]);
        Assert.Equal((4, 5, 552960), settings.TcpMem);
    }

    [Fact]
    public void Every_property_is_read_by_the_stack()
    {
        string code = string.Concat(Repository.StackSources.Where(static f => !f.Key.StartsWith("Sockets/Sysctl", StringComparison.Ordinal) && !f.Key.StartsWith("Sockets/NeighbourSysctl", StringComparison.Ordinal))
            .Select(static f => f.Value));
        IEnumerable<string> unread = Properties.Select(static p => p.Setting.Name)
            .Where(name => name is not ("IpLocalReservedPorts" or "TcpFastopenKey") && !name.StartsWith("Netdev", StringComparison.Ordinal) && name != "DevWeight" && !Regex.IsMatch(code, $@"\b{name}\b"));
        Assert.DoesNotContain(unread, static name => !s_notReadYet.Contains(name));
    }

    [Fact]
    public void What_Linux_has_and_we_have_not_is_listed_with_a_reason()
    {
        string[] missing = [.. Repository.Recording("sysctl.tsv").Select(static row => row[0]).Where(static n => !Sysctls.Names.Contains(n))];
        string[] listed = [.. Regex.Matches(Repository.Read("docs", "sysctls.md"), @"^\| `(net\.[\w.*]+)` \|", RegexOptions.Multiline)
            .Select(static m => m.Groups[1].Value)];
        bool covers(string row, string name) => row.EndsWith('*') ? name.StartsWith(row[..^1], StringComparison.Ordinal) : row == name;
        Assert.DoesNotContain(missing, name => !listed.Any(row => covers(row, name)));
        Assert.DoesNotContain(listed, row => !missing.Any(name => covers(row, name)));
    }

    public static TheoryData<string, string, string, string> Recorded()
    {
        var rows = new TheoryData<string, string, string, string>();
        foreach (string[] row in Repository.Recording("sysctl.tsv").Where(static row => Sysctls.Names.Contains(row[0])))
            rows.Add(row[0], row[1], row[2], row[3]);
        return rows;
    }

    [Theory, MemberData(nameof(Recorded))]
    public void Default_and_bounds_are_those_that_Linux_was_seen_to_keep(string name, string value, string least, string greatest)
    {
        var settings = new Sysctls();
        if (value != "machine")
            Assert.Equal(value, settings[name].Replace('\t', ' '));
        if (least == "-" || greatest == "-")
            return;
        (long min, long max) = s_ownBounds.GetValueOrDefault(name, (long.Parse(least), long.Parse(greatest)));
        if (min < 0 && name != "net.ipv4.icmp_ratemask")
            min = 0;
        if (max is 8589934 or 17179869)
            max = int.MaxValue / 1000; // Seconds that fit at HZ = 1000, where the recording's was 250.
        max = Math.Min(max, max > uint.MaxValue && !name.EndsWith("_ns", StringComparison.Ordinal) ? int.MaxValue : max);
        Assert.Equal(Errno.OK, settings.Write(name, min.ToString()));
        Assert.Equal(Errno.EINVAL, settings.Write(name, (min - 1).ToString()));
        Assert.Equal(Errno.OK, settings.Write(name, max.ToString()));
        if (max < uint.MaxValue + 1L)
            Assert.Equal(Errno.EINVAL, settings.Write(name, (max + 1).ToString()));
    }

    [Theory]
    [InlineData("net.ipv4.tcp_syn_retries", "0x10", Errno.OK, "16")]
    [InlineData("net.ipv4.tcp_syn_retries", "010", Errno.OK, "8")]
    [InlineData("net.ipv4.tcp_syn_retries", " 7 8\n", Errno.OK, "7")]
    [InlineData("net.ipv4.tcp_syn_retries", "", Errno.EINVAL, "6")]
    [InlineData("net.ipv4.tcp_syn_retries", "1x", Errno.EINVAL, "6")]
    [InlineData("net.ipv4.tcp_syn_retries", "+1", Errno.EINVAL, "6")]
    [InlineData("net.ipv4.tcp_syn_retries", "089", Errno.EINVAL, "6")]
    [InlineData("net.ipv4.tcp_rmem", "5 6", Errno.OK, "5\t6\t33554432")]
    [InlineData("net.ipv4.tcp_rmem", "5 x 3", Errno.EINVAL, "4096\t131072\t33554432")]
    [InlineData("net.ipv4.ip_local_port_range", "2000", Errno.OK, "2000\t60999")]
    [InlineData("net.ipv4.ip_local_port_range", "2000 1999", Errno.EINVAL, "32768\t60999")]
    [InlineData("net.ipv4.ip_local_port_range", "1000 2000", Errno.EINVAL, "32768\t60999")]
    [InlineData("net.ipv4.ip_local_port_range", "40000 70000", Errno.EINVAL, "32768\t60999")]
    [InlineData("net.ipv4.ip_unprivileged_port_start", "32769", Errno.EINVAL, "1024")]
    [InlineData("net.ipv4.ip_local_reserved_ports", "80,8083,8080-8082", Errno.OK, "80,8080-8083")]
    [InlineData("net.ipv4.ip_local_reserved_ports", "5,", Errno.OK, "5")]
    [InlineData("net.ipv4.ip_local_reserved_ports", "90 91", Errno.EINVAL, "")]
    [InlineData("net.ipv4.ip_local_reserved_ports", "5-3", Errno.EINVAL, "")]
    [InlineData("net.ipv4.ip_local_reserved_ports", "65536", Errno.EINVAL, "")]
    [InlineData("net.ipv4.tcp_no_such_thing", "1", Errno.ENOENT, null)]
    public void A_text_is_taken_or_refused_as_Linux_does(string name, string text, Errno expected, string? afterwards)
    {
        var settings = new Sysctls();
        Assert.Equal(expected, settings.Write(name, text));
        Assert.Equal(afterwards is null ? Errno.ENOENT : Errno.OK, settings.Read(name, out string value));
        Assert.Equal(afterwards ?? "", value);
    }

    [Fact]
    public void The_congestion_control_must_be_one_that_there_is()
    {
        using var stack = new NetStack();
        string[] known = stack.Sysctls["net.ipv4.tcp_available_congestion_control"].Split(' ');
        Assert.Contains("cubic", known);
        Assert.Equal(Errno.EACCES, stack.Sysctls.Write("net.ipv4.tcp_available_congestion_control", "cubic"));
        Assert.Equal(Errno.ENOENT, stack.Sysctls.Write("net.ipv4.tcp_congestion_control", "vegas-of-nowhere"));
        Assert.Equal(Errno.OK, stack.Sysctls.Write("net.ipv4.tcp_congestion_control", "reno"));
        Assert.Equal("reno", stack.Sysctls.TcpCongestionControl);
    }

    [Fact]
    public void The_indexer_throws_what_a_dictionary_and_an_argument_throw()
    {
        var settings = new Sysctls();
        Assert.Throws<KeyNotFoundException>(() => settings["net.ipv4.nothing"]);
        Assert.Throws<ArgumentException>(() => settings["net.ipv4.tcp_sack"] = "maybe");
        Assert.Throws<FormatException>(() => settings.IpLocalReservedPorts = "9-");
    }

    private static object Another(object value) => value switch
    {
        bool b => !b,
        byte b => (byte)(b - 1),
        int n => n == int.MaxValue ? n - 1 : n + 1,
        uint n => n - 1,
        long n => n + 1,
        "" => "77",
        "00000000-00000000-00000000-00000000" => "00000000-00000000-00000000-00000001",
        string s => s + "x",
        ValueTuple<int, int> t => (t.Item1 + 1, t.Item2),
        ValueTuple<int, int, int> t => (t.Item1 + 1, t.Item2, t.Item3),
        ValueTuple<long, long, long> t => (t.Item1 + 1, t.Item2, t.Item3),
        _ => throw new NotSupportedException(value.GetType().Name),
    };
}
