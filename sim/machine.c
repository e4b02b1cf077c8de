// SPDX-License-Identifier: MIT
/* Frames, address spaces, TLBs, and what a CPU does when it touches memory. */
#include "machine.h"
#include "alloc.h"

#include <string.h>

#define ACCESS_TRIES 3000 /* faults of one access before it counts as one that never succeeds */

/* ------------------------------------------------------------------------------ machine */

static void defaults(struct sim_conf *c)
{
	c->page_size = c->page_size ? c->page_size : 4096;
	c->huge_size = c->huge_size ? c->huge_size : 4 * c->page_size;
	c->nr_nodes = c->nr_nodes ? c->nr_nodes : 2;
	c->nr_cpus = c->nr_cpus ? c->nr_cpus : 4;
	c->nr_pages = c->nr_pages ? c->nr_pages : 64;
	c->frames = c->frames ? c->frames : 2 * c->nr_pages;
	c->granule = c->granule ? c->granule : 1;
	c->trap = c->trap ? c->trap : NHI_TRAP_MPROTECT;
	c->delivery = c->delivery ? c->delivery : NHI_DELIVERY_THREAD;
}

struct sim *sim_create(const struct sim_conf *conf)
{
	struct sim *m = sim_alloc(sizeof(*m));

	m->conf = *conf;
	defaults(&m->conf);
	m->page_shift = (unsigned int)__builtin_ctzl(m->conf.page_size);
	m->pages_per_huge = (uint32_t)(m->conf.huge_size >> m->page_shift);
	m->os.page_size = m->conf.page_size;
	m->os.huge_size = m->conf.huge_size;
	m->os.nr_nodes = m->conf.nr_nodes;
	m->os.emulated = m->conf.emulated;
	for (int a = 0; a < m->conf.nr_nodes; a++) {
		m->os.has_memory[0] |= 1ull << a;
		for (int b = 0; b < m->conf.nr_nodes; b++)
			m->os.distance[a][b] = (uint8_t)(10 + 10 * (a > b ? a - b : b - a));
	}
	for (int c = 0; c < m->conf.nr_cpus; c++)
		m->os.has_cpus[0] |= 1ull << sim_node_of_cpu(m, c);
	m->space = sim_space_create(m);
	m->space->managed = true;
	return m;
}

void sim_free(struct sim *m)
{
	sim_space_free(m->space);
	sim_release(m);
}

bool sim_leaks(const struct sim *m)
{
	uint64_t used = 0;

	for (int n = 0; n < m->conf.nr_nodes; n++)
		used += m->used[n];
	return used || m->maps_live || m->tables_live;
}

void sim_task_init(struct sim *m, struct sim_task *t, int tid, int cpu)
{
	memset(t, 0, sizeof(*t));
	t->m = m;
	t->tid = tid;
	t->cpu = cpu;
	t->space = m->space;
	if (!m->current)
		m->current = t;
}

/* ------------------------------------------------------------------------------- frames */

uint32_t sim_free_frames(const struct sim *m, int node)
{
	uint32_t taken = m->used[node] + m->hogged[node];

	return m->conf.frames > taken ? m->conf.frames - taken : 0;
}

struct sim_folio *sim_folio_alloc(struct sim *m, int node, uint32_t nr)
{
	struct sim_folio *f;

	if (m->conf.emulated)
		node = 0;
	if (sim_free_frames(m, node) < nr)
		return NULL;
	f = sim_alloc(sizeof(*f) + nr * sizeof(f->page[0]));
	f->node = node;
	f->nr = nr;
	m->used[node] += nr;
	return f;
}

struct sim_folio *sim_folio_alloc_any(struct sim *m, int node, uint32_t nr)
{
	struct sim_folio *f = NULL;

	for (int i = 0; !f && i < m->conf.nr_nodes; i++)
		f = sim_folio_alloc(m, (node + i) % m->conf.nr_nodes, nr);
	return f;
}

