// SPDX-License-Identifier: MIT
#include "strategy.h"
#include "history.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------- random */

static int random_pick(struct sim_strategy *s, const uint8_t *option, int n, bool stay)
{
	struct sim_random_walk *r = (struct sim_random_walk *)s;

	(void)option;
	if (stay && sim_random(&r->seed) % r->rarely)
		return 0;
	return (int)(sim_random(&r->seed) % (uint64_t)n);
}

void sim_random_walk(struct sim_random_walk *r, uint64_t seed)
{
	/* Some walks go far between switches, some do not. */
	static const uint32_t rarely[] = { 2, 8, 32, 128 };

	r->s.pick = random_pick;
	r->seed = seed;
	r->rarely = rarely[sim_random(&r->seed) % NHI_ARRAY_SIZE(rarely)];
}

/* --------------------------------------------------------------------------------- PCT */

static int pct_pick(struct sim_strategy *s, const uint8_t *option, int n, bool stay)
{
	struct sim_pct *p = (struct sim_pct *)s;
	uint32_t step = sim_sched_step();
	int best = 0;

	for (uint32_t i = 0; stay && i < p->nr_changes; i++) {
		/* Not every point is a decision: whatever point was due since the last one. */
		if (p->change[i] > p->since && p->change[i] <= step)
			p->priority[option[0]] = --p->lowest;
	}
	p->since = step;
	for (int i = 1; i < n; i++) {
		if (p->priority[option[i]] > p->priority[option[best]])
			best = i;
	}
	return best;
}

void sim_pct(struct sim_pct *p, uint64_t seed, uint32_t depth, uint32_t steps)
{
	memset(p, 0, sizeof(*p));
	p->s.pick = pct_pick;
	p->lowest = 1000;
	for (uint32_t i = 0; i < SIM_TASKS; i++)
		p->priority[i] = 1000 + i;
	for (uint32_t i = SIM_TASKS - 1; i > 0; i--) {
		uint32_t k = (uint32_t)(sim_random(&seed) % (i + 1)), was = p->priority[i];

		p->priority[i] = p->priority[k];
		p->priority[k] = was;
	}
	p->nr_changes = nhi_min(depth ? depth - 1 : 0, (uint32_t)SIM_PCT_DEPTH);
	for (uint32_t i = 0; i < p->nr_changes; i++)
		p->change[i] = 1 + (uint32_t)(sim_random(&seed) % (steps + 1));
}

/* --------------------------------------------------------------------------- systematic */

/* A decision on the path that is being explored. */
struct sim_level {
	uint64_t state;
	uint8_t option[SIM_TASKS];
	uint8_t n, pick;
	bool stay;
};

static void grow(struct sim_dfs *d)
{
	struct sim_seen *old = d->seen;
	uint64_t room = d->room;

	d->room = room ? room * 2 : 1 << 16;
	d->seen = calloc(d->room, sizeof(*d->seen));
	if (!d->seen)
		abort();
	for (uint64_t i = 0; i < room; i++) {
		uint64_t k = old[i].state & (d->room - 1);

		if (!old[i].left)
			continue;
		while (d->seen[k].left)
			k = (k + 1) & (d->room - 1);
		d->seen[k] = old[i];
	}
	free(old);
}

/* Was this state reached before with as many preemptions left? Now it was. */
static bool seen_before(struct sim_dfs *d, uint64_t state, uint32_t left)
{
	uint64_t i;

	if (d->states * 4 >= d->room * 3)
		grow(d);
	for (i = state & (d->room - 1); d->seen[i].left; i = (i + 1) & (d->room - 1)) {
		if (d->seen[i].state != state)
			continue;
		if (d->seen[i].left >= left + 1)
			return true;
		d->seen[i].left = left + 1;
		return false;
	}
	d->seen[i].state = state;
	d->seen[i].left = left + 1;
	d->states++;
	return false;
}

/* Who runs matters if it goes on for nothing. */
static uint64_t state_of(const uint8_t *option, bool stay)
{
	return sim_history_mix(sim_sched_state(), stay ? option[0] + 1u : 0);
}

static int repeat(struct sim_dfs *d, const uint8_t *option, int n, bool stay)
{
	struct sim_level *l = &d->level[d->at++];

	if (l->n != n || l->stay != stay || memcmp(l->option, option, (size_t)n) ||
	    l->state != state_of(option, stay)) {
		d->broken = "the same decisions led to another state";
		return SIM_PRUNE;
	}
	d->spent += stay && l->pick;
	if (l->pick || !stay)
		d->switched = sim_sched_step();
	return l->pick;
}

static int dfs_pick(struct sim_strategy *s, const uint8_t *option, int n, bool stay)
{
	struct sim_dfs *d = (struct sim_dfs *)s;
	uint32_t left = d->bound - d->spent, since;
	struct sim_level *l;

	/* Without preemptions left there is nothing to decide; a look now and then saves a tail. */
	if (stay && !left) {
		since = sim_sched_step() - d->switched;
		if (d->at == d->depth && d->reduce && !(since & (since - 1)) &&
		    seen_before(d, state_of(option, stay), 0))
			return SIM_PRUNE;
		return 0;
	}
	if (d->at < d->depth)
		return repeat(d, option, n, stay);
	if (d->reduce && seen_before(d, state_of(option, stay), left))
		return SIM_PRUNE;
	if (d->depth == d->max) {
		d->max = d->max ? d->max * 2 : 1024;
		d->level = realloc(d->level, d->max * sizeof(*d->level));
		if (!d->level)
			abort();
	}
	l = &d->level[d->depth++];
	d->at = d->depth;
	memcpy(l->option, option, (size_t)n);
	l->n = (uint8_t)n;
	l->pick = 0;
	l->stay = stay;
	l->state = state_of(option, stay);
	if (!stay)
		d->switched = sim_sched_step();
	return 0;
}

static void rewind_path(struct sim_dfs *d)
{
	d->at = d->spent = d->switched = 0;
}

void sim_dfs_open(struct sim_dfs *d, uint32_t bound, bool reduce)
{
	memset(d, 0, sizeof(*d));
	d->s.pick = dfs_pick;
	d->bound = bound;
	d->reduce = reduce;
	grow(d);
}

void sim_dfs_next(struct sim_dfs *d)
{
	while (d->depth) {
		struct sim_level *l = &d->level[d->depth - 1];

		if (++l->pick < l->n) {
			rewind_path(d);
			return;
		}
		d->depth--;
	}
	d->done = true;
}

void sim_dfs_close(struct sim_dfs *d)
{
	free(d->level);
	free(d->seen);
}

/* ------------------------------------------------------------------------------- replay */

static int replay_pick(struct sim_strategy *s, const uint8_t *option, int n, bool stay)
{
	struct sim_replay *r = (struct sim_replay *)s;
	const struct sim_schedule *to = r->schedule;

	(void)stay;
	while (r->at < to->nr && to->at[r->at].step < sim_sched_step())
		r->at++;
	if (r->at == to->nr || to->at[r->at].step != sim_sched_step())
		return 0;
	for (int i = 0; i < n; i++) {
		if (option[i] == to->at[r->at].task)
			return i;
	}
	return 0;
}

void sim_replay(struct sim_replay *r, const struct sim_schedule *schedule)
{
	r->s.pick = replay_pick;
	r->schedule = schedule;
	r->at = 0;
}
