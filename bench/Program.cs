using System;
using System.Globalization;
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
                case ["serve", var space, var kind, var mtu, var wait]:
                    TunServer.Serve(space, kind == "vnet", int.Parse(mtu, CultureInfo.InvariantCulture), wait == "spin");
                    return 0;
                case ["mem", var workload]:
                    InMemory.Serve(workload);
                    return 0;
                case ["idle", var connections]:
                    Console.WriteLine(Idle.Measure(int.Parse(connections, CultureInfo.InvariantCulture)));
                    return 0;
                case ["look-up", var connections, var seconds]:
                    double ns = LookUps.Measure(int.Parse(connections, CultureInfo.InvariantCulture), double.Parse(seconds, CultureInfo.InvariantCulture));
                    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"ns={ns:F2}"));
                    return 0;
                default:
                    throw new ArgumentException("usage: bench/run [--quick] [--peers] [--rounds N] [--seconds S] [--json FILE] [--no-docs] [--list] [WORKLOAD...]");
            }
        }
        catch (Exception e) when (e is ArgumentException or FormatException or InvalidOperationException)
        {
            Console.Error.WriteLine(e.Message);
            return 2;
        }
    }
}
