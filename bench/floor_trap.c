// SPDX-License-Identifier: MIT
/*
 * The bare hinting fault: a range is marked as a whole, threads touch it, and either the faulting
 * thread resolves its own fault in a signal handler or a monitor thread does. One range at a time,
 * found through one global pointer: this is what any implementation has to pay.
 *
 *	how		marked by			a fault is
 *	MOVE, COPY	UFFDIO_MOVE to the shadow	UFFD MISSING -> SIGBUS, or a message
 *	HUGE_COPY	the same, huge pages		the same
 *	CONTINUE	MADV_DONTNEED of a memfd	UFFD MINOR -> SIGBUS, or a message
 *	MPROTECT*	mprotect(PROT_NONE)		SIGSEGV
 */
#include "floor.h"
#include "uffd_defs.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPARES_MAX  16
#define STOP_SIGNAL SIGUSR2
#define MESSAGES    16

static struct floor_trap *trap; /* written while nobody touches the range */
static struct floor_mem spares; /* recycled huge pages, one for each thread that resolves */
static atomic_uint spares_taken;
/*
 * The huge page that this thread copies into next: the source of its last migration, so that no
 * huge page is ever allocated or zeroed. Touchers and monitors are new threads in every run, so it
 * starts as NULL.
 */
static _Thread_local char *spare;
static char bounce[65536]; /* where a copy out goes that nobody reads; a base page at most */

static void die(const char *what)
{
	(void)!write(STDERR_FILENO, what, strlen(what));
	abort();
}

/* One page to the node of the calling thread; on one node, a copy stands for the migration. */
static void migrate_page(char *page)
{
	if (trap->real_nodes) {
		unsigned int cpu, node;
		int target, status = -EBUSY;
		void *pages[1] = { page };

		if (getcpu(&cpu, &node) < 0)
			die("getcpu\n");
		target = (int)node;
		if (syscall(SYS_move_pages, 0, 1UL, pages, &target, &status, 2 /* MPOL_MF_MOVE */) <
		    0)
			die("move_pages\n");
	} else {
		memcpy(bounce, page, bench_page);
		/* The copy has no reader; keep it nevertheless. */
		__asm__ volatile("" : : "r"(bounce) : "memory");
	}
}

static int resolve_huge(size_t off)
{
	char *from = trap->shadow.addr + off;
	int ret;

	if (!spare) {
		unsigned int i = atomic_fetch_add(&spares_taken, 1);

		if ((i + 1) * bench_huge > spares.len)
			die("out of spare huge pages\n");
		spare = spares.addr + i * bench_huge;
	}
	memcpy(spare, from, bench_huge);
	ret = floor_uffd_move(trap->uffd, trap->range.addr + off, spare, bench_huge,
			      trap->by != FLOOR_THREAD);
	spare = from;
	return ret;
}

/* Resolve the chunk that begins @off bytes into the range. Runs in signal handlers. */
static int resolve(size_t off)
{
	char *to = trap->range.addr + off;
	size_t len = trap->chunk;

	atomic_fetch_add_explicit(&trap->faults, 1, memory_order_relaxed);
	switch (trap->how) {
	case FLOOR_MOVE:
		return floor_uffd_move(trap->uffd, to, trap->shadow.addr + off, len,
				       trap->by != FLOOR_THREAD);
	case FLOOR_COPY:
		return floor_uffd_copy(trap->uffd, to, trap->shadow.addr + off, len,
				       trap->by != FLOOR_THREAD);
	case FLOOR_CONTINUE:
		return floor_uffd_continue(trap->uffd, to, len, trap->by != FLOOR_THREAD);
	case FLOOR_HUGE_COPY:
		return resolve_huge(off);
	case FLOOR_MPROTECT:
	case FLOOR_MPROTECT_COPY:
		if (mprotect(to, len, PROT_READ | PROT_WRITE) < 0)
			return -errno;
		if (trap->how == FLOOR_MPROTECT_COPY)
			for (size_t i = 0; i < len; i += bench_page)
				migrate_page(to + i);
		return 0;
	}
	return -EINVAL;
}

/*
 * vm.max_map_count ends the textbook pager in the middle of a run. Jumping out of the handler
 * would need a jump buffer for each thread; making the rest accessible ends the run just as well.
 */
static atomic_int trap_error;

