using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Millrace.AspNetCore.Tests;

public sealed class HttpTests
{
    private static CancellationToken Cancel => TwoStacks.Cancel;

    private const int BodyLength = 24 << 20;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_get_is_answered_over_the_wire_and_over_loopback(bool loopback)
    {
        using var stacks = new TwoStacks(loopback);
        await using WebApplication app = await stacks.ServeAsync(app => app.MapGet("/hello", () => "hello from the stack"));
        using HttpClient client = stacks.NewClient();
        Assert.Equal("hello from the stack", await client.GetStringAsync("/hello", Cancel));
    }

    [Fact]
    public async Task The_addresses_and_ports_are_those_of_the_stacks()
    {
        using var stacks = new TwoStacks();
        await using WebApplication app = await stacks.ServeAsync(app => app.MapGet("/", (HttpContext context) =>
        {
            ConnectionInfo about = context.Connection;
            TcpInfo info = context.Features.GetRequiredFeature<ITcpConnectionFeature>().Connection.GetInfo();
            return $"{about.RemoteIpAddress} {about.LocalIpAddress} {about.LocalPort} {about.RemotePort > 0} {(TcpState)info.State}";
        }));
        using HttpClient client = stacks.NewClient();
        Assert.Equal($"{TwoStacks.ClientAddress} {TwoStacks.ServerAddress} 80 True Established", await client.GetStringAsync("/", Cancel));
    }

