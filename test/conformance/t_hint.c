// SPDX-License-Identifier: MIT
/*
 * What: cases 98 to 118 and 128 to 138: the hinting fault: counted once, resolved once, and what keeps a
 *	 page from moving.
 * How:  on the simulated machine. Fixtures H, R: conf.h.
 */
#include "conf.h"

static int fault_by(struct rig *r, uint32_t n, int task)
{
	const struct nhi_toucher who = { .tid = r->t[task].tid, .cpu = task, .node = task % 2 };

	as(r, task);
	return nhi_fault(r->mm, at(r, n), false, &who, NHI_DELIVERY_THREAD);
}

/* Marks return and count base pages, of huge pages all of them. */
TEST(marking_counts_base_pages)
{
	uint32_t n = r->m->pages_per_huge;

	rig_map(r, 0, 2 * n);
	assert_int_equal(sim_populate_huge(&r->t[0], at(r, 0), 100), 0);
	rig_fill(r, 0, n, 3);
	assert_int_equal(rig_manage(r, 0, 2 * n), 0);
	assert_int_equal(rig_mark(r, 0, 2 * n), n + 3);
	assert_int_equal(rig_count(r, NHI_C_MARKED), n + 3);
	assert_int_equal(rig_mark(r, 0, 2 * n), 0);
}

/* Every CPU has written the pages a moment ago; no write may pass by the mark. */
TEST(no_write_is_lost_to_a_stale_translation)
{
	fixture_H(r, 4);
	assert_int_equal(nhi_unmark_range(r->mm, 0, UINTPTR_MAX), 4);
	for (int task = 0; task < RIG_TASKS; task++)
		rig_put(r, task, (uint32_t)task, 100 + (uint64_t)task);
	assert_int_equal(rig_mark(r, 0, 4), 4);
	(void)rig_get(r, 1, 0); /* moves, and leaves nothing behind to write to */
	for (int task = 0; task < RIG_TASKS; task++)
		rig_put(r, task, (uint32_t)task, 500 + (uint64_t)task);
	assert_int_equal(faults(r), 4);
	for (int task = 0; task < RIG_TASKS; task++) {
		assert_int_equal(rig_get(r, (task + 1) % RIG_TASKS, (uint32_t)task),
				 500 + (uint64_t)task);
		assert_int_equal(rig_node(r, (uint32_t)task), 1);
	}
}

TEST(the_second_of_two_threads_finds_it_resolved)
{
	fixture_H(r, 1);
	assert_int_equal(fault_by(r, 0, 1), 0);
	assert_int_equal(fault_by(r, 0, 0), 0);
	assert_int_equal(faults(r), 1);
	assert_int_equal(touched(r), 1);
	assert_int_equal(rig_node(r, 0), 1);
}

TEST(a_huge_page_is_one_fault_of_many_pages)
{
	uint32_t n = fixture_huge(r, 0);

	assert_int_equal(fault_by(r, 1, 0), 0);
	assert_int_equal(faults(r), 1);
	assert_int_equal(rig_count(r, NHI_C_HINTING_LOCAL), 1);
	assert_int_equal(rig_count(r, NHI_C_TOUCHED_LOCAL), n);
	assert_int_equal(rig_mark(r, 0, n), n);
	assert_int_equal(fault_by(r, 2, 1), 0);
	assert_int_equal(faults(r), 2);
	assert_int_equal(rig_count(r, NHI_C_HINTING_LOCAL), 1);
	assert_int_equal(rig_count(r, NHI_C_TOUCHED_REMOTE), n);
}

static struct nhi_os_ops spy;
static const struct nhi_os_ops *real_ops;
static int interruptions;

static int migrate_after_an_event(struct nhi_os *os, struct nhi_run *run)
{
	return interruptions++ < 2 ? -EAGAIN : real_ops->migrate(os, run);
}

TEST(a_fault_that_is_interrupted_is_counted_once)
{
	fixture_H(r, 1);
	interruptions = 0;
	real_ops = r->m->os.ops;
	spy = *real_ops;
	spy.migrate = migrate_after_an_event;
	r->m->os.ops = &spy;
	(void)rig_get(r, 1, 0);
	r->m->os.ops = real_ops;
	assert_int_equal(interruptions, 3);
	assert_int_equal(faults(r), 1);
	assert_int_equal(touched(r), 1);
	assert_int_equal(rig_count(r, NHI_C_MIGRATED), 1);
}

static void other_restores(struct rig *r)
{
	struct nhi_run run = { .map = nhi_vma_find(r->mm, at(r, 0))->map,
			       .addr = at(r, 0),
			       .nr_pages = r->m->pages_per_huge,
			       .huge = true,
			       .prot = RW,
			       .node = NHI_NO_NODE,
			       .status = (uint8_t[1]){ NHI_PAGE_OTHER } };

	assert_int_equal(r->m->os.ops->restore(&r->m->os, &run), 0);
	(void)nhi_add_acq_rel(&run.map->marked, -(uint64_t)run.nr_pages);
	nhi_mm_count(r->mm, 0, NHI_C_RESTORED, run.nr_pages);
	unlock_entry(r, 0, NHI_PRESENT);
}

