using System.Collections.Generic;
using Millrace.Buffers;
using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

public sealed class OutOfOrderQueueTests
{
    private static SkBuff Segment(TestCpu test, uint seq, uint end)
    {
        SkBuff skb = test.Cpu.AllocSkb();
        skb.Tcp.Seq = new(seq);
        skb.Tcp.EndSeq = new(end);
        return skb;
    }

    private static OutOfOrderQueue Queue(TestCpu test, params (uint Seq, uint End)[] segments)
    {
        var queue = default(OutOfOrderQueue);
        foreach ((uint seq, uint end) in segments)
            queue.InsertAfter(Segment(test, seq, end), queue.Last);
        return queue;
    }

    [Theory]
    [InlineData(100, 200, (int)Overlap.None, 0)]
    [InlineData(300, 400, (int)Overlap.None, 200)]
    [InlineData(900, 950, (int)Overlap.None, 600)]
    [InlineData(200, 300, (int)Overlap.Whole, 200)]
    [InlineData(210, 290, (int)Overlap.Whole, 200)]
    [InlineData(250, 350, (int)Overlap.Front, 200)]
    [InlineData(200, 350, (int)Overlap.Longer, 200)]
    [InlineData(650, 800, (int)Overlap.Front, 600)]
    public void A_segment_finds_its_place_and_what_of_it_is_there(uint seq, uint end, int overlap, uint previous)
    {
        using var test = new TestCpu();
        OutOfOrderQueue queue = Queue(test, (200, 300), (600, 700));
        Assert.Equal((Overlap)overlap, queue.Find(new(seq), new(end), out SkBuff? behind));
        Assert.Equal(previous, behind?.Tcp.Seq.Value ?? 0);
    }

    [Fact]
    public void What_a_longer_segment_covers_is_taken_off_and_reported()
    {
        using var test = new TestCpu();
        OutOfOrderQueue queue = Queue(test, (200, 700), (300, 400), (400, 500), (650, 800), (900, 950));
        var reported = new List<SeqRange>();
        SkBuff first = queue.First!;
        while (true)
        {
            SkBuff? covered = queue.TakeCovered(first, new(700), out SeqRange duplicate);
            if (!duplicate.IsEmpty)
                reported.Add(duplicate);
            if (covered is null)
                break;
        }
        Assert.Equal([SentFlight.Range(300, 400), SentFlight.Range(400, 500), SentFlight.Range(650, 700)], reported);
        // One that is covered in part stays.
        Assert.Equal(new SeqNumber(650), SeqTree.After(first)!.Tcp.Seq);
    }

    [Fact]
    public void Neighbours_that_only_touch_are_not_duplicates()
    {
        using var test = new TestCpu();
        OutOfOrderQueue queue = Queue(test, (200, 300), (300, 400));
        Assert.Null(queue.TakeCovered(queue.First!, new(300), out SeqRange duplicate));
        Assert.True(duplicate.IsEmpty);
    }

    [Fact]
    public void It_is_worked_off_up_to_the_next_hole()
    {
        using var test = new TestCpu();
        OutOfOrderQueue queue = Queue(test, (200, 300), (300, 400), (500, 600));
        Assert.Null(queue.TakeInOrder(new(199)));
        Assert.Equal(new SeqNumber(200), queue.TakeInOrder(new(250))!.Tcp.Seq);
        Assert.Equal(new SeqNumber(300), queue.TakeInOrder(new(300))!.Tcp.Seq);
        Assert.Null(queue.TakeInOrder(new(400)));
        Assert.Equal(new SeqNumber(500), queue.First!.Tcp.Seq);
    }
}
