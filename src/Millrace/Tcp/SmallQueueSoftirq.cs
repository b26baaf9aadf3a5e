using System.Threading;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Tcp;

/// <summary>
/// Connections that stopped sending because the layers below held enough of them, and now hold less: each goes on in the NET_TX softirq.
/// </summary>
/// <remarks>Linux: TCP small queues, tcp_tasklet_func.</remarks>
internal sealed class SmallQueueSoftirq : SoftirqAction
{
    private TcpSock? _first;

    /// <summary>Queues a connection, once. Any context, any lock.</summary>
    public void Add(Cpu cpu, TcpSock sk)
    {
        Transfer transfer = sk.Transfer!;
        if (Atomic.Exchange(ref transfer.SmallQueueQueued, 1) != 0)
            return;
        sk.Hold();
        TcpSock? first;
        do
        {
            first = Volatile.Read(ref _first);
            transfer.NextSmallQueue = first;
        }
        while (Interlocked.CompareExchange(ref _first, sk, first) != first);
        cpu.Raise(Softirq.NetTx);
    }

    public override void Run(Cpu cpu)
    {
        TcpSock? next = Interlocked.Exchange(ref _first, null);
        while (next is { } sk)
        {
            Transfer transfer = sk.Transfer!;
            next = transfer.NextSmallQueue;
            transfer.NextSmallQueue = null;
            Volatile.Write(ref transfer.SmallQueueQueued, 0);
            sk.IsThrottled = false;
            sk.Lock.Lock(cpu);
            if (sk.Lock.IsOwned)
                sk.Deferred |= DeferredWorkFlags.SmallQueue;
            else
                sk.ContinueTransmit(cpu);
            sk.Lock.Unlock(cpu);
            sk.Put(cpu);
        }
    }
}
