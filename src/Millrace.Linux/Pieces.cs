using System;

namespace Millrace.Linux;

/// <summary>Copies between a packet in one run of memory and the pieces that the stack has it in.</summary>
internal static unsafe class Pieces
{
    /// <summary>Copies bytes into the pieces' room from <paramref name="offset"/> on, and returns how many there was room for.</summary>
    public static int Scatter(byte* from, int length, ReadOnlySpan<IoVec> to, int offset = 0)
    {
        int done = 0;
        foreach (IoVec piece in to)
        {
            int room = (int)piece.Length - offset;
            if (room <= 0)
            {
                offset -= (int)piece.Length;
                continue;
            }
            int take = Math.Min(room, length - done);
            Buffer.MemoryCopy(from + done, (byte*)piece.Address + offset, take, take);
            done += take;
            offset = 0;
            if (done == length)
                break;
        }
        return done;
    }

    /// <summary>Copies all pieces together. The room must be enough.</summary>
    public static void Gather(ReadOnlySpan<IoVec> from, byte* to)
    {
        foreach (IoVec piece in from)
        {
            Buffer.MemoryCopy((void*)piece.Address, to, piece.Length, piece.Length);
            to += piece.Length;
        }
    }

    public static int LengthOf(ReadOnlySpan<IoVec> pieces)
    {
        nint length = 0;
        foreach (IoVec piece in pieces)
            length += piece.Length;
        return (int)length;
    }
}
