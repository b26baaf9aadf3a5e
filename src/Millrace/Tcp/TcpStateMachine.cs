
namespace Millrace.Tcp;

/// <summary>
/// The diagram of RFC 9293 §3.3.2 as one table, with the arrows to CLOSE that the sockets API adds: a call, a RST or a timeout can end
/// a connection in any state. Drawn in docs/tcp-states.dot.
/// </summary>
/// <remarks>
/// A listener does not change when a SYN comes: the request sock that stands for SYN-RECEIVED, and the child that follows it, begin
/// where the diagram leaves LISTEN. Its arrow back to LISTEN is the end of the request. The way from FIN-WAIT-1 to TIME-WAIT leads
/// through FIN-WAIT-2, which takes no time if the FIN came with the ACK. No call leads from LISTEN to SYN-SENT.
/// </remarks>
internal static class TcpStateMachine
{
    /// <summary>Whether a sock may go from one state to another. Staying where it is is not a step.</summary>
    public static bool Allows(TcpState from, TcpState to) => from switch
    {
        TcpState.Close => to is TcpState.Listen or TcpState.SynSent,
        TcpState.Listen => to is TcpState.SynRecv or TcpState.Close,
        TcpState.SynSent => to is TcpState.Established or TcpState.SynRecv or TcpState.Close,
        TcpState.SynRecv => to is TcpState.Established or TcpState.FinWait1 or TcpState.Close,
        TcpState.Established => to is TcpState.FinWait1 or TcpState.CloseWait or TcpState.Close,
        TcpState.FinWait1 => to is TcpState.FinWait2 or TcpState.Closing or TcpState.Close,
        TcpState.FinWait2 => to is TcpState.TimeWait or TcpState.Close,
        TcpState.CloseWait => to is TcpState.LastAck or TcpState.Close,
        TcpState.Closing => to is TcpState.TimeWait or TcpState.Close,
        TcpState.LastAck => to is TcpState.Close,
        TcpState.TimeWait => to is TcpState.Close,
        TcpState.NewSynRecv => false,
    };

    /// <summary>
    /// Where closing the sending side leads, and whether a FIN is to be sent. Linux: new_state, tcp_close_state.
    /// </summary>
    public static (TcpState Next, bool SendFin) OnClose(TcpState from) => from switch
    {
        TcpState.Established or TcpState.SynRecv => (TcpState.FinWait1, true),
        TcpState.CloseWait => (TcpState.LastAck, true),
        TcpState.SynSent or TcpState.Listen or TcpState.Close => (TcpState.Close, false),
        TcpState.FinWait1 or TcpState.FinWait2 or TcpState.TimeWait or TcpState.LastAck or TcpState.Closing => (from, false),
        TcpState.NewSynRecv => (TcpState.Close, false),
    };
}
