/* SPDX-License-Identifier: MIT */
/* Who goes on at each decision: at random, by priorities, systematically, or as written down. */
#ifndef SIM_STRATEGY_H
#define SIM_STRATEGY_H

#include "sched.h"

/* ------------------------------------------------------------------------------- random */

/* The running task goes on, but for one decision in @rarely; all from one seed. */
struct sim_random_walk {
	struct sim_strategy s;
	uint64_t seed;
	uint32_t rarely;
};
void sim_random_walk(struct sim_random_walk *r, uint64_t seed);

/* --------------------------------------------------------------------------------- PCT */

/*
 * Probabilistic concurrency testing: tasks have random priorities, the highest goes on; at @depth - 1
 * random points the running one falls behind all. Finds a bug that takes that many ordered events
 * with a probability of at least 1 / (tasks * steps^(depth - 1)).
 */
#define SIM_PCT_DEPTH 5
struct sim_pct {
	struct sim_strategy s;
	uint32_t priority[SIM_TASKS];
	uint32_t change[SIM_PCT_DEPTH];
	uint32_t nr_changes, lowest, since;
};
/* @steps: about as many as an execution has. */
void sim_pct(struct sim_pct *p, uint64_t seed, uint32_t depth, uint32_t steps);

/* --------------------------------------------------------------------------- systematic */

/*
 * Depth first, every schedule of at most @bound preemptions; a state that was reached before with as
 * many preemptions left is not explored again.
 *
 *	for (sim_dfs_open(&d, bound, true); !sim_dfs_done(&d); sim_dfs_next(&d))
 *		... sim_sched_run(&d.s) ...
 */
struct sim_dfs {
	struct sim_strategy s;
	uint32_t bound, spent;
	bool reduce, done;
	const char *broken; /* an execution was not the same when it was repeated */
	struct sim_level *level;
	uint32_t depth, at, max;
	uint32_t switched; /* point of the last switch */
	struct sim_seen {
		uint64_t state;
		uint32_t left; /* preemptions, + 1 */
	} * seen;
	uint64_t states, room;
};
void sim_dfs_open(struct sim_dfs *d, uint32_t bound, bool reduce);
void sim_dfs_next(struct sim_dfs *d);
void sim_dfs_close(struct sim_dfs *d);

/* ------------------------------------------------------------------------------- replay */

/* As @schedule says; where it says nothing or what cannot be, the running task goes on. */
struct sim_replay {
	struct sim_strategy s;
	const struct sim_schedule *schedule;
	uint32_t at;
};
void sim_replay(struct sim_replay *r, const struct sim_schedule *schedule);

#endif
