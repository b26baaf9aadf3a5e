using Millrace.Sched;
using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

public sealed class UndoTests
{
    private static long Ms(long ms) => Micros.FromMilliseconds(ms).Value;

    [Fact]
    public void A_recovery_was_a_mistake_if_every_retransmission_was_a_duplicate()
    {
        var undo = default(Undo);
        undo.Start(new SeqNumber(1000), retransOut: 0);
        undo.OnRetransmit(2, sentTime: 5);
        undo.OnRetransmit(1, sentTime: 6);
        undo.OnDuplicate(2, new SeqNumber(3000));
        Assert.False(undo.AllWereDuplicates);
        undo.OnDuplicate(1, new SeqNumber(4000));
        Assert.True(undo.AllWereDuplicates);
    }

    [Fact]
    public void Duplicates_from_before_it_began_do_not_count()
    {
        var undo = default(Undo);
        undo.Start(new SeqNumber(1000), retransOut: 1);
        undo.OnDuplicate(1, new SeqNumber(1000));
        Assert.False(undo.AllWereDuplicates);
        undo.Clear();
        undo.OnDuplicate(1, new SeqNumber(2000));
        Assert.False(undo.AllWereDuplicates);
    }

    [Fact]
    public void A_recovery_without_a_retransmission_cannot_be_judged_by_DSACKs()
    {
        var undo = default(Undo);
        undo.Start(new SeqNumber(1000), retransOut: 0);
        undo.OnDuplicate(1, new SeqNumber(2000));
        Assert.False(undo.AllWereDuplicates);
    }

    /// <summary>RFC 3522 §3.2: the echo is less than the first retransmission's timestamp.</summary>
    [Theory]
    [InlineData(1499, true)]
    [InlineData(1500, false)]
    [InlineData(1501, false)]
    [InlineData(0, false)] // no timestamp
    public void An_echo_from_before_the_retransmission_is_of_the_original(uint tsEcr, bool delayed)
    {
        var undo = default(Undo);
        undo.Start(new SeqNumber(1000), 0);
        undo.OnRetransmit(1, Ms(500));
        undo.OnRetransmit(1, Ms(900));
        Assert.Equal(delayed, undo.IsPacketDelayed(tsEcr, tsOffset: 1000, opening: false));
    }

    [Fact]
    public void Timestamps_wrap()
    {
        var undo = default(Undo);
        undo.OnRetransmit(1, Ms(10));
        Assert.True(undo.IsPacketDelayed(uint.MaxValue - 5, tsOffset: uint.MaxValue, opening: false));
        Assert.False(undo.IsPacketDelayed(12, tsOffset: uint.MaxValue, opening: false));
    }

    [Fact]
    public void Where_nothing_was_retransmitted_the_original_arrived_except_while_opening()
    {
        var undo = default(Undo);
        Assert.True(undo.IsPacketDelayed(0, 0, opening: false));
        Assert.False(undo.IsPacketDelayed(0, 0, opening: true));
    }
}
