using System.CommandLine;

namespace Millrace.Cli;

internal static class Program
{
    private static int Main(string[] args)
    {
        var root = new RootCommand("A TCP/IP stack in user space: trace it, serve and fetch over it, list its sockets.");
        return root.Parse(args).Invoke();
    }
}
