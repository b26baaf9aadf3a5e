namespace Millrace.AspNetCore;

/// <summary>The stack's connection behind a Kestrel connection: its numbers and options.</summary>
public interface ITcpConnectionFeature
{
    /// <summary>The connection. What is read or written past Kestrel is lost to it.</summary>
    TcpConnection Connection { get; }
}
