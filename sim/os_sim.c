// SPDX-License-Identifier: MIT
/* The operations of struct nhi_os_ops, in the order of os.h. Statuses and errors as it says. */
#include "os_sim.h"
#include "alloc.h"

#include <stdio.h>
#include <string.h>

static struct sim *sim_of(struct nhi_os *os)
{
	return (struct sim *)os;
}

static struct sim_map *map_of(struct nhi_map *map)
{
	return (struct sim_map *)map;
}

static uintptr_t run_addr(const struct sim *m, const struct nhi_run *run, uint32_t i)
{
	return run->addr + ((uintptr_t)i << m->page_shift);
}

/* ------------------------------------------------------------------------------ life, time */

static void op_bind(struct nhi_os *os, const struct nhi_os_sink *sink, void *mm)
{
	sim_of(os)->sink = sink;
	sim_of(os)->mm = mm;
}

static void op_destroy(struct nhi_os *os)
{
	sim_free(sim_of(os));
}

static uint64_t op_now_ns(struct nhi_os *os)
{
	return ++sim_of(os)->clock;
}

static void op_self(struct nhi_os *os, struct nhi_toucher *who)
{
	struct sim *m = sim_of(os);

	who->tid = m->current->tid;
	who->cpu = m->current->cpu;
	who->node = sim_node_of_cpu(m, m->current->cpu);
}

static void op_enter(struct nhi_os *os, uint64_t *token)
{
	*token = sim_of(os)->current->masked++;
}

static void op_leave(struct nhi_os *os, const uint64_t *token)
{
	struct sim *m = sim_of(os);

	sim_check(m, m->current->masked == *token + 1);
	m->current->masked = (uint32_t)*token;
}

static void op_wait(struct nhi_os *os, uint32_t *word, uint32_t value)
{
	struct sim *m = sim_of(os);

	if (m->hooks.wait) {
		m->hooks.wait(m, word, value);
	} else if (*word == value) {
		fprintf(stderr, "sim: the only task sleeps\n");
		abort();
	}
}

static void op_wake_all(struct nhi_os *os, uint32_t *word)
{
	struct sim *m = sim_of(os);

	if (m->hooks.wake_all && !(m->conf.bugs & SIM_BUG_NO_WAKE))
		m->hooks.wake_all(m, word);
}

static void op_relax(struct nhi_os *os)
{
	struct sim *m = sim_of(os);

	if (m->hooks.relax)
		m->hooks.relax(m);
}

static void *op_table_alloc(struct nhi_os *os, size_t bytes)
{
	struct sim *m = sim_of(os);
	uint8_t status;

	sim_point(m, &m->tables_live);
	if (sim_injected(m, SIM_OP_TABLE_ALLOC, &status) || status)
		return NULL;
	m->tables_live++;
	return sim_alloc(bytes);
}

static void op_table_free(struct nhi_os *os, void *mem, size_t bytes)
{
	(void)bytes;
	sim_point(sim_of(os), mem);
	sim_of(os)->tables_live--;
	sim_release(mem);
}

/* ------------------------------------------------------------------------------ mappings */

static const struct sim_area *next_area(const struct sim_space *s, uintptr_t from)
{
	const struct sim_area *best = NULL;

	for (uint32_t i = 0; i < s->nr_areas; i++) {
		const struct sim_area *a = &s->area[i];

		if (a->end > from && (!best || a->start < best->start))
			best = a;
	}
	return best;
}

static long op_mappings(struct nhi_os *os, uintptr_t start, uintptr_t end, struct nhi_mapping *maps,
			size_t max)
{
	struct sim *m = sim_of(os);
	uint8_t status;
	int err = sim_injected(m, SIM_OP_MAPPINGS, &status);
	size_t n = 0;

	sim_point(m, m->space);
	if (err)
		return err;
	while (n < max && start < end) {
		const struct sim_area *a = next_area(m->space, start);

		if (!a || a->start >= end)
			break;
		maps[n++] = (struct nhi_mapping){ a->start, a->end, a->prot, a->kind, a->shared };
		start = a->end;
	}
	return (long)n;
}

static struct sim_map *map_create(struct sim *m, uintptr_t start, uintptr_t end,
				  const struct nhi_map *like)
{
	struct sim_map *map = sim_alloc(sizeof(*map));

	map->m = m;
	map->pub = *like;
	map->pub.start = start;
	map->pub.end = end;
	map->pub.refs = 1;
	map->pub.marked = 0;
	m->maps_live++;
	return map;
}

