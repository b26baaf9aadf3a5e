using System.Collections.Generic;
using System.Globalization;
using System.Text;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Wire;

namespace Millrace.Packetdrill;

/// <summary>The stack's TCP sockets as /proc/net/tcp and /proc/net/tcp6 show them: addresses and ports, and the state, in hex.</summary>
internal static class SocketTable
{
    public static string Format(NetStack stack, bool isV6)
    {
        var text = new StringBuilder("  sl  local_address rem_address   st\n");
        var found = new Collector([]);
        foreach (InetConnectionSock listener in stack.Tcp.Listeners.Snapshot())
            found.Socks.Add(listener);
        Cpu cpu = stack.Cpus.Acquire();
        stack.Tcp.Established.ForEach(cpu, ref found);
        stack.Cpus.Release(cpu);
        int line = 0;
        foreach (SockCommon sk in found.Socks)
        {
            if (sk.Family != (isV6 ? Af.Inet6 : Af.Inet))
                continue;
            text.Append(CultureInfo.InvariantCulture,
                $"{line++,4}: {Address(sk.LocalAddr, isV6)}:{sk.LocalPort:X4} {Address(sk.RemoteAddr, isV6)}:{sk.RemotePort:X4} {(int)sk.State:X2} \n");
        }
        return text.ToString();
    }

    // Words in the machine's byte order, as the kernel prints them.
    private static string Address(IpAddr address, bool isV6)
    {
        byte[] bytes = address.ToIPAddress().GetAddressBytes();
        if (isV6 && bytes.Length == 4)
            bytes = address.ToIPAddress().MapToIPv6().GetAddressBytes();
        var text = new StringBuilder();
        for (int i = 0; i < bytes.Length; i += 4)
            text.Append(CultureInfo.InvariantCulture, $"{bytes[i + 3]:X2}{bytes[i + 2]:X2}{bytes[i + 1]:X2}{bytes[i]:X2}");
        return text.ToString();
    }

    private readonly struct Collector(List<SockCommon> socks) : ISockVisitor
    {
        public List<SockCommon> Socks => socks;

        public void Visit(Cpu cpu, SockCommon sk) => socks.Add(sk);
    }
}
