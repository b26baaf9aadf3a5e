using System;
using System.Numerics;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp.Congestion;

/// <summary>
/// CUBIC: after a loss the window follows a cubic function of the time since, flat around the window where the loss was; with HyStart,
/// which ends slow start before it overshoots.
/// </summary>
/// <remarks>
/// RFC 9438; Ha and Rhee, "Taming the elephants" (HyStart). Linux: tcp_cubic. Integer arithmetic throughout, times in units of 1/1024
/// second where the cubic is computed.
/// </remarks>
internal sealed class Cubic : CongestionControl
{
    // β = 717/1024 ≈ 0.7, C = 0.4 as 41/1024: RFC 9438 §4.6, §5.
    private const uint Beta = 717, BetaScale = 1024;
    private const uint C = 41;
    private const int Hz = 10;

    private const uint HystartMinCwnd = 16;
    private const int HystartMinSamples = 8;
    private const uint HystartDelayMin = 4000, HystartDelayMax = 16000;

    /// <summary>The least distance of ACKs that are no train, microseconds.</summary>
    private const uint HystartAckDelta = 2000;

    private uint _count;
    private uint _lastMax;
    private uint _lastCwnd;
    private Micros _lastTime;
    private uint _origin;
    private uint _k;
    private uint _minDelay;
    private Micros _epoch;
    private bool _hasEpoch;
    private uint _ackCount;
    private uint _tcpCwnd;

    private bool _found;
    private byte _samples;
    private SeqNumber _roundEnd;
    private Micros _roundStart, _lastAck;
    private uint _roundRtt;

    public override string Name => "cubic";

    public override void Init(TcpSock sk)
    {
        Reset();
        ResetHystart(sk);
    }

    public override uint Ssthresh(TcpSock sk) => Reduce(sk.Cc.Cwnd);

    /// <summary>Ends the epoch of this window at a loss. Returns the threshold.</summary>
    internal uint Reduce(uint cwnd)
    {
        _hasEpoch = false;
        // RFC 9438 §4.7, fast convergence: who loses before it is back where it was leaves room for newcomers.
        _lastMax = cwnd < _lastMax ? cwnd * (BetaScale + Beta) / (2 * BetaScale) : cwnd;
        return Math.Max(cwnd * Beta / BetaScale, 2);
    }

    public override void CongestionAvoidance(TcpSock sk, Cpu cpu, uint acked)
    {
        if (!sk.Cc.IsUsed)
            return;
        if (sk.Cc.InSlowStart)
        {
            acked = sk.Cc.SlowStart(acked);
            if (acked == 0)
                return;
        }
        sk.Cc.Additive(Update(cpu.Now, sk.Cc.Cwnd, acked), acked);
    }

    public override void SetState(TcpSock sk, CaState state)
    {
        if (state != CaState.Loss)
            return;
        Reset();
        ResetHystart(sk);
    }

    public override void OnEvent(TcpSock sk, CaEvent what)
    {
        if (what != CaEvent.TxStart || !_hasEpoch)
            return;
        // The time that the application was silent does not count. RFC 9438 §5.8.
        Micros idle = sk.Time - sk.LastSent;
        if (idle.Value > 0)
        {
            _epoch += idle;
            if (_epoch > sk.Time)
                _epoch = sk.Time;
        }
    }

    public override void OnPacketsAcked(TcpSock sk, Cpu cpu, in AckSample sample)
    {
        if (sample.RttUs < 0)
            return;
        // For a second after a loss the delay says more about the loss than about the path.
        if (_hasEpoch && cpu.Now - _epoch < Micros.FromSeconds(1))
            return;
        uint delay = (uint)Math.Max(sample.RttUs, 1);
        if (_minDelay == 0 || _minDelay > delay)
            _minDelay = delay;
        if (!_found && sk.Cc.InSlowStart && sk.Cc.Cwnd >= HystartMinCwnd)
            UpdateHystart(sk, cpu, delay);
    }

    private void Reset()
    {
        _count = _lastMax = _lastCwnd = _origin = _k = _minDelay = _ackCount = _tcpCwnd = 0;
        _lastTime = _epoch = Micros.Zero;
        _hasEpoch = false;
        _found = false;
    }

    private void ResetHystart(TcpSock sk)
    {
        _roundStart = _lastAck = sk.Time;
        _roundEnd = sk.Snd.Nxt;
        _roundRtt = uint.MaxValue;
        _samples = 0;
    }

    /// <summary>How many packets have to be acknowledged for the window to grow by one. RFC 9438 §4.2 to §4.5. Linux: bictcp_update.</summary>
    internal uint Update(Micros now, uint cwnd, uint acked)
    {
        _ackCount += acked;
        if (_lastCwnd == cwnd && _lastTime != Micros.Zero && now - _lastTime <= Micros.FromMilliseconds(1000 / 32))
            return _count;
        // At most once a millisecond; the Reno-friendly part goes on by itself.
        if (!_hasEpoch || now.Milliseconds != _lastTime.Milliseconds)
            FollowCubic(now, cwnd, acked);
        FollowReno(cwnd);
        return _count;
    }

