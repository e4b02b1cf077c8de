// SPDX-License-Identifier: MIT
/*
 * get_mempolicy and set_mempolicy: what the policy of an address is, where its page is, and the
 * policies of threads, which decide where no range has one (case 119).
 */
#include "gup.h"

#include <string.h>

#define F_NODE	       1u
#define F_ADDR	       2u
#define F_MEMS_ALLOWED 4u

/* Caller holds mmap_lock. Index of the first thread that is not below @tid. */
static size_t task_index(const struct nhi_mm *mm, int tid)
{
	size_t lo = 0, hi = mm->nr_tasks;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (mm->tasks[mid].tid >= tid)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

const struct nhi_policy *nhi_task_policy(const struct nhi_mm *mm, int tid)
{
	size_t i = task_index(mm, tid);

	return i < mm->nr_tasks && mm->tasks[i].tid == tid ? &mm->tasks[i].policy : NULL;
}

/* Room for one more. */
static int grow(struct nhi_mm *mm)
{
	const size_t size = sizeof(*mm->tasks);
	size_t max = mm->max_tasks ? mm->max_tasks * 2 : nhi_page_size(mm) / size;
	struct nhi_task *fresh;

	if (mm->nr_tasks < mm->max_tasks)
		return 0;
	fresh = mm->os->ops->table_alloc(mm->os, max * size);
	if (!fresh)
		return -ENOMEM;
	if (mm->tasks) {
		memcpy(fresh, mm->tasks, mm->nr_tasks * size);
		mm->os->ops->table_free(mm->os, mm->tasks, mm->max_tasks * size);
	}
	nhi_count(&mm->metadata_bytes, (max - mm->max_tasks) * size);
	mm->tasks = fresh;
	mm->max_tasks = max;
	return 0;
}

/* Caller holds mmap_lock for writing. @pol: NULL: none any more. */
static int set_task(struct nhi_mm *mm, int tid, const struct nhi_policy *pol)
{
	size_t i = task_index(mm, tid);
	bool found = i < mm->nr_tasks && mm->tasks[i].tid == tid;

	if (!pol) {
		if (!found)
			return 0;
		mm->nr_tasks--;
		memmove(&mm->tasks[i], &mm->tasks[i + 1], (mm->nr_tasks - i) * sizeof(*mm->tasks));
		return 0;
	}
	if (!found) {
		int err = grow(mm);

		if (err)
			return err;
		memmove(&mm->tasks[i + 1], &mm->tasks[i], (mm->nr_tasks - i) * sizeof(*mm->tasks));
		mm->nr_tasks++;
	}
	mm->tasks[i] = (struct nhi_task){ .tid = tid, .policy = *pol };
	return 0;
}

int nhi_set_mempolicy(struct nhi_mm *mm, int mode, const uint64_t nodes[4])
{
	struct nhi_toucher me;
	struct nhi_policy pol;
	uint64_t token;
	int err = nhi_policy_make(mm, mode, nodes, &pol);

	if (err)
		return err;
	mm->os->ops->self(mm->os, &me);
	mm->os->ops->enter(mm->os, &token);
	nhi_mmap_write_lock(mm->os, &mm->mmap_lock, me.tid);
	err = set_task(mm, me.tid, pol.mode ? &pol : NULL);
	nhi_mmap_write_unlock(mm->os, &mm->mmap_lock);
	mm->os->ops->leave(mm->os, &token);
	return err;
}

void nhi_tasks_fork_child(struct nhi_mm *mm, int forker, int child)
{
	const struct nhi_policy *of_forker = nhi_task_policy(mm, forker);
	struct nhi_policy pol;

	if (of_forker)
		pol = *of_forker;
	mm->nr_tasks = 0;
	/* There was room for it a moment ago. */
	if (of_forker)
		(void)set_task(mm, child, &pol);
}

/* Mode and nodes as the program gave them: internal flags are not shown (case 82). */
static void show(const struct nhi_policy *pol, int *mode, uint64_t nodes[4])
{
	const bool as_asked = pol->flags & (NHI_POLICY_STATIC | NHI_POLICY_RELATIVE);

	*mode = pol->mode | (pol->flags & NHI_POLICY_STATIC ? 1 << 15 : 0) |
		(pol->flags & NHI_POLICY_RELATIVE ? 1 << 14 : 0) |
		(pol->flags & NHI_POLICY_BALANCING ? 1 << 13 : 0);
	memcpy(nodes, as_asked ? pol->asked : pol->nodes, sizeof(pol->nodes));
}

/* Where the page is, brought in if there is none; a marked page stays as and where it is. */
static int node_at(struct nhi_mm *mm, uintptr_t addr)
{
	int node = -ENOENT;
	int err = nhi_nodes_of(mm, addr, 1, &node);

	if (!err && node == -ENOENT) {
		struct nhi_page page;
		long n = nhi_gup(mm, NHI_GUP_FAST, addr, 1, 0, &page);

		if (n < 0)
			return (int)n;
		nhi_pages_put(mm, &page, 1, false);
		err = nhi_nodes_of(mm, addr, 1, &node);
	}
	return err ? err : node;
}

/* The policy of the range that @addr lies in. -EFAULT: nothing is mapped there. */
static int policy_at(struct nhi_mm *mm, uintptr_t addr, struct nhi_policy *pol)
{
	uintptr_t page = nhi_round_down(addr, (uintptr_t)nhi_page_size(mm));
	struct nhi_vma vma;

	if (!nhi_vma_next(mm, page, page + nhi_page_size(mm), &vma))
		return nhi_range_mapped(mm, page, page + nhi_page_size(mm), false);
	if (vma.has_policy)
		*pol = vma.policy;
	nhi_map_put(mm, vma.map);
	return 0;
}

int nhi_get_mempolicy(struct nhi_mm *mm, uintptr_t addr, unsigned int flags, int *mode,
		      uint64_t nodes[4])
{
	struct nhi_policy pol = { 0 };
	int err = 0;

	*mode = 0;
	memset(nodes, 0, 4 * sizeof(nodes[0]));
	if (flags & ~(F_NODE | F_ADDR | F_MEMS_ALLOWED) ||
	    (flags & F_MEMS_ALLOWED && flags != F_MEMS_ALLOWED) || (!(flags & F_ADDR) && addr))
		return -EINVAL;
	if (flags & F_MEMS_ALLOWED) {
		memcpy(nodes, mm->os->has_memory, sizeof(mm->os->has_memory));
		return 0;
	}
	if (flags & F_ADDR) {
		err = policy_at(mm, addr, &pol);
	} else {
		struct nhi_toucher me;
		const struct nhi_policy *own;
		unsigned int slot;

		if (flags & F_NODE)
			return -EINVAL; /* the next node of an interleaving is the kernel's to know */
		mm->os->ops->self(mm->os, &me);
		slot = nhi_mmap_read_lock(mm->os, &mm->mmap_lock, (unsigned int)me.tid);
		own = nhi_task_policy(mm, me.tid);
		if (own)
			pol = *own;
		nhi_mmap_read_unlock(mm->os, &mm->mmap_lock, slot);
	}
	if (err)
		return err;
	show(&pol, mode, nodes);
	if (flags & F_NODE) {
		*mode = node_at(mm, nhi_round_down(addr, (uintptr_t)nhi_page_size(mm)));
		return *mode < 0 ? *mode : 0;
	}
	return 0;
}
