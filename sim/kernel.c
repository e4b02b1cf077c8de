// SPDX-License-Identifier: MIT
/*
 * System calls of the simulated program, and the events that they raise.
 *
 * Kept pages (userfaultfd on Linux): a call that changes a watched range queues an event and waits
 * until the monitor has read it. MADV_DONTNEED does so before it drops the pages, the others after
 * they have changed the mappings; the caller of mremap raises UNMAP(to), REMAP, UNMAP(from). From
 * the raising until the caller runs again nothing can be resolved (-EAGAIN). An unwatched range
 * raises nothing, and the engine does not hear of it.
 *
 * In place (mprotect) there is no monitor: the call is interposed, and its own thread tells the
 * engine.
 */
#include "machine.h"
#include "alloc.h"

#include <string.h>

#define EVENT_TRIES 200

static bool in_place(const struct sim *m)
{
	return m->conf.trap == NHI_TRAP_MPROTECT;
}

/* ------------------------------------------------------------------------------- events */

/* The child gets its own copy of what is kept for the parent. */
static int copy_out(void *arg, struct nhi_map *map, uintptr_t addr, uint32_t nr)
{
	struct sim_space *child = arg;
	struct sim *m = child->m;

	(void)map;
	sim_point(m, child);
	for (uint32_t i = 0; i < nr; i++) {
		uintptr_t at = addr + ((uintptr_t)i << m->page_shift);
		struct sim_pte *from = sim_pte(m->space, at), *to = sim_pte(child, at);
		struct sim_folio *f;

		to->protnone = false;
		if (!from->kept || to->folio)
			continue;
		f = sim_folio_alloc_any(m, from->kept->node, 1);
		if (!f)
			return -ENOMEM;
		f->page[0].data = from->kept->page[from->kept_idx].data;
		sim_folio_hold(f, 0);
		to->folio = f;
		to->idx = 0;
	}
	return 0;
}

static void drop_pages(struct sim_space *s, uintptr_t start, uintptr_t end)
{
	sim_point(s->m, s);
	for (uintptr_t at = start; at < end; at += s->m->conf.page_size) {
		if (sim_area_find(s, at))
			sim_zap(s, at);
	}
}

static int handle_once(struct sim *m, const struct sim_event *ev)
{
	switch (ev->kind) {
	case SIM_EV_REMOVE:
		/*
		 * The thread that drops the pages does so after the event was read. A marker must not
		 * get to them first, so the monitor sees to it that they go (src/os/linux/monitor.c).
		 */
		if (!in_place(m))
			drop_pages(m->space, ev->start, ev->end);
		return m->sink->discarded(m->mm, ev->start, ev->end);
	case SIM_EV_UNMAP:
		return m->sink->unmapped(m->mm, ev->start, ev->end);
	case SIM_EV_REMAP:
		return m->sink->remapped(m->mm, ev->start, ev->to, ev->end - ev->start);
	case SIM_EV_FORK:
		return m->sink->forked(m->mm, copy_out, ev->child);
	default:
		return 0; /* our own call: read it, that is all */
	}
}

/* Between event_begin and event_end; reads on while the engine cannot do it yet. */
static void read_events(struct sim *m, struct sim_event *to, uint32_t *nr);

static void handle(struct sim *m, const struct sim_event *ev, struct sim_event *more, uint32_t *nr)
{
	for (int i = 0; handle_once(m, ev) == -EAGAIN && !m->broken; i++) {
		if (!m->hooks.relax) {
			sim_check(m, i < EVENT_TRIES); /* nobody is there who could let go */
			continue;
		}
		m->hooks.relax(m);
		if (more)
			read_events(m, more, nr);
	}
}

