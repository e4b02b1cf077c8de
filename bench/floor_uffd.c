// SPDX-License-Identifier: MIT
/* The few userfaultfd calls that the floors make, with the retries that the kernel asks for. */
#include "floor.h"
#include "uffd_defs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

int floor_uffd_open(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (fd < 0)
		return errno == ENOSYS ? -EOPNOTSUPP : -errno;
	if (ioctl(fd, UFFDIO_API, &api) < 0) {
		/* EINVAL: a feature that this kernel does not know. */
		int ret = errno == EINVAL ? -EOPNOTSUPP : -errno;

		close(fd);
		return ret;
	}
	return fd;
}

int floor_uffd_register(int uffd, const struct floor_mem *m, uint64_t mode)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)m->addr, .len = m->len },
		.mode = mode,
	};

	return ioctl(uffd, UFFDIO_REGISTER, &reg) < 0 ? -errno : 0;
}

/*
 * What to do after a call that did not do everything.
 * @done: what the kernel wrote: bytes, or a negative errno value
 *
 * Return: > 0 call again; 0 somebody else resolves it; a negative errno value.
 */
static int after(int64_t done)
{
	if (done > 0 || errno == EAGAIN)
		return 1;
	/* ENOENT: the source is a hole, because another thread has moved the page in just now. */
	if (errno == EEXIST || errno == ENOENT)
		return 0;
	return -errno;
}

int floor_uffd_move(int uffd, char *dst, const char *src, size_t len, bool wake)
{
	struct uffdio_move mv = { .mode = wake ? 0 : UFFDIO_MOVE_MODE_DONTWAKE };
	size_t off = 0;

	while (off < len) {
		int ret;

		mv.dst = (uintptr_t)dst + off;
		mv.src = (uintptr_t)src + off;
		mv.len = len - off;
		mv.move = 0;
		if (ioctl(uffd, UFFDIO_MOVE, &mv) == 0)
			return 0;
		ret = after(mv.move);
		if (ret <= 0)
			return ret;
		if (mv.move > 0)
			off += (size_t)mv.move;
	}
	return 0;
}

int floor_uffd_copy(int uffd, char *dst, const char *src, size_t len, bool wake)
{
	struct uffdio_copy cp = { .mode = wake ? 0 : UFFDIO_COPY_MODE_DONTWAKE };
	size_t off = 0;

	while (off < len) {
		int ret;

		cp.dst = (uintptr_t)dst + off;
		cp.src = (uintptr_t)src + off;
		cp.len = len - off;
		cp.copy = 0;
		if (ioctl(uffd, UFFDIO_COPY, &cp) == 0)
			return 0;
		ret = after(cp.copy);
		if (ret <= 0)
			return ret;
		if (cp.copy > 0)
			off += (size_t)cp.copy;
	}
	return 0;
}

int floor_uffd_continue(int uffd, char *dst, size_t len, bool wake)
{
	struct uffdio_continue ct = { .mode = wake ? 0 : UFFDIO_CONTINUE_MODE_DONTWAKE };
	size_t off = 0;

	while (off < len) {
		int ret;

		ct.range.start = (uintptr_t)dst + off;
		ct.range.len = len - off;
		ct.mapped = 0;
		if (ioctl(uffd, UFFDIO_CONTINUE, &ct) == 0)
			return 0;
		ret = after(ct.mapped);
		if (ret <= 0)
			return ret;
		if (ct.mapped > 0)
			off += (size_t)ct.mapped;
	}
	return 0;
}
