using System;

namespace Millrace;

/// <summary>Flags of send and receive calls; Linux's numbers.</summary>
[Flags]
public enum MessageFlags
{
    None = 0,
    OutOfBand = 0x1,
    Peek = 0x2,
    DontRoute = 0x4,
    ControlTruncated = 0x8,
    Truncate = 0x20,
    DontWait = 0x40,
    EndOfRecord = 0x80,
    WaitAll = 0x100,
    Confirm = 0x800,
    ErrorQueue = 0x2000,
    NoSignal = 0x4000,
    More = 0x8000,
    WaitForOne = 0x10000,
    ZeroCopy = 0x400_0000,
    FastOpen = 0x2000_0000,
    CloseOnExec = 0x4000_0000,
}
