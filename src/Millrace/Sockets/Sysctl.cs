using System;
using System.Globalization;

namespace Millrace.Sockets;

/// <summary>One setting by its name: its value as the text that Linux prints, and the texts that Linux takes.</summary>
/// <remarks>Linux: struct ctl_table.</remarks>
internal abstract class Sysctl(string name)
{
    public string Name { get; } = name;

    public abstract string Read(Sysctls settings);

    /// <summary>EINVAL for a text that is not of the setting's kind or out of its range; ENOENT for a choice that there is not.</summary>
    public abstract Errno Write(Sysctls settings, string text);
}

/// <summary>One or several numbers in a row, each within the same bounds.</summary>
/// <param name="set">Takes them all; false if they do not fit each other.</param>
/// <remarks>Linux: proc_dointvec_minmax, proc_dou8vec_minmax, proc_doulongvec_minmax.</remarks>
internal sealed class NumberSysctl(string name, Func<Sysctls, long[]> get, Func<Sysctls, long[], bool> set, long min, long max) : Sysctl(name)
{
    public override string Read(Sysctls settings) => string.Join('\t', get(settings));

    /// <remarks>Fewer numbers than the row has leave the rest as they are; more are not looked at.</remarks>
    public override Errno Write(Sysctls settings, string text)
    {
        string[] words = text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        long[] row = get(settings);
        if (words.Length == 0)
            return Errno.EINVAL;
        for (int i = 0; i < Math.Min(words.Length, row.Length); i++)
        {
            if (!TryParse(words[i], out row[i]) || row[i] < min || row[i] > max)
                return Errno.EINVAL;
        }
        return set(settings, row) ? Errno.OK : Errno.EINVAL;
    }

    // Decimal, hexadecimal after 0x, octal after 0. Linux: proc_get_long, strtoul_lenient.
    private static bool TryParse(string word, out long number)
    {
        bool negative = word[0] == '-';
        string digits = negative ? word[1..] : word;
        bool known = digits switch
        {
            ['0', 'x' or 'X', ..] => long.TryParse(digits.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out number),
            ['0', _, ..] => TryParseOctal(digits, out number),
            _ => long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out number),
        };
        number = negative ? -number : number;
        return known;
    }

    private static bool TryParseOctal(string digits, out long number)
    {
        number = 0;
        foreach (char c in digits)
        {
            if (c is < '0' or > '7' || number > long.MaxValue >> 3)
                return false;
            number = (number << 3) + (c - '0');
        }
        return true;
    }
}

/// <summary>A word, or a list that is written as one.</summary>
/// <param name="set">Null: it can only be read.</param>
/// <remarks>Linux: proc_dostring, and what is built on it.</remarks>
internal sealed class TextSysctl(string name, Func<Sysctls, string> get, Func<Sysctls, string, Errno>? set) : Sysctl(name)
{
    public override string Read(Sysctls settings) => get(settings);

    public override Errno Write(Sysctls settings, string text) => set?.Invoke(settings, text.Trim()) ?? Errno.EACCES;
}
