using System;
using System.Collections.Generic;
using System.Linq;
using Millrace.Cli.Trace;

namespace Millrace.Cli.Tests;

/// <summary>
/// The steps of <c>millrace trace</c> against the order in which Linux takes them: what is listed must happen in this order, within one
/// context of one host; other steps may come between.
/// </summary>
public sealed class TraceOrderTests
{
    private const string Client = TraceStory.ClientName, Server = TraceStory.ServerName;

    private static readonly List<TraceEvent> Steps = Run();

    private static List<TraceEvent> Run()
    {
        using var story = new TraceStory(new TraceStoryOptions(1000, 0, TimeSpan.FromMilliseconds(1), 1));
        return [.. story.Run(default)];
    }

    private static IEnumerable<TraceEvent> In(string stack, TraceContext context) =>
        Steps.Where(e => e.Stack == stack && e.Context == context && (context != TraceContext.Task || e.TaskName == stack));

    // From the first step of this name on; an expectation is a name, or a name and the words that it must have.
    private static List<TraceEvent> AssertOrder(IEnumerable<TraceEvent> steps, params string[] expected)
    {
        var found = new List<TraceEvent>();
        using IEnumerator<TraceEvent> walk = steps.GetEnumerator();
        foreach (string what in expected)
        {
            string[] parts = what.Split(": ", 2);
            bool there = false;
            while (!there && walk.MoveNext())
                there = walk.Current.Name == parts[0] && (parts.Length == 1 || walk.Current.Text.Contains(parts[1], StringComparison.Ordinal));
            Assert.True(there, $"{what} does not come after {(found.Count == 0 ? "the beginning" : found[^1].Name)}");
            found.Add(walk.Current);
        }
        return found;
    }

    private static IEnumerable<TraceEvent> From(IEnumerable<TraceEvent> steps, string name, int occurrence = 1) =>
        steps.SkipWhile(e => e.Name != name || --occurrence > 0);

    [Theory]
    [InlineData(Client)]
    [InlineData(Server)]
    public void A_socket_is_made(string host) => AssertOrder(In(host, TraceContext.Task),
        "__sys_socket", "sock_create", "__sock_create", "inet_create", "sk_alloc", "sock_init_data", "tcp_v4_init_sock", "fd_install");

    [Fact]
    public void The_server_listens_and_blocks_in_accept() => AssertOrder(In(Server, TraceContext.Task),
        "__sys_bind", "inet_bind", "inet_csk_get_port", "inet_bind_hash",
        "__sys_listen", "inet_listen", "inet_csk_listen_start", "inet_sock_set_state: CLOSE → LISTEN", "inet_hash",
        "__sys_accept4", "inet_accept", "inet_csk_accept", "prepare_to_wait_exclusive", "release_sock", "schedule_timeout", "schedule",
        "sched_switch: server [S] → swapper/0");

    [Fact]
    public void The_client_hashes_itself_before_its_SYN_leaves_and_sleeps_without_the_lock() => AssertOrder(In(Client, TraceContext.Task),
        "__sys_connect", "inet_stream_connect", "tcp_v4_connect", "inet_sock_set_state: CLOSE → SYN_SENT", "inet_hash_connect",
        "inet_ehash_insert", "secure_tcp_seq", "tcp_connect", "__tcp_transmit_skb: [S]", "ip_queue_xmit", "ip_output", "__dev_queue_xmit",
        "dev_hard_start_xmit", "net_dev_xmit", "timer_start: RETRANS", "prepare_to_wait", "release_sock", "schedule_timeout", "schedule");

    [Fact]
    public void A_SYN_makes_a_request_sock_and_wakes_nobody()
    {
        List<TraceEvent> path = AssertOrder(In(Server, TraceContext.Softirq),
            "ip_rcv", "tcp_v4_rcv", "__inet_lookup_listener", "tcp_v4_do_rcv: LISTEN", "tcp_conn_request", "inet_reqsk_alloc",
            "inet_csk_reqsk_queue_hash_add", "inet_ehash_insert", "tcp_v4_send_synack", "net_dev_xmit", "softirq_exit");
        Assert.DoesNotContain(In(Server, TraceContext.Softirq),
            e => e.Name == "try_to_wake_up" && e.Sequence < path[^1].Sequence);
    }

