using System;
using System.Buffers;
using System.IO;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Inet;

namespace Millrace;

/// <summary>
/// A connection as a stream. Every overload is its own, because those of <see cref="Stream"/> hide a hop through the thread pool.
/// </summary>
internal sealed class TcpStream(TcpConnection connection) : Stream
{
    private const int CopyBufferSize = 65536;

    private int _readTimeout = Timeout.Infinite, _writeTimeout = Timeout.Infinite;

    public override bool CanRead => true;

    public override bool CanWrite => true;

    public override bool CanSeek => false;

    public override bool CanTimeout => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override int ReadTimeout
    {
        get => _readTimeout;
        set
        {
            SetTimeout(So.RcvTimeo, value);
            _readTimeout = value;
        }
    }

    public override int WriteTimeout
    {
        get => _writeTimeout;
        set
        {
            SetTimeout(So.SndTimeo, value);
            _writeTimeout = value;
        }
    }

    public override int Read(Span<byte> buffer) => buffer.IsEmpty ? 0 : Value(connection.ReceiveCore(buffer, MessageFlags.None, default));

    public override int Read(byte[] buffer, int offset, int count)
    {
        ValidateBufferArguments(buffer, offset, count);
        return Read(buffer.AsSpan(offset, count));
    }

    public override int ReadByte()
    {
        Span<byte> one = stackalloc byte[1];
        return Read(one) == 0 ? -1 : one[0];
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        connection.ReceiveAsync(buffer, MessageFlags.None, forStream: true, cancellationToken);

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken)
    {
        ValidateBufferArguments(buffer, offset, count);
        return ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
    }

    public override IAsyncResult BeginRead(byte[] buffer, int offset, int count, AsyncCallback? callback, object? state) =>
        TaskToAsyncResult.Begin(ReadAsync(buffer, offset, count, default), callback, state);

    public override int EndRead(IAsyncResult asyncResult) => TaskToAsyncResult.End<int>(asyncResult);

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        if (!buffer.IsEmpty)
            Value(connection.SendCore(buffer, MessageFlags.None, default));
    }

    public override void Write(byte[] buffer, int offset, int count)
    {
        ValidateBufferArguments(buffer, offset, count);
        Write(buffer.AsSpan(offset, count));
    }

    public override void WriteByte(byte value) => Write([value]);

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
        buffer.IsEmpty ? default : connection.SendForStreamAsync(buffer, cancellationToken);

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken)
    {
        ValidateBufferArguments(buffer, offset, count);
        return WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
    }

    public override IAsyncResult BeginWrite(byte[] buffer, int offset, int count, AsyncCallback? callback, object? state) =>
        TaskToAsyncResult.Begin(WriteAsync(buffer, offset, count, default), callback, state);

    public override void EndWrite(IAsyncResult asyncResult) => TaskToAsyncResult.End(asyncResult);

    public override void CopyTo(Stream destination, int bufferSize)
    {
        ValidateCopyToArguments(destination, bufferSize);
        byte[] buffer = ArrayPool<byte>.Shared.Rent(Math.Max(bufferSize, CopyBufferSize));
        try
        {
            while (Read(buffer) is var n && n > 0)
                destination.Write(buffer, 0, n);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    public override async Task CopyToAsync(Stream destination, int bufferSize, CancellationToken cancellationToken)
    {
        ValidateCopyToArguments(destination, bufferSize);
        byte[] buffer = ArrayPool<byte>.Shared.Rent(Math.Max(bufferSize, CopyBufferSize));
        try
        {
            while (await ReadAsync(buffer, cancellationToken).ConfigureAwait(false) is var n && n > 0)
                await destination.WriteAsync(buffer.AsMemory(0, n), cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    public override void Flush()
    {
    }

    public override Task FlushAsync(CancellationToken cancellationToken) =>
        cancellationToken.IsCancellationRequested ? Task.FromCanceled(cancellationToken) : Task.CompletedTask;

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            connection.Dispose();
        base.Dispose(disposing);
    }

    public override ValueTask DisposeAsync()
    {
        Dispose();
        return default;
    }

    private void SetTimeout(int option, int milliseconds)
    {
        if (milliseconds is <= 0 and not Timeout.Infinite)
            throw new ArgumentOutOfRangeException(nameof(milliseconds), milliseconds, "A timeout is positive, or infinite.");
        // struct timeval; zero is for ever.
        Span<byte> value = stackalloc byte[2 * sizeof(long)];
        int ms = Math.Max(0, milliseconds);
        BitConverter.TryWriteBytes(value, (long)(ms / 1000));
        BitConverter.TryWriteBytes(value[sizeof(long)..], (long)(ms % 1000) * 1000);
        connection.SetOption(SocketLevel.Socket, option, value);
    }

    // A blocking call that was out of time reports the timeout, as NetworkStream does.
    private static int Value(SysResult result) => !result.IsError
        ? result.Value
        : throw (result.Error == Errno.EAGAIN ? Errno.ETIMEDOUT : result.Error).ToStreamException();
}
