// SPDX-License-Identifier: MIT
/*
 * Recycled huge pages. Migrating a huge page by copy needs another one; to allocate and clear it
 * costs more than the copy, and milliseconds when memory is fragmented. So the page that a migration
 * frees becomes the target of the next one to its node.
 *
 * A slot is a huge page's worth of address space. The first half of them is registered with the
 * plain descriptor, so that UFFDIO_MOVE can put a page there; the other half is not, so that it can
 * be filled by touching when there is nothing to recycle.
 *
 *	slot: EMPTY -> BUSY [get, recycle] -> EMPTY or FULL + node [put, recycle];  FULL -> BUSY [get]
 */
#include "internal.h"

#include <sys/mman.h>

enum { EMPTY, BUSY, FULL };
#define RECYCLED (NHI_POOL_SLOTS / 2)

static uintptr_t slot_addr(const struct nhi_lx *lx, int slot)
{
	return lx->pool.base + (size_t)slot * lx->os.huge_size;
}

int nhi_pool_make(struct nhi_lx *lx)
{
	size_t len = NHI_POOL_SLOTS * lx->os.huge_size;
	uintptr_t at, base;
	void *mem;

	if (lx->pool.base || !(lx->plain.features & UFFD_FEATURE_MOVE))
		return 0;
	mem = nhi_pages_alloc(len + lx->os.huge_size, "numahint pool");
	if (!mem)
		return -ENOMEM;
	at = (uintptr_t)mem;
	base = nhi_round_up(at, lx->os.huge_size);
	if (base > at)
		(void)nhi_sys2(SYS_munmap, at, base - at);
	if (at + lx->os.huge_size > base)
		(void)nhi_sys2(SYS_munmap, base + len, at + lx->os.huge_size - base);
	(void)nhi_sys3(SYS_madvise, base, len, MADV_HUGEPAGE);
	(void)nhi_sys3(SYS_madvise, base, len, MADV_DONTFORK);
	for (int i = 0; i < NHI_POOL_SLOTS; i++)
		nhi_store_relaxed(&lx->pool.slot[i], EMPTY); /* published by base */
	if (nhi_uffd_register(lx, &lx->plain, base, RECYCLED * lx->os.huge_size,
			      UFFDIO_REGISTER_MODE_MISSING)) {
		(void)nhi_sys2(SYS_munmap, base, len);
		return -ENOMEM;
	}
	nhi_store_release(&lx->pool.base, base); /* pairs with nhi_pool_get() */
	return 0;
}

uintptr_t nhi_pool_get(struct nhi_lx *lx, int node, int *ret_slot)
{
	struct nhi_pool *pool = &lx->pool;
	const uint32_t want = FULL + (lx->os.emulated ? 0 : (uint32_t)node);
	struct nhi_place_policy saved;
	uint8_t at = NHI_UNKNOWN_NODE;
	int err;

	if (!nhi_load_acquire(&pool->base))
		return 0;
	for (int i = 0; i < RECYCLED; i++) {
		uint32_t old = want;

		/* Acquire: pairs with the release that made it FULL. */
		if (nhi_load_relaxed(&pool->slot[i]) == want &&
		    nhi_cas_acquire(&pool->slot[i], &old, BUSY)) {
			*ret_slot = i;
			return slot_addr(lx, i);
		}
	}
	for (int i = RECYCLED; i < NHI_POOL_SLOTS; i++) {
		uint32_t old = EMPTY;
		uintptr_t addr = slot_addr(lx, i);

		if (!nhi_cas_acquire(&pool->slot[i], &old, BUSY))
			continue;
		if (lx->os.emulated || nhi_place_begin(&saved, node)) {
			*ret_slot = i; /* the copy fills it */
			if (lx->os.emulated)
				return addr;
			nhi_store_release(&pool->slot[i], EMPTY);
			return 0;
		}
		err = (int)nhi_sys3(SYS_madvise, addr, lx->os.huge_size, MADV_POPULATE_WRITE);
		nhi_place_end(&saved);
		if (!err)
			err = nhi_place_query(addr, lx->os.page_size, 1, &at);
		*ret_slot = i;
		if (!err && at == node)
			return addr;
		(void)nhi_sys3(SYS_madvise, addr, lx->os.huge_size, MADV_DONTNEED);
		nhi_store_release(&pool->slot[i], EMPTY);
		return 0;
	}
	return 0;
}

void nhi_pool_put(struct nhi_lx *lx, int slot, bool used, int node)
{
	uint32_t state = EMPTY;

	if (!used && slot < RECYCLED)
		state = FULL + (lx->os.emulated ? 0 : (uint32_t)node);
	else if (!used)
		(void)nhi_sys3(SYS_madvise, slot_addr(lx, slot), lx->os.huge_size, MADV_DONTNEED);
	nhi_store_release(&lx->pool.slot[slot], state);
}

void nhi_pool_recycle(struct nhi_lx *lx, uintptr_t addr, int node)
{
	const uint32_t nr = (uint32_t)(lx->os.huge_size >> lx->page_shift);
	const uint32_t full = FULL + (lx->os.emulated ? 0 : (uint32_t)node);
	uint32_t done, same = 0;

	for (int i = 0; i < RECYCLED; i++)
		same += nhi_load_relaxed(&lx->pool.slot[i]) == full; /* a guess is enough */
	for (int i = 0; same < NHI_POOL_PER_NODE && i < RECYCLED; i++) {
		uint32_t old = EMPTY;

		if (!nhi_cas_acquire(&lx->pool.slot[i], &old, BUSY))
			continue;
		if (!nhi_uffd_move(lx, &lx->plain, slot_addr(lx, i), addr, nr, 0, &done)) {
			nhi_store_release(&lx->pool.slot[i], full);
			return;
		}
		if (done)
			(void)nhi_sys3(SYS_madvise, slot_addr(lx, i), lx->os.huge_size,
				       MADV_DONTNEED);
		nhi_store_release(&lx->pool.slot[i], EMPTY);
		break;
	}
	(void)nhi_sys3(SYS_madvise, addr, lx->os.huge_size, MADV_DONTNEED);
}

/* Nothing is marked any more, so nobody uses it. */
void nhi_pool_free(struct nhi_lx *lx)
{
	if (lx->pool.base)
		(void)nhi_sys2(SYS_munmap, lx->pool.base, NHI_POOL_SLOTS * lx->os.huge_size);
	lx->pool.base = 0;
}
