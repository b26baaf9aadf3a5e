using System;

namespace Millrace;

/// <summary>
/// A simulated program has come to a point from which nothing can ever run again. The message says which task waits for what.
/// </summary>
public sealed class SimulationDeadlockException(string message) : Exception(message)
{
}
