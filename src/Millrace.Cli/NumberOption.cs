using System;
using System.CommandLine;
using System.Globalization;

namespace Millrace.Cli;

/// <summary>Options that take a number of a certain range; anything else is refused with the range in the message.</summary>
internal static class NumberOption
{
    /// <summary>Lets <paramref name="option"/> take numbers from <paramref name="least"/> to <paramref name="most"/>, both included.</summary>
    public static Option<T> Between<T>(this Option<T> option, T least, T most)
        where T : struct, IParsable<T>, IComparable<T>
    {
        option.CustomParser = result =>
        {
            string text = result.Tokens[0].Value;
            if (T.TryParse(text, CultureInfo.InvariantCulture, out T value) && value.CompareTo(least) >= 0 && value.CompareTo(most) <= 0)
                return value;
            result.AddError(string.Create(CultureInfo.InvariantCulture, $"{option.Name} takes a number from {least} to {most}, not '{text}'"));
            return default;
        };
        return option;
    }
}
