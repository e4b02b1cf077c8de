// SPDX-License-Identifier: MIT
/*
 * What the program does to managed memory behind our back: MADV_DONTNEED, munmap, mremap, fork.
 *
 * Called by the monitor for events it read, and by src/api for programs whose calls are interposed;
 * always between nhi_event_begin() and nhi_event_end(), that is with mmap_lock held for writing: no
 * fault is being resolved. A marker may still hold entries; then the call returns -EAGAIN and is
 * made again, and whatever was done already is not done twice.
 */
#include "mm.h"

void nhi_event_begin(void *data)
{
	struct nhi_mm *mm = data;
	struct nhi_toucher me;

	mm->os->ops->self(mm->os, &me);
	nhi_mmap_write_lock(mm->os, &mm->mmap_lock, me.tid);
}

void nhi_event_end(void *data)
{
	struct nhi_mm *mm = data;

	nhi_mmap_write_unlock(mm->os, &mm->mmap_lock);
}

/* The page or granule at @addr is gone from the program's view. @entry is LOCKED by us. */
static void forget(struct nhi_mm *mm, const struct nhi_vma *vma, uintptr_t addr, uint32_t nr,
		   nhi_word *entry, nhi_word old)
{
	if (nhi_word_state(old) == NHI_MARKED) {
		mm->os->ops->discard(mm->os, vma->map, addr, nr);
		nhi_mm_count(mm, 0, NHI_C_LOST, nr);
		(void)nhi_add_acq_rel(&vma->map->marked, -(uint64_t)nr);
	}
	nhi_entry_unlock(mm, addr, entry, NHI_NONE);
}

/*
 * A huge entry of which [addr, stop) is dropped. Return: 1 all of it was forgotten; 0 the PTEs count
 * now; -EAGAIN.
 */
static int discard_huge(struct nhi_mm *mm, const struct nhi_vma *vma, struct nhi_pmd *pmd,
			uintptr_t addr, uintptr_t stop)
{
	const uintptr_t start = nhi_round_down(addr, (uintptr_t)nhi_huge_size(mm));
	const unsigned int want = NHI_WANT(NHI_MARKED) | NHI_WANT(NHI_PRESENT);
	nhi_word old;
	int err;

	if (nhi_word_state(nhi_load_acquire(&pmd->word)) == NHI_NONE)
		return 0;
	err = nhi_entry_trylock(mm, start, &pmd->word, NULL, want, &old);
	if (err == -EBUSY)
		return 1; /* pinned: its holder keeps the page; nothing is marked */
	if (err)
		return err == -EAGAIN ? err : 0;
	if (addr == start && stop == start + nhi_huge_size(mm)) {
		forget(mm, vma, start, mm->ptes_per_pmd, &pmd->word, old);
		return 1;
	}
	if (nhi_word_gets(old) || nhi_pte_alloc(mm, pmd)) {
		nhi_entry_unlock(mm, start, &pmd->word, old);
		return nhi_word_gets(old) ? 1 : -EAGAIN;
	}
	nhi_pmd_split_locked(mm, start, pmd, old);
	return 0;
}

static int discard_ptes(struct nhi_mm *mm, const struct nhi_vma *vma, struct nhi_pmd *pmd,
			uintptr_t addr, uintptr_t stop)
{
	const unsigned int want = NHI_WANT(NHI_MARKED) | NHI_WANT(NHI_PRESENT);
	nhi_word *ptes = nhi_load_acquire(&pmd->ptes);
	bool busy = false;

	for (; ptes && addr < stop; addr += nhi_page_size(mm)) {
		nhi_word *pte = &ptes[nhi_pte_index(mm, addr)], old;
		int err = nhi_entry_trylock(mm, addr, pte, pmd, want, &old);

		busy |= err == -EAGAIN || err == -ESTALE;
		if (!err)
			forget(mm, vma, addr, 1, pte, old);
	}
	if (NHI_CANARY(LOST_EVENT))
		return 0;
	return busy ? -EAGAIN : 0;
}

