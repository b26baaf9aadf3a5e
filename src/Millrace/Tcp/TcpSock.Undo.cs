using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Taking back a reduction that was a mistake.</summary>
internal sealed partial class TcpSock
{
    private bool MayUndo => Recovery!.Undo is { HasMarker: true } undo && (undo.AllWereDuplicates || IsPacketDelayed);

    private bool IsPacketDelayed => Recovery!.Undo.IsPacketDelayed(SawTimestamp ? RcvTsEcr : 0, TsOffset, State == TcpState.SynSent);

    /// <summary>Linux: tcp_undo_cwnd_reduction.</summary>
    private void UndoReduction(Cpu cpu, bool unmarkLost)
    {
        LossRecovery recovery = Recovery!;
        if (unmarkLost)
        {
            recovery.UnmarkLost(ref Packets);
        }
        if (Cc.PriorSsthresh != 0)
        {
            Cc.Cwnd = AttachCongestion().UndoCwnd(this);
            if (Cc.PriorSsthresh > Cc.Ssthresh)
            {
                Cc.Ssthresh = Cc.PriorSsthresh;
                WithdrawCwr();
            }
        }
        Cc.Stamp = cpu.Now;
        recovery.Undo.HasMarker = false;
        recovery.Rack.Advanced = true;
    }

    // Without SACK the old state is held until something above the recovery point is acknowledged. RFC 6582 §4.
    private bool HoldsStateForReno()
    {
        if (Snd.Una != Recovery!.RecoveryPoint || HasSack)
            return false;
        if (!AnyRetransmitDone)
            Recovery.Undo.FirstRetransmit = 0;
        return true;
    }

    // The recovery point is acknowledged. True: the state is held. Linux: tcp_try_undo_recovery.
    private bool TryUndoRecovery(Cpu cpu)
    {
        if (MayUndo)
        {
            bool fromLoss = CaState == CaState.Loss;
            UndoReduction(cpu, unmarkLost: false);
            cpu.Mib.Inc(fromLoss ? Mib.TcpExtTCPLossUndo : Mib.TcpExtTCPFullUndo);
        }
        else
        {
            Reorder.OnRecovered();
        }
        if (HoldsStateForReno())
            return true;
        SetCaState(CaState.Open);
        _isReneged = false;
        return false;
    }

    // Every retransmission was answered by a DSACK: none was needed. Linux: tcp_try_undo_dsack.
    private bool TryUndoDsack(Cpu cpu)
    {
        if (!Recovery!.Undo.AllWereDuplicates)
            return false;
        Reorder.OnDsackUndo();
        UndoReduction(cpu, unmarkLost: false);
        cpu.Mib.Inc(Mib.TcpExtTCPDSACKUndo);
        return true;
    }

    // Linux: tcp_try_undo_loss.
    private bool TryUndoLoss(Cpu cpu, bool byFrto)
    {
        if (!byFrto && !MayUndo)
            return false;
        UndoReduction(cpu, unmarkLost: true);
        cpu.Mib.Inc(Mib.TcpExtTCPLossUndo);
        if (byFrto)
            cpu.Mib.Inc(Mib.TcpExtTCPSpuriousRTOs);
        Retransmits = 0;
        if (HoldsStateForReno())
            return true;
        if (byFrto || HasSack)
        {
            SetCaState(CaState.Open);
            _isReneged = false;
        }
        return true;
    }

    // A hole was filled by the original. True: go on sending, but take nothing more for lost. Linux: tcp_try_undo_partial.
    private bool TryUndoPartial(Cpu cpu, SeqNumber priorUna)
    {
        if (!Recovery!.Undo.HasMarker || !IsPacketDelayed)
            return false;
        CheckSackReordering(cpu, priorUna, byTimestamp: true);
        if (RetransOut > 0)
            return true;
        if (!AnyRetransmitDone)
            Recovery.Undo.FirstRetransmit = 0;
        UndoReduction(cpu, unmarkLost: true);
        cpu.Mib.Inc(Mib.TcpExtTCPPartialUndo);
        TryKeepOpen();
        return false;
    }
}
