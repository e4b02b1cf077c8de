/* SPDX-License-Identifier: MIT */
/*
 * A simulated machine: nodes with frames, CPUs with TLBs, address spaces with page tables.
 *
 * What it is for: the engine of src/mm runs on it unchanged, behind os_sim.c, so that a test can
 * place every page, make every call fail, and look at everything afterwards without disturbing it.
 *
 * A page holds one 64-bit value. The page table is flat: one sim_pte for each page of a window of
 * addresses. Everything is deterministic: no clock, no addresses of the host, no randomness.
 *
 * Two ways of marking, as on Linux:
 *   protnone  the PTE stays and lets nobody through (NHI_TRAP_MPROTECT)
 *   kept      the PTE is emptied and the frame is kept aside (NHI_TRAP_SHADOW, NHI_TRAP_MINOR); a
 *	       page that the program drops is not dropped by that alone, so one that is put back
 *	       too late comes back from the dead: that is the bug to look for
 *
 * Fault model: any operation of os_sim.c fails on its Nth call with an errno or a page status, once
 * or for ever, or at random; nodes fill up; pages are pinned, shared and dropped at any time.
 * Not modelled: memory order weaker than sequential, swap, reclaim, files, partial TLB entries.
 */
#ifndef SIM_MACHINE_H
#define SIM_MACHINE_H

#include "atomic.h"
#include "os.h"

#define SIM_BASE	   0x40000000ul /* first address of the window */
#define SIM_MAX_NODES	   8
#define SIM_MAX_CPUS	   8
/* The explorer copies the whole machine for each execution, so it is small there. */
#define SIM_TLB		   (NH_SIM ? 8 : 64) /* entries of one CPU, direct mapped */
#define SIM_MAX_AREAS	   (NH_SIM ? 8 : 64)
#define SIM_EVENTS	   16

/* Faults of the machine itself, so that tests can show that a wrong one is noticed. */
#define SIM_BUG_NO_FLUSH   1u /* marking leaves stale TLB entries behind */
#define SIM_BUG_NO_WAKE	   2u /* wake_all() wakes nobody */
#define SIM_BUG_READ_EARLY 4u /* the monitor reads events before event_begin() */

struct sim_conf {
	size_t page_size, huge_size; /* bytes; 0: 4096, and 4 pages */
	int nr_nodes, nr_cpus;	     /* 0: 2 nodes, 4 CPUs; CPU c sits on node c % nr_nodes */
	uint32_t frames;	     /* of each node; 0: twice as many as there are addresses */
	uint32_t nr_pages;	     /* of the window; 0: 64 */
	enum nhi_trap trap;	     /* MPROTECT or SHADOW; shared mappings then have MINOR */
	enum nhi_delivery delivery;  /* THREAD or MONITOR */
	bool copy;		     /* pages are moved by copy */
	bool emulated;
	uint32_t granule; /* pages that the trap wants resolved together; 0: 1 */
	unsigned int bugs;
};

/* ------------------------------------------------------------------------------- memory */

struct sim_page {
	uint64_t data;
	uint32_t maps; /* PTEs, or kept places, that hold it */
};

/* Frames that were allocated together: 1, or a huge page. Goes when nothing holds any of them. */
struct sim_folio {
	int node;
	uint32_t nr;
	uint32_t held; /* sum of the pages' maps */
	uint32_t pins;
	struct sim_page page[];
};

struct sim_pte {
	struct sim_folio *folio; /* NULL: a hole */
	struct sim_folio *kept;	 /* a marked page that is kept aside */
	uint32_t idx, kept_idx;
	bool protnone; /* marked in place */
	void *marker;  /* the sim_map that marked it */
	void *watched; /* the sim_map for which a touch of a hole goes to the engine, or NULL */
};

struct sim_area {
	uintptr_t start, end;
	unsigned int prot;
	enum nhi_kind kind;
	bool shared;
};

struct sim_space {
	struct sim *m;
	struct sim_pte *pte; /* conf.nr_pages of them */
	bool *huge;	     /* one for each granule: mapped by one PMD */
	struct sim_area area[SIM_MAX_AREAS];
	uint32_t nr_areas;
	bool managed; /* the engine's; children are not */
};

struct sim_tlb_entry {
	const struct sim_space *space;
	uintptr_t addr;
	struct sim_folio *folio;
	uint32_t idx;
	bool write;
};

/* ---------------------------------------------------------------------- tasks and events */

struct sim_task {
	struct sim *m;
	int tid, cpu;
	struct sim_space *space;
	uint32_t masked; /* os->enter less os->leave */
};

enum sim_event_kind { SIM_EV_REMOVE, SIM_EV_UNMAP, SIM_EV_REMAP, SIM_EV_FORK, SIM_EV_OWN };

