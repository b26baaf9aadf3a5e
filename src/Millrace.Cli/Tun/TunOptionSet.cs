using System;
using System.Collections.Generic;
using System.CommandLine;
using System.CommandLine.Parsing;
using System.IO;
using System.Net;
using Millrace.Linux;

namespace Millrace.Cli.Tun;

/// <summary>The options of a command that talks over a device: TUN, TAP, or an interface of the kernel's.</summary>
internal sealed class TunOptionSet
{
    private readonly Option<string?> _tun = new("--tun")
    {
        Description = "The TUN device to make; it is gone when the command ends.",
        HelpName = "NAME",
    };

    private readonly Option<string?> _tap = new("--tap") { Description = "Or a TAP device, an Ethernet.", HelpName = "NAME" };

    private readonly Option<string?> _packet = new("--packet")
    {
        Description = "Or the interface to share with the kernel by a packet socket; --address must not be the kernel's.",
        HelpName = "IFACE",
    };

    private readonly Option<string?> _xdp = new("--xdp")
    {
        Description = "Or the interface to take over by an XDP socket: its first queue is then the stack's.",
        HelpName = "IFACE",
    };

    private readonly Option<TunSubnet> _address = new("--address")
    {
        Description = "The stack's address and the subnet's length, such as 10.77.0.2/24.",
        HelpName = "ADDRESS/LENGTH",
        Required = true,
        CustomParser = ParseSubnet,
    };

    private readonly Option<IPAddress?> _kernelAddress = new("--kernel-address")
    {
        Description = "The kernel's address in the subnet; the first one unless given.",
        HelpName = "ADDRESS",
        CustomParser = ParseAddress,
    };

    private readonly Option<IPAddress?> _gateway = new("--gateway")
    {
        Description = "With --packet or --xdp, the router to what is outside the subnet.",
        HelpName = "ADDRESS",
        CustomParser = ParseAddress,
    };

    private readonly Option<int> _mtu = new Option<int>("--mtu")
    {
        Description = "The largest packet, in bytes; of --packet and --xdp it is the interface's.",
        DefaultValueFactory = static _ => 1500,
    }.Between(576, 65535);

    private readonly Option<FileInfo?> _trace = new("--trace") { Description = "Writes every step of the stack to this file.", HelpName = "FILE" };

    private readonly Option<FileInfo?> _pcap = new("--pcap") { Description = "Writes every packet to this file, as pcapng.", HelpName = "FILE" };

    public void AddTo(Command command)
    {
        command.Add(_tun);
        command.Add(_tap);
        command.Add(_packet);
        command.Add(_xdp);
        command.Add(_address);
        command.Add(_kernelAddress);
        command.Add(_gateway);
        command.Add(_mtu);
        command.Add(_trace);
        command.Add(_pcap);
    }

    /// <summary>What the command line says.</summary>
    /// <exception cref="UsageException">No device or several; options that do not fit it, or addresses that do not fit each other.</exception>
    public TunSettings Read(ParseResult line)
    {
        (DeviceKind kind, string device) = ReadDevice(line);
        RefuseWhatDoesNotFit(line, kind);
        TunSubnet subnet = line.GetValue(_address)!;
        if (line.GetValue(_kernelAddress) is { } kernel)
        {
            try
            {
                subnet = new TunSubnet(subnet.StackAddress, subnet.PrefixLength, kernel);
            }
            catch (ArgumentException e)
            {
                throw new UsageException($"--kernel-address: {FirstLine(e)}");
            }
        }
        IPAddress? gateway = IsInterface(kind) ? line.GetValue(_gateway) : subnet.KernelAddress;
        return new TunSettings(kind, device, subnet, gateway, line.GetValue(_mtu), line.GetValue(_trace), line.GetValue(_pcap));
    }

    private (DeviceKind Kind, string Device) ReadDevice(ParseResult line)
    {
        var given = new List<(DeviceKind, string)>();
        foreach ((DeviceKind kind, Option<string?> option) in new[]
            { (DeviceKind.Tun, _tun), (DeviceKind.Tap, _tap), (DeviceKind.Packet, _packet), (DeviceKind.Xdp, _xdp) })
        {
            if (line.GetValue(option) is { } device)
                given.Add((kind, device));
        }
        return given.Count == 1 ? given[0] : throw new UsageException("give one of --tun, --tap, --packet and --xdp");
    }

    private void RefuseWhatDoesNotFit(ParseResult line, DeviceKind kind)
    {
        if (IsInterface(kind) && line.GetValue(_kernelAddress) is not null)
            throw new UsageException("--kernel-address: the kernel has no side of its own there");
        if (IsInterface(kind) && line.GetResult(_mtu) is { Implicit: false })
            throw new UsageException("--mtu: it is the interface's");
        if (!IsInterface(kind) && line.GetValue(_gateway) is not null)
            throw new UsageException("--gateway: it is the kernel there");
    }

    private static bool IsInterface(DeviceKind kind) => kind is DeviceKind.Packet or DeviceKind.Xdp;

    private static TunSubnet? ParseSubnet(ArgumentResult result)
    {
        try
        {
            return TunSubnet.Parse(result.Tokens[0].Value);
        }
        catch (Exception e) when (e is FormatException or ArgumentException)
        {
            result.AddError($"--address: {FirstLine(e)}");
            return null;
        }
    }

    private static IPAddress? ParseAddress(ArgumentResult result)
    {
        string text = result.Tokens[0].Value;
        if (IPAddress.TryParse(text, out IPAddress? address))
            return address;
        result.AddError($"{((OptionResult)result.Parent!).Option.Name}: '{text}' is no IP address");
        return null;
    }

    // An ArgumentException names its parameter after the message.
    private static string FirstLine(Exception e) => e.Message.Split(" (Parameter", 2)[0];
}

/// <summary>Where a command's stack gets its packets from.</summary>
internal enum DeviceKind
{
    Tun,
    Tap,
    Packet,
    Xdp,
}

/// <summary>A device that a command is to make or to use.</summary>
/// <param name="Gateway">The way to what is outside the subnet.</param>
internal sealed record TunSettings(DeviceKind Kind, string Device, TunSubnet Subnet, IPAddress? Gateway, int Mtu, FileInfo? Trace, FileInfo? Pcap)
{
    public override string ToString() => Kind is DeviceKind.Tun or DeviceKind.Tap
        ? $"{Device}: the stack is {Subnet}, the kernel {Subnet.KernelAddress}"
        : $"{Device}: the stack is {Subnet}";
}
