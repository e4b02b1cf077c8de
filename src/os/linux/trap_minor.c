// SPDX-License-Identifier: MIT
/*
 * The minor trap: shared memory (shmem, memfd). Marking drops the program's mapping of the pages, not
 * the pages: they stay in the page cache, whatever happens to us. The range is registered MINOR, so
 * the next touch of a page that is in the cache is told; a page that is not there is filled by the
 * kernel as ever.
 *
 * A second mapping of the same memory (the alias) is what pages are moved through.
 */
#include "internal.h"

#include <string.h>
#include <sys/mman.h>

#define CHUNK 256

/* What is in the page cache; pages in swap look like holes, and are left alone. */
static int query(struct nhi_lx_map *map, uintptr_t addr, uint32_t nr, uint8_t *info)
{
	uint8_t core[CHUNK];

	for (uint32_t at = 0; at < nr; at += CHUNK) {
		uint32_t n = nhi_min(nr - at, (uint32_t)CHUNK);
		long err = nhi_sys3(SYS_mincore, addr + nhi_bytes(map->lx, at),
				    nhi_bytes(map->lx, n), core);

		if (err)
			return (int)err;
		for (uint32_t i = 0; i < n; i++)
			info[at + i] |= core[i] & 1 ? NHI_INFO_PRESENT : 0;
	}
	return 0;
}

static int mark_begin(struct nhi_lx_map *map)
{
	(void)map;
	return 0;
}

static void mark_end(struct nhi_lx_map *map)
{
	if (!nhi_load_acquire(&map->pub.marked))
		nhi_unwatch_all(map, false);
}

static long mark(struct nhi_lx_map *map, struct nhi_run *run)
{
	struct nhi_lx *lx = map->lx;
	size_t len = nhi_bytes(lx, run->nr_pages);
	struct nhi_own own = { .kind = NHI_OWN_REMOVE, .start = run->addr, .len = len };
	const long arg[5] = { (long)run->addr, (long)len, MADV_DONTNEED };
	uint8_t info[CHUNK];
	long marked = 0, err;

	err = nhi_watch(map, run->addr, run->addr + len, UFFDIO_REGISTER_MODE_MINOR);
	if (!err)
		err = nhi_own_call(lx, &own, SYS_madvise, arg);
	if (err) {
		nhi_run_status(run, 0, run->nr_pages,
			       err == -ENOMEM ? NHI_PAGE_MAPS : NHI_PAGE_UNSUPPORTED);
		return 0;
	}
	if (run->huge) {
		run->status[0] = NHI_PAGE_OK;
		return run->nr_pages;
	}
	for (uint32_t at = 0; at < run->nr_pages; at += CHUNK) {
		uint32_t n = nhi_min(run->nr_pages - at, (uint32_t)CHUNK);

		memset(info, 0, n);
		err = query(map, run->addr + nhi_bytes(lx, at), n, info);
		for (uint32_t i = 0; i < n; i++) {
			bool there = err || info[i] & NHI_INFO_PRESENT;

			run->status[at + i] = there ? NHI_PAGE_OK : NHI_PAGE_HOLE;
			marked += there;
		}
	}
	return marked;
}

/* Map the pages in the alias, so that the kernel finds them there. Beyond the end of file: fails. */
static void populate_alias(struct nhi_lx_map *map, uintptr_t addr, uint32_t nr)
{
	(void)nhi_sys3(SYS_madvise, nhi_kept(map, addr), nhi_bytes(map->lx, nr),
		       MADV_POPULATE_READ);
}

static int nodes(struct nhi_lx_map *map, uintptr_t addr, uint32_t nr, uint8_t *out)
{
	uint8_t info[CHUNK];

	/* Populating would fill the holes of the file; so page by page where there are any. */
	for (uint32_t at = 0; at < nr; at += CHUNK) {
		uint32_t n = nhi_min(nr - at, (uint32_t)CHUNK), first = 0;

		memset(info, 0, n);
		if (query(map, addr + nhi_bytes(map->lx, at), n, info))
			continue;
		for (uint32_t i = 0; i <= n; i++) {
			if (i < n && info[i] & NHI_INFO_PRESENT)
				continue;
			if (i > first)
				populate_alias(map, addr + nhi_bytes(map->lx, at + first),
					       i - first);
			first = i + 1;
		}
	}
	return nhi_place_query(nhi_kept(map, addr), map->lx->os.page_size, nr, out);
}

static int restore(struct nhi_lx_map *map, struct nhi_run *run)
{
	struct nhi_lx *lx = map->lx;
	uint32_t at = 0;

	while (at < run->nr_pages) {
		uintptr_t addr = run->addr + nhi_bytes(lx, at);
		uint32_t done;
		int err = nhi_uffd_continue(lx, addr, run->nr_pages - at, &done);

		nhi_run_status(run, at, at + done, NHI_PAGE_OK);
		at += done;
		if (!err)
			continue;
		if (err == -EAGAIN)
			return err;
		/*
		 * EEXIST: mapped already. EFAULT: dropped from the page cache meanwhile, a hole; the
		 * kernel fills it. Anything else: not watched (any more); the kernel maps it.
		 */
		nhi_run_status(run, at, at + 1, err == -EFAULT ? NHI_PAGE_HOLE : NHI_PAGE_OK);
		nhi_uffd_wake(lx, addr, lx->os.page_size);
		at++;
	}
	return 0;
}

static int migrate(struct nhi_lx_map *map, struct nhi_run *run)
{
	struct nhi_lx *lx = map->lx;
	uint32_t words = run->huge ? 1 : nhi_min(run->nr_pages, (uint32_t)CHUNK * 2);
	uint8_t moved[CHUNK * 2];
	int err;

	memset(moved, NHI_PAGE_OK, words);
	/* Before it is moved: pages that then could not be mapped would be found local next time. */
	if (nhi_uffd_event_pending(lx))
		return -EAGAIN;
	if (!lx->os.emulated) {
		uint8_t ignored[CHUNK * 2];

		(void)nodes(map, run->addr, words, ignored);
		nhi_place_move(nhi_kept(map, run->addr), lx->os.page_size, words, run->node, moved);
	} else {
		/* Through the alias, where reading cannot fault on a mark of ours. */
		populate_alias(map, run->addr, run->nr_pages);
	}
	err = restore(map, run);
	for (uint32_t i = 0; i < words; i++) {
		if (run->status[i] != NHI_PAGE_OK)
			continue;
		if (lx->os.emulated)
			nhi_place_pretend(lx, nhi_kept(map, run->addr) + nhi_bytes(lx, i),
					  nhi_bytes(lx, run->huge ? run->nr_pages : 1));
		else if (moved[i] != NHI_PAGE_HOLE)
			run->status[i] = moved[i];
	}
	return err;
}

static int restore_hard(struct nhi_lx_map *map, struct nhi_run *run)
{
	/* restore() leaves nothing behind: where CONTINUE fails, the kernel maps the page itself. */
	return restore(map, run);
}

/* A page that is in the cache and not mapped here, though nobody marked it: others filled it. */
static int zero_fill(struct nhi_lx_map *map, uintptr_t addr)
{
	uint32_t done;
	int err = nhi_uffd_continue(map->lx, addr, 1, &done);

	if (err == -EAGAIN)
		return err;
	if (err)
		nhi_uffd_wake(map->lx, addr, map->lx->os.page_size);
	return 0;
}

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
	(void)map;
	(void)addr;
	(void)nr; /* the pages are the file's */
}

const struct nhi_trap_ops nhi_trap_minor = {
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
