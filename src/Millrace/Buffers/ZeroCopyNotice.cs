using System.Threading;

namespace Millrace.Buffers;

/// <summary>
/// The completion of one zero-copy send: it is done when the last buffer that refers to the caller's memory is gone.
/// </summary>
/// <remarks>Linux: ubuf_info_msgzc.</remarks>
internal abstract class ZeroCopyNotice
{
    private int _references = 1;

    /// <summary>Set when the bytes had to be copied after all, so that the caller learns that zero-copy does not pay.</summary>
    public bool Copied { get; set; }

    public void Hold() => Interlocked.Increment(ref _references);

    public void Release(BufferCache cache)
    {
        if (Interlocked.Decrement(ref _references) == 0)
            OnCompleted(cache);
    }

    /// <summary>Nobody refers to the caller's memory any more. Linux: msg_zerocopy_callback.</summary>
    protected abstract void OnCompleted(BufferCache cache);
}
