using System;
using System.Buffers.Binary;
using System.Net;
using Millrace.Wire;

namespace Millrace.Tests.Robustness;

/// <summary>Makes packets: sound ones, answers to what a stack has sent, and broken ones. All from one seed.</summary>
internal sealed class PacketForge(ulong seed)
{
    public const byte Fin = 1, Syn = 2, Rst = 4, Ack = 16, Urg = 32;

    private readonly byte[] _buffer = new byte[4096];
    private readonly byte[] _earlier = new byte[4096];
    private int _earlierLength;
    private uint _clock;

    public Prng Random { get; } = new(seed);

    /// <summary>No IP options, and a window that is open: what is made is taken.</summary>
    public bool IsPlain { get; init; }

    /// <summary>The next packet for a stack that has sent these; valid until the next call.</summary>
    public ReadOnlySpan<byte> Next(SentPackets sent)
    {
        int kind = Random.Below(100);
        ReadOnlySpan<byte> packet = kind switch
        {
            < 55 => Answer(sent),
            < 67 => OpenConnection(),
            < 72 => Icmp(sent),
            < 77 => Fragment(),
            < 80 => Noise(),
            < 85 => Stray(),
            _ => Again(),
        };
        if (packet.Length > 0 && kind < 80 && Random.Below(4) == 0)
            Keep(packet);
        return Random.Below(5) == 0 ? Spoil(packet) : packet;
    }

    private bool Half => Random.Below(2) == 0;

    // A SYN from one of some hosts and ports, so that tuples meet again.
    private ReadOnlySpan<byte> OpenConnection() => Segment(Half, Peer(), (ushort)(1000 + Random.Below(2000)), 80, Random.NextUInt32(), 0,
        Syn, SynOptions(), Random.Below(10) == 0 ? Random.Below(100) : 0);

    private ReadOnlySpan<byte> Stray() => Segment(Half, Peer(), (ushort)Random.Below(65536), (ushort)Random.Below(65536), Random.NextUInt32(),
        Random.NextUInt32(), (byte)Random.Below(256), SynOptions(), Random.Below(200));

    // What a peer would answer to one of the last packets; or nearly so.
    private ReadOnlySpan<byte> Answer(SentPackets all)
    {
        ReadOnlySpan<byte> sent = all[Random.Below(Random.Below(4) == 0 ? SentPackets.Remembered : 6)];
        if (!TryFindTcp(sent, out bool v6, out ReadOnlySpan<byte> tcp))
            return OpenConnection();
        uint seq = BinaryPrimitives.ReadUInt32BigEndian(tcp[4..]), ack = BinaryPrimitives.ReadUInt32BigEndian(tcp[8..]);
        byte flags = tcp[13];
        int header = (tcp[12] >> 4) * 4;
        uint end = seq + (uint)(tcp.Length - header) + ((flags & (Syn | Fin)) != 0 ? 1u : 0u);
        byte answer = (flags & (Syn | Ack)) == Syn ? (byte)(Syn | Ack) : Ack;
        uint from = (flags & Ack) != 0 ? ack : Random.NextUInt32();
        int payload = Half ? Random.Below(Random.Below(3) == 0 ? 1400 : 20) : 0;
        switch (Random.Below(24))
        {
            case 0: answer |= Fin; break;
            case 1: answer |= Rst; break;
            case 2: answer |= Syn; break;
            case 3: answer |= Urg; break;
            case 4: answer = (byte)Random.Below(256); break;
            case 5: from -= (uint)Random.Below(3000); break;
            case 6 or 7 or 8: from += (uint)Random.Below(20_000); break;
            case 9: end -= (uint)Random.Below(5000); break;
            case 10: end += (uint)Random.Below(5000); break;
            case 11: from = Random.NextUInt32(); break;
        }
        TcpOptions theirs = TcpOptions.Parse(tcp[20..header]);
        Span<byte> options = stackalloc byte[40];
        int length = 0;
        if ((flags & Syn) != 0 && (flags & Ack) == 0)
            SynOptions().CopyTo(options[..(length = SynOptionsLength)]);
        else if (theirs.HasTimestamp)
            length = Timestamp(options, theirs.TsVal);
        if (Random.Below(6) == 0)
            length += Sack(options[length..], end);
        ReadOnlySpan<byte> to = v6 ? sent.Slice(24, 16) : sent.Slice(16, 4);
        return Segment(v6, to[^1], BinaryPrimitives.ReadUInt16BigEndian(tcp[2..]), BinaryPrimitives.ReadUInt16BigEndian(tcp), from, end, answer,
            options[..length], payload);
    }

