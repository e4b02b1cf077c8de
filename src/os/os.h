/* SPDX-License-Identifier: MIT */
/*
 * The seam between the engine and an operating system.
 *
 * The engine (src/mm) makes no system call, starts no thread and allocates nothing on the fault
 * path; whatever touches the world goes through struct nhi_os_ops. src/os/linux is the real
 * implementation, sim/os_sim the simulated one, and tests wrap either to make any call fail.
 *
 * Contract of every operation
 *   Addresses are page aligned, counts are base pages, nothing is 0 unless it says so.
 *   0 or a count on success, negative errno on failure.
 *   "Signal path": may be called from the handler of a hinting fault, so it is async-signal-safe,
 *   takes no lock that the interrupted thread may hold and allocates nothing.
 *   "Own events": may raise userfaultfd events of its own that the monitor must read before the
 *   call returns; so it must not be called with mmap_lock held (src/mm/mmap_lock.h).
 */
#ifndef NHI_OS_H
#define NHI_OS_H

#include "base.h"

struct nhi_os;
struct nhi_map;

#define NHI_NO_NODE	 (-1)
#define NHI_MAX_NODES	 255 /* the node field of an entry is a byte */
#define NHI_UNKNOWN_NODE 255

/* What became of one page; the engine turns these into counters (enum nh_reason). */
enum nhi_page_status {
	NHI_PAGE_OK = 0,      /* as asked */
	NHI_PAGE_HOLE,	      /* nothing there: never populated, or dropped by the program */
	NHI_PAGE_SHARED,      /* somebody else maps it too */
	NHI_PAGE_PINNED,      /* the kernel holds references */
	NHI_PAGE_BUSY,	      /* try again later */
	NHI_PAGE_NOMEM,	      /* no memory, or none on the target node */
	NHI_PAGE_MAPS,	      /* vm.max_map_count is near */
	NHI_PAGE_UNSUPPORTED, /* not by this trap */
	NHI_PAGE_STUCK,	      /* restore, migrate: still marked; see restore_hard */
	NHI_PAGE_OTHER,
};

enum nhi_trap { NHI_TRAP_AUTO, NHI_TRAP_MPROTECT, NHI_TRAP_SHADOW, NHI_TRAP_MINOR };
enum nhi_delivery { NHI_DELIVERY_AUTO, NHI_DELIVERY_THREAD, NHI_DELIVERY_MONITOR };
enum nhi_copy { NHI_COPY_AUTO, NHI_COPY_NEVER, NHI_COPY_ALWAYS };

/* What kind of memory a mapping is. */
enum nhi_kind {
	NHI_KIND_ANON,	/* private anonymous */
	NHI_KIND_SHMEM, /* shared memory: tmpfs, memfd, shared anonymous */
	NHI_KIND_FILE,	/* any other file */
	NHI_KIND_HUGETLB,
	NHI_KIND_STACK,	  /* [stack], or where the kernel writes without asking */
	NHI_KIND_SPECIAL, /* device, vdso, secret, locked memory */
};

#define NHI_PROT_READ  1u
#define NHI_PROT_WRITE 2u
#define NHI_PROT_EXEC  4u
#define NHI_PROT_ANY   (NHI_PROT_READ | NHI_PROT_WRITE | NHI_PROT_EXEC)

/* One mapping of the process as the operating system describes it. */
struct nhi_mapping {
	uintptr_t start, end;
	unsigned int prot; /* NHI_PROT_* */
	enum nhi_kind kind;
	bool shared;
};

/* Who touched. */
struct nhi_toucher {
	int tid;
	int cpu;  /* -1: unknown */
	int node; /* NHI_NO_NODE: unknown */
};

/*
 * The operating system's side of a managed mapping: its trap, and where its pages are kept while
 * they are marked. Made by attach; several VMAs may share one after a split. The engine reads the
 * public part only.
 */
struct nhi_map {
	uintptr_t start, end;
	enum nhi_kind kind;
	enum nhi_trap trap;
	enum nhi_delivery delivery;
	uint32_t refs;	 /* VMAs and operations under way; the last put detaches; the engine's */
	uint64_t marked; /* pages marked now; the engine's, the os may read it */
	/*
	 * Faults whose toucher is unknown count as the last known one's of the page, or of the map:
	 * for memory that only known threads use (a guest's). The engine's; a hint, so relaxed.
	 */
	bool guess;
	int last_node; /* + 1; 0: none yet */
};

/*
 * A run of pages to work on: consecutive, of one map, every entry LOCKED by the caller for as long
 * as the call lasts.
 */
struct nhi_run {
	struct nhi_map *map;
	uintptr_t addr;
	uint32_t nr_pages;
	bool huge;	   /* the run is one huge page, aligned to its size */
	unsigned int prot; /* what the program may do there, as the engine knows it */
	int node;	   /* migrate, move_now: the target */
	bool all;	   /* move_now: also pages that others map */
	/*
	 * nr_pages entries, written by the operation for every page (entry 0 only if huge and the
	 * whole run has one fate). Filled with NHI_PAGE_OTHER by the caller.
	 */
	uint8_t *status;
	uint32_t copied;    /* migrate: how many were moved by copy */
	uint32_t ladder[3]; /* restore: how many came back by MOVE, COPY, mremap */
};

