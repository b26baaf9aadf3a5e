using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;

namespace Millrace.Packetdrill;

/// <summary>One simple command: its words, and where its output goes; null: to whoever comes next.</summary>
internal sealed class ShellCommand
{
    public List<string> Words { get; } = [];

    public string? OutputFile { get; set; }

    /// <summary>What joins it to the command before: <c>;</c>, <c>&amp;&amp;</c>, <c>||</c> or <c>|</c>.</summary>
    public string Joint { get; init; } = ";";
}

/// <summary>The part of the shell's language that packet scripts use, read into commands with their words expanded.</summary>
internal sealed class ShellSyntax(string text, Func<string, string> variable)
{
    private readonly List<ShellCommand> _commands = [];
    private readonly StringBuilder _word = new();
    private bool _hasWord;
    private string? _redirect;
    private int _at;
    private ShellCommand _command = new();

    public static List<ShellCommand> Parse(string text, Func<string, string> variable) => new ShellSyntax(text, variable).Run();

    private List<ShellCommand> Run()
    {
        while (_at < text.Length)
            Step(text[_at]);
        EndCommand(";");
        return _commands;
    }

    private char Peek(int ahead) => _at + ahead < text.Length ? text[_at + ahead] : '\0';

    private void Step(char c)
    {
        switch (c)
        {
            case '\\':
                Escape();
                break;
            case '\'' or '"':
                Quoted(c);
                break;
            case '$':
                Append(Expand());
                break;
            case '#' when !_hasWord:
                _at = text.IndexOf('\n', _at) is var end and >= 0 ? end : text.Length;
                break;
            case ' ' or '\t':
                _at++;
                EndWord();
                break;
            case '\n' or ';' or '|' or '&' when Peek(1) != '>':
                Operator(c);
                break;
            case '>' or '&':
                Redirection();
                break;
            default:
                Append(c.ToString());
                _at++;
                break;
        }
    }

    private void Append(string s)
    {
        _word.Append(s);
        _hasWord = true;
    }

    private void Escape()
    {
        if (Peek(1) == '\n')
            EndWord();
        else
            Append(Peek(1).ToString());
        _at += 2;
    }

    private void Quoted(char quote)
    {
        _hasWord = true;
        for (_at++; _at < text.Length && text[_at] != quote;)
        {
            if (quote == '"' && text[_at] == '$')
                _word.Append(Expand());
            else
                _word.Append(text[_at++]);
        }
        _at++;
    }

    private string Expand()
    {
        if (text.AsSpan(_at).StartsWith("$(("))
            return Arithmetic(Between("$((", "))")).ToString(CultureInfo.InvariantCulture);
        if (text.AsSpan(_at).StartsWith("${"))
            return variable(Between("${", "}"));
        int start = ++_at;
        while (_at < text.Length && (char.IsAsciiLetterOrDigit(text[_at]) || text[_at] == '_'))
            _at++;
        return variable(text[start.._at]);
    }

    private string Between(string open, string close)
    {
        int start = _at + open.Length, end = text.IndexOf(close, start, StringComparison.Ordinal);
        if (end < 0)
            throw new FormatException($"No {close} for {open}.");
        _at = end + close.Length;
        return text[start..end];
    }

    private static long Arithmetic(string expression)
    {
        long product = 1;
        foreach (string factor in expression.Split('*', StringSplitOptions.TrimEntries))
            product *= long.Parse(factor, CultureInfo.InvariantCulture);
        return product;
    }

    private void Operator(char c)
    {
        bool twice = c is '|' or '&' && Peek(1) == c;
        _at += twice ? 2 : 1;
        EndCommand(twice ? $"{c}{c}" : c == '|' ? "|" : ";");
    }

    // The forms are >F, >>F, 1>F, 2>F, &>F and 2>&1. Errors are not captured, so where they go does not matter.
    private void Redirection()
    {
        string descriptor = _word.ToString();
        bool isDescriptor = descriptor is "1" or "2";
        if (isDescriptor)
        {
            _word.Clear();
            _hasWord = false;
        }
        EndWord();
        while (Peek(0) is '>' or '&')
            _at++;
        _redirect = isDescriptor && descriptor == "2" ? "" : "out";
        if (_redirect.Length == 0 && char.IsAsciiDigit(Peek(0)))
        {
            _at++;
            _redirect = null;
        }
    }

    private void EndWord()
    {
        if (!_hasWord)
            return;
        if (_redirect is null)
            _command.Words.Add(_word.ToString());
        else if (_redirect.Length > 0)
            _command.OutputFile = _word.ToString();
        _redirect = null;
        _word.Clear();
        _hasWord = false;
    }

    private void EndCommand(string joint)
    {
        EndWord();
        if (_command.Words.Count > 0)
            _commands.Add(_command);
        else if (joint != "|" && _commands.Count > 0)
            return;
        _command = new ShellCommand { Joint = joint };
    }
}
