using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;
using System.Text.RegularExpressions;

namespace Millrace.Conformance;

/// <summary>
/// One TCP segment as a story writes it, in packetdrill's notation:
/// <code>[ip] flags seq:end ack N win N urg N &lt;options&gt;</code>
/// Every part may be left out. In what the peer sends, what is left out is filled in; in what the stack is expected to send, it is
/// not compared, except that flags which are not named must not be there (PSH apart).
/// </summary>
/// <remarks>
/// Flags: <c>S F R P . U E W A</c>, the dot being ACK. <c>[ip]</c>: <c>ect0</c>, <c>ect1</c>, <c>ce</c>, <c>ttl N</c>, <c>tos N</c>.
/// Sequence numbers count from each side's SYN, which is 0; timestamps of the stack are told from its first, which is 100.
/// </remarks>
internal sealed partial class Segment
{
    public const string AllFlags = "FSRP.UEWA";

    /// <summary>The flags in the order of <see cref="AllFlags"/>; null if the text does not name them.</summary>
    public string? Flags { get; set; }

    /// <summary>Relative sequence number; null if not said.</summary>
    public long? Seq { get; set; }

    /// <summary>Bytes of payload.</summary>
    public int Length { get; set; }

    public long? Ack { get; set; }

    /// <summary>The window field as it is on the wire, not scaled.</summary>
    public int? Window { get; set; }

    public int? Urgent { get; set; }

    /// <summary>The options, each as text; null if not said.</summary>
    public IReadOnlyList<string>? Options { get; set; }

    /// <summary>The ECN codepoint: 0 none, 1 ECT(1), 2 ECT(0), 3 CE.</summary>
    public int Ecn { get; set; }

    public int? Ttl { get; set; }

    /// <summary>The six bits above the ECN field, as the byte with those two bits clear.</summary>
    public int? Tos { get; set; }

    public bool Has(char flag) => Flags?.Contains(flag) == true;

    /// <summary>Sequence numbers that the segment takes.</summary>
    public int Space => Length + (Has('S') ? 1 : 0) + (Has('F') ? 1 : 0);

    /// <exception cref="FormatException">The text is no segment.</exception>
    public static Segment Parse(string text)
    {
        Match m = Notation().Match(text);
        if (!m.Success)
            throw new FormatException($"\"{text}\" is no segment.");
        var segment = new Segment { Flags = m.Groups["flags"].Success ? Order(m.Groups["flags"].Value) : null };
        if (m.Groups["seq"].Success)
        {
            segment.Seq = Number(m, "seq");
            segment.Length = (int)((Number(m, "end") ?? 0) - (segment.Seq ?? 0));
        }
        segment.Ack = Number(m, "ack");
        segment.Window = (int?)Number(m, "win");
        segment.Urgent = (int?)Number(m, "urg");
        if (m.Groups["options"].Success)
            segment.Options = SplitOptions(m.Groups["options"].Value);
        foreach (Capture ip in m.Groups["ip"].Captures)
            segment.ReadIp(ip.Value.Trim());
        return segment;
    }

    public override string ToString()
    {
        var text = new StringBuilder();
        if (Ecn != 0)
            text.Append(Ecn switch { 1 => "[ect1] ", 2 => "[ect0] ", _ => "[ce] " });
        text.Append(Flags is { Length: > 0 } ? Flags : Flags is null ? "" : "-");
        if (Seq is { } seq)
            text.Append(CultureInfo.InvariantCulture, $" {seq}:{seq + Length}");
        if (Ack is { } ack)
            text.Append(CultureInfo.InvariantCulture, $" ack {ack}");
        if (Window is { } window)
            text.Append(CultureInfo.InvariantCulture, $" win {window}");
        if (Urgent is { } urgent && urgent != 0)
            text.Append(CultureInfo.InvariantCulture, $" urg {urgent}");
        if (Options is { Count: > 0 })
            text.Append(CultureInfo.InvariantCulture, $" <{string.Join(", ", Options)}>");
        return text.ToString();
    }

