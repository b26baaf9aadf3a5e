using System;
using System.Collections.Generic;
using System.Globalization;
using System.Net;

namespace Millrace.Cli.Trace;

/// <summary>
/// Counts sequence numbers from the connection's first, as tcpdump does: the SYN is 0 and the first byte 1. Learns the first numbers
/// from the SYNs that it is shown.
/// </summary>
internal sealed class RelativeNumbers
{
    private const string SackWord = "sack ";

    private static readonly string[] Own = ["seq", "snd_nxt"], Peers = ["ack", "rcv_nxt"];

    private readonly Dictionary<IPEndPoint, uint> _first = [];

    /// <summary>To be called with every step, in order.</summary>
    public void Learn(TraceEvent step)
    {
        if (step is { Name: "net_dev_xmit", Packet: { } packet } && packet.Flags.Contains('S', StringComparison.Ordinal))
            _first[packet.Source] = packet.SequenceNumber;
        else if (step is { Name: "__tcp_transmit_skb", Local: { } local } && step.Text.StartsWith("[S", StringComparison.Ordinal))
            _first[local] = (uint)step.Fields[0].Value;
    }

    /// <summary>A packet in few words.</summary>
    public string Describe(TracePacket packet)
    {
        string seq = Relative(packet.Source, packet.SequenceNumber);
        string range = packet.PayloadLength > 0
            ? $"{seq}:{Relative(packet.Source, unchecked(packet.SequenceNumber + (uint)packet.PayloadLength))}"
            : seq;
        string ack = packet.Flags.Contains('.', StringComparison.Ordinal) ? $" ack {Relative(packet.Destination, packet.AcknowledgmentNumber)}" : "";
        return $"[{packet.Flags}] seq {range}{ack} win {packet.Window}{Options(packet)}";
    }

    /// <summary>What a step did, with its numbers counted from the first.</summary>
    public string Describe(TraceEvent step)
    {
        if (step.Packet is { Protocol: 6 } packet && step.Name is "net_dev_xmit" or "netif_receive_skb")
            return Describe(packet);
        string text = step.Text;
        if (step.Local is not { } local || step.Remote is not { } remote)
            return text;
        foreach (TraceField field in step.Fields)
        {
            // A segment that came in is numbered by the peer.
            bool incoming = step.Name.StartsWith("tcp_rcv", StringComparison.Ordinal) || step.Name is "tcp_data_queue" or "tcp_validate_incoming" or "tcp_ack";
            IPEndPoint? numberedBy = Array.IndexOf(Own, field.Name) >= 0 ? (incoming ? remote : local)
                : Array.IndexOf(Peers, field.Name) >= 0 ? (incoming ? local : remote) : null;
            if (numberedBy is not null)
                text = text.Replace(field.Value.ToString(CultureInfo.InvariantCulture), Relative(numberedBy, (uint)field.Value), StringComparison.Ordinal);
        }
        return text;
    }

    private string Relative(IPEndPoint end, uint number) =>
        (_first.TryGetValue(end, out uint first) ? unchecked(number - first) : number).ToString(CultureInfo.InvariantCulture);

    // A SACK block speaks of the other side's numbers.
    private string Block(IPEndPoint numberedBy, string block)
    {
        string[] edges = block.Split(':');
        return $"{Relative(numberedBy, uint.Parse(edges[0], CultureInfo.InvariantCulture))}:{Relative(numberedBy, uint.Parse(edges[1], CultureInfo.InvariantCulture))}";
    }

    private string Options(TracePacket packet)
    {
        var words = new List<string>();
        foreach (string option in packet.Options.Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            if (option.StartsWith("TS", StringComparison.Ordinal))
                continue;
            words.Add(option.StartsWith(SackWord, StringComparison.Ordinal)
                ? SackWord + Block(packet.Destination, option[SackWord.Length..])
                : option.Replace("wscale", "ws", StringComparison.Ordinal));
        }
        return words.Count == 0 ? "" : $" <{string.Join(' ', words)}>";
    }
}
