// SPDX-License-Identifier: MIT
/* Faults against faults, marks, moves and each other. */
#include "scenarios.h"

#define MINOR                          \
	{                              \
		.trap = NHI_TRAP_MINOR \
	}
#define IN_PLACE                          \
	{                                 \
		.trap = NHI_TRAP_MPROTECT \
	}

/* What the counters say while tasks run: no mark ends before it is counted. */
void scen_counters(struct world *w)
{
	uint64_t ended = use_count(w, NHI_C_RESTORED) + use_count(w, NHI_C_MIGRATED) +
			 use_count(w, NHI_C_LOST);

	sim_must(ended <= use_count(w, NHI_C_MARKED), "%lu marks ended, %lu were made", ended,
		 use_count(w, NHI_C_MARKED));
}

void scen_read_0(struct world *w, struct sim_task *t)
{
	w->v[0] = use_read(w, t, 0);
	scen_counters(w);
}

void scen_write_0(struct world *w, struct sim_task *t)
{
	use_write(w, t, 0, 7);
	sim_must(use_read(w, t, 0) == 7, "a write was lost");
	scen_counters(w);
}

void scen_write_1(struct world *w, struct sim_task *t)
{
	use_write(w, t, 1, 8);
	sim_must(use_read(w, t, 1) == 8, "a write was lost");
	scen_counters(w);
}

void scen_mark_0(struct world *w, struct sim_task *t)
{
	(void)t;
	w->v[3] += (uint64_t)use_mark(w, 0, 1);
}

void scen_mark_2(struct world *w, struct sim_task *t)
{
	(void)t;
	w->v[3] += (uint64_t)use_mark(w, 0, 2);
}

void scen_unmark_2(struct world *w, struct sim_task *t)
{
	long n = nhi_unmark_range(w->mm, at(w, 0), at(w, 2));

	(void)t;
	sim_must(n >= 0, "unmark: %ld", n);
}

/* One page on node 0 that belongs to node 1, marked. */
static void one_lazy(struct world *w)
{
	use_ready(w, 0, 1);
	w->v[3] = (uint64_t)use_bind(w, 0, 1, 1, USE_LAZY);
}

static void two_lazy(struct world *w)
{
	use_ready(w, 0, 2);
	w->v[3] = (uint64_t)use_bind(w, 0, 2, 1, USE_LAZY);
}

static void four_lazy(struct world *w)
{
	use_ready(w, 0, 4);
	w->v[3] = (uint64_t)use_bind(w, 0, 4, 1, USE_LAZY);
}

static void huge_lazy(struct world *w)
{
	use_ready_huge(w, 0);
	w->v[3] = (uint64_t)use_bind(w, 0, 2, 1, USE_LAZY);
}

static void two_ready(struct world *w)
{
	use_ready(w, 0, 2);
}

/* Invariant 7: what marking returned is what was marked. */
static void counts(struct world *w)
{
	sim_must(use_count(w, NHI_C_MARKED) == w->v[3], "marking returned %lu pages and marked %lu",
		 w->v[3], use_count(w, NHI_C_MARKED));
}

static void read_or_wrote(struct world *w)
{
	counts(w);
	sim_must(w->v[0] == 100 || w->v[0] == 7, "read %lu", w->v[0]);
	sim_must(use_peek(w, 0) == 7, "page 0 is %lu at the end, not 7", use_peek(w, 0));
}

/* Marked once, so one fault is a hinting fault; who waited was not counted (case 110). */
static void once(struct world *w)
{
	counts(w);
	sim_must(use_count(w, NHI_C_HINTING_FAULTS) == 1, "%lu hinting faults on one mark",
		 use_count(w, NHI_C_HINTING_FAULTS));
	sim_must(sim_page_node(w->m->space, at(w, 0)) == 1, "page 0 did not follow its toucher");
}

static void once_read_or_wrote(struct world *w)
{
	read_or_wrote(w);
	once(w);
}

static void once_huge(struct world *w)
{
	once(w);
	sim_must(use_peek(w, 0) == 7 && use_peek(w, 1) == 8, "a write was lost: %lu, %lu",
		 use_peek(w, 0), use_peek(w, 1));
	sim_must(w->m->space->huge[0], "the huge page was split");
}

