
namespace Millrace.Tcp;

/// <summary>
/// The diagram of RFC 9293 §3.3.2 as one table, with the arrows that the sockets API adds: a call can end a connection in any state, and
/// a socket can be used again.
/// </summary>
internal static class TcpStateMachine
{
    /// <summary>Whether a sock may go from one state to another. Staying where it is is not a step.</summary>
    public static bool Allows(TcpState from, TcpState to) => to == TcpState.Close || from switch
    {
        TcpState.Close => to is TcpState.Listen or TcpState.SynSent,
        TcpState.Listen => to is TcpState.SynRecv,
        TcpState.SynSent => to is TcpState.Established or TcpState.SynRecv,
        TcpState.SynRecv => to is TcpState.Established or TcpState.FinWait1 or TcpState.CloseWait,
        TcpState.Established => to is TcpState.FinWait1 or TcpState.CloseWait,
        TcpState.FinWait1 => to is TcpState.FinWait2 or TcpState.Closing or TcpState.TimeWait,
        TcpState.FinWait2 => to is TcpState.TimeWait,
        TcpState.CloseWait => to is TcpState.LastAck,
        TcpState.Closing => to is TcpState.TimeWait,
        TcpState.LastAck => false,
        TcpState.TimeWait => false,
        TcpState.NewSynRecv => to is TcpState.SynRecv,
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
