// SPDX-License-Identifier: MIT
/* mbind with MPOL_MF_LAZY: checks in the order of mbind(2), policy, marking, eager moving. */
#include "mm.h"

#include <string.h>

#define MF_STRICT    1u
#define MF_MOVE	     2u
#define MF_MOVE_ALL  4u
#define MF_LAZY	     8u
#define MF_VALID     (MF_STRICT | MF_MOVE | MF_MOVE_ALL | MF_LAZY)
#define MODE_NOOP    64
#define MODE_DEFAULT 0

static bool has_hole(struct nhi_mm *mm, uintptr_t start, uintptr_t end)
{
	size_t i = nhi_vma_first(mm, start);

	for (; start < end && i < mm->nr_vmas && mm->vmas[i].start <= start; i++)
		start = mm->vmas[i].end;
	return start < end;
}

/* Give every VMA in [start, end) the policy @pol; NULL: none. Caller holds mmap_lock (write). */
static int apply(struct nhi_mm *mm, uintptr_t start, uintptr_t end, const struct nhi_policy *pol)
{
	int err = nhi_vma_split(mm, start);

	if (!err)
		err = nhi_vma_split(mm, end);
	if (err)
		return err;
	for (size_t i = nhi_vma_first(mm, start); i < mm->nr_vmas && mm->vmas[i].start < end; i++) {
		mm->vmas[i].has_policy = pol != NULL;
		if (pol)
			mm->vmas[i].policy = *pol;
	}
	nhi_vma_merge(mm, start, end);
	return 0;
}

/* Pages of one granule that mbind looks at, or moves at once. */
struct eager {
	struct nhi_mm *mm;
	struct nhi_vma vma;
	struct nhi_toucher who;
	struct nhi_pmd *pmd;
	uintptr_t addr; /* of entry 0 */
	long misplaced; /* pages that are, or that would not move */
	uint8_t target[NHI_MAX_RUN];
	uint8_t status[NHI_MAX_RUN];
	nhi_word old[NHI_MAX_RUN];
};

static nhi_word *pte_of(struct eager *e, uint32_t i)
{
	return &e->pmd->ptes[nhi_pte_index(e->mm, e->addr) + i];
}

static uintptr_t addr_of(struct eager *e, uint32_t i)
{
	return e->addr + ((uintptr_t)i << e->mm->page_shift);
}

/* target[] for each present page; NHI_UNKNOWN_NODE: fine where it is. */
static int find_misplaced(struct eager *e, uint32_t nr)
{
	struct nhi_mm *mm = e->mm;
	const struct nhi_os_ops *ops = mm->os->ops;
	uint8_t *info = e->status, node[NHI_MAX_RUN];
	int err = ops->query(mm->os, e->vma.map, e->addr, nr, info);

	if (err)
		return err;
	memset(node, NHI_UNKNOWN_NODE, nr);
	if (!mm->os->emulated)
		(void)ops->nodes(mm->os, e->vma.map, e->addr, nr, node);
	for (uint32_t i = 0; i < nr; i++) {
		int target = NHI_NO_NODE;

		if (mm->os->emulated) {
			node[i] = nhi_word_node(nhi_load_relaxed(pte_of(e, i)));
			node[i] = node[i] == NHI_UNKNOWN_NODE ? e->vma.home : node[i];
		}
		if (info[i] & NHI_INFO_PRESENT)
			target = nhi_misplaced(mm, &e->vma, addr_of(e, i), node[i], NHI_NONE,
					       &e->who);
		e->target[i] = target < 0 ? NHI_UNKNOWN_NODE : (uint8_t)target;
	}
	return 0;
}

/* Move pages [first, first + n), LOCKED, of one target. */
static void move_run(struct eager *e, uint32_t first, uint32_t n)
{
	struct nhi_mm *mm = e->mm;
	struct nhi_run run = { .map = e->vma.map,
			       .addr = addr_of(e, first),
			       .nr_pages = n,
			       .prot = e->vma.prot,
			       .node = e->target[first],
			       .status = &e->status[first] };

	memset(run.status, NHI_PAGE_OTHER, n);
	(void)mm->os->ops->move_now(mm->os, &run);
	for (uint32_t i = first; i < first + n; i++) {
		nhi_word word = e->old[i];

		if (e->status[i] == NHI_PAGE_OK) {
			word = nhi_word_with_node(nhi_word_with_state(word, NHI_PRESENT),
						  e->target[i]);
			nhi_mm_count(mm, 0, NHI_C_EAGER, 1);
		} else {
			e->misplaced++;
			nhi_mm_count(mm, 0, NHI_C_FAILED + nhi_reason_of(e->status[i]), 1);
		}
		nhi_entry_unlock(mm, addr_of(e, i), pte_of(e, i), word);
	}
}

static void move_piece(struct eager *e, uint32_t nr)
{
	const unsigned int want = NHI_WANT(NHI_NONE) | NHI_WANT(NHI_PRESENT);
	uint32_t first = 0;

	for (uint32_t i = 0; i <= nr; i++) {
		bool locked = false;

		if (i < nr && e->target[i] != NHI_UNKNOWN_NODE) {
			locked = !nhi_entry_trylock(e->mm, addr_of(e, i), pte_of(e, i), e->pmd,
						    want, &e->old[i]);
			e->misplaced += !locked;
		}
		if (i > first && (!locked || e->target[i] != e->target[first])) {
			move_run(e, first, i - first);
			first = i;
		}
		if (!locked)
			first = i + 1;
	}
}

