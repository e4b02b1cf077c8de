/* SPDX-License-Identifier: MIT */
/*
 * numahint_gup.h - references to pages: get_user_pages for programs
 *
 * Whoever hands memory to the kernel, to a device or to another thread for a while takes references:
 * as long as they are held the pages are neither marked nor moved by numahint, so that their
 * addresses can be used by anybody, system calls included. Whether taking one counts as a touch of
 * the program - whether it honours a hint - is the caller's choice: NH_FOLL_HONOR_NUMA_FAULT, never
 * set for you.
 *
 *	struct nh_page page[16];
 *	long n = nh_pin_user_pages_fast(mm, buf, 16, NH_FOLL_WRITE, page);
 *	...read(fd, buf, n * page_size)...
 *	nh_unpin_user_pages(mm, page, n);
 *
 * References belong to the mm (NULL: the default one), not to a thread, and survive unmanaging. They
 * keep numahint away; what the program itself does to its memory (munmap, MADV_DONTNEED) they do not
 * hinder. After fork() the child's references are those that were held at the time.
 *
 * All functions are thread-safe. Only nh_get_user_pages_fast_only(), nh_put_pages() and
 * nh_unpin_user_pages() of pages that are not copies may be called in signal handlers.
 * Addresses are multiples of the page size, counts are base pages, errors are negative errno.
 *
 * Source: cases 13 to 69 of the semantics, see doc/conformance.md.
 */
#ifndef NUMAHINT_GUP_H
#define NUMAHINT_GUP_H

#include <numahint/numahint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NH_FOLL_WRITE		 (1u << 0) /* the page will be written */
#define NH_FOLL_GET		 (1u << 1) /* take a reference: implied where pages are returned */
#define NH_FOLL_DUMP		 (1u << 2) /* -EFAULT for a hole instead of a fresh page */
#define NH_FOLL_FORCE		 (1u << 3) /* where the program itself has no access, too */
#define NH_FOLL_NOWAIT		 (1u << 4) /* accepted; nothing here waits for a device */
#define NH_FOLL_NOFAULT		 (1u << 5) /* -EFAULT instead of a fault */
#define NH_FOLL_HWPOISON	 (1u << 6) /* tell -EHWPOISON from -EFAULT */
#define NH_FOLL_ANON		 (1u << 7) /* anonymous memory only */
#define NH_FOLL_LONGTERM	 (1u << 8) /* pins only: will be held for long */
#define NH_FOLL_SPLIT_PMD	 (1u << 9)
#define NH_FOLL_PCI_P2PDMA	 (1u << 10)
#define NH_FOLL_INTERRUPTIBLE	 (1u << 11)
#define NH_FOLL_HONOR_NUMA_FAULT (1u << 12) /* a marked page is touched: it may migrate to here */

/**
 * struct nh_page - a page, and the reference held on it; opaque, may be copied but given back once
 */
struct nh_page {
	uintptr_t nh_private[2];
};

/**
 * nh_get_user_pages - reference pages, bringing them in as an access would
 * @mm:    the mm; memory that it does not manage may be referenced too
 * @addr:  start, a multiple of the page size
 * @nr:    number of pages
 * @flags: NH_FOLL_*
 * @pages: @nr entries; NULL: only bring them in
 *
 * A marked page: with NH_FOLL_HONOR_NUMA_FAULT or NH_FOLL_WRITE the hinting fault is taken first, as
 * if the calling thread had touched the page. Without, the page stays marked and where it is, and
 * the handle's address shows a copy of its contents.
 *
 * Return: the number of pages referenced, fewer than @nr if one could not be had; if it is the
 *	first, the reason: -EFAULT (not mapped, or no such access), -ENOMEM (memory, or 65535
 *	references), -EINVAL (flags, alignment), -EOVERFLOW, -EOPNOTSUPP, -EHWPOISON.
 * Context: may block.
 */
NH_API NH_CHECK long nh_get_user_pages(struct nh_mm *mm, const void *addr, size_t nr,
				       unsigned int flags, struct nh_page *pages);

/** nh_get_user_pages_remote - the same, for the memory of another mm; the caller is who touches */
NH_API NH_CHECK long nh_get_user_pages_remote(struct nh_mm *mm, const void *addr, size_t nr,
					      unsigned int flags, struct nh_page *pages);

/**
 * nh_get_user_pages_fast - the same, at first without any lock
 *
 * Flags: WRITE GET FORCE NOFAULT LONGTERM HONOR_NUMA_FAULT; others are -EINVAL.
 */
