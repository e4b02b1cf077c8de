/* SPDX-License-Identifier: MIT */
/*
 * The engine: one managed address space, its VMAs, its page table, marking and hinting faults.
 *
 * Glossary
 *   mm       the ranges that one caller manages, their page table and counters
 *   VMA      a range with one protection, one policy and one map (the os side: trap and shadow)
 *   entry    the state word of a base page (PTE) or of a huge page (PMD): entry.h
 *   mark     make the next access fault; the page is MARKED until then
 *   hinting fault  an access that found its page MARKED, under the entry lock
 *   run      consecutive pages that are worked on together, every entry LOCKED by the worker
 *   resolve  make a marked page accessible: restore it in place, or migrate it
 *   granule  what one PMD maps (os->huge_size bytes); the engine works granule by granule
 *
 * Which files: table.c (radix tree, entry locks), vma.c (VMA map), mark.c, fault.c, resolve.c
 * (unmark and everything shared with faults), event.c (what the program does to its memory),
 * policy.c (where a page belongs), mbind.c, eager.c (moving at once), mm.c (life, fork, counters).
 */
#ifndef NHI_MM_H
#define NHI_MM_H

#include "base.h"
#include "entry.h"
#include "lock.h"
#include "os.h"

#define NHI_MAX_RUN	     512 /* pages worked on at once; bounds what the fault path keeps on its stack */

/* ------------------------------------------------------------------------------- policy */

#define NHI_POLICY_MOF	     1u /* migrate on fault: a hinting fault may move pages */
#define NHI_POLICY_MORON     2u /* towards the node of the toucher, whatever the mode's node is */
#define NHI_POLICY_STATIC    4u
#define NHI_POLICY_RELATIVE  8u
#define NHI_POLICY_BALANCING 16u

struct nhi_policy {
	uint16_t mode; /* enum nh_mpol's numbers */
	uint16_t flags;
	uint64_t nodes[4]; /* effective nodes */
	uint64_t asked[4]; /* as given, for get_mempolicy */
};

/* ----------------------------------------------------------------------------- counters */

/* Reasons have the numbers of enum nh_reason; kept equal by a static assertion in src/api. */
#define NHI_REASONS 11
enum nhi_counter {
	NHI_C_MARKED,
	NHI_C_HINTING_FAULTS,
	NHI_C_HINTING_LOCAL,
	NHI_C_AROUND,
	NHI_C_MIGRATED,
	NHI_C_RESTORED,
	NHI_C_LOST,
	NHI_C_WAITS,
	NHI_C_ZERO_FILLED,
	NHI_C_UNKNOWN_TOUCHERS,
	NHI_C_COPIED,
	NHI_C_MOVED,
	NHI_C_LADDER_MOVE,
	NHI_C_LADDER_COPY,
	NHI_C_LADDER_MREMAP,
	NHI_C_BY_MONITOR,
	NHI_C_BY_THREAD,
	NHI_C_MARK_NS,
	NHI_C_EAGER,
	NHI_C_TOUCHED_LOCAL,
	NHI_C_TOUCHED_REMOTE,
	NHI_C_SKIPPED, /* NHI_REASONS of them */
	NHI_C_FAILED = NHI_C_SKIPPED + NHI_REASONS,
	NHI_COUNTERS = NHI_C_FAILED + NHI_REASONS,
};

/* ---------------------------------------------------------------------------------- VMA */

/* Guarded by mmap_lock. A copy of one may be used as long as its map is referenced. */
struct nhi_vma {
	uintptr_t start, end;
	unsigned int prot; /* NHI_PROT_*; 0: inaccessible */
	uint8_t home;	   /* node that pages count for which nobody moved yet; emulated nodes */
	bool has_policy;
	struct nhi_policy policy;
	struct nhi_map *map; /* holds one reference */
};

static inline bool nhi_vma_accessible(const struct nhi_vma *vma)
{
	return vma->prot != 0;
}

/* --------------------------------------------------------------------------- page table */

#define NHI_FANOUT	 512
#define NHI_FANOUT_SHIFT 9

struct nhi_pmd {
	nhi_word word;	/* of the huge page; NONE: the PTEs count */
	nhi_word *ptes; /* huge_size / page_size of them, or NULL; never freed before the mm */
};

