using System;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>What of the feedback does not pass the path, in which direction. Linux: accecn_fail_mode.</summary>
[Flags]
internal enum AccEcnFailure : byte
{
    None = 0,

    /// <summary>The ACE field was not sent, or is not believed to have come: nothing of ours is marked any more.</summary>
    AceSend = 1,
    AceReceive = 2,

    /// <summary>ACKs with an option do not arrive; or an option came that was zeroed.</summary>
    OptionSend = 4,
    OptionReceive = 8,
}

/// <summary>Which options of the peer have come. Linux: saw_accecn_opt.</summary>
internal enum AccEcnOptionSeen : byte
{
    None,
    Empty,
    Counters,

    /// <summary>Somebody has zeroed it.</summary>
    Zeroed,
}

/// <summary>An acknowledgment, as far as AccECN looks at it.</summary>
internal ref struct AccEcnAck
{
    public int Ace;

    /// <summary>Whether an option came, and its fields as they are on the wire.</summary>
    public bool HasOption, Order1;
    public ReadOnlySpan<byte> Option;

    /// <summary>Newly acknowledged or SACKed.</summary>
    public uint Packets, Bytes;

    /// <summary>Marked packets that the peer has told before.</summary>
    public uint KnownMarked;

    /// <summary>The header was the predicted one.</summary>
    public bool IsPredicted;

    /// <summary>The handshake's own: its field does not count.</summary>
    public bool IsOfHandshake;

    /// <summary>The delivered packets are known exactly, so that a share of them can be computed.</summary>
    public bool IsExact;
    public int Mss;
    public ulong BytesSent;
}

/// <summary>
/// Accurate ECN of one connection: what has arrived marked and is to be told, and what the peer has told of ours. Attached when AccECN is
/// negotiated, or when the first ECN-capable packet arrives, which TCP_INFO counts in any mode.
/// </summary>
/// <remarks>RFC 9768 §3.2. Linux: the AccECN fields of tcp_sock.</remarks>
internal sealed class AccEcn
{
    /// <summary>Marked packets not yet told that make an ACK due. RFC 9768 §3.2.2.5.1. Linux: TCP_ACCECN_ACE_MAX_DELTA.</summary>
    public const int MaxPending = 6;

    /// <summary>An option is due once for so many bytes, as a power of two: sooner than its 24 bits wrap. RFC 9768 §3.2.3.3.</summary>
    private const int ChangeShift = 22;

    // A first option that comes after so many bytes may have wrapped already.
    private const ulong TooLate = (1 << 23) - 1;

    // Packets for each ACK, averaged with a weight of 1/64, in 64ths; from four on ACKs are thinned on their way.
    private const int AverageShift = 6, Fraction = 6;
    private const uint Thinned = 4;

    /// <summary>r.cep: marked packets that have come; and those of them that no ACK has told yet.</summary>
    public uint ReceivedCe;
    public byte PendingCe;

    public EcnBytes ReceivedBytes, DeliveredBytes;

    /// <summary>The codepoints that our SYN or SYN-ACK was sent with, and the peer's arrived with. Linux: syn_ect_snt, syn_ect_rcv.</summary>
    public Ecn SynSent, SynReceived;

    /// <summary>The codepoint of the latest segment. Linux: prev_ecnfield.</summary>
    public Ecn Previous;

    public AccEcnOptionSeen OptionSeen;
    public AccEcnFailure Failure;

    /// <summary>ACKs to come that must bear an option; fields that the next one needs. Linux: accecn_opt_demand, accecn_minlen.</summary>
    public byte Demand, MinFields;

    // The codepoint that all bytes since the last option are taken to have; NotEct if it is not known. Linux: est_ecnfield.
    private Ecn _estimate;
    private ushort _average;
    private Micros _optionSent;
    private bool _sentWithDuplicate;

    public bool MarksData => (Failure & (AccEcnFailure.AceSend | AccEcnFailure.AceReceive)) == 0;

    // ---- Receiving data ----

    /// <summary>Counts a segment. Returns whether it is to be acknowledged at once. Linux: tcp_ecn_received_counters.</summary>
    /// <param name="length">Bytes of payload.</param>
    /// <param name="negotiated">Whether the peer wants to know.</param>
    public bool OnReceived(Ecn codepoint, int length, int segments, bool negotiated)
    {
        bool marked = codepoint == Ecn.Ce;
        if (marked)
        {
            ReceivedCe += (uint)segments;
            PendingCe = (byte)Math.Min(PendingCe + segments, 15);
        }
        if (length > 0 && codepoint != Ecn.NotEct)
            CountBytes(codepoint, (uint)length);
        bool changed = codepoint != Previous;
        Previous = codepoint;
        // RFC 9768 §3.2.3.3: a change is told in two ACKs, so that the second says for certain what followed it.
        if (negotiated && (changed || marked))
            Demand = 2;
        return negotiated && changed;
    }

