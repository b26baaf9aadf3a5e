using System;
using System.CommandLine;
using System.CommandLine.Parsing;
using System.IO;
using System.Net;
using Millrace.Linux;

namespace Millrace.Cli.Tun;

/// <summary>The options of a command that talks over a TUN device.</summary>
internal sealed class TunOptionSet
{
    private readonly Option<string> _tun = new("--tun")
    {
        Description = "The TUN device to make; it is gone when the command ends.",
        HelpName = "NAME",
        Required = true,
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

    private readonly Option<int> _mtu = new Option<int>("--mtu")
    {
        Description = "The largest packet, in bytes.",
        DefaultValueFactory = static _ => 1500,
    }.Between(576, 65535);

    private readonly Option<FileInfo?> _trace = new("--trace") { Description = "Writes every step of the stack to this file.", HelpName = "FILE" };

    private readonly Option<FileInfo?> _pcap = new("--pcap") { Description = "Writes every packet to this file, as pcapng.", HelpName = "FILE" };

    public void AddTo(Command command)
    {
        command.Add(_tun);
        command.Add(_address);
        command.Add(_kernelAddress);
        command.Add(_mtu);
        command.Add(_trace);
        command.Add(_pcap);
    }

    /// <summary>What the command line says.</summary>
    /// <exception cref="UsageException">The addresses do not fit each other.</exception>
    public TunSettings Read(ParseResult line)
    {
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
        return new TunSettings(line.GetValue(_tun)!, subnet, line.GetValue(_mtu), line.GetValue(_trace), line.GetValue(_pcap));
    }

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
        result.AddError($"--kernel-address: '{text}' is no IP address");
        return null;
    }

    // An ArgumentException names its parameter after the message.
    private static string FirstLine(Exception e) => e.Message.Split(" (Parameter", 2)[0];
}

/// <summary>A TUN device that a command is to make.</summary>
internal sealed record TunSettings(string Device, TunSubnet Subnet, int Mtu, FileInfo? Trace, FileInfo? Pcap);
