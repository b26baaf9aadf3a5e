using System;
using System.Collections.Generic;

namespace Millrace.Tcp;

/// <summary>The congestion control algorithms of a stack, by name. Linux: tcp_cong_list.</summary>
internal sealed class CongestionRegistry
{
    private readonly Dictionary<string, (Func<CongestionControl> Create, bool Early, bool Ecn)> _algorithms = [];

    /// <summary>
    /// Adds an algorithm. <paramref name="startEarly"/>: it must see the connection from its first ACK. <paramref name="needsEcn"/>: it
    /// lives by marks, so that its connections ask for ECN.
    /// </summary>
    public void Register(string name, Func<CongestionControl> create, bool startEarly = false, bool needsEcn = false) =>
        _algorithms[name] = (create, startEarly, needsEcn);

    public bool Contains(string name) => _algorithms.ContainsKey(name);

    public bool MustStartEarly(string name) => _algorithms[Known(name)].Early;

    /// <summary>Linux: TCP_CONG_NEEDS_ECN.</summary>
    public bool NeedsEcn(string name) => _algorithms[Known(name)].Ecn;

    /// <summary>A new connection's state of the algorithm; Reno if there is none of that name.</summary>
    public CongestionControl Create(string name) => _algorithms[Known(name)].Create();

    /// <summary>Linux: net.ipv4.tcp_available_congestion_control.</summary>
    public string Available => string.Join(' ', _algorithms.Keys);

    private string Known(string name) => _algorithms.ContainsKey(name) ? name : "reno";
}
