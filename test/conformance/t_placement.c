// SPDX-License-Identifier: MIT
/*
 * What: cases 119 to 126: where a page belongs, by the policy of its range, of the thread, or neither.
 * How:  on the simulated machine with two or three nodes, each task on its own; distances grow with
 *	 the numbers of the nodes.
 */
#include "conf.h"

static const struct sim_conf three = { .trap = NHI_TRAP_SHADOW, .nr_nodes = 3, .nr_cpus = 3 };

/* Populate page @n on @node. */
static void place(struct rig *r, uint32_t n, int node)
{
	rig_put(r, node, n, 100 + n);
	assert_int_equal(rig_node(r, n), node);
}

/* Mark page @n, let @task touch it. Return: where it is then. */
static int touch(struct rig *r, uint32_t n, int task)
{
	assert_int_equal(rig_mark(r, n, 1), 1);
	assert_int_equal(rig_get(r, task, n), 100 + n);
	return rig_node(r, n);
}

static int set_mempolicy(struct rig *r, int task, int mode, uint64_t nodes)
{
	const uint64_t mask[4] = { nodes };

	as(r, task);
	return nhi_set_mempolicy(r->mm, mode, mask);
}

static void range_of(struct rig *r, uint32_t n)
{
	rig_map(r, 0, n);
	for (uint32_t i = 0; i < n; i++)
		place(r, i, 0);
	assert_int_equal(rig_manage(r, 0, n), 0);
}

/* The range's policy, else that of the thread that touches, else towards whoever touches. */
TEST(whose_policy_counts)
{
	uint64_t nodes[4];
	int mode;

	range_of(r, N);
	assert_int_equal(set_mempolicy(r, 1, BIND, 2), 0);
	assert_int_equal(touch(r, 0, 1), 0); /* it lets no fault migrate */
	assert_int_equal(set_mempolicy(r, 1, BIND | BALANCING, 2), 0);
	assert_int_equal(touch(r, 1, 1), 1);
	assert_int_equal(set_mempolicy(r, 1, BIND | BALANCING, 1), 0);
	assert_int_equal(touch(r, 2, 1), 0); /* its node is not in the mask */
	assert_int_equal(touch(r, 3, 3), 1); /* another thread, without one */
	assert_int_equal(rig_mbind(r, 4, 1, BIND, 2, LAZY), 1);
	(void)rig_get(r, 1, 4);
	assert_int_equal(rig_node(r, 4), 1); /* the range's comes first */
	/* Each thread sees its own. */
	as(r, 1);
	assert_int_equal(nhi_get_mempolicy(r->mm, 0, 0, &mode, nodes), 0);
	assert_int_equal(mode, BIND | BALANCING);
	assert_int_equal(nodes[0], 1);
	as(r, 3);
	assert_int_equal(nhi_get_mempolicy(r->mm, 0, 0, &mode, nodes), 0);
	assert_int_equal(mode, DEFAULT);
	assert_int_equal(set_mempolicy(r, 1, DEFAULT, 0), 0);
	assert_int_equal(touch(r, 5, 1), 1);
	assert_int_equal(r->mm->nr_tasks, 0);
}

TEST(many_threads_with_policies)
{
	range_of(r, 1);
	for (int i = 0; i < 100; i++) {
		r->t[2].tid = 1000 + i * 37 % 100;
		assert_int_equal(set_mempolicy(r, 2, PREFERRED, 1u << i % 2), 0);
	}
	assert_int_equal(r->mm->nr_tasks, 100);
	for (int i = 0; i < 100; i++) {
		const struct nhi_policy *pol = nhi_task_policy(r->mm, 1000 + i * 37 % 100);

		assert_non_null(pol);
		assert_int_equal(pol->nodes[0], 1u << i % 2);
	}
	assert_null(nhi_task_policy(r->mm, 1100));
	/* A child has the thread that forked, under another number. */
	nhi_mm_fork_prepare(r->mm);
	r->t[2].tid = 7;
	nhi_mm_fork_child(r->mm);
	assert_int_equal(r->mm->nr_tasks, 1);
	assert_non_null(nhi_task_policy(r->mm, 7));
	r->t[2].tid = 12;
}

TEST(interleaving_deals_out_by_index)
{
	uint32_t n = r->m->pages_per_huge;

	range_of(r, 4);
	assert_int_equal(rig_mbind(r, 0, 4, INTERLEAVE, 3, LAZY), 4);
	for (uint32_t i = 0; i < 4; i++)
		(void)rig_get(r, 1, i);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(rig_node(r, i), i % 2);
	assert_int_equal(rig_mbind(r, 0, 4, WEIGHTED, 3, LAZY | MOVE), 4);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal((rig_get(r, 1, i), rig_node(r, i)), i % 2);
	/* Huge pages as a whole. */
	rig_map(r, 4 * n, 2 * n);
	for (uint32_t i = 4; i < 6; i++)
		assert_int_equal(sim_populate_huge(&r->t[0], at(r, i * n), 100 + i * n), 0);
	assert_int_equal(rig_mbind(r, 4 * n, 2 * n, INTERLEAVE, 3, LAZY), 2 * n);
	for (uint32_t i = 4; i < 6; i++) {
		(void)rig_get(r, 0, i * n + 1);
		for (uint32_t k = 0; k < n; k++)
			assert_int_equal(rig_node(r, i * n + k), i % 2);
	}
}

