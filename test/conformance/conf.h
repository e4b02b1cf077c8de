/* SPDX-License-Identifier: MIT */
/*
 * What the conformance tests share: the ways of marking, and the fixtures that the cases speak of.
 *
 *	H  private anonymous pages on node 0, policy BIND{1} that migrates, marked; the toucher is on
 *	   node 1: a hinting fault migrates
 *	R  the same with BIND{0}: a hinting fault only restores
 *	I  pages that were populated, then made inaccessible
 *
 * Pages hold 100 + page. Task 0 sits on node 0, task 1 on node 1, and makes the calls.
 */
#ifndef TEST_CONF_H
#define TEST_CONF_H

#include "cases.h"
#include "gup.h"
#include "rig.h"

#define HONOR NHI_FOLL_HONOR_NUMA_FAULT
#define WRITE NHI_FOLL_WRITE
#define FORCE NHI_FOLL_FORCE
#define GET   NHI_FOLL_GET
#define N     8

/* What calls return pages in. */
extern struct nhi_page page[64];

/* Run @body on a fresh machine of each kind. */
void conf_each(void (*body)(struct rig *r));
/* On one kind of machine, @conf. */
void conf_on(const struct sim_conf *conf, void (*body)(struct rig *r));

#define TEST(name)                         \
	static void name##_(struct rig *); \
	static void name(void **state)     \
	{                                  \
		(void)state;               \
		conf_each(name##_);        \
	}                                  \
	static void name##_(struct rig *r)

/* On the machine @conf only. */
#define TEST_ON(name, conf)                \
	static void name##_(struct rig *); \
	static void name(void **state)     \
	{                                  \
		(void)state;               \
		conf_on(conf, name##_);    \
	}                                  \
	static void name##_(struct rig *r)

/* Who makes the calls from here on. */
void as(struct rig *r, int task);
void fixture_H(struct rig *r, uint32_t n);
void fixture_R(struct rig *r, uint32_t n);
void fixture_I(struct rig *r, uint32_t n);
/* A huge page from page 0 on, marked, wanted on @node. Its pages. */
uint32_t fixture_huge(struct rig *r, int node);
/* The program's mprotect, through the engine. */
int conf_mprotect(struct rig *r, uint32_t first, uint32_t n, unsigned int prot);

/* Calls by task 1; pages into page[]. */
long gup(struct rig *r, enum nhi_gup_call call, uint32_t first, uint64_t nr, unsigned int flags);
long get(struct rig *r, uint32_t first, uint64_t nr, unsigned int flags);
long pin(struct rig *r, uint32_t first, uint64_t nr, unsigned int flags);
int follow(struct rig *r, uint32_t first, unsigned int flags);
void put(struct rig *r, size_t n);
void unpin(struct rig *r, size_t n);
/* Hinting faults so far; pages accounted to touchers so far; why pages did not move. */
uint64_t faults(struct rig *r);
uint64_t touched(struct rig *r);
uint64_t failed(struct rig *r, uint8_t status);
/* The word of a page. */
nhi_word *entry_of(struct rig *r, uint32_t n);
/* Lock the entry of page @n as a mover would: nobody else resolves it until unlock. */
void lock_entry(struct rig *r, uint32_t n, enum nhi_state state);
void unlock_entry(struct rig *r, uint32_t n, enum nhi_state state);
/* When somebody sleeps: run @then once, in its place. */
void when_waiting(struct rig *r, void (*then)(struct rig *r));
extern int waits;

#endif
