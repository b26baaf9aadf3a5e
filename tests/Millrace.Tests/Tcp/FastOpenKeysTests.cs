using System;
using System.Net;
using Millrace.Sockets;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

public sealed class FastOpenKeysTests
{
    private const string Key = "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4", Other = "00000001-00000002-00000003-00000004";

    private static IpAddr Ip(string address) => IpAddr.From(IPAddress.Parse(address));

    // The cookies that Linux makes with this key.
    [Theory]
    [InlineData("192.0.2.1", "192.168.0.1", "3021b9d889017eeb")]
    [InlineData("fd3d:fa7b:d17d::1", "fd3d:a0b:17d6::1", "c1d1e9742a47a9bc")]
    public void A_cookie_is_what_Linux_makes_of_key_and_addresses(string client, string server, string cookie)
    {
        FastOpenKeys keys = FastOpenKeys.Parse(Key)!;
        Assert.Equal(cookie, Convert.ToHexStringLower(keys.MakeCookie(Ip(client), Ip(server))));
    }

    [Fact]
    public void A_cookie_of_the_key_before_still_counts_and_is_told_apart()
    {
        IpAddr client = Ip("192.0.2.1"), server = Ip("192.168.0.1");
        FastOpenKeys keys = FastOpenKeys.Parse($"{Other},{Key}")!;
        Assert.Equal(2, keys.Match(FastOpenKeys.Parse(Key)!.MakeCookie(client, server), client, server));
        Assert.Equal(1, keys.Match(keys.MakeCookie(client, server), client, server));
        Assert.Equal(0, keys.Match(keys.MakeCookie(client, server), Ip("192.0.2.2"), server));
    }

    [Theory]
    [InlineData(Key)]
    [InlineData($"{Key},{Other}")]
    public void Keys_are_read_back_as_they_were_written(string text) => Assert.Equal(text, FastOpenKeys.Parse(text)!.ToString());

    [Theory]
    [InlineData("")]
    [InlineData("a1a1a1a1-b2b2b2b2-c3c3c3c3")]
    [InlineData("a1a1a1a1-b2b2b2b2-c3c3c3c3-xyz")]
    [InlineData($"{Key},{Key},{Key}")]
    public void Anything_else_is_no_key(string text) => Assert.Null(FastOpenKeys.Parse(text));

    [Fact]
    public void The_socket_option_takes_one_key_or_two()
    {
        Assert.NotNull(FastOpenKeys.FromBytes(new byte[16]));
        Assert.NotNull(FastOpenKeys.FromBytes(new byte[32]));
        Assert.Null(FastOpenKeys.FromBytes(new byte[17]));
    }
}