static void read_events(struct sim *m, struct sim_event *to, uint32_t *nr)
{
	sim_point(m, m->event);
	for (uint32_t i = 0; i < m->nr_events; i++) {
		*m->event[i].done = 1;
		if (m->hooks.wake_all)
			m->hooks.wake_all(m, m->event[i].done);
		sim_point(m, m->event);
		if (m->event[i].kind != SIM_EV_OWN && *nr < SIM_EVENTS)
			to[(*nr)++] = m->event[i];
	}
	m->nr_events = 0;
}

void sim_ring(struct sim *m)
{
	m->bell++;
	if (m->hooks.wake_all)
		m->hooks.wake_all(m, &m->bell);
}

void sim_raise(struct sim_task *t, const struct sim_event *ev)
{
	struct sim *m = t->m;
	uint32_t done = 0;

	if (!m->sink)
		return;
	if (in_place(m)) {
		handle(m, ev, NULL, NULL);
		return;
	}
	if (!m->hooks.yield) {
		t->masked++;
		m->sink->event_begin(m->mm);
		handle(m, ev, NULL, NULL);
		m->sink->event_end(m->mm);
		t->masked--;
		return;
	}
	/* With the change itself: from the kernel's unlocking on nothing can be resolved. */
	m->unread++;
	while (m->nr_events == SIM_EVENTS)
		m->hooks.relax(m);
	m->event[m->nr_events] = *ev;
	m->event[m->nr_events++].done = &done;
	sim_ring(m);
	while (!done)
		m->hooks.wait(m, &done, 0);
	sim_point(m, &m->unread);
	m->unread--;
}

static void do_faults(struct sim *m)
{
	struct sim_fault todo[SIM_EVENTS];
	uint32_t nr;

	sim_point(m, m->fault);
	nr = m->nr_faults;
	memcpy(todo, m->fault, nr * sizeof(todo[0]));
	m->nr_faults = 0;
	for (uint32_t i = 0; i < nr; i++) {
		struct sim_task *t = todo[i].task;
		struct nhi_toucher who = { .tid = t->tid,
					   .cpu = t->cpu,
					   .node = sim_node_of_cpu(m, t->cpu) };
		int err = m->sink->fault(m->mm, todo[i].addr, todo[i].write, &who,
					 NHI_DELIVERY_MONITOR);

		sim_point(m, m->fault);
		if (err == -EAGAIN) {
			m->fault[m->nr_faults++] = todo[i];
			continue;
		}
		if (err) {
			struct sim_pte *pte = sim_pte(t->space, todo[i].addr);

			/* Not the engine's: nobody watches there any more. */
			pte->watched = pte->kept ? pte->watched : NULL;
			m->spurious++;
		}
		*todo[i].done = 1;
		m->hooks.wake_all(m, todo[i].done);
	}
}

void sim_monitor(struct sim_task *t)
{
	struct sim *m = t->m;
	struct sim_event todo[SIM_EVENTS];

	t->masked++;
	while (!m->stop && !m->broken) {
		uint32_t seen, nr = 0, first = 0;

		sim_point(m, &m->bell);
		seen = m->bell;
		if (m->nr_events) {
			if (m->conf.bugs & SIM_BUG_READ_EARLY)
				read_events(m, todo, &nr);
			m->sink->event_begin(m->mm);
			m->in_event = true;
			read_events(m, todo, &nr);
			while (first < nr) {
				struct sim_event ev = todo[first++];

				handle(m, &ev, todo, &nr);
			}
			sim_point(m, m->event);
			m->in_event = false;
			m->sink->event_end(m->mm);
		}
		do_faults(m);
		sim_point(m, &m->bell);
		if (m->nr_faults)
			m->hooks.relax(m);
		else if (!m->nr_events && !m->stop)
			m->hooks.wait(m, &m->bell, seen);
	}
	t->masked--;
}

/*
 * Does a change of [start, end) concern the engine? In place the answer is yes, for whoever
 * interposes does not know; but a fork with nothing marked was prepared, by somebody who holds locks.
 */
