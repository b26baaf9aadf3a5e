#pragma warning disable xUnit1051 // no call here waits for anything
using Millrace.Tracing;
using static Millrace.Tests.Tcp.LoopbackPair;

namespace Millrace.Tests.Tcp;

public sealed class MtuProbeTests
{
    [Fact]
    public void A_connection_that_probes_starts_small_and_finds_the_large_segments_that_pass()
    {
        const int tcpMaxSeg = 2;
        using var pair = new LoopbackPair(static stack => stack.Sysctls.TcpMtuProbing = 2);
        (int client, int server) = pair.Connect();
        Ok(pair.Process.GetSockOpt(client, SolTcp, tcpMaxSeg, out int first));
        Assert.True(first <= 1024, $"the first MSS is {first}");
        byte[] data = new byte[200_000];
        for (int i = 0; i < 100 && pair.Count(Mib.TcpExtTCPMTUPSuccess) == 0; i++)
        {
            int sent = Ok(pair.Process.Send(client, data));
            for (int got = 0; got < sent;)
                got += Ok(pair.Process.Recv(server, data));
        }
        Ok(pair.Process.GetSockOpt(client, SolTcp, tcpMaxSeg, out int later));
        Assert.True(later > first, $"{first}, then {later}");
    }
}
