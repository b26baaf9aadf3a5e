using System;
using System.Collections.Generic;
using Millrace.Sched;
using Millrace.Sockets;

namespace Millrace.Tcp;

/// <summary>What net.ipv4.tcp_fastopen switches on.</summary>
/// <remarks>Linux: TFO_*.</remarks>
[Flags]
internal enum FastOpenFlags
{
    None = 0,
    Client = 1,
    Server = 2,

    /// <summary>Data goes in a SYN without a cookie.</summary>
    ClientWithoutCookie = 4,

    /// <summary>Data in a SYN is taken without a cookie.</summary>
    ServerWithoutCookie = 0x200,

    /// <summary>Every listener takes part, not only one that asked with TCP_FASTOPEN.</summary>
    AllListeners = 0x400,
}

/// <summary>A Fast Open option. Linux: tcp_fastopen_cookie.</summary>
/// <param name="Bytes">The cookie; empty: one is asked for; null: no option.</param>
/// <param name="IsExperimental">The option of kind 254, from before RFC 7413.</param>
internal readonly record struct FastOpenCookie(byte[]? Bytes, bool IsExperimental)
{
    /// <summary>No option.</summary>
    public static FastOpenCookie None => default;

    public bool HasOption => Bytes is not null;

    public bool HasCookie => Bytes is { Length: > 0 };

    public FastOpenCookie AsRequest => this with { Bytes = [] };
}

/// <summary>Why data in a SYN did not make it. Linux: tcp_fastopen_client_fail.</summary>
internal enum FastOpenFailure : byte
{
    Unspecified,
    CookieUnavailable,
    DataNotAcked,
    SynRetransmitted,
}

/// <summary>TCP Fast Open's part of a socket: options, a client's SYN with data, a server's unfinished handshake. RFC 7413.</summary>
internal sealed class FastOpenState
{
    /// <summary>TCP_FASTOPEN_CONNECT: connect waits for the first write. Linux: fastopen_connect.</summary>
    public bool ConnectOption;

    /// <summary>TCP_FASTOPEN_NO_COOKIE. Linux: fastopen_no_cookie.</summary>
    public bool NoCookie;

    /// <summary>TCP_FASTOPEN_KEY; null: the stack's.</summary>
    public FastOpenKeys? Keys;

    /// <summary>A listener's; null: it takes no data in SYNs.</summary>
    public FastOpenQueue? Queue;

    /// <summary>A connection is being opened with data, or with a request for a cookie. Linux: fastopen_req.</summary>
    public bool IsRequested;

    /// <summary>The option of the first SYN. Linux: tcp_fastopen_request.cookie.</summary>
    public FastOpenCookie Cookie;

    /// <summary>The SYN bore the option, in the experimental form, and data. Linux: syn_fastopen, syn_fastopen_exp, syn_data.</summary>
    public bool SynHadOption, SynHadExperimental, SynHadData;

    /// <summary>The data of the SYN was taken, at either end. Linux: syn_data_acked.</summary>
    public bool SynDataAcked;

    /// <summary>This connection is the first after a pause: it tells whether the black hole is gone. Linux: syn_fastopen_ch.</summary>
    public bool ProbesBlackhole;

    public FastOpenFailure Failure;

    /// <summary>The handshake of a child that has data already. Linux: fastopen_rsk.</summary>
    public TcpRequestSock? Passive;

    /// <summary>The child has been accepted. Linux: the request's sk is NULL.</summary>
    public bool IsAccepted;

    /// <summary>The connection is over and the socket may be used again: the options stay.</summary>
    public void OnDisconnect()
    {
        IsRequested = SynHadOption = SynHadExperimental = SynHadData = SynDataAcked = ProbesBlackhole = false;
        Failure = FastOpenFailure.Unspecified;
    }

    /// <summary>What a connection has from its listener.</summary>
    public FastOpenState? CloneForChild() => NoCookie ? new FastOpenState { NoCookie = true } : null;
}

/// <summary>
/// The handshakes of a listener whose data was taken before they were over, at most so many; and for a minute each one that a RST has
/// ended, so that nobody can have a server work for addresses that are not his.
/// </summary>
/// <remarks>Linux: fastopen_queue.</remarks>
internal sealed class FastOpenQueue
{
    private static readonly Micros s_penalty = Micros.FromSeconds(60);

    private readonly Queue<Micros> _reset = new();
    private SpinLock32 _lock;
    private int _length;

    /// <summary>Linux: max_qlen.</summary>
    public int MaxLength { get; set; }

    /// <summary>Whether one more may begin. Linux: tcp_fastopen_queue_check.</summary>
    public bool HasRoom(Cpu cpu, out bool overflow)
    {
        overflow = false;
        if (MaxLength == 0)
            return false;
        _lock.Lock(cpu);
        if (_length >= MaxLength)
        {
            overflow = !_reset.TryPeek(out Micros end) || end > cpu.Now;
            if (!overflow)
            {
                _reset.Dequeue();
                _length--;
            }
        }
        _lock.Unlock(cpu);
        return !overflow;
    }

    public void Add(Cpu cpu)
    {
        _lock.Lock(cpu);
        _length++;
        _lock.Unlock(cpu);
    }

    /// <param name="penalize">A RST has ended it after it was accepted: its place stays taken for a while.</param>
    public void Remove(Cpu cpu, bool penalize)
    {
        _lock.Lock(cpu);
        if (penalize)
            _reset.Enqueue(cpu.Now + s_penalty);
        else
            _length--;
        _lock.Unlock(cpu);
    }
}
