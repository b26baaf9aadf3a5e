using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Accurate ECN: where a connection meets <see cref="Tcp.AccEcn"/>. RFC 9768.</summary>
internal sealed partial class TcpSock
{
    /// <summary>Null while nothing ECN-capable has come and AccECN is not in use.</summary>
    public AccEcn? AccEcn;

    public bool IsAccEcn => (EcnState & EcnFlags.AccEcn) != 0;

    /// <summary>The flags of a segment that brings nothing new. Linux: the flags in pred_flags.</summary>
    private TcpFlags PredictedFlags => IsAccEcn ? TcpFlags.Ack | AceField.Count(Rate.DeliveredCe) : TcpFlags.Ack;

    private AccEcn AttachAccEcn() => AccEcn ??= new AccEcn();

    private static Ecn CodepointOf(SkBuff skb) => (Ecn)(skb.Tcp.DsField & 3);

    // ---- Handshake ----

    // The codepoint that our SYN bears: an algorithm that lives by marks has every packet marked.
    private Ecn SynCodepoint => AlgorithmNeedsEcn ? Ecn.Ect0 : Ecn.NotEct;

    private AccEcn EnterAccEcn(Ecn synReceived)
    {
        EcnState = EcnFlags.AccEcn;
        AccEcn state = AttachAccEcn();
        state.SynSent = SynCodepoint;
        state.SynReceived = synReceived;
        return state;
    }

    // The server has agreed. Linux: tcp_ecn_rcv_synack_accecn.
    private void AcceptAccEcnSynAck(SkBuff skb, int ace, in TcpOptions options)
    {
        Ecn arrived = CodepointOf(skb);
        AccEcn state = EnterAccEcn(arrived);
        if (options.HasAccEcn)
        {
            state.NoteOption(options.AccEcn);
            state.Demand = 2;
        }
        if (arrived == Ecn.Ce && (AceField.Reflected(ace) is null || !Tcp.Sysctls.TcpEcnFallback || state.IsPlausible(ace)))
        {
            state.ReceivedCe++;
            state.PendingCe++;
        }
    }

    // The peer has opened too, and asked for it as well: the SYN that goes again with an ACK answers that. Linux: tcp_ecn_rcv_syn,
    // tcp_ecn_send_synack.
    private void AcceptAccEcnSyn(SkBuff skb, SkBuff? syn)
    {
        Ecn arrived = CodepointOf(skb);
        EnterAccEcn(arrived).Previous = arrived;
        if (syn is not null)
            syn.Tcp.Flags = (syn.Tcp.Flags & ~AceField.All) | AceField.Reflect(arrived);
    }

    // Linux: tcp_ecn_openreq_child.
    private void AdoptAccEcn(TcpRequestSock request, SkBuff skb, in TcpHeader tcp)
    {
        AccEcn state = EnterAccEcn(request.SynEcn);
        state.Previous = request.SynEcn;
        state.OptionSeen = request.AccEcnOptionSeen;
        // Deviates: 6.18 forgets here that the option was zeroed, and then reads it.
        state.Failure = request.AccEcnFailure;
        state.Demand = 1;
        AcceptThirdAck(skb, tcp.Flags, TcpOptions.Parse(tcp.Options).SackBlockCount > 0);
        CountMarks(skb, skb.Length - tcp.HeaderLength);
    }

    // Linux: tcp_accecn_third_ack.
    private void AcceptThirdAck(SkBuff skb, TcpFlags flags, bool hasSack)
    {
        bool isPure = skb.Tcp.Seq == skb.Tcp.EndSeq && !hasSack;
        if (AccEcn!.OnThirdAck(AceField.Of(flags), isPure, hasSack, Tcp.Sysctls.TcpEcnFallback) && Rate.DeliveredCe == 0)
            Rate.DeliveredCe++;
    }

    // A SYN on a connection that stands, most likely the SYN-ACK again: its answer tells how it arrived. RFC 9768 §3.2.2.1.
    private bool ReflectSyn(SkBuff skb, in TcpOptions options)
    {
        if (!IsAccEcn)
            return false;
        AccEcn!.SynReceived = CodepointOf(skb);
        if (options.HasAccEcn && AccEcn.OptionSeen < AccEcnOptionSeen.Counters)
        {
            AccEcn.NoteOption(options.AccEcn);
            AccEcn.Demand = Math.Max(AccEcn.Demand, (byte)1);
        }
        return true;
    }

    // An ACK that tells how the SYN-ACK arrived, if the peer wants to know. Linux: tcp_send_ack_reflect_ect.
    private void SendReflectingAck(Cpu cpu, bool reflect) =>
        SendAck(cpu, reflect ? TcpFlags.Ack | AceField.Reflect(AccEcn!.SynReceived) : TcpFlags.Ack);

