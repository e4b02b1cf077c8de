/* SPDX-License-Identifier: MIT */
/*
 * What the files of the preloaded library share.
 *
 * The library sits in front of libc and of the OpenMP runtime. It notes the program's large
 * allocations (table.c), marks them when a parallel region begins (region.c), and gets out of the
 * way of everything that marked memory would disturb. One file per family of interposed functions;
 * each does as little as it can and calls the next definition (real.c).
 *
 * Rules that hold everywhere
 *   errno is the program's: nothing here changes it but the function that was called.
 *   The lock of the table is never held across a call into the engine, a call of the next
 *   definition, or an access to memory of the program.
 *   Nothing here calls malloc; memory is static or comes from mmap(2).
 *   A child of vfork() shares this state: who is not nhp.pid changes nothing and reports nothing.
 */
#ifndef NHP_PRELOAD_H
#define NHP_PRELOAD_H

#include "atomic.h"
#include "base.h"
#include "conf.h"
#include "numahint/numahint.h"
#include "real.h"

#define NHP_EXPORT     __attribute__((visibility("default")))
#define NHP_STATIC_TLS __attribute__((tls_model("initial-exec")))
#define NHP_CELLS      64  /* pages looked at in a range, for the strips */
#define NHP_MAX_STRIPS 256 /* ranges of which the strips are kept */
#define NHP_MAX_ALLOCS 32768

/* ---------------------------------------------------------------------------------- allocations */

enum nhp_kind {
	NHP_HEAP, /* malloc family */
	NHP_MAP,  /* mmap */
};

/*
 *	FREE -> FRESH -> BUSY -> DONE -> BUSY -> FREE
 *		  ^-------'
 * FRESH: to be marked at the next occasion. BUSY: one thread works on it without holding the lock;
 * others wait on the state word. DONE: had its occasion.
 */
enum nhp_state { NHP_FREE, NHP_FRESH, NHP_BUSY, NHP_DONE };

/* Guarded by the table's lock; while BUSY, it is its owner's. */
struct nhp_alloc {
	uintptr_t addr; /* as the program has it */
	size_t len;	/* bytes, as the program asked */
	uint32_t next;	/* in its bucket, or in the free list; 0: the last */
	uint32_t state; /* futex */
	uint8_t kind;
	uint8_t before; /* the state before BUSY */
	bool managed;	/* the engine knows it */
	bool empty;	/* no page was there when `region` began */
	uint32_t region;
	uint32_t tries;	  /* occasions at which nobody touched it, or nothing was there */
	uint32_t look_at; /* not before this region */
	int strip;	  /* where its pages sat; -1: not kept */
	uint64_t marked;  /* pages, by `region` */
};

/* The pages that lie wholly inside. */
static inline uintptr_t nhp_first(const struct nhp_alloc *a)
{
	return nhi_round_up(a->addr, NHP_PAGE);
}

static inline uintptr_t nhp_end(const struct nhp_alloc *a)
{
	return nhi_round_down(a->addr + a->len, NHP_PAGE);
}

/*
 * Read without the lock, by every free() and munmap(): no allocation starts or ends outside
 * [low, high). They only grow, so whoever owns a noted allocation sees it inside.
 */
struct nhp_bounds {
	uintptr_t low, high;
};
extern struct nhp_bounds nhp_bounds;

static inline bool nhp_near(uintptr_t start, uintptr_t end)
{
	/* Relaxed: an allocation reached this thread by the program's own synchronisation. */
	return start < nhi_load_relaxed(&nhp_bounds.high) &&
	       end > nhi_load_relaxed(&nhp_bounds.low);
}

int nhp_table_init(void);
/* A new allocation; @len >= min_size. */
void nhp_note(const void *addr, size_t len, enum nhp_kind kind);
/* Put back an allocation that nhp_forget() returned, perhaps elsewhere. */
void nhp_note_again(const void *addr, size_t len, const struct nhp_alloc *old);
/* [start, start + len) was given to the engine by the program: an allocation that had its occasion. */
void nhp_note_managed(uintptr_t start, size_t len);
/*
 * The block at @addr goes: the engine lets go of it. To be called before it is freed, for another
 * thread may get the same address at once. Return: whether it was noted; then *old is a copy.
 */
