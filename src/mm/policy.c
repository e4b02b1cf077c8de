// SPDX-License-Identifier: MIT
/* Where a page belongs: memory policies as mbind(2) has them, and the misplaced decision. */
#include "mm.h"

#include <string.h>

/* The kernel's numbers; those of enum nh_mpol. */
enum { DEFAULT, PREFERRED, BIND, INTERLEAVE, LOCAL, PREFERRED_MANY, WEIGHTED_INTERLEAVE, MODES };

#define F_STATIC    (1 << 15)
#define F_RELATIVE  (1 << 14)
#define F_BALANCING (1 << 13)
#define F_ALL	    (F_STATIC | F_RELATIVE | F_BALANCING)

static bool node_in(const uint64_t nodes[4], int node)
{
	return node >= 0 && node < NHI_MAX_NODES && (nodes[node / 64] >> (node % 64) & 1);
}

static unsigned int weight(const uint64_t nodes[4])
{
	unsigned int n = 0;

	for (int i = 0; i < 4; i++)
		n += (unsigned int)__builtin_popcountll(nodes[i]);
	return n;
}

/* The @nth node of the mask, counted from 0; the mask has more than @nth. */
static int nth_node(const uint64_t nodes[4], unsigned int nth)
{
	for (int node = 0; node < NHI_MAX_NODES; node++) {
		if (node_in(nodes, node) && nth-- == 0)
			return node;
	}
	return NHI_NO_NODE;
}

/* The node of the mask that is nearest to @from; the lowest of those. */
static int nearest(const struct nhi_os *os, const uint64_t nodes[4], int from)
{
	int best = NHI_NO_NODE;

	for (int node = 0; node < os->nr_nodes; node++) {
		if (!node_in(nodes, node))
			continue;
		if (best < 0 || os->distance[from][node] < os->distance[from][best])
			best = node;
	}
	return best;
}

/*
 * Two faults in a row from the same node before a page follows its toucher, when nobody asked for
 * this very page to move: a page that several nodes share would travel for nothing (case 125).
 */
static bool follows_toucher(nhi_word word, const struct nhi_toucher *who)
{
	uint8_t last = nhi_word_last_node(word);

	return last == NHI_UNKNOWN_NODE || last == who->node;
}

/* The node that the policy names, before "is it there already"; NHI_NO_NODE: stay. */
static int wanted_node(const struct nhi_policy *pol, uint64_t index, uint8_t node, nhi_word word,
		       const struct nhi_mm *mm, const struct nhi_toucher *who)
{
	switch (pol->mode) {
	case INTERLEAVE:
	case WEIGHTED_INTERLEAVE:
		return nth_node(pol->nodes, (unsigned int)(index % weight(pol->nodes)));
	case PREFERRED:
		return node_in(pol->nodes, node) ? NHI_NO_NODE : nth_node(pol->nodes, 0);
	case LOCAL:
		return who->node;
	case BIND:
	case PREFERRED_MANY:
		if (pol->flags & NHI_POLICY_MORON)
			return node_in(pol->nodes, who->node) && follows_toucher(word, who) ?
				       who->node :
				       NHI_NO_NODE;
		if (node_in(pol->nodes, node))
			return NHI_NO_NODE;
		return nearest(mm->os, pol->nodes, who->node);
	default: /* no policy: the built-in one, towards the toucher */
		return follows_toucher(word, who) ? who->node : NHI_NO_NODE;
	}
}

int nhi_misplaced(const struct nhi_mm *mm, const struct nhi_vma *vma, uintptr_t addr, uint8_t node,
		  nhi_word word, bool huge, const struct nhi_toucher *who)
{
	static const struct nhi_policy builtin = { .mode = DEFAULT,
						   .flags = NHI_POLICY_MOF | NHI_POLICY_MORON };
	const struct nhi_policy *pol = vma->has_policy ? &vma->policy :
							 nhi_task_policy(mm, who->tid);
	/* Pages are dealt out one by one, huge pages as a whole. */
	const uint64_t index = addr >> (huge ? mm->huge_shift : mm->page_shift);
	int target;

	if (!pol)
		pol = &builtin;

	if (!(pol->flags & NHI_POLICY_MOF) || who->node < 0 || who->node >= mm->os->nr_nodes)
		return NHI_NO_NODE;
	target = wanted_node(pol, index, node, word, mm, who);
	if (target >= 0 && !nhi_node_has_memory(mm->os, target))
		target = pol->mode == LOCAL ? nearest(mm->os, mm->os->has_memory, target) :
					      NHI_NO_NODE;
	return target == (int)node ? NHI_NO_NODE : target;
}

