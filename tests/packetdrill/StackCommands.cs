using System;
using System.Collections.Generic;
using System.Globalization;
using System.Net;
using System.Text;
using Millrace.Devices;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Packetdrill;

/// <summary>sysctl, ip, tc, ethtool, nstat and the files below /proc, over the stack's own settings, tables and counters.</summary>
internal sealed class StackCommands(World world)
{
    private const string SysctlFiles = "/proc/sys/";

    /// <summary>Runs a command that is one of these. False: it is none.</summary>
    public bool TryRun(ReadOnlySpan<string> words, StringBuilder output, out int code)
    {
        code = words[0] switch
        {
            "sysctl" => Sysctl(words[1..], output),
            "ip" => Ip(words[1..], output),
            "tc" => Tc(words[1..]),
            "ethtool" => Ethtool(words[1..]),
            "nstat" => Nstat(output),
            _ => -1,
        };
        return code >= 0;
    }

    /// <summary>Writes a file that is a setting. False: it is none, or the value is none of its.</summary>
    public bool TryWrite(string path, string value) =>
        path.StartsWith(SysctlFiles, StringComparison.Ordinal)
        && world.Stack.Sysctls.Write(path[SysctlFiles.Length..], value) == Errno.OK;

    /// <summary>Reads a file that is a setting or a table.</summary>
    public bool TryRead(string path, out string text)
    {
        text = "";
        if (path is "/proc/net/tcp" or "/proc/net/tcp6")
            text = SocketTable.Format(world.Stack, isV6: path[^1] == '6');
        else if (path.StartsWith(SysctlFiles, StringComparison.Ordinal) && SysctlTable.Find(path[SysctlFiles.Length..]) is { } setting)
            text = setting.Read(world.Stack.Sysctls);
        else
            return false;
        return true;
    }

    private int Sysctl(ReadOnlySpan<string> words, StringBuilder output)
    {
        int code = 0;
        bool ignoreUnknown = false;
        foreach (string word in words)
        {
            if (word.StartsWith('-'))
            {
                ignoreUnknown |= word == "-e";
                continue;
            }
            string[] pair = word.Split('=', 2);
            if (SysctlTable.Find(pair[0]) is not { } setting)
                code = ignoreUnknown ? code : 1;
            else if (pair.Length == 1)
                output.Append(CultureInfo.InvariantCulture, $"{setting.Name} = {setting.Read(world.Stack.Sysctls)}\n");
            else if (setting.Write(world.Stack.Sysctls, pair[1]) != Errno.OK)
                code = 1;
        }
        return code;
    }

    private int Ip(ReadOnlySpan<string> words, StringBuilder output)
    {
        while (!words.IsEmpty && words[0].StartsWith('-'))
            words = words[1..];
        switch (words)
        {
            case ["tcp_metrics" or "tcpmetrics", .. var rest]:
                return TcpMetrics(rest, output);
            case ["route", "change" or "replace" or "add", .. var route]:
                return SetRoute(route);
            case ["link", "set", .. var link]:
                return SetLink(link);
            default:
                return 1;
        }
    }

    private int TcpMetrics(ReadOnlySpan<string> words, StringBuilder output)
    {
        switch (words)
        {
            case [] or ["show"]:
                foreach (TcpMetricsEntry entry in world.Stack.ListTcpMetrics())
                    output.Append(CultureInfo.InvariantCulture, $"{entry}\n");
                return 0;
            case ["flush"] or ["flush", "all"]:
                world.Stack.FlushTcpMetrics();
                return 0;
            case ["flush" or "delete", var text] when IPAddress.TryParse(text, out IPAddress? address):
                world.Stack.FlushTcpMetrics(address);
                return 0;
            default:
                return 1;
        }
    }

    private int SetRoute(ReadOnlySpan<string> words)
    {
        string[] prefix = words[0].Split('/', 2);
        IpAddr address = IpAddr.From(IPAddress.Parse(prefix[0]));
        int length = prefix.Length == 2 ? Number(prefix[1]) : address.IsV4 ? 32 : 128;
        NetDevice? device = null;
        IpAddr? gateway = null;
        RouteMetrics metrics = RouteMetrics.None;
        for (int i = 1; i + 1 < words.Length; i += 2)
        {
            bool locked = words[i + 1] == "lock";
            string key = words[i], value = words[locked ? ++i + 1 : i + 1];
            switch (key)
            {
                case "dev":
                    device = world.Stack.Devices.ByName(value);
                    break;
                case "via":
                    gateway = IpAddr.From(IPAddress.Parse(value));
                    break;
                case "mtu":
                    metrics = metrics with { Mtu = Number(value), MtuLocked = locked };
                    break;
                case "advmss":
                    metrics = metrics with { AdvMss = Number(value) };
                    break;
                case "initcwnd":
                    metrics = metrics with { InitCwnd = Number(value) };
                    break;
                case "initrwnd":
                    metrics = metrics with { InitRwnd = Number(value) };
                    break;
                case "rto_min":
                    metrics = metrics with { RtoMin = Number(value.TrimEnd('m', 's')) };
                    break;
                case "congctl":
                    metrics = metrics with { CongestionControl = value };
                    break;
                case "quickack":
                    metrics = metrics with { QuickAck = Number(value) != 0 };
                    break;
                case "fastopen_no_cookie":
                    metrics = metrics with { FastOpenNoCookie = Number(value) != 0 };
                    break;
                case "features":
                    metrics = metrics with { Ecn = value == "ecn" };
                    break;
                default:
                    if (SetLearned(metrics, key, value, locked) is not { } changed)
                        return 1;
                    metrics = changed;
                    break;
            }
        }
        if (device is null)
            return 2;
        world.Stack.Routes.Replace(new RouteEntry(address, length, device) { Gateway = gateway, Metrics = metrics });
        return 0;
    }