static int op_attach(struct nhi_os *os, const struct nhi_mapping *mapping, struct nhi_map **ret)
{
	struct sim *m = sim_of(os);
	struct nhi_map like = { .kind = mapping->kind,
				.trap = m->conf.trap,
				.delivery = m->conf.delivery };
	uint8_t status;
	int err = sim_injected(m, SIM_OP_ATTACH, &status);

	sim_point(m, m->space);
	if (err)
		return err;
	if (mapping->kind != NHI_KIND_ANON && mapping->kind != NHI_KIND_SHMEM)
		return -EOPNOTSUPP;
	if (mapping->shared && like.trap == NHI_TRAP_SHADOW)
		like.trap = NHI_TRAP_MINOR;
	*ret = &map_create(m, mapping->start, mapping->end, &like)->pub;
	return 0;
}

/* Nobody hears of holes for @map any more; kept pages are waited for still. */
static void unwatch(struct sim_map *map)
{
	struct sim *m = map->m;

	for (uint32_t i = 0; i < m->conf.nr_pages && !m->in_event; i++) {
		struct sim_pte *pte = &m->space->pte[i];

		if (pte->watched == map)
			pte->watched = NULL;
	}
}

static void op_detach(struct nhi_os *os, struct nhi_map *pub)
{
	struct sim *m = sim_of(os);
	struct sim_map *map = map_of(pub);

	sim_point(m, map);
	sim_check(m, pub->refs == 0);
	sim_check(m, pub->marked == 0);
	sim_check(m, map->hw == 0);
	unwatch(map);
	m->maps_live--;
	sim_release(map);
}

static int op_set_policy(struct nhi_os *os, uintptr_t start, uintptr_t end, int mode,
			 const unsigned long *nodes, unsigned int nr_bits)
{
	uint8_t status;

	(void)start, (void)end, (void)mode, (void)nodes, (void)nr_bits;
	return sim_injected(sim_of(os), SIM_OP_SET_POLICY, &status);
}

/* ------------------------------------------------------------------------------ marking */

static int op_query(struct nhi_os *os, struct nhi_map *map, uintptr_t addr, uint32_t nr_pages,
		    uint8_t *info)
{
	struct sim *m = sim_of(os);
	uint8_t status;
	int err = sim_injected(m, SIM_OP_QUERY, &status);

	(void)map;
	sim_point(m, m->space);
	for (uint32_t i = 0; i < nr_pages && !err; i++) {
		uintptr_t at = addr + ((uintptr_t)i << m->page_shift);
		uint32_t maps = sim_page_maps(m->space, at);

		info[i] = maps ? NHI_INFO_PRESENT : 0;
		if (maps > 1)
			info[i] |= NHI_INFO_SHARED;
		if (maps && m->space->huge[sim_pageno(m, at) / m->pages_per_huge])
			info[i] |= NHI_INFO_HUGE;
	}
	return err;
}

static int op_mark_begin(struct nhi_os *os, struct nhi_map *pub)
{
	struct sim *m = sim_of(os);
	struct sim_map *map = map_of(pub);
	uint8_t status;
	int err = sim_injected(m, SIM_OP_MARK_BEGIN, &status);

	sim_point(m, map);
	if (err)
		return err;
	map->marking++;
	return 0;
}

/* Whole granules are watched, just before they lose pages, as far as they are of the map. */
static void watch(struct sim_map *map, const struct nhi_run *run)
{
	struct sim *m = map->m;
	uintptr_t end = run_addr(m, run, run->nr_pages), at = run->addr;

	at = nhi_max(map->pub.start, nhi_round_down(at, (uintptr_t)m->conf.huge_size));
	end = nhi_min(map->pub.end, nhi_round_up(end, (uintptr_t)m->conf.huge_size));
	for (; at < end; at += m->conf.page_size) {
		if (sim_area_find(m->space, at) && !sim_pte(m->space, at)->watched)
			sim_pte(m->space, at)->watched = map;
	}
}

static void op_mark_end(struct nhi_os *os, struct nhi_map *pub)
{
	struct sim_map *map = map_of(pub);

	sim_point(sim_of(os), map);
	map->marking--;
	if (!map->marking && !map->hw)
		unwatch(map);
}

