/* SPDX-License-Identifier: MIT */
/* What is explored: a machine, some tasks of a program that use the engine, and what must be true. */
#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H

#include "canary.h"
#include "gup.h"
#include "machine.h"
#include "mm.h"

#define SIM_TASKS   4 /* the monitor among them */
#define SIM_HOLDS   8
#define SIM_RESULTS 16

/* A reference that a task has: while it has it, the page must stay where it is. */
struct sim_hold {
	bool active;
	uintptr_t addr;
	struct nhi_page page;
	bool pin;
	const struct sim_folio *folio; /* what was there when it was taken */
	uint32_t idx;
};

/* All that an execution changes; lives in the arena. */
struct world {
	struct sim *m;
	struct nhi_mm *mm;
	struct sim_task task[SIM_TASKS];
	struct sim_hold hold[SIM_HOLDS];
	struct sim_space *child;
	uint64_t v[SIM_RESULTS]; /* what tasks leave for the check */
};

struct sim_scenario {
	const char *name, *what;
	struct sim_conf conf;
	uint32_t around; /* fault-around, pages; 0: 1 */
	int bound;	 /* preemptions up to which the test suite explores it */
	void (*setup)(struct world *w);
	struct {
		const char *name;
		void (*body)(struct world *w, struct sim_task *t);
		int cpu;
	} task[SIM_TASKS];
	bool monitor;	   /* one more task, the monitor */
	uint32_t may_fail; /* so many operations of the machine fail, any of them */
	void (*check)(struct world *w);
};

extern const struct sim_scenario *const sim_scenarios[];
extern const size_t sim_nr_scenarios;

/* ------------------------------------------------- for scenarios: use.c; each fails by itself */

/* The first thing that is not true ends the execution. */
#define sim_must(cond, ...)                        \
	do {                                       \
		if (!(cond))                       \
			sim_fail_now(__VA_ARGS__); \
	} while (0)

static inline uintptr_t at(const struct world *w, uint32_t page)
{
	return sim_addr(w->m, page);
}

/* Map private memory, fill it with 100 + page on node 0, manage it. */
void use_ready(struct world *w, uint32_t first, uint32_t n);
/* The same, by a huge page. */
void use_ready_huge(struct world *w, uint32_t first);
long use_mark(struct world *w, uint32_t first, uint32_t n);
long use_bind(struct world *w, uint32_t first, uint32_t n, int node, unsigned int flags);
/* Accesses of the program, which must succeed. */
uint64_t use_read(struct world *w, struct sim_task *t, uint32_t page);
void use_write(struct world *w, struct sim_task *t, uint32_t page, uint64_t value);
/* References. Return: the hold, or NULL and *err. */
struct sim_hold *use_gup(struct world *w, enum nhi_gup_call call, uint32_t page, unsigned int flags,
			 long *err);
void use_put(struct world *w, struct sim_hold *h);
/* What the holder sees, and a device's write, through the frame that was there when it was taken. */
uint64_t use_held(struct world *w, const struct sim_hold *h);
void use_device_writes(struct world *w, struct sim_hold *h, uint64_t value);
uint64_t use_count(struct world *w, enum nhi_counter c);
bool use_marked(struct world *w, uint32_t page);
/* Contents, looked at without a touch. */
uint64_t use_peek(struct world *w, uint32_t page);

/* Are all references good still? NULL, or what happened. Called at every point. */
const char *use_holds(const struct world *w);

#define USE_STRICT 1u
#define USE_MOVE   2u
#define USE_LAZY   8u

#endif
