// SPDX-License-Identifier: MIT
/* References against marks, migrations and splits. */
#include "scenarios.h"

#define MINOR                          \
	{                              \
		.trap = NHI_TRAP_MINOR \
	}
#define IN_PLACE                          \
	{                                 \
		.trap = NHI_TRAP_MPROTECT \
	}

/* A device writes into the page while it is held, through the frame that it had at first. */
static void use_it(struct world *w, struct sim_hold *h, uint64_t value)
{
	use_device_writes(w, h, value);
	sim_must(use_held(w, h) == value, "the device's write was lost");
	use_put(w, h);
}

/* So that its entry is PRESENT and fast GUP takes it. */
static void known(struct world *w, uint32_t page)
{
	struct sim_hold *h = use_gup(w, NHI_GUP_PIN, page, NHI_FOLL_WRITE, NULL);

	sim_must(h, "no page");
	use_put(w, h);
}

static void one_known(struct world *w)
{
	use_ready(w, 0, 1);
	known(w, 0);
}

static void pin_0(struct world *w, struct sim_task *t)
{
	struct sim_hold *h = use_gup(w, NHI_GUP_PIN, 0, NHI_FOLL_WRITE, NULL);

	(void)t;
	sim_must(h, "no page");
	use_it(w, h, 9);
}

static void get_0(struct world *w, struct sim_task *t)
{
	struct sim_hold *h =
		use_gup(w, NHI_GUP_GET, 0, NHI_FOLL_WRITE | NHI_FOLL_HONOR_NUMA_FAULT, NULL);

	(void)t;
	sim_must(h, "no page");
	use_it(w, h, 9);
}

static void is_9(struct world *w)
{
	sim_must(use_peek(w, 0) == 9, "page 0 is %lu at the end", use_peek(w, 0));
}

const struct sim_scenario scen_mark_pin = {
	.name = "mark-pin",
	.what = "marking a page that is being pinned",
	.conf = MINOR,
	.bound = 6,
	.setup = one_known,
	.task = { { "marker", scen_mark_0, 0 }, { "pinner", pin_0, 1 } },
	.check = is_9,
};

const struct sim_scenario scen_mark_get = {
	.name = "mark-get",
	.what = "marking a page that somebody gets",
	.conf = MINOR,
	.bound = 6,
	.setup = one_known,
	.task = { { "marker", scen_mark_0, 0 }, { "getter", get_0, 1 } },
	.check = is_9,
};

static void with_child(struct world *w)
{
	use_ready(w, 0, 2);
	w->child = sim_fork(&w->task[0]);
}

static void not_while_shared(struct world *w)
{
	for (uint32_t i = 0; i < 2; i++)
		sim_must(!use_marked(w, i) || sim_page_maps(w->m->space, at(w, i)) == 1,
			 "page %u was marked although a child has it too", i);
}

const struct sim_scenario scen_mark_shared = {
	.name = "mark-shared",
	.what = "marking pages that a child shares, one of which is copied on write",
	.conf = IN_PLACE,
	.bound = 5,
	.setup = with_child,
	.task = { { "marker", scen_mark_2, 0 }, { "writer", scen_write_0, 1 } },
	.check = not_while_shared,
};

/* ----------------------------------------------------------------------------- huge pages */

static void huge_ready(struct world *w)
{
	use_ready_huge(w, 0);
}

static void huge_lazy(struct world *w)
{
	use_ready_huge(w, 0);
	sim_must(use_bind(w, 0, 2, 1, USE_LAZY) == 2, "not marked as one");
}

/* Its PMD entry is PRESENT. */
static void huge_present(struct world *w)
{
	huge_lazy(w);
	(void)use_read(w, &w->task[1], 0);
}

static void pin_1(struct world *w, struct sim_task *t)
{
	struct sim_hold *h = use_gup(w, NHI_GUP_PIN, 1, NHI_FOLL_WRITE, NULL);

	(void)t;
	sim_must(h, "no page");
	use_it(w, h, 9);
}

static void fast_1(struct world *w, struct sim_task *t)
{
	struct sim_hold *h = use_gup(w, NHI_GUP_FAST_ONLY, 1, 0, NULL);

	(void)t;
	w->v[1] = h ? 9 : 101;
	if (h)
		use_it(w, h, 9);
}

static void slow_1(struct world *w, struct sim_task *t)
{
	struct sim_hold *h =
		use_gup(w, NHI_GUP_GET, 1, NHI_FOLL_WRITE | NHI_FOLL_HONOR_NUMA_FAULT, NULL);

	(void)t;
	sim_must(h, "no page");
	w->v[1] = 9;
	use_it(w, h, 9);
}

