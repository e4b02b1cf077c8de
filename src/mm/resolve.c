// SPDX-License-Identifier: MIT
/*
 * Resolving marked pages: what a hinting fault, unmark and (later) GUP have in common.
 *
 *	lock entries -> locate -> decide (the caller) -> restore or migrate -> unlock
 *
 * A batch lies within one granule, so its entries share a table, and within one VMA. The caller
 * holds mmap_lock for reading from before the VMA was found until the batch is resolved, so that no
 * event (munmap, MADV_DONTNEED, ...) comes between.
 */
#include "mm.h"

#include <string.h>

#define MARKED_ONLY NHI_WANT(NHI_MARKED)

static uintptr_t page_addr(const struct nhi_batch *b, uint32_t i)
{
	return b->addr + ((uintptr_t)i << b->mm->page_shift);
}

static int lock_huge(struct nhi_batch *b, struct nhi_pmd *pmd)
{
	struct nhi_mm *mm = b->mm;
	uintptr_t start = nhi_round_down(b->addr, (uintptr_t)nhi_huge_size(mm));
	nhi_word old;
	int err;

	/*
	 * A VMA boundary inside a huge page splits it before it can be marked, or in event.c; the
	 * batch is the whole page in any case.
	 */
	err = nhi_entry_trylock(mm, start, &pmd->word, NULL, MARKED_ONLY, &old);
	if (err)
		return err;
	b->addr = start;
	b->huge = true;
	b->nr = mm->ptes_per_pmd;
	b->entry = &pmd->word;
	return 0;
}

int nhi_batch_lock(struct nhi_batch *b, struct nhi_mm *mm, const struct nhi_vma *vma,
		   uintptr_t addr, uint32_t max)
{
	struct nhi_pmd *pmd = nhi_pmd_lookup(mm, addr);
	uint32_t left = nhi_nr_pages(mm, addr, vma->end);
	nhi_word *ptes, old;
	uint32_t index;
	int err;

	b->mm = mm;
	b->vma = vma;
	b->addr = addr;
	b->nr = 0;
	b->huge = false;
	if (!pmd)
		return -ENOENT;
	/* Acquire: NONE means that the PTEs are set; pairs with nhi_pmd_split_locked(). */
	if (nhi_word_state(nhi_load_acquire(&pmd->word)) != NHI_NONE)
		return lock_huge(b, pmd);
	ptes = nhi_load_acquire(&pmd->ptes);
	if (!ptes)
		return -ENOENT;
	index = nhi_pte_index(mm, addr);
	b->entry = &ptes[index];
	max = nhi_min(nhi_min(max, left), nhi_min(mm->ptes_per_pmd - index, NHI_MAX_RUN));
	do {
		err = nhi_entry_trylock(mm, page_addr(b, b->nr), &b->entry[b->nr], pmd, MARKED_ONLY,
					&old);
	} while (!err && ++b->nr < max);
	return b->nr ? 0 : err;
}

void nhi_batch_locate(struct nhi_batch *b)
{
	uint32_t words = b->huge ? 1 : b->nr;

	if (b->mm->os->emulated) {
		/* Locked by us: nobody else changes these words but for their counts. */
		for (uint32_t i = 0; i < words; i++) {
			uint8_t node = nhi_word_node(nhi_load_relaxed(&b->entry[i]));

			b->node[i] = node == NHI_UNKNOWN_NODE ? b->vma->home : node;
		}
		return;
	}
	memset(b->node, NHI_UNKNOWN_NODE, words);
	(void)b->mm->os->ops->nodes(b->mm->os, b->vma->map, b->addr, words, b->node);
}

/* The state that page @i of the batch leaves with, and what that counts for. */
static void unlock_one(struct nhi_batch *b, uint32_t i, enum nhi_state state, uint8_t node,
		       const struct nhi_toucher *who)
{
	nhi_word word = nhi_word_with_state(nhi_load_relaxed(&b->entry[i]), state);

	if (node != NHI_UNKNOWN_NODE)
		word = nhi_word_with_node(word, node);
	if (who && who->node >= 0 && state == NHI_PRESENT)
		word = nhi_word_with_last(word, (uint8_t)who->node, (uint8_t)who->tid) |
		       NHI_W_YOUNG;
	nhi_entry_unlock(b->mm, page_addr(b, i), &b->entry[i], state == NHI_NONE ? NHI_NONE : word);
}

static void count(struct nhi_batch *b, enum nhi_counter c, uint64_t n)
{
	nhi_mm_count(b->mm, b->slot, c, n);
}

/* The state that page @i leaves with; LOCKED: it is stuck and stays so. */
static enum nhi_state state_after(const struct nhi_batch *b, uint32_t i, bool again)
{
	const uint8_t status = b->status[i];

	if (again && (status == NHI_PAGE_OTHER || status == NHI_PAGE_STUCK))
		return NHI_MARKED;
	if (status == NHI_PAGE_STUCK)
		return NHI_LOCKED;
	return status == NHI_PAGE_HOLE ? NHI_NONE : NHI_PRESENT;
}

