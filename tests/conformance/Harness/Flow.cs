using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;

namespace Millrace.Conformance;

/// <summary>
/// One connection as the peer sees it, written by the story: what the peer sends, and what it must see the stack send, segment by
/// segment and nothing else.
/// </summary>
/// <remarks>
/// What a text leaves out is filled in as a well-behaved peer would: the next sequence number, its last acknowledgment, its last
/// window, and, if both sides use them, timestamps (<c>nots</c> among the options leaves them out).
/// </remarks>
internal sealed class Flow
{
    /// <summary>The peer's ISN lies shortly before the wrap, so that every longer story crosses it.</summary>
    private const uint RemoteIsn = uint.MaxValue - 2999;

    /// <summary>The peer's first timestamp.</summary>
    public const long PeerClockStart = 1000;

    /// <summary>What the stack's first timestamp is called.</summary>
    private const uint StackClockStart = 100;

    private readonly Story _story;
    private readonly ushort _remotePort;
    private readonly Queue<Sent> _inbox = new();
    private readonly long _started;
    private ushort _localPort;
    private uint? _localIsn, _tsBase;
    private long _remoteNext, _localNext, _lastAck, _lastTsVal;
    private int _window = 65535;
    private bool _peerStamps, _ownStamps, _timestamps;

    /// <param name="localPort">The stack's port; 0 if the stack will choose it when it connects.</param>
    public Flow(Story story, ushort localPort, ushort remotePort)
    {
        _story = story;
        _localPort = localPort;
        _remotePort = remotePort;
        _started = story.Backend.Now;
    }

    private sealed record Sent(Segment Segment, byte[] Payload, long Time, IpPacket Packet);

    /// <summary>
    /// What the peer signs its segments with, unless one says <c>nomd5</c>, and what the stack's must be signed with. RFC 2385.
    /// </summary>
    public byte[]? Secret { get; set; }

    /// <summary>The stack's ISN as it was on the wire.</summary>
    public uint LocalIsn => _localIsn ?? throw new InvalidOperationException("The stack has sent no SYN.");

    public ushort LocalPort => _localPort;

    public ushort RemotePort => _remotePort;

    /// <summary>The relative sequence number after all that the stack has sent.</summary>
    public long LocalNext => _localNext;

    private Ends FromPeer => new(_story.Backend.Remote, _remotePort, _story.Backend.Local, _localPort);

    private Numbering Incoming => new(RemoteIsn, _localIsn ?? 0, 0, _tsBase ?? 0);

    private Numbering Outgoing => new(_localIsn ?? 0, RemoteIsn, _tsBase ?? 0, 0);

    // ---- The peer ----

    /// <summary>The peer sends these segments, now and at once.</summary>
    public void Gets(params string[] segments)
    {
        foreach (string text in segments)
            Deliver(Fill(Segment.Parse(text)));
    }

    /// <summary>The peer's side of a handshake that the stack accepts.</summary>
    public void Shakes(Peer peer)
    {
        Gets(peer.Syn);
        Sends("S. 0:0 ack 1 <...>");
        _story.After(peer.Rtt);
        Gets(peer.HandshakeAck);
    }

    /// <summary>The peer's side of a handshake that the stack began, its SYN being sent already.</summary>
    public void Answers(Peer peer)
    {
        Sends("S 0:0 <...>");
        _story.After(peer.Rtt);
        Gets(peer.SynAck(PeerClock, _lastTsVal));
        _window = peer.ScaledWindow;
        Sends(". ack 1");
    }

    /// <summary>Somebody on the path reports an error about a segment of the stack's.</summary>
    /// <param name="quoted">The segment, as far as the report quotes it.</param>
    public void GetsIcmp(Icmp error, string quoted, int mtu = 0)
    {
        Segment q = Segment.Parse(quoted);
        q.Flags ??= ".";
        byte[] packet = SegmentCodec.Encode(q, FromPeer.Reversed, Outgoing, new byte[q.Length]);
        _story.Ladder.Peer(_story.Backend.Now, $"ICMP {error}{(mtu > 0 ? $" mtu {mtu}" : "")} [{quoted}]");
        _story.Backend.Inject(IcmpCodec.Error(_story.Backend, error, packet, mtu));
    }

