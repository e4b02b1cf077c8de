// SPDX-License-Identifier: MIT
/* What scenarios do, in few words, and the check on references that is made at every point. */
#include "alloc.h"
#include "sched.h"

#include <string.h>

#define RW (NHI_PROT_READ | NHI_PROT_WRITE)

static size_t bytes(const struct world *w, uint32_t n)
{
	return (size_t)n << w->m->page_shift;
}

static void map(struct world *w, uint32_t first, uint32_t n)
{
	long err = sim_mmap(&w->task[0], at(w, first), bytes(w, n), RW, NHI_KIND_ANON, false);

	sim_must(!err, "mmap: %ld", err);
}

static void manage(struct world *w, uint32_t first, uint32_t n)
{
	int err = nhi_manage(w->mm, at(w, first), at(w, first + n), NHI_MANAGE_FRESH);

	sim_must(!err, "manage: %d", err);
}

void use_ready(struct world *w, uint32_t first, uint32_t n)
{
	struct sim_task init = w->task[0];

	init.cpu = 0;
	map(w, first, n);
	for (uint32_t i = first; i < first + n; i++)
		use_write(w, &init, i, 100 + i);
	w->m->current = &w->task[0];
	manage(w, first, n);
}

void use_ready_huge(struct world *w, uint32_t first)
{
	uint32_t n = w->m->pages_per_huge;
	struct sim_task init = w->task[0];
	int err;

	init.cpu = 0;
	map(w, first, n);
	err = sim_populate_huge(&init, at(w, first), 100 + first);
	sim_must(!err, "a huge page: %d", err);
	manage(w, first, n);
}

long use_mark(struct world *w, uint32_t first, uint32_t n)
{
	long ret = nhi_mark_range(w->mm, at(w, first), at(w, first + n));

	sim_say("marked %ld pages", ret);
	return ret;
}

long use_bind(struct world *w, uint32_t first, uint32_t n, int node, unsigned int flags)
{
	const uint64_t nodes[4] = { 1ull << node };
	long ret = nhi_mbind(w->mm, at(w, first), bytes(w, n), 2, nodes, flags);

	sim_say("mbind: %ld", ret);
	return ret;
}

uint64_t use_read(struct world *w, struct sim_task *t, uint32_t page)
{
	uint64_t value = 0;
	int err = sim_read(t, at(w, page), &value);

	sim_must(!w->m->broken, "%s", w->m->broken);
	sim_must(!err, "a read of page %u failed: %d", page, err);
	sim_say("reads %lu from page %u", value, page);
	return value;
}

void use_write(struct world *w, struct sim_task *t, uint32_t page, uint64_t value)
{
	int err = sim_write(t, at(w, page), value);

	sim_must(!w->m->broken, "%s", w->m->broken);
	sim_must(!err, "a write to page %u failed: %d", page, err);
	sim_say("wrote %lu to page %u", value, page);
}

uint64_t use_count(struct world *w, enum nhi_counter c)
{
	return nhi_mm_counter(w->mm, c);
}

bool use_marked(struct world *w, uint32_t page)
{
	return sim_marked(w->m->space, at(w, page));
}

uint64_t use_peek(struct world *w, uint32_t page)
{
	uint64_t value;

	(void)sim_peek(w->m->space, at(w, page), &value);
	return value;
}

/* --------------------------------------------------------------------------- references */

static const struct sim_folio *frame_at(struct world *w, uintptr_t addr, bool kept, uint32_t *idx)
{
	const struct sim_pte *pte = sim_pte(w->m->space, addr);

	if (pte->folio || !kept) {
		*idx = pte->idx;
		return pte->folio;
	}
	*idx = pte->kept_idx;
	return pte->kept;
}

struct sim_hold *use_gup(struct world *w, enum nhi_gup_call call, uint32_t page, unsigned int flags,
			 long *err)
{
	struct nhi_page got = { 0 };
	long n = nhi_gup(w->mm, call, at(w, page), 1, flags, &got);
	struct sim_hold *h = w->hold;

	if (err)
		*err = n;
	if (n != 1) {
		sim_say("gets nothing of page %u: %ld", page, n);
		return NULL;
	}
	sim_point(w->m, w->hold);
	while (h->active)
		h++;
	h->addr = at(w, page);
	h->page = got;
	h->pin = call == NHI_GUP_PIN || call == NHI_GUP_PIN_FAST;
	h->folio = frame_at(w, h->addr, got.word & NHI_PAGE_IS_COPY, &h->idx);
	sim_say("has page %u%s", page, got.word & NHI_PAGE_IS_COPY ? ", a copy" : "");
	sim_must(h->folio, "page %u was handed out, but it is not there", page);
	sim_must(got.word & NHI_PAGE_IS_COPY || !use_marked(w, page),
		 "page %u was handed out while it is marked", page);
	h->active = true;
	return h;
}

void use_put(struct world *w, struct sim_hold *h)
{
	struct sim_hold was;

	sim_point(w->m, w->hold);
	was = *h;
	h->active = false; /* somebody else may use it from now on */
	sim_say("puts page %u", sim_pageno(w->m, was.addr));
	nhi_pages_put(w->mm, &was.page, 1, was.pin);
	sim_must(!was.page.word, "a reference was not taken back");
}

uint64_t use_held(struct world *w, const struct sim_hold *h)
{
	uint64_t value;

	sim_point(w->m, w->hold);
	if (h->page.word & NHI_PAGE_IS_COPY)
		memcpy(&value, (const void *)h->page.usable, sizeof(value));
	else
		value = h->folio->page[h->idx].data;
	return value;
}

void use_device_writes(struct world *w, struct sim_hold *h, uint64_t value)
{
	sim_point(w->m, w->hold);
	sim_say("a device writes %lu to page %u", value, sim_pageno(w->m, h->addr));
	((struct sim_folio *)h->folio)->page[h->idx].data = value;
}

const char *use_holds(const struct world *w)
{
	for (int i = 0; i < SIM_HOLDS; i++) {
		const struct sim_hold *h = &w->hold[i];
		const struct sim_pte *pte;
		bool copy;
		uint32_t idx;

		if (!h->active)
			continue;
		pte = sim_pte(w->m->space, h->addr);
		copy = h->page.word & NHI_PAGE_IS_COPY;
		if (!copy && (pte->protnone || pte->kept))
			return "a page was marked while somebody had a reference";
		if (frame_at((struct world *)w, h->addr, copy, &idx) != h->folio || idx != h->idx)
			return "a page was moved while somebody had a reference";
	}
	return NULL;
}