    [Fact]
    public async Task Http_2_with_prior_knowledge_shares_one_connection()
    {
        using var stacks = new TwoStacks();
        await using WebApplication app = await stacks.ServeAsync(
            app => app.MapGet("/", (HttpContext context) => $"{context.Request.Protocol} {context.Connection.RemotePort}"), HttpProtocols.Http2);
        using HttpClient client = stacks.NewClient(HttpVersion.Version20);
        string first = await client.GetStringAsync("/", Cancel);
        string[] answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => client.GetStringAsync("/", Cancel)));
        Assert.StartsWith("HTTP/2 ", first, StringComparison.Ordinal);
        Assert.All(answers, answer => Assert.Equal(first, answer));
    }

    [Theory]
    [InlineData("2.0", "HTTP/2")]
    [InlineData("1.1", "HTTP/1.1")]
    public async Task Https_settles_the_protocol_by_alpn(string version, string protocol)
    {
        using var stacks = new TwoStacks();
        using X509Certificate2 certificate = TwoStacks.NewCertificate();
        await using WebApplication app = await stacks.ServeAsync(
            app => app.MapGet("/", (HttpContext context) =>
                $"{context.Request.Scheme} {context.Request.Protocol} {context.Features.Get<ITlsHandshakeFeature>()!.Protocol}"),
            HttpProtocols.Http1AndHttp2, certificate);
        using HttpClient client = stacks.NewClient(Version.Parse(version), certificate);
        Assert.Equal($"https {protocol} Tls13", await client.GetStringAsync("/", Cancel));
    }

    [Theory]
    [InlineData("1.1", false, false)]
    [InlineData("1.1", false, true)]
    [InlineData("2.0", false, false)]
    [InlineData("2.0", true, false)]
    public async Task A_large_body_arrives_whole_both_ways(string version, bool tls, bool loopback)
    {
        using var stacks = new TwoStacks(loopback);
        using X509Certificate2? certificate = tls ? TwoStacks.NewCertificate() : null;
        HttpProtocols protocols = tls ? HttpProtocols.Http1AndHttp2 : version == "2.0" ? HttpProtocols.Http2 : HttpProtocols.Http1;
        byte[] body = new byte[BodyLength];
        new Random(1).NextBytes(body);
        string hash = Convert.ToHexString(SHA256.HashData(body));
        await using WebApplication app = await stacks.ServeAsync(app =>
        {
            app.MapPost("/", async (HttpContext context) =>
                await context.Response.WriteAsync(Convert.ToHexString(await SHA256.HashDataAsync(context.Request.Body, Cancel)), Cancel));
            app.MapGet("/", async (HttpContext context) => await context.Response.Body.WriteAsync(body, Cancel));
        }, protocols, certificate);
        using HttpClient client = stacks.NewClient(Version.Parse(version), certificate);
        using HttpResponseMessage posted = await client.PostAsync("/", new ByteArrayContent(body), Cancel);
        Assert.Equal(hash, await posted.Content.ReadAsStringAsync(Cancel));
        await using Stream received = await client.GetStreamAsync("/", Cancel);
        Assert.Equal(hash, Convert.ToHexString(await SHA256.HashDataAsync(received, Cancel)));
    }

    [Fact]
    public async Task Hundreds_of_concurrent_requests_on_connections_of_their_own()
    {
        const int clients = 200;
        using var stacks = new TwoStacks();
        var all = new TaskCompletionSource();
        int waiting = 0;
        await using WebApplication app = await stacks.ServeAsync(app => app.MapGet("/{n}", async (int n) =>
        {
            // Nobody is answered before all are here, so that all connections live at once.
            if (Interlocked.Increment(ref waiting) == clients)
                all.SetResult();
            await all.Task.WaitAsync(Cancel);
            return n * n;
        }));
        using HttpClient client = stacks.NewClient();
        string[] answers = await Task.WhenAll(Enumerable.Range(0, clients).Select(n => client.GetStringAsync($"/{n}", Cancel)));
        Assert.Equal(Enumerable.Range(0, clients).Select(n => $"{n * n}"), answers);
    }

    [Fact]
    public async Task A_client_that_gives_up_cancels_the_request_on_the_server()
    {
        using var stacks = new TwoStacks();
        var arrived = new TaskCompletionSource();
        var aborted = new TaskCompletionSource();
        await using WebApplication app = await stacks.ServeAsync(app => app.MapGet("/", async (HttpContext context) =>
        {
            context.RequestAborted.Register(aborted.SetResult);
            arrived.SetResult();
            await aborted.Task.WaitAsync(Cancel);
        }));
        using HttpClient client = stacks.NewClient();
        using var giveUp = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        Task<string> request = client.GetStringAsync("/", giveUp.Token);
        await arrived.Task.WaitAsync(Cancel);
        await giveUp.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => request);
        await aborted.Task.WaitAsync(Cancel);
    }

    [Fact]
    public async Task Where_half_close_is_allowed_a_client_that_has_ended_gets_its_whole_answer()
    {
        using var stacks = new TwoStacks();
        var go = new TaskCompletionSource();
        await using WebApplication app = await stacks.ServeAsync(app => app.MapGet("/", async (HttpContext context) =>
        {
            await go.Task.WaitAsync(Cancel);
            await context.Response.Body.WriteAsync(new byte[5_000_000], Cancel);
        }), configure: static transport => transport.AllowHalfClose = true);
        await using TcpConnection connection = await stacks.ConnectAsync();
        await connection.SendAsync("GET / HTTP/1.0\r\n\r\n"u8.ToArray(), cancel: Cancel);
        connection.Shutdown(SocketShutdown.Send);
        go.SetResult();
        long received = 0;
        byte[] buffer = new byte[65536];
        while (await connection.ReceiveAsync(buffer, Cancel) is var n and > 0)
            received += n;
        Assert.InRange(received, 5_000_000, 5_001_000);
    }

    [Fact]
    public async Task A_server_that_aborts_resets_the_client_in_the_middle_of_a_body()
    {
        using var stacks = new TwoStacks();
        await using WebApplication app = await stacks.ServeAsync(app => app.MapGet("/", async (HttpContext context) =>
        {
            context.Response.ContentLength = 1000;
            await context.Response.Body.WriteAsync(new byte[10], Cancel);
            await context.Response.Body.FlushAsync(Cancel);
            context.Abort();
        }));
        await using TcpConnection connection = await stacks.ConnectAsync();
        await connection.SendAsync("GET / HTTP/1.1\r\nHost: a\r\n\r\n"u8.ToArray(), cancel: Cancel);
        byte[] buffer = new byte[4096];
        SocketException error = await Assert.ThrowsAsync<SocketException>(async () =>
        {
            // Never a clean end: a truncated body must not look whole.
            while (await connection.ReceiveAsync(buffer, Cancel) > 0)
            {
            }
        });
        Assert.Equal(SocketError.ConnectionReset, error.SocketErrorCode);
    }

    [Fact]
    public async Task A_graceful_stop_finishes_the_request_under_way_and_takes_no_other()
    {
        using var stacks = new TwoStacks();
        var arrived = new TaskCompletionSource();
        var go = new TaskCompletionSource();
        WebApplication app = await stacks.ServeAsync(app => app.MapGet("/", async () =>
        {
            arrived.SetResult();
            await go.Task.WaitAsync(Cancel);
            return "done";
        }));
        using HttpClient client = stacks.NewClient();
        Task<string> request = client.GetStringAsync("/", Cancel);
        await arrived.Task.WaitAsync(Cancel);
        Task stop = app.StopAsync(Cancel);
        var refused = await RefusalAsync(stacks);
        Assert.Equal(SocketError.ConnectionRefused, refused);
        Assert.False(stop.IsCompleted);
        go.SetResult();
        Assert.Equal("done", await request);
        await stop;
        await app.DisposeAsync();
    }

    // StopAsync unbinds on a thread of its own: connect until that has happened.
    private static async Task<SocketError> RefusalAsync(TwoStacks stacks)
    {
        while (true)
        {
            try
            {
                await using TcpConnection connection = await stacks.ConnectAsync();
                await Task.Yield();
            }
            catch (SocketException e)
            {
                return e.SocketErrorCode;
            }
        }
    }

    [Fact]
    public async Task A_port_that_is_taken_is_an_address_in_use()
    {
        using var stacks = new TwoStacks();
        var at = new IPEndPoint(TwoStacks.ServerAddress, 80);
        MillraceConnectionListenerFactory factory = NewFactory(stacks.Server);
        await using IConnectionListener first = await factory.BindAsync(at, Cancel);
        await Assert.ThrowsAsync<AddressInUseException>(() => factory.BindAsync(at, Cancel).AsTask());
    }

    private static MillraceConnectionListenerFactory NewFactory(NetStack stack) =>
        new(stack, new MillraceTransportOptions(), Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance);

    [Fact]
    public async Task An_address_that_is_not_the_stacks_cannot_be_bound()
    {
        using var stacks = new TwoStacks();
        using var other = new NetStack();
        SocketException error = await Assert.ThrowsAsync<SocketException>(() =>
            NewFactory(other).BindAsync(new IPEndPoint(TwoStacks.ServerAddress, 80), Cancel).AsTask());
        Assert.Equal(SocketError.AddressNotAvailable, error.SocketErrorCode);
    }

    [Fact]
    public async Task A_name_is_resolved_by_the_users_resolver_and_refusal_is_reported()
    {
        using var stacks = new TwoStacks();
        await using WebApplication app = await stacks.ServeAsync(app => app.MapGet("/", (HttpContext context) => context.Request.Host.Host));
        var asked = new List<string>();
        using var client = new HttpClient(stacks.Client.CreateHttpHandler((host, _) =>
        {
            asked.Add(host);
            // The first address refuses; the second is the server's.
            return new([TwoStacks.ClientAddress, TwoStacks.ServerAddress]);
        }));
        Assert.Equal("server.test", await client.GetStringAsync("http://server.test/", Cancel));
        Assert.Equal(["server.test"], asked);
        HttpRequestException refused = await Assert.ThrowsAsync<HttpRequestException>(() => client.GetStringAsync("http://10.9.0.1:81/", Cancel));
        Assert.Equal(HttpRequestError.ConnectionError, refused.HttpRequestError);
    }

    [Fact]
    public async Task Without_a_resolver_a_name_is_not_found()
    {
        using var stacks = new TwoStacks();
        using var client = new HttpClient(stacks.Client.CreateHttpHandler());
        HttpRequestException error = await Assert.ThrowsAsync<HttpRequestException>(() => client.GetStringAsync("http://server.test/", Cancel));
        Assert.Equal(HttpRequestError.NameResolutionError, error.HttpRequestError);
    }
}
