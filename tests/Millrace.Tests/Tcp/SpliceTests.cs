#pragma warning disable xUnit1051 // no call here waits for anything
using System;
using System.IO;
using Millrace.Tracing;
using static Millrace.Tests.Tcp.LoopbackPair;

namespace Millrace.Tests.Tcp;

public sealed class SpliceTests : IDisposable
{
    private readonly LoopbackPair _pair = new();
    private readonly int _client, _server, _readEnd, _writeEnd;

    public SpliceTests()
    {
        (_client, _server) = _pair.Connect();
        Ok(_pair.Process.Pipe(out _readEnd, out _writeEnd));
    }

    public void Dispose() => _pair.Dispose();

    [Fact]
    public void What_is_spliced_through_a_pipe_comes_back_and_is_not_copied_on_its_way_in()
    {
        byte[] data = new byte[50_000], got = new byte[50_000];
        new Random(1).NextBytes(data);
        Ok(_pair.Process.Send(_client, data));
        long copied = _pair.Count(Mib.MillraceCopiedInBytes);
        int moved = 0;
        while (moved < data.Length)
        {
            int n = Ok(_pair.Process.Splice(_server, _writeEnd, data.Length));
            Assert.Equal(n, Ok(_pair.Process.Splice(_readEnd, _server, n)));
            moved += n;
        }
        Assert.Equal(copied, _pair.Count(Mib.MillraceCopiedInBytes));
        Assert.Equal(data.Length, Ok(_pair.Process.Recv(_client, got, MessageFlags.WaitAll)));
        Assert.Equal(data, got);
    }

    [Fact]
    public void An_urgent_byte_stops_it()
    {
        Ok(_pair.Process.Send(_client, "ab!"u8, MessageFlags.OutOfBand));
        Assert.Equal(2, Ok(_pair.Process.Splice(_server, _writeEnd, 10)));
        Assert.Equal(0, Ok(_pair.Process.Splice(_server, _writeEnd, 10)));
    }

    [Fact]
    public void The_end_of_the_stream_is_zero()
    {
        Ok(_pair.Process.Send(_client, "ab"u8));
        Ok(_pair.Process.Shutdown(_client, 1));
        Assert.Equal(2, Ok(_pair.Process.Splice(_server, _writeEnd, 10)));
        Assert.Equal(0, Ok(_pair.Process.Splice(_server, _writeEnd, 10)));
    }

    [Fact]
    public void One_of_the_two_must_be_the_right_end_of_a_pipe()
    {
        Assert.Equal(Errno.EINVAL, _pair.Process.Splice(_client, _server, 1).Error);
        Assert.Equal(Errno.EBADF, _pair.Process.Splice(_client, _readEnd, 1).Error);
        Assert.Equal(Errno.EAGAIN, _pair.Process.Splice(_readEnd, _client, 1, flags: 2).Error);
    }

    [Fact]
    public void Sendfile_sends_from_the_offset_and_moves_it()
    {
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllText(path, "0123456789");
            using var file = File.OpenHandle(path);
            long offset = 4;
            Assert.Equal(6, Ok(_pair.Process.SendFile(_client, file, ref offset, 100)));
            Assert.Equal(10, offset);
            byte[] got = new byte[6];
            Ok(_pair.Process.Recv(_server, got, MessageFlags.WaitAll));
            Assert.Equal("456789"u8.ToArray(), got);
        }
        finally
        {
            File.Delete(path);
        }
    }
}
