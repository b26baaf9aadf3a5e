using System;
using Millrace.Buffers;

namespace Millrace.Tcp;

/// <summary>
/// The packets that are out and what is known of them: the numbers of the scoreboard, in packets of the size they were sent in.
/// Never more are SACKed and lost than are out.
/// </summary>
/// <remarks>RFC 6675 §2. Linux: packets_out, sacked_out, lost_out, retrans_out, lost.</remarks>
internal struct PacketCounts
{
    /// <summary>Sent and not acknowledged.</summary>
    public uint Out;

    /// <summary>Of those, SACKed; or, without SACK, the duplicate ACKs that stand for packets that have left the network.</summary>
    public uint Sacked;

    /// <summary>Of those, taken for lost.</summary>
    public uint Lost;

    /// <summary>Retransmissions that are on their way.</summary>
    public uint Retrans;

    /// <summary>Ever taken for lost, retransmissions too.</summary>
    public uint TotalLost;

    /// <summary>Packets that have left the network. Linux: tcp_left_out.</summary>
    public readonly uint Left => Sacked + Lost;

    /// <summary>RFC 6675's pipe. Linux: tcp_packets_in_flight.</summary>
    public readonly uint InFlight => Out - Left + Retrans;

    /// <summary>Nothing is out any more.</summary>
    public void Clear() => Out = Sacked = Lost = Retrans = 0;

    /// <summary>The buffer makes <paramref name="difference"/> packets fewer than it did. Linux: tcp_adjust_pcount.</summary>
    /// <param name="hasSack">Without it the count of SACKed packets belongs to no buffer.</param>
    public void Shrink(SackedFlags sacked, int difference, bool hasSack)
    {
        Out -= (uint)difference;
        if ((sacked & SackedFlags.SackedAcked) != 0)
            Sacked -= (uint)difference;
        if ((sacked & SackedFlags.SackedRetrans) != 0)
            Retrans -= (uint)difference;
        if ((sacked & SackedFlags.Lost) != 0)
            Lost -= (uint)difference;
        if (!hasSack && Sacked > 0)
            Sacked -= (uint)Math.Min((int)Sacked, difference);
    }

    /// <summary>
    /// Takes a buffer for lost, or its retransmission if it was lost already. Returns the packets whose retransmission is lost.
    /// Linux: tcp_mark_skb_lost.
    /// </summary>
    public uint MarkLost(ref TcpControlBlock tcp)
    {
        uint count = (uint)tcp.Segments;
        if ((tcp.Sacked & SackedFlags.Lost) == 0)
        {
            Lost += count;
            TotalLost += count;
            tcp.Sacked |= SackedFlags.Lost;
            return 0;
        }
        if ((tcp.Sacked & SackedFlags.SackedRetrans) == 0)
            return 0;
        tcp.Sacked &= ~SackedFlags.SackedRetrans;
        Retrans -= count;
        TotalLost += count;
        return count;
    }

    // ---- Without SACK: RFC 6582 ----

    /// <summary>
    /// There is always one hole: more duplicates than leave room for it are no packets. True: there were more, so something was
    /// reordered. Linux: tcp_limit_reno_sacked.
    /// </summary>
    public bool LimitReno()
    {
        uint holes = Math.Min(Math.Max(Lost, 1), Out);
        if (Sacked + holes <= Out)
            return false;
        Sacked = Out - holes;
        return true;
    }

    /// <summary>Each duplicate ACK stands for a packet that was delivered. Returns how many were. Linux: tcp_add_reno_sack.</summary>
    public uint AddReno(int duplicates, out bool reordered)
    {
        uint before = Sacked;
        Sacked += (uint)duplicates;
        reordered = LimitReno();
        return Sacked > before ? Sacked - before : 0;
    }

    /// <summary>
    /// Packets were acknowledged: all but the one that filled the hole had been counted by their duplicate ACKs. Returns how many
    /// were not. Linux: tcp_remove_reno_sacks.
    /// </summary>
    public uint RemoveReno(int acked, out bool reordered)
    {
        uint delivered = 0;
        if (acked > 0)
        {
            delivered = (uint)Math.Max(acked - (int)Sacked, 1);
            Sacked = acked - 1 >= Sacked ? 0 : Sacked - (uint)(acked - 1);
        }
        reordered = LimitReno();
        return delivered;
    }
}
