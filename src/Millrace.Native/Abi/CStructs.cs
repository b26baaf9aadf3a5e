using System.Runtime.InteropServices;

namespace Millrace.Native.Abi;

/// <summary>struct msghdr of a 64-bit Linux.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct CMsgHdr
{
    public byte* Name;
    public uint NameLength;
    public IoVec* Pieces;
    public nuint PieceCount;
    public byte* Control;
    public nuint ControlLength;
    public int Flags;
}

/// <summary>struct epoll_event: packed on x86-64, and on no other machine.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 4)]
internal struct CEpollEventPacked
{
    public uint Events;
    public ulong Data;
}
