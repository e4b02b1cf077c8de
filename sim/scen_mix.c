// SPDX-License-Identifier: MIT
/* References against what the program does to its memory, inspectors, and a scanner against everything. */
#include "scenarios.h"

#include <string.h>

#define MINOR                          \
	{                              \
		.trap = NHI_TRAP_MINOR \
	}
#define IN_PLACE                          \
	{                                 \
		.trap = NHI_TRAP_MPROTECT \
	}
#define EMULATED                                         \
	{                                                \
		.trap = NHI_TRAP_MINOR, .emulated = true \
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

/*
 * A reference that the program's madvise may leave without its page: whoever has it has what was there,
 * or what came after. @flags as for GUP.
 */
static void get_0(struct world *w, enum nhi_gup_call call, unsigned int flags)
{
	struct nhi_page page;
	long n = nhi_gup(w->mm, call, at(w, 0), 1, flags, &page);
	uint64_t value;

	sim_must(n == 1 || n == -EFAULT, "GUP: %ld", n);
	sim_say("GUP: %ld", n);
	if (n != 1)
		return;
	if (page.word & NHI_PAGE_IS_COPY) {
		memcpy(&value, (const void *)page.usable, sizeof(value));
		sim_must(value == 100 || value == 0, "a copy of page 0 was %lu", value);
	}
	sim_point(w->m, w);
	nhi_pages_put(w->mm, &page, 1, call == NHI_GUP_PIN);
	sim_must(!page.word, "a reference was not taken back");
}

static void copy_0(struct world *w, struct sim_task *t)
{
	(void)t;
	get_0(w, NHI_GUP_GET, 0);
}

static void pin_0(struct world *w, struct sim_task *t)
{
	(void)t;
	get_0(w, NHI_GUP_PIN, NHI_FOLL_WRITE);
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

const struct sim_scenario scen_get_dontneed = {
	.name = "get-dontneed",
	.what = "a reference to a marked page, mark and all, that is dropped",
	.conf = MINOR,
	.bound = 2,
	.setup = two_lazy,
	.task = { { "getter", copy_0, 0 }, { "dropper", dontneed_0, 1 } },
	.monitor = true,
	.check = page_0_gone,
};

const struct sim_scenario scen_pin_dontneed = {
	.name = "pin-dontneed",
	.what = "a pin on a part of a marked huge page, which is dropped, in place",
	.conf = IN_PLACE,
	.bound = 3,
	.setup = huge_lazy,
	.task = { { "pinner", pin_0, 0 }, { "dropper", dontneed_0, 1 } },
	.check = page_0_gone,
};

const struct sim_scenario scen_get_dontneed_huge = {
	.name = "get-dontneed-huge",
	.what = "a reference to a part of a marked huge page, which is dropped",
	.conf = MINOR,
	.bound = 2,
	.setup = huge_lazy,
	.task = { { "getter", copy_0, 0 }, { "dropper", dontneed_0, 1 } },
	.monitor = true,
	.check = page_0_gone,
};

const struct sim_scenario scen_pin_munmap = {
	.name = "pin-munmap",
	.what = "a pin on a marked page, which is unmapped",
	.conf = MINOR,
	.bound = 2,
	.setup = two_lazy,
	.task = { { "pinner", pin_0, 0 }, { "unmapper", munmap_0, 1 } },
	.monitor = true,
	.check = page_1_stays,
};

/* An inspector's answer: where the page was, or where it came to. */
static void inspect(struct world *w, struct sim_task *t)
{
	int nodes[2] = { -1, -1 };
	int err = nhi_nodes_of(w->mm, at(w, 0), 2, nodes);

	(void)t;
	sim_must(!err, "where pages are: %d", err);
	for (int i = 0; i < 2; i++)
		sim_must(nodes[i] == 0 || nodes[i] == 1, "page %d is said to be on node %d", i,
			 nodes[i]);
}

static void written(struct world *w)
{
	page_1_stays(w);
	sim_must(use_peek(w, 0) == 7, "page 0 is %lu at the end", use_peek(w, 0));
}

const struct sim_scenario scen_inspect_fault = {
	.name = "inspect-fault",
	.what = "an inspector asks where pages are while one is touched; nodes are emulated",
	.conf = EMULATED,
	.bound = 3,
	.setup = two_lazy,
	.task = { { "inspector", inspect, 0 }, { "writer", scen_write_0, 1 } },
	.check = written,
};

static void pin_1(struct world *w, struct sim_task *t)
{
	struct sim_hold *h = use_gup(w, NHI_GUP_PIN, 1, 0, NULL);

	(void)t;
	sim_must(h, "no page");
	sim_must(use_held(w, h) == 101, "read %lu", use_held(w, h));
	use_put(w, h);
}

static void move(struct world *w, struct sim_task *t)
{
	long ret = use_bind(w, 0, 2, 1, USE_MOVE);

	(void)t;
	sim_must(ret >= 0, "mbind: %ld", ret);
}

const struct sim_scenario scen_everything = {
	.name = "everything",
	.what = "a scanner, a fault, a pin and an eager move",
	.conf = IN_PLACE,
	.bound = 1,
	.setup = two_lazy,
	.task = { { "scanner", scen_mark_2, 0 },
		  { "writer", scen_write_0, 1 },
		  { "pinner", pin_1, 1 },
		  { "mbind", move, 0 } },
	.check = written,
};

const struct sim_scenario scen_everything_huge = {
	.name = "everything-huge",
	.what = "the same with a huge page, and a partial unmark instead of a move",
	.conf = MINOR,
	.bound = 1,
	.setup = huge_lazy,
	.task = { { "scanner", scen_mark_2, 0 },
		  { "writer", scen_write_0, 1 },
		  { "pinner", pin_1, 1 },
		  { "unmarker", scen_unmark_2, 0 } },
	.check = written,
};