static bool concerns(struct sim_space *s, uintptr_t start, uintptr_t end, bool marks)
{
	if (!s->managed || !s->m->sink)
		return false;
	if (in_place(s->m) && !marks)
		return true;
	for (uintptr_t at = start; at < end; at += s->m->conf.page_size) {
		if (sim_pte(s, at)->watched || sim_pte(s, at)->protnone)
			return true;
	}
	return false;
}

/* --------------------------------------------------------------------------------- areas */

static int area_split(struct sim_space *s, uintptr_t addr)
{
	struct sim_area *a = sim_area_find(s, addr);

	if (!a || a->start == addr)
		return 0;
	if (s->nr_areas == SIM_MAX_AREAS)
		return -ENOMEM;
	s->area[s->nr_areas] = *a;
	s->area[s->nr_areas++].start = addr;
	a->end = addr;
	return 0;
}

/* Forget the areas in [start, end), whose pages are gone or going. */
static int areas_cut(struct sim_space *s, uintptr_t start, uintptr_t end)
{
	int err = area_split(s, start);

	if (!err)
		err = area_split(s, end);
	for (uint32_t i = 0; !err && i < s->nr_areas;) {
		if (s->area[i].start >= start && s->area[i].end <= end)
			s->area[i] = s->area[--s->nr_areas];
		else
			i++;
	}
	return err;
}

static bool bad_range(const struct sim *m, uintptr_t addr, size_t len)
{
	return !len || (addr | len) & (m->conf.page_size - 1) || addr < SIM_BASE ||
	       addr + len > sim_addr(m, m->conf.nr_pages);
}

static void unmap_pages(struct sim_space *s, uintptr_t start, uintptr_t end)
{
	for (uintptr_t at = start; at < end; at += s->m->conf.page_size) {
		sim_zap(s, at);
		sim_pte(s, at)->watched = NULL;
	}
}

/* --------------------------------------------------------------------------------- calls */

/* A call begins: the task that makes it, where there is no scheduler to say so. */
static void entered(struct sim_task *t)
{
	if (!t->m->hooks.yield)
		t->m->current = t;
	sim_point(t->m, t->space);
}

/* In place: nothing is resolved from before the call changes anything until the engine knows. */
static void interpose(struct sim_task *t, bool tell)
{
	if (!tell || !in_place(t->m))
		return;
	t->masked++;
	t->m->sink->event_begin(t->m->mm);
}

static void interposed(struct sim_task *t, bool tell)
{
	if (!tell || !in_place(t->m))
		return;
	t->m->sink->event_end(t->m->mm);
	t->masked--;
}

/*
 * The kernel changes the address space now. Whether the engine was to hear of it was seen under the
 * same lock, unless it has heard of it meanwhile.
 */
static void changes(struct sim_task *t, bool heard)
{
	if (heard)
		sim_point(t->m, t->space);
}

int sim_mmap(struct sim_task *t, uintptr_t addr, size_t len, unsigned int prot, enum nhi_kind kind,
	     bool shared)
{
	struct sim_space *s = t->space;

	if (bad_range(t->m, addr, len))
		return -EINVAL;
	for (uint32_t i = 0; i < s->nr_areas; i++) {
		if (s->area[i].start < addr + len && addr < s->area[i].end)
			return -EEXIST;
	}
	if (s->nr_areas == SIM_MAX_AREAS)
		return -ENOMEM;
	s->area[s->nr_areas++] = (struct sim_area){ addr, addr + len, prot, kind, shared };
	return 0;
}

int sim_munmap(struct sim_task *t, uintptr_t addr, size_t len)
{
	struct sim_space *s = t->space;
	struct sim_event ev = { .kind = SIM_EV_UNMAP, .start = addr, .end = addr + len };
	bool tell;
	int err;

	if (bad_range(t->m, addr, len))
		return -EINVAL;
	entered(t);
	tell = concerns(s, addr, addr + len, false);
	interpose(t, tell);
	if (tell && in_place(t->m))
		sim_raise(t, &ev);
	changes(t, tell && in_place(t->m));
	err = areas_cut(s, addr, addr + len);
	if (!err)
		unmap_pages(s, addr, addr + len);
	if (!err && tell && !in_place(t->m))
		sim_raise(t, &ev);
	interposed(t, tell);
	return err;
}

