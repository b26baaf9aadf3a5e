using System.Collections.Generic;
using Millrace.Wire;

namespace Millrace.Sockets;

/// <summary>Where a notice on the error queue comes from. Linux: SO_EE_ORIGIN_*.</summary>
internal enum ErrorOrigin : byte
{
    None = 0,
    Local = 1,
    Icmp = 2,
    Icmp6 = 3,
    Timestamping = 4,
    ZeroCopy = 5,
}

/// <summary>One notice of the error queue. Linux: sock_extended_err, sock_exterr_skb.</summary>
internal sealed class ErrorNotice
{
    public Errno Error { get; init; }

    public ErrorOrigin Origin { get; init; }

    public byte Type { get; init; }

    public byte Code { get; set; }

    /// <summary>Linux: ee_info, ee_data. For zero-copy the first and the last send that are complete.</summary>
    public uint Info { get; set; }

    public uint Data { get; set; }

    /// <summary>Of an ICMP error: who reported it, and where the packet was going.</summary>
    public IpAddr Reporter { get; init; }

    public IpAddr Destination { get; init; }

    public ushort Port { get; init; }

    /// <summary>Linux: is_icmp_err_skb.</summary>
    public bool IsIcmp => Origin is ErrorOrigin.Icmp or ErrorOrigin.Icmp6;

    /// <summary>For timestamps: microseconds on the host's clock.</summary>
    public long Time { get; init; }

    /// <summary>The payload is no packet, but the connection's numbers. Linux: opt_stats.</summary>
    public bool IsStats { get; init; }

    /// <summary>Bytes of the packet that the notice is about.</summary>
    public byte[] Payload { get; init; } = [];

    /// <summary>What it counts in the receive buffer.</summary>
    public int TrueSize => 768 + Payload.Length;
}

/// <summary>A sock's notices, oldest first, within the bound of its receive buffer. Guarded by itself.</summary>
/// <remarks>Linux: sk_error_queue, sock_queue_err_skb.</remarks>
internal sealed class ErrorQueue
{
    private readonly System.Threading.Lock _lock = new();
    private readonly LinkedList<ErrorNotice> _notices = new();
    private int _bytes;

    public bool IsEmpty
    {
        get
        {
            lock (_lock)
                return _notices.Count == 0;
        }
    }

    /// <summary>False: there is no room, and the notice is lost.</summary>
    public bool TryAdd(ErrorNotice notice, int limit)
    {
        lock (_lock)
        {
            if (_bytes + notice.TrueSize >= limit)
                return false;
            _notices.AddLast(notice);
            _bytes += notice.TrueSize;
            return true;
        }
    }

    /// <summary>
    /// Grows the last zero-copy notice to the range that follows it, if it can. Linux: skb_zerocopy_notify_extend.
    /// </summary>
    public bool TryExtendLast(uint first, uint last, byte code)
    {
        lock (_lock)
        {
            if (_notices.Last?.Value is not { Origin: ErrorOrigin.ZeroCopy } notice || notice.Code != code)
                return false;
            if (notice.Data + 1 != first || (ulong)(last - notice.Info) + 1 >= 1UL << 32)
                return false;
            notice.Data = last;
            return true;
        }
    }

    /// <param name="next">The one that is the oldest then.</param>
    public ErrorNotice? Take(out ErrorNotice? next)
    {
        next = null;
        lock (_lock)
        {
            if (_notices.First is not { } first)
                return null;
            next = first.Next?.Value;
            Remove(first);
            return first.Value;
        }
    }

    /// <summary>Throws away all errors; what tells of data that was sent stays. Linux: skb_errqueue_purge.</summary>
    public void PurgeErrors()
    {
        lock (_lock)
        {
            for (LinkedListNode<ErrorNotice>? at = _notices.First, next; at is not null; at = next)
            {
                next = at.Next;
                if (at.Value.Origin is not (ErrorOrigin.ZeroCopy or ErrorOrigin.Timestamping))
                    Remove(at);
            }
        }
    }

    private void Remove(LinkedListNode<ErrorNotice> node)
    {
        _notices.Remove(node);
        _bytes -= node.Value.TrueSize;
    }
}