    private void CountBytes(Ecn codepoint, uint length)
    {
        ref uint counter = ref ReceivedBytes[EcnBytes.Index(codepoint)];
        uint before = counter;
        counter += length;
        MinFields = (byte)Math.Max(MinFields, EcnBytes.FieldsUpTo(codepoint));
        if ((before ^ counter) >> ChangeShift != 0)
            Demand = Math.Max(Demand, (byte)1);
    }

    // ---- Sending options ----

    /// <summary>Whether the next segment should bear an option, if there is room. Linux: the end of tcp_established_options.</summary>
    /// <param name="mode">net.ipv4.tcp_ecn_option.</param>
    /// <param name="beacon">net.ipv4.tcp_ecn_option_beacon: options for each round trip, asked for or not; 0 for none.</param>
    public bool WantsOption(int mode, int beacon, Micros now, Micros srtt)
    {
        if (mode == 0 || OptionSeen == AccEcnOptionSeen.None || (mode < 3 && (Failure & AccEcnFailure.OptionSend) != 0))
            return false;
        return mode >= 2 || Demand > 0 || (beacon > 0 && (now - _optionSent).Value * beacon >= srtt.Value);
    }

    /// <summary>A segment has been given its options.</summary>
    /// <param name="duplicate">It reports a duplicate, by DSACK.</param>
    public void OnOptionsWritten(bool hasAccEcn, bool duplicate, Micros now)
    {
        _sentWithDuplicate = hasAccEcn && duplicate;
        if (!hasAccEcn)
            return;
        MinFields = 0;
        _optionSent = now;
        if (Demand > 0)
            Demand--;
    }

    /// <summary>
    /// Data has come again. If an ACK that said so bore an option, it seems that such ACKs do not arrive. RFC 9768 §3.2.3.2.2.
    /// Linux: tcp_rcv_spurious_retrans.
    /// </summary>
    /// <param name="toldBefore">The last DSACK began where this segment does.</param>
    public void OnSpuriousRetransmit(bool toldBefore)
    {
        if (_sentWithDuplicate && toldBefore)
            Failure |= AccEcnFailure.OptionSend;
    }

    // ---- The handshake ----

    /// <summary>
    /// Looks at the peer's first option, or its first since an empty one. RFC 9768 §3.2.3.2.4. Linux: tcp_accecn_option_init.
    /// </summary>
    public void NoteOption(ReadOnlySpan<byte> fields)
    {
        if (OptionSeen >= AccEcnOptionSeen.Counters)
            return;
        OptionSeen = Judge(fields);
        if (OptionSeen == AccEcnOptionSeen.Zeroed)
            Failure |= AccEcnFailure.OptionReceive;
    }

    /// <summary>What a first option shows: neither ECT counter starts with zero, in either order.</summary>
    public static AccEcnOptionSeen Judge(ReadOnlySpan<byte> fields)
    {
        if (fields.Length < 3)
            return AccEcnOptionSeen.Empty;
        bool zeroed = fields[..3].IndexOfAnyExcept((byte)0) < 0 || (fields.Length >= 9 && fields[6..9].IndexOfAnyExcept((byte)0) < 0);
        return zeroed ? AccEcnOptionSeen.Zeroed : AccEcnOptionSeen.Counters;
    }

    /// <summary>
    /// Whether the path can have made of our codepoint what the peer says that it saw; if not, the field is not believed from now on.
    /// RFC 9768 §3.2.2.3. Linux: tcp_accecn_validate_syn_feedback.
    /// </summary>
    public bool IsPlausible(int ace)
    {
        Ecn? seen = AceField.Reflected(ace);
        if (seen == SynSent || (seen is not (null or Ecn.NotEct) && SynSent is Ecn.Ect0 or Ecn.Ect1))
            return true;
        Failure |= AccEcnFailure.AceReceive;
        return false;
    }

