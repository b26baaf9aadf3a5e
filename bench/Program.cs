using System;
using System.Threading.Tasks;

namespace Millrace.Bench;

internal static class Program
{
    private static async Task<int> Main(string[] args)
    {
        try
        {
            switch (args)
            {
                case ["goodput", .. var rest]:
                    return Goodput.Run(GoodputOptions.Parse(rest));
                case ["run", .. var rest]:
                    return await Runner.RunAsync(RunOptions.Parse(rest));
                case ["serve", var space, var kind]:
                    TunServer.Serve(space, kind);
                    return 0;
                case ["wire", var workload, var seconds]:
                    Console.WriteLine(WireWorkloads.Run(workload, double.Parse(seconds)));
                    return 0;
                default:
                    throw new ArgumentException("usage: bench/run [--quick] [--rounds N] [--json FILE] [--no-docs] [WORKLOAD...]");
            }
        }
        catch (Exception e) when (e is ArgumentException or FormatException or InvalidOperationException)
        {
            Console.Error.WriteLine(e.Message);
            return 2;
        }
    }
}
