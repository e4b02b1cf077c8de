/* SPDX-License-Identifier: MIT */
/*
 * What the conformance tests on real memory share: a range of base pages on node 0, every page with
 * contents of its own, in an mm whose faults take no neighbours along. The toucher goes to CREAL_OTHER.
 *
 * H: marked, policy BIND{other}: a hinting fault migrates. R: BIND{0}: it only restores.
 */
#ifndef TEST_CREAL_H
#define TEST_CREAL_H

#include "real.h"

#include <numahint/numahint_gup.h>

#define PAGES 32
#define SEED  0xc0ffull
#define HONOR NH_FOLL_HONOR_NUMA_FAULT
#define WRITE NH_FOLL_WRITE
#define FORCE NH_FOLL_FORCE

struct creal {
	const struct pair *pair;
	struct nh_mm *mm;
	char *p;   /* PAGES pages, then nothing */
	int other; /* a node with CPUs that is not 0 */
};

extern struct nh_page page[PAGES];

/* The range, filled; skips the test where the pair does not work. The caller is on node 0. */
struct creal creal_ready(void **state);
/* The same, marked; the caller is on the other node. */
struct creal creal_H(void **state);
struct creal creal_R(void **state);
/* Made inaccessible. */
struct creal creal_I(void **state);
/* Checks the counters, ends the mm, unmaps. */
void creal_done(struct creal *c);
/* Shared memory has no private copies: not for trap minor. */
void creal_private_only(void **state);

char *at(const struct creal *c, size_t n);
int mbind_to(const struct creal *c, size_t first, size_t n, int mode, unsigned long nodes,
	     unsigned int flags);
int protect(const struct creal *c, size_t first, size_t n, int prot);
int node_of(const struct creal *c, size_t n);
uint64_t marked(const struct creal *c);
uint64_t faults(const struct creal *c);
/* Read a page and check it. */
void touch(const struct creal *c, size_t n);
void intact(const struct creal *c, size_t first, size_t n);
long get(const struct creal *c, size_t first, size_t n, unsigned int flags);
long pin(const struct creal *c, size_t first, size_t n, unsigned int flags);
long fast(const struct creal *c, size_t first, size_t n, unsigned int flags);
long fast_only(const struct creal *c, size_t first, size_t n, unsigned int flags);
int follow(const struct creal *c, size_t n, unsigned int flags);
void put(const struct creal *c, size_t n);
void unpin(const struct creal *c, size_t n);
/* The contents of page[i] are those of page @n of the range. */
bool shows(size_t i, size_t n);

#endif
