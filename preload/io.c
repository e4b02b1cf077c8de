// SPDX-License-Identifier: MIT
/*
 * System calls with a buffer. Where the toucher handles its own faults, a system call that meets a
 * marked page gets EFAULT. So while anything is marked, the buffer is restored before the call; all
 * marks are made when a region begins, so it stays restored during the call. Without marks this
 * costs one load.
 */
#include "preload.h"

#include <dlfcn.h>
#include <sys/socket.h>
#include <sys/uio.h>

static inline void before(const void *buf, size_t len)
{
	if (__builtin_expect(nhi_load_relaxed(&nhp.marks) && len, 0))
		nhp_unmark_range((uintptr_t)buf, (uintptr_t)buf + len);
}

static inline void before_vector(const struct iovec *v, int n)
{
	/* Marks may also lie under the vector itself; reading it here resolves those. */
	for (int i = 0; nhi_load_relaxed(&nhp.marks) && i < n; i++)
		before(v[i].iov_base, v[i].iov_len);
}

static void before_message(const struct msghdr *m)
{
	if (!nhi_load_relaxed(&nhp.marks))
		return;
	before(m->msg_name, m->msg_namelen);
	before(m->msg_control, m->msg_controllen);
	before_vector(m->msg_iov, (int)m->msg_iovlen);
}

#define NEXT(name)                      \
	static typeof(&name) next;      \
	if (__builtin_expect(!next, 0)) \
	next = (typeof(&name))(uintptr_t)dlsym(RTLD_NEXT, #name)

#define BUFFER(ret, name, params, args, buf, len) \
	NHP_EXPORT ret name params;               \
	ret name params                           \
	{                                         \
		NEXT(name);                       \
		before(buf, len);                 \
		return next args;                 \
	}
#define VECTOR(ret, name, params, args, v, n) \
	NHP_EXPORT ret name params;           \
	ret name params                       \
	{                                     \
		NEXT(name);                   \
		before_vector(v, n);          \
		return next args;             \
	}

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
BUFFER(size_t, fread, (void *buf, size_t size, size_t nr, FILE *f), (buf, size, nr, f), buf,
       size *nr)
BUFFER(size_t, fwrite, (const void *buf, size_t size, size_t nr, FILE *f), (buf, size, nr, f), buf,
       size *nr)
VECTOR(ssize_t, readv, (int fd, const struct iovec *v, int n), (fd, v, n), v, n)
VECTOR(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), v, n)
VECTOR(ssize_t, preadv, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at), v, n)
VECTOR(ssize_t, preadv64, (int fd, const struct iovec *v, int n, off64_t at), (fd, v, n, at), v, n)
VECTOR(ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at), v, n)
VECTOR(ssize_t, pwritev64, (int fd, const struct iovec *v, int n, off64_t at), (fd, v, n, at), v, n)

NHP_EXPORT ssize_t recvmsg(int fd, struct msghdr *m, int flags);
NHP_EXPORT ssize_t sendmsg(int fd, const struct msghdr *m, int flags);

ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	NEXT(recvmsg);
	before_message(m);
	return next(fd, m, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	NEXT(sendmsg);
	before_message(m);
	return next(fd, m, flags);
}
