using System;
using System.IO;
using System.Linq;
using System.Reflection;

namespace Millrace.Tests;

public sealed class TcpStreamTests
{
    /// <summary>An overload that is inherited hides a hop through the thread pool, which the simulator cannot follow.</summary>
    [Fact]
    public void Every_overload_that_moves_bytes_is_the_streams_own()
    {
        string[] moving = ["Read", "Write", "BeginRead", "BeginWrite", "EndRead", "EndWrite", "CopyTo", "Flush", "ReadByte", "WriteByte",
            "ReadAsync", "WriteAsync", "CopyToAsync", "FlushAsync", "DisposeAsync"];
        Type stream = typeof(NetStack).Assembly.GetType("Millrace.TcpStream", throwOnError: true)!;
        MethodInfo[] inherited = [.. stream.GetMethods(BindingFlags.Instance | BindingFlags.Public)
            .Where(m => m.IsVirtual && moving.Contains(m.Name) && m.DeclaringType == typeof(Stream))];
        Assert.Empty(inherited.Select(m => m.ToString()));
        Assert.Equal(moving.Order(), stream.GetMethods(BindingFlags.Instance | BindingFlags.Public).Select(m => m.Name).Where(moving.Contains).Distinct().Order());
    }
}
