// SPDX-License-Identifier: MIT
/*
 * userfaultfd: what the kernel offers, our two descriptors, and the calls.
 *
 * Partial work: COPY, MOVE and CONTINUE return EAGAIN both when they stopped half way and when an
 * event is under way; the count of bytes tells which. The functions here go on after a partial
 * result, so their callers see the true reason at the page that stopped them.
 */
#include "internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define EVENTS (UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP)
#define NR_HOW 3

/* ------------------------------------------------------------------------------- opening */

/* @how: see struct nhi_uffd_caps. Descriptor or negative errno. */
static int open_one(int how)
{
	int dev, fd;

	if (how == 0)
		return (int)nhi_sys1(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (how == 2)
		return (int)nhi_sys1(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	dev = nhi_open("/dev/userfaultfd", O_RDWR);
	if (dev < 0)
		return dev;
	fd = (int)nhi_sys3(SYS_ioctl, dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	nhi_close(dev);
	return fd;
}

/* One descriptor takes UFFDIO_API once. Descriptor with these features, or negative errno. */
static int open_with(int how, uint64_t features, uint64_t *ret_all)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = open_one(how);
	long err;

	if (fd < 0)
		return fd;
	err = nhi_sys3(SYS_ioctl, fd, UFFDIO_API, &api);
	if (err) {
		nhi_close(fd);
		return (int)err;
	}
	if (ret_all)
		*ret_all = api.features;
	return fd;
}

/* Is there a seccomp filter? By /proc: a filter may kill whoever calls prctl(2), too. */
static bool filtered(void)
{
	char text[4096];
	long n = nhi_read_file(AT_FDCWD, "/proc/self/status", text, sizeof(text));
	const char *s = n > 0 ? strstr(text, "\nSeccomp:\t") : NULL;

	return s && s[10] == '2';
}

/*
 * Does the filter kill whoever calls userfaultfd(2), as a service manager's does? A child finds out:
 * without exit signal, so that the program's own wait() does not see it, and without a core file.
 */
static bool call_is_deadly(void)
{
	const struct rlimit no_core = { 0, 0 };
	int status = 0;
	long pid;

	if (!filtered())
		return false;
	pid = nhi_sys5(SYS_clone, 0, 0, 0, 0, 0);
	if (pid == 0) {
		(void)nhi_sys4(SYS_prlimit64, 0, RLIMIT_CORE, &no_core, NULL);
		(void)nhi_sys1(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
		for (;;)
			(void)nhi_sys1(SYS_exit_group, 0);
	}
	if (pid < 0)
		return true; /* better without it than dead */
	while (nhi_sys4(SYS_wait4, pid, &status, __WALL, NULL) == -EINTR)
		;
	return WIFSIGNALED(status);
}

void nhi_uffd_probe(struct nhi_uffd_caps *caps)
{
	const bool deadly = call_is_deadly();
	int fd = -ENOSYS;

	for (caps->how = 0; caps->how < NR_HOW; caps->how++) {
		int err = fd;

		if (deadly && caps->how != 1) {
			fd = -EPERM;
			continue;
		}
		fd = open_with(caps->how, 0, &caps->features);
		if (fd >= 0)
			break;
		/* "refused" says more than "no such device" */
		if (err == -EPERM || err == -EACCES)
			fd = err;
	}
	if (fd < 0) {
		caps->error = fd == -EACCES ? -EPERM : fd;
		return;
	}
	nhi_close(fd);
	caps->kernel_faults = caps->how != 2;
	if ((caps->features & EVENTS) != EVENTS) {
		caps->error = -EOPNOTSUPP;
		return;
	}
	caps->usable = true;
	fd = open_with(caps->how, EVENTS | UFFD_FEATURE_EVENT_FORK, NULL);
	caps->fork_events = fd >= 0;
	nhi_close(fd);
}

/* Out of the way of programs that count on low numbers or close the first few. */
static int move_high(int fd)
{
	struct rlimit limit = { 1024, 1024 };
	long lowest, high;

	if (fd < 0)
		return fd;
	(void)nhi_sys4(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit);
	lowest = limit.rlim_cur > 2048 ? 1536 : (long)limit.rlim_cur - 64;
	high = lowest > 0 ? nhi_sys3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, lowest) : -EINVAL;
	if (high < 0)
		return fd;
	nhi_close(fd);
	return (int)high;
}

int nhi_uffd_open(struct nhi_lx *lx)
{
	const struct nhi_uffd_caps *caps = &lx->caps;
	uint64_t features = EVENTS | UFFD_FEATURE_THREAD_ID;

	if (lx->events.fd >= 0)
		return 0;
	if (!caps->usable)
		return caps->error;
	if (lx->delivery == NHI_DELIVERY_THREAD)
		features |= UFFD_FEATURE_SIGBUS;
	else if (caps->fork_events)
		features |= UFFD_FEATURE_EVENT_FORK;
	features |= caps->features & (UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_MOVE);
	lx->events.fd = move_high(open_with(caps->how, features, NULL));
	if (lx->events.fd < 0)
		return lx->events.fd;
	lx->events.features = features;
	lx->events.lost = 0;
	/* A stray access to a shadow must fail, not wait for a monitor: hence SIGBUS. */
	features = UFFD_FEATURE_SIGBUS | (caps->features & UFFD_FEATURE_MOVE);
	lx->plain.fd = move_high(open_with(caps->how, features, NULL));
	lx->plain.features = features;
	lx->plain.lost = 0;
	if (lx->plain.fd < 0) {
		int err = lx->plain.fd;

		nhi_uffd_close(lx);
		return err;
	}
	return 0;
}

/* Is this number still a userfaultfd? The program may have closed it and opened something else. */
static bool still_ours(int fd)
{
	static const char want[] = "anon_inode:[userfaultfd]";
	char path[40] = "/proc/self/fd/", link[sizeof(want)], digits[12];
	size_t at = sizeof("/proc/self/fd/") - 1;
	int n = 0;
	long len;

	if (fd < 0)
		return false;
	do {
		digits[n++] = (char)('0' + fd % 10);
		fd /= 10;
	} while (fd);
	while (n)
		path[at++] = digits[--n];
	path[at] = 0;
	len = nhi_sys4(SYS_readlinkat, AT_FDCWD, path, link, sizeof(link));
	if (len != (long)sizeof(want) - 1)
		return false;
	for (long i = 0; i < len; i++) {
		if (link[i] != want[i])
			return false;
	}
	return true;
}

void nhi_uffd_close(struct nhi_lx *lx)
{
	struct nhi_uffd *both[] = { &lx->events, &lx->plain };

	for (unsigned int i = 0; i < NHI_ARRAY_SIZE(both); i++) {
		if (still_ours(both[i]->fd))
			nhi_close(both[i]->fd);
		both[i]->fd = -1;
		both[i]->lost = 0;
	}
}

/* ---------------------------------------------------------------------------------- calls */

long nhi_uffd_ioctl(struct nhi_lx *lx, struct nhi_uffd *u, unsigned long cmd, void *arg)
{
	long ret;

	/* Relaxed: a hint that saves a call; who misses it finds out in the same way. */
	if (!nhi_load_relaxed(&u->lost)) {
		ret = nhi_sys3(SYS_ioctl, u->fd, cmd, arg);
		if (ret != -EBADF && ret != -ENOTTY)
			return ret;
		nhi_store_relaxed(&u->lost, 1);
	}
	return nhi_helper_ioctl(lx, u->fd, cmd, arg);
}

int nhi_uffd_register(struct nhi_lx *lx, struct nhi_uffd *u, uintptr_t start, size_t len,
		      uint64_t mode)
{
	struct uffdio_register reg = { .range = { start, len }, .mode = mode };

	return (int)nhi_uffd_ioctl(lx, u, UFFDIO_REGISTER, &reg);
}

int nhi_uffd_unregister(struct nhi_lx *lx, struct nhi_uffd *u, uintptr_t start, size_t len)
{
	struct uffdio_range range = { start, len };

	return (int)nhi_uffd_ioctl(lx, u, UFFDIO_UNREGISTER, &range);
}

void nhi_uffd_wake(struct nhi_lx *lx, uintptr_t start, size_t len)
{
	struct uffdio_range range = { start, len };

	(void)nhi_uffd_ioctl(lx, &lx->events, UFFDIO_WAKE, &range);
}

/*
 * One step of a call that reports progress: @bytes is what it wrote there, 0 if nothing.
 * Return: true: call again for the rest.
 */
static bool step(struct nhi_lx *lx, long *ret, int64_t bytes, uint32_t nr, uint32_t *done)
{
	if (*ret == 0) {
		*done = nr;
		return false;
	}
	if (bytes <= 0)
		return *ret == -EINTR;
	*done += (uint32_t)((uint64_t)bytes >> lx->page_shift);
	*ret = 0;
	return *done < nr;
}

int nhi_uffd_copy(struct nhi_lx *lx, uintptr_t dst, uintptr_t src, uint32_t nr, uint32_t *done)
{
	struct uffdio_copy copy;
	long ret;

	*done = 0;
	do {
		size_t off = nhi_bytes(lx, *done);

		copy.dst = dst + off;
		copy.src = src + off;
		copy.len = nhi_bytes(lx, nr - *done);
		copy.mode = 0;
		copy.copy = 0; /* older kernels leave it alone when an event is under way */
		ret = nhi_uffd_ioctl(lx, &lx->events, UFFDIO_COPY, &copy);
	} while (step(lx, &ret, copy.copy, nr, done));
	return (int)ret;
}

int nhi_uffd_move(struct nhi_lx *lx, struct nhi_uffd *u, uintptr_t dst, uintptr_t src, uint32_t nr,
		  uint64_t mode, uint32_t *done)
{
	struct uffdio_move move;
	long ret;

	*done = 0;
	do {
		size_t off = nhi_bytes(lx, *done);

		move.dst = dst + off;
		move.src = src + off;
		move.len = nhi_bytes(lx, nr - *done);
		move.mode = mode;
		move.move = 0;
		ret = nhi_uffd_ioctl(lx, u, UFFDIO_MOVE, &move);
	} while (step(lx, &ret, move.move, nr, done));
	return (int)ret;
}

int nhi_uffd_continue(struct nhi_lx *lx, uintptr_t dst, uint32_t nr, uint32_t *done)
{
	struct uffdio_continue cont;
	long ret;

	*done = 0;
	do {
		cont.range.start = dst + nhi_bytes(lx, *done);
		cont.range.len = nhi_bytes(lx, nr - *done);
		cont.mode = 0;
		cont.mapped = 0;
		ret = nhi_uffd_ioctl(lx, &lx->events, UFFDIO_CONTINUE, &cont);
	} while (step(lx, &ret, cont.mapped, nr, done));
	return (int)ret;
}

bool nhi_uffd_event_pending(struct nhi_lx *lx)
{
	/* Nobody has a range of length 0; whether an event is under way is looked at before that. */
	struct uffdio_zeropage none = { .range = { 0, 0 } };

	return nhi_uffd_ioctl(lx, &lx->events, UFFDIO_ZEROPAGE, &none) == -EAGAIN;
}

int nhi_uffd_zero(struct nhi_lx *lx, uintptr_t dst)
{
	struct uffdio_zeropage zero = { .range = { dst, nhi_bytes(lx, 1) } };
	long ret = nhi_uffd_ioctl(lx, &lx->events, UFFDIO_ZEROPAGE, &zero);

	if (!ret)
		return 1;
	return ret == -EEXIST ? 0 : (int)ret;
}
