// SPDX-License-Identifier: MIT
/*
 * The page table: four levels by address, so that splitting and merging VMAs never moves an entry.
 *
 *	pgd[512] -> pud[512] -> pmd[512] -> ptes[huge_size / page_size]
 *
 * Tables appear by compare-and-swap and stay until the mm goes, so readers need no lock.
 */
#include "mm.h"

static uint32_t index_at(const struct nhi_mm *mm, uintptr_t addr, unsigned int level)
{
	return (uint32_t)(addr >> (mm->huge_shift + level * NHI_FANOUT_SHIFT)) % NHI_FANOUT;
}

uint32_t nhi_pte_index(const struct nhi_mm *mm, uintptr_t addr)
{
	return (uint32_t)(addr >> mm->page_shift) & (mm->ptes_per_pmd - 1);
}

struct nhi_pmd *nhi_pmd_lookup(const struct nhi_mm *mm, uintptr_t addr)
{
	struct nhi_pud_table *puds;
	struct nhi_pmd_table *pmds;

	/* Each acquire pairs with the release that put the table there in install(). */
	puds = nhi_load_acquire(&mm->pgd[index_at(mm, addr, 2)]);
	if (!puds)
		return NULL;
	pmds = nhi_load_acquire(&puds->pud[index_at(mm, addr, 1)]);
	if (!pmds)
		return NULL;
	return &pmds->pmd[index_at(mm, addr, 0)];
}

/* Put a zeroed table of @bytes into *where unless another thread did so first. */
static void *install(struct nhi_mm *mm, void **where, size_t bytes)
{
	void *table = nhi_load_acquire(where);
	void *fresh;

	if (table)
		return table;
	fresh = mm->os->ops->table_alloc(mm->os, bytes);
	if (!fresh)
		return NULL;
	/* Release: a reader that finds the table finds it zeroed; pairs with the lookups. */
	if (!nhi_cas_acq_rel(where, &table, fresh)) {
		mm->os->ops->table_free(mm->os, fresh, bytes);
		return table;
	}
	nhi_count(&mm->metadata_bytes, bytes);
	return fresh;
}

struct nhi_pmd *nhi_pmd_alloc(struct nhi_mm *mm, uintptr_t addr)
{
	struct nhi_pud_table *puds;
	struct nhi_pmd_table *pmds;

	puds = install(mm, (void **)&mm->pgd[index_at(mm, addr, 2)], sizeof(*puds));
	if (!puds)
		return NULL;
	pmds = install(mm, (void **)&puds->pud[index_at(mm, addr, 1)], sizeof(*pmds));
	if (!pmds)
		return NULL;
	return &pmds->pmd[index_at(mm, addr, 0)];
}

int nhi_pte_alloc(struct nhi_mm *mm, struct nhi_pmd *pmd)
{
	size_t bytes = mm->ptes_per_pmd * sizeof(nhi_word);

	return install(mm, (void **)&pmd->ptes, bytes) ? 0 : -ENOMEM;
}

nhi_word *nhi_entry_lookup(const struct nhi_mm *mm, uintptr_t addr, bool *ret_huge)
{
	struct nhi_pmd *pmd = nhi_pmd_lookup(mm, addr);
	nhi_word *ptes;

	if (!pmd)
		return NULL;
	/* Acquire pairs with the release in nhi_pmd_split_locked(): NONE means the PTEs are set. */
	*ret_huge = nhi_word_state(nhi_load_acquire(&pmd->word)) != NHI_NONE;
	if (*ret_huge)
		return &pmd->word;
	ptes = nhi_load_acquire(&pmd->ptes);
	return ptes ? &ptes[nhi_pte_index(mm, addr)] : NULL;
}

int nhi_entry_trylock(struct nhi_mm *mm, uintptr_t addr, nhi_word *entry, struct nhi_pmd *pmd,
		      unsigned int want, nhi_word *ret_old)
{
	nhi_word old = nhi_load_relaxed(entry); /* a guess; the compare-and-swap checks it */

	for (;;) {
		if (nhi_word_busy(old))
			return -EAGAIN;
		if (!(want & NHI_WANT(nhi_word_state(old))))
			return -ENOENT;
		if (nhi_word_pins(old) && !NHI_CANARY(PINNED_PAGE_MARKED))
			return -EBUSY;
		if (NHI_CANARY(PIN_BETWEEN_CHECK_AND_LOCK)) {
			nhi_store_release(entry, nhi_word_with_state(old, NHI_LOCKED));
			break;
		}
		/*
		 * Acquire: what the last holder wrote before its release in nhi_entry_unlock() is
		 * seen. Sequentially consistent because of the PMD check below.
		 */
		if (nhi_cas_seq_cst(entry, &old, nhi_word_with_state(old, NHI_LOCKED)))
			break;
	}
	/*
	 * (P) A PTE counts only while the PMD word is NONE. Whoever makes the PMD huge writes that
	 * word and then looks at every PTE; we wrote the PTE and then look at that word. One of the
	 * two sees the other.
	 */
	if (pmd && nhi_word_state(nhi_load_seq_cst(&pmd->word)) != NHI_NONE &&
	    !NHI_CANARY(PTE_UNDER_HUGE)) {
		nhi_entry_unlock(mm, addr, entry, old);
		return -ESTALE;
	}
	*ret_old = old;
	return 0;
}

