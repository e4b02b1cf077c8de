// SPDX-License-Identifier: MIT
#include "conf.h"

static const struct sim_conf shapes[] = {
	{ .trap = NHI_TRAP_MPROTECT },
	{ .trap = NHI_TRAP_SHADOW },
	{ .trap = NHI_TRAP_SHADOW, .delivery = NHI_DELIVERY_MONITOR },
};

struct nhi_page page[64];
int waits;
static struct rig *waiting;
static void (*waiting_for)(struct rig *r);

void conf_on(const struct sim_conf *conf, void (*body)(struct rig *r))
{
	struct rig *r = rig_make(conf, 1);

	r->m->current = &r->t[1];
	waits = 0;
	body(r);
	r->m->hooks.wait = NULL;
	rig_free(r);
}

void conf_each(void (*body)(struct rig *r))
{
	for (size_t i = 0; i < NHI_ARRAY_SIZE(shapes); i++)
		conf_on(&shapes[i], body);
}

void as(struct rig *r, int task)
{
	r->m->current = &r->t[task];
}

static void fixture(struct rig *r, uint32_t n, int node)
{
	rig_ready(r, 0, n);
	assert_int_equal(rig_mbind(r, 0, n, BIND, 1u << node, LAZY), n);
	as(r, 1);
}

void fixture_H(struct rig *r, uint32_t n)
{
	fixture(r, n, 1);
}

void fixture_R(struct rig *r, uint32_t n)
{
	fixture(r, n, 0);
}

void fixture_I(struct rig *r, uint32_t n)
{
	rig_ready(r, 0, n);
	assert_int_equal(conf_mprotect(r, 0, n, 0), 0);
	as(r, 1);
}

uint32_t fixture_huge(struct rig *r, int node)
{
	uint32_t n = r->m->pages_per_huge;

	rig_map(r, 0, n);
	assert_int_equal(sim_populate_huge(&r->t[0], at(r, 0), 100), 0);
	assert_int_equal(rig_manage(r, 0, n), 0);
	assert_int_equal(rig_mbind(r, 0, n, BIND, 1u << node, LAZY), n);
	as(r, 1);
	return n;
}

static int change(void *arg, uintptr_t start, size_t len, unsigned int prot)
{
	struct rig *r = arg;

	return sim_mprotect(r->m->current, start, len, prot);
}

int conf_mprotect(struct rig *r, uint32_t first, uint32_t n, unsigned int prot)
{
	return nhi_mprotect(r->mm, at(r, first), at(r, first + n), prot, change, r);
}

long gup(struct rig *r, enum nhi_gup_call call, uint32_t first, uint64_t nr, unsigned int flags)
{
	as(r, 1);
	return nhi_gup(r->mm, call, at(r, first), nr, flags, page);
}

long get(struct rig *r, uint32_t first, uint64_t nr, unsigned int flags)
{
	return gup(r, NHI_GUP_GET, first, nr, flags);
}

long pin(struct rig *r, uint32_t first, uint64_t nr, unsigned int flags)
{
	return gup(r, NHI_GUP_PIN, first, nr, flags);
}

int follow(struct rig *r, uint32_t first, unsigned int flags)
{
	as(r, 1);
	return nhi_follow_page(r->mm, at(r, first), flags, page);
}

void put(struct rig *r, size_t n)
{
	nhi_pages_put(r->mm, page, n, false);
}

void unpin(struct rig *r, size_t n)
{
	nhi_pages_put(r->mm, page, n, true);
}

uint64_t faults(struct rig *r)
{
	return rig_count(r, NHI_C_HINTING_FAULTS);
}

uint64_t touched(struct rig *r)
{
	return rig_count(r, NHI_C_TOUCHED_LOCAL) + rig_count(r, NHI_C_TOUCHED_REMOTE);
}

uint64_t failed(struct rig *r, uint8_t status)
{
	return rig_count(r, NHI_C_FAILED + nhi_reason_of(status));
}

nhi_word *entry_of(struct rig *r, uint32_t n)
{
	bool huge;
	nhi_word *entry = nhi_entry_lookup(r->mm, at(r, n), &huge);

	assert_non_null(entry);
	return entry;
}

void lock_entry(struct rig *r, uint32_t n, enum nhi_state state)
{
	const unsigned int any = NHI_WANT(NHI_NONE) | NHI_WANT(NHI_PRESENT) | NHI_WANT(NHI_MARKED);
	nhi_word *entry = entry_of(r, n), old;

	assert_int_equal(nhi_entry_trylock(r->mm, at(r, n), entry, NULL, any, &old), 0);
	*entry = nhi_word_with_state(*entry, state);
}

void unlock_entry(struct rig *r, uint32_t n, enum nhi_state state)
{
	nhi_word *entry = entry_of(r, n);

	nhi_entry_unlock(r->mm, at(r, n), entry, nhi_word_with_state(*entry, state));
}

static void on_wait(struct sim *m, uint32_t *word, uint32_t value)
{
	void (*then)(struct rig * r) = waiting_for;

	(void)m;
	if (*word != value)
		return;
	waits++;
	assert_non_null(then); /* else: the only task sleeps for ever */
	waiting_for = NULL;
	then(waiting);
}

void when_waiting(struct rig *r, void (*then)(struct rig *r))
{
	waiting = r;
	waiting_for = then;
	r->m->hooks.wait = on_wait;
}
