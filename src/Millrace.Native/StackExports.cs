using System;
using System.IO;
using System.Net;
using System.Runtime.InteropServices;
using System.Text;
using Millrace.Linux;

namespace Millrace.Native;

/// <summary>The part of millrace.h that makes stacks and devices and sets them up.</summary>
internal static unsafe class StackExports
{
    [UnmanagedCallersOnly(EntryPoint = "mr_stack_new")]
    internal static nint New(byte* name) => new NativeStack(Text(name) ?? "millrace").ToHandle();

    [UnmanagedCallersOnly(EntryPoint = "mr_stack_free")]
    internal static void Free(nint stack)
    {
        if (stack == 0)
            return;
        NativeStack.From(stack).Dispose();
        GCHandle.FromIntPtr(stack).Free();
    }

    [UnmanagedCallersOnly(EntryPoint = "mr_sysctl_set")]
    internal static int SetSysctl(nint stack, byte* name, byte* value) =>
        Result.Of(NativeStack.From(stack).Stack.Sysctls.Write(Text(name) ?? "", Text(value) ?? ""));

    [UnmanagedCallersOnly(EntryPoint = "mr_sysctl_get")]
    internal static int GetSysctl(nint stack, byte* name, byte* value, nuint size)
    {
        Errno error = NativeStack.From(stack).Stack.Sysctls.Read(Text(name) ?? "", out string text);
        if (error != Errno.OK)
            return Result.Of(error);
        byte[] bytes = Encoding.UTF8.GetBytes(text + '\0');
        if ((nuint)bytes.Length > size)
            return Result.Of(Errno.ERANGE);
        bytes.CopyTo(new Span<byte>(value, bytes.Length));
        return bytes.Length - 1;
    }

    [UnmanagedCallersOnly(EntryPoint = "mr_add_address")]
    internal static int AddAddress(nint stack, byte* device, byte* address, int prefixLength) => Result.Try(() =>
        NativeStack.From(stack).Stack.AddAddress(Text(device) ?? "", IPAddress.Parse(Text(address) ?? ""), prefixLength));

    [UnmanagedCallersOnly(EntryPoint = "mr_add_route")]
    internal static int AddRoute(nint stack, byte* prefix, int prefixLength, byte* device, byte* gateway) => Result.Try(() =>
        NativeStack.From(stack).Stack.AddRoute(IPAddress.Parse(Text(prefix) ?? ""), prefixLength, Text(device) ?? "",
            Text(gateway) is { } hop ? IPAddress.Parse(hop) : null));

    [UnmanagedCallersOnly(EntryPoint = "mr_wire")]
    internal static int Wire(nint a, byte* deviceA, nint b, byte* deviceB, int mtu) => Result.Try(() =>
        NetStack.Wire(NativeStack.From(a).Stack, Text(deviceA) ?? "", NativeStack.From(b).Stack, Text(deviceB) ?? "",
            new WireOptions { Mtu = mtu }));

    [UnmanagedCallersOnly(EntryPoint = "mr_device_new")]
    internal static int NewDevice(nint stack, byte* name, int mtu, delegate* unmanaged<nint, byte*, nuint, void> transmit, nint user)
    {
        if (transmit is null)
            return Result.Of(Errno.EFAULT);
        var device = new CallbackDevice(Text(name) ?? "", mtu, transmit, user);
        return Result.Try(() => NativeStack.From(stack).AddDevice(device));
    }

    [UnmanagedCallersOnly(EntryPoint = "mr_device_receive")]
    internal static int Receive(nint stack, byte* name, byte* packet, nuint length)
    {
        if (NativeStack.From(stack).Device(Text(name) ?? "") is not { } device)
            return Result.Of(Errno.ENODEV);
        if (length > ushort.MaxValue)
            return Result.Of(Errno.EMSGSIZE);
        return Result.Of(device.TryReceive(new ReadOnlySpan<byte>(packet, (int)length)) ? Errno.OK : Errno.ENOBUFS);
    }

    [UnmanagedCallersOnly(EntryPoint = "mr_tun_open")]
    internal static int OpenTun(nint stack, byte* name, byte* address, int mtu) => Result.Try(() =>
        NativeStack.From(stack).Stack.AddTun(Text(name) ?? "", Text(address) ?? "", new TunOptions { Mtu = mtu }));

    private static string? Text(byte* text) => Marshal.PtrToStringUTF8((nint)text);
}

/// <summary>Results as C has them: −1 and errno.</summary>
internal static class Result
{
    public static int Of(SysResult result)
    {
        if (result.IsError)
            Marshal.SetLastSystemError((int)result.Error);
        return result.Value;
    }

    /// <summary>Runs something that throws when it is asked for what is not to be had.</summary>
    public static int Try(Action action)
    {
        try
        {
            action();
            return 0;
        }
        catch (Exception e) when (e is ArgumentException or FormatException)
        {
            return Of(Errno.EINVAL);
        }
        catch (LinuxDeviceException e)
        {
            return Of(e.Errno);
        }
        catch (IOException)
        {
            return Of(Errno.EIO);
        }
    }
}
