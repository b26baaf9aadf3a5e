using System;

namespace Millrace;

/// <summary>
/// What a link does to the packets that cross it in one direction. All of it is decided by <see cref="Seed"/>: the same packets at the
/// same times suffer the same.
/// </summary>
public sealed class ImpairmentOptions
{
    /// <summary>Added to every packet's way.</summary>
    public TimeSpan Delay { get; set; }

    /// <summary>Added or taken away at random, up to this much, evenly distributed. Packets may overtake each other.</summary>
    public TimeSpan Jitter { get; set; }

    /// <summary>Probability that a packet is lost, 0 to 1.</summary>
    public double Loss { get; set; }

    /// <summary>Probability that a packet arrives twice.</summary>
    public double Duplicate { get; set; }

    /// <summary>Probability that a packet skips the delay and overtakes those before it.</summary>
    public double Reorder { get; set; }

    /// <summary>Probability that one bit of a packet is flipped.</summary>
    public double Corrupt { get; set; }

    /// <summary>Bits per second; 0 is unlimited.</summary>
    public long Rate { get; set; }

    /// <summary>Bytes that may wait for their turn on a link of limited rate; more are dropped.</summary>
    public int QueueBytes { get; set; } = 1 << 20;

    public ulong Seed { get; set; } = 1;

    /// <summary>Whether packets are looked at one by one, so that super-packets must be cut before they come here.</summary>
    internal bool NeedsRealPackets => Loss > 0 || Duplicate > 0 || Reorder > 0 || Corrupt > 0 || Rate > 0;

    internal bool IsNeutral => !NeedsRealPackets && Delay == TimeSpan.Zero && Jitter == TimeSpan.Zero;

    /// <exception cref="ArgumentOutOfRangeException">A probability outside 0 to 1, or a negative time, rate or queue.</exception>
    internal void Validate()
    {
        foreach ((double p, string name) in new[]
        {
            (Loss, nameof(Loss)), (Duplicate, nameof(Duplicate)), (Reorder, nameof(Reorder)), (Corrupt, nameof(Corrupt)),
        })
        {
            if (p is not (>= 0 and <= 1))
                throw new ArgumentOutOfRangeException(name, p, "A probability lies between 0 and 1.");
        }
        ArgumentOutOfRangeException.ThrowIfLessThan(Delay, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfLessThan(Jitter, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfNegative(Rate);
        ArgumentOutOfRangeException.ThrowIfNegative(QueueBytes);
    }
}
