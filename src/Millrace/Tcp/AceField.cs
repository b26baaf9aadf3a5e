using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>
/// The three flags AE, CWR and ECE read as one number: in the handshake they tell how the SYN or the SYN-ACK arrived, afterwards they
/// count marked packets, modulo eight.
/// </summary>
/// <remarks>RFC 9768 §3.1.1, §3.2.2. Linux: TCPHDR_ACE.</remarks>
internal static class AceField
{
    public const TcpFlags All = TcpFlags.Ae | TcpFlags.Cwr | TcpFlags.Ece;

    public const int Mask = 7;

    /// <summary>What the counter of packets starts with, so that a field that was zeroed is noticed. Linux: TCP_ACCECN_CEP_INIT_OFFSET.</summary>
    private const uint First = 5;

    /// <summary>Linux: tcp_accecn_ace.</summary>
    public static int Of(TcpFlags flags) => (int)(flags & All) >> 6;

    public static TcpFlags Flags(int ace) => (TcpFlags)((ace & Mask) << 6);

    /// <summary>The flags that tell how many marked packets have come.</summary>
    public static TcpFlags Count(uint marked) => Flags((int)(marked + First));

    /// <summary>Marked packets that the field tells beyond those that are known, modulo eight.</summary>
    public static uint Beyond(int ace, uint known) => ((uint)ace - First - known) & Mask;

    /// <summary>The answer to a SYN, or to a SYN-ACK, that arrived with this codepoint. Linux: tcp_accecn_reflector_flags.</summary>
    public static TcpFlags Reflect(Ecn arrived) => Flags(arrived switch
    {
        Ecn.NotEct => 0b010,
        Ecn.Ect1 => 0b011,
        Ecn.Ect0 => 0b100,
        Ecn.Ce => 0b110,
    });

    /// <summary>The codepoint that an answer tells; null if the field tells none. Linux: tcp_accecn_extract_syn_ect.</summary>
    public static Ecn? Reflected(int ace) => ace switch
    {
        0b010 => Ecn.NotEct,
        0b011 => Ecn.Ect1,
        0b100 => Ecn.Ect0,
        0b110 => Ecn.Ce,
        _ => null,
    };

    /// <summary>Whether a SYN asks for AccECN; later variants of it count as this one. RFC 9768 §3.1.2. Linux: tcp_accecn_syn_requested.</summary>
    public static bool Asks(TcpFlags syn) => Of(syn) is not (0 or 0b011);
}
