#pragma warning disable xUnit1051 // no call here waits for anything
using Millrace.Tcp;

namespace Millrace.Tests.Tcp;

/// <summary>Two ends that both speak Accurate ECN tell each other the truth.</summary>
public sealed class AccEcnPairTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void What_one_end_has_received_is_what_the_other_has_delivered(int option)
    {
        using var pair = new LoopbackPair(stack =>
        {
            stack.Sysctls.TcpEcn = 3;
            stack.Sysctls.TcpEcnOption = option;
        });
        (int client, int server) = pair.Connect();
        var data = new byte[50_000];
        for (int sent = 0, got = 0; sent < 1_000_000;)
        {
            sent += LoopbackPair.Ok(pair.Process.Send(client, data));
            while (got < sent)
                got += LoopbackPair.Ok(pair.Process.Recv(server, data));
        }
        TcpInfo sender = Info(pair, client), receiver = Info(pair, server);
        Assert.Equal((8, 8), (sender.Options & 8, receiver.Options & 8));
        Assert.Equal(1_000_000u, receiver.ReceivedE0Bytes);
        Assert.Equal(sender.BytesAcked - 1, sender.DeliveredE0Bytes);
        Assert.Equal((0u, 0u, 0), (sender.DeliveredCe, receiver.ReceivedCe, sender.AccEcnFailMode));
        Assert.Equal((int)AccEcnOptionSeen.Counters, sender.AccEcnOptionSeen);
    }

    [Fact]
    public void A_connection_that_does_without_carries_no_state_for_it()
    {
        using var pair = new LoopbackPair();
        (int client, int server) = pair.Connect();
        LoopbackPair.Ok(pair.Process.Send(client, "ping"u8));
        Assert.Equal((0, 0), (Info(pair, client).Options & 24, Info(pair, server).Options & 24));
        Assert.Equal(0u, Info(pair, server).ReceivedE0Bytes);
    }

    private static TcpInfo Info(LoopbackPair pair, int fd)
    {
        var bytes = new byte[TcpInfo.Length];
        LoopbackPair.Ok(pair.Process.GetSockOpt(fd, LoopbackPair.SolTcp, 11, bytes));
        return TcpInfo.Read(bytes);
    }
}