TEST(a_fault_that_only_waited_is_not_counted)
{
	fixture_huge(r, 1);
	lock_entry(r, 0, NHI_MOVING);
	when_waiting(r, other_restores);
	assert_int_equal(fault_by(r, 3, 1), 0);
	assert_int_equal(waits, 1);
	assert_int_equal(rig_count(r, NHI_C_WAITS), 1);
	assert_int_equal(faults(r), 0);
	assert_int_equal(touched(r), 0);
	assert_int_equal(rig_node(r, 0),
			 0); /* the wait does not believe that it is misplaced still */
}

TEST(a_page_in_its_place_is_restored)
{
	fixture_R(r, 2);
	rig_put(r, 1, 0, 100);
	assert_int_equal(faults(r), 1);
	assert_int_equal(rig_node(r, 0), 0);
	assert_int_equal(rig_count(r, NHI_C_TOUCHED_REMOTE), 1);
	assert_int_equal(rig_count(r, NHI_C_RESTORED), 1);
	assert_int_equal(rig_count(r, NHI_C_MIGRATED), 0);
	assert_true(*entry_of(r, 0) & NHI_W_YOUNG);
	rig_put(r, 1, 0, 100); /* and writable: no further fault */
	assert_int_equal(faults(r), 1);
	for (int i = 0; i < NHI_REASONS; i++)
		assert_int_equal(rig_count(r, NHI_C_FAILED + i), 0);
}

TEST(refused_pages_stay_and_are_counted)
{
	static const uint8_t why[] = { NHI_PAGE_SHARED, NHI_PAGE_PINNED, NHI_PAGE_BUSY,
				       NHI_PAGE_NOMEM, NHI_PAGE_OTHER };

	fixture_H(r, N);
	for (uint32_t i = 0; i < NHI_ARRAY_SIZE(why); i++) {
		sim_fail(r->m, SIM_OP_MIGRATE, 1, false, 0, why[i]);
		assert_int_equal(rig_get(r, 1, i), 100 + i);
		assert_int_equal(rig_node(r, i), 0);
		assert_int_equal(failed(r, why[i]), 1);
		assert_int_equal(sim_page_maps(r->m->space, at(r, i)), 1);
		rig_put(r, 1, i, 100 + i);
		assert_int_equal(faults(r), i + 1);
	}
	sim_fail_none(r->m);
	/* A node that is full says so by itself. */
	sim_hog(r->m, 1, 0);
	assert_int_equal(rig_get(r, 1, 6), 106);
	assert_int_equal(rig_node(r, 6), 0);
	assert_int_equal(failed(r, NHI_PAGE_NOMEM), 2);
	sim_hog(r->m, 1, UINT32_MAX);
	rig_intact(r, 0, N);
}

TEST(a_migrated_page_is_on_its_node_alone)
{
	uint32_t used_0, used_1;

	fixture_H(r, 2);
	used_0 = r->m->used[0];
	used_1 = r->m->used[1];
	(void)rig_get(r, 1, 0);
	assert_int_equal(rig_node(r, 0), 1);
	assert_int_equal(r->m->used[0], used_0 - 1); /* the old page is free */
	assert_int_equal(r->m->used[1], used_1 + 1);
	assert_int_equal(rig_marked(r, 0, 2), 1);
	assert_int_equal(faults(r), 1);
	assert_int_equal(touched(r), 1);
	assert_int_equal(rig_count(r, NHI_C_MIGRATED), 1);
	rig_intact(r, 0, 2);
}

TEST(a_write_fault_is_resolved_then_tried_again)
{
	fixture_H(r, 1);
	as(r, 1);
	/* The engine's part writes nothing. */
	assert_int_equal(nhi_fault(r->mm, at(r, 0), true,
				   &(struct nhi_toucher){ .tid = 11, .cpu = 1, .node = 1 },
				   NHI_DELIVERY_THREAD),
			 0);
	rig_intact(r, 0, 1);
	rig_put(r, 1, 0, 9);
	assert_int_equal(rig_get(r, 0, 0), 9);
	assert_int_equal(faults(r), 1);
}

/* ------------------------------------------------------------------------- migration */

TEST(one_more_reference_and_it_stays)
{
	fixture_H(r, 1);
	assert_int_equal(get(r, 0, 1, 0), 1);
	(void)rig_get(r, 1, 0);
	assert_int_equal(rig_node(r, 0), 0);
	assert_int_equal(failed(r, NHI_PAGE_PINNED), 1);
	put(r, 1);
	assert_int_equal(rig_mark(r, 0, 1), 1);
	(void)rig_get(r, 1, 0);
	assert_int_equal(rig_node(r, 0), 1);
}

