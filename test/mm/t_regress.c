// SPDX-License-Identifier: MIT
/*
 * What: bugs that the engine once had, one test each.
 * How:  on the simulated machine; a test says what was wrong.
 */
#include "cases.h"
#include "gup.h"
#include "rig.h"

#include <string.h>

static const struct sim_conf shadow = { .trap = NHI_TRAP_SHADOW };
static const struct sim_conf monitor = { .trap = NHI_TRAP_SHADOW,
					 .delivery = NHI_DELIVERY_MONITOR };

/* Marking stopped at the first hole, and did not begin when the range began with one. */
static void case_078_091_holes_are_passed_over(void **state)
{
	(void)state;
	for (int head = 0; head < 2; head++) {
		struct rig *r = rig_make(&shadow, 1);

		if (!head)
			rig_map(r, 0, 2);
		rig_map(r, 4, 2);
		rig_fill(r, 0, 4, 2);
		if (!head)
			rig_fill(r, 0, 0, 2);
		assert_int_equal(rig_mbind(r, 0, 6, BIND, 2, LAZY), -EFAULT);
		assert_int_equal(rig_marked(r, 0, 6), 0);
		assert_int_equal(rig_mbind(r, 0, 8, DEFAULT, 0, LAZY), head ? 2 : 4);
		assert_int_equal(rig_mbind(r, 0, 8, NOOP, 0, LAZY), 0); /* marked already */
		assert_int_equal(rig_marked(r, 0, 6), head ? 2 : 4);
		assert_int_equal(rig_mbind(r, 8, 2, DEFAULT, 0, LAZY),
				 -EFAULT); /* nothing at all */
		rig_free(r);
	}
}

/* An eager move took marked pages for pages that would not move. */
static void case_067_081_moving_uses_marks_up(void **state)
{
	struct rig *r = rig_make(&shadow, 1);

	(void)state;
	rig_ready(r, 0, 4);
	assert_int_equal(rig_mbind(r, 0, 4, BIND, 2, LAZY), 4);
	assert_int_equal(rig_mbind(r, 0, 4, BIND, 2, STRICT | MOVE), 0);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(rig_node(r, i), 1);
	assert_int_equal(rig_marked(r, 0, 4), 0);
	assert_int_equal(rig_get(r, 0, 2), 102);
	assert_int_equal(rig_count(r, NHI_C_HINTING_FAULTS), 0);
	rig_free(r);
}

/* A page that a child shares made STRICT | MOVE fail instead of being left out. */
static void case_081_shared_pages_are_left_out(void **state)
{
	struct rig *r = rig_make(&shadow, 1);
	struct sim_space *child;

	(void)state;
	rig_ready(r, 0, 2);
	nhi_mm_fork_prepare(r->mm);
	sim_fork_prepare(r->m);
	child = sim_fork(&r->t[0]);
	nhi_mm_fork_parent(r->mm);
	assert_int_equal(rig_mbind(r, 0, 2, BIND, 2, STRICT | MOVE), 0);
	assert_int_equal(rig_node(r, 0), 0);
	assert_int_equal(rig_mbind(r, 0, 2, BIND, 2, STRICT | MOVE_ALL), 0);
	assert_int_equal(rig_node(r, 0), 1);
	sim_exit(child);
	rig_free(r);
}

/* A huge page that had been marked and touched kept its entry in the PMD, where nobody looked. */
static void eager_move_of_a_huge_page_that_was_marked(void **state)
{
	struct rig *r = rig_make(&shadow, 1);
	uint32_t n = r->m->pages_per_huge;

	(void)state;
	rig_map(r, 0, n);
	assert_int_equal(sim_populate_huge(&r->t[0], at(r, 0), 100), 0);
	assert_int_equal(rig_manage(r, 0, n), 0);
	assert_int_equal(rig_mark(r, 0, n), n);
	assert_int_equal(rig_get(r, 1, 0), 100); /* to node 1 */
	assert_int_equal(rig_node(r, 0), 1);
	assert_int_equal(rig_mbind(r, 0, n, BIND, 1, STRICT | MOVE), 0);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(rig_node(r, i), 0);
	rig_intact(r, 0, n);
	/* A part of it: the huge entry is split first. */
	assert_int_equal(rig_mbind(r, 1, 1, BIND, 2, STRICT | MOVE), 0);
	assert_int_equal(rig_node(r, 1), 1);
	assert_int_equal(rig_node(r, 0), 0);
	rig_intact(r, 0, n);
	rig_free(r);
}

static const struct nhi_os_ops *real_ops;

