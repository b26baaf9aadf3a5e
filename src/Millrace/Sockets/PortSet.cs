using System;
using System.Collections.Generic;
using System.Globalization;

namespace Millrace.Sockets;

/// <summary>A set of ports that does not change, written as Linux writes a bitmap: "80,8080-8083".</summary>
/// <remarks>Linux: proc_do_large_bitmap.</remarks>
internal sealed class PortSet
{
    private const int Ports = 65536;

    private readonly ulong[] _bits = new ulong[Ports / 64];

    public static PortSet Empty { get; } = new();

    public bool Contains(int port) => (_bits[port >> 6] >> port & 1) != 0;

    /// <summary>Null if the text is no list of ports and ascending ranges of ports.</summary>
    public static PortSet? Parse(string text)
    {
        var set = new PortSet();
        foreach (string part in text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            string[] ends = part.Split('-', 2);
            if (!TryParsePort(ends[0], out int first) || !TryParsePort(ends[^1], out int last) || first > last)
                return null;
            for (int port = first; port <= last; port++)
                set._bits[port >> 6] |= 1UL << port;
        }
        return set;
    }

    public override string ToString()
    {
        var ranges = new List<string>();
        for (int port = 0; port < Ports; port++)
        {
            if (!Contains(port))
                continue;
            int first = port;
            while (port + 1 < Ports && Contains(port + 1))
                port++;
            ranges.Add(first == port ? $"{first}" : $"{first}-{port}");
        }
        return string.Join(',', ranges);
    }

    private static bool TryParsePort(string text, out int port) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out port) && port < Ports;
}
