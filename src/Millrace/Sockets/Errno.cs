using System.Diagnostics.CodeAnalysis;

namespace Millrace;

/// <summary>Error numbers, as Linux on x86-64 and arm64 numbers them.</summary>
[SuppressMessage("Design", "CA1008", Justification = "OK is the field's word for no error")]
public enum Errno
{
    OK = 0,
    EPERM = 1,
    ENOENT = 2,
    EINTR = 4,
    EIO = 5,
    ENXIO = 6,
    EBADF = 9,
    EAGAIN = 11,
    ENOMEM = 12,
    EACCES = 13,
    EFAULT = 14,
    EBUSY = 16,
    EEXIST = 17,
    ENODEV = 19,
    EINVAL = 22,
    ENFILE = 23,
    EMFILE = 24,
    ENOTTY = 25,
    EFBIG = 27,
    ESPIPE = 29,
    EPIPE = 32,
    ERANGE = 34,
    EDOM = 33,
    ENOSYS = 38,
    ENOMSG = 42,
    ELOOP = 40,
    ENONET = 64,
    EPROTO = 71,
    EBADFD = 77,
    ENOTSOCK = 88,
    EDESTADDRREQ = 89,
    EMSGSIZE = 90,
    EPROTOTYPE = 91,
    ENOPROTOOPT = 92,
    EPROTONOSUPPORT = 93,
    ESOCKTNOSUPPORT = 94,
    EOPNOTSUPP = 95,
    EPFNOSUPPORT = 96,
    EAFNOSUPPORT = 97,
    EADDRINUSE = 98,
    EADDRNOTAVAIL = 99,
    ENETDOWN = 100,
    ENETUNREACH = 101,
    ENETRESET = 102,
    ECONNABORTED = 103,
    ECONNRESET = 104,
    ENOBUFS = 105,
    EISCONN = 106,
    ENOTCONN = 107,
    ESHUTDOWN = 108,
    ETIMEDOUT = 110,
    ECONNREFUSED = 111,
    EHOSTDOWN = 112,
    EHOSTUNREACH = 113,
    EALREADY = 114,
    EINPROGRESS = 115,
    ECANCELED = 125,
}

/// <summary>What a system call returns: a number, or an error.</summary>
public readonly record struct SysResult
{
    private readonly long _value;

    private SysResult(long value) => _value = value;

    public bool IsError => _value < 0;

    /// <summary>The error; <see cref="Errno.OK"/> if there is none.</summary>
    public Errno Error => _value < 0 ? (Errno)(-_value) : Errno.OK;

    /// <summary>The call's result: a descriptor, a count of bytes, or 0. −1 if it failed.</summary>
    public int Value => _value < 0 ? -1 : (int)_value;

    public static implicit operator SysResult(Errno error) => new(-(long)error);

    public static implicit operator SysResult(int value) => new(value);

    public override string ToString() => IsError ? $"-1 {Error}" : _value.ToString(System.Globalization.CultureInfo.InvariantCulture);
}
