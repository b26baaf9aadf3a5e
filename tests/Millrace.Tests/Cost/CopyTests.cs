using System;
using System.Net;
using System.Threading;
using Millrace.Sched;
using Millrace.Tests.Support;
using Millrace.Tracing;

namespace Millrace.Tests.Cost;

/// <summary>
/// A payload byte is copied by the CPU once on its way out, into the buffer that the device sends, and once on its way in, from the
/// device's memory to the caller's; and nowhere between.
/// </summary>
public sealed class CopyTests
{
    private const int Bytes = 5_000_000;

    private static readonly IPEndPoint Service = new(IPAddress.Parse("10.0.0.2"), 80);

    [Fact]
    public void Over_the_wire()
    {
        var client = new NetStack();
        var server = new NetStack();
        NetStack.Wire(client, "eth0", server, "eth0");
        AssertOneCopyEachWay(client, server);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Through_drivers(bool offload)
    {
        var client = new NetStack();
        var server = new NetStack();
        var near = new PipeDriver(offload);
        var far = new PipeDriver(offload);
        near.Peer = far;
        far.Peer = near;
        client.AddDevice(near);
        server.AddDevice(far);
        AssertOneCopyEachWay(client, server);
    }

    private static void AssertOneCopyEachWay(NetStack client, NetStack server)
    {
        using (client)
        using (server)
        {
            client.AddAddress("eth0", IPAddress.Parse("10.0.0.1"), 24);
            server.AddAddress("eth0", Service.Address, 24);
            using TcpListener listener = server.Listen(Service);
            var receive = new Thread(() =>
            {
                using TcpConnection far = listener.Accept();
                var buffer = new byte[30_000];
                int n, got = 0;
                while ((n = far.Receive(buffer)) > 0)
                    got += n;
                far.Send(BitConverter.GetBytes(got));
            });
            receive.Start();
            using TcpConnection near = client.Connect(Service);
            near.Send(new byte[Bytes]);
            near.Shutdown(System.Net.Sockets.SocketShutdown.Send);
            var answer = new byte[4];
            Assert.Equal(4, near.Receive(answer, MessageFlags.WaitAll));
            receive.Join();
            Assert.Equal(Bytes, BitConverter.ToInt32(answer));
            Assert.Equal(Bytes, client.Cpus.Read(Mib.MillraceCopiedOutBytes));
            Assert.Equal(4, client.Cpus.Read(Mib.MillraceCopiedInBytes));
            Assert.Equal(Bytes, server.Cpus.Read(Mib.MillraceCopiedInBytes));
            Assert.Equal(4, server.Cpus.Read(Mib.MillraceCopiedOutBytes));
            Assert.Equal(0, CopiedInside(client) + CopiedInside(server));
        }
    }

    private static long CopiedInside(NetStack stack)
    {
        long sum = 0;
        foreach (Cpu cpu in stack.Cpus.Cpus)
            sum += cpu.AppendedBytes;
        return sum;
    }
}
