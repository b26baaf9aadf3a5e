using System;
using System.Globalization;

namespace Millrace.Packetdrill;

internal static class SysctlNames
{
    private static int N(string s) => s.StartsWith("0x") ? Convert.ToInt32(s, 16) : int.Parse(s, CultureInfo.InvariantCulture);
    private static (int, int, int) T(string s) { string[] p = s.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries); return (N(p[0]), N(p[1]), N(p[2])); }
    public static bool TrySet(NetStack stack, string key, string v)
    {
        Sysctls s = stack.Sysctls;
        switch (key)
        {
            case "net.ipv4.tcp_rmem": s.TcpRmem = T(v); return true;
            case "net.ipv4.tcp_wmem": s.TcpWmem = T(v); return true;
            case "net.ipv4.tcp_timestamps": s.TcpTimestamps = N(v); return true;
            case "net.ipv4.tcp_syn_retries": s.TcpSynRetries = N(v); return true;
            case "net.ipv4.tcp_synack_retries": s.TcpSynackRetries = N(v); return true;
            case "net.ipv4.tcp_frto": s.TcpFrto = N(v); return true;
            case "net.ipv4.tcp_sack": s.TcpSack = N(v) != 0; return true;
            case "net.ipv4.tcp_dsack": s.TcpDsack = N(v) != 0; return true;
            case "net.ipv4.tcp_reordering": s.TcpReordering = N(v); return true;
            case "net.ipv4.tcp_congestion_control": s.TcpCongestionControl = v; return true;
            case "net.ipv4.tcp_slow_start_after_idle": s.TcpSlowStartAfterIdle = N(v) != 0; return true;
            case "net.ipv4.tcp_early_retrans": s.TcpEarlyRetrans = N(v); return true;
            case "net.ipv4.tcp_recovery": s.TcpRecovery = N(v); return true;
            case "net.ipv4.tcp_tso_win_divisor": s.TcpTsoWinDivisor = N(v); return true;
            case "net.ipv4.tcp_ecn": s.TcpEcn = N(v); return true;
            case "net.ipv4.tcp_ecn_option": s.TcpEcnOption = N(v); return true;
            case "net.ipv4.tcp_pacing_ss_ratio": s.TcpPacingSsRatio = N(v); return true;
            case "net.ipv4.tcp_pacing_ca_ratio": s.TcpPacingCaRatio = N(v); return true;
            case "net.ipv4.tcp_notsent_lowat": s.TcpNotsentLowat = uint.Parse(v); return true;
            case "net.ipv4.tcp_fastopen": s.TcpFastopen = N(v); return true;
            case "net.ipv4.tcp_syncookies": s.TcpSyncookies = N(v); return true;
            case "net.ipv4.tcp_min_tso_segs": s.TcpMinTsoSegs = N(v); return true;
            case "net.ipv4.tcp_mtu_probing": s.TcpMtuProbing = N(v); return true;
            case "net.ipv4.tcp_base_mss": s.TcpBaseMss = N(v); return true;
            case "net.ipv4.tcp_fastopen_blackhole_timeout_sec": s.TcpFastopenBlackholeTimeoutSec = N(v); return true;
            default: return key.Contains("fastopen_key") || key.Contains("fack");
        }
    }
    public static bool TryGet(NetStack stack, string key, out string text) { text = "0"; return true; }
}
