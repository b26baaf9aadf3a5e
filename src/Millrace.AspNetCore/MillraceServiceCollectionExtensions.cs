using System;
using System.Net.Http;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Millrace.AspNetCore;

namespace Millrace;

/// <summary>A stack among an application's services, and what uses it there.</summary>
public static class MillraceServiceCollectionExtensions
{
    /// <summary>Adds a <see cref="NetStack"/>, made when it is first needed and disposed of with the container.</summary>
    /// <param name="setUp">Gives the new stack its devices, addresses and routes.</param>
    public static IServiceCollection AddMillrace(this IServiceCollection services, Action<NetStack> setUp,
        Action<NetStackOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(setUp);
        services.TryAddSingleton(_ => Make(setUp, configure));
        return services;
    }

    /// <summary>Adds a stack that the caller has made, and disposes of.</summary>
    public static IServiceCollection AddMillrace(this IServiceCollection services, NetStack stack)
    {
        ArgumentNullException.ThrowIfNull(stack);
        services.TryAddSingleton(stack);
        return services;
    }

    /// <summary>Lets Kestrel listen on the stack that is among the services.</summary>
    public static IWebHostBuilder UseMillrace(this IWebHostBuilder builder, Action<MillraceTransportOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        return builder.ConfigureServices(services => AddTransport(services, static s => s.GetRequiredService<NetStack>(), configure));
    }

    /// <summary>Lets Kestrel listen on a stack. Called more than once with <see cref="MillraceTransportOptions.Selects"/>, on several.</summary>
    public static IWebHostBuilder UseMillrace(this IWebHostBuilder builder, NetStack stack, Action<MillraceTransportOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentNullException.ThrowIfNull(stack);
        return builder.ConfigureServices(services => AddTransport(services, _ => stack, configure));
    }

    /// <summary>Lets the HttpClients of this name connect through the stack that is among the services.</summary>
    /// <inheritdoc cref="MillraceHttpHandler.CreateHttpHandler"/>
    public static IHttpClientBuilder UseMillrace(this IHttpClientBuilder builder, HostResolver? resolve = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        return builder.ConfigurePrimaryHttpMessageHandler(services =>
            (HttpMessageHandler)services.GetRequiredService<NetStack>().CreateHttpHandler(resolve));
    }

    private static void AddTransport(IServiceCollection services, Func<IServiceProvider, NetStack> stackOf,
        Action<MillraceTransportOptions>? configure)
    {
        var options = new MillraceTransportOptions();
        configure?.Invoke(options);
        services.AddSingleton<IConnectionListenerFactory>(s =>
            new MillraceConnectionListenerFactory(stackOf(s), options, s.GetRequiredService<ILoggerFactory>()));
    }

    private static NetStack Make(Action<NetStack> setUp, Action<NetStackOptions>? configure)
    {
        var options = new NetStackOptions();
        configure?.Invoke(options);
        var stack = new NetStack(options);
        try
        {
            setUp(stack);
            return stack;
        }
        catch
        {
            stack.Dispose();
            throw;
        }
    }
}