/* Why the page at @addr cannot be marked or moved now. */
static uint8_t refusal(struct sim *m, uintptr_t addr)
{
	struct sim_pte *pte = sim_pte(m->space, addr);
	struct sim_folio *f = pte->folio ? pte->folio : pte->kept;

	if (!f || !sim_area_find(m->space, addr))
		return NHI_PAGE_HOLE;
	if (f->pins)
		return NHI_PAGE_PINNED;
	return sim_page_maps(m->space, addr) > 1 ? NHI_PAGE_SHARED : NHI_PAGE_OK;
}

static void mark_page(struct sim_map *map, uintptr_t addr)
{
	struct sim *m = map->m;
	struct sim_pte *pte = sim_pte(m->space, addr);

	sim_check(m, pte->folio && !pte->protnone && !pte->kept);
	pte->marker = map;
	map->hw++;
	if (map->pub.trap == NHI_TRAP_MPROTECT) {
		pte->protnone = true;
	} else {
		pte->kept = pte->folio;
		pte->kept_idx = pte->idx;
		pte->folio = NULL;
		pte->watched = map;
	}
	if (!(m->conf.bugs & SIM_BUG_NO_FLUSH))
		sim_flush(m->space, addr);
}

static long mark_huge(struct sim_map *map, struct nhi_run *run)
{
	struct sim *m = map->m;

	if (!m->space->huge[sim_pageno(m, run->addr) / m->pages_per_huge]) {
		run->status[0] = NHI_PAGE_UNSUPPORTED;
		return 0;
	}
	for (uint32_t i = 0; i < run->nr_pages; i++) {
		run->status[0] = refusal(m, run_addr(m, run, i));
		if (run->status[0])
			return 0;
	}
	for (uint32_t i = 0; i < run->nr_pages; i++)
		mark_page(map, run_addr(m, run, i));
	return run->nr_pages;
}

static long op_mark(struct nhi_os *os, struct nhi_run *run)
{
	static const struct sim_event own = { .kind = SIM_EV_OWN };
	struct sim *m = sim_of(os);
	uint8_t status;
	int err = sim_injected(m, SIM_OP_MARK, &status);
	long done = 0;

	sim_point(m, m->space);
	sim_check(m, map_of(run->map)->marking);
	if (err)
		return err;
	if (run->map->trap == NHI_TRAP_SHADOW)
		watch(map_of(run->map), run);
	if (run->huge && !status)
		done = mark_huge(map_of(run->map), run);
	for (uint32_t i = 0; i < (run->huge ? status != 0 : run->nr_pages); i++) {
		uintptr_t at = run_addr(m, run, i);

		run->status[i] = status ? status : refusal(m, at);
		/* mprotect(2) does not look who else maps a page. */
		if (run->status[i] == NHI_PAGE_SHARED && run->map->trap == NHI_TRAP_MPROTECT)
			run->status[i] = NHI_PAGE_OK;
		if (run->status[i])
			continue;
		sim_split_huge(m->space, at);
		mark_page(map_of(run->map), at);
		done++;
		sim_point(m, m->space);
	}
	/* As mremap() of a watched range does: the call returns when its event was read. */
	if (done && run->map->trap == NHI_TRAP_SHADOW)
		sim_raise(m->current, &own);
	return done;
}

/* ---------------------------------------------------------------------------- resolving */

static int op_nodes(struct nhi_os *os, struct nhi_map *map, uintptr_t addr, uint32_t nr_pages,
		    uint8_t *nodes)
{
	struct sim *m = sim_of(os);
	uint8_t status;
	int err = sim_injected(m, SIM_OP_NODES, &status);

	(void)map;
	sim_point(m, m->space);
	sim_check(m, !m->conf.emulated);
	for (uint32_t i = 0; i < nr_pages && !err; i++) {
		int node = sim_page_node(m->space, addr + ((uintptr_t)i << m->page_shift));

		nodes[i] = node < 0 ? NHI_UNKNOWN_NODE : (uint8_t)node;
	}
	return err;
}

/* A marked page is accessible again, as @f if that is not NULL. */
static void unmark_page(struct sim *m, uintptr_t addr, struct sim_folio *f, uint32_t idx)
{
	struct sim_pte *pte = sim_pte(m->space, addr);
	struct sim_map *map = pte->marker;
	struct sim_folio *old = pte->kept ? pte->kept : pte->folio;
	uint32_t old_idx = pte->kept ? pte->kept_idx : pte->idx;

	sim_check(m, pte->protnone || (pte->kept && !pte->folio));
	sim_check(m, sim_area_find(m->space, addr));
	pte->protnone = false;
	pte->kept = NULL;
	pte->marker = NULL;
	pte->folio = f ? f : old;
	pte->idx = f ? idx : old_idx;
	map->hw--;
	if (f) {
		sim_folio_hold(f, idx);
		sim_folio_drop(m, old, old_idx);
	}
}

