// SPDX-License-Identifier: MIT
/*
 * What: cases 83 to 96: mbind LAZY marks and moves nothing; the policy decides at the touch.
 * How:  on the simulated machine; pages on node 0 that hold 100 + page; task 1 is on node 1.
 */
#include "conf.h"

static long lazy(struct rig *r, int mode, uint64_t nodes, unsigned int flags)
{
	return rig_mbind(r, 0, N, mode, nodes, flags | LAZY);
}

static uint32_t on_node_1(struct rig *r, uint32_t n)
{
	uint32_t there = 0;

	for (uint32_t i = 0; i < n; i++)
		there += rig_node(r, i) == 1;
	return there;
}

TEST(lazy_marks_and_moves_at_the_touch)
{
	rig_ready(r, 0, N + 2);
	assert_int_equal(lazy(r, BIND, 2, MOVE), N);
	assert_int_equal(rig_marked(r, 0, N + 2), N); /* clamped to the range */
	assert_int_equal(on_node_1(r, N), 0);
	for (uint32_t k = 1; k <= 3; k++) {
		(void)rig_get(r, (int)k % 2, 2 * k);
		assert_int_equal(on_node_1(r, N), k);
		assert_int_equal(rig_node(r, 2 * k), 1);
	}
	rig_intact(r, 0, N);
}

TEST(only_lazy_lets_faults_migrate)
{
	rig_ready(r, 0, N);
	assert_int_equal(rig_mbind(r, 0, N, BIND, 2, 0), 0);
	assert_int_equal(rig_mark(r, 0, 2), 2);
	(void)rig_get(r, 1, 0);
	assert_int_equal(rig_node(r, 0), 0);
	assert_int_equal(lazy(r, BIND, 2, 0), N - 1);
	(void)rig_get(r, 0, 1); /* the policy's node, not the toucher's */
	assert_int_equal(rig_node(r, 1), 1);
}

TEST(a_plain_mbind_takes_that_back)
{
	rig_ready(r, 0, N);
	assert_int_equal(lazy(r, BIND, 2, 0), N);
	assert_int_equal(rig_mbind(r, 0, N, BIND, 2, 0), 0);
	assert_int_equal(rig_marked(r, 0, N), N);
	(void)rig_get(r, 1, 0);
	assert_int_equal(rig_node(r, 0), 0);
	assert_int_equal(faults(r), 1);
}

/* One thread, on the node that the pages are on. */
TEST(lazy_alone_marks_even_local_pages)
{
	rig_ready(r, 0, N);
	assert_int_equal(lazy(r, BIND, 2, 0), N);
	assert_int_equal(rig_marked(r, 0, N), N);
	(void)rig_get(r, 0, 0);
	assert_int_equal(rig_node(r, 0), 1);
}

TEST(lazy_and_strict)
{
	rig_ready(r, 0, N);
	assert_int_equal(lazy(r, BIND, 2, STRICT), N);
	assert_int_equal(lazy(r, BIND, 2, STRICT | MOVE), 0);
	assert_int_equal(rig_mbind(r, 0, N + 1, BIND, 2, STRICT | LAZY), -EFAULT);
}

TEST(ranges_that_lazy_passes_over)
{
	rig_map(r, 0, 6);
	rig_fill(r, 0, 0, 6);
	assert_int_equal(rig_manage(r, 0, 6), 0);
	assert_int_equal(conf_mprotect(r, 2, 2, 0), 0);
	assert_int_equal(sim_mmap(&r->t[0], at(r, 6), pages(r, 1), RW, NHI_KIND_SPECIAL, false), 0);
	assert_int_equal(sim_mmap(&r->t[0], at(r, 7), pages(r, 1), RW, NHI_KIND_HUGETLB, false), 0);
	rig_put(r, 0, 6, 1);
	rig_put(r, 0, 7, 1);
	assert_int_equal(rig_mbind(r, 0, 8, BIND, 2, LAZY), 4);
	assert_int_equal(rig_marked(r, 0, 8), 4);
	assert_int_equal(rig_marked(r, 2, 2), 0);
	assert_true(nhi_vma_find(r->mm, at(r, 2))->has_policy);
	assert_int_equal(get(r, 2, 1, FORCE), 1);
	put(r, 1);
	assert_int_equal(conf_mprotect(r, 2, 2, RW), 0);
	rig_intact(r, 0, 6);
}

TEST(lazy_with_default)
{
	rig_ready(r, 0, N);
	assert_int_equal(rig_mbind(r, 0, N, BIND, 1, 0), 0);
	assert_int_equal(lazy(r, DEFAULT, 0, 0), N);
	assert_false(nhi_vma_find(r->mm, at(r, 0))->has_policy);
	(void)rig_get(r, 1, 0);
	assert_int_equal(rig_node(r, 0), 1); /* an untouched page follows its first toucher */
	(void)rig_get(r, 0, 1);
	assert_int_equal(rig_node(r, 1), 0);
}

