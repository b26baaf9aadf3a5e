using System.IO;
using System.Threading.Tasks;

namespace Millrace.Cli.Tests;

/// <summary>One run of the tool inside the test, and what came of it.</summary>
internal sealed record Tool(int Code, string Output, string Error)
{
    public static async Task<Tool> Run(params string[] args)
    {
        var output = new StringWriter();
        var error = new StringWriter();
        int code = await CommandLine.RunAsync(args, output, error, TestContext.Current.CancellationToken);
        return new Tool(code, output.ToString(), error.ToString());
    }
}