    // What connections learn for themselves. A time with a unit is scaled as TCP keeps it; a bare number is.
    private static RouteMetrics? SetLearned(RouteMetrics metrics, string key, string value, bool locked)
    {
        (LearnedMetrics which, RouteMetrics? changed) = key switch
        {
            "rtt" => (LearnedMetrics.Rtt, metrics with { Srtt8 = Time(value, 8) }),
            "rttvar" => (LearnedMetrics.Rttvar, metrics with { Rttvar4 = Time(value, 4) }),
            "ssthresh" => (LearnedMetrics.Ssthresh, metrics with { Ssthresh = (uint)Number(value) }),
            "cwnd" => (LearnedMetrics.Cwnd, metrics with { Cwnd = (uint)Number(value) }),
            "reordering" => (LearnedMetrics.Reordering, metrics with { Reordering = (uint)Number(value) }),
            _ => (LearnedMetrics.None, null),
        };
        return changed is null || !locked ? changed : changed with { Locked = metrics.Locked | which };
    }

    private static Micros Time(string text, int scale)
    {
        long number = Number(text.TrimEnd('m', 's'));
        return Micros.FromMilliseconds(text.EndsWith("ms", StringComparison.Ordinal) ? number * scale
            : text.EndsWith('s') ? number * 1000 * scale : number);
    }

    private int SetLink(ReadOnlySpan<string> words)
    {
        if (words is ["dev", ..])
            words = words[1..];
        if (words.IsEmpty || world.Stack.Devices.ByName(words[0]) is not { } device)
            return 1;
        for (int i = 1; i + 1 < words.Length; i += 2)
        {
            if (words[i] != "mtu")
                return 1;
            device.Mtu = Number(words[i + 1]);
        }
        return 0;
    }

    private int Tc(ReadOnlySpan<string> words)
    {
        if (words is not ["qdisc", var action, "dev", var name, "root", .. var rest] || world.Stack.Devices.ByName(name) is not { } device)
            return 1;
        QueueDiscipline? discipline = action is "delete" or "del" ? new NoQueue() : Discipline(rest);
        if (discipline is null)
            return 2;
        try
        {
            world.Stack.SetQueueDiscipline(device.Name, discipline);
            return 0;
        }
        catch (ArgumentOutOfRangeException)
        {
            return 2;
        }
    }

    private static QueueDiscipline? Discipline(ReadOnlySpan<string> words) => words switch
    {
        ["noqueue"] => new NoQueue(),
        ["pfifo"] => new PacketFifo(),
        ["pfifo", "limit", var limit] => new PacketFifo { Limit = Number(limit) },
        ["pfifo_fast"] => new PriorityFifo(),
        ["fq", .. var rest] => Fair(rest),
        _ => null,
    };

    private static FairQueue? Fair(ReadOnlySpan<string> words)
    {
        var usual = new FairQueue();
        int limit = usual.Limit, flowLimit = usual.FlowLimit;
        int? quantum = null, initial = null;
        TimeSpan horizon = usual.Horizon;
        bool drops = true;
        for (int i = 0; i < words.Length; i++)
        {
            bool isFlag = words[i] is "horizon_drop" or "horizon_cap" or "pacing";
            if (!isFlag && i + 1 == words.Length)
                return null;
            switch (words[i])
            {
                case "limit":
                    limit = Number(words[++i]);
                    break;
                case "flow_limit":
                    flowLimit = Number(words[++i]);
                    break;
                case "quantum":
                    quantum = Number(words[++i]);
                    break;
                case "initial_quantum":
                    initial = Number(words[++i]);
                    break;
                case "horizon":
                    horizon = Time(words[++i], 1).ToTimeSpan();
                    break;
                case "horizon_drop" or "horizon_cap":
                    drops = words[i] == "horizon_drop";
                    break;
                case "pacing":
                    break;
                default:
                    return null;
            }
        }
        return new FairQueue
        {
            Limit = limit,
            FlowLimit = flowLimit,
            Quantum = quantum,
            InitialQuantum = initial,
            Horizon = horizon,
            DropsBeyondHorizon = drops,
        };
    }

    private int Ethtool(ReadOnlySpan<string> words)
    {
        if (words is not ["-K", var name, ..] || world.Stack.Devices.ByName(name) is not { } device)
            return 1;
        for (int i = 2; i + 1 < words.Length; i += 2)
        {
            DeviceFeatures feature = words[i] switch
            {
                "tso" => DeviceFeatures.Tso,
                "gso" => DeviceFeatures.UdpSegmentation,
                "gro" => DeviceFeatures.Gro,
                "tx" => DeviceFeatures.TxChecksum,
                _ => DeviceFeatures.None,
            };
            device.Features = words[i + 1] == "on" ? device.Features | feature : device.Features & ~feature;
        }
        return 0;
    }

    // What has moved since it was asked last.
    private int Nstat(StringBuilder output)
    {
        output.Append("#kernel\n");
        foreach (Mib mib in Enum.GetValues<Mib>())
        {
            long now = world.Stack.Cpus.Read(mib);
            long moved = now - world.CountersSeen.GetValueOrDefault(mib);
            world.CountersSeen[mib] = now;
            if (moved != 0)
                output.Append(CultureInfo.InvariantCulture, $"{mib,-32}{moved,-19}0.0\n");
        }
        return 0;
    }

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);
}