int sim_dontneed(struct sim_task *t, uintptr_t addr, size_t len)
{
	struct sim_space *s = t->space;
	struct sim_event ev = { .kind = SIM_EV_REMOVE, .start = addr, .end = addr + len };
	bool tell;

	if (bad_range(t->m, addr, len))
		return -EINVAL;
	entered(t);
	tell = concerns(s, addr, addr + len, false);
	interpose(t, tell);
	if (tell)
		sim_raise(t, &ev);
	changes(t, tell);
	for (uintptr_t at = addr; at < addr + len; at += t->m->conf.page_size) {
		if (sim_area_find(s, at))
			sim_zap(s, at);
	}
	interposed(t, tell);
	return 0;
}

/* The PTEs of [from, from + len) move; what is kept for them stays until the engine moves it. */
static void move_pages(struct sim_space *s, uintptr_t from, uintptr_t to, size_t len)
{
	for (size_t off = 0; off < len; off += s->m->conf.page_size) {
		struct sim_pte *src = sim_pte(s, from + off), *dst = sim_pte(s, to + off);

		sim_split_huge(s, from + off);
		sim_split_huge(s, to + off);
		sim_flush(s, from + off);
		dst->folio = src->folio;
		dst->idx = src->idx;
		dst->protnone = src->protnone;
		dst->watched = src->watched;
		src->folio = NULL;
		src->protnone = false;
		src->watched = NULL;
	}
}

/* The call's work: what is at the new place goes, the area and its pages move there. */
static int do_mremap(struct sim_space *s, uintptr_t from, uintptr_t to, size_t len)
{
	struct sim_area moved = *sim_area_find(s, from);
	int err = areas_cut(s, to, to + len);

	if (!err)
		err = areas_cut(s, from, from + len);
	if (err)
		return err;
	moved.start = to;
	moved.end = to + len;
	unmap_pages(s, to, to + len);
	move_pages(s, from, to, len);
	s->area[s->nr_areas++] = moved;
	return 0;
}

int sim_mremap(struct sim_task *t, uintptr_t from, uintptr_t to, size_t len)
{
	struct sim_space *s = t->space;
	struct sim_event there = { .kind = SIM_EV_UNMAP, .start = to, .end = to + len };
	struct sim_event ev = { .kind = SIM_EV_REMAP, .start = from, .end = from + len, .to = to };
	struct sim_area *a = sim_area_find(s, from);
	bool place = in_place(t->m), tell, tell_there;
	int err;

	if (bad_range(t->m, from, len) || bad_range(t->m, to, len) ||
	    (from < to + len && to < from + len))
		return -EINVAL;
	if (!a || a->end < from + len)
		return -EFAULT;
	entered(t);
	tell = concerns(s, from, from + len, false);
	tell_there = concerns(s, to, to + len, false);
	interpose(t, tell);
	if (place && tell_there)
		sim_raise(t, &there);
	changes(t, place && (tell || tell_there));
	err = do_mremap(s, from, to, len);
	if (!err && !place && tell_there)
		sim_raise(t, &there);
	if (!err && tell)
		sim_raise(t, &ev);
	ev.kind = SIM_EV_UNMAP;
	if (!err && !place && tell)
		sim_raise(t, &ev);
	interposed(t, tell);
	return err;
}

int sim_mprotect(struct sim_task *t, uintptr_t addr, size_t len, unsigned int prot)
{
	struct sim_space *s = t->space;
	int err;

	if (bad_range(t->m, addr, len))
		return -EINVAL;
	entered(t);
	err = area_split(s, addr);
	if (!err)
		err = area_split(s, addr + len);
	for (uint32_t i = 0; !err && i < s->nr_areas; i++) {
		if (s->area[i].start >= addr && s->area[i].end <= addr + len)
			s->area[i].prot = prot;
	}
	for (uintptr_t at = addr; at < addr + len; at += t->m->conf.page_size)
		sim_flush(s, at);
	return err;
}

