using System;
using System.Collections.Generic;
using System.Linq;
using CsCheck;
using Millrace.Sched;

namespace Millrace.Tests.Sched;

public sealed class TimerWheelTests
{
    private sealed class Node(int id) : TimerNode
    {
        public int Id => id;

        internal override void Fire(Cpu cpu) => throw new InvalidOperationException("the wheel only hands out");
    }

    /// <summary>Held against a list of deadlines: any arming, disarming and turning, near and far.</summary>
    [Fact]
    public void Each_node_comes_out_once_at_its_time_and_in_order() =>
        Gen.Select(Gen.Int[0, 5], Gen.Int[0, 15], Gen.Long[0, 40].Select(bits => 1L << (int)bits), Gen.Long[0, 100]).Array[1, 80].Sample(steps =>
        {
            var wheel = new TimerWheel();
            Node[] nodes = [.. Enumerable.Range(0, 16).Select(i => new Node(i))];
            var armed = new Dictionary<int, long>();
            long now = 0;
            foreach ((int what, int id, long span, long jitter) in steps)
            {
                Node node = nodes[id];
                if (what < 3)
                {
                    if (armed.Remove(id))
                        wheel.Remove(node);
                    long at = now + span + jitter;
                    wheel.Insert(node, new Micros(at));
                    armed[id] = at;
                }
                else if (what == 3)
                {
                    if (armed.Remove(id))
                        wheel.Remove(node);
                }
                else if (!Turn(wheel, armed, now += span))
                {
                    return false;
                }
                if (wheel.Count != armed.Count || (armed.Count > 0 && wheel.NextExpiry.Value > armed.Values.Min()))
                    return false;
            }
            return Turn(wheel, armed, 1L << 50) && wheel.Count == 0 && wheel.NextExpiry == Micros.Never;
        }, iter: 3000);

    private static bool Turn(TimerWheel wheel, Dictionary<int, long> armed, long now)
    {
        long last = long.MinValue;
        while (wheel.TakeDue(new Micros(now)) is { } due)
        {
            int id = ((Node)due).Id;
            if (due.IsQueued || !armed.Remove(id, out long at) || at > now || at < last)
                return false;
            last = at;
        }
        return armed.Values.All(at => at > now);
    }

    /// <summary>A node that is due and not yet taken can still be moved or disarmed: another CPU may do so while the first one fires.</summary>
    [Fact]
    public void A_due_node_that_waits_for_its_turn_can_be_moved()
    {
        var wheel = new TimerWheel();
        Node[] nodes = [new(0), new(1), new(2)];
        foreach (Node n in nodes)
            wheel.Insert(n, new Micros(10));
        var first = (Node)wheel.TakeDue(new Micros(10))!;
        Node[] waiting = [.. nodes.Where(n => n != first)];
        wheel.Remove(waiting[0]);
        wheel.Insert(waiting[0], new Micros(500));
        Assert.Same(waiting[1], wheel.TakeDue(new Micros(10)));
        Assert.Null(wheel.TakeDue(new Micros(499)));
        Assert.Same(waiting[0], wheel.TakeDue(new Micros(500)));
    }
}
