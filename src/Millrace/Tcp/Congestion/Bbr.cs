using System;
using Millrace.Sched;

namespace Millrace.Tcp.Congestion;

/// <summary>
/// BBR: measures the path's bandwidth and its least round trip, paces at the one and keeps no more than a few times their product in
/// flight; loss is no signal.
/// </summary>
/// <remarks>
/// draft-cardwell-iccrg-bbr-congestion-control-00 (version 1). Linux: tcp_bbr. Bandwidths are packets per microsecond times 2^24, gains
/// are in units of 1/256. Deviates: no long-term sampling for policers and no allowance for aggregated ACKs, which the draft does not have.
/// </remarks>
internal sealed class Bbr : CongestionControl
{
    private const int BandwidthShift = 24, GainShift = 8;
    private const uint GainUnit = 1 << GainShift;

    // 2/ln 2 doubles the delivery rate each round trip; its inverse drains the queue that this leaves. §4.3.1.1, §4.3.2.
    private const uint HighGain = GainUnit * 2885 / 1000 + 1, DrainGain = GainUnit * 1000 / 2885, CwndGain = GainUnit * 2;

    /// <summary>BBRMinPipeCwnd, packets.</summary>
    private const uint MinCwnd = 4;

    /// <summary>BBR.BtlwBw's filter, in round trips. §4.1.1.3.</summary>
    private const uint BandwidthRounds = 10;

    /// <summary>A pipe is full when so many round trips have not brought a quarter more. §4.3.1.2.</summary>
    private const int FullRounds = 3;
    private const uint FullGain = GainUnit * 5 / 4;

    /// <summary>Paced a hundredth below the estimate, so that no queue builds up.</summary>
    private const ulong PacingPercent = 99;

    private static readonly Micros s_minRttWindow = Micros.FromSeconds(10), s_probeRttTime = Micros.FromMilliseconds(200);

    private enum Mode
    {
        Startup,
        Drain,
        ProbeBandwidth,
        ProbeRtt,
    }

    private Mode _mode;
    private MinFilter _bandwidth;
    private uint _rounds, _nextRoundDelivered, _minRttUs, _fullBandwidth, _priorCwnd;
    private uint _pacingGain, _cwndGain;
    private int _fullCount, _phase;
    private bool _roundStarts, _pipeFilled, _idleRestart, _probeRttRoundDone, _conserving, _hasSeenRtt;
    private CaState _previousState;
    private Micros _minRttStamp, _phaseStart, _probeRttEnd;

    // One phase to probe for more, one to drain what that left, six to cruise. §4.3.4.1.
    private static ReadOnlySpan<uint> PhaseGains =>
        [GainUnit * 5 / 4, GainUnit * 3 / 4, GainUnit, GainUnit, GainUnit, GainUnit, GainUnit, GainUnit];

    public override string Name => "bbr";

    public override bool ControlsAll => true;

    public override uint SendBufferExpansion(TcpSock sk) => 3;

    public override uint MinTsoSegments(TcpSock sk) => sk.PacingRate < 150_000 ? 1u : 2;

    public override void Init(TcpSock sk)
    {
        sk.Cc.Ssthresh = TcpConstants.InfiniteSsthresh;
        sk.OnPacingRequested();
        _nextRoundDelivered = sk.Delivered;
        _minRttUs = sk.Rtt.HasSample ? sk.MinRttUs : uint.MaxValue;
        _minRttStamp = sk.Time;
        _bandwidth.Reset(_rounds, 0);
        InitPacingRate(sk);
        Enter(Mode.Startup);
    }

    public override void CongestionAvoidance(TcpSock sk, Cpu cpu, uint acked)
    {
    }

    /// <summary>A loss is no reason to slow down: only what the window was is remembered.</summary>
    public override uint Ssthresh(TcpSock sk)
    {
        SaveCwnd(sk);
        return sk.Cc.Ssthresh;
    }

    /// <summary>A reduction that was a mistake may have hidden bandwidth: look for it again.</summary>
    public override uint UndoCwnd(TcpSock sk)
    {
        _fullBandwidth = 0;
        _fullCount = 0;
        return sk.Cc.Cwnd;
    }

    public override void SetState(TcpSock sk, CaState state)
    {
        if (state != CaState.Loss)
            return;
        _previousState = CaState.Loss;
        _fullBandwidth = 0;
        _roundStarts = true;
    }

    // §4.3.4.4: after an idle time the pipe is empty, and needs no more than what it takes.
    public override void OnEvent(TcpSock sk, CaEvent what)
    {
        if (what != CaEvent.TxStart || sk.Rate.AppLimited == 0)
            return;
        _idleRestart = true;
        if (_mode == Mode.ProbeBandwidth)
            SetPacingRate(sk, GainUnit);
        else if (_mode == Mode.ProbeRtt)
            TryEndProbeRtt(sk);
    }

    public override void Control(TcpSock sk, Cpu cpu, in RateSample sample)
    {
        UpdateBandwidth(sk, sample);
        if (_mode == Mode.ProbeBandwidth && IsPhaseOver(sk, sample))
            NextPhase(sk);
        CheckPipeFilled(sample);
        CheckDrained(sk);
        UpdateMinRtt(sk, sample);
        SetPacingRate(sk, _pacingGain);
        SetCwnd(sk, sample);
    }

