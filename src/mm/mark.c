// SPDX-License-Identifier: MIT
/*
 * Marking (change_prot_numa): make the next access to present, unshared, unpinned pages fault.
 *
 * One granule at a time: ask the os what is there, lock the entries, let the os mark the run, set
 * the states. The os call runs without mmap_lock, for it may wait for the monitor to read an event
 * that it raised itself; the entries are LOCKED and the map is referenced, and that is enough:
 * whoever faults on the run waits for the entries, and an event that concerns it is tried again
 * until they are unlocked.
 */
#include "mm.h"

#include <string.h>

#define FRESH (NHI_WANT(NHI_NONE) | NHI_WANT(NHI_PRESENT))

/* One granule's part of a VMA. */
struct piece {
	struct nhi_mm *mm;
	const struct nhi_vma *vma;
	uintptr_t start, end;
	struct nhi_pmd *pmd;
	long marked;
	uint8_t info[NHI_MAX_RUN];
	uint8_t status[NHI_MAX_RUN];
	nhi_word old[NHI_MAX_RUN];
};

static void skip(struct piece *p, uint8_t status, uint64_t pages)
{
	if (status != NHI_PAGE_HOLE)
		nhi_mm_count(p->mm, 0, NHI_C_SKIPPED + nhi_reason_of(status), pages);
}

static void run_of(struct piece *p, uintptr_t addr, uint32_t nr, bool huge, struct nhi_run *run)
{
	memset(run, 0, sizeof(*run));
	run->map = p->vma->map;
	run->addr = addr;
	run->nr_pages = nr;
	run->huge = huge;
	run->prot = p->vma->prot;
	run->node = NHI_NO_NODE;
	run->status = p->status;
	memset(p->status, NHI_PAGE_OTHER, huge ? 1 : nr);
}

/*
 * Marked pages are counted before the os marks them: a fault that comes at once must not bring the
 * count below zero, or to zero while there are marks.
 */
static void marked_add(struct piece *p, long n)
{
	(void)nhi_add_acq_rel(&p->vma->map->marked, (uint64_t)n);
}

/* Mark pages [addr, addr + nr), all LOCKED, their former words in old[first...]; unlock them. */
static void mark_run(struct piece *p, uintptr_t addr, uint32_t first, uint32_t nr, nhi_word *ptes)
{
	struct nhi_mm *mm = p->mm;
	struct nhi_run run;
	long done = 0;

	run_of(p, addr, nr, false, &run);
	marked_add(p, nr);
	(void)mm->os->ops->mark(mm->os, &run);
	for (uint32_t i = 0; i < nr; i++)
		done += p->status[i] == NHI_PAGE_OK;
	/* Before they are unlocked: no page may be counted as restored before it is as marked. */
	if (!NHI_CANARY(COUNTED_LATE))
		nhi_mm_count(mm, 0, NHI_C_MARKED, (uint64_t)done);
	for (uint32_t i = 0; i < nr; i++) {
		uintptr_t at = addr + ((uintptr_t)i << mm->page_shift);
		nhi_word word = p->old[first + i];

		if (p->status[i] == NHI_PAGE_OK)
			word = nhi_word_with_state(word, NHI_MARKED);
		else if (p->status[i] == NHI_PAGE_HOLE)
			word = NHI_NONE; /* what was known of the page went with it */
		else
			skip(p, p->status[i], 1);
		nhi_entry_unlock(mm, at, &ptes[nhi_pte_index(mm, at)], word);
	}
	marked_add(p, done - (long)nr);
	if (NHI_CANARY(COUNTED_LATE))
		nhi_mm_count(mm, 0, NHI_C_MARKED, (uint64_t)done);
	p->marked += done;
}

/*
 * Lock page @i for marking. Whoever holds a reference uses the page at its address, so a get keeps it
 * from being marked just as a pin does; the kernel's holders have mappings of their own.
 */
static int lock_fresh(struct piece *p, uintptr_t at, uint32_t i)
{
	nhi_word *entry = &p->pmd->ptes[nhi_pte_index(p->mm, at)];
	int err = nhi_entry_trylock(p->mm, at, entry, p->pmd, FRESH, &p->old[i]);

	if (!err && nhi_word_gets(p->old[i]) && !NHI_CANARY(MARKED_UNDER_GET)) {
		nhi_entry_unlock(p->mm, at, entry, p->old[i]);
		err = -EBUSY;
	}
	return err;
}

