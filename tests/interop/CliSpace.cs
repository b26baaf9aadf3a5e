using System;
using System.IO;
using System.Threading;
using System.Threading.Tasks;
using OsProcess = System.Diagnostics.Process;

namespace Millrace.Interop;

/// <summary>A network namespace of its own in which the tool runs beside the kernel's programs, and a directory for its files.</summary>
internal sealed class CliSpace : IAsyncDisposable
{
    public const string Address = "10.77.0.2", Kernel = "10.77.0.1", Device = "mr0";

    private static int s_next;

    private readonly string _space;

    private CliSpace(string space) => _space = space;

    /// <summary>For files, and for the sockets that <c>millrace ss</c> asks.</summary>
    public string Directory { get; } = System.IO.Directory.CreateTempSubdirectory("millrace-cli").FullName;

    public static async Task<CliSpace> OpenAsync()
    {
        if (KernelSupport.Missing is { } missing)
            Assert.Fail($"This machine cannot run it: {missing}.");
        string space = $"mrcli-{Environment.ProcessId}-{Interlocked.Increment(ref s_next)}";
        (await Shell.RunAsync("ip", "netns", "add", space)).Succeeded("ip netns add");
        (await Shell.RunAsync("ip", "-n", space, "link", "set", "lo", "up")).Succeeded("ip link set lo up");
        return new CliSpace(space);
    }

    /// <summary>A program of the kernel's side.</summary>
    public string[] Here(params string[] command) => ["ip", "netns", "exec", _space, .. command];

    /// <summary>The tool, to which Ctrl-C means something although the tests may run as a shell's background job, which ignores it.</summary>
    public string[] Tool(params string[] arguments) =>
        Here(["env", "--default-signal=INT", $"XDG_RUNTIME_DIR={Directory}", Environment.ProcessPath!.EndsWith("dotnet", StringComparison.Ordinal) ? Environment.ProcessPath : "dotnet",
            Path.Combine(AppContext.BaseDirectory, "Millrace.Cli.dll"), .. arguments]);

    /// <summary>
    /// An Ethernet of two interfaces, of which the kernel has an address on the first, and sends whole checksums: to an XDP socket nobody
    /// would add them.
    /// </summary>
    public async Task MakeVethAsync(string first, string second)
    {
        string noChecksumOffload = "import array, fcntl, socket, struct; off = array.array('I', [0x17, 0]); "
            + $"fcntl.ioctl(socket.socket(), 0x8946, struct.pack('16sP16x', b'{first}', off.buffer_info()[0]))";
        string[][] commands =
        [
            ["ip", "link", "add", first, "type", "veth", "peer", "name", second],
            ["ip", "address", "add", $"{Kernel}/24", "dev", first],
            ["ip", "link", "set", first, "up"],
            ["ip", "link", "set", second, "up"],
            ["python3", "-c", noChecksumOffload],
        ];
        foreach (string[] command in commands)
            (await RunAsync(command)).Succeeded(string.Join(' ', command[..2]));
    }

    /// <summary>The tool, over the space's device.</summary>
    public string[] OverTun(params string[] arguments) => Tool([.. arguments, "--tun", Device, "--address", $"{Address}/24"]);

    public Task<Outcome> RunAsync(params string[] command) => Shell.RunAsync(Here(command));

    public Task<Outcome> RunAsync(Stream input, params string[] command) => Shell.RunAsync(input, Here(command));

    /// <summary>Starts a tool's command and waits until it has said a line that holds <paramref name="ready"/>.</summary>
    public static async Task<OsProcess> StartAsync(string[] command, string ready, bool onErrors = false)
    {
        OsProcess process = Shell.Start(command);
        StreamReader says = onErrors ? process.StandardError : process.StandardOutput;
        while (await says.ReadLineAsync() is { } line)
        {
            if (line.Contains(ready, StringComparison.Ordinal))
                return process;
        }
        Assert.Fail($"{string.Join(' ', command)} ended early: {await process.StandardError.ReadToEndAsync()}");
        return process;
    }

    /// <summary>Ends a command by a signal, and returns its exit code.</summary>
    public static async Task<int> EndAsync(OsProcess process, string signal = "INT")
    {
        (await Shell.RunAsync("kill", $"-{signal}", $"{process.Id}")).Succeeded("kill");
        await Shell.EndAsync(process);
        return process.ExitCode;
    }

    /// <summary>Whether the device is there, as the kernel sees it.</summary>
    public async Task<bool> HasDeviceAsync() => (await RunAsync("ip", "link", "show", Device)).ExitCode == 0;

    public string NewFile(string name, int length)
    {
        byte[] bytes = new byte[length];
        new Random(length).NextBytes(bytes);
        string path = Path.Combine(Directory, name);
        File.WriteAllBytes(path, bytes);
        return path;
    }

    public async ValueTask DisposeAsync()
    {
        await Shell.RunAsync("ip", "netns", "del", _space);
        System.IO.Directory.Delete(Directory, recursive: true);
    }
}
