using Millrace.Sched;

namespace Millrace.Tcp;

/// <summary>The numbers that TCP is made of. Linux: include/net/tcp.h, at HZ = 1000.</summary>
internal static class TcpConstants
{
    public const int DefaultMss = 536;
    public const int DefaultMss6 = 1220;
    public const int MinMss = 88;

    /// <summary>Linux: TCP_INIT_CWND. RFC 6928.</summary>
    public const int InitialCwnd = 10;

    public const uint InfiniteSsthresh = 0x7fff_ffff;
    public const int MaxWindow = 32767;

    /// <summary>Linux: TCP_MAX_WSCALE. RFC 7323 §2.3.</summary>
    public const int MaxWindowScale = 14;

    public const int MaxQuickAcks = 16;
    public const int FastRetransThreshold = 3;

    public static readonly Micros RtoMax = Micros.FromSeconds(120);
    public static readonly Micros RtoMin = Micros.FromMilliseconds(200);

    /// <summary>Linux: TCP_TIMEOUT_INIT. RFC 6298 §2.1.</summary>
    public static readonly Micros TimeoutInit = Micros.FromSeconds(1);

    /// <summary>The soonest that a timer comes. Linux: a tick of the timer wheel.</summary>
    public static readonly Micros Jiffy = Micros.FromMilliseconds(1);

    /// <summary>Linux: TCP_TIMEOUT_MIN: two jiffies.</summary>
    public static readonly Micros TimeoutMin = Micros.FromMilliseconds(2);

    /// <summary>Linux: TCP_DELACK_MIN, TCP_DELACK_MAX, TCP_ATO_MIN.</summary>
    public static readonly Micros DelayedAckMin = Micros.FromMilliseconds(40);
    public static readonly Micros DelayedAckMax = Micros.FromMilliseconds(200);
    public static readonly Micros AckTimeoutMin = Micros.FromMilliseconds(40);

    /// <summary>Linux: TCP_RESOURCE_PROBE_INTERVAL.</summary>
    public static readonly Micros ResourceProbeInterval = Micros.FromMilliseconds(500);

    /// <summary>How long a mini-sock lives. Linux: TCP_TIMEWAIT_LEN.</summary>
    public static readonly Micros TimeWaitLength = Micros.FromSeconds(60);

    /// <summary>Linux: TCP_FIN_TIMEOUT_MAX.</summary>
    public static readonly Micros FinTimeoutMax = Micros.FromSeconds(120);

    /// <summary>Seconds after which a remembered timestamp says nothing. RFC 7323 §5.5. Linux: TCP_PAWS_24DAYS.</summary>
    public const int Paws24Days = 60 * 60 * 24 * 24;

    /// <summary>Linux: TCP_PAWS_MSL, seconds.</summary>
    public const int PawsMsl = 60;

    /// <summary>Linux: TCP_PAWS_WINDOW.</summary>
    public const int PawsWindow = 1;

    /// <summary>Linux: MAX_TCP_OPTION_SPACE.</summary>
    public const int MaxOptionSpace = 40;

    public const int TimestampOptionLength = 12;
    public const int SackBaseLength = 4;
    public const int SackPerBlock = 8;
    public const int Md5OptionLength = 20;

    /// <summary>Linux: TCP_THIN_LINEAR_RETRIES, TCP_RACK_RECOVERY_THRESH and others of their kind.</summary>
    public const int ThinLinearRetries = 6;
    public const int RackRecoveryThreshold = 16;

    /// <summary>Linux: TCP_MIN_RTT default of rack and of the estimator, microseconds: unknown.</summary>
    public const uint UnknownRtt = uint.MaxValue;
}