/* Facts about one page, for query. */
#define NHI_INFO_PRESENT 1u /* in memory or in swap */
#define NHI_INFO_HUGE	 2u /* part of a huge page mapped as one */
#define NHI_INFO_SHARED	 4u /* mapped more than once, as far as can be seen */

/*
 * What the operating system tells the engine. fault may be called from a signal handler (thread
 * delivery) or from the monitor; the others come from the monitor only. The order for an event is
 * event_begin, reading the event from the kernel, the call for it, event_end: between begin and end
 * no fault is resolved, so that nothing is put back into a range that the program just dropped.
 */
struct nhi_os_sink {
	/*
	 * @write: the access was a write.
	 * Return: 0 resolved, touch again; -ENOENT not in a managed range; -EFAULT the range does
	 * not allow the access: not a hinting fault. From the monitor also -EAGAIN, at once: the
	 * page is locked by somebody, or an operation returned -EAGAIN; the monitor reads what has
	 * come meanwhile (that may be what the other one waits for) and calls again.
	 */
	int (*fault)(void *mm, uintptr_t addr, bool write, const struct nhi_toucher *who,
		     enum nhi_delivery by);
	void (*event_begin)(void *mm);
	void (*event_end)(void *mm);
	/* Each returns 0, or -EAGAIN if a page there is locked by somebody: call again. */
	int (*discarded)(void *mm, uintptr_t start, uintptr_t end);
	int (*unmapped)(void *mm, uintptr_t start, uintptr_t end);
	int (*remapped)(void *mm, uintptr_t from, uintptr_t to, size_t len);
	/* Calls @copy_out for every run of marked pages; a child needs them now. */
	int (*forked)(void *mm,
		      int (*copy_out)(void *arg, struct nhi_map *map, uintptr_t addr,
				      uint32_t nr_pages),
		      void *arg);
};

struct nhi_os_ops {
	const char *name;

	/* ---- life ---- */

	/* The engine is ready: deliver to @sink, with @mm as first argument, from now on. */
	void (*bind)(struct nhi_os *os, const struct nhi_os_sink *sink, void *mm);
	/* Nothing is marked or managed any more; stop threads, close, free. */
	void (*destroy)(struct nhi_os *os);

	/* ---- time, identity, waiting: signal path ---- */

	uint64_t (*now_ns)(struct nhi_os *os);
	void (*self)(struct nhi_os *os, struct nhi_toucher *who);
	/*
	 * Between enter and leave the calling thread is not interrupted by a signal handler of the
	 * program, which could touch a page that this thread has locked. Nests by *token.
	 */
	void (*enter)(struct nhi_os *os, uint64_t *token);
	void (*leave)(struct nhi_os *os, const uint64_t *token);
	/* Sleep while *word == @value, until woken; may return for no reason. 0 or -EAGAIN. */
	void (*wait)(struct nhi_os *os, uint32_t *word, uint32_t value);
	void (*wake_all)(struct nhi_os *os, uint32_t *word);
	/* Let others run: the caller polls for something that another thread is about to do. */
	void (*relax)(struct nhi_os *os);

	/* ---- memory of the engine: zeroed, page aligned, never managed; not on the signal path -- */

	void *(*table_alloc)(struct nhi_os *os, size_t bytes);
	void (*table_free)(struct nhi_os *os, void *mem, size_t bytes);

	/* ---- mappings and their traps: may block, not on the signal path ---- */

	/*
	 * The mappings in [start, end), in order of address, at most @max; a hole is simply absent.
	 * Return: how many (@max: there may be more).
	 */
	long (*mappings)(struct nhi_os *os, uintptr_t start, uintptr_t end,
			 struct nhi_mapping *maps, size_t max);
	/*
	 * Make a map for @mapping with a trap that fits. Return: 0 and *ret with one reference;
	 * -EOPNOTSUPP no trap fits this kind of memory; -EPERM, -ENOMEM, -EMFILE.
	 */
	int (*attach)(struct nhi_os *os, const struct nhi_mapping *mapping, struct nhi_map **ret);
	/* The last reference is gone: nothing of the map is marked. */
	void (*detach)(struct nhi_os *os, struct nhi_map *map);
	/* The policy of the range, for pages that are populated from now on; may do nothing. */
	int (*set_policy)(struct nhi_os *os, uintptr_t start, uintptr_t end, int mode,
			  const unsigned long *nodes, unsigned int nr_bits);

	/* ---- marking: not on the signal path ---- */

