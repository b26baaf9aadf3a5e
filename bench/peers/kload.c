// Load on kernel sockets, and the kernel's side as a server.
//
//   kload server|wait|send|recv|pp|crr|hold -a ADDRESS [-n connections] [-t seconds] [-w milliseconds of warm-up] [-c cpu] [-l bytes of buffer]
//         [-S sources -B "10.9.1."] [-C congestion control, - for the default] [-s spin]
//
// server serves port 7001 (discard), 7002 (character generator) and 7003 (echo); wait returns once port 7003 answers. The others load such
// a server, print "begin" when the warm-up is over, and one line of name=value words when the measured time is.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_FD 400000
enum { DISCARD, CHARGEN, ECHO_BACK, PORTS };
enum { FIRST_PORT = 7001, LISTENING = 10 };

static const char *mode, *address = "127.0.0.1", *control = "cubic", *source_base = "10.9.1.";
static int connections = 1, length = 131072, cpu = -1, sources, spin;
static double seconds = 1, warm_up = 0.3;
static char *buffer;
static int fds[MAX_FD];
static unsigned char kind[MAX_FD];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static struct sockaddr_in endpoint(const char *ip, int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
    inet_pton(AF_INET, ip, &a.sin_addr);
    return a;
}

static void unblock(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void set_congestion(int fd)
{
    if (control && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, control, strlen(control)))
        die(control);
}

static void tune(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    set_congestion(fd);
}

// Many source addresses, so that ports in TIME_WAIT do not run out.
static void bind_source(int fd)
{
    static int next;
    int one = 1;
    char ip[32];
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    snprintf(ip, sizeof ip, "%s%d", source_base, 1 + next++ % sources);
    struct sockaddr_in a = endpoint(ip, 0);
    if (bind(fd, (void *)&a, sizeof a))
        die(ip);
}

static int try_connect(int port, int blocking)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        die("socket");
    tune(fd);
    if (sources)
        bind_source(fd);
    if (!blocking)
        unblock(fd);
    struct sockaddr_in a = endpoint(address, port);
    if (connect(fd, (void *)&a, sizeof a) == 0 || errno == EINPROGRESS)
        return fd;
    close(fd);
    return -1;
}

static int connected(int port, int blocking)
{
    int fd = try_connect(port, blocking);
    if (fd < 0)
        die("connect");
    return fd;
}

static void watch(int ep, int op, int fd, unsigned events)
{
    struct epoll_event e = { .events = events, .data.fd = fd };
    if (epoll_ctl(ep, op, fd, &e))
        die("epoll_ctl");
}

// What was done since the warm-up ended, and whether it is time to stop.
static unsigned long long done;
static double began, started;

// True when the measured time is over; *base is called at its begin.
static int is_over(void (*at_begin)(void))
{
    double t = now();
    if (!began)
        began = t;
    if (!started && t - began >= warm_up) {
        if (at_begin)
            at_begin();
        done = 0;
        started = now();
        puts("begin");
        fflush(stdout);
    }
    return started && t - started >= seconds;
}

static void report(const char *unit, double amount)
{
    double elapsed = now() - started;
    printf("n=%d %s=%.3f seconds=%.6f\n", connections, unit, amount / elapsed, elapsed);
    fflush(stdout);
}

static int readable_or_gone(ssize_t r)
{
    if (r == 0 || (r < 0 && errno != EAGAIN))
        die("the server has gone");
    return r > 0;
}

static void put(int fd)
{
    char one = 1;
    if (write(fd, &one, 1) != 1)
        die("write");
}

static unsigned long long acked_before;

static unsigned long long acked(void)
{
    unsigned long long sum = 0;
    for (int i = 0; i < connections; i++) {
        struct tcp_info info;
        socklen_t size = sizeof info;
        memset(&info, 0, sizeof info);
        getsockopt(fds[i], IPPROTO_TCP, TCP_INFO, &info, &size);
        sum += info.tcpi_bytes_acked;
    }
    return sum;
}

static void note_acked(void)
{
    acked_before = acked();
}

// Sent bytes count once they are acknowledged.
static void bulk(int receive)
{
    int ep = epoll_create1(0);
    struct epoll_event events[64];
    for (int i = 0; i < connections; i++) {
        fds[i] = connected(FIRST_PORT + (receive ? CHARGEN : DISCARD), 1);
        unblock(fds[i]);
        watch(ep, EPOLL_CTL_ADD, fds[i], receive ? EPOLLIN : EPOLLOUT);
    }
    while (!is_over(receive ? NULL : note_acked)) {
        int n = epoll_wait(ep, events, 64, 100);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            ssize_t r = receive ? read(fd, buffer, length) : write(fd, buffer, length);
            if (readable_or_gone(r))
                done += r;
        }
    }
    report("MB/s", (receive ? done : acked() - acked_before) / 1e6);
}

static void ping_one(void)
{
    char one;
    int fd = connected(FIRST_PORT + ECHO_BACK, 1);
    if (spin)
        unblock(fd);
    while ((done & 15) != 0 || !is_over(NULL)) {
        put(fd);
        while (!readable_or_gone(read(fd, &one, 1)))
            ;
        done++;
    }
    report("rt/s", done);
}

static void ping_many(void)
{
    int ep = epoll_create1(0);
    struct epoll_event events[256];
    char one;
    for (int i = 0; i < connections; i++) {
        fds[i] = connected(FIRST_PORT + ECHO_BACK, 1);
        unblock(fds[i]);
        watch(ep, EPOLL_CTL_ADD, fds[i], EPOLLIN);
        put(fds[i]);
    }
    while (!is_over(NULL)) {
        int n = epoll_wait(ep, events, 256, spin ? 0 : 100);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (!readable_or_gone(read(fd, &one, 1)))
                continue;
            done++;
            put(fd);
        }
    }
    report("rt/s", done);
}