    /// <summary>
    /// The ACK that ends the handshake on the server's side. Returns whether our SYN-ACK arrived marked. RFC 9768 §3.2.2.1, §3.2.2.4.
    /// Linux: tcp_accecn_third_ack.
    /// </summary>
    /// <param name="isPure">It has no data and no SACK block, so that its field reflects the SYN-ACK.</param>
    /// <param name="hasSack">It has a SACK block: it is not the first.</param>
    /// <param name="check">net.ipv4.tcp_ecn_fallback.</param>
    public bool OnThirdAck(int ace, bool isPure, bool hasSack, bool check)
    {
        if (ace == 0)
        {
            if (!hasSack)
                Failure |= AccEcnFailure.AceReceive | AccEcnFailure.OptionReceive;
            return false;
        }
        return isPure && AceField.Reflected(ace) is { } seen && (!check || IsPlausible(ace)) && seen == Ecn.Ce;
    }

    // ---- Feedback on our data ----

    /// <summary>Marked packets that the ACK tells, with a guess at how often the field has wrapped. Linux: __tcp_accecn_process.</summary>
    public uint OnAck(in AccEcnAck ack)
    {
        uint ceBefore = DeliveredBytes[EcnBytes.Index(Ecn.Ce)];
        bool hasBytes = ack.HasOption ? ReadOption(ack) : EstimateBytes(ack);
        AverageAcked(ack.Packets);
        // What was predicted tells nothing new, unless it has gone round in between.
        if ((ack.IsPredicted && ack.Packets <= AceField.Mask) || ack.IsOfHandshake)
            return 0;
        uint delta = AceField.Beyond(ack.Ace, ack.KnownMarked);
        if (ack.Packets <= AceField.Mask)
            return delta;
        // RFC 9768 appendix A.2: the most that the field can mean.
        uint safe = ack.Packets - ((ack.Packets - delta) & AceField.Mask);
        if (hasBytes)
            return ByBytes(ack, DeliveredBytes[EcnBytes.Index(Ecn.Ce)] - ceBefore, delta, safe);
        return _average > Thinned << Fraction ? delta : safe;
    }

    // RFC 9768 appendix A.2.2: marked bytes decide between the two.
    private static uint ByBytes(in AccEcnAck ack, uint marked, uint delta, uint safe)
    {
        if (marked == 0)
            return delta;
        if (ack.Packets >= (AceField.Mask + 1) * 2 && ack.IsExact)
        {
            if (ack.Bytes <= marked)
                return safe;
            uint share = (uint)(((ulong)marked * ack.Packets + ack.Bytes - 1) / ack.Bytes);
            return Math.Min(safe, delta + (share & ~(uint)AceField.Mask));
        }
        if (marked > (ulong)delta * (uint)ack.Mss)
            return safe;
        return marked < (ulong)safe * (uint)ack.Mss >> 1 ? delta : safe;
    }

    // True: the counters tell for certain what this ACK has added. Linux: tcp_accecn_process_option.
    private bool ReadOption(in AccEcnAck ack)
    {
        if ((Failure & AccEcnFailure.OptionReceive) != 0)
            return false;
        NoteOption(ack.Option);
        Ecn expected = _estimate;
        bool certain = expected != Ecn.NotEct, ambiguous = false, changed = false;
        for (int i = 0; i < 3 && ack.Option.Length >= 3 * (i + 1); i++)
        {
            Ecn codepoint = EcnBytes.FieldAt(i, ack.Order1);
            int difference = EcnBytes.Follow(ref DeliveredBytes[EcnBytes.Index(codepoint)], ack.Option.Slice(3 * i, 3),
                EcnBytes.Origin(codepoint));
            if (difference == 0)
                continue;
            ambiguous |= difference < 0;
            if (codepoint == expected)
                continue;
            ambiguous |= changed;
            changed = true;
            _estimate = codepoint;
        }
        if (ambiguous)
            _estimate = Ecn.NotEct;
        return certain && !ambiguous;
    }

    private bool EstimateBytes(in AccEcnAck ack)
    {
        if ((Failure & AccEcnFailure.OptionReceive) != 0)
            return false;
        if (OptionSeen == AccEcnOptionSeen.None)
        {
            if (ack.BytesSent >= TooLate)
            {
                OptionSeen = AccEcnOptionSeen.Zeroed;
                Failure |= AccEcnFailure.OptionReceive;
            }
            return false;
        }
        if (_estimate == Ecn.NotEct)
            return false;
        DeliveredBytes[EcnBytes.Index(_estimate)] += ack.Bytes;
        return true;
    }

    private void AverageAcked(uint packets)
    {
        if (packets == 0)
            return;
        uint sample = packets << Fraction;
        uint average = _average == 0 ? sample : (((uint)_average << AverageShift) - _average + sample) >> AverageShift;
        _average = (ushort)Math.Min(average, ushort.MaxValue);
    }
}
