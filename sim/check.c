// SPDX-License-Identifier: MIT
#include "check.h"
#include "os_sim.h"

#include <stdio.h>

static char text[200];

#define wrong(...) (snprintf(text, sizeof(text), __VA_ARGS__), text)

/* The VMA map is in order, and each VMA has a map that is alive. */
static const char *check_vmas(struct nhi_mm *mm)
{
	for (size_t i = 0; i < mm->nr_vmas; i++) {
		const struct nhi_vma *v = &mm->vmas[i];

		if (v->start >= v->end || (i && mm->vmas[i - 1].end > v->start))
			return wrong("VMA %zu [%#lx, %#lx) is not in order", i, v->start, v->end);
		if (!v->map->refs)
			return wrong("VMA %zu has a dead map", i);
	}
	return NULL;
}

/* Each map holds one reference for each VMA, and as many marks as the machine counts. */
static const char *check_maps(struct nhi_mm *mm)
{
	for (size_t i = 0; i < mm->nr_vmas; i++) {
		struct nhi_map *map = mm->vmas[i].map;
		uint32_t refs = 0;

		for (size_t k = 0; k < mm->nr_vmas; k++)
			refs += mm->vmas[k].map == map;
		if (map->refs != refs)
			return wrong("a map has %u references and %u VMAs", map->refs, refs);
		if (map->marked != ((struct sim_map *)map)->hw)
			return wrong("a map says %lu marked, the machine %lu", map->marked,
				     ((struct sim_map *)map)->hw);
		if (((struct sim_map *)map)->marking)
			return wrong("mark_begin without mark_end");
	}
	return NULL;
}

static const char *check_page(struct nhi_mm *mm, struct sim *m, uint32_t n, uint64_t *marked)
{
	uintptr_t addr = sim_addr(m, n);
	bool huge, hw = sim_marked(m->space, addr);
	nhi_word *entry = nhi_entry_lookup(mm, addr, &huge);
	nhi_word word = entry ? *entry : NHI_NONE;

	if (nhi_word_busy(word))
		return wrong("page %u is still locked: %#lx", n, word);
	if (word & NHI_W_WAITERS)
		return wrong("page %u has a waiter: %#lx", n, word);
	if ((nhi_word_state(word) == NHI_MARKED) != hw)
		return wrong("page %u: entry %#lx, the machine says %s", n, word,
			     hw ? "marked" : "not marked");
	if (hw && !nhi_vma_find(mm, addr))
		return wrong("page %u is marked outside of every VMA", n);
	*marked += hw;
	return NULL;
}

static const char *check_locks(struct nhi_mm *mm)
{
	uint32_t readers = 0;

	for (int i = 0; i < NHI_MMAP_SLOTS; i++)
		readers += mm->mmap_lock.slot[i].readers;
	if (readers || mm->mmap_lock.writer || mm->mmap_lock.writers.word || mm->mark_mutex.word)
		return "a lock is held";
	return NULL;
}

const char *sim_check_engine(struct nhi_mm *mm, struct sim *m)
{
	const char *bad = m->broken;
	uint64_t marked = 0;

	if (!bad)
		bad = check_vmas(mm);
	if (!bad)
		bad = check_maps(mm);
	if (!bad)
		bad = check_locks(mm);
	for (uint32_t n = 0; !bad && n < m->conf.nr_pages; n++)
		bad = check_page(mm, m, n, &marked);
	if (!bad && nhi_mm_marked_now(mm) != marked)
		bad = wrong("%lu marked, %lu restored, %lu migrated, %lu lost, but %lu marked now",
			    nhi_mm_counter(mm, NHI_C_MARKED), nhi_mm_counter(mm, NHI_C_RESTORED),
			    nhi_mm_counter(mm, NHI_C_MIGRATED), nhi_mm_counter(mm, NHI_C_LOST),
			    marked);
	return bad;
}
