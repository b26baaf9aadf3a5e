using System;
using Millrace.Buffers;

namespace Millrace.Sockets;

/// <summary>The one copy: between a buffer and the caller's memory. Linux: skb_copy_datagram_iter.</summary>
internal static class SkbCopy
{
    /// <summary>Copies <paramref name="length"/> bytes from <paramref name="offset"/> on to where the walk stands.</summary>
    public static void ToUser(SkBuff skb, int offset, ref IoIter to, int length)
    {
        while (length > 0)
        {
            Span<byte> room = to.Contiguous;
            int take = Math.Min(room.Length, length);
            skb.CopyTo(offset, room[..take]);
            to.Advance(take);
            offset += take;
            length -= take;
        }
    }
}