/* Comes to nothing once, because of an event; its pages would have been stuck. */
static int stuck_then_again(struct nhi_os *os, struct nhi_run *run)
{
	os->ops = real_ops;
	memset(run->status, NHI_PAGE_STUCK, run->nr_pages);
	return -EAGAIN;
}

/* One run of a fault was STUCK and the next met an event: entries were unlocked that were not held. */
static void stuck_and_interrupted_in_one_fault(void **state)
{
	struct rig *r = rig_make(&shadow, 4);
	struct nhi_os_ops spy;

	(void)state;
	rig_ready(r, 0, 6);
	/* Pages 0 and 1 are where they belong, the others are not: two runs in one fault. */
	assert_int_equal(rig_mark(r, 0, 2), 2);
	(void)rig_get(r, 1, 0);
	(void)rig_get(r, 1, 1);
	assert_int_equal(rig_mark(r, 0, 6), 6);
	sim_fail(r->m, SIM_OP_RESTORE, 1, true, 0, NHI_PAGE_STUCK);
	real_ops = r->m->os.ops;
	spy = *real_ops;
	spy.migrate = stuck_then_again;
	r->m->os.ops = &spy;
	for (uint32_t i = 0; i < 6; i++)
		assert_int_equal(rig_get(r, 1, i), 100 + i);
	assert_ptr_equal(r->m->os.ops, real_ops);
	sim_fail_none(r->m);
	assert_int_equal(rig_marked(r, 0, 6), 0);
	rig_free(r);
}

/* The monitor slept until a locked entry was unlocked, whose holder waited for the monitor. */
static void monitor_does_not_wait_for_an_entry(void **state)
{
	struct rig *r = rig_make(&monitor, 1);
	const struct nhi_toucher who = { .tid = 11, .cpu = 1, .node = 1 };
	nhi_word old, *entry;
	bool huge;

	(void)state;
	rig_ready(r, 0, 1);
	assert_int_equal(rig_mark(r, 0, 1), 1);
	r->m->current = &r->t[0];
	entry = nhi_entry_lookup(r->mm, at(r, 0), &huge);
	assert_int_equal(
		nhi_entry_trylock(r->mm, at(r, 0), entry, NULL, NHI_WANT(NHI_MARKED), &old), 0);
	assert_int_equal(nhi_fault(r->mm, at(r, 0), false, &who, NHI_DELIVERY_MONITOR), -EAGAIN);
	nhi_entry_unlock(r->mm, at(r, 0), entry, old);
	assert_int_equal(rig_count(r, NHI_C_WAITS), 0);
	rig_free(r);
}

/* Whoever forks has to keep eager movers out, or the child inherits their locked entries. */
static struct rig *forking;
static bool mark_mutex_was_free;

static long look_at_mutex(struct nhi_os *os, struct nhi_run *run)
{
	(void)os;
	memset(run->status, NHI_PAGE_OTHER, run->nr_pages);
	mark_mutex_was_free = nhi_mutex_trylock(&forking->mm->mark_mutex);
	return 0;
}

static void eager_move_keeps_fork_out(void **state)
{
	struct rig *r = rig_make(&shadow, 1);
	const struct nhi_os_ops *ops = r->m->os.ops;
	struct nhi_os_ops spy = *ops;

	(void)state;
	rig_ready(r, 0, 1);
	forking = r;
	mark_mutex_was_free = true;
	spy.move_now = look_at_mutex;
	r->m->os.ops = &spy;
	assert_int_equal(rig_mbind(r, 0, 1, BIND, 2, STRICT | MOVE), -EIO);
	r->m->os.ops = ops;
	assert_false(mark_mutex_was_free);
	rig_free(r);
}

