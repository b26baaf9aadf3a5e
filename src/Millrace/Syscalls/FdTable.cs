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
    private Marks[] _marks = new Marks[16];
    private int _lowestFree;

    /// <summary>Gives the file, with the caller's reference, a number. EMFILE if there is none.</summary>
    public SysResult Install(File file, bool closeOnExec, int from = 0)
    {
        SysResult fd = Reserve(from);
        if (!fd.IsError)
            Fill(fd.Value, file, closeOnExec);
        return fd;
    }

    /// <summary>Takes a number for a file that is yet to come; until then it is a bad descriptor. Linux: get_unused_fd_flags.</summary>
    public SysResult Reserve(int from = 0)
    {
        lock (_lock)
        {
            int fd = Math.Max(from, _lowestFree);
            while (fd < _files.Length && _marks[fd] != Marks.None)
                fd++;
            if (fd >= limit)
                return Errno.EMFILE;
            if (fd >= _files.Length)
            {
                Array.Resize(ref _files, Math.Max(fd + 1, 2 * _files.Length));
                Array.Resize(ref _marks, _files.Length);
            }
            _marks[fd] = Marks.Taken;
            if (fd == _lowestFree)
                _lowestFree = fd + 1;
            return fd;
        }
    }

    /// <summary>Puts a file, with the caller's reference, where room was reserved. Linux: fd_install.</summary>
    public void Fill(int fd, File file, bool closeOnExec)
    {
        lock (_lock)
        {
            _files[fd] = file;
            _marks[fd] = closeOnExec ? Marks.Taken | Marks.CloseOnExec : Marks.Taken;
        }
    }

    /// <summary>Gives a reserved number back. Linux: put_unused_fd.</summary>
    public void Unreserve(int fd)
    {
        lock (_lock)
            Free(fd);
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
            Free(fd);
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
                {
                    files.Add(file);
                    Free(fd);
                }
            }
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
                _marks[fd] = on ? _marks[fd] | Marks.CloseOnExec : _marks[fd] & ~Marks.CloseOnExec;
            value = (_marks[fd] & Marks.CloseOnExec) != 0;
            return true;
        }
    }

    private void Free(int fd)
    {
        _files[fd] = null;
        _marks[fd] = Marks.None;
        _lowestFree = Math.Min(_lowestFree, fd);
    }

    [Flags]
    private enum Marks : byte
    {
        None = 0,
        Taken = 1,
        CloseOnExec = 2,
    }
}
