using System;
using System.Collections.Generic;
using System.Linq;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Millrace.Tests.Support;

namespace Millrace.Tests.House;

/// <summary>Rules that are kept by looking.</summary>
public sealed partial class TidyTests
{
    /// <summary>The longest function and file there may be. They go down, never up.</summary>
    private const int MaxFunctionLines = 100, MaxFileLines = 800;

    /// <summary>
    /// The trampoline of a thread, which all stacks share: the one static state that there is. A debug build counts atomic operations
    /// besides.
    /// </summary>
#if DEBUG
    private static readonly string[] AllowedState = ["Atomic.t_count", "ThreadContext.t_current"];
#else
    private static readonly string[] AllowedState = ["ThreadContext.t_current"];
#endif

    [Fact]
    public void Nothing_is_static_and_mutable()
    {
        IEnumerable<string> mutable = typeof(NetStack).Assembly.GetTypes()
            .Where(t => !t.IsDefined(typeof(CompilerGeneratedAttribute), inherit: false) && t.Namespace?.StartsWith("Millrace", StringComparison.Ordinal) == true)
            .SelectMany(t => t.GetFields(BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.Public | BindingFlags.DeclaredOnly))
            .Where(f => !f.IsInitOnly && !f.IsLiteral && !f.IsDefined(typeof(CompilerGeneratedAttribute), inherit: false) && !f.Name.Contains('<', StringComparison.Ordinal))
            .Select(f => $"{f.DeclaringType!.Name}.{f.Name}");
        Assert.Equal(AllowedState, mutable.Order());
    }

    /// <summary>What the count of atomic operations on a segment's way rests on.</summary>
    [Fact]
    public void The_data_path_counts_its_atomic_operations()
    {
        string[] path =
        [
            "SocketOperation.cs", "OperationPool.cs", "Buffers/BufferCache.cs", "Buffers/BufferPool.cs", "Devices/Napi.cs", "Devices/PacketRing.cs",
            "Devices/WireDevice.cs", "Sched/Cpu.cs", "Sched/CpuSet.cs", "Sched/SpinLock32.cs", "Sched/TaskStruct.cs", "Sched/TimerService.cs",
            "Sched/WaitQueue.cs", "Sockets/ProtoMemory.cs", "Sockets/SockCommon.cs", "Sockets/SockLock.cs", "Tcp/TcpInput.cs",
        ];
        Assert.All(path, file => Assert.DoesNotContain("Interlocked.",
            Repository.Read(["src", "Millrace", .. file.Split('/')]), StringComparison.Ordinal));
    }

    [Fact]
    public void No_static_holds_something_that_changes()
    {
        // Arrays and collections can be written to through a read-only field. Bytes of constants cannot be told from those by their type,
        // so those that exist are named.
        string[] known = ["String[]"];
        IEnumerable<string> suspicious = typeof(NetStack).Assembly.GetTypes()
            .Where(t => !t.IsDefined(typeof(CompilerGeneratedAttribute), inherit: false) && t.Namespace?.StartsWith("Millrace", StringComparison.Ordinal) == true)
            .SelectMany(t => t.GetFields(BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.Public | BindingFlags.DeclaredOnly))
            .Where(f => f.FieldType.Namespace?.StartsWith("System.Collections", StringComparison.Ordinal) == true
                && f.FieldType.Namespace is not ("System.Collections.Immutable" or "System.Collections.Frozen")
                && !f.FieldType.Name.StartsWith("IReadOnly", StringComparison.Ordinal) && !known.Contains(f.FieldType.Name))
            .Select(f => $"{f.DeclaringType!.Name}.{f.Name}: {f.FieldType.Name}");
        Assert.Empty(suspicious);
    }

    [Fact]
    public void No_file_is_longer_than_the_longest_was() =>
        Assert.Empty(Repository.StackSources.Where(f => f.Value.Count(c => c == '\n') > MaxFileLines).Select(f => f.Key));

    [Fact]
    public void No_function_is_longer_than_the_longest_was()
    {
        IEnumerable<string> tooLong = Repository.StackSources
            .SelectMany(f => Functions(f.Value).Where(m => m.Lines > MaxFunctionLines).Select(m => $"{f.Key}: {m.Head}, {m.Lines} lines"));
        Assert.Empty(tooLong);
    }

    [GeneratedRegex(@"^( {4}| {8}| {12})\{$")]
    private static partial Regex Opening { get; }

    [GeneratedRegex(@"^ +(?!(?:if|for|foreach|while|switch|lock|fixed|using|do|else|catch)\b)\S.*\)(?: where .*)?$")]
    private static partial Regex Head { get; }

    // The layout is fixed by the formatter, so braces at the head's own indentation bound a function.
    private static IEnumerable<(string Head, int Lines)> Functions(string text)
    {
        string[] lines = text.Split('\n');
        for (int i = 1; i < lines.Length; i++)
        {
            Match open = Opening.Match(lines[i]);
            if (!open.Success || !Head.IsMatch(lines[i - 1]))
                continue;
            int end = Array.FindIndex(lines, i, l => l.StartsWith(open.Groups[1].Value + "}", StringComparison.Ordinal));
            yield return (lines[i - 1].Trim(), end - i - 1);
        }
    }
}