bool nhp_forget(const void *addr, struct nhp_alloc *old);
/* What is noted in [start, end) goes, or shrinks by it. */
void nhp_forget_range(uintptr_t start, uintptr_t end);
/* The engine lets go of what is noted in [start, end); it may get it back later. */
void nhp_unmanage_range(uintptr_t start, uintptr_t end);
/* Nothing in [start, end) is marked any more, if it is noted. */
void nhp_unmark_range(uintptr_t start, uintptr_t end);
/*
 * The next allocation behind slot @at that @want says yes to, made BUSY; NULL: no more. Slots are
 * numbered from 1. @want is called with the lock held.
 */
struct nhp_alloc *nhp_claim_next(uint32_t *at, bool (*want)(const struct nhp_alloc *, void *),
				 void *arg);
void nhp_unclaim(struct nhp_alloc *a, enum nhp_state state);
void nhp_table_fork_prepare(void);
void nhp_table_fork_parent(void);
void nhp_table_fork_child(void);

/* -------------------------------------------------------------------------------------- regions */

struct nhp_region {
	uint32_t id;	  /* 0: nothing was marked or looked at */
	uint32_t marked;  /* allocations that it marked */
	uint32_t empties; /* allocations without any page when it began */
	bool again;	  /* it marks again what was marked before */
};

/* What an OpenMP runtime can tell; NULL where it does not. */
struct nhp_omp {
	int (*in_parallel)(void);
	int (*max_threads)(void);
};

void nhp_region_begin_slow(struct nhp_region *r, unsigned int threads, const struct nhp_omp *omp);
void nhp_region_end_slow(struct nhp_region *r);

/* A parallel region of @threads (0: as many as usual) begins in the calling thread. */
static inline void nhp_region_begin(struct nhp_region *r, unsigned int threads,
				    const struct nhp_omp *omp);
static inline void nhp_region_end(struct nhp_region *r);

/* Mark one allocation, which is BUSY. Return: the state it goes to. */
enum nhp_state nhp_mark_one(struct nhp_alloc *a, struct nhp_region *r);
/* The begin of a region without a team: mark what is fresh, and what had its occasion if @again. */
void nhp_occasion(struct nhp_region *r, bool again);
/* Before any other thread runs. */
void nhp_engine_init(void);
/* The engine's mm if there is one. */
struct nh_mm *nhp_mm_if_made(void);
/* The engine's mm, made at first use; NULL: not possible, which was said. */
struct nh_mm *nhp_mm(void);
/* Restore everything that is marked: the kernel is about to read memory that nobody touches. */
void nhp_unmark_all(void);

/* ------------------------------------------------------------------------------------ the state */

struct nhp {
	struct nhp_conf conf;
	bool ready;	/* the constructor ran; set once */
	uint32_t off;	/* cannot manage, or must not: everything passes through */
	int pid;	/* of this process; see above */
	bool root;	/* the process that the runner became */
	uint32_t fresh; /* allocations that wait for an occasion; under the table's lock */
	uint32_t marks; /* allocations that may have marked pages */
	/* Counters, relaxed. */
	uint32_t regions;
	uint32_t children;  /* processes started */
	uint64_t allocs;    /* noted */
	uint64_t managed;   /* bytes that the engine was given */
	uint64_t ranges;    /* ... in so many allocations */
	uint64_t in_place;  /* allocations that parallel threads filled themselves */
	uint64_t left;	    /* large allocations left alone: kinds of memory we do not take */
	uint64_t full;	    /* ... because the table is full */
	uint64_t refused;   /* ... because the engine refused them */
	uint64_t claimed;   /* ... because the program manages them itself */
	uint64_t dry_bytes; /* dry run: what would have been marked */
	int refused_err;
};
extern struct nhp nhp;
/* Apart, because every malloc() reads it: SIZE_MAX until the constructor ran. */
extern size_t nhp_min_size;

static inline bool nhp_is_large(size_t len)
{
	return __builtin_expect(len >= nhi_load_relaxed(&nhp_min_size), 0);
}

static inline void nhp_marks_begin(void)
{
	(void)nhi_add_seq_cst(&nhp.marks, 1);
}

