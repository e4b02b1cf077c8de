/* SPDX-License-Identifier: MIT */
/* Exploring a scenario: many executions, and what is printed of the one that fails. */
#ifndef SIM_EXPLORE_H
#define SIM_EXPLORE_H

#include "strategy.h"

#include <stdio.h>

enum sim_how { SIM_EXHAUSTIVE, SIM_RANDOM, SIM_PCT };

struct sim_options {
	enum sim_how how;
	uint32_t bound; /* exhaustive: preemptions */
	bool reduce;	/* exhaustive: no state twice */
	uint64_t seed;
	uint64_t runs;	  /* random, pct */
	double seconds;	  /* give up after; 0: never */
	bool verbose;	  /* every step of a failure */
	const char *save; /* a file for the schedule of a failure */
};

struct sim_report {
	uint64_t schedules, pruned, states, steps;
	uint64_t results; /* different ends */
	uint32_t digest;  /* of all of them together */
	double seconds;
	bool failed, complete;
	uint32_t bound; /* reached, or that of the failure */
	char message[400];
	struct sim_schedule schedule;
};

const struct sim_scenario *sim_scenario_find(const char *name);
const char *sim_task_name(const struct sim_scenario *sc, uint32_t task);

/* Until a failure, which is made as short as can be, or the end. */
void sim_explore(const struct sim_scenario *sc, const struct sim_options *o, struct sim_report *r);
/* One execution. Return: did it fail? */
bool sim_replay_schedule(const struct sim_scenario *sc, const struct sim_schedule *schedule);
/* The failure, readable, with the command that runs it again. */
void sim_print_failure(FILE *to, const struct sim_scenario *sc, const struct sim_report *r,
		       bool verbose);
/* trace.c: one execution, printed. */
void sim_print_execution(FILE *to, const struct sim_scenario *sc,
			 const struct sim_schedule *schedule, bool verbose);

/* canaries.c */
extern const char *const sim_canary_name[NHI_CANARIES_END];
int sim_canary_find(const char *name); /* -1: none of that name */
/* Find each. Return: how many were not found. */
int sim_canaries(FILE *to, const char *only, bool verbose);

#endif
