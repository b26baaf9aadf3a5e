namespace Millrace.Tcp;

/// <summary>
/// The least (or greatest) value of a sliding window of time, kept with the best three samples only: exact enough, in 24 bytes.
/// </summary>
/// <remarks>Kathleen Nichols' algorithm, as in Linux's lib/win_minmax.c (minmax_running_min, minmax_running_max).</remarks>
internal struct MinFilter
{
    private Sample _first, _second, _third;

    private struct Sample
    {
        public uint Time, Value;
    }

    public readonly uint Value => _first.Value;

    public void Reset(uint time, uint value)
    {
        _first = _second = _third = new Sample { Time = time, Value = value };
    }

    /// <summary>Adds a sample to the running minimum over <paramref name="window"/>, in the unit of <paramref name="time"/>.</summary>
    public uint RunningMin(uint window, uint time, uint value)
    {
        var sample = new Sample { Time = time, Value = value };
        if (value <= _first.Value || time - _third.Time > window)
        {
            Reset(time, value);
            return value;
        }
        if (value <= _second.Value)
            _second = _third = sample;
        else if (value <= _third.Value)
            _third = sample;
        return Update(window, sample);
    }

    /// <summary>Adds a sample to the running maximum over <paramref name="window"/>.</summary>
    public uint RunningMax(uint window, uint time, uint value)
    {
        var sample = new Sample { Time = time, Value = value };
        if (value >= _first.Value || time - _third.Time > window)
        {
            Reset(time, value);
            return value;
        }
        if (value >= _second.Value)
            _second = _third = sample;
        else if (value >= _third.Value)
            _third = sample;
        return Update(window, sample);
    }

    // The best sample ages: when it leaves the window the second best takes its place, and so on; and if a quarter or a half of the
    // window has gone by without a second or third choice of its own, the newest sample becomes it.
    private uint Update(uint window, Sample sample)
    {
        uint age = sample.Time - _first.Time;
        if (age > window)
        {
            _first = _second;
            _second = _third;
            _third = sample;
            if (sample.Time - _first.Time > window)
            {
                _first = _second;
                _second = _third;
            }
        }
        else if (_second.Time == _first.Time && age > window / 4)
        {
            _second = _third = sample;
        }
        else if (_third.Time == _second.Time && age > window / 2)
        {
            _third = sample;
        }
        return _first.Value;
    }
}
