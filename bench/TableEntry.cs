using System.Net;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Wire;

namespace Millrace.Bench;

/// <summary>A connection of the established table that has nothing but its number and the key that follows from it.</summary>
internal sealed class TableEntry : SockCommon
{
    private static readonly IpAddr s_local = IpAddr.From(IPAddress.Parse("10.0.0.1"));

    public TableEntry(int number)
    {
        FlowKey key = KeyOf(number);
        (LocalAddr, LocalPort, RemoteAddr, RemotePort) = (key.Local, key.LocalPort, key.Remote, key.RemotePort);
        Publish(1);
    }

    public static FlowKey KeyOf(int number) =>
        new(IpAddr.FromV4(0x0b00_0000u + (uint)(number >> 12)), (ushort)(1024 + (number & 0xfff)), s_local, 80, 1);

    internal override void Fire(Cpu cpu)
    {
    }

    protected override void OnLastPut(Cpu cpu)
    {
    }
}