    /// <summary>A segment of the peer's as a packet, for a story that damages it before it sends it.</summary>
    public byte[] Packet(string text) => Encode(Fill(Segment.Parse(text)));

    private Segment Fill(Segment s)
    {
        s.Flags ??= ".";
        s.Seq ??= _remoteNext;
        s.Ack ??= s.Has('.') ? _lastAck : null;
        if (s.Window is { } window)
            _window = window;
        s.Window ??= _window;
        List<string> options = [.. s.Options ?? []];
        bool stamped = options.RemoveAll(static o => o == "nots") > 0
            || options.Exists(static o => o.StartsWith("ts ", StringComparison.Ordinal));
        if (_timestamps && !stamped)
            options.InsertRange(0, ["nop", "nop", $"ts val {PeerClock} ecr {_lastTsVal}"]);
        bool unsigned = options.RemoveAll(static o => o == "nomd5") > 0;
        if (Secret is not null && !unsigned && !options.Contains("md5"))
            options.InsertRange(0, ["nop", "nop", "md5"]);
        s.Options = options;
        return s;
    }

    /// <summary>What a well-behaved peer puts into TSval now: milliseconds.</summary>
    public long PeerClock => PeerClockStart + (_story.Backend.Now - _started) / 1000;

    private void Deliver(Segment s)
    {
        _story.Ladder.Peer(_story.Backend.Now, s.ToString());
        _remoteNext = Math.Max(_remoteNext, s.Seq!.Value + s.Space);
        _lastAck = Math.Max(_lastAck, s.Ack ?? 0);
        _peerStamps |= s.Has('S') && s.Options!.Any(static o => o.StartsWith("ts ", StringComparison.Ordinal));
        _timestamps |= _peerStamps && _ownStamps;
        _story.Backend.Inject(Encode(s));
    }

    private byte[] Encode(Segment s)
    {
        var payload = new byte[s.Length];
        Pattern.Fill(payload, s.Seq!.Value + (s.Has('S') ? 1 : 0) - 1);
        return SegmentCodec.Encode(s, FromPeer, Incoming, payload, Secret);
    }

    // ---- The stack ----

    /// <summary>The stack has sent these segments just now, in this order, and nothing else.</summary>
    public void Sends(params string[] segments)
    {
        foreach (string text in segments)
        {
            Collect(_story.Backend.Now + _story.Backend.Tolerance(0), 1);
            long late = _inbox.Count == 0 ? 0 : _story.Backend.Now - _inbox.Peek().Time;
            if (late > _story.Backend.Tolerance(0))
                throw Failure($"{text}", $"{_inbox.Peek().Segment}, sent {Milliseconds(late)} ms ago");
            TakeNext(text);
        }
        SendsNothingMore();
    }

    /// <summary>The stack sends these segments <paramref name="ms"/> milliseconds from now, and nothing before or with them.</summary>
    public void SendsAfter(double ms, params string[] segments)
    {
        long start = _story.Backend.Now, due = (long)(ms * 1000), tolerance = _story.Backend.Tolerance(due);
        Collect(start + due + tolerance, 1);
        long took = _inbox.Count == 0 ? due : _inbox.Peek().Time - start;
        if (Math.Abs(took - due) > tolerance)
            throw Failure($"{segments[0]} after {ms} ms", $"{_inbox.Peek().Segment} after {Milliseconds(took)} ms");
        Sends(segments);
    }

    /// <summary>Time passes, and the stack sends nothing on this flow.</summary>
    public void SendsNothingFor(double ms)
    {
        _story.After(ms);
        SendsNothingMore();
    }

    /// <summary>The stack sends the bytes from one relative sequence number up to another, in full segments but for the last.</summary>
    public void SendsData(long from, long to, int mss)
    {
        var texts = new List<string>();
        for (long seq = from; seq < to; seq += mss)
            texts.Add($"{seq}:{Math.Min(seq + mss, to)} ack {_remoteNext}");
        Sends([.. texts]);
    }

