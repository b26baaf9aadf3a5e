using System;
using System.Buffers.Binary;
using System.Globalization;
using Millrace.Wire;

namespace Millrace.Sockets;

/// <summary>The keys that Fast Open cookies are made with: the one in use, and the one before it, whose cookies still count.</summary>
/// <remarks>Linux: tcp_fastopen_context. RFC 7413 §4.1.2.</remarks>
internal sealed class FastOpenKeys
{
    /// <summary>Bytes of a key, and of the cookies that it makes. Linux: TCP_FASTOPEN_KEY_LENGTH, TCP_FASTOPEN_COOKIE_SIZE.</summary>
    public const int KeyLength = 16, CookieLength = 8;

    private readonly byte[] _bytes;

    private FastOpenKeys(byte[] bytes) => _bytes = bytes;

    /// <summary>One key or two, as TCP_FASTOPEN_KEY passes them; null: any other length.</summary>
    public static FastOpenKeys? FromBytes(ReadOnlySpan<byte> bytes) =>
        bytes.Length is KeyLength or 2 * KeyLength ? new FastOpenKeys(bytes.ToArray()) : null;

    /// <summary>The keys as TCP_FASTOPEN_KEY returns them.</summary>
    public ReadOnlySpan<byte> Bytes => _bytes;

    /// <summary>Four groups of hexadecimal digits for a key; a comma before the second. Null: not of that form. Linux: proc_tcp_fastopen_key.</summary>
    public static FastOpenKeys? Parse(string text)
    {
        string[] keys = text.Trim().Split(',');
        if (keys.Length > 2)
            return null;
        byte[] bytes = new byte[keys.Length * KeyLength];
        for (int k = 0; k < keys.Length; k++)
        {
            string[] groups = keys[k].Split('-');
            if (groups.Length != 4)
                return null;
            for (int g = 0; g < groups.Length; g++)
            {
                if (!uint.TryParse(groups[g], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint group))
                    return null;
                BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(k * KeyLength + 4 * g), group);
            }
        }
        return new FastOpenKeys(bytes);
    }

    public override string ToString()
    {
        var words = new string[_bytes.Length / KeyLength];
        for (int k = 0; k < words.Length; k++)
        {
            ReadOnlySpan<byte> key = _bytes.AsSpan(k * KeyLength, KeyLength);
            words[k] = string.Join('-',
                Group(key, 0), Group(key, 4), Group(key, 8), Group(key, 12));
        }
        return string.Join(',', words);

        static string Group(ReadOnlySpan<byte> key, int at) =>
            BinaryPrimitives.ReadUInt32LittleEndian(key[at..]).ToString("x8", CultureInfo.InvariantCulture);
    }

    /// <summary>The cookie for a client, made with the key in use. Linux: __tcp_fastopen_cookie_gen_cipher.</summary>
    public byte[] MakeCookie(IpAddr client, IpAddr server) => MakeCookie(0, client, server);

    /// <summary>Which key a client's cookie was made with: 1 for the one in use, 2 for the one before; 0: it is none of ours.</summary>
    public int Match(ReadOnlySpan<byte> cookie, IpAddr client, IpAddr server)
    {
        for (int k = 0; k * KeyLength < _bytes.Length; k++)
        {
            if (cookie.SequenceEqual(MakeCookie(k, client, server)))
                return k + 1;
        }
        return 0;
    }

    private byte[] MakeCookie(int key, IpAddr client, IpAddr server)
    {
        Span<byte> addresses = stackalloc byte[32];
        if (client.IsV4)
        {
            BinaryPrimitives.WriteUInt32BigEndian(addresses, client.V4);
            BinaryPrimitives.WriteUInt32BigEndian(addresses[4..], server.V4);
            addresses = addresses[..8];
        }
        else
        {
            client.WriteV6(addresses);
            server.WriteV6(addresses[16..]);
        }
        ReadOnlySpan<byte> secret = _bytes.AsSpan(key * KeyLength, KeyLength);
        var sip = new SipKey(BinaryPrimitives.ReadUInt64LittleEndian(secret), BinaryPrimitives.ReadUInt64LittleEndian(secret[8..]));
        byte[] cookie = new byte[CookieLength];
        BinaryPrimitives.WriteUInt64LittleEndian(cookie, SipHash.Hash24(sip, addresses));
        return cookie;
    }
}