void sim_folio_discard(struct sim *m, struct sim_folio *f)
{
	if (f->held || f->pins)
		return;
	sim_check(m, m->used[f->node] >= f->nr);
	m->used[f->node] -= f->nr;
	/* Whoever reads it through a stale translation sees this. */
	for (uint32_t i = 0; i < f->nr; i++)
		f->page[i].data = 0xdeadbeefdeadbeefull;
	sim_release(f);
}

void sim_folio_hold(struct sim_folio *f, uint32_t idx)
{
	f->page[idx].maps++;
	f->held++;
}

void sim_folio_drop(struct sim *m, struct sim_folio *f, uint32_t idx)
{
	sim_check(m, f->page[idx].maps > 0);
	f->page[idx].maps--;
	f->held--;
	sim_folio_discard(m, f);
}

void sim_unpin(struct sim *m, struct sim_folio *f)
{
	f->pins--;
	sim_folio_discard(m, f);
}

void sim_hog(struct sim *m, int node, uint32_t frames)
{
	uint32_t left = m->conf.frames - m->used[node];

	m->hogged[node] = left > frames ? left - frames : 0;
}

/* ------------------------------------------------------------------------------- spaces */

struct sim_pte *sim_pte(struct sim_space *s, uintptr_t addr)
{
	return &s->pte[sim_pageno(s->m, addr)];
}

struct sim_area *sim_area_find(struct sim_space *s, uintptr_t addr)
{
	for (uint32_t i = 0; i < s->nr_areas; i++) {
		if (s->area[i].start <= addr && addr < s->area[i].end)
			return &s->area[i];
	}
	return NULL;
}

struct sim_space *sim_space_create(struct sim *m)
{
	struct sim_space *s = sim_alloc(sizeof(*s));

	s->m = m;
	s->pte = sim_alloc(m->conf.nr_pages * sizeof(s->pte[0]));
	s->huge = sim_alloc((m->conf.nr_pages / m->pages_per_huge + 1) * sizeof(s->huge[0]));
	return s;
}

void sim_space_free(struct sim_space *s)
{
	for (uint32_t i = 0; i < s->m->conf.nr_pages; i++) {
		sim_zap(s, sim_addr(s->m, i));
		if (s->pte[i].kept)
			sim_folio_drop(s->m, s->pte[i].kept, s->pte[i].kept_idx);
	}
	sim_release(s->pte);
	sim_release(s->huge);
	sim_release(s);
}

void sim_flush(struct sim_space *s, uintptr_t addr)
{
	uint32_t slot = sim_pageno(s->m, addr) % SIM_TLB;

	for (int c = 0; c < s->m->conf.nr_cpus; c++) {
		struct sim_tlb_entry *e = &s->m->tlb[c][slot];

		if (e->space == s && e->addr == addr)
			e->space = NULL;
	}
	s->m->flushes++;
}

void sim_split_huge(struct sim_space *s, uintptr_t addr)
{
	s->huge[sim_pageno(s->m, addr) / s->m->pages_per_huge] = false;
}

void sim_zap(struct sim_space *s, uintptr_t addr)
{
	struct sim_pte *pte = sim_pte(s, addr);
	struct sim_folio *f = pte->folio;

	if (!f)
		return;
	pte->folio = NULL;
	/* mprotect(2) is of mappings: where a page was dropped, none can be touched either. */
	if (s->m->conf.trap != NHI_TRAP_MPROTECT || !sim_area_find(s, addr))
		pte->protnone = false;
	sim_split_huge(s, addr);
	sim_flush(s, addr);
	sim_folio_drop(s->m, f, pte->idx);
}

/* ----------------------------------------------------------------------------- accesses */

static struct sim_tlb_entry *tlb_of(struct sim_task *t, uintptr_t addr)
{
	return &t->m->tlb[t->cpu][sim_pageno(t->m, addr) % SIM_TLB];
}

