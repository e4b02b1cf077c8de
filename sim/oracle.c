// SPDX-License-Identifier: MIT
/* The oracle: no locks, no tables, no batches; what each operation means for each page. */
#include "oracle.h"

#include <string.h>

void ora_look(struct ora_state *s, struct nhi_mm *mm, struct sim *m)
{
	memset(s, 0, sizeof(*s));
	for (uint32_t i = 0; i < ORA_PAGES; i++) {
		struct ora_page *p = &s->page[i];
		uintptr_t at = sim_addr(m, i);
		const struct sim_area *area = sim_area_find(m->space, at);
		const struct sim_pte *pte = sim_pte(m->space, at);
		const struct nhi_vma *vma = nhi_vma_find(mm, at);
		bool huge;
		nhi_word *entry = nhi_entry_lookup(mm, at, &huge);

		p->mapped = area != NULL;
		p->prot = area ? area->prot : 0;
		p->shared = area && area->shared;
		p->marked = sim_marked(m->space, at);
		p->present = !sim_peek(m->space, at, &p->value);
		p->pinned = p->present && (pte->folio ? pte->folio : pte->kept)->pins;
		p->huge = m->space->huge[i / m->pages_per_huge];
		p->node = sim_page_node(m->space, at);
		p->maps = sim_page_maps(m->space, at);
		p->managed = vma && vma->prot;
		p->has_policy = vma && vma->has_policy;
		if (p->has_policy)
			p->policy = vma->policy;
		p->word = entry ? *entry : 0;
		p->as_one = entry && huge;
	}
	for (int n = 0; n < m->conf.nr_nodes; n++)
		s->free[n] = sim_free_frames(m, n);
}

static bool in_mask(uint64_t mask, int node)
{
	return node >= 0 && mask >> node & 1;
}

/* Cases 119 to 126: where the policy wants page @i for a toucher on @here. */
static int belongs(const struct ora_page *p, uint32_t i, int here, const struct nhi_os *os)
{
	const uint64_t mask = p->policy.nodes[0];
	const bool follow = nhi_word_last_node(p->word) == 255 ||
			    nhi_word_last_node(p->word) == here;
	const uint32_t huge = (uint32_t)(os->huge_size / os->page_size);
	int want = p->node, best = 1000, nth;

	if (!p->has_policy)
		return follow ? here : p->node;
	if (!(p->policy.flags & NHI_POLICY_MOF))
		return p->node;
	switch (p->policy.mode) {
	case 4: /* LOCAL */
		return here;
	case 1: /* PREFERRED */
		return in_mask(mask, p->node) ? p->node : __builtin_ctzll(mask);
	case 3: /* INTERLEAVE; pages count from address 0, a huge page as one (case 120) */
		nth = (int)(((SIM_BASE / os->page_size + i) / (p->as_one ? huge : 1)) %
			    (unsigned int)__builtin_popcountll(mask));
		for (int n = 0; n < os->nr_nodes; n++) {
			if (in_mask(mask, n) && nth-- == 0)
				want = n;
		}
		return want;
	default: /* BIND, PREFERRED_MANY */
		if (p->policy.flags & NHI_POLICY_MORON)
			return in_mask(mask, here) && follow ? here : p->node;
		for (int n = 0; n < os->nr_nodes && !in_mask(mask, p->node); n++) {
			if (in_mask(mask, n) && os->distance[here][n] < best)
				best = os->distance[here][want = n];
		}
		return want;
	}
}

static bool in(const struct ora_op *op, uint32_t i)
{
	return i >= op->page && i < op->page + op->nr;
}

static bool same(const struct ora_page *a, const struct ora_page *b)
{
	return a->marked == b->marked && a->present == b->present && a->value == b->value &&
	       a->node == b->node && a->mapped == b->mapped;
}

static bool same_policy(const struct ora_page *a, const struct ora_page *b)
{
	return a->has_policy == b->has_policy &&
	       (!a->has_policy || nhi_policy_equal(&a->policy, &b->policy));
}

/* May page @i be marked, were it alone? */
static bool eligible(const struct ora_page *p)
{
	return p->present && p->prot && !p->marked && p->maps == 1 && !p->pinned;
}

/* A page of a huge page is marked with the others or not at all. */
static bool friends(const struct ora_state *s, const struct ora_op *op, uint32_t i, uint32_t n)
{
	for (uint32_t k = i - i % n; s->page[i].huge && k < i - i % n + n; k++) {
		if (!eligible(&s->page[k]) || !in(op, k))
			return false;
	}
	return true;
}

