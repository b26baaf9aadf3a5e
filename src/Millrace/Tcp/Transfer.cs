namespace Millrace.Tcp;

/// <summary>What a connection keeps once it has carried data, in either direction. Attached at the first, and kept.</summary>
internal sealed class Transfer
{
    /// <summary>Payload and its segments, for tcp_info.</summary>
    public ulong BytesReceived, BytesSent;
    public uint DataSegmentsIn, DataSegmentsOut;

    /// <summary>What the sender has been limited by, and for how long. Linux: chrono_type, chrono_start, chrono_stat.</summary>
    public Chrono Chrono;

    /// <summary>Linux: rcv_rtt_est.</summary>
    public ReceiveRtt RcvRtt;

    /// <summary>The connection's place among those that may send again. Linux: tsq_node, TSQ_QUEUED.</summary>
    public TcpSock? NextSmallQueue;
    public int SmallQueueQueued;
}