struct sim_event {
	enum sim_event_kind kind;
	uintptr_t start, end, to;
	struct sim_space *child;
	uint32_t *done; /* becomes 1 when it was read: the caller may go on */
};

struct sim_fault {
	uintptr_t addr;
	bool write;
	struct sim_task *task;
	uint32_t *done; /* becomes 1 when it was handled */
};

/* Filled by the scheduler; all NULL: one task at a time, events are handled where they happen. */
struct sim_hooks {
	void (*yield)(struct sim *m, const volatile void *where, const char *func, int line);
	void (*wait)(struct sim *m, uint32_t *word, uint32_t value);
	void (*wake_all)(struct sim *m, uint32_t *word);
	void (*relax)(struct sim *m);
	/* The running task looked at the machine where there is no point. */
	void (*looked)(struct sim *m);
	/* Does operation @op fail now? Asked while the machine may fail; the explorer tries both. */
	bool (*fails)(struct sim *m, int op);
};

/* --------------------------------------------------------------------- failing operations */

enum sim_op {
	SIM_OP_TABLE_ALLOC,
	SIM_OP_MAPPINGS,
	SIM_OP_ATTACH,
	SIM_OP_SET_POLICY,
	SIM_OP_QUERY,
	SIM_OP_MARK_BEGIN,
	SIM_OP_MARK,
	SIM_OP_NODES,
	SIM_OP_RESTORE,
	SIM_OP_MIGRATE,
	SIM_OP_RESTORE_HARD,
	SIM_OP_ZERO_FILL,
	SIM_OP_MOVED,
	SIM_OP_MOVE_NOW,
	SIM_OP_POPULATE,
	SIM_OP_PEEK,
	SIM_OPS
};

struct sim_plan {
	uint64_t calls;	 /* so far */
	uint64_t nth;	 /* the call that fails, counted from 1; 0: none */
	bool forever;	 /* and all after it */
	int err;	 /* negative errno, or 0 */
	uint8_t status;	 /* the pages' status if err is 0; NHI_PAGE_OTHER, say */
	uint16_t chance; /* of 1024, instead of nth */
	uint64_t failed; /* because hooks.fails said so */
};

/* ------------------------------------------------------------------------------ machine */

struct sim {
	struct nhi_os os; /* first, so that the one is the other */
	struct sim_conf conf;
	unsigned int page_shift;
	uint32_t pages_per_huge;

	uint32_t used[SIM_MAX_NODES]; /* frames */
	uint32_t hogged[SIM_MAX_NODES];
	struct sim_tlb_entry tlb[SIM_MAX_CPUS][SIM_TLB];
	struct sim_space *space; /* the one that the engine manages */
	struct sim_task *current;
	struct sim_hooks hooks;

	const struct nhi_os_sink *sink;
	void *mm;

	struct sim_event event[SIM_EVENTS];
	uint32_t nr_events;
	uint32_t unread; /* events that were raised and not read: nothing can be resolved */
	struct sim_fault fault[SIM_EVENTS];
	uint32_t nr_faults;
	uint32_t bell; /* counts up for the monitor */
	bool in_event; /* the monitor reads or handles one: watching goes on */
	bool stop;     /* the monitor is to end */

	struct sim_plan plan[SIM_OPS];
	uint32_t may_fail; /* how many operations more, where hooks.fails says so */
	uint64_t seed;	   /* of the chances */

	/* What happened, for tests. */
	uint64_t clock, flushes, demand_zero, copies, maps_live, tables_live, faults, spurious;
	const char *broken; /* the first thing that must not happen, or NULL */
};

/* Note that something happened that must not; the first note stays. */
#define SIM_LINE_(x) #x
#define SIM_LINE(x)  SIM_LINE_(x)
#define sim_check(m, cond)                                                                \
	do {                                                                              \
		if (!(cond) && !(m)->broken)                                              \
			(m)->broken = __FILE__ ":" SIM_LINE(__LINE__) ": not so: " #cond; \
	} while (0)
/* The same, in words. */
#define sim_check_that(m, cond, text)         \
	do {                                  \
		if (!(cond) && !(m)->broken)  \
			(m)->broken = (text); \
	} while (0)

struct sim *sim_create(const struct sim_conf *conf);
void sim_free(struct sim *m);
/* Frames, maps or tables that nobody gave back; for when everything is unmapped. */
bool sim_leaks(const struct sim *m);
void sim_task_init(struct sim *m, struct sim_task *t, int tid, int cpu);

static inline uint32_t sim_pageno(const struct sim *m, uintptr_t addr)
{
	return (uint32_t)((addr - SIM_BASE) >> m->page_shift);
}

/* The address of page @n of the window. */
static inline uintptr_t sim_addr(const struct sim *m, uint32_t n)
{
	return SIM_BASE + ((uintptr_t)n << m->page_shift);
}

static inline int sim_node_of_cpu(const struct sim *m, int cpu)
{
	return cpu % m->conf.nr_nodes;
}

