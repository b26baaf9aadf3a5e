namespace Millrace;

/// <summary>One descriptor that poll waits for. The layout of struct pollfd.</summary>
public struct PollDescriptor
{
    public int Fd;

    /// <summary>What is asked for; a set of POLL* bits.</summary>
    public short Events;

    /// <summary>What holds.</summary>
    public short Returned;
}

/// <summary>One event of epoll_wait. The layout of struct epoll_event on x86-64, but for its packing.</summary>
/// <param name="Events">EPOLL* bits.</param>
/// <param name="Data">What the descriptor was registered with.</param>
public readonly record struct EpollEvent(uint Events, ulong Data);