static inline void nhp_region_begin(struct nhp_region *r, unsigned int threads,
				    const struct nhp_omp *omp)
{
	r->id = 0;
	nhi_count(&nhp.regions, 1);
	/* Relaxed: what the calling thread filled it also noted, or was told of. */
	if (nhi_load_relaxed(&nhp.fresh))
		nhp_region_begin_slow(r, threads, omp);
}

static inline void nhp_region_end(struct nhp_region *r)
{
	if (r->id)
		nhp_region_end_slow(r);
}

/* --------------------------------------------------------------------------------------- holding */

/* hold.c: no byte of [buf, buf + len) is marked until nhp_release(); costs two loads elsewhere. */
uint32_t nhp_hold_slow(uintptr_t start, uintptr_t end);
void nhp_release_slow(uint32_t slot);
/* Is a part of [start, end) held? Asked behind nhp_marks_begin(), by whoever has it BUSY. */
bool nhp_held(uintptr_t start, uintptr_t end);
/* Nothing at all is marked until nhp_release_all(); what was is restored, what is being marked waited for. */
void nhp_hold_all(void);
void nhp_release_all(void);
void nhp_hold_thread_exit(void);
void nhp_hold_fork_child(void);

static inline uint32_t nhp_hold(const void *buf, size_t len)
{
	uintptr_t start = (uintptr_t)buf, end = start + len;

	if (__builtin_expect(!nhp_near(start, end) || end <= start, 1))
		return 0;
	return nhp_hold_slow(start, end);
}

static inline void nhp_release(uint32_t slot)
{
	if (__builtin_expect(slot, 0))
		nhp_release_slow(slot);
}

/* The length of @s if it lies where something may be marked, else 0. */
static inline size_t nhp_near_string(const char *s)
{
	return nhp_near((uintptr_t)s, (uintptr_t)s + 1) ? __builtin_strlen(s) + 1 : 0;
}

/* From here on there may be marks: (C) in hold.c. */
static inline void nhp_marks_begin(void);

/* -------------------------------------------------------------------------------------- the rest */

/* signal.c: put our stand-in for the program's handlers in place, before the engine's handlers. */
void nhp_signals_front(void);
unsigned int nhp_hidden_mask(void);
void nhp_set_hidden_mask(unsigned int mask);
/* mmap.c: whose mappings are not the program's own. Before any other thread runs. */
void nhp_mmap_init(void);
/* thread.c */
void nhp_threads_init(void);
/* occasion.c: when to mark, if not at parallel regions */
void nhp_occasion_init(void);
void nhp_occasion_fork_child(void);
/* A large allocation was noted; a thread of the program begins to run. */
void nhp_allocated(void);
void nhp_thread_starts(void);
/* process.c */
int nhp_getpid(void);
/* strip.c: where pages sit */
struct nhp_strip {
	uintptr_t addr;
	size_t len;
	uint8_t kind;
	uint8_t before[NHP_CELLS], after[NHP_CELLS]; /* node, or NHP_CELL_* */
};
#define NHP_CELL_NONE	 255 /* no page there */
#define NHP_CELL_UNKNOWN 254
extern struct nhp_strip nhp_strips[NHP_MAX_STRIPS];
extern uint32_t nhp_nr_strips; /* all ever wanted; may exceed the array */
void nhp_strip_before(struct nhp_alloc *a);
void nhp_strip_after(struct nhp_alloc *a);
/* report.c: write summary and JSON, once per process */
void nhp_report_init(void);
void nhp_report_fork_child(void);
/* In a forked child, once: what was counted up to now is the parent's. */
void nhp_report_base_slow(struct nh_mm *mm);
extern uint32_t nhp_need_base;
static inline void nhp_report_base(struct nh_mm *mm)
{
	if (__builtin_expect(nhi_load_relaxed(&nhp_need_base), 0))
		nhp_report_base_slow(mm);
}
void nhp_report(void);
/* The same, if there is anything to say: the program is about to be replaced. */
void nhp_report_exec(void);
void nhp_report_exec_failed(void);
/* One line on stderr, "numahint: ..."; not with quiet. */
__attribute__((format(printf, 1, 2))) void nhp_say(const char *format, ...);

#endif