    // An ICMP error that quotes what the stack has sent, or lies about it; or an echo request.
    private ReadOnlySpan<byte> Icmp(SentPackets all)
    {
        ReadOnlySpan<byte> sent = all[Random.Below(8)];
        bool v6 = sent.IsEmpty ? Half : sent[0] >> 4 == 6;
        int at = IpHeader(v6, Peer(), v6 ? IpProtocolNumbers.Icmp6 : IpProtocolNumbers.Icmp);
        Span<byte> icmp = _buffer.AsSpan(at);
        icmp[0] = (byte)(v6 ? (Half ? 1 + Random.Below(4) : 128) : new byte[] { 3, 3, 3, 11, 12, 4, 5, 8, 0 }[Random.Below(9)]);
        icmp[1] = (byte)Random.Below(16);
        BinaryPrimitives.WriteUInt32BigEndian(icmp[4..], (uint)Random.Below(2000));
        int quoted = Math.Min(sent.Length, Random.Below(120));
        sent[..quoted].CopyTo(icmp[8..]);
        for (int i = Random.Below(3); i > 0 && quoted > 0; i--)
            icmp[8 + Random.Below(quoted)] ^= (byte)(1 << Random.Below(8));
        return Finish(v6, at, 8 + quoted, 2);
    }

    // A piece of a datagram of a few identities, so that pieces meet, overlap and contradict each other.
    private ReadOnlySpan<byte> Fragment()
    {
        int length = 8 * (1 + Random.Below(60));
        if (Random.Below(6) == 0)
            length -= Random.Below(7);
        return Piece((ushort)Random.Below(40), Random.Below(20) == 0 ? Random.Below(8192) : Random.Below(40), Random.Below(4) != 0, length);
    }

    /// <summary>A fragment of an IPv4 datagram; the offset counts in units of eight bytes.</summary>
    public ReadOnlySpan<byte> Piece(ushort id, int offset, bool more, int length)
    {
        int at = IpHeader(v6: false, Peer(), IpProtocolNumbers.Tcp);
        Random.Fill(_buffer.AsSpan(at, length));
        BinaryPrimitives.WriteUInt16BigEndian(_buffer.AsSpan(4), id);
        BinaryPrimitives.WriteUInt16BigEndian(_buffer.AsSpan(6), (ushort)(offset | (more ? 0x2000 : 0)));
        return Finish(v6: false, at, length, checksumAt: -1);
    }

    private ReadOnlySpan<byte> Noise()
    {
        int length = Random.Below(200);
        Random.Fill(_buffer.AsSpan(0, length));
        if (length > 0 && Half)
            _buffer[0] = (byte)(Half ? 0x45 : 0x60);
        return _buffer.AsSpan(0, length);
    }

    private ReadOnlySpan<byte> Again()
    {
        _earlier.AsSpan(0, _earlierLength).CopyTo(_buffer);
        return _buffer.AsSpan(0, _earlierLength);
    }

    private void Keep(ReadOnlySpan<byte> packet)
    {
        packet.CopyTo(_earlier);
        _earlierLength = packet.Length;
    }

