using System;
using System.Net;
using System.Runtime.CompilerServices;
using Millrace.Sockets;
using Millrace.Tcp;

namespace Millrace.Tests.Cost;

/// <summary>What there can be millions of is small. The numbers only ever go down.</summary>
[Collection(nameof(Alone))]
public sealed class SizeTests(ITestOutputHelper output)
{
    private static readonly IPEndPoint Service = new(IPAddress.Parse("10.0.0.2"), 80);

    [Theory]
    [InlineData(typeof(TcpSock), 792)]
    [InlineData(typeof(Socket), 88)]
    [InlineData(typeof(TcpRequestSock), 176)]
    [InlineData(typeof(TcpTimeWaitSock), 128)]
    public void An_object_is_no_larger_than_it_was(Type type, int most)
    {
        RuntimeHelpers.GetUninitializedObject(type);
        long before = GC.GetAllocatedBytesForCurrentThread();
        RuntimeHelpers.GetUninitializedObject(type);
        long size = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.True(size <= most, $"{type.Name} has {size} bytes");
    }

    /// <summary>The whole of an idle connection, both ends with descriptor, file, sock, queues, and their places in the tables.</summary>
    [Fact]
    public void An_idle_connection_is_small()
    {
        const int first = 200, more = 4000;
        using var client = new NetStack();
        using var server = new NetStack();
        NetStack.Wire(client, "eth0", server, "eth0");
        client.AddAddress("eth0", IPAddress.Parse("10.0.0.1"), 24);
        server.AddAddress("eth0", Service.Address, 24);
        using Process near = client.CreateProcess(), far = server.CreateProcess();
        int listener = far.Socket(2, 1, 0).Value;
        Assert.False(far.Bind(listener, Service).IsError);
        Assert.False(far.Listen(listener, 16).IsError);
        Connect(near, far, listener, first);
        long before = GC.GetTotalMemory(forceFullCollection: true);
        Connect(near, far, listener, more);
        double each = (GC.GetTotalMemory(forceFullCollection: true) - before) / 2.0 / more;
        output.WriteLine($"{each:F0} bytes an end");
        Assert.True(each <= 1090, $"an idle end has {each:F0} bytes");
    }

    private static void Connect(Process near, Process far, int listener, int connections)
    {
        for (int i = 0; i < connections; i++)
        {
            Assert.False(near.Connect(near.Socket(2, 1, 0).Value, Service).IsError);
            Assert.False(far.Accept(listener).IsError);
        }
    }
}