    [Fact]
    public void The_client_is_woken_before_the_last_ACK_of_the_handshake_is_built() => AssertOrder(In(Client, TraceContext.Softirq),
        "tcp_v4_rcv", "tcp_v4_do_rcv: SYN_SENT", "tcp_rcv_state_process", "tcp_ack", "tcp_finish_connect",
        "inet_sock_set_state: SYN_SENT → ESTABLISHED", "sock_def_wakeup", "__wake_up_common", "try_to_wake_up: client", "tcp_send_ack",
        "__tcp_transmit_skb: [.]");

    [Fact]
    public void The_child_replaces_the_request_before_the_acceptor_is_woken() => AssertOrder(From(In(Server, TraceContext.Softirq), "tcp_check_req"),
        "tcp_check_req", "tcp_v4_syn_recv_sock", "tcp_create_openreq_child", "inet_sock_set_state: LISTEN → SYN_RECV", "inet_ehash_insert",
        "inet_csk_complete_hashdance", "tcp_child_process", "inet_sock_set_state: SYN_RECV → ESTABLISHED", "sock_def_readable",
        "__wake_up_common", "autoremove_wake_function", "try_to_wake_up: server", "sched_waking: server");

    [Fact]
    public void An_accepted_connection_gets_its_descriptor_last() => AssertOrder(From(In(Server, TraceContext.Task), "__sys_accept4"),
        "sched_switch", "finish_wait", "release_sock", "fd_install", "__sys_recvfrom");

    [Fact]
    public void A_reader_queues_itself_with_the_lock_lets_it_go_and_sleeps() => AssertOrder(From(In(Server, TraceContext.Task), "__sys_recvfrom"),
        "__sys_recvfrom", "sock_recvmsg", "security_socket_recvmsg", "sock_recvmsg_nosec", "inet_recvmsg", "tcp_recvmsg", "lock_sock",
        "tcp_recvmsg_locked", "sk_wait_data", "prepare_to_wait_exclusive", "release_sock", "schedule_timeout", "schedule",
        "sched_switch: server [S] → swapper/0");

    [Fact]
    public void Bytes_are_sent_with_one_copy_and_stay_on_the_retransmit_queue() => AssertOrder(From(In(Client, TraceContext.Task), "__sys_sendto"),
        "__sys_sendto", "inet_sendmsg", "tcp_sendmsg", "lock_sock", "tcp_sendmsg_locked: 1000 bytes", "tcp_push", "tcp_write_xmit",
        "__tcp_transmit_skb: [P.]", "net_dev_xmit", "tcp_event_new_data_sent: 1000 bytes", "tcp_rearm_rto", "release_sock", "sock_send_length");

    [Fact]
    public void An_arrival_is_queued_then_announced_then_acknowledged_in_one_softirq()
    {
        List<TraceEvent> path = AssertOrder(In(Server, TraceContext.Softirq).SkipWhile(static e => e.Packet is not { PayloadLength: 1000 }),
            "netif_receive_skb", "ip_rcv", "tcp_v4_early_demux", "__inet_lookup_established", "ip_local_deliver", "tcp_v4_rcv", "tcp_v4_do_rcv",
            "tcp_rcv_established", "tcp_ack", "tcp_data_queue", "tcp_queue_rcv: 1000 bytes", "tcp_data_ready: 1000 unread", "sock_def_readable",
            "wake_up_interruptible_sync_poll", "__wake_up_common_lock", "__wake_up_common", "autoremove_wake_function", "default_wake_function",
            "try_to_wake_up: server", "sched_waking: server", "__tcp_ack_snd_check", "tcp_send_ack", "napi_complete_done", "softirq_exit");
        Assert.DoesNotContain(Steps, e => e.Name == "softirq_exit" && e.Sequence > path[0].Sequence && e.Sequence < path[^1].Sequence);
    }

