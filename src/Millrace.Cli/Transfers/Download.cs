using System;
using System.Buffers;
using System.Globalization;
using System.IO;
using System.Threading;
using System.Threading.Tasks;
using Spectre.Console;

namespace Millrace.Cli.Transfers;

/// <summary>Copies a body, and shows on the standard error how far it is.</summary>
internal static class Download
{
    private const int BufferSize = 256 * 1024;

    /// <param name="length">Bytes; null if the server did not say.</param>
    /// <param name="title">What the bar is called; null for no bar.</param>
    public static Task CopyAsync(Stream from, Stream to, long? length, string? title, CancellationToken stop)
    {
        if (title is null)
            return CopyAsync(from, to, static _ => { }, stop);
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
        return length is { } known
            ? WithLengthAsync(console, Markup.Escape(title), from, to, known, stop)
            : WithoutLengthAsync(console, Markup.Escape(title), from, to, stop);
    }

    private static Task WithLengthAsync(IAnsiConsole console, string title, Stream from, Stream to, long length, CancellationToken stop) =>
        console.Progress()
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new DownloadedColumn(),
                new TransferSpeedColumn(), new RemainingTimeColumn())
            .StartAsync(progress => CopyAsync(from, to, progress.AddTask(title, maxValue: Math.Max(1, length)).Increment, stop));

    // How much is still to come is not known: what has come is all there is to tell.
    private static Task WithoutLengthAsync(IAnsiConsole console, string title, Stream from, Stream to, CancellationToken stop)
    {
        double total = 0;
        return console.Status().StartAsync(title, status => CopyAsync(from, to, n =>
        {
            total += n;
            status.Status = string.Create(CultureInfo.InvariantCulture, $"{title} {total / (1 << 20):0.0} MiB");
        }, stop));
    }

    private static async Task CopyAsync(Stream from, Stream to, Action<double> progress, CancellationToken stop)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferSize);
        try
        {
            while (await from.ReadAsync(buffer, stop) is var n and > 0)
            {
                await to.WriteAsync(buffer.AsMemory(0, n), stop);
                progress(n);
            }
            await to.FlushAsync(stop);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
