using System;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;

namespace Millrace.Sockets;

/// <summary>
/// What a transport protocol does with a sock. Abstract: every protocol must answer. Virtual: a protocol that says nothing refuses or
/// has nothing to do.
/// </summary>
/// <remarks>Linux: struct proto.</remarks>
internal abstract class Proto
{
    /// <summary>As /proc/net/protocols names it.</summary>
    public abstract string Name { get; }

    /// <summary>Its IP protocol number.</summary>
    public abstract int Number { get; }

    /// <summary>The memory that all socks of the protocol share.</summary>
    public abstract ProtoMemory Memory { get; }

    /// <summary>Who notes when packets come.</summary>
    public abstract ReceiveStamps Stamps { get; }

    /// <summary>A sock of the protocol, with one reference. Linux: sk_prot_alloc.</summary>
    public abstract Sock Allocate(Cpu cpu);

    /// <summary>Sets up what a new sock of the protocol has. Linux: init.</summary>
    public abstract Errno InitSock(Cpu cpu, Sock sk);

    /// <summary>Takes the sock from its user; the protocol finishes on its own. Linux: close.</summary>
    public abstract void Close(ref TaskContext context, Sock sk, Micros timeout);

    public abstract Errno Connect(ref TaskContext context, Sock sk, in SockAddr address);

    public abstract Errno Disconnect(Cpu cpu, Sock sk);

    /// <summary>
    /// Ends whatever the sock does, and tells the peer so; its user learns <paramref name="error"/>. Linux: diag_destroy.
    /// </summary>
    public abstract void Abort(ref TaskContext context, Sock sk, Errno error);

    /// <summary>Waits for a connection; null with an error.</summary>
    public virtual Sock? Accept(ref TaskContext context, Sock sk, bool nonBlocking, out Errno error)
    {
        error = Errno.EOPNOTSUPP;
        return null;
    }

    /// <summary>The sock is locked by the caller.</summary>
    public virtual void Shutdown(Cpu cpu, Sock sk, ShutdownMask how)
    {
    }

    public abstract SysResult SendMessage(ref TaskContext context, Sock sk, ref MsgHdr message);

    public abstract SysResult ReceiveMessage(ref TaskContext context, Sock sk, ref MsgHdr message);

    /// <summary>
    /// Moves up to <paramref name="count"/> received bytes to <paramref name="target"/>, in their pages. 0: the end, or something
    /// stands first that cannot be moved. Linux: splice_read.
    /// </summary>
    public virtual SysResult SpliceRead(ref TaskContext context, Sock sk, Buffers.SkBuffHead target, int count, bool nonBlocking) =>
        Errno.EINVAL;

    /// <summary>As <see cref="ReceiveMessage"/>, by somebody who owns the socket.</summary>
    public abstract SysResult ReceiveOwned(ref TaskContext context, Sock sk, ref MsgHdr message);

    /// <summary>As <see cref="SendMessage"/>, by somebody who owns the socket.</summary>
    public abstract SysResult SendOwned(ref TaskContext context, Sock sk, ref MsgHdr message);

    /// <summary>Takes a connection that is ready, by somebody who owns the listener; null: none is.</summary>
    public virtual Sock? AcceptOwned(Cpu cpu, Sock sk, out Errno error)
    {
        error = Errno.EOPNOTSUPP;
        return null;
    }

    public virtual Errno SetOption(ref TaskContext context, Sock sk, int level, int option, ReadOnlySpan<byte> value) => Errno.ENOPROTOOPT;

    public virtual Errno GetOption(ref TaskContext context, Sock sk, int level, int option, ref Span<byte> value) => Errno.ENOPROTOOPT;

    public virtual Errno Ioctl(ref TaskContext context, Sock sk, uint request, ref int value) => Errno.ENOTTY;

    public abstract PollEvents Poll(Cpu cpu, Sock sk);

    /// <summary>Binds to a port, 0 to any. Linux: get_port.</summary>
    public abstract Errno GetPort(Cpu cpu, Sock sk, ushort port);

    /// <summary>Leaves the tables. Linux: unhash.</summary>
    public abstract void Unhash(Cpu cpu, Sock sk);

    /// <summary>Handles a packet that was queued because the sock was owned. The caller owns it now. Linux: backlog_rcv.</summary>
    public abstract void BacklogReceive(Cpu cpu, Sock sk, SkBuff skb);

    /// <summary>Does what softirq left to the owner. Called by the owner, under the spinlock, just before it lets go. Linux: release_cb.</summary>
    public virtual void ReleaseCallback(Cpu cpu, Sock sk)
    {
    }

    /// <summary>The last reference is gone. Linux: sk_free, sk_destruct.</summary>
    public abstract void Free(Cpu cpu, Sock sk);
}
