using System;
using System.Collections.Generic;
using System.Net;
using Millrace.Wire;

namespace Millrace.Tests.Scripted;

/// <summary>
/// An Ethernet between a scripted host and the test, which plays all its other stations: what the host sends is read frame by frame, in
/// tcpdump's words.
/// </summary>
internal sealed class EthernetLink(ScriptedHost host, Action<byte[]> inject, Func<byte[]?> take)
{
    public static MacAddr StackMac { get; } = new(0x02_00_00_00_00_01);

    public static MacAddr PeerMac { get; } = new(0x02_00_00_00_00_02);

    public static MacAddr OtherMac { get; } = new(0x02_00_00_00_00_03);

    public static IPAddress StackAddress { get; } = IPAddress.Parse("10.10.0.1");

    public static IPAddress PeerAddress { get; } = IPAddress.Parse("10.10.0.2");

    public static IPAddress StackAddress6 { get; } = IPAddress.Parse("fd10::1");

    public static IPAddress PeerAddress6 { get; } = IPAddress.Parse("fd10::2");

    public ScriptedHost Host => host;

    public void Send(byte[] frame) => inject(frame);

    /// <summary>A frame with an IP packet from the peer.</summary>
    public void Send(Segment segment, MacAddr? to = null) => Send(Frame(to ?? StackMac, PeerMac, 0x0800, segment.ToBytes()));

    /// <summary>The peer says that it has its address.</summary>
    public void Answer(MacAddr? mac = null) => Send(Arp(ArpOperation.Reply, mac ?? PeerMac, PeerAddress, StackMac, StackAddress));

    public void Answer6(uint flags = NeighbourMessage.Solicited | NeighbourMessage.Override, MacAddr? mac = null) =>
        Send(Discovery(Icmp6Type.NeighborAdvertisement, flags, PeerAddress6, PeerAddress6, StackAddress6, StackMac, mac ?? PeerMac));

    /// <summary>The next frame's bytes; the test fails if there is none.</summary>
    public byte[] TakeFrame() => take() ?? throw new Xunit.Sdk.XunitException($"nothing was sent by {host.Now} us");

    /// <summary>The next frame that the host has sent, or "nothing".</summary>
    public string Take() => take() is { } frame ? Describe(frame) : "nothing";

    /// <summary>All frames that the host has sent and nobody has taken.</summary>
    public string[] TakeAll()
    {
        var all = new List<string>();
        while (take() is { } frame)
            all.Add(Describe(frame));
        return [.. all];
    }

    /// <summary>How the stack sees the neighbour at this address; None if it knows none.</summary>
    public NeighbourState StateOf(IPAddress address)
    {
        foreach (NeighbourEntry entry in host.Stack.ListNeighbours())
        {
            if (entry.Address.Equals(address))
                return entry.State;
        }
        return NeighbourState.None;
    }

    public MacAddr MacOf(IPAddress address)
    {
        foreach (NeighbourEntry entry in host.Stack.ListNeighbours())
        {
            if (entry.Address.Equals(address))
                return MacAddr.From(entry.HardwareAddress);
        }
        return default;
    }

    public static unsafe byte[] Frame(MacAddr to, MacAddr from, ushort type, ReadOnlySpan<byte> payload)
    {
        byte[] frame = new byte[EthernetHeader.Length + payload.Length];
        payload.CopyTo(frame.AsSpan(EthernetHeader.Length));
        fixed (byte* p = frame)
            EthernetHeader.Write(p, to, from, (EtherType)type);
        return frame;
    }

    /// <param name="to">The frame's; null: the target's, or everybody if that is not known.</param>
    public static unsafe byte[] Arp(ArpOperation operation, MacAddr senderMac, IPAddress sender, MacAddr targetMac, IPAddress target, MacAddr? to = null)
    {
        byte[] arp = new byte[ArpHeader.Length];
        fixed (byte* p = arp)
            ArpHeader.Write(p, operation, senderMac, IpAddr.From(sender), targetMac, IpAddr.From(target));
        return Frame(to ?? (targetMac.IsNone ? MacAddr.Broadcast : targetMac), senderMac, 0x0806, arp);
    }