/*
 * A point where another task may run. Whatever looks at the machine or changes it comes after one,
 * with nothing of the engine in between.
 */
#define sim_point(m, where)                                                 \
	do {                                                                \
		if ((m)->hooks.yield)                                       \
			(m)->hooks.yield((m), (where), __func__, __LINE__); \
	} while (0)

struct sim_pte *sim_pte(struct sim_space *s, uintptr_t addr);
struct sim_area *sim_area_find(struct sim_space *s, uintptr_t addr);
/* Free frames of a node. */
uint32_t sim_free_frames(const struct sim *m, int node);
/* On @node exactly, or NULL; its pages are not held yet. */
struct sim_folio *sim_folio_alloc(struct sim *m, int node, uint32_t nr);
/* On @node, or on the next that has room. */
struct sim_folio *sim_folio_alloc_any(struct sim *m, int node, uint32_t nr);
/* One that nobody held after all. */
void sim_folio_discard(struct sim *m, struct sim_folio *f);
void sim_folio_hold(struct sim_folio *f, uint32_t idx);
void sim_folio_drop(struct sim *m, struct sim_folio *f, uint32_t idx);
/* No CPU translates @addr of @s any more. */
void sim_flush(struct sim_space *s, uintptr_t addr);
/* The granule of @addr is mapped by base pages from now on. */
void sim_split_huge(struct sim_space *s, uintptr_t addr);
/* Empty the PTE; what is kept stays. */
void sim_zap(struct sim_space *s, uintptr_t addr);
struct sim_space *sim_space_create(struct sim *m);
void sim_space_free(struct sim_space *s);

/* An access by @t. 0; -EFAULT: SIGSEGV; -ENOMEM: no memory anywhere; -ELOOP: it never succeeds. */
int sim_read(struct sim_task *t, uintptr_t addr, uint64_t *ret);
int sim_write(struct sim_task *t, uintptr_t addr, uint64_t value);

/* What get_user_pages() does to bring a page in; @force: whatever the protection says. */
int sim_touch(struct sim_task *t, uintptr_t addr, bool write, bool force);

/* Looks that disturb nothing. */
int sim_peek(struct sim_space *s, uintptr_t addr, uint64_t *ret); /* -ENOENT: a hole */
bool sim_marked(struct sim_space *s, uintptr_t addr);
int sim_page_node(struct sim_space *s, uintptr_t addr); /* NHI_NO_NODE: a hole */
uint32_t sim_page_maps(struct sim_space *s, uintptr_t addr);

/* ---------------------------------------------------------------- kernel calls (kernel.c) */

int sim_mmap(struct sim_task *t, uintptr_t addr, size_t len, unsigned int prot, enum nhi_kind kind,
	     bool shared);
int sim_munmap(struct sim_task *t, uintptr_t addr, size_t len);
int sim_dontneed(struct sim_task *t, uintptr_t addr, size_t len);
/* MREMAP_FIXED | MREMAP_MAYMOVE. */
int sim_mremap(struct sim_task *t, uintptr_t from, uintptr_t to, size_t len);
int sim_mprotect(struct sim_task *t, uintptr_t addr, size_t len, unsigned int prot);
/*
 * What the library's pthread_atfork handler does below the engine, after nhi_mm_fork_prepare():
 * nothing is watched, or fork would wait for a monitor that waits for the forker's locks.
 */
void sim_fork_prepare(struct sim *m);
/* A child that shares every frame; the caller ends it by sim_exit(). */
struct sim_space *sim_fork(struct sim_task *t);
void sim_exit(struct sim_space *child);
/* Populate the granule of @addr with a huge page on the node of @t, its pages @value + 0, 1, ... */
int sim_populate_huge(struct sim_task *t, uintptr_t addr, uint64_t value);
/* GUP: touch it, then keep it where it is. */
struct sim_folio *sim_pin(struct sim_task *t, uintptr_t addr);
void sim_unpin(struct sim *m, struct sim_folio *f);
/* Leave @frames free on a node; UINT32_MAX: all that are not used. */
void sim_hog(struct sim *m, int node, uint32_t frames);

/* Raise an event and wait until it was read. */
void sim_raise(struct sim_task *t, const struct sim_event *ev);
/* The body of the monitor task, until m->stop. */
void sim_monitor(struct sim_task *t);
void sim_ring(struct sim *m);

/* ------------------------------------------------------------ failing operations (os_fail.c) */

/* Fail the @nth call of @op from now on. @err 0: its pages get @status instead. */
void sim_fail(struct sim *m, enum sim_op op, uint64_t nth, bool forever, int err, uint8_t status);
void sim_fail_none(struct sim *m);
extern const char *const sim_op_name[SIM_OPS];
uint64_t sim_random(uint64_t *seed);

#endif