/* Lock what can be locked in the piece, run by run, and mark it. */
static void mark_ptes(struct piece *p)
{
	struct nhi_mm *mm = p->mm;
	uint32_t nr = nhi_nr_pages(mm, p->start, p->end), first = 0;

	for (uint32_t i = 0; i <= nr; i++) {
		uintptr_t at = p->start + ((uintptr_t)i << mm->page_shift);
		int err = -ENOENT;

		/* A hole inside a run is locked too: it may be filled before the os gets there. */
		if (i < nr && (!(p->info[i] & NHI_INFO_SHARED) || NHI_CANARY(SHARED_PAGE_MARKED)))
			err = lock_fresh(p, at, i);
		if (!err)
			continue;
		if (i > first)
			mark_run(p, p->start + ((uintptr_t)first << mm->page_shift), first,
				 i - first, p->pmd->ptes);
		first = i + 1;
		if (i >= nr || !(p->info[i] & NHI_INFO_PRESENT))
			continue;
		if (p->info[i] & NHI_INFO_SHARED)
			skip(p, NHI_PAGE_SHARED, 1);
		else if (err == -EBUSY)
			skip(p, NHI_PAGE_PINNED, 1);
		else if (err != -ENOENT) /* -ENOENT: marked already */
			skip(p, NHI_PAGE_BUSY, 1);
	}
}

/*
 * The PMD word is LOCKED by us. Does no PTE below count any more? Pairs with (P) in
 * nhi_entry_trylock(): who locked a PTE before we locked the PMD is seen here.
 */
static bool ptes_idle(const struct piece *p, nhi_word *ret_word)
{
	nhi_word *ptes = nhi_load_acquire(&p->pmd->ptes);

	if (NHI_CANARY(HUGE_OVER_PTES))
		return true;
	*ret_word = NHI_NONE;
	for (uint32_t i = 0; ptes && i < p->mm->ptes_per_pmd; i++) {
		nhi_word w = nhi_load_seq_cst(&ptes[i]);

		if (nhi_word_busy(w) || nhi_word_state(w) == NHI_MARKED ||
		    w & (NHI_W_PINS | NHI_W_GETS))
			return false;
		if (i == 0)
			*ret_word = w & ~NHI_W_WAITERS;
	}
	return true;
}

/* Mark a huge page as one. Return: false: not as one, try its PTEs. */
static bool mark_huge(struct piece *p)
{
	struct nhi_mm *mm = p->mm;
	uint32_t nr = mm->ptes_per_pmd;
	nhi_word old, base;
	struct nhi_run run;
	int err;

	err = nhi_entry_trylock(mm, p->start, &p->pmd->word, NULL, FRESH, &old);
	if (err == -EBUSY || err == -EAGAIN) {
		skip(p, err == -EBUSY ? NHI_PAGE_PINNED : NHI_PAGE_BUSY, nr);
		return true;
	}
	if (err)
		return true; /* marked already */
	if (nhi_word_gets(old)) {
		nhi_entry_unlock(mm, p->start, &p->pmd->word, old);
		skip(p, NHI_PAGE_PINNED, nr);
		return true;
	}
	base = old;
	if (nhi_word_state(old) == NHI_NONE && !ptes_idle(p, &base)) {
		nhi_entry_unlock(mm, p->start, &p->pmd->word, NHI_NONE);
		return false;
	}
	run_of(p, p->start, nr, true, &run);
	marked_add(p, nr);
	(void)mm->os->ops->mark(mm->os, &run);
	if (p->status[0] == NHI_PAGE_OK) {
		p->marked += nr;
		nhi_mm_count(mm, 0, NHI_C_MARKED, nr);
		nhi_entry_unlock(mm, p->start, &p->pmd->word,
				 nhi_word_with_state(base, NHI_MARKED));
		return true;
	}
	marked_add(p, -(long)nr);
	nhi_entry_unlock(mm, p->start, &p->pmd->word, old);
	if (p->status[0] == NHI_PAGE_UNSUPPORTED)
		return false;
	skip(p, p->status[0], nr);
	return true;
}