TEST_ON(preferred_and_local, &three)
{
	range_of(r, 3);
	assert_int_equal(rig_mbind(r, 0, 3, PREFERRED, 6, LAZY), 3);
	(void)rig_get(r, 2, 0);
	assert_int_equal(rig_node(r, 0), 1); /* the first of them */
	place(r, 0, 1);
	assert_int_equal(touch(r, 0, 2), 1); /* it is in the mask: fine */
	assert_int_equal(rig_mbind(r, 1, 1, LOCAL, 0, LAZY), 0);
	(void)rig_get(r, 2, 1);
	assert_int_equal(rig_node(r, 1), 2);
	assert_int_equal(rig_mbind(r, 1, 1, PREFERRED, 0, LAZY), 1); /* empty: local */
	(void)rig_get(r, 1, 1);
	assert_int_equal(rig_node(r, 1), 1);
}

TEST_ON(nearest_node_of_the_mask, &three)
{
	static const int modes[] = { BIND, PREFERRED_MANY };

	for (int m = 0; m < 2; m++) {
		rig_map(r, 0, 4);
		for (uint32_t i = 0; i < 3; i++)
			place(r, i, (int)i);
		place(r, 3, 2);
		assert_int_equal(rig_mbind(r, 0, 4, modes[m], 3, LAZY), 4);
		(void)rig_get(r, 2, 0);
		(void)rig_get(r, 0, 1);
		(void)rig_get(r, 1, 2);
		(void)rig_get(r, 2, 3);
		assert_int_equal(rig_node(r, 0), 0); /* on one of them: fine */
		assert_int_equal(rig_node(r, 1), 1);
		assert_int_equal(rig_node(r, 2), 1); /* nearest to who touches */
		assert_int_equal(rig_node(r, 3), 1); /* never outside of it */
		assert_int_equal(nhi_unmanage(r->mm, 0, UINTPTR_MAX), 0);
		assert_int_equal(sim_munmap(&r->t[0], at(r, 0), pages(r, 4)), 0);
	}
}

TEST_ON(balancing_within_the_mask, &three)
{
	static const int modes[] = { BIND, PREFERRED_MANY };

	for (int m = 0; m < 2; m++) {
		rig_map(r, 0, 2);
		place(r, 0, 2);
		place(r, 1, 0);
		assert_int_equal(rig_mbind(r, 0, 2, modes[m] | BALANCING, 3, LAZY), 2);
		(void)rig_get(r, 2, 0);
		assert_int_equal(rig_node(r, 0), 2); /* outside, like the toucher: left alone */
		(void)rig_get(r, 1, 1);
		assert_int_equal(rig_node(r, 1), 1); /* this node, though it was in the mask */
		assert_int_equal(nhi_unmanage(r->mm, 0, UINTPTR_MAX), 0);
		assert_int_equal(sim_munmap(&r->t[0], at(r, 0), pages(r, 2)), 0);
	}
}

TEST(without_a_policy_it_follows_the_toucher)
{
	range_of(r, 2);
	assert_int_equal(touch(r, 0, 1), 1);
	assert_int_equal(touch(r, 1, 0), 0);
	assert_int_equal(rig_count(r, NHI_C_MIGRATED), 1);
}

/* A page that was touched from one node goes to another one at the second touch in a row from there. */
TEST(two_touches_in_a_row)
{
	range_of(r, 1);
	assert_int_equal(touch(r, 0, 0), 0);
	assert_int_equal(touch(r, 0, 1), 0);
	assert_int_equal(touch(r, 0, 0), 0);
	assert_int_equal(touch(r, 0, 1), 0);
	assert_int_equal(touch(r, 0, 1), 1);
	assert_int_equal(touch(r, 0, 0), 1);
	assert_int_equal(touch(r, 0, 2), 0); /* another thread of that node */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASES(whose_policy_counts, "119"),
		cmocka_unit_test(many_threads_with_policies),
		CASES(interleaving_deals_out_by_index, "120"),
		CASES(preferred_and_local, "121"),
		CASES(nearest_node_of_the_mask, "122"),
		CASES(balancing_within_the_mask, "123"),
		CASES(without_a_policy_it_follows_the_toucher, "124 126"),
		CASES(two_touches_in_a_row, "125"),
	};

	return cmocka_run_group_tests_name("placement", tests, NULL, NULL);
}
