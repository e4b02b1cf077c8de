// SPDX-License-Identifier: MIT
/*
 * What: which pages marking marks, which it leaves alone and why, and what it counts.
 * How:  one task on the simulated machine, in both ways of marking; the machine is asked afterwards.
 */
#include "cases.h"
#include "rig.h"

static const struct sim_conf shapes[] = {
	{ .trap = NHI_TRAP_MPROTECT },
	{ .trap = NHI_TRAP_SHADOW, .delivery = NHI_DELIVERY_MONITOR },
	/* As 64 KiB base pages have it: a granule is larger than the longest run. */
	{ .trap = NHI_TRAP_SHADOW, .page_size = 65536, .huge_size = 512ul << 20, .nr_pages = 8192 },
};

/* Run @body on each shape. */
static void each(void (*body)(struct rig *))
{
	for (size_t i = 0; i < NHI_ARRAY_SIZE(shapes); i++) {
		struct rig *r = rig_make(&shapes[i], 1);

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

TEST(case_083_marks_present_pages_and_moves_none)
{
	rig_ready(r, 0, 16);
	assert_int_equal(rig_mark(r, 2, 9), 9);
	assert_int_equal(rig_marked(r, 2, 9), 9);
	assert_int_equal(rig_marked(r, 0, 16), 9);
	rig_intact(r, 0, 16);
	for (uint32_t i = 0; i < 16; i++)
		assert_int_equal(rig_node(r, i), 0);
}

TEST(case_094_marked_pages_and_holes_are_left_alone)
{
	uint64_t value;

	rig_map(r, 0, 16);
	rig_fill(r, 0, 3, 5);
	assert_int_equal(rig_manage(r, 0, 16), 0);
	assert_int_equal(rig_mark(r, 0, 16), 5);
	assert_int_equal(rig_mark(r, 0, 16), 0);
	assert_int_equal(rig_count(r, NHI_C_MARKED), 5);
	assert_int_equal(sim_peek(r->m->space, at(r, 0), &value), -ENOENT);
	for (int i = 0; i < NHI_REASONS; i++)
		assert_int_equal(rig_count(r, NHI_C_SKIPPED + i), 0);
}

TEST(case_096_shared_pages_are_not_marked)
{
	struct sim_space *child;

	rig_ready(r, 0, 8);
	child = sim_fork(&r->t[0]);
	rig_put(r, 0, 3, 103); /* our own copy */
	assert_int_equal(rig_mark(r, 0, 8), 1);
	assert_int_equal(rig_marked(r, 3, 1), 1);
	assert_int_equal(rig_count(r, NHI_C_SKIPPED + nhi_reason_of(NHI_PAGE_SHARED)), 7);
	sim_exit(child);
	assert_int_equal(rig_mark(r, 0, 8), 7);
	rig_intact(r, 0, 8);
}

TEST(case_097_pinned_pages_are_not_marked)
{
	struct sim_folio *f;

	rig_ready(r, 0, 8);
	f = sim_pin(&r->t[0], at(r, 5));
	assert_int_equal(rig_mark(r, 0, 8), 7);
	assert_int_equal(rig_marked(r, 5, 1), 0);
	assert_int_equal(rig_count(r, NHI_C_SKIPPED + nhi_reason_of(NHI_PAGE_PINNED)), 1);
	sim_unpin(r->m, f);
	assert_int_equal(rig_mark(r, 0, 8), 1);
}

TEST(pages_pinned_in_their_entry_are_not_marked)
{
	nhi_word *entry;
	bool huge;

	rig_ready(r, 0, 8);
	rig_mark(r, 5, 1);
	rig_get(r, 0, 5); /* the entry is PRESENT now */
	entry = nhi_entry_lookup(r->mm, at(r, 5), &huge);
	*entry += NHI_W_PIN_ONE;
	assert_int_equal(rig_mark(r, 0, 8), 7);
	assert_int_equal(rig_marked(r, 5, 1), 0);
	*entry -= NHI_W_PIN_ONE;
	*entry += NHI_W_GET_ONE; /* its holder uses the page at its address */
	assert_int_equal(rig_mark(r, 0, 8), 0);
	*entry -= NHI_W_GET_ONE;
	assert_int_equal(rig_mark(r, 0, 8), 1);
	*entry += NHI_W_GET_ONE; /* taken while it is marked, it stays */
	rig_get(r, 1, 5);
	assert_int_equal(nhi_word_gets(*entry), 1);
	*entry -= NHI_W_GET_ONE;
}

TEST(case_089_inaccessible_ranges_are_skipped)
{
	rig_map(r, 0, 12);
	rig_fill(r, 0, 0, 12);
	assert_int_equal(sim_mprotect(&r->t[0], at(r, 4), pages(r, 4), 0), 0);
	assert_int_equal(rig_manage(r, 0, 12), 0);
	assert_int_equal(rig_mark(r, 0, 12), 8);
	assert_int_equal(rig_marked(r, 4, 4), 0);
	assert_int_equal(rig_count(r, NHI_C_SKIPPED + 7), 4);
	rig_intact(r, 0, 12);
}

/* A huge page on task 0's node at the second granule of a mapping of three. */
static uint32_t huge_ready(struct rig *r)
{
	uint32_t n = r->m->pages_per_huge;

	if (3 * n > r->m->conf.nr_pages)
		return 0;
	rig_map(r, 0, 3 * n);
	assert_int_equal(sim_populate_huge(&r->t[0], at(r, n), 100 + n), 0);
	assert_int_equal(rig_manage(r, 0, 3 * n), 0);
	return n;
}

TEST(case_098_huge_page_is_marked_as_one)
{
	uint32_t n = huge_ready(r);
	nhi_word *entry;
	bool huge;

	if (!n)
		return;
	assert_int_equal(rig_mark(r, 0, 3 * n), n);
	entry = nhi_entry_lookup(r->mm, at(r, n + 1), &huge);
	assert_true(huge);
	assert_int_equal(nhi_word_state(*entry), NHI_MARKED);
	assert_true(r->m->space->huge[1]);
	assert_int_equal(rig_mark(r, 0, 3 * n), 0);
	rig_check(r);
	/* It moves as one, too. */
	rig_put(r, 1, n + 2, 100 + n + 2);
	assert_int_equal(rig_marked(r, n, n), 0);
	assert_int_equal(rig_node(r, n), 1);
	assert_true(r->m->space->huge[1]);
	assert_int_equal(rig_count(r, NHI_C_MIGRATED), n);
	assert_int_equal(rig_count(r, NHI_C_HINTING_FAULTS), 1);
	rig_intact(r, n, n);
}

TEST(case_099_partly_covered_huge_page_is_split)
{
	uint32_t n = huge_ready(r);
	bool huge;

	if (!n)
		return;
	assert_int_equal(rig_mark(r, n + 1, n), n - 1);
	nhi_entry_lookup(r->mm, at(r, n + 1), &huge);
	assert_false(huge);
	assert_false(r->m->space->huge[1]);
	assert_int_equal(rig_marked(r, n, 1), 0);
	rig_intact(r, n, n);
}

TEST(case_099_marked_huge_page_then_half_of_it)
{
	uint32_t n = huge_ready(r);
	bool huge;

	if (!n)
		return;
	assert_int_equal(rig_mark(r, n, n), n);
	/* The split uses the hint up; what is in the range is marked again. */
	assert_int_equal(rig_mark(r, n, n / 2), n / 2);
	rig_check(r);
	nhi_entry_lookup(r->mm, at(r, n), &huge);
	assert_false(huge);
	assert_int_equal(rig_marked(r, n, n / 2), n / 2);
	assert_int_equal(rig_marked(r, n + n / 2, n - n / 2), 0);
	/* The entries say base pages: each is resolved alone, whatever the machine has there. */
	rig_get(r, 1, n + 1);
	assert_int_equal(rig_marked(r, n, n), n / 2 - 1);
	rig_intact(r, n, n);
}

TEST(case_100_counts_base_pages)
{
	uint32_t n = huge_ready(r);

	if (!n)
		return;
	rig_fill(r, 0, 0, 3);
	assert_int_equal(rig_mark(r, 0, 3 * n), n + 3);
	assert_int_equal(rig_count(r, NHI_C_MARKED), n + 3);
}

TEST(shared_huge_page_and_pinned_huge_page_are_left_alone)
{
	uint32_t n = huge_ready(r);
	struct sim_space *child;
	struct sim_folio *f;

	if (!n)
		return;
	child = sim_fork(&r->t[0]);
	assert_int_equal(rig_mark(r, 0, 3 * n), 0);
	sim_exit(child);
	f = sim_pin(&r->t[0], at(r, n + 1));
	assert_int_equal(rig_mark(r, 0, 3 * n), 0);
	assert_int_equal(rig_count(r, NHI_C_SKIPPED + nhi_reason_of(NHI_PAGE_PINNED)), n);
	sim_unpin(r->m, f);
	assert_int_equal(rig_mark(r, 0, 3 * n), n);
}

TEST(shared_mappings_are_marked_unless_mapped_twice)
{
	struct sim_space *child;

	assert_int_equal(sim_mmap(&r->t[0], at(r, 0), pages(r, 8), RW, NHI_KIND_SHMEM, true), 0);
	rig_fill(r, 0, 0, 8);
	assert_int_equal(rig_manage(r, 0, 8), 0);
	assert_int_equal(rig_mark(r, 0, 8), 8);
	rig_get(r, 1, 2);
	rig_intact(r, 0, 8);
	assert_int_equal(nhi_unmark_range(r->mm, at(r, 0), at(r, 8)), 7);
	child = sim_fork(&r->t[0]);
	assert_int_equal(rig_mark(r, 0, 8), 0);
	rig_put(r, 0, 2, 5);
	assert_int_equal(rig_count(r, NHI_C_SKIPPED), 8);
	sim_exit(child);
	rig_put(r, 0, 2, 102);
}

TEST(unmark_restores_in_place)
{
	rig_ready(r, 0, 16);
	assert_int_equal(rig_mark(r, 0, 16), 16);
	assert_int_equal(nhi_unmark_range(r->mm, at(r, 3), at(r, 9)), 6);
	assert_int_equal(rig_marked(r, 0, 16), 10);
	assert_int_equal(rig_marked(r, 3, 6), 0);
	assert_int_equal(nhi_unmark_range(r->mm, at(r, 3), at(r, 9)), 0);
	assert_int_equal(nhi_unmark_range(r->mm, 0, UINTPTR_MAX), 10);
	assert_int_equal(rig_count(r, NHI_C_RESTORED), 16);
	assert_int_equal(rig_count(r, NHI_C_HINTING_FAULTS), 0);
	rig_intact(r, 0, 16);
}

TEST(unmark_part_of_a_marked_huge_page)
{
	uint32_t n = huge_ready(r);
	long restored;

	if (!n)
		return;
	assert_int_equal(rig_mark(r, n, n), n);
	restored = nhi_unmark_range(r->mm, at(r, n + 1), at(r, n + 2));
	/* All of it or the one page, but never a page that was not restored. */
	assert_int_equal(restored, n - rig_marked(r, n, n));
	assert_int_equal(rig_marked(r, n + 1, 1), 0);
	rig_intact(r, n, n);
}

TEST(unmanage_restores_and_forgets)
{
	rig_ready(r, 0, 16);
	assert_int_equal(rig_mark(r, 0, 16), 16);
	assert_int_equal(nhi_unmanage(r->mm, at(r, 4), at(r, 8)), 0);
	assert_int_equal(rig_marked(r, 4, 4), 0);
	assert_int_equal(rig_marked(r, 0, 16), 12);
	assert_int_equal(nhi_mm_managed_bytes(r->mm), pages(r, 12));
	assert_int_equal(rig_mark(r, 0, 16), 0);
	rig_intact(r, 0, 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(case_083_marks_present_pages_and_moves_none),
		CASES(case_094_marked_pages_and_holes_are_left_alone, "94"),
		CASES(case_096_shared_pages_are_not_marked, "96"),
		cmocka_unit_test(case_097_pinned_pages_are_not_marked),
		cmocka_unit_test(pages_pinned_in_their_entry_are_not_marked),
		CASES(case_089_inaccessible_ranges_are_skipped, "89"),
		CASES(case_098_huge_page_is_marked_as_one, "98 108"),
		CASES(case_099_partly_covered_huge_page_is_split, "99"),
		CASES(case_099_marked_huge_page_then_half_of_it, "99"),
		CASES(case_100_counts_base_pages, "100"),
		cmocka_unit_test(shared_huge_page_and_pinned_huge_page_are_left_alone),
		cmocka_unit_test(shared_mappings_are_marked_unless_mapped_twice),
		cmocka_unit_test(unmark_restores_in_place),
		cmocka_unit_test(unmark_part_of_a_marked_huge_page),
		cmocka_unit_test(unmanage_restores_and_forgets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
