// SPDX-License-Identifier: MIT
/* Where the pages are, asked of the kernel, and what is in its counters. */
#include "atomic.h"
#include "compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int64_t cmp_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

uint64_t cmp_vmstat(const char *name)
{
	FILE *f = fopen("/proc/vmstat", "r");
	unsigned long value, found = 0;
	char key[64];

	while (f && fscanf(f, "%63s %lu", key, &value) == 2) {
		if (!strcmp(key, name))
			found = value;
	}
	if (f)
		fclose(f);
	return found;
}

static void where(struct cmp_run *run, const size_t *page, int *node, size_t nr)
{
	void *addr[CMP_SAMPLES];

	for (size_t i = 0; i < nr; i++) {
		addr[i] = run->mem + page[i] * run->page;
		node[i] = -1;
	}
	if (syscall(SYS_move_pages, 0, nr, addr, NULL, node, 0))
		memset(node, -1, nr * sizeof(*node));
}

/* One point of the curve: pages that are used, evenly spread. Marked ones are nowhere. */
void cmp_look(struct cmp_run *run)
{
	const unsigned int phase = nhi_load_relaxed(&run->phase);
	size_t page[CMP_SAMPLES], nr = 0, local = 0;
	int node[CMP_SAMPLES], user[CMP_SAMPLES];
	int64_t at = cmp_now_ns() - run->start_ns;

	for (size_t i = 0; i < CMP_SAMPLES; i++) {
		page[nr] = i * run->pages / CMP_SAMPLES;
		user[nr] = cmp_user(run, page[nr]);
		nr += user[nr] >= 0 || run->scenario->shared;
	}
	where(run, page, node, nr);
	for (size_t i = 0; i < nr; i++) {
		/* Nobody's: it is as good on any node that has a thread. */
		int want = user[i] >= 0 ? run->thread[user[i]].node : node[i];

		local += node[i] >= 0 && node[i] == want;
	}
	if (run->nr_looks < CMP_CURVE && nr)
		run->curve[run->nr_looks++] =
			(struct cmp_look){ at, phase, (double)local / (double)nr };
}

size_t cmp_misplaced(struct cmp_run *run)
{
	size_t misplaced = 0;

	for (size_t first = 0; first < run->pages; first += CMP_SAMPLES) {
		size_t page[CMP_SAMPLES], nr = 0;
		int node[CMP_SAMPLES];

		for (size_t i = first; i < run->pages && nr < CMP_SAMPLES; i++)
			page[nr++] = i;
		where(run, page, node, nr);
		for (size_t i = 0; i < nr; i++) {
			int user = cmp_user(run, page[i]);

			misplaced += user >= 0 && node[i] >= 0 && node[i] != run->thread[user].node;
		}
	}
	return misplaced;
}

static size_t node_free(int node)
{
	char name[80], line[256];
	unsigned long kb = 0;
	FILE *f;

	snprintf(name, sizeof(name), "/sys/devices/system/node/node%d/meminfo", node);
	f = fopen(name, "r");
	while (f && fgets(line, sizeof(line), f)) {
		char *at = strstr(line, "MemFree:");

		if (at)
			kb = strtoul(at + 8, NULL, 10);
	}
	if (f)
		fclose(f);
	return kb * 1024;
}

/* Leave room for a part only of what would have to move to node 1. */
void cmp_hog(struct cmp_run *run)
{
	const unsigned long mask = 2;
	size_t need = run->pages * run->page / 2 * run->scenario->hog / 100, have = node_free(1);

	if (!run->scenario->hog || have < need + (64u << 20))
		return;
	/* The kernel keeps some for itself, below the low watermark. */
	run->hog_bytes = have - need - (16u << 20);
	run->hog = mmap(NULL, run->hog_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
	if (run->hog == MAP_FAILED) {
		run->hog = NULL;
		return;
	}
	(void)syscall(SYS_mbind, run->hog, run->hog_bytes, 1 /* preferred */, &mask, 64, 0);
	for (size_t off = 0; off < run->hog_bytes; off += run->page)
		run->hog[off] = 1;
}
