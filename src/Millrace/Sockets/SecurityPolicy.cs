using System.Net;
using Millrace.Sockets;

namespace Millrace;

/// <summary>What a security policy is told of a socket.</summary>
public readonly struct SocketInfo
{
    private readonly Socket _socket;

    internal SocketInfo(Socket socket) => _socket = socket;

    /// <summary>AF_INET is 2, AF_INET6 is 10.</summary>
    public int Family => _socket.Ops.Family;

    /// <summary>SOCK_STREAM is 1, SOCK_DGRAM is 2.</summary>
    public int Type => (int)_socket.Type;

    /// <summary>Null if the socket has no local address yet.</summary>
    public IPEndPoint? Local => EndPoint(peer: false);

    /// <summary>Null if the socket has no peer.</summary>
    public IPEndPoint? Remote => EndPoint(peer: true);

    /// <summary>The policy's own note on the socket, kept as long as the socket lives.</summary>
    public object? Tag
    {
        get => _socket.SecurityBlob;
        set => _socket.SecurityBlob = value;
    }

    private IPEndPoint? EndPoint(bool peer)
    {
        if (_socket.Sk is not { } sk)
            return null;
        return peer
            ? sk.RemotePort == 0 ? null : new IPEndPoint(sk.RemoteAddr.ToIPAddress(), sk.RemotePort)
            : sk.LocalPort == 0 ? null : new IPEndPoint(sk.LocalAddr.ToIPAddress(), sk.LocalPort);
    }
}

/// <summary>
/// Decides which calls a stack's sockets may make. Each method is called in the caller's context, before any lock is taken and any
/// data is touched; anything but <see cref="Errno.OK"/> is what the call returns.
/// </summary>
/// <remarks>Linux: the security_socket_* hooks of the LSM framework.</remarks>
public abstract class SecurityPolicy
{
    /// <summary>Allows everything.</summary>
    public static SecurityPolicy AllowAll { get; } = new Permissive();

    /// <summary>Whether nothing is ever asked.</summary>
    internal bool IsPermissive => this == AllowAll;

    /// <summary>Linux: security_socket_create.</summary>
    public virtual Errno OnCreate(int family, int type, int protocol) => Errno.OK;

    /// <summary>Linux: security_socket_bind.</summary>
    public virtual Errno OnBind(SocketInfo socket, IPEndPoint? address) => Errno.OK;

    /// <summary>Linux: security_socket_connect.</summary>
    public virtual Errno OnConnect(SocketInfo socket, IPEndPoint? address) => Errno.OK;

    /// <summary>Linux: security_socket_listen.</summary>
    public virtual Errno OnListen(SocketInfo socket, int backlog) => Errno.OK;

    /// <summary>Linux: security_socket_accept.</summary>
    public virtual Errno OnAccept(SocketInfo socket) => Errno.OK;

    /// <summary>Linux: security_socket_sendmsg.</summary>
    public virtual Errno OnSendMessage(SocketInfo socket) => Errno.OK;

    /// <summary>Linux: security_socket_recvmsg.</summary>
    public virtual Errno OnReceiveMessage(SocketInfo socket) => Errno.OK;

    /// <summary>Linux: security_socket_getsockname, security_socket_getpeername.</summary>
    public virtual Errno OnGetName(SocketInfo socket, bool peer) => Errno.OK;

    /// <summary>Linux: security_socket_setsockopt.</summary>
    public virtual Errno OnSetOption(SocketInfo socket, int level, int option) => Errno.OK;

    /// <summary>Linux: security_socket_getsockopt.</summary>
    public virtual Errno OnGetOption(SocketInfo socket, int level, int option) => Errno.OK;

    /// <summary>Linux: security_socket_shutdown.</summary>
    public virtual Errno OnShutdown(SocketInfo socket, int how) => Errno.OK;

    private sealed class Permissive : SecurityPolicy
    {
    }
}