/* @addr: any address that @entry stands for, so that all who use a huge entry meet. */
static uint32_t *queue_of(struct nhi_mm *mm, uintptr_t addr, const nhi_word *entry)
{
	const struct nhi_pmd *pmd = nhi_pmd_lookup(mm, addr);

	if (pmd && entry == &pmd->word && !NHI_CANARY(HUGE_SLEEPS_APART))
		addr = nhi_round_down(addr, (uintptr_t)nhi_huge_size(mm));
	return &mm->queue[(addr >> mm->page_shift) * 0x9e3779b97f4a7c15ull >> 58];
}

void nhi_entry_unlock(struct nhi_mm *mm, uintptr_t addr, nhi_word *entry, nhi_word word)
{
	nhi_word old = nhi_load_relaxed(entry);
	nhi_word new;

	if (NHI_CANARY(WAKE_BEFORE_STATE) && old & NHI_W_WAITERS) {
		nhi_add_acq_rel(queue_of(mm, addr, entry), 1);
		mm->os->ops->wake_all(mm->os, queue_of(mm, addr, entry));
	}
	/* References may have been dropped meanwhile, and a waiter may have come: keep the counts. */
	do {
		nhi_debug_assert(nhi_word_busy(old));
		new = (word & ~(NHI_W_PINS | NHI_W_GETS | NHI_W_WAITERS)) |
		      (old & (NHI_W_PINS | NHI_W_GETS));
		if (NHI_CANARY(UNLOCK_FORGETS_PUTS))
			new = word & ~NHI_W_WAITERS;
	} while (!nhi_cas_release(entry, &old, new));
	if (old & NHI_W_WAITERS && !NHI_CANARY(WAKE_BEFORE_STATE)) {
		uint32_t *queue = queue_of(mm, addr, entry);

		/* (Q) The state is set before the count moves; pairs with nhi_entry_wait(). */
		nhi_add_acq_rel(queue, 1);
		mm->os->ops->wake_all(mm->os, queue);
	}
}

void nhi_entry_wait(struct nhi_mm *mm, uintptr_t addr, nhi_word *entry)
{
	uint32_t *queue = queue_of(mm, addr, entry);
	/* Read before the flag is set: a wake-up after the flag (Q) changes it, so wait returns. */
	uint32_t seen = nhi_load_acquire(queue);
	nhi_word old = nhi_load_relaxed(entry);

	do {
		if (!nhi_word_busy(old))
			return;
	} while (!(old & NHI_W_WAITERS) && !nhi_cas_acq_rel(entry, &old, old | NHI_W_WAITERS));
	if (NHI_CANARY(COUNT_AFTER_FLAG))
		seen = nhi_load_acquire(queue);
	mm->os->ops->wait(mm->os, queue, seen);
}

void nhi_pmd_split_locked(struct nhi_mm *mm, uintptr_t addr, struct nhi_pmd *pmd, nhi_word old)
{
	nhi_word pte = old & ~(NHI_W_PINS | NHI_W_GETS | NHI_W_WAITERS);

	nhi_debug_assert(pmd->ptes && nhi_word_busy(nhi_load_relaxed(&pmd->word)));
	nhi_debug_assert(!nhi_word_pins(old) && !nhi_word_gets(old));
	if (NHI_CANARY(SPLIT_SHOWN_EARLY))
		nhi_entry_unlock(mm, addr, &pmd->word, NHI_NONE);
	/* Nobody uses the PTEs while the PMD word is not NONE. */
	for (uint32_t i = 0; i < mm->ptes_per_pmd; i++)
		nhi_store_relaxed(&pmd->ptes[i], pte);
	if (NHI_CANARY(SPLIT_SHOWN_EARLY))
		return;
	/* Release: whoever sees NONE sees the PTEs; pairs with nhi_entry_lookup(). */
	nhi_entry_unlock(mm, addr, &pmd->word, NHI_NONE);
}

int nhi_pmd_split(struct nhi_mm *mm, uintptr_t addr, struct nhi_pmd *pmd)
{
	const unsigned int want = NHI_WANT(NHI_NONE) | NHI_WANT(NHI_PRESENT) | NHI_WANT(NHI_MARKED);
	nhi_word old;
	int err;

	addr = nhi_round_down(addr, (uintptr_t)nhi_huge_size(mm));
	if (nhi_pte_alloc(mm, pmd))
		return -ENOMEM;
	/* Acquire: NONE means that the PTEs are set; pairs with nhi_pmd_split_locked(). */
	if (nhi_word_state(nhi_load_acquire(&pmd->word)) == NHI_NONE)
		return 0;
	err = nhi_entry_trylock(mm, addr, &pmd->word, NULL, want, &old);
	if (NHI_CANARY(SPLIT_UNDER_PIN) && err == -EBUSY) {
		old = nhi_load_relaxed(&pmd->word);
		if (!nhi_cas_acquire(&pmd->word, &old, nhi_word_with_state(old, NHI_LOCKED)))
			return -EAGAIN;
		old &= ~(NHI_W_PINS | NHI_W_GETS);
		err = 0;
	}
	if (err)
		return err;
	if (nhi_word_gets(old)) {
		nhi_entry_unlock(mm, addr, &pmd->word, old);
		return -EBUSY;
	}
	if (nhi_word_state(old) == NHI_NONE)
		nhi_entry_unlock(mm, addr, &pmd->word, NHI_NONE);
	else
		nhi_pmd_split_locked(mm, addr, pmd, old);
	return 0;
}
