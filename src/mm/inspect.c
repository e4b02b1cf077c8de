// SPDX-License-Identifier: MIT
/* Looking without touching: where pages sit, what they are, what they hold. Disturbs no mark. */
#include "mm.h"

#include <string.h>

/*
 * The page's word when nobody works on it. An access that is over may be one that is still being written
 * up, or its page on the way to where the policy of the range did not put it at first.
 */
static nhi_word settled_word(struct nhi_mm *mm, uintptr_t addr)
{
	for (;;) {
		bool huge;
		nhi_word *entry = nhi_entry_lookup(mm, addr, &huge);
		nhi_word word = entry ? nhi_load_acquire(entry) : NHI_NONE;

		if (!nhi_word_busy(word))
			return word;
		nhi_entry_wait(mm, addr, entry);
	}
}

/* Emulated nodes are in the entries. */
static int emulated_node(struct nhi_mm *mm, const struct nhi_vma *vma, uintptr_t addr)
{
	uint8_t node = nhi_word_node(settled_word(mm, addr));

	return node == NHI_UNKNOWN_NODE ? vma->home : node;
}

/* Pages [addr, addr + nr) of @vma, nr <= NHI_MAX_RUN, into nodes[]: a node, -ENOENT or -EBUSY. */
static int nodes_in_vma(struct nhi_mm *mm, const struct nhi_vma *vma, uintptr_t addr, uint32_t nr,
			int *nodes)
{
	uint8_t info[NHI_MAX_RUN], node[NHI_MAX_RUN];
	int err;

	for (uint32_t i = 0; i < nr && !mm->os->emulated; i++)
		(void)settled_word(mm, addr + ((uintptr_t)i << mm->page_shift));
	err = mm->os->ops->query(mm->os, vma->map, addr, nr, info);
	if (err)
		return err;
	memset(node, NHI_UNKNOWN_NODE, nr);
	if (!mm->os->emulated)
		err = mm->os->ops->nodes(mm->os, vma->map, addr, nr, node);
	for (uint32_t i = 0; i < nr && !err; i++) {
		nodes[i] = -ENOENT;
		if (!(info[i] & NHI_INFO_PRESENT))
			continue;
		if (mm->os->emulated)
			nodes[i] = emulated_node(mm, vma, addr + ((uintptr_t)i << mm->page_shift));
		else
			nodes[i] = node[i] == NHI_UNKNOWN_NODE ? -EBUSY : node[i];
	}
	return err;
}

/* Memory that is not managed: the os answers, or, if nodes are emulated, node 0 has it. */
static int nodes_outside(struct nhi_mm *mm, uintptr_t addr, uint32_t nr, int *nodes)
{
	uint8_t node[NHI_MAX_RUN];
	struct nhi_mapping map;

	for (uint32_t i = 0; i < nr; i++) {
		uintptr_t at = addr + ((uintptr_t)i << mm->page_shift);
		long n = mm->os->ops->mappings(mm->os, at, at + nhi_page_size(mm), &map, 1);

		if (n < 0)
			return (int)n;
		nodes[i] = n ? 0 : -EFAULT;
		if (!n || mm->os->emulated)
			continue;
		node[0] = NHI_UNKNOWN_NODE;
		if (mm->os->ops->nodes(mm->os, NULL, at, 1, node) || node[0] == NHI_UNKNOWN_NODE)
			nodes[i] = -ENOENT;
		else
			nodes[i] = node[0];
	}
	return 0;
}

int nhi_nodes_of(struct nhi_mm *mm, uintptr_t addr, uint32_t nr, int *nodes)
{
	uint64_t token;
	int err = 0;

	mm->os->ops->enter(mm->os, &token);
	while (nr && !err) {
		uintptr_t end = addr + ((uintptr_t)nr << mm->page_shift);
		struct nhi_vma vma;
		uint32_t n;

		if (!nhi_vma_next(mm, addr, end, &vma)) {
			n = nhi_min(nr, NHI_MAX_RUN);
			err = nodes_outside(mm, addr, n, nodes);
		} else {
			if (vma.start > addr) {
				n = nhi_min(nhi_nr_pages(mm, addr, vma.start), NHI_MAX_RUN);
				err = nodes_outside(mm, addr, n, nodes);
			} else {
				n = nhi_min(nhi_nr_pages(mm, addr, vma.end), NHI_MAX_RUN);
				err = nodes_in_vma(mm, &vma, addr, n, nodes);
			}
			nhi_map_put(mm, vma.map);
		}
		addr += (uintptr_t)n << mm->page_shift;
		nodes += n;
		nr -= n;
	}
	mm->os->ops->leave(mm->os, &token);
	return err;
}

