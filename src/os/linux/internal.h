/* SPDX-License-Identifier: MIT */
/*
 * What the files of src/os/linux share.
 *
 * Locks, outermost first. None is taken while the engine's entry waits are possible, and none is
 * held across a call into the sink.
 *   watch_lock  between a map's lock and maps_lock; see monitor.c
 *   maps_lock   the list of maps, starting and stopping threads, descriptors
 *   map->lock   what a map has registered; a marker holds it from mark_begin to mark_end, the
 *		 signal path only tries it
 *   helper      one request at a time; the signal path may wait for it, since whoever holds it
 *		 has all signals blocked and waits only for the helper thread
 * All three are futex words (lock.h of the engine is not ours to use): nhi_futex_lock().
 *
 * Threads: at most one monitor and one helper per os object, both with a descriptor table of their
 * own, so that a program that closes all descriptors does not close theirs.
 */
#ifndef NHI_LINUX_INTERNAL_H
#define NHI_LINUX_INTERNAL_H

#include "atomic.h"
#include "linux.h"
#include "sys.h"
#include "uapi.h"

#include <pthread.h>

struct nhi_lx;

/* ----------------------------------------------------------------------------- userfaultfd */

/*
 * A userfaultfd. Two kinds: `events` serves what the program may touch and tells what it does to
 * it; `plain` raises no events and exists so that a shadow can be the destination of UFFDIO_MOVE.
 */
struct nhi_uffd {
	int fd;	       /* -1: none; the same number in every descriptor table */
	uint32_t lost; /* the program has closed it in its own table; set once, see helper.c */
	uint64_t features;
};

/* Found by nhi_uffd_probe(), constant afterwards. */
struct nhi_uffd_caps {
	bool usable;
	bool kernel_faults; /* accesses by system calls are served too */
	bool fork_events;
	int error; /* why it is not usable, negative errno */
	int how;   /* 0 userfaultfd(2), 1 /dev/userfaultfd, 2 user mode only */
	uint64_t features;
};

/* ------------------------------------------------------------------------------------ maps */

/*
 * Where marked pages are kept: a shadow range, or another mapping of the same shared memory.
 * Address A of the map is kept at A + delta. Shared by the maps that were made of one by mremap.
 */
struct nhi_store {
	uintptr_t base; /* 0: not made yet, or left behind by a fork */
	size_t len;
	uint32_t refs;	/* maps; guarded by maps_lock */
	bool copy_safe; /* no page in it may be referenced for I/O; guarded by a map's lock */
	bool plain_registered; /* the whole store was registered with the plain descriptor */
	uint32_t pieces;       /* mremap() calls since the store was empty: bounds its VMAs */
};

struct nhi_lx_map {
	struct nhi_map pub; /* first */
	struct nhi_lx *lx;
	struct nhi_lx_map *next; /* guarded by maps_lock */
	const struct nhi_trap_ops *trap;
	struct nhi_store *store; /* NULL for mprotect */
	intptr_t delta;		 /* store address = address + delta */

	uint32_t lock;
	bool has_policy; /* set_policy was called with a policy; racy reads are fine: a hint */
	uint32_t splits; /* mprotect: an upper bound of VMAs made since nothing was marked */
	/* mprotect, if lx->blind: node of each page when it was marked; under its entry's lock. */
	uint8_t *marked_on;
	uintptr_t touched_lo, touched_hi; /* store: changed since mark_begin */

	/* Bit per granule that is, or may be, registered. Written under lock; see uffd.c. */
	size_t nr_granules;
	uint64_t *granules;
	size_t bytes; /* of this allocation */
};

static inline struct nhi_lx_map *nhi_lx_map(struct nhi_map *map)
{
	return (struct nhi_lx_map *)map;
}

/* Address of what is kept for @addr. */
static inline uintptr_t nhi_kept(const struct nhi_lx_map *map, uintptr_t addr)
{
	return addr + (uintptr_t)map->delta;
}

