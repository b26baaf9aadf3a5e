using System;
using System.IO;
using System.Threading.Tasks;

namespace Millrace.Cli.Tests;

public sealed class CommandLineTests
{
    private static async Task<(int Code, string Output, string Error)> Run(params string[] args)
    {
        var output = new StringWriter();
        var error = new StringWriter();
        int code = await CommandLine.RunAsync(args, output, error, TestContext.Current.CancellationToken);
        return (code, output.ToString(), error.ToString());
    }

    [Theory]
    [InlineData("")]
    [InlineData("trcae")]
    [InlineData("trace --no-such-option")]
    [InlineData("trace surplus")]
    [InlineData("trace --bytes")]
    [InlineData("trace --bytes many")]
    [InlineData("trace --bytes -1")]
    public async Task A_bad_command_line_gets_one_line_and_exit_code_2(string line)
    {
        var (code, output, error) = await Run(line.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.Equal(2, code);
        Assert.Empty(output);
        Assert.StartsWith("millrace: ", error, StringComparison.Ordinal);
        Assert.EndsWith("--help)" + Environment.NewLine, error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd().Split('\n'));
    }

    [Fact]
    public async Task The_complaint_names_what_was_wrong()
    {
        Assert.Contains("trcae", (await Run("trcae")).Error, StringComparison.Ordinal);
        Assert.Contains("--bytes takes a number from 0 to 1073741824, not 'many'", (await Run("trace", "--bytes", "many")).Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--help", "trace")]
    [InlineData("trace --help", "--bytes")]
    public async Task Every_command_has_help(string line, string mentions)
    {
        var (code, output, error) = await Run(line.Split(' '));
        Assert.Equal(0, code);
        Assert.Contains(mentions, output, StringComparison.Ordinal);
        Assert.Empty(error);
    }
}
