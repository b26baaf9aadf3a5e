using System.Threading;
using Millrace.Buffers;
using Millrace.Sched;

namespace Millrace.Devices;

/// <summary>
/// A bounded queue of packets between stacks. Those who put in share a lock; the one who takes out, the owner of the poll, needs none.
/// It also holds the poll's SCHED bit, under the same lock, so that a packet and the news of it cost one atomic operation.
/// </summary>
/// <remarks>Linux: ptr_ring, NAPI_STATE_SCHED.</remarks>
internal sealed class PacketRing(int capacity)
{
    private const int FirstSize = 64;

    private SpinLock32 _lock;
    private bool _scheduled;
    private SkBuff[] _slots = new SkBuff[FirstSize];

    // Counts of packets that were ever put in, by holders of the lock, and taken out, by the poll's owner.
    private uint _in, _out;

    /// <summary>
    /// Puts a packet in. False: there is no room. <paramref name="schedule"/>: nobody polls, and now the caller must see to it.
    /// </summary>
    public bool TryPut(Cpu cpu, SkBuff skb, out bool schedule)
    {
        schedule = false;
        _lock.Lock(cpu);
        uint held = _in - Volatile.Read(ref _out);
        bool room = held < (uint)capacity;
        if (room)
        {
            if (held == (uint)_slots.Length)
                Grow();
            _slots[_in & (uint)(_slots.Length - 1)] = skb;
            // The packet, and the slots that it stands in, before the count that shows it.
            Volatile.Write(ref _in, _in + 1);
            schedule = !_scheduled;
            _scheduled = true;
        }
        _lock.Unlock(cpu);
        return room;
    }

    /// <summary>The oldest packet; null if there is none. By the poll's owner.</summary>
    public SkBuff? Take()
    {
        uint at = _out;
        if (Volatile.Read(ref _in) == at)
            return null;
        SkBuff[] slots = Volatile.Read(ref _slots);
        SkBuff skb = slots[at & (uint)(slots.Length - 1)];
        Volatile.Write(ref _out, at + 1);
        return skb;
    }

    /// <summary>Gives the poll up, unless packets have come: false. Linux: napi_complete_done.</summary>
    public bool TryEndPoll(Cpu cpu)
    {
        _lock.Lock(cpu);
        bool empty = _in == _out;
        _scheduled = !empty;
        _lock.Unlock(cpu);
        return empty;
    }

    // A packet keeps its number, so that whoever knows the number finds it in the old slots as well as in the new.
    private void Grow()
    {
        var slots = new SkBuff[2 * _slots.Length];
        for (uint i = _in - (uint)_slots.Length; i != _in; i++)
            slots[i & (uint)(slots.Length - 1)] = _slots[i & (uint)(_slots.Length - 1)];
        Volatile.Write(ref _slots, slots);
    }
}
