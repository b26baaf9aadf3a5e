namespace Millrace;

/// <summary>A range of memory, for calls that gather and scatter. The layout of struct iovec.</summary>
/// <param name="Address">Memory that stays where it is until the call returns.</param>
/// <param name="Length">Bytes.</param>
public readonly record struct IoVec(nint Address, nint Length);
