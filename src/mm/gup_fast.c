// SPDX-License-Identifier: MIT
/*
 * References without locks: one compare-and-swap a page, or one for all of a huge page.
 *
 * Whoever marks a page wants its entry PRESENT without references; whoever references it wants it
 * PRESENT. Both change the same word, so only one of them wins, and a reference that was taken is
 * taken of a page that stays (invariant 5). There is no VMA here: what a page may be used for is in
 * its entry, put there by the slow way.
 */
#include "gup.h"

static nhi_word one_of(unsigned int flags)
{
	return flags & NHI_FOLL_PIN ? NHI_W_PIN_ONE : NHI_W_GET_ONE;
}

static bool would_overflow(nhi_word w, uint32_t n, unsigned int flags)
{
	uint32_t now = flags & NHI_FOLL_PIN ? nhi_word_pins(w) : nhi_word_gets(w);

	return now + n > 0xffff;
}

int nhi_entry_ref(nhi_word *entry, struct nhi_pmd *pmd, uint32_t n, unsigned int flags)
{
	const nhi_word one = one_of(flags);
	nhi_word old = nhi_load_relaxed(entry); /* a guess; the compare-and-swap checks it */

	do {
		bool right = nhi_word_state(old) == NHI_PRESENT;

		if (NHI_CANARY(GUP_FOLLOWS_MARKED_HUGE) && !pmd)
			right |= nhi_word_state(old) == NHI_MARKED;
		if (!right || (flags & NHI_FOLL_WRITE && !(old & NHI_W_WRITE)))
			return -ENOENT;
		if (would_overflow(old, n, flags))
			return -ENOMEM;
		/*
		 * Acquire: what was done to the page before it became PRESENT is seen; pairs with
		 * nhi_entry_unlock(). Sequentially consistent because of the PMD check below.
		 */
	} while (!nhi_cas_seq_cst(entry, &old, (old + n * one) | NHI_W_YOUNG));
	/* As (P) in table.c: mark_huge() writes the PMD, then looks at the PTEs' references. */
	if (NHI_CANARY(PTE_UNDER_HUGE))
		return 0;
	if (pmd && nhi_word_state(nhi_load_seq_cst(&pmd->word)) != NHI_NONE) {
		(void)nhi_add_release(entry, -(n * one));
		return -ESTALE;
	}
	return 0;
}

void nhi_page_set(struct nhi_page *page, uintptr_t addr, unsigned int flags, bool huge)
{
	page->word = addr |
		     (flags & NHI_FOLL_PIN ? NHI_PAGE_IS_PIN :
		      flags & NHI_FOLL_GET ? NHI_PAGE_IS_GET :
					     0) |
		     (huge ? NHI_PAGE_IS_HUGE : 0);
	page->usable = addr;
}

/* Pages [addr, addr + nr) of one granule that is mapped by PTEs. */
static uint64_t fast_ptes(struct nhi_mm *mm, struct nhi_pmd *pmd, uintptr_t addr, uint64_t nr,
			  unsigned int flags, struct nhi_page *pages)
{
	/* Acquire pairs with the release that put the table there. */
	nhi_word *ptes = nhi_load_acquire(&pmd->ptes);
	uint64_t i;

	if (!ptes)
		return 0;
	ptes += nhi_pte_index(mm, addr);
	for (i = 0; i < nr; i++, addr += nhi_page_size(mm)) {
		if (nhi_entry_ref(&ptes[i], pmd, 1, flags))
			break;
		nhi_page_set(&pages[i], addr, flags, false);
	}
	return i;
}

uint64_t nhi_gup_fast(struct nhi_mm *mm, uintptr_t start, uint64_t nr, unsigned int flags,
		      struct nhi_page *pages)
{
	uint64_t done = 0, got, want;

	do {
		uintptr_t addr = start + (done << mm->page_shift);
		struct nhi_pmd *pmd = nhi_pmd_lookup(mm, addr);
		nhi_word word;

		if (!pmd)
			break;
		want = nhi_min(nr - done, (uint64_t)(mm->ptes_per_pmd - nhi_pte_index(mm, addr)));
		/* Acquire: NONE means that the PTEs are set; pairs with nhi_pmd_split_locked(). */
		word = nhi_load_acquire(&pmd->word);
		if (nhi_word_state(word) == NHI_NONE) {
			got = fast_ptes(mm, pmd, addr, want, flags, pages + done);
		} else {
			if (nhi_entry_ref(&pmd->word, NULL, (uint32_t)want, flags))
				break;
			for (got = 0; got < want; got++)
				nhi_page_set(&pages[done + got],
					     addr + ((uintptr_t)got << mm->page_shift), flags,
					     true);
		}
		done += got;
	} while (got == want && done < nr);
	return done;
}

/* Entry of a handle; NULL: it never had one. */
static nhi_word *entry_of(struct nhi_mm *mm, uintptr_t word)
{
	uintptr_t addr = nhi_round_down(word, (uintptr_t)nhi_page_size(mm));
	struct nhi_pmd *pmd = nhi_pmd_lookup(mm, addr);
	nhi_word *ptes;

	if (!pmd)
		return NULL;
	if (word & NHI_PAGE_IS_HUGE)
		return &pmd->word;
	ptes = nhi_load_acquire(&pmd->ptes); /* pairs with the release that put it there */
	return ptes ? &ptes[nhi_pte_index(mm, addr)] : NULL;
}

/* Take @n references off. Return: false: there are not so many. */
static bool unref(nhi_word *entry, uint32_t n, bool pins)
{
	const nhi_word one = pins ? NHI_W_PIN_ONE : NHI_W_GET_ONE;
	nhi_word old = nhi_load_relaxed(entry);

	do {
		if ((pins ? nhi_word_pins(old) : nhi_word_gets(old)) < n)
			return false;
		/* Release: what the holder did to the page comes before who moves it next. */
	} while (!nhi_cas_release(entry, &old, old - n * one));
	return true;
}

void nhi_pages_put(struct nhi_mm *mm, struct nhi_page *pages, size_t n, bool pins)
{
	const unsigned int kind = pins ? NHI_PAGE_IS_PIN : NHI_PAGE_IS_GET;
	const uintptr_t page = nhi_page_size(mm);
	size_t same;

	for (size_t i = 0; i < n; i += same) {
		uintptr_t word = pages[i].word;
		nhi_word *entry;
		bool ok;

		same = 1;
		/* Subpages of one huge page go together. */
		while (word & NHI_PAGE_IS_HUGE && i + same < n &&
		       pages[i + same].word == word + same * page &&
		       nhi_pte_index(mm, pages[i + same].word) != 0)
			same++;
		entry = word & kind ? entry_of(mm, word) : NULL;
		ok = entry && unref(entry, (uint32_t)same, pins);
		nhi_debug_assert(ok); /* given back twice, or as the other kind */
		if (ok && word & NHI_PAGE_IS_COPY)
			mm->os->ops->table_free(mm->os, (void *)pages[i].usable, page);
		for (size_t j = i; ok && j < i + same; j++)
			pages[j].word = pages[j].usable = 0;
	}
}

uint32_t nhi_page_refs(struct nhi_mm *mm, const struct nhi_page *page)
{
	nhi_word *entry = entry_of(mm, page->word);
	nhi_word w = entry ? nhi_load_relaxed(entry) : 0;

	return nhi_word_gets(w) + nhi_word_pins(w);
}
