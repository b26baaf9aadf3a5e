using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Threading;

namespace Millrace.Conformance;

/// <summary>
/// Exchanges that nobody thought of: a seed writes what a peer and an application do, both stacks play it, and every segment and every
/// result must be the same. What depends on the passing of time is left out: an exchange is over before a timer can end.
/// </summary>
/// <remarks>
/// See <see cref="HostKernel"/> for when it runs. <c>MILLRACE_SEEDS</c> is a range, <c>1000-2000</c>. PSH and timestamps are not
/// compared: they follow from measured time.
/// </remarks>
public sealed class RandomExchangeTests(ITestOutputHelper output)
{
    private const int Steps = 11, Mss = 1000, Attempts = 3;

    [Fact]
    public void Both_stacks_answer_random_exchanges_alike()
    {
        HostKernel.SkipUnlessAskedFor();
        string[] range = (Environment.GetEnvironmentVariable("MILLRACE_SEEDS") ?? "1-60").Split('-');
        int first = int.Parse(range[0], CultureInfo.InvariantCulture), last = int.Parse(range[1], CultureInfo.InvariantCulture);
        var wrong = new List<string>();
        for (int seed = first; seed <= last; seed++)
        {
            if (Difference(seed) is { } difference)
                wrong.Add(difference);
        }
        output.WriteLine($"{wrong.Count} of {last - first + 1} seeds differ");
        Assert.True(wrong.Count == 0, string.Join("\n\n", wrong));
    }

    // A busy machine may let a timer run: only what differs every time counts.
    private static string? Difference(int seed)
    {
        List<string> ours = [], theirs = [];
        for (int attempt = 0; attempt < Attempts; attempt++)
        {
            ours = PlayOn(seed, null);
            theirs = PlayOn(seed, static (family, settings) =>
                OperatingSystem.IsLinux() ? new KernelBackend(family, settings, 10_000) : throw new NotSupportedException());
            if (ours.SequenceEqual(theirs))
                return null;
        }
        int same = ours.Zip(theirs).TakeWhile(static pair => pair.First == pair.Second).Count();
        return $"seed {seed}:\n{string.Join('\n', ours.Take(same).TakeLast(40))}\nours:\n{string.Join('\n', ours.Skip(same).Take(4))}"
            + $"\nLinux's:\n{string.Join('\n', theirs.Skip(same).Take(4))}";
    }

    private static List<string> PlayOn(int seed, Func<Family, StorySettings, Backend>? backend)
    {
        var transcript = new List<string>();
        var thread = new Thread(() =>
        {
            try
            {
                Stage.Play(() => new Exchange(seed, transcript).Run(), Family.V4, backend);
            }
            catch (Exception e)
            {
                transcript.Add(e.Message.Split('\n')[0]);
            }
        });
        thread.Start();
        thread.Join();
        return transcript;
    }

    private sealed class Exchange(int seed, List<string> transcript)
    {
        private readonly Random _random = new(seed);
        private Story _tcp = null!;
        private long _next = 1, _una = 1;
        private bool _finSent, _closed;

        public void Run()
        {
            var settings = new StorySettings
            {
                Sysctls = { ["tcp_comp_sack_nr"] = "0", ["tcp_early_retrans"] = "0", ["tcp_recovery"] = seed % 5 == 0 ? "0" : "1" },
            };
            using Story tcp = Story.Established(Mss, sack: seed % 4 != 3, ts: seed % 2 == 1, settings: settings);
            _tcp = tcp;
            for (int i = 0; i < Steps; i++)
            {
                Step();
                // Both measure about the same times, and a reordering window is over before the next step, ticks or none.
                tcp.After(18);
                foreach (Segment sent in tcp.Drain())
                    transcript.Add("    " + Text(sent));
            }
            TcpInfo info = tcp.Info;
            if (info.State == (byte)TcpState.Close)
                return;
            transcript.Add($"state {info.State} ca {info.CongestionState} unacked {info.Unacked} sacked {info.Sacked} lost {info.Lost} "
                + $"retrans {info.Retransmitted}/{info.TotalRetransmits} cwnd {info.SendCwnd} ssthresh {info.SendSsthresh} "
                + $"reordering {info.Reordering}/{info.ReorderingSeen} dsack {info.DsackDuplicates} delivered {info.Delivered} "
                + $"ooo {info.OutOfOrderReceived} received {info.BytesReceived} acked {info.BytesAcked} rcv_mss {info.ReceiveMss}");
        }

