using Millrace.Sched;

namespace Millrace.Tcp;

/// <summary>Connection requests that wait for a decision before they are answered.</summary>
internal sealed partial class TcpProto
{
    // The request stands in the table as any other, but the peer hears nothing yet.
    private void Park(Cpu cpu, TcpSock listener, TcpRequestSock request, AcceptGate gate)
    {
        PendingAccept pending = gate.Make(request);
        request.Pending = pending;
        if (!HashRequest(cpu, listener, request, gate.Patience))
            return;
        if (gate.TryAdd(cpu, pending))
            pending.Ask(cpu);
        else
            DropRequest(cpu, request, Errno.ECANCELED);
        request.Put(cpu);
    }

    /// <summary>
    /// Answers a parked request's SYN. False: it is too late, it has been decided, or the peer or the listener is gone.
    /// </summary>
    public bool Decide(Cpu cpu, PendingAccept pending, AcceptVerdict verdict)
    {
        if (!pending.Request.TryHold())
            return false;
        bool done = pending.TryDecide(claim: verdict == AcceptVerdict.SynAckAndClaim) && Answer(cpu, pending.Request, verdict);
        pending.Request.Put(cpu);
        return done;
    }

    private bool Answer(Cpu cpu, TcpRequestSock request, AcceptVerdict verdict)
    {
        if (request.Route is not { IsObsolete: false })
        {
            TcpSock listener = request.Listener;
            request.Route = Routes.LookUpOutput(request.RemoteAddr, request.LocalAddr, listener.BoundIfIndex,
                listener.Has(Sockets.SockFlags.LocalRoute));
        }
        bool positive = verdict is AcceptVerdict.SynAck or AcceptVerdict.SynAckAndClaim;
        if (positive && request.Route is not null)
        {
            request.Arm(cpu, Timers, cpu.Now + TcpRequestSock.Timeout);
            Replies.SendSynAck(cpu, request);
            return true;
        }
        if (verdict == AcceptVerdict.Reset && request.Route is not null)
            Replies.SendReset(cpu, request);
        DropRequest(cpu, request, Errno.ECONNREFUSED);
        return !positive;
    }

    // Nothing that was parked outlives its listener.
    private void CloseGate(Cpu cpu, AcceptGate gate)
    {
        foreach (TcpRequestSock request in gate.Close(cpu))
        {
            DropRequest(cpu, request, Errno.ECANCELED);
            request.Put(cpu);
        }
    }
}