NH_API NH_CHECK long nh_get_user_pages_fast(struct nh_mm *mm, const void *addr, size_t nr,
					    unsigned int flags, struct nh_page *pages);

/**
 * nh_get_user_pages_fast_only - what can be had without any lock or fault
 *
 * Stops at a page that is marked, being moved, or not known to the mm yet.
 *
 * Return: the number of pages, possibly 0; -EINVAL, -EOVERFLOW.
 * Context: never blocks; async-signal-safe.
 */
NH_API NH_CHECK long nh_get_user_pages_fast_only(struct nh_mm *mm, const void *addr, size_t nr,
						 unsigned int flags, struct nh_page *pages);

/**
 * nh_pin_user_pages - reference pages for I/O or DMA
 *
 * As nh_get_user_pages(), but the address of a page is always its own: a marked page that is not to
 * be touched (neither WRITE nor HONOR_NUMA_FAULT) is restored where it is. Flags that cannot be are
 * answered by 0, as the kernel does; NH_FOLL_GET is one of them.
 */
NH_API NH_CHECK long nh_pin_user_pages(struct nh_mm *mm, const void *addr, size_t nr,
				       unsigned int flags, struct nh_page *pages);
/** nh_pin_user_pages_remote - as nh_get_user_pages_remote() */
NH_API NH_CHECK long nh_pin_user_pages_remote(struct nh_mm *mm, const void *addr, size_t nr,
					      unsigned int flags, struct nh_page *pages);
/** nh_pin_user_pages_fast - as nh_get_user_pages_fast(); flags that cannot be are -EINVAL */
NH_API NH_CHECK long nh_pin_user_pages_fast(struct nh_mm *mm, const void *addr, size_t nr,
					    unsigned int flags, struct nh_page *pages);

/**
 * nh_put_pages - give back references of nh_get_user_pages() and its kin, all or some
 * @mm:    the mm they were taken from
 * @pages: the handles; emptied
 * @nr:    how many
 *
 * A handle that was given back already, or holds a pin, is left alone; a debug build stops there.
 */
NH_API void nh_put_pages(struct nh_mm *mm, struct nh_page *pages, size_t nr);

/** nh_unpin_user_pages - give back pins, as nh_put_pages() */
NH_API void nh_unpin_user_pages(struct nh_mm *mm, struct nh_page *pages, size_t nr);

/**
 * nh_follow_page - a page as it is: never faults, never disturbs a mark
 * @addr:  a multiple of the page size
 * @flags: 0, NH_FOLL_GET, NH_FOLL_HONOR_NUMA_FAULT
 * @page:  without NH_FOLL_GET there is nothing to give back
 *
 * Return: 0; -ENOENT (no page, one that is being moved, or a marked one to be honoured); -EINVAL.
 */
NH_API NH_CHECK int nh_follow_page(struct nh_mm *mm, const void *addr, unsigned int flags,
				   struct nh_page *page);

/** nh_get_dump_page - for who writes a dump: whatever the protection; -ENOENT for a hole */
NH_API NH_CHECK int nh_get_dump_page(struct nh_mm *mm, const void *addr, struct nh_page *page);

/**
 * nh_fault_in - MADV_POPULATE_READ or MADV_POPULATE_WRITE that knows about marks
 * @write: 0: marks stay, for a marked page is there; 1: they are used up, as by a write
 *
 * Return: 0; -ENOMEM (a part is not mapped); -EINVAL (no such access); -EHWPOISON.
 */
NH_API NH_CHECK int nh_fault_in(struct nh_mm *mm, void *addr, size_t len, int write);

/**
 * nh_populate - bring a managed range in as mlock(2) does
 *
 * Return: pages; -EFAULT (not managed, or inaccessible).
 */
NH_API NH_CHECK long nh_populate(struct nh_mm *mm, void *addr, size_t len);

/** nh_page_address - where the contents are; NULL: a marked page without a reference */
NH_API void *nh_page_address(const struct nh_page *page);
/** nh_page_node - the node the page is on; -ENOENT: none can be told */
NH_API int nh_page_node(struct nh_mm *mm, const struct nh_page *page);
/** nh_page_order - log2 of the base pages that are referenced as one: 0, or a huge page's */
NH_API unsigned int nh_page_order(struct nh_mm *mm, const struct nh_page *page);
/** nh_page_count - references and pins held on it now by everybody */
NH_API unsigned int nh_page_count(struct nh_mm *mm, const struct nh_page *page);

#ifdef __cplusplus
}
#endif
#endif
