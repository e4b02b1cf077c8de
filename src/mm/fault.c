// SPDX-License-Identifier: MIT
/*
 * The life of a hinting fault.
 *
 *	touch -> trap -> (handler | monitor) -> nhi_fault
 *	   find the VMA, is the access allowed there?          else: not ours, a genuine fault
 *	   lock the entry, MARKED -> LOCKED                    else: wait unaccounted, or spurious
 *	   lock marked neighbours by try (fault-around)
 *	   where is each page, where does it belong?
 *	   restore or migrate, unlock, wake, count
 *	-> the access is tried again
 *
 * Runs in a signal handler or in the monitor: allocates nothing, waits while holding nothing.
 */
#include "gup.h"

#include <string.h>

/* So many faults in a row at one address that we did nothing for are not ours. */
#define SPURIOUS_LIMIT 200

static struct nhi_around *around_of(struct nhi_mm *mm, const struct nhi_toucher *who)
{
	return &mm->around[(uint32_t)who->tid % NHI_AROUND_SLOTS];
}

/*
 * The stream that @addr continues, and how many pages to take along. A stream doubles its window at
 * each fault; a fault that continues none starts a new one at a single page, so that a program that
 * touches a tenth of its data moves little more than a tenth.
 */
static uint32_t around_window(struct nhi_mm *mm, struct nhi_around *a, uintptr_t addr,
			      uint32_t *ret_stream)
{
	for (uint32_t i = 0; i < NHI_STREAMS; i++) {
		if (nhi_load_relaxed(&a->next[i]) == addr) {
			*ret_stream = i;
			return nhi_min(nhi_load_relaxed(&a->window[i]) * 2u, mm->around_max);
		}
	}
	*ret_stream = nhi_add_relaxed(&a->victim, 1) % NHI_STREAMS;
	return 1;
}

static void around_done(struct nhi_around *a, uint32_t stream, uintptr_t next, uint32_t window)
{
	nhi_store_relaxed(&a->next[stream], next);
	nhi_store_relaxed(&a->window[stream], (uint16_t)window);
	nhi_store_relaxed(&a->spurious, 0);
}

/*
 * Fill the hole at @addr, if it is one. The page may be marked this moment, and then what is kept for
 * it must not be hidden by zeros: so its entry is held meanwhile, by a lock or, if it is pinned, by
 * one more reference. Return: as zero_fill; -EDEADLK somebody else holds it.
 */
static int fill_hole(struct nhi_mm *mm, struct nhi_vma *vma, uintptr_t addr)
{
	const unsigned int want = NHI_WANT(NHI_NONE) | NHI_WANT(NHI_PRESENT);
	struct nhi_pmd *pmd = nhi_pmd_lookup(mm, addr), *above = pmd;
	nhi_word *ptes, *entry, old;
	int err;

	/* Watched granules have tables: nothing was ever marked here. */
	if (!pmd)
		return mm->os->ops->zero_fill(mm->os, vma->map, addr);
	ptes = nhi_load_acquire(&pmd->ptes); /* pairs with the release that put them there */
	entry = ptes ? &ptes[nhi_pte_index(mm, addr)] : &pmd->word;
	/* Acquire: NONE means that the PTEs are set; pairs with nhi_pmd_split_locked(). */
	if (!ptes || nhi_word_state(nhi_load_acquire(&pmd->word)) != NHI_NONE) {
		entry = &pmd->word;
		above = NULL;
	}
	err = nhi_entry_trylock(mm, addr, entry, above, want, &old);
	if (err == -EBUSY) {
		struct nhi_page held;

		if (nhi_entry_ref(entry, above, 1, NHI_FOLL_GET))
			return -EAGAIN;
		nhi_page_set(&held, addr, NHI_FOLL_GET, !above);
		err = mm->os->ops->zero_fill(mm->os, vma->map, addr);
		nhi_pages_put(mm, &held, 1, false);
		return err;
	}
	if (err)
		return err == -EAGAIN ? -EDEADLK : -EAGAIN;
	/* A PTE that was locked before its PMD: as in ptes_idle() of mark.c, pairs with (P). */
	ptes = above || nhi_word_state(old) != NHI_NONE ? NULL : nhi_load_seq_cst(&pmd->ptes);
	if (ptes && nhi_word_state(nhi_load_seq_cst(&ptes[nhi_pte_index(mm, addr)])) > NHI_PRESENT)
		err = -EAGAIN;
	else
		err = mm->os->ops->zero_fill(mm->os, vma->map, addr);
	nhi_entry_unlock(mm, addr, entry, old);
	return err;
}

/*
 * A fault on a page that is not marked: another thread resolved it meanwhile, or it is a hole in a
 * watched range, or the range is not as we believe. Return: 0 try again; -EFAULT not ours; -EAGAIN,
 * -EDEADLK as fault_once().
 */