void sim_fork_prepare(struct sim *m)
{
	sim_point(m, m->space);
	for (uint32_t i = 0; i < m->conf.nr_pages; i++) {
		sim_check(m, !m->space->pte[i].kept && !m->space->pte[i].protnone);
		m->space->pte[i].watched = NULL;
	}
}

struct sim_space *sim_fork(struct sim_task *t)
{
	struct sim *m = t->m;
	struct sim_space *s = t->space, *child;
	struct sim_event ev = { .kind = SIM_EV_FORK };
	bool tell;

	entered(t);
	tell = concerns(s, SIM_BASE, sim_addr(m, m->conf.nr_pages), true);
	interpose(t, tell);
	changes(t, tell && in_place(m));
	child = sim_space_create(m);
	memcpy(child->area, s->area, sizeof(s->area));
	child->nr_areas = s->nr_areas;
	for (uint32_t i = 0; i < m->conf.nr_pages; i++) {
		uintptr_t at = sim_addr(m, i);
		struct sim_area *a = sim_area_find(s, at);
		struct sim_pte *pte = &s->pte[i], *to = &child->pte[i];

		/* Shared memory is one object: what the child sees there later is what we see. */
		if (a && a->shared && pte->kept && !pte->folio) {
			to->folio = pte->kept;
			to->idx = pte->kept_idx;
		} else {
			to->folio = pte->folio;
			to->idx = pte->idx;
			to->protnone = pte->protnone;
		}
		if (to->folio)
			sim_folio_hold(to->folio, to->idx);
		sim_flush(s, at); /* private pages are read-only now */
	}
	ev.child = child;
	if (tell)
		sim_raise(t, &ev);
	interposed(t, tell);
	return child;
}

void sim_exit(struct sim_space *child)
{
	sim_point(child->m, child);
	sim_space_free(child);
}

int sim_populate_huge(struct sim_task *t, uintptr_t addr, uint64_t value)
{
	struct sim *m = t->m;
	uintptr_t start = nhi_round_down(addr, (uintptr_t)m->conf.huge_size);
	struct sim_space *s = t->space;
	struct sim_folio *f;

	if (m->pages_per_huge == 1)
		return -EOPNOTSUPP;
	for (uint32_t i = 0; i < m->pages_per_huge; i++) {
		uintptr_t at = start + ((uintptr_t)i << m->page_shift);
		struct sim_area *a = sim_area_find(s, at);

		if (bad_range(m, at, m->conf.page_size) || !a || !(a->prot & NHI_PROT_WRITE) ||
		    sim_pte(s, at)->folio || sim_pte(s, at)->kept || sim_pte(s, at)->watched)
			return -EBUSY;
	}
	f = sim_folio_alloc(m, sim_node_of_cpu(m, t->cpu), m->pages_per_huge);
	if (!f)
		return -ENOMEM;
	for (uint32_t i = 0; i < m->pages_per_huge; i++) {
		struct sim_pte *pte = sim_pte(s, start + ((uintptr_t)i << m->page_shift));

		f->page[i].data = value + i;
		sim_folio_hold(f, i);
		pte->folio = f;
		pte->idx = i;
	}
	s->huge[sim_pageno(m, start) / m->pages_per_huge] = true;
	return 0;
}

struct sim_folio *sim_pin(struct sim_task *t, uintptr_t addr)
{
	struct sim_pte *pte = sim_pte(t->space, addr);
	uint64_t value;

	do {
		if (sim_read(t, addr, &value))
			return NULL;
	} while (!pte->folio || pte->protnone);
	pte->folio->pins++;
	return pte->folio;
}
