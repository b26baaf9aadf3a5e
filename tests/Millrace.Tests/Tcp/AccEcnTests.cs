using System;
using System.Linq;
using Millrace.Sched;
using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

public sealed class AccEcnTests
{
    private static AccEcnAck NewAck() => new() { Ace = 5, Mss = 1000, IsExact = true };

    [Fact]
    public void The_three_flags_are_a_number()
    {
        Assert.Equal([0, 1, 2, 3, 4, 5, 6, 7], Enumerable.Range(0, 8).Select(static n => AceField.Of(AceField.Flags(n) | TcpFlags.Ack)));
        Assert.Equal(TcpFlags.Ae | TcpFlags.Ece, AceField.Count(0));
        Assert.Equal(TcpFlags.None, AceField.Count(3));
        Assert.Equal(0u, AceField.Beyond(5, 0));
        Assert.Equal(7u, AceField.Beyond(4, 0));
        Assert.Equal(1u, AceField.Beyond(0, 2));
    }

    [Fact]
    public void What_is_reflected_is_read_back()
    {
        foreach (Ecn codepoint in Enum.GetValues<Ecn>())
            Assert.Equal(codepoint, AceField.Reflected(AceField.Of(AceField.Reflect(codepoint))));
        Assert.All([0, 1, 5, 7], static ace => Assert.Null(AceField.Reflected(ace)));
    }

    [Fact]
    public void All_but_two_patterns_ask_for_it() =>
        Assert.Equal([1, 2, 4, 5, 6, 7], Enumerable.Range(0, 8).Where(static ace => AceField.Asks(AceField.Flags(ace))));

    [Fact]
    public void A_counter_follows_24_bits_forth_across_the_wrap_and_back()
    {
        uint counter = 0xfffff0;
        Assert.Equal(32, EcnBytes.Follow(ref counter, [0, 0, 0x11], 1));
        Assert.Equal(0x1000010u, counter);
        Assert.Equal(-16, EcnBytes.Follow(ref counter, [0, 0, 1], 1));
        Assert.Equal(0x1000000u, counter);
    }

    [Theory]
    [InlineData("", AccEcnOptionSeen.Empty)]
    [InlineData("000001", AccEcnOptionSeen.Counters)]
    [InlineData("000000", AccEcnOptionSeen.Zeroed)]
    [InlineData("000001000000", AccEcnOptionSeen.Counters)]
    [InlineData("000001000000000001", AccEcnOptionSeen.Counters)]
    [InlineData("000001000000000000", AccEcnOptionSeen.Zeroed)]
    [InlineData("000001000000000001ff", AccEcnOptionSeen.Counters)]
    public void A_first_option_is_judged_by_its_ect_counters(string hex, object verdict) =>
        Assert.Equal(verdict, AccEcn.Judge(Convert.FromHexString(hex)));

    [Fact]
    public void A_counter_that_passes_four_mebibytes_wants_an_option()
    {
        var state = new AccEcn { OptionSeen = AccEcnOptionSeen.Counters, Previous = Ecn.Ect0 };
        state.OnOptionsWritten(hasAccEcn: true, duplicate: false, new Micros(1));
        for (int sent = 0; sent < (1 << 22) - 60_000; sent += 60_000)
            state.OnReceived(Ecn.Ect0, 60_000, 41, negotiated: true);
        Assert.False(state.WantsOption(1, 0, new Micros(1), new Micros(1)));
        state.OnReceived(Ecn.Ect0, 60_000, 41, negotiated: true);
        Assert.True(state.WantsOption(1, 0, new Micros(1), new Micros(1)));
        Assert.Equal(3, state.MinFields);
    }

    [Fact]
    public void A_super_packet_that_is_marked_is_as_many_marks_as_it_has_segments()
    {
        var state = new AccEcn();
        Assert.True(state.OnReceived(Ecn.Ce, 30_000, 20, negotiated: true));
        Assert.Equal((20u, (byte)15), (state.ReceivedCe, state.PendingCe));
    }

    [Fact]
    public void What_was_not_negotiated_is_counted_and_nothing_else()
    {
        var state = new AccEcn();
        Assert.False(state.OnReceived(Ecn.Ce, 1000, 1, negotiated: false));
        Assert.Equal((1u, 1000u, (byte)0), (state.ReceivedCe, state.ReceivedBytes[EcnBytes.Index(Ecn.Ce)], state.Demand));
    }

