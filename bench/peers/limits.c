// What this machine can do at best, for the bench's figures to be held against.
//
//   limits memory     copies, by where the bytes are
//   limits calls      a system call, the clock, and a byte there and back between two threads: asleep, and spinning
//   limits tun DEVICE reads and writes of a TUN device whose far side (10.9.0.1/16) forwards 10.9.0.3 back to it and drops 10.8.0.0/16
//
// Pinned to CPU 1, the other thread to CPU 0 or 1. Prints lines of a Markdown table.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

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

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static char *fresh(size_t size)
{
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        die("mmap");
    memset(p, 1, size);
    return p;
}

static void copy(const char *where, size_t size, size_t block)
{
    char *from = fresh(size), *to = fresh(size);
    double start = now(), bytes = 0;
    while (now() - start < 1) {
        for (size_t at = 0; at < size; at += block) {
            memcpy(to + at, from + at, block);
            __asm__ volatile("" ::"r"(to) : "memory");
        }
        bytes += size;
    }
    printf("| memcpy, blocks of %zu KiB, %s | %.1f GB/s |\n", block >> 10, where, bytes / (now() - start) / 1e9);
    munmap(from, size);
    munmap(to, size);
}

static void time_calls(void)
{
    double start = now();
    int n = 0;
    for (; now() - start < 1; n += 1000)
        for (int i = 0; i < 1000; i++)
            syscall(SYS_getppid);
    printf("| system call that does nothing | %.0f ns |\n", (now() - start) / n * 1e9);
    start = now();
    for (n = 0; now() - start < 1; n += 1000)
        for (int i = 0; i < 1000; i++)
            now();
    printf("| clock_gettime | %.0f ns |\n", (now() - start) / n * 1e9);
}

static int ping, pong, other_cpu;
static atomic_int ball, stopping;

static void *answer_asleep(void *unused)
{
    unsigned long one;
    pin(other_cpu);
    while (read(ping, &one, sizeof one) == sizeof one && !stopping) {
        one = 1;
        if (write(pong, &one, sizeof one) < 0)
            break;
    }
    return unused;
}

static void *answer_spinning(void *unused)
{
    pin(other_cpu);
    while (!stopping)
        if (atomic_load_explicit(&ball, memory_order_acquire) == 1)
            atomic_store_explicit(&ball, 0, memory_order_release);
    return unused;
}

static void trip_asleep(void)
{
    unsigned long one = 1;
    if (write(ping, &one, sizeof one) < 0 || read(pong, &one, sizeof one) < 0)
        die("eventfd");
}

static void trip_spinning(void)
{
    atomic_store_explicit(&ball, 1, memory_order_release);
    while (atomic_load_explicit(&ball, memory_order_acquire) == 1)
        ;
}

static void time_trips(const char *name, int cpu, void *(*answer)(void *), void (*trip)(void))
{
    pthread_t thread;
    unsigned long one = 1;
    ping = eventfd(0, 0);
    pong = eventfd(0, 0);
    stopping = 0;
    other_cpu = cpu;
    pthread_create(&thread, NULL, answer, NULL);
    double start = now();
    int n = 0;
    for (; now() - start < 1; n += 50)
        for (int i = 0; i < 50; i++)
            trip();
    printf("| there and back between two threads, %s | %.0f per second |\n", name, n / (now() - start));
    stopping = 1;
    if (write(ping, &one, sizeof one) < 0)
        die("eventfd");
    pthread_join(thread, NULL);
    close(ping);
    close(pong);
}

static int open_tun(const char *name, int vnet)
{
    struct ifreq request;
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    memset(&request, 0, sizeof request);
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TUN | IFF_NO_PI | (vnet ? IFF_VNET_HDR : 0);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) || (vnet && ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)))
        die(name);
    return fd;
}

static unsigned short sum(const unsigned char *p, int n)
{
    unsigned long s = 0;
    for (int i = 0; i < n; i += 2)
        s += p[i] << 8 | p[i + 1];
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    return (unsigned short)~s;
}

// A segment of a connection that nobody has; the IP header is right, which is all that forwarding looks at.
static void build(unsigned char *p, int length, const char *destination)
{
    memset(p, 0, length);
    p[0] = 0x45;
    p[2] = length >> 8;
    p[3] = length & 0xff;
    p[8] = 64;
    p[9] = IPPROTO_TCP;
    inet_pton(AF_INET, "10.9.0.2", p + 12);
    inet_pton(AF_INET, destination, p + 16);
    unsigned short s = sum(p, 20);
    p[10] = s >> 8;
    p[11] = s & 0xff;
    p[32] = 0x50;
    p[33] = 0x10;
}

static void time_tun(const char *device, int length, const char *destination)
{
    static unsigned char packet[70000], back[70000];
    int super = length > 1500, head = super ? sizeof(struct virtio_net_hdr) : 0, fd = open_tun(device, super), written = 0, got = 0;
    double writing = 0, reading = 0;
    if (super)
        *(struct virtio_net_hdr *)packet = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
            .hdr_len = 40, .gso_size = 1448, .csum_start = 20, .csum_offset = 16 };
    build(packet + head, length, destination);
    while (read(fd, back, sizeof back) > 0)
        ;
    for (double start = now(); now() - start < 1;) {
        double t = now();
        for (int i = 0; i < 64; i++)
            if (write(fd, packet, head + length) < 0)
                die("write");
        writing += now() - t;
        written += 64;
        t = now();
        int before = got;
        while (read(fd, back, sizeof back) > 0)
            got++;
        if (got > before)
            reading += now() - t;
    }
    const char *what = super ? "super-packet of" : "packet of";
    printf("| TUN write, %s %d bytes, %s | %.0f ns |\n", what, length, got ? "forwarded" : "dropped", writing / written * 1e9);
    if (got)
        printf("| TUN read, %s %d bytes | %.0f ns |\n", what, length, reading / got * 1e9);
    close(fd);
}

int main(int count, char **words)
{
    const char *what = count > 1 ? words[1] : "";
    pin(1);
    if (!strcmp(what, "memory")) {
        copy("in the first cache", 16 << 10, 16 << 10);
        copy("in the second", 192 << 10, 64 << 10);
        copy("in the third", 8 << 20, 64 << 10);
        copy("in memory", 512 << 20, 64 << 10);
    } else if (!strcmp(what, "calls")) {
        time_calls();
        time_trips("asleep, one CPU", 1, answer_asleep, trip_asleep);
        time_trips("asleep, two CPUs", 0, answer_asleep, trip_asleep);
        time_trips("spinning, two CPUs", 0, answer_spinning, trip_spinning);
    } else if (!strcmp(what, "tun") && count == 3) {
        time_tun(words[2], 40, "10.9.0.3");
        time_tun(words[2], 1500, "10.8.0.1");
        time_tun(words[2], 1500, "10.9.0.3");
        time_tun(words[2], 64000, "10.8.0.1");
        time_tun(words[2], 64000, "10.9.0.3");
    } else {
        return 2;
    }
    return 0;
}