int nhi_event_discarded(void *data, uintptr_t start, uintptr_t end)
{
	struct nhi_mm *mm = data;
	const uintptr_t huge = nhi_huge_size(mm);
	int ret = 0;

	for (size_t i = nhi_vma_first(mm, start); i < mm->nr_vmas; i++) {
		const struct nhi_vma *vma = &mm->vmas[i];
		uintptr_t addr = nhi_max(start, vma->start), last = nhi_min(end, vma->end), stop;

		for (; addr < last; addr = stop) {
			struct nhi_pmd *pmd = nhi_pmd_lookup(mm, addr);
			int err;

			stop = nhi_min(last, nhi_round_down(addr, huge) + huge);
			if (!pmd)
				continue;
			err = discard_huge(mm, vma, pmd, addr, stop);
			if (!err)
				err = discard_ptes(mm, vma, pmd, addr, stop);
			if (err < 0)
				ret = err;
		}
	}
	return ret;
}

int nhi_event_unmapped(void *data, uintptr_t start, uintptr_t end)
{
	struct nhi_mm *mm = data;
	int err = nhi_event_discarded(mm, start, end);

	if (err)
		return err;
	/* No memory to split the VMA: it stays, without marks, and its faults find no page: harmless. */
	(void)nhi_vma_remove(mm, start, end);
	return 0;
}

/* Is an entry in [start, end) held by a marker? Splits huge entries, so that the PTEs count. */
static int settle_entries(struct nhi_mm *mm, uintptr_t start, uintptr_t end)
{
	const uintptr_t huge = nhi_huge_size(mm);
	uintptr_t stop;

	for (uintptr_t addr = start; addr < end; addr = stop) {
		struct nhi_pmd *pmd = nhi_pmd_lookup(mm, addr);
		uintptr_t base = nhi_round_down(addr, huge);
		nhi_word *ptes;
		int err;

		stop = nhi_min(end, base + huge);
		if (!pmd)
			continue;
		err = nhi_pmd_split(mm, base, pmd);
		if (err == -EBUSY)
			continue; /* referenced, so not marked: the page moves, its entry stays behind */
		if (err)
			return -EAGAIN;
		ptes = nhi_load_acquire(&pmd->ptes);
		for (; ptes && addr < stop; addr += nhi_page_size(mm)) {
			if (nhi_word_busy(nhi_load_acquire(&ptes[nhi_pte_index(mm, addr)])))
				return -EAGAIN;
		}
	}
	return 0;
}

/* The entry of @from becomes that of @to, whose tables exist. Return: 1 if it was marked. */
static uint64_t move_entry(struct nhi_mm *mm, uintptr_t from, uintptr_t to)
{
	const unsigned int want = NHI_WANT(NHI_MARKED) | NHI_WANT(NHI_PRESENT);
	struct nhi_pmd *src = nhi_pmd_lookup(mm, from), *dst = nhi_pmd_lookup(mm, to);
	nhi_word *pte, old;

	if (!src || !nhi_load_acquire(&src->ptes))
		return 0;
	pte = &src->ptes[nhi_pte_index(mm, from)];
	if (nhi_entry_trylock(mm, from, pte, src, want, &old))
		return 0;
	/* Nobody works on the new place: it is not managed yet, and we hold mmap_lock. */
	/* References are given back at the address they were taken at. */
	nhi_store_release(&dst->ptes[nhi_pte_index(mm, to)], old & ~(NHI_W_PINS | NHI_W_GETS));
	nhi_entry_unlock(mm, from, pte, NHI_NONE);
	return nhi_word_state(old) == NHI_MARKED;
}

