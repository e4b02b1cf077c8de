// SPDX-License-Identifier: MIT
/*
 * Threads of a measurement: the touchers, which do the work and are timed, and the others, which
 * only run. A change of a page table is cheap while one thread runs and dear when its TLB entries
 * must be flushed on other processors: without the others a benchmark of marking means nothing.
 */
#include "harness.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define OTHERS_MAX   16
#define TOUCHERS_MAX 16
/* More than a second-level TLB holds, so that every flush also costs its refill. */
#define OTHER_BYTES  ((size_t)8 << 20)

/*
 * Threads are bound, as the threads of a parallel program are: toucher 0 on the first processor
 * we may use, and so on, then the others. Left alone, a scheduler keeps short-lived threads
 * together on one processor in one run and spreads them in the next, and since the price of a TLB
 * shootdown is exactly what differs, the figures then have two values.
 */
void bench_pin(unsigned int slot)
{
	cpu_set_t allowed, one;
	int nr, n;

	/* The process's own set: the main thread is never bound. */
	if (sched_getaffinity(getpid(), sizeof(allowed), &allowed) < 0)
		return;
	nr = CPU_COUNT(&allowed);
	n = (int)(slot % (unsigned int)nr);
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || n-- > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		(void)pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
		return;
	}
}

struct toucher {
	pthread_t thread;
	pthread_barrier_t *barrier;
	bench_part_fn fn;
	void *arg;
	unsigned int index;
	size_t start, end;
	int64_t start_ns, end_ns;
	int ret;
};

static void *toucher_main(void *arg)
{
	struct toucher *t = arg;

	bench_pin(t->index);
	/*
	 * Each takes its own times after the barrier: the time to create and wake threads is not
	 * part of the work.
	 */
	pthread_barrier_wait(t->barrier);
	t->start_ns = bench_now_ns();
	t->ret = t->fn(t->arg, t->index, t->start, t->end);
	t->end_ns = bench_now_ns();
	return NULL;
}

/*
 * Let the next allocations come from frames that the machine really has. A hypervisor takes back
 * guest memory that has been free for a while (free page reporting, ballooning), and the first
 * touch of such a frame costs many microseconds that have nothing to do with what is measured. So
 * touch as much as the work can allocate and free it at the last moment, in pages of the size that
 * it will ask for: huge pages freed go to other lists than those a base page is taken from.
 */
static void warm_frames(size_t len, bool thp)
{
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return;
	(void)madvise(p, len, thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	for (size_t off = 0; off < len; off += bench_page)
		*(volatile char *)(p + off) = 1;
	munmap(p, len);
}

int64_t bench_touchers(const struct bench_ctx *ctx, bench_part_fn fn, void *arg)
{
	struct toucher t[TOUCHERS_MAX];
	unsigned int nr = ctx->touchers;
	pthread_barrier_t barrier;
	size_t part = ctx->size / nr / bench_huge * bench_huge;
	int64_t first = INT64_MAX;
	int64_t last = 0;
	int ret = 0;

	if (nr == 0 || nr > TOUCHERS_MAX)
		return -EINVAL;
	warm_frames(ctx->size, ctx->thp);
	pthread_barrier_init(&barrier, NULL, nr);
	for (unsigned int i = 0; i < nr; i++) {
		t[i] = (struct toucher){
			.barrier = &barrier,
			.fn = fn,
			.arg = arg,
			.index = i,
			.start = part * i,
			.end = i + 1 == nr ? ctx->size : part * (i + 1),
		};
		/* A barrier with a thread missing never opens: no way to go on. */
		if (pthread_create(&t[i].thread, NULL, toucher_main, &t[i]) != 0)
			abort();
	}
	for (unsigned int i = 0; i < nr; i++) {
		pthread_join(t[i].thread, NULL);
		if (t[i].start_ns < first)
			first = t[i].start_ns;
		if (t[i].end_ns > last)
			last = t[i].end_ns;
		if (t[i].ret < 0 && ret == 0)
			ret = t[i].ret;
	}
	pthread_barrier_destroy(&barrier);
	return ret < 0 ? ret : last - first;
}

struct other {
	pthread_t thread;
	struct bench_others *all;
	unsigned int slot;
	char *mem;
};

struct bench_others {
	atomic_bool stop;
	unsigned int nr;
	struct other t[OTHERS_MAX];
};

static void *other_main(void *arg)
{
	struct other *o = arg;
	size_t off = 0;

	bench_pin(o->slot);
	/* Relaxed: the flag carries no data, and pthread_join() orders the rest. */
	while (!atomic_load_explicit(&o->all->stop, memory_order_relaxed)) {
		(*(volatile char *)(o->mem + off))++;
		off = (off + bench_page) % OTHER_BYTES;
	}
	return NULL;
}

int bench_others_start(unsigned int nr, unsigned int touchers, struct bench_others **ret_others)
{
	struct bench_others *all;

	if (nr > OTHERS_MAX)
		return -EINVAL;
	all = calloc(1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	for (; all->nr < nr; all->nr++) {
		struct other *o = &all->t[all->nr];

		o->all = all;
		o->slot = touchers + all->nr;
		o->mem = mmap(NULL, OTHER_BYTES, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (o->mem == MAP_FAILED)
			goto fail;
		if (pthread_create(&o->thread, NULL, other_main, o) != 0) {
			munmap(o->mem, OTHER_BYTES);
			goto fail;
		}
	}
	*ret_others = all;
	return 0;
fail:
	bench_others_stop(all);
	return -EAGAIN;
}

void bench_others_stop(struct bench_others *all)
{
	if (!all)
		return;
	atomic_store_explicit(&all->stop, true, memory_order_relaxed);
	for (unsigned int i = 0; i < all->nr; i++) {
		pthread_join(all->t[i].thread, NULL);
		munmap(all->t[i].mem, OTHER_BYTES);
	}
	free(all);
}