    /// <summary>All that the stack has sent by now, unchecked.</summary>
    public IReadOnlyList<Segment> Drain()
    {
        _story.Pump();
        var all = new List<Segment>();
        while (_inbox.TryDequeue(out Sent? sent))
            all.Add(Note(sent).Segment);
        return all;
    }

    /// <summary>All packets that the stack has sent by now, unchecked.</summary>
    public IReadOnlyList<IpPacket> DrainPackets()
    {
        _story.Pump();
        var all = new List<IpPacket>();
        while (_inbox.TryDequeue(out Sent? sent))
            all.Add(Note(sent).Packet);
        return all;
    }

    /// <summary>The one segment that the stack has sent just now, unchecked.</summary>
    public Segment TakeOne()
    {
        Collect(_story.Backend.Now + _story.Backend.Tolerance(0), 1);
        if (_inbox.Count == 0)
            throw Failure("a segment", "nothing");
        Segment one = Note(_inbox.Dequeue()).Segment;
        SendsNothingMore();
        return one;
    }

    /// <summary>The next segment that the stack sends within <paramref name="ms"/>, unchecked, with when it was sent.</summary>
    public (Segment Segment, double After) Next(double ms)
    {
        long start = _story.Backend.Now;
        Collect(start + (long)(ms * 1000), 1);
        if (_inbox.Count == 0)
            throw Failure($"a segment within {ms} ms", "nothing");
        Sent sent = Note(_inbox.Dequeue());
        return (sent.Segment, (sent.Time - start) / 1000.0);
    }

    /// <summary>The TSval of the next segment that the stack has sent.</summary>
    public long TakeTimestamp()
    {
        Collect(_story.Backend.Now + _story.Backend.Tolerance(0), 1);
        return TimestampOf(Note(_inbox.Dequeue()).Segment);
    }

    private static long TimestampOf(Segment segment)
    {
        string? ts = segment.Options!.FirstOrDefault(static o => o.StartsWith("ts ", StringComparison.Ordinal));
        return ts is null ? 0 : long.Parse(ts.Split(' ')[2], CultureInfo.InvariantCulture);
    }

    /// <summary>The TSval of the first segment with data that was taken.</summary>
    public long FirstDataTimestamp { get; private set; }

    /// <summary>Takes in a packet of this flow.</summary>
    public void Accept(IpPacket packet, long time)
    {
        if (SegmentCodec.IsSyn(packet))
            _localIsn ??= SegmentCodec.RawSeq(packet);
        uint? ts = SegmentCodec.RawTimestamp(packet);
        _tsBase ??= ts - StackClockStart;
        if (ts is { } raw && _tsBase is { } origin)
            _lastTsVal = Math.Max(_lastTsVal, (int)(raw - origin));
        Segment segment = SegmentCodec.Decode(packet, Outgoing, out byte[] payload);
        _ownStamps |= segment.Has('S') && ts is not null;
        _timestamps |= _peerStamps && _ownStamps;
        _inbox.Enqueue(new Sent(segment, payload, time, packet));
    }

    /// <summary>Whether a packet from these ends belongs here; a SYN from a port still unknown makes it known.</summary>
    public bool Claims(Ends ends, bool isSyn)
    {
        if (ends.DestinationPort != _remotePort || !ends.Destination.Equals(_story.Backend.Remote))
            return false;
        if (_localPort == 0 && isSyn)
            _localPort = ends.SourcePort;
        return ends.SourcePort == _localPort;
    }

    private void Collect(long until, int count)
    {
        _story.Pump();
        while (_inbox.Count < count && _story.Backend.Now < until)
        {
            _story.Backend.RunUntil(until, stopAtPacket: true);
            _story.Pump();
        }
    }

