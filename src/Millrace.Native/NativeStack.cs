using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Threading;
using Millrace.Native.Abi;

namespace Millrace.Native;

/// <summary>What an <c>mr_stack</c> stands for: a stack, one process on it, and the program's own devices.</summary>
internal sealed class NativeStack : IDisposable
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, CallbackDevice> _devices = [];

    public NativeStack(string name)
    {
        Stack = new NetStack(new NetStackOptions { Name = name });
        Process = Stack.CreateProcess();
        Calls = new PosixCalls(Process);
    }

    public NetStack Stack { get; }

    public Process Process { get; }

    public PosixCalls Calls { get; }

    /// <summary>The stack behind a handle.</summary>
    public static NativeStack From(nint handle) => (NativeStack)GCHandle.FromIntPtr(handle).Target!;

    public nint ToHandle() => GCHandle.ToIntPtr(GCHandle.Alloc(this));

    public void AddDevice(CallbackDevice device)
    {
        Stack.AddDevice(device);
        lock (_lock)
            _devices[device.Name] = device;
    }

    public CallbackDevice? Device(string name)
    {
        lock (_lock)
            return _devices.GetValueOrDefault(name);
    }

    public void Dispose()
    {
        Process.Dispose();
        Stack.Dispose();
    }
}
