using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Text;
using System.Threading;
using Millrace.Sched;

namespace Millrace.Devices;

/// <summary>
/// Packets on their way into a pcapng file. Packets are appended under any lock; they are written by the host's thread, or when the
/// capture is closed. A capture whose file is slower than the packets loses packets, and counts them.
/// </summary>
/// <remarks>IETF draft-ietf-opsawg-pcapng: section header, interface description, enhanced packet and interface statistics blocks.</remarks>
internal sealed class PcapngCapture : IDisposable
{
    private const uint SectionHeader = 0x0a0d0d0a, InterfaceDescription = 1, EnhancedPacket = 6;
    private const ushort LinkTypeEthernet = 1, LinkTypeRaw = 101;
    private const int MaxQueued = 65536;

    private readonly Stream _stream;
    private readonly Lock _queueLock = new(), _fileLock = new();
    private readonly List<Packet> _queue = [];
    private readonly Writer _writer;
    private bool _scheduled;
    private bool _closed;
    private int _interfaces;

    public PcapngCapture(Stream stream)
    {
        _stream = stream;
        _writer = new Writer(this);
        WriteSectionHeader();
    }

    /// <summary>Packets that were not recorded because the queue was full.</summary>
    public long Lost { get; private set; }

    /// <param name="frames">Whether its packets are Ethernet frames, and not IP packets.</param>
    public int AddInterface(string name, int mtu, bool frames = false)
    {
        lock (_fileLock)
        {
            var body = new MemoryStream();
            Put16(body, frames ? LinkTypeEthernet : LinkTypeRaw);
            Put16(body, 0);
            Put32(body, (uint)Math.Max(mtu, 65535));
            PutOption(body, 2, Encoding.UTF8.GetBytes(name));
            PutOption(body, 9, [6]);
            PutOption(body, 0, []);
            WriteBlock(InterfaceDescription, body.ToArray());
            return _interfaces++;
        }
    }

    /// <summary>Queues a packet, which the capture takes over.</summary>
    public void Append(int @interface, Host host, byte[] bytes, bool outbound)
    {
        long time = (host.Epoch - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond + host.Now.Value;
        bool schedule;
        lock (_queueLock)
        {
            if (_closed)
                return;
            if (_queue.Count == MaxQueued)
            {
                Lost++;
                return;
            }
            _queue.Add(new Packet(@interface, time, bytes, outbound));
            schedule = !_scheduled;
            _scheduled = true;
        }
        if (schedule)
            host.Kick(null, _writer);
    }

    /// <summary>Writes what is queued to the stream.</summary>
    public void Flush()
    {
        lock (_fileLock)
        {
            List<Packet> batch;
            lock (_queueLock)
            {
                _scheduled = false;
                batch = [.. _queue];
                _queue.Clear();
            }
            foreach (Packet p in batch)
                WritePacket(p);
            _stream.Flush();
        }
    }

    public void Dispose()
    {
        lock (_queueLock)
        {
            if (_closed)
                return;
            _closed = true;
        }
        Flush();
        lock (_fileLock)
            _stream.Dispose();
    }

    private void WriteSectionHeader()
    {
        var body = new MemoryStream();
        Put32(body, 0x1a2b3c4d);
        Put16(body, 1);
        Put16(body, 0);
        Put32(body, 0xffff_ffff);
        Put32(body, 0xffff_ffff);
        PutOption(body, 4, "Millrace"u8);
        PutOption(body, 0, []);
        WriteBlock(SectionHeader, body.ToArray());
    }

    private void WritePacket(Packet p)
    {
        var body = new MemoryStream(p.Bytes.Length + 48);
        Put32(body, (uint)p.Interface);
        Put32(body, (uint)(p.Time >> 32));
        Put32(body, (uint)p.Time);
        Put32(body, (uint)p.Bytes.Length);
        Put32(body, (uint)p.Bytes.Length);
        body.Write(p.Bytes);
        Pad(body);
        Span<byte> flags = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(flags, p.Outbound ? 2u : 1u);
        PutOption(body, 2, flags);
        PutOption(body, 0, []);
        WriteBlock(EnhancedPacket, body.ToArray());
    }

    private void WriteBlock(uint type, byte[] body)
    {
        uint length = (uint)body.Length + 12;
        Put32(_stream, type);
        Put32(_stream, length);
        _stream.Write(body);
        Put32(_stream, length);
    }

    private static void PutOption(Stream s, ushort code, ReadOnlySpan<byte> value)
    {
        Put16(s, code);
        Put16(s, (ushort)value.Length);
        s.Write(value);
        for (int i = value.Length; i % 4 != 0; i++)
            s.WriteByte(0);
    }

    private static void Pad(MemoryStream s)
    {
        while (s.Length % 4 != 0)
            s.WriteByte(0);
    }

    private static void Put16(Stream s, ushort v)
    {
        Span<byte> b = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(b, v);
        s.Write(b);
    }

    private static void Put32(Stream s, uint v)
    {
        Span<byte> b = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(b, v);
        s.Write(b);
    }

    private readonly record struct Packet(int Interface, long Time, byte[] Bytes, bool Outbound);

    private sealed class Writer(PcapngCapture capture) : HostWork
    {
        public override void Execute()
        {
            if (!capture._closed)
                capture.Flush();
        }
    }
}