static void both_written(struct world *w)
{
	sim_must(use_peek(w, 0) == 7, "page 0 is %lu at the end", use_peek(w, 0));
	sim_must(use_peek(w, 1) == w->v[1], "page 1 is %lu at the end, not %lu", use_peek(w, 1),
		 w->v[1]);
}

static void both_written_once(struct world *w)
{
	both_written(w);
	sim_must(use_count(w, NHI_C_HINTING_FAULTS) == 1, "%lu hinting faults",
		 use_count(w, NHI_C_HINTING_FAULTS));
	sim_must(sim_page_node(w->m->space, at(w, 1)) == 1, "it was not moved");
}

static void is_9_at_1(struct world *w)
{
	sim_must(use_peek(w, 1) == 9, "page 1 is %lu at the end", use_peek(w, 1));
}

const struct sim_scenario scen_mark_pin_huge = {
	.name = "mark-pin-huge",
	.what = "marking a huge page, of which a part is being pinned, as one",
	.conf = MINOR,
	.bound = 4,
	.setup = huge_ready,
	.task = { { "marker", scen_mark_2, 0 }, { "pinner", pin_1, 1 } },
	.check = is_9_at_1,
};

static void huge_known(struct world *w)
{
	use_ready_huge(w, 0);
	known(w, 1);
}

static void pin_1_fast(struct world *w, struct sim_task *t)
{
	struct sim_hold *h = use_gup(w, NHI_GUP_PIN_FAST, 1, NHI_FOLL_WRITE, NULL);

	(void)t;
	sim_must(h, "no page");
	use_it(w, h, 9);
}

const struct sim_scenario scen_mark_pin_huge_fast = {
	.name = "mark-pin-huge-fast",
	.what = "the same, by who finds the part's entry PRESENT",
	.conf = MINOR,
	.bound = 5,
	.setup = huge_known,
	.task = { { "marker", scen_mark_2, 0 }, { "pinner", pin_1_fast, 1 } },
	.check = is_9_at_1,
};

const struct sim_scenario scen_gup_fast_migrate_huge = {
	.name = "gup-fast-migrate-huge",
	.what = "fast GUP against the migration of a huge page",
	.conf = MINOR,
	.bound = 6,
	.setup = huge_lazy,
	.task = { { "writer", scen_write_0, 1 }, { "getter", fast_1, 0 } },
	.check = both_written_once,
};

const struct sim_scenario scen_gup_slow_migrate_huge = {
	.name = "gup-slow-migrate-huge",
	.what = "slow GUP, which honours the hint, against the migration of a huge page",
	.conf = MINOR,
	.bound = 4,
	.setup = huge_lazy,
	.task = { { "writer", scen_write_0, 1 }, { "getter", slow_1, 1 } },
	.check = both_written_once,
};

static void pin_1_noted(struct world *w, struct sim_task *t)
{
	w->v[1] = 9;
	pin_1(w, t);
}

const struct sim_scenario scen_pin_migrate_huge = {
	.name = "pin-migrate-huge",
	.what = "a pin against the migration of a huge page that is marked again and again",
	.conf = MINOR,
	.bound = 3,
	.setup = huge_lazy,
	.task = { { "writer", scen_write_0, 1 },
		  { "pinner", pin_1_noted, 0 },
		  { "marker", scen_mark_2, 0 } },
	.check = both_written,
};

/* A part first, which splits, then all. */
static void mark_part(struct world *w, struct sim_task *t)
{
	scen_mark_0(w, t);
	scen_mark_2(w, t);
}

const struct sim_scenario scen_pin_split = {
	.name = "pin-split",
	.what = "marking a part of a huge page that is pinned",
	.conf = MINOR,
	.bound = 4,
	.setup = huge_present,
	.task = { { "marker", mark_part, 0 }, { "pinner", pin_1, 1 } },
	.check = is_9_at_1,
};

/* Reads what is there, without honouring the hint, which splits a marked huge page. */
static void copy_0(struct world *w, struct sim_task *t)
{
	struct sim_hold *h = use_gup(w, NHI_GUP_GET, 0, 0, NULL);

	(void)t;
	sim_must(h, "no page");
	w->v[0] = use_held(w, h);
	use_put(w, h);
}

static void split_done(struct world *w)
{
	is_9_at_1(w);
	sim_must(w->v[0] == 100, "a copy of page 0 was %lu", w->v[0]);
	sim_must(use_peek(w, 0) == 100, "page 0 is %lu", use_peek(w, 0));
}

const struct sim_scenario scen_gup_split = {
	.name = "gup-split",
	.what = "two references to a marked huge page, one of which splits it",
	.conf = MINOR,
	.bound = 3,
	.setup = huge_lazy,
	.task = { { "reader", copy_0, 0 }, { "pinner", pin_1, 1 } },
	.check = split_done,
};

/* ------------------------------------------------------------------------ marked pages */

