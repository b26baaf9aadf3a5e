using System;
using Millrace.Sockets;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>A secret shared with the peers of one prefix.</summary>
/// <param name="Address">As it was given; the bits behind the prefix say nothing.</param>
/// <param name="IsForNoDomain">The key was given for an L3 domain by number, and the number was 0: another key than one without.</param>
/// <remarks>Linux: tcp_md5sig_key.</remarks>
internal sealed record Md5Key(IpAddr Address, int PrefixLength, bool IsForNoDomain, byte[] Secret)
{
    /// <summary>What a key counts in the memory that options may take.</summary>
    public const int Memory = 136;

    public bool Matches(IpAddr remote) => remote.HasPrefix(Address, PrefixLength);

    /// <summary>Whether this is the key that the other would replace.</summary>
    public bool IsSameAs(Md5Key other) =>
        Address == other.Address && PrefixLength == other.PrefixLength && IsForNoDomain == other.IsForNoDomain;
}

/// <summary>
/// The keys of one socket, newest first. Never changed, only replaced: segments are checked without the socket's lock.
/// </summary>
/// <remarks>Linux: tcp_md5sig_info. RFC 2385.</remarks>
internal sealed class Md5Keys(params Md5Key[] keys)
{
    public int Count => keys.Length;

    /// <summary>The key for segments to and from this address: the longest prefix. Linux: tcp_md5_do_lookup.</summary>
    public Md5Key? Find(IpAddr remote)
    {
        Md5Key? best = null;
        foreach (Md5Key key in keys)
        {
            if (key.Matches(remote) && (best is null || best.PrefixLength < key.PrefixLength))
                best = key;
        }
        return best;
    }

    /// <summary>With one key more, or another secret in an old one's place. Linux: tcp_md5_do_add.</summary>
    public Md5Keys With(Md5Key added)
    {
        int at = Array.FindIndex(keys, added.IsSameAs);
        if (at < 0)
            return new Md5Keys([added, .. keys]);
        Md5Key[] replaced = [.. keys];
        replaced[at] = added;
        return new Md5Keys(replaced);
    }

    /// <summary>Without the key of that peer; null if there is none. Linux: tcp_md5_do_del.</summary>
    public Md5Keys? Without(Md5Key removed)
    {
        int at = Array.FindIndex(keys, removed.IsSameAs);
        return at < 0 ? null : new Md5Keys([.. keys[..at], .. keys[(at + 1)..]]);
    }
}

/// <summary>What TCP_MD5SIG and TCP_MD5SIG_EXT are given. Linux: struct tcp_md5sig, tcp_v4_parse_md5_keys, tcp_v6_parse_md5_keys.</summary>
internal static class Md5Option
{
    private const int Length = 216, MaxSecret = 80;
    private const int FlagsAt = SockAddr.StorageLength, PrefixAt = FlagsAt + 1, SecretLengthAt = FlagsAt + 2, IfIndexAt = FlagsAt + 4,
        SecretAt = FlagsAt + 8;

    private const byte HasPrefix = 1, HasIfIndex = 2;

    /// <summary>An empty secret asks for the key's removal.</summary>
    public static Errno Parse(ReadOnlySpan<byte> value, int socketFamily, bool extended, out Md5Key? key)
    {
        key = null;
        if (value.Length < Length)
            return Errno.EINVAL;
        SockAddr peer = SockAddr.Read(value[..SockAddr.StorageLength]);
        if (peer.Family != socketFamily)
            return Errno.EINVAL;
        int longest = peer.Address.IsV4 ? 32 : 128, prefix = longest;
        byte flags = value[FlagsAt];
        if (extended && (flags & HasPrefix) != 0)
            prefix = value[PrefixAt];
        if (prefix > longest)
            return Errno.EINVAL;
        // A device named here must be an L3 domain's, and there are none.
        if (extended && (flags & HasIfIndex) != 0 && BitConverter.ToInt32(value[IfIndexAt..]) != 0)
            return Errno.EINVAL;
        int length = BitConverter.ToUInt16(value[SecretLengthAt..]);
        if (length > MaxSecret)
            return Errno.EINVAL;
        key = new Md5Key(peer.Address, prefix, (flags & HasIfIndex) != 0, value.Slice(SecretAt, length).ToArray());
        return Errno.OK;
    }
}