static void on_fault(int sig, siginfo_t *si, void *uc)
{
	size_t off = (uintptr_t)si->si_addr - (uintptr_t)trap->range.addr;
	int saved = errno;
	int ret;

	(void)uc;
	if (off >= trap->range.len) {
		(void)signal(sig, SIG_DFL); /* not ours: the access is made again, and kills */
		return;
	}
	ret = resolve(off / trap->chunk * trap->chunk);
	if (ret < 0) {
		atomic_store(&trap_error, ret);
		if (trap->how != FLOOR_MPROTECT && trap->how != FLOOR_MPROTECT_COPY)
			die("cannot resolve a fault\n");
		if (mprotect(trap->range.addr, trap->range.len, PROT_READ | PROT_WRITE) < 0)
			die("cannot end the run\n");
	}
	errno = saved;
}

static void on_stop(int sig)
{
	(void)sig; /* only there to interrupt read(2) */
}

static void *monitor_main(void *arg)
{
	struct uffd_msg msgs[MESSAGES];

	(void)arg;
	if (trap->by != FLOOR_MONITOR)
		bench_pin(trap->by == FLOOR_MONITOR_FAR);
	while (!atomic_load(&trap->stop)) {
		ssize_t n = read(trap->uffd, msgs, sizeof(msgs));

		for (ssize_t i = 0; i < n / (ssize_t)sizeof(msgs[0]); i++) {
			size_t off =
				(size_t)msgs[i].arg.pagefault.address - (uintptr_t)trap->range.addr;

			if (msgs[i].event != UFFD_EVENT_PAGEFAULT)
				continue;
			if (resolve(off / trap->chunk * trap->chunk) < 0)
				die("cannot resolve a fault\n");
		}
	}
	return NULL;
}

static int mark_shadow(struct floor_trap *t, const struct bench_ctx *ctx)
{
	uint64_t features = UFFD_FEATURE_MOVE | (t->by == FLOOR_THREAD ? UFFD_FEATURE_SIGBUS : 0);
	int ret;

	ret = floor_mem_map(&t->range, ctx->size, ctx->thp);
	if (ret < 0)
		return ret;
	ret = floor_mem_map(&t->shadow, ctx->size, ctx->thp);
	if (ret < 0)
		return ret;
	floor_stamp(t->range.addr, 0, ctx->size);
	ret = floor_uffd_open(features);
	if (ret < 0)
		return ret;
	t->uffd = ret;
	ret = floor_uffd_register(t->uffd, &t->range, UFFDIO_REGISTER_MODE_MISSING);
	if (ret == 0)
		ret = floor_uffd_register(t->uffd, &t->shadow, UFFDIO_REGISTER_MODE_MISSING);
	for (size_t off = 0; ret == 0 && off < ctx->size; off += bench_huge)
		ret = floor_uffd_move(t->uffd, t->shadow.addr + off, t->range.addr + off,
				      bench_huge, false);
	if (ret == 0 && t->how == FLOOR_HUGE_COPY) {
		/* One for each that resolves; one spare too many costs nothing. */
		ret = floor_mem_map(&spares, (ctx->touchers + 1) * bench_huge, true);
		if (ret == 0)
			memset(spares.addr, 1, spares.len);
		atomic_store(&spares_taken, 0);
	}
	return ret;
}

static int mark_minor(struct floor_trap *t, const struct bench_ctx *ctx)
{
	uint64_t features = UFFD_FEATURE_MINOR_SHMEM |
			    (t->by == FLOOR_THREAD ? UFFD_FEATURE_SIGBUS : 0);
	int ret;

	t->memfd = memfd_create("nh-bench", MFD_CLOEXEC);
	if (t->memfd < 0 || ftruncate(t->memfd, (off_t)ctx->size) < 0)
		return -errno;
	ret = floor_mem_map_fd(&t->range, ctx->size, t->memfd);
	if (ret < 0)
		return ret;
	ret = floor_mem_map_fd(&t->shadow, ctx->size, t->memfd);
	if (ret < 0)
		return ret;
	floor_stamp(t->shadow.addr, 0, ctx->size);
	floor_stamp(t->range.addr, 0, ctx->size);
	ret = floor_uffd_open(features);
	if (ret < 0)
		return ret;
	t->uffd = ret;
	ret = floor_uffd_register(t->uffd, &t->range, UFFDIO_REGISTER_MODE_MINOR);
	if (ret == 0 && madvise(t->range.addr, t->range.len, MADV_DONTNEED) < 0)
		ret = -errno;
	return ret;
}