/* What a trap does; contracts as in os.h. */
struct nhi_trap_ops {
	int (*query)(struct nhi_lx_map *map, uintptr_t addr, uint32_t nr, uint8_t *info);
	int (*mark_begin)(struct nhi_lx_map *map);
	void (*mark_end)(struct nhi_lx_map *map);
	long (*mark)(struct nhi_lx_map *map, struct nhi_run *run);
	int (*nodes)(struct nhi_lx_map *map, uintptr_t addr, uint32_t nr, uint8_t *nodes);
	int (*restore)(struct nhi_lx_map *map, struct nhi_run *run);
	int (*migrate)(struct nhi_lx_map *map, struct nhi_run *run);
	int (*restore_hard)(struct nhi_lx_map *map, struct nhi_run *run);
	int (*zero_fill)(struct nhi_lx_map *map, uintptr_t addr);
	void (*quiet)(struct nhi_lx_map *map);
	void (*discard)(struct nhi_lx_map *map, uintptr_t addr, uint32_t nr);
};
extern const struct nhi_trap_ops nhi_trap_mprotect, nhi_trap_shadow, nhi_trap_minor;

/* --------------------------------------------------------------------------------- the rest */

/* A call of our own that raises an event; see nhi_own_call(). */
enum nhi_own_kind { NHI_OWN_REMAP, NHI_OWN_UNMAP, NHI_OWN_REMOVE };
struct nhi_own {
	uint32_t state; /* 0 free, 1 being filled, 2 valid */
	enum nhi_own_kind kind;
	uintptr_t start, to;
	size_t len;
};
#define NHI_OWN_CALLS 64

struct nhi_queue {
	struct uffd_msg *msg;
	uint32_t nr, max;
};

struct nhi_monitor {
	pthread_t thread;
	uint32_t state; /* NHI_THREAD_*; futex */
	uint32_t stop;
	uint32_t seq; /* odd while messages are being read and sorted; futex */
	struct nhi_queue events, faults;
	int pagemap_fd; /* the monitor's alone */
	uintptr_t bell; /* a registered page: dropping it wakes the monitor */
	struct nhi_own own[NHI_OWN_CALLS];
};

struct nhi_helper {
	pthread_t thread;
	uint32_t state;
	uint32_t lock;
	uint32_t word; /* futex: NHI_HELPER_*  */
	long nr, arg[5], ret;
};
enum { NHI_THREAD_NONE, NHI_THREAD_STARTING, NHI_THREAD_RUNNING, NHI_THREAD_ENDED };

/* Recycled huge pages: targets of a migration by copy. Slots are claimed by compare-and-swap. */
#define NHI_POOL_SLOTS	  16
#define NHI_POOL_PER_NODE 8
struct nhi_pool {
	uintptr_t base; /* 0: not made */
	/* EMPTY, BUSY, or NHI_POOL_FULL + node */
	uint32_t slot[NHI_POOL_SLOTS];
};

#define NHI_MAX_CPUS  8192
#define NHI_TID_SLOTS 4096 /* power of two */

struct nhi_lx {
	struct nhi_os os; /* first */
	struct nhi_linux_options options;
	unsigned int page_shift;
	unsigned int huge_shift;
	unsigned long max_map_count;
	int pid; /* of the process that made the threads; see nhi_lx_forked() */

	/* Set by bind(), read by handler and monitor: acquire pairs with the release there. */
	const struct nhi_os_sink *sink;
	void *mm;

	/* Held while ranges stop being watched, and by the monitor from before it reads events. */
	uint32_t watch_lock;
	uint32_t maps_lock;
	struct nhi_lx_map *maps; /* guarded by maps_lock */

