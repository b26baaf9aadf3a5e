using System;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Net;

namespace Millrace.Bench;

/// <summary>What a crowd of connections costs, most of which do nothing.</summary>
/// <param name="BytesPerEnd">Resident memory that one end of an idle connection adds.</param>
/// <param name="SetUpSeconds">How long all took to connect.</param>
/// <param name="PauseMilliseconds">The longest collector pause while one in a hundred talks.</param>
/// <param name="TripCost">Processor time of a round trip then, as a multiple of that with a thousand connections.</param>
internal readonly record struct IdleFigures(double BytesPerEnd, double SetUpSeconds, double PauseMilliseconds, double TripCost)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"bytes/end={BytesPerEnd:F1} setup={SetUpSeconds:F3} pause={PauseMilliseconds:F3} cost={TripCost:F3}");
}

/// <summary>`idle`: the process that holds many connections over an in-memory wire, both ends, by descriptors.</summary>
internal sealed class Idle : IDisposable
{
    private const int FewConnections = 1000;
    private const int FirstPort = 7000, Ports = 64;

    private readonly WirePair _pair = new(new WireOptions(), inline: false);
    private readonly Process _client, _server;
    private readonly int[] _listeners;
    private readonly int[] _clientFds, _serverFds;
    private readonly byte[] _one = new byte[1];
    private int _count;
    private long _trips;

    private Idle(int connections)
    {
        _client = _pair.Client.CreateProcess();
        _server = _pair.Server.CreateProcess();
        _pair.Client.Sysctls.IpLocalPortRange = (1024, 65535);
        _listeners = [.. Enumerable.Range(FirstPort, Ports).Select(Listen)];
        _clientFds = new int[connections];
        _serverFds = new int[connections];
    }

    public static IdleFigures Measure(int connections)
    {
        using var idle = new Idle(connections);
        idle.Grow(FewConnections);
        Settling.Run(seconds => idle.TalkFor(seconds), () => idle._trips);
        (double few, _) = idle.TalkFor(2);
        // What the first ones brought with them (code, pools) is not theirs alone.
        double before = ResidentBytes();
        long start = Stopwatch.GetTimestamp();
        idle.Grow(connections);
        double setUp = Stopwatch.GetElapsedTime(start).TotalSeconds;
        double bytes = ResidentBytes() - before;
        idle.TalkFor(2);
        (double many, double pause) = idle.TalkFor(3);
        return new IdleFigures(bytes / 2 / (connections - FewConnections), setUp, pause * 1e3, many / few);
    }

    public void Dispose()
    {
        _client.Dispose();
        _server.Dispose();
        _pair.Dispose();
    }

    private int Listen(int port)
    {
        int fd = Done(_server.Socket(2, 1, 0));
        Done(_server.Bind(fd, new IPEndPoint(WirePair.ServerEndPoint.Address, port)));
        Done(_server.Listen(fd, 16));
        return fd;
    }

    private void Grow(int connections)
    {
        for (; _count < connections; _count++)
        {
            int port = _count % Ports;
            int fd = Done(_client.Socket(2, 1, 0));
            Done(_client.Connect(fd, new IPEndPoint(WirePair.ServerEndPoint.Address, FirstPort + port)));
            _clientFds[_count] = fd;
            _serverFds[_count] = Done(_server.Accept(_listeners[port]));
        }
    }

    // One connection in a hundred takes its turn, spread over the whole crowd. A little garbage beside it, as a program makes, gives the
    // collector a reason to look.
    private (double CpuSecondsPerTrip, double LongestPause) TalkFor(double seconds)
    {
        long end = Stopwatch.GetTimestamp() + (long)(seconds * Stopwatch.Frequency);
        TimeSpan cpu = Environment.CpuUsage.TotalTime;
        double longest = 0, paused = GC.GetTotalPauseDuration().TotalSeconds;
        int collections = GC.CollectionCount(0);
        long before = _trips;
        int at = 0;
        while (Stopwatch.GetTimestamp() < end)
        {
            for (int i = 0; i < 16; i++, _trips++)
            {
                Trip(at);
                at = at + 100 < _count ? at + 100 : 0;
            }
            _ = GC.AllocateUninitializedArray<byte>(4096);
            int now = GC.CollectionCount(0);
            if (now == collections)
                continue;
            double total = GC.GetTotalPauseDuration().TotalSeconds;
            longest = Math.Max(longest, (total - paused) / (now - collections));
            (collections, paused) = (now, total);
        }
        return ((Environment.CpuUsage.TotalTime - cpu).TotalSeconds / (_trips - before), longest);
    }

    private void Trip(int connection)
    {
        Done(_client.Send(_clientFds[connection], _one));
        Done(_server.Recv(_serverFds[connection], _one));
        Done(_server.Send(_serverFds[connection], _one));
        Done(_client.Recv(_clientFds[connection], _one));
    }

    private static double ResidentBytes()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
        return ProcFiles.Field(File.ReadAllText("/proc/self/status"), "VmRSS") * 1024;
    }

    private static int Done(SysResult result) =>
        result.IsError ? throw new InvalidOperationException($"a call failed: {result.Error}") : result.Value;
}
