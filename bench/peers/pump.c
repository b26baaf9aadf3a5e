// The kernel on both sides of a user-space forwarder: copies packets between a TUN of this namespace and one of another.
//
//   pump TUN OTHER_TUN vnet|plain OTHER_NAMESPACE
//
// "vnet": super-packets and partial checksums cross (IFF_VNET_HDR, TSO). Prints "ready" when both devices exist. Pin it with taskset.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BATCH = 64, VNET_HEADER = 10 };

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int open_tun(const char *name, int vnet)
{
    struct ifreq request;
    int size = VNET_HEADER, fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    memset(&request, 0, sizeof request);
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TUN | IFF_NO_PI | (vnet ? IFF_VNET_HDR : 0);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request))
        die(name);
    if (vnet && (ioctl(fd, TUNSETVNETHDRSZ, &size) || ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4)))
        die("offload");
    return fd;
}

static void enter(const char *space)
{
    char path[128];
    snprintf(path, sizeof path, "/var/run/netns/%s", space);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || setns(fd, 0))
        die(space);
    close(fd);
}

// A packet that does not fit is lost, as on any link.
static int forward(int from, int to)
{
    static char packet[70000];
    int n = 0;
    while (n < BATCH) {
        ssize_t length = read(from, packet, sizeof packet);
        if (length <= 0)
            break;
        n++;
        if (write(to, packet, length) < 0)
            continue;
    }
    return n;
}

int main(int count, char **words)
{
    if (count != 5)
        return 2;
    int vnet = !strcmp(words[3], "vnet");
    int a = open_tun(words[1], vnet);
    enter(words[4]);
    int b = open_tun(words[2], vnet);
    puts("ready");
    fflush(stdout);
    struct pollfd both[2] = { { a, POLLIN, 0 }, { b, POLLIN, 0 } };
    for (;;) {
        int moved = forward(a, b);
        if (moved + forward(b, a) == 0)
            poll(both, 2, -1);
    }
}
