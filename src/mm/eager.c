// SPDX-License-Identifier: MIT
/*
 * Moving at once, for mbind without LAZY. Pages that are marked are moved and their mark is used up;
 * pages that others map are left out, which is no failure (cases 67, 79 to 81).
 *
 * Entries are held without mmap_lock while the os moves their pages, as in mark.c and for the same
 * reason, and under mark_mutex, so that a fork does not come between.
 */
#include "mm.h"

#include <string.h>

#define FRESH (NHI_WANT(NHI_NONE) | NHI_WANT(NHI_PRESENT))

/* Pages of one granule that mbind looks at, or moves. */
struct eager {
	struct nhi_mm *mm;
	struct nhi_vma vma;
	struct nhi_toucher who;
	struct nhi_pmd *pmd;
	uintptr_t addr;	 /* of page 0 */
	bool all;	 /* also pages that others map */
	long misplaced;	 /* pages that are, or that would not move */
	nhi_word *entry; /* of page 0; the others follow it */
	uint32_t scale;	 /* pages for each entry: one, or all of a huge page */
	uint8_t target[NHI_MAX_RUN];
	uint8_t status[NHI_MAX_RUN];
	nhi_word old[NHI_MAX_RUN];
};

static uintptr_t addr_of(const struct eager *e, uint32_t i)
{
	return e->addr + ((uintptr_t)i << e->mm->page_shift);
}

/* target[] for each present page; NHI_UNKNOWN_NODE: fine where it is. */
static int find_misplaced(struct eager *e, uint32_t nr)
{
	struct nhi_mm *mm = e->mm;
	const struct nhi_os_ops *ops = mm->os->ops;
	uint8_t *info = e->status, node[NHI_MAX_RUN];
	int err;

	memset(info, 0, nr);
	err = ops->query(mm->os, e->vma.map, e->addr, nr, info);
	memset(node, NHI_UNKNOWN_NODE, nr);
	if (!err && !mm->os->emulated)
		(void)ops->nodes(mm->os, e->vma.map, e->addr, nr, node);
	for (uint32_t i = 0; i < nr && !err; i++) {
		int target = NHI_NO_NODE;

		if (mm->os->emulated) {
			node[i] = nhi_word_node(nhi_load_relaxed(&e->entry[i]));
			node[i] = node[i] == NHI_UNKNOWN_NODE ? e->vma.home : node[i];
		}
		if (info[i] & NHI_INFO_PRESENT && (e->all || !(info[i] & NHI_INFO_SHARED)))
			target = nhi_eager_target(mm, &e->vma, addr_of(e, i), node[i], e->scale > 1,
						  &e->who);
		e->target[i] = target < 0 ? NHI_UNKNOWN_NODE : (uint8_t)target;
	}
	return err;
}

/* Move entries [first, first + n), LOCKED by us, of one target; unlock them. */
static void move_run(struct eager *e, uint32_t first, uint32_t n)
{
	struct nhi_mm *mm = e->mm;
	struct nhi_run run = { .map = e->vma.map,
			       .addr = addr_of(e, first),
			       .nr_pages = n * e->scale,
			       .huge = e->scale > 1,
			       .prot = e->vma.prot,
			       .node = e->target[first],
			       .all = e->all,
			       .status = &e->status[first] };

	memset(run.status, NHI_PAGE_OTHER, n);
	(void)mm->os->ops->move_now(mm->os, &run);
	for (uint32_t i = first; i < first + n; i++) {
		nhi_word word = e->old[i];

		switch (e->status[i]) {
		case NHI_PAGE_OK:
			word = nhi_word_with_node(nhi_word_with_state(word, NHI_PRESENT),
						  e->target[i]);
			nhi_mm_count(mm, 0, NHI_C_EAGER, e->scale);
			break;
		case NHI_PAGE_HOLE: /* dropped meanwhile */
			break;
		case NHI_PAGE_SHARED:
			if (!e->all)
				break;
			/* fall through */
		default:
			e->misplaced += e->scale;
			nhi_mm_count(mm, 0, NHI_C_FAILED + nhi_reason_of(e->status[i]), e->scale);
		}
		nhi_entry_unlock(mm, addr_of(e, i), &e->entry[i], word);
	}
}

