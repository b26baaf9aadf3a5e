using System;
using System.Collections.Generic;
using System.Threading;
using Millrace.Sched;
using Millrace.Sockets;

namespace Millrace.Syscalls;

/// <summary>
/// An epoll instance: the descriptors of interest, each an entry on its file's wait queue, and the list of those that have become
/// ready.
/// </summary>
/// <remarks>Linux: eventpoll, epitem, ep_poll_callback. Lock order: an item's queue, then the ready list.</remarks>
internal sealed class EpollFile : File, IFileObserver
{
    private const uint EdgeTriggered = 1u << 31, OneShot = 1u << 30, Exclusive = 1u << 28;

    /// <summary>Linux: EPOLLINOUT_BITS and what else may go with EPOLLEXCLUSIVE.</summary>
    private const uint ExclusiveAllowed = (uint)(PollEvents.In | PollEvents.Out | PollEvents.Err | PollEvents.Hup | PollEvents.RdNorm
        | PollEvents.WrNorm) | EdgeTriggered | Exclusive;

    private readonly TaskMutex _itemsLock = new();
    private readonly Dictionary<(int Fd, File File), Item> _items = [];
    private SpinLock32 _readyLock;
    private Item? _readyFirst, _readyLast;

    /// <summary>Who waits in epoll_wait, or polls this instance.</summary>
    public WaitQueueHead Waiters;

    /// <summary>EPOLL_CTL_ADD, MOD, DEL are 1, 3, 2.</summary>
    public Errno Control(ref TaskContext context, int operation, int fd, File file, uint events, ulong data)
    {
        const int add = 1;
        if (file == this)
            return Errno.EINVAL;
        if (file is EpollFile)
            return Errno.ELOOP;
        if (operation == add && (events & Exclusive) != 0 && (events & ~ExclusiveAllowed) != 0)
            return Errno.EINVAL;
        _itemsLock.Lock(ref context);
        Errno error = ControlLocked(ref context, operation, fd, file, events, data);
        _itemsLock.Unlock(context.Cpu);
        return error;
    }

    private Errno ControlLocked(ref TaskContext context, int operation, int fd, File file, uint events, ulong data)
    {
        const int add = 1, delete = 2, modify = 3;
        bool known = _items.TryGetValue((fd, file), out Item? item);
        switch (operation)
        {
            case add:
                if (known)
                    return Errno.EEXIST;
                item = new Item(this, file) { Data = data };
                _items[(fd, file)] = item;
                file.Observe(this);
                break;
            case modify:
                if (!known)
                    return Errno.ENOENT;
                if (((item!.Events | events) & Exclusive) != 0)
                    return Errno.EINVAL;
                item.Data = data;
                break;
            case delete:
                if (!known)
                    return Errno.ENOENT;
                _items.Remove((fd, file));
                item!.Detach(context.Cpu);
                RemoveReady(context.Cpu, item);
                return Errno.OK;
            default:
                return Errno.EINVAL;
        }
        item!.SetEvents(events | (uint)(PollEvents.Err | PollEvents.Hup));
        PollEvents now = file.Poll(ref context, operation == add ? item.Table : null);
        if (((uint)now & item.Events) != 0)
            AddReady(context.Cpu, item);
        return Errno.OK;
    }

    /// <summary>Waits until something is ready, and reports as many as fit. Linux: ep_poll.</summary>
    public SysResult Wait(ref TaskContext context, Span<EpollEvent> events, Micros deadline)
    {
        while (true)
        {
            int n = Report(ref context, events);
            if (n > 0)
                return n;
            if (context.Cpu.Now >= deadline)
                return 0;
            if (context.Task.SignalPending)
                return Errno.EINTR;
            Waiters.Prepare(context.Cpu, context.Task, PollEvents.Readable, exclusive: true);
            if (Volatile.Read(ref _readyFirst) is null)
                Scheduler.ScheduleTimeout(ref context, deadline, "ep_poll");
            Waiters.Finish(context.Cpu, context.Task);
        }
    }

    public override PollEvents Poll(ref TaskContext context, PollTable? table)
    {
        table?.Wait(context.Cpu, ref Waiters);
        return Volatile.Read(ref _readyFirst) is null ? PollEvents.None : PollEvents.Readable;
    }

    public override SysResult Read(ref TaskContext context, ref MsgHdr message) => Errno.EINVAL;

    public override SysResult Write(ref TaskContext context, ref MsgHdr message) => Errno.EINVAL;

    protected override void OnLastRelease(ref TaskContext context)
    {
        _itemsLock.Lock(ref context);
        foreach (Item item in _items.Values)
            item.Detach(context.Cpu);
        _items.Clear();
        _itemsLock.Unlock(context.Cpu);
    }