static void unlock_settled(struct nhi_batch *b, uint32_t first, uint32_t n, bool again,
			   const struct nhi_toucher *who)
{
	for (uint32_t i = first; i < first + n; i++) {
		enum nhi_state state = state_after(b, i, again);
		bool moved = b->target[i] != NHI_UNKNOWN_NODE && b->status[i] == NHI_PAGE_OK;

		if (state == NHI_MARKED)
			b->status[i] =
				NHI_PAGE_BUSY; /* not ours any more: not for nhi_batch_hard() */
		if (state == NHI_PRESENT)
			unlock_one(b, i, state, moved ? b->target[i] : b->node[i], who);
		else if (state != NHI_LOCKED)
			unlock_one(b, i, state, NHI_UNKNOWN_NODE, NULL);
	}
}

/*
 * Count and unlock what a call for pages [first, first + n) of the batch brought, in this order:
 * whoever finds a page unlocked finds it counted. Return: pages that are STUCK; they stay locked.
 */
static uint32_t settle(struct nhi_batch *b, uint32_t first, uint32_t n, const struct nhi_run *run,
		       bool again, const struct nhi_toucher *who)
{
	const uint32_t pages = b->huge ? b->nr : 1; /* for each word */
	uint64_t restored = 0, migrated = 0, lost = 0, done;
	uint32_t stuck = 0;

	for (uint32_t i = first; i < first + n; i++) {
		bool moving = b->target[i] != NHI_UNKNOWN_NODE;
		enum nhi_state state = state_after(b, i, again);

		stuck += state == NHI_LOCKED;
		lost += state == NHI_NONE ? pages : 0;
		if (state != NHI_PRESENT)
			continue;
		if (moving && b->status[i] == NHI_PAGE_OK) {
			migrated += pages;
			continue;
		}
		restored += pages;
		if (moving)
			count(b, NHI_C_FAILED + nhi_reason_of(b->status[i]), pages);
	}
	done = restored + migrated + lost;
	count(b, NHI_C_RESTORED, restored);
	count(b, NHI_C_MIGRATED, migrated);
	count(b, NHI_C_LOST, lost);
	count(b, NHI_C_COPIED, nhi_min(run->copied, migrated));
	count(b, NHI_C_MOVED, migrated - nhi_min(run->copied, migrated));
	count(b, NHI_C_LADDER_MOVE, run->ladder[0]);
	count(b, NHI_C_LADDER_COPY, run->ladder[1]);
	count(b, NHI_C_LADDER_MREMAP, run->ladder[2]);
	unlock_settled(b, first, n, again, who);
	/* Release: a marker that sees 0 sees the pages restored; acquire, for quiet below. */
	if (done && nhi_add_acq_rel(&b->vma->map->marked, -done) == 0)
		b->mm->os->ops->quiet(b->mm->os, b->vma->map);
	return stuck;
}

static void run_of(struct nhi_batch *b, uint32_t first, uint32_t n, struct nhi_run *run)
{
	memset(run, 0, sizeof(*run));
	run->map = b->vma->map;
	run->addr = page_addr(b, first);
	run->nr_pages = b->huge ? b->nr : n;
	run->huge = b->huge;
	run->prot = b->vma->prot;
	run->node = b->target[first] == NHI_UNKNOWN_NODE ? NHI_NO_NODE : b->target[first];
	run->status = &b->status[first];
	memset(run->status, NHI_PAGE_OTHER, n);
}

/* Entries will stay locked without mmap_lock; whoever forks must wait for them. */
static int hard(struct nhi_batch *b)
{
	nhi_add_relaxed(&b->mm->hard, 1); /* ordered by dropping mmap_lock */
	return -EBUSY;
}

int nhi_batch_resolve(struct nhi_batch *b, const struct nhi_toucher *who)
{
	const struct nhi_os_ops *ops = b->mm->os->ops;
	uint32_t words = b->huge ? 1 : b->nr;
	uint32_t first = 0, stuck = 0;

	while (first < words) {
		struct nhi_run run;
		uint32_t n = 1;
		int err;

		while (first + n < words && b->target[first + n] == b->target[first])
			n++;
		run_of(b, first, n, &run);
		err = run.node == NHI_NO_NODE ? ops->restore(b->mm->os, &run) :
						ops->migrate(b->mm->os, &run);
		if (err == -EAGAIN) {
			stuck += settle(b, first, n, &run, true, who);
			for (uint32_t i = first + n; i < words; i++)
				unlock_one(b, i, NHI_MARKED, NHI_UNKNOWN_NODE, NULL);
			b->nr = b->huge ? b->nr : first + n;
			return stuck ? hard(b) : -EAGAIN;
		}
		for (uint32_t i = first; err && i < first + n; i++) {
			if (b->status[i] == NHI_PAGE_OTHER)
				b->status[i] = NHI_PAGE_STUCK;
		}
		stuck += settle(b, first, n, &run, false, who);
		first += n;
	}
	return stuck ? hard(b) : 0;
}

