// SPDX-License-Identifier: MIT
/*
 * The shadow trap, coming back: the ladder of ways to restore a page, and migration.
 *
 *   1  UFFDIO_MOVE back (6.8): the page itself. Refused (EBUSY) while pinned or shared, and (EINVAL)
 *	where the program changed the flags of the range since: mprotect, mlock2.
 *   2  UFFDIO_COPY, then the page in the shadow is dropped: only where copying is safe.
 *   3  mremap() of the page over the range: always the page itself, refuses nothing; but that part
 *	is not watched any more, and it raises an event, so it is restore_hard().
 *
 * The first two run in the handler of a fault: system calls only, little stack.
 */
#include "trap_shadow.h"

#include <string.h>
#include <sys/mman.h>

static void drop(struct nhi_lx_map *map, uintptr_t addr, uint32_t nr)
{
	(void)nhi_sys3(SYS_madvise, nhi_kept(map, addr), nhi_bytes(map->lx, nr), MADV_DONTNEED);
}

/* A hole: zeros from now on. */
static int restore_hole(struct nhi_lx_map *map, struct nhi_run *run, uint32_t at)
{
	int err = nhi_uffd_zero(map->lx, run->addr + nhi_bytes(map->lx, at));

	if (err == -EAGAIN)
		return err;
	nhi_run_status(run, at, at + 1, NHI_PAGE_HOLE);
	return 0;
}

/*
 * Rung 1 for pages [*at, end). Return: 0 all done; -EAGAIN; -EBUSY, -EINVAL: MOVE does not do it
 * for page *at.
 */
static int rung_move(struct nhi_lx_map *map, struct nhi_run *run, uint32_t *at, uint32_t end)
{
	struct nhi_lx *lx = map->lx;
	uint32_t limit = end - *at;

	while (*at < end) {
		uintptr_t addr = run->addr + nhi_bytes(lx, *at);
		uint32_t n = nhi_min(limit, end - *at), done;
		int err = nhi_uffd_move(lx, &lx->events, addr, nhi_kept(map, addr), n, 0, &done);

		nhi_run_status(run, *at, *at + done, NHI_PAGE_OK);
		run->ladder[0] += done;
		*at += done;
		if (!err)
			continue;
		if (err == -EEXIST) {
			/* A copy that was there before an event stopped us; the shadow's goes. */
			drop(map, run->addr + nhi_bytes(lx, *at), 1);
			nhi_run_status(run, *at, *at + 1, NHI_PAGE_OK);
		} else if (err == -ENOENT) {
			err = restore_hole(map, run, *at);
			if (err)
				return err;
		} else if (err == -EINVAL && n > 1) {
			limit = n / 2; /* a boundary of VMAs, perhaps */
			continue;
		} else {
			return err == -EAGAIN || err == -EBUSY ? err : -EINVAL;
		}
		(*at)++;
	}
	return 0;
}

/* EFAULT may mean, too, that the shadow cannot be read: memory that was execute-only when marked. */
static bool is_kept(struct nhi_lx_map *map, uintptr_t addr)
{
	uint8_t info = 0;

	nhi_pagemap_probe(map->lx, nhi_kept(map, addr), 1, &info);
	return info & NHI_INFO_PRESENT;
}

/*
 * Rung 2, also the fast way to migrate: new pages where the calling thread's policy puts them.
 * Return: 0; -EAGAIN; what stopped it at page *at.
 */
static int rung_copy(struct nhi_lx_map *map, struct nhi_run *run, uint32_t *at, uint32_t end,
		     uint32_t *copied)
{
	struct nhi_lx *lx = map->lx;

	while (*at < end) {
		uintptr_t addr = run->addr + nhi_bytes(lx, *at);
		uint32_t done;
		int err = nhi_uffd_copy(lx, addr, nhi_kept(map, addr), end - *at, &done);

		if (err == -EEXIST) {
			done++;
			err = 0;
		}
		if (done) {
			drop(map, addr, done);
			nhi_run_status(run, *at, *at + done, NHI_PAGE_OK);
			*copied += done;
			*at += done;
		}
		if (err == -EFAULT && !is_kept(map, run->addr + nhi_bytes(lx, *at))) {
			/* a hole in a shadow that is watched itself */
			err = restore_hole(map, run, *at);
			(*at)++;
		}
		if (err)
			return err;
	}
	return 0;
}

