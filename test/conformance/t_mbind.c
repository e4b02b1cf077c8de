// SPDX-License-Identifier: MIT
/*
 * What: cases 70 to 82: what mbind refuses, in which order, and what it leaves behind.
 * How:  on the simulated machine; pages on node 0 that hold 100 + page.
 */
#include "conf.h"

#define F_ADDR 2u

/* The policy of page @n as get_mempolicy shows it, in one number: mode and nodes of the first 32. */
static uint64_t policy_of(struct rig *r, uint32_t n)
{
	uint64_t nodes[4];
	int mode;

	assert_int_equal(nhi_get_mempolicy(r->mm, at(r, n), F_ADDR, &mode, nodes), 0);
	assert_int_equal(nodes[1] | nodes[2] | nodes[3], 0);
	return (uint64_t)mode << 32 | nodes[0];
}

#define POLICY(mode, nodes) ((uint64_t)(mode) << 32 | (nodes))

static long mbind_at(struct rig *r, uintptr_t addr, size_t len, int mode, uint64_t nodes,
		     unsigned int flags)
{
	const uint64_t mask[4] = { nodes };

	return nhi_mbind(r->mm, addr, len, mode, mask, flags);
}

/* First come mode and flags, then alignment, then the length, then the nodes, then the range. */
TEST(the_first_failure_wins)
{
	rig_ready(r, 0, 1);
	assert_int_equal(mbind_at(r, at(r, 0), 0, BIND | STATIC | RELATIVE, 1, 0), -EINVAL);
	assert_int_equal(mbind_at(r, at(r, 0), 0, INTERLEAVE | BALANCING, 1, 0), -EINVAL);
	assert_int_equal(mbind_at(r, at(r, 0), 0, 99, 1, 0), -EINVAL);
	assert_int_equal(mbind_at(r, at(r, 0), 0, BIND, 1, 16), -EINVAL);
	assert_int_equal(mbind_at(r, at(r, 0) + 1, 0, BIND, 0, 0), -EINVAL);
	assert_int_equal(mbind_at(r, at(r, 0), 0, BIND, 0, 0), 0);
	assert_int_equal(mbind_at(r, at(r, 8), pages(r, 1), BIND, 0, 0), -EINVAL);
	assert_int_equal(mbind_at(r, at(r, 8), pages(r, 1), BIND, 1, 0), -EFAULT);
	assert_int_equal(policy_of(r, 0), POLICY(DEFAULT, 0));
}

TEST(mode_words)
{
	static const struct {
		int mode;
		uint64_t nodes;
		long want;
	} t[] = {
		{ 7, 1, -EINVAL },
		{ -1, 1, -EINVAL },
		{ BIND | STATIC | RELATIVE, 1, -EINVAL },
		{ BIND | BALANCING, 1, 0 },
		{ PREFERRED_MANY | BALANCING, 1, 0 },
		{ PREFERRED | BALANCING, 1, -EINVAL },
		{ INTERLEAVE | BALANCING, 1, -EINVAL },
		{ LOCAL | BALANCING, 0, -EINVAL },
		{ DEFAULT | BALANCING, 0, -EINVAL },
		{ NOOP | STATIC, 0, -EINVAL },
		/* Mode and nodes. */
		{ DEFAULT, 1, -EINVAL },
		{ DEFAULT, 0, 0 },
		{ PREFERRED, 0, 0 },
		{ PREFERRED | STATIC, 0, -EINVAL },
		{ PREFERRED | RELATIVE, 0, -EINVAL },
		{ LOCAL, 0, 0 },
		{ LOCAL, 1, -EINVAL },
		{ LOCAL | STATIC, 0, -EINVAL },
		{ LOCAL | RELATIVE, 0, -EINVAL },
		{ BIND, 0, -EINVAL },
		{ INTERLEAVE, 0, -EINVAL },
		{ PREFERRED_MANY, 0, -EINVAL },
		{ WEIGHTED, 0, -EINVAL },
		{ WEIGHTED, 3, 0 },
	};

	rig_ready(r, 0, 1);
	for (size_t i = 0; i < NHI_ARRAY_SIZE(t); i++) {
		long got = rig_mbind(r, 0, 1, t[i].mode, t[i].nodes, 0);

		if (got != t[i].want)
			print_error("row %zu\n", i);
		assert_int_equal(got, t[i].want);
	}
	/* NUMA_BALANCING lets faults migrate, towards the toucher. */
	assert_int_equal(rig_mbind(r, 0, 1, BIND | BALANCING, 3, 0), 0);
	assert_int_equal(rig_mark(r, 0, 1), 1);
	(void)rig_get(r, 1, 0);
	assert_int_equal(rig_node(r, 0), 1);
}

