/* SPDX-License-Identifier: MIT */
/*
 * What the tests on real memory share: every test runs for every pair of trap and delivery that is
 * valid here; a pair that does not work on the machine is skipped, with the library's reason.
 */
#ifndef REAL_H
#define REAL_H

#include <numahint/numahint.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cases.h"

struct pair {
	enum nh_trap trap;
	enum nh_delivery delivery;
	const char *name;
};

#define NR_PAIRS 5
extern const struct pair real_pairs[NR_PAIRS];

/* The pair that the running test is for. */
static inline const struct pair *real_pair(void **state)
{
	return *state;
}

/* One cmocka test per pair: REAL_TESTS(name) in an array expands to NR_PAIRS of them. */
#define REAL_TEST(fn, i, n)                                                           \
	{                                                                             \
		.name = #fn " [" n "]", .test_func = fn, .setup_func = real_setup_##i \
	}
#define REAL_TESTS(fn)                                                                \
	REAL_TEST(fn, 0, "mprotect/thread"), REAL_TEST(fn, 1, "shadow/thread"),       \
		REAL_TEST(fn, 2, "shadow/monitor"), REAL_TEST(fn, 3, "minor/thread"), \
		REAL_TEST(fn, 4, "minor/monitor")
/* The same for a test that shows cases: see test/conformance/cases.h. */
#define REAL_CASE(fn, cases, i, n)                                          \
	{                                                                   \
		.name = CASES_NAME(#fn " [" n "]", cases), .test_func = fn, \
		.setup_func = real_setup_##i                                \
	}
#define REAL_CASES(fn, cases)                                                                 \
	REAL_CASE(fn, cases, 0, "mprotect/thread"), REAL_CASE(fn, cases, 1, "shadow/thread"), \
		REAL_CASE(fn, cases, 2, "shadow/monitor"),                                    \
		REAL_CASE(fn, cases, 3, "minor/thread"), REAL_CASE(fn, cases, 4, "minor/monitor")
int real_setup_0(void **state);
int real_setup_1(void **state);
int real_setup_2(void **state);
int real_setup_3(void **state);
int real_setup_4(void **state);

extern size_t real_page;
extern size_t real_huge; /* what a PMD maps */

/*
 * A new mm for the pair; skips the test, saying why, where the pair does not exist. On a machine
 * with one node the nodes are emulated, four of them.
 */
struct nh_mm *real_mm(const struct pair *pair);
struct nh_mm *real_mm_copy(const struct pair *pair, enum nh_copy copy);
bool real_emulated(void);
int real_nr_nodes(void);
/* Put the calling thread on a node: emulated by name, real by its CPUs. */
void real_go_to_node(struct nh_mm *mm, int node);
/* A node with CPUs that is not @node. */
int real_other_node(int node);

/* Memory of the kind that the pair's trap serves, aligned to real_huge, never touched. */
void *real_map(const struct pair *pair, size_t len);
/* Every page of [p, p + len) gets contents of its own, derived from @seed; check finds any change. */
void real_fill(void *p, size_t len, uint64_t seed);
void real_check(const void *p, size_t len, uint64_t seed);
/* The same for one page; @index counts pages from the start of the range. */
void real_fill_page(void *page, size_t index, uint64_t seed);
bool real_page_ok(const void *page, size_t index, uint64_t seed);

struct nh_stats real_stats(struct nh_mm *mm);
/* marked == migrated + restored + lost + marked_now */
void real_assert_balanced(struct nh_mm *mm);
uint64_t real_now_s(void);
/* The node by move_pages(2), not by the library; -1 where there is no page. */
int real_kernel_node(const void *addr);

/* Run @fn in a forked child; the test fails unless it returns true and the child exits cleanly. */
void real_in_child(bool (*fn)(void *arg), void *arg);
/*
 * Run @fn in a forked child that has no handlers but ours (those of cmocka would go on with the next
 * test); the test fails unless the child dies of @sig. @fn marks what it is about to touch.
 */
void real_child_dies(void (*fn)(void *arg), void *arg, int sig);

#endif