/*
 * Copied pages should be on @node; the allocator falls back to other nodes where that one is full,
 * and a policy of the range outweighs that of the thread. Asking for the last page is enough to
 * notice, and only then for all.
 */
static void verify(struct nhi_lx_map *map, struct nhi_run *run, uint32_t at, uint32_t end, int node)
{
	const size_t page = map->lx->os.page_size;
	uint8_t last = NHI_UNKNOWN_NODE, where[NHI_RUN_MAX];

	end = nhi_min(end, at + (uint32_t)NHI_RUN_MAX);
	if (at >= end || nhi_place_query(run->addr + (end - 1) * page, page, 1, &last) ||
	    last == node)
		return;
	memset(where, NHI_UNKNOWN_NODE, end - at);
	(void)nhi_place_query(run->addr + at * page, page, end - at, where);
	for (uint32_t i = at; i < end; i++) {
		if (run->status[i] == NHI_PAGE_OK && where[i - at] != node)
			nhi_place_move(run->addr + i * page, page, 1, node, &run->status[i]);
	}
}

/* Rung 2 into pages of @node; as rung_copy(). */
static int copy_to(struct nhi_lx_map *map, struct nhi_run *run, uint32_t *at, uint32_t end,
		   int node, uint32_t *copied)
{
	struct nhi_lx *lx = map->lx;
	const uint32_t first = *at;
	struct nhi_place_policy saved;
	bool anywhere = lx->os.emulated || nhi_place_is_local(lx, node);
	int err = anywhere ? 0 : nhi_place_begin(&saved, node);

	if (err)
		return err;
	err = rung_copy(map, run, at, end, copied);
	if (!anywhere)
		nhi_place_end(&saved);
	if (!lx->os.emulated)
		verify(map, run, first, *at, node);
	return err;
}

/* Rung 2 for a restore: each page onto the node that it is on. */
static int copy_in_place(struct nhi_lx_map *map, struct nhi_run *run, uint32_t *at, uint32_t end)
{
	struct nhi_lx *lx = map->lx;
	uint8_t node[64];
	int err = 0;

	if (lx->os.emulated)
		return rung_copy(map, run, at, end, &run->ladder[1]);
	while (*at < end && !err) {
		uint32_t n = nhi_min(end - *at, (uint32_t)NHI_ARRAY_SIZE(node)), same = 1;

		memset(node, NHI_UNKNOWN_NODE, n);
		(void)nhi_place_query(nhi_kept(map, run->addr + nhi_bytes(lx, *at)),
				      lx->os.page_size, n, node);
		while (same < n && node[same] == node[0])
			same++;
		err = node[0] == NHI_UNKNOWN_NODE ?
			      rung_copy(map, run, at, *at + same, &run->ladder[1]) :
			      copy_to(map, run, at, *at + same, node[0], &run->ladder[1]);
	}
	return err;
}

/* Pages [at, end): rungs 1 and 2. Return: 0, statuses tell; -EAGAIN. */
static int restore_part(struct nhi_lx_map *map, struct nhi_run *run, uint32_t at, uint32_t end)
{
	bool can_move = map->lx->events.features & UFFD_FEATURE_MOVE;

	while (at < end) {
		int err = -EINVAL;
		uint32_t stop = end;

		if (can_move)
			err = rung_move(map, run, &at, end);
		if (!err || err == -EAGAIN)
			return err;
		if (err == -EBUSY)
			stop = at + 1; /* the others may well be moved */
		if (nhi_load_relaxed(&map->store->copy_safe))
			err = copy_in_place(map, run, &at, stop);
		if (err == -EAGAIN)
			return err;
		if (err) {
			nhi_run_status(run, at, stop, NHI_PAGE_STUCK);
			if (run->huge)
				return 0;
			at = stop;
		}
	}
	return 0;
}