struct nhi_pmd_table {
	struct nhi_pmd pmd[NHI_FANOUT];
};
struct nhi_pud_table {
	struct nhi_pmd_table *pud[NHI_FANOUT];
};

/*
 * Where a thread's faults went last, to see sequences: a few streams, for a loop that walks several
 * arrays side by side. Threads share slots; racy by design, for it is only a guess. See fault.c.
 */
#define NHI_STREAMS 4
struct nhi_around {
	uintptr_t next[NHI_STREAMS];  /* address behind what the stream's last fault resolved */
	uint16_t window[NHI_STREAMS]; /* pages */
	uint32_t victim;	      /* the stream to forget next */
	uint32_t spurious;	      /* faults in a row, at ... */
	uintptr_t spurious_addr;      /* ... this address, that found nothing to do */
} __attribute__((aligned(NHI_CACHE_LINE)));

/* A thread's policy, for ranges that have none: set_mempolicy. */
struct nhi_task {
	int tid;
	struct nhi_policy policy;
};

#define NHI_WAIT_QUEUES	 64
#define NHI_AROUND_SLOTS 64

struct nhi_mm {
	struct nhi_os *os;
	unsigned int page_shift;
	unsigned int huge_shift;
	uint32_t ptes_per_pmd;
	uint32_t around_max; /* pages, <= NHI_MAX_RUN */

	struct nhi_mutex mark_mutex; /* rank MARK; held while a series of pages is marked */
	struct nhi_mmap_lock mmap_lock;
	uint32_t hard; /* threads in nhi_batch_hard(): entries locked, but not mmap_lock */

	/* Sorted by start, disjoint. Guarded by mmap_lock. */
	struct nhi_vma *vmas;
	size_t nr_vmas;
	size_t max_vmas;

	/* Threads with a policy of their own, sorted by id. Guarded by mmap_lock. */
	struct nhi_task *tasks;
	size_t nr_tasks;
	size_t max_tasks;

	/* Readers walk it without locks; filled by compare-and-swap; freed with the mm. */
	struct nhi_pud_table *pgd[NHI_FANOUT];

	uint64_t metadata_bytes;	 /* counter */
	uint32_t queue[NHI_WAIT_QUEUES]; /* counts up at every wake-up; sleepers' futex words */
	struct nhi_around around[NHI_AROUND_SLOTS];
	struct {
		uint64_t n[NHI_COUNTERS];
	} counters[NHI_MMAP_SLOTS] __attribute__((aligned(NHI_CACHE_LINE)));
};

/* --------------------------------------------------------------------------- small ones */

static inline size_t nhi_page_size(const struct nhi_mm *mm)
{
	return (size_t)1 << mm->page_shift;
}

static inline size_t nhi_huge_size(const struct nhi_mm *mm)
{
	return (size_t)1 << mm->huge_shift;
}

static inline uint32_t nhi_nr_pages(const struct nhi_mm *mm, uintptr_t start, uintptr_t end)
{
	return (uint32_t)((end - start) >> mm->page_shift);
}

static inline void nhi_mm_count(struct nhi_mm *mm, unsigned int slot, enum nhi_counter c,
				uint64_t n)
{
	if (n)
		nhi_count(&mm->counters[slot % NHI_MMAP_SLOTS].n[c], n);
}

uint64_t nhi_mm_counter(const struct nhi_mm *mm, enum nhi_counter c);
/* enum nhi_page_status -> index of a reason */
unsigned int nhi_reason_of(uint8_t status);

/* --------------------------------------------------------------------------------- mm.c */

int nhi_mm_init(struct nhi_mm *mm, struct nhi_os *os, uint32_t around_max);
/* Unmarks, forgets all ranges, unbinds the os object; the caller destroys that and frees @mm. */
void nhi_mm_done(struct nhi_mm *mm);
/* Around fork(): prepare unmarks everything and holds the locks until parent or child. */
void nhi_mm_fork_prepare(struct nhi_mm *mm);
void nhi_mm_fork_parent(struct nhi_mm *mm);
void nhi_mm_fork_child(struct nhi_mm *mm);
/* When this returns, every access that was over before is in the counters. Takes mmap_lock. */
void nhi_mm_settle(struct nhi_mm *mm);
uint64_t nhi_mm_marked_now(struct nhi_mm *mm);
uint64_t nhi_mm_managed_bytes(struct nhi_mm *mm);
extern const struct nhi_os_sink nhi_mm_sink;

