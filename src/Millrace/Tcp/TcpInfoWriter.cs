using System;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Writes struct tcp_info as Linux 6.18 lays it out. Linux: tcp_get_info.</summary>
internal static class TcpInfoWriter
{
    public const int Length = 280;

    private const byte OptTimestamps = 1, OptSack = 2, OptWscale = 4, OptEcn = 8, OptEcnSeen = 16, OptSynData = 32;

    /// <summary>The caller owns the socket.</summary>
    public static void Write(Cpu cpu, TcpSock sk, Span<byte> info)
    {
        info.Clear();
        TcpState state = sk.State;
        info[0] = (byte)state;
        Put(info, 104, sk.PacingRate);
        Put(info, 112, sk.MaxPacingRate);
        Put(info, 88, (uint)sk.Reorder.Degree);
        Put(info, 80, sk.Cc.Cwnd);
        if (state == TcpState.Listen)
        {
            Put(info, 24, (uint)sk.AcceptBacklog);
            Put(info, 28, (uint)sk.MaxAcceptBacklog);
            return;
        }
        WriteControl(sk, info);
        WriteTimes(cpu, sk, info);
        WriteWindows(sk, info);
        WriteTotals(cpu, sk, info);
    }

    private static void WriteControl(TcpSock sk, Span<byte> info)
    {
        info[1] = (byte)sk.CaState;
        info[2] = sk.Retransmits;
        info[3] = sk.ProbesOut;
        info[4] = sk.Backoff;
        byte options = 0;
        if (sk.HasTimestamps)
            options |= OptTimestamps;
        if (sk.HasSack)
            options |= OptSack;
        if ((sk.Features & TcpFeatures.WindowScaling) != 0)
            options |= OptWscale;
        if (sk.EcnOk)
            options |= OptEcn;
        if ((sk.EcnState & EcnFlags.Seen) != 0)
            options |= OptEcnSeen;
        if (sk.FastOpen is { SynDataAcked: true })
            options |= OptSynData;
        info[5] = options;
        info[6] = (byte)(sk.Snd.WndScale | sk.Rcv.WndScale << 4);
        info[7] = (byte)((sk.Rate.BestAppLimited ? 1 : 0) | (int)(sk.FastOpen?.Failure ?? FastOpenFailure.Unspecified) << 1);
        Put(info, 16, (uint)sk.MssCache);
        Put(info, 20, (uint)sk.Ack.RcvMss);
        Put(info, 24, sk.PacketsOut);
        Put(info, 28, sk.SackedOut);
        Put(info, 32, sk.LostOut);
        Put(info, 36, sk.RetransOut);
        Put(info, 60, (uint)sk.PathMtu);
        Put(info, 76, sk.Cc.Ssthresh);
        Put(info, 84, (uint)sk.AdvMss);
    }

    private static void WriteTimes(Cpu cpu, TcpSock sk, Span<byte> info)
    {
        Micros now = cpu.Now;
        Put(info, 8, (uint)sk.Rto.Value);
        Put(info, 12, (uint)sk.Ack.Ato);
        Put(info, 44, (uint)(now - sk.LastSent).Milliseconds);
        Put(info, 52, (uint)(now - sk.Ack.LastReceived).Milliseconds);
        Put(info, 56, (uint)(now - sk.LastAckReceived).Milliseconds);
        Put(info, 68, sk.Rtt.Srtt8 >> 3);
        Put(info, 72, sk.Rtt.Mdev4 >> 2);
        Put(info, 92, sk.ReceiveRtt8 >> 3);
        Put(info, 148, sk.MinRttUs);
        (Micros busy, Micros rwnd, Micros sndbuf) = sk.Transfer?.Chrono.Read(now) ?? default;
        Put(info, 168, (ulong)busy.Value);
        Put(info, 176, (ulong)rwnd.Value);
        Put(info, 184, (ulong)sndbuf.Value);
    }

