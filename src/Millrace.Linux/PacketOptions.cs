namespace Millrace.Linux;

/// <summary>How a stack uses an interface by packet sockets. More queues are more sockets, to which the kernel spreads flows by hash.</summary>
public sealed class PacketOptions : InterfaceOptions;
