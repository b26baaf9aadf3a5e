using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

public sealed class ReceivedSackTests
{
    private static readonly SendSpace Snd = new() { Una = new(1000), Nxt = new(9000), MaxWnd = 4000 };

    private static SeqRange Range(uint start, uint end) => SentFlight.Range(start, end);

    private static bool IsValid(uint start, uint end, bool isDuplicate = false, Undo undo = default) =>
        ReceivedSack.IsValid(Range(start, end), isDuplicate, Snd, undo);

    [Fact]
    public void Blocks_are_walked_in_order_of_sequence_even_over_the_wrap()
    {
        var sack = default(ReceivedSack);
        sack.Add(Range(50, 60), isDuplicate: false);
        sack.Add(Range(uint.MaxValue - 20, uint.MaxValue - 10), isDuplicate: false);
        sack.Add(Range(10, 20), isDuplicate: false);
        Assert.Equal([Range(uint.MaxValue - 20, uint.MaxValue - 10), Range(10, 20), Range(50, 60)], [sack[0], sack[1], sack[2]]);
        Assert.Equal(3, sack.Count);
    }

    [Fact]
    public void The_duplicate_is_found_at_its_place()
    {
        var sack = default(ReceivedSack);
        sack.Add(Range(50, 60), isDuplicate: true);
        sack.Add(Range(10, 20), isDuplicate: false);
        Assert.False(sack.IsDuplicate(0));
        Assert.True(sack.IsDuplicate(1));
        Assert.False(sack.IsDuplicate(2));
    }

    [Theory]
    [InlineData(1001, 2000, true)]
    [InlineData(8000, 9000, true)]
    [InlineData(8000, 9001, false)] // beyond what was sent
    [InlineData(9000, 9000, false)]
    [InlineData(3000, 2000, false)] // reversed
    [InlineData(1000, 2000, false)] // at the left edge: the ACK would have moved
    [InlineData(500, 2000, false)]
    public void Only_what_is_out_can_be_SACKed(uint start, uint end, bool valid) => Assert.Equal(valid, IsValid(start, end));

    [Fact]
    public void A_DSACK_below_the_ACK_can_be_about_this_episode_and_a_window_before_it()
    {
        Undo undo = default;
        undo.Start(new SeqNumber(800), retransOut: 1);
        Assert.True(IsValid(800, 900, isDuplicate: true, undo));
        Assert.True(IsValid(700, 900, isDuplicate: true, undo));
        Assert.False(IsValid(700, 800, isDuplicate: true, undo));
        // More than was ever in a window.
        Assert.False(IsValid(unchecked((uint)-3500), 900, isDuplicate: true, undo));
        Assert.False(IsValid(800, 1001, isDuplicate: true, undo));
        Assert.False(IsValid(800, 900, isDuplicate: true));
        Assert.False(IsValid(800, 900, isDuplicate: false, undo));
    }
}
