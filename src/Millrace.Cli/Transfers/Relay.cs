using System;
using System.IO;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;

namespace Millrace.Cli.Transfers;

/// <summary>Joins a connection to an input and an output, each direction until its own end.</summary>
internal static class Relay
{
    private const int BufferSize = 64 * 1024;

    /// <param name="input">What is sent, and after its end a FIN; null: nothing is, and no FIN either.</param>
    /// <param name="isTerminal">Somebody types: when the peer has ended, nobody waits for him to end too.</param>
    /// <exception cref="SocketException">The connection failed.</exception>
    public static async Task RunAsync(TcpConnection connection, Stream? input, Stream output, bool isTerminal, CancellationToken stop)
    {
        Task receiving = ReceiveAsync(connection, output, stop);
        // A read of a terminal or a pipe blocks its thread: not this one, and the process does not wait for it.
        Task sending = input is null ? Task.CompletedTask : Task.Run(() => SendAsync(connection, input, stop), stop);
        if (await Task.WhenAny(receiving, sending) == sending)
            await sending;
        await receiving;
        if (!isTerminal)
            await sending.WaitAsync(stop);
    }

    private static async Task ReceiveAsync(TcpConnection connection, Stream output, CancellationToken stop)
    {
        byte[] buffer = new byte[BufferSize];
        while (await connection.ReceiveAsync(buffer, stop) is var n and > 0)
        {
            await output.WriteAsync(buffer.AsMemory(0, n), stop);
            await output.FlushAsync(stop);
        }
    }

    private static async Task SendAsync(TcpConnection connection, Stream input, CancellationToken stop)
    {
        byte[] buffer = new byte[BufferSize];
        while (await input.ReadAsync(buffer, stop) is var n and > 0)
            await connection.SendAsync(buffer.AsMemory(0, n), cancel: stop);
        connection.Shutdown(SocketShutdown.Send);
    }
}
