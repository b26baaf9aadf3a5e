using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Logging;

namespace Millrace.AspNetCore;

internal static partial class TransportLog
{
    [LoggerMessage(1, LogLevel.Debug, "A connection to {EndPoint} was gone before it was accepted: {Error}.", EventName = "LostBeforeAccept")]
    public static partial void LostBeforeAccept(ILogger logger, EndPoint endPoint, SocketError error);

    [LoggerMessage(2, LogLevel.Debug, "Connection id \"{ConnectionId}\" aborted here: {Reason}", EventName = "ConnectionAbort")]
    public static partial void Abort(ILogger logger, string connectionId, string reason);

    [LoggerMessage(3, LogLevel.Debug, "Connection id \"{ConnectionId}\" failed: {Error}.", EventName = "ConnectionError")]
    public static partial void Failed(ILogger logger, string connectionId, SocketError error);

    [LoggerMessage(4, LogLevel.Error, "A callback of connection id \"{ConnectionId}\" that is told of its end threw.", EventName = "ClosedCallbackThrew")]
    public static partial void ClosedCallbackThrew(ILogger logger, string connectionId, System.Exception exception);
}
