using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

/// <summary>What signing costs; what it computes, the packet stories and the kernel judge.</summary>
public sealed class Md5SignerTests
{
    [Fact]
    public unsafe void Signing_a_segment_allocates_nothing()
    {
        using var bench = new TestCpu();
        Cpu cpu = bench.Cpu;
        var signer = new Md5Signer();
        var key = new Md5Key(IpAddr.Loopback4, 32, IsForNoDomain: false, [1, 2, 3]);
        SkBuff segment = cpu.AllocSkb();
        TcpHeader.Write(segment.Put(TcpHeader.MinLength), 1, 2, default, default, TcpHeader.MinLength, TcpFlags.Ack, 0);
        Span<byte> digest = stackalloc byte[Md5Signer.DigestLength];
        signer.Compute(cpu, key, IpAddr.Loopback4, IpAddr.Loopback4, segment, digest);
        byte[] first = digest.ToArray();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
            signer.Compute(cpu, key, IpAddr.Loopback4, IpAddr.Loopback4, segment, digest);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(first, digest.ToArray());
        cpu.FreeSkb(segment);
    }
}
