// SPDX-License-Identifier: MIT
/* The public entry points of numahint_gup.h. */
#include "api.h"
#include "gup.h"
#include "numahint/numahint_gup.h"

#include <errno.h>

#define SAME_FLAG(name) _Static_assert(NH_FOLL_##name == NHI_FOLL_##name, #name)
SAME_FLAG(WRITE);
SAME_FLAG(GET);
SAME_FLAG(DUMP);
SAME_FLAG(FORCE);
SAME_FLAG(NOWAIT);
SAME_FLAG(NOFAULT);
SAME_FLAG(HWPOISON);
SAME_FLAG(ANON);
SAME_FLAG(LONGTERM);
SAME_FLAG(SPLIT_PMD);
SAME_FLAG(PCI_P2PDMA);
SAME_FLAG(INTERRUPTIBLE);
SAME_FLAG(HONOR_NUMA_FAULT);
_Static_assert(sizeof(struct nh_page) == sizeof(struct nhi_page),
	       "the public handle is the engine's");

static struct nhi_page *own(const struct nh_page *pages)
{
	return (struct nhi_page *)(uintptr_t)pages;
}

static long gup(struct nh_mm *mm, enum nhi_gup_call call, const void *addr, size_t nr,
		unsigned int flags, struct nh_page *pages)
{
	int err = nhi_mm_of(mm, &mm);

	return err ? err : nhi_gup(&mm->mm, call, (uintptr_t)addr, nr, flags, own(pages));
}

long nh_get_user_pages(struct nh_mm *mm, const void *addr, size_t nr, unsigned int flags,
		       struct nh_page *pages)
{
	return gup(mm, NHI_GUP_GET, addr, nr, flags, pages);
}

long nh_get_user_pages_remote(struct nh_mm *mm, const void *addr, size_t nr, unsigned int flags,
			      struct nh_page *pages)
{
	return gup(mm, NHI_GUP_GET, addr, nr, flags, pages);
}

long nh_get_user_pages_fast(struct nh_mm *mm, const void *addr, size_t nr, unsigned int flags,
			    struct nh_page *pages)
{
	return gup(mm, NHI_GUP_FAST, addr, nr, flags, pages);
}

long nh_get_user_pages_fast_only(struct nh_mm *mm, const void *addr, size_t nr, unsigned int flags,
				 struct nh_page *pages)
{
	return gup(mm, NHI_GUP_FAST_ONLY, addr, nr, flags, pages);
}

long nh_pin_user_pages(struct nh_mm *mm, const void *addr, size_t nr, unsigned int flags,
		       struct nh_page *pages)
{
	return gup(mm, NHI_GUP_PIN, addr, nr, flags, pages);
}

long nh_pin_user_pages_remote(struct nh_mm *mm, const void *addr, size_t nr, unsigned int flags,
			      struct nh_page *pages)
{
	return gup(mm, NHI_GUP_PIN, addr, nr, flags, pages);
}

long nh_pin_user_pages_fast(struct nh_mm *mm, const void *addr, size_t nr, unsigned int flags,
			    struct nh_page *pages)
{
	return gup(mm, NHI_GUP_PIN_FAST, addr, nr, flags, pages);
}

void nh_put_pages(struct nh_mm *mm, struct nh_page *pages, size_t nr)
{
	if (!nhi_mm_of(mm, &mm))
		nhi_pages_put(&mm->mm, own(pages), nr, false);
}

void nh_unpin_user_pages(struct nh_mm *mm, struct nh_page *pages, size_t nr)
{
	if (!nhi_mm_of(mm, &mm))
		nhi_pages_put(&mm->mm, own(pages), nr, true);
}

int nh_follow_page(struct nh_mm *mm, const void *addr, unsigned int flags, struct nh_page *page)
{
	int err = nhi_mm_of(mm, &mm);

	if (!err && flags & ~NHI_FOLL_EXTERNAL)
		err = -EINVAL;
	return err ? err : nhi_follow_page(&mm->mm, (uintptr_t)addr, flags, own(page));
}

int nh_get_dump_page(struct nh_mm *mm, const void *addr, struct nh_page *page)
{
	int err = nhi_mm_of(mm, &mm);

	return err ? err : nhi_get_dump_page(&mm->mm, (uintptr_t)addr, own(page));
}

int nh_fault_in(struct nh_mm *mm, void *addr, size_t len, int write)
{
	uintptr_t start, end;
	int err = nhi_mm_of(mm, &mm);

	if (!err)
		err = nhi_range_of(mm, addr, len, &start, &end);
	return err ? err : nhi_fault_in(&mm->mm, start, end, write);
}

long nh_populate(struct nh_mm *mm, void *addr, size_t len)
{
	uintptr_t start, end;
	int err = nhi_mm_of(mm, &mm);

	if (!err)
		err = nhi_range_of(mm, addr, len, &start, &end);
	return err ? err : nhi_populate(&mm->mm, start, end);
}

void *nh_page_address(const struct nh_page *page)
{
	return (void *)own(page)->usable;
}

int nh_page_node(struct nh_mm *mm, const struct nh_page *page)
{
	int node = -ENOENT, err = nhi_mm_of(mm, &mm);

	if (!err)
		err = nhi_nodes_of(
			&mm->mm, nhi_round_down(own(page)->word, (uintptr_t)nhi_page_size(&mm->mm)),
			1, &node);
	return err ? err : node == NHI_UNKNOWN_NODE ? -ENOENT : node;
}

unsigned int nh_page_order(struct nh_mm *mm, const struct nh_page *page)
{
	if (!(own(page)->word & NHI_PAGE_IS_HUGE) || nhi_mm_of(mm, &mm))
		return 0;
	return mm->mm.huge_shift - mm->mm.page_shift;
}

unsigned int nh_page_count(struct nh_mm *mm, const struct nh_page *page)
{
	return nhi_mm_of(mm, &mm) ? 0 : nhi_page_refs(&mm->mm, own(page));
}
