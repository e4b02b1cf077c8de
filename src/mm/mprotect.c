// SPDX-License-Identifier: MIT
/*
 * mprotect for managed memory: what is marked is restored first, so hints are lost without a fault
 * (cases 9 and 10), and the engine knows what the program may do from then on (cases 1 to 8).
 */
#include "mm.h"

/*
 * Nothing may be referenced by the fast way for what it may not be used for any more: that way sees
 * entries only. An entry that is referenced keeps its state until it is given back.
 */
static void forget_access(struct nhi_mm *mm, uintptr_t addr, nhi_word *entry, bool readable)
{
	nhi_word old, word = nhi_load_relaxed(entry);

	/* Relaxed: mmap_lock orders it, see may_write() in gup.c. */
	while (word & NHI_W_WRITE && !nhi_cas_relaxed(entry, &word, word & ~NHI_W_WRITE))
		;
	if (readable || nhi_word_state(word) != NHI_PRESENT ||
	    nhi_entry_trylock(mm, addr, entry, NULL, NHI_WANT(NHI_PRESENT), &old))
		return;
	nhi_entry_unlock(mm, addr, entry,
			 nhi_word_gets(old) ? old : nhi_word_with_state(old, NHI_NONE));
}

static void forget_range(struct nhi_mm *mm, uintptr_t start, uintptr_t end, bool readable)
{
	const uintptr_t huge = nhi_huge_size(mm);
	uintptr_t stop;

	for (uintptr_t addr = start; addr < end; addr = stop) {
		uintptr_t base = nhi_round_down(addr, huge);
		struct nhi_pmd *pmd = nhi_pmd_lookup(mm, addr);
		nhi_word *ptes;

		stop = nhi_min(end, base + huge);
		/* Of a huge page that is referenced only the permission to write goes. */
		if (!pmd || nhi_pmd_split(mm, base, pmd)) {
			if (pmd)
				forget_access(mm, base, &pmd->word, true);
			continue;
		}
		ptes = nhi_load_acquire(&pmd->ptes); /* pairs with the release that put it there */
		for (; ptes && addr < stop; addr += nhi_page_size(mm))
			forget_access(mm, addr, &ptes[nhi_pte_index(mm, addr)], readable);
	}
}

/* The change failed, perhaps half-way: ask what the protection is now. Nothing is marked. */
static void refresh(struct nhi_mm *mm, struct nhi_vma *vma)
{
	struct nhi_mapping now;

	if (mm->os->ops->mappings(mm->os, vma->start, vma->end, &now, 1) == 1)
		vma->prot = now.prot;
}

/* Caller holds mmap_lock for writing; nothing in the range is marked. */
static int change_locked(struct nhi_mm *mm, uintptr_t start, uintptr_t end, unsigned int prot,
			 nhi_change_fn change, void *arg)
{
	int err = nhi_vma_split(mm, start);

	if (!err)
		err = nhi_vma_split(mm, end);
	if (!err)
		err = change(arg, start, end - start, prot);
	for (size_t i = nhi_vma_first(mm, start); i < mm->nr_vmas && mm->vmas[i].start < end; i++) {
		struct nhi_vma *vma = &mm->vmas[i];
		unsigned int less;

		if (vma->start < start || vma->end > end)
			continue; /* no memory to split it: nothing changed */
		if (err) {
			refresh(mm, vma);
			continue;
		}
		less = vma->prot & ~prot;
		vma->prot = prot; /* before the entries forget: see may_write() in gup.c */
		if (less)
			forget_range(mm, vma->start, vma->end, prot & NHI_PROT_READ);
	}
	nhi_vma_merge(mm, start, end);
	return err;
}

int nhi_mprotect(struct nhi_mm *mm, uintptr_t start, uintptr_t end, unsigned int prot,
		 nhi_change_fn change, void *arg)
{
	struct nhi_toucher me;
	uint64_t token;
	int err = nhi_range_mapped(mm, start, end, false);

	if (err)
		return err == -EFAULT ? -ENOMEM : err; /* as mprotect(2) has it */
	mm->os->ops->self(mm->os, &me);
	mm->os->ops->enter(mm->os, &token);
	/* No marker may come between restoring and changing. */
	nhi_mutex_lock(mm->os, &mm->mark_mutex);
	err = nhi_unmark_range(mm, start, end) < 0 ? -EBUSY : 0;
	if (!err) {
		nhi_mmap_write_lock(mm->os, &mm->mmap_lock, me.tid);
		err = change_locked(mm, start, end, prot, change, arg);
		nhi_mmap_write_unlock(mm->os, &mm->mmap_lock);
	}
	nhi_mutex_unlock(mm->os, &mm->mark_mutex);
	mm->os->ops->leave(mm->os, &token);
	return err;
}