TEST(flags_that_are_known)
{
	rig_ready(r, 0, 1);
	for (unsigned int bit = 4; bit < 32; bit++)
		assert_int_equal(rig_mbind(r, 0, 1, LOCAL, 0, 1u << bit), -EINVAL);
	assert_int_equal(rig_mbind(r, 0, 1, LOCAL, 0, MOVE_ALL), 0);
	assert_int_equal(rig_mbind(r, 0, 1, LOCAL, 0, LAZY), 1);
}

TEST(ranges)
{
	rig_ready(r, 0, 4);
	assert_int_equal(mbind_at(r, at(r, 0) + 1, pages(r, 1), BIND, 2, 0), -EINVAL);
	assert_int_equal(mbind_at(r, at(r, 1), SIZE_MAX - pages(r, 4), BIND, 2, 0), -EINVAL);
	assert_int_equal(mbind_at(r, at(r, 1), 0, BIND, 0, 0), 0);
	assert_int_equal(mbind_at(r, at(r, 1), SIZE_MAX, BIND, 0, 0), 0); /* rounds up to 0 */
	assert_int_equal(policy_of(r, 1), POLICY(DEFAULT, 0));
	assert_int_equal(mbind_at(r, at(r, 1), 1, BIND, 2, 0), 0);
	assert_int_equal(policy_of(r, 0), POLICY(DEFAULT, 0));
	assert_int_equal(policy_of(r, 1), POLICY(BIND, 2));
	assert_int_equal(policy_of(r, 2), POLICY(DEFAULT, 0));
}

TEST(nodes_without_memory)
{
	r->m->os.has_memory[0] = 1;
	rig_ready(r, 0, 1);
	assert_int_equal(rig_mbind(r, 0, 1, BIND, 2, 0), -EINVAL);
	assert_int_equal(rig_mbind(r, 0, 1, BIND, 3, 0), 0);
	assert_int_equal(policy_of(r, 0), POLICY(BIND, 1));
	/* Relative ones are folded onto what there is. */
	assert_int_equal(rig_mbind(r, 0, 1, BIND | RELATIVE, 2, 0), 0);
	assert_int_equal(policy_of(r, 0), POLICY(BIND | RELATIVE, 2));
	assert_int_equal(rig_mbind(r, 0, 1, BIND | STATIC, 3, 0), 0);
	assert_int_equal(policy_of(r, 0), POLICY(BIND | STATIC, 3)); /* as it was asked for */
	sim_fail(r->m, SIM_OP_TABLE_ALLOC, 1, true, -ENOMEM, 0);
	assert_int_equal(rig_mbind(r, 0, 1, BIND, 1, LAZY), -ENOMEM);
	r->m->os.has_memory[0] = 3;
}

TEST(holes)
{
	static const struct {
		uint32_t first, n;
		long bind, any;
	} t[] = {
		{ 0, 4, -EFAULT, 0 },	    /* head */
		{ 2, 6, -EFAULT, 0 },	    /* middle */
		{ 6, 4, -EFAULT, 0 },	    /* tail */
		{ 4, 2, -EFAULT, -EFAULT }, /* all of it */
		{ 2, 2, 0, 0 },		    /* none */
	};

	rig_map(r, 2, 2);
	rig_map(r, 6, 2);
	for (size_t i = 0; i < NHI_ARRAY_SIZE(t); i++) {
		assert_int_equal(rig_mbind(r, 2, 2, LOCAL, 0, 0), 0);
		assert_int_equal(rig_mbind(r, 6, 2, LOCAL, 0, 0), 0);
		assert_int_equal(rig_mbind(r, t[i].first, t[i].n, BIND, 2, 0), t[i].bind);
		assert_int_equal(policy_of(r, 2), t[i].bind ? POLICY(LOCAL, 0) : POLICY(BIND, 2));
		assert_int_equal(policy_of(r, 7), POLICY(LOCAL, 0));
		assert_int_equal(rig_mbind(r, t[i].first, t[i].n, NOOP, 0, 0), t[i].any);
		assert_int_equal(rig_mbind(r, t[i].first, t[i].n, DEFAULT, 0, 0), t[i].any);
	}
}