/* Nothing can be put into a range while an event waits to be read. */
static bool event_under_way(const struct sim *m)
{
	return m->unread && m->conf.trap != NHI_TRAP_MPROTECT;
}

static bool run_is_gone(struct sim *m, uintptr_t addr)
{
	return !sim_marked(m->space, addr);
}

/* Restore page @i, or all of a huge run. */
static uint8_t restore_one(struct sim *m, struct nhi_run *run, uint32_t i)
{
	if (run_is_gone(m, run_addr(m, run, i)))
		return NHI_PAGE_HOLE;
	if (!run->huge)
		sim_split_huge(m->space, run_addr(m, run, i));
	for (uint32_t n = run->huge ? run->nr_pages : 1; n--; i++)
		unmark_page(m, run_addr(m, run, i), NULL, 0);
	return NHI_PAGE_OK;
}

static int do_restore(struct sim *m, struct nhi_run *run, enum sim_op op)
{
	uint8_t status;
	int err = sim_injected(m, op, &status);

	for (uint32_t i = 0; i < (run->huge ? 1 : run->nr_pages); i++) {
		sim_point(m, m->space);
		/* A call that fails may have done some pages. */
		if (err && (i > 0 || run->nr_pages == 1 || run->huge))
			return err;
		if (event_under_way(m))
			return -EAGAIN;
		run->status[i] = status ? status : restore_one(m, run, i);
		run->ladder[op == SIM_OP_RESTORE_HARD ? 2 : 0] += run->status[i] == NHI_PAGE_OK;
	}
	return err;
}

static int op_restore(struct nhi_os *os, struct nhi_run *run)
{
	return do_restore(sim_of(os), run, SIM_OP_RESTORE);
}

#define CHANGING 0xff /* no status: -EAGAIN */

/* Move page @i, or all of a huge run, to run->node; restores it where that cannot be. */
static uint8_t migrate_one(struct sim *m, struct nhi_run *run, uint32_t i, uint8_t status)
{
	const uint32_t n = run->huge ? run->nr_pages : 1;
	struct sim_folio *f;

	if (status == NHI_PAGE_STUCK)
		return status;
	if (run_is_gone(m, run_addr(m, run, i)))
		return NHI_PAGE_HOLE;
	f = status ? NULL : sim_folio_alloc(m, run->node, n);
	if (!f && !status)
		status = NHI_PAGE_NOMEM;
	sim_point(m, f);
	/* Putting it in place is one with the look whether the address space changes. */
	if (event_under_way(m)) {
		if (f)
			sim_folio_discard(m, f);
		return CHANGING;
	}
	if (!run->huge)
		sim_split_huge(m->space, run_addr(m, run, i));
	for (uint32_t k = 0; k < n && !status; k++)
		status = refusal(m, run_addr(m, run, i + k));
	for (uint32_t k = 0; k < n; k++) {
		uintptr_t at = run_addr(m, run, i + k);

		if (!status)
			sim_peek(m->space, at, &f->page[k].data);
		unmark_page(m, at, status ? NULL : f, k);
	}
	if (f && status)
		sim_folio_discard(m, f);
	return status;
}

/* Nobody moves a page to the node it is on, who was told where it is. */
static bool is_away(struct sim *m, const struct nhi_run *run, uint32_t i)
{
	const struct sim_plan *nodes = &m->plan[SIM_OP_NODES];

	return m->conf.emulated || nodes->nth || nodes->chance || nodes->failed ||
	       sim_page_node(m->space, run_addr(m, run, i)) != run->node;
}

static int op_migrate(struct nhi_os *os, struct nhi_run *run)
{
	struct sim *m = sim_of(os);
	uint8_t status;
	int err = sim_injected(m, SIM_OP_MIGRATE, &status);

	for (uint32_t i = 0; i < (run->huge ? 1 : run->nr_pages); i++) {
		sim_point(m, m->space);
		if (err && (i > 0 || run->nr_pages == 1 || run->huge))
			return err;
		if (event_under_way(m))
			return -EAGAIN;
		sim_check_that(m, is_away(m, run, i),
			       "a page was migrated to the node that it is on");
		run->status[i] = migrate_one(m, run, i, status);
		if (run->status[i] == CHANGING) {
			run->status[i] = NHI_PAGE_OTHER;
			return -EAGAIN;
		}
		if (run->status[i] == NHI_PAGE_OK && m->conf.copy)
			run->copied += run->huge ? run->nr_pages : 1;
	}
	return err;
}

