// SPDX-License-Identifier: MIT
/* What brings pages to their users: nothing, the kernel, the textbook, ours. */
#include "compare.h"

#include <errno.h>
#include <fcntl.h>
#include <numahint/numahint.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int nothing(struct cmp_run *run)
{
	(void)run;
	return 0;
}

/* ------------------------------------------------------------------------ the kernel's own */

static int set_balancing(char value)
{
	int fd = open("/proc/sys/kernel/numa_balancing", O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, &value, 1);

	if (fd >= 0)
		close(fd);
	return n == 1 ? 0 : -EPERM;
}

static const char *no_balancing(struct cmp_run *run)
{
	(void)run;
	return access("/proc/sys/kernel/numa_balancing", W_OK) ?
		       "needs root and a kernel with kernel.numa_balancing" :
		       NULL;
}

static int balancing_begin(struct cmp_run *run)
{
	(void)run;
	return set_balancing('1');
}

static void balancing_end(struct cmp_run *run)
{
	(void)run;
	(void)set_balancing('0');
}

/* Eager, by somebody who knows who will use what: each block to its user's node at once. */
static int mbind_begin(struct cmp_run *run)
{
	for (int t = 0; t < run->nr_threads; t++) {
		unsigned long mask = 1ul << run->thread[t].node;
		size_t first, nr;

		cmp_block(run, t, &first, &nr);
		/* He does not know that only a part is used. */
		nr *= run->scenario->shared ? 1 : run->scenario->part;
		/* BIND with MOVE; -EIO, some stayed, is not an error without STRICT. */
		if (syscall(SYS_mbind, run->mem + first * run->page, nr * run->page, 2, &mask, 64,
			    2))
			return -errno;
		if (run->scenario->shared)
			break;
	}
	return 0;
}

static int move_pages_begin(struct cmp_run *run)
{
	for (int t = 0; t < run->nr_threads; t++) {
		size_t first, nr;

		cmp_block(run, t, &first, &nr);
		nr *= run->scenario->shared ? 1 : run->scenario->part;
		for (size_t i = 0; i < nr; i += 1024) {
			void *addr[1024];
			int node[1024], status[1024];
			size_t n = nr - i < 1024 ? nr - i : 1024;

			for (size_t j = 0; j < n; j++) {
				addr[j] = run->mem + (first + i + j) * run->page;
				node[j] = run->thread[t].node;
			}
			if (syscall(SYS_move_pages, 0, n, addr, node, status, 2) < 0)
				return -errno;
		}
		if (run->scenario->shared)
			break;
	}
	return 0;
}

/* ------------------------------------------------------------------------------ the textbook */

static struct cmp_run *textbook;

/* The page that was touched goes to the toucher's node: mprotect, move_pages, return. */
static void on_segv(int sig, siginfo_t *info, void *context)
{
	struct cmp_run *run = textbook;
	char *page = (char *)((uintptr_t)info->si_addr & ~(run->page - 1));
	void *addr = page;
	unsigned int cpu, node;
	int to, status, saved = errno;

	(void)context;
	if (page < run->mem || page >= run->mem + run->pages * run->page) {
		signal(sig, SIG_DFL);
		return;
	}
	if (mprotect(page, run->page, PROT_READ | PROT_WRITE))
		_exit(3);
	syscall(SYS_getcpu, &cpu, &node, NULL);
	to = (int)node;
	(void)syscall(SYS_move_pages, 0, 1ul, &addr, &to, &status, 2);
	errno = saved;
}

static int textbook_begin(struct cmp_run *run)
{
	struct sigaction sa = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };

	textbook = run;
	if (sigaction(SIGSEGV, &sa, NULL))
		return -errno;
	return mprotect(run->mem, run->pages * run->page, PROT_NONE) ? -errno : 0;
}

static void textbook_end(struct cmp_run *run)
{
	(void)mprotect(run->mem, run->pages * run->page, PROT_READ | PROT_WRITE);
	signal(SIGSEGV, SIG_DFL);
}

/* ------------------------------------------------------------------------------------- ours */

static const char *make(struct cmp_run *run, enum nh_trap trap, enum nh_delivery delivery)
{
	const struct nh_mm_options o = { .size = sizeof(o), .trap = trap, .delivery = delivery };
	struct nh_mm *mm;
	int err = nh_mm_create(&o, &mm);

	run->mm = err ? NULL : mm;
	return err ? nh_strerror(err) : NULL;
}

static const char *make_mprotect(struct cmp_run *run)
{
	return make(run, NH_TRAP_MPROTECT, NH_DELIVERY_THREAD);
}
static const char *make_thread(struct cmp_run *run)
{
	return make(run, NH_TRAP_SHADOW, NH_DELIVERY_THREAD);
}
static const char *make_monitor(struct cmp_run *run)
{
	return make(run, NH_TRAP_SHADOW, NH_DELIVERY_MONITOR);
}
static const char *make_minor(struct cmp_run *run)
{
	return make(run, NH_TRAP_MINOR, NH_DELIVERY_THREAD);
}

static int ours_begin(struct cmp_run *run)
{
	long n = nh_next_touch(run->mm, run->mem, run->pages * run->page);

	return n < 0 ? (int)n : 0;
}

static void ours_end(struct cmp_run *run)
{
	(void)nh_unmark(run->mm, NULL, 0);
}

const struct cmp_method cmp_methods[] = {
	{ .name = "plain", .what = "nothing is done", .begin = nothing },
	{ .name = "balancing",
	  .what = "kernel.numa_balancing=1",
	  .missing = no_balancing,
	  .begin = balancing_begin,
	  .end = balancing_end },
	{ .name = "mbind", .what = "mbind(BIND, MPOL_MF_MOVE) of each block", .begin = mbind_begin },
	{ .name = "move_pages", .what = "move_pages(2) of each block", .begin = move_pages_begin },
	{ .name = "textbook",
	  .what = "mprotect, SIGSEGV, move_pages of a page",
	  .begin = textbook_begin,
	  .end = textbook_end },
	{ .name = "nh-mprotect",
	  .what = "numahint, trap mprotect",
	  .missing = make_mprotect,
	  .begin = ours_begin,
	  .end = ours_end },
	{ .name = "nh-shadow",
	  .what = "numahint, trap shadow, delivery thread",
	  .missing = make_thread,
	  .begin = ours_begin,
	  .end = ours_end },
	{ .name = "nh-shadow-mon",
	  .what = "numahint, trap shadow, delivery monitor",
	  .missing = make_monitor,
	  .begin = ours_begin,
	  .end = ours_end },
	{ .name = "nh-minor",
	  .what = "numahint, trap minor, shared memory",
	  .missing = make_minor,
	  .begin = ours_begin,
	  .end = ours_end,
	  .shared_memory = true },
	{ .name = NULL },
};