/* The part [from, stop) of one VMA now lives at @to. */
static int remap_part(struct nhi_mm *mm, size_t i, uintptr_t from, uintptr_t stop, uintptr_t to)
{
	struct nhi_vma vma = mm->vmas[i];
	struct nhi_map *old = vma.map;
	const size_t len = stop - from;
	uint64_t marked = 0;
	int err = nhi_vma_reserve(mm, 2); /* for the removal, which may split, and the new one */

	for (uintptr_t at = to; at < to + len;
	     at = nhi_round_down(at, (uintptr_t)nhi_huge_size(mm)) + nhi_huge_size(mm)) {
		struct nhi_pmd *pmd = nhi_pmd_alloc(mm, at);

		if (err || !pmd || nhi_pte_alloc(mm, pmd))
			return -EAGAIN;
	}
	err = mm->os->ops->moved(mm->os, old, from, to, len, &vma.map);
	if (err)
		return -EAGAIN;
	for (size_t off = 0; off < len; off += nhi_page_size(mm))
		marked += move_entry(mm, from + off, to + off);
	(void)nhi_add_acq_rel(&vma.map->marked, marked);
	(void)nhi_add_acq_rel(&old->marked, -marked);
	vma.start = to;
	vma.end = to + len;
	(void)nhi_vma_remove(mm, from, stop);
	return nhi_vma_insert(mm, &vma);
}

/* Index of the last VMA that has a part in [start, end); nr_vmas: none. */
static size_t last_vma(const struct nhi_mm *mm, uintptr_t start, uintptr_t end)
{
	size_t i = nhi_vma_first(mm, end);

	if (i == mm->nr_vmas || mm->vmas[i].start >= end)
		i--; /* wraps if there is none */
	return i < mm->nr_vmas && mm->vmas[i].end > start ? i : mm->nr_vmas;
}

int nhi_event_remapped(void *data, uintptr_t from, uintptr_t to, size_t len)
{
	struct nhi_mm *mm = data;
	uintptr_t end = from + len;
	size_t i = last_vma(mm, from, end);
	int err = settle_entries(mm, from, end);

	if (err)
		return err;
	if (i == mm->nr_vmas)
		return nhi_event_unmapped(mm, to, to + len);
	/*
	 * From the end. A part that has moved is gone from here, so a call that was interrupted and is
	 * made again sees where it has got to, and leaves alone what it moved then.
	 */
	end = nhi_min(end, mm->vmas[i].end);
	/*
	 * What was managed at the new place was replaced by this mremap. Behind the last VMA an event
	 * of its own has said so.
	 */
	err = nhi_event_unmapped(mm, to, to + (end - from));
	while (!err && (i = last_vma(mm, from, end)) < mm->nr_vmas) {
		uintptr_t start = nhi_max(from, mm->vmas[i].start);

		end = nhi_min(end, mm->vmas[i].end);
		err = remap_part(mm, i, start, end, to + (start - from));
	}
	return err == -EAGAIN ? err : 0;
}

int nhi_event_forked(void *data, int (*copy_out)(void *, struct nhi_map *, uintptr_t, uint32_t),
		     void *arg)
{
	struct nhi_mm *mm = data;
	const size_t page = nhi_page_size(mm);

	for (size_t i = 0; i < mm->nr_vmas; i++) {
		const struct nhi_vma *vma = &mm->vmas[i];
		uintptr_t first = 0;
		int err = nhi_count_read(&vma->map->marked) ?
				  settle_entries(mm, vma->start, vma->end) :
				  0;

		if (err)
			return err;
		if (!nhi_count_read(&vma->map->marked))
			continue;
		for (uintptr_t at = vma->start; at <= vma->end; at += page) {
			bool huge, marked = false;
			nhi_word *entry = at < vma->end ? nhi_entry_lookup(mm, at, &huge) : NULL;

			if (entry)
				marked = nhi_word_state(nhi_load_acquire(entry)) == NHI_MARKED;
			if (marked && !first)
				first = at;
			if (!marked && first) {
				err = copy_out(arg, vma->map, first, nhi_nr_pages(mm, first, at));
				if (err)
					return err;
				first = 0;
			}
		}
	}
	return 0;
}
