using System;
using System.Runtime.CompilerServices;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Bytes of payload by the codepoint that they arrived with. What was not ECN-capable is not counted.</summary>
/// <remarks>RFC 9768 §3.2.1: r.e1b, r.e0b, r.ceb and s.e1b, s.e0b, s.ceb. Linux: received_ecn_bytes, delivered_ecn_bytes.</remarks>
[InlineArray(3)]
internal struct EcnBytes
{
    private uint _first;

    public static int Index(Ecn codepoint) => (int)codepoint - 1;

    /// <summary>
    /// What a counter starts with on the wire, so that an option that was zeroed is noticed. RFC 9768 §3.2.1.
    /// Linux: tcp_accecn_field_init_offset.
    /// </summary>
    public static uint Origin(Ecn codepoint) => codepoint == Ecn.Ce ? 0u : 1u;

    /// <summary>The codepoint that a field of the option counts. RFC 9768 §3.2.3. Linux: tcp_accecn_optfield_to_ecnfield.</summary>
    /// <param name="order1">Whether ECT(1) comes first; else ECT(0) does. CE is in the middle either way.</param>
    public static Ecn FieldAt(int index, bool order1) => index == 1 ? Ecn.Ce : index == 0 == order1 ? Ecn.Ect1 : Ecn.Ect0;

    /// <summary>Fields that an option of order 1 needs to tell of this codepoint. Linux: tcp_ecnfield_to_accecn_optfield.</summary>
    public static int FieldsUpTo(Ecn codepoint) => codepoint switch
    {
        Ecn.NotEct => 0,
        Ecn.Ect1 => 1,
        Ecn.Ce => 2,
        Ecn.Ect0 => 3,
    };

    /// <summary>
    /// Follows a counter that came in 24 bits. The difference may be negative: an estimate went too far.
    /// Linux: tcp_update_ecn_bytes.
    /// </summary>
    public static int Follow(ref uint counter, ReadOnlySpan<byte> field, uint origin)
    {
        uint wire = (uint)(field[0] << 16 | field[1] << 8 | field[2]) - origin;
        int difference = (int)((wire - counter) << 8) >> 8;
        counter += (uint)difference;
        return difference;
    }
}