/* @blind: operations fail, so nobody may have been told who else maps the page. */
static const char *judge_mark(const struct ora_page *b, const struct ora_page *a, bool inside,
			      bool blind, bool must)
{
	if (a->value != b->value || a->node != b->node || a->present != b->present)
		return "marking changed a page";
	/* A huge page that is split for its part loses the hint of the rest (case 99). */
	if (b->marked && !a->marked && ((inside && !blind) || !b->huge))
		return "marking unmarked a page";
	if (a->marked && !b->marked && (!inside || !eligible(b)) &&
	    !(inside && blind && b->present && b->prot && !b->pinned))
		return "marked what must not be marked";
	return must && inside && !a->marked ? "not marked" : NULL;
}

static const char *judge_touch(const struct ora_state *bs, const struct ora_page *b,
			       const struct ora_page *a, uint32_t i, const struct ora_op *op,
			       const struct nhi_os *os)
{
	int here = op->task % os->nr_nodes, want = belongs(b, i, here, os);
	uint64_t value = i == op->page && op->kind == ORA_WRITE ? op->value : b->value;

	if (a->value != value)
		return "contents changed by a touch";
	if (!b->marked)
		return a->marked		    ? "marked by a touch" :
		       i != op->page && !same(a, b) ? "a touch changed another page" :
						      NULL;
	if (a->marked)
		return i == op->page	  ? "touched and still marked" :
		       a->node != b->node ? "marked, but moved" :
					    NULL;
	if (i == op->page && op->kind == ORA_WRITE && b->maps > 1)
		return NULL; /* copied on write, to any node */
	/* Where a page sits may be what the engine could not learn. */
	if (a->node != b->node && a->node != want && !bs->failing)
		return "moved to a wrong node";
	if (want != b->node && a->node == b->node && !bs->failing && b->maps == 1 && !b->pinned &&
	    bs->free[want] >= ORA_PAGES)
		return "misplaced and not moved";
	return NULL;
}

static const char *judge_page(const struct ora_state *bs, const struct ora_op *op, long ret,
			      const struct ora_state *as, uint32_t i, const struct nhi_os *os)
{
	const uint32_t n = (uint32_t)(os->huge_size / os->page_size);
	const struct ora_page *b = &bs->page[i], *a = &as->page[i];
	const bool good = !bs->failing && ret >= 0;

	switch (op->kind) {
	case ORA_READ:
	case ORA_WRITE:
	case ORA_PIN:
		return ret ? (same(a, b) || bs->failing || a->value == b->value ? NULL : "failed") :
			     judge_touch(bs, b, a, i, op, os);
	case ORA_MARK:
	case ORA_BIND:
	case ORA_NOOP:
		if (op->kind != ORA_BIND || !in(op, i)) {
			if (b->managed && !same_policy(a, b))
				return "policy changed";
		}
		return judge_mark(b, a, in(op, i), bs->failing,
				  good && a->managed && eligible(b) && friends(bs, op, i, n));
	case ORA_MOVE:
		if (a->value != b->value || (a->marked && !b->marked))
			return "an eager move changed a page";
		/* It uses marks up (cases 67, 81). */
		if (a->marked != b->marked && !in(op, i) && !b->huge)
			return "unmarked outside";
		return a->node != b->node && (!in(op, i) || b->maps > 1 || b->pinned) ?
			       "moved what must stay" :
			       NULL;
	case ORA_UNMARK:
	case ORA_UNMANAGE:
		if (a->marked && in(op, i) && good)
			return "still marked";
		if (a->marked != b->marked && !in(op, i) && !b->huge)
			return "unmarked outside";
		return a->value != b->value || a->node != b->node ? "unmark changed a page" : NULL;
	case ORA_MUNMAP:
	case ORA_DONTNEED:
		if (!ret && in(op, i) && b->mapped)
			return a->present || a->marked ? "still there" : NULL;
		return same(a, b) ? NULL : "dropped outside";
	case ORA_MREMAP:
		if (!ret && i >= op->to && i < op->to + op->nr) {
			b = &bs->page[op->page + i - op->to];
			return same(a, b) ? NULL : "not moved along";
		}
		if (!ret && in(op, i))
			return a->mapped || a->present || a->marked ? "still there" : NULL;
		return same(a, b) ? NULL : "changed by mremap";
	case ORA_FORK:
		if (!ret && a->marked)
			return "marked after fork";
		return a->value != b->value || a->node != b->node ? "fork changed a page" : NULL;
	case ORA_MMAP:
	case ORA_HUGE:
		return !in(op, i) && op->kind == ORA_MMAP && !same(a, b) ? "mmap?" :
		       a->marked != b->marked				 ? "marked?" :
									   NULL;
	default:
		return same(a, b) ? NULL : "changed for no reason";
	}
}

const char *ora_judge(const struct ora_state *before, const struct ora_op *op, long ret,
		      uint64_t got, const struct ora_state *after, const struct nhi_os *os)
{
	if (op->kind == ORA_READ && !ret && got != before->page[op->page].value)
		return "a read saw something else";
	for (uint32_t i = 0; i < ORA_PAGES; i++) {
		const char *bad = judge_page(before, op, ret, after, i, os);

		if (bad)
			return bad;
	}
	return NULL;
}
