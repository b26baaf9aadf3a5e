using System;
using System.Globalization;

namespace Millrace.Sched;

/// <summary>A point in time or a duration, in microseconds, on the host's clock. Never a bare number.</summary>
internal readonly record struct Micros(long Value)
{
    /// <summary>The end of time: a deadline that never comes.</summary>
    public static Micros Never => new(long.MaxValue);

    public static Micros Zero => default;

    public static Micros FromMilliseconds(long ms) => new(ms * 1000);

    public static Micros FromSeconds(long s) => new(s * 1_000_000);

    public static Micros From(TimeSpan span) => new(span.Ticks / TimeSpan.TicksPerMicrosecond);

    /// <summary>Whole milliseconds: Linux's jiffies at HZ = 1000, rounded down.</summary>
    public long Milliseconds => Value / 1000;

    /// <summary>Rounded up to whole milliseconds, as usecs_to_jiffies does at HZ = 1000.</summary>
    public Micros CeilingToMillisecond => new((Value + 999) / 1000 * 1000);

    public TimeSpan ToTimeSpan() => new(Value * TimeSpan.TicksPerMicrosecond);

    public static Micros operator +(Micros a, Micros b) => new(a.Value + b.Value);

    public static Micros operator -(Micros a, Micros b) => new(a.Value - b.Value);

    public static Micros operator *(Micros a, long n) => new(a.Value * n);

    public static Micros operator /(Micros a, long n) => new(a.Value / n);

    public static Micros operator <<(Micros a, int n) => new(a.Value << n);

    public static Micros operator >>(Micros a, int n) => new(a.Value >> n);

    public static bool operator <(Micros a, Micros b) => a.Value < b.Value;

    public static bool operator >(Micros a, Micros b) => a.Value > b.Value;

    public static bool operator <=(Micros a, Micros b) => a.Value <= b.Value;

    public static bool operator >=(Micros a, Micros b) => a.Value >= b.Value;

    public static Micros Min(Micros a, Micros b) => a < b ? a : b;

    public static Micros Max(Micros a, Micros b) => a > b ? a : b;

    /// <summary>This point plus a duration, without running over the end of time.</summary>
    public Micros SaturatingAdd(Micros duration) => Value > long.MaxValue - duration.Value ? Never : this + duration;

    public override string ToString() => (Value / 1e6).ToString("0.000000", CultureInfo.InvariantCulture);
}