/* Who waited for a huge page slept where only waiters of its first page were woken. */
static void waiters_of_a_huge_page_are_woken(void **state)
{
	struct rig *r = rig_make(&shadow, 1);
	uint32_t words[2][NHI_WAIT_QUEUES];
	bool huge, moved = false;
	nhi_word *entry, old;

	(void)state;
	rig_map(r, 0, r->m->pages_per_huge);
	assert_int_equal(sim_populate_huge(&r->t[0], at(r, 0), 100), 0);
	assert_int_equal(rig_manage(r, 0, r->m->pages_per_huge), 0);
	assert_true(rig_mark(r, 0, r->m->pages_per_huge) > 0);
	entry = nhi_entry_lookup(r->mm, at(r, 3), &huge);
	assert_true(huge);
	assert_int_equal(
		nhi_entry_trylock(r->mm, at(r, 0), entry, NULL, NHI_WANT(NHI_MARKED), &old), 0);
	/* A waiter that came by page 3; its flag is all that the holder sees of it. */
	*entry |= NHI_W_WAITERS;
	memcpy(words[0], r->mm->queue, sizeof(words[0]));
	nhi_entry_unlock(r->mm, at(r, 3), entry, old);
	memcpy(words[1], r->mm->queue, sizeof(words[1]));
	assert_int_equal(
		nhi_entry_trylock(r->mm, at(r, 0), entry, NULL, NHI_WANT(NHI_MARKED), &old), 0);
	*entry |= NHI_W_WAITERS;
	nhi_entry_unlock(r->mm, at(r, 0), entry, old);
	for (int i = 0; i < NHI_WAIT_QUEUES; i++) {
		/* The queue that the first unlocking woke is the one that the second did. */
		assert_int_equal(r->mm->queue[i] - words[1][i], words[1][i] - words[0][i]);
		moved |= words[1][i] != words[0][i];
	}
	assert_true(moved);
	rig_free(r);
}

/* A guest's fault by a kernel worker left the page where it was, or sent it to node -1. */
static void unknown_toucher_of_guest_memory(void **state)
{
	const struct nhi_toucher known = { .tid = 7, .cpu = -1, .node = 1 };
	const struct nhi_toucher worker = { .tid = 8, .cpu = -1, .node = NHI_NO_NODE };
	struct rig *r = rig_make(&shadow, 1);

	(void)state;
	rig_ready(r, 0, 4);
	assert_int_equal(rig_mbind(r, 0, 4, LOCAL, 0, LAZY), 4);
	assert_int_equal(nhi_fault(r->mm, at(r, 0), false, &worker, NHI_DELIVERY_THREAD), 0);
	assert_int_equal(rig_node(r, 0), 0); /* not a guest's: stays */
	nhi_vma_find(r->mm, at(r, 0))->map->guess = true;
	assert_int_equal(nhi_fault(r->mm, at(r, 1), false, &known, NHI_DELIVERY_THREAD), 0);
	assert_int_equal(nhi_fault(r->mm, at(r, 2), false, &worker, NHI_DELIVERY_THREAD), 0);
	assert_int_equal(rig_node(r, 2), 1); /* the last known of the map */
	assert_int_equal(rig_count(r, NHI_C_UNKNOWN_TOUCHERS), 2);
	rig_free(r);
}

static struct rig *looked_at;

/*
 * A page that was marked between a fault's look at its entry and the filling of the hole was hidden
 * by zeros.
 */
static bool entry_was_held;

static int fill_and_look(struct nhi_os *os, struct nhi_map *map, uintptr_t addr)
{
	bool huge;
	nhi_word word = nhi_load_relaxed(nhi_entry_lookup(looked_at->mm, addr, &huge));

	entry_was_held = nhi_word_busy(word) || nhi_word_gets(word) || nhi_word_pins(word);
	return real_ops->zero_fill(os, map, addr);
}

static void a_hole_is_filled_with_its_entry_held(void **state)
{
	struct rig *r = rig_make(&shadow, 1);
	struct nhi_os_ops spy;

	(void)state;
	rig_ready(r, 0, 4);
	assert_int_equal(rig_mark(r, 0, 4), 4);
	real_ops = r->m->os.ops;
	spy = *real_ops;
	spy.zero_fill = fill_and_look;
	r->m->os.ops = &spy;
	looked_at = r;
	for (uint32_t i = 0; i < 2; i++) {
		struct nhi_page page;

		/* Page 1 is pinned, and dropped all the same. */
		if (i)
			assert_int_equal(nhi_gup(r->mm, NHI_GUP_PIN, at(r, i), 1, 0, &page), 1);
		entry_was_held = false;
		assert_int_equal(sim_dontneed(&r->t[0], at(r, i), pages(r, 1)), 0);
		assert_int_equal(rig_get(r, 0, i), 0);
		assert_true(entry_was_held);
		if (i)
			nhi_pages_put(r->mm, &page, 1, true);
	}
	r->m->os.ops = real_ops;
	rig_free(r);
}

/* A reference that was being taken left its entry locked in the child of a fork. */
static int peek_and_look(struct nhi_os *os, struct nhi_map *map, uintptr_t addr, void *buf)
{
	for (int i = 0; i < NHI_MMAP_SLOTS; i++)
		entry_was_held |= looked_at->mm->mmap_lock.slot[i].readers != 0;
	return real_ops->peek(os, map, addr, buf);
}

