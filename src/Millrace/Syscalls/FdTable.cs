using System;
using System.Collections.Generic;
using System.Threading;
using Millrace.Sockets;

namespace Millrace.Syscalls;

/// <summary>A process's descriptors: small numbers for open files, the lowest free one first. Linux: files_struct, fdtable.</summary>
internal sealed class FdTable(int limit)
{
    private readonly Lock _lock = new();
    private File?[] _files = new File?[16];
    private bool[] _closeOnExec = new bool[16];
    private int _lowestFree;

    /// <summary>Gives the file, with the caller's reference, a number. EMFILE if there is none. Linux: get_unused_fd_flags, fd_install.</summary>
    public SysResult Install(File file, bool closeOnExec, int from = 0)
    {
        lock (_lock)
        {
            int fd = Math.Max(from, _lowestFree);
            while (fd < _files.Length && _files[fd] is not null)
                fd++;
            if (fd >= limit)
                return Errno.EMFILE;
            if (fd >= _files.Length)
            {
                int size = Math.Max(fd + 1, 2 * _files.Length);
                Array.Resize(ref _files, size);
                Array.Resize(ref _closeOnExec, size);
            }
            _files[fd] = file;
            _closeOnExec[fd] = closeOnExec;
            if (fd == _lowestFree)
                _lowestFree = fd + 1;
            return fd;
        }
    }

    /// <summary>The file, with a reference; null: bad descriptor. Linux: fget.</summary>
    public File? Get(int fd)
    {
        lock (_lock)
        {
            File? file = (uint)fd < (uint)_files.Length ? _files[fd] : null;
            return file is not null && file.TryHold() ? file : null;
        }
    }

    /// <summary>Takes the file out; its reference is the caller's. Linux: file_close_fd.</summary>
    public File? Remove(int fd)
    {
        lock (_lock)
        {
            if ((uint)fd >= (uint)_files.Length || _files[fd] is not { } file)
                return null;
            _files[fd] = null;
            _lowestFree = Math.Min(_lowestFree, fd);
            return file;
        }
    }

    /// <summary>Takes all files out.</summary>
    public List<File> RemoveAll()
    {
        lock (_lock)
        {
            var files = new List<File>();
            for (int fd = 0; fd < _files.Length; fd++)
            {
                if (_files[fd] is { } file)
                    files.Add(file);
                _files[fd] = null;
            }
            _lowestFree = 0;
            return files;
        }
    }

    /// <summary>FD_CLOEXEC, read and set. False: bad descriptor.</summary>
    public bool TryCloseOnExec(int fd, bool? set, out bool value)
    {
        lock (_lock)
        {
            value = false;
            if ((uint)fd >= (uint)_files.Length || _files[fd] is null)
                return false;
            if (set is { } on)
                _closeOnExec[fd] = on;
            value = _closeOnExec[fd];
            return true;
        }
    }
}
