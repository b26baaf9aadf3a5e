using System;
using System.Collections.Generic;
using System.Linq;
using System.Net;

namespace Millrace.Conformance;

/// <summary>
/// The application's side of one socket. Writes and reads the stream's pattern, so that a lost, doubled or misplaced byte shows.
/// No call blocks.
/// </summary>
internal sealed class App(Story story, int fd)
{
    private long _written, _read;

    public int Fd => fd;

    public TcpInfo Info
    {
        get
        {
            Span<byte> bytes = stackalloc byte[TcpInfo.Length];
            bytes.Clear();
            story.Backend.GetOption(fd, Opt.Tcp, Opt.TcpInfo, bytes);
            return TcpInfo.Read(bytes);
        }
    }

    /// <summary>Writes <paramref name="count"/> bytes, all of which the socket takes.</summary>
    public void Write(int count, MessageFlags flags = MessageFlags.None) => Expect(count, TryWrite(count, flags), "write");

    /// <summary>Writes up to <paramref name="count"/> bytes.</summary>
    public SysResult TryWrite(int count, MessageFlags flags = MessageFlags.None, IPEndPoint? to = null)
    {
        var bytes = new byte[count];
        Pattern.Fill(bytes, _written);
        SysResult result = story.Backend.Send(fd, bytes, flags, to);
        _written += result.IsError ? 0 : result.Value;
        story.Ladder.App(story.Backend.Now, $"write({count}{Named(flags)}) = {result}");
        return result;
    }

    public void WriteFails(Errno error, MessageFlags flags = MessageFlags.None) => Expect(error, TryWrite(1, flags), "write");

    /// <summary>Reads exactly <paramref name="count"/> bytes.</summary>
    public void Read(int count) => Expect(count, TryRead(count), "read");

    /// <summary>Reads up to <paramref name="room"/> bytes.</summary>
    public SysResult TryRead(int room, MessageFlags flags = MessageFlags.None)
    {
        var bytes = new byte[room];
        SysResult result = story.Backend.Recv(fd, bytes, flags);
        story.Ladder.App(story.Backend.Now, $"read({room}{Named(flags)}) = {result}");
        if (result.IsError || (flags & (MessageFlags.OutOfBand | MessageFlags.Truncate)) != 0)
            return result;
        if (!Pattern.Holds(bytes.AsSpan(0, result.Value), _read))
            throw new StoryException($"The application read other bytes than the peer sent.\n{story.Ladder}");
        if ((flags & MessageFlags.Peek) == 0)
            _read += result.Value;
        return result;
    }

    /// <summary>Reads the error queue: the struct sock_extended_err of its first notice, or null.</summary>
    public byte[]? TryReadError() => TryReadNotice()?.ExtendedError;

    /// <summary>Reads the error queue: struct sock_extended_err and the address behind it, and the other control messages; null if it is empty.</summary>
    public Notice? TryReadNotice()
    {
        const int extendedError = 16;
        var bytes = new byte[2048];
        byte[] control = new byte[1024], name = new byte[128];
        SysResult result = story.Backend.RecvMsg(fd, bytes, MessageFlags.ErrorQueue, control, out int length, out _, name, out int nameLength);
        if (result.IsError)
            return null;
        List<ControlMessage> messages = ControlMessage.Read(control.AsSpan(0, length));
        ControlMessage error = messages.Find(static m => m is { Level: Opt.Ip, Type: Opt.IpRecvErr } or { Level: Opt.Ipv6, Type: Opt.Ipv6RecvErr })!;
        messages.Remove(error);
        return new Notice(error.Data[..extendedError], error.Data[extendedError..], messages, bytes[..result.Value], name[..nameLength]);
    }

    /// <summary>Reads up to <paramref name="room"/> bytes, with control data.</summary>
    public (SysResult Read, IReadOnlyList<ControlMessage> Control) ReadWithControl(int room, MessageFlags flags = MessageFlags.None)
    {
        var control = new byte[512];
        SysResult result = story.Backend.RecvMsg(fd, new byte[room], flags, control, out int length, out _);
        if ((flags & MessageFlags.Peek) == 0)
            _read += Math.Max(result.Value, 0);
        return (result, ControlMessage.Read(control.AsSpan(0, length)));
    }

