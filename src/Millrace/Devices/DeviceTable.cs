using System.Collections.Generic;
using System.Threading;
using Millrace.Sched;

namespace Millrace.Devices;

/// <summary>The interfaces of a stack, by number and by name. Readers take no lock. Linux: dev_base, dev_get_by_index.</summary>
internal sealed class DeviceTable(NetRx netRx, CpuSet cpus)
{
    private readonly Lock _lock = new();
    private volatile NetDevice[] _devices = [];
    private int _nextIndex = 1;

    public IReadOnlyList<NetDevice> All => _devices;

    /// <summary>Adds a device, numbers it, and brings it up. Linux: register_netdevice, dev_open.</summary>
    /// <exception cref="System.ArgumentException">The name is taken.</exception>
    public void Add(NetDevice device)
    {
        lock (_lock)
        {
            if (ByName(device.Name) is not null)
                throw new System.ArgumentException($"The stack has a device named {device.Name} already.", nameof(device));
            device.IfIndex = _nextIndex++;
            device.Qdisc ??= new NoQueueQdisc(device);
            _devices = [.. _devices, device];
        }
        device.Attach(netRx, cpus);
    }

    public void Remove(NetDevice device)
    {
        lock (_lock)
        {
            var left = new List<NetDevice>(_devices);
            left.Remove(device);
            _devices = [.. left];
        }
        device.Dispose();
    }

    public NetDevice? ByIndex(int ifIndex)
    {
        foreach (NetDevice d in _devices)
        {
            if (d.IfIndex == ifIndex)
                return d;
        }
        return null;
    }

    public NetDevice? ByName(string name)
    {
        foreach (NetDevice d in _devices)
        {
            if (d.Name == name)
                return d;
        }
        return null;
    }
}