    // Bits flipped, cut short, or grown; the checksum put right again half of the time, so that the damage gets in.
    private ReadOnlySpan<byte> Spoil(ReadOnlySpan<byte> packet)
    {
        int length = packet.Length;
        if (length < 40)
            return packet;
        for (int i = Random.Below(4); i > 0; i--)
            _buffer[Random.Below(Half ? length : 60 % length)] ^= (byte)(1 << Random.Below(8));
        if (Random.Below(4) == 0)
            length = Random.Below(length);
        bool v6 = _buffer[0] >> 4 == 6;
        if (length >= 60 && Half)
        {
            int at = v6 ? 40 : Math.Min((_buffer[0] & 0xf) * 4, length - 20);
            if (!v6)
                BinaryPrimitives.WriteUInt16BigEndian(_buffer.AsSpan(2), (ushort)length);
            return at < 20 ? _buffer.AsSpan(0, length) : Finish(v6, at, length - at, 16);
        }
        return _buffer.AsSpan(0, length);
    }

    private byte Peer() => (byte)(2 + Random.Below(30));

    /// <summary>A sound segment from a peer, by the last byte of its address.</summary>
    public ReadOnlySpan<byte> Segment(bool v6, byte peer, ushort from, ushort to, uint seq, uint ack, byte flags, scoped ReadOnlySpan<byte> options,
        int payload)
    {
        // The options may stand in the buffer already.
        Span<byte> copy = stackalloc byte[40];
        options.CopyTo(copy);
        int at = IpHeader(v6, peer, IpProtocolNumbers.Tcp);
        Span<byte> tcp = _buffer.AsSpan(at);
        int header = 20 + ((options.Length + 3) & ~3);
        tcp[..header].Clear();
        BinaryPrimitives.WriteUInt16BigEndian(tcp, from);
        BinaryPrimitives.WriteUInt16BigEndian(tcp[2..], to);
        BinaryPrimitives.WriteUInt32BigEndian(tcp[4..], seq);
        BinaryPrimitives.WriteUInt32BigEndian(tcp[8..], ack);
        tcp[12] = (byte)(header / 4 << 4);
        tcp[13] = flags;
        BinaryPrimitives.WriteUInt16BigEndian(tcp[14..], (ushort)(!IsPlain && Random.Below(8) == 0 ? Random.Below(65536) : 30_000));
        BinaryPrimitives.WriteUInt16BigEndian(tcp[18..], (ushort)Random.Below(100));
        copy[..options.Length].CopyTo(tcp[20..]);
        tcp.Slice(header, payload).Fill((byte)seq);
        return Finish(v6, at, header + payload, 16);
    }

    /// <summary>A sound echo request with so many bytes of data.</summary>
    public ReadOnlySpan<byte> Echo(bool v6, int payload)
    {
        int at = IpHeader(v6, Peer(), v6 ? IpProtocolNumbers.Icmp6 : IpProtocolNumbers.Icmp);
        Span<byte> icmp = _buffer.AsSpan(at, 8 + payload);
        icmp[0] = (byte)(v6 ? 128 : 8);
        icmp[1] = 0;
        Random.Fill(icmp[4..]);
        return Finish(v6, at, icmp.Length, 2);
    }