    private static void WriteWindows(TcpSock sk, Span<byte> info)
    {
        Put(info, 64, (uint)sk.Rcv.Ssthresh);
        Put(info, 96, (uint)sk.RcvSpace.Space);
        Put(info, 144, (uint)Math.Max(0, sk.Snd.Written - sk.Snd.Nxt));
        Put(info, 228, sk.Snd.Wnd);
        Put(info, 232, sk.Rcv.Remaining);
        Put(info, 236, sk.Rehashes);
    }

    private static void WriteTimeouts(Cpu cpu, LossStatistics losses, Span<byte> info)
    {
        BitConverter.TryWriteBytes(info[240..], losses.TotalRto);
        BitConverter.TryWriteBytes(info[242..], losses.TotalRtoRecoveries);
        uint rtoTime = losses.TotalRtoTimeMs;
        if (losses.RtoStart != Micros.Zero)
            rtoTime += (uint)(cpu.Now - losses.RtoStart).Milliseconds;
        Put(info, 244, rtoTime);
    }

    private static void WriteTotals(Cpu cpu, TcpSock sk, Span<byte> info)
    {
        ref TcpStatistics stats = ref sk.Stats;
        Put(info, 100, sk.TotalRetransmits);
        Put(info, 120, stats.BytesAcked);
        Put(info, 128, sk.Transfer?.BytesReceived ?? 0);
        Put(info, 136, stats.SegmentsOut);
        Put(info, 140, stats.SegmentsIn);
        Put(info, 152, sk.Transfer?.DataSegmentsIn ?? 0);
        Put(info, 156, sk.Transfer?.DataSegmentsOut ?? 0);
        Put(info, 160, DeliveryRate(sk));
        Put(info, 192, sk.Delivered);
        Put(info, 196, sk.Rate.DeliveredCe);
        Put(info, 200, sk.Transfer?.BytesSent ?? 0);
        Put(info, 208, sk.Losses?.BytesRetransmitted ?? 0);
        Put(info, 216, sk.Losses?.DsackDuplicates ?? 0);
        Put(info, 220, (uint)sk.Reorder.Seen);
        Put(info, 224, sk.Losses?.OutOfOrderReceived ?? 0);
        if (sk.Losses is { } losses)
            WriteTimeouts(cpu, losses, info);
        if (sk.AccEcn is { } accEcn)
            WriteAccEcn(accEcn, info);
    }

    private static void WriteAccEcn(AccEcn state, Span<byte> info)
    {
        Put(info, 248, state.ReceivedCe);
        Put(info, 252, state.DeliveredBytes[EcnBytes.Index(Ecn.Ect1)]);
        Put(info, 256, state.DeliveredBytes[EcnBytes.Index(Ecn.Ect0)]);
        Put(info, 260, state.DeliveredBytes[EcnBytes.Index(Ecn.Ce)]);
        Put(info, 264, state.ReceivedBytes[EcnBytes.Index(Ecn.Ect1)]);
        Put(info, 268, state.ReceivedBytes[EcnBytes.Index(Ecn.Ect0)]);
        Put(info, 272, state.ReceivedBytes[EcnBytes.Index(Ecn.Ce)]);
        BitConverter.TryWriteBytes(info[276..], (ushort)state.Failure);
        BitConverter.TryWriteBytes(info[278..], (ushort)state.OptionSeen);
    }

    // Bytes per second. Linux: tcp_compute_delivery_rate.
    private static ulong DeliveryRate(TcpSock sk) =>
        sk.Rate.BestDelivered == 0 || sk.Rate.BestIntervalUs == 0
            ? 0
            : (ulong)sk.Rate.BestDelivered * (ulong)sk.MssCache * 1_000_000 / sk.Rate.BestIntervalUs;

    private static void Put(Span<byte> info, int offset, uint value) => BitConverter.TryWriteBytes(info[offset..], value);

    private static void Put(Span<byte> info, int offset, ulong value) => BitConverter.TryWriteBytes(info[offset..], value);
}
