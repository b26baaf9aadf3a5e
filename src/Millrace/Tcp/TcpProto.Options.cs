using System;
using System.Text;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;

namespace Millrace.Tcp;

/// <summary>Options of IPPROTO_TCP. Linux: do_tcp_setsockopt, do_tcp_getsockopt.</summary>
internal sealed partial class TcpProto
{
    /// <summary>Linux: TCP_CA_NAME_MAX.</summary>
    private const int CongestionNameMax = 16;

    private const int MaxKeepIdle = 32767, MaxKeepIntvl = 32767, MaxKeepCnt = 127, MaxSynCnt = 127;

    public override Errno SetOption(ref TaskContext context, Sock sock, int level, int option, ReadOnlySpan<byte> value)
    {
        if (level != SocketLevel.Tcp)
            return Errno.ENOPROTOOPT;
        var sk = (TcpSock)sock;
        if (option == TcpOption.Congestion)
            return SetCongestion(ref context, sk, value);
        if (option == TcpOption.FastOpenKey)
            return SetFastOpenKey(ref context, sk, value);
        if (value.Length < sizeof(int))
            return Errno.EINVAL;
        if (option is TcpOption.Md5Sig or TcpOption.Md5SigExt)
            return SetMd5Key(ref context, sk, option, value);
        int number = BitConverter.ToInt32(value);
        sk.LockSock(ref context);
        Errno error = IsRepair(option) ? SetRepair(context.Cpu, sk, option, value) : SetLocked(context.Cpu, sk, option, number);
        sk.ReleaseSock(context.Cpu);
        return error;
    }

    private Errno SetLocked(Cpu cpu, TcpSock sk, int option, int number)
    {
        switch (option)
        {
            case TcpOption.NoDelay:
                SetNoDelay(cpu, sk, number != 0);
                return Errno.OK;
            case TcpOption.Cork:
                SetCork(cpu, sk, number != 0);
                return Errno.OK;
            case TcpOption.MaxSeg:
                if (number != 0 && number is < TcpConstants.MinMss or > TcpConstants.MaxWindow)
                    return Errno.EINVAL;
                sk.UserMss = (ushort)number;
                return Errno.OK;
            case TcpOption.KeepIdle:
                if (number is < 1 or > MaxKeepIdle)
                    return Errno.EINVAL;
                sk.AttachRare().KeepAliveTime = Micros.FromSeconds(number);
                sk.OnKeepAliveTimeChanged(cpu);
                return Errno.OK;
            case TcpOption.SynCnt:
                if (number is < 1 or > MaxSynCnt)
                    return Errno.EINVAL;
                sk.SynRetries = (byte)number;
                return Errno.OK;
            case TcpOption.Linger2:
                sk.Linger2 = number < 0 ? -1 : (int)Math.Min(number, TcpConstants.FinTimeoutMax.Value / 1_000_000);
                return Errno.OK;
            case TcpOption.DeferAccept:
                sk.DeferAccept = SecondsToRetries(number);
                if (sk.AcceptQueue is { } queue)
                    queue.DeferAccept = sk.DeferAccept;
                return Errno.OK;
            case TcpOption.WindowClamp:
                return sk.SetWindowClamp(number);
            case TcpOption.QuickAck:
                SetQuickAck(cpu, sk, number);
                return Errno.OK;
            case TcpOption.UserTimeout:
                if (number < 0)
                    return Errno.EINVAL;
                sk.UserTimeout = (uint)number;
                return Errno.OK;
            case TcpOption.NotsentLowat:
                sk.NotsentLowat = (uint)number;
                sk.WriteSpace(cpu);
                return Errno.OK;
            case TcpOption.FastOpen:
                if (number < 0 || sk.State is not (TcpState.Close or TcpState.Listen))
                    return Errno.EINVAL;
                TuneFastOpen(sk, number);
                return Errno.OK;
            case TcpOption.FastOpenConnect:
                return SetFastOpenConnect(sk, number);
            case TcpOption.FastOpenNoCookie:
                if (number is < 0 or > 1 || sk.State is not (TcpState.Close or TcpState.Listen))
                    return Errno.EINVAL;
                FastOpenOf(sk).NoCookie = number != 0;
                return Errno.OK;
            default:
                return SetRare(sk, option, number);
        }
    }

