using System;

namespace Millrace.Cli;

/// <summary>A command could not do what it was asked; its message is for the user. Exit code 1.</summary>
internal sealed class CommandFailedException(string message, Exception? inner = null) : Exception(message, inner)
{
}

/// <summary>The command line is wrong in a way that only its command can tell. Exit code 2.</summary>
internal sealed class UsageException(string message) : Exception(message)
{
}
