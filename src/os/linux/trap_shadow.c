// SPDX-License-Identifier: MIT
/*
 * The shadow trap: marked pages are moved to a shadow range, and the range that they left is watched
 * by userfaultfd. Private anonymous memory; marking here, coming back in shadow_back.c.
 *
 * Two ways to move them out:
 *   mremap(DONTUNMAP)  any kernel since 5.7; takes what is there, pinned or shared or not, in one
 *		go; raises an event that the monitor must read; each call may cost the shadow VMAs
 *   UFFDIO_MOVE	  since 6.8; refuses pinned and shared pages, costs no VMA and no event
 * So MOVE where a page must not be moved while somebody holds it (copying is not provably safe), and
 * for short runs; mremap for long runs.
 *
 * The range is registered before it loses a page, always: a touch in between would read zeros.
 */
#include "trap_shadow.h"

#include <sys/mman.h>

/* Below this many pages an event and two VMAs cost more than moving page by page. */
#define MOVE_MAX_PAGES 32
#define MOVE_RETRIES   200

static int query(struct nhi_lx_map *map, uintptr_t addr, uint32_t nr, uint8_t *info)
{
	int err = nhi_pagemap_query(map->lx, addr, nr, info);

	/* Relaxed: who marks is who asks, so no mark of this map can come meanwhile. */
	if (!err && nhi_load_relaxed(&map->pub.marked))
		err = nhi_pagemap_query(map->lx, nhi_kept(map, addr), nr, info);
	return err;
}

static int mark_begin(struct nhi_lx_map *map)
{
	struct nhi_lx *lx = map->lx;
	struct nhi_store *store = map->store;
	bool safe = lx->options.copy == NHI_COPY_ALWAYS ||
		    (lx->options.copy == NHI_COPY_AUTO && nhi_io_copy_safe(lx));

	map->touched_lo = UINTPTR_MAX;
	map->touched_hi = 0;
	if (nhi_load_relaxed(&map->pub.marked)) {
		/* What is marked already was marked under the old answer. */
		if (!safe)
			nhi_store_relaxed(&store->copy_safe, false);
		return 0;
	}
	nhi_store_relaxed(&store->copy_safe, safe); /* nobody resolves: nothing is marked */
	if (store->refs == 1 && store->pieces > lx->max_map_count / 64)
		return nhi_store_clear(map);
	return 0;
}

static void mark_end(struct nhi_lx_map *map)
{
	if (map->touched_lo < map->touched_hi) {
		/* Moved-in pieces came with the flags of the range. */
		(void)nhi_sys3(SYS_madvise, map->touched_lo, map->touched_hi - map->touched_lo,
			       MADV_DONTFORK);
		nhi_name_range(map->touched_lo, map->touched_hi - map->touched_lo,
			       "numahint shadow");
	}
	if (!nhi_load_acquire(&map->pub.marked))
		nhi_unwatch_all(map, false);
}

static enum nhi_page_status status_of(long err)
{
	switch (err) {
	case -ENOMEM:
		return NHI_PAGE_MAPS;
	case -EAGAIN:
		return NHI_PAGE_BUSY;
	case -EBUSY:
		return NHI_PAGE_PINNED;
	case -EINVAL:
		return NHI_PAGE_UNSUPPORTED;
	default:
		return NHI_PAGE_OTHER;
	}
}

/*
 * mremap() moves within one VMA; the program may have split its range (madvise, mprotect), so on
 * EFAULT both halves are tried.
 */
static void out_by_mremap(struct nhi_lx_map *map, struct nhi_run *run, uint32_t first, uint32_t nr)
{
	struct nhi_lx *lx = map->lx;
	uintptr_t addr = run->addr + nhi_bytes(lx, first), kept = nhi_kept(map, addr);
	size_t len = nhi_bytes(lx, nr);
	struct nhi_own own = { .kind = NHI_OWN_REMAP, .start = addr, .to = kept, .len = len };
	const long arg[5] = { (long)addr, (long)len, (long)len,
			      MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, (long)kept };
	long ret = -ENOMEM;

	if (map->store->pieces < lx->max_map_count / 4)
		ret = nhi_own_call(lx, &own, SYS_mremap, arg);
	if (ret == -EFAULT && nr > 1 && !run->huge) {
		out_by_mremap(map, run, first, nr / 2);
		out_by_mremap(map, run, first + nr / 2, nr - nr / 2);
		return;
	}
	if (nhi_sys_failed(ret)) {
		nhi_run_status(run, first, first + nr, status_of(ret));
		return;
	}
	/* The shadow is ours to read, whatever the program may do (execute-only: by protection key). */
	if (!(run->prot & NHI_PROT_READ))
		(void)nhi_sys3(SYS_mprotect, kept, len, PROT_READ | PROT_WRITE);
	/* The registration went along: a watched shadow would raise events where nobody can wait. */
	(void)nhi_uffd_unregister(lx, &lx->events, kept, len);
	map->store->plain_registered = false;
	map->store->pieces++;
	map->touched_lo = nhi_min(map->touched_lo, kept);
	map->touched_hi = nhi_max(map->touched_hi, kept + len);
	nhi_run_status(run, first, first + nr, NHI_PAGE_OK);
}