static void a_reference_keeps_fork_out(void **state)
{
	struct rig *r = rig_make(&shadow, 1);
	struct nhi_os_ops spy;
	struct nhi_page page;

	(void)state;
	rig_ready(r, 0, 1);
	assert_int_equal(rig_mark(r, 0, 1), 1);
	real_ops = r->m->os.ops;
	spy = *real_ops;
	spy.peek = peek_and_look;
	r->m->os.ops = &spy;
	looked_at = r;
	entry_was_held = false;
	assert_int_equal(nhi_gup(r->mm, NHI_GUP_GET, at(r, 0), 1, 0, &page), 1);
	assert_true(entry_was_held);
	nhi_pages_put(r->mm, &page, 1, false);
	r->m->os.ops = real_ops;
	rig_free(r);
}

/* A huge page that was touched and pinned just before GUP wanted to split it: GUP failed. */
static struct nhi_page pinned;

static void pin_then_enter(struct nhi_os *os, uint64_t *token)
{
	os->ops = real_ops;
	assert_int_equal(nhi_gup(looked_at->mm, NHI_GUP_PIN, at(looked_at, 1), 1, 0, &pinned), 1);
	real_ops->enter(os, token);
}

static void a_huge_page_is_pinned_before_it_is_split(void **state)
{
	struct rig *r = rig_make(&shadow, 1);
	uint32_t n = r->m->pages_per_huge;
	struct nhi_os_ops spy;
	struct nhi_page page;

	(void)state;
	rig_map(r, 0, n);
	assert_int_equal(sim_populate_huge(&r->t[0], at(r, 0), 100), 0);
	assert_int_equal(rig_manage(r, 0, n), 0);
	assert_int_equal(rig_mark(r, 0, n), n);
	real_ops = r->m->os.ops;
	spy = *real_ops;
	spy.enter = pin_then_enter;
	r->m->os.ops = &spy;
	looked_at = r;
	assert_int_equal(nhi_gup(r->mm, NHI_GUP_GET, at(r, 0), 1, 0, &page), 1);
	assert_ptr_equal(r->m->os.ops, real_ops);
	nhi_pages_put(r->mm, &page, 1, false);
	nhi_pages_put(r->mm, &pinned, 1, true);
	rig_free(r);
}

/* mremap of two VMAs was interrupted between them; begun again, it dropped what it had moved. */
static void mremap_in_two_parts(void **state)
{
	static const struct sim_conf confs[] = { { .trap = NHI_TRAP_SHADOW },
						 { .trap = NHI_TRAP_MPROTECT } };

	(void)state;
	for (size_t i = 0; i < NHI_ARRAY_SIZE(confs); i++) {
		struct rig *r = rig_make(&confs[i], 1);

		rig_ready(r, 0, 4);
		assert_int_equal(rig_mbind(r, 0, 2, BIND, 2, LAZY), 2);
		assert_int_equal(rig_mbind(r, 2, 2, BIND, 1, LAZY), 2);
		assert_int_equal(r->mm->nr_vmas, 2);
		sim_fail(r->m, SIM_OP_MOVED, 2, false, -ENOMEM, 0);
		assert_int_equal(sim_mremap(&r->t[0], at(r, 0), at(r, 8), pages(r, 4)), 0);
		assert_int_equal(rig_marked(r, 8, 4), 4);
		for (uint32_t k = 0; k < 4; k++)
			assert_int_equal(rig_get(r, 1, 8 + k), 100 + k);
		assert_int_equal(r->mm->nr_vmas, 2);
		rig_free(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASES(case_078_091_holes_are_passed_over, "78"),
		CASES(case_067_081_moving_uses_marks_up, "67"),
		CASES(case_081_shared_pages_are_left_out, "81"),
		cmocka_unit_test(eager_move_of_a_huge_page_that_was_marked),
		cmocka_unit_test(stuck_and_interrupted_in_one_fault),
		cmocka_unit_test(monitor_does_not_wait_for_an_entry),
		cmocka_unit_test(eager_move_keeps_fork_out),
		cmocka_unit_test(waiters_of_a_huge_page_are_woken),
		cmocka_unit_test(unknown_toucher_of_guest_memory),
		cmocka_unit_test(a_hole_is_filled_with_its_entry_held),
		cmocka_unit_test(a_reference_keeps_fork_out),
		cmocka_unit_test(a_huge_page_is_pinned_before_it_is_split),
		cmocka_unit_test(mremap_in_two_parts),
	};

	return cmocka_run_group_tests_name("regress", tests, NULL, NULL);
}
