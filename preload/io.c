// SPDX-License-Identifier: MIT
/* Calls of libc that hand a buffer to the kernel: the buffer is held before and during, see hold.c. */
#include "held.h"

#include <aio.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Macros in some headers. */
#undef fread_unlocked
#undef fwrite_unlocked

#define IOCTL_MAX 16384 /* the length field of an ioctl's number has 14 bits */

/* From the lowest to the highest byte of what lies near memory of ours; the rest cannot be marked. */
static uint32_t hold_vector(const struct iovec *v, size_t n)
{
	uintptr_t low = UINTPTR_MAX, high = 0;

	/* Reading the vector resolves a mark under the vector itself. */
	for (size_t i = 0; nhp_near(0, UINTPTR_MAX) && i < n; i++) {
		uintptr_t start = (uintptr_t)v[i].iov_base;

		if (!v[i].iov_len || !nhp_near(start, start + v[i].iov_len))
			continue;
		low = nhi_min(low, start);
		high = nhi_max(high, start + v[i].iov_len);
	}
	return low < high ? nhp_hold((void *)low, high - low) : 0;
}

#define VECTOR(ret, name, params, args, v, n) HELD(ret, name, params, args, hold_vector(v, n))

BUFFER(ssize_t, read, (int fd, void *buf, size_t len), (fd, buf, len), buf, len)
BUFFER(ssize_t, write, (int fd, const void *buf, size_t len), (fd, buf, len), buf, len)
BUFFER(ssize_t, pread, (int fd, void *buf, size_t len, off_t at), (fd, buf, len, at), buf, len)
BUFFER(ssize_t, pread64, (int fd, void *buf, size_t len, off64_t at), (fd, buf, len, at), buf, len)
BUFFER(ssize_t, pwrite, (int fd, const void *buf, size_t len, off_t at), (fd, buf, len, at), buf,
       len)
BUFFER(ssize_t, pwrite64, (int fd, const void *buf, size_t len, off64_t at), (fd, buf, len, at),
       buf, len)
BUFFER(ssize_t, recv, (int fd, void *buf, size_t len, int flags), (fd, buf, len, flags), buf, len)
BUFFER(ssize_t, send, (int fd, const void *buf, size_t len, int flags), (fd, buf, len, flags), buf,
       len)
BUFFER(ssize_t, recvfrom,
       (int fd, void *buf, size_t len, int flags, struct sockaddr *from, socklen_t *from_len),
       (fd, buf, len, flags, from, from_len), buf, len)
BUFFER(ssize_t, sendto,
       (int fd, const void *buf, size_t len, int flags, const struct sockaddr *to,
	socklen_t to_len),
       (fd, buf, len, flags, to, to_len), buf, len)
BUFFER(ssize_t, getrandom, (void *buf, size_t len, unsigned int flags), (buf, len, flags), buf, len)
BUFFER(size_t, fread, (void *buf, size_t size, size_t nr, FILE *f), (buf, size, nr, f), buf,
       size *nr)
BUFFER(size_t, fwrite, (const void *buf, size_t size, size_t nr, FILE *f), (buf, size, nr, f), buf,
       size *nr)
BUFFER(size_t, fread_unlocked, (void *buf, size_t size, size_t nr, FILE *f), (buf, size, nr, f),
       buf, size *nr)
BUFFER(size_t, fwrite_unlocked, (const void *buf, size_t size, size_t nr, FILE *f),
       (buf, size, nr, f), buf, size *nr)
/* A long string goes to write(2) from where it is; nobody knows its length but by reading it. */
BUFFER(int, fputs, (const char *s, FILE *f), (s, f), s, nhp_near_string(s))
BUFFER(int, puts, (const char *s), (s), s, nhp_near_string(s))
BUFFER(int, poll, (struct pollfd * fds, nfds_t n, int ms), (fds, n, ms), fds, n * sizeof(*fds))
BUFFER(int, ppoll,
       (struct pollfd * fds, nfds_t n, const struct timespec *time, const sigset_t *mask),
       (fds, n, time, mask), fds, n * sizeof(*fds))
BUFFER(int, epoll_wait, (int fd, struct epoll_event *events, int n, int ms), (fd, events, n, ms),
       events, (size_t)nhi_max(n, 0) * sizeof(*events))
