// SPDX-License-Identifier: MIT
/*
 * Which parts of a map are registered with the userfaultfd.
 *
 * Whole stretches of granules (a granule is what one PMD maps) are registered just before they lose
 * pages, and unregistered when nothing in the map is marked: in between, a hole in a stretch costs a
 * fault through us when it is first touched, and each registered stretch costs the program up to two
 * VMAs. A stretch is more than one granule because marking takes granules: mremap(DONTUNMAP) of a
 * whole VMA leaves one that Linux 6.1 never merges with the next again, and the program's own
 * mremap() over both would fail.
 *
 * A bit per granule says what to unregister; it may be set for a granule that is not registered,
 * never the other way round. Registering is asked of the kernel at every mark (0.3 us), whatever
 * the bit says: another thread may have unmapped and mapped the range since, and the event that
 * tells may still be on its way.
 */
#include "internal.h"

static size_t granule_of(const struct nhi_lx_map *map, uintptr_t addr)
{
	return (addr >> map->lx->huge_shift) - (map->pub.start >> map->lx->huge_shift);
}

static uintptr_t granule_start(const struct nhi_lx_map *map, size_t i)
{
	uintptr_t first = nhi_round_down(map->pub.start, (uintptr_t)map->lx->os.huge_size);

	return nhi_max(map->pub.start, first + ((uintptr_t)i << map->lx->huge_shift));
}

static bool granule_bit(const struct nhi_lx_map *map, size_t i)
{
	/* Relaxed: written under the map's lock, or while the monitor keeps the signal path out. */
	return nhi_load_relaxed(&map->granules[i / 64]) >> (i % 64) & 1;
}

static void granule_set(struct nhi_lx_map *map, size_t i, bool on)
{
	uint64_t old = nhi_load_relaxed(&map->granules[i / 64]);
	uint64_t bit = 1ULL << (i % 64);

	/* A marker and the monitor may write one word at a time; nobody orders anything by it. */
	while (!nhi_cas_relaxed(&map->granules[i / 64], &old, on ? old | bit : old & ~bit))
		;
}

#define STRETCH 64 /* granules */

int nhi_watch(struct nhi_lx_map *map, uintptr_t start, uintptr_t end, uint64_t mode)
{
	size_t first = granule_of(map, start) / STRETCH * STRETCH;
	size_t last =
		nhi_min(granule_of(map, end - 1) / STRETCH * STRETCH + STRETCH, map->nr_granules) -
		1;
	uintptr_t from = granule_start(map, first), to = granule_start(map, last + 1);
	int err;

	to = nhi_min(to, map->pub.end);
	err = nhi_uffd_register(map->lx, &map->lx->events, from, to - from, mode);
	if (err && (from != start || to != end)) {
		/* A neighbour of the run is in the way (unmapped, mapped anew): the run alone. */
		err = nhi_uffd_register(map->lx, &map->lx->events, start, end - start, mode);
	}
	if (err)
		return err;
	for (size_t i = first; i <= last; i++) {
		if (!granule_bit(map, i))
			granule_set(map, i, true);
	}
	return 0;
}

static uint64_t mode_of(const struct nhi_lx_map *map)
{
	return map->pub.trap == NHI_TRAP_MINOR ? UFFDIO_REGISTER_MODE_MINOR :
						 UFFDIO_REGISTER_MODE_MISSING;
}

/* Granules [first, end), whose bits are clear already. */
static void unwatch(struct nhi_lx_map *map, size_t first, size_t end)
{
	struct nhi_lx *lx = map->lx;
	uintptr_t from = granule_start(map, first);
	uintptr_t to = nhi_min(granule_start(map, end), map->pub.end);

	if (!nhi_uffd_unregister(lx, &lx->events, from, to - from))
		return;
	/* Something else was mapped into the stretch: granule by granule then. */
	for (size_t i = first; i < end; i++) {
		from = granule_start(map, i);
		to = nhi_min(granule_start(map, i + 1), map->pub.end);
		(void)nhi_uffd_unregister(lx, &lx->events, from, to - from);
	}
}

static void unwatch_stretches(struct nhi_lx_map *map, bool force)
{
	size_t i = 0;

	while (i < map->nr_granules) {
		size_t first = i;

		if (i % 64 == 0 && !nhi_load_relaxed(&map->granules[i / 64])) {
			i += 64;
			continue;
		}
		if (!granule_bit(map, i++))
			continue;
		while (i < map->nr_granules && granule_bit(map, i))
			i++;
		for (size_t j = first; j < i; j++)
			granule_set(map, j, false);
		unwatch(map, first, i);
		if (force || !nhi_uffd_event_pending(map->lx))
			continue;
		/* It came between the look and the call, and the monitor cannot have read it yet. */
		(void)nhi_watch(map, granule_start(map, first),
				nhi_min(granule_start(map, i), map->pub.end), mode_of(map));
		return;
	}
}

void nhi_unwatch_all(struct nhi_lx_map *map, bool force)
{
	struct nhi_lx *lx = map->lx;
	const bool lock = !nhi_monitor_in_event();

	if (lock)
		nhi_futex_lock(&lx->watch_lock);
	if (force || !nhi_uffd_event_pending(lx))
		unwatch_stretches(map, force);
	if (lock)
		nhi_futex_unlock(&lx->watch_lock);
}

/*
 * Only granules that lie wholly in the range: the bit of one that is partly gone stays, for the
 * rest of it is registered still.
 */
void nhi_watch_forget(struct nhi_lx *lx, uintptr_t start, uintptr_t end)
{
	nhi_futex_lock(&lx->maps_lock);
	for (struct nhi_lx_map *map = lx->maps; map; map = map->next) {
		uintptr_t from = nhi_max(start, map->pub.start), to = nhi_min(end, map->pub.end);

		if (!map->granules || from >= to)
			continue;
		for (size_t i = granule_of(map, from); i <= granule_of(map, to - 1); i++) {
			if (granule_start(map, i) >= start &&
			    nhi_min(granule_start(map, i + 1), map->pub.end) <= end)
				granule_set(map, i, false);
		}
	}
	nhi_futex_unlock(&lx->maps_lock);
}

/*
 * The program enlarged registered memory (mremap, in place or not), and the new part inherited the
 * registration. The page goes back to the kernel, and with it what follows up to the next map or
 * granule, so that a large part does not cost a fault a page.
 */
bool nhi_unwatch_stray(struct nhi_lx *lx, uintptr_t addr)
{
	uintptr_t start = nhi_round_down(addr, (uintptr_t)lx->os.page_size);
	uintptr_t end = start + lx->os.page_size;

	/* Signal path: the interrupted thread may hold the lock; then the page alone. */
	if (nhi_futex_trylock(&lx->maps_lock)) {
		end = nhi_round_down(start, (uintptr_t)lx->os.huge_size) + lx->os.huge_size;
		for (struct nhi_lx_map *map = lx->maps; map; map = map->next) {
			if (map->pub.start > start)
				end = nhi_min(end, map->pub.start);
			else if (map->pub.end > start)
				end = start + lx->os.page_size;
		}
		nhi_futex_unlock(&lx->maps_lock);
	}
	if (!nhi_uffd_unregister(lx, &lx->events, start, end - start))
		return true;
	return !nhi_uffd_unregister(lx, &lx->events, start, lx->os.page_size);
}