    [Theory]
    // What our SYN had, what the peer says, and whether a path can do that.
    [InlineData(Ecn.NotEct, 0b010, true)]
    [InlineData(Ecn.NotEct, 0b011, false)]
    [InlineData(Ecn.NotEct, 0b110, false)]
    [InlineData(Ecn.Ect0, 0b100, true)]
    [InlineData(Ecn.Ect0, 0b011, true)]
    [InlineData(Ecn.Ect0, 0b110, true)]
    [InlineData(Ecn.Ect0, 0b010, false)]
    [InlineData(Ecn.Ect1, 0b100, true)]
    public void A_path_may_mark_but_not_make_capable_nor_wash(object sent, int ace, bool plausible)
    {
        var state = new AccEcn { SynSent = (Ecn)sent };
        Assert.Equal(plausible, state.IsPlausible(ace));
        Assert.Equal(plausible, state.MarksData);
    }

    [Fact]
    public void An_ack_for_few_packets_means_what_it_says()
    {
        AccEcnAck ack = NewAck();
        (ack.Ace, ack.Packets, ack.KnownMarked) = (1, 7, 3);
        Assert.Equal(1u, new AccEcn().OnAck(ack));
    }

    [Fact]
    public void A_predicted_ack_means_nothing_unless_it_hides_a_whole_turn()
    {
        AccEcnAck ack = NewAck();
        (ack.IsPredicted, ack.Packets) = (true, 7);
        var state = new AccEcn();
        Assert.Equal(0u, state.OnAck(ack));
        for (int i = 0; i < 300; i++)
        {
            ack.Packets = 1;
            state.OnAck(ack);
        }
        ack.Packets = 9;
        Assert.Equal(8u, state.OnAck(ack));
    }

    [Theory]
    // Marked bytes of 9000 in nine packets; the field says two or, after a turn, ten; nine packets can be no ten.
    [InlineData(7, 0, 2)]
    [InlineData(7, 2000, 2)]
    [InlineData(5, 8000, 8)]
    [InlineData(5, 3000, 8)]
    public void Marked_bytes_decide_between_the_least_and_the_most(int ace, int marked, uint expected)
    {
        AccEcn state = KnowingItsBytes();
        AccEcnAck ack = NewAck();
        (ack.Ace, ack.Packets, ack.Bytes, ack.HasOption) = (ace, 9, 9000, true);
        byte[] option = [0, 0, 1, (byte)(marked >> 16), (byte)(marked >> 8), (byte)marked, 0, 0, 1];
        ack.Option = option;
        Assert.Equal(expected, state.OnAck(ack));
    }

    [Fact]
    public void In_a_large_ack_the_share_of_marked_bytes_is_the_share_of_marked_packets()
    {
        AccEcn state = KnowingItsBytes();
        AccEcnAck ack = NewAck();
        // A quarter of forty, in steps of eight, and what the field says beyond them.
        (ack.Ace, ack.Packets, ack.Bytes, ack.HasOption) = (7, 40, 40_000, true);
        ack.Option = [0, 0, 1, 0, 0x27, 0x10, 0, 0, 1];
        Assert.Equal(10u, state.OnAck(ack));
    }

    // After an option that moved only the counter of marked bytes, the next is no surprise.
    private static AccEcn KnowingItsBytes()
    {
        var state = new AccEcn();
        AccEcnAck first = NewAck();
        (first.Packets, first.HasOption) = (1, true);
        first.Option = [0, 0, 1, 0, 0, 1, 0, 0, 1];
        state.OnAck(first);
        state.DeliveredBytes[EcnBytes.Index(Ecn.Ce)] = 0;
        return state;
    }

    [Fact]
    public void A_first_option_that_comes_too_late_is_not_waited_for()
    {
        var state = new AccEcn();
        AccEcnAck ack = NewAck();
        (ack.Packets, ack.BytesSent) = (1, (1 << 23) - 1);
        state.OnAck(ack);
        Assert.Equal((AccEcnOptionSeen.Zeroed, AccEcnFailure.OptionReceive), (state.OptionSeen, state.Failure));
    }

    [Fact]
    public void A_counter_that_goes_back_leaves_nothing_certain()
    {
        AccEcn state = KnowingItsBytes();
        AccEcnAck ack = NewAck();
        (ack.Packets, ack.Bytes, ack.HasOption) = (1, 1000, true);
        ack.Option = [0, 0, 1, 0, 3, 0xe8, 0, 0, 1];
        state.OnAck(ack);
        ack.Option = [0, 0, 1, 0, 0, 0, 0, 0, 1];
        state.OnAck(ack);
        Assert.Equal(0u, state.DeliveredBytes[EcnBytes.Index(Ecn.Ce)]);
        // No estimate goes on from there.
        ack.HasOption = false;
        state.OnAck(ack);
        Assert.Equal(0u, state.DeliveredBytes[EcnBytes.Index(Ecn.Ce)]);
    }
}