    [Fact]
    public void The_interrupt_only_schedules_the_poll()
    {
        Assert.Equal(["irq_handler_entry", "__napi_schedule", "softirq_raise"],
            In(Server, TraceContext.Hardirq).Select(static e => e.Name).Distinct());
        AssertOrder(In(Server, TraceContext.Softirq), "softirq_entry: NET_RX", "net_rx_action", "__napi_poll", "__netif_receive_skb_core", "ip_rcv");
    }

    [Fact]
    public void The_switch_to_the_woken_reader_waits_until_the_softirq_has_left()
    {
        TraceEvent waking = From(Steps.Where(static e => e.Stack == Server), "sched_waking", 2).First();
        List<TraceEvent> between = [.. Steps.Where(e => e.Sequence > waking.Sequence && e.Stack == Server).TakeWhile(static e => e.Name != "sched_switch")];
        Assert.Equal("softirq_exit", between[^1].Name);
        Assert.All(between, static e => Assert.True(e.NeedResched));
    }

    [Fact]
    public void The_woken_reader_leaves_the_queue_copies_once_and_sends_no_ACK_of_its_own()
    {
        List<TraceEvent> path = AssertOrder(From(Steps.Where(static e => e is { Stack: Server, Context: TraceContext.Task }), "__sys_recvfrom"),
            "sched_switch: swapper/0 [R] → server", "lock_sock", "finish_wait", "skb_copy_datagram_msg: 1000 bytes", "tcp_rcv_space_adjust",
            "tcp_cleanup_rbuf", "release_sock", "sock_recv_length: 1000 bytes");
        Assert.DoesNotContain(In(Server, TraceContext.Task),
            e => e.Name == "tcp_send_ack" && e.Sequence > path[0].Sequence && e.Sequence < path[^1].Sequence);
    }

    [Fact]
    public void The_client_closes_first_and_does_not_wait() => AssertOrder(From(In(Client, TraceContext.Task), "__sys_close"),
        "__sys_close", "inet_release", "tcp_close", "lock_sock", "__tcp_close", "inet_sock_set_state: ESTABLISHED → FIN_WAIT1",
        "tcp_send_fin", "__tcp_transmit_skb: [F.]", "net_dev_xmit", "timer_start: RETRANS", "release_sock");

    [Fact]
    public void A_FIN_changes_the_state_wakes_everybody_and_announces_the_end() => AssertOrder(From(In(Server, TraceContext.Softirq), "tcp_fin"),
        "tcp_fin", "inet_sock_set_state: ESTABLISHED → CLOSE_WAIT", "sock_def_wakeup", "try_to_wake_up: server", "tcp_data_ready: an end to read",
        "sock_def_readable", "tcp_send_delayed_ack");

    [Fact]
    public void The_server_closes_second() => AssertOrder(From(In(Server, TraceContext.Task), "__sys_close"),
        "__sys_close", "tcp_close", "__tcp_close", "inet_sock_set_state: CLOSE_WAIT → LAST_ACK", "tcp_send_fin", "__tcp_transmit_skb: [F.]");

    [Fact]
    public void The_mini_socket_is_in_the_table_before_the_full_sock_leaves_it() => AssertOrder(From(In(Client, TraceContext.Softirq), "tcp_fin"),
        "tcp_fin", "tcp_send_ack", "tcp_time_wait: TIME_WAIT", "inet_twsk_alloc", "inet_twsk_hashdance", "tcp_done", "inet_unhash",
        "inet_csk_destroy_sock");

    [Fact]
    public void The_last_ACK_closes_the_server_at_once_and_the_client_after_a_minute()
    {
        AssertOrder(From(In(Server, TraceContext.Softirq), "tcp_fin"), "tcp_v4_do_rcv: LAST_ACK", "tcp_ack", "tcp_done",
            "inet_sock_set_state: LAST_ACK → CLOSE", "inet_csk_destroy_sock");
        TraceEvent begun = Steps.First(static e => e.Name == "tcp_time_wait"), over = Steps.First(static e => e.Name == "inet_twsk_kill");
        Assert.InRange((over.Time - begun.Time).TotalSeconds, 60, 60.5);
    }
}
