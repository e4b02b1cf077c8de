// SPDX-License-Identifier: MIT
/*
 * Where the pages of a range sat when it was marked, and where they sit after: NHP_CELLS pages of
 * it, evenly spread. `numahint strips` draws them.
 */
#include "preload.h"

#include <string.h>

struct nhp_strip nhp_strips[NHP_MAX_STRIPS];
uint32_t nhp_nr_strips;

static void look(const struct nhp_alloc *a, uint8_t cells[NHP_CELLS])
{
	uintptr_t start = nhp_first(a);
	size_t pages = (nhp_end(a) - start) / NHP_PAGE;
	struct nh_mm *mm = nhp_mm_if_made();

	memset(cells, NHP_CELL_UNKNOWN, NHP_CELLS);
	for (size_t i = 0; i < NHP_CELLS && mm && pages; i++) {
		/* The middle of each part. */
		uintptr_t at = start + (2 * i + 1) * pages / (2 * NHP_CELLS) * NHP_PAGE;
		int node;

		if (nh_node_of(mm, (void *)at, 1, &node))
			continue;
		if (node < 0)
			cells[i] = NHP_CELL_NONE;
		else if (node < NHP_CELL_UNKNOWN)
			cells[i] = (uint8_t)node;
	}
}

void nhp_strip_before(struct nhp_alloc *a)
{
	uint32_t at;

	if (a->strip >= 0)
		return;
	at = nhi_add_relaxed(&nhp_nr_strips, 1) - 1;
	if (at >= NHP_MAX_STRIPS)
		return;
	a->strip = (int)at;
	nhp_strips[at].addr = a->addr;
	nhp_strips[at].len = a->len;
	nhp_strips[at].kind = a->kind;
	look(a, nhp_strips[at].before);
	memcpy(nhp_strips[at].after, nhp_strips[at].before, NHP_CELLS);
}

void nhp_strip_after(struct nhp_alloc *a)
{
	if (a->strip >= 0 && a->managed)
		look(a, nhp_strips[a->strip].after);
}
