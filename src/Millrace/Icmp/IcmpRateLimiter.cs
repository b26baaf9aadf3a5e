using System;
using System.Collections.Generic;
using System.Threading;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Icmp;

/// <summary>
/// Limits the errors that this host sends: over all, and to each address. Whoever provokes errors from forged addresses cannot make it
/// hold more than a fixed number of them.
/// </summary>
/// <remarks>RFC 1812 §4.3.2.8, RFC 4443 §2.4(f). Linux: icmp_global_allow, inet_peer_xrlim_allow.</remarks>
internal sealed class IcmpRateLimiter(Sysctls sysctls, Host host)
{
    private const int MaxAddresses = 4096;

    /// <summary>Errors that an address may be sent at once, after a pause. Linux: XRLIM_BURST_FACTOR.</summary>
    private const int Burst = 6;

    private readonly Lock _lock = new();
    private readonly Dictionary<IpAddr, (Micros Last, long Tokens)> _addresses = [];
    private Micros _last;
    private double _credit = double.MaxValue;

    public bool Allows(IpAddr destination)
    {
        lock (_lock)
            return AllowsInAll() && AllowsTo(destination);
    }

    private bool AllowsInAll()
    {
        Micros now = host.Now;
        double grown = (now - _last).Value * (double)sysctls.IcmpMsgsPerSec / 1_000_000;
        _credit = Math.Min(_credit + grown, sysctls.IcmpMsgsBurst);
        _last = now;
        if (_credit < 1)
            return false;
        _credit--;
        return true;
    }

    private bool AllowsTo(IpAddr destination)
    {
        long interval = sysctls.IcmpRateLimit * 1000L;
        if (interval == 0)
            return true;
        Micros now = host.Now;
        long tokens = Burst * interval;
        if (_addresses.TryGetValue(destination, out (Micros Last, long Tokens) known))
            tokens = Math.Min(known.Tokens + (now - known.Last).Value, Burst * interval);
        else if (_addresses.Count >= MaxAddresses)
            _addresses.Clear();
        bool allowed = tokens >= interval;
        _addresses[destination] = (now, allowed ? tokens - interval : tokens);
        return allowed;
    }
}
