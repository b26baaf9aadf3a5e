using System;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Runtime.Versioning;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Cli.Diagnostics;
using Millrace.Linux;

namespace Millrace.Cli.Tun;

/// <summary>
/// A stack behind a device, for as long as a command runs: with its capture and trace, and the socket that <c>millrace ss</c> asks.
/// </summary>
internal sealed class TunSession : IAsyncDisposable
{
    private readonly CancellationTokenSource _lost = new();
    private FileStream? _pcapFile;
    private IDisposable? _capture;
    private TraceFile? _trace;
    private ControlServer? _control;
    private volatile string? _lossReason;

    private TunSession(TunSettings settings)
    {
        Settings = settings;
        Stack = new NetStack(new NetStackOptions { Name = settings.Device });
    }

    public NetStack Stack { get; }

    public TunSettings Settings { get; }

    public IPAddress Address => Settings.Subnet.StackAddress;

    /// <summary>Cancelled when the device is gone under the running stack.</summary>
    public CancellationToken Lost => _lost.Token;

    /// <summary>Makes the device, and all that was asked for beside it.</summary>
    /// <param name="command">The command's name, for <c>millrace ss</c>.</param>
    /// <exception cref="CommandFailedException">No privilege, the device or an address is taken.</exception>
    public static async Task<TunSession> OpenAsync(string command, TunSettings settings)
    {
        if (!OperatingSystem.IsLinux())
            throw new CommandFailedException("the devices are Linux's: this command runs on Linux only");
        var session = new TunSession(settings);
        try
        {
            session.Start(command);
            return session;
        }
        catch
        {
            await session.DisposeAsync();
            throw;
        }
    }

    /// <exception cref="CommandFailedException">The device was lost.</exception>
    public void ThrowIfLost()
    {
        if (_lossReason is { } reason)
            throw new CommandFailedException($"the device {Settings.Device} is lost, and its connections with it: {reason}");
    }

    /// <summary>Runs a command's work until it ends, the user stops it, or the device is lost.</summary>
    /// <exception cref="CommandFailedException">The device was lost.</exception>
    public async Task<T> RunAsync<T>(Func<CancellationToken, Task<T>> work, CancellationToken cancel)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancel, Lost);
        try
        {
            T result = await work(either.Token);
            ThrowIfLost();
            return result;
        }
        catch (Exception) when (_lossReason is not null)
        {
            // What the work ran into is a consequence.
            ThrowIfLost();
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_control is not null)
            await _control.DisposeAsync();
        Stack.Dispose();
        _capture?.Dispose();
        if (_pcapFile is not null)
            await _pcapFile.DisposeAsync();
        if (_trace is not null)
            await _trace.DisposeAsync();
        _lost.Dispose();
    }

    [SupportedOSPlatform("linux")]
    private void Start(string command)
    {
        _pcapFile = Create(Settings.Pcap);
        if (Create(Settings.Trace) is { } traceFile)
            _trace = new TraceFile(Stack, traceFile);
        try
        {
            AddDevice();
        }
        catch (ArgumentException e)
        {
            throw new UsageException($"--{Settings.Kind.ToString().ToLowerInvariant()}: {e.Message.Split(" (Parameter", 2)[0]}");
        }
        // On a TUN or TAP device what is not in the subnet goes to the kernel, which may forward it.
        bool v4 = Address.AddressFamily == AddressFamily.InterNetwork;
        if (Settings.Gateway is { } gateway)
            Stack.AddRoute(v4 ? IPAddress.Any : IPAddress.IPv6Any, 0, Settings.Device, gateway);
        if (_pcapFile is not null)
            _capture = Stack.Capture(Settings.Device, _pcapFile);
        _control = ControlServer.Start(command, Stack, RuntimeDirectory.Default);
    }

    [SupportedOSPlatform("linux")]
    private void AddDevice()
    {
        string name = Settings.Device, address = Settings.Subnet.ToString();
        switch (Settings.Kind)
        {
            case DeviceKind.Tun:
                Stack.AddTun(name, [Settings.Subnet], new TunOptions { Mtu = Settings.Mtu }, OnLost);
                break;
            case DeviceKind.Tap:
                Stack.AddTap(name, [Settings.Subnet], new TunOptions { Mtu = Settings.Mtu }, OnLost);
                break;
            case DeviceKind.Packet:
                Stack.AddPacketDevice(name, address, onLost: OnLost);
                break;
            case DeviceKind.Xdp:
                Stack.AddXdpDevice(name, address, onLost: OnLost);
                break;
        }
    }

    private void OnLost(string reason)
    {
        _lossReason = reason;
        _lost.Cancel();
    }

    private static FileStream? Create(FileInfo? file) =>
        file is null ? null : new FileStream(file.FullName, FileMode.Create, FileAccess.Write, FileShare.Read);
}
