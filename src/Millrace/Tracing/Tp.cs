namespace Millrace.Tracing;

#pragma warning disable IDE1006 // the members are the kernel's names, letter for letter: people search for them

/// <summary>
/// The tracepoints: one for each step on a byte's way that a reader of the kernel's own traces looks for, and the kernel's
/// trace events. A name says what happened; it is emitted by the function that did it.
/// </summary>
internal enum Tp : ushort
{
    none,

    // System calls.
    __sys_socket, __sys_bind, __sys_listen, __sys_connect, __sys_accept4, __sys_recvfrom, __sys_recvmsg, __sys_sendto, __sys_sendmsg,
    __sys_shutdown, __sys_close, __sys_setsockopt, __sys_getsockopt,

    // socket(2).
    sock_create, __sock_create, inet_create, sk_alloc, sock_init_data, tcp_v4_init_sock, tcp_v6_init_sock, fd_install,

    // bind(2), listen(2).
    inet_bind, inet_csk_get_port, inet_bind_hash, inet_listen, inet_csk_listen_start, inet_hash,

    // connect(2).
    inet_stream_connect, tcp_v4_connect, tcp_v6_connect, inet_hash_connect, inet_ehash_insert, secure_tcp_seq, tcp_connect,
    tcp_finish_connect,

    // accept(2).
    inet_accept, inet_csk_accept, prepare_to_wait_exclusive,

    // recv(2).
    sock_recvmsg, security_socket_recvmsg, sock_recvmsg_nosec, inet_recvmsg, tcp_recvmsg, tcp_recvmsg_locked, sk_wait_data, sk_sleep,
    prepare_to_wait, sk_wait_event, skb_copy_datagram_msg, tcp_rcv_space_adjust, tcp_cleanup_rbuf,

    // send(2).
    security_socket_sendmsg, inet_sendmsg, tcp_sendmsg, tcp_sendmsg_locked, tcp_push, tcp_write_xmit, __tcp_transmit_skb,
    tcp_event_new_data_sent, tcp_rearm_rto,

    // The socket lock.
    lock_sock, release_sock, __release_sock, tcp_add_backlog,

    // Sleeping and waking.
    schedule_timeout, schedule, finish_wait, sock_def_readable, sock_def_write_space, sock_def_wakeup, sk_error_report,
    wake_up_interruptible_sync_poll, __wake_up_common_lock, __wake_up_common, autoremove_wake_function, default_wake_function,
    try_to_wake_up,

    // Interrupt and softirq.
    __napi_schedule, net_rx_action, __napi_poll, napi_complete_done, __netif_receive_skb_core, napi_gro_receive,

    // IP.
    ip_rcv, ipv6_rcv, tcp_v4_early_demux, ip_local_deliver, ip_queue_xmit, ip_output, __dev_queue_xmit, dev_hard_start_xmit, icmp_rcv,
    arp_rcv,

    // TCP input.
    tcp_v4_rcv, __inet_lookup_skb, __inet_lookup_established, __inet_lookup_listener, tcp_v4_do_rcv, tcp_rcv_established,
    tcp_validate_incoming, tcp_rcv_state_process, tcp_ack, tcp_data_queue, tcp_queue_rcv, tcp_data_ready, tcp_fin, tcp_reset,
    __tcp_ack_snd_check, tcp_check_space,

    // The handshake.
    tcp_conn_request, inet_reqsk_alloc, inet_csk_reqsk_queue_hash_add, tcp_make_synack, tcp_v4_send_synack, tcp_check_req,
    tcp_v4_syn_recv_sock, tcp_create_openreq_child, inet_csk_complete_hashdance, tcp_child_process,

    // Answers.
    tcp_send_ack, tcp_send_delayed_ack, tcp_send_fin, tcp_v4_send_reset, tcp_v4_send_ack, tcp_send_active_reset,

    // Closing.
    inet_shutdown, tcp_shutdown, inet_release, tcp_close, __tcp_close, tcp_set_state, tcp_time_wait, inet_twsk_alloc,
    inet_twsk_hashdance, tcp_timewait_state_process, inet_twsk_kill, tcp_done, inet_unhash, inet_put_port, inet_csk_destroy_sock,
    inet_csk_listen_stop, tcp_disconnect,

    // Timers.
    tcp_write_timer_handler, tcp_delack_timer_handler, tcp_keepalive_timer, reqsk_timer_handler, tw_timer_handler,

    // Drops.
    sk_skb_reason_drop,

    // The kernel's trace events.
    inet_sock_set_state, sched_switch, sched_waking, softirq_raise, softirq_entry, softirq_exit, netif_receive_skb, net_dev_xmit,
    napi_poll, sk_data_ready, sock_recv_length, sock_send_length, tcp_probe, tcp_destroy_sock, tcp_send_reset, tcp_receive_reset,
    tcp_retransmit_skb, inet_sk_error_report, kfree_skb, timer_start, irq_handler_entry, neigh_create, neigh_update, neigh_timer_handler,
}