    // Options that most connections never have.
    private static Errno SetRare(TcpSock sk, int option, int number)
    {
        switch (option)
        {
            case TcpOption.KeepIntvl:
                if (number is < 1 or > MaxKeepIntvl)
                    return Errno.EINVAL;
                sk.AttachRare().KeepAliveInterval = Micros.FromSeconds(number);
                return Errno.OK;
            case TcpOption.KeepCnt:
                if (number is < 1 or > MaxKeepCnt)
                    return Errno.EINVAL;
                sk.AttachRare().KeepAliveProbes = (byte)number;
                return Errno.OK;
            case TcpOption.ThinLinearTimeouts:
                if (number is < 0 or > 1)
                    return Errno.EINVAL;
                sk.AttachRare().ThinLinearTimeouts = number != 0;
                return Errno.OK;
            // Thin streams need it no more: what RACK does is soon enough. Linux: likewise.
            case TcpOption.ThinDupack:
                return number is < 0 or > 1 ? Errno.EINVAL : Errno.OK;
            case TcpOption.SaveSyn:
                if (number is < 0 or > 2)
                    return Errno.EINVAL;
                sk.AttachRare().SaveSyn = (byte)number;
                return Errno.OK;
            case TcpOption.Inq:
                if (number is < 0 or > 1)
                    return Errno.EINVAL;
                sk.AttachRare().ReportInq = number != 0;
                return Errno.OK;
            case TcpOption.RtoMaxMs:
                if (number is < 1000 or > 120_000)
                    return Errno.EINVAL;
                sk.AttachRare().RtoMax = Micros.FromMilliseconds(number);
                return Errno.OK;
            case TcpOption.RtoMinUs:
                if (number < TcpConstants.TimeoutMin.Value || number > TcpConstants.RtoMin.Value)
                    return Errno.EINVAL;
                sk.AttachRare().RtoMin = new Micros(number);
                return Errno.OK;
            case TcpOption.DelAckMaxUs:
                if (number < TcpConstants.TimeoutMin.Value || number > TcpConstants.DelayedAckMax.Value)
                    return Errno.EINVAL;
                sk.AttachRare().DelayedAckMax = new Micros(number);
                return Errno.OK;
            default:
                return Errno.ENOPROTOOPT;
        }
    }

    public override Errno GetOption(ref TaskContext context, Sock sock, int level, int option, ref Span<byte> value)
    {
        if (level != SocketLevel.Tcp)
            return Errno.ENOPROTOOPT;
        var sk = (TcpSock)sock;
        switch (option)
        {
            case TcpOption.Info:
                Span<byte> info = stackalloc byte[TcpInfoWriter.Length];
                sk.LockSock(ref context);
                TcpInfoWriter.Write(context.Cpu, sk, info);
                sk.ReleaseSock(context.Cpu);
                return OptionValue.Put(ref value, info);
            case TcpOption.FastOpenKey:
                // The socket's own; not those of net.ipv4.tcp_fastopen_key.
                return OptionValue.Put(ref value, sk.FastOpen?.Keys is { } keys ? keys.Bytes : []);
            case TcpOption.CcInfo:
                Span<byte> congestion = stackalloc byte[64];
                congestion.Clear();
                return OptionValue.Put(ref value, congestion[..(sk.Congestion?.GetInfo(sk, congestion) ?? 0)]);
            case TcpOption.Congestion:
                Span<byte> name = stackalloc byte[CongestionNameMax];
                name.Clear();
                Encoding.ASCII.GetBytes(sk.CongestionName ?? Sysctls.TcpCongestionControl, name);
                return OptionValue.Put(ref value, name);
            case TcpOption.SavedSyn:
                sk.LockSock(ref context);
                Errno tooLong = TakeSavedSyn(sk, ref value);
                sk.ReleaseSock(context.Cpu);
                return tooLong;
            case var _ when IsRepair(option):
                return GetRepair(context.Cpu, sk, option, ref value);
            default:
                Errno error = GetNumber(sk, option, out int number);
                return error == Errno.OK ? OptionValue.Put(ref value, number) : error;
        }
    }

