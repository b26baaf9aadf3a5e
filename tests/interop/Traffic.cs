using System;
using System.Security.Cryptography;
using System.Threading;
using System.Threading.Tasks;

namespace Millrace.Interop;

/// <summary>Sends a known stream of bytes, or takes one and sums it up.</summary>
internal static class Traffic
{
    private const int Chunk = 128 * 1024;

    public delegate int Receive(Span<byte> buffer);

    public delegate void Send(ReadOnlySpan<byte> data);

    /// <summary>Sends <paramref name="count"/> bytes that <paramref name="seed"/> decides. Returns their SHA-256.</summary>
    public static string Pump(Send send, long count, int seed)
    {
        // One mebibyte of noise, sent again and again at shifted places: cheap, and no two chunks are alike.
        byte[] noise = new byte[1024 * 1024 + Chunk];
        new Random(seed).NextBytes(noise);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        for (long sent = 0; sent < count;)
        {
            int length = (int)Math.Min(Chunk, count - sent);
            ReadOnlySpan<byte> chunk = noise.AsSpan((int)(sent / Chunk * 4093 % (1024 * 1024)), length);
            hash.AppendData(chunk);
            send(chunk);
            sent += length;
        }
        return Convert.ToHexString(hash.GetCurrentHash());
    }

    /// <summary>Takes bytes until the other side has sent all. Returns their count and SHA-256.</summary>
    public static (long Count, string Hash) Drain(Receive receive)
    {
        byte[] buffer = new byte[Chunk];
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        long count = 0;
        while (receive(buffer) is var read and > 0)
        {
            hash.AppendData(buffer, 0, read);
            count += read;
        }
        return (count, Convert.ToHexString(hash.GetCurrentHash()));
    }

    /// <summary>Runs blocking work on a thread of its own.</summary>
    public static Task<T> OnThread<T>(Func<T> body) =>
        Task.Factory.StartNew(body, CancellationToken.None, TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
}
