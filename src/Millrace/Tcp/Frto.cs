namespace Millrace.Tcp;

/// <summary>What an ACK after a timeout tells.</summary>
internal enum FrtoVerdict : byte
{
    /// <summary>Nothing yet, or nothing more: go on as after any timeout.</summary>
    GoOn,

    /// <summary>Step 2b: new data shall be sent, to see what its ACK says; the recovery point moves to SND.NXT before.</summary>
    SendNew,

    /// <summary>Step 2b with nothing to send: the recovery point moves, and nothing more is looked at.</summary>
    NothingNew,

    /// <summary>Step 3b: data that was never retransmitted has arrived. The timeout was spurious.</summary>
    Spurious,
}

/// <summary>Whether a timeout was spurious: after the first retransmission new data goes out, and what is acknowledged next tells.</summary>
/// <remarks>RFC 5682 §3.1. Linux: frto, tcp_process_loss.</remarks>
internal struct Frto
{
    /// <summary>The ACKs are being looked at.</summary>
    public bool IsActive;

    /// <param name="newDataSent">Data behind the recovery point is out: step 2b was taken.</param>
    /// <param name="recovered">Everything up to the recovery point is acknowledged.</param>
    /// <param name="canSendNew">There is data, and the peer's window has room for it.</param>
    public FrtoVerdict OnAck(AckFlags flags, int duplicates, bool newDataSent, bool recovered, bool canSendNew)
    {
        if (!IsActive)
            return FrtoVerdict.GoOn;
        if ((flags & AckFlags.OrigSackAcked) != 0)
            return FrtoVerdict.Spurious;
        if (newDataSent)
        {
            // Step 3a: the loss was real.
            if ((flags & AckFlags.DataSacked) != 0 || duplicates > 0)
                IsActive = false;
            return FrtoVerdict.GoOn;
        }
        if ((flags & AckFlags.UnaAdvanced) == 0 || recovered)
            return FrtoVerdict.GoOn;
        IsActive = canSendNew;
        return canSendNew ? FrtoVerdict.SendNew : FrtoVerdict.NothingNew;
    }
}