    /// <summary>struct tcp_bbr_info.</summary>
    public override int GetInfo(TcpSock sk, Span<byte> info)
    {
        const int size = 20;
        ulong bytesPerSecond = (ulong)_bandwidth.Value * (ulong)sk.MssCache * 1_000_000 >> BandwidthShift;
        BitConverter.TryWriteBytes(info, bytesPerSecond);
        BitConverter.TryWriteBytes(info[8..], _minRttUs);
        BitConverter.TryWriteBytes(info[12..], _pacingGain);
        BitConverter.TryWriteBytes(info[16..], _cwndGain);
        return size;
    }

    // ---- The model ----

    // §4.1.1.
    private void UpdateBandwidth(TcpSock sk, in RateSample sample)
    {
        _roundStarts = false;
        if (sample.Delivered < 0 || sample.IntervalUs <= 0)
            return;
        if ((int)(sample.PriorDelivered - _nextRoundDelivered) >= 0)
        {
            _nextRoundDelivered = sk.Delivered;
            _rounds++;
            _roundStarts = true;
            _conserving = false;
        }
        uint bandwidth = (uint)Math.Min(((ulong)sample.Delivered << BandwidthShift) / (ulong)sample.IntervalUs, uint.MaxValue);
        // What the application held back says nothing of the path, unless it is more than was known.
        if (!sample.IsAppLimited || bandwidth >= _bandwidth.Value)
            _bandwidth.RunningMax(BandwidthRounds, _rounds, bandwidth);
    }

    // §4.1.2, §4.3.5.
    private void UpdateMinRtt(TcpSock sk, in RateSample sample)
    {
        bool expired = sk.Time > _minRttStamp + s_minRttWindow;
        if (sample.RttUs >= 0 && (sample.RttUs < _minRttUs || (expired && !sample.IsAckDelayed)))
        {
            _minRttUs = (uint)Math.Max(sample.RttUs, 1);
            _minRttStamp = sk.Time;
        }
        if (expired && !_idleRestart && _mode != Mode.ProbeRtt)
        {
            SaveCwnd(sk);
            Enter(Mode.ProbeRtt);
            _probeRttEnd = Micros.Zero;
        }
        if (_mode == Mode.ProbeRtt)
            ProbeRtt(sk);
        if (sample.Delivered > 0)
            _idleRestart = false;
    }

    private void ProbeRtt(TcpSock sk)
    {
        // Rates while the window is small are not the path's.
        sk.Rate.MarkAppLimited(sk.PacketsInFlight);
        if (_probeRttEnd == Micros.Zero)
        {
            if (sk.PacketsInFlight > MinCwnd)
                return;
            _probeRttEnd = sk.Time + s_probeRttTime;
            _probeRttRoundDone = false;
            _nextRoundDelivered = sk.Delivered;
            return;
        }
        _probeRttRoundDone |= _roundStarts;
        if (_probeRttRoundDone)
            TryEndProbeRtt(sk);
    }

    private void TryEndProbeRtt(TcpSock sk)
    {
        if (_probeRttEnd == Micros.Zero || sk.Time <= _probeRttEnd)
            return;
        _minRttStamp = sk.Time;
        sk.Cc.Cwnd = Math.Max(sk.Cc.Cwnd, _priorCwnd);
        if (_pipeFilled)
            EnterProbeBandwidth(sk);
        else
            Enter(Mode.Startup);
    }

    // §4.3.1.2.
    private void CheckPipeFilled(in RateSample sample)
    {
        if (_pipeFilled || !_roundStarts || sample.IsAppLimited)
            return;
        if (_bandwidth.Value >= (ulong)_fullBandwidth * FullGain >> GainShift)
        {
            _fullBandwidth = _bandwidth.Value;
            _fullCount = 0;
            return;
        }
        _pipeFilled = ++_fullCount >= FullRounds;
    }

    private void CheckDrained(TcpSock sk)
    {
        if (_mode == Mode.Startup && _pipeFilled)
        {
            Enter(Mode.Drain);
            sk.Cc.Ssthresh = Target(sk, GainUnit);
        }
        if (_mode == Mode.Drain && sk.PacketsInFlight <= Target(sk, GainUnit))
            EnterProbeBandwidth(sk);
    }

    // ---- Modes ----

    private void Enter(Mode mode)
    {
        _mode = mode;
        (_pacingGain, _cwndGain) = mode switch
        {
            Mode.Startup => (HighGain, HighGain),
            Mode.Drain => (DrainGain, HighGain),
            Mode.ProbeBandwidth => (PhaseGains[_phase], CwndGain),
            Mode.ProbeRtt => (GainUnit, GainUnit),
        };
    }

    // Any phase but the draining one may be the first, so that flows do not probe together. §4.3.4.3.
    private void EnterProbeBandwidth(TcpSock sk)
    {
        uint scatter = sk.Snd.Nxt.Value * 2654435761u >> 16;
        _phase = PhaseGains.Length - 1 - (int)(scatter % (uint)(PhaseGains.Length - 1));
        NextPhase(sk);
    }

