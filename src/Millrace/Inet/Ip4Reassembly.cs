using System;
using System.Collections.Generic;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>
/// Puts IPv4 fragments together. Bounded in memory and time: the oldest datagrams go when fragments take too much, each after 30
/// seconds; fragments that overlap end their datagram, since only an attack sends them.
/// </summary>
/// <remarks>RFC 791 §3.2, RFC 5722 (its rule, applied to IPv4 as Linux does). Linux: ip_defrag, inet_frags.</remarks>
internal sealed unsafe class Ip4Reassembly(TimerService timers)
{
    /// <summary>Linux: net.ipv4.ipfrag_high_thresh, lowered to what a user-space stack wants to hold.</summary>
    private const int MaxBytes = 1 << 20;

    private const int MaxDatagram = 65535;
    private static readonly Micros Timeout = Micros.FromSeconds(30);

    private readonly Dictionary<Key, Datagram> _datagrams = [];
    private readonly LinkedList<Datagram> _byAge = new();
    private SpinLock32 _lock;
    private int _bytes;

    /// <summary>Bytes that are held.</summary>
    public int Bytes => _bytes;

    /// <summary>Takes a fragment over. Returns the datagram when it is complete, else null.</summary>
    public SkBuff? Accept(Cpu cpu, SkBuff skb)
    {
        cpu.Mib.Inc(Mib.IpReasmReqds);
        _lock.Lock(cpu);
        var key = new Key(IpHeaders.Source(skb), IpHeaders.Destination(skb), Be.Get16(skb.NetworkHeader + 4), skb.NetworkHeader[9]);
        if (!_datagrams.TryGetValue(key, out Datagram? datagram))
        {
            datagram = new Datagram(this, key);
            _datagrams[key] = datagram;
            datagram.Place = _byAge.AddLast(datagram);
            timers.Arm(cpu, datagram, cpu.Now + Timeout);
        }
        SkBuff? whole = null;
        if (!datagram.TryAdd(cpu, skb))
            Fail(cpu, datagram);
        else if (datagram.IsComplete)
            whole = Finish(cpu, datagram);
        while (_bytes > MaxBytes && _byAge.First is { } oldest)
            Fail(cpu, oldest.Value);
        _lock.Unlock(cpu);
        return whole;
    }

    private void Fail(Cpu cpu, Datagram datagram)
    {
        cpu.Mib.Inc(Mib.IpReasmFails);
        Forget(cpu, datagram);
    }

    private SkBuff Finish(Cpu cpu, Datagram datagram)
    {
        SkBuff whole = datagram.Assemble(cpu);
        cpu.Mib.Inc(Mib.IpReasmOKs);
        Forget(cpu, datagram);
        return whole;
    }

    private void Forget(Cpu cpu, Datagram datagram)
    {
        timers.Cancel(cpu, datagram);
        _datagrams.Remove(datagram.Key);
        _byAge.Remove(datagram.Place!);
        datagram.Free(cpu);
    }

    private readonly record struct Key(IpAddr Source, IpAddr Destination, ushort Id, byte Protocol);

    private sealed class Datagram(Ip4Reassembly owner, Key key) : TimerNode
    {
        private readonly List<(int Start, int End, SkBuff Skb)> _pieces = [];
        private int _total = -1;
        private int _have;

        public Key Key { get; } = key;

        public LinkedListNode<Datagram>? Place { get; set; }

        public bool IsComplete => _total >= 0 && _have == _total;

        /// <summary>False: the fragment contradicts the others, and the datagram is lost.</summary>
        public bool TryAdd(Cpu cpu, SkBuff skb)
        {
            int header = (skb.NetworkHeader[0] & 0xf) * 4;
            ushort field = Be.Get16(skb.NetworkHeader + 6);
            int start = (field & Ipv4Header.OffsetMask) * 8;
            int length = skb.Length - header;
            int end = start + length;
            bool last = (field & Ipv4Header.MoreFragments) == 0;
            // The pieces are sorted and disjoint: only the neighbours can be contradicted.
            int at = FirstEndingAfter(start);
            bool sound = length > 0 && end <= MaxDatagram - header && (last || length % 8 == 0)
                && (_total < 0 || (last ? end == _total : end <= _total)) && !(last && _pieces.Count > 0 && _pieces[^1].End > end);
            if (sound && at < _pieces.Count && _pieces[at].Start == start && _pieces[at].End == end)
            {
                cpu.FreeSkb(skb);
                return true;
            }
            if (!sound || (at < _pieces.Count && _pieces[at].Start < end))
            {
                Drops.Free(cpu, skb, DropReason.IpInhdr);
                return false;
            }
            _pieces.Insert(at, (start, end, skb));
            _have += length;
            owner._bytes += skb.TrueSize;
            if (last)
                _total = end;
            return true;
        }

        // By halves: whoever sends tiny fragments must not make each of them dear.
        private int FirstEndingAfter(int start)
        {
            int low = 0, high = _pieces.Count;
            while (low < high)
            {
                int middle = (low + high) / 2;
                if (_pieces[middle].End > start)
                    high = middle;
                else
                    low = middle + 1;
            }
            return low;
        }

        public SkBuff Assemble(Cpu cpu)
        {
            SkBuff first = _pieces[0].Skb;
            int header = (first.NetworkHeader[0] & 0xf) * 4;
            SkBuff whole = cpu.AllocLinear(header, headroom: 64);
            first.CopyTo(0, new Span<byte>(whole.Put(header), header));
            foreach ((int _, int _, SkBuff skb) in _pieces)
            {
                skb.DropFront((skb.NetworkHeader[0] & 0xf) * 4, cpu);
                cpu.AppendCopy(whole, skb.Linear);
                foreach (ref readonly SkbFragment f in skb.Fragments)
                    cpu.AppendCopy(whole, new ReadOnlySpan<byte>(f.Data, f.Length));
            }
            whole.TrueSize += _total;
            whole.Protocol = EtherType.Ipv4;
            whole.IfIndex = first.IfIndex;
            whole.NetworkOffset = whole.Headroom;
            whole.TransportOffset = whole.NetworkOffset + header;
            Be.Put16(whole.Data + 2, (ushort)(header + _total));
            Be.Put16(whole.Data + 6, 0);
            Ipv4Header.WriteChecksum(whole.Data);
            return whole;
        }

        public void Free(Cpu cpu)
        {
            foreach ((int _, int _, SkBuff skb) in _pieces)
            {
                owner._bytes -= skb.TrueSize;
                cpu.FreeSkb(skb);
            }
            _pieces.Clear();
        }

        internal override void Fire(Cpu cpu)
        {
            owner._lock.Lock(cpu);
            if (owner._datagrams.TryGetValue(Key, out Datagram? current) && current == this)
            {
                cpu.Mib.Inc(Mib.IpReasmTimeout);
                owner.Fail(cpu, this);
            }
            owner._lock.Unlock(cpu);
        }
    }
}