/* ------------------------------------------------------------------------------ accounting */

/* Pages [addr, addr + nr) of @vma, nr <= NHI_MAX_RUN. */
static int account(struct nhi_mm *mm, const struct nhi_vma *vma, uintptr_t addr, uint32_t nr,
		   struct nhi_smaps *ret)
{
	const size_t page = nhi_page_size(mm);
	uint8_t info[NHI_MAX_RUN];
	int nodes[NHI_MAX_RUN];
	int err = mm->os->ops->query(mm->os, vma->map, addr, nr, info);

	if (!err)
		err = nodes_in_vma(mm, vma, addr, nr, nodes);
	for (uint32_t i = 0; i < nr && !err; i++, addr += page) {
		bool huge;
		nhi_word *entry = nhi_entry_lookup(mm, addr, &huge);
		nhi_word word = entry ? nhi_load_acquire(entry) : NHI_NONE;

		if (!(info[i] & NHI_INFO_PRESENT))
			continue;
		ret->resident += page;
		ret->huge += info[i] & NHI_INFO_HUGE ? page : 0;
		ret->shared += info[i] & NHI_INFO_SHARED ? page : 0;
		ret->marked += nhi_word_state(word) == NHI_MARKED ? page : 0;
		ret->referenced += word & (NHI_W_PINS | NHI_W_GETS) ? page : 0;
		ret->inaccessible += nhi_vma_accessible(vma) ? 0 : page;
		if (nodes[i] < 0)
			ret->unplaced += page;
		else
			ret->node[nodes[i]] += page;
	}
	return err;
}

int nhi_smaps(struct nhi_mm *mm, uintptr_t start, uintptr_t end, struct nhi_smaps *ret)
{
	struct nhi_vma vma;
	uint64_t token;
	int err = 0;

	mm->os->ops->enter(mm->os, &token);
	while (!err && start < end && nhi_vma_next(mm, start, end, &vma)) {
		ret->managed += vma.end - vma.start;
		for (uintptr_t at = vma.start; at < vma.end && !err;) {
			uint32_t n = (uint32_t)nhi_min((vma.end - at) >> mm->page_shift,
						       (uintptr_t)NHI_MAX_RUN);

			err = account(mm, &vma, at, n, ret);
			at += (uintptr_t)n << mm->page_shift;
		}
		start = vma.end;
		nhi_map_put(mm, vma.map);
	}
	mm->os->ops->leave(mm->os, &token);
	return err;
}

/* -------------------------------------------------------------------------------- contents */

/* One try. -EAGAIN: locked by somebody, *ret_entry; or it changed meanwhile, then NULL. */
static int peek_once(struct nhi_mm *mm, uintptr_t addr, void *buf, nhi_word **ret_entry)
{
	struct nhi_pmd *pmd = nhi_pmd_lookup(mm, addr);
	struct nhi_vma vma;
	nhi_word *entry, old;
	bool huge;
	int err;

	*ret_entry = NULL;
	entry = nhi_entry_lookup(mm, addr, &huge);
	if (!entry || !nhi_vma_next(mm, addr, addr + nhi_page_size(mm), &vma))
		return -ENOENT;
	err = nhi_entry_trylock(mm, addr, entry, huge ? NULL : pmd, NHI_WANT(NHI_MARKED), &old);
	if (!err) {
		err = mm->os->ops->peek(mm->os, vma.map, addr, buf);
		nhi_entry_unlock(mm, addr, entry, old);
	} else if (err == -EAGAIN) {
		*ret_entry = entry;
	}
	nhi_map_put(mm, vma.map);
	return err == -ESTALE ? -EAGAIN : err;
}

int nhi_peek_marked(struct nhi_mm *mm, uintptr_t addr, void *buf)
{
	nhi_word *entry;
	uint64_t token;
	int err;

	do {
		mm->os->ops->enter(mm->os, &token);
		err = peek_once(mm, addr, buf, &entry);
		mm->os->ops->leave(mm->os, &token);
		if (entry)
			nhi_entry_wait(mm, addr, entry);
	} while (err == -EAGAIN);
	return err == -EBUSY ? -ENOENT : err; /* pinned: not marked */
}
