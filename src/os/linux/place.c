// SPDX-License-Identifier: MIT
/* Where pages are, and moving them by the kernel: move_pages(2), memory policies. */
#include "internal.h"

#include <linux/mempolicy.h>
#include <string.h>
#include <sys/mman.h>

#define CHUNK	  64 /* pages per move_pages(): 768 bytes of stack */
/* A value that the kernel does not write: a call that returns > 0 leaves entries as they were. */
#define UNTOUCHED INT32_MIN

static long move_pages(uintptr_t addr, size_t page_size, uint32_t nr, const int *nodes, int *status,
		       int how)
{
	const void *pages[CHUNK];

	for (uint32_t i = 0; i < nr; i++) {
		pages[i] = (const void *)(addr + i * page_size);
		status[i] = UNTOUCHED;
	}
	return nhi_sys6(SYS_move_pages, 0, nr, pages, nodes, status, how);
}

int nhi_place_query(uintptr_t addr, size_t page_size, uint32_t nr, uint8_t *nodes)
{
	for (uint32_t at = 0; at < nr; at += CHUNK) {
		uint32_t n = nhi_min(nr - at, (uint32_t)CHUNK);
		int status[CHUNK];
		long ret = move_pages(addr + at * page_size, page_size, n, NULL, status, 0);

		if (ret < 0)
			return (int)ret;
		for (uint32_t i = 0; i < n; i++) {
			if (status[i] >= 0 && status[i] < NHI_MAX_NODES)
				nodes[at + i] = (uint8_t)status[i];
		}
	}
	return 0;
}

bool nhi_place_is_blind(size_t page_size)
{
	volatile uint8_t *page = nhi_pages_alloc(page_size, "numahint");
	uint8_t node = NHI_UNKNOWN_NODE;

	if (!page)
		return false;
	*page = 1;
	if (!nhi_sys3(SYS_mprotect, page, page_size, PROT_NONE))
		(void)nhi_place_query((uintptr_t)page, page_size, 1, &node);
	nhi_pages_free((void *)page, page_size);
	return node == NHI_UNKNOWN_NODE;
}

static enum nhi_page_status status_of(int status, int node, long ret)
{
	if (status == node)
		return NHI_PAGE_OK;
	if (status == UNTOUCHED) /* the call gave up: the page, or one before it, is referenced */
		return ret == -ENOMEM ? NHI_PAGE_NOMEM : NHI_PAGE_PINNED;
	if (status == -EACCES)
		return NHI_PAGE_SHARED;
	if (status == -EBUSY)
		return NHI_PAGE_PINNED;
	if (status == -ENOMEM)
		return NHI_PAGE_NOMEM;
	/* -EFAULT before 6.12; also the zero page, and on 6.1 to 6.5 PROT_NONE */
	if (status == -ENOENT || status == -EFAULT)
		return NHI_PAGE_HOLE;
	return status >= 0 ? NHI_PAGE_BUSY : NHI_PAGE_OTHER; /* migrated half: still elsewhere */
}

/*
 * A huge page goes as a whole for the sake of its first page in the call, and the others are "busy"
 * with that; unless they are truly busy, they have arrived all the same.
 */
static void ask_the_busy(uintptr_t addr, size_t page_size, uint32_t n, int node, int *got)
{
	int where[CHUNK];
	bool busy = false;

	for (uint32_t i = 0; i < n; i++)
		busy |= got[i] == -EBUSY;
	if (!busy || n < 2 || move_pages(addr, page_size, n, NULL, where, 0) < 0)
		return;
	for (uint32_t i = 0; i < n; i++) {
		if (got[i] == -EBUSY && where[i] == node)
			got[i] = node;
	}
}

#define BUSY_RETRIES 8 /* pages tried once more, one by one, for each CHUNK */

/* A page may be busy for a moment only: on its way to or from a list of the kernel's. */
static void try_the_busy_again(uintptr_t addr, size_t page_size, uint32_t n, const int *nodes,
			       int *got, int how)
{
	uint32_t left = BUSY_RETRIES;

	for (uint32_t i = 0; i < n && left; i++) {
		if (got[i] != -EBUSY)
			continue;
		left--;
		(void)move_pages(addr + i * page_size, page_size, 1, &nodes[i], &got[i], how);
	}
}

static void place_move(uintptr_t addr, size_t page_size, uint32_t nr, int node, uint8_t *status,
		       int how)
{
	for (uint32_t at = 0; at < nr; at += CHUNK) {
		uint32_t n = nhi_min(nr - at, (uint32_t)CHUNK);
		int got[CHUNK], nodes[CHUNK];
		long ret;

		for (uint32_t i = 0; i < n; i++)
			nodes[i] = node;
		ret = move_pages(addr + at * page_size, page_size, n, nodes, got, how);
		/* Stopped early: ask where the others are, one by one what is wrong with them. */
		for (uint32_t i = 0; ret && n > 1 && i < n; i++) {
			if (got[i] == UNTOUCHED)
				(void)move_pages(addr + (at + i) * page_size, page_size, 1, nodes,
						 &got[i], how);
		}
		ask_the_busy(addr + at * page_size, page_size, n, node, got);
		try_the_busy_again(addr + at * page_size, page_size, n, nodes, got, how);
		for (uint32_t i = 0; i < n; i++)
			status[at + i] = (uint8_t)status_of(got[i], node, ret);
	}
}

void nhi_place_move(uintptr_t addr, size_t page_size, uint32_t nr, int node, uint8_t *status)
{
	place_move(addr, page_size, nr, node, status, MPOL_MF_MOVE);
}

void nhi_place_move_all(uintptr_t addr, size_t page_size, uint32_t nr, int node, uint8_t *status)
{
	place_move(addr, page_size, nr, node, status, MPOL_MF_MOVE_ALL);
}

bool nhi_place_is_local(struct nhi_lx *lx, int node)
{
	struct nhi_toucher who;
	int mode = -1;

	nhi_lx_self(&lx->os, &who);
	if (who.node != node)
		return false;
	if (nhi_sys5(SYS_get_mempolicy, &mode, NULL, 0, 0, 0))
		return false;
	return mode == MPOL_DEFAULT || mode == MPOL_LOCAL;
}

int nhi_place_begin(struct nhi_place_policy *saved, int node)
{
	unsigned long mask[NHI_ARRAY_SIZE(saved->mask)] = { 0 };
	const unsigned int word_bits = 8 * sizeof(mask[0]);
	const unsigned long bits = sizeof(mask) * 8;
	long err = nhi_sys5(SYS_get_mempolicy, &saved->mode, saved->mask, bits, 0, 0);

	if (err)
		return (int)err;
	mask[(unsigned int)node / word_bits] |= 1UL << ((unsigned int)node % word_bits);
	/* Not BIND: a full node would then mean the OOM killer. */
	return (int)nhi_sys3(SYS_set_mempolicy, MPOL_PREFERRED, mask, bits);
}

void nhi_place_end(const struct nhi_place_policy *saved)
{
	(void)nhi_sys3(SYS_set_mempolicy, saved->mode, saved->mask, sizeof(saved->mask) * 8);
}

void nhi_place_pretend(struct nhi_lx *lx, uintptr_t addr, size_t bytes)
{
	/* Threads share the pages they copy to: nobody reads them. One page each for 64 threads. */
	uintptr_t to = lx->scratch + ((size_t)nhi_self_tid() % 64) * lx->os.page_size;

	for (size_t off = 0; lx->scratch && off < bytes; off += lx->os.page_size)
		memcpy((void *)to, (const void *)(addr + off), lx->os.page_size);
}
