using System;
using System.Buffers;
using System.Collections.Generic;
using System.IO;
using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Logging;

namespace Millrace.AspNetCore;

/// <summary>
/// A connection of the stack as Kestrel sees it. Reading takes from the stack what the application asks for, so a slow one closes the
/// receive window; writing waits while the send buffer is full. The application runs where the stack completes an operation: no
/// scheduler lies between.
/// </summary>
/// <remarks>
/// <see cref="ConnectionClosed"/> fires, as with Kestrel's own sockets, when the peer has sent its FIN (unless half-close is allowed), when the connection fails, and
/// when it is aborted or disposed of here. The output can be completed while input is read, and the other way round: a half-closed
/// connection is open until both are.
/// </remarks>
internal sealed class MillraceConnectionContext : ConnectionContext, IConnectionIdFeature, IConnectionTransportFeature,
    IConnectionItemsFeature, IConnectionLifetimeFeature, IConnectionEndPointFeature, IMemoryPoolFeature, ITcpConnectionFeature
{
    private const int OutputSegmentSize = 16 * 1024;

    private readonly ILogger _logger;
    private readonly CancellationTokenSource _closed = new();
    private readonly TransportInput _input;
    private readonly Task _sending, _watching;
    private IDictionary<object, object?>? _items;
    private Exception? _abortReason;
    private bool _disposed;

    public MillraceConnectionContext(TcpConnection connection, string id, MillraceTransportOptions options, ILogger logger)
    {
        _logger = logger;
        Connection = connection;
        ConnectionId = id;
        LocalEndPoint = connection.LocalEndPoint;
        RemoteEndPoint = connection.RemoteEndPoint;
        ConnectionClosed = _closed.Token;
        _input = new TransportInput(this, PipeReader.Create(connection.GetStream(), new StreamPipeReaderOptions(
            bufferSize: options.ReadBufferSize, minimumReadSize: Math.Min(options.ReadBufferSize, 4096), leaveOpen: true,
            useZeroByteReads: options.WaitForDataBeforeAllocatingBuffer)));
        long pause = options.MaxWriteBufferSize ?? 0;
        var output = new Pipe(new PipeOptions(MemoryPool, PipeScheduler.Inline, PipeScheduler.Inline, pauseWriterThreshold: pause,
            resumeWriterThreshold: pause / 2, minimumSegmentSize: OutputSegmentSize, useSynchronizationContext: false));
        Transport = new DuplexPipe(_input, output.Writer);
        Features = NewFeatures();
        _sending = SendAsync(output.Reader);
        _watching = WatchAsync(options.AllowHalfClose);
    }

    public TcpConnection Connection { get; }

    public override string ConnectionId { get; set; }

    public override EndPoint? LocalEndPoint { get; set; }

    public override EndPoint? RemoteEndPoint { get; set; }

    public override CancellationToken ConnectionClosed { get; set; }

    public override IDuplexPipe Transport { get; set; }

    public override IFeatureCollection Features { get; }

    public override IDictionary<object, object?> Items
    {
        get => _items ??= new ConnectionItems();
        set => _items = value;
    }

    public MemoryPool<byte> MemoryPool => MemoryPool<byte>.Shared;

    public override void Abort() => Abort(new ConnectionAbortedException("The connection was aborted."));

    /// <summary>
    /// Ends the connection with a RST, or, without a reason, with a FIN after what the stack has taken: so Kestrel answers a peer that
    /// has ended it. A read that waits throws the reason; a flush that waits is told that nobody reads.
    /// </summary>
    public override void Abort(ConnectionAbortedException? abortReason)
    {
        ConnectionAbortedException reason = abortReason ?? new ConnectionAbortedException("The connection was closed.");
        if (Interlocked.CompareExchange(ref _abortReason, reason, null) is not null)
            return;
        TransportLog.Abort(_logger, ConnectionId, reason.Message);
        if (abortReason is null)
            Connection.Dispose();
        else
            Connection.Abort();
    }

    /// <summary>Sends what was written, ends both directions, and waits until nothing of the connection runs any more.</summary>
    public override async ValueTask DisposeAsync()
    {
        if (_disposed)
            return;
        _disposed = true;
        await _input.CompleteAsync().ConfigureAwait(false);
        await Transport.Output.CompleteAsync().ConfigureAwait(false);
        await _sending.ConfigureAwait(false);
        Connection.Dispose();
        await _watching.ConfigureAwait(false);
        _closed.Dispose();
    }

    /// <summary>What a failed read is to be called.</summary>
    public Exception ReasonFor(Exception failure)
    {
        if (_abortReason is { } reason)
            return reason;
        SocketError error = (failure as SocketException ?? failure.InnerException as SocketException)?.SocketErrorCode ?? SocketError.OperationAborted;
        TransportLog.Failed(_logger, ConnectionId, error);
        return error switch
        {
            SocketError.ConnectionReset or SocketError.ConnectionAborted or SocketError.Shutdown =>
                new ConnectionResetException(failure.Message, failure),
            SocketError.OperationAborted => new ConnectionAbortedException(failure.Message, failure),
            _ => failure,
        };
    }

    /// <summary>Whether an exception is the connection's end rather than somebody's mistake.</summary>
    public static bool IsEnd(Exception e) => e is IOException or SocketException or ObjectDisposedException;

    // Sends what the application has flushed. Its end is the application's: a FIN, or a RST if it ended in failure.
    private async Task SendAsync(PipeReader output)
    {
        try
        {
            ReadResult result;
            do
            {
                result = await output.ReadAsync().ConfigureAwait(false);
                await SendAsync(result.Buffer).ConfigureAwait(false);
                output.AdvanceTo(result.Buffer.End);
            }
            while (!result.IsCompleted);
            Connection.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e)
        {
            // The connection has failed, or this is what the application completed its output with.
            Interlocked.CompareExchange(ref _abortReason, ReasonFor(e), null);
            Connection.Abort();
        }
        // Without an exception: who flushes learns that nobody reads, which is no error of his.
        await output.CompleteAsync().ConfigureAwait(false);
    }

    private async ValueTask SendAsync(ReadOnlySequence<byte> data)
    {
        SequencePosition position = data.Start;
        while (data.TryGet(ref position, out ReadOnlyMemory<byte> segment))
        {
            if (segment.IsEmpty)
                continue;
            bool last = position.GetObject() is null;
            await Connection.SendAsync(segment, last ? MessageFlags.None : MessageFlags.More).ConfigureAwait(false);
        }
    }

    private async Task WatchAsync(bool allowHalfClose)
    {
        try
        {
            await Connection.WaitForHangUpAsync(bothDirections: allowHalfClose).ConfigureAwait(false);
        }
        catch (ObjectDisposedException)
        {
            // Over before it was watched.
        }
        try
        {
            _closed.Cancel();
        }
        catch (AggregateException e)
        {
            TransportLog.ClosedCallbackThrew(_logger, ConnectionId, e);
        }
    }

    private FeatureCollection NewFeatures()
    {
        var features = new FeatureCollection(8);
        features.Set<IConnectionIdFeature>(this);
        features.Set<IConnectionTransportFeature>(this);
        features.Set<IConnectionItemsFeature>(this);
        features.Set<IConnectionLifetimeFeature>(this);
        features.Set<IConnectionEndPointFeature>(this);
        features.Set<IMemoryPoolFeature>(this);
        features.Set<ITcpConnectionFeature>(this);
        return features;
    }

    private sealed class DuplexPipe(PipeReader input, PipeWriter output) : IDuplexPipe
    {
        public PipeReader Input => input;

        public PipeWriter Output => output;
    }
}