/* Look at, or move, the pages of [start, end) under @pol. Return: how many stay misplaced, or an error. */
static long eager_range(struct nhi_mm *mm, uintptr_t start, uintptr_t end,
			const struct nhi_policy *pol, bool move)
{
	const uintptr_t step =
		nhi_min((uintptr_t)nhi_huge_size(mm), (uintptr_t)NHI_MAX_RUN << mm->page_shift);
	struct eager e = { .mm = mm };
	uint64_t token;
	int err = 0;

	mm->os->ops->enter(mm->os, &token);
	mm->os->ops->self(mm->os, &e.who);
	while (!err && start < end && nhi_vma_next(mm, start, end, &e.vma)) {
		e.vma.has_policy = true;
		e.vma.policy = *pol;
		/* As in an eager move by the kernel, the caller is who the pages move for. */
		e.vma.policy.flags |= NHI_POLICY_MOF;
		for (e.addr = e.vma.start; !err && e.addr < e.vma.end;
		     e.addr = nhi_round_down(e.addr, step) + step) {
			uintptr_t stop = nhi_round_down(e.addr, step) + step;
			uint32_t nr = nhi_nr_pages(mm, e.addr, nhi_min(stop, e.vma.end));

			e.pmd = nhi_pmd_alloc(mm, e.addr);
			if (!e.pmd || nhi_pte_alloc(mm, e.pmd))
				err = -ENOMEM;
			else
				err = find_misplaced(&e, nr);
			if (!err && move)
				move_piece(&e, nr);
			for (uint32_t i = 0; !err && !move && i < nr; i++)
				e.misplaced += e.target[i] != NHI_UNKNOWN_NODE;
		}
		start = e.vma.end;
		nhi_map_put(mm, e.vma.map);
	}
	mm->os->ops->leave(mm->os, &token);
	return err ? err : e.misplaced;
}

/* Set the policy of [start, end). */
static int set_policy(struct nhi_mm *mm, uintptr_t start, uintptr_t end,
		      const struct nhi_policy *pol)
{
	struct nhi_toucher me;
	uint64_t token;
	int err;

	mm->os->ops->self(mm->os, &me);
	mm->os->ops->enter(mm->os, &token);
	nhi_mmap_write_lock(mm->os, &mm->mmap_lock, me.tid);
	err = has_hole(mm, start, end) && pol ? -EFAULT : apply(mm, start, end, pol);
	nhi_mmap_write_unlock(mm->os, &mm->mmap_lock);
	mm->os->ops->leave(mm->os, &token);
	if (!err) {
		static const struct nhi_policy none;
		const struct nhi_policy *p = pol ? pol : &none;

		/* For pages that are populated later; where it fails they come as before. */
		(void)mm->os->ops->set_policy(mm->os, start, end, p->mode, p->nodes, 256);
	}
	return err;
}

/* The checks of mbind(2) up to the walk over the range. Return: 1: nothing to do, success. */
static int check(struct nhi_mm *mm, uintptr_t start, size_t *len, int mode, const uint64_t nodes[4],
		 unsigned int flags, struct nhi_policy *pol)
{
	const uintptr_t mask = nhi_page_size(mm) - 1;
	const bool noop = (mode & ~0xe000) == MODE_NOOP;

	if (flags & ~MF_VALID || (noop && mode != MODE_NOOP))
		return -EINVAL;
	if (!noop && ((mode & 0x1fff) > 6 || mode < 0))
		return -EINVAL;
	if (start & mask)
		return -EINVAL;
	*len = (*len + mask) & ~mask; /* one that wraps becomes 0 */
	if (start + *len < start)
		return -EINVAL;
	if (!*len)
		return 1;
	if (noop)
		return nodes[0] | nodes[1] | nodes[2] | nodes[3] ? -EINVAL : 0;
	return nhi_policy_make(mm, mode, nodes, pol);
}

static bool any_managed(struct nhi_mm *mm, uintptr_t start, uintptr_t end)
{
	struct nhi_vma vma;
	uint64_t token;
	bool any;

	mm->os->ops->enter(mm->os, &token);
	any = nhi_vma_next(mm, start, end, &vma);
	if (any)
		nhi_map_put(mm, vma.map);
	mm->os->ops->leave(mm->os, &token);
	return any;
}

long nhi_mbind(struct nhi_mm *mm, uintptr_t start, size_t len, int mode, const uint64_t nodes[4],
	       unsigned int flags)
{
	struct nhi_policy pol = { 0 };
	const bool noop = mode == MODE_NOOP;
	uintptr_t end;
	bool any;
	long err = check(mm, start, &len, mode, nodes, flags, &pol);

	if (err)
		return err < 0 ? err : 0;
	any = noop || pol.mode == MODE_DEFAULT;
	end = start + len;
	if (any)
		flags &= ~MF_STRICT;
	if (flags & MF_LAZY)
		pol.flags |= NHI_POLICY_MOF;
	err = nhi_manage(mm, start, end, false);
	if (err == -ENOMEM)
		err = any && any_managed(mm, start, end) ? 0 : -EFAULT;
	if (err)
		return err;
	if (flags & MF_STRICT && !(flags & (MF_MOVE | MF_MOVE_ALL | MF_LAZY))) {
		err = eager_range(mm, start, end, &pol, false);
		if (err)
			return err < 0 ? err : -EIO;
	}
	if (!noop) {
		err = set_policy(mm, start, end, pol.mode == MODE_DEFAULT ? NULL : &pol);
		if (err)
			return err;
	}
	if (flags & MF_LAZY)
		return nhi_mark_range(mm, start, end);
	if (!(flags & (MF_MOVE | MF_MOVE_ALL)))
		return 0;
	if (any)
		return 0;
	err = eager_range(mm, start, end, &pol, true);
	if (err > 0)
		err = flags & MF_STRICT ? -EIO : 0;
	return err;
}
