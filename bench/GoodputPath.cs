using System;
using System.Collections.Generic;
using System.Globalization;

namespace Millrace.Bench;

/// <summary>One path over which both are measured: 100 Mbit/s, 50 ms there and back, and what it does to packets, in both directions.</summary>
/// <param name="Seconds">How long each transfer goes on.</param>
/// <param name="Rounds">Transfers of each.</param>
/// <param name="AtOnce">The kernel's transfers that may go on side by side, each on a path of its own, without touching each other.</param>
internal sealed record GoodputPath(string Name, double Loss, double Reorder, double JitterMilliseconds, int Seconds, int Rounds, int AtOnce)
{
    public const long Rate = 100_000_000;

    public static readonly TimeSpan OneWay = TimeSpan.FromMilliseconds(25);

    /// <summary>What waits before the link: as much as is under way on it.</summary>
    public const int QueueBytes = (int)(Rate / 8 * 50 / 1000);

    public static IReadOnlyList<GoodputPath> All { get; } =
    [
        Losing(0, 15, 3, 1), Losing(0.001, 30, 12, 4), Losing(0.01, 40, 12, 12), Losing(0.03, 60, 24, 24), Losing(0.1, 90, 32, 32), Losing(0.3, 120, 96, 96),
        new("1 % overtake", 0, 0.01, 0, 15, 18, 3), new("10 % overtake", 0, 0.1, 0, 15, 18, 3), new("jitter of 2 ms", 0, 0, 2, 15, 3, 1),
    ];

    public ImpairmentOptions Impairment(ulong seed) => new()
    {
        Delay = OneWay,
        Rate = Rate,
        QueueBytes = QueueBytes,
        Loss = Loss,
        Reorder = Reorder,
        Jitter = TimeSpan.FromMilliseconds(JitterMilliseconds),
        Seed = seed,
    };

    private static GoodputPath Losing(double loss, int seconds, int rounds, int atOnce) =>
        new(string.Create(CultureInfo.InvariantCulture, $"{loss * 100:0.#} % lost"), loss, 0, 0, seconds, rounds, atOnce);
}