	struct nhi_uffd_caps caps;
	enum nhi_delivery delivery; /* of the userfaultfd traps */
	struct nhi_uffd events, plain;
	struct nhi_monitor monitor;
	struct nhi_helper helper;
	struct nhi_pool pool;
	bool pagemap_scan; /* probed once */
	bool blind;	   /* probed once: the kernel does not say where a PROT_NONE page is */
	/* A marker's, from mark_begin to mark_end; others open their own. See pagemap.c. */
	int pagemap_tid;
	int pagemap_fd;

	uintptr_t scratch;   /* where emulated migrations copy to when the page stays in place */
	uint64_t splits;     /* mprotect: all maps together */
	uint32_t next_node;  /* emulated: round robin */
	uint64_t *tid_nodes; /* emulated: NHI_TID_SLOTS of tid << 8 | node, 0 is free */
	int16_t cpu_node[NHI_MAX_CPUS];
};

static inline struct nhi_lx *nhi_lx_of(struct nhi_os *os)
{
	return (struct nhi_lx *)os;
}

static inline size_t nhi_bytes(const struct nhi_lx *lx, uint32_t nr_pages)
{
	return (size_t)nr_pages << lx->page_shift;
}

/* Fill status[first, end) of a run; a huge run has one status, see there. */
void nhi_run_status(struct nhi_run *run, uint32_t first, uint32_t end, enum nhi_page_status status);

/* util.c: signal path */
void nhi_futex_lock(uint32_t *word);
bool nhi_futex_trylock(uint32_t *word);
void nhi_futex_unlock(uint32_t *word);
/* 0, or -ETIMEDOUT, -EAGAIN, -EINTR; @timeout_ms < 0: none. */
int nhi_futex_wait(uint32_t *word, uint32_t value, int timeout_ms);
void nhi_futex_wake(uint32_t *word, int nr);
/* Private anonymous memory, NULL on failure. */
void *nhi_pages_alloc(size_t bytes, const char *name);
void nhi_pages_free(void *mem, size_t bytes);
void nhi_name_range(uintptr_t start, size_t len, const char *name);
/* Whole file, at most @len - 1 bytes, NUL-terminated. Length or negative errno. */
long nhi_read_file(int dirfd, const char *path, char *buf, size_t len);
int nhi_open(const char *path, int flags);
void nhi_close(int fd);
/* Block the signals of the program; see enter() in os.h. */
void nhi_signals_block(uint64_t *token);
void nhi_signals_restore(const uint64_t *token);
/* In a fault handler or a thread of ours: everything is blocked already. */
void nhi_signals_mark_blocked(bool blocked);

/* topology.c */
int nhi_topology_read(struct nhi_lx *lx, int root_fd);
/* -EINVAL if @nodes does not parse; else the number of nodes. */
int nhi_topology_parse_nodes(const char *nodes);
void nhi_topology_emulate(struct nhi_lx *lx, int nr_nodes);

/* maps.c */
long nhi_maps_read(struct nhi_lx *lx, uintptr_t start, uintptr_t end, struct nhi_mapping *maps,
		   size_t max);
/* The flags that mremap() would carry to a VMA, as madvise() advice to set; see trap_shadow.c. */
#define NHI_VMA_DONTFORK 1u
#define NHI_VMA_LOCKED	 2u
#define NHI_VMA_HUGETLB	 4u
/* Of the VMA that holds @addr, from smaps; 0 if it cannot be known. Signal path; slow. */
unsigned int nhi_vma_flags(uintptr_t addr);

/* identity.c */
int nhi_self_tid(void);
void nhi_identity_forked(void);
void nhi_lx_self(struct nhi_os *os, struct nhi_toucher *who);
/* For the monitor: who is @tid. */
void nhi_lx_other(struct nhi_lx *lx, int tid, struct nhi_toucher *who);

