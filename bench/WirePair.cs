using System;
using System.Net;

namespace Millrace.Bench;

/// <summary>Two stacks on an in-memory wire, both in this process.</summary>
internal sealed class WirePair : IDisposable
{
    public static readonly IPEndPoint ServerEndPoint = new(IPAddress.Parse("10.0.0.2"), 7000);

    /// <param name="inline">Whether continuations run on the thread that completes an operation.</param>
    public WirePair(WireOptions options, bool inline)
    {
        Client = new NetStack(new NetStackOptions { InlineCompletions = inline });
        Server = new NetStack(new NetStackOptions { InlineCompletions = inline });
        NetStack.Wire(Client, "eth0", Server, "eth0", options);
        Client.AddAddress("eth0", IPAddress.Parse("10.0.0.1"), 24);
        Server.AddAddress("eth0", ServerEndPoint.Address, 24);
    }

    public NetStack Client { get; }

    public NetStack Server { get; }

    public (TcpConnection Client, TcpConnection Server) Connect()
    {
        using TcpListener listener = Server.Listen(ServerEndPoint);
        TcpConnection client = Client.Connect(ServerEndPoint);
        TcpConnection server = listener.Accept();
        client.NoDelay = server.NoDelay = true;
        return (client, server);
    }

    public void Dispose()
    {
        Client.Dispose();
        Server.Dispose();
    }
}