    /// <summary>Writes <paramref name="count"/> bytes with control data.</summary>
    public SysResult WriteWithControl(int count, params ControlMessage[] control)
    {
        var bytes = new byte[count];
        Pattern.Fill(bytes, _written);
        SysResult result = story.Backend.SendMsg(fd, bytes, MessageFlags.None, control.SelectMany(static m => m.Encode()).ToArray());
        _written += Math.Max(result.Value, 0);
        story.Ladder.App(story.Backend.Now, $"sendmsg({count}) = {result}");
        story.Backend.Settle();
        return result;
    }

    /// <summary>Reads with control data: the bytes that were read, and TCP_CM_INQ's count of those that are left; −1 without it.</summary>
    public (int Read, int Left) ReadWithInq(int room)
    {
        const int header = 16;
        var bytes = new byte[room];
        var control = new byte[64];
        SysResult result = story.Backend.RecvMsg(fd, bytes, MessageFlags.None, control, out int length, out _);
        _read += Math.Max(result.Value, 0);
        bool isInq = length >= header + sizeof(int) && BitConverter.ToInt32(control, 8) == Opt.Tcp && BitConverter.ToInt32(control, 12) == Opt.Inq;
        return (result.Value, isInq ? BitConverter.ToInt32(control, header) : -1);
    }

    /// <summary>Leaves out bytes of the peer's stream that are read by other means: an urgent byte.</summary>
    public void Skip(int count) => _read += count;

    /// <summary>Leaves out bytes of the own stream that are written by other means.</summary>
    public void SkipWritten(int count) => _written += count;

    /// <summary>Everything that is there; the count of bytes.</summary>
    public int ReadAll()
    {
        int total = 0;
        while (TryRead(1 << 16) is { IsError: false, Value: > 0 } got)
            total += got.Value;
        return total;
    }

    public void ReadsEof() => Expect(0, TryRead(1), "read");

    public void ReadFails(Errno error) => Expect(error, TryRead(1), "read");

    public void Close() => Expect(0, Log("close()", story.Backend.Close(fd)), "close");

    public void Disconnect() => Expect(0, Log("disconnect()", story.Backend.Disconnect(fd)), "disconnect");

    public void Shutdown(Shut how) => Expect(0, TryShutdown(how), "shutdown");

    public SysResult TryShutdown(Shut how) => Log($"shutdown({how})", story.Backend.Shutdown(fd, (int)how));

    public void Set(int level, int option, int value) =>
        Expect(0, Log($"setsockopt({level}, {option}, {value})", TrySet(level, option, BitConverter.GetBytes(value))), "setsockopt");

    public SysResult TrySet(int level, int option, ReadOnlySpan<byte> value)
    {
        SysResult result = story.Backend.SetOption(fd, level, option, value);
        story.Backend.Settle();
        return result;
    }

    /// <summary>TCP_CONGESTION.</summary>
    public void UseCongestion(string name)
    {
        if (TrySet(Opt.Tcp, Opt.Congestion, System.Text.Encoding.ASCII.GetBytes(name)).IsError)
            throw story.Backend.Missing($"congestion control {name}");
    }

    public int Get(int level, int option)
    {
        Span<byte> value = stackalloc byte[sizeof(int)];
        value.Clear();
        SysResult result = story.Backend.GetOption(fd, level, option, value);
        return result.IsError ? throw new StoryException($"getsockopt({level}, {option}) = {result}") : BitConverter.ToInt32(value);
    }

    /// <summary>SO_LINGER.</summary>
    public void Linger(int seconds) =>
        Expect(0, TrySet(Opt.Socket, Opt.Linger, [.. BitConverter.GetBytes(1), .. BitConverter.GetBytes(seconds)]), "setsockopt");

    /// <summary>Takes the pending error. SO_ERROR.</summary>
    public Errno TakeError() => (Errno)Get(Opt.Socket, Opt.Error);

    /// <summary>An ioctl whose answer is a number: SIOCINQ and its kin.</summary>
    public int Ioctl(uint request)
    {
        int value = 0;
        Expect(0, story.Backend.Ioctl(fd, request, ref value), "ioctl");
        return value;
    }

