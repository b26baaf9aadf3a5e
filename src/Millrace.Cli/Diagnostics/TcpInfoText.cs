using System;
using System.Globalization;
using System.Text;

namespace Millrace.Cli.Diagnostics;

/// <summary>The numbers of a connection in the words and the order of <c>ss -ni</c>; what is zero is left out.</summary>
internal static class TcpInfoText
{
    private const byte OptTimestamps = 1, OptSack = 2, OptWscale = 4, OptEcn = 8, OptEcnSeen = 16;
    private const uint NoSsthresh = 0xffff;
    private const int UsualReordering = 3;

    public static string Format(string congestion, in TcpInfo info)
    {
        var text = new Line();
        bool listens = info.State == (byte)TcpState.Listen;
        Options(text, congestion, info);
        Control(text, info);
        Totals(text, info);
        Rates(text, info, listens);
        Limits(text, info);
        Scoreboard(text, info, listens);
        Receiver(text, info);
        return text.ToString();
    }

    private static void Options(Line text, string congestion, in TcpInfo info)
    {
        text.Word("ts", (info.Options & OptTimestamps) != 0);
        text.Word("sack", (info.Options & OptSack) != 0);
        text.Word("ecn", (info.Options & OptEcn) != 0);
        text.Word("ecnseen", (info.Options & OptEcnSeen) != 0);
        text.Word(congestion, congestion.Length > 0);
        if ((info.Options & OptWscale) != 0)
            text.Raw($"wscale:{info.WindowScales & 15},{info.WindowScales >> 4}");
    }

    private static void Control(Line text, in TcpInfo info)
    {
        text.Ms("rto", info.Rto);
        text.Number("backoff", info.Backoff);
        if (info.Rtt > 0)
            text.Raw($"rtt:{Line.Milli(info.Rtt)}/{Line.Milli(info.RttVariance)}");
        text.Ms("ato", info.Ato);
        text.Number("mss", info.SendMss);
        text.Number("pmtu", info.PathMtu);
        text.Number("rcvmss", info.ReceiveMss);
        text.Number("advmss", info.AdvertisedMss);
        text.Number("cwnd", info.SendCwnd);
        if (info.SendSsthresh < NoSsthresh)
            text.Number("ssthresh", info.SendSsthresh);
    }

    private static void Totals(Line text, in TcpInfo info)
    {
        text.Number("bytes_sent", info.BytesSent);
        text.Number("bytes_retrans", info.BytesRetransmitted);
        text.Number("bytes_acked", info.BytesAcked);
        text.Number("bytes_received", info.BytesReceived);
        text.Number("segs_out", info.SegmentsOut);
        text.Number("segs_in", info.SegmentsIn);
        text.Number("data_segs_out", info.DataSegmentsOut);
        text.Number("data_segs_in", info.DataSegmentsIn);
    }

    private static void Rates(Line text, in TcpInfo info, bool listens)
    {
        if (info.Rtt > 0 && info.SendMss > 0 && info.SendCwnd > 0)
            text.Bits("send", (double)info.SendCwnd * info.SendMss * 8_000_000 / info.Rtt);
        if (!listens)
        {
            text.Number("lastsnd", info.LastDataSent);
            text.Number("lastrcv", info.LastDataReceived);
            text.Number("lastack", info.LastAckReceived);
        }
        if (info.PacingRate is > 0 and < ulong.MaxValue)
            text.Bits("pacing_rate", info.PacingRate * 8.0);
        if (info.DeliveryRate > 0)
            text.Bits("delivery_rate", info.DeliveryRate * 8.0);
        text.Number("delivered", info.Delivered);
        text.Number("delivered_ce", info.DeliveredCe);
        text.Word("app_limited", (info.Flags & 1) != 0);
    }

    private static void Limits(Line text, in TcpInfo info)
    {
        if (info.BusyTime == 0)
            return;
        text.Raw($"busy:{info.BusyTime / 1000}ms");
        text.Share("rwnd_limited", info.ReceiveWindowLimited, info.BusyTime);
        text.Share("sndbuf_limited", info.SendBufferLimited, info.BusyTime);
    }

    private static void Scoreboard(Line text, in TcpInfo info, bool listens)
    {
        if (!listens)
            text.Number("unacked", info.Unacked);
        if (info.Retransmitted > 0 || info.TotalRetransmits > 0)
            text.Raw($"retrans:{info.Retransmitted}/{info.TotalRetransmits}");
        text.Number("lost", info.Lost);
        if (!listens)
            text.Number("sacked", info.Sacked);
        text.Number("dsack_dups", info.DsackDuplicates);
        if (info.Reordering != UsualReordering)
            text.Number("reordering", info.Reordering);
        text.Number("reord_seen", info.ReorderingSeen);
    }

    private static void Receiver(Line text, in TcpInfo info)
    {
        text.Ms("rcv_rtt", info.ReceiveRtt);
        text.Number("rcv_space", info.ReceiveSpace);
        text.Number("rcv_ssthresh", info.ReceiveSsthresh);
        text.Number("notsent", info.NotSentBytes);
        if (info.MinRtt != uint.MaxValue)
            text.Ms("minrtt", info.MinRtt);
        text.Number("rcv_ooopack", info.OutOfOrderReceived);
        text.Number("snd_wnd", info.SendWindow);
        text.Number("rcv_wnd", info.ReceiveWindow);
        text.Number("rehash", info.Rehash);
    }

    private sealed class Line
    {
        private readonly StringBuilder _text = new();

        public void Word(string word, bool holds)
        {
            if (holds)
                Append(word);
        }

        public void Raw(FormattableString text) => Append(text.ToString(CultureInfo.InvariantCulture));

        public void Number(string name, ulong value)
        {
            if (value != 0)
                Raw($"{name}:{value}");
        }

        /// <summary>Microseconds, written as milliseconds.</summary>
        public void Ms(string name, uint micros)
        {
            if (micros != 0)
                Raw($"{name}:{Milli(micros)}");
        }

        /// <summary>Bits per second, as ss -n writes them: whole.</summary>
        public void Bits(string name, double rate) => Raw($"{name} {Math.Round(rate)}bps");

        public void Share(string name, ulong part, ulong whole)
        {
            if (part != 0)
                Raw($"{name}:{part / 1000}ms({100.0 * part / whole:0.0}%)");
        }

        // C's %g: six significant digits at most.
        public static string Milli(uint micros) => (micros / 1000.0).ToString("G6", CultureInfo.InvariantCulture);

        public override string ToString() => _text.ToString();

        private void Append(string word)
        {
            if (_text.Length > 0)
                _text.Append(' ');
            _text.Append(word);
        }
    }
}