/* A hole becomes zeros. */
static int demand_zero(struct sim_task *t, struct sim_pte *pte)
{
	struct sim *m = t->m;
	struct sim_folio *f = sim_folio_alloc_any(m, sim_node_of_cpu(m, t->cpu), 1);

	if (!f)
		return -ENOMEM;
	sim_folio_hold(f, 0);
	pte->folio = f;
	pte->idx = 0;
	m->demand_zero++;
	return 0;
}

/* Somebody else holds the page too: a copy of our own. */
static int copy_on_write(struct sim_task *t, uintptr_t addr, struct sim_pte *pte)
{
	struct sim *m = t->m;
	struct sim_folio *f = sim_folio_alloc_any(m, sim_node_of_cpu(m, t->cpu), 1);

	if (!f)
		return -ENOMEM;
	f->page[0].data = pte->folio->page[pte->idx].data;
	sim_zap(t->space, addr);
	sim_folio_hold(f, 0);
	pte->folio = f;
	pte->idx = 0;
	m->copies++;
	return 0;
}

/* Hand the fault to the engine, by the task itself or through the monitor. */
static int to_engine(struct sim_task *t, uintptr_t addr, bool write)
{
	struct sim *m = t->m;
	struct nhi_toucher who = { .tid = t->tid,
				   .cpu = t->cpu,
				   .node = sim_node_of_cpu(m, t->cpu) };
	uint32_t done = 0;
	int err;

	if (!t->space->managed || !m->sink)
		return -EFAULT;
	m->faults++;
	if (m->conf.delivery == NHI_DELIVERY_THREAD || !m->hooks.yield) {
		t->masked++;
		err = m->sink->fault(m->mm, addr, write, &who, m->conf.delivery);
		t->masked--;
		return err == -EAGAIN ? 0 : err;
	}
	while (m->nr_faults == SIM_EVENTS)
		m->hooks.relax(m);
	m->fault[m->nr_faults++] = (struct sim_fault){ addr, write, t, &done };
	sim_ring(m);
	while (!done)
		m->hooks.wait(m, &done, 0);
	/* The engine may have said that it is not its own; the access finds out. */
	return 0;
}

/* Does a touch go to the engine? */
static bool traps(const struct sim_pte *pte)
{
	return pte->protnone || (!pte->folio && pte->watched);
}

/* The engine does not want this fault. 0: it came late, look again; else the program's SIGSEGV. */
static int refused(struct sim_task *t, struct sim_pte *pte)
{
	sim_point(t->m, pte);
	t->m->spurious++;
	if (!pte->protnone && (pte->folio || !pte->watched))
		return 0;
	if (!pte->folio && pte->watched && !pte->kept) {
		pte->watched = NULL;
		return 0;
	}
	return -EFAULT;
}

/* One walk of the page table. 1: *e translates now; 0: look again; negative: as sim_read(). */
static int walk(struct sim_task *t, uintptr_t addr, bool write, struct sim_tlb_entry *e)
{
	struct sim_area *area = sim_area_find(t->space, addr);
	struct sim_pte *pte = sim_pte(t->space, addr);

	if (!area)
		return -EFAULT;
	if (!(area->prot & (write ? NHI_PROT_WRITE : NHI_PROT_ANY))) {
		/* In place the handler is asked first, and must say that it is no hinting fault. */
		if (pte->protnone && t->space->managed &&
		    t->m->conf.delivery == NHI_DELIVERY_THREAD)
			sim_check(t->m, to_engine(t, addr, write) < 0);
		return -EFAULT;
	}
	if (traps(pte))
		return to_engine(t, addr, write) ? refused(t, pte) : 0;
	if (!pte->folio)
		return demand_zero(t, pte);
	if (write && !area->shared && pte->folio->page[pte->idx].maps > 1)
		return copy_on_write(t, addr, pte);
	e->space = t->space;
	e->addr = addr;
	e->folio = pte->folio;
	e->idx = pte->idx;
	e->write = area->prot & NHI_PROT_WRITE &&
		   (area->shared || pte->folio->page[pte->idx].maps == 1);
	return 1;
}

