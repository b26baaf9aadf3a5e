namespace Millrace.Tracing;

/// <summary>The table of the points' fields and words, by layer. A point that is not in it has no numbers, and its name says it all.</summary>
internal static class TracePoints
{
    /// <summary>System calls and the socket layer.</summary>
    public static TracePoint? OfCalls(Tp point) => point switch
    {
        Tp.__sys_socket => new("family:family type:type protocol:protocol", "socket({family}, {type}, {protocol})"),
        Tp.__sys_bind or Tp.__sys_listen or Tp.__sys_connect or Tp.__sys_accept4 or Tp.__sys_recvfrom or Tp.__sys_recvmsg
            or Tp.__sys_sendto or Tp.__sys_sendmsg or Tp.__sys_shutdown or Tp.__sys_close or Tp.__sys_setsockopt
            or Tp.__sys_getsockopt => new("fd", "descriptor {fd}"),
        Tp.sock_create => new("family:family type:type protocol:protocol", "a socket for this process"),
        Tp.__sock_create => new("family:family type:type protocol:protocol", "net_families[{family}] makes it"),
        Tp.inet_create => new("type:type protocol:protocol", "inetsw[{type}] binds its ops and its proto"),
        Tp.sk_alloc => new("family:family protocol:protocol", "the protocol's sock, {protocol}"),
        Tp.sock_init_data => new("", "queues empty; sk_data_ready and its kin are set"),
        Tp.tcp_v4_init_sock or Tp.tcp_v6_init_sock => new("", "timers, congestion control, buffer sizes"),
        Tp.fd_install => new("fd", "descriptor {fd} is the process's"),
        Tp.inet_csk_get_port => new("port", "{port?port {port}|any free port}"),
        Tp.inet_bind_hash => new("port", "into bhash, port {port}"),
        Tp.inet_listen => new("backlog", "backlog {backlog}"),
        Tp.inet_csk_listen_start => new("", "accept queue empty"),
        Tp.inet_hash => new("", "into lhash"),
        Tp.inet_hash_connect => new("", "chooses a local port"),
        Tp.inet_ehash_insert => new("", "into ehash"),
        Tp.secure_tcp_seq => new("", "initial sequence number from a keyed hash"),
        Tp.security_socket_recvmsg or Tp.security_socket_sendmsg => new("", "the policy allows it"),
        Tp.inet_shutdown => new("how:how", "{how}"),
        Tp.skb_copy_datagram_msg => new("len", "{len} bytes to the caller: the one CPU copy here"),
        Tp.tcp_cleanup_rbuf => new("copied", "{copied} bytes read: is a window update due?"),
        Tp.tcp_rcv_space_adjust => new("", "the reader's pace sizes the receive buffer"),
        Tp.tcp_sendmsg => new("size", "{size} bytes to send"),
        Tp.tcp_sendmsg_locked => new("size", "{size} bytes from the caller: the one CPU copy here"),
        _ => null,
    };

    /// <summary>The socket lock, sleeping and waking.</summary>
    public static TracePoint? OfScheduling(Tp point) => point switch
    {
        Tp.lock_sock => new("", "the task owns the socket"),
        Tp.release_sock => new("", "lets the socket go"),
        Tp.__release_sock => new("", "works off the backlog first"),
        Tp.tcp_add_backlog => new("len", "owned by a task: {len} bytes to the backlog"),
        Tp.sk_wait_data => new("", "nothing to read: waits"),
        Tp.sk_sleep => new("", "the socket's wait queue"),
        Tp.prepare_to_wait or Tp.prepare_to_wait_exclusive =>
            new("exclusive", "INTERRUPTIBLE, on the wait queue{exclusive?, exclusive|}"),
        Tp.sk_wait_event => new("", "is it there meanwhile?"),
        Tp.schedule_timeout => new("timeout:us", "sleeps until woken; timeout: {timeout}"),
        Tp.schedule => new("", "gives the CPU up"),
        Tp.finish_wait => new("", "off the wait queue; state RUNNING"),
        Tp.wake_up_interruptible_sync_poll => new("", "somebody sleeps; the switch to him may wait"),
        Tp.__wake_up_common_lock => new("key:hex", "takes the wait queue's lock"),
        Tp.__wake_up_common => new("key:hex nr_exclusive", "wakes {nr_exclusive?at most {nr_exclusive} exclusive sleeper|everybody}"),
        Tp.autoremove_wake_function => new("comm pid", "{comm}'s entry leaves the queue"),
        Tp.default_wake_function => new("comm pid", "{comm}"),
        Tp.try_to_wake_up => new("comm pid resched", "{comm} becomes RUNNING{resched?; TIF_NEED_RESCHED|, on another CPU}"),
        _ => null,
    };

