using System;
using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Threading;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Signs segments, and checks the signatures of those that come. RFC 2385.</summary>
/// <remarks>Linux: tcp_v4_md5_hash_skb, tcp_v6_md5_hash_skb, tcp_inbound_hash, tcp_inbound_md5_hash. One digest object a CPU, made when first used.</remarks>
internal sealed class Md5Signer
{
    public const int DigestLength = 16;

    private readonly Lock _growing = new();
    private IncrementalHash?[] _digests = [];

    /// <summary>The digest of a segment. <paramref name="segment"/> is at its TCP header, whose checksum counts as zero; its options do not count.</summary>
    public unsafe void Compute(Cpu cpu, Md5Key key, IpAddr source, IpAddr destination, SkBuff segment, Span<byte> digest)
    {
        IncrementalHash hash = DigestOf(cpu);
        Span<byte> pseudo = stackalloc byte[40];
        hash.AppendData(pseudo[..WritePseudoHeader(pseudo, source, destination, segment.Length)]);
        Span<byte> header = stackalloc byte[TcpHeader.MinLength];
        segment.Linear[..TcpHeader.MinLength].CopyTo(header);
        header.Slice(TcpHeader.ChecksumOffset, sizeof(ushort)).Clear();
        hash.AppendData(header);
        hash.AppendData(segment.Linear[((header[12] >> 4) * 4)..]);
        foreach (ref readonly SkbFragment fragment in segment.Fragments)
            hash.AppendData(new ReadOnlySpan<byte>(fragment.Data, fragment.Length));
        hash.AppendData(key.Secret);
        hash.GetHashAndReset(digest);
    }

    /// <summary>Whether a segment may go to a socket that has these keys; else the reason, counted.</summary>
    public DropReason Check(Cpu cpu, Md5Keys? keys, SkBuff skb, in TcpHeader tcp)
    {
        if (keys is null && tcp.OptionsLength < TcpOptions.Md5Length)
            return DropReason.None;
        if (!TcpOptions.TryFindSignature(tcp.Options, out ReadOnlySpan<byte> signature))
            return DropReason.TcpAuthHdr;
        Md5Key? key = keys?.Find(IpHeaders.Source(skb));
        if (signature.IsEmpty)
            return key is null ? DropReason.None : Count(cpu, Mib.TcpExtTCPMD5NotFound, DropReason.TcpMd5NotFound);
        if (key is null)
            return Count(cpu, Mib.TcpExtTCPMD5Unexpected, DropReason.TcpMd5Unexpected);
        return IsSignedWith(cpu, key, skb, signature) ? DropReason.None : Count(cpu, Mib.TcpExtTCPMD5Failure, DropReason.TcpMd5Failure);
    }

    public bool IsSignedWith(Cpu cpu, Md5Key key, SkBuff skb, ReadOnlySpan<byte> signature)
    {
        Span<byte> digest = stackalloc byte[DigestLength];
        Compute(cpu, key, IpHeaders.Source(skb), IpHeaders.Destination(skb), skb, digest);
        return CryptographicOperations.FixedTimeEquals(digest, signature);
    }

    private static DropReason Count(Cpu cpu, Mib counter, DropReason reason)
    {
        cpu.Mib.Inc(counter);
        return reason;
    }

    private static int WritePseudoHeader(Span<byte> pseudo, IpAddr source, IpAddr destination, int length)
    {
        pseudo.Clear();
        if (source.IsV4)
        {
            BinaryPrimitives.WriteUInt32BigEndian(pseudo, source.V4);
            BinaryPrimitives.WriteUInt32BigEndian(pseudo[4..], destination.V4);
            pseudo[9] = IpProtocol.Tcp;
            BinaryPrimitives.WriteUInt16BigEndian(pseudo[10..], (ushort)length);
            return 12;
        }
        source.WriteV6(pseudo);
        destination.WriteV6(pseudo[16..]);
        BinaryPrimitives.WriteInt32BigEndian(pseudo[32..], length);
        pseudo[39] = IpProtocol.Tcp;
        return 40;
    }

    private IncrementalHash DigestOf(Cpu cpu)
    {
        IncrementalHash?[] digests = Volatile.Read(ref _digests);
        return cpu.Index < digests.Length && digests[cpu.Index] is { } mine ? mine : MakeDigest(cpu.Index);
    }

    private IncrementalHash MakeDigest(int cpu)
    {
        lock (_growing)
        {
            IncrementalHash?[] more = new IncrementalHash?[Math.Max(cpu + 1, _digests.Length)];
            _digests.CopyTo(more, 0);
#pragma warning disable CA5351 // RFC 2385 prescribes it; who wants better uses a tunnel
            IncrementalHash made = more[cpu] = IncrementalHash.CreateHash(HashAlgorithmName.MD5);
#pragma warning restore CA5351
            Volatile.Write(ref _digests, more);
            return made;
        }
    }
}
