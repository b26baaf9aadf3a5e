using System;
using System.Net;
using System.Net.Http;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Millrace.AspNetCore.Tests;

/// <summary>A stack among an application's services.</summary>
public sealed class ServiceTests
{
    [Fact]
    public async Task Kestrel_and_HttpClient_share_the_stack_that_is_a_service()
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.AddMillrace(stack => stack.AddAddress("lo", IPAddress.Parse("10.1.2.3"), 32), options => options.Name = "shop");
        builder.Services.AddHttpClient("inside").UseMillrace();
        builder.WebHost.UseMillrace().UseUrls("http://10.1.2.3:8080");
        await using WebApplication app = builder.Build();
        app.MapGet("/", (HttpContext context, NetStack stack) => $"{stack.Name} {context.Connection.LocalIpAddress}");
        await app.StartAsync(TwoStacks.Cancel);
        using HttpClient client = app.Services.GetRequiredService<IHttpClientFactory>().CreateClient("inside");
        Assert.Equal("shop 10.1.2.3", await client.GetStringAsync("http://10.1.2.3:8080/", TwoStacks.Cancel));
    }

    [Fact]
    public async Task The_container_disposes_of_the_stack_that_it_made()
    {
        var driver = new IdleDriver();
        await using (ServiceProvider provider = new ServiceCollection().AddMillrace(stack => stack.AddDevice(driver)).BuildServiceProvider())
        {
            NetStack stack = provider.GetRequiredService<NetStack>();
            Assert.Same(stack, provider.GetRequiredService<NetStack>());
            Assert.False(driver.IsDisposed);
        }
        Assert.True(driver.IsDisposed);
    }

    [Fact]
    public void A_stack_whose_set_up_fails_is_disposed_of()
    {
        var driver = new IdleDriver();
        using ServiceProvider provider = new ServiceCollection().AddMillrace(stack =>
        {
            stack.AddDevice(driver);
            throw new InvalidOperationException("no such link");
        }).BuildServiceProvider();
        Assert.Throws<InvalidOperationException>(provider.GetRequiredService<NetStack>);
        Assert.True(driver.IsDisposed);
    }

    private sealed class IdleDriver : NetDriver
    {
        private readonly AutoResetEvent _wake = new(false);

        public bool IsDisposed { get; private set; }

        public override string Name => "idle0";

        public override int Mtu => 1500;

        public override int Receive(int queue, ReadOnlySpan<IoVec> pieces, ref PacketOffload offload) => 0;

        public override int Transmit(int queue, ReadOnlySpan<IoVec> pieces, in PacketOffload offload) => 0;

        public override void Wait(int queue, TimeSpan timeout) => _wake.WaitOne(timeout < TimeSpan.Zero ? Timeout.InfiniteTimeSpan : timeout);

        public override void Wake(int queue) => _wake.Set();

        protected override void Dispose(bool disposing)
        {
            IsDisposed = true;
            _wake.Dispose();
        }
    }
}