/*
 * Pages [i, i + n) of one target, the first of which is marked: use the mark up, as a touch would.
 * Return: pages done, at least one; -EAGAIN.
 */
static long move_marked(struct eager *e, uint32_t i, uint32_t n)
{
	struct nhi_mm *mm = e->mm;
	struct nhi_batch b;
	uint32_t words;
	int err;

	b.slot = nhi_mmap_read_lock(mm->os, &mm->mmap_lock, (unsigned int)e->who.tid);
	err = nhi_batch_lock(&b, mm, &e->vma, addr_of(e, i), n);
	if (err) {
		nhi_mmap_read_unlock(mm->os, &mm->mmap_lock, b.slot);
		return -EAGAIN; /* touched meanwhile */
	}
	nhi_batch_locate(&b);
	words = b.huge ? 1 : b.nr;
	memset(b.target, e->target[i], words);
	err = nhi_batch_resolve(&b, NULL);
	nhi_mmap_read_unlock(mm->os, &mm->mmap_lock, b.slot);
	for (uint32_t j = 0; j < words; j++) {
		if (b.status[j] != NHI_PAGE_OK && b.status[j] != NHI_PAGE_HOLE &&
		    b.status[j] != NHI_PAGE_BUSY)
			e->misplaced += e->scale;
		if (b.status[j] == NHI_PAGE_OK)
			nhi_mm_count(mm, b.slot, NHI_C_EAGER, e->scale);
	}
	if (err == -EBUSY)
		(void)nhi_batch_hard(&b);
	return err == -EAGAIN ? err : (long)words;
}

/* Lock entry @i. 0; -EAGAIN busy; -ENOENT marked; -EBUSY referenced; -ESTALE the PMD changed. */
static int try_entry(struct eager *e, uint32_t i)
{
	int err = nhi_entry_trylock(e->mm, addr_of(e, i), &e->entry[i],
				    e->scale > 1 ? NULL : e->pmd, FRESH, &e->old[i]);

	if (!err && nhi_word_gets(e->old[i])) {
		nhi_entry_unlock(e->mm, addr_of(e, i), &e->entry[i], e->old[i]);
		err = -EBUSY;
	}
	return err;
}

/* The same, waiting while somebody else resolves it. */
static int lock_entry(struct eager *e, uint32_t i)
{
	int err;

	/* We hold no entry and no mmap_lock. */
	while ((err = try_entry(e, i)) == -EAGAIN)
		nhi_entry_wait(e->mm, addr_of(e, i), &e->entry[i]);
	return err;
}

/* Entries from @i on that have the target of @i. */
static uint32_t same_target(const struct eager *e, uint32_t i, uint32_t nr)
{
	uint32_t n = 1;

	while (i + n < nr && e->target[i + n] == e->target[i])
		n++;
	return n;
}

/* Return: 0; -ESTALE the granule changed its shape: look again. */
static int move_piece(struct eager *e, uint32_t nr)
{
	for (uint32_t i = 0, n; i < nr; i += n) {
		uint32_t same = same_target(e, i, nr);
		int err;

		n = 1;
		if (e->target[i] == NHI_UNKNOWN_NODE)
			continue;
		err = lock_entry(e, i);
		if (err == -ESTALE)
			return err;
		if (err == -ENOENT) {
			long done = move_marked(e, i, same * e->scale);

			n = done < 0 ? 0 : (uint32_t)done;
			if (done < 0)
				e->mm->os->ops->relax(e->mm->os);
			continue;
		}
		if (err) {
			e->misplaced += e->scale;
			continue;
		}
		/* The others only by try: who holds an entry does not wait. */
		while (n < same && try_entry(e, i + n) == 0)
			n++;
		move_run(e, i, n);
	}
	return 0;
}