int nhi_shadow_restore(struct nhi_lx_map *map, struct nhi_run *run)
{
	return restore_part(map, run, 0, run->nr_pages);
}

/* Pages [at, end) stay where they are, for this reason. */
static int restore_for(struct nhi_lx_map *map, struct nhi_run *run, uint32_t at, uint32_t end,
		       enum nhi_page_status why)
{
	int err = restore_part(map, run, at, end);

	for (uint32_t i = at; i < (run->huge ? 1 : end); i++) {
		if (run->status[i] == NHI_PAGE_OK)
			run->status[i] = (uint8_t)why;
	}
	return err;
}

/* ------------------------------------------------------------------------------- migration */

static int migrate_by_copy(struct nhi_lx_map *map, struct nhi_run *run)
{
	uint32_t at = 0;
	int err = copy_to(map, run, &at, run->nr_pages, run->node, &run->copied);

	if (!err || err == -EAGAIN)
		return err;
	return restore_for(map, run, at, run->nr_pages,
			   err == -ENOMEM ? NHI_PAGE_NOMEM : NHI_PAGE_OTHER);
}

/* The kernel moves the page in the shadow, then it comes back. */
static int migrate_by_kernel(struct nhi_lx_map *map, struct nhi_run *run)
{
	struct nhi_lx *lx = map->lx;
	uint32_t words = run->huge ? 1 : nhi_min(run->nr_pages, (uint32_t)NHI_RUN_MAX);
	uint8_t moved[NHI_RUN_MAX];
	int err;

	memset(moved, NHI_PAGE_OK, words);
	if (!lx->os.emulated)
		nhi_place_move(nhi_kept(map, run->addr), lx->os.page_size, words, run->node, moved);
	err = restore_part(map, run, 0, run->nr_pages);
	for (uint32_t i = 0; i < words; i++) {
		if (run->status[i] != NHI_PAGE_OK)
			continue;
		if (lx->os.emulated)
			nhi_place_pretend(lx, run->addr + nhi_bytes(lx, i),
					  nhi_bytes(lx, run->huge ? run->nr_pages : 1));
		else if (moved[i] != NHI_PAGE_HOLE)
			run->status[i] = moved[i];
	}
	return err;
}

/*
 * A huge page: copied into a recycled one of the target node, which is then moved into place; the
 * old one is kept for the next migration to its node. -ENOENT: not this way.
 */
static int migrate_huge(struct nhi_lx_map *map, struct nhi_run *run)
{
	struct nhi_lx *lx = map->lx;
	uint8_t from = 0;
	uint32_t done;
	uintptr_t page;
	int slot, err;

	if (!(lx->events.features & UFFD_FEATURE_MOVE) ||
	    !nhi_load_relaxed(&map->store->copy_safe) ||
	    (run->prot & (NHI_PROT_READ | NHI_PROT_WRITE)) != run->prot)
		return -ENOENT;
	if (!lx->os.emulated &&
	    nhi_place_query(nhi_kept(map, run->addr), lx->os.page_size, 1, &from))
		return -ENOENT;
	page = nhi_pool_get(lx, run->node, &slot);
	if (!page)
		return -ENOENT;
	memcpy((void *)page, (const void *)nhi_kept(map, run->addr), lx->os.huge_size);
	err = nhi_uffd_move(lx, &lx->events, run->addr, page, run->nr_pages, 0, &done);
	if (err && !done) {
		nhi_pool_put(lx, slot, false, run->node);
		return err == -EAGAIN ? err : -ENOENT;
	}
	nhi_pool_put(lx, slot, true, run->node);
	if (err) /* torn: what is missing is in the shadow still, and what is not there goes */
		return rung_copy(map, run, &done, run->nr_pages, &run->copied);
	nhi_pool_recycle(lx, nhi_kept(map, run->addr), from);
	run->status[0] = NHI_PAGE_OK;
	run->copied = run->nr_pages;
	return 0;
}