    private void NextPhase(TcpSock sk)
    {
        _phase = (_phase + 1) % PhaseGains.Length;
        _phaseStart = new Micros(sk.Rate.DeliveredTime);
        Enter(Mode.ProbeBandwidth);
    }

    // §4.3.4.1: a phase lasts a round trip; probing goes on until it has filled the pipe, draining only until it has emptied it.
    private bool IsPhaseOver(TcpSock sk, in RateSample sample)
    {
        bool lasted = sk.Rate.DeliveredTime - _phaseStart.Value > _minRttUs;
        if (_pacingGain == GainUnit)
            return lasted;
        return _pacingGain > GainUnit
            ? lasted && (sample.Losses > 0 || sample.PriorInFlight >= Target(sk, _pacingGain))
            : lasted || sample.PriorInFlight <= Target(sk, GainUnit);
    }

    // ---- What follows from it ----

    private ulong RateOf(TcpSock sk, uint bandwidth, uint gain) =>
        ((ulong)bandwidth * (ulong)sk.MssCache * gain >> GainShift) * (1_000_000 / 100 * PacingPercent) >> BandwidthShift;

    // §4.2.1.
    private void SetPacingRate(TcpSock sk, uint gain)
    {
        if (!_hasSeenRtt && sk.Rtt.HasSample)
            InitPacingRate(sk);
        ulong rate = Math.Min(RateOf(sk, _bandwidth.Value, gain), sk.MaxPacingRate);
        if (_pipeFilled || rate > sk.PacingRate)
            sk.PacingRate = rate;
    }

    private void InitPacingRate(TcpSock sk)
    {
        _hasSeenRtt = sk.Rtt.HasSample;
        ulong rtt = _hasSeenRtt ? Math.Max(sk.Rtt.Srtt8 >> 3, 1u) : 1000;
        uint bandwidth = (uint)Math.Min(((ulong)sk.Cc.Cwnd << BandwidthShift) / rtt, uint.MaxValue);
        sk.PacingRate = Math.Min(RateOf(sk, bandwidth, HighGain), sk.MaxPacingRate);
    }

    // Packets that the model wants in flight: the product of bandwidth and round trip, and room for what is sent in bursts. §4.2.3.2.
    private uint Target(TcpSock sk, uint gain)
    {
        uint product = TcpConstants.InitialCwnd;
        if (_minRttUs != uint.MaxValue)
        {
            UInt128 packets = (UInt128)_bandwidth.Value * _minRttUs * gain >> GainShift;
            product = (uint)((packets + (1 << BandwidthShift) - 1) >> BandwidthShift);
        }
        uint burst = Math.Max(MinTsoSegments(sk), (uint)Math.Min(sk.PacingRate >> 10, ushort.MaxValue) / (uint)Math.Max(sk.MssCache, 1));
        uint target = (product + 3 * burst + 1) & ~1u;
        return _mode == Mode.ProbeBandwidth && _phase == 0 ? target + 2 : target;
    }

    // §4.2.3.
    private void SetCwnd(TcpSock sk, in RateSample sample)
    {
        uint acked = sample.AckedSacked, cwnd = sk.Cc.Cwnd;
        if (acked > 0 && !Conserve(sk, sample, acked, ref cwnd))
        {
            uint target = Target(sk, _cwndGain);
            if (_pipeFilled)
                cwnd = Math.Min(cwnd + acked, target);
            else if (cwnd < target || sk.Delivered < TcpConstants.InitialCwnd)
                cwnd += acked;
            cwnd = Math.Max(cwnd, MinCwnd);
        }
        sk.Cc.Cwnd = Math.Min(cwnd, sk.Cc.Clamp);
        if (_mode == Mode.ProbeRtt)
            sk.Cc.Cwnd = Math.Min(sk.Cc.Cwnd, MinCwnd);
    }

    // In the first round of a recovery one packet goes for each that arrived; after it the old window is back. §4.2.3.4.
    private bool Conserve(TcpSock sk, in RateSample sample, uint acked, ref uint cwnd)
    {
        CaState state = sk.CaState, previous = _previousState;
        if (sample.Losses > 0)
            cwnd = (uint)Math.Max((int)cwnd - sample.Losses, 1);
        if (state == CaState.Recovery && previous != CaState.Recovery)
        {
            _conserving = true;
            _nextRoundDelivered = sk.Delivered;
            cwnd = sk.PacketsInFlight + acked;
        }
        else if (previous >= CaState.Recovery && state < CaState.Recovery)
        {
            cwnd = Math.Max(cwnd, _priorCwnd);
            _conserving = false;
        }
        _previousState = state;
        if (_conserving)
            cwnd = Math.Max(cwnd, sk.PacketsInFlight + acked);
        return _conserving;
    }

    private void SaveCwnd(TcpSock sk) => _priorCwnd = _previousState < CaState.Recovery && _mode != Mode.ProbeRtt
        ? sk.Cc.Cwnd
        : Math.Max(_priorCwnd, sk.Cc.Cwnd);
}