/* ------------------------------------------------------------------------------ table.c */

/* NULL if nothing was ever recorded there. No lock needed. Signal path. */
struct nhi_pmd *nhi_pmd_lookup(const struct nhi_mm *mm, uintptr_t addr);
/* Make the tables down to the PMD (and its PTEs). NULL: no memory. */
struct nhi_pmd *nhi_pmd_alloc(struct nhi_mm *mm, uintptr_t addr);
int nhi_pte_alloc(struct nhi_mm *mm, struct nhi_pmd *pmd);
uint32_t nhi_pte_index(const struct nhi_mm *mm, uintptr_t addr);
/* The word that stands for @addr now: the PMD's if huge, else the PTE's; NULL: none. */
nhi_word *nhi_entry_lookup(const struct nhi_mm *mm, uintptr_t addr, bool *ret_huge);

/*
 * NONE, PRESENT without pins, or MARKED, as @want says (bit per state) -> LOCKED.
 * @ret_old: the word as it was. Return: 0; -EAGAIN locked by somebody; -EBUSY pinned;
 * -ENOENT in another state; -ESTALE the PMD became huge meanwhile (@pmd is the PMD above a PTE,
 * NULL for a PMD entry). Signal path.
 */
#define NHI_WANT(state) (1u << (state))
int nhi_entry_trylock(struct nhi_mm *mm, uintptr_t addr, nhi_word *entry, struct nhi_pmd *pmd,
		      unsigned int want, nhi_word *ret_old);
/* LOCKED -> the state, node and last toucher of @word; references stay; wakes who waits. */
void nhi_entry_unlock(struct nhi_mm *mm, uintptr_t addr, nhi_word *entry, nhi_word word);
/* Sleep until an entry that was seen locked may have been unlocked. Holds nothing. */
void nhi_entry_wait(struct nhi_mm *mm, uintptr_t addr, nhi_word *entry);
/*
 * A huge entry becomes PTEs of the same state; the caller holds it LOCKED (@old its former word)
 * and has allocated the PTEs.
 */
void nhi_pmd_split_locked(struct nhi_mm *mm, uintptr_t addr, struct nhi_pmd *pmd, nhi_word old);
/*
 * If the PMD entry stands for a huge page: from here on the PTEs below count. Return: 0; -EAGAIN
 * locked by somebody, -EBUSY referenced: it stays one; -ENOMEM.
 */
int nhi_pmd_split(struct nhi_mm *mm, uintptr_t addr, struct nhi_pmd *pmd);

/* -------------------------------------------------------------------------------- vma.c */

/* Caller holds mmap_lock. The VMA that holds @addr, or NULL. */
struct nhi_vma *nhi_vma_find(const struct nhi_mm *mm, uintptr_t addr);
/* Caller holds mmap_lock. Index of the first VMA that ends above @addr; nr_vmas: none. */
size_t nhi_vma_first(const struct nhi_mm *mm, uintptr_t addr);
/* Caller holds mmap_lock for writing. -EEXIST overlaps; -ENOMEM. Takes over the map reference. */
int nhi_vma_insert(struct nhi_mm *mm, const struct nhi_vma *vma);
/* Caller holds mmap_lock for writing. Room for @n more VMAs, so that as many calls cannot fail. */
int nhi_vma_reserve(struct nhi_mm *mm, size_t n);
/* Caller holds mmap_lock for writing. Split so that @addr is a boundary. -ENOMEM. */
int nhi_vma_split(struct nhi_mm *mm, uintptr_t addr);
/* Caller holds mmap_lock for writing. Remove what lies in [start, end); splits. -ENOMEM. */
int nhi_vma_remove(struct nhi_mm *mm, uintptr_t start, uintptr_t end);
/* Caller holds mmap_lock for writing. Join neighbours that are alike in [start, end]. */
void nhi_vma_merge(struct nhi_mm *mm, uintptr_t start, uintptr_t end);
void nhi_map_get(struct nhi_map *map);
void nhi_map_put(struct nhi_mm *mm, struct nhi_map *map);
/*
 * The VMA at or after @addr and below @end, copied, its map referenced; takes mmap_lock itself.
 * false: none.
 */
