using System;
using System.IO;
using System.Net;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.FileProviders;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Millrace.Cli.Tun;

namespace Millrace.Cli.Serving;

/// <summary>Kestrel over the stack: a directory's files, or a page of its own.</summary>
internal static class HttpService
{
    private static readonly TimeSpan StopPatience = TimeSpan.FromSeconds(1);

    /// <param name="root">The directory to serve; null for the built-in page.</param>
    /// <exception cref="CommandFailedException">The port is taken.</exception>
    public static async Task<WebApplication> StartAsync(TunSession session, ushort port, string? root, CancellationToken cancel)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        // Signals are the command line's.
        builder.Services.AddSingleton<IHostLifetime, NoLifetime>();
        builder.Services.AddDirectoryBrowser();
        builder.WebHost.UseMillrace(session.Stack, static transport => transport.AllowHalfClose = true);
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(session.Address, port));
        WebApplication app = builder.Build();
        if (root is null)
            app.Run(context => WelcomeAsync(context, session));
        else
            ServeFiles(app, root);
        try
        {
            await app.StartAsync(cancel);
            return app;
        }
        catch (IOException e) when (e.InnerException is AddressInUseException)
        {
            throw new CommandFailedException($"cannot listen on port {port}: {e.InnerException.Message}", e);
        }
    }

    /// <summary>Lets requests finish for a moment, then resets their connections.</summary>
    public static async Task StopAsync(WebApplication app)
    {
        using var patience = new CancellationTokenSource(StopPatience);
        await app.StopAsync(patience.Token);
        await app.DisposeAsync();
    }

    private static void ServeFiles(WebApplication app, string root) => app.UseFileServer(new FileServerOptions
    {
        FileProvider = new PhysicalFileProvider(root),
        EnableDirectoryBrowsing = true,
        StaticFileOptions = { ServeUnknownFileTypes = true, DefaultContentType = "application/octet-stream" },
    });

    private static Task WelcomeAsync(HttpContext context, TunSession session)
    {
        if (context.Request.Path != "/")
        {
            context.Response.StatusCode = StatusCodes.Status404NotFound;
            return Task.CompletedTask;
        }
        var you = new IPEndPoint(context.Connection.RemoteIpAddress!, context.Connection.RemotePort);
        var here = new IPEndPoint(context.Connection.LocalIpAddress!, context.Connection.LocalPort);
        context.Response.ContentType = "text/html; charset=utf-8";
        return context.Response.WriteAsync($$"""
            <!doctype html>
            <html lang="en">
            <meta name="viewport" content="width=device-width">
            <title>Millrace</title>
            <style>
              body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem; color-scheme: light dark }
              table { border-collapse: collapse } td { padding: .15rem 1.5rem .15rem 0 } code { font-size: .95em }
            </style>
            <h1>Millrace</h1>
            <p>This page came through a TCP/IP stack that runs in user space, in .NET: Kestrel above it, a {{session.Settings.Kind.ToString().ToUpperInvariant()}} device below.</p>
            <table>
              <tr><td>you<td><code>{{you}}</code>
              <tr><td>the stack<td><code>{{here}}</code>
              <tr><td>the device<td><code>{{session.Settings.Device}}</code>, <code>{{session.Settings.Subnet}}</code>
              <tr><td>open sockets<td>{{session.Stack.ListTcpSockets().Count}}
            </table>
            <p><code>millrace ss</code> in another terminal lists them; <code>--root DIR</code> serves files here.</p>
            </html>

            """);
    }

    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
