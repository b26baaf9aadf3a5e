using System;
using System.Collections.Generic;
using System.Globalization;
using System.Net;

namespace Millrace.Packetdrill;

/// <summary>What the runner tells the library about the script: <c>--so_flags=local=ADDRESS/BITS,mtu=BYTES,mss=BYTES,sysctl=NAME=VALUE</c>.</summary>
internal sealed class Settings
{
    public List<(IPAddress Address, int PrefixLength)> Local { get; } = [];

    /// <summary>What the script finds set: <c>NAME=VALUE</c>.</summary>
    public List<string> Sysctls { get; } = [];

    public int Mtu { get; private set; } = 1500;

    /// <summary>Payload of the segments that a larger packet of the script is made of; 0: it is one segment.</summary>
    public int SegmentSize { get; private set; }

    /// <exception cref="FormatException">The flags are not of that form.</exception>
    public static Settings Parse(string? flags)
    {
        var settings = new Settings();
        foreach (string flag in (flags ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            string[] pair = flag.Split('=', 2);
            if (pair is ["sysctl", var setting])
            {
                settings.Sysctls.Add(setting);
                continue;
            }
            string[] value = pair[^1].Split('/', 2);
            if (pair is ["local", _] && value.Length == 2)
                settings.Local.Add((IPAddress.Parse(value[0]), int.Parse(value[1], CultureInfo.InvariantCulture)));
            else if (pair is ["mtu", _])
                settings.Mtu = int.Parse(value[0], CultureInfo.InvariantCulture);
            else if (pair is ["mss", _])
                settings.SegmentSize = int.Parse(value[0], CultureInfo.InvariantCulture);
            else
                throw new FormatException($"The flag {flag} is not known.");
        }
        return settings;
    }
}
