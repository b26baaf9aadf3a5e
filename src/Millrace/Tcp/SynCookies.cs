using System;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>
/// Initial sequence numbers that stand for a request: who sent the SYN, when, and how large its segments may be. So a listener that is
/// flooded keeps nothing for a SYN, and makes the connection from the ACK.
/// </summary>
/// <remarks>
/// RFC 4987 §3.6. Linux: syncookies.c. Layout: <c>hash(flow) + peer's ISN + (minute &lt;&lt; 24) + (hash(flow, minute) + mss) mod 2^24</c>.
/// </remarks>
internal sealed class SynCookies(SipKey key, Host host)
{
    /// <summary>Minutes for which a cookie holds. Linux: MAX_SYNCOOKIE_AGE.</summary>
    private const int MaxAge = 2;

    private const uint DataMask = (1 << 24) - 1;

    /// <summary>How long after the last cookie an ACK may be one. Linux: TCP_SYNCOOKIE_VALID.</summary>
    public static Micros Validity => Micros.FromSeconds(60 * MaxAge);

    // The sizes that most peers have, and one that always works. Linux: msstab.
    private static ReadOnlySpan<ushort> Mss4 => [536, 1300, 1440, 1460];

    private static ReadOnlySpan<ushort> Mss6 => [1220, 1420, 1440, 8940];

    private uint Minute => (uint)(host.Now.Value / 60_000_000);

    /// <summary>Makes a cookie. <paramref name="mss"/> becomes the size that it can tell.</summary>
    public SeqNumber Make(in FlowKey flow, SeqNumber peerIsn, ref ushort mss)
    {
        ReadOnlySpan<ushort> table = TableOf(flow);
        int index = table.Length - 1;
        while (index > 0 && table[index] > mss)
            index--;
        mss = table[index];
        uint minute = Minute;
        return new SeqNumber(Base(flow, peerIsn) + (minute << 24) + ((Hash(flow, minute, 1) + (uint)index) & DataMask));
    }

    /// <summary>Whether a cookie was made here, for this flow and a short time ago; and the MSS that it tells.</summary>
    public bool TryRead(in FlowKey flow, SeqNumber peerIsn, SeqNumber cookie, out ushort mss)
    {
        mss = 0;
        uint rest = cookie.Value - Base(flow, peerIsn);
        uint age = (Minute - (rest >> 24)) & 0xff;
        if (age >= MaxAge)
            return false;
        uint index = (rest - Hash(flow, Minute - age, 1)) & DataMask;
        ReadOnlySpan<ushort> table = TableOf(flow);
        if (index >= table.Length)
            return false;
        mss = table[(int)index];
        return true;
    }

    private uint Base(in FlowKey flow, SeqNumber peerIsn) => Hash(flow, 0, 0) + peerIsn.Value;

    private static ReadOnlySpan<ushort> TableOf(in FlowKey flow) => flow.Remote.IsV4 ? Mss4 : Mss6;

    private uint Hash(in FlowKey flow, uint minute, uint use) => (uint)SipHash.Hash24(key, flow.Remote.High, flow.Remote.Low,
        flow.Local.High, flow.Local.Low, (ulong)flow.RemotePort << 48 | (ulong)flow.LocalPort << 32 | minute << 1 | use);
}

/// <summary>
/// The options of a SYN in the low bits of the timestamp that its answer carries and the peer's ACK echoes: what the cookie itself
/// has no room for.
/// </summary>
/// <remarks>Linux: cookie_init_timestamp, cookie_timestamp_decode.</remarks>
internal static class CookieTimestamp
{
    private const uint WindowScaleMask = 15, NoWindowScale = 15, Sack = 16, Ecn = 32, Mask = 63;

    /// <summary>The timestamp nearest to <paramref name="now"/>, and not after it, that tells the options.</summary>
    public static uint Encode(uint now, TcpRequestSock request)
    {
        uint options = request.HasWindowScaling ? request.SndWndScale : NoWindowScale;
        if (request.HasSack)
            options |= Sack;
        if (request.EcnOk)
            options |= Ecn;
        uint stamp = (now & ~Mask) | options;
        return stamp > now ? stamp - (Mask + 1) : stamp;
    }

    /// <summary>Reads the options back.</summary>
    /// <returns>False: they name one that is turned off, so this is no echo of ours.</returns>
    public static bool TryDecode(uint stamp, Sysctls sysctls, TcpRequestSock request)
    {
        request.HasSack = (stamp & Sack) != 0;
        request.EcnOk = (stamp & Ecn) != 0 && sysctls.TcpEcn != 0;
        request.HasWindowScaling = (stamp & WindowScaleMask) != NoWindowScale;
        request.SndWndScale = request.HasWindowScaling ? (byte)(stamp & WindowScaleMask) : (byte)0;
        return (!request.HasSack || sysctls.TcpSack) && (!request.HasWindowScaling || sysctls.TcpWindowScaling);
    }
}