    private void FollowCubic(Micros now, uint cwnd, uint acked)
    {
        _lastCwnd = cwnd;
        _lastTime = now;
        if (!_hasEpoch)
            StartEpoch(now, cwnd, acked);
        uint target = CubicAt(now);
        _count = target > cwnd ? cwnd / Math.Max(target - cwnd, 1) : 100 * cwnd;
        // Before the first loss there is nothing to aim at: grow by 5 % in a round trip at least.
        if (_lastMax == 0 && _count > 20)
            _count = 20;
    }

    private void StartEpoch(Micros now, uint cwnd, uint acked)
    {
        _epoch = now;
        _hasEpoch = true;
        // What Reno would have counted before is gone with the loss.
        _ackCount = acked;
        _tcpCwnd = cwnd;
        if (_lastMax <= cwnd)
        {
            _k = 0;
            _origin = cwnd;
        }
        else
        {
            // K = cbrt((W_max − cwnd) / C), in 1/1024 s.
            _k = CubicRoot(CubeFactor * (_lastMax - cwnd));
            _origin = _lastMax;
        }
    }

    // 2^(3·Hz) · 2^Hz / (C · 10): the cube of a time in 1/1024 s over packets.
    private const ulong CubeFactor = (1UL << (10 + 3 * Hz)) / (C * 10);

    private uint CubicAt(Micros now)
    {
        ulong t = (ulong)(now - _epoch + new Micros(_minDelay)).Value;
        t = (t << Hz) / 1_000_000;
        ulong distance = t < _k ? _k - t : t - _k;
        ulong delta = (C * 10 * distance * distance * distance) >> (10 + 3 * Hz);
        return t < _k ? _origin - (uint)delta : _origin + (uint)delta;
    }

    // RFC 9438 §4.3: never slower than Reno would be. Linux: tcp_friendliness.
    private void FollowReno(uint cwnd)
    {
        const uint scale = 8 * (BetaScale + Beta) / 3 / (BetaScale - Beta);
        uint delta = (cwnd * scale) >> 3;
        while (_ackCount > delta)
        {
            _ackCount -= delta;
            _tcpCwnd++;
        }
        if (_tcpCwnd > cwnd)
            _count = Math.Min(_count, cwnd / (_tcpCwnd - cwnd));
        _count = Math.Max(_count, 2);
    }

    // Linux: hystart_update: an ACK train as long as half the least round trip, or a round trip that grows, ends slow start.
    private void UpdateHystart(TcpSock sk, Cpu cpu, uint delay)
    {
        if (sk.Snd.Una > _roundEnd)
            ResetHystart(sk);
        Micros now = sk.Time;
        if ((now - _lastAck).Value <= HystartAckDelta)
        {
            _lastAck = now;
            uint threshold = _minDelay + AckDelay(sk);
            // Paced, the train is as long as the sender makes it.
            if (!sk.IsPaced)
                threshold >>= 1;
            if ((now - _roundStart).Value > threshold)
                Found(sk, cpu, Mib.TcpExtTCPHystartTrainDetect, Mib.TcpExtTCPHystartTrainCwnd);
        }
        if (_roundRtt > delay)
            _roundRtt = delay;
        if (_samples < HystartMinSamples)
        {
            _samples++;
            return;
        }
        uint tolerance = Math.Clamp(_minDelay >> 3, HystartDelayMin, HystartDelayMax);
        if (!_found && _roundRtt > _minDelay + tolerance)
            Found(sk, cpu, Mib.TcpExtTCPHystartDelayDetect, Mib.TcpExtTCPHystartDelayCwnd);
    }

    private void Found(TcpSock sk, Cpu cpu, Mib detected, Mib window)
    {
        _found = true;
        cpu.Mib.Inc(detected);
        cpu.Mib.Add(window, sk.Cc.Cwnd);
        sk.Cc.Ssthresh = sk.Cc.Cwnd;
    }

    // How long super-packets may hold ACKs up. Linux: hystart_ack_delay.
    private static uint AckDelay(TcpSock sk)
    {
        ulong rate = sk.PacingRate;
        return rate == 0 ? 0 : (uint)Math.Min(1000, 65536UL * 4 * 1_000_000 / rate);
    }

    /// <summary>The integer cube root, exact to within one: the same on every machine.</summary>
    internal static uint CubicRoot(ulong a)
    {
        if (a == 0)
            return 0;
        ulong x = 1UL << ((64 - BitOperations.LeadingZeroCount(a) + 2) / 3);
        while (true)
        {
            ulong next = (2 * x + a / (x * x)) / 3;
            if (next >= x)
                return (uint)x;
            x = next;
        }
    }
}
