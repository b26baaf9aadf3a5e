using System.CommandLine;
using System.Globalization;

namespace Millrace.Cli;

/// <summary>Options and arguments that take a TCP port.</summary>
internal static class PortOption
{
    /// <summary>Lets <paramref name="option"/> take a port from 1 to 65535.</summary>
    public static Option<ushort?> AsPort(this Option<ushort?> option)
    {
        option.CustomParser = result =>
        {
            if (TryParse(result.Tokens[0].Value, out ushort port))
                return port;
            result.AddError($"{option.Name} takes a port from 1 to 65535, not '{result.Tokens[0].Value}'");
            return null;
        };
        return option;
    }

    public static bool TryParse(string text, out ushort port) =>
        ushort.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out port) && port > 0;
}