static int plain_register(struct nhi_lx_map *map)
{
	struct nhi_store *store = map->store;
	int err;

	if (store->plain_registered)
		return 0;
	err = nhi_uffd_register(map->lx, &map->lx->plain, store->base, store->len,
				UFFDIO_REGISTER_MODE_MISSING);
	store->plain_registered = !err;
	return err;
}

/*
 * The page at @addr stopped a MOVE, or so the kernel says. Linux 6.18 forgets, after one -EAGAIN of its
 * own, that it went on: it moves the page and then finds it in its place, EEXIST. (With
 * MODE_ALLOW_SRC_HOLES the same mistake makes it loop for ever if the page vanished in between; that
 * is why the mode is not used.) Nothing else leaves pages in the shadow that are not marked.
 */
static bool was_moved(struct nhi_lx_map *map, uintptr_t addr, int err)
{
	uint8_t info = 0;

	if (err != -EEXIST)
		return false;
	nhi_pagemap_probe(map->lx, addr, 1, &info);
	return !(info & NHI_INFO_PRESENT);
}

/* The page at @addr stopped a MOVE; can something be done about it? true: try again. */
static bool mend(struct nhi_lx_map *map, uintptr_t addr, int err, unsigned int prot)
{
	const size_t page = map->lx->os.page_size;

	if (err == -EEXIST) /* left behind by a copy that lost a race with an event */
		return !nhi_sys3(SYS_madvise, nhi_kept(map, addr), page, MADV_DONTNEED);
	if (err == -EBUSY && prot & NHI_PROT_WRITE) {
		/* Once shared with a child that is gone: exclusive again after a write fault. */
		return !nhi_sys3(SYS_madvise, addr, page, MADV_POPULATE_WRITE);
	}
	if (err == -EINVAL) /* the shadow must have the protection of the range */
		return !nhi_sys3(SYS_mprotect, nhi_kept(map, addr), page, prot);
	return false;
}

/*
 * A huge page was no longer one and went in part: the rest follows, for the run has one fate; if it
 * cannot, what went comes back.
 */
static void finish_torn(struct nhi_lx_map *map, struct nhi_run *run, uint32_t first)
{
	struct nhi_run part = *run;

	out_by_mremap(map, run, first, run->nr_pages - first);
	if (run->status[0] == NHI_PAGE_OK)
		return;
	part.nr_pages = first;
	while (nhi_shadow_restore(map, &part) == -EAGAIN)
		(void)nhi_sys0(SYS_sched_yield);
	if (part.status[0] == NHI_PAGE_STUCK)
		(void)nhi_shadow_restore_hard(map, &part);
	run->status[0] = NHI_PAGE_BUSY;
}

static void out_by_move(struct nhi_lx_map *map, struct nhi_run *run)
{
	struct nhi_lx *lx = map->lx;
	uint32_t nr = run->nr_pages, first = 0, limit = nr, retries = 0;
	uint32_t mended = UINT32_MAX;

	while (first < nr) {
		uintptr_t addr = run->addr + nhi_bytes(lx, first);
		uint32_t n = nhi_min(limit, nr - first), done;
		int err = nhi_uffd_move(lx, &lx->plain, nhi_kept(map, addr), addr, n, 0, &done);

		nhi_run_status(run, first, first + done, NHI_PAGE_OK);
		first += done;
		if (!err)
			continue;
		if (err == -EAGAIN && retries++ < MOVE_RETRIES) {
			(void)nhi_sys0(SYS_sched_yield);
			continue;
		}
		if (err == -EINVAL && n > 1 && !run->huge) {
			limit = n / 2; /* a boundary of VMAs somewhere inside */
			continue;
		}
		addr = run->addr + nhi_bytes(lx, first);
		if (err == -ENOENT || was_moved(map, addr, err)) {
			/* A hole in a huge page that is none any more: marked with the rest. */
			bool hole = err == -ENOENT && !run->huge;

			nhi_run_status(run, first, first + 1, hole ? NHI_PAGE_HOLE : NHI_PAGE_OK);
			first++;
			continue;
		}
		if (mended != first && mend(map, addr, err, run->prot)) {
			mended = first;
			continue;
		}
		if (run->huge && first) {
			finish_torn(map, run, first);
			return;
		}
		nhi_run_status(run, first, first + 1, status_of(err));
		if (run->huge)
			return;
		first++;
	}
}

