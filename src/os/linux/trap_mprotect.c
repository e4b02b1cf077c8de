// SPDX-License-Identifier: MIT
/*
 * The mprotect trap: PROT_NONE and SIGSEGV. Any kernel, any private mapping, no privilege; the data
 * never leaves its place.
 *
 * The price is VMAs. A page made accessible amid inaccessible ones splits their VMA in three, and
 * at vm.max_map_count mprotect() fails with ENOMEM. So pages are resolved in chunks that grow with
 * what is marked (granule()), such that the worst order of touches stays below half of the limit:
 *
 *	VMAs made so far + 2 * marked / chunk <= max_map_count / 2
 *
 * With 4 GiB marked and the default limit of 65530 that is 128 pages, from the first fault on.
 */
#include "internal.h"

#include <string.h>
#include <sys/mman.h>

static int protect(const struct nhi_lx *lx, uintptr_t addr, uint32_t nr, unsigned int prot)
{
	/* NHI_PROT_* have the numbers of PROT_*. */
	return (int)nhi_sys3(SYS_mprotect, addr, nhi_bytes(lx, nr), prot);
}

static int query(struct nhi_lx_map *map, uintptr_t addr, uint32_t nr, uint8_t *info)
{
	return nhi_pagemap_query(map->lx, addr, nr, info);
}

static int mark_begin(struct nhi_lx_map *map)
{
	if (!nhi_count_read(&map->pub.marked))
		nhi_store_relaxed(&map->splits, 0); /* all is joined again */
	return 0;
}

static void mark_end(struct nhi_lx_map *map)
{
	(void)map;
}

static void count_splits(struct nhi_lx_map *map)
{
	nhi_count(&map->splits, 2);
}

/* While the pages can be seen: where they are. */
static void note_nodes(struct nhi_lx_map *map, const struct nhi_run *run)
{
	uint8_t *on = map->marked_on + ((run->addr - map->pub.start) >> map->lx->page_shift);

	memset(on, NHI_UNKNOWN_NODE, run->nr_pages);
	(void)nhi_place_query(run->addr, map->lx->os.page_size, run->nr_pages, on);
}

static long mark(struct nhi_lx_map *map, struct nhi_run *run)
{
	struct nhi_lx *lx = map->lx;
	int err;

	if (map->marked_on)
		note_nodes(map, run);
	err = protect(lx, run->addr, run->nr_pages, PROT_NONE);
	if (err) {
		nhi_run_status(run, 0, run->nr_pages,
			       err == -ENOMEM ? NHI_PAGE_MAPS : NHI_PAGE_OTHER);
		return 0;
	}
	if (run->nr_pages < nhi_bytes(lx, 1) / 8)
		count_splits(map);
	/*
	 * Holes between the pages are inaccessible now as well, so they are as good as marked: their
	 * first touch is a fault that restores them, to what they were.
	 */
	nhi_run_status(run, 0, run->nr_pages, NHI_PAGE_OK);
	return run->nr_pages;
}

static int nodes(struct nhi_lx_map *map, uintptr_t addr, uint32_t nr, uint8_t *out)
{
	int err = nhi_place_query(addr, map->lx->os.page_size, nr, out);
	const uint8_t *on = map->marked_on;

	/* Linux 6.1 to 6.5 see no PROT_NONE page (474098edac26). */
	if (on)
		on += (addr - map->pub.start) >> map->lx->page_shift;
	for (uint32_t i = 0; on && i < nr; i++) {
		if (out[i] == NHI_UNKNOWN_NODE)
			out[i] = on[i];
	}
	return err;
}

static int restore(struct nhi_lx_map *map, struct nhi_run *run)
{
	int err = protect(map->lx, run->addr, run->nr_pages, run->prot);

	if (err) {
		nhi_run_status(run, 0, run->nr_pages, NHI_PAGE_STUCK);
		return 0;
	}
	count_splits(map);
	nhi_run_status(run, 0, run->nr_pages, NHI_PAGE_OK);
	return 0;
}

static int migrate(struct nhi_lx_map *map, struct nhi_run *run)
{
	struct nhi_lx *lx = map->lx;

	/* First accessible, then moved: see nodes(). The page stays usable all the time. */
	(void)restore(map, run);
	if (run->status[0] == NHI_PAGE_STUCK)
		return 0;
	if (lx->os.emulated) {
		if (run->prot & NHI_PROT_READ)
			nhi_place_pretend(lx, run->addr, nhi_bytes(lx, run->nr_pages));
		return 0;
	}
	if (run->huge) {
		/* One address stands for all: the kernel moves the huge page as one. */
		nhi_place_move(run->addr, lx->os.page_size, 1, run->node, run->status);
		return 0;
	}
	nhi_place_move(run->addr, lx->os.page_size, run->nr_pages, run->node, run->status);
	/* A hole was made accessible like the rest: nothing was lost, and nothing is marked. */
	return 0;
}

/*
 * No room for the split: make more and more of the neighbourhood accessible, until no VMA need be
 * split for it. Neighbours that count as marked are then simply not noticed until somebody
 * resolves them. They get the protection of this run, which is that of the VMA they are part of
 * unless the program has changed it since.
 */
static int restore_hard(struct nhi_lx_map *map, struct nhi_run *run)
{
	uintptr_t start = run->addr, end = start + nhi_bytes(map->lx, run->nr_pages);
	size_t reach = map->lx->os.huge_size;
	int err;

	do {
		start = nhi_max(map->pub.start, start - nhi_min(start, reach));
		end = nhi_min(map->pub.end, end + reach);
		err = (int)nhi_sys3(SYS_mprotect, start, end - start, run->prot);
		reach *= 4;
	} while (err && (start > map->pub.start || end < map->pub.end));
	if (err)
		return err;
	nhi_run_status(run, 0, run->nr_pages, NHI_PAGE_OK);
	return 0;
}

static int zero_fill(struct nhi_lx_map *map, uintptr_t addr)
{
	(void)map;
	(void)addr;
	return 0; /* the kernel does it */
}

static void quiet(struct nhi_lx_map *map)
{
	nhi_store_relaxed(&map->splits, 0); /* an estimate: a marker that starts now only adds */
}

static void discard(struct nhi_lx_map *map, uintptr_t addr, uint32_t nr)
{
	(void)map;
	(void)addr;
	(void)nr; /* the page was the program's own */
}

uint32_t nhi_mprotect_granule(struct nhi_lx_map *map, uint64_t marked)
{
	uint64_t budget = map->lx->max_map_count / 2;
	/* Every VMA in between holds a marked page: there are no more than that. */
	uint64_t used = nhi_min((uint64_t)nhi_count_read(&map->splits), 2 * marked);
	uint64_t chunk = 1, want;

	if (2 * marked + used <= budget)
		return 1;
	budget -= nhi_min(used, budget - budget / 8);
	want = (2 * marked + budget - 1) / budget;
	while (chunk < want)
		chunk *= 2;
	return (uint32_t)nhi_min(chunk, (uint64_t)(map->lx->os.huge_size >> map->lx->page_shift));
}

const struct nhi_trap_ops nhi_trap_mprotect = {
	.query = query,
	.mark_begin = mark_begin,
	.mark_end = mark_end,
	.mark = mark,
	.nodes = nodes,
	.restore = restore,
	.migrate = migrate,
	.restore_hard = restore_hard,
	.zero_fill = zero_fill,
	.quiet = quiet,
	.discard = discard,
};
