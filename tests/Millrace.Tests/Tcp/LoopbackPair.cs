#pragma warning disable xUnit1051 // no call here waits for anything
using System;
using System.Net;
using Millrace.Tracing;

namespace Millrace.Tests.Tcp;

/// <summary>
/// Two ends of connections over one stack's loopback, used by one thread: there every segment has been dealt with, and answered, when
/// the call that sent it returns.
/// </summary>
internal sealed class LoopbackPair : IDisposable
{
    public const int SolSocket = 1, SolTcp = 6;

    public LoopbackPair(Action<NetStack>? setUp = null)
    {
        Stack = new NetStack(new NetStackOptions { Seed = 7 });
        setUp?.Invoke(Stack);
        Process = Stack.CreateProcess();
        Listener = Ok(Process.Socket(2, 1, 0));
        Ok(Process.Bind(Listener, At));
        Ok(Process.Listen(Listener, 8));
    }

    public static IPEndPoint At { get; } = new(IPAddress.Loopback, 80);

    public NetStack Stack { get; }

    public Process Process { get; }

    public int Listener { get; }

    public (int Client, int Server) Connect()
    {
        int client = Ok(Process.Socket(2, 1, 0));
        Ok(Process.Connect(client, At));
        return (client, Ok(Process.Accept(Listener)));
    }

    public long Count(Mib mib) => Stack.Cpus.Read(mib);

    public static int Ok(SysResult result)
    {
        Assert.False(result.IsError, result.ToString());
        return result.Value;
    }

    public void Dispose()
    {
        Process.Dispose();
        Stack.Dispose();
    }
}
