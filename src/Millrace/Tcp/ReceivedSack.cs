using System.Runtime.CompilerServices;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>The SACK blocks of one ACK that are to be believed: up to four, in order of sequence, one of which may be a DSACK.</summary>
/// <remarks>RFC 2018 §5, RFC 2883. Linux: tcp_sacktag_write_queue.</remarks>
internal struct ReceivedSack
{
    private Ranges _ranges;
    private SeqRange _duplicate;
    private bool _hasDuplicate;

    public int Count { readonly get; private set; }

    public readonly SeqRange this[int i] => _ranges[i];

    /// <summary>Adds a block at its place. There are no more than fit into the option.</summary>
    public void Add(SeqRange block, bool isDuplicate)
    {
        int at = Count++;
        // Few and mostly in the reverse order; equal starts stay as they came.
        for (; at > 0 && block.Start < _ranges[at - 1].Start; at--)
            _ranges[at] = _ranges[at - 1];
        _ranges[at] = block;
        if (!isDuplicate)
            return;
        _duplicate = block;
        _hasDuplicate = true;
    }

    /// <summary>Whether the block reports a duplicate. RFC 2883 §4.</summary>
    public readonly bool IsDuplicate(int i) => _hasDuplicate && i < Count && _ranges[i] == _duplicate;

    /// <summary>
    /// Whether a block can be about what is out, or, for a DSACK, about what was. RFC 2018 §8; a block outside is a lie or too old.
    /// Linux: tcp_is_sackblock_valid.
    /// </summary>
    public static bool IsValid(SeqRange block, bool isDuplicate, in SendSpace snd, in Undo undo)
    {
        if (block.End > snd.Nxt || block.Start >= block.End || block.Start >= snd.Nxt)
            return false;
        // One that starts at the left edge would have moved it: it makes no sense.
        if (block.Start > snd.Una)
            return true;
        if (!isDuplicate || !undo.HasMarker || block.End > snd.Una)
            return false;
        if (block.Start >= undo.Marker)
            return true;
        return block.End > undo.Marker && block.Start >= block.End - snd.MaxWnd;
    }

    [InlineArray(TcpOptions.MaxSackBlocks)]
    private struct Ranges
    {
        private SeqRange _first;
    }
}
