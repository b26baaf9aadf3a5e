using System;

namespace Millrace.Linux;

/// <summary>The program on an interface that hands each frame to the socket of its receive queue, or to the kernel if there is none.</summary>
/// <remarks>Linux: bpf(2): BPF_MAP_TYPE_XSKMAP, BPF_PROG_TYPE_XDP, bpf_redirect_map. It is off the interface when it is disposed of, or its process ends.</remarks>
internal sealed unsafe class XdpProgram : IDisposable
{
    private const int AttributeSize = 128;
    private const int MapCreate = 0, MapUpdate = 2, ProgramLoad = 5, LinkCreate = 28;
    private const uint SocketMap = 17, XdpProgramKind = 6, XdpAttachPoint = 37;
    private const uint GenericMode = 2, NativeMode = 4;

    private readonly int _map;
    private int _program = -1, _link = -1;

    private XdpProgram(int map) => _map = map;

    /// <exception cref="LinuxDeviceException">No privilege, or a kernel without XDP sockets.</exception>
    public static XdpProgram Load(int queues)
    {
        ulong* attribute = stackalloc ulong[AttributeSize / sizeof(ulong)];
        new Span<byte>(attribute, AttributeSize).Clear();
        uint* words = (uint*)attribute;
        words[0] = SocketMap;
        words[1] = words[2] = sizeof(int);
        words[3] = (uint)queues;
        var program = new XdpProgram(Call(MapCreate, attribute, "make a map of XDP sockets"));
        try
        {
            program.LoadInstructions();
            return program;
        }
        catch
        {
            program.Dispose();
            throw;
        }
    }

    /// <summary>Hands a receive queue's frames to a socket.</summary>
    public void Redirect(int queue, int socket)
    {
        ulong* attribute = stackalloc ulong[AttributeSize / sizeof(ulong)];
        new Span<byte>(attribute, AttributeSize).Clear();
        *(int*)attribute = _map;
        attribute[1] = (ulong)&queue;
        attribute[2] = (ulong)&socket;
        Call(MapUpdate, attribute, "hand a queue to an XDP socket");
    }

    /// <exception cref="LinuxDeviceException">Another program is on the interface, or it cannot run one in this mode.</exception>
    public void Attach(LinkInfo link, XdpMode mode)
    {
        ulong* attribute = stackalloc ulong[AttributeSize / sizeof(ulong)];
        new Span<byte>(attribute, AttributeSize).Clear();
        uint* words = (uint*)attribute;
        words[0] = (uint)_program;
        words[1] = (uint)link.Index;
        words[2] = XdpAttachPoint;
        words[3] = mode switch
        {
            XdpMode.Generic => GenericMode,
            XdpMode.Native => NativeMode,
            _ => 0,
        };
        _link = Call(LinkCreate, attribute, $"put an XDP program on {link.Name}");
    }

    public void Dispose()
    {
        foreach (int fd in (ReadOnlySpan<int>)[_link, _program, _map])
        {
            if (fd >= 0)
                _ = Libc.Close(fd);
        }
    }

    // return bpf_redirect_map(map, context->rx_queue_index, XDP_PASS);
    private void LoadInstructions()
    {
        const int queueIndex = 16, pass = 2, redirectMap = 51, isMap = 1;
        ReadOnlySpan<ulong> instructions =
        [
            Instruction(0x61, to: 2, from: 1, offset: queueIndex),
            Instruction(0x18, to: 1, from: isMap, value: _map),
            0,
            Instruction(0xb7, to: 3, value: pass),
            Instruction(0x85, value: redirectMap),
            Instruction(0x95),
        ];
        ulong* attribute = stackalloc ulong[AttributeSize / sizeof(ulong)];
        new Span<byte>(attribute, AttributeSize).Clear();
        fixed (ulong* code = instructions)
        fixed (byte* license = "MIT\0"u8)
        {
            uint* words = (uint*)attribute;
            words[0] = XdpProgramKind;
            words[1] = (uint)instructions.Length;
            attribute[1] = (ulong)code;
            attribute[2] = (ulong)license;
            _program = Call(ProgramLoad, attribute, "load an XDP program");
        }
    }

    // Linux: struct bpf_insn.
    private static ulong Instruction(byte code, int to = 0, int from = 0, short offset = 0, int value = 0) =>
        code | (ulong)(from << 4 | to) << 8 | (ulong)(ushort)offset << 16 | (ulong)(uint)value << 32;

    private static int Call(int command, void* attribute, string what)
    {
        int result = (int)Libc.Bpf(command, attribute, AttributeSize);
        if (result >= 0)
            return result;
        Errno error = Libc.LastError;
        throw error switch
        {
            Errno.EPERM or Errno.EACCES => new LinuxDeviceException(
                "XDP needs privilege: run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW.", error),
            Errno.EBUSY or Errno.EEXIST => new LinuxDeviceException($"Cannot {what}: another program is there.", error),
            _ => new LinuxDeviceException($"Cannot {what}: {error}.", error),
        };
    }
}