/* Take back what was called marked but is a hole: the shadow tells, and it alone. */
static long count_marked(struct nhi_lx_map *map, struct nhi_run *run)
{
	uint8_t info[NHI_RUN_MAX];
	long marked = 0;

	if (run->huge)
		return run->status[0] == NHI_PAGE_OK ? run->nr_pages : 0;
	for (uint32_t first = 0; first < run->nr_pages; first += NHI_RUN_MAX) {
		uint32_t n = nhi_min(run->nr_pages - first, (uint32_t)NHI_RUN_MAX);
		uintptr_t kept = nhi_kept(map, run->addr) + nhi_bytes(map->lx, first);
		bool known;

		for (uint32_t i = 0; i < n; i++)
			info[i] = 0;
		known = !nhi_pagemap_query(map->lx, kept, n, info);
		for (uint32_t i = 0; i < n; i++) {
			uint8_t *status = &run->status[first + i];

			if (*status == NHI_PAGE_OK && known && !(info[i] & NHI_INFO_PRESENT))
				*status = NHI_PAGE_HOLE;
			marked += *status == NHI_PAGE_OK;
		}
	}
	return marked;
}

static long mark(struct nhi_lx_map *map, struct nhi_run *run)
{
	struct nhi_lx *lx = map->lx;
	bool can_move = lx->plain.features & UFFD_FEATURE_MOVE && run->prot & NHI_PROT_WRITE;
	int err = nhi_watch(map, run->addr, run->addr + nhi_bytes(lx, run->nr_pages),
			    UFFDIO_REGISTER_MODE_MISSING);

	if (err) {
		/* EBUSY: watched by a userfaultfd of the program itself */
		nhi_run_status(run, 0, run->nr_pages,
			       err == -EBUSY ? NHI_PAGE_UNSUPPORTED : status_of(err));
		return 0;
	}
	if (can_move &&
	    (!nhi_load_relaxed(&map->store->copy_safe) || run->nr_pages <= MOVE_MAX_PAGES) &&
	    !plain_register(map))
		out_by_move(map, run);
	else
		out_by_mremap(map, run, 0, run->nr_pages);
	return count_marked(map, run);
}

static int nodes(struct nhi_lx_map *map, uintptr_t addr, uint32_t nr, uint8_t *out)
{
	const size_t page = map->lx->os.page_size;
	int err = nhi_place_query(nhi_kept(map, addr), page, nr, out);
	uint32_t i = 0;

	/* Those that are not in the shadow are where they belong. */
	while (!err && i < nr) {
		uint32_t first;

		while (i < nr && out[i] != NHI_UNKNOWN_NODE)
			i++;
		first = i;
		while (i < nr && out[i] == NHI_UNKNOWN_NODE)
			i++;
		if (first < i)
			err = nhi_place_query(addr + first * page, page, i - first, out + first);
	}
	return err;
}

static int zero_fill(struct nhi_lx_map *map, uintptr_t addr)
{
	int ret = nhi_uffd_zero(map->lx, addr);

	/* Not registered (any more): the kernel fills it by itself. */
	return ret == -EAGAIN || ret > 0 ? ret : 0;
}

/* Signal path: a marker that holds the lock looks for itself in mark_end(). */
static void quiet(struct nhi_lx_map *map)
{
	if (!nhi_futex_trylock(&map->lock))
		return;
	/* Marks are counted before they are made, and made under the lock. */
	if (!nhi_load_acquire(&map->pub.marked))
		nhi_unwatch_all(map, false);
	nhi_futex_unlock(&map->lock);
}

static void discard(struct nhi_lx_map *map, uintptr_t addr, uint32_t nr)
{
	(void)nhi_sys3(SYS_madvise, nhi_kept(map, addr), nhi_bytes(map->lx, nr), MADV_DONTNEED);
}

const struct nhi_trap_ops nhi_trap_shadow = {
	.query = query,
	.mark_begin = mark_begin,
	.mark_end = mark_end,
	.mark = mark,
	.nodes = nodes,
	.restore = nhi_shadow_restore,
	.migrate = nhi_shadow_migrate,
	.restore_hard = nhi_shadow_restore_hard,
	.zero_fill = zero_fill,
	.quiet = quiet,
	.discard = discard,
};
