using System;
using System.Threading;
using Millrace.Tracing;

namespace Millrace;

/// <summary>
/// Asynchronous operations of one kind, made by slabs and used last in, first out: an await stores young objects into an operation, and
/// the collector finds them cheaply if few operations, close together, are used again and again.
/// </summary>
internal sealed class OperationPool<T>(Func<OperationPool<T>, int, T> make)
    where T : class, IPooledOperation
{
    private const int SlabSize = 64;
    private const int None = -1;

    private readonly Lock _grow = new();
    private T[] _all = [];

    // The index of the first free operation, below a tag that grows with every change, so that a head that came back is told from one
    // that stayed.
    private long _head = None & uint.MaxValue;

    public T Rent()
    {
        while (true)
        {
            long head = Volatile.Read(ref _head);
            int index = (int)head;
            if (index == None)
            {
                Grow();
                continue;
            }
            T operation = Volatile.Read(ref _all)[index];
            if (Atomic.CompareExchange(ref _head, Head(head, operation.NextFree), head) == head)
                return operation;
        }
    }

    public void Return(T operation)
    {
        while (true)
        {
            long head = Volatile.Read(ref _head);
            operation.NextFree = (int)head;
            if (Atomic.CompareExchange(ref _head, Head(head, operation.Index), head) == head)
                return;
        }
    }

    private static long Head(long before, int index) => (((before >> 32) + 1) << 32) | (uint)index;

    private void Grow()
    {
        T[] made;
        lock (_grow)
        {
            if ((int)Volatile.Read(ref _head) != None)
                return;
            int count = _all.Length;
            made = new T[SlabSize];
            for (int i = 0; i < SlabSize; i++)
                made[i] = make(this, count + i);
            Volatile.Write(ref _all, [.. _all, .. made]);
        }
        // The highest first, so that the lowest are used most.
        for (int i = SlabSize - 1; i >= 0; i--)
            Return(made[i]);
    }
}

/// <summary>What a pool keeps in its operations.</summary>
internal interface IPooledOperation
{
    int Index { get; }

    int NextFree { get; set; }
}