    /// <summary>Interrupt, softirq, IP.</summary>
    public static TracePoint? OfDevices(Tp point) => point switch
    {
        Tp.__napi_schedule => new("", "the interrupt only puts the poll on a list"),
        Tp.net_rx_action => new("", "polls what is on the list"),
        Tp.__napi_poll => new("dev_name:dev", "{dev_name}"),
        Tp.napi_complete_done => new("work", "ring empty after {work}"),
        Tp.__netif_receive_skb_core => new("ifindex:dev", "from {ifindex} to its protocol"),
        Tp.ip_rcv or Tp.ipv6_rcv => new("len", "{len} bytes; header checked"),
        Tp.arp_rcv => new("len", "{len} bytes"),
        Tp.icmp_rcv => new("len", "{len} bytes"),
        Tp.tcp_v4_early_demux => new("", "looks for the socket before routing"),
        Tp.ip_local_deliver => new("", "it is for this host"),
        Tp.ip_queue_xmit => new("", "route, IP header"),
        Tp.ip_output => new("len", "{len} bytes"),
        Tp.__dev_queue_xmit => new("len", "to the queueing discipline"),
        Tp.dev_hard_start_xmit => new("", "to the driver"),
        Tp.sk_skb_reason_drop => new("reason:reason", "{reason}"),
        _ => null,
    };

    /// <summary>TCP's input, output and timers.</summary>
    public static TracePoint? OfTcp(Tp point) => point switch
    {
        Tp.tcp_v4_rcv => new("len", "{len} bytes; checksum right"),
        Tp.__inet_lookup_skb => new("sport dport", "whose is it?"),
        Tp.__inet_lookup_established => new("rport hnum", "ehash, {rport} to {hnum}"),
        Tp.__inet_lookup_listener => new("hnum", "lhash, port {hnum}"),
        Tp.tcp_v4_do_rcv => new("state:state", "{state}"),
        Tp.tcp_rcv_established => new("seq len", "seq {seq}"),
        Tp.tcp_rcv_state_process => new("state:state seq", "{state}"),
        Tp.tcp_validate_incoming => new("seq", "PAWS, window, RST, SYN"),
        Tp.tcp_ack => new("ack ca_state:ca", "ack {ack}; {ca_state}"),
        Tp.tcp_data_queue => new("seq len", "{len} bytes at {seq}"),
        Tp.tcp_queue_rcv => new("len unread merged fin", "{len} bytes{fin? and a FIN|} onto sk_receive_queue{merged?, merged|}; {unread} unread"),
        Tp.tcp_data_ready => new("unread", "{unread?{unread} unread|there is an end to read}"),
        Tp.__tcp_ack_snd_check => new("quick pingpong", "ACK now or later? quick {quick}{pingpong?, ping-pong|}"),
        Tp.tcp_send_ack => new("rcv_nxt", "ack {rcv_nxt}"),
        Tp.tcp_send_delayed_ack => new("ato:us", "ACK later, within {ato}"),
        Tp.tcp_push => new("", "what is queued may leave"),
        Tp.tcp_write_xmit => new("queued", "{queued} queued; asks cwnd, window, Nagle, pacing"),
        Tp.__tcp_transmit_skb => new("seq len flags:tcpflags ack", "[{flags}] seq {seq}, {len} bytes"),
        Tp.tcp_event_new_data_sent => new("seq len", "{len?{len} bytes at {seq}|a SYN or FIN} onto the retransmit queue"),
        Tp.tcp_rearm_rto => new("packets_out", "{packets_out?timer anew, {packets_out} in flight|nothing in flight, timer off}"),
        Tp.tcp_write_timer_handler => new("event:timer", "{event}"),
        Tp.tcp_check_space => new("", "is there room to write?"),
        _ => null,
    };