TEST(noop_keeps_each_policy)
{
	static const uint64_t none[4];

	rig_ready(r, 0, N);
	assert_int_equal(rig_mbind(r, 0, 4, BIND, 1, LAZY), 4);
	assert_int_equal(rig_mbind(r, 4, 4, BIND, 2, LAZY), 4);
	assert_int_equal(nhi_unmark_range(r->mm, 0, UINTPTR_MAX), N);
	assert_int_equal(lazy(r, NOOP, 1, 0), -EINVAL);
	assert_int_equal(lazy(r, NOOP, 0, STRICT), N);
	for (uint32_t i = 0; i < N; i++)
		(void)rig_get(r, (int)i % 2, i);
	for (uint32_t i = 0; i < N; i++)
		assert_int_equal(rig_node(r, i), i >= 4);
	assert_int_equal(nhi_set_mempolicy(r->mm, NOOP, none), -EINVAL);
}

TEST(noop_where_faults_may_not_migrate)
{
	rig_ready(r, 0, N);
	assert_int_equal(rig_mbind(r, 0, N, BIND, 2, 0), 0);
	assert_int_equal(lazy(r, NOOP, 0, 0), N);
	(void)rig_get(r, 1, 0);
	assert_int_equal(rig_node(r, 0), 0);
	assert_int_equal(faults(r), 1);
}

TEST(workers_pull_their_part)
{
	for (int mode = 0; mode < 2; mode++) {
		rig_ready(r, 0, N);
		assert_int_equal(lazy(r, mode ? LOCAL : DEFAULT, 0, MOVE), N);
		for (uint32_t i = 0; i < N; i++)
			(void)rig_get(r, i < N / 2 ? 0 : 1, i);
		for (uint32_t i = 0; i < N; i++)
			assert_int_equal(rig_node(r, i), i >= N / 2);
		assert_int_equal(nhi_unmanage(r->mm, 0, UINTPTR_MAX), 0);
		assert_int_equal(sim_munmap(&r->t[0], at(r, 0), pages(r, N)), 0);
	}
}

TEST(lazy_again_marks_nothing_more)
{
	rig_map(r, 0, N);
	rig_fill(r, 0, 0, 3);
	assert_int_equal(lazy(r, BIND, 2, 0), 3);
	assert_int_equal(rig_count(r, NHI_C_MARKED), 3);
	assert_int_equal(lazy(r, BIND, 2, 0), 0);
	assert_int_equal(rig_count(r, NHI_C_MARKED), 3);
	assert_int_equal(rig_node(r, 4), NHI_NO_NODE);
}

/* Whichever allocation fails, nothing is lost. */
TEST(failure_in_the_middle)
{
	rig_map(r, 0, 3 * N);
	rig_fill(r, 0, 0, 3 * N);
	for (uint64_t nth = 1; nth < 8; nth++) {
		sim_fail(r->m, SIM_OP_TABLE_ALLOC, nth, true, -ENOMEM, 0);
		(void)rig_mbind(r, N, N, nth % 2 ? BIND : PREFERRED, 2, LAZY);
		rig_intact(r, 0, 3 * N);
		for (uint32_t i = 0; i < 3 * N; i += 3)
			assert_int_equal(rig_get(r, 1, i), 100 + i);
		sim_fail_none(r->m);
		rig_check(r);
	}
	sim_fail(r->m, SIM_OP_MARK, 2, true, -ENOMEM, 0);
	assert_true(rig_mbind(r, 0, 3 * N, BIND, 2, LAZY) != 0);
	for (uint32_t i = 0; i < 3 * N; i++)
		assert_int_equal(rig_get(r, 1, i), 100 + i);
}

TEST(shared_pages_are_not_marked)
{
	struct sim_space *child;

	rig_ready(r, 0, 4);
	assert_int_equal(sim_mmap(&r->t[0], at(r, 4), pages(r, 4), RW, NHI_KIND_SHMEM, true), 0);
	rig_fill(r, 0, 4, 4);
	child = sim_fork(&r->t[0]);
	assert_int_equal(lazy(r, BIND, 2, MOVE_ALL), 0);
	assert_int_equal(rig_marked(r, 0, N), 0);
	sim_exit(child);
	assert_int_equal(lazy(r, BIND, 2, 0), N);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASES(lazy_marks_and_moves_at_the_touch, "83"),
		CASES(only_lazy_lets_faults_migrate, "84"),
		CASES(a_plain_mbind_takes_that_back, "85"),
		CASES(lazy_alone_marks_even_local_pages, "86 87"),
		CASES(lazy_and_strict, "88"),
		CASES(ranges_that_lazy_passes_over, "89"),
		CASES(lazy_with_default, "90 126"),
		CASES(noop_keeps_each_policy, "91"),
		CASES(noop_where_faults_may_not_migrate, "92"),
		CASES(workers_pull_their_part, "93"),
		CASES(lazy_again_marks_nothing_more, "94"),
		CASES(failure_in_the_middle, "95"),
		CASES(shared_pages_are_not_marked, "96"),
	};

	return cmocka_run_group_tests_name("lazy", tests, NULL, NULL);
}