/* The granule at e->addr up to @end: as one huge page, or by its PTEs. Return: entries, or an error. */
static long shape(struct eager *e, uintptr_t end)
{
	struct nhi_mm *mm = e->mm;
	uint32_t nr = nhi_nr_pages(mm, e->addr, end);
	int err;

	e->pmd = nhi_pmd_alloc(mm, e->addr);
	if (!e->pmd)
		return -ENOMEM;
	e->scale = mm->ptes_per_pmd;
	e->entry = &e->pmd->word;
	/* Acquire: NONE means that the PTEs are set; pairs with nhi_pmd_split_locked(). */
	if (nr == mm->ptes_per_pmd && nhi_word_state(nhi_load_acquire(&e->pmd->word)) != NHI_NONE)
		return 1;
	err = nhi_pmd_split(mm, e->addr, e->pmd);
	if (err)
		return err;
	e->scale = 1;
	e->entry = &e->pmd->ptes[nhi_pte_index(mm, e->addr)];
	return nr;
}

static int eager_piece(struct eager *e, uintptr_t end, bool move)
{
	struct nhi_mm *mm = e->mm;
	uint32_t nr = nhi_nr_pages(mm, e->addr, end);
	int err;

	do {
		long n = shape(e, end);

		if (n == -EBUSY) { /* a huge page that is referenced, asked for in part */
			e->misplaced += nr;
			return 0;
		}
		if (n == -EAGAIN)
			nhi_entry_wait(mm, nhi_round_down(e->addr, (uintptr_t)nhi_huge_size(mm)),
				       &e->pmd->word);
		err = n < 0 ? (int)n : find_misplaced(e, (uint32_t)n);
		if (!err && move)
			err = move_piece(e, (uint32_t)n);
		for (long i = 0; !err && !move && i < n; i++)
			e->misplaced += e->target[i] != NHI_UNKNOWN_NODE ? e->scale : 0;
	} while (err == -EAGAIN || err == -ESTALE);
	return err;
}

/* Caller holds mark_mutex. */
static int eager_vma(struct eager *e, bool move)
{
	const uintptr_t step = nhi_min((uintptr_t)nhi_huge_size(e->mm),
				       (uintptr_t)NHI_MAX_RUN << e->mm->page_shift);
	int err = 0;

	for (e->addr = e->vma.start; !err && e->addr < e->vma.end;) {
		uintptr_t stop = nhi_min(e->vma.end, nhi_round_down(e->addr, step) + step);

		err = eager_piece(e, stop, move);
		e->addr = stop;
	}
	return err;
}

/* Signals of the program and other markers wait while a slice is worked on. */
#define SLICE_GRANULES 16

long nhi_eager_range(struct nhi_mm *mm, uintptr_t start, uintptr_t end,
		     const struct nhi_policy *pol, bool move, bool all)
{
	const uintptr_t slice = SLICE_GRANULES * nhi_huge_size(mm);
	struct eager e = { .mm = mm, .all = all };
	bool more = true;
	int err = 0;

	while (more && !err && start < end) {
		uint64_t token;

		mm->os->ops->enter(mm->os, &token);
		if (!NHI_CANARY(EAGER_WITHOUT_MUTEX))
			nhi_mutex_lock(mm->os, &mm->mark_mutex);
		nhi_rank_take(NHI_RANK_MARK);
		mm->os->ops->self(mm->os, &e.who);
		more = nhi_vma_next(mm, start, end, &e.vma);
		if (more) {
			e.vma.end = nhi_min(e.vma.end, nhi_round_down(e.vma.start, slice) + slice);
			e.vma.has_policy = true;
			e.vma.policy = *pol;
			err = eager_vma(&e, move);
			start = e.vma.end;
			nhi_map_put(mm, e.vma.map);
		}
		nhi_rank_drop(NHI_RANK_MARK);
		if (!NHI_CANARY(EAGER_WITHOUT_MUTEX))
			nhi_mutex_unlock(mm->os, &mm->mark_mutex);
		mm->os->ops->leave(mm->os, &token);
	}
	return err ? err : e.misplaced;
}
