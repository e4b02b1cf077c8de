/* SPDX-License-Identifier: MIT */
/*
 * Floors and peers: the least code that does what numahint does, written against system calls
 * only. Nothing here is linked with the library. No bookkeeping, no policy, no safety beyond what
 * the measurement needs: one range at a time, global state, errors end the process.
 */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>

/* --------------------------------------------------------------------- floor_mem.c: memory */

/** struct floor_mem - memory aligned to the huge page size */
struct floor_mem {
	char *addr;
	size_t len;
	void *map; /* what to unmap */
	size_t map_len;
};

/** floor_mem_map - private anonymous memory, never touched; @thp: asked for or forbidden */
int floor_mem_map(struct floor_mem *m, size_t len, bool thp);

/** floor_mem_map_fd - the same over a memfd, shared */
int floor_mem_map_fd(struct floor_mem *m, size_t len, int fd);

void floor_mem_unmap(struct floor_mem *m);

/** floor_stamp - write a different word at the start of every base page, so populating them */
void floor_stamp(char *addr, size_t start, size_t end);

/**
 * floor_touch - read the stamp of every base page in [start, end)
 *
 * Return: 0; -EILSEQ where one is wrong.
 */
int floor_touch(const char *addr, size_t start, size_t end);

/**
 * floor_touch_random - the same for every page of [0, len) in a scrambled order
 * @from, @to: which steps of the order to do, so that threads can share it
 *
 * @len must be a power of two times the page size.
 */
int floor_touch_random(const char *addr, size_t len, size_t from, size_t to);

/** floor_huge_share - share of [addr, addr + len) that is mapped by huge pages, from smaps */
double floor_huge_share(const char *addr, size_t len);

/** floor_nr_nodes - NUMA nodes of the machine that have memory */
int floor_nr_nodes(void);

/* ---------------------------------------------------------------- floor_uffd.c: userfaultfd */

/** floor_uffd_open - blocking descriptor for accesses in user mode, with UFFD features; or -errno */
int floor_uffd_open(uint64_t features);

/** floor_uffd_register - mode is UFFDIO_REGISTER_MODE_* */
int floor_uffd_register(int uffd, const struct floor_mem *m, uint64_t mode);

/*
 * The three ways to resolve. All retry after EAGAIN and go on after a part. EEXIST (somebody else
 * was faster) ends the call with 0: the access is simply made again. @wake: a monitor must wake
 * the thread that waits, a signal handler has nobody to wake.
 */
int floor_uffd_move(int uffd, char *dst, const char *src, size_t len, bool wake);
int floor_uffd_copy(int uffd, char *dst, const char *src, size_t len, bool wake);
int floor_uffd_continue(int uffd, char *dst, size_t len, bool wake);

/* -------------------------------------------------------------------- floor_trap.c: faults */

/** enum floor_how - how a marked page is resolved */
enum floor_how {
	FLOOR_MOVE,	     /* UFFDIO_MOVE back from the shadow: a restore */
	FLOOR_COPY,	     /* UFFDIO_COPY from the shadow: a migration by copy */
	FLOOR_CONTINUE,	     /* UFFDIO_CONTINUE of page cache: a restore of shared memory */
	FLOOR_MPROTECT,	     /* mprotect(PROT_READ | PROT_WRITE): a restore */
	FLOOR_MPROTECT_COPY, /* and a migration: move_pages(2), or a copy out on one node */
	FLOOR_HUGE_COPY,     /* copy into a recycled huge page, and UFFDIO_MOVE of that */
};

/** enum floor_by - who resolves */
enum floor_by {
	FLOOR_THREAD,	    /* the toucher, in a signal handler */
	FLOOR_MONITOR,	    /* a thread, wherever the scheduler puts it */
	FLOOR_MONITOR_NEAR, /* a thread on the processor of the first toucher */
	FLOOR_MONITOR_FAR,  /* a thread on the next processor */
};