const struct sim_scenario scen_fault_fault = {
	.name = "fault-fault",
	.what = "two hinting faults on one page",
	.conf = MINOR,
	.bound = 5,
	.setup = one_lazy,
	.task = { { "reader", scen_read_0, 1 }, { "writer", scen_write_0, 1 } },
	.check = once_read_or_wrote,
};

const struct sim_scenario scen_fault_fault_in_place = {
	.name = "fault-fault-in-place",
	.what = "the same, marked by mprotect",
	.conf = IN_PLACE,
	.bound = 5,
	.setup = one_lazy,
	.task = { { "reader", scen_read_0, 1 }, { "writer", scen_write_0, 1 } },
	.check = once_read_or_wrote,
};

const struct sim_scenario scen_fault_fault_huge = {
	.name = "fault-fault-huge",
	.what = "two hinting faults on one huge page",
	.conf = MINOR,
	.bound = 5,
	.setup = huge_lazy,
	.task = { { "writer-0", scen_write_0, 1 }, { "writer-1", scen_write_1, 1 } },
	.check = once_huge,
};

const struct sim_scenario scen_three_faults = {
	.name = "three-faults",
	.what = "three hinting faults on one page",
	.conf = MINOR,
	.bound = 3,
	.setup = one_lazy,
	.task = { { "reader", scen_read_0, 1 },
		  { "writer", scen_write_0, 1 },
		  { "reader-2", scen_read_0, 1 } },
	.check = once_read_or_wrote,
};

static void remarked(struct world *w)
{
	read_or_wrote(w);
	sim_must(use_count(w, NHI_C_HINTING_FAULTS) <= w->v[3], "%lu hinting faults on %lu marks",
		 use_count(w, NHI_C_HINTING_FAULTS), w->v[3]);
}

const struct sim_scenario scen_fault_fault_mark = {
	.name = "fault-fault-mark",
	.what = "two hinting faults on a page that is marked again meanwhile",
	.conf = MINOR,
	.bound = 3,
	.setup = one_lazy,
	.task = { { "reader", scen_read_0, 1 },
		  { "writer", scen_write_0, 1 },
		  { "marker", scen_mark_0, 0 } },
	.check = remarked,
};

static void stream(struct world *w, struct sim_task *t)
{
	for (uint32_t i = 0; i < 4; i++)
		sim_must(use_read(w, t, i) >= 100, "page %u was lost", i);
	scen_counters(w);
}

static void write_2(struct world *w, struct sim_task *t)
{
	use_write(w, t, 2, 202);
	sim_must(use_read(w, t, 2) == 202, "a write was lost");
}

static void all_moved(struct world *w)
{
	counts(w);
	for (uint32_t i = 0; i < 4; i++) {
		uint64_t want = i == 2 ? 202 : 100 + i;

		sim_must(use_peek(w, i) == want, "page %u is %lu", i, use_peek(w, i));
		sim_must(sim_page_node(w->m->space, at(w, i)) == 1, "page %u was left", i);
	}
	sim_must(use_count(w, NHI_C_MIGRATED) == 4, "%lu pages migrated",
		 use_count(w, NHI_C_MIGRATED));
}

const struct sim_scenario scen_fault_around = {
	.name = "fault-around",
	.what = "a stream that takes neighbours along, against a fault on one of them",
	.conf = MINOR,
	.around = 4,
	.bound = 3,
	.setup = four_lazy,
	.task = { { "stream", stream, 1 }, { "writer", write_2, 1 } },
	.check = all_moved,
};

const struct sim_scenario scen_fault_granule = {
	.name = "fault-granule",
	.what = "a trap that resolves two pages together, both of which are touched",
	.conf = { .trap = NHI_TRAP_MPROTECT, .granule = 2 },
	.around = 2,
	.bound = 4,
	.setup = two_lazy,
	.task = { { "writer-0", scen_write_0, 1 }, { "writer-1", scen_write_1, 1 } },
	.check = counts,
};

