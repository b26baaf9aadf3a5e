namespace Millrace.Inet;

/// <summary>
/// A walk over the ports that the stack may give away by itself: every second one from a secret start, then the others. bind and
/// connect begin with different ones, so that they seldom meet.
/// </summary>
/// <remarks>
/// RFC 6056 §3.3. Linux: the loops of inet_csk_find_open_port and __inet_hash_connect. If the range is of an odd size, its last port
/// is not used. A range that the socket has set itself is walked one by one.
/// </remarks>
internal struct PortWalk
{
    private readonly int _low, _span, _step;
    private int _at, _done;

    /// <param name="start">Where to begin: any number; if it is odd, with the ports at odd distances from the lowest.</param>
    public PortWalk(Sysctls sysctls, InetSock sk, uint start)
    {
        (_low, int high) = sk.NarrowPortRange(sysctls.IpLocalPortRange);
        _span = high - _low + 1;
        _step = sk.PortRange == default ? 2 : 1;
        if (_span > 1 && _step == 2)
            _span &= ~1;
        _at = (int)(start % (uint)_span);
    }

    /// <summary>Ports that were passed over since the walk began, or since it turned to the other parity.</summary>
    public readonly int Distance => _done - _step;

    public readonly int Step => _step;

    /// <summary>The ports that the walk began with are done, and it has turned to those between them.</summary>
    public bool HasTurned { get; private set; }

    /// <summary>The next port; false when there is none.</summary>
    public bool TryNext(out ushort port)
    {
        if (_done >= _span)
        {
            port = 0;
            if (HasTurned || _step == 1 || _span == 1)
                return false;
            HasTurned = true;
            _done = 0;
            _at ^= 1;
        }
        port = (ushort)(_low + (_at + _done) % _span);
        _done += _step;
        return true;
    }
}