/* What the os says of the piece. Return: pages present; info[] filled; *huge: one huge page. */
static uint32_t look(struct piece *p, bool *huge)
{
	struct nhi_mm *mm = p->mm;
	uint32_t nr = nhi_nr_pages(mm, p->start, p->end);
	uint32_t present = 0;
	uint8_t all = 0xff;

	memset(p->info, 0, nr);
	if (mm->os->ops->query(mm->os, p->vma->map, p->start, nr, p->info))
		memset(p->info, NHI_INFO_PRESENT, nr);
	for (uint32_t i = 0; i < nr; i++) {
		present += p->info[i] & NHI_INFO_PRESENT;
		all &= p->info[i];
	}
	*huge = nr == mm->ptes_per_pmd && all & NHI_INFO_HUGE && !(all & NHI_INFO_SHARED);
	return present;
}

static int mark_piece(struct piece *p)
{
	bool huge;
	uint32_t present = look(p, &huge);
	int err;

	if (!present)
		return 0;
	p->pmd = nhi_pmd_alloc(p->mm, p->start);
	if (!p->pmd)
		return -ENOMEM;
	if (huge && mark_huge(p))
		return 0;
	/*
	 * Only a part is asked for, or the os has base pages there now. A split uses the mark of a huge
	 * page up, as the kernel's does (case 99): it is restored, then its part is marked.
	 */
	if (nhi_word_state(nhi_load_relaxed(&p->pmd->word)) == NHI_MARKED) {
		uintptr_t whole = nhi_round_down(p->start, (uintptr_t)nhi_huge_size(p->mm));

		(void)nhi_unmark_range(p->mm, whole, whole + nhi_huge_size(p->mm));
	}
	err = nhi_pmd_split(p->mm, p->start, p->pmd);
	if (err == -ENOMEM)
		return err;
	if (err)
		skip(p, err == -EBUSY ? NHI_PAGE_PINNED : NHI_PAGE_BUSY, present);
	else
		mark_ptes(p);
	return 0;
}

/*
 * Mark the part of one VMA. Caller holds mark_mutex and a reference to the map. A granule is larger
 * than NHI_MAX_RUN pages where base pages are large; then it is worked on in parts, and huge pages
 * there are marked by parts too.
 */
static long mark_vma(struct nhi_mm *mm, const struct nhi_vma *vma)
{
	const uintptr_t step =
		nhi_min((uintptr_t)nhi_huge_size(mm), (uintptr_t)NHI_MAX_RUN << mm->page_shift);
	struct piece p = { .mm = mm, .vma = vma };
	int err;

	if (!nhi_vma_accessible(vma)) {
		nhi_mm_count(mm, 0, NHI_C_SKIPPED + 7 /* NH_REASON_INACCESSIBLE */,
			     nhi_nr_pages(mm, vma->start, vma->end));
		return 0;
	}
	err = mm->os->ops->mark_begin(mm->os, vma->map);
	if (err)
		return err;
	for (p.start = vma->start; p.start < vma->end && !err; p.start = p.end) {
		p.end = nhi_min(vma->end, nhi_round_down(p.start, step) + step);
		err = mark_piece(&p);
	}
	mm->os->ops->mark_end(mm->os, vma->map);
	return p.marked ? p.marked : err;
}

/*
 * Signals of the program wait while a slice is marked, and so do other markers; a slice takes some
 * milliseconds.
 */
#define SLICE_GRANULES 64

long nhi_mark_range(struct nhi_mm *mm, uintptr_t start, uintptr_t end)
{
	const uintptr_t slice = SLICE_GRANULES * nhi_huge_size(mm);
	uint64_t begin = mm->os->ops->now_ns(mm->os);
	long marked = 0, err = 0;
	bool more = true;

	while (more && start < end) {
		struct nhi_vma vma;
		uint64_t token;
		long n;

		mm->os->ops->enter(mm->os, &token);
		nhi_mutex_lock(mm->os, &mm->mark_mutex);
		nhi_rank_take(NHI_RANK_MARK);
		more = nhi_vma_next(mm, start, end, &vma);
		if (more) {
			uintptr_t stop = nhi_round_down(vma.start, slice) + slice;

			vma.end = nhi_min(vma.end, stop);
			n = mark_vma(mm, &vma);
			err = n < 0 ? n : err;
			marked += n < 0 ? 0 : n;
			start = vma.end;
			nhi_map_put(mm, vma.map);
		}
		nhi_rank_drop(NHI_RANK_MARK);
		nhi_mutex_unlock(mm->os, &mm->mark_mutex);
		mm->os->ops->leave(mm->os, &token);
	}
	nhi_mm_count(mm, 0, NHI_C_MARK_NS, mm->os->ops->now_ns(mm->os) - begin);
	return marked ? marked : err;
}
