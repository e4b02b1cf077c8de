// SPDX-License-Identifier: MIT
/*
 * A program that gives marked memory to the kernel, and changes its mappings, inside of a parallel
 * region: v_memory CASE.
 */
#include "victim.h"

#include <fcntl.h>
#include <omp.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static uint8_t *data, *more;

static int temporary(void)
{
	char name[] = "/tmp/v_memory.XXXXXX";
	int fd = mkstemp(name);

	EXPECT(fd >= 0 && !unlink(name));
	return fd;
}

/* Every byte out and in again, by each kind of call. */
static void by_files(void)
{
	struct iovec v[2] = { { data, BIG / 2 }, { data + BIG / 2, BIG / 2 } };
	struct iovec w[2] = { { more, BIG / 2 }, { more + BIG / 2, BIG / 2 } };
	int fd = temporary();
	FILE *f = tmpfile();

	EXPECT(write(fd, data, BIG) == (ssize_t)BIG);
	EXPECT(pread(fd, more, BIG, 0) == (ssize_t)BIG && is_filled(more, BIG));
	EXPECT(pwritev(fd, v, 2, 0) == (ssize_t)BIG);
	EXPECT(preadv(fd, w, 2, 0) == (ssize_t)BIG && is_filled(more, BIG));
	EXPECT(f && fwrite(data, 1, BIG, f) == BIG && !fseek(f, 0, SEEK_SET));
	EXPECT(fread(more, 1, BIG, f) == BIG && is_filled(more, BIG));
	EXPECT(getrandom(more + 4096, 4096, 0) == 4096);
	EXPECT(!close(fd) && !fclose(f));
}

/* A datagram is gone once it was taken: no call may be tried a second time. */
static void by_datagrams(void)
{
	int fds[2];

	EXPECT(!socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
	for (size_t at = 0; at < BIG; at += 32768) {
		EXPECT(send(fds[0], data + at, 32768, 0) == 32768);
		EXPECT(recv(fds[1], more + at, 32768, 0) == 32768);
	}
	EXPECT(is_filled(more, BIG));
	EXPECT(!close(fds[0]) && !close(fds[1]));
}

static void *touch_all(void *arg)
{
	volatile uint8_t *p = arg;

	for (size_t i = 0; i < BIG; i += 4096)
		p[i] = p[i];
	return NULL;
}

/* Discarded pages are zeros, what stays is as it was. */
static void by_madvise(void)
{
	uint8_t *middle = (uint8_t *)(((uintptr_t)data + BIG / 2) & ~(uintptr_t)4095);

	EXPECT(!madvise(middle, 1 << 20, MADV_DONTNEED));
	for (size_t i = 0; i < 1 << 20; i++)
		EXPECT(middle[i] == 0);
	for (size_t i = 0; i < 1 << 20; i++)
		middle[i] = pattern((size_t)(middle - data) + i);
}

static void by_mappings(void)
{
	uint8_t *p = mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *q = realloc(more, BIG + BIG / 2);

	more = q;
	EXPECT(q && is_filled(q, BIG) && p != MAP_FAILED);
	EXPECT(!mprotect(p, BIG, PROT_READ) && !mprotect(p, BIG, PROT_READ | PROT_WRITE));
	memcpy(p, data, BIG);
	q = mremap(p, BIG, 2 * BIG, MREMAP_MAYMOVE);
	EXPECT(q != MAP_FAILED && is_filled(q, BIG) && q[BIG] == 0);
	EXPECT(!munmap(q + BIG / 2, BIG / 2) && is_filled(q, BIG / 2));
	EXPECT(!munmap(q, BIG / 2) && !munmap(q + BIG, BIG));
}

/* Threads on stacks of the program's own, which lie in large allocations. */
static void by_stacks(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	uint8_t *stack = (uint8_t *)(((uintptr_t)more + 4095) & ~(uintptr_t)4095);

	EXPECT(!pthread_attr_init(&attr) && !pthread_attr_setstack(&attr, stack, 4 << 20));
	EXPECT(!pthread_create(&thread, &attr, touch_all, data) && !pthread_join(thread, NULL));
	EXPECT(!pthread_attr_destroy(&attr));
}

/* The flag that Linux has in its header and refuses; under numahint run it works. */
static void by_mbind(void)
{
	const int local = 4, move_lazy = 2 | 8;
	uint8_t *p = mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = temporary();
	long ret;

	EXPECT(p != MAP_FAILED);
	memcpy(p, data, BIG);
	ret = syscall(SYS_mbind, p, BIG, local, NULL, 0, move_lazy);
	if (getenv("EXPECT_MARKS"))
		EXPECT(!ret && marked_now() >= (long)(BIG / 4096));
	else
		EXPECT(ret == -1 && errno == EINVAL);
	EXPECT(write(fd, p, BIG) == (ssize_t)BIG);
	EXPECT(pread(fd, more, BIG, 0) == (ssize_t)BIG && is_filled(more, BIG));
	EXPECT(is_filled(p, BIG) && !munmap(p, BIG) && !close(fd));
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = { { "files", by_files },	   { "datagrams", by_datagrams }, { "madvise", by_madvise },
	      { "mappings", by_mappings }, { "stacks", by_stacks },	  { "mbind", by_mbind } };

int main(int argc, char **argv)
{
	void (*run)(void) = NULL;

	for (size_t i = 0; argc > 1 && i < sizeof(cases) / sizeof(cases[0]); i++)
		run = strcmp(argv[1], cases[i].name) ? run : cases[i].run;
	if (!run)
		return 2;
	data = filled(BIG);
	more = filled(BIG);
	for (int round = 0; round < 3; round++) {
#pragma omp parallel num_threads(2)
		{
#pragma omp master
			{
				if (!round)
					expect_marks();
				run();
			}
		}
		EXPECT(is_filled(data, BIG));
	}
	free(data);
	free(more);
	printf("%s: every byte\n", argv[1]);
	return 0;
}