static void one_lazy(struct world *w)
{
	use_ready(w, 0, 1);
	sim_must(use_bind(w, 0, 1, 1, USE_LAZY) == 1, "not marked");
}

static void copied(struct world *w)
{
	sim_must(w->v[0] == 100 || w->v[0] == 7, "a copy of page 0 was %lu", w->v[0]);
	sim_must(use_peek(w, 0) == 7, "page 0 is %lu", use_peek(w, 0));
}

const struct sim_scenario scen_get_marked_migrate = {
	.name = "get-marked-migrate",
	.what = "a reference to a marked page, mark and all, against a fault on it",
	.conf = MINOR,
	.bound = 4,
	.setup = one_lazy,
	.task = { { "reader", copy_0, 0 }, { "writer", scen_write_0, 1 } },
	.check = copied,
};

static void one_held(struct world *w)
{
	one_lazy(w);
	sim_must(use_gup(w, NHI_GUP_GET, 0, 0, NULL), "no page");
	w->hold[0].active = true;
}

static void put_0(struct world *w, struct sim_task *t)
{
	(void)t;
	use_put(w, &w->hold[0]);
}

static void unmark_0(struct world *w, struct sim_task *t)
{
	long n = nhi_unmark_range(w->mm, at(w, 0), at(w, 1));

	(void)t;
	sim_must(n == 1, "unmark: %ld", n);
}

const struct sim_scenario scen_get_put_unmark = {
	.name = "get-put-unmark",
	.what = "a reference to a marked page that is given back while it is unmarked",
	.conf = MINOR,
	.bound = 6,
	.setup = one_held,
	.task = { { "putter", put_0, 0 }, { "unmarker", unmark_0, 1 } },
};

static void two_marked(struct world *w)
{
	use_ready(w, 0, 2);
	sim_must(use_mark(w, 0, 2) == 2, "not marked");
}

static void follow_0(struct world *w, struct sim_task *t)
{
	struct nhi_page page;
	int err = nhi_follow_page(w->mm, at(w, 0), 0, &page);

	(void)t;
	sim_must(!err, "an inspector does not see page 0: %d", err);
	sim_must(nhi_follow_page(w->mm, at(w, 0), NHI_FOLL_HONOR_NUMA_FAULT, &page),
		 "a marked page was followed although its mark was to be honoured");
	sim_must(use_marked(w, 0), "an inspector took the mark");
}

static void read_1(struct world *w, struct sim_task *t)
{
	sim_must(use_read(w, t, 1) == 101, "page 1 was lost");
}

const struct sim_scenario scen_follow_unmark = {
	.name = "follow-unmark",
	.what = "an inspector looks at a marked page while its neighbour is touched",
	.conf = MINOR,
	.bound = 5,
	.setup = two_marked,
	.task = { { "inspector", follow_0, 0 }, { "reader", read_1, 1 } },
};

/* Populated, then mapped so that nobody may touch it, then managed (fixture I of the cases). */
static void inaccessible(struct world *w)
{
	(void)sim_mmap(&w->task[0], at(w, 0), w->m->conf.page_size, NHI_PROT_READ | NHI_PROT_WRITE,
		       NHI_KIND_ANON, false);
	use_write(w, &w->task[0], 0, 100);
	(void)sim_mprotect(&w->task[0], at(w, 0), w->m->conf.page_size, 0);
	sim_must(!nhi_manage(w->mm, at(w, 0), at(w, 1), NHI_MANAGE_FRESH), "not managed");
}

static void force_0(struct world *w, struct sim_task *t)
{
	struct sim_hold *h =
		use_gup(w, NHI_GUP_GET, 0, NHI_FOLL_FORCE | NHI_FOLL_HONOR_NUMA_FAULT, NULL);

	(void)t;
	sim_must(h, "no page");
	sim_must(use_held(w, h) == 100, "read %lu", use_held(w, h));
	use_put(w, h);
}

static void touch_in_vain(struct world *w, struct sim_task *t)
{
	uint64_t value;

	sim_must(sim_read(t, at(w, 0), &value) == -EFAULT, "an inaccessible page was read");
}

static void no_fault(struct world *w)
{
	sim_must(use_count(w, NHI_C_HINTING_FAULTS) == 0, "a hinting fault in an inaccessible VMA");
	sim_must(use_count(w, NHI_C_MARKED) == 0, "marked in an inaccessible VMA");
}

const struct sim_scenario scen_force_inaccessible = {
	.name = "force-inaccessible",
	.what = "FORCE with honour where nobody may access, against a marker and a touch",
	.conf = IN_PLACE,
	.bound = 4,
	.setup = inaccessible,
	.task = { { "getter", force_0, 0 },
		  { "marker", scen_mark_0, 0 },
		  { "toucher", touch_in_vain, 1 } },
	.check = no_fault,
};
