using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Net.NetworkInformation;

namespace Millrace.Linux;

/// <summary>
/// An Ethernet interface of the kernel's, or some of its queues, taken over by XDP sockets: what comes in goes to the stack, and the kernel
/// does not see it.
/// </summary>
/// <remarks>
/// Linux: Documentation/networking/af_xdp.rst. Needs CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF. Frames are plain: checksums are in them, and no
/// super-packet is. An interface inside the machine that leaves checksums to the other side (a veth) must be told not to.
/// </remarks>
public sealed class XdpDevice : NetDriver
{
    private readonly AttachedInterface _interface;
    private readonly XdpProgram _program;
    private readonly XdpSocket[] _sockets;
    private readonly long _busyPoll;

    private XdpDevice(AttachedInterface attached, XdpProgram program, XdpSocket[] sockets, XdpOptions options)
    {
        _interface = attached;
        _program = program;
        _sockets = sockets;
        _busyPoll = (long)(options.BusyPoll.TotalSeconds * Stopwatch.Frequency);
    }

    public override string Name => _interface.Link.Name;

    public override int Mtu => _interface.Link.Mtu;

    public override PhysicalAddress HardwareAddress => _interface.HardwareAddress;

    public override int Queues => _sockets.Length;

    public override string FailureReason => $"the device {Name} was deleted";

    /// <summary>Whether the interface reads and writes the stack's memory itself.</summary>
    public bool IsZeroCopy => _sockets[0].IsZeroCopy;

    /// <summary>Takes an interface's first queues over.</summary>
    /// <exception cref="ArgumentException">An option is none that a device can have.</exception>
    /// <exception cref="LinuxDeviceException">
    /// No privilege, no such Ethernet interface, no such queue, another program has it, its MTU is too large, or it cannot what is demanded.
    /// </exception>
    public static XdpDevice Open(string interfaceName, XdpOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(interfaceName);
        options ??= new XdpOptions();
        options.Validate();
        return NetworkNamespace.Run(options.NetworkNamespace, () => OpenHere(interfaceName, options));
    }

    /// <inheritdoc/>
    public override int Receive(int queue, ReadOnlySpan<IoVec> pieces, ref PacketOffload offload)
    {
        XdpSocket socket = _sockets[queue];
        int length = socket.Receive(pieces);
        return length == 0 && socket.Descriptor.TakeAlarm() && _interface.IsGone ? -1 : length;
    }

    /// <inheritdoc/>
    public override int Transmit(int queue, ReadOnlySpan<IoVec> pieces, in PacketOffload offload) => _sockets[queue].Transmit(pieces);

    /// <inheritdoc/>
    public override void Flush(int queue) => _sockets[queue].Flush();

    /// <inheritdoc/>
    public override void Wait(int queue, TimeSpan timeout) => _sockets[queue].Descriptor.Wait(timeout, _busyPoll);

    /// <inheritdoc/>
    public override void Wake(int queue) => _sockets[queue].Descriptor.Wake();

    protected override void Dispose(bool disposing)
    {
        // The program first: with the sockets gone, frames are the kernel's again.
        _program.Dispose();
        foreach (XdpSocket socket in _sockets)
            socket.Dispose();
        _interface.Dispose();
    }

    private static XdpDevice OpenHere(string name, XdpOptions options)
    {
        AttachedInterface attached = AttachedInterface.Open(name, options.HardwareAddress);
        var sockets = new List<XdpSocket>();
        XdpProgram? program = null;
        try
        {
            if (attached.Link.Mtu > XdpSocket.MaxMtu)
                throw new LinuxDeviceException($"{name} has an MTU of {attached.Link.Mtu}; XDP sockets take {XdpSocket.MaxMtu} at most.", Errno.EMSGSIZE);
            program = XdpProgram.Load(options.Queues);
            for (int i = 0; i < options.Queues; i++)
            {
                sockets.Add(XdpSocket.Open(attached, i, options.ZeroCopy));
                program.Redirect(i, sockets[i].Descriptor.Fd);
            }
            program.Attach(attached.Link, options.Mode);
            return new XdpDevice(attached, program, [.. sockets], options);
        }
        catch
        {
            program?.Dispose();
            foreach (XdpSocket socket in sockets)
                socket.Dispose();
            attached.Dispose();
            throw;
        }
    }
}
