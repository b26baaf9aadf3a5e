using System;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;
using System.Threading.Tasks;
using OsProcess = System.Diagnostics.Process;

namespace Millrace.Interop;

/// <summary>The tool's commands as their users run them, with the kernel's programs on the other side.</summary>
public sealed class CliTests
{
    private const string Ready = "Ctrl-C ends it.";

    private static Task<OsProcess> ServeAsync(CliSpace space, params string[] services) =>
        CliSpace.StartAsync(space.OverTun(["serve", .. services]), Ready);

    private static string[] Curl(params string[] arguments) => ["curl", "-sS", "--max-time", "60", .. arguments];

    [KernelTheory]
    [InlineData("INT")]
    [InlineData("TERM")]
    public async Task Serve_gives_files_to_curl_and_leaves_nothing_behind(string signal)
    {
        await using CliSpace space = await CliSpace.OpenAsync();
        string file = space.NewFile("file", 20_000_000);
        using OsProcess serve = await ServeAsync(space, "--http", "8080", "--root", space.Directory, "--pcap", Path.Combine(space.Directory, "p.pcapng"),
            "--trace", Path.Combine(space.Directory, "t.json"));
        string copy = Path.Combine(space.Directory, "copy"), url = $"http://{CliSpace.Address}:8080";
        (await space.RunAsync(Curl("-o", copy, $"{url}/file"))).Succeeded("curl");
        Assert.Equal(await File.ReadAllBytesAsync(file), await File.ReadAllBytesAsync(copy));
        (await space.RunAsync(Curl("-r", "1000000-1000099", "-o", copy, $"{url}/file"))).Succeeded("curl -r");
        Assert.Equal((await File.ReadAllBytesAsync(file))[1_000_000..1_000_100], await File.ReadAllBytesAsync(copy));
        Assert.Contains("file", (await space.RunAsync(Curl($"{url}/"))).Output, StringComparison.Ordinal);
        Assert.Equal("404", (await space.RunAsync(Curl("-o", "/dev/null", "-w", "%{http_code}", $"{url}/none"))).Output);
        string half = (await space.RunAsync(new MemoryStream("GET /none HTTP/1.0\r\n\r\n"u8.ToArray()), "nc", "-N", CliSpace.Address, "8080")).Output;
        Assert.StartsWith("HTTP/1.1 404", half, StringComparison.Ordinal);
        Assert.Equal(0, await CliSpace.EndAsync(serve, signal));
        Assert.False(await space.HasDeviceAsync());
        Assert.Empty(Directory.GetFiles(Path.Combine(space.Directory, "millrace")));
        Outcome tshark = (await Shell.RunAsync("tshark", "-r", Path.Combine(space.Directory, "p.pcapng"), "-o", "tcp.check_checksum:TRUE",
            "-Y", "_ws.malformed or tcp.checksum.status == 0")).Succeeded("tshark");
        Assert.Empty(tshark.Output);
        string last = (await File.ReadAllLinesAsync(Path.Combine(space.Directory, "t.json")))[^1];
        Assert.True(JsonDocument.Parse(last).RootElement.TryGetProperty("name", out _));
    }

    [KernelTheory]
    [InlineData("--tap")]
    [InlineData("--packet")]
    [InlineData("--xdp")]
    public async Task Serve_and_get_on_an_Ethernet(string kind)
    {
        const string otherEnd = "mr1";
        await using CliSpace space = await CliSpace.OpenAsync();
        if (kind != "--tap")
            await space.MakeVethAsync(CliSpace.Device, otherEnd);
        string[] device = [kind, kind == "--tap" ? CliSpace.Device : otherEnd, "--address", $"{CliSpace.Address}/24"];
        string file = space.NewFile("file", 5_000_000), copy = Path.Combine(space.Directory, "copy");
        using OsProcess serve = await CliSpace.StartAsync(space.Tool(["serve", "--http", "8080", "--root", space.Directory, .. device]), Ready);
        (await space.RunAsync(Curl("-o", copy, $"http://{CliSpace.Address}:8080/file"))).Succeeded("curl");
        Assert.Equal(await File.ReadAllBytesAsync(file), await File.ReadAllBytesAsync(copy));
        Assert.Equal(0, await CliSpace.EndAsync(serve));
        Assert.Equal(kind != "--tap", await space.HasDeviceAsync());
    }

    [KernelFact]
    public async Task Serve_without_a_root_has_a_page_of_its_own()
    {
        await using CliSpace space = await CliSpace.OpenAsync();
        using OsProcess serve = await ServeAsync(space, "--http", "80");
        string page = (await space.RunAsync(Curl($"http://{CliSpace.Address}/"))).Succeeded("curl").Output;
        Assert.Contains("user space", page, StringComparison.Ordinal);
        Assert.Contains(CliSpace.Kernel, page, StringComparison.Ordinal);
        Assert.Equal(0, await CliSpace.EndAsync(serve));
    }

