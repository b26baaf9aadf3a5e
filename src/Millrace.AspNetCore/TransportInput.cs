using System;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using System.Threading;
using System.Threading.Tasks;

namespace Millrace.AspNetCore;

/// <summary>A connection's input, with the exceptions that Kestrel knows. Once it has failed it fails the same way again.</summary>
internal sealed class TransportInput(MillraceConnectionContext connection, PipeReader stream) : PipeReader
{
    private Exception? _failure;

    public override bool TryRead(out ReadResult result) => stream.TryRead(out result);

    public override ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
    {
        if (_failure is not null)
            return ValueTask.FromException<ReadResult>(_failure);
        ValueTask<ReadResult> read = stream.ReadAsync(cancellationToken);
        return read.IsCompletedSuccessfully ? read : AwaitAsync(read);
    }

    public override void AdvanceTo(SequencePosition consumed) => stream.AdvanceTo(consumed);

    public override void AdvanceTo(SequencePosition consumed, SequencePosition examined) => stream.AdvanceTo(consumed, examined);

    public override void CancelPendingRead() => stream.CancelPendingRead();

    public override void Complete(Exception? exception = null) => stream.Complete(exception);

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<ReadResult> AwaitAsync(ValueTask<ReadResult> read)
    {
        try
        {
            return await read.ConfigureAwait(false);
        }
        catch (Exception e) when (MillraceConnectionContext.IsEnd(e))
        {
            _failure = connection.ReasonFor(e);
            throw _failure;
        }
    }
}
