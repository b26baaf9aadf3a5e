using System.Net;
using System.Threading.Tasks;

#pragma warning disable xUnit1030, xUnit1051 // a context to go back to, or a token, would change where continuations run

namespace Millrace.Tests;

/// <summary>Continuations that run on the thread that completes: it holds nothing then, whoever's call it is in.</summary>
public sealed class InlineCompletionTests
{
    private static readonly IPEndPoint Service = new(IPAddress.Parse("10.0.0.2"), 80);

    private static (NetStack Client, NetStack Server) Pair(Simulation simulation)
    {
        NetStack client = simulation.CreateStack(new NetStackOptions { Name = "client", InlineCompletions = true });
        NetStack server = simulation.CreateStack(new NetStackOptions { Name = "server", InlineCompletions = true });
        NetStack.Wire(client, "eth0", server, "eth0");
        client.AddAddress("eth0", IPAddress.Parse("10.0.0.1"), 24);
        server.AddAddress("eth0", Service.Address, 24);
        return (client, server);
    }

    /// <summary>
    /// The server's continuation runs inside the client's send, and locks the very socket that sends: it would wait for itself for ever
    /// if the send still owned it.
    /// </summary>
    [Fact]
    public void A_continuation_may_block_on_the_connection_whose_call_it_runs_in()
    {
        using var simulation = new Simulation();
        (NetStack client, NetStack server) = Pair(simulation);
        bool set = false;
        simulation.Spawn("client", () =>
        {
            using TcpListener listener = server.Listen(Service);
            using TcpConnection near = client.Connect(Service);
            using TcpConnection far = listener.Accept();
            ValueTask<int> receive = far.ReceiveAsync(new byte[10]);
            receive.ConfigureAwait(false).GetAwaiter().UnsafeOnCompleted(() =>
            {
                near.NoDelay = true;
                set = near.NoDelay;
            });
            near.Send(new byte[1]);
            Assert.True(set);
            Assert.Equal(1, receive.Result);
        });
        simulation.Run();
    }

    /// <summary>Two ends that answer each other take turns on one thread; if they called each other, no stack would be deep enough.</summary>
    [Fact]
    public void Two_ends_that_wake_each_other_do_not_nest()
    {
        const int rounds = 20_000;
        using var simulation = new Simulation();
        (NetStack client, NetStack server) = Pair(simulation);
        int done = 0;
        simulation.Spawn("client", () =>
        {
            using TcpListener listener = server.Listen(Service);
            using TcpConnection near = client.Connect(Service);
            using TcpConnection far = listener.Accept();
            _ = Answer(far);
            _ = Answer(near);
            near.Send(new byte[1]);
            Assert.Equal(rounds, done);
        });
        simulation.Run();

        async Task Answer(TcpConnection connection)
        {
            var buffer = new byte[1];
            while (await connection.ReceiveAsync(buffer).ConfigureAwait(false) > 0 && ++done < rounds)
                await connection.SendAsync(buffer).ConfigureAwait(false);
        }
    }

    /// <summary>A thread that is about to sleep leaves its continuations to others.</summary>
    [Fact]
    public void A_continuation_that_blocks_does_not_keep_those_behind_it()
    {
        using var simulation = new Simulation();
        (NetStack client, NetStack server) = Pair(simulation);
        int first = 0, second = 0;
        simulation.Spawn("client", () =>
        {
            using TcpListener listener = server.Listen(Service);
            using TcpConnection near = client.Connect(Service);
            using TcpConnection far = listener.Accept();
            ValueTask<int> one = far.ReceiveAsync(new byte[1]), two = far.ReceiveAsync(new byte[1]);
            // The first to run waits for a byte that only the second sends.
            one.ConfigureAwait(false).GetAwaiter().UnsafeOnCompleted(() => first = near.Receive(new byte[1]));
            two.ConfigureAwait(false).GetAwaiter().UnsafeOnCompleted(() => second = far.Send(new byte[1]));
            near.Send(new byte[2]);
            Assert.Equal((1, 1), (one.Result, two.Result));
        });
        simulation.Run();
        Assert.Equal((1, 1), (first, second));
    }
}
