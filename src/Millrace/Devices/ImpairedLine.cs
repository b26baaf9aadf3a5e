using System;
using System.Collections.Generic;
using System.Diagnostics.CodeAnalysis;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Devices;

/// <summary>What chance does to one packet.</summary>
internal readonly record struct PacketFate(bool Lost, bool Twice, bool Corrupt);

/// <summary>
/// One direction of a bad link, apart from how packets come and go: packets in order of the time at which they come out, and the
/// chances they take. Time comes from the caller, who sees to it that one thread at a time is here.
/// </summary>
internal sealed class ImpairedLine<TPacket>(ImpairmentOptions options)
{
    private readonly PriorityQueue<TPacket, (long At, long Order)> _line = new();
    private readonly Prng _random = new(options.Seed);
    private readonly Micros _delay = Micros.From(options.Delay), _jitter = Micros.From(options.Jitter);
    private Micros _busyUntil;
    private long _order;

    /// <summary>When the next packet comes out.</summary>
    public Micros Next => _line.TryPeek(out _, out (long At, long) first) ? new Micros(first.At) : Micros.Never;

    /// <summary>Decides about one packet; whoever asked does it.</summary>
    public PacketFate Judge() => new(_random.Chance(options.Loss), _random.Chance(options.Duplicate), _random.Chance(options.Corrupt));

    public void FlipBit(Span<byte> packet) => packet[_random.Below(packet.Length)] ^= (byte)(1 << _random.Below(8));

    /// <summary>Lines a packet up. False: the queue before the link is full.</summary>
    /// <param name="length">Bytes.</param>
    public bool TryEnqueue(Micros now, int length, TPacket packet)
    {
        Micros at = now;
        if (options.Rate > 0)
        {
            Micros start = Micros.Max(at, _busyUntil);
            long waiting = (start - at).Value * options.Rate / 8_000_000;
            if (waiting + length > options.QueueBytes)
                return false;
            _busyUntil = start + new Micros((long)length * 8_000_000 / options.Rate);
            at = _busyUntil;
        }
        if (!_random.Chance(options.Reorder))
            at += _delay;
        if (_jitter.Value > 0)
            at = Micros.Max(now, at + new Micros((long)((_random.NextDouble() * 2 - 1) * _jitter.Value)));
        _line.Enqueue(packet, (at.Value, _order++));
        return true;
    }

    /// <summary>Takes the next packet that has come out by now.</summary>
    public bool TryDequeue(Micros now, [MaybeNullWhen(false)] out TPacket packet)
    {
        packet = default;
        return Next <= now && _line.TryDequeue(out packet, out _);
    }
}