    /// <summary>A file was closed for good: it leaves the set by itself. Linux: eventpoll_release_file.</summary>
    public void OnReleased(ref TaskContext context, File file)
    {
        _itemsLock.Lock(ref context);
        foreach ((int Fd, File File) key in new List<(int Fd, File File)>(_items.Keys))
        {
            if (key.File != file || !_items.Remove(key, out Item? item))
                continue;
            item.Detach(context.Cpu);
            RemoveReady(context.Cpu, item);
        }
        _itemsLock.Unlock(context.Cpu);
    }

    // Each ready item is asked again: what no longer holds is dropped, what is level-triggered stays. Linux: ep_send_events.
    private int Report(ref TaskContext context, Span<EpollEvent> events)
    {
        int n = 0;
        Item? again = null, lastAgain = null;
        while (n < events.Length && TakeReady(context.Cpu) is { } item)
        {
            uint now = (uint)item.File.Poll(ref context, null) & item.Events;
            if (now == 0)
                continue;
            events[n++] = new EpollEvent(now, item.Data);
            if ((item.Events & OneShot) != 0)
            {
                item.SetEvents(item.Events & (EdgeTriggered | OneShot | Exclusive));
            }
            else if ((item.Events & EdgeTriggered) == 0)
            {
                item.NextAgain = null;
                if (lastAgain is null)
                    again = item;
                else
                    lastAgain.NextAgain = item;
                lastAgain = item;
            }
        }
        for (; again is not null; again = again.NextAgain)
            AddReady(context.Cpu, again);
        return n;
    }

    private void AddReady(Cpu cpu, Item item)
    {
        _readyLock.Lock(cpu);
        bool added = !item.IsReady;
        if (added)
        {
            item.IsReady = true;
            item.PrevReady = _readyLast;
            item.NextReady = null;
            if (_readyLast is null)
                Volatile.Write(ref _readyFirst, item);
            else
                _readyLast.NextReady = item;
            _readyLast = item;
        }
        _readyLock.Unlock(cpu);
        if (Waiters.HasSleepers)
            Waiters.Wake(cpu, new WakeKey(PollEvents.Readable));
    }

    private Item? TakeReady(Cpu cpu)
    {
        _readyLock.Lock(cpu);
        Item? item = _readyFirst;
        if (item is not null)
            Unlink(item);
        _readyLock.Unlock(cpu);
        return item;
    }

    private void RemoveReady(Cpu cpu, Item item)
    {
        _readyLock.Lock(cpu);
        if (item.IsReady)
            Unlink(item);
        _readyLock.Unlock(cpu);
    }

    private void Unlink(Item item)
    {
        item.IsReady = false;
        if (item.PrevReady is null)
            Volatile.Write(ref _readyFirst, item.NextReady);
        else
            item.PrevReady.NextReady = item.NextReady;
        if (item.NextReady is null)
            _readyLast = item.PrevReady;
        else
            item.NextReady.PrevReady = item.PrevReady;
        item.NextReady = item.PrevReady = null;
    }

    /// <summary>A descriptor of interest: its entry on the file's queue puts it on the ready list. Linux: epitem, eppoll_entry.</summary>
    private sealed class Item(EpollFile epoll, File file) : WaitQueueEntry
    {
        private ItemTable? _table;

        internal Item? NextReady, PrevReady, NextAgain;
        internal bool IsReady;

        public File File { get; } = file;

        public uint Events { get; private set; }

        public ulong Data { get; set; }

        public PollTable Table => _table ??= new ItemTable(this);

        public void SetEvents(uint events)
        {
            Events = events;
            Interest = (PollEvents)(events & ~(EdgeTriggered | OneShot | Exclusive));
        }

        public void Detach(Cpu cpu)
        {
            switch (File)
            {
                case Socket socket:
                    socket.Wait.Remove(cpu, this);
                    break;
                case PipeFile pipe:
                    pipe.Pipe.Wait.Remove(cpu, this);
                    break;
            }
        }

        // Not exclusive unless asked; and then a wake-up counts only if it found somebody asleep. Linux: ep_poll_callback.
        internal override bool Wake(Cpu cpu, in WakeKey key, out bool remove)
        {
            remove = false;
            bool sleepers = epoll.Waiters.HasSleepers;
            epoll.AddReady(cpu, this);
            return (Events & Exclusive) == 0 || sleepers;
        }

        private sealed class ItemTable(Item item) : PollTable
        {
            public override void Wait(Cpu cpu, ref WaitQueueHead queue) => queue.Add(cpu, item, (item.Events & Exclusive) != 0);
        }
    }
}