/* uffd.c */
void nhi_uffd_probe(struct nhi_uffd_caps *caps);
/* Open both descriptors for lx->delivery. Caller holds maps_lock. */
int nhi_uffd_open(struct nhi_lx *lx);
void nhi_uffd_close(struct nhi_lx *lx);
/* An ioctl, through the helper if the program closed our descriptor. Signal path. */
long nhi_uffd_ioctl(struct nhi_lx *lx, struct nhi_uffd *u, unsigned long cmd, void *arg);
int nhi_uffd_register(struct nhi_lx *lx, struct nhi_uffd *u, uintptr_t start, size_t len,
		      uint64_t mode);
int nhi_uffd_unregister(struct nhi_lx *lx, struct nhi_uffd *u, uintptr_t start, size_t len);
void nhi_uffd_wake(struct nhi_lx *lx, uintptr_t start, size_t len);
/*
 * Copy, move, continue or zero @nr pages. *done: pages that are there now.
 * Return: 0 all; -EAGAIN an event is under way; or what stopped it at page *done.
 */
int nhi_uffd_copy(struct nhi_lx *lx, uintptr_t dst, uintptr_t src, uint32_t nr, uint32_t *done);
int nhi_uffd_move(struct nhi_lx *lx, struct nhi_uffd *u, uintptr_t dst, uintptr_t src, uint32_t nr,
		  uint64_t mode, uint32_t *done);
int nhi_uffd_continue(struct nhi_lx *lx, uintptr_t dst, uint32_t nr, uint32_t *done);
/* Has an event been raised that is not over? Who sees false sees what its reader did. */
bool nhi_uffd_event_pending(struct nhi_lx *lx);
/* 1: filled; 0: there is a page already; -EAGAIN; ... */
int nhi_uffd_zero(struct nhi_lx *lx, uintptr_t dst);

/* watch.c: which granules of a map are registered */
int nhi_watch(struct nhi_lx_map *map, uintptr_t start, uintptr_t end, uint64_t mode);
/*
 * Caller holds the map's lock. Does nothing while an event is under way, unless @force: what the
 * monitor has been told of stays watched until it has seen to it.
 */
void nhi_unwatch_all(struct nhi_lx_map *map, bool force);
/* The kernel dropped the registration of [start, end): forget it in every map. */
void nhi_watch_forget(struct nhi_lx *lx, uintptr_t start, uintptr_t end);
/* A fault in a page that is not managed: let the kernel handle it. false: not ours. */
bool nhi_unwatch_stray(struct nhi_lx *lx, uintptr_t addr);

/* helper.c */
int nhi_helper_start(struct nhi_lx *lx);
void nhi_helper_stop(struct nhi_lx *lx);
long nhi_helper_ioctl(struct nhi_lx *lx, int fd, unsigned long cmd, void *arg);
/* Any system call, made by the helper while the monitor, who calls this, does @meanwhile. */
long nhi_helper_call(struct nhi_lx *lx, long nr, const long arg[5],
		     void (*meanwhile)(struct nhi_lx *lx));

/* thread.c */
int nhi_thread_create(struct nhi_lx *lx, pthread_t *thread, uint32_t *state, void *(*fn)(void *));
/* At the start of a thread of ours: own descriptor table with our descriptors only. */
void nhi_thread_begin(struct nhi_lx *lx, uint32_t *state, const char *name);

/* monitor.c */
/* Is the calling thread a monitor that handles events, and so has watch_lock? */
bool nhi_monitor_in_event(void);
int nhi_monitor_start(struct nhi_lx *lx);
void nhi_monitor_stop(struct nhi_lx *lx);
/*
 * A system call of our own that raises events of this kind; the monitor will know them. May be made
 * by the monitor itself: then the helper calls, while the monitor reads.
 */
long nhi_own_call(struct nhi_lx *lx, const struct nhi_own *what, long nr, const long arg[5]);

/* segv.c */
int nhi_segv_register(struct nhi_lx *lx);
void nhi_segv_unregister(struct nhi_lx *lx);