int nhi_eager_target(const struct nhi_mm *mm, const struct nhi_vma *vma, uintptr_t addr,
		     uint8_t node, bool huge, const struct nhi_toucher *who)
{
	struct nhi_vma as_if = *vma;

	if (node_in(vma->policy.nodes, node))
		return NHI_NO_NODE;
	as_if.policy.flags = NHI_POLICY_MOF;
	return nhi_misplaced(mm, &as_if, addr, node, NHI_NONE, huge, who);
}

bool nhi_policy_equal(const struct nhi_policy *a, const struct nhi_policy *b)
{
	return a->mode == b->mode && a->flags == b->flags &&
	       !memcmp(a->nodes, b->nodes, sizeof(a->nodes)) &&
	       !memcmp(a->asked, b->asked, sizeof(a->asked));
}

/* Nodes relative to those that have memory: bit n means the n-th of them, folded around. */
static void fold(const struct nhi_os *os, const uint64_t asked[4], uint64_t ret[4])
{
	unsigned int n = weight(os->has_memory);

	for (unsigned int i = 0; i < NHI_MAX_NODES; i++) {
		int node;

		if (!node_in(asked, (int)i))
			continue;
		node = nth_node(os->has_memory, i % n);
		ret[node / 64] |= 1ull << (node % 64);
	}
}

int nhi_mode_check(int mode)
{
	const int flags = mode & F_ALL;

	mode &= ~F_ALL;
	if (mode < 0 || mode >= MODES || (flags & F_STATIC && flags & F_RELATIVE))
		return -EINVAL;
	if (flags & F_BALANCING && mode != BIND && mode != PREFERRED_MANY)
		return -EINVAL;
	return 0;
}

/* Case 76. */
static int check_nodes(int mode, int flags, bool empty)
{
	switch (mode) {
	case DEFAULT:
		return empty ? 0 : -EINVAL;
	case LOCAL:
		return empty && !(flags & (F_STATIC | F_RELATIVE)) ? 0 : -EINVAL;
	case PREFERRED: /* empty means LOCAL */
		return empty && flags & (F_STATIC | F_RELATIVE) ? -EINVAL : 0;
	default:
		return empty ? -EINVAL : 0;
	}
}

int nhi_policy_make(const struct nhi_mm *mm, int mode, const uint64_t nodes[4],
		    struct nhi_policy *ret)
{
	const int flags = mode & F_ALL;
	const bool empty = !weight(nodes);
	struct nhi_policy pol = { 0 };
	int err = nhi_mode_check(mode);

	mode &= ~F_ALL;
	if (!err)
		err = check_nodes(mode, flags, empty);
	if (err)
		return err;
	pol.mode = (uint16_t)(mode == PREFERRED && empty ? LOCAL : mode);
	if (flags & F_STATIC)
		pol.flags |= NHI_POLICY_STATIC;
	if (flags & F_RELATIVE)
		pol.flags |= NHI_POLICY_RELATIVE;
	if (flags & F_BALANCING)
		pol.flags |= NHI_POLICY_BALANCING | NHI_POLICY_MOF | NHI_POLICY_MORON;
	memcpy(pol.asked, nodes, sizeof(pol.asked));
	if (flags & F_RELATIVE) {
		fold(mm->os, nodes, pol.nodes);
	} else {
		for (int i = 0; i < 4; i++)
			pol.nodes[i] = nodes[i] & mm->os->has_memory[i];
	}
	if (!empty && !weight(pol.nodes))
		return -EINVAL;
	*ret = pol;
	return 0;
}