/** struct floor_trap - one marked range, and who resolves its faults */
struct floor_trap {
	struct floor_mem range;
	struct floor_mem shadow; /* where the pages are (MOVE, COPY), or the alias (CONTINUE) */
	enum floor_how how;
	enum floor_by by;
	bool monitor; /* its thread runs */
	size_t chunk; /* bytes resolved by one fault */
	int uffd;
	int memfd;
	bool real_nodes; /* migrate by move_pages(2) */
	pthread_t thread;
	atomic_bool stop;
	atomic_uint faults;
};

/** floor_trap_open - populate a range of ctx->size, mark it, and get ready to resolve */
int floor_trap_open(struct floor_trap *t, const struct bench_ctx *ctx, enum floor_how how,
		    enum floor_by by);
void floor_trap_close(struct floor_trap *t);

/** floor_trap_run - open, touch every page with ctx->touchers threads, check, close */
int64_t floor_trap_run(struct bench_ctx *ctx, enum floor_how how, enum floor_by by, bool random);

/* Lanes; see cases.c for what each is compared with. */
int64_t floor_fault_move_thread(struct bench_ctx *ctx);
int64_t floor_fault_move_monitor(struct bench_ctx *ctx);
int64_t floor_fault_move_near(struct bench_ctx *ctx);
int64_t floor_fault_move_far(struct bench_ctx *ctx);
int64_t floor_fault_copy_thread(struct bench_ctx *ctx);
int64_t floor_fault_copy_monitor(struct bench_ctx *ctx);
int64_t floor_fault_copy_near(struct bench_ctx *ctx);
int64_t floor_fault_copy_far(struct bench_ctx *ctx);
int64_t floor_fault_continue_thread(struct bench_ctx *ctx);
int64_t floor_fault_continue_monitor(struct bench_ctx *ctx);
int64_t floor_fault_continue_near(struct bench_ctx *ctx);
int64_t floor_fault_continue_far(struct bench_ctx *ctx);
int64_t floor_fault_mprotect(struct bench_ctx *ctx);
int64_t floor_fault_mprotect_copy(struct bench_ctx *ctx);
int64_t floor_fault_huge_copy_thread(struct bench_ctx *ctx);
int64_t floor_fault_huge_copy_monitor(struct bench_ctx *ctx);
int64_t floor_random_move(struct bench_ctx *ctx);
int64_t floor_random_copy(struct bench_ctx *ctx);
int64_t floor_random_mprotect(struct bench_ctx *ctx);
int64_t floor_first_touch(struct bench_ctx *ctx);
int64_t floor_textbook(struct bench_ctx *ctx);
int64_t floor_textbook_random(struct bench_ctx *ctx);

/* ------------------------------------------------------------------- floor_mark.c: marking */

int64_t floor_mark_mprotect(struct bench_ctx *ctx);
int64_t floor_mark_mremap(struct bench_ctx *ctx);
int64_t floor_mark_move(struct bench_ctx *ctx);
int64_t floor_mark_minor(struct bench_ctx *ctx);
int64_t floor_unmark_mprotect(struct bench_ctx *ctx);
int64_t floor_unmark_mremap(struct bench_ctx *ctx);
int64_t floor_unmark_move(struct bench_ctx *ctx);
int64_t floor_unmark_minor(struct bench_ctx *ctx);

/* --------------------------------------------------------------- floor_bulk.c: throughput */

int64_t floor_memcpy(struct bench_ctx *ctx);
int64_t floor_memcpy_huge_chunks(struct bench_ctx *ctx);
int64_t floor_bulk_copy(struct bench_ctx *ctx);
int64_t floor_bulk_copy_drop(struct bench_ctx *ctx);
int64_t floor_bulk_huge(struct bench_ctx *ctx);
int64_t floor_bulk_huge_stream(struct bench_ctx *ctx);
int64_t floor_bulk_collapse(struct bench_ctx *ctx);
int64_t floor_bulk_collapse_fresh(struct bench_ctx *ctx);

/* ------------------------------------------------------------------- floor_idle.c: a child */

int64_t floor_idle_plain(struct bench_ctx *ctx);
int64_t floor_idle_preload(struct bench_ctx *ctx);

#endif
