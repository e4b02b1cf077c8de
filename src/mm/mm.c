// SPDX-License-Identifier: MIT
/* Life of an mm, fork, counters. */
#include "mm.h"

#include <string.h>

const struct nhi_os_sink nhi_mm_sink = {
	.fault = nhi_fault,
	.event_begin = nhi_event_begin,
	.event_end = nhi_event_end,
	.discarded = nhi_event_discarded,
	.unmapped = nhi_event_unmapped,
	.remapped = nhi_event_remapped,
	.forked = nhi_event_forked,
};

unsigned int nhi_reason_of(uint8_t status)
{
	/* The order is that of enum nh_reason. */
	switch (status) {
	case NHI_PAGE_SHARED:
		return 0;
	case NHI_PAGE_PINNED:
		return 1;
	case NHI_PAGE_BUSY:
		return 2;
	case NHI_PAGE_NOMEM:
		return 3;
	case NHI_PAGE_MAPS:
		return 8;
	case NHI_PAGE_UNSUPPORTED:
		return 9;
	default:
		return 10;
	}
}

static unsigned int log2_of(size_t x)
{
	return (unsigned int)__builtin_ctzl(x);
}

int nhi_mm_init(struct nhi_mm *mm, struct nhi_os *os, uint32_t around_max)
{
	memset(mm, 0, sizeof(*mm));
	mm->os = os;
	mm->page_shift = log2_of(os->page_size);
	mm->huge_shift = log2_of(os->huge_size);
	mm->ptes_per_pmd = 1u << (mm->huge_shift - mm->page_shift);
	mm->around_max = around_max && around_max < NHI_MAX_RUN ? around_max : NHI_MAX_RUN;
	os->ops->bind(os, &nhi_mm_sink, mm);
	return 0;
}

static void free_tables(struct nhi_mm *mm)
{
	const struct nhi_os_ops *ops = mm->os->ops;

	for (int i = 0; i < NHI_FANOUT; i++) {
		struct nhi_pud_table *puds = mm->pgd[i];

		for (int j = 0; puds && j < NHI_FANOUT; j++) {
			struct nhi_pmd_table *pmds = puds->pud[j];

			for (int k = 0; pmds && k < NHI_FANOUT; k++) {
				if (pmds->pmd[k].ptes)
					ops->table_free(mm->os, pmds->pmd[k].ptes,
							mm->ptes_per_pmd * sizeof(nhi_word));
			}
			if (pmds)
				ops->table_free(mm->os, pmds, sizeof(*pmds));
		}
		if (puds)
			ops->table_free(mm->os, puds, sizeof(*puds));
	}
	if (mm->tasks)
		ops->table_free(mm->os, mm->tasks, mm->max_tasks * sizeof(*mm->tasks));
	if (mm->vmas)
		ops->table_free(mm->os, mm->vmas, mm->max_vmas * sizeof(*mm->vmas));
}

void nhi_mm_done(struct nhi_mm *mm)
{
	/* A page that cannot be restored keeps its mm alive: try until there is none. */
	while (nhi_unmanage(mm, 0, UINTPTR_MAX))
		mm->os->ops->relax(mm->os);
	mm->os->ops->bind(mm->os, NULL, NULL);
	free_tables(mm);
}

void nhi_mm_fork_prepare(struct nhi_mm *mm)
{
	struct nhi_toucher me;

	/* Out go markers and eager movers, with the entries they hold. */
	nhi_mutex_lock(mm->os, &mm->mark_mutex);
	mm->os->ops->self(mm->os, &me);
	for (;;) {
		while (nhi_unmark_range(mm, 0, UINTPTR_MAX) < 0)
			mm->os->ops->relax(mm->os);
		nhi_mmap_write_lock(mm->os, &mm->mmap_lock, me.tid);
		/*
		 * The child must not inherit an entry that is locked by a thread it does not have.
		 * Acquire pairs with the release in nhi_batch_hard(); without mmap_lock nobody
		 * else holds entries.
		 */
		if (!nhi_load_acquire(&mm->hard) && !nhi_mm_marked_now(mm)) {
			/* Every mm is prepared; their locks are held side by side until the end. */
			nhi_rank_drop(NHI_RANK_MMAP);
			return;
		}
		nhi_mmap_write_unlock(mm->os, &mm->mmap_lock);
		mm->os->ops->relax(mm->os);
	}
}

void nhi_mm_fork_parent(struct nhi_mm *mm)
{
	nhi_rank_take(NHI_RANK_MMAP);
	nhi_mmap_write_unlock(mm->os, &mm->mmap_lock);
	nhi_mutex_unlock(mm->os, &mm->mark_mutex);
}

void nhi_mm_fork_child(struct nhi_mm *mm)
{
	struct nhi_toucher me;

	/*
	 * Only this thread came along. The others were not inside the engine, but they may have
	 * counted themselves as readers for a moment while they found the writer.
	 */
	memset(mm->mmap_lock.slot, 0, sizeof(mm->mmap_lock.slot));
	mm->os->ops->self(mm->os, &me);
	nhi_tasks_fork_child(mm, mm->mmap_lock.writer_tid, me.tid);
	nhi_rank_take(NHI_RANK_MMAP);
	nhi_mmap_write_unlock(mm->os, &mm->mmap_lock);
	nhi_mutex_unlock(mm->os, &mm->mark_mutex);
}

void nhi_mm_settle(struct nhi_mm *mm)
{
	uint64_t token;

	/* Who resolves a fault reads mmap_lock until it has counted; the toucher may be on by then. */
	mm->os->ops->enter(mm->os, &token);
	nhi_event_begin(mm);
	nhi_event_end(mm);
	mm->os->ops->leave(mm->os, &token);
}

uint64_t nhi_mm_counter(const struct nhi_mm *mm, enum nhi_counter c)
{
	uint64_t sum = 0;

	for (int i = 0; i < NHI_MMAP_SLOTS; i++)
		sum += nhi_count_read(&mm->counters[i].n[c]);
	return sum;
}

/* Every mark ends as restored, migrated or lost, so the rest is marked still. */
uint64_t nhi_mm_marked_now(struct nhi_mm *mm)
{
	uint64_t ended = nhi_mm_counter(mm, NHI_C_RESTORED) + nhi_mm_counter(mm, NHI_C_MIGRATED) +
			 nhi_mm_counter(mm, NHI_C_LOST);
	uint64_t marked = nhi_mm_counter(mm, NHI_C_MARKED);

	/* Read one after the other while others count: never less than nothing. */
	return marked > ended ? marked - ended : 0;
}

uint64_t nhi_mm_managed_bytes(struct nhi_mm *mm)
{
	struct nhi_vma vma;
	uintptr_t at = 0;
	uint64_t bytes = 0, token;

	mm->os->ops->enter(mm->os, &token);
	while (nhi_vma_next(mm, at, UINTPTR_MAX, &vma)) {
		bytes += vma.end - vma.start;
		at = vma.end;
		nhi_map_put(mm, vma.map);
	}
	mm->os->ops->leave(mm->os, &token);
	return bytes;
}
