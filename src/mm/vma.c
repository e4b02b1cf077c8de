// SPDX-License-Identifier: MIT
/*
 * The VMA map: a sorted array under mmap_lock. Ranges are few (one for each managed allocation),
 * so a binary search over an array beats a tree, and a signal handler can read it.
 */
#include "mm.h"

#include <string.h>

size_t nhi_vma_first(const struct nhi_mm *mm, uintptr_t addr)
{
	size_t lo = 0, hi = mm->nr_vmas;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (mm->vmas[mid].end > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

struct nhi_vma *nhi_vma_find(const struct nhi_mm *mm, uintptr_t addr)
{
	size_t i = nhi_vma_first(mm, addr);

	return i < mm->nr_vmas && mm->vmas[i].start <= addr ? &mm->vmas[i] : NULL;
}

void nhi_map_get(struct nhi_map *map)
{
	/* Relaxed: whoever adds a reference has one already, or mmap_lock. */
	nhi_add_relaxed(&map->refs, 1);
}

void nhi_map_put(struct nhi_mm *mm, struct nhi_map *map)
{
	/* Acquire and release: the last one sees everything that the others did to the map. */
	if (nhi_add_acq_rel(&map->refs, -1) == 0)
		mm->os->ops->detach(mm->os, map);
}

int nhi_vma_reserve(struct nhi_mm *mm, size_t n)
{
	size_t page = nhi_page_size(mm);
	size_t old = mm->max_vmas * sizeof(*mm->vmas);
	size_t max = mm->max_vmas ? mm->max_vmas * 2 : page / sizeof(*mm->vmas);
	struct nhi_vma *fresh;

	if (mm->nr_vmas + n <= mm->max_vmas)
		return 0;
	max = nhi_max(max, mm->nr_vmas + n);
	fresh = mm->os->ops->table_alloc(mm->os, max * sizeof(*mm->vmas));
	if (!fresh)
		return -ENOMEM;
	if (mm->vmas) {
		memcpy(fresh, mm->vmas, mm->nr_vmas * sizeof(*mm->vmas));
		mm->os->ops->table_free(mm->os, mm->vmas, old);
	}
	nhi_count(&mm->metadata_bytes, max * sizeof(*mm->vmas) - old);
	mm->vmas = fresh;
	mm->max_vmas = max;
	return 0;
}

/* Make room for one more at @i. */
static int make_room(struct nhi_mm *mm, size_t i)
{
	if (nhi_vma_reserve(mm, 1))
		return -ENOMEM;
	memmove(&mm->vmas[i + 1], &mm->vmas[i], (mm->nr_vmas - i) * sizeof(*mm->vmas));
	mm->nr_vmas++;
	return 0;
}

static void remove_at(struct nhi_mm *mm, size_t i)
{
	mm->nr_vmas--;
	memmove(&mm->vmas[i], &mm->vmas[i + 1], (mm->nr_vmas - i) * sizeof(*mm->vmas));
}

int nhi_vma_insert(struct nhi_mm *mm, const struct nhi_vma *vma)
{
	size_t i = nhi_vma_first(mm, vma->start);
	int err;

	if (i < mm->nr_vmas && mm->vmas[i].start < vma->end)
		return -EEXIST;
	err = make_room(mm, i);
	if (err)
		return err;
	mm->vmas[i] = *vma;
	return 0;
}

int nhi_vma_split(struct nhi_mm *mm, uintptr_t addr)
{
	struct nhi_vma *vma = nhi_vma_find(mm, addr);
	size_t i;
	int err;

	if (!vma || vma->start == addr)
		return 0;
	i = (size_t)(vma - mm->vmas);
	err = make_room(mm, i);
	if (err)
		return err;
	mm->vmas[i] = mm->vmas[i + 1];
	mm->vmas[i].end = addr;
	mm->vmas[i + 1].start = addr;
	nhi_map_get(mm->vmas[i].map);
	return 0;
}

int nhi_vma_remove(struct nhi_mm *mm, uintptr_t start, uintptr_t end)
{
	size_t i;
	int err = nhi_vma_split(mm, start);

	if (!err)
		err = nhi_vma_split(mm, end);
	if (err)
		return err;
	i = nhi_vma_first(mm, start);
	while (i < mm->nr_vmas && mm->vmas[i].start < end) {
		struct nhi_map *map = mm->vmas[i].map;

		remove_at(mm, i);
		nhi_map_put(mm, map);
	}
	return 0;
}

static bool alike(const struct nhi_vma *a, const struct nhi_vma *b)
{
	return a->end == b->start && a->map == b->map && a->prot == b->prot && a->home == b->home &&
	       a->has_policy == b->has_policy &&
	       (!a->has_policy || nhi_policy_equal(&a->policy, &b->policy));
}

void nhi_vma_merge(struct nhi_mm *mm, uintptr_t start, uintptr_t end)
{
	size_t i = nhi_vma_first(mm, start ? start - 1 : 0);

	while (i + 1 < mm->nr_vmas && mm->vmas[i].start <= end) {
		if (!alike(&mm->vmas[i], &mm->vmas[i + 1])) {
			i++;
			continue;
		}
		mm->vmas[i].end = mm->vmas[i + 1].end;
		nhi_map_put(mm, mm->vmas[i].map);
		remove_at(mm, i + 1);
	}
}

bool nhi_vma_next(struct nhi_mm *mm, uintptr_t addr, uintptr_t end, struct nhi_vma *ret)
{
	struct nhi_toucher me;
	unsigned int slot;
	size_t i;
	bool found;

	mm->os->ops->self(mm->os, &me);
	slot = nhi_mmap_read_lock(mm->os, &mm->mmap_lock, (unsigned int)me.tid);
	i = nhi_vma_first(mm, addr);
	found = i < mm->nr_vmas && mm->vmas[i].start < end;
	if (found) {
		*ret = mm->vmas[i];
		ret->start = nhi_max(ret->start, addr);
		ret->end = nhi_min(ret->end, end);
		nhi_map_get(ret->map);
	}
	nhi_mmap_read_unlock(mm->os, &mm->mmap_lock, slot);
	return found;
}

/* Manage one mapping of the process. Caller holds mmap_lock for writing. */
static int manage_one(struct nhi_mm *mm, const struct nhi_mapping *m, uint8_t home)
{
	struct nhi_vma vma = { .start = m->start, .end = m->end, .prot = m->prot, .home = home };
	int err = mm->os->ops->attach(mm->os, m, &vma.map);

	if (err)
		return err;
	err = nhi_vma_insert(mm, &vma);
	if (err)
		nhi_map_put(mm, vma.map);
	return err;
}

/*
 * Manage the parts of @m that are not managed yet. Return: pieces added, or an error; parts that no
 * trap fits are counted and skipped.
 */
static long manage_gaps(struct nhi_mm *mm, struct nhi_mapping m, uint8_t home)
{
	const unsigned int why = m.kind == NHI_KIND_FILE ? 5 /* NH_REASON_FILE */
				 :
				 m.kind == NHI_KIND_STACK ? 6 /* NH_REASON_STACK */
				 :
				 m.kind == NHI_KIND_ANON || m.kind == NHI_KIND_SHMEM ?
							    9 /* NH_REASON_UNSUPPORTED */
							    :
							    4; /* NH_REASON_UNMOVABLE */
	const uintptr_t end = m.end;
	long pieces = 0;

	while (m.start < end) {
		size_t i = nhi_vma_first(mm, m.start);
		bool inside = i < mm->nr_vmas && mm->vmas[i].start <= m.start;
		int err;

		if (inside) {
			m.start = mm->vmas[i].end;
			continue;
		}
		m.end = i < mm->nr_vmas ? nhi_min(end, mm->vmas[i].start) : end;
		err = manage_one(mm, &m, home);
		if (err == -EOPNOTSUPP)
			nhi_mm_count(mm, 0, NHI_C_SKIPPED + why,
				     (m.end - m.start) >> mm->page_shift);
		else if (err)
			return err;
		else
			pieces++;
		m.start = m.end;
	}
	return pieces;
}

static bool any_managed(const struct nhi_mm *mm, uintptr_t start, uintptr_t end)
{
	size_t i = nhi_vma_first(mm, start);

	return i < mm->nr_vmas && mm->vmas[i].start < end;
}

#define NHI_MAPPINGS_AT_ONCE 16

int nhi_range_mapped(struct nhi_mm *mm, uintptr_t start, uintptr_t end, bool holes)
{
	struct nhi_mapping maps[NHI_MAPPINGS_AT_ONCE];
	long n;

	do {
		n = mm->os->ops->mappings(mm->os, start, end, maps, NHI_MAPPINGS_AT_ONCE);
		if (n < 0)
			return (int)n;
		if (holes)
			return n ? 0 : -EFAULT;
		for (long i = 0; i < n && maps[i].start <= start; i++)
			start = maps[i].end;
	} while (start < end && n == NHI_MAPPINGS_AT_ONCE);
	return start < end ? -EFAULT : 0;
}

/* Caller holds mmap_lock for writing. */
static int manage_locked(struct nhi_mm *mm, uintptr_t start, uintptr_t end, uint8_t home,
			 bool holes)
{
	struct nhi_mapping maps[NHI_MAPPINGS_AT_ONCE];
	uintptr_t at = start;
	long pieces = 0, n = NHI_MAPPINGS_AT_ONCE;
	/* First, so that a range with a hole is refused as a whole. */
	int err = nhi_range_mapped(mm, start, end, holes);

	if (err)
		return err;
	while (at < end && n == NHI_MAPPINGS_AT_ONCE) {
		n = mm->os->ops->mappings(mm->os, at, end, maps, NHI_MAPPINGS_AT_ONCE);
		if (n < 0)
			return (int)n;
		for (long i = 0; i < n; i++) {
			long made;

			maps[i].start = nhi_max(maps[i].start, at);
			maps[i].end = nhi_min(maps[i].end, end);
			made = manage_gaps(mm, maps[i], home);
			if (made < 0)
				return (int)made;
			pieces += made;
			at = maps[i].end;
		}
	}
	return pieces || any_managed(mm, start, end) ? 0 : -EOPNOTSUPP;
}

static bool all_managed(const struct nhi_mm *mm, uintptr_t start, uintptr_t end)
{
	for (size_t i = nhi_vma_first(mm, start); start < end; i++) {
		if (i >= mm->nr_vmas || mm->vmas[i].start > start)
			return false;
		start = mm->vmas[i].end;
	}
	return true;
}

int nhi_manage(struct nhi_mm *mm, uintptr_t start, uintptr_t end, unsigned int how)
{
	const bool fresh = how & NHI_MANAGE_FRESH;
	struct nhi_toucher me;
	uint64_t token;
	int err;

	mm->os->ops->self(mm->os, &me);
	mm->os->ops->enter(mm->os, &token);
	nhi_mmap_write_lock(mm->os, &mm->mmap_lock, me.tid);
	if (fresh && any_managed(mm, start, end))
		err = -EEXIST;
	else if (!fresh && all_managed(mm, start, end))
		err = 0;
	else
		err = manage_locked(mm, start, end, me.node < 0 ? 0 : (uint8_t)me.node,
				    how & NHI_MANAGE_HOLES);
	if (err && fresh && err != -EEXIST)
		(void)nhi_vma_remove(mm, start, end);
	nhi_mmap_write_unlock(mm->os, &mm->mmap_lock);
	mm->os->ops->leave(mm->os, &token);
	return err;
}

int nhi_unmanage(struct nhi_mm *mm, uintptr_t start, uintptr_t end)
{
	struct nhi_toucher me;
	uint64_t token;
	int err;

	mm->os->ops->self(mm->os, &me);
	mm->os->ops->enter(mm->os, &token);
	/* No marker may come between restoring and removing. */
	nhi_mutex_lock(mm->os, &mm->mark_mutex);
	err = nhi_unmark_range(mm, start, end) < 0 ? -EBUSY : 0;
	if (!err) {
		nhi_mmap_write_lock(mm->os, &mm->mmap_lock, me.tid);
		err = nhi_vma_remove(mm, start, end);
		nhi_mmap_write_unlock(mm->os, &mm->mmap_lock);
	}
	nhi_mutex_unlock(mm->os, &mm->mark_mutex);
	mm->os->ops->leave(mm->os, &token);
	return err;
}