static int op_restore_hard(struct nhi_os *os, struct nhi_run *run)
{
	static const struct sim_event own = { .kind = SIM_EV_OWN };
	struct sim *m = sim_of(os);
	int err = do_restore(m, run, SIM_OP_RESTORE_HARD);

	if (!err && run->map->trap == NHI_TRAP_SHADOW)
		sim_raise(m->current, &own);
	if (!err && run->node != NHI_NO_NODE && run->status[0] == NHI_PAGE_OK)
		run->status[0] = NHI_PAGE_BUSY; /* it was not moved before */
	return err;
}

static int op_zero_fill(struct nhi_os *os, struct nhi_map *map, uintptr_t addr)
{
	struct sim *m = sim_of(os);
	struct sim_pte *pte = sim_pte(m->space, addr);
	uint8_t status;
	int err = sim_injected(m, SIM_OP_ZERO_FILL, &status);
	struct sim_folio *f;

	(void)map;
	sim_point(m, m->space);
	if (err || event_under_way(m))
		return err ? err : -EAGAIN;
	if (pte->folio || !sim_area_find(m->space, addr))
		return 0;
	sim_check_that(m, !pte->kept, "a marked page was hidden by zeros");
	f = sim_folio_alloc_any(m, sim_node_of_cpu(m, m->current->cpu), 1);
	if (!f)
		return -EAGAIN;
	sim_folio_hold(f, 0);
	pte->folio = f;
	pte->idx = 0;
	return 1;
}

static void op_quiet(struct nhi_os *os, struct nhi_map *pub)
{
	struct sim_map *map = map_of(pub);

	sim_point(sim_of(os), map);
	if (!map->marking && !map->hw)
		unwatch(map);
}

static uint32_t op_granule(struct nhi_os *os, struct nhi_map *map, uint64_t marked)
{
	(void)map, (void)marked;
	return sim_of(os)->conf.granule;
}

/* ------------------------------------------------------------------------------- events */

static void op_discard(struct nhi_os *os, struct nhi_map *map, uintptr_t addr, uint32_t nr_pages)
{
	struct sim *m = sim_of(os);

	(void)map;
	sim_point(m, m->space);
	for (uint32_t i = 0; i < nr_pages; i++) {
		uintptr_t at = addr + ((uintptr_t)i << m->page_shift);
		struct sim_pte *pte = sim_pte(m->space, at);
		struct sim_folio *f = pte->kept;

		sim_check(m, sim_marked(m->space, at));
		if (pte->marker)
			((struct sim_map *)pte->marker)->hw--;
		pte->marker = NULL;
		pte->kept = NULL;
		sim_split_huge(m->space, at);
		if (f)
			sim_folio_drop(m, f, pte->kept_idx);
		else
			sim_zap(m->space, at);
		pte->protnone = false;
	}
}

/* What belongs to @old at @from now belongs to @fresh at @to. */
static void move_one(struct sim *m, struct sim_map *old, struct sim_map *fresh, uintptr_t from,
		     uintptr_t to)
{
	struct sim_pte *src = sim_pte(m->space, from), *dst = sim_pte(m->space, to);

	if (dst->watched == old)
		dst->watched = fresh;
	if (src->marker != old)
		return;
	sim_check(m, !dst->kept && !dst->marker);
	dst->kept = src->kept;
	dst->kept_idx = src->kept_idx;
	dst->marker = fresh;
	src->kept = NULL;
	src->marker = NULL;
	old->hw--;
	fresh->hw++;
}

static int op_moved(struct nhi_os *os, struct nhi_map *map, uintptr_t from, uintptr_t to,
		    size_t len, struct nhi_map **ret)
{
	struct sim *m = sim_of(os);
	struct sim_map *fresh;
	uint8_t status;
	int err = sim_injected(m, SIM_OP_MOVED, &status);

	sim_point(m, m->space);
	if (err)
		return err;
	fresh = map_create(m, to, to + len, map);
	for (size_t off = 0; off < len; off += m->conf.page_size)
		move_one(m, map_of(map), fresh, from + off, to + off);
	*ret = &fresh->pub;
	return 0;
}

