using System;
using System.Net;
using BenchmarkDotNet.Attributes;
using Millrace.Wire;

namespace Millrace.Bench.Micro;

/// <summary>The headers of a segment with a timestamp option: written, and read.</summary>
public unsafe class HeaderBenchmarks
{
    private const int TcpLength = 32, TotalLength = Ipv4Header.MinLength + TcpLength;

    private readonly byte[] _packet = GC.AllocateArray<byte>(TotalLength, pinned: true);
    private readonly IpAddr _source = IpAddr.From(IPAddress.Parse("10.0.0.1")), _destination = IpAddr.From(IPAddress.Parse("10.0.0.2"));
    private uint _seq;

    [GlobalSetup]
    public void SetUp() => Build();

    [Benchmark]
    public void Build()
    {
        fixed (byte* p = _packet)
        {
            Ipv4Header.Write(p, TotalLength, 0, 1, Ipv4Header.DontFragment, 64, 6, _source, _destination);
            byte* tcp = p + Ipv4Header.MinLength;
            TcpHeader.Write(tcp, 7000, 40000, new SeqNumber(_seq++), new SeqNumber(1), TcpLength, TcpFlags.Ack, 512);
            byte* option = tcp + TcpHeader.MinLength;
            Be.Put32(option, 0x0101_080a);
            Be.Put32(option + 4, _seq);
            Be.Put32(option + 8, _seq);
        }
    }

    [Benchmark]
    public uint Parse()
    {
        fixed (byte* p = _packet)
        {
            if (!Ipv4Header.TryParse(p, TotalLength, out Ipv4Header ip) || !ip.ChecksumIsValid)
                return 0;
            if (!TcpHeader.TryParse(p + ip.HeaderLength, ip.TotalLength - ip.HeaderLength, out TcpHeader tcp))
                return 0;
            return tcp.Seq.Value + TcpOptions.Parse(tcp.Options).TsVal;
        }
    }
}
