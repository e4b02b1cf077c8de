// SPDX-License-Identifier: MIT
/* Maps: attaching a trap to a mapping, its store, detaching, and what a fork leaves of them. */
#include "internal.h"

#include <string.h>
#include <sys/mman.h>

/* --------------------------------------------------------------------------------- stores */

/*
 * Address space congruent to the range modulo the huge page size, so that a huge page stays one when
 * it moves. MAP_NORESERVE: the pages are those of the range, which are accounted there.
 */
static int shadow_reserve(struct nhi_lx_map *map)
{
	struct nhi_store *store = map->store;
	const uintptr_t huge = map->lx->os.huge_size;
	uintptr_t at, base;
	long ret = nhi_sys6(SYS_mmap, 0, store->len + huge, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (nhi_sys_failed(ret))
		return (int)ret;
	at = (uintptr_t)ret;
	base = nhi_round_down(at, huge) + (map->pub.start & (huge - 1));
	if (base < at)
		base += huge;
	if (base > at)
		(void)nhi_sys2(SYS_munmap, at, base - at);
	if (at + huge > base)
		(void)nhi_sys2(SYS_munmap, base + store->len, at + huge - base);
	store->base = base;
	return 0;
}

/* A second mapping of the same shared memory: an old size of 0 duplicates (mremap(2)). */
static int alias_make(struct nhi_lx_map *map)
{
	long ret = nhi_sys5(SYS_mremap, map->pub.start, 0, map->store->len, MREMAP_MAYMOVE, 0);

	if (nhi_sys_failed(ret))
		return (int)ret;
	map->store->base = (uintptr_t)ret;
	return 0;
}

static void store_dress(struct nhi_store *store)
{
	/* A child finds nothing marked; without this, fork would share the pages kept here. */
	(void)nhi_sys3(SYS_madvise, store->base, store->len, MADV_DONTFORK);
	nhi_name_range(store->base, store->len, "numahint shadow");
}

int nhi_store_ready(struct nhi_lx_map *map)
{
	struct nhi_store *store = map->store;
	int err;

	if (!store || store->base)
		return 0;
	err = map->pub.trap == NHI_TRAP_SHADOW ? shadow_reserve(map) : alias_make(map);
	if (err)
		return err;
	store_dress(store);
	store->plain_registered = false;
	store->pieces = 0;
	map->delta = (intptr_t)(store->base - map->pub.start);
	return 0;
}

int nhi_store_clear(struct nhi_lx_map *map)
{
	struct nhi_store *store = map->store;
	long ret = nhi_sys6(SYS_mmap, store->base, store->len, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

	if (nhi_sys_failed(ret))
		return (int)ret;
	store_dress(store);
	store->plain_registered = false;
	store->pieces = 0;
	return 0;
}

/* Caller holds maps_lock. */
static void store_put(struct nhi_store *store)
{
	if (!store || --store->refs)
		return;
	if (store->base)
		(void)nhi_sys2(SYS_munmap, store->base, store->len);
	nhi_pages_free(store, sizeof(*store));
}

/* ----------------------------------------------------------------------------- attaching */

/* The trap for this mapping here, or -EOPNOTSUPP. */
static int choose(const struct nhi_lx *lx, const struct nhi_mapping *m)
{
	const enum nhi_trap asked = lx->options.trap;
	const bool any = asked == NHI_TRAP_AUTO;

	if (m->kind == NHI_KIND_SHMEM && m->shared)
		return (any || asked == NHI_TRAP_MINOR) && lx->caps.usable &&
				       lx->caps.features & UFFD_FEATURE_MINOR_SHMEM ?
			       NHI_TRAP_MINOR :
			       -EOPNOTSUPP;
	if (m->kind != NHI_KIND_ANON || m->shared)
		return -EOPNOTSUPP;
	if ((any || asked == NHI_TRAP_SHADOW) && lx->caps.usable)
		return NHI_TRAP_SHADOW;
	if ((any || asked == NHI_TRAP_MPROTECT) && lx->options.delivery != NHI_DELIVERY_MONITOR)
		return NHI_TRAP_MPROTECT;
	return -EOPNOTSUPP;
}

/* Descriptors and threads; caller holds maps_lock. */
static int ready_locked(struct nhi_lx *lx)
{
	int err = nhi_uffd_open(lx);

	if (!err)
		err = nhi_monitor_start(lx);
	if (!err)
		err = nhi_helper_start(lx);
	return err;
}

int nhi_lx_ready(struct nhi_lx *lx)
{
	int err;

	nhi_futex_lock(&lx->maps_lock);
	err = ready_locked(lx);
	nhi_futex_unlock(&lx->maps_lock);
	return err;
}

static struct nhi_lx_map *map_make(struct nhi_lx *lx, uintptr_t start, uintptr_t end,
				   enum nhi_trap trap, enum nhi_kind kind)
{
	size_t granules = ((end - 1) >> lx->huge_shift) - (start >> lx->huge_shift) + 1;
	const bool notes = trap == NHI_TRAP_MPROTECT && lx->blind;
	size_t bytes = sizeof(struct nhi_lx_map) + (granules + 63) / 64 * 8;
	struct nhi_lx_map *map;

	bytes += notes ? (end - start) >> lx->page_shift : 0;
	bytes = nhi_round_up(bytes, lx->os.page_size);
	map = nhi_pages_alloc(bytes, "numahint map");
	if (!map)
		return NULL;
	map->pub.start = start;
	map->pub.end = end;
	map->pub.kind = kind;
	map->pub.trap = trap;
	map->pub.delivery = NHI_DELIVERY_THREAD;
	map->pub.refs = 1;
	map->lx = lx;
	map->bytes = bytes;
	map->trap = &nhi_trap_mprotect;
	if (notes)
		map->marked_on = (uint8_t *)(map + 1);
	if (trap == NHI_TRAP_MPROTECT)
		return map;
	map->pub.delivery = lx->delivery;
	map->trap = trap == NHI_TRAP_SHADOW ? &nhi_trap_shadow : &nhi_trap_minor;
	map->nr_granules = granules;
	map->granules = (uint64_t *)(map + 1);
	return map;
}

/* Caller holds maps_lock. */
static void link_map(struct nhi_lx *lx, struct nhi_lx_map *map)
{
	map->next = lx->maps;
	lx->maps = map;
}

int nhi_lx_attach(struct nhi_os *os, const struct nhi_mapping *mapping, struct nhi_map **ret)
{
	struct nhi_lx *lx = nhi_lx_of(os);
	int trap = choose(lx, mapping), err = 0;
	struct nhi_lx_map *map;

	if (trap < 0)
		return trap;
	map = map_make(lx, mapping->start, mapping->end, (enum nhi_trap)trap, mapping->kind);
	if (!map)
		return -ENOMEM;
	if (trap != NHI_TRAP_MPROTECT) {
		map->store = nhi_pages_alloc(sizeof(*map->store), "numahint store");
		err = map->store ? nhi_lx_ready(lx) : -ENOMEM;
		if (!err) {
			map->store->refs = 1;
			map->store->len = mapping->end - mapping->start;
			err = nhi_store_ready(map);
		}
	}
	if (err) {
		nhi_pages_free(map->store, sizeof(*map->store));
		nhi_pages_free(map, map->bytes);
		return err;
	}
	nhi_futex_lock(&lx->maps_lock);
	link_map(lx, map);
	nhi_futex_unlock(&lx->maps_lock);
	*ret = &map->pub;
	return 0;
}

void nhi_lx_detach(struct nhi_os *os, struct nhi_map *pub)
{
	struct nhi_lx *lx = nhi_lx_of(os);
	struct nhi_lx_map *map = nhi_lx_map(pub), **at;

	if (map->granules)
		nhi_unwatch_all(map, true); /* the last reference: nobody else holds the lock */
	nhi_futex_lock(&lx->maps_lock);
	for (at = &lx->maps; *at != map; at = &(*at)->next)
		;
	*at = map->next;
	store_put(map->store);
	nhi_futex_unlock(&lx->maps_lock);
	nhi_pages_free(map, map->bytes);
}

/*
 * The pages stay in the store they are in, at the distance that this makes; the place they left is
 * used by nobody until it is managed anew, with a store of its own.
 */
int nhi_lx_moved(struct nhi_os *os, struct nhi_map *pub, uintptr_t from, uintptr_t to, size_t len,
		 struct nhi_map **ret)
{
	struct nhi_lx *lx = nhi_lx_of(os);
	struct nhi_lx_map *old = nhi_lx_map(pub);
	struct nhi_lx_map *map = map_make(lx, to, to + len, pub->trap, pub->kind);

	if (!map)
		return -ENOMEM;
	map->has_policy = old->has_policy;
	nhi_futex_lock(&lx->maps_lock);
	map->store = old->store;
	if (map->store)
		map->store->refs++;
	map->delta = (intptr_t)(nhi_kept(old, from) - to);
	/* The registration went along. Too many bits do no harm. */
	for (size_t i = 0; map->granules && i < (map->nr_granules + 63) / 64; i++)
		nhi_store_relaxed(&map->granules[i], UINT64_MAX);
	link_map(lx, map);
	nhi_futex_unlock(&lx->maps_lock);
	*ret = &map->pub;
	return 0;
}

/* ----------------------------------------------------------------------------------- fork */

/* What is watched would make fork() raise an event that the child's copy of us cannot answer. */
void nhi_linux_fork_prepare(struct nhi_os *os)
{
	struct nhi_lx *lx = nhi_lx_of(os);

	nhi_futex_lock(&lx->maps_lock);
	for (struct nhi_lx_map *map = lx->maps; map; map = map->next) {
		if (map->granules)
			nhi_unwatch_all(map, true); /* the engine keeps markers out */
	}
}

void nhi_linux_fork_parent(struct nhi_os *os)
{
	nhi_futex_unlock(&nhi_lx_of(os)->maps_lock);
}

void nhi_linux_fork_child(struct nhi_os *os)
{
	struct nhi_lx *lx = nhi_lx_of(os);
	struct nhi_monitor *m = &lx->monitor;
	struct nhi_toucher me;

	nhi_lx_self(os, &me); /* under its old tid, which is still cached */
	nhi_identity_forked();
	lx->pid = (int)nhi_sys0(SYS_getpid);
	nhi_uffd_close(lx);
	for (struct nhi_lx_map *map = lx->maps; map; map = map->next) {
		nhi_store_relaxed(&map->lock, 0);
		if (map->store)
			map->store->base = 0; /* not inherited: MADV_DONTFORK */
	}
	/* The threads were not inherited either; what they were doing does not matter here. */
	nhi_pages_free(m->events.msg, m->events.max * sizeof(*m->events.msg));
	nhi_pages_free(m->faults.msg, m->faults.max * sizeof(*m->faults.msg));
	memset(m, 0, sizeof(*m));
	memset(&lx->helper, 0, sizeof(lx->helper));
	memset(&lx->pool, 0, sizeof(lx->pool));
	lx->pagemap_tid = 0;
	if (lx->os.emulated)
		(void)nhi_linux_set_node(os, me.node);
	nhi_store_relaxed(&lx->watch_lock, 0);
	nhi_store_relaxed(&lx->maps_lock, 0);
}