/* place.c: nodes of pages, moving by the kernel */
int nhi_place_query(uintptr_t addr, size_t page_size, uint32_t nr, uint8_t *nodes);
/* Does this kernel not say where a PROT_NONE page is? */
bool nhi_place_is_blind(size_t page_size);
/* Move pages to @node; one status each: OK, SHARED, PINNED, NOMEM, HOLE, BUSY, OTHER. */
void nhi_place_move(uintptr_t addr, size_t page_size, uint32_t nr, int node, uint8_t *status);
/* The same for pages that other processes map too; needs CAP_SYS_NICE. */
void nhi_place_move_all(uintptr_t addr, size_t page_size, uint32_t nr, int node, uint8_t *status);
/* Would a page that the calling thread allocates now, without a VMA policy, be on @node? */
bool nhi_place_is_local(struct nhi_lx *lx, int node);
/* The calling thread allocates on @node, while it has room, until _end. */
struct nhi_place_policy {
	int mode;
	unsigned long mask[16];
};
int nhi_place_begin(struct nhi_place_policy *saved, int node);
void nhi_place_end(const struct nhi_place_policy *saved);
/* Emulated nodes: the cost of a copy, for a page that stays where it is. */
void nhi_place_pretend(struct nhi_lx *lx, uintptr_t addr, size_t bytes);

/* pagemap.c */
int nhi_pagemap_open(void);
bool nhi_pagemap_can_scan(int fd);
/* A marker, which the engine's mark mutex makes the only one, keeps a descriptor for its queries. */
void nhi_pagemap_begin(struct nhi_lx *lx);
void nhi_pagemap_end(struct nhi_lx *lx);
/* Entries of /proc/self/pagemap into info[], merged by OR. At any time, from any thread. */
int nhi_pagemap_query(struct nhi_lx *lx, uintptr_t addr, uint32_t nr, uint8_t *info);
/* Is any page of [start, end) in memory or in swap? true if that cannot be known. */
bool nhi_pagemap_any(struct nhi_lx *lx, int fd, uintptr_t start, uintptr_t end);
/* Which pages are present, at any time, slowly; by mincore(2) where there is no pagemap. */
void nhi_pagemap_probe(struct nhi_lx *lx, uintptr_t addr, uint32_t nr, uint8_t *info);

/* io_safety.c */
bool nhi_io_copy_safe(struct nhi_lx *lx);

/* pool.c: recycled huge pages */
/* Once, before it is used. */
int nhi_pool_make(struct nhi_lx *lx);
/* A huge page on @node (any, if emulated) that nobody uses; 0: none. Signal path. */
uintptr_t nhi_pool_get(struct nhi_lx *lx, int node, int *ret_slot);
/* The slot's page went elsewhere (used) or not. */
void nhi_pool_put(struct nhi_lx *lx, int slot, bool used, int node);
/* Keep the huge page at @addr, which is on @node, if there is room; else drop it. */
void nhi_pool_recycle(struct nhi_lx *lx, uintptr_t addr, int node);
void nhi_pool_free(struct nhi_lx *lx);

/* map.c */
int nhi_lx_attach(struct nhi_os *os, const struct nhi_mapping *mapping, struct nhi_map **ret);
void nhi_lx_detach(struct nhi_os *os, struct nhi_map *map);
int nhi_lx_moved(struct nhi_os *os, struct nhi_map *map, uintptr_t from, uintptr_t to, size_t len,
		 struct nhi_map **ret);
/* The store of a map, made anew after a fork. Caller holds the map's lock. */
int nhi_store_ready(struct nhi_lx_map *map);
/* Make an empty shadow one VMA again. Caller holds the map's lock; nothing is marked. */
int nhi_store_clear(struct nhi_lx_map *map);
/* Descriptors and threads, made anew after a fork. */
int nhi_lx_ready(struct nhi_lx *lx);

/* trap_mprotect.c: see granule() in os.h */
uint32_t nhi_mprotect_granule(struct nhi_lx_map *map, uint64_t marked);

#endif
