using Millrace.Tcp;

namespace Millrace.Tests.Tcp;

/// <summary>The steps of RFC 5682 §3.1.</summary>
public sealed class FrtoTests
{
    private static Frto Active => new() { IsActive = true };

    [Fact]
    public void Step_2b_sends_new_data_when_the_first_ACK_moves_the_window()
    {
        Frto frto = Active;
        Assert.Equal(FrtoVerdict.SendNew, frto.OnAck(AckFlags.UnaAdvanced, 0, newDataSent: false, recovered: false, canSendNew: true));
        Assert.True(frto.IsActive);
    }

    [Fact]
    public void Step_2b_without_data_to_send_ends_it()
    {
        Frto frto = Active;
        Assert.Equal(FrtoVerdict.NothingNew, frto.OnAck(AckFlags.UnaAdvanced, 0, newDataSent: false, recovered: false, canSendNew: false));
        Assert.False(frto.IsActive);
    }

    [Fact]
    public void Step_2a_is_an_ordinary_timeout()
    {
        Frto frto = Active;
        Assert.Equal(FrtoVerdict.GoOn, frto.OnAck(AckFlags.None, 1, newDataSent: false, recovered: false, canSendNew: true));
        Assert.Equal(FrtoVerdict.GoOn, frto.OnAck(AckFlags.UnaAdvanced, 0, newDataSent: false, recovered: true, canSendNew: true));
    }

    [Theory]
    [InlineData((int)AckFlags.DataSacked, 0)]
    [InlineData((int)AckFlags.None, 1)]
    public void Step_3a_a_duplicate_after_the_new_data_says_that_the_loss_was_real(int flags, int duplicates)
    {
        Frto frto = Active;
        Assert.Equal(FrtoVerdict.GoOn, frto.OnAck((AckFlags)flags, duplicates, newDataSent: true, recovered: false, canSendNew: true));
        Assert.False(frto.IsActive);
    }

    [Fact]
    public void Step_3b_original_data_arrives_and_the_timeout_was_spurious()
    {
        Frto frto = Active;
        Assert.Equal(FrtoVerdict.Spurious,
            frto.OnAck(AckFlags.UnaAdvanced | AckFlags.OrigSackAcked, 0, newDataSent: true, recovered: false, canSendNew: true));
    }

    [Fact]
    public void Where_it_does_not_look_it_says_nothing()
    {
        var frto = default(Frto);
        Assert.Equal(FrtoVerdict.GoOn,
            frto.OnAck(AckFlags.UnaAdvanced | AckFlags.OrigSackAcked, 0, newDataSent: true, recovered: false, canSendNew: true));
    }
}
