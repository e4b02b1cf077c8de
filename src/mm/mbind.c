// SPDX-License-Identifier: MIT
/* mbind with MPOL_MF_LAZY: checks in the order of mbind(2), policy, then marking or moving. */
#include "mm.h"

#define MF_STRICT    1u
#define MF_MOVE	     2u
#define MF_MOVE_ALL  4u
#define MF_LAZY	     8u
#define MF_VALID     (MF_STRICT | MF_MOVE | MF_MOVE_ALL | MF_LAZY)
#define MODE_NOOP    64
#define MODE_DEFAULT 0

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
	err = apply(mm, start, end, pol);
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
	const bool noop = mode == MODE_NOOP;

	if ((!noop && nhi_mode_check(mode)) || flags & ~MF_VALID)
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
	err = nhi_manage(mm, start, end, any ? NHI_MANAGE_HOLES : 0);
	if (err)
		return err;
	if (flags & MF_STRICT && !(flags & (MF_MOVE | MF_MOVE_ALL | MF_LAZY))) {
		err = nhi_eager_range(mm, start, end, &pol, false, true);
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
	err = nhi_eager_range(mm, start, end, &pol, true, flags & MF_MOVE_ALL);
	if (err > 0)
		err = flags & MF_STRICT ? -EIO : 0;
	return err;
}