    private int IpHeader(bool v6, byte peer, byte protocol)
    {
        Span<byte> ip = _buffer;
        if (v6)
        {
            ip[..40].Clear();
            ip[0] = 0x60;
            ip[6] = protocol;
            ip[7] = 64;
            HostileLink.Local6.TryWriteBytes(ip[8..], out _);
            ip[23] = peer;
            HostileLink.Local6.TryWriteBytes(ip[24..], out _);
            return 40;
        }
        int options = !IsPlain && Random.Below(12) == 0 ? 4 * (1 + Random.Below(10)) : 0;
        ip[..20].Clear();
        ip[0] = (byte)(0x45 + (options / 4));
        ip[1] = (byte)Random.Below(4);
        BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)Random.Below(65536));
        ip[8] = 64;
        ip[9] = protocol;
        new byte[] { 10, 0, 0, peer }.CopyTo(ip[12..]);
        HostileLink.Local4.TryWriteBytes(ip[16..], out _);
        Span<byte> optionBytes = ip.Slice(20, options);
        if (Half)
            optionBytes.Fill(1);
        else
            Random.Fill(optionBytes);
        return 20 + options;
    }

    // Lengths and checksums.
    private ReadOnlySpan<byte> Finish(bool v6, int at, int length, int checksumAt)
    {
        Span<byte> ip = _buffer;
        if (v6)
        {
            BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)length);
        }
        else
        {
            BinaryPrimitives.WriteUInt16BigEndian(ip[2..], (ushort)(at + length));
            ip[10] = ip[11] = 0;
            BitConverter.TryWriteBytes(ip[10..], Checksum.Finish(Checksum.Partial(ip[..at])));
        }
        if (checksumAt >= 0 && checksumAt + 2 <= length)
        {
            Span<byte> body = ip.Slice(at, length);
            body[checksumAt] = body[checksumAt + 1] = 0;
            byte protocol = v6 ? ip[6] : ip[9];
            IpAddr source = IpAddr.From(new IPAddress(v6 ? ip.Slice(8, 16) : ip.Slice(12, 4)));
            IpAddr destination = IpAddr.From(new IPAddress(v6 ? ip.Slice(24, 16) : ip.Slice(16, 4)));
            uint pseudo = protocol == IpProtocolNumbers.Icmp ? 0 : Checksum.PseudoHeader(source, destination, protocol, length);
            BitConverter.TryWriteBytes(body[checksumAt..], Checksum.Finish(Checksum.Partial(body, pseudo)));
        }
        return ip[..(at + length)];
    }

    private const int SynOptionsLength = 20;
    private readonly byte[] _synOptions = new byte[SynOptionsLength];

    private ReadOnlySpan<byte> SynOptions()
    {
        Span<byte> o = _synOptions;
        o.Fill(1);
        if (Random.Below(8) != 0)
        {
            new byte[] { 2, 4, 0, 0 }.CopyTo(o);
            BinaryPrimitives.WriteUInt16BigEndian(o[2..], (ushort)(Half ? 1460 : Random.Below(65536)));
        }
        if (Half)
            Timestamp(o[4..], 0);
        if (Half)
            new byte[] { 3, 3, (byte)Random.Below(16), Half ? (byte)1 : (byte)0 }.CopyTo(o[16..]);
        else
            new byte[] { 1, 1, 4, 2 }.CopyTo(o[16..]);
        return o;
    }

    private int Timestamp(Span<byte> o, uint echo)
    {
        new byte[] { 1, 1, 8, 10 }.CopyTo(o);
        _clock += (uint)Random.Below(3);
        BinaryPrimitives.WriteUInt32BigEndian(o[4..], Random.Below(20) == 0 ? Random.NextUInt32() : _clock);
        BinaryPrimitives.WriteUInt32BigEndian(o[8..], Random.Below(20) == 0 ? Random.NextUInt32() : echo);
        return 12;
    }

    // One or two ranges near what is acknowledged, or anywhere.
    private int Sack(Span<byte> o, uint ack)
    {
        int blocks = o.Length >= 20 ? 1 + Random.Below(2) : 1;
        new byte[] { 1, 1, 5, (byte)(2 + (8 * blocks)) }.CopyTo(o);
        for (int i = 0; i < blocks; i++)
        {
            uint start = Random.Below(5) == 0 ? Random.NextUInt32() : ack + (uint)Random.Below(10_000);
            BinaryPrimitives.WriteUInt32BigEndian(o[(4 + (8 * i))..], start);
            BinaryPrimitives.WriteUInt32BigEndian(o[(8 + (8 * i))..], start + (uint)Random.Below(3000));
        }
        return 4 + (8 * blocks);
    }

    private static bool TryFindTcp(ReadOnlySpan<byte> packet, out bool v6, out ReadOnlySpan<byte> tcp)
    {
        tcp = default;
        v6 = packet.Length > 0 && packet[0] >> 4 == 6;
        if (packet.Length < 40 || (v6 ? packet[6] : packet[9]) != IpProtocolNumbers.Tcp)
            return false;
        tcp = packet[(v6 ? 40 : (packet[0] & 0xf) * 4)..];
        return tcp.Length >= 20;
    }

    private static class IpProtocolNumbers
    {
        public const byte Icmp = 1, Tcp = 6, Icmp6 = 58;
    }
}
