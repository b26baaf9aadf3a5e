using System;
using System.Linq;
using System.Net;
using Millrace.Wire;

namespace Millrace.Tests.Wire;

public sealed class ToeplitzTests
{
    // The key and the examples of Microsoft's "Verifying the RSS hash calculation".
    private static readonly byte[] Key = Convert.FromHexString(
        "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa");

    [Theory]
    [InlineData("66.9.149.187", 2794, "161.142.100.80", 1766, 0x51ccc178u)]
    [InlineData("199.92.111.2", 14230, "65.69.140.83", 4739, 0xc626b0eau)]
    [InlineData("24.19.198.95", 12898, "12.22.207.184", 38024, 0x5c2b394au)]
    [InlineData("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x40207d3du)]
    [InlineData("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0xdde51bbfu)]
    [InlineData("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, "fe80::200:f8ff:fe21:67cf", 38024, 0x02d1feefu)]
    public void The_published_examples(string source, int sourcePort, string destination, int destinationPort, uint expected)
    {
        byte[] input =
        [
            .. IPAddress.Parse(source).GetAddressBytes(), .. IPAddress.Parse(destination).GetAddressBytes(),
            (byte)(sourcePort >> 8), (byte)sourcePort, (byte)(destinationPort >> 8), (byte)destinationPort,
        ];
        Assert.Equal(expected, new Toeplitz(Key).Hash(input));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(64)]
    public void Every_place_gets_its_share(int count)
    {
        int[] hits = new int[count];
        for (uint i = 0; i < 6400; i++)
            hits[Toeplitz.Scale(i * (uint.MaxValue / 6400), count)]++;
        Assert.InRange(hits.Min(), 6400 / count - 1, 6400 / count);
    }
}