    /// <summary>The peer asks who has an address.</summary>
    public static byte[] WhoHas(IPAddress target, IPAddress? tell = null) =>
        Arp(ArpOperation.Request, PeerMac, tell ?? PeerAddress, default, target);

    /// <summary>A neighbour solicitation or advertisement from the peer.</summary>
    /// <param name="option">The link-layer address option; none: there is no option.</param>
    public static unsafe byte[] Discovery(Icmp6Type type, uint flags, IPAddress target, IPAddress source, IPAddress destination, MacAddr to,
        MacAddr option = default, byte hopLimit = 255)
    {
        int length = option.IsNone ? NeighbourMessage.MinLength : NeighbourMessage.Length;
        byte[] packet = new byte[Ipv6Header.Length + NeighbourMessage.Length];
        fixed (byte* p = packet)
        {
            Ipv6Header.Write(p, length, 0, 0, IpProtocol.IcmpV6, hopLimit, IpAddr.From(source), IpAddr.From(destination));
            byte* icmp = p + Ipv6Header.Length;
            NeighbourMessage.Write(icmp, type, flags, IpAddr.From(target), option);
            uint pseudo = Checksum.PseudoHeader(IpAddr.From(source), IpAddr.From(destination), IpProtocol.IcmpV6, length);
            Be.PutRaw16(icmp + IcmpHeader.ChecksumOffset, Checksum.Finish(Checksum.Partial(icmp, length, pseudo)));
        }
        return Frame(to, PeerMac, 0x86dd, packet.AsSpan(0, Ipv6Header.Length + length));
    }

    private static string Describe(byte[] frame) =>
        $"{NameOf(MacAt(frame, 0))}: {((frame[12] << 8) | frame[13]) switch
        {
            0x0806 => DescribeArp(frame),
            0x0800 => $"ip {new IPAddress(frame.AsSpan(26, 4))} > {new IPAddress(frame.AsSpan(30, 4))} proto {frame[23]}",
            0x86dd => DescribeIpv6(frame),
            var type => $"type {type:x4}",
        }}";

    private static unsafe string DescribeArp(byte[] frame)
    {
        fixed (byte* p = frame)
        {
            Assert.True(ArpHeader.TryParse(p + EthernetHeader.Length, frame.Length - EthernetHeader.Length, out ArpHeader arp));
            Assert.Equal(StackMac, arp.SenderHardware);
            return arp.Operation == ArpOperation.Request
                ? $"arp who-has {arp.Target} tell {arp.Sender}"
                : $"arp reply {arp.Sender} is-at {NameOf(arp.SenderHardware)}";
        }
    }

    private static unsafe string DescribeIpv6(byte[] frame)
    {
        string way = $"ip6 {new IPAddress(frame.AsSpan(22, 16))} > {new IPAddress(frame.AsSpan(38, 16))}";
        fixed (byte* p = frame)
        {
            byte* icmp = p + EthernetHeader.Length + Ipv6Header.Length;
            int length = frame.Length - EthernetHeader.Length - Ipv6Header.Length;
            if (frame[20] != IpProtocol.IcmpV6 || icmp[0] is not (135 or 136) || !NeighbourMessage.TryParse(icmp, length, out NeighbourMessage message))
                return $"{way} proto {frame[20]}";
            Assert.Equal(255, frame[21]);
            string what = message.IsSolicitation ? "who has" : $"tgt is{(message.Flags & NeighbourMessage.Solicited) switch { 0 => "", _ => " solicited" }}";
            return $"{way} {what} {message.Target} lladdr {NameOf(message.Hardware)}";
        }
    }

    private static unsafe MacAddr MacAt(byte[] frame, int offset)
    {
        fixed (byte* p = frame)
            return MacAddr.Read(p + offset);
    }

    private static string NameOf(MacAddr mac) =>
        mac == StackMac ? "stack" : mac == PeerMac ? "peer" : mac == OtherMac ? "other" : mac == MacAddr.Broadcast ? "all" : mac.ToString();
}