const struct sim_scenario scen_fault_mark = {
	.name = "fault-mark",
	.what = "faults on pages that are being marked",
	.conf = MINOR,
	.bound = 5,
	.setup = two_lazy,
	.task = { { "writer", scen_write_0, 1 }, { "marker", scen_mark_2, 0 } },
	.check = counts,
};

const struct sim_scenario scen_count_mark = {
	.name = "count-mark",
	.what = "a fault on a page that was marked this moment, and the counters meanwhile",
	.conf = IN_PLACE,
	.bound = 5,
	.setup = two_ready,
	.task = { { "reader", scen_read_0, 1 }, { "marker", scen_mark_2, 0 } },
	.check = counts,
};

static void lazy(struct world *w, struct sim_task *t)
{
	(void)t;
	w->v[3] += (uint64_t)use_bind(w, 0, 2, 1, USE_LAZY);
}

static void lazy_done(struct world *w)
{
	counts(w);
	sim_must(use_peek(w, 0) == 7, "page 0 is %lu at the end", use_peek(w, 0));
	sim_must(use_peek(w, 1) == 101, "page 1 is %lu at the end", use_peek(w, 1));
}

const struct sim_scenario scen_lazy_fault = {
	.name = "lazy-fault",
	.what = "mbind with LAZY against faults",
	.conf = MINOR,
	.bound = 3,
	.setup = two_lazy,
	.task = { { "mbind", lazy, 0 }, { "writer", scen_write_0, 1 } },
	.check = lazy_done,
};

const struct sim_scenario scen_mark_unmark = {
	.name = "mark-unmark",
	.what = "unmark against mark, and a fault",
	.conf = IN_PLACE,
	.bound = 3,
	.setup = two_lazy,
	.task = { { "marker", scen_mark_2, 0 },
		  { "unmarker", scen_unmark_2, 0 },
		  { "writer", scen_write_0, 1 } },
	.check = lazy_done,
};

static void unmanage(struct world *w, struct sim_task *t)
{
	int err = nhi_unmanage(w->mm, at(w, 0), at(w, 2));

	(void)t;
	sim_must(!err, "unmanage: %d", err);
	sim_must(!use_marked(w, 0) && !use_marked(w, 1), "unmanaged, but marked");
}

const struct sim_scenario scen_unmanage_fault = {
	.name = "unmanage-fault",
	.what = "a range that is given up while it is touched and marked",
	.conf = IN_PLACE,
	.bound = 3,
	.setup = two_lazy,
	.task = { { "unmanager", unmanage, 0 },
		  { "writer", scen_write_0, 1 },
		  { "marker", scen_mark_2, 0 } },
	.check = lazy_done,
};

/* The first page that is put back cannot be: the ladder has to. */
static void stuck(struct world *w)
{
	use_ready(w, 0, 2);
	w->v[3] = (uint64_t)use_bind(w, 0, 2, 1, USE_LAZY);
	sim_fail(w->m, SIM_OP_MIGRATE, 1, false, 0, NHI_PAGE_STUCK);
	sim_fail(w->m, SIM_OP_RESTORE, 1, false, 0, NHI_PAGE_STUCK);
	sim_fail(w->m, SIM_OP_RESTORE_HARD, 1, false, -ENOMEM, 0);
}

/* Memory ran out at the last step of the ladder, once. */
static void unmark_twice(struct world *w, struct sim_task *t)
{
	long n = nhi_unmark_range(w->mm, at(w, 0), at(w, 2));

	sim_must(n >= 0 || n == -EBUSY, "unmark: %ld", n);
	scen_unmark_2(w, t);
}

const struct sim_scenario scen_stuck_fault = {
	.name = "stuck-fault",
	.what = "pages that cannot be put back at once, touched and unmarked",
	.conf = MINOR,
	.bound = 3,
	.setup = stuck,
	.task = { { "writer", scen_write_0, 1 }, { "unmarker", unmark_twice, 0 } },
	.check = lazy_done,
};

/* ------------------------------------------------------------------------------ eager */

static void eager(struct world *w, struct sim_task *t)
{
	long ret = use_bind(w, 0, 2, 1, USE_MOVE);

	(void)t;
	sim_must(ret >= 0, "mbind: %ld", ret);
}