    private Errno GetNumber(TcpSock sk, int option, out int number)
    {
        static int Flag(bool on) => on ? 1 : 0;
        Errno error = Errno.OK;
        number = 0;
        RareTcpState? rare = sk.Rare;
        switch (option)
        {
            case TcpOption.NoDelay:
                number = Flag((sk.Nagle & NagleFlags.Off) != 0);
                break;
            case TcpOption.Cork:
                number = Flag((sk.Nagle & NagleFlags.Cork) != 0);
                break;
            case TcpOption.MaxSeg:
                number = sk.InRepair ? sk.MssClamp : sk.UserMss != 0 && (sk.State is TcpState.Close or TcpState.Listen) ? sk.UserMss : sk.MssCache;
                break;
            case TcpOption.KeepIdle:
                number = rare is { KeepAliveTime.Value: > 0 } ? (int)(rare.KeepAliveTime.Value / 1_000_000) : Sysctls.TcpKeepaliveTime;
                break;
            case TcpOption.KeepIntvl:
                number = rare is { KeepAliveInterval.Value: > 0 }
                    ? (int)(rare.KeepAliveInterval.Value / 1_000_000)
                    : Sysctls.TcpKeepaliveIntvl;
                break;
            case TcpOption.KeepCnt:
                number = rare is { KeepAliveProbes: > 0 } ? rare.KeepAliveProbes : Sysctls.TcpKeepaliveProbes;
                break;
            case TcpOption.SynCnt:
                number = sk.SynRetries != 0 ? sk.SynRetries : Sysctls.TcpSynRetries;
                break;
            case TcpOption.Linger2:
                number = sk.Linger2 == 0 ? Sysctls.TcpFinTimeout : sk.Linger2;
                break;
            case TcpOption.DeferAccept:
                number = RetriesToSeconds(sk.DeferAccept);
                break;
            case TcpOption.WindowClamp:
                number = sk.Rcv.WndClamp;
                break;
            case TcpOption.QuickAck:
                number = Flag(!sk.Ack.InPingPong(sk.Tcp.Sysctls.TcpPingpongThresh));
                break;
            case TcpOption.ThinLinearTimeouts:
                number = Flag(rare is { ThinLinearTimeouts: true });
                break;
            case TcpOption.ThinDupack or TcpOption.IsMptcp:
                break;
            case TcpOption.UserTimeout:
                number = (int)sk.UserTimeout;
                break;
            case TcpOption.NotsentLowat:
                number = (int)sk.NotsentLowat;
                break;
            case TcpOption.FastOpen:
                number = sk.FastOpen?.Queue?.MaxLength ?? 0;
                break;
            case TcpOption.FastOpenConnect:
                number = Flag(sk.FastOpen is { ConnectOption: true });
                break;
            case TcpOption.FastOpenNoCookie:
                number = Flag(sk.FastOpen is { NoCookie: true });
                break;
            case TcpOption.SaveSyn:
                number = rare?.SaveSyn ?? 0;
                break;
            case TcpOption.Inq:
                number = Flag(rare is { ReportInq: true });
                break;
            case TcpOption.RtoMaxMs:
                number = (int)sk.RtoMax.Milliseconds;
                break;
            case TcpOption.RtoMinUs:
                number = (int)sk.RtoMin.Value;
                break;
            case TcpOption.DelAckMaxUs:
                number = (int)(rare is { DelayedAckMax.Value: > 0 } ? rare.DelayedAckMax : TcpConstants.DelayedAckMax).Value;
                break;
            default:
                error = Errno.ENOPROTOOPT;
                break;
        }
        return error;
    }

    private static FastOpenState FastOpenOf(TcpSock sk) => sk.FastOpen ??= new FastOpenState();

    private Errno SetFastOpenConnect(TcpSock sk, int number)
    {
        if (number is < 0 or > 1)
            return Errno.EINVAL;
        if ((FastOpenFlags & FastOpenFlags.Client) == 0)
            return Errno.EOPNOTSUPP;
        if (sk.State != TcpState.Close)
            return Errno.EINVAL;
        FastOpenOf(sk).ConnectOption = number != 0;
        return Errno.OK;
    }

    private static Errno SetFastOpenKey(ref TaskContext context, TcpSock sk, ReadOnlySpan<byte> value)
    {
        if (FastOpenKeys.FromBytes(value) is not { } keys)
            return Errno.EINVAL;
        sk.LockSock(ref context);
        FastOpenOf(sk).Keys = keys;
        sk.ReleaseSock(context.Cpu);
        return Errno.OK;
    }