BUFFER(int, epoll_pwait, (int fd, struct epoll_event *events, int n, int ms, const sigset_t *mask),
       (fd, events, n, ms, mask), events, (size_t)nhi_max(n, 0) * sizeof(*events))

VECTOR(ssize_t, readv, (int fd, const struct iovec *v, int n), (fd, v, n), v, (size_t)n)
VECTOR(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), v, (size_t)n)
VECTOR(ssize_t, preadv, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at), v,
       (size_t)n)
VECTOR(ssize_t, preadv64, (int fd, const struct iovec *v, int n, off64_t at), (fd, v, n, at), v,
       (size_t)n)
VECTOR(ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at), v,
       (size_t)n)
VECTOR(ssize_t, pwritev64, (int fd, const struct iovec *v, int n, off64_t at), (fd, v, n, at), v,
       (size_t)n)
VECTOR(ssize_t, preadv2, (int fd, const struct iovec *v, int n, off_t at, int flags),
       (fd, v, n, at, flags), v, (size_t)n)
VECTOR(ssize_t, pwritev2, (int fd, const struct iovec *v, int n, off_t at, int flags),
       (fd, v, n, at, flags), v, (size_t)n)
VECTOR(ssize_t, vmsplice, (int fd, const struct iovec *v, size_t n, unsigned int flags),
       (fd, v, n, flags), v, n)
VECTOR(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags), m->msg_iov,
       m->msg_iovlen)
VECTOR(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags), m->msg_iov,
       m->msg_iovlen)

/* What the same calls become where the compiler checks sizes (_FORTIFY_SOURCE). */
BUFFER(ssize_t, __read_chk, (int fd, void *buf, size_t len, size_t room), (fd, buf, len, room), buf,
       len)
BUFFER(ssize_t, __pread_chk, (int fd, void *buf, size_t len, off_t at, size_t room),
       (fd, buf, len, at, room), buf, len)
BUFFER(ssize_t, __pread64_chk, (int fd, void *buf, size_t len, off64_t at, size_t room),
       (fd, buf, len, at, room), buf, len)
BUFFER(ssize_t, __recv_chk, (int fd, void *buf, size_t len, size_t room, int flags),
       (fd, buf, len, room, flags), buf, len)
BUFFER(ssize_t, __recvfrom_chk,
       (int fd, void *buf, size_t len, size_t room, int flags, struct sockaddr *from,
	socklen_t *from_len),
       (fd, buf, len, room, flags, from, from_len), buf, len)
BUFFER(size_t, __fread_chk, (void *buf, size_t room, size_t size, size_t nr, FILE *f),
       (buf, room, size, nr, f), buf, size *nr)
BUFFER(size_t, __fread_unlocked_chk, (void *buf, size_t room, size_t size, size_t nr, FILE *f),
       (buf, room, size, nr, f), buf, size *nr)
BUFFER(int, __poll_chk, (struct pollfd * fds, nfds_t n, int ms, size_t room), (fds, n, ms, room),
       fds, n * sizeof(*fds))

/* What ioctl(2) reads and writes: the number says how much, if its maker kept to the rules. */
NHP_EXPORT int ioctl(int fd, unsigned long request, ...);
FIND(ioctl)
int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	uint32_t held;
	void *arg;
	int result;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	NEXT(ioctl);
	held = nhp_hold(arg, IOCTL_MAX);
	result = next_ioctl(fd, request, arg);
	nhp_release(held);
	return result;
}

/* The C library's own threads do this I/O later, by calls that nobody can wrap: not to be marked. */
#define LATER(name, type)                                             \
	NHP_EXPORT int name(type *cb);                                \
	FIND(name)                                                    \
	int name(type *cb)                                            \
	{                                                             \
		uintptr_t start = (uintptr_t)cb->aio_buf;             \
                                                                      \
		NEXT(name);                                           \
		nhp_forget_range(start, start + cb->aio_nbytes);      \
		nhp_forget_range((uintptr_t)cb, (uintptr_t)(cb + 1)); \
		return next_##name(cb);                               \
	}
LATER(aio_read, struct aiocb)
LATER(aio_write, struct aiocb)
LATER(aio_read64, struct aiocb64)
LATER(aio_write64, struct aiocb64)
