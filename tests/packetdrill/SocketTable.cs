
namespace Millrace.Packetdrill;

/// <summary>The stack's TCP sockets as /proc/net/tcp and /proc/net/tcp6 show them: address:port pairs and the state, in hex.</summary>
internal static class SocketTable
{
    public static string Format(NetStack stack, bool isV6) => "";
}
