namespace Millrace.Inet;

#pragma warning disable CA1707 // the members are the names that C programs use

/// <summary>Levels of getsockopt and setsockopt. Linux: SOL_*.</summary>
internal static class SocketLevel
{
    public const int Socket = 1;
    public const int Ip = 0;
    public const int Tcp = 6;
    public const int Udp = 17;
    public const int Ipv6 = 41;
}

/// <summary>Options of SOL_SOCKET that exist here; the numbers of x86-64 and arm64.</summary>
internal static class So
{
    public const int Debug = 1;
    public const int ReuseAddr = 2;
    public const int Type = 3;
    public const int Error = 4;
    public const int DontRoute = 5;
    public const int Broadcast = 6;
    public const int SndBuf = 7;
    public const int RcvBuf = 8;
    public const int KeepAlive = 9;
    public const int OobInline = 10;
    public const int NoCheck = 11;
    public const int Priority = 12;
    public const int Linger = 13;
    public const int BsdCompat = 14;
    public const int ReusePort = 15;
    public const int PeerCred = 17;
    public const int RcvLowat = 18;
    public const int SndLowat = 19;
    public const int RcvTimeo = 20;
    public const int SndTimeo = 21;
    public const int BindToDevice = 25;
    public const int PeerName = 28;
    public const int Timestamp = 29;
    public const int AcceptConn = 30;
    public const int SndBufForce = 32;
    public const int RcvBufForce = 33;
    public const int TimestampNs = 35;
    public const int Mark = 36;
    public const int Timestamping = 37;
    public const int Protocol = 38;
    public const int Domain = 39;
    public const int RxqOvfl = 40;
    public const int WifiStatus = 41;
    public const int PeekOff = 42;
    public const int NoFcs = 43;
    public const int SelectErrQueue = 45;
    public const int MaxPacingRate = 47;
    public const int IncomingCpu = 49;
    public const int CnxAdvice = 53;
    public const int MemInfo = 55;
    public const int IncomingNapiId = 56;
    public const int Cookie = 57;
    public const int ZeroCopy = 60;
    public const int BindToIfIndex = 62;
    public const int TimestampNew = 63;
    public const int TimestampNsNew = 64;
    public const int TimestampingNew = 65;
    public const int RcvTimeoNew = 66;
    public const int SndTimeoNew = 67;
    public const int NetnsCookie = 71;
    public const int BufLock = 72;
    public const int ReserveMem = 73;
    public const int TxRehash = 74;
    public const int RcvMark = 75;
    public const int RcvPriority = 82;
}

/// <summary>Options of IPPROTO_IP that exist here.</summary>
internal static class IpOption
{
    public const int Tos = 1;
    public const int Ttl = 2;
    public const int PktInfo = 8;
    public const int PktOptions = 9;
    public const int MtuDiscover = 10;
    public const int RecvErr = 11;
    public const int RecvTtl = 12;
    public const int RecvTos = 13;
    public const int Mtu = 14;
    public const int FreeBind = 15;
    public const int Transparent = 19;
    public const int MinTtl = 21;
    public const int BindAddressNoPort = 24;
    public const int LocalPortRange = 51;
}

/// <summary>Options of IPPROTO_IPV6 that exist here.</summary>
internal static class Ipv6Option
{
    public const int UnicastHops = 16;
    public const int MtuDiscover = 23;
    public const int Mtu = 24;
    public const int RecvErr = 25;
    public const int V6Only = 26;
    public const int FlowInfoSend = 33;
    public const int TClass = 67;
    public const int AutoFlowLabel = 70;
    public const int FreeBind = 78;
    public const int Transparent = 75;
    public const int MinHopCount = 73;
}