static void connect_one(void)
{
    char one;
    while ((done & 7) != 0 || !is_over(NULL)) {
        int fd = connected(FIRST_PORT + ECHO_BACK, 1);
        put(fd);
        readable_or_gone(read(fd, &one, 1));
        close(fd);
        done++;
    }
    report("conn/s", done);
}

static void open_next(int ep)
{
    int fd = connected(FIRST_PORT + ECHO_BACK, 0);
    kind[fd] = 0;
    watch(ep, EPOLL_CTL_ADD, fd, EPOLLOUT);
}

static void connect_many(void)
{
    int ep = epoll_create1(0);
    struct epoll_event events[256];
    char one;
    for (int i = 0; i < connections; i++)
        open_next(ep);
    while (!is_over(NULL)) {
        int n = epoll_wait(ep, events, 256, 100);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (kind[fd] == 0) {
                put(fd);
                kind[fd] = 1;
                watch(ep, EPOLL_CTL_MOD, fd, EPOLLIN);
            } else if (readable_or_gone(read(fd, &one, 1))) {
                close(fd);
                done++;
                open_next(ep);
            }
        }
    }
    report("conn/s", done);
}

// Opens connections, uses each once, says so, and keeps them until standard input ends.
static void hold(void)
{
    char one;
    for (int i = 0; i < connections; i++) {
        fds[i] = connected(FIRST_PORT + ECHO_BACK, 1);
        put(fds[i]);
        readable_or_gone(read(fds[i], &one, 1));
    }
    printf("n=%d held\n", connections);
    fflush(stdout);
    while (read(0, &one, 1) > 0)
        ;
}

static void accept_all(int ep, int listener)
{
    int fd, what = kind[listener] - LISTENING;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        tune(fd);
        kind[fd] = what;
        watch(ep, EPOLL_CTL_ADD, fd, what == CHARGEN ? EPOLLOUT : EPOLLIN);
    }
}

static void serve_one(int fd)
{
    ssize_t r = kind[fd] == CHARGEN ? write(fd, buffer, length) : read(fd, buffer, length);
    if (r == 0 || (r < 0 && errno != EAGAIN) || (r > 0 && kind[fd] == ECHO_BACK && write(fd, buffer, r) < 0))
        close(fd);
}

static void server(void)
{
    int ep = epoll_create1(0), one = 1;
    struct epoll_event events[256];
    for (int i = 0; i < PORTS; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in a = endpoint(address, FIRST_PORT + i);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        set_congestion(fd);
        if (bind(fd, (void *)&a, sizeof a) || listen(fd, 4096))
            die("listen");
        unblock(fd);
        kind[fd] = LISTENING + i;
        watch(ep, EPOLL_CTL_ADD, fd, EPOLLIN);
    }
    for (;;) {
        int n = epoll_wait(ep, events, 256, spin ? 0 : -1);
        for (int i = 0; i < n; i++) {
            if (kind[events[i].data.fd] >= LISTENING)
                accept_all(ep, events[i].data.fd);
            else
                serve_one(events[i].data.fd);
        }
    }
}

// A server that is not up yet refuses, or does not answer at all.
static void wait_for_server(void)
{
    double limit = now() + 10;
    alarm(12);
    while (now() < limit) {
        if (try_connect(FIRST_PORT + ECHO_BACK, 1) >= 0)
            exit(0);
        usleep(50000);
    }
    fprintf(stderr, "nobody serves %s\n", address);
    exit(1);
}

static void parse(int count, char **words)
{
    int option;
    optind = 2;
    mode = count > 1 ? words[1] : "";
    while ((option = getopt(count, words, "a:n:t:l:w:c:C:S:B:s")) > 0) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'n': connections = atoi(optarg); break;
        case 't': seconds = atof(optarg); break;
        case 'l': length = atoi(optarg); break;
        case 'w': warm_up = atof(optarg) / 1e3; break;
        case 'c': cpu = atoi(optarg); break;
        case 'C': control = strcmp(optarg, "-") ? optarg : NULL; break;
        case 'S': sources = atoi(optarg); break;
        case 'B': source_base = optarg; break;
        case 's': spin = 1; break;
        default: exit(2);
        }
    }
}

static void prepare(void)
{
    struct rlimit limit = { MAX_FD, MAX_FD };
    signal(SIGPIPE, SIG_IGN);
    setrlimit(RLIMIT_NOFILE, &limit);
    if (cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        sched_setaffinity(0, sizeof set, &set);
    }
    buffer = aligned_alloc(4096, (length + 4095) / 4096 * 4096);
    memset(buffer, 'x', length);
}

int main(int count, char **words)
{
    parse(count, words);
    prepare();
    if (!strcmp(mode, "server"))
        server();
    else if (!strcmp(mode, "wait"))
        wait_for_server();
    else if (!strcmp(mode, "send") || !strcmp(mode, "recv"))
        bulk(mode[0] == 'r');
    else if (!strcmp(mode, "pp"))
        connections == 1 ? ping_one() : ping_many();
    else if (!strcmp(mode, "crr"))
        connections == 1 ? connect_one() : connect_many();
    else if (!strcmp(mode, "hold"))
        hold();
    else
        return 2;
    return 0;
}