static int mark_mprotect(struct floor_trap *t, const struct bench_ctx *ctx)
{
	int ret = floor_mem_map(&t->range, ctx->size, ctx->thp);

	if (ret < 0)
		return ret;
	floor_stamp(t->range.addr, 0, ctx->size);
	return mprotect(t->range.addr, ctx->size, PROT_NONE) < 0 ? -errno : 0;
}

int floor_trap_open(struct floor_trap *t, const struct bench_ctx *ctx, enum floor_how how,
		    enum floor_by by)
{
	bool segv = how == FLOOR_MPROTECT || how == FLOOR_MPROTECT_COPY;
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	struct sigaction stop = { .sa_handler = on_stop };
	int ret;

	*t = (struct floor_trap){ .how = how, .by = by, .uffd = -1, .memfd = -1 };
	t->chunk = how == FLOOR_HUGE_COPY ? bench_huge : ctx->batch * bench_page;
	t->real_nodes = floor_nr_nodes() > 1;
	if (segv)
		ret = mark_mprotect(t, ctx);
	else if (how == FLOOR_CONTINUE)
		ret = mark_minor(t, ctx);
	else
		ret = mark_shadow(t, ctx);
	if (ret < 0) {
		floor_trap_close(t);
		return ret;
	}
	trap = t;
	atomic_store(&trap_error, 0);
	if (by == FLOOR_THREAD) {
		sigaction(segv ? SIGSEGV : SIGBUS, &sa, NULL);
		return 0;
	}
	sigaction(STOP_SIGNAL, &stop, NULL);
	if (pthread_create(&t->thread, NULL, monitor_main, NULL) != 0)
		abort();
	t->monitor = true;
	return 0;
}

void floor_trap_close(struct floor_trap *t)
{
	if (t->monitor) {
		atomic_store(&t->stop, true);
		/* A signal that comes just before read(2) is lost: send until it is gone. */
		do {
			struct timespec soon = { .tv_nsec = 1000000 };

			pthread_kill(t->thread, STOP_SIGNAL);
			(void)nanosleep(&soon, NULL);
		} while (pthread_tryjoin_np(t->thread, NULL) != 0);
	} else {
		(void)signal(SIGBUS, SIG_DFL);
		(void)signal(SIGSEGV, SIG_DFL);
	}
	if (t->uffd >= 0)
		close(t->uffd);
	if (t->memfd >= 0)
		close(t->memfd);
	floor_mem_unmap(&t->range);
	floor_mem_unmap(&t->shadow);
	floor_mem_unmap(&spares);
	trap = NULL;
}

static int part_sequential(void *arg, unsigned int index, size_t start, size_t end)
{
	struct floor_trap *t = arg;

	(void)index;
	return floor_touch(t->range.addr, start, end);
}

static int part_random(void *arg, unsigned int index, size_t start, size_t end)
{
	struct floor_trap *t = arg;

	(void)index;
	return floor_touch_random(t->range.addr, t->range.len, start / bench_page,
				  end / bench_page);
}

int64_t floor_trap_run(struct bench_ctx *ctx, enum floor_how how, enum floor_by by, bool random)
{
	struct floor_trap t;
	int64_t ns;
	int ret = floor_trap_open(&t, ctx, how, by);

	if (ret < 0)
		return ret;
	ns = bench_touchers(ctx, random ? part_random : part_sequential, &t);
	if (ns >= 0 && atomic_load(&trap_error) < 0)
		ns = atomic_load(&trap_error);
	/* A run in which nothing faulted would measure nothing. */
	if (ns >= 0 && atomic_load(&t.faults) < ctx->size / t.chunk)
		ns = -ENODATA;
	if (ctx->thp)
		ctx->ret_huge = floor_huge_share(t.range.addr, t.range.len);
	floor_trap_close(&t);
	return ns;
}

int64_t floor_fault_move_thread(struct bench_ctx *ctx)
{
	return floor_trap_run(ctx, FLOOR_MOVE, FLOOR_THREAD, false);
}

int64_t floor_fault_move_monitor(struct bench_ctx *ctx)
{
	return floor_trap_run(ctx, FLOOR_MOVE, FLOOR_MONITOR, false);
}

int64_t floor_fault_move_near(struct bench_ctx *ctx)
{
	return floor_trap_run(ctx, FLOOR_MOVE, FLOOR_MONITOR_NEAR, false);
}

