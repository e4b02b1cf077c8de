/* SPDX-License-Identifier: MIT */
/*
 * The scheduler: tasks of the simulated program, one of which runs at a time, and who is next.
 *
 *   point      where another task may run instead: before every atomic operation of the engine and
 *	        every step of the machine; between two points a task is alone
 *   decision   a point at which more than one task could go on
 *   preemption a decision against a task that could have gone on; a task that sleeps, ends or
 *	        relaxes (it polls for something) is left for nothing
 *   schedule   the decisions of an execution that differ from "whoever runs goes on, else the first"
 *   history    of a task: a hash of what it did, each operation with the last ones on the same
 *	        object that it could notice. Two executions whose tasks have the same histories differ
 *	        in the order of independent operations only, so their states are the same: what was
 *	        explored from the one need not be explored from the other
 *
 * An execution starts from a copy of the memory (sim/alloc.h) that the scenario's setup left behind.
 * Nothing in it depends on time or on addresses that vary, so the same schedule is the same
 * execution; the exhaustive strategy checks that.
 */
#ifndef SIM_SCHED_H
#define SIM_SCHED_H

#include "fiber.h"
#include "scenario.h"

#define SIM_STEPS    20000 /* points of one execution before it counts as one that does not end */
#define SIM_SWITCHES 512   /* decisions that a schedule can hold */

enum sim_outcome { SIM_PASSED, SIM_FAILED, SIM_PRUNED };

/* At point @step go on with @task; or fail, where the machine may: 1. */
struct sim_switch {
	uint32_t step;
	uint32_t task;
};

struct sim_schedule {
	uint32_t nr;
	struct sim_switch at[SIM_SWITCHES];
};

/*
 * Who goes on. @option[0] is the task that runs if @stay, else one of those that can. Return: an
 * index; SIM_PRUNE: this execution brings nothing new.
 */
#define SIM_PRUNE (-1)
struct sim_strategy {
	int (*pick)(struct sim_strategy *s, const uint8_t *option, int n, bool stay);
};

/* For who wants to see every operation: @before and @after are of the word, 0 for the machine. */
struct sim_step {
	uint32_t step;
	uint8_t task;
	bool preempted; /* the task before could have gone on */
	const volatile void *where;
	const char *what, *func;
	int line;
	uint32_t bytes; /* 0: not a word */
	uint64_t before, after;
	char text[64]; /* what a scenario said */
};

/* Prepare @sc; one scenario at a time. */
void sim_sched_open(const struct sim_scenario *sc);
/* One execution under @s. */
enum sim_outcome sim_sched_run(struct sim_strategy *s);
/* Of the last execution. */
const char *sim_sched_message(void);
const struct sim_schedule *sim_sched_schedule(void);
uint32_t sim_sched_steps(void);
uint32_t sim_sched_preemptions(void);
/* A digest of all that can be seen at the end of it: contents, places, entries, results. */
uint64_t sim_sched_result(void);
/* During pick: the point, and a hash of the histories of all tasks. */
uint32_t sim_sched_step(void);
uint64_t sim_sched_state(void);
uint8_t sim_sched_now(void);
/* Steps of the next executions go to @to(arg); NULL: nowhere. */
void sim_sched_trace(void (*to)(void *arg, const struct sim_step *step), void *arg);
/* Is it an address in the memory of an execution? */
bool sim_sched_is_address(uint64_t value);
/* trace.c: what a word that is no entry is for. */
const char *sim_word_name(const struct world *w, const volatile void *where);
/* The world of the last execution, for the names of objects. */
struct world *sim_sched_world(void);

/* judge.c: when all tasks have ended. All that can be seen then, as one number. */
uint64_t sim_digest(struct world *w);
/* The invariants, the scenario's own check, and that everything can be given back. */
void sim_judge(struct world *w, const struct sim_scenario *sc);

/* The execution failed; does not return. */
__attribute__((noreturn, format(printf, 1, 2))) void sim_fail_now(const char *format, ...);
/* A line for the trace. */
__attribute__((format(printf, 1, 2))) void sim_say(const char *format, ...);

#endif