    /// <summary>Whether <paramref name="seen"/> is what this text asks for.</summary>
    /// <param name="implied">The options that the text need not name, because every segment of the connection has them.</param>
    /// <param name="nextSeq">Where a segment starts whose text does not say where.</param>
    public bool Matches(Segment seen, long nextSeq, Func<string, bool> implied) =>
        FlagsMatch(seen)
        && seen.Seq == (Seq ?? nextSeq)
        && seen.Length == Length
        && (Ack is null || Ack == seen.Ack)
        && (Window is null || Window == seen.Window)
        && (seen.Urgent ?? 0) == (Urgent ?? 0)
        && Ecn == seen.Ecn
        && (Ttl is null || Ttl == seen.Ttl)
        && (Tos is null || Tos == seen.Tos)
        && OptionsMatch(seen, implied);

    private bool FlagsMatch(Segment seen)
    {
        if (Flags is not null)
            return Flags == seen.Flags || Flags == "-" && seen.Flags!.Length == 0;
        string plain = seen.Flags!.Replace("P", "", StringComparison.Ordinal);
        return plain == (Ack is null ? "" : ".");
    }

    private bool OptionsMatch(Segment seen, Func<string, bool> implied)
    {
        IEnumerable<string> actual = seen.Options ?? [];
        IReadOnlyList<string> wanted = Options ?? [];
        if (wanted.Any(static o => o == "..."))
            return true;
        if (!wanted.Any(static o => o is "nop" or "eol"))
            actual = actual.Where(static o => o is not ("nop" or "eol"));
        if (Options is null)
            actual = actual.Where(o => !implied(o));
        else
            actual = actual.Where(o => !implied(o) || wanted.Any(w => w[..2] == o[..2]));
        string[] left = [.. actual];
        return left.Length == wanted.Count && left.Zip(wanted).All(static pair => OptionMatches(pair.Second, pair.First));
    }

    // A star stands for one word of an option.
    private static bool OptionMatches(string wanted, string seen)
    {
        if (wanted == seen)
            return true;
        string[] a = wanted.Split(' '), b = seen.Split(' ');
        return a.Length == b.Length && a.Zip(b).All(static pair => pair.First == "*" || pair.First == pair.Second);
    }

    private void ReadIp(string word)
    {
        switch (word)
        {
            case "ect1":
                Ecn = 1;
                break;
            case "ect0":
                Ecn = 2;
                break;
            case "ce":
                Ecn = 3;
                break;
            case var _ when word.StartsWith("ttl ", StringComparison.Ordinal):
                Ttl = int.Parse(word[4..], CultureInfo.InvariantCulture);
                break;
            case var _ when word.StartsWith("tos ", StringComparison.Ordinal):
                Tos = int.Parse(word[4..], CultureInfo.InvariantCulture);
                break;
            default:
                throw new FormatException($"\"[{word}]\" says nothing of an IP header.");
        }
    }

    private static string Order(string flags) =>
        flags == "-" ? flags : new string([.. AllFlags.Where(flags.Contains)]);

    private static List<string> SplitOptions(string text) =>
        [.. text.Split(',', StringSplitOptions.RemoveEmptyEntries).Select(static o => Spaces().Replace(o.Trim(), " "))];

    private static long? Number(Match m, string group) =>
        m.Groups[group].Success ? long.Parse(m.Groups[group].Value, CultureInfo.InvariantCulture) : null;

    [GeneratedRegex("""
        ^\s*(?:\[(?<ip>[^\]]*)\]\s*)*
        (?:(?<flags>[FSRP.UEWA]+|-)(?=\s|$)\s*)?
        (?:(?<seq>-?\d+):(?<end>-?\d+)(?:\(\d+\))?\s*)?
        (?:ack\s+(?<ack>-?\d+)\s*)?
        (?:win\s+(?<win>\d+)\s*)?
        (?:urg\s+(?<urg>\d+)\s*)?
        (?:<(?<options>[^>]*)>\s*)?$
        """, RegexOptions.IgnorePatternWhitespace)]
    private static partial Regex Notation();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();
}