    private void TakeNext(string text)
    {
        Segment wanted = Segment.Parse(text);
        if (_inbox.Count == 0)
            throw Failure(text, "nothing");
        long next = _localNext;
        Sent sent = Note(_inbox.Dequeue());
        Segment seen = sent.Segment;
        bool stamp(string o) => _timestamps && o.StartsWith("ts ", StringComparison.Ordinal);
        bool implied(string o) => stamp(o) || (Secret is not null && o == "md5");
        if (!wanted.Matches(seen, next, implied))
            throw Failure(text + (wanted.Seq is null ? $"   (at {next}:{next + wanted.Length})" : ""), seen.ToString());
        if (_timestamps && !seen.Has('R') && !seen.Options!.Any(stamp))
            throw Failure(text + " with a timestamp", seen.ToString());
        if (!sent.Packet.ChecksumsHold && !_story.Settings.Offload)
            throw Failure(text, "it with a wrong checksum");
        if (Secret is not null && !Md5Signature.Holds(sent.Packet, Secret))
            throw Failure(text, "it without the right signature");
        if (!Pattern.Holds(sent.Payload, seen.Seq!.Value + (seen.Has('S') ? 1 : 0) - 1))
            throw Failure(text, "it with other bytes than the application wrote");
    }

    private void SendsNothingMore()
    {
        _story.Pump();
        if (_inbox.TryDequeue(out Sent? sent))
            throw Failure("nothing more", Note(sent).Segment.ToString());
    }

    private Sent Note(Sent sent)
    {
        Segment segment = sent.Segment;
        _story.Ladder.Stack(sent.Time, segment.ToString());
        if (FirstDataTimestamp == 0 && segment.Length > 0)
            FirstDataTimestamp = TimestampOf(segment);
        if (!segment.Has('R'))
            _localNext = Math.Max(_localNext, (segment.Seq ?? 0) + segment.Space);
        return sent;
    }

    private StoryException Failure(string expected, string seen) => new(
        $"\nexpected: {expected}\nseen:     {seen}\nthe exchange so far:\n{_story.Ladder}");

    private static string Milliseconds(long micros) => (micros / 1000.0).ToString("0.###", CultureInfo.InvariantCulture);
}

/// <summary>The bytes that applications and peers write: each depends on its place in the stream, so that a misplaced one shows.</summary>
internal static class Pattern
{
    public static void Fill(Span<byte> bytes, long offset)
    {
        for (int i = 0; i < bytes.Length; i++)
            bytes[i] = At(offset + i);
    }

    public static bool Holds(ReadOnlySpan<byte> bytes, long offset)
    {
        for (int i = 0; i < bytes.Length; i++)
        {
            if (bytes[i] != At(offset + i))
                return false;
        }
        return true;
    }

    private static byte At(long offset) => (byte)(offset * 7 + (offset >> 8) + (offset >> 16));
}

/// <summary>What the peer offers in its handshake.</summary>
/// <param name="Mss">Null: the option is absent.</param>
/// <param name="Wscale">Null: the option is absent.</param>
/// <param name="Win">The window of its SYN, which is never scaled; null: 65535.</param>
/// <param name="Rtt">Milliseconds from the stack's first segment to the peer's answer.</param>
internal sealed record Peer(int? Mss = 1460, bool Sack = true, bool Ts = false, int? Wscale = 7, int? Win = null, double Rtt = 50)
{
    private string Options(long tsVal, long tsEcr) => string.Join(", ", new[]
    {
        Mss is { } mss ? $"mss {mss}" : null,
        Sack ? "sackOK" : null,
        Ts ? $"ts val {tsVal} ecr {tsEcr}" : null,
        Wscale is { } scale ? $"nop, wscale {scale}" : null,
    }.Where(static o => o is not null));

    public string Syn => $"S 0:0 win {Win ?? 65535} <{Options(Flow.PeerClockStart, 0)}>";

    public string SynAck(long tsVal, long tsEcr) => $"S. 0:0 ack 1 win {Win ?? 65535} <{Options(tsVal, tsEcr)}>";

    /// <summary>Opens a window of 128 KiB, or the largest there is without scaling.</summary>
    public string HandshakeAck => $". 1:1 ack 1 win {ScaledWindow}";

    public int ScaledWindow => Win is { } window ? window >> (Wscale ?? 0) : Wscale is { } scale ? Math.Min(131072 >> Math.Min(scale, 14), 65535) : 65535;
}
