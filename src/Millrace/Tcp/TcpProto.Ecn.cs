using Millrace.Buffers;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>ECN on the listener's side, before there is a connection. RFC 3168 §6.1.1, RFC 9768 §3.1.</summary>
internal sealed partial class TcpProto
{
    // Linux: tcp_ecn_create_request.
    private void AgreeOnEcn(TcpSock listener, TcpRequestSock request, TcpFlags syn)
    {
        bool marked = (request.SynTos & 3) != 0;
        request.SynEcn = (Ecn)(request.SynTos & 3);
        if (AceField.Asks(syn) && Sysctls.TcpEcn >= 3)
        {
            request.EcnOk = request.AccEcnOk = true;
            return;
        }
        bool asked = (syn & (TcpFlags.Ece | TcpFlags.Cwr)) == (TcpFlags.Ece | TcpFlags.Cwr);
        // A SYN whose own packet is marked is not believed, unless it asks for more than we do. RFC 8311 §4.3.
        bool believed = !marked || (syn & TcpFlags.Ae) != 0;
        request.EcnOk = asked && ((Sysctls.TcpEcn != 0 && believed) || listener.AlgorithmNeedsEcn);
    }

    // The latest SYN is the one that is answered for; one without flags shows that they do not pass. RFC 9768 §3.1.5.
    private static void NoteSynAgain(TcpRequestSock request, SkBuff skb, TcpFlags syn)
    {
        if (!request.AccEcnOk)
            return;
        request.SynEcn = (Ecn)(skb.Tcp.DsField & 3);
        if (AceField.Of(syn) == 0)
            request.AccEcnFailure |= AccEcnFailure.AceReceive;
    }

    private static void NoteAccEcnOption(TcpRequestSock request, in TcpOptions options)
    {
        if (!request.AccEcnOk || !options.HasAccEcn || request.AccEcnOptionSeen >= AccEcnOptionSeen.Counters)
            return;
        request.AccEcnOptionSeen = AccEcn.Judge(options.AccEcn);
        if (request.AccEcnOptionSeen == AccEcnOptionSeen.Zeroed)
            request.AccEcnFailure |= AccEcnFailure.OptionReceive;
    }
}