/* The page at @at lives in @fresh from now on. */
static void place_page(struct sim *m, uintptr_t at, struct sim_folio *fresh)
{
	struct sim_pte *pte = sim_pte(m->space, at);
	void *watched = pte->watched;

	sim_peek(m->space, at, &fresh->page[0].data);
	sim_zap(m->space, at);
	sim_folio_hold(fresh, 0);
	pte->folio = fresh;
	pte->idx = 0;
	pte->watched = watched;
}

/*
 * Move page @i, or all of a huge run, to run->node. A page that others map moves for all of them, as
 * the kernel's rmap has it: the folio becomes one of the other node.
 */
static uint8_t move_one_now(struct sim *m, struct nhi_run *run, uint32_t i)
{
	uint32_t n = run->huge ? run->nr_pages : 1;
	uintptr_t at = run_addr(m, run, i);
	struct sim_folio *f = sim_pte(m->space, at)->folio, *fresh;
	uint8_t why = refusal(m, at);

	sim_check(m, !sim_marked(m->space, at));
	if (why != NHI_PAGE_OK && !(why == NHI_PAGE_SHARED && run->all))
		return why;
	/* A huge page that is mapped by base pages now, or in part, is not moved as one. */
	n = nhi_min(n, f->nr);
	if (n < f->nr && why == NHI_PAGE_OK) {
		fresh = sim_folio_alloc(m, run->node, 1);
		if (!fresh)
			return NHI_PAGE_NOMEM;
		place_page(m, at, fresh);
		return NHI_PAGE_OK;
	}
	fresh = sim_folio_alloc(m, run->node, f->nr); /* is there room? */
	if (!fresh)
		return NHI_PAGE_NOMEM;
	sim_folio_discard(m, fresh);
	m->used[f->node] -= f->nr;
	m->used[run->node] += f->nr;
	f->node = run->node;
	for (uint32_t j = 0; j < n; j++)
		sim_flush(m->space, at + j * m->conf.page_size);
	return NHI_PAGE_OK;
}

static long op_move_now(struct nhi_os *os, struct nhi_run *run)
{
	struct sim *m = sim_of(os);
	uint8_t status;
	int err = sim_injected(m, SIM_OP_MOVE_NOW, &status);
	long done = 0;

	for (uint32_t i = 0; i < (run->huge ? 1 : run->nr_pages) && !err; i++) {
		sim_point(m, m->space);
		run->status[i] = status ? status : move_one_now(m, run, i);
		done += run->status[i] == NHI_PAGE_OK ? (long)(run->huge ? run->nr_pages : 1) : 0;
	}
	return err ? err : done;
}

static int op_populate(struct nhi_os *os, struct nhi_map *map, uintptr_t addr, bool write,
		       bool force)
{
	struct sim *m = sim_of(os);
	uint8_t status;
	int err = sim_injected(m, SIM_OP_POPULATE, &status);

	(void)map;
	return err ? err : sim_touch(m->current, addr, write, force);
}

static int op_peek(struct nhi_os *os, struct nhi_map *map, uintptr_t addr, void *buf)
{
	struct sim *m = sim_of(os);
	uint8_t status;
	int err = sim_injected(m, SIM_OP_PEEK, &status);

	(void)map;
	sim_point(m, sim_pte(m->space, addr));
	return err ? err : sim_peek(m->space, addr, buf);
}

static const struct nhi_os_ops sim_ops = {
	.name = "sim",
	.bind = op_bind,
	.destroy = op_destroy,
	.now_ns = op_now_ns,
	.self = op_self,
	.enter = op_enter,
	.leave = op_leave,
	.wait = op_wait,
	.wake_all = op_wake_all,
	.relax = op_relax,
	.table_alloc = op_table_alloc,
	.table_free = op_table_free,
	.mappings = op_mappings,
	.attach = op_attach,
	.detach = op_detach,
	.set_policy = op_set_policy,
	.query = op_query,
	.mark_begin = op_mark_begin,
	.mark_end = op_mark_end,
	.mark = op_mark,
	.nodes = op_nodes,
	.restore = op_restore,
	.migrate = op_migrate,
	.restore_hard = op_restore_hard,
	.zero_fill = op_zero_fill,
	.quiet = op_quiet,
	.granule = op_granule,
	.discard = op_discard,
	.moved = op_moved,
	.populate = op_populate,
	.peek = op_peek,
	.move_now = op_move_now,
};

struct sim *sim_os_create(const struct sim_conf *conf)
{
	struct sim *m = sim_create(conf);

	m->os.ops = &sim_ops;
	return m;
}