    /// <summary>How connections begin and end.</summary>
    public static TracePoint? OfConnectionEnds(Tp point) => point switch
    {
        Tp.tcp_connect => new("", "SYN, onto the retransmit queue and out"),
        Tp.tcp_finish_connect => new("", "the handshake is done on this side"),
        Tp.tcp_conn_request => new("", "a SYN for a listener"),
        Tp.inet_reqsk_alloc => new("", "a request sock: small, no full sock yet"),
        Tp.inet_csk_reqsk_queue_hash_add => new("", "request sock into ehash, its timer runs"),
        Tp.tcp_v4_send_synack => new("", "SYN-ACK"),
        Tp.tcp_check_req => new("", "the handshake's ACK meets the request sock"),
        Tp.tcp_create_openreq_child => new("", "the full sock is made"),
        Tp.inet_csk_complete_hashdance => new("", "child takes the request's place; accept queue"),
        Tp.tcp_child_process => new("", "the child takes its first segment"),
        Tp.tcp_set_state => new("oldstate:state newstate:state", "{oldstate} → {newstate}"),
        Tp.tcp_send_fin => new("", "FIN behind what is queued"),
        Tp.tcp_fin => new("", "the peer has no more to send"),
        Tp.tcp_time_wait => new("state:state", "becomes a mini-socket, {state}"),
        Tp.inet_twsk_alloc => new("", "a mini-socket instead of the full one"),
        Tp.inet_twsk_hashdance => new("", "into ehash before the full sock leaves it"),
        Tp.inet_twsk_kill => new("", "mini-socket leaves ehash and bhash"),
        Tp.inet_csk_destroy_sock => new("", "queues purged, the sock is freed"),
        Tp.inet_unhash => new("", "out of the table"),
        Tp.inet_put_port => new("", "the port is given back"),
        _ => null,
    };

    /// <summary>The kernel's trace events, with the kernel's fields.</summary>
    public static TracePoint? OfEvents(Tp point) => point switch
    {
        Tp.inet_sock_set_state => new("sport dport saddr daddr oldstate:state newstate:state", "{oldstate} → {newstate}"),
        Tp.sched_switch => new("prev_comm prev_pid prev_state:task_state next_comm next_pid", "{prev_comm} [{prev_state}] → {next_comm}"),
        Tp.sched_waking => new("comm pid target_cpu", "wakes {comm}, for CPU {target_cpu}"),
        Tp.softirq_raise or Tp.softirq_entry or Tp.softirq_exit => new("vec:vec", "{vec}"),
        Tp.netif_receive_skb => new("name:dev len", "{packet}"),
        Tp.net_dev_xmit => new("name:dev len", "{packet}"),
        Tp.napi_poll => new("dev_name:dev work budget", "{dev_name}: {work} of at most {budget}"),
        Tp.sk_data_ready => new("sport dport saddr daddr", ""),
        Tp.sock_recv_length or Tp.sock_send_length => new("length error:errno flags:hex", "{error?{error}|{length} bytes}"),
        Tp.tcp_probe => new("sport dport saddr daddr data_len snd_cwnd snd_wnd rcv_wnd", "cwnd {snd_cwnd}, snd_wnd {snd_wnd}, rcv_wnd {rcv_wnd}"),
        Tp.tcp_destroy_sock or Tp.tcp_send_reset or Tp.tcp_receive_reset => new("sport dport saddr daddr", ""),
        Tp.tcp_retransmit_skb => new("sport dport saddr daddr seq len state:state err:errno", "{len} bytes at {seq} again"),
        Tp.inet_sk_error_report => new("sport dport saddr daddr error:errno", "{error}"),
        Tp.kfree_skb => new("reason:reason protocol:ethertype", "{reason}: {packet}"),
        Tp.timer_start => new("timer:timer expires:us", "{timer} in {expires}"),
        Tp.neigh_create => new("daddr dev:dev entries", "{daddr} on {dev}; {entries} known"),
        Tp.neigh_update => new("daddr dev:dev nud_state:nud new_state:nud", "{daddr} on {dev}: {nud_state} → {new_state}"),
        Tp.neigh_timer_handler => new("daddr dev:dev nud_state:nud probes", "{daddr} on {dev}: now {nud_state}"),
        Tp.irq_handler_entry => new("name:dev", "{name}"),
        _ => null,
    };
}