    [KernelFact]
    public async Task The_small_services_do_what_their_RFCs_say()
    {
        await using CliSpace space = await CliSpace.OpenAsync();
        using OsProcess serve = await ServeAsync(space, "--echo", "7", "--discard", "9", "--chargen", "19");
        byte[] sent = new byte[1_000_000];
        new Random(7).NextBytes(sent);
        Outcome echo = (await space.RunAsync(new MemoryStream(sent), "nc", "-N", CliSpace.Address, "7")).Succeeded("nc to echo");
        Assert.Equal(sent, Encoding.Latin1.GetBytes(echo.Output));
        Outcome discard = (await space.RunAsync(new MemoryStream(sent), "nc", "-N", CliSpace.Address, "9")).Succeeded("nc to discard");
        Assert.Empty(discard.Output);
        Outcome chargen = await space.RunAsync("sh", "-c", $"nc -d {CliSpace.Address} 19 | head -c 148");
        string pattern = string.Concat(Enumerable.Range(' ', 95).Select(static c => (char)c));
        Assert.Equal($"{pattern[..72]}\r\n{pattern[1..73]}\r\n", chargen.Output);
        Assert.Equal(0, await CliSpace.EndAsync(serve));
    }

    [KernelFact]
    public async Task Ctrl_C_in_the_middle_of_a_transfer_resets_it()
    {
        await using CliSpace space = await CliSpace.OpenAsync();
        using OsProcess serve = await ServeAsync(space, "--chargen", "19");
        using OsProcess reader = Shell.Start(space.Here("nc", "-d", CliSpace.Address, "19"));
        byte[] some = new byte[1000];
        await reader.StandardOutput.BaseStream.ReadExactlyAsync(some);
        Task drain = reader.StandardOutput.BaseStream.CopyToAsync(Stream.Null);
        Assert.Equal(0, await CliSpace.EndAsync(serve));
        await drain;
        await Shell.EndAsync(reader, "nc");
        Assert.False(await space.HasDeviceAsync());
    }

    [KernelFact]
    public async Task Losing_the_device_ends_connections_and_the_command_with_exit_code_1()
    {
        await using CliSpace space = await CliSpace.OpenAsync();
        using OsProcess serve = await ServeAsync(space, "--chargen", "19", "--http", "80");
        using OsProcess reader = Shell.Start(space.Here("nc", "-d", CliSpace.Address, "19"));
        await reader.StandardOutput.BaseStream.ReadExactlyAsync(new byte[1000]);
        (await space.RunAsync("ip", "link", "del", CliSpace.Device)).Succeeded("ip link del");
        await Shell.EndAsync(serve, "serve");
        reader.Kill();
        Assert.Equal(1, serve.ExitCode);
        string error = await serve.StandardError.ReadToEndAsync();
        Assert.StartsWith("millrace: the device mr0 is lost, and its connections with it", error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd().Split('\n'));
    }

    [KernelFact]
    public async Task Get_fetches_from_a_server_of_the_kernel()
    {
        await using CliSpace space = await CliSpace.OpenAsync();
        byte[] file = await File.ReadAllBytesAsync(space.NewFile("file", 10_000_000));
        using OsProcess server = Shell.Start(space.Here("python3", "-u", "-m", "http.server", "8000", "--directory", space.Directory));
        await server.StandardOutput.ReadLineAsync();
        string url = $"http://{CliSpace.Kernel}:8000", copy = Path.Combine(space.Directory, "copy");
        Outcome toFile = (await Shell.RunAsync(space.OverTun("get", $"{url}/file", "-o", copy))).Succeeded("get -o");
        // No terminal: no bar.
        Assert.Equal(("", ""), (toFile.Output, toFile.Errors));
        Assert.Equal(file, await File.ReadAllBytesAsync(copy));
        Outcome toOutput = (await Shell.RunAsync(space.OverTun("get", $"{url}/file"))).Succeeded("get");
        Assert.Equal(file, Encoding.Latin1.GetBytes(toOutput.Output));
        Failed(await Shell.RunAsync(space.OverTun("get", $"{url}/none")), $"millrace: {url}/none: 404");
        Failed(await Shell.RunAsync(space.OverTun("get", $"http://{CliSpace.Kernel}:8001/")), $"millrace: http://{CliSpace.Kernel}:8001/: Connection refused");
        server.Kill();
    }

    private static void Failed(Outcome outcome, string message)
    {
        Assert.Equal((1, ""), (outcome.ExitCode, outcome.Output));
        Assert.StartsWith(message, outcome.Errors, StringComparison.Ordinal);
        Assert.Single(outcome.Errors.TrimEnd().Split('\n'));
    }

    [KernelFact]
    public async Task Nc_connects_sends_its_input_and_prints_the_answer_after_its_own_end()
    {
        await using CliSpace space = await CliSpace.OpenAsync();
        byte[] sent = new byte[3_000_000];
        new Random(3).NextBytes(sent);
        // The kernel's side answers with a count, and only after our FIN.
        const string counter = """
            import socket
            s = socket.create_server(("", 9000))
            print("up", flush=True)
            c, _ = s.accept()
            n = 0
            while b := c.recv(65536):
                n += len(b)
            c.sendall(str(n).encode())
            """;
        using OsProcess kernel = await CliSpace.StartAsync(space.Here("python3", "-c", counter), "up");
        Outcome nc = (await Shell.RunAsync(new MemoryStream(sent), space.OverTun("nc", CliSpace.Kernel, "9000"))).Succeeded("millrace nc");
        Assert.Equal("3000000", nc.Output);
        await Shell.EndAsync(kernel, "python3");
    }

