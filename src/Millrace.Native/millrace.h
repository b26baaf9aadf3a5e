/*
 * millrace.h: a TCP/IP stack in the program itself, with the calls that C programs know.
 *
 * A stack has devices, addresses, routes, settings and counters of its own; a program may have any number of them. Each call below
 * that is named after a system call takes the stack first and then the very arguments of the system call, behaves as Linux's does,
 * and fails as it does: -1, and errno. Descriptors are the stack's own small numbers and mean nothing to the kernel. Calls may be
 * made from any thread; one that blocks blocks its thread. Structures are those of <sys/socket.h>, <sys/uio.h>, <poll.h> and
 * <sys/epoll.h>.
 *
 * A pointer into the first page is EFAULT; any other pointer to nowhere ends the program, as in every library.
 *
 * Link with -lmillrace. Never dlclose it: the runtime inside lives as long as the program. After fork() the child may use no
 * stack that its parent had used.
 */
#ifndef MILLRACE_H
#define MILLRACE_H

#include <poll.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A stack on real threads and real time, with a loopback device, and one process on it. */
typedef struct mr_stack mr_stack;

/* Makes a stack. The name is shown in traces; NULL for a default. */
mr_stack *mr_stack_new(const char *name);

/* Ends a stack with all its connections and devices. No call may be in it, and none may follow. */
void mr_stack_free(mr_stack *stack);

/* Settings by Linux's names, with dots or slashes: "net.ipv4.tcp_sack". ENOENT: there is no such setting; EINVAL: not one of its
 * values. mr_sysctl_get returns the text's length without its end; ERANGE: it does not fit. */
int mr_sysctl_set(mr_stack *stack, const char *name, const char *value);
int mr_sysctl_get(mr_stack *stack, const char *name, char *value, size_t size);

/* Addresses and prefixes as text, IPv4 or IPv6. The gateway may be NULL: the prefix is on the device's link. EINVAL: no such device,
 * no such address. */
int mr_add_address(mr_stack *stack, const char *device, const char *address, int prefix_length);
int mr_add_route(mr_stack *stack, const char *prefix, int prefix_length, const char *device, const char *gateway);

/* Wires two stacks together in memory: each has a new device, and what one sends the other receives. */
int mr_wire(mr_stack *a, const char *device_a, mr_stack *b, const char *device_b, int mtu);

/* Joins the stack to the machine's kernel by a TUN device. The address is the stack's, with its prefix length: "10.77.0.2/24"; the
 * kernel has the first other address of the prefix. Needs CAP_NET_ADMIN. */
int mr_tun_open(mr_stack *stack, const char *name, const char *address, int mtu);

/* A device of the program's own. What the stack sends is given to transmit, one whole IP packet at a time, from threads of the stack
 * that hold no lock; transmit may call mr_device_receive of another stack, and must not block. */
typedef void (*mr_transmit_fn)(void *user, const void *packet, size_t length);
int mr_device_new(mr_stack *stack, const char *name, int mtu, mr_transmit_fn transmit, void *user);

/* Hands one IP packet to the stack as received by a device made with mr_device_new. ENOBUFS: too many wait already. */
int mr_device_receive(mr_stack *stack, const char *name, const void *packet, size_t length);

/* ---- what the system calls of the same names do ---- */

int mr_socket(mr_stack *stack, int domain, int type, int protocol);
int mr_bind(mr_stack *stack, int fd, const struct sockaddr *address, socklen_t length);
int mr_listen(mr_stack *stack, int fd, int backlog);
int mr_accept(mr_stack *stack, int fd, struct sockaddr *address, socklen_t *length);
int mr_accept4(mr_stack *stack, int fd, struct sockaddr *address, socklen_t *length, int flags);
int mr_connect(mr_stack *stack, int fd, const struct sockaddr *address, socklen_t length);

ssize_t mr_read(mr_stack *stack, int fd, void *buffer, size_t count);
ssize_t mr_readv(mr_stack *stack, int fd, const struct iovec *pieces, int count);
ssize_t mr_recv(mr_stack *stack, int fd, void *buffer, size_t count, int flags);
ssize_t mr_recvfrom(mr_stack *stack, int fd, void *buffer, size_t count, int flags, struct sockaddr *address, socklen_t *length);
ssize_t mr_recvmsg(mr_stack *stack, int fd, struct msghdr *message, int flags);

ssize_t mr_write(mr_stack *stack, int fd, const void *buffer, size_t count);
ssize_t mr_writev(mr_stack *stack, int fd, const struct iovec *pieces, int count);
ssize_t mr_send(mr_stack *stack, int fd, const void *buffer, size_t count, int flags);
ssize_t mr_sendto(mr_stack *stack, int fd, const void *buffer, size_t count, int flags, const struct sockaddr *address,
                  socklen_t length);
ssize_t mr_sendmsg(mr_stack *stack, int fd, const struct msghdr *message, int flags);

/* The file is a descriptor of the kernel's; the offset must not be NULL. */
ssize_t mr_sendfile(mr_stack *stack, int fd, int file, off_t *offset, size_t count);

/* Between a socket and a pipe of this stack (mr_pipe). No offsets: neither has one. */
ssize_t mr_splice(mr_stack *stack, int from, int to, size_t count, unsigned int flags);

int mr_shutdown(mr_stack *stack, int fd, int how);
int mr_close(mr_stack *stack, int fd);
int mr_dup(mr_stack *stack, int fd);

int mr_getsockopt(mr_stack *stack, int fd, int level, int option, void *value, socklen_t *length);
int mr_setsockopt(mr_stack *stack, int fd, int level, int option, const void *value, socklen_t length);
int mr_getsockname(mr_stack *stack, int fd, struct sockaddr *address, socklen_t *length);
int mr_getpeername(mr_stack *stack, int fd, struct sockaddr *address, socklen_t *length);

/* The argument is a number always; pass 0 where the command has none. */
int mr_fcntl(mr_stack *stack, int fd, int command, int argument);

/* Requests whose argument is an int: FIONREAD, FIONBIO, SIOCATMARK, SIOCOUTQ, SIOCOUTQNSD. */
int mr_ioctl(mr_stack *stack, int fd, unsigned long request, int *value);

int mr_poll(mr_stack *stack, struct pollfd *descriptors, nfds_t count, int timeout);
int mr_epoll_create1(mr_stack *stack, int flags);
int mr_epoll_ctl(mr_stack *stack, int epoll_fd, int operation, int fd, struct epoll_event *event);
int mr_epoll_wait(mr_stack *stack, int epoll_fd, struct epoll_event *events, int max, int timeout);
int mr_pipe(mr_stack *stack, int fds[2]);

#ifdef __cplusplus
}
#endif

#endif