bool nhi_vma_next(struct nhi_mm *mm, uintptr_t addr, uintptr_t end, struct nhi_vma *ret);

/* Is [start, end) mapped, without holes unless @holes? 0; -EFAULT. */
int nhi_range_mapped(struct nhi_mm *mm, uintptr_t start, uintptr_t end, bool holes);

#define NHI_MANAGE_FRESH 1u /* nothing in the range may be managed already, else -EEXIST */
#define NHI_MANAGE_HOLES 2u /* what is not mapped is passed over */
/*
 * Manage what is mapped in [start, end). Return: 0; -EFAULT a part is not mapped (HOLES: all of it);
 * -EOPNOTSUPP nothing there can be managed; -EEXIST, -ENOMEM, -EPERM, -EMFILE.
 */
int nhi_manage(struct nhi_mm *mm, uintptr_t start, uintptr_t end, unsigned int how);
int nhi_unmanage(struct nhi_mm *mm, uintptr_t start, uintptr_t end);

/* ------------------------------------------------------------------------------- mark.c */

/*
 * change_prot_numa: mark the present, unshared, unpinned pages of [start, end).
 * Return: base pages newly marked; -ENOMEM if nothing could be done for lack of memory.
 */
long nhi_mark_range(struct nhi_mm *mm, uintptr_t start, uintptr_t end);

/* ----------------------------------------------------------------------------- eager.c */

/*
 * Move the misplaced pages of [start, end) under @pol now (@all: also those that others map), or
 * only count them. Return: how many are, or stay, misplaced; negative errno. Cases 79 to 81.
 */
long nhi_eager_range(struct nhi_mm *mm, uintptr_t start, uintptr_t end,
		     const struct nhi_policy *pol, bool move, bool all);

/* ------------------------------------------------------------------------------ fault.c */

int nhi_fault(void *mm, uintptr_t addr, bool write, const struct nhi_toucher *who,
	      enum nhi_delivery by);

/* ---------------------------------------------------------------------------- resolve.c */

/*
 * Locked pages that are being resolved together, and what is known about each. Lives on the stack of
 * a signal handler, so it is kept small.
 */
struct nhi_batch {
	struct nhi_mm *mm;
	const struct nhi_vma *vma;
	uintptr_t addr; /* of entry 0 */
	uint32_t nr;	/* pages; a huge entry counts as ptes_per_pmd but has one word */
	bool huge;
	unsigned int slot; /* for counters */
	nhi_word *entry;   /* of page 0; the others follow it, for they share a table */
#if NH_SIM
	bool waited; /* for the canary STATE_REUSED_AFTER_WAIT */
#endif
	uint8_t node[NHI_MAX_RUN];   /* where the page is now */
	uint8_t target[NHI_MAX_RUN]; /* where it is to go; NHI_UNKNOWN_NODE: restore in place */
	uint8_t status[NHI_MAX_RUN];
};

/*
 * Lock the marked pages from @addr on, at most @max, into @b; stops at the first that is not
 * marked or is busy. Return: as nhi_entry_trylock() of the first.
 */
int nhi_batch_lock(struct nhi_batch *b, struct nhi_mm *mm, const struct nhi_vma *vma,
		   uintptr_t addr, uint32_t max);
/* Fill node[]. */
void nhi_batch_locate(struct nhi_batch *b);
/*
 * Restore or migrate as target[] says and unlock all that could be resolved. Caller holds
 * mmap_lock for reading. Return: 0; -EAGAIN: the rest is marked and unlocked; -EBUSY: pages are
 * STUCK and still locked: call nhi_batch_hard() after dropping mmap_lock.
 */
int nhi_batch_resolve(struct nhi_batch *b, const struct nhi_toucher *who);
int nhi_batch_hard(struct nhi_batch *b);

/* Restore what is marked in [start, end). Return: pages restored; -EBUSY some could not be. */
long nhi_unmark_range(struct nhi_mm *mm, uintptr_t start, uintptr_t end);

/* ------------------------------------------------------------------------------ event.c */

