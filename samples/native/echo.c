/*
 * Two stacks in one program, wired together: one echoes, the other asks. Shows sockets, epoll, a device of the program's own, and
 * settings. Prints what came back and exits 0, or says what failed.
 *
 *   gcc echo.c -I ../../src/Millrace.Native -L DIR -lmillrace -lpthread -o echo && LD_LIBRARY_PATH=DIR ./echo
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "millrace.h"

static void check(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static struct sockaddr_in address_of(const char *ip, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    inet_pton(AF_INET, ip, &a.sin_addr);
    return a;
}

/* Echoes one connection, with epoll, until its peer has sent everything. */
static void *serve(void *argument)
{
    mr_stack *stack = argument;
    struct sockaddr_in here = address_of("10.0.0.1", 7);
    int listener = mr_socket(stack, AF_INET, SOCK_STREAM, 0);
    check(listener >= 0, "socket");
    check(mr_bind(stack, listener, (struct sockaddr *)&here, sizeof here) == 0, "bind");
    check(mr_listen(stack, listener, 1) == 0, "listen");
    int fd = mr_accept(stack, listener, NULL, NULL);
    check(fd >= 0, "accept");
    int epoll = mr_epoll_create1(stack, 0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    check(mr_epoll_ctl(stack, epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
    for (;;) {
        struct epoll_event ready;
        check(mr_epoll_wait(stack, epoll, &ready, 1, -1) == 1 && ready.data.fd == fd, "epoll_wait");
        char buffer[4096];
        ssize_t n = mr_read(stack, fd, buffer, sizeof buffer);
        check(n >= 0, "read");
        if (n == 0)
            break;
        check(mr_write(stack, fd, buffer, (size_t)n) == n, "write");
    }
    mr_close(stack, fd);
    mr_close(stack, listener);
    mr_close(stack, epoll);
    return NULL;
}

/* The wire between the two stacks, made of two devices of the program's own. */
static mr_stack *server, *client;

static void to_server(void *user, const void *packet, size_t length)
{
    (void)user;
    mr_device_receive(server, "eth0", packet, length);
}

static void to_client(void *user, const void *packet, size_t length)
{
    (void)user;
    mr_device_receive(client, "eth0", packet, length);
}

int main(void)
{
    server = mr_stack_new("server");
    client = mr_stack_new("client");
    check(mr_device_new(server, "eth0", 1500, to_client, NULL) == 0, "device");
    check(mr_device_new(client, "eth0", 1500, to_server, NULL) == 0, "device");
    check(mr_add_address(server, "eth0", "10.0.0.1", 24) == 0, "address");
    check(mr_add_address(client, "eth0", "10.0.0.2", 24) == 0, "address");
    check(mr_sysctl_set(client, "net.ipv4.tcp_congestion_control", "reno") == 0, "sysctl");
    char algorithm[32];
    check(mr_sysctl_get(client, "net.ipv4.tcp_congestion_control", algorithm, sizeof algorithm) == 4, "sysctl");

    struct sockaddr_in there = address_of("10.0.0.1", 7);
    int fd = mr_socket(client, AF_INET, SOCK_STREAM, 0);
    check(fd >= 0, "socket");
    check(mr_connect(client, fd, NULL, sizeof there) == -1 && errno == EFAULT, "a null address is EFAULT");
    check(mr_connect(client, fd, (struct sockaddr *)&there, sizeof there) == -1 && errno == ECONNREFUSED, "nobody listens yet");
    mr_close(client, fd);

    pthread_t thread;
    pthread_create(&thread, NULL, serve, server);
    do {
        fd = mr_socket(client, AF_INET, SOCK_STREAM, 0);
    } while (mr_connect(client, fd, (struct sockaddr *)&there, sizeof there) != 0 && mr_close(client, fd) == 0);

    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    check(mr_getpeername(client, fd, (struct sockaddr *)&peer, &length) == 0 && peer.sin_port == htons(7), "getpeername");

    struct iovec pieces[2] = {{"as in ", 6}, {"Linux", 5}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    check(mr_sendmsg(client, fd, &message, 0) == 11, "sendmsg");
    check(mr_shutdown(client, fd, SHUT_WR) == 0, "shutdown");
    char answer[64];
    ssize_t got = mr_recv(client, fd, answer, 11, MSG_WAITALL);
    check(got == 11, "recv");
    struct pollfd poll = {.fd = fd, .events = POLLIN};
    check(mr_poll(client, &poll, 1, -1) == 1 && (poll.revents & POLLIN) != 0, "poll");
    check(mr_recv(client, fd, answer + 11, 1, 0) == 0, "end");
    printf("%.*s over %s\n", (int)got, answer, algorithm);

    pthread_join(thread, NULL);
    mr_close(client, fd);
    mr_stack_free(client);
    mr_stack_free(server);
    return 0;
}
