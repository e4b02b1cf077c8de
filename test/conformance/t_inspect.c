// SPDX-License-Identifier: MIT
/*
 * What: case 140: accounting sees marked and inaccessible pages as what they are, and leaves them alone.
 * How:  on the simulated machine: sums before and after marking, and across taking access away.
 */
#include "conf.h"

static struct nhi_smaps sums(struct rig *r, uint32_t first, uint32_t n)
{
	struct nhi_smaps s = { 0 };

	as(r, 1);
	assert_int_equal(nhi_smaps(r->mm, at(r, first), at(r, first + n), &s), 0);
	return s;
}

/* All but what marking and protecting change by their nature. */
static void assert_same(struct nhi_smaps a, struct nhi_smaps b)
{
	a.marked = b.marked;
	a.inaccessible = b.inaccessible;
	assert_memory_equal(&a, &b, sizeof(a));
}

TEST(sums_do_not_change)
{
	uint32_t n = r->m->pages_per_huge;
	struct nhi_smaps before, now;
	struct sim_space *child;
	size_t page_size = pages(r, 1);

	/* A huge page on node 0, two pages on node 1, a hole, two that a child shares. */
	rig_map(r, 0, n + 8);
	assert_int_equal(sim_populate_huge(&r->t[0], at(r, 0), 100), 0);
	rig_fill(r, 1, n, 2);
	rig_fill(r, 0, n + 4, 2);
	child = sim_fork(&r->t[0]);
	for (uint32_t i = 0; i < n + 2; i++) /* unshared again, but for the last two */
		sim_zap(child, at(r, i));
	assert_int_equal(rig_manage(r, 0, n + 8), 0);
	before = sums(r, 0, 2 * n + 8);
	assert_int_equal(before.managed, (n + 8) * page_size);
	assert_int_equal(before.resident, (n + 4) * page_size);
	assert_int_equal(before.huge, n * page_size);
	assert_int_equal(before.shared, 2 * page_size);
	assert_int_equal(before.node[0], (n + 2) * page_size);
	assert_int_equal(before.node[1], 2 * page_size);
	assert_int_equal(before.marked + before.referenced + before.unplaced, 0);

	assert_int_equal(rig_mark(r, 0, n + 8), n + 2);
	now = sums(r, 0, n + 8);
	assert_same(now, before);
	assert_int_equal(now.marked, (n + 2) * page_size);
	assert_int_equal(rig_marked(r, 0, n + 8), n + 2); /* looked at, and marked still */
	assert_int_equal(faults(r), 0);
	assert_true(r->m->space->huge[0]);

	assert_int_equal(conf_mprotect(r, n, 8, 0), 0);
	now = sums(r, 0, n + 8);
	assert_same(now, before);
	assert_int_equal(now.inaccessible, 4 * page_size);
	assert_int_equal(conf_mprotect(r, 0, n + 8, 0), 0);
	now = sums(r, 0, n + 8);
	now.huge = before.huge; /* whether it is split for that is the machine's choice */
	assert_same(now, before);
	sim_exit(child);
}

TEST(references_and_parts)
{
	struct nhi_smaps s;

	fixture_H(r, 4);
	assert_int_equal(get(r, 0, 1, HONOR), 1);
	s = sums(r, 0, 4);
	assert_int_equal(s.referenced, pages(r, 1));
	assert_int_equal(s.marked, pages(r, 3));
	assert_int_equal(s.node[1], pages(r, 1));
	s = sums(r, 1, 2);
	assert_int_equal(s.resident, pages(r, 2));
	assert_int_equal(s.node[0], pages(r, 2));
	put(r, 1);
}

/* The contents of a marked page can be had without resolving it, huge or not. */
TEST(contents_of_marked_pages)
{
	uint32_t n = fixture_huge(r, 1);
	uint64_t buf[512];

	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(nhi_peek_marked(r->mm, at(r, i), buf), 0);
		assert_int_equal(buf[0], 100 + i);
	}
	assert_int_equal(rig_marked(r, 0, n), n);
	assert_true(nhi_pmd_lookup(r->mm, at(r, 0))->word != NHI_NONE); /* one huge page still */
	assert_int_equal(faults(r), 0);
	(void)rig_get(r, 1, 0);
	assert_int_equal(nhi_peek_marked(r->mm, at(r, 0), buf), -ENOENT);
	assert_int_equal(nhi_peek_marked(r->mm, at(r, 32), buf), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASES(sums_do_not_change, "140"),
		cmocka_unit_test(references_and_parts),
		cmocka_unit_test(contents_of_marked_pages),
	};

	return cmocka_run_group_tests_name("inspect", tests, NULL, NULL);
}