	/*
	 * Facts about pages, into info[] (NHI_INFO_*). @map NULL: not managed. Disturbs nothing. For a marked page the
	 * answer is about the page that is kept for it.
	 */
	int (*query)(struct nhi_os *os, struct nhi_map *map, uintptr_t addr, uint32_t nr_pages,
		     uint8_t *info);
	/*
	 * Before and after a series of mark calls for one map: what marking has to decide once
	 * (may pages be copied later?) and what it can defer (one flush, one unregistering).
	 */
	int (*mark_begin)(struct nhi_os *os, struct nhi_map *map);
	void (*mark_end)(struct nhi_os *os, struct nhi_map *map);
	/*
	 * Mark a run. Statuses: OK, HOLE, SHARED, PINNED, BUSY, MAPS, UNSUPPORTED, NOMEM. A page
	 * whose status is not OK is as it was. Return: pages marked. Own events.
	 */
	long (*mark)(struct nhi_os *os, struct nhi_run *run);

	/* ---- resolving: signal path, under mmap_lock for reading ---- */

	/*
	 * nodes[]: the node each page is on; NHI_UNKNOWN_NODE for a hole or where it cannot be seen.
	 * Works marked or not. @map NULL: memory that is not managed. Not called if emulated.
	 */
	int (*nodes)(struct nhi_os *os, struct nhi_map *map, uintptr_t addr, uint32_t nr_pages,
		     uint8_t *nodes);
	/*
	 * Make marked pages accessible again, as and where they are. Statuses: OK, HOLE (reads as
	 * zeros now), STUCK. Return: 0; -EAGAIN: an event is under way; nothing more was done than
	 * the statuses say, the rest is marked still.
	 */
	int (*restore)(struct nhi_os *os, struct nhi_run *run);
	/*
	 * The same, with the page on run->node if that can be done: OK moved and accessible; HOLE;
	 * STUCK; otherwise accessible where it was, and the status says why it was not moved.
	 */
	int (*migrate)(struct nhi_os *os, struct nhi_run *run);
	/*
	 * The rest of the restore ladder, for pages that were STUCK. run->node: where migrate was to
	 * bring them; OK then means that they are there. Own events.
	 */
	int (*restore_hard)(struct nhi_os *os, struct nhi_run *run);
	/* A first touch of a hole in a range that is watched. 1: zeros now; 0: not needed; -EAGAIN. */
	int (*zero_fill)(struct nhi_os *os, struct nhi_map *map, uintptr_t addr);
	/*
	 * Nothing of the map is marked any more, as far as the caller knows: stop watching it
	 * where that is cheap. The implementation counts for itself, so a marker may be faster.
	 */
	void (*quiet)(struct nhi_os *os, struct nhi_map *map);
	/*
	 * How many pages the trap wants resolved together around a fault, at least: 1 but for
	 * mprotect near vm.max_map_count. @marked: pages of the map that are marked now.
	 */
	uint32_t (*granule)(struct nhi_os *os, struct nhi_map *map, uint64_t marked);

	/* ---- from events: not on the signal path, under mmap_lock for writing ---- */

	/* Marked pages that the program dropped, every page of the run: what is kept goes. */
	void (*discard)(struct nhi_os *os, struct nhi_map *map, uintptr_t addr, uint32_t nr_pages);
	/* The program moved [from, from + len) to @to: a map for the new place, same pages. */
	int (*moved)(struct nhi_os *os, struct nhi_map *map, uintptr_t from, uintptr_t to,
		     size_t len, struct nhi_map **ret);

	/* ---- references: may block, not on the signal path, no lock held but what is said ---- */

	/*
	 * Make the page at @addr present as an access would, a private copy if @write. @force: also
	 * where the program itself may not do that. @map NULL: not managed.
	 * Return: 0; -EFAULT, -ENOMEM, -EHWPOISON; -EAGAIN.
	 */
	int (*populate)(struct nhi_os *os, struct nhi_map *map, uintptr_t addr, bool write,
			bool force);
	/*
	 * Copy the contents of the marked page at @addr, LOCKED by the caller, to @buf, which is not
	 * managed. Return: 0; -EFAULT it cannot be read.
	 */
	int (*peek)(struct nhi_os *os, struct nhi_map *map, uintptr_t addr, void *buf);

	/* ---- eager moving, for mbind without LAZY: may block ---- */

	/* Move pages that are not marked; statuses as for migrate. Return: pages moved. */
	long (*move_now)(struct nhi_os *os, struct nhi_run *run);
};

/* What the machine looks like; constant after creation, so read without locks. */
struct nhi_os {
	const struct nhi_os_ops *ops;
	size_t page_size; /* bytes, power of two */
	size_t huge_size; /* bytes that a PMD maps, power of two; == page_size: no huge pages */
	int nr_nodes;	  /* nodes are 0 .. nr_nodes - 1, some may lack memory or CPUs */
	bool emulated;	  /* node numbers live in the engine's entries, not in the hardware */
	uint8_t distance[NHI_MAX_NODES + 1][NHI_MAX_NODES + 1]; /* as in the ACPI SLIT, 10 local */
	uint64_t has_memory[4];					/* bit per node */
	uint64_t has_cpus[4];
	uint64_t helper_ioctls; /* counter, for nh_stats */
};

static inline bool nhi_node_has_memory(const struct nhi_os *os, int node)
{
	return node >= 0 && node < os->nr_nodes && (os->has_memory[node / 64] >> (node % 64) & 1);
}

#endif
