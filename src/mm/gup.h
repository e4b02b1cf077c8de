/* SPDX-License-Identifier: MIT */
/*
 * get_user_pages: references that keep pages from being marked and moved.
 *
 *	reference   what it keeps                          taken on
 *	get         the page is not marked and not moved   PRESENT; MARKED too if the caller does not
 *						           honour the hint: then it gets a copy
 *	pin         the same                               PRESENT only: a marked page is restored first
 *
 * References are counts in the entry (entry.h). A huge page that is PRESENT is referenced as one, in
 * its PMD entry, which keeps it from being split; a marked one is split first, so a marked huge
 * entry has no references and whatever the program does to a part of it can be followed.
 *
 * fast: lockless, takes what is PRESENT and stops at anything else. slow: looks, faults, looks
 * again, as __get_user_pages() does. Numbers of flags are the kernel's, see NH_FOLL_*.
 */
#ifndef NHI_GUP_H
#define NHI_GUP_H

#include "mm.h"

#define NHI_FOLL_WRITE		  (1u << 0)
#define NHI_FOLL_GET		  (1u << 1)
#define NHI_FOLL_DUMP		  (1u << 2)
#define NHI_FOLL_FORCE		  (1u << 3)
#define NHI_FOLL_NOWAIT		  (1u << 4)
#define NHI_FOLL_NOFAULT	  (1u << 5)
#define NHI_FOLL_HWPOISON	  (1u << 6)
#define NHI_FOLL_ANON		  (1u << 7)
#define NHI_FOLL_LONGTERM	  (1u << 8)
#define NHI_FOLL_SPLIT_PMD	  (1u << 9)
#define NHI_FOLL_PCI_P2PDMA	  (1u << 10)
#define NHI_FOLL_INTERRUPTIBLE	  (1u << 11)
#define NHI_FOLL_HONOR_NUMA_FAULT (1u << 12)
#define NHI_FOLL_EXTERNAL	  0x1fffu
/* Internal: a caller that passes one is refused (case 46). */
#define NHI_FOLL_PIN		  (1u << 19)
#define NHI_FOLL_FAST_ONLY	  (1u << 20)

/* What a caller gets for a page. The public struct nh_page has the same size. */
struct nhi_page {
	uintptr_t word;	  /* page address | NHI_PAGE_* */
	uintptr_t usable; /* address of the contents; 0: not to be had by an address */
};
#define NHI_PAGE_IS_GET	 1u
#define NHI_PAGE_IS_PIN	 2u
#define NHI_PAGE_IS_HUGE 4u /* the reference is in the PMD entry */
#define NHI_PAGE_IS_COPY 8u /* usable is memory of the handle's own: a marked page's contents */

/* Which of the public functions is being called: they differ in what they refuse and how. */
enum nhi_gup_call {
	NHI_GUP_GET,  /* get_user_pages, _remote, _unlocked */
	NHI_GUP_PIN,  /* pin_user_pages, _remote, _unlocked */
	NHI_GUP_FAST, /* get_user_pages_fast */
	NHI_GUP_PIN_FAST,
	NHI_GUP_FAST_ONLY,
};

/*
 * @pages: @nr entries, or NULL to bring in only. Return: pages referenced, possibly fewer than @nr;
 * an error if there is none: -EINVAL, -EFAULT, -ENOMEM, -EOVERFLOW, -EOPNOTSUPP, -EHWPOISON.
 */
long nhi_gup(struct nhi_mm *mm, enum nhi_gup_call call, uintptr_t start, uint64_t nr,
	     unsigned int flags, struct nhi_page *pages);
/*
 * One page as it is: never faults, never alters a mark. Return: 0; -ENOENT: no page, or one being
 * moved, or marked and to be honoured (cases 14 to 16, 39).
 */
int nhi_follow_page(struct nhi_mm *mm, uintptr_t addr, unsigned int flags, struct nhi_page *page);
/* Case 63. 0 or -ENOENT. */
int nhi_get_dump_page(struct nhi_mm *mm, uintptr_t addr, struct nhi_page *page);
/* MADV_POPULATE_READ or _WRITE as far as marks are concerned: case 65. */
int nhi_fault_in(struct nhi_mm *mm, uintptr_t start, uintptr_t end, bool write);
/* As for a new mlocked range: case 64. Return: pages, or an error. */
long nhi_populate(struct nhi_mm *mm, uintptr_t start, uintptr_t end);
/* Give back @n references of one kind; entries that hold none are caught in debug builds. */
void nhi_pages_put(struct nhi_mm *mm, struct nhi_page *pages, size_t n, bool pins);
/* References on the page or huge page that @page is of. */
uint32_t nhi_page_refs(struct nhi_mm *mm, const struct nhi_page *page);

/* gup_fast.c. Return: pages taken, from the first on. */
uint64_t nhi_gup_fast(struct nhi_mm *mm, uintptr_t start, uint64_t nr, unsigned int flags,
		      struct nhi_page *pages);
/*
 * Add @n references of @flags' kind to @entry if it is PRESENT and may be used so. @pmd: the PMD
 * above a PTE, NULL for a PMD entry. Return: 0; -ENOENT another state, or not known to be writable;
 * -ENOMEM too many references; -ESTALE the PMD became huge.
 */
int nhi_entry_ref(nhi_word *entry, struct nhi_pmd *pmd, uint32_t n, unsigned int flags);
void nhi_page_set(struct nhi_page *page, uintptr_t addr, unsigned int flags, bool huge);

/*
 * The mapping that @addr lies in, from @addr on, as the engine knows it (a marked page may look
 * inaccessible to the os); its map with a reference, NULL if it is not managed. -EFAULT: none.
 */
int nhi_mapping_at(struct nhi_mm *mm, uintptr_t addr, struct nhi_mapping *in, struct nhi_map **map);

#endif
