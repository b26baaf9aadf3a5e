using System;
using System.Collections.Generic;
using System.IO;
using System.Net;
using System.Net.Http;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;

namespace Millrace.AspNetCore;

/// <summary>Finds the addresses of a host by its name; none, if there is no such host.</summary>
public delegate ValueTask<IReadOnlyList<IPAddress>> HostResolver(string host, CancellationToken cancellationToken);

/// <summary>HttpClient over a stack: what dials, dials through it.</summary>
public static class MillraceHttpHandler
{
    /// <summary>A handler whose connections are the stack's; it ignores the machine's proxy settings.</summary>
    /// <inheritdoc cref="UseMillrace"/>
    public static SocketsHttpHandler CreateHttpHandler(this NetStack stack, HostResolver? resolve = null) =>
        new SocketsHttpHandler { UseProxy = false }.UseMillrace(stack, resolve);

    /// <summary>Lets a handler connect through the stack.</summary>
    /// <param name="resolve">
    /// Finds names that are neither addresses nor localhost. Null: there are none, because a stack has no resolver of its own.
    /// </param>
    public static SocketsHttpHandler UseMillrace(this SocketsHttpHandler handler, NetStack stack, HostResolver? resolve = null)
    {
        ArgumentNullException.ThrowIfNull(handler);
        ArgumentNullException.ThrowIfNull(stack);
        handler.ConnectCallback = (context, cancel) => ConnectAsync(stack, resolve, context.DnsEndPoint, cancel);
        return handler;
    }

    // One address after the other, as getaddrinfo's users do; the last one's error is the caller's.
    private static async ValueTask<Stream> ConnectAsync(NetStack stack, HostResolver? resolve, DnsEndPoint to, CancellationToken cancel)
    {
        IReadOnlyList<IPAddress> addresses = await ResolveAsync(resolve, to.Host, cancel).ConfigureAwait(false);
        for (int i = 0; i < addresses.Count; i++)
        {
            try
            {
                TcpConnection connection = await stack.ConnectAsync(new IPEndPoint(addresses[i], to.Port),
                    new TcpConnectOptions { NoDelay = true }, cancel).ConfigureAwait(false);
                return connection.GetStream();
            }
            catch (SocketException) when (i + 1 < addresses.Count)
            {
            }
        }
        throw new SocketException((int)SocketError.HostNotFound);
    }

    private static async ValueTask<IReadOnlyList<IPAddress>> ResolveAsync(HostResolver? resolve, string host, CancellationToken cancel)
    {
        if (IPAddress.TryParse(host, out IPAddress? literal))
            return [literal];
        // RFC 6761 §6.3.
        if (host.Equals("localhost", StringComparison.OrdinalIgnoreCase) || host.EndsWith(".localhost", StringComparison.OrdinalIgnoreCase))
            return [IPAddress.IPv6Loopback, IPAddress.Loopback];
        return resolve is null ? [] : await resolve(host, cancel).ConfigureAwait(false);
    }
}
