using System;
using System.Collections.Generic;
using System.CommandLine;
using System.CommandLine.Parsing;
using System.IO;
using System.Net;
using System.Net.Http;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Threading;
using System.Threading.Tasks;
using Millrace.AspNetCore;
using Millrace.Cli.Transfers;
using Millrace.Cli.Tun;

namespace Millrace.Cli.Commands;

/// <summary><c>millrace get</c>: a URL, fetched by HttpClient through the stack.</summary>
internal static class GetCommand
{
    private static readonly TunOptionSet Tun = new();

    private static readonly Argument<Uri?> Url = new("url") { Description = "An http or https URL.", CustomParser = ParseUrl };

    private static readonly Option<FileInfo?> Output = new("--output", "-o") { Description = "Writes to this file instead of the standard output.", HelpName = "FILE" };

    private static readonly Option<bool> Insecure = new("--insecure", "-k") { Description = "Takes any certificate." };

    public static Command Create()
    {
        Command command = new Command("get", "Fetches a URL over a TUN device.") { Url, Output, Insecure }
            .WithExamples(
                "millrace get http://10.78.0.1:8000/file --tun mr1 --address 10.78.0.2/24 -o file",
                "millrace get http://10.78.0.1:8000/file --tun mr1 --address 10.78.0.2/24 | sha256sum");
        Tun.AddTo(command);
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult line, CancellationToken cancel)
    {
        Uri url = line.GetValue(Url)!;
        TunSettings settings = Tun.Read(line);
        await using TunSession session = await TunSession.OpenAsync("get", settings);
        return await session.RunAsync(stop => FetchAsync(line, session, url, stop), cancel);
    }

    private static async Task<int> FetchAsync(ParseResult line, TunSession session, Uri url, CancellationToken stop)
    {
        using SocketsHttpHandler handler = session.Stack.CreateHttpHandler(ResolveAsync);
        if (line.GetValue(Insecure))
            handler.SslOptions.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
        using var client = new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan };
        try
        {
            using HttpResponseMessage response = await client.GetAsync(url, HttpCompletionOption.ResponseHeadersRead, stop);
            if (!response.IsSuccessStatusCode)
                throw new CommandFailedException($"{url}: {(int)response.StatusCode} {response.ReasonPhrase}");
            await SaveAsync(line, response, stop);
            return CommandLine.Success;
        }
        catch (HttpRequestException e)
        {
            throw new CommandFailedException($"{url}: {Innermost(e).Message}", e);
        }
        catch (HttpIOException e)
        {
            throw new CommandFailedException($"{url}: the answer broke off: {Innermost(e).Message}", e);
        }
    }

    private static async Task SaveAsync(ParseResult line, HttpResponseMessage response, CancellationToken stop)
    {
        FileInfo? file = line.GetValue(Output);
        await using Stream body = await response.Content.ReadAsStreamAsync(stop);
        await using Stream target = file is null ? Console.OpenStandardOutput() : file.Create();
        // A bar among the bytes of a body would help nobody.
        bool show = !Console.IsErrorRedirected && (file is not null || Console.IsOutputRedirected);
        await Download.CopyAsync(body, target, response.Content.Headers.ContentLength, show ? Path.GetFileName(file?.Name ?? "-") : null, stop);
    }

    // The machine's own resolver: names mean what they mean to curl.
    private static async ValueTask<IReadOnlyList<IPAddress>> ResolveAsync(string host, CancellationToken cancel)
    {
        try
        {
            return await Dns.GetHostAddressesAsync(host, cancel);
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.HostNotFound or SocketError.NoData)
        {
            return [];
        }
    }

    private static Exception Innermost(Exception e) => e.InnerException is SocketException or AuthenticationException or IOException ? Innermost(e.InnerException) : e;

    private static Uri? ParseUrl(ArgumentResult result)
    {
        string text = result.Tokens[0].Value;
        if (Uri.TryCreate(text, UriKind.Absolute, out Uri? url) && (url.Scheme == Uri.UriSchemeHttp || url.Scheme == Uri.UriSchemeHttps))
            return url;
        result.AddError($"'{text}' is no http or https URL");
        return null;
    }
}