TEST(strict_alone_changes_nothing)
{
	rig_ready(r, 0, 2);
	assert_int_equal(rig_mbind(r, 0, 2, BIND, 1, 0), 0);
	assert_int_equal(rig_mbind(r, 0, 2, BIND, 2, STRICT), -EIO);
	assert_int_equal(policy_of(r, 0), POLICY(BIND, 1));
	assert_int_equal(rig_mbind(r, 0, 2, BIND, 3, STRICT), 0);
	assert_int_equal(policy_of(r, 0), POLICY(BIND, 3));
	as(r, 1); /* whose node the pages are not on */
	assert_int_equal(rig_mbind(r, 0, 2, DEFAULT, 0, STRICT), 0);
	assert_int_equal(rig_mbind(r, 0, 2, NOOP, 0, STRICT), 0);
	assert_int_equal(rig_node(r, 0), 0);
}

TEST(strict_and_move_of_what_cannot_move)
{
	struct sim_folio *f;

	rig_ready(r, 0, 2);
	f = sim_pin(&r->t[0], at(r, 0));
	assert_int_equal(rig_mbind(r, 0, 2, BIND, 2, MOVE), 0);
	assert_int_equal(rig_node(r, 0), 0);
	assert_int_equal(rig_node(r, 1), 1);
	assert_int_equal(policy_of(r, 0), POLICY(BIND, 2));
	assert_int_equal(rig_mbind(r, 0, 2, DEFAULT, 0, 0), 0);
	assert_int_equal(rig_mbind(r, 0, 2, BIND, 2, STRICT | MOVE), -EIO);
	assert_int_equal(policy_of(r, 0), POLICY(BIND, 2));
	sim_unpin(r->m, f);
	assert_int_equal(rig_mbind(r, 0, 2, BIND, 2, STRICT | MOVE_ALL), 0);
	assert_int_equal(rig_node(r, 0), 1);
	rig_intact(r, 0, 2);
}

TEST(vmas_are_split_and_merged)
{
	rig_ready(r, 0, 6);
	assert_int_equal(r->mm->nr_vmas, 1);
	assert_int_equal(rig_mbind(r, 2, 2, BIND, 2, LAZY), 2);
	assert_int_equal(r->mm->nr_vmas, 3);
	assert_int_equal(policy_of(r, 1), POLICY(DEFAULT, 0));
	assert_int_equal(policy_of(r, 2), POLICY(BIND, 2)); /* nothing internal is shown */
	assert_int_equal(policy_of(r, 3), POLICY(BIND, 2));
	assert_int_equal(policy_of(r, 4), POLICY(DEFAULT, 0));
	/* The same once more: nothing changes. Another range of it: they join. */
	assert_int_equal(rig_mbind(r, 2, 2, BIND, 2, LAZY), 0);
	assert_int_equal(r->mm->nr_vmas, 3);
	assert_int_equal(rig_mbind(r, 0, 2, BIND, 2, LAZY), 2);
	assert_int_equal(r->mm->nr_vmas, 2);
	/* Nodes are alike, what faults may do is not. */
	assert_int_equal(rig_mbind(r, 0, 2, BIND, 2, 0), 0);
	assert_int_equal(r->mm->nr_vmas, 3);
	assert_int_equal(rig_mbind(r, 0, 6, DEFAULT, 0, 0), 0);
	assert_int_equal(r->mm->nr_vmas, 1);
	rig_intact(r, 0, 6);
}

TEST(moving_at_once_takes_marked_pages_along)
{
	fixture_R(r, 2);
	assert_int_equal(rig_mbind(r, 0, 2, BIND, 2, STRICT | MOVE), 0);
	assert_int_equal(rig_node(r, 0), 1);
	assert_int_equal(rig_marked(r, 0, 2), 0);
	(void)rig_get(r, 1, 0);
	assert_int_equal(faults(r), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASES(the_first_failure_wins, "70"),
		CASES(mode_words, "71 76"),
		CASES(flags_that_are_known, "73"),
		CASES(ranges, "75"),
		CASES(nodes_without_memory, "77"),
		CASES(holes, "78"),
		CASES(strict_alone_changes_nothing, "79"),
		CASES(strict_and_move_of_what_cannot_move, "80"),
		CASES(vmas_are_split_and_merged, "82"),
		CASES(moving_at_once_takes_marked_pages_along, "67 81"),
	};

	return cmocka_run_group_tests_name("mbind", tests, NULL, NULL);
}