TEST(pinned_by_the_kernel_while_marked)
{
	struct sim_pte *pte;
	struct sim_folio *f;

	fixture_H(r, 1);
	pte = sim_pte(r->m->space, at(r, 0));
	f = pte->folio ? pte->folio : pte->kept;
	f->pins++; /* a device has it */
	rig_put(r, 1, 0, 55);
	assert_ptr_equal(pte->folio, f);
	assert_int_equal(f->page[0].data, 55); /* and sees what is written */
	assert_int_equal(faults(r), 1);
	assert_int_equal(failed(r, NHI_PAGE_PINNED), 1);
	sim_unpin(r->m, f);
}

TEST(a_huge_page_whose_target_is_full_stays_huge)
{
	uint32_t n = fixture_huge(r, 1);

	sim_hog(r->m, 1, n - 1); /* room for base pages, but not for all of it */
	(void)rig_get(r, 1, 0);
	assert_int_equal(rig_node(r, 0), 0);
	assert_int_equal(rig_node(r, n - 1), 0);
	assert_true(r->m->space->huge[0]);
	assert_int_equal(failed(r, NHI_PAGE_NOMEM), n);
	rig_intact(r, 0, n);
	sim_hog(r->m, 1, UINT32_MAX);
}

TEST(a_failure_in_the_middle_of_a_move_undoes_it)
{
	uint32_t used_0, used_1;

	fixture_H(r, 4);
	used_0 = r->m->used[0];
	used_1 = r->m->used[1];
	for (uint32_t i = 0; i < 2; i++) {
		/* Not even the place where it was can be had at once. */
		sim_fail(r->m, SIM_OP_MIGRATE, 1, false, i ? -EIO : 0, NHI_PAGE_STUCK);
		assert_int_equal(rig_get(r, 1, i), 100 + i);
		assert_int_equal(rig_node(r, i), 0);
		assert_int_equal(sim_page_maps(r->m->space, at(r, i)), 1);
		assert_int_equal(*entry_of(r, i) & (NHI_W_PINS | NHI_W_GETS), 0);
	}
	sim_fail_none(r->m);
	assert_int_equal(r->m->used[0], used_0);
	assert_int_equal(r->m->used[1], used_1);
	rig_intact(r, 0, 4);
}

TEST(the_last_toucher_moves_along)
{
	rig_ready(r, 0, 1);
	assert_int_equal(rig_mark(r, 0, 1), 1);
	(void)rig_get(r, 0, 0);
	assert_int_equal(nhi_word_last_node(*entry_of(r, 0)), 0);
	assert_int_equal(nhi_word_last_pid(*entry_of(r, 0)), r->t[0].tid);
	as(r, 1);
	assert_int_equal(rig_mbind(r, 0, 1, BIND, 2, STRICT | MOVE), 0);
	assert_int_equal(rig_node(r, 0), 1);
	assert_int_equal(nhi_word_last_node(*entry_of(r, 0)), 0);
	assert_int_equal(nhi_word_last_pid(*entry_of(r, 0)), r->t[0].tid);
}

TEST(a_reference_on_one_subpage_holds_all)
{
	uint32_t n = fixture_huge(r, 1);

	assert_int_equal(nhi_unmark_range(r->mm, 0, UINTPTR_MAX), n);
	assert_int_equal(get(r, n - 1, 1, 0), 1);
	assert_int_equal(rig_mark(r, 0, n), 0);
	assert_int_equal(rig_mbind(r, 0, n, BIND, 2, STRICT | MOVE), -EIO);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(rig_node(r, i), 0);
	assert_true(r->m->space->huge[0]);
	put(r, 1);
	rig_intact(r, 0, n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASES(marking_counts_base_pages, "100"),
		CASES(no_write_is_lost_to_a_stale_translation, "103"),
		CASES(the_second_of_two_threads_finds_it_resolved, "107"),
		CASES(a_huge_page_is_one_fault_of_many_pages, "108"),
		CASES(a_fault_that_is_interrupted_is_counted_once, "109"),
		CASES(a_fault_that_only_waited_is_not_counted, "110"),
		CASES(a_page_in_its_place_is_restored, "112"),
		CASES(refused_pages_stay_and_are_counted, "114"),
		CASES(a_migrated_page_is_on_its_node_alone, "115"),
		CASES(a_write_fault_is_resolved_then_tried_again, "118"),
		CASES(one_more_reference_and_it_stays, "128"),
		CASES(pinned_by_the_kernel_while_marked, "129"),
		CASES(a_huge_page_whose_target_is_full_stays_huge, "130"),
		CASES(a_failure_in_the_middle_of_a_move_undoes_it, "131"),
		CASES(the_last_toucher_moves_along, "132"),
		CASES(a_reference_on_one_subpage_holds_all, "138"),
	};

	return cmocka_run_group_tests_name("hint", tests, NULL, NULL);
}