    // Linux: tcp_v4_parse_md5_keys, tcp_md5_do_add, tcp_md5_do_del.
    private Errno SetMd5Key(ref TaskContext context, TcpSock sk, int option, ReadOnlySpan<byte> value)
    {
        Errno error = Md5Option.Parse(value, sk.Family, option == TcpOption.Md5SigExt, out Md5Key? key);
        if (error != Errno.OK)
            return error;
        sk.LockSock(ref context);
        Md5Keys keys = sk.Md5Keys ?? new Md5Keys();
        Md5Keys? changed = key!.Secret.Length > 0 ? keys.With(key) : keys.Without(key);
        if (changed is null)
            error = Errno.ENOENT;
        else if (changed.Count * Md5Key.Memory > Sysctls.OptmemMax)
            error = Errno.ENOMEM;
        else
            sk.AttachRare().Md5Keys = changed;
        sk.ReleaseSock(context.Cpu);
        return error;
    }

    // Read once: the bytes are gone then; nothing if there are none. Linux: TCP_SAVED_SYN of do_tcp_getsockopt.
    private static Errno TakeSavedSyn(TcpSock sk, ref Span<byte> value)
    {
        ReadOnlySpan<byte> syn = sk.Rare?.SavedSyn;
        if (value.Length < syn.Length)
            return Errno.EINVAL;
        OptionValue.Put(ref value, syn);
        if (sk.Rare is { } rare)
            rare.SavedSyn = null;
        return Errno.OK;
    }

    // Linux: __tcp_sock_set_nodelay.
    private static void SetNoDelay(Cpu cpu, TcpSock sk, bool on)
    {
        if (!on)
        {
            sk.Nagle &= ~NagleFlags.Off;
            return;
        }
        sk.Nagle |= NagleFlags.Off | NagleFlags.Push;
        sk.PushPendingFrames(cpu);
    }

    // Linux: __tcp_sock_set_cork. Taking the cork out lets go what it held.
    private static void SetCork(Cpu cpu, TcpSock sk, bool on)
    {
        if (on)
        {
            sk.Nagle |= NagleFlags.Cork;
            return;
        }
        sk.Nagle &= ~NagleFlags.Cork;
        if ((sk.Nagle & NagleFlags.Off) != 0)
            sk.Nagle |= NagleFlags.Push;
        sk.PushPendingFrames(cpu);
    }

    // An even number asks for what is pending only. Linux: __tcp_sock_set_quickack.
    private static void SetQuickAck(Cpu cpu, TcpSock sk, int value)
    {
        if (value == 0)
        {
            sk.Ack.EnterPingPong(sk.Tcp.Sysctls.TcpPingpongThresh);
            return;
        }
        sk.Ack.ExitPingPong();
        if (sk.State is TcpState.Established or TcpState.CloseWait && sk.Ack.IsScheduled)
        {
            sk.Ack.Pending |= AckPending.Pushed;
            CleanUp(cpu, sk, 1);
            if ((value & 1) == 0)
                sk.Ack.EnterPingPong(sk.Tcp.Sysctls.TcpPingpongThresh);
        }
    }

    private Errno SetCongestion(ref TaskContext context, TcpSock sk, ReadOnlySpan<byte> value)
    {
        if (value.IsEmpty)
            return Errno.EINVAL;
        int end = value.IndexOf((byte)0);
        if (end >= 0)
            value = value[..end];
        string name = Encoding.ASCII.GetString(value[..Math.Min(value.Length, CongestionNameMax - 1)]);
        if (!Congestions.Contains(name))
            return Errno.ENOENT;
        sk.LockSock(ref context);
        sk.ChangeCongestion(name);
        sk.ReleaseSock(context.Cpu);
        return Errno.OK;
    }

    // Linux: secs_to_retrans, with the first timeout one second.
    private static byte SecondsToRetries(int seconds)
    {
        byte retries = 0;
        if (seconds <= 0)
            return retries;
        int period = 1, timeout = 1;
        retries = 1;
        while (seconds > period && retries < 255)
        {
            retries++;
            timeout = Math.Min(timeout << 1, 120);
            period += timeout;
        }
        return retries;
    }

    // Linux: retrans_to_secs.
    private static int RetriesToSeconds(byte retries)
    {
        if (retries == 0)
            return 0;
        int period = 1, timeout = 1;
        while (--retries > 0)
        {
            timeout = Math.Min(timeout << 1, 120);
            period += timeout;
        }
        return period;
    }
}