    // ---- Data ----

    // Every segment counts, whatever was negotiated. Linux: tcp_ecn_received_counters.
    private void CountMarks(SkBuff skb, int length)
    {
        Ecn codepoint = CodepointOf(skb);
        if (codepoint == Ecn.NotEct && AccEcn is null)
            return;
        if (codepoint != Ecn.NotEct && !IsRfc3168)
            EcnState |= EcnFlags.Seen;
        if (AttachAccEcn().OnReceived(codepoint, length, Math.Max(1, (int)skb.GsoSegs), IsAccEcn))
            Ack.Pending |= AckPending.Now;
    }

    // What the ACK tells of marks. Linux: tcp_accecn_process.
    private void ProcessAce(SkBuff skb, in TcpOptions options, ref AckContext ack, uint priorDelivered)
    {
        // An ACK that was overtaken, or may have been, tells nothing.
        if (!IsAccEcn || !ack.Has(AckFlags.ForwardProgress | AckFlags.TsProgress))
            return;
        AccEcn state = AccEcn!;
        uint marked = state.OnAck(new AccEcnAck
        {
            Ace = AceField.Of(skb.Tcp.Flags),
            HasOption = options.HasAccEcn,
            Order1 = options.AccEcnOrder1,
            Option = options.AccEcn,
            Packets = Rate.Delivered - priorDelivered,
            Bytes = (uint)Math.Max(0, ack.DeliveredBytes),
            KnownMarked = Rate.DeliveredCe,
            IsPredicted = !ack.Has(AckFlags.SlowPath),
            // Deviates: 6.18 takes the reflection in the ACK that ends a Fast Open handshake for a count.
            IsOfHandshake = ack.Has(AckFlags.SynAcked) || State == TcpState.SynRecv,
            IsExact = HasSack || CaState is CaState.Open or CaState.Cwr,
            Mss = MssCache,
            BytesSent = Transfer?.BytesSent ?? 0,
        });
        if (state.PendingCe >= AccEcn.MaxPending)
            Ack.Pending |= AckPending.Now;
        if (marked == 0)
            return;
        Rate.DeliveredCe += marked;
        ack.MarkedPackets = marked;
        ack.Flags |= AckFlags.Ece;
    }

    // ---- Output ----

    // Linux: the AccECN part of tcp_ecn_send.
    private TcpFlags MarkAccEcn(SkBuff segment, TcpFlags flags)
    {
        AccEcn state = AccEcn!;
        segment.Tcp.DsField = (byte)((Tos & ~3) | (state.MarksData ? (int)Ecn.Ect0 : 0));
        // The handshake's last ACK, and one that repeats it, reflect instead.
        if ((flags & AceField.All) != 0)
            return flags;
        state.PendingCe = 0;
        return flags | AceField.Count(state.ReceivedCe);
    }

    private void AddAccEcnOption(ref OutgoingOptions options)
    {
        Sysctls sysctls = Tcp.Sysctls;
        if (AccEcn!.WantsOption(sysctls.TcpEcnOption, sysctls.TcpEcnOptionBeacon, Time, Rtt.Srtt))
            options.FitAccEcn(AccEcn.MinFields, AccEcn.ReceivedBytes, handshake: false);
    }

    // The SYN-ACK of a simultaneous open; not if it goes a third time. RFC 9768 §3.2.3.2.2. Linux: the end of tcp_syn_options.
    private void AddAccEcnSynOption(SkBuff segment, ref OutgoingOptions options)
    {
        if (IsAccEcn && (segment.Tcp.Flags & TcpFlags.Ack) != 0 && Retransmits < 2 && Tcp.Sysctls.TcpEcnOption != 0)
            options.FitAccEcn(0, default, handshake: true);
    }

    // Options that every segment would bear now, beyond those that the MSS cache allows for.
    private int ExtraOptionSize() => IsAccEcn ? ExtraAccEcnOptionSize() : SignatureSize + SackOptionSize();

    private int ExtraAccEcnOptionSize()
    {
        Span<SeqRange> blocks = stackalloc SeqRange[TcpOptions.MaxSackBlocks];
        scoped var options = new OutgoingOptions { HasMd5 = SigningKey is not null };
        AddEstablishedOptions(ref options, blocks);
        return options.Size - (HeaderLength - TcpHeader.MinLength);
    }

    /// <summary>The type-of-service byte that a mini-sock in TIME_WAIT answers with: what the last segments bore.</summary>
    public byte LastTos
    {
        get
        {
            byte tos = RemoteAddr.IsV4 ? Tos : TrafficClass;
            return IsAccEcn && AccEcn!.MarksData ? (byte)(tos | (int)Ecn.Ect0) : tos;
        }
    }
}
