// SPDX-License-Identifier: MIT
/*
 * An operation of the machine fails: any one, at any call, in every order of the tasks. Then a call of
 * the engine may say so, but no data is lost, nothing stays locked, and the next call works.
 */
#include "scenarios.h"

#define MINOR                          \
	{                              \
		.trap = NHI_TRAP_MINOR \
	}
#define IN_PLACE                          \
	{                                 \
		.trap = NHI_TRAP_MPROTECT \
	}

static void two_ready(struct world *w)
{
	use_ready(w, 0, 2);
}

static void two_lazy(struct world *w)
{
	use_ready(w, 0, 2);
	sim_must(use_bind(w, 0, 2, 1, USE_LAZY) == 2, "not marked");
}

static void huge_lazy(struct world *w)
{
	use_ready_huge(w, 0);
	sim_must(use_bind(w, 0, 2, 1, USE_LAZY) == 2, "not marked");
}

static void intact(struct world *w)
{
	sim_must(use_peek(w, 0) == 7 || use_peek(w, 0) == 100, "page 0 is %lu", use_peek(w, 0));
	sim_must(use_peek(w, 1) == 8 || use_peek(w, 1) == 101, "page 1 is %lu", use_peek(w, 1));
}

static void both_written(struct world *w)
{
	sim_must(use_peek(w, 0) == 7, "page 0 is %lu", use_peek(w, 0));
	sim_must(use_peek(w, 1) == 8, "page 1 is %lu", use_peek(w, 1));
}

/* What failed once works the second time. */
static void unmark(struct world *w, struct sim_task *t)
{
	long n = nhi_unmark_range(w->mm, at(w, 0), at(w, 2));

	(void)t;
	if (n < 0)
		n = nhi_unmark_range(w->mm, at(w, 0), at(w, 2));
	sim_must(n >= 0, "unmark, the second time: %ld", n);
	sim_must(!use_marked(w, 0) && !use_marked(w, 1), "unmarked, but marked");
}

const struct sim_scenario scen_failing_faults = {
	.name = "failing-faults",
	.what = "faults and an unmark, one operation fails",
	.conf = MINOR,
	.bound = 2,
	.may_fail = 1,
	.setup = two_lazy,
	.task = { { "writer-0", scen_write_0, 1 },
		  { "writer-1", scen_write_1, 1 },
		  { "unmarker", unmark, 0 } },
	.check = both_written,
};

const struct sim_scenario scen_failing_huge = {
	.name = "failing-huge",
	.what = "two faults on one huge page, two operations fail",
	.conf = MINOR,
	.bound = 2,
	.may_fail = 2,
	.setup = huge_lazy,
	.task = { { "writer-0", scen_write_0, 1 }, { "writer-1", scen_write_1, 1 } },
	.check = both_written,
};

static void mark(struct world *w, struct sim_task *t)
{
	(void)t;
	for (int i = 0; i < 2; i++) {
		long n = use_mark(w, 0, 2);

		sim_must(n >= 0 || n == -ENOMEM, "marking: %ld", n);
		if (n < 0)
			n = use_mark(w, 0, 2);
		sim_must(n >= 0, "marking, the second time: %ld", n);
	}
}

const struct sim_scenario scen_failing_marks = {
	.name = "failing-marks",
	.what = "a marker, a fault and an unmark, one operation fails",
	.conf = IN_PLACE,
	.bound = 2,
	.may_fail = 1,
	.setup = two_ready,
	.task = { { "marker", mark, 0 },
		  { "writer", scen_write_0, 1 },
		  { "unmarker", scen_unmark_2, 0 } },
	.check = intact,
};

static void eager(struct world *w, struct sim_task *t)
{
	long n = use_bind(w, 0, 2, 1, USE_STRICT | USE_MOVE);

	(void)t;
	sim_must(n == 0 || n == -EIO || n == -ENOMEM || n == -EPERM, "mbind: %ld", n);
	if (n)
		n = use_bind(w, 0, 2, 1, USE_STRICT | USE_MOVE);
	sim_must(n == 0, "mbind, the second time: %ld", n);
	for (uint32_t i = 0; i < 2; i++)
		sim_must(sim_page_node(w->m->space, at(w, i)) == 1, "page %u was left", i);
}

const struct sim_scenario scen_failing_eager = {
	.name = "failing-eager",
	.what = "mbind with MOVE on marked pages and a fault, one operation fails",
	.conf = MINOR,
	.bound = 2,
	.may_fail = 1,
	.setup = two_lazy,
	.task = { { "mbind", eager, 0 }, { "writer", scen_write_0, 1 } },
	.check = intact,
};

static void get_or_not(struct world *w, uint32_t page, unsigned int flags)
{
	for (int i = 0; i < 2; i++) {
		long err;
		struct sim_hold *h = use_gup(w, NHI_GUP_GET, page, flags, &err);

		if (!h) {
			sim_must(err == -ENOMEM || err == -EFAULT, "GUP: %ld", err);
			h = use_gup(w, NHI_GUP_GET, page, flags, &err);
		}
		sim_must(h, "GUP, the second time: %ld", err);
		sim_must(use_held(w, h) == 101 || page != 1, "read %lu", use_held(w, h));
		use_put(w, h);
	}
}

static void get_0(struct world *w, struct sim_task *t)
{
	(void)t;
	get_or_not(w, 0, NHI_FOLL_WRITE);
}

static void get_1(struct world *w, struct sim_task *t)
{
	(void)t;
	get_or_not(w, 1, 0);
}

const struct sim_scenario scen_failing_gup = {
	.name = "failing-gup",
	.what = "two references to a marked huge page, one of which splits it, one operation fails",
	.conf = MINOR,
	.bound = 2,
	.may_fail = 1,
	.setup = huge_lazy,
	.task = { { "getter-0", get_0, 1 }, { "getter-1", get_1, 0 } },
	.check = intact,
};

static void do_fork(struct world *w, struct sim_task *t)
{
	nhi_mm_fork_prepare(w->mm);
	sim_must(!use_marked(w, 0) && !use_marked(w, 1), "marked at the fork");
	sim_fork_prepare(w->m);
	w->child = sim_fork(t);
	nhi_mm_fork_parent(w->mm);
}

static void child_whole(struct world *w)
{
	uint64_t value;

	intact(w);
	(void)sim_peek(w->child, at(w, 1), &value);
	sim_must(value == 101, "page 1 is %lu in the child", value);
}

const struct sim_scenario scen_failing_fork = {
	.name = "failing-fork",
	.what = "a fork and a fault, two operations fail",
	.conf = MINOR,
	.bound = 2,
	.may_fail = 2,
	.setup = two_lazy,
	.task = { { "forker", do_fork, 0 }, { "writer", scen_write_0, 1 } },
	.check = child_whole,
};

static void dontneed_0(struct world *w, struct sim_task *t)
{
	int err = sim_dontneed(t, at(w, 0), w->m->conf.page_size);

	sim_must(!err, "madvise: %d", err);
	sim_must(use_read(w, t, 0) == 0, "page 0 was dropped and came back");
}

static void read_1(struct world *w, struct sim_task *t)
{
	sim_must(use_read(w, t, 1) == 101, "page 1 was lost");
}

const struct sim_scenario scen_failing_events = {
	.name = "failing-events",
	.what = "a part of a marked huge page is dropped while the other is touched, one operation fails",
	.conf = MINOR,
	.bound = 1,
	.may_fail = 1,
	.setup = huge_lazy,
	.task = { { "dropper", dontneed_0, 0 }, { "reader", read_1, 1 } },
	.monitor = true,
};