    [KernelFact]
    public async Task Nc_listens_and_both_directions_end_on_their_own()
    {
        await using CliSpace space = await CliSpace.OpenAsync();
        string[] command = space.OverTun("nc", "-l", "-v", "9000");
        using OsProcess nc = await CliSpace.StartAsync(command, "listening on", onErrors: true);
        Task<string> got = nc.StandardOutput.ReadToEndAsync();
        await nc.StandardInput.WriteAsync("from us");
        nc.StandardInput.Close();
        byte[] sent = new byte[500_000];
        new Random(5).NextBytes(sent);
        Outcome kernel = (await space.RunAsync(new MemoryStream(sent), "nc", "-N", CliSpace.Address, "9000")).Succeeded("nc");
        Assert.Equal("from us", kernel.Output);
        Assert.Equal(sent, Encoding.Latin1.GetBytes(await got));
        await Shell.EndAsync(nc, command);
        Assert.Equal(0, nc.ExitCode);
        Assert.False(await space.HasDeviceAsync());
    }

    [KernelFact]
    public async Task Ss_lists_what_serves_and_asks_which_one_if_several_do()
    {
        await using CliSpace space = await CliSpace.OpenAsync();
        Failed(await Shell.RunAsync(space.Tool("ss")), "millrace: no millrace serve, get or nc");
        using OsProcess serve = await ServeAsync(space, "--echo", "7");
        using OsProcess client = Shell.Start(space.Here("nc", CliSpace.Address, "7"));
        await client.StandardInput.WriteLineAsync("here");
        await client.StandardInput.FlushAsync();
        Assert.Equal("here", await client.StandardOutput.ReadLineAsync());
        string table = (await Shell.RunAsync(space.Tool("ss"))).Succeeded("ss").Output;
        string[] lines = table.TrimEnd().Split('\n');
        Assert.StartsWith("State", lines[0], StringComparison.Ordinal);
        Assert.Matches(@"^LISTEN +0 +4096 +10\.77\.0\.2:7 +0\.0\.0\.0:\*$", lines[1]);
        Assert.Matches(@"^ESTAB +0 +0 +10\.77\.0\.2:7 +10\.77\.0\.1:\d+", lines[3]);
        Assert.Matches(@"^\t ts sack cubic wscale:\d+,\d+ rto:\d+.* mss:1448 .*bytes_acked:5 bytes_received:5 ", lines[4]);
        JsonElement json = JsonDocument.Parse((await Shell.RunAsync(space.Tool("ss", "--json", "-l"))).Succeeded("ss --json").Output).RootElement;
        Assert.Equal((serve.Id, "serve", 1), (json.GetProperty("pid").GetInt32(), json.GetProperty("command").GetString(), json.GetProperty("sockets").GetArrayLength()));
        using OsProcess other = await CliSpace.StartAsync(
            space.Tool("serve", "--tun", "mr1", "--address", "10.78.0.2/24", "--discard", "9"), Ready);
        Failed(await Shell.RunAsync(space.Tool("ss")), "millrace: several are running: choose one by --pid");
        Assert.Contains("10.78.0.2:9", (await Shell.RunAsync(space.Tool("ss", "--pid", $"{other.Id}", "-H"))).Succeeded("ss --pid").Output, StringComparison.Ordinal);
        client.Kill();
        Assert.Equal(0, await CliSpace.EndAsync(other));
        Assert.Equal(0, await CliSpace.EndAsync(serve));
    }

    [KernelFact]
    public async Task What_the_kernel_refuses_is_one_line_and_exit_code_1()
    {
        await using CliSpace space = await CliSpace.OpenAsync();
        (await space.RunAsync("ip", "tuntap", "add", "dev", CliSpace.Device, "mode", "tun")).Succeeded("ip tuntap add");
        Failed(await Shell.RunAsync(space.OverTun("serve", "--echo", "7")), "millrace: ");
        string[] unprivileged = space.Tool("serve", "--echo", "7", "--tun", "mr1", "--address", "10.78.0.2/24");
        int tool = Array.IndexOf(unprivileged, "env");
        Failed(await Shell.RunAsync([.. unprivileged[..tool], "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", .. unprivileged[tool..]]),
            "millrace: ");
        Failed(await Shell.RunAsync(space.Tool("serve", "--http", "80", "--echo", "80", "--tun", "mr1", "--address", "10.78.0.2/24")),
            "millrace: cannot listen on port 80: ");
        Outcome longName = await Shell.RunAsync(space.Tool("serve", "--echo", "7", "--tun", "a-name-of-more-than-fifteen", "--address", "10.78.0.2/24"));
        Assert.Equal(2, longName.ExitCode);
    }
}