void nhi_event_begin(void *mm);
void nhi_event_end(void *mm);
int nhi_event_discarded(void *mm, uintptr_t start, uintptr_t end);
int nhi_event_unmapped(void *mm, uintptr_t start, uintptr_t end);
int nhi_event_remapped(void *mm, uintptr_t from, uintptr_t to, size_t len);
int nhi_event_forked(void *mm, int (*copy_out)(void *, struct nhi_map *, uintptr_t, uint32_t),
		     void *arg);

/* ----------------------------------------------------------------------------- policy.c */

/*
 * Where the page belongs: its target node, or NHI_NO_NODE if it is fine where it is. @node: where
 * it is; @word: its entry, for the last toucher; @huge: the entry of a huge page. Signal path.
 */
int nhi_misplaced(const struct nhi_mm *mm, const struct nhi_vma *vma, uintptr_t addr, uint8_t node,
		  nhi_word word, bool huge, const struct nhi_toucher *who);
/* The same for an eager move: a page on a node of the mask stays; the caller is who it moves for. */
int nhi_eager_target(const struct nhi_mm *mm, const struct nhi_vma *vma, uintptr_t addr,
		     uint8_t node, bool huge, const struct nhi_toucher *who);
bool nhi_policy_equal(const struct nhi_policy *a, const struct nhi_policy *b);
/* Is it a mode with flags that go with it? -EINVAL. Case 71. */
int nhi_mode_check(int mode);
/* Check a mode word and its nodes; fill @ret. -EINVAL. Cases 71, 76, 77. */
int nhi_policy_make(const struct nhi_mm *mm, int mode, const uint64_t nodes[4],
		    struct nhi_policy *ret);

/* --------------------------------------------------------------------------- mprotect.c */

/* Changes the protection of [start, start + len), a system call of the caller's. 0 or -errno. */
typedef int (*nhi_change_fn)(void *arg, uintptr_t start, size_t len, unsigned int prot);
/*
 * The range has the protection @prot (NHI_PROT_*) from now on, by @change; what is marked in it is
 * restored. Return: 0; -ENOMEM a part is not mapped; -EBUSY a page could not be restored; what
 * @change returned.
 */
int nhi_mprotect(struct nhi_mm *mm, uintptr_t start, uintptr_t end, unsigned int prot,
		 nhi_change_fn change, void *arg);

/* -------------------------------------------------------------------------- mempolicy.c */

/* Caller holds mmap_lock. The thread's policy, or NULL. Signal path. */
const struct nhi_policy *nhi_task_policy(const struct nhi_mm *mm, int tid);
/* The policy of the calling thread. -EINVAL, -ENOMEM. */
int nhi_set_mempolicy(struct nhi_mm *mm, int mode, const uint64_t nodes[4]);
/* get_mempolicy(2): NODE 1, ADDR 2, MEMS_ALLOWED 4. -EINVAL, -EFAULT. Disturbs no mark. */
int nhi_get_mempolicy(struct nhi_mm *mm, uintptr_t addr, unsigned int flags, int *mode,
		      uint64_t nodes[4]);
/* In a forked child: of the threads only the one that forked is left, by another name. */
void nhi_tasks_fork_child(struct nhi_mm *mm, int forker, int child);

/* ---------------------------------------------------------------------------- inspect.c */

/* Bytes of a range, by what they are; see struct nh_smaps, which is alike. */
struct nhi_smaps {
	uint64_t managed, resident, huge, shared, marked, referenced, inaccessible, unplaced;
	uint64_t node[256];
};
/* Adds up the managed parts of [start, end) into @ret, which is not managed memory. */
int nhi_smaps(struct nhi_mm *mm, uintptr_t start, uintptr_t end, struct nhi_smaps *ret);
/*
 * The contents of a marked page, which stays marked, huge or not, into @buf, which is not managed.
 * Return: 0; -ENOENT the page is not marked; -EFAULT.
 */
int nhi_peek_marked(struct nhi_mm *mm, uintptr_t addr, void *buf);
/* See nh_node_of(); @nodes is not managed memory. */
int nhi_nodes_of(struct nhi_mm *mm, uintptr_t addr, uint32_t nr, int *nodes);

/* ------------------------------------------------------------------------------ mbind.c */

/* @nodes: the user's mask, already copied; @len in bytes. See nh_mbind(). */
long nhi_mbind(struct nhi_mm *mm, uintptr_t start, size_t len, int mode, const uint64_t nodes[4],
	       unsigned int flags);

#endif