int nhi_shadow_migrate(struct nhi_lx_map *map, struct nhi_run *run)
{
	struct nhi_lx *lx = map->lx;

	if (run->huge) {
		int err = migrate_huge(map, run);

		if (err != -ENOENT)
			return err;
		/* By the kernel as one, rather than by 512 copies; it comes back by rung 1 or 3. */
		if (!lx->os.emulated || lx->events.features & UFFD_FEATURE_MOVE)
			return migrate_by_kernel(map, run);
	}
	/* A policy of the range outweighs that of the thread: then only the kernel can say where. */
	if (nhi_load_relaxed(&map->store->copy_safe) &&
	    (lx->os.emulated || !nhi_load_relaxed(&map->has_policy)))
		return migrate_by_copy(map, run);
	return migrate_by_kernel(map, run);
}

/* ---------------------------------------------------------------------------------- rung 3 */

static int rung_mremap(struct nhi_lx_map *map, struct nhi_run *run, uint32_t first, uint32_t nr)
{
	struct nhi_lx *lx = map->lx;
	uintptr_t addr = run->addr + nhi_bytes(lx, first), kept = nhi_kept(map, addr);
	size_t len = nhi_bytes(lx, nr);
	unsigned int flags = nhi_vma_flags(addr);
	/* The target is unmapped on the way. DONTUNMAP keeps the shadow's address space ours. */
	struct nhi_own own = { .kind = NHI_OWN_UNMAP, .start = addr, .len = len };
	const long arg[5] = { (long)kept, (long)len, (long)len,
			      MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, (long)addr };
	long ret = nhi_own_call(lx, &own, SYS_mremap, arg);
	int err;

	if (ret == -EFAULT && nr > 1) { /* more than one VMA of the shadow */
		err = rung_mremap(map, run, first, nr / 2);
		if (!err)
			err = rung_mremap(map, run, first + nr / 2, nr - nr / 2);
		return err;
	}
	if (nhi_sys_failed(ret))
		return (int)ret;
	/* The VMA came with the flags of the shadow; give it those of the range. */
	(void)nhi_sys3(SYS_mprotect, addr, len, run->prot);
	if (!(flags & NHI_VMA_DONTFORK))
		(void)nhi_sys3(SYS_madvise, addr, len, MADV_DOFORK);
	if (flags & NHI_VMA_LOCKED)
		(void)nhi_sys3(SYS_mlock2, addr, len, MLOCK_ONFAULT);
	nhi_name_range(addr, len, NULL);
	nhi_uffd_wake(lx, addr, len);
	nhi_run_status(run, first, first + nr, NHI_PAGE_OK);
	run->ladder[2] += nr;
	return 0;
}

/*
 * A huge page may have come back in part: pages that are in place already must not be buried under
 * what is left in the shadow.
 */
int nhi_shadow_restore_hard(struct nhi_lx_map *map, struct nhi_run *run)
{
	uint8_t info[NHI_RUN_MAX] = { 0 };
	uint32_t nr = nhi_min(run->nr_pages, (uint32_t)NHI_RUN_MAX), first = 0;
	int err = 0;

	if (!run->huge)
		return rung_mremap(map, run, 0, run->nr_pages);
	nhi_pagemap_probe(map->lx, run->addr, nr, info);
	for (uint32_t i = 0; i <= nr && !err; i++) {
		if (i < nr && !(info[i] & NHI_INFO_PRESENT))
			continue;
		if (i > first)
			err = rung_mremap(map, run, first,
					  i == nr ? run->nr_pages - first : i - first);
		first = i + 1;
	}
	if (!err)
		run->status[0] = NHI_PAGE_OK;
	return err;
}
