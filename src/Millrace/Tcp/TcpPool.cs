using System.Threading;
using Millrace.Sched;

namespace Millrace.Tcp;

/// <summary>Objects that a connection needs for a while, kept for the next one, last in first out. Guarded by its own lock.</summary>
internal sealed class TcpPool<T>
    where T : class, new()
{
    private const int Capacity = 65536;

    private T?[] _free = new T?[16];
    private SpinLock32 _lock;
    private int _count;

    public T Take(Cpu cpu)
    {
        if (Volatile.Read(ref _count) == 0)
            return new T();
        _lock.Lock(cpu);
        T? item = null;
        if (_count > 0)
        {
            item = _free[--_count];
            _free[_count] = null;
        }
        _lock.Unlock(cpu);
        return item ?? new T();
    }

    /// <summary>The object is as new.</summary>
    public void Return(Cpu cpu, T item)
    {
        _lock.Lock(cpu);
        if (_count == _free.Length && _count < Capacity)
            System.Array.Resize(ref _free, 2 * _count);
        if (_count < _free.Length)
            _free[_count++] = item;
        _lock.Unlock(cpu);
    }
}
