using System;
using Millrace.Buffers;
using Millrace.Sched;

namespace Millrace.Tcp;

/// <summary>The connection's numbers that go with a transmit timestamp, as netlink attributes.</summary>
/// <remarks>
/// Linux: tcp_get_timestamping_opt_stats. Deviates: the TTL of the acknowledgment is not told.
/// </remarks>
internal ref struct TransmitStats
{
    /// <summary>Bytes of all attributes: a header of four each, padded to four.</summary>
    private const int Length = 12 * 12 + 12 * 8 + 4 * 8;

    private readonly byte[] _bytes;
    private int _at;

    private TransmitStats(byte[] bytes) => _bytes = bytes;

    public static byte[] Write(Cpu cpu, TcpSock sk, SkBuff sent)
    {
        Span<byte> info = stackalloc byte[TcpInfoWriter.Length];
        TcpInfoWriter.Write(cpu, sk, info);
        var stats = new TransmitStats(new byte[Length]);
        stats.Put(1, BitConverter.ToUInt64(info[168..]));
        stats.Put(2, BitConverter.ToUInt64(info[176..]));
        stats.Put(3, BitConverter.ToUInt64(info[184..]));
        stats.Put(4, (ulong)(sk.Transfer?.DataSegmentsOut ?? 0));
        stats.Put(5, (ulong)sk.TotalRetransmits);
        stats.Put(6, sk.PacingRate);
        stats.Put(7, BitConverter.ToUInt64(info[160..]));
        stats.Put(8, sk.Cc.Cwnd);
        stats.Put(9, BitConverter.ToUInt32(info[88..]));
        stats.Put(10, sk.MinRttUs);
        stats.Put(11, sk.Retransmits);
        stats.Put(12, (byte)(info[7] & 1));
        stats.Put(15, sk.Cc.Ssthresh);
        stats.Put(16, BitConverter.ToUInt32(info[192..]));
        stats.Put(17, BitConverter.ToUInt32(info[196..]));
        stats.Put(13, (uint)(sk.Snd.Written - sk.Snd.Una));
        stats.Put(14, (byte)sk.CaState);
        stats.Put(18, sk.Transfer?.BytesSent ?? 0);
        stats.Put(19, sk.Losses?.BytesRetransmitted ?? 0);
        stats.Put(20, sk.Losses?.DsackDuplicates ?? 0);
        stats.Put(21, BitConverter.ToUInt32(info[220..]));
        stats.Put(22, sk.Rtt.Srtt8 >> 3);
        stats.Put(23, (ushort)sk.Rehashes);
        stats.Put(24, (uint)Math.Max(0, sk.Snd.Written - sk.Snd.Nxt));
        stats.Put(25, (ulong)sent.SentTime * 1000);
        stats.Put(27, sk.Rehashes);
        return stats._bytes[..stats._at];
    }

    private void Put(int type, ulong value)
    {
        BitConverter.TryWriteBytes(Attribute(type, sizeof(ulong)), value);
    }

    private void Put(int type, uint value) => BitConverter.TryWriteBytes(Attribute(type, sizeof(uint)), value);

    private void Put(int type, ushort value) => BitConverter.TryWriteBytes(Attribute(type, sizeof(ushort)), value);

    private void Put(int type, byte value) => Attribute(type, sizeof(byte))[0] = value;

    private Span<byte> Attribute(int type, int length)
    {
        const int header = 4, alignment = 4;
        Span<byte> space = _bytes.AsSpan(_at);
        BitConverter.TryWriteBytes(space, (ushort)(header + length));
        BitConverter.TryWriteBytes(space[2..], (ushort)type);
        _at += header + (length + alignment - 1) / alignment * alignment;
        return space[header..];
    }
}