/* Is @e what a walk of the page table would find? */
static bool is_fresh(struct sim_space *s, uintptr_t addr, const struct sim_tlb_entry *e)
{
	const struct sim_pte *pte = sim_pte(s, addr);

	return pte->folio == e->folio && pte->idx == e->idx && !pte->protnone;
}

static int access(struct sim_task *t, uintptr_t addr, uint64_t *value, bool write)
{
	struct sim *m = t->m;

	if (!m->hooks.yield)
		m->current = t;
	addr = nhi_round_down(addr, (uintptr_t)m->conf.page_size);
	if (addr < SIM_BASE || sim_pageno(m, addr) >= m->conf.nr_pages)
		return -EFAULT;
	sim_check(m, !t->masked); /* the engine touches no managed memory */
	for (int i = 0; i < ACCESS_TRIES && !m->broken; i++) {
		struct sim_tlb_entry *e = tlb_of(t, addr);
		int ret = 1;

		sim_point(m, sim_pte(t->space, addr));
		if (e->space != t->space || e->addr != addr || (write && !e->write))
			ret = walk(t, addr, write, e);
		else
			sim_check_that(m, is_fresh(t->space, addr, e),
				       "a stale translation was used");
		if (ret < 0)
			return ret;
		if (!ret)
			continue;
		if (write)
			e->folio->page[e->idx].data = *value;
		else
			*value = e->folio->page[e->idx].data;
		return 0;
	}
	return -ELOOP;
}

int sim_touch(struct sim_task *t, uintptr_t addr, bool write, bool force)
{
	struct sim *m = t->m;

	for (int i = 0; i < ACCESS_TRIES && !m->broken; i++) {
		struct sim_pte *pte = sim_pte(t->space, addr);
		struct sim_area *area;
		int err;

		sim_point(m, pte);
		area = sim_area_find(t->space, addr);
		if (!area || (!force && !(area->prot & (write ? NHI_PROT_WRITE : NHI_PROT_READ))))
			return -EFAULT;
		if (traps(pte))
			err = to_engine(t, addr, write) ? refused(t, pte) : 0;
		else if (!pte->folio)
			err = demand_zero(t, pte);
		else if (write && !area->shared && pte->folio->page[pte->idx].maps > 1)
			err = copy_on_write(t, addr, pte);
		else
			return 0;
		if (err)
			return err;
	}
	return -ELOOP;
}

int sim_read(struct sim_task *t, uintptr_t addr, uint64_t *ret)
{
	return access(t, addr, ret, false);
}

int sim_write(struct sim_task *t, uintptr_t addr, uint64_t value)
{
	return access(t, addr, &value, true);
}

/* -------------------------------------------------------------------------------- looks */

/* The frame that the program would see at @addr, marked or not. */
static struct sim_folio *frame_of(struct sim_space *s, uintptr_t addr, uint32_t *idx)
{
	struct sim_pte *pte = sim_pte(s, addr);

	*idx = pte->folio ? pte->idx : pte->kept_idx;
	return pte->folio ? pte->folio : pte->kept;
}

int sim_peek(struct sim_space *s, uintptr_t addr, uint64_t *ret)
{
	uint32_t idx;
	struct sim_folio *f = frame_of(s, addr, &idx);

	*ret = f ? f->page[idx].data : 0;
	return f ? 0 : -ENOENT;
}

bool sim_marked(struct sim_space *s, uintptr_t addr)
{
	return sim_pte(s, addr)->protnone || sim_pte(s, addr)->kept;
}

int sim_page_node(struct sim_space *s, uintptr_t addr)
{
	uint32_t idx;
	struct sim_folio *f = frame_of(s, addr, &idx);

	return f ? f->node : NHI_NO_NODE;
}

uint32_t sim_page_maps(struct sim_space *s, uintptr_t addr)
{
	uint32_t idx;
	struct sim_folio *f = frame_of(s, addr, &idx);

	return f ? f->page[idx].maps : 0;
}
