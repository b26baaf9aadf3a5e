using System;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.Logging;

namespace Millrace.AspNetCore;

/// <summary>A listening socket of the stack, as Kestrel uses one.</summary>
internal sealed class MillraceConnectionListener(TcpListener listener, MillraceTransportOptions options, ILogger logger) : IConnectionListener
{
    private long _accepted;
    private volatile bool _unbound;

    public EndPoint EndPoint { get; } = listener.LocalEndPoint!;

    /// <summary>The next connection; null once the listener is unbound.</summary>
    public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
    {
        while (!_unbound)
        {
            try
            {
                TcpConnection connection = await listener.AcceptAsync(cancellationToken).ConfigureAwait(false);
                connection.NoDelay = options.NoDelay;
                string id = string.Create(CultureInfo.InvariantCulture, $"{EndPoint}-{Interlocked.Increment(ref _accepted):x}");
                return new MillraceConnectionContext(connection, id, options, logger);
            }
            catch (Exception e) when (_unbound && e is SocketException or ObjectDisposedException)
            {
                break;
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.ConnectionAborted or SocketError.ConnectionReset)
            {
                // One that was gone before it was taken; the next may be there.
                TransportLog.LostBeforeAccept(logger, EndPoint, e.SocketErrorCode);
            }
        }
        return null;
    }

    /// <summary>Connections that were not accepted are reset; those that were live on.</summary>
    public ValueTask UnbindAsync(CancellationToken cancellationToken = default)
    {
        _unbound = true;
        listener.Dispose();
        return default;
    }

    public ValueTask DisposeAsync() => UnbindAsync();
}
