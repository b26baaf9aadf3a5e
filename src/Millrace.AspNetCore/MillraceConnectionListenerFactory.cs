using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.Logging;

namespace Millrace.AspNetCore;

/// <summary>Kestrel's transport over a stack: its IP endpoints are addresses of the stack.</summary>
[SuppressMessage("Performance", "CA1812", Justification = "made by the service container")]
internal sealed class MillraceConnectionListenerFactory(NetStack stack, MillraceTransportOptions options, ILoggerFactory loggers)
    : IConnectionListenerFactory, IConnectionListenerFactorySelector
{
    private readonly ILogger _logger = loggers.CreateLogger("Millrace.AspNetCore");

    public bool CanBind(EndPoint endpoint) => endpoint is IPEndPoint ip && (options.Selects is not { } selects || selects(ip));

    /// <exception cref="AddressInUseException">Somebody else listens there.</exception>
    /// <exception cref="SocketException">The address is not the stack's.</exception>
    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        try
        {
            TcpListener listener = stack.Listen((IPEndPoint)endpoint, new TcpListenOptions { Backlog = options.Backlog });
            return new ValueTask<IConnectionListener>(new MillraceConnectionListener(listener, options, _logger));
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse)
        {
            throw new AddressInUseException(e.Message, e);
        }
    }
}
