using System;
using System.Net;

namespace Millrace.AspNetCore;

/// <summary>How Kestrel listens on a stack. The names are those of SocketTransportOptions where they mean the same.</summary>
public sealed class MillraceTransportOptions
{
    /// <summary>Connections that may wait to be accepted; at most the stack's net.core.somaxconn.</summary>
    public int Backlog { get; set; } = 4096;

    /// <summary>Whether small responses are sent at once. RFC 9293 §3.7.4; Linux: TCP_NODELAY.</summary>
    public bool NoDelay { get; set; } = true;

    /// <summary>
    /// Whether a connection holds no buffer while it waits for data, so that an idle one is small. Otherwise each read is one call less.
    /// </summary>
    public bool WaitForDataBeforeAllocatingBuffer { get; set; } = true;

    /// <summary>Bytes that one read may take from the stack.</summary>
    public int ReadBufferSize { get; set; } = 64 * 1024;

    /// <summary>Bytes that may wait for room in the stack's send buffer before a flush waits too; null for no limit.</summary>
    public long? MaxWriteBufferSize { get; set; } = 64 * 1024;

    /// <summary>
    /// Whether a client that has only ended its own direction still gets its answer, as one that pipes a request into nc -N expects.
    /// Kestrel's sockets end such a connection, and that is how a handler that waits learns that its client has gone; with this it
    /// learns it from a reset, once it sends.
    /// </summary>
    public bool AllowHalfClose { get; set; }

    /// <summary>
    /// Which endpoints are the stack's; the others are left to the transports that were registered before. Null: all IP endpoints.
    /// </summary>
    public Func<IPEndPoint, bool>? Selects { get; set; }
}
