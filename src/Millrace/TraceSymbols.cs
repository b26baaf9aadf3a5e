using System.Globalization;
using System.Net;
using System.Text;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace;

/// <summary>The kernel's names for the numbers in a trace: states, errors, families, vectors.</summary>
internal static class TraceSymbols
{
    /// <summary>A field that the record has apart from its numbers; null if it is none.</summary>
    public static TraceField? OwnField(in TraceRecord record, string name) => name switch
    {
        "sport" => new TraceField(name, record.Endpoints.LocalPort),
        "dport" => new TraceField(name, record.Endpoints.RemotePort),
        "saddr" => new TraceField(name, 0, Local(record).Address.ToString()),
        "daddr" => new TraceField(name, 0, Remote(record).Address.ToString()),
        "prev_comm" => new TraceField(name, 0, Comm(record.Task, record.Cpu)),
        "prev_pid" => new TraceField(name, record.Task?.Pid ?? 0),
        "comm" or "next_comm" => new TraceField(name, 0, Comm(record.Other, record.Cpu)),
        "pid" or "next_pid" => new TraceField(name, record.Other?.Pid ?? 0),
        _ => null,
    };

    /// <summary>A numbered field, with the symbol that its kind has for it.</summary>
    public static TraceField Numbered(in TraceRecord record, string name, string kind, long value) => new(name, value, kind switch
    {
        "state" => State(value),
        "errno" => ((Errno)value).ToString(),
        "family" => value switch { Af.Inet => "AF_INET", Af.Inet6 => "AF_INET6", _ => null },
        "type" => value switch { 1 => "SOCK_STREAM", 2 => "SOCK_DGRAM", 3 => "SOCK_RAW", _ => null },
        "protocol" => value switch { 0 => "IPPROTO_IP", IpProtocol.Tcp => "IPPROTO_TCP", IpProtocol.Udp => "IPPROTO_UDP", _ => null },
        "ethertype" => $"0x{value:x4}",
        "vec" => value switch { 1 => "TIMER", 2 => "NET_TX", 3 => "NET_RX", _ => null },
        "reason" => ((DropReason)value).KernelName(),
        "dev" => record.Stack.DeviceName((int)value),
        "us" => Duration(value),
        "nud" => ((NeighbourState)value).ToString().ToUpperInvariant(),
        "tcpflags" => Flags((TcpFlags)value),
        "task_state" => value switch { TaskState.Running => "R", TaskState.Interruptible => "S", _ => "D" },
        "timer" => value switch { 1 => "RETRANS", 2 => "PROBE0", 3 => "LOSS_PROBE", 4 => "REO_TIMEOUT", _ => "TIMER" },
        "ca" => value switch { 0 => "Open", 1 => "Disorder", 2 => "CWR", 3 => "Recovery", _ => "Loss" },
        "how" => value switch { 0 => "SHUT_RD", 1 => "SHUT_WR", _ => "SHUT_RDWR" },
        "hex" => $"0x{value:x}",
        _ => null,
    });

    /// <summary>The name of a task; of the idle task of a CPU if there is none. Linux: comm.</summary>
    public static string Comm(TraceTask? task, int cpu) => task?.Name ?? $"swapper/{cpu}";

    /// <summary>A TCP header's flags as tcpdump writes them.</summary>
    public static string Flags(TcpFlags flags)
    {
        var text = new StringBuilder();
        Append(TcpFlags.Fin, 'F');
        Append(TcpFlags.Syn, 'S');
        Append(TcpFlags.Rst, 'R');
        Append(TcpFlags.Psh, 'P');
        Append(TcpFlags.Ack, '.');
        Append(TcpFlags.Urg, 'U');
        Append(TcpFlags.Ece, 'E');
        Append(TcpFlags.Cwr, 'W');
        Append(TcpFlags.Ae, 'e');
        return text.Length == 0 ? "none" : text.ToString();

        void Append(TcpFlags flag, char letter)
        {
            if ((flags & flag) != 0)
                text.Append(letter);
        }
    }

    public static IPEndPoint Local(in TraceRecord record) => new(
        new IpAddr(record.Endpoints.LocalHigh, record.Endpoints.LocalLow).ToIPAddress(), record.Endpoints.LocalPort);

    public static IPEndPoint Remote(in TraceRecord record) => new(
        new IpAddr(record.Endpoints.RemoteHigh, record.Endpoints.RemoteLow).ToIPAddress(), record.Endpoints.RemotePort);

    private static string State(long value) => (TcpState)value switch
    {
        TcpState.Established => "TCP_ESTABLISHED",
        TcpState.SynSent => "TCP_SYN_SENT",
        TcpState.SynRecv => "TCP_SYN_RECV",
        TcpState.FinWait1 => "TCP_FIN_WAIT1",
        TcpState.FinWait2 => "TCP_FIN_WAIT2",
        TcpState.TimeWait => "TCP_TIME_WAIT",
        TcpState.Close => "TCP_CLOSE",
        TcpState.CloseWait => "TCP_CLOSE_WAIT",
        TcpState.LastAck => "TCP_LAST_ACK",
        TcpState.Listen => "TCP_LISTEN",
        TcpState.Closing => "TCP_CLOSING",
        TcpState.NewSynRecv => "TCP_NEW_SYN_RECV",
    };

    // Microseconds in the largest unit that keeps them whole; negative is none.
    private static string Duration(long us) => us switch
    {
        < 0 => "none",
        _ when us >= 1_000_000 && us % 100_000 == 0 => string.Create(CultureInfo.InvariantCulture, $"{us / 1e6:0.#} s"),
        _ when us % 1000 == 0 => string.Create(CultureInfo.InvariantCulture, $"{us / 1000} ms"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{us} µs"),
    };
}