static void one_of_two_lazy(struct world *w)
{
	use_ready(w, 0, 2);
	w->v[3] = (uint64_t)use_mark(w, 0, 1);
}

const struct sim_scenario scen_eager_fault = {
	.name = "eager-fault",
	.what = "mbind with MOVE against a fault, one page marked, one not",
	.conf = IN_PLACE,
	.bound = 3,
	.setup = one_of_two_lazy,
	.task = { { "mbind", eager, 0 }, { "writer", scen_write_0, 1 } },
	.check = lazy_done,
};

static void get_0(struct world *w, struct sim_task *t)
{
	struct sim_hold *h = use_gup(w, NHI_GUP_GET, 0, NHI_FOLL_WRITE, NULL);

	(void)t;
	sim_must(h, "no page");
	use_device_writes(w, h, 7);
	sim_must(use_held(w, h) == 7, "the device's write was lost");
	use_put(w, h);
}

const struct sim_scenario scen_eager_get = {
	.name = "eager-get",
	.what = "mbind with MOVE against a reference",
	.conf = IN_PLACE,
	.bound = 3,
	.setup = two_ready,
	.task = { { "mbind", eager, 0 }, { "getter", get_0, 1 } },
	.check = lazy_done,
};

/* ------------------------------------------------------------------------------- fork */

/* fork() as pthread_atfork handlers make it: nobody's lock may be inherited. */
static void do_fork(struct world *w, struct sim_task *t)
{
	nhi_mm_fork_prepare(w->mm);
	sim_point(w->m, w->m->space);
	for (uint32_t i = 0; i < 2; i++) {
		bool huge;
		nhi_word *entry = nhi_entry_lookup(w->mm, at(w, i), &huge);

		sim_must(!use_marked(w, i), "page %u is marked at the fork", i);
		sim_must(!entry || !nhi_word_busy(*entry),
			 "the child inherits page %u locked by a thread that it does not have", i);
	}
	sim_fork_prepare(w->m);
	w->child = sim_fork(t);
	nhi_mm_fork_parent(w->mm);
}

static void fork_done(struct world *w)
{
	uint64_t value;

	sim_must(use_peek(w, 1) == 101, "page 1 is %lu at the end", use_peek(w, 1));
	sim_must(w->child, "no child");
	(void)sim_peek(w->child, at(w, 1), &value);
	sim_must(value == 101, "page 1 is %lu in the child", value);
	(void)sim_peek(w->child, at(w, 0), &value);
	sim_must(value == 100 || value == 7, "page 0 is %lu in the child", value);
}

const struct sim_scenario scen_fork_fault = {
	.name = "fork-fault",
	.what = "fork against faults on marked pages, one of which is stuck",
	.conf = MINOR,
	.bound = 3,
	.setup = stuck,
	.task = { { "forker", do_fork, 0 }, { "writer", scen_write_0, 1 } },
	.check = fork_done,
};

const struct sim_scenario scen_fork_mark = {
	.name = "fork-mark",
	.what = "fork against marking",
	.conf = IN_PLACE,
	.bound = 5,
	.setup = two_ready,
	.task = { { "forker", do_fork, 0 }, { "marker", scen_mark_2, 0 } },
	.check = fork_done,
};

const struct sim_scenario scen_fork_eager = {
	.name = "fork-eager",
	.what = "fork against mbind with MOVE",
	.conf = IN_PLACE,
	.bound = 3,
	.setup = two_ready,
	.task = { { "forker", do_fork, 0 }, { "mbind", eager, 0 } },
	.check = fork_done,
};

static void get_1(struct world *w, struct sim_task *t)
{
	struct sim_hold *h = use_gup(w, NHI_GUP_GET, 1, 0, NULL);

	(void)t;
	sim_must(h, "no page");
	sim_must(use_held(w, h) == 101, "read %lu", use_held(w, h));
	use_put(w, h);
}

const struct sim_scenario scen_fork_get = {
	.name = "fork-get",
	.what = "fork against a reference that is being taken",
	.conf = IN_PLACE,
	.bound = 3,
	.setup = one_of_two_lazy,
	.task = { { "forker", do_fork, 0 }, { "getter", get_1, 1 } },
	.check = fork_done,
};