static int not_marked(struct nhi_mm *mm, struct nhi_vma *vma, uintptr_t addr, struct nhi_around *a,
		      unsigned int slot)
{
	int err = NHI_CANARY(HOLE_NOT_HELD) ? mm->os->ops->zero_fill(mm->os, vma->map, addr) :
					      fill_hole(mm, vma, addr);

	if (err < 0)
		return err;
	nhi_mm_count(mm, slot, NHI_C_ZERO_FILLED, (uint64_t)err);
	if (err) {
		nhi_store_relaxed(&a->spurious, 0);
		return 0;
	}
	if (nhi_load_relaxed(&a->spurious_addr) != addr) {
		nhi_store_relaxed(&a->spurious_addr, addr);
		nhi_store_relaxed(&a->spurious, 0);
	}
	return nhi_add_relaxed(&a->spurious, 1) > SPURIOUS_LIMIT ? -EFAULT : 0;
}

/* Lock what this fault will resolve; see around_window() and the os's granule. */
static int lock_around(struct nhi_batch *b, struct nhi_mm *mm, const struct nhi_vma *vma,
		       uintptr_t addr, uint32_t *window)
{
	struct nhi_map *map = vma->map;
	uint64_t marked = nhi_count_read(&map->marked);
	uint32_t granule = mm->os->ops->granule(mm->os, map, marked);
	uintptr_t start = addr;
	int err;

	if (granule > 1) {
		granule = nhi_min(granule, nhi_min(mm->ptes_per_pmd, NHI_MAX_RUN));
		*window = nhi_max(*window, granule);
		start = nhi_round_down(addr, (uintptr_t)granule << mm->page_shift);
		start = nhi_max(start, vma->start);
	}
	err = nhi_batch_lock(b, mm, vma, start,
			     *window + (uint32_t)((addr - start) >> mm->page_shift));
	/* The part of the granule before the fault may be resolved already, or end before it. */
	if (start < addr && (err || b->addr + ((uintptr_t)b->nr << mm->page_shift) <= addr)) {
		if (!err) {
			for (uint32_t i = 0; i < b->nr; i++)
				nhi_entry_unlock(mm, b->addr + ((uintptr_t)i << mm->page_shift),
						 &b->entry[i],
						 nhi_word_with_state(nhi_load_relaxed(&b->entry[i]),
								     NHI_MARKED));
		}
		err = nhi_batch_lock(b, mm, vma, addr, *window);
	}
	return err;
}

/*
 * Who touched @addr, if that is not known: who did so last, if only known threads use this memory. It
 * stays counted as unknown.
 */
static void guess(const struct nhi_batch *b, uintptr_t addr, struct nhi_toucher *who)
{
	struct nhi_map *map = b->vma->map;
	uint32_t at = b->huge ? 0 : nhi_nr_pages(b->mm, b->addr, addr);
	uint8_t last = nhi_word_last_node(nhi_load_relaxed(&b->entry[at]));

	if (!nhi_load_relaxed(&map->guess))
		return;
	if (who->node >= 0)
		nhi_store_relaxed(&map->last_node, who->node + 1);
	else if (last != NHI_UNKNOWN_NODE)
		who->node = last;
	else
		who->node = nhi_load_relaxed(&map->last_node) - 1;
}

static void decide(struct nhi_batch *b, const struct nhi_toucher *who)
{
	uint32_t words = b->huge ? 1 : b->nr;

	for (uint32_t i = 0; i < words; i++) {
		uintptr_t addr = b->addr + ((uintptr_t)i << b->mm->page_shift);
		nhi_word word = nhi_load_relaxed(&b->entry[i]);
		int target = nhi_misplaced(b->mm, b->vma, addr, b->node[i], word, b->huge, who);

#if NH_SIM
		if (NHI_CANARY(STATE_REUSED_AFTER_WAIT) && b->waited)
			target = who->node;
#endif
		/* Whoever got the page may use it: it stays where it is (cases 128, 138). */
		if (target >= 0 && nhi_word_gets(word) && !NHI_CANARY(MOVED_UNDER_GET)) {
			nhi_mm_count(b->mm, b->slot, NHI_C_FAILED + nhi_reason_of(NHI_PAGE_PINNED),
				     b->huge ? b->nr : 1);
			target = NHI_NO_NODE;
		}
		b->target[i] = target < 0 ? NHI_UNKNOWN_NODE : (uint8_t)target;
	}
}

/*
 * Before it is resolved: with delivery by the monitor the toucher goes on as soon as the page is
 * there. @by_how_many: 1; -1 takes it back, for it will be tried again.
 */
