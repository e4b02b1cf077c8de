// SPDX-License-Identifier: MIT
/* Who uses pages without being an access of the program: inspectors, dumps, populating. */
#include "gup.h"

int nhi_follow_page(struct nhi_mm *mm, uintptr_t addr, unsigned int flags, struct nhi_page *page)
{
	bool huge, marked;
	nhi_word *entry, word;
	struct nhi_vma vma;
	uint8_t info = 0;
	int err;

	if (flags & ~(NHI_FOLL_EXTERNAL | NHI_FOLL_PIN) ||
	    (flags & NHI_FOLL_GET && flags & NHI_FOLL_PIN))
		return -EINVAL;
	if (flags & NHI_FOLL_PIN || addr & (nhi_page_size(mm) - 1))
		return flags & NHI_FOLL_PIN ? -ENOENT : -EINVAL;
	if (!nhi_vma_next(mm, addr, addr + nhi_page_size(mm), &vma))
		return -ENOENT;
	entry = nhi_entry_lookup(mm, addr, &huge);
	word = entry ? nhi_load_acquire(entry) : NHI_NONE;
	marked = nhi_word_state(word) == NHI_MARKED && nhi_vma_accessible(&vma);
	err = nhi_word_busy(word) ? -ENOENT : 0;
	if (marked && (flags & NHI_FOLL_HONOR_NUMA_FAULT || NHI_CANARY(FOLLOW_PAGE_HONOURS)))
		err = -ENOENT;
	if (!err && !marked)
		err = mm->os->ops->query(mm->os, vma.map, addr, 1, &info);
	if (!err && !marked && !(info & NHI_INFO_PRESENT))
		err = -ENOENT;
	nhi_map_put(mm, vma.map);
	if (err)
		return -ENOENT;
	if (flags & NHI_FOLL_GET) {
		/* NOFAULT: if it is not as it was a moment ago, there is nothing to follow. */
		flags &= NHI_FOLL_GET | NHI_FOLL_FORCE | NHI_FOLL_HONOR_NUMA_FAULT;
		return nhi_gup(mm, NHI_GUP_GET, addr, 1, flags | NHI_FOLL_FORCE | NHI_FOLL_NOFAULT,
			       page) == 1 ?
			       0 :
			       -ENOENT;
	}
	nhi_page_set(page, addr, 0, huge);
	page->usable = marked ? 0 : addr;
	return 0;
}

int nhi_get_dump_page(struct nhi_mm *mm, uintptr_t addr, struct nhi_page *page)
{
	const unsigned int flags = NHI_FOLL_FORCE | NHI_FOLL_DUMP | NHI_FOLL_GET;

	return nhi_gup(mm, NHI_GUP_GET, addr, 1, flags, page) == 1 ? 0 : -ENOENT;
}

/* Case 65. A mark says that the page is there, so reading in leaves it alone. */
int nhi_fault_in(struct nhi_mm *mm, uintptr_t start, uintptr_t end, bool write)
{
	const unsigned int flags = NHI_FOLL_HWPOISON | (write ? NHI_FOLL_WRITE : 0);
	struct nhi_mapping in;
	struct nhi_map *map;

	for (uintptr_t addr = start; addr < end; addr = in.end) {
		int err = nhi_mapping_at(mm, addr, &in, &map);
		long n;

		if (err)
			return err == -EFAULT ? -ENOMEM : err;
		if (map)
			nhi_map_put(mm, map);
		if (!(in.prot & (write ? NHI_PROT_WRITE : NHI_PROT_READ)))
			return -EINVAL;
		in.end = nhi_min(in.end, end);
		n = nhi_gup(mm, NHI_GUP_GET, addr, (in.end - addr) >> mm->page_shift, flags, NULL);
		if (n < 0)
			return (int)n;
		in.end = addr + ((uintptr_t)n << mm->page_shift);
	}
	return 0;
}

/* Case 64. */
long nhi_populate(struct nhi_mm *mm, uintptr_t start, uintptr_t end)
{
	long done = 0;

	for (uintptr_t addr = start; addr < end; addr += nhi_page_size(mm)) {
		struct nhi_vma vma;
		unsigned int flags;
		bool found = nhi_vma_next(mm, addr, addr + nhi_page_size(mm), &vma);
		long n;

		if (!found || !nhi_vma_accessible(&vma)) {
			if (found)
				nhi_map_put(mm, vma.map);
			return done ? done : -EFAULT;
		}
		/* Private and writable: so that the write that comes need not fault. */
		flags = vma.prot & NHI_PROT_WRITE && vma.map->kind == NHI_KIND_ANON ?
				NHI_FOLL_WRITE :
				NHI_FOLL_FORCE;
		nhi_map_put(mm, vma.map);
		n = nhi_gup(mm, NHI_GUP_GET, addr, 1, flags, NULL);
		if (n < 0)
			return done ? done : n;
		done += n;
	}
	return done;
}
