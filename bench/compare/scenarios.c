// SPDX-License-Identifier: MIT
/* Who touches what, in which order. */
#include "atomic.h"
#include "compare.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct cmp_scenario cmp_scenarios[] = {
	{ .name = "sweep",
	  .what = "one thread fills, all sweep their blocks",
	  .part = 1,
	  .phases = 1 },
	{ .name = "tenth", .what = "the same, but only a tenth is used", .part = 10, .phases = 1 },
	{ .name = "random",
	  .what = "the same, in random order",
	  .part = 1,
	  .phases = 1,
	  .random = true },
	{ .name = "phases", .what = "the owner of each block changes", .part = 1, .phases = 3 },
	{ .name = "right",
	  .what = "everything is where it is used",
	  .part = 1,
	  .phases = 1,
	  .right = true },
	{ .name = "shared",
	  .what = "all threads read everything",
	  .part = 1,
	  .phases = 1,
	  .shared = true },
	{ .name = "full",
	  .what = "half of it fits on the other node",
	  .part = 1,
	  .phases = 1,
	  .hog = 50 },
	{ .name = NULL },
};

void cmp_block(const struct cmp_run *run, int index, size_t *first, size_t *nr)
{
	const unsigned int phase = nhi_load_relaxed(&run->phase);
	size_t block = run->pages / (size_t)run->nr_threads;

	*first = (size_t)((index + (int)phase) % run->nr_threads) * block;
	*nr = block / run->scenario->part;
	if (run->scenario->shared) {
		*first = 0;
		*nr = run->pages;
	}
}

int cmp_user(const struct cmp_run *run, size_t i)
{
	if (run->scenario->shared)
		return -1;
	for (int t = 0; t < run->nr_threads; t++) {
		size_t first, nr;

		cmp_block(run, t, &first, &nr);
		if (i >= first && i < first + nr)
			return t;
	}
	return -1;
}

void cmp_go_to_node(int node)
{
	char name[80], list[256] = "", *p = list;
	cpu_set_t set;
	FILE *f;

	snprintf(name, sizeof(name), "/sys/devices/system/node/node%d/cpulist", node);
	f = fopen(name, "r");
	if (!f)
		return;
	if (!fgets(list, sizeof(list), f))
		list[0] = 0;
	fclose(f);
	CPU_ZERO(&set);
	while (*p >= '0' && *p <= '9') {
		long from = strtol(p, &p, 10), to = from;

		if (*p == '-')
			to = strtol(p + 1, &p, 10);
		for (; from <= to; from++)
			CPU_SET((size_t)from, &set);
		p += *p == ',';
	}
	if (CPU_COUNT(&set))
		(void)sched_setaffinity(0, sizeof(set), &set);
}

static void fill(struct cmp_run *run, size_t first, size_t nr)
{
	for (size_t i = first; i < first + nr; i++)
		memset(run->mem + i * run->page, (int)(i % 251), run->page);
}

/* By the main thread on node 0, or by the users themselves. */
void cmp_fill(struct cmp_run *run)
{
	if (!run->scenario->right) {
		cmp_go_to_node(0);
		fill(run, 0, run->pages);
		return;
	}
	for (int t = 0; t < run->nr_threads; t++) {
		size_t first, nr;

		cmp_go_to_node(run->thread[t].node);
		cmp_block(run, t, &first, &nr);
		fill(run, first, nr);
	}
	cmp_go_to_node(0);
}

/* A look at every line of the page, and a write unless others read it too. false: it is wrong. */
static bool touch(const struct cmp_run *run, size_t i)
{
	volatile unsigned char *p = (volatile unsigned char *)run->mem + i * run->page;
	bool ok = true;

	for (size_t off = 0; off < run->page; off += 64)
		ok &= p[off] == i % 251;
	if (!run->scenario->shared)
		p[8] = (unsigned char)(i % 251);
	return ok;
}

/* One phase of one thread. */
void cmp_work(struct cmp_thread *t)
{
	struct cmp_run *run = t->run;
	uint64_t x = (uint64_t)t->index * 77 + 1;
	int64_t before = run->start_ns, now;
	size_t first, nr;

	cmp_block(run, t->index, &first, &nr);
	while (!nhi_load_relaxed(&run->stop)) {
		for (size_t i = 0; i < nr && !nhi_load_relaxed(&run->stop); i++) {
			size_t page = first + i;

			x = x * 6364136223846793005ull + 1442695040888963407ull;
			if (run->scenario->random)
				page = first + (size_t)(x >> 33) % nr;
			if (!touch(run, page)) {
				fprintf(stderr, "nh-compare: page %zu has lost its contents\n",
					page);
				abort();
			}
			now = cmp_now_ns();
			if (now - before > t->longest_ns)
				t->longest_ns = now - before;
			before = now;
		}
		t->rounds++;
	}
}
