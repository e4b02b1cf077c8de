// SPDX-License-Identifier: MIT
#include "explore.h"
#include "history.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---------------------------------------------------------------------- distinct results */

/* How many different ends there were: what a reduction must not change. */
#define RESULTS 65536
static uint64_t results[RESULTS];

static void note_result(struct sim_report *r)
{
	uint64_t result = sim_sched_result() | 1;
	uint32_t i = (uint32_t)(result >> 1) % RESULTS;

	if (r->results >= RESULTS / 2)
		return;
	while (results[i] && results[i] != result)
		i = (i + 1) % RESULTS;
	if (results[i])
		return;
	r->results++;
	r->digest ^= (uint32_t)(result >> 32);
	results[i] = result;
}

/* ------------------------------------------------------------------------------ failures */

bool sim_replay_schedule(const struct sim_scenario *sc, const struct sim_schedule *schedule)
{
	struct sim_replay replay;

	(void)sc;
	sim_replay(&replay, schedule);
	return sim_sched_run(&replay.s) == SIM_FAILED;
}

static void keep_failure(struct sim_report *r)
{
	r->failed = true;
	r->schedule = *sim_sched_schedule();
	snprintf(r->message, sizeof(r->message), "%s", sim_sched_message());
}

/*
 * Leave out one switch after the other as long as it fails still. What fails then may be another
 * bug; it is a shorter one.
 */
static void shrink(const struct sim_scenario *sc, struct sim_report *r)
{
	bool shorter;

	do {
		shorter = false;
		for (uint32_t i = 0; i < r->schedule.nr; i++) {
			struct sim_schedule less = r->schedule;

			less.nr--;
			memmove(&less.at[i], &less.at[i + 1], (less.nr - i) * sizeof(less.at[0]));
			if (!sim_replay_schedule(sc, &less))
				continue;
			/* What was done is written down, for not all of it may have been possible. */
			if (sim_sched_schedule()->nr >= r->schedule.nr)
				continue;
			keep_failure(r);
			shorter = true;
			break;
		}
	} while (shorter);
}

/* ------------------------------------------------------------------------------ strategies */

static bool out_of_time(const struct sim_options *o, const struct sim_report *r, double begin)
{
	return o->seconds > 0 && r->schedules % 256 == 0 && now() - begin > o->seconds;
}

static void count_run(struct sim_report *r, enum sim_outcome outcome)
{
	r->schedules++;
	r->steps += sim_sched_steps();
	r->pruned += outcome == SIM_PRUNED;
	if (outcome == SIM_PASSED)
		note_result(r);
	if (outcome == SIM_FAILED)
		keep_failure(r);
}

/* With as few preemptions as can be: none first, then one, ... */
static void exhaustive(const struct sim_options *o, struct sim_report *r)
{
	double begin = now();

	for (r->bound = 0;; r->bound++) {
		struct sim_dfs d;
		bool late = false;

		sim_dfs_open(&d, r->bound, o->reduce);
		while (!d.done && !r->failed && !late) {
			count_run(r, sim_sched_run(&d.s));
			if (d.broken) {
				r->failed = true;
				snprintf(r->message, sizeof(r->message), "%s", d.broken);
			}
			late = out_of_time(o, r, begin);
			if (!r->failed)
				sim_dfs_next(&d);
		}
		r->states = d.states;
		sim_dfs_close(&d);
		if (r->failed || late)
			return;
		r->complete = r->bound == o->bound;
		if (r->complete)
			return;
	}
}

static void by_seed(const struct sim_scenario *sc, const struct sim_options *o,
		    struct sim_report *r)
{
	const struct sim_schedule none = { 0 };
	double begin = now();
	uint32_t steps;

	if (sim_replay_schedule(sc, &none)) {
		keep_failure(r);
		return;
	}
	steps = sim_sched_steps();
	for (uint64_t i = 0; i < o->runs && !r->failed && !out_of_time(o, r, begin); i++) {
		struct sim_random_walk walk;
		struct sim_pct pct;

		sim_random_walk(&walk, o->seed + i);
		sim_pct(&pct, o->seed + i, 2 + (uint32_t)(i % (SIM_PCT_DEPTH - 1)), steps);
		count_run(r, sim_sched_run(o->how == SIM_PCT ? &pct.s : &walk.s));
	}
	if (r->failed)
		shrink(sc, r);
	r->bound = sim_sched_preemptions();
}

void sim_explore(const struct sim_scenario *sc, const struct sim_options *o, struct sim_report *r)
{
	double begin = now();

	memset(r, 0, sizeof(*r));
	memset(results, 0, sizeof(results));
	sim_sched_open(sc);
	if (o->how == SIM_EXHAUSTIVE)
		exhaustive(o, r);
	else
		by_seed(sc, o, r);
	r->seconds = now() - begin;
}

/* ------------------------------------------------------------------------------- printing */

const char *sim_task_name(const struct sim_scenario *sc, uint32_t task)
{
	return task < SIM_TASKS && sc->task[task].name ? sc->task[task].name : "monitor";
}

void sim_print_failure(FILE *to, const struct sim_scenario *sc, const struct sim_report *r,
		       bool verbose)
{
	fprintf(to, "%s: FAILED: %s\n", sc->name, r->message);
	fprintf(to, "preemptions: %u; found after %lu schedules, %.2f s\n\n", r->bound,
		r->schedules, r->seconds);
	sim_print_execution(to, sc, &r->schedule, verbose);
	fprintf(to, "\nagain: numahint sim explore %s", sc->name);
	if (nhi_canary)
		fprintf(to, " --canary %s", sim_canary_name[nhi_canary]);
	fprintf(to, " --schedule ");
	for (uint32_t i = 0; i < r->schedule.nr; i++)
		fprintf(to, "%s%u:%u", i ? "," : "", r->schedule.at[i].step,
			r->schedule.at[i].task);
	fprintf(to, "%s\n", r->schedule.nr ? "" : "none");
}