int64_t floor_fault_move_far(struct bench_ctx *ctx)
{
	return floor_trap_run(ctx, FLOOR_MOVE, FLOOR_MONITOR_FAR, false);
}

int64_t floor_fault_copy_thread(struct bench_ctx *ctx)
{
	return floor_trap_run(ctx, FLOOR_COPY, FLOOR_THREAD, false);
}

int64_t floor_fault_copy_monitor(struct bench_ctx *ctx)
{
	return floor_trap_run(ctx, FLOOR_COPY, FLOOR_MONITOR, false);
}

int64_t floor_fault_copy_near(struct bench_ctx *ctx)
{
	return floor_trap_run(ctx, FLOOR_COPY, FLOOR_MONITOR_NEAR, false);
}

int64_t floor_fault_copy_far(struct bench_ctx *ctx)
{
	return floor_trap_run(ctx, FLOOR_COPY, FLOOR_MONITOR_FAR, false);
}

int64_t floor_fault_continue_thread(struct bench_ctx *ctx)
{
	return floor_trap_run(ctx, FLOOR_CONTINUE, FLOOR_THREAD, false);
}

int64_t floor_fault_continue_monitor(struct bench_ctx *ctx)
{
	return floor_trap_run(ctx, FLOOR_CONTINUE, FLOOR_MONITOR, false);
}

int64_t floor_fault_continue_near(struct bench_ctx *ctx)
{
	return floor_trap_run(ctx, FLOOR_CONTINUE, FLOOR_MONITOR_NEAR, false);
}

int64_t floor_fault_continue_far(struct bench_ctx *ctx)
{
	return floor_trap_run(ctx, FLOOR_CONTINUE, FLOOR_MONITOR_FAR, false);
}

int64_t floor_fault_mprotect(struct bench_ctx *ctx)
{
	return floor_trap_run(ctx, FLOOR_MPROTECT, FLOOR_THREAD, false);
}

int64_t floor_fault_mprotect_copy(struct bench_ctx *ctx)
{
	return floor_trap_run(ctx, FLOOR_MPROTECT_COPY, FLOOR_THREAD, false);
}

int64_t floor_fault_huge_copy_thread(struct bench_ctx *ctx)
{
	return floor_trap_run(ctx, FLOOR_HUGE_COPY, FLOOR_THREAD, false);
}

int64_t floor_fault_huge_copy_monitor(struct bench_ctx *ctx)
{
	return floor_trap_run(ctx, FLOOR_HUGE_COPY, FLOOR_MONITOR, false);
}

int64_t floor_random_move(struct bench_ctx *ctx)
{
	return floor_trap_run(ctx, FLOOR_MOVE, FLOOR_THREAD, true);
}

int64_t floor_random_copy(struct bench_ctx *ctx)
{
	return floor_trap_run(ctx, FLOOR_COPY, FLOOR_THREAD, true);
}

int64_t floor_random_mprotect(struct bench_ctx *ctx)
{
	return floor_trap_run(ctx, FLOOR_MPROTECT, FLOOR_THREAD, true);
}

/* The pager of the textbook, and of the papers: page by page, whatever ctx->batch says. */
int64_t floor_textbook(struct bench_ctx *ctx)
{
	struct bench_ctx one = *ctx;
	int64_t ns;

	one.batch = 1;
	ns = floor_trap_run(&one, FLOOR_MPROTECT_COPY, FLOOR_THREAD, false);
	ctx->ret_huge = one.ret_huge;
	return ns;
}

int64_t floor_textbook_random(struct bench_ctx *ctx)
{
	struct bench_ctx one = *ctx;

	one.batch = 1;
	return floor_trap_run(&one, FLOOR_MPROTECT_COPY, FLOOR_THREAD, true);
}

static int part_write(void *arg, unsigned int index, size_t start, size_t end)
{
	struct floor_mem *m = arg;

	(void)index;
	floor_stamp(m->addr, start, end);
	return 0;
}

/* The kernel's own fault for a page that was never there: the measure of all others. */
int64_t floor_first_touch(struct bench_ctx *ctx)
{
	struct floor_mem m;
	int64_t ns;
	int ret;

	if (ctx->batch != 1 && !ctx->thp)
		return -EOPNOTSUPP;
	ret = floor_mem_map(&m, ctx->size, ctx->thp);
	if (ret < 0)
		return ret;
	ns = bench_touchers(ctx, part_write, &m);
	floor_mem_unmap(&m);
	return ns;
}
