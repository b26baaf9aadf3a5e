using System;
using System.Runtime.InteropServices;

namespace Millrace;

/// <summary>A connection's numbers. The layout, names and units of Linux's struct tcp_info; times are microseconds unless said.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct TcpInfo
{
    /// <summary>Bytes of the structure.</summary>
    public const int Length = 280;

    /// <summary>tcpi_state: a state by Linux's number, see <see cref="TcpState"/>.</summary>
    public byte State;

    /// <summary>tcpi_ca_state: 0 open, 1 disorder, 2 CWR, 3 recovery, 4 loss.</summary>
    public byte CongestionState;

    /// <summary>tcpi_retransmits: timeouts in a row without progress.</summary>
    public byte Retransmits;
    public byte Probes;
    public byte Backoff;

    /// <summary>tcpi_options: 1 timestamps, 2 SACK, 4 window scaling, 8 ECN, 16 ECN seen, 32 data in the SYN.</summary>
    public byte Options;

    /// <summary>tcpi_snd_wscale in the lower half, tcpi_rcv_wscale in the upper.</summary>
    public byte WindowScales;

    /// <summary>tcpi_delivery_rate_app_limited in bit 0, tcpi_fastopen_client_fail in bits 1 and 2.</summary>
    public byte Flags;

    public uint Rto;
    public uint Ato;
    public uint SendMss;
    public uint ReceiveMss;

    /// <summary>Segments in flight; of a listener, connections that wait to be accepted.</summary>
    public uint Unacked;

    /// <summary>Segments selectively acknowledged; of a listener, the longest backlog.</summary>
    public uint Sacked;
    public uint Lost;
    public uint Retransmitted;
    public uint Fackets;

    /// <summary>Milliseconds since data was last sent.</summary>
    public uint LastDataSent;
    public uint LastAckSent;

    /// <summary>Milliseconds since data was last received, and an ACK.</summary>
    public uint LastDataReceived;
    public uint LastAckReceived;

    public uint PathMtu;
    public uint ReceiveSsthresh;
    public uint Rtt;
    public uint RttVariance;
    public uint SendSsthresh;

    /// <summary>Segments.</summary>
    public uint SendCwnd;
    public uint AdvertisedMss;
    public uint Reordering;
    public uint ReceiveRtt;
    public uint ReceiveSpace;
    public uint TotalRetransmits;

    /// <summary>Bytes per second; all ones: unlimited.</summary>
    public ulong PacingRate;
    public ulong MaxPacingRate;

    public ulong BytesAcked;
    public ulong BytesReceived;
    public uint SegmentsOut;
    public uint SegmentsIn;
    public uint NotSentBytes;
    public uint MinRtt;
    public uint DataSegmentsIn;
    public uint DataSegmentsOut;

    /// <summary>Bytes per second.</summary>
    public ulong DeliveryRate;
    public ulong BusyTime;
    public ulong ReceiveWindowLimited;
    public ulong SendBufferLimited;
    public uint Delivered;
    public uint DeliveredCe;
    public ulong BytesSent;
    public ulong BytesRetransmitted;
    public uint DsackDuplicates;
    public uint ReorderingSeen;
    public uint OutOfOrderReceived;
    public uint SendWindow;
    public uint ReceiveWindow;
    public uint Rehash;
    public ushort TotalRto;
    public ushort TotalRtoRecoveries;

    /// <summary>Milliseconds.</summary>
    public uint TotalRtoTime;

    /// <summary>AccECN: tcpi_received_ce and the counters of bytes by codepoint.</summary>
    public uint ReceivedCe;
    public uint DeliveredE1Bytes;
    public uint DeliveredE0Bytes;
    public uint DeliveredCeBytes;
    public uint ReceivedE1Bytes;
    public uint ReceivedE0Bytes;
    public uint ReceivedCeBytes;
    public ushort AccEcnFailMode;
    public ushort AccEcnOptionSeen;

    /// <summary>Reads what TCP_INFO returned; what is missing is zero.</summary>
    public static TcpInfo Read(ReadOnlySpan<byte> bytes)
    {
        Span<byte> all = stackalloc byte[Length];
        all.Clear();
        bytes[..Math.Min(bytes.Length, Length)].CopyTo(all);
        return MemoryMarshal.Read<TcpInfo>(all);
    }
}