        private void Step()
        {
            switch (_random.Next(12))
            {
                case < 4:
                    Data();
                    break;
                case < 8:
                    Acknowledge();
                    break;
                case 8 or 9:
                    int count = _random.Next(4) == 0 ? _random.Next(1, 200) : _random.Next(1, 6) * Mss;
                    transcript.Add($"write({count}) = {_tcp.App.TryWrite(count, MessageFlags.NoSignal)}");
                    break;
                case 10:
                    int room = _random.Next(1, 4000);
                    transcript.Add($"read({room}) = {_tcp.App.TryRead(room)}");
                    break;
                case 11:
                    Rare();
                    break;
            }
        }

        private void Data()
        {
            int length = _random.Next(4) switch
            {
                0 => _random.Next(1, 300),
                1 => 500,
                _ => Mss,
            };
            long seq = _next + _random.Next(8) switch
            {
                0 => Mss,
                1 => 2 * Mss,
                2 => -_random.Next(1, 1500),
                3 => _random.Next(1, 3000),
                _ => 0,
            };
            if (seq <= _next && !_finSent)
                _next = Math.Max(_next, seq + length);
            Get($"{(_random.Next(2) == 0 ? "P." : ".")} {seq}:{seq + length} ack {_una}");
        }

        private void Acknowledge()
        {
            long end = _tcp.Peer.LocalNext;
            long ack = _random.Next(5) switch
            {
                0 => _una,
                1 => end,
                2 => Math.Min(end, _una + Mss),
                3 => Math.Max(1, _una - _random.Next(1, 3000)),
                _ => _una + (end - _una) / 2,
            };
            string sack = "";
            if (_random.Next(2) == 0 && end - ack > Mss)
            {
                int blocks = _random.Next(1, 4);
                for (int i = 0; i < blocks; i++)
                {
                    long from = ack + _random.Next(0, (int)(end - ack) / Mss + 1) * Mss + (_random.Next(6) == 0 ? _random.Next(-400, 400) : 0);
                    sack += $" {from}:{Math.Min(from + _random.Next(1, 4) * Mss, end + (_random.Next(20) == 0 ? 500 : 0))}";
                }
                sack = $" <nop, nop, sack{sack}>";
            }
            _una = Math.Max(_una, ack);
            Get($". {_next}:{_next} ack {ack}{(_random.Next(6) == 0 ? $" win {_random.Next(0, 300)}" : "")}{sack}");
        }

        private void Rare()
        {
            switch (_random.Next(9))
            {
                case 0 when !_closed:
                    _closed = true;
                    transcript.Add($"shutdown = {_tcp.App.TryShutdown(Shut.Wr)}");
                    break;
                case 1:
                    Get($"F. {_next}:{_next} ack {_una}");
                    _finSent = true;
                    break;
                case 2:
                    long reset = _next + _random.Next(1, 2000);
                    Get($"R. {reset}:{reset} ack {_una}");
                    break;
                case 3:
                    long syn = _next + _random.Next(-100, 100);
                    Get($"S {syn}:{syn}");
                    break;
                case 4:
                    Get($". {_next}:{_next} ack {_tcp.Peer.LocalNext + _random.Next(1, 5000)}");
                    break;
                case 5:
                    transcript.Add($"nodelay = {_tcp.App.TrySet(Opt.Tcp, Opt.NoDelay, BitConverter.GetBytes(_random.Next(2)))}");
                    break;
                case 6:
                    transcript.Add($"cork = {_tcp.App.TrySet(Opt.Tcp, Opt.Cork, BitConverter.GetBytes(_random.Next(2)))}");
                    break;
                case 7:
                    transcript.Add($"quickack = {_tcp.App.TrySet(Opt.Tcp, Opt.QuickAck, BitConverter.GetBytes(_random.Next(2)))}");
                    break;
                case 8:
                    Get($"PU. {_next}:{_next + 10} ack {_una} urg {_random.Next(1, 20)}");
                    if (!_finSent)
                        _next += 10;
                    break;
            }
        }

        private void Get(string text)
        {
            transcript.Add(text);
            _tcp.Gets(text);
        }

        private static string Text(Segment s)
        {
            string text = s.ToString().Replace("P", "", StringComparison.Ordinal);
            int ts = text.IndexOf("ts val", StringComparison.Ordinal);
            if (ts < 0)
                return text;
            int end = text.IndexOfAny([',', '>'], ts);
            return text[..ts] + "ts" + text[end..];
        }
    }
}