int nhi_batch_hard(struct nhi_batch *b)
{
	uint32_t words = b->huge ? 1 : b->nr;
	uint32_t left = 0;

	for (uint32_t i = 0; i < words; i++) {
		struct nhi_run run;
		bool stuck;

		if (b->status[i] != NHI_PAGE_STUCK)
			continue;
		run_of(b, i, 1, &run);
		if (b->mm->os->ops->restore_hard(b->mm->os, &run))
			b->status[i] = NHI_PAGE_STUCK;
		/* What cannot be restored stays marked: the next touch tries again. */
		stuck = b->status[i] == NHI_PAGE_STUCK;
		left += stuck;
		(void)settle(b, i, 1, &run, stuck, NULL);
	}
	/* Release: pairs with the load in nhi_mm_fork_prepare(); the entries are unlocked. */
	nhi_add_release(&b->mm->hard, -1);
	return left ? -EBUSY : 0;
}

/*
 * Restore some of the marked pages in [addr, end) of one granule. Return: pages done or skipped, so
 * that the caller can go on behind them; -EAGAIN: let others work, then again; -EBUSY.
 */
static long unmark_some(struct nhi_mm *mm, uintptr_t addr, uintptr_t end, uint64_t *restored)
{
	struct nhi_batch b;
	struct nhi_toucher me;
	struct nhi_vma vma;
	struct nhi_vma *found;
	unsigned int slot;
	bool locked;
	int err;

	mm->os->ops->self(mm->os, &me);
	slot = nhi_mmap_read_lock(mm->os, &mm->mmap_lock, (unsigned int)me.tid);
	found = nhi_vma_find(mm, addr);
	if (!found) {
		nhi_mmap_read_unlock(mm->os, &mm->mmap_lock, slot);
		return 1;
	}
	vma = *found;
	nhi_map_get(vma.map); /* restore_hard runs without mmap_lock */
	b.slot = slot;
	err = nhi_batch_lock(&b, mm, &vma, addr, nhi_nr_pages(mm, addr, nhi_min(end, vma.end)));
	locked = !err;
	if (locked) {
		nhi_batch_locate(&b);
		memset(b.target, NHI_UNKNOWN_NODE, sizeof(b.target));
		err = nhi_batch_resolve(&b, NULL);
	} else if (err == -EAGAIN) {
		bool huge;
		nhi_word *entry = nhi_entry_lookup(mm, addr, &huge);

		nhi_mmap_read_unlock(mm->os, &mm->mmap_lock, slot);
		nhi_map_put(mm, vma.map);
		if (entry)
			nhi_entry_wait(mm, addr, entry);
		return -EAGAIN;
	} else {
		err = 0; /* not marked */
		b.nr = 1;
	}
	nhi_mmap_read_unlock(mm->os, &mm->mmap_lock, slot);
	if (err == -EBUSY)
		err = nhi_batch_hard(&b);
	if (!err && locked)
		*restored += b.nr;
	nhi_map_put(mm, vma.map);
	return err ? err :
		     (long)((b.addr + ((uintptr_t)b.nr << mm->page_shift) - addr) >>
			    mm->page_shift);
}

/* The first page in [addr, end) that is marked or busy; @end: none. A look, without locks. */
static uintptr_t next_marked(const struct nhi_mm *mm, uintptr_t addr, uintptr_t end)
{
	const uintptr_t huge = nhi_huge_size(mm);

	while (addr < end) {
		struct nhi_pmd *pmd = nhi_pmd_lookup(mm, addr);
		uintptr_t stop = nhi_min(end, nhi_round_down(addr, huge) + huge);
		nhi_word word = pmd ? nhi_load_acquire(&pmd->word) : NHI_NONE;
		nhi_word *ptes = pmd ? nhi_load_acquire(&pmd->ptes) : NULL;

		if (nhi_word_state(word) == NHI_MARKED || nhi_word_busy(word))
			return addr;
		if (!ptes || nhi_word_state(word) != NHI_NONE) {
			addr = stop;
			continue;
		}
		for (; addr < stop; addr += nhi_page_size(mm)) {
			word = nhi_load_relaxed(&ptes[nhi_pte_index(mm, addr)]);
			if (nhi_word_state(word) == NHI_MARKED || nhi_word_busy(word))
				return addr;
		}
	}
	return end;
}

long nhi_unmark_range(struct nhi_mm *mm, uintptr_t start, uintptr_t end)
{
	uint64_t restored = 0;
	bool failed = false;
	struct nhi_vma vma;
	uint64_t token;

	mm->os->ops->enter(mm->os, &token);
	while (start < end && nhi_vma_next(mm, start, end, &vma)) {
		uintptr_t addr = vma.start;

		while ((addr = next_marked(mm, addr, vma.end)) < vma.end) {
			long n = unmark_some(mm, addr, vma.end, &restored);

			if (n == -EAGAIN) {
				mm->os->ops->relax(mm->os);
				continue;
			}
			failed |= n < 0;
			addr += (uintptr_t)(n < 0 ? 1 : n) << mm->page_shift;
		}
		start = vma.end;
		nhi_map_put(mm, vma.map);
	}
	mm->os->ops->leave(mm->os, &token);
	return failed ? -EBUSY : (long)restored;
}
