namespace Millrace.Tcp;

/// <summary>Options of IPPROTO_TCP that exist here.</summary>
internal static class TcpOption
{
    public const int NoDelay = 1;
    public const int MaxSeg = 2;
    public const int Cork = 3;
    public const int KeepIdle = 4;
    public const int KeepIntvl = 5;
    public const int KeepCnt = 6;
    public const int SynCnt = 7;
    public const int Linger2 = 8;
    public const int DeferAccept = 9;
    public const int WindowClamp = 10;
    public const int Info = 11;
    public const int QuickAck = 12;
    public const int Congestion = 13;
    public const int Md5Sig = 14;
    public const int ThinLinearTimeouts = 16;
    public const int ThinDupack = 17;
    public const int UserTimeout = 18;
    public const int Repair = 19;
    public const int RepairQueue = 20;
    public const int QueueSeq = 21;
    public const int RepairOptions = 22;
    public const int FastOpen = 23;
    public const int Timestamp = 24;
    public const int NotsentLowat = 25;
    public const int CcInfo = 26;
    public const int SaveSyn = 27;
    public const int SavedSyn = 28;
    public const int RepairWindow = 29;
    public const int FastOpenConnect = 30;
    public const int Md5SigExt = 32;
    public const int FastOpenKey = 33;
    public const int FastOpenNoCookie = 34;
    public const int Inq = 36;
    public const int IsMptcp = 43;
    public const int RtoMaxMs = 44;
    public const int RtoMinUs = 45;
    public const int DelAckMaxUs = 46;
}
