/* SPDX-License-Identifier: MIT */
/* What the public entry points share; the runner's preload library uses it too. */
#ifndef NHI_API_H
#define NHI_API_H

#include "linux.h"
#include "mm.h"
#include "numahint/numahint.h"

struct nh_mm {
	struct nhi_mm mm;
	bool is_default;
};

/*
 * Fill @options from a NUMAHINT_CONF string ("nodes:4,trap:shadow,..."); keys that are not the
 * library's (see numahint(7)) are ignored, the runner warns of unknown ones.
 * @nodes: where the text of the nodes key goes, for @options->nodes.
 * Return: 0; -EINVAL a value does not parse.
 */
int nhi_options_parse(const char *conf, struct nh_mm_options *options, char *nodes, size_t len);

/* The mm that @mm stands for, made if need be. Return: 0 or why it cannot be made. */
int nhi_mm_of(struct nh_mm *mm, struct nh_mm **ret);

/*
 * The mm that NULL stands for, made with @options if it is not there yet; NULL: as the environment
 * says. Return: 0 or why it cannot be made.
 */
int nhi_default_mm(const struct nh_mm_options *options, struct nh_mm **ret);

/*
 * Register what fork() needs, before any mm exists; otherwise done with the first one. A fork() in
 * one thread while another makes the first mm is only safe if this was called. Return: 0, -ENOMEM.
 */
int nhi_api_fork_handlers(void);

/*
 * Set by the runner's preload library before any other thread runs: called, with no lock held, when
 * a range is given to an mm, so that whoever else manages it can let go. NULL: nobody.
 */
extern void (*nhi_api_claim)(uintptr_t start, uintptr_t end);

/*
 * The caller's node mask, which has @maxnode - 1 bits (case 72). Copied before any lock is taken, for it
 * may lie in marked memory. -EINVAL; -EFAULT it cannot be read.
 */
int nhi_copy_nodes(struct nh_mm *mm, const unsigned long *nodemask, unsigned long maxnode,
		   uint64_t nodes[4]);

/* [addr, addr + len) with @len rounded up to pages, as [*start, *end). -EINVAL. */
int nhi_range_of(const struct nh_mm *mm, const void *addr, size_t len, uintptr_t *start,
		 uintptr_t *end);

#endif
