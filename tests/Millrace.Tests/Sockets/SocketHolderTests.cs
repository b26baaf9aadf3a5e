using System;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Syscalls;

namespace Millrace.Tests.Sockets;

/// <summary>A .NET object's hold on a socket, when the object is disposed of while calls begin.</summary>
public sealed class SocketHolderTests
{
    /// <summary>
    /// Between Dispose's look for holders and its release of the socket, nobody may begin a call: nothing would end it. The socket is
    /// marked by then, so a call that finds the mark has not begun, and leaves no reference behind.
    /// </summary>
    [Fact]
    public void A_call_on_a_socket_that_is_being_disposed_of_does_not_begin()
    {
        using var stack = new NetStack();
        TaskContext context = stack.Cpus.Enter();
        Assert.Equal(Errno.OK, stack.Families.Create(ref context, Af.Inet, (int)SocketType.Stream, 0, Credentials.Root,
            SecurityPolicy.AllowAll, out Socket? socket));
        stack.Cpus.Leave(ref context);
        var holder = new SocketHolder(new SocketFace(stack.Cpus, inlineCompletions: false), socket!);
        socket!.Abandon();
        using (FileCall call = holder.Call(TestContext.Current.CancellationToken))
            Assert.Equal(Errno.EBADF, call.Error);
        Assert.Throws<ObjectDisposedException>(() => holder.Enter());
        Assert.False(socket.IsShared);
        holder.Dispose();
    }
}
