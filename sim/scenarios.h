/* SPDX-License-Identifier: MIT */
/* Bodies that several files of scenarios use. */
#ifndef SIM_SCENARIOS_H
#define SIM_SCENARIOS_H

#include "sched.h"

void scen_counters(struct world *w);
void scen_read_0(struct world *w, struct sim_task *t);
void scen_write_0(struct world *w, struct sim_task *t);
void scen_write_1(struct world *w, struct sim_task *t);
void scen_mark_0(struct world *w, struct sim_task *t);
void scen_mark_2(struct world *w, struct sim_task *t);
void scen_unmark_2(struct world *w, struct sim_task *t);

/* X(scenario): all of them, in the order of `numahint sim list`. */
#define SIM_SCENARIOS(X)         \
	X(fault_fault)           \
	X(fault_fault_in_place)  \
	X(fault_fault_huge)      \
	X(three_faults)          \
	X(fault_fault_mark)      \
	X(fault_around)          \
	X(fault_granule)         \
	X(fault_mark)            \
	X(count_mark)            \
	X(lazy_fault)            \
	X(mark_unmark)           \
	X(unmanage_fault)        \
	X(stuck_fault)           \
	X(eager_fault)           \
	X(eager_get)             \
	X(fork_fault)            \
	X(fork_mark)             \
	X(fork_eager)            \
	X(fork_get)              \
	X(mark_pin)              \
	X(mark_get)              \
	X(mark_shared)           \
	X(mark_pin_huge)         \
	X(mark_pin_huge_fast)    \
	X(gup_fast_migrate_huge) \
	X(gup_slow_migrate_huge) \
	X(pin_migrate_huge)      \
	X(pin_split)             \
	X(gup_split)             \
	X(get_marked_migrate)    \
	X(get_put_unmark)        \
	X(follow_unmark)         \
	X(force_inaccessible)    \
	X(mark_fault_monitor)    \
	X(mark_dontneed)         \
	X(mark_munmap)           \
	X(mark_mprotect)         \
	X(event_fault)           \
	X(event_fault_thread)    \
	X(event_fault_huge)      \
	X(event_interposed)      \
	X(mremap_fault)          \
	X(fork_event)            \
	X(get_dontneed)          \
	X(pin_dontneed)          \
	X(get_dontneed_huge)     \
	X(pin_munmap)            \
	X(inspect_fault)         \
	X(everything)            \
	X(everything_huge)       \
	X(failing_faults)        \
	X(failing_huge)          \
	X(failing_marks)         \
	X(failing_eager)         \
	X(failing_gup)           \
	X(failing_fork)          \
	X(failing_events)

#define SIM_SCENARIO_DECLARE(s) extern const struct sim_scenario scen_##s;
SIM_SCENARIOS(SIM_SCENARIO_DECLARE)

#endif