    /// <summary>What poll(2) says of <paramref name="events"/> now.</summary>
    public int Poll(int events) => story.Backend.Poll(fd, events);

    public bool IsReadable => (Poll(Opt.PollIn) & Opt.PollIn) != 0;

    public bool IsWritable => (Poll(Opt.PollOut) & Opt.PollOut) != 0;

    private SysResult Log(string call, SysResult result)
    {
        story.Backend.Settle();
        story.Ladder.App(story.Backend.Now, $"{call} = {result}");
        return result;
    }

    private void Expect(SysResult wanted, SysResult seen, string call)
    {
        if (wanted != seen)
            throw new StoryException($"\nexpected: {call} = {wanted}\nseen:     {call} = {seen}\nthe exchange so far:\n{story.Ladder}");
    }

    private static string Named(MessageFlags flags) => flags == MessageFlags.None ? "" : $", {flags}";
}

/// <summary>One message of control data. Linux: cmsghdr.</summary>
internal sealed record ControlMessage(int Level, int Type, byte[] Data)
{
    public const int HeaderLength = 16;

    public byte[] Encode()
    {
        var bytes = new byte[HeaderLength + (Data.Length + 7) / 8 * 8];
        BitConverter.TryWriteBytes(bytes, (long)HeaderLength + Data.Length);
        BitConverter.TryWriteBytes(bytes.AsSpan(8), Level);
        BitConverter.TryWriteBytes(bytes.AsSpan(12), Type);
        Data.CopyTo(bytes, HeaderLength);
        return bytes;
    }

    public static List<ControlMessage> Read(ReadOnlySpan<byte> control)
    {
        const int alignment = 8;
        var messages = new List<ControlMessage>();
        while (control.Length >= HeaderLength)
        {
            int size = (int)BitConverter.ToInt64(control);
            messages.Add(new ControlMessage(BitConverter.ToInt32(control[8..]), BitConverter.ToInt32(control[12..]), control[HeaderLength..size].ToArray()));
            control = control[Math.Min((size + alignment - 1) / alignment * alignment, control.Length)..];
        }
        return messages;
    }
}

/// <summary>What the error queue told.</summary>
internal sealed record Notice(byte[] ExtendedError, byte[] Offender, IReadOnlyList<ControlMessage> Others, byte[] Payload, byte[] Name);

/// <summary>Linux's SHUT_*.</summary>
internal enum Shut
{
    Rd,
    Wr,
    RdWr,
}

/// <summary>Linux's numbers that stories name.</summary>
internal static class Opt
{
    public const int Socket = 1, Ip = 0, Ipv6 = 41, Tcp = 6;

    public const int Error = 4, SndBuf = 7, RcvBuf = 8, KeepAlive = 9, OobInline = 10, Priority = 12, Linger = 13, ReusePort = 15, ReuseAddr = 2,
        RcvLowat = 18, Timestamping = 37, MaxPacingRate = 47, Mark = 36, ZeroCopy = 60, MemInfo = 55;

    public const int NoDelay = 1, MaxSeg = 2, Cork = 3, KeepIdle = 4, KeepIntvl = 5, KeepCnt = 6, SynCnt = 7, Linger2 = 8, DeferAccept = 9,
        WindowClamp = 10, TcpInfo = 11, QuickAck = 12, Congestion = 13, UserTimeout = 18, FastOpen = 23, NotsentLowat = 25,
        FastOpenConnect = 30, Md5Sig = 14, Md5SigExt = 32, Inq = 36, SaveSyn = 27, SavedSyn = 28, Timestamp = 24;

    public const int IpTos = 1, IpTtl = 2, IpMtuDiscover = 10, IpRecvErr = 11, Ipv6RecvErr = 25, IpMinTtl = 21, Ipv6UnicastHops = 16, Ipv6MinHopCount = 73,
        Ipv6TrafficClass = 67, Ipv6Only = 26;

    public const uint SiocInq = 0x541B, SiocOutq = 0x5411, SiocOutqNsd = 0x894B, SiocAtMark = 0x8905;

    public const int PollIn = 1, PollPri = 2, PollOut = 4, PollErr = 8, PollHup = 16, PollRdHup = 0x2000;
}
