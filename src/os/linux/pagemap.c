// SPDX-License-Identifier: MIT
/* What /proc/self/pagemap says of pages: present, exclusively mapped, part of a huge mapping. */
#include "internal.h"

#include <fcntl.h>

#define CHUNK 256 /* entries read at once: 2 KiB of stack */

/*
 * A descriptor that is open for good would be closed by programs that close all, and its number
 * reused; so it is open for as long as a marker works, or one query.
 */
int nhi_pagemap_open(void)
{
	return nhi_open("/proc/self/pagemap", O_RDONLY);
}

bool nhi_pagemap_can_scan(int fd)
{
	struct nhi_pm_scan_arg arg = { .size = sizeof(arg), .category_mask = NHI_PAGE_IS_HUGE };

	return fd >= 0 && nhi_sys3(SYS_ioctl, fd, NHI_PAGEMAP_SCAN, &arg) == 0;
}

/* PAGEMAP_SCAN (6.7): which of the pages are mapped as one huge page. */
static void scan_huge(struct nhi_lx *lx, int fd, uintptr_t addr, uint32_t nr, uint8_t *info)
{
	struct nhi_page_region found[8];
	struct nhi_pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = addr,
		.end = addr + nhi_bytes(lx, nr),
		.vec = (uintptr_t)found,
		.vec_len = NHI_ARRAY_SIZE(found),
		.category_mask = NHI_PAGE_IS_HUGE,
		.return_mask = NHI_PAGE_IS_HUGE,
	};

	while (arg.start < arg.end) {
		long n = nhi_sys3(SYS_ioctl, fd, NHI_PAGEMAP_SCAN, &arg);

		if (n < 0)
			return;
		for (long i = 0; i < n; i++) {
			uint64_t first = (found[i].start - addr) >> lx->page_shift;
			uint64_t end = (found[i].end - addr) >> lx->page_shift;

			for (uint64_t page = first; page < end; page++)
				info[page] |= NHI_INFO_HUGE;
		}
		if (n < (long)NHI_ARRAY_SIZE(found))
			return;
		arg.start = arg.walk_end;
	}
}

static int read_entries(struct nhi_lx *lx, int fd, uintptr_t addr, uint32_t nr, uint8_t *info)
{
	uint64_t entry[CHUNK];
	bool present = false;

	for (uint32_t i = 0; i < nr;) {
		uint32_t want = nhi_min(nr - i, (uint32_t)CHUNK);
		uint64_t at = ((addr >> lx->page_shift) + i) * sizeof(entry[0]);
		long n = nhi_sys4(SYS_pread64, fd, entry, want * sizeof(entry[0]), at);

		if (n < (long)sizeof(entry[0]))
			return n < 0 ? (int)n : -EIO;
		n /= (long)sizeof(entry[0]);
		for (uint32_t j = 0; j < (uint32_t)n; j++, i++) {
			if (!(entry[j] & (NHI_PM_PRESENT | NHI_PM_SWAP)))
				continue;
			info[i] |= NHI_INFO_PRESENT;
			/* A page in swap has no such bit; it is not known to be shared. */
			if (entry[j] & NHI_PM_PRESENT) {
				present = true;
				if (!(entry[j] & NHI_PM_EXCLUSIVE))
					info[i] |= NHI_INFO_SHARED;
			}
		}
	}
	if (present && lx->pagemap_scan && nhi_bytes(lx, nr) >= lx->os.huge_size)
		scan_huge(lx, fd, addr, nr, info);
	return 0;
}

void nhi_pagemap_begin(struct nhi_lx *lx)
{
	lx->pagemap_fd = nhi_pagemap_open();
	nhi_store_relaxed(&lx->pagemap_tid, nhi_self_tid());
}

void nhi_pagemap_end(struct nhi_lx *lx)
{
	nhi_store_relaxed(&lx->pagemap_tid, 0);
	nhi_close(lx->pagemap_fd);
	lx->pagemap_fd = -1;
}

int nhi_pagemap_query(struct nhi_lx *lx, uintptr_t addr, uint32_t nr, uint8_t *info)
{
	/* Relaxed: only the marker itself reads its own id there, and it wrote the descriptor. */
	bool marker = nhi_load_relaxed(&lx->pagemap_tid) == nhi_self_tid();
	int fd = marker ? lx->pagemap_fd : nhi_pagemap_open();
	int err = fd < 0 ? fd : read_entries(lx, fd, addr, nr, info);

	if (!marker)
		nhi_close(fd);
	return err;
}

bool nhi_pagemap_any(struct nhi_lx *lx, int fd, uintptr_t start, uintptr_t end)
{
	uint64_t entry[CHUNK];

	while (start < end) {
		uint64_t want = nhi_min((end - start) >> lx->page_shift, (uint64_t)CHUNK);
		long n = fd < 0 ? -EBADF :
				  nhi_sys4(SYS_pread64, fd, entry, want * sizeof(entry[0]),
					   (start >> lx->page_shift) * sizeof(entry[0]));

		if (n < (long)sizeof(entry[0]))
			return true;
		n /= (long)sizeof(entry[0]);
		for (long i = 0; i < n; i++) {
			if (entry[i] & (NHI_PM_PRESENT | NHI_PM_SWAP))
				return true;
		}
		start += nhi_bytes(lx, (uint32_t)n);
	}
	return false;
}

void nhi_pagemap_probe(struct nhi_lx *lx, uintptr_t addr, uint32_t nr, uint8_t *info)
{
	uint64_t entry;
	int fd = nhi_pagemap_open();

	for (uint32_t i = 0; i < nr; i++) {
		uintptr_t at = addr + nhi_bytes(lx, i);
		uint8_t core = 0;

		if (fd < 0) {
			/* Without /proc: pages that are in memory; those were put there just now. */
			(void)nhi_sys3(SYS_mincore, at, lx->os.page_size, &core);
			info[i] |= core & 1 ? NHI_INFO_PRESENT : 0;
			continue;
		}
		if (nhi_sys4(SYS_pread64, fd, &entry, sizeof(entry),
			     (at >> lx->page_shift) * sizeof(entry)) == sizeof(entry) &&
		    entry & (NHI_PM_PRESENT | NHI_PM_SWAP))
			info[i] |= NHI_INFO_PRESENT;
	}
	nhi_close(fd);
}
