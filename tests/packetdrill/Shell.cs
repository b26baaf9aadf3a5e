using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text;

namespace Millrace.Packetdrill;

/// <summary>
/// <c>system(3)</c> for a script: the commands with which people set a kernel up, done to the stack under test. What is none of them
/// is left to the system's own shell.
/// </summary>
internal sealed class Shell(World world)
{
    private const int NotFound = 127;

    private readonly StackCommands _stack = new(world);

    /// <summary>Runs a command line. Returns its exit code.</summary>
    public int Run(string text)
    {
        int code = 0;
        string piped = "";
        List<ShellCommand> commands = ShellSyntax.Parse(text, Variable);
        for (int i = 0; i < commands.Count; i++)
        {
            ShellCommand command = commands[i];
            if ((command.Joint == "&&" && code != 0) || (command.Joint == "||" && code == 0))
                continue;
            var output = new StringBuilder();
            code = RunOne(command, command.Joint == "|" ? piped : "", output);
            piped = output.ToString();
            bool feedsNext = i + 1 < commands.Count && commands[i + 1].Joint == "|";
            if (command.OutputFile is { } file)
                WriteOutput(file, piped);
            else if (!feedsNext)
                Console.Out.Write(piped);
        }
        return code;
    }

    private static string Variable(string name) => name switch
    {
        "PPID" => Environment.ProcessId.ToString(CultureInfo.InvariantCulture),
        _ => Environment.GetEnvironmentVariable(name) ?? "",
    };

    private void WriteOutput(string file, string text)
    {
        if (!_stack.TryWrite(file, text) && file != "/dev/null")
            File.WriteAllText(file, text);
    }

    private int RunOne(ShellCommand command, string input, StringBuilder output)
    {
        string[] words = [.. command.Words];
        string name = words[0];
        switch (name)
        {
            case "echo":
                output.Append(string.Join(' ', words[1..])).Append('\n');
                return 0;
            case "true" or ":":
                return 0;
            case "false":
                return 1;
            case "cat":
                output.Append(string.Concat(words[1..].Select(ReadFile)));
                return 0;
            case "grep":
                return Grep(words[1..], input, output);
            default:
                return _stack.TryRun(words, output, out int code) ? code
                    : name.Contains('/', StringComparison.Ordinal) ? RunProgram(words)
                    : RunOutside(words);
        }
    }

    // A program given by its path: a shell script is read as one; a program whose arguments are settings below /proc/sys sets them,
    // and leaves a script behind that puts the old values back.
    private int RunProgram(string[] words)
    {
        if (words.Length > 1 && words[1..].All(static w => w.StartsWith("/proc/sys/", StringComparison.Ordinal) && w.Contains('=')))
            return SetAndRemember(words[1..]);
        if (!File.Exists(words[0]))
            return NotFound;
        string text = File.ReadAllText(words[0]);
        string firstLine = text.Split('\n', 2)[0];
        return firstLine.StartsWith("#!", StringComparison.Ordinal) && firstLine.EndsWith("sh", StringComparison.Ordinal)
            ? Run(text)
            : RunOutside(words);
    }

    private int SetAndRemember(string[] settings)
    {
        var restore = new StringBuilder("#!/bin/sh\n");
        int code = 0;
        foreach (string setting in settings)
        {
            string[] pair = setting.Split('=', 2);
            restore.Append(CultureInfo.InvariantCulture, $"echo \"{ReadFile(pair[0]).Trim()}\" > {pair[0]}\n");
            if (!_stack.TryWrite(pair[0], pair[1]))
                code = 1;
        }
        File.WriteAllText($"/tmp/sysctl_restore_{Environment.ProcessId}.sh", restore.ToString());
        return code;
    }

    private string ReadFile(string path) =>
        _stack.TryRead(path, out string text) ? text : File.Exists(path) ? File.ReadAllText(path) : "";

    private int Grep(string[] words, string input, StringBuilder output)
    {
        var grep = new GrepOptions(words);
        string text = grep.Files.Count > 0 ? string.Concat(grep.Files.Select(ReadFile)) : input;
        using var lines = new StringReader(text);
        var found = new List<string>();
        while (lines.ReadLine() is { } line)
        {
            if (grep.Selects(line))
                found.Add(line);
        }
        if (grep.Counts)
            output.Append(CultureInfo.InvariantCulture, $"{found.Count}\n");
        else if (!grep.IsQuiet)
            output.AppendJoin("", found.Select(static line => line + "\n"));
        return found.Count > 0 ? 0 : 1;
    }

    private static int RunOutside(string[] words) =>
        Libc.System(string.Join(' ', words.Select(static w => $"'{w.Replace("'", "'\\''", StringComparison.Ordinal)}'"))) >> 8;
}
