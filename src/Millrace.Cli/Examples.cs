using System.CommandLine;
using System.Text;

namespace Millrace.Cli;

/// <summary>Examples in a command's help.</summary>
internal static class Examples
{
    /// <summary>Adds lines to the description: what people copy.</summary>
    public static Command WithExamples(this Command command, params string[] lines)
    {
        var text = new StringBuilder(command.Description).Append("\n\nExamples:");
        foreach (string line in lines)
            text.Append("\n  ").Append(line);
        command.Description = text.ToString();
        return command;
    }
}
