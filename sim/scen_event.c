// SPDX-License-Identifier: MIT
/* What the program does to its memory, and the monitor that hears of it. */
#include "scenarios.h"

#define SHADOW                                                            \
	{                                                                 \
		.trap = NHI_TRAP_SHADOW, .delivery = NHI_DELIVERY_MONITOR \
	}
#define THREAD                                                          \
	{                                                               \
		.trap = NHI_TRAP_MINOR, .delivery = NHI_DELIVERY_THREAD \
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

/* What MADV_DONTNEED dropped reads as zeros: a page that comes back is one from the dead. */
static void dontneed_0(struct world *w, struct sim_task *t)
{
	int err = sim_dontneed(t, at(w, 0), w->m->conf.page_size);

	sim_must(!err, "madvise: %d", err);
	sim_say("dropped page 0");
	sim_must(use_read(w, t, 0) == 0, "page 0 was dropped and came back");
}

static void munmap_0(struct world *w, struct sim_task *t)
{
	uint64_t value;
	int err = sim_munmap(t, at(w, 0), w->m->conf.page_size);

	sim_must(!err, "munmap: %d", err);
	sim_say("unmapped page 0");
	sim_must(sim_read(t, at(w, 0), &value) == -EFAULT, "page 0 was unmapped and can be read");
}

static void read_1(struct world *w, struct sim_task *t)
{
	sim_must(use_read(w, t, 1) == 101, "page 1 was lost");
}

/* Somebody else's access of the page that is being dropped: before or after. */
static void peek_0(struct world *w, struct sim_task *t)
{
	uint64_t value = use_read(w, t, 0);

	sim_must(value == 100 || value == 0, "read %lu", value);
}

static void page_1_stays(struct world *w)
{
	sim_must(use_peek(w, 1) == 101, "page 1 is %lu at the end", use_peek(w, 1));
}

static void page_0_gone(struct world *w)
{
	page_1_stays(w);
	sim_must(use_peek(w, 0) == 0, "page 0 is %lu at the end", use_peek(w, 0));
}

const struct sim_scenario scen_mark_fault_monitor = {
	.name = "mark-fault-monitor",
	.what = "a fault on a page that is being marked, through the monitor",
	.conf = SHADOW,
	.bound = 2,
	.setup = two_ready,
	.task = { { "marker", scen_mark_2, 0 }, { "writer", scen_write_0, 1 } },
	.monitor = true,
	.check = page_1_stays,
};

const struct sim_scenario scen_mark_dontneed = {
	.name = "mark-dontneed",
	.what = "MADV_DONTNEED of a page that is being marked",
	.conf = SHADOW,
	.bound = 2,
	.setup = two_ready,
	.task = { { "marker", scen_mark_2, 0 }, { "dropper", dontneed_0, 1 } },
	.monitor = true,
	.check = page_0_gone,
};

const struct sim_scenario scen_mark_munmap = {
	.name = "mark-munmap",
	.what = "munmap of a page that is being marked",
	.conf = SHADOW,
	.bound = 2,
	.setup = two_ready,
	.task = { { "marker", scen_mark_2, 0 }, { "unmapper", munmap_0, 1 } },
	.monitor = true,
	.check = page_1_stays,
};

/* All access is taken away and given back; what was marked or not stays whole. */
static void protect(struct world *w, struct sim_task *t)
{
	const size_t page = w->m->conf.page_size;
	uint64_t value;

	(void)sim_mprotect(t, at(w, 0), page, 0);
	sim_must(sim_read(t, at(w, 0), &value) == -EFAULT, "PROT_NONE was read");
	(void)sim_mprotect(t, at(w, 0), page, NHI_PROT_READ | NHI_PROT_WRITE);
	sim_must(use_read(w, t, 0) == 100, "page 0 was lost");
}

const struct sim_scenario scen_mark_mprotect = {
	.name = "mark-mprotect",
	.what = "mprotect of a page that is being marked, and touches of it",
	.conf = THREAD,
	.bound = 4,
	.setup = two_ready,
	.task = { { "marker", scen_mark_2, 0 }, { "protector", protect, 1 } },
	.check = page_1_stays,
};

const struct sim_scenario scen_event_fault = {
	.name = "event-fault",
	.what = "the monitor reads the event of a page that another thread faults on",
	.conf = SHADOW,
	.bound = 2,
	.setup = two_lazy,
	.task = { { "dropper", dontneed_0, 0 }, { "reader", peek_0, 1 } },
	.monitor = true,
	.check = page_0_gone,
};

const struct sim_scenario scen_event_fault_thread = {
	.name = "event-fault-thread",
	.what = "the same, where threads handle their own faults",
	.conf = THREAD,
	.bound = 2,
	.setup = two_lazy,
	.task = { { "dropper", dontneed_0, 0 }, { "reader", peek_0, 1 } },
	.monitor = true,
	.check = page_0_gone,
};

const struct sim_scenario scen_event_fault_huge = {
	.name = "event-fault-huge",
	.what = "a part of a marked huge page is dropped while the other is touched",
	.conf = THREAD,
	.bound = 2,
	.setup = huge_lazy,
	.task = { { "dropper", dontneed_0, 0 }, { "reader", read_1, 1 } },
	.monitor = true,
	.check = page_0_gone,
};

const struct sim_scenario scen_event_interposed = {
	.name = "event-interposed",
	.what = "MADV_DONTNEED that is interposed, in place, against a fault and a marker",
	.conf = IN_PLACE,
	.bound = 2,
	.setup = two_lazy,
	.task = { { "dropper", dontneed_0, 0 },
		  { "reader", peek_0, 1 },
		  { "marker", scen_mark_2, 0 } },
	.check = page_0_gone,
};

static void mremap_0(struct world *w, struct sim_task *t)
{
	int err = sim_mremap(t, at(w, 0), at(w, 4), w->m->conf.page_size);

	sim_must(!err, "mremap: %d", err);
	sim_say("moved page 0 to page 4");
	sim_must(use_read(w, t, 4) == 100, "page 4 does not have the contents of page 0");
}

/* The old place: the page, or none. */
static void read_both(struct world *w, struct sim_task *t)
{
	uint64_t value;

	read_1(w, t);
	if (!sim_read(t, at(w, 0), &value))
		sim_must(value == 100, "page 0 reads as %lu", value);
}

static void moved(struct world *w)
{
	page_1_stays(w);
	sim_must(use_peek(w, 4) == 100, "page 4 is %lu at the end", use_peek(w, 4));
}

const struct sim_scenario scen_mremap_fault = {
	.name = "mremap-fault",
	.what = "mremap of a marked page, against faults on it and its neighbour",
	.conf = THREAD,
	.bound = 2,
	.setup = two_lazy,
	.task = { { "mover", mremap_0, 0 }, { "reader", read_both, 1 } },
	.monitor = true,
	.check = moved,
};

static void raw_fork(struct world *w, struct sim_task *t)
{
	w->child = sim_fork(t);
}

/* clone(2) behind the library's back: the child has copies of what was kept for its parent. */
static void child_whole(struct world *w)
{
	uint64_t value;

	for (uint32_t i = 0; i < 2; i++) {
		int err = sim_peek(w->child, at(w, i), &value);

		sim_must(!err && value == 100 + i, "page %u is %lu in the child", i, value);
		sim_must(use_peek(w, i) == 100 + i, "page %u is %lu", i, use_peek(w, i));
	}
}

const struct sim_scenario scen_fork_event = {
	.name = "fork-event",
	.what = "a fork that the library learns of by its event only, against a fault",
	.conf = THREAD,
	.bound = 2,
	.setup = two_lazy,
	.task = { { "forker", raw_fork, 0 }, { "reader", read_1, 1 } },
	.monitor = true,
	.check = child_whole,
};
