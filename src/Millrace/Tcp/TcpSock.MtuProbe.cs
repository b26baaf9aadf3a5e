using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Path-MTU probing. RFC 4821.</summary>
internal sealed partial class TcpSock
{
    /// <summary>The smallest window with which a probe's loss is noticed as one. Linux: tcp_mtu_probe.</summary>
    private const uint MinProbeCwnd = 11;

    /// <summary>The packet that a segment with so many bytes of payload makes. Linux: tcp_mss_to_mtu.</summary>
    private int MtuOfMss(int mss) => mss + HeaderLength + AfOps.HeaderLength;

    private int LargestMtu => MssClamp + TcpHeader.MinLength + AfOps.HeaderLength;

    // Linux: tcp_mtup_init.
    private void InitMtuSearch(Cpu cpu)
    {
        if (Tcp.Sysctls.TcpMtuProbing > 1)
            MtuSearch = new MtuProbe { Enabled = true, High = LargestMtu, Low = MtuOfMss(Tcp.Sysctls.TcpBaseMss), Began = cpu.Now };
    }

    // Timeouts, one after the other: perhaps what is sent is too large. Linux: tcp_mtu_probing.
    private void SuspectMtu(Cpu cpu)
    {
        Sysctls sysctls = Tcp.Sysctls;
        if (sysctls.TcpMtuProbing == 0)
            return;
        if (MtuSearch is not { Enabled: true } search)
        {
            MtuSearch = new MtuProbe
            {
                Enabled = true,
                High = Math.Min(LargestMtu, PathMtu),
                Low = MtuOfMss(sysctls.TcpBaseMss),
                Began = cpu.Now,
            };
        }
        else
        {
            int mss = Math.Min(MssOfMtu(search.Low) >> 1, sysctls.TcpBaseMss);
            mss = Math.Max(mss, Math.Max(sysctls.TcpMtuProbeFloor, sysctls.TcpMinSndMss));
            search.Low = MtuOfMss(mss);
        }
        SyncMss(PathMtu);
    }

    // True: the sender stops, because a probe is due and cannot go yet. Linux: tcp_mtu_probe.
    private bool TryMtuProbe(Cpu cpu, out bool sent)
    {
        sent = false;
        if (MtuSearch is not { Enabled: true, Size: 0 } search || CaState != CaState.Open || Cc.Cwnd < MinProbeCwnd
            || SackOut is { Count: > 0 } or { HasDuplicate: true })
            return false;
        CurrentMss();
        int size = MssOfMtu(search.Middle);
        int needed = size + (Reorder.Degree + 1) * MssCache;
        if (size > MssOfMtu(search.High) || search.High - search.Low < Math.Max(1, Tcp.Sysctls.TcpProbeThreshold))
        {
            SearchAgain(cpu, search);
            return false;
        }
        if (Snd.Written - Snd.Nxt < needed || Snd.Wnd < needed)
            return false;
        if (Snd.Nxt + needed > Snd.WndEnd)
            return true;
        if (PacketsInFlight + 2 > Cc.Cwnd)
            return PacketsInFlight > 0;
        if (MustPace(cpu) || BuildProbe(cpu, size) is not { } probe)
            return false;
        sent = SendMtuProbe(cpu, search, probe);
        return false;
    }

    // From time to time the path may have become wider. Linux: tcp_mtu_check_reprobe.
    private void SearchAgain(Cpu cpu, MtuProbe search)
    {
        if (cpu.Now - search.Began < Micros.FromSeconds(Tcp.Sysctls.TcpProbeInterval))
            return;
        search.Size = 0;
        search.High = LargestMtu;
        search.Low = MtuOfMss(CurrentMss());
        search.Began = cpu.Now;
    }

    // One buffer of the size, out of what waits to be sent; null: it does not fit together.
    private SkBuff? BuildProbe(Cpu cpu, int size)
    {
        SkBuff head = WriteQueue.First!;
        if (AllocWriteSkb(cpu, force: false) is not { } probe)
            return null;
        probe.Tcp.Seq = probe.Tcp.EndSeq = head.Tcp.Seq;
        probe.Tcp.Flags = TcpFlags.Ack;
        WriteQueue.PushFirst(probe);
        WriteQueued += probe.TrueSize;
        Charge(probe.TrueSize);
        while (probe.Length < size && WriteQueue.After(probe) is { } next && Segmentation.MayMerge(probe, next) && next.Length > 0)
        {
            if (!MoveFront(cpu, probe, next, Math.Min(size - probe.Length, next.Length)))
                break;
        }
        if (probe.Length == size)
            return probe;
        if (probe.Length == 0)
        {
            WriteQueue.Remove(probe);
            FreeWriteSkb(cpu, probe);
        }
        return null;
    }

    private bool SendMtuProbe(Cpu cpu, MtuProbe search, SkBuff probe)
    {
        Segmentation.SetSegments(probe, probe.Length);
        if (TransmitSkb(cpu, probe) != Errno.OK)
            return false;
        // It is worth two packets, and takes their place.
        Cc.Cwnd--;
        OnNewDataSent(cpu, probe);
        search.Size = MtuOfMss(probe.Length);
        search.Range = new SeqRange(probe.Tcp.Seq, probe.Tcp.EndSeq);
        return true;
    }

    // Linux: tcp_mtup_probe_success.
    private void OnMtuProbeAcked(Cpu cpu)
    {
        if (MtuSearch is not { Size: > 0 } search || search.Range.End > Snd.Una)
            return;
        // As many bytes as before, in fewer packets.
        Cc.Cwnd = (uint)Math.Max(1, (long)Cc.Cwnd * MtuOfMss(MssCache) / search.Size);
        Cc.Count = 0;
        Cc.Stamp = cpu.Now;
        Cc.Ssthresh = CurrentSsthresh;
        search.Low = search.Size;
        search.Size = 0;
        SyncMss(PathMtu);
        cpu.Mib.Inc(Mib.TcpExtTCPMTUPSuccess);
    }

    // The probe, and nothing but it, is lost: it was too large, and that is no congestion. Linux: tcp_mtup_probe_failed.
    private bool HandleLostMtuProbe(Cpu cpu)
    {
        if (CaState >= CaState.Cwr || MtuSearch is not { Size: > 0 } search || Snd.Una != search.Range.Start)
            return false;
        search.High = search.Size - 1;
        search.Size = 0;
        cpu.Mib.Inc(Mib.TcpExtTCPMTUPFail);
        Cc.Cwnd++;
        SimpleRetransmit(cpu);
        return true;
    }
}
