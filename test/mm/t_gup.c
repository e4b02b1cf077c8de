// SPDX-License-Identifier: MIT
/*
 * What: get_user_pages: what it returns, which hints it uses up, what references keep from happening.
 * How:  on the simulated machine. Pages sit on node 0 and hold 100 + page; task 1 is on node 1.
 *	 H: policy BIND{1}, marked by LAZY: a hinting fault migrates. R: BIND{0}: it only restores.
 */
#include "gup.h"
#include "cases.h"
#include "rig.h"

#define HONOR NHI_FOLL_HONOR_NUMA_FAULT
#define N     8

static const struct sim_conf shapes[] = {
	{ .trap = NHI_TRAP_MPROTECT },
	{ .trap = NHI_TRAP_SHADOW },
	{ .trap = NHI_TRAP_SHADOW, .delivery = NHI_DELIVERY_MONITOR },
};

static struct nhi_page page[64];

static void each(void (*body)(struct rig *))
{
	for (size_t i = 0; i < NHI_ARRAY_SIZE(shapes); i++) {
		struct rig *r = rig_make(&shapes[i], 1);

		r->m->current = &r->t[1];
		body(r);
		rig_free(r);
	}
}

#define TEST(name)                         \
	static void name##_(struct rig *); \
	static void name(void **state)     \
	{                                  \
		(void)state;               \
		each(name##_);             \
	}                                  \
	static void name##_(struct rig *r)

static void as(struct rig *r, int task)
{
	r->m->current = &r->t[task];
}

static long gup(struct rig *r, enum nhi_gup_call call, uint32_t first, uint64_t nr,
		unsigned int flags)
{
	as(r, 1);
	return nhi_gup(r->mm, call, at(r, first), nr, flags, page);
}

static long get(struct rig *r, uint32_t first, uint64_t nr, unsigned int flags)
{
	return gup(r, NHI_GUP_GET, first, nr, flags);
}

static void put(struct rig *r, size_t n)
{
	nhi_pages_put(r->mm, page, n, false);
}

static uint64_t faults(struct rig *r)
{
	return rig_count(r, NHI_C_HINTING_FAULTS);
}

/* Fixtures: pages [0, n) marked, wanted on @node. */
static void fixture(struct rig *r, uint32_t n, int node)
{
	rig_ready(r, 0, n);
	assert_int_equal(rig_mbind(r, 0, n, BIND, 1u << node, LAZY), n);
}

TEST(case_017_049_read_without_honor_leaves_the_hint)
{
	fixture(r, N, 1);
	assert_int_equal(get(r, 0, N, 0), N);
	assert_int_equal(rig_marked(r, 0, N), N);
	assert_int_equal(faults(r), 0);
	for (uint32_t i = 0; i < N; i++) {
		assert_int_equal(rig_node(r, i), 0);
		assert_int_equal(*(uint64_t *)page[i].usable, 100 + i);
		assert_int_equal(nhi_page_refs(r->mm, &page[i]), 1);
	}
	put(r, N);
	assert_int_equal(rig_get(r, 1, 3), 103);
	assert_int_equal(rig_node(r, 3), 1); /* given back, so it migrates */
}

TEST(case_018_honor_takes_the_hinting_fault_first)
{
	fixture(r, N, 1);
	assert_int_equal(get(r, 2, 1, HONOR), 1);
	assert_int_equal(faults(r), 1);
	assert_int_equal(rig_node(r, 2), 1);
	assert_int_equal(rig_marked(r, 0, N), N - 1);
	assert_int_equal(page[0].usable, at(r, 2));
	put(r, 1);
}

TEST(case_020_huge_marked_page_with_honor)
{
	uint32_t n = r->m->pages_per_huge;

	rig_map(r, 0, n);
	assert_int_equal(sim_populate_huge(&r->t[0], at(r, 0), 100), 0);
	assert_int_equal(rig_manage(r, 0, n), 0);
	assert_int_equal(rig_mbind(r, 0, n, BIND, 2, LAZY), n);
	assert_int_equal(get(r, 0, n, HONOR), n);
	assert_int_equal(faults(r), 1);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(rig_node(r, i), 1);
	put(r, n);
}

TEST(case_022_write_implies_honor)
{
	fixture(r, N, 1);
	assert_int_equal(get(r, 0, 2, NHI_FOLL_WRITE), 2);
	assert_int_equal(faults(r), 2);
	assert_int_equal(rig_node(r, 0), 1);
	assert_int_equal(rig_marked(r, 0, N), N - 2);
	put(r, 2);
}

TEST(case_024_forced_write_into_read_only_private_memory)
{
	rig_ready(r, 0, 2);
	nhi_vma_find(r->mm, at(r, 0))->prot = NHI_PROT_READ;
	assert_int_equal(rig_mbind(r, 0, 2, BIND, 1, LAZY), 2);
	assert_int_equal(get(r, 0, 1, NHI_FOLL_WRITE), -EFAULT);
	assert_int_equal(get(r, 0, 1, NHI_FOLL_WRITE | NHI_FOLL_FORCE), 1);
	assert_int_equal(faults(r), 0);
	put(r, 1);
	assert_int_equal(get(r, 1, 1, NHI_FOLL_WRITE | NHI_FOLL_FORCE | HONOR), 1);
	assert_int_equal(faults(r), 1);
	put(r, 1);
}

TEST(case_025_forced_write_where_writing_is_allowed_faults)
{
	fixture(r, 1, 0);
	assert_int_equal(get(r, 0, 1, NHI_FOLL_WRITE | NHI_FOLL_FORCE), 1);
	assert_int_equal(faults(r), 1);
	put(r, 1);
}

TEST(case_027_028_030_inaccessible_memory)
{
	rig_ready(r, 0, 2);
	assert_int_equal(sim_mprotect(&r->t[0], at(r, 0), pages(r, 2), 0), 0);
	nhi_vma_find(r->mm, at(r, 0))->prot = 0;
	assert_int_equal(get(r, 0, 1, 0), -EFAULT);
	assert_int_equal(get(r, 0, 1, HONOR), -EFAULT);
	assert_int_equal(get(r, 0, 2, NHI_FOLL_FORCE | HONOR), 2);
	put(r, 2);
	assert_int_equal(get(r, 0, 1, NHI_FOLL_FORCE | NHI_FOLL_WRITE), 1);
	put(r, 1);
	assert_int_equal(faults(r), 0);
}

TEST(case_029_force_limits)
{
	assert_int_equal(
		sim_mmap(&r->t[0], at(r, 0), pages(r, 2), NHI_PROT_READ, NHI_KIND_SHMEM, true), 0);
	assert_int_equal(get(r, 0, 1, NHI_FOLL_WRITE | NHI_FOLL_FORCE), -EFAULT);
	assert_int_equal(get(r, 0, 1, NHI_FOLL_FORCE), 1);
	put(r, 1);
}

TEST(case_031_force_and_honor_are_independent)
{
	fixture(r, 2, 0);
	assert_int_equal(get(r, 0, 1, NHI_FOLL_FORCE), 1);
	assert_int_equal(faults(r), 0);
	put(r, 1);
	assert_int_equal(get(r, 1, 1, NHI_FOLL_FORCE | HONOR), 1);
	assert_int_equal(faults(r), 1);
	put(r, 1);
}

TEST(case_033_063_dump_allocates_nothing)
{
	rig_map(r, 0, 4);
	rig_fill(r, 0, 0, 2);
	assert_int_equal(rig_manage(r, 0, 4), 0);
	assert_int_equal(rig_mark(r, 0, 4), 2);
	assert_int_equal(get(r, 3, 1, NHI_FOLL_DUMP), -EFAULT);
	assert_int_equal(nhi_get_dump_page(r->mm, at(r, 3), page), -ENOENT);
	assert_int_equal(rig_node(r, 3), NHI_NO_NODE);
	assert_int_equal(nhi_get_dump_page(r->mm, at(r, 1), page), 0);
	assert_int_equal(*(uint64_t *)page[0].usable, 101);
	assert_int_equal(rig_marked(r, 0, 4), 2);
	assert_int_equal(faults(r), 0);
	put(r, 1);
}

TEST(case_034_nofault)
{
	rig_map(r, 0, 4);
	rig_fill(r, 0, 0, 2);
	assert_int_equal(rig_manage(r, 0, 4), 0);
	assert_int_equal(rig_mark(r, 0, 1), 1);
	assert_int_equal(get(r, 0, 2, NHI_FOLL_NOFAULT), 2);
	put(r, 2);
	assert_int_equal(get(r, 0, 1, NHI_FOLL_NOFAULT | HONOR), -EFAULT);
	assert_int_equal(get(r, 0, 1, NHI_FOLL_NOFAULT | NHI_FOLL_WRITE), -EFAULT);
	assert_int_equal(get(r, 3, 1, NHI_FOLL_NOFAULT), -EFAULT);
	assert_int_equal(rig_marked(r, 0, 1), 1);
	assert_int_equal(faults(r), 0);
}

TEST(case_040_059_partial_results)
{
	rig_ready(r, 0, 3);
	assert_int_equal(get(r, 0, 5, 0), 3);
	put(r, 3);
	assert_int_equal(get(r, 3, 2, 0), -EFAULT);
	assert_int_equal(gup(r, NHI_GUP_FAST, 0, 5, 0), 3);
	put(r, 3);
	assert_int_equal(gup(r, NHI_GUP_FAST, 3, 1, 0), -EFAULT);
}

TEST(case_041_only_marked_pages_fault)
{
	rig_ready(r, 0, N);
	assert_int_equal(rig_mark(r, 2, 3), 3);
	assert_int_equal(get(r, 0, N, HONOR), N);
	assert_int_equal(faults(r), 3);
	put(r, N);
}

TEST(case_042_without_pages_it_only_brings_in)
{
	rig_map(r, 0, 4);
	as(r, 1);
	assert_int_equal(nhi_gup(r->mm, NHI_GUP_GET, at(r, 0), 4, NHI_FOLL_WRITE, NULL), 4);
	assert_int_equal(rig_node(r, 3), 1);
	assert_int_equal(nhi_gup(r->mm, NHI_GUP_GET, at(r, 0), 4, NHI_FOLL_GET, NULL), -EINVAL);
}

TEST(case_046_to_050_062_arguments)
{
	static const enum nhi_gup_call calls[] = { NHI_GUP_GET, NHI_GUP_PIN, NHI_GUP_FAST,
						   NHI_GUP_PIN_FAST, NHI_GUP_FAST_ONLY };

	rig_ready(r, 0, 2);
	for (size_t c = 0; c < NHI_ARRAY_SIZE(calls); c++) {
		long refused = calls[c] == NHI_GUP_PIN ? 0 : -EINVAL;
		bool fast = calls[c] >= NHI_GUP_FAST;

		for (unsigned int bit = 13; bit < 32; bit++)
			assert_int_equal(gup(r, calls[c], 0, 1, 1u << bit), refused);
		for (unsigned int bit = 0; fast && bit < 13; bit++) {
			bool allowed = 1u << bit &
				       0x152b; /* WRITE GET FORCE NOFAULT LONGTERM P2P HONOR */
			long got;

			if (1u << bit & (NHI_FOLL_LONGTERM | NHI_FOLL_GET) ||
			    (1u << bit == 1u << 10))
				continue;
			got = gup(r, calls[c], 0, 1, 1u << bit);
			assert_true(allowed ? got >= 0 : got == -EINVAL);
			nhi_pages_put(r->mm, page, got > 0 ? (size_t)got : 0,
				      calls[c] == NHI_GUP_PIN_FAST);
		}
		/* Bad flags are told even of no pages. */
		assert_int_equal(gup(r, calls[c], 0, 0, 1u << 20), refused);
		assert_int_equal(gup(r, calls[c], 0, 0, 0), 0);
		assert_int_equal(nhi_gup(r->mm, calls[c], at(r, 0) + 1, 1, 0, page), -EINVAL);
		assert_int_equal(nhi_gup(r->mm, calls[c], at(r, 0), UINT64_MAX / 2, 0, page),
				 -EOVERFLOW);
	}
	assert_int_equal(gup(r, NHI_GUP_PIN, 0, 1, NHI_FOLL_GET), 0);
	assert_int_equal(gup(r, NHI_GUP_PIN_FAST, 0, 1, NHI_FOLL_GET), -EINVAL);
	assert_int_equal(gup(r, NHI_GUP_GET, 0, 1, NHI_FOLL_LONGTERM), -EINVAL);
	assert_int_equal(gup(r, NHI_GUP_PIN, 0, 1, NHI_FOLL_LONGTERM), 1);
	nhi_pages_put(r->mm, page, 1, true);
	assert_int_equal(nhi_gup(r->mm, NHI_GUP_PIN, at(r, 0), 1, 0, NULL), 0);
	assert_int_equal(nhi_gup(r->mm, NHI_GUP_PIN_FAST, at(r, 0), 1, 0, NULL), -EINVAL);
	assert_int_equal(gup(r, NHI_GUP_GET, 0, 1, NHI_FOLL_ANON), 1);
	put(r, 1);
}

TEST(case_054_to_057_fast_stops_at_a_hint)
{
	fixture(r, N, 0);
	(void)rig_get(r, 0, 0);
	(void)rig_get(r, 0, 1);
	assert_int_equal(gup(r, NHI_GUP_FAST_ONLY, 0, 4, 0), 2);
	put(r, 2);
	assert_int_equal(gup(r, NHI_GUP_FAST_ONLY, 2, 4, 0), 0);
	assert_int_equal(faults(r), 2);
	assert_int_equal(rig_marked(r, 0, N), N - 2);
	assert_int_equal(gup(r, NHI_GUP_FAST, 2, 1, 0), 1);
	assert_int_equal(faults(r), 2);
	put(r, 1);
	assert_int_equal(gup(r, NHI_GUP_FAST, 2, 1, HONOR), 1);
	assert_int_equal(faults(r), 3);
	put(r, 1);
}

TEST(case_014_015_016_follow_page)
{
	fixture(r, 2, 0);
	as(r, 1);
	assert_int_equal(nhi_follow_page(r->mm, at(r, 0), 0, page), 0);
	assert_int_equal(nhi_follow_page(r->mm, at(r, 0), HONOR, page), -ENOENT);
	assert_int_equal(nhi_follow_page(r->mm, at(r, 0), NHI_FOLL_PIN, page), -ENOENT);
	assert_int_equal(nhi_follow_page(r->mm, at(r, 0), NHI_FOLL_PIN | NHI_FOLL_GET, page),
			 -EINVAL);
	assert_int_equal(nhi_follow_page(r->mm, at(r, 0), NHI_FOLL_GET, page), 0);
	assert_int_equal(*(uint64_t *)page[0].usable, 100);
	put(r, 1);
	assert_int_equal(rig_marked(r, 0, 2), 2);
	assert_int_equal(faults(r), 0);
}

TEST(case_064_065_populate_and_fault_in)
{
	fixture(r, 4, 0);
	as(r, 1);
	assert_int_equal(nhi_fault_in(r->mm, at(r, 0), at(r, 4), false), 0);
	assert_int_equal(rig_marked(r, 0, 4), 4);
	assert_int_equal(nhi_fault_in(r->mm, at(r, 0), at(r, 2), true), 0);
	assert_int_equal(faults(r), 2);
	assert_int_equal(nhi_populate(r->mm, at(r, 0), at(r, 4)), 4);
	assert_int_equal(faults(r), 4);
	assert_int_equal(nhi_fault_in(r->mm, at(r, 0), at(r, 5), false), -ENOMEM);
	nhi_vma_find(r->mm, at(r, 0))->prot = NHI_PROT_READ;
	assert_int_equal(rig_mark(r, 0, 4), 4);
	assert_int_equal(nhi_populate(r->mm, at(r, 0), at(r, 4)), 4);
	assert_int_equal(rig_marked(r, 0, 4), 4); /* read in by force: the hints stay */
	assert_int_equal(nhi_fault_in(r->mm, at(r, 0), at(r, 4), true), -EINVAL);
	nhi_vma_find(r->mm, at(r, 0))->prot = 0;
	assert_int_equal(nhi_populate(r->mm, at(r, 0), at(r, 4)), -EFAULT);
	nhi_vma_find(r->mm, at(r, 0))->prot = RW;
}

/* Global invariant 3. */
TEST(referenced_pages_are_neither_marked_nor_moved)
{
	rig_ready(r, 0, 4);
	assert_int_equal(gup(r, NHI_GUP_PIN, 0, 1, NHI_FOLL_WRITE), 1);
	page[8] = page[0];
	assert_int_equal(get(r, 1, 1, 0), 1);
	assert_int_equal(rig_mark(r, 0, 4), 2);
	assert_int_equal(rig_count(r, NHI_C_SKIPPED + nhi_reason_of(NHI_PAGE_PINNED)), 2);
	assert_int_equal(rig_mbind(r, 0, 2, BIND, 2, STRICT | MOVE), -EIO);
	assert_int_equal(rig_node(r, 0), 0);
	assert_int_equal(rig_node(r, 1), 0);
	put(r, 1);
	nhi_pages_put(r->mm, &page[8], 1, true);
	assert_int_equal(rig_mbind(r, 0, 4, BIND, 2, STRICT | MOVE), 0);
	assert_int_equal(rig_node(r, 0), 1);
	rig_intact(r, 0, 4);
}

TEST(case_116_128_a_reference_on_a_marked_page_keeps_it_from_migrating)
{
	fixture(r, 2, 1);
	assert_int_equal(get(r, 0, 1, 0), 1);
	rig_put(r, 1, 0, 100);
	assert_int_equal(faults(r), 1);
	assert_int_equal(rig_node(r, 0), 0);
	assert_int_equal(rig_count(r, NHI_C_FAILED + nhi_reason_of(NHI_PAGE_PINNED)), 1);
	assert_int_equal(rig_mark(r, 0, 1), 0); /* held still */
	put(r, 1);
	assert_int_equal(rig_mark(r, 0, 1), 1);
}

TEST(case_138_a_reference_on_a_subpage_holds_the_huge_page)
{
	uint32_t n = r->m->pages_per_huge;

	rig_map(r, 0, n);
	assert_int_equal(sim_populate_huge(&r->t[0], at(r, 0), 100), 0);
	assert_int_equal(rig_manage(r, 0, n), 0);
	assert_int_equal(rig_mark(r, 0, n), n);
	assert_int_equal(rig_get(r, 0, 0), 100); /* its entry is the PMD's, PRESENT */
	assert_int_equal(gup(r, NHI_GUP_PIN, 1, 1, 0), 1);
	assert_true(page[0].word & NHI_PAGE_IS_HUGE);
	assert_int_equal(rig_mark(r, 0, n), 0);
	assert_int_equal(rig_mark(r, n - 1, 1), 0);
	assert_int_equal(rig_mbind(r, 0, n, BIND, 2, STRICT | MOVE), -EIO);
	assert_int_equal(rig_node(r, n - 1), 0);
	/* Taken as a whole, given back one by one. */
	assert_int_equal(get(r, 0, n, 0), n);
	assert_int_equal(nhi_page_refs(r->mm, page), n + 1);
	for (uint32_t i = 0; i < n; i++)
		nhi_pages_put(r->mm, &page[i], 1, false);
	page[0].word = at(r, 1) | NHI_PAGE_IS_HUGE | NHI_PAGE_IS_PIN;
	nhi_pages_put(r->mm, page, 1, true);
	assert_int_equal(rig_mark(r, 0, n), n);
}

TEST(pin_without_honor_restores_in_place)
{
	fixture(r, 2, 1);
	assert_int_equal(gup(r, NHI_GUP_PIN, 0, 1, 0), 1);
	assert_int_equal(rig_node(r, 0), 0);
	assert_int_equal(faults(r), 0);
	assert_int_equal(rig_marked(r, 0, 2), 1);
	assert_int_equal(page[0].usable, at(r, 0));
	nhi_pages_put(r->mm, page, 1, true);
}

TEST(reference_on_memory_that_is_managed_later)
{
	rig_map(r, 0, 2);
	rig_fill(r, 0, 0, 2);
	assert_int_equal(gup(r, NHI_GUP_PIN_FAST, 0, 1, NHI_FOLL_WRITE), 1);
	assert_int_equal(rig_manage(r, 0, 2), 0);
	assert_int_equal(rig_mark(r, 0, 2), 1);
	nhi_pages_put(r->mm, page, 1, true);
	assert_int_equal(rig_mark(r, 0, 2), 1);
}

/* What is dropped or moved while it is referenced goes; the reference is given back all the same. */
TEST(dropping_and_moving_what_is_referenced)
{
	fixture(r, 4, 1);
	assert_int_equal(get(r, 0, 2, 0), 2);
	nhi_event_begin(r->mm);
	assert_int_equal(nhi_event_discarded(r->mm, at(r, 0), at(r, 1)), 0);
	nhi_event_end(r->mm);
	assert_int_equal(*(uint64_t *)page[0].usable, 100);
	put(r, 2);
	assert_int_equal(nhi_unmark_range(r->mm, 0, UINTPTR_MAX), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASES(case_017_049_read_without_honor_leaves_the_hint, "17 49"),
		CASES(case_018_honor_takes_the_hinting_fault_first, "18"),
		CASES(case_020_huge_marked_page_with_honor, "20"),
		CASES(case_022_write_implies_honor, "22"),
		CASES(case_024_forced_write_into_read_only_private_memory, "24"),
		CASES(case_025_forced_write_where_writing_is_allowed_faults, "25"),
		CASES(case_027_028_030_inaccessible_memory, "27 30"),
		CASES(case_029_force_limits, "29"),
		CASES(case_031_force_and_honor_are_independent, "31"),
		CASES(case_033_063_dump_allocates_nothing, "33"),
		CASES(case_034_nofault, "34"),
		CASES(case_040_059_partial_results, "40 59"),
		CASES(case_041_only_marked_pages_fault, "41"),
		cmocka_unit_test(case_042_without_pages_it_only_brings_in),
		CASES(case_046_to_050_062_arguments, "46 47 48 50 62"),
		CASES(case_054_to_057_fast_stops_at_a_hint, "54 56 57"),
		cmocka_unit_test(case_014_015_016_follow_page),
		CASES(case_064_065_populate_and_fault_in, "64"),
		cmocka_unit_test(referenced_pages_are_neither_marked_nor_moved),
		CASES(case_116_128_a_reference_on_a_marked_page_keeps_it_from_migrating, "128"),
		CASES(case_138_a_reference_on_a_subpage_holds_the_huge_page, "138"),
		cmocka_unit_test(pin_without_honor_restores_in_place),
		cmocka_unit_test(reference_on_memory_that_is_managed_later),
		cmocka_unit_test(dropping_and_moving_what_is_referenced),
	};

	return cmocka_run_group_tests_name("gup", tests, NULL, NULL);
}