static void account(struct nhi_batch *b, uintptr_t addr, const struct nhi_toucher *who,
		    bool unknown, enum nhi_delivery by, uint64_t by_how_many)
{
	struct nhi_mm *mm = b->mm;
	uint32_t at = b->huge ? 0 : nhi_nr_pages(mm, b->addr, addr);
	uint32_t words = b->huge ? 1 : b->nr, scale = b->huge ? b->nr : 1;
	uint64_t local = 0;

	for (uint32_t i = 0; i < words; i++)
		local += b->node[i] == who->node ? scale : 0;
	nhi_mm_count(mm, b->slot, NHI_C_HINTING_FAULTS, by_how_many);
	if (b->node[at] == who->node)
		nhi_mm_count(mm, b->slot, NHI_C_HINTING_LOCAL, by_how_many);
	nhi_mm_count(mm, b->slot, NHI_C_AROUND, b->huge ? 0 : by_how_many * (b->nr - 1));
	if (unknown)
		nhi_mm_count(mm, b->slot, NHI_C_UNKNOWN_TOUCHERS, by_how_many);
	nhi_mm_count(mm, b->slot, by == NHI_DELIVERY_MONITOR ? NHI_C_BY_MONITOR : NHI_C_BY_THREAD,
		     by_how_many);
	if (who->node >= 0) {
		nhi_mm_count(mm, b->slot, NHI_C_TOUCHED_LOCAL, by_how_many * local);
		nhi_mm_count(mm, b->slot, NHI_C_TOUCHED_REMOTE, by_how_many * (b->nr - local));
	}
}

/* An event came in between; had the page that was touched had its turn? */
static bool resolved(const struct nhi_batch *b, uintptr_t addr)
{
	uint32_t at = b->huge ? 0 : nhi_nr_pages(b->mm, b->addr, addr);

	return at < b->nr && b->status[at] != NHI_PAGE_BUSY;
}

/* One try, under mmap_lock for reading. -EAGAIN: again; -EDEADLK: wait for the entry first. */
static int fault_once(struct nhi_mm *mm, struct nhi_batch *b, uintptr_t addr, bool write,
		      const struct nhi_toucher *toucher, enum nhi_delivery by)
{
	struct nhi_toucher likely = *toucher, *who = &likely;
	struct nhi_around *a = around_of(mm, who);
	struct nhi_vma *vma = nhi_vma_find(mm, addr);
	uint32_t window, stream, pages;
	int err;

	if (!vma)
		return -ENOENT;
	if (!(vma->prot & (write ? NHI_PROT_WRITE : NHI_PROT_ANY)))
		return -EFAULT;
	window = around_window(mm, a, addr, &stream);
	err = lock_around(b, mm, vma, addr, &window);
	if (err == -EAGAIN)
		return -EDEADLK;
	if (err == -ESTALE)
		return -EAGAIN;
	if (err)
		return not_marked(mm, vma, addr, a, b->slot);
	nhi_batch_locate(b);
	guess(b, addr, who);
	decide(b, who);
	pages = b->nr; /* fewer afterwards, if an event came in between */
	account(b, addr, who, toucher->node < 0, by, 1);
	err = nhi_batch_resolve(b, who);
	if (err == -EAGAIN && !resolved(b, addr)) {
		b->nr = pages;
		account(b, addr, who, toucher->node < 0, by, (uint64_t)-1);
		return err;
	}
	around_done(a, stream, b->addr + ((uintptr_t)b->nr << mm->page_shift), window);
	if (err == -EBUSY)
		nhi_map_get(vma->map); /* for nhi_batch_hard(), without mmap_lock */
	return err == -EAGAIN ? 0 : err;
}

int nhi_fault(void *data, uintptr_t addr, bool write, const struct nhi_toucher *who,
	      enum nhi_delivery by)
{
	struct nhi_mm *mm = data;
	struct nhi_batch b;
	int err;

	/* A crash of our own while the map is being changed must not wait for itself. */
	if (nhi_load_relaxed(&mm->mmap_lock.writer_tid) == who->tid)
		return -ENOENT;
	addr = nhi_round_down(addr, (uintptr_t)nhi_page_size(mm));
#if NH_SIM
	b.waited = false;
#endif
	for (;;) {
		struct nhi_vma vma = { 0 };
		bool huge;

		b.slot = nhi_mmap_read_lock(mm->os, &mm->mmap_lock, (unsigned int)who->tid);
		err = fault_once(mm, &b, addr, write, who, by);
		if (err == -EBUSY) {
			vma = *b.vma;
			b.vma = &vma;
		}
		nhi_mmap_read_unlock(mm->os, &mm->mmap_lock, b.slot);
		if (err == -EBUSY) {
			err = nhi_batch_hard(&b);
			nhi_map_put(mm, vma.map);
			if (!err)
				return 0;
			/* Out of memory for page tables, say: marked and whole, so try for ever. */
			err = -EAGAIN;
		}
		if (err == -EDEADLK) {
			nhi_word *entry = nhi_entry_lookup(mm, addr, &huge);

			/* The monitor is who an entry's holder may wait for: it must not sleep. */
			if (by == NHI_DELIVERY_MONITOR && !NHI_CANARY(MONITOR_SLEEPS))
				return -EAGAIN;
			if (NHI_CANARY(WAITS_ACCOUNTED))
				nhi_mm_count(mm, b.slot, NHI_C_HINTING_FAULTS, 1);
			nhi_mm_count(mm, b.slot, NHI_C_WAITS, 1);
			if (entry)
				nhi_entry_wait(mm, addr, entry);
#if NH_SIM
			b.waited = true;
#endif
			continue;
		}
		if (err != -EAGAIN || by == NHI_DELIVERY_MONITOR)
			return err;
		mm->os->ops->relax(mm->os);
	}
}
