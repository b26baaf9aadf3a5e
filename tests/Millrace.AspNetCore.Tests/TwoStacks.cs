using System;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Http;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;

namespace Millrace.AspNetCore.Tests;

/// <summary>A server's stack and a client's, on real threads, with an in-memory wire between; or one stack that is both.</summary>
internal sealed class TwoStacks : IDisposable
{
    public static readonly IPAddress ServerAddress = IPAddress.Parse("10.9.0.1"), ClientAddress = IPAddress.Parse("10.9.0.2");

    private readonly bool _loopback;
    private readonly ErrorLog _errors = new();

    public TwoStacks(bool loopback = false)
    {
        _loopback = loopback;
        Server = new NetStack(new NetStackOptions { Name = "server" });
        if (loopback)
        {
            Client = Server;
            return;
        }
        Client = new NetStack(new NetStackOptions { Name = "client" });
        NetStack.Wire(Server, "eth0", Client, "eth0");
        Server.AddAddress("eth0", ServerAddress, 24);
        Client.AddAddress("eth0", ClientAddress, 24);
    }

    public NetStack Server { get; }

    public NetStack Client { get; }

    public IPAddress Address => _loopback ? IPAddress.Loopback : ServerAddress;

    public static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>Kestrel on the server's stack.</summary>
    public async Task<WebApplication> ServeAsync(Action<WebApplication> map, HttpProtocols protocols = HttpProtocols.Http1,
        X509Certificate2? certificate = null, int port = 80, Action<MillraceTransportOptions>? configure = null)
    {
        WebApplicationBuilder builder = NewBuilder();
        builder.WebHost.UseKestrelHttpsConfiguration().UseMillrace(Server, configure);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.MaxRequestBodySize = null;
            kestrel.Listen(Address, port, listen =>
            {
                listen.Protocols = protocols;
                if (certificate is not null)
                    listen.UseHttps(certificate);
            });
        });
        WebApplication app = builder.Build();
        map(app);
        await app.StartAsync(Cancel);
        return app;
    }

    /// <summary>A connection handler without HTTP.</summary>
    public async Task<WebApplication> ServeAsync(ConnectionDelegate handler)
    {
        WebApplicationBuilder builder = NewBuilder();
        builder.WebHost.UseMillrace(Server);
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(Address, 80, listen => listen.Use(_ => handler)));
        WebApplication app = builder.Build();
        await app.StartAsync(Cancel);
        return app;
    }

    public HttpClient NewClient(Version? version = null, X509Certificate2? trusted = null)
    {
        SocketsHttpHandler handler = Client.CreateHttpHandler();
        if (trusted is not null)
        {
            handler.SslOptions.RemoteCertificateValidationCallback = (_, certificate, _, _) =>
                certificate is not null && certificate.GetCertHashString() == trusted.GetCertHashString();
        }
        return new HttpClient(handler)
        {
            BaseAddress = new Uri($"{(trusted is null ? "http" : "https")}://{Address}:80"),
            DefaultRequestVersion = version ?? HttpVersion.Version11,
            DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
        };
    }

    public Task<TcpConnection> ConnectAsync() => Client.ConnectAsync(new IPEndPoint(Address, 80), cancel: Cancel).AsTask();

    public static X509Certificate2 NewCertificate()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=server.test", key, HashAlgorithmName.SHA256);
        using X509Certificate2 made = request.CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(200));
        return X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pkcs12), null);
    }

    public void Dispose()
    {
        Server.Dispose();
        if (!_loopback)
            Client.Dispose();
        Assert.Empty(_errors.Messages);
    }

    private WebApplicationBuilder NewBuilder()
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders().AddProvider(_errors);
        return builder;
    }

    /// <summary>What Kestrel or the transport calls an error: no test may end with one.</summary>
    private sealed class ErrorLog : ILoggerProvider, ILogger
    {
        public ConcurrentQueue<string> Messages { get; } = new();

        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Error;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel))
                Messages.Enqueue($"{formatter(state, exception)} {exception}");
        }

        public void Dispose()
        {
        }
    }
}
