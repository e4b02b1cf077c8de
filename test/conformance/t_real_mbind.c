// SPDX-License-Identifier: MIT
/*
 * What: cases 70 to 128 on real memory: what mbind refuses and leaves behind, what LAZY marks, and where
 *	 the policy sends a page at its touch.
 * How:  through the public API, for every pair of trap and delivery. Fixtures H, R: creal.h.
 */
#include "creal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define STRICT	 NH_MPOL_MF_STRICT
#define MOVE	 NH_MPOL_MF_MOVE
#define MOVE_ALL NH_MPOL_MF_MOVE_ALL
#define LAZY	 NH_MPOL_MF_LAZY

static int mbind_mask(const struct creal *c, const void *addr, size_t len, int mode,
		      const unsigned long *mask, unsigned long maxnode, unsigned int flags)
{
	return nh_mbind(c->mm, (void *)(uintptr_t)addr, len, mode, mask, maxnode, flags);
}

/* The policy of page @n: its mode; *nodes. */
static int policy_of(const struct creal *c, size_t n, unsigned long *nodes)
{
	unsigned long mask[16];
	int mode;

	memset(mask, 0xff, sizeof(mask));
	assert_int_equal(nh_get_mempolicy(c->mm, &mode, mask, 1024, at(c, n), NH_MPOL_F_ADDR), 0);
	for (int i = 1; i < 16; i++)
		assert_int_equal(mask[i], 0);
	*nodes = mask[0];
	return mode;
}

static bool is_bound(const struct creal *c, size_t n, unsigned long to)
{
	unsigned long nodes;

	return policy_of(c, n, &nodes) == NH_MPOL_BIND && nodes == to;
}

static unsigned long other_mask(const struct creal *c)
{
	return 1ul << c->other;
}

static bool unprivileged_move_all(void *arg)
{
	struct creal *c = arg;
	const unsigned long one = 1;

	if (setgid(65534) || setuid(65534))
		return false;
	/* Mode and mask come before it, the range after it. */
	return mbind_mask(c, c->p, real_page, NH_MPOL_BIND, &one, 65, MOVE_ALL) == -EPERM &&
	       mbind_mask(c, c->p, real_page, NH_MPOL_BIND, &one, 65, MOVE_ALL | LAZY) == -EPERM &&
	       mbind_mask(c, c->p + 1, real_page, NH_MPOL_BIND, &one, 65, MOVE_ALL) == -EPERM &&
	       mbind_mask(c, c->p, real_page, 99, &one, 65, MOVE_ALL) == -EINVAL &&
	       mbind_mask(c, c->p, real_page, NH_MPOL_BIND, &one, 0, MOVE_ALL) == -EINVAL &&
	       mbind_mask(c, c->p, real_page, NH_MPOL_BIND, &one, 65, MOVE_ALL | 16) == -EINVAL;
}

static void privilege(void **state)
{
	struct creal c = creal_ready(state);

	if (geteuid()) {
		creal_done(&c);
		print_message("skip: only root can give privileges up\n");
		skip();
	}
	assert_int_equal(nh_manage(c.mm, c.p, PAGES * real_page, 0), 0);
	real_in_child(unprivileged_move_all, &c);
	assert_int_equal(mbind_to(&c, 0, 1, NH_MPOL_BIND, 1, MOVE_ALL), 0);
	creal_done(&c);
}

static void node_masks(void **state)
{
	struct creal c = creal_ready(state);
	unsigned long big[1024 / 8], *gone;

	memset(big, 0, sizeof(big));
	big[0] = 1;
	gone = mmap(NULL, real_page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(mbind_mask(&c, c.p, real_page, NH_MPOL_BIND, NULL, 64, 0), -EINVAL);
	assert_int_equal(mbind_mask(&c, c.p, real_page, NH_MPOL_BIND, big, 1, 0), -EINVAL);
	assert_int_equal(mbind_mask(&c, c.p, real_page, NH_MPOL_LOCAL, big, 1, 0), 0);
	assert_int_equal(mbind_mask(&c, c.p, real_page, NH_MPOL_LOCAL, big, 0, 0), -EINVAL);
	assert_int_equal(mbind_mask(&c, c.p, real_page, NH_MPOL_BIND, big, 1 << 20, 0), -EINVAL);
	assert_int_equal(mbind_mask(&c, c.p, real_page, NH_MPOL_BIND, big, 2, 0), 0);
	big[512 / 64] = 1;
	assert_int_equal(mbind_mask(&c, c.p, real_page, NH_MPOL_BIND, big, 1024, 0), -EINVAL);
	assert_int_equal(mbind_mask(&c, c.p, real_page, NH_MPOL_BIND, gone, 64, 0), -EFAULT);
	munmap(gone, real_page);
	assert_int_equal(mbind_mask(&c, c.p, real_page, NH_MPOL_BIND, gone, 64, 0), -EFAULT);
	/* One that lies in marked memory is read. */
	((unsigned long *)at(&c, 5))[0] = 1;
	assert_int_equal(nh_next_touch(c.mm, at(&c, 5), real_page), 1);
	assert_int_equal(mbind_mask(&c, c.p, real_page, NH_MPOL_BIND, (void *)at(&c, 5), 64, 0), 0);
	creal_done(&c);
}

static void ranges_and_holes(void **state)
{
	struct creal c = creal_ready(state);
	const unsigned long one = 1, none = 0;

	assert_int_equal(mbind_mask(&c, c.p + 1, 0, NH_MPOL_BIND, &one, 65, 0), -EINVAL);
	assert_int_equal(mbind_mask(&c, c.p, 0, NH_MPOL_BIND, &none, 65, 0), 0);
	assert_int_equal(mbind_mask(&c, c.p, SIZE_MAX, NH_MPOL_BIND, &none, 65, 0), 0);
	assert_int_equal(mbind_mask(&c, c.p, 0, NH_MPOL_BIND, &one, 65, 1u << 4), -EINVAL);
	assert_int_equal(mbind_mask(&c, at(&c, 1), 1, NH_MPOL_BIND, &one, 65, 0), 0);
	assert_false(is_bound(&c, 0, 1));
	assert_true(is_bound(&c, 1, 1));
	assert_false(is_bound(&c, 2, 1));
	/* Holes: none may be there but for DEFAULT and NOOP, and never only a hole. */
	assert_int_equal(mbind_to(&c, PAGES - 1, 2, NH_MPOL_BIND, 1, 0), -EFAULT);
	assert_false(is_bound(&c, PAGES - 1, 1));
	assert_int_equal(mbind_to(&c, PAGES - 1, 2, NH_MPOL_DEFAULT, 0, 0), 0);
	assert_int_equal(mbind_to(&c, PAGES - 1, 2, NH_MPOL_NOOP, 0, 0), 0);
	assert_int_equal(mbind_to(&c, PAGES, 2, NH_MPOL_BIND, 1, 0), -EFAULT);
	assert_int_equal(mbind_to(&c, PAGES, 2, NH_MPOL_DEFAULT, 0, 0), -EFAULT);
	assert_int_equal(mbind_to(&c, PAGES, 2, NH_MPOL_NOOP, 0, 0), -EFAULT);
	assert_int_equal(munmap(at(&c, 8), real_page), 0);
	assert_int_equal(mbind_to(&c, 7, 4, NH_MPOL_BIND, 1, 0), -EFAULT);
	assert_false(is_bound(&c, 7, 1));
	assert_int_equal(mbind_to(&c, 8, 2, NH_MPOL_BIND, 1, 0), -EFAULT);
	assert_int_equal(mbind_to(&c, 7, 4, NH_MPOL_NOOP, 0, LAZY), 0);
	assert_int_equal(marked(&c), 3);
	creal_done(&c);
}

static void strict(void **state)
{
	struct creal c = creal_ready(state);

	assert_int_equal(mbind_to(&c, 0, 4, NH_MPOL_BIND, 1, 0), 0);
	assert_int_equal(mbind_to(&c, 0, 4, NH_MPOL_BIND, other_mask(&c), STRICT), -EIO);
	assert_true(is_bound(&c, 0, 1));
	/* With MOVE the policy stays and what cannot move is told. */
	assert_int_equal(pin(&c, 0, 1, 0), 1);
	assert_int_equal(mbind_to(&c, 0, 4, NH_MPOL_BIND, other_mask(&c), STRICT | MOVE), -EIO);
	assert_true(is_bound(&c, 0, other_mask(&c)));
	assert_int_equal(node_of(&c, 0), 0);
	assert_int_equal(node_of(&c, 3), c.other);
	assert_int_equal(mbind_to(&c, 0, 4, NH_MPOL_BIND, other_mask(&c), MOVE), 0);
	unpin(&c, 1);
	assert_int_equal(mbind_to(&c, 0, 4, NH_MPOL_BIND, other_mask(&c), STRICT | MOVE), 0);
	assert_int_equal(node_of(&c, 0), c.other);
	/* LAZY never finds anything misplaced. */
	assert_int_equal(mbind_to(&c, 0, 8, NH_MPOL_BIND, 1, STRICT | LAZY), 0);
	intact(&c, 0, PAGES);
	creal_done(&c);
}

static void what_a_policy_looks_like(void **state)
{
	struct creal c = creal_ready(state);
	unsigned long nodes, mask = 1;
	int mode;

	assert_int_equal(mbind_to(&c, 4, 4, NH_MPOL_BIND, 1, LAZY), 0);
	assert_int_equal(policy_of(&c, 3, &nodes), NH_MPOL_DEFAULT);
	assert_int_equal(policy_of(&c, 4, &nodes), NH_MPOL_BIND);
	assert_int_equal(nodes, 1);
	assert_int_equal(policy_of(&c, 8, &nodes), NH_MPOL_DEFAULT);
	assert_int_equal(mbind_to(&c, 4, 1, NH_MPOL_BIND | NH_MPOL_F_STATIC_NODES, 1, 0), 0);
	assert_int_equal(policy_of(&c, 4, &nodes), NH_MPOL_BIND | NH_MPOL_F_STATIC_NODES);
	assert_int_equal(mbind_to(&c, 4, 1, NH_MPOL_PREFERRED, 0, 0), 0);
	assert_int_equal(policy_of(&c, 4, &nodes), NH_MPOL_LOCAL);
	/* Errors of get_mempolicy(2). */
	assert_int_equal(nh_get_mempolicy(c.mm, &mode, NULL, 0, at(&c, 0), 0), -EINVAL);
	assert_int_equal(nh_get_mempolicy(c.mm, &mode, NULL, 0, NULL, 8), -EINVAL);
	assert_int_equal(nh_get_mempolicy(c.mm, &mode, NULL, 0, NULL, NH_MPOL_F_NODE), -EINVAL);
	assert_int_equal(nh_get_mempolicy(c.mm, &mode, NULL, 0, at(&c, PAGES), NH_MPOL_F_ADDR),
			 -EFAULT);
	assert_int_equal(nh_get_mempolicy(c.mm, &mode, &mask, 1, NULL, 0), -EINVAL);
	assert_int_equal(nh_get_mempolicy(c.mm, NULL, &mask, 64, NULL, NH_MPOL_F_MEMS_ALLOWED), 0);
	assert_true(mask & 1 && mask & other_mask(&c));
	assert_int_equal(nh_get_mempolicy(c.mm, NULL, &mask, 64, NULL,
					  NH_MPOL_F_MEMS_ALLOWED | NH_MPOL_F_ADDR),
			 -EINVAL);
	creal_done(&c);
}

static void lazy_lets_faults_migrate_a_plain_policy_does_not(void **state)
{
	struct creal c = creal_ready(state);

	assert_int_equal(mbind_to(&c, 0, PAGES, NH_MPOL_BIND, other_mask(&c), 0), 0);
	assert_int_equal(mbind_to(&c, 0, 8, NH_MPOL_NOOP, 0, LAZY), 0);
	assert_int_equal(marked(&c), 8);
	touch(&c, 0);
	assert_int_equal(node_of(&c, 0), 0);
	assert_int_equal(faults(&c), 1);
	assert_int_equal(mbind_to(&c, 0, PAGES, NH_MPOL_BIND, other_mask(&c), LAZY), 0);
	assert_int_equal(marked(&c), PAGES);
	touch(&c, 0);
	assert_int_equal(node_of(&c, 0), c.other);
	/* Taken back: what is marked still only restores. */
	assert_int_equal(mbind_to(&c, 0, PAGES, NH_MPOL_BIND, other_mask(&c), 0), 0);
	touch(&c, 4);
	assert_int_equal(node_of(&c, 4), 0);
	assert_int_equal(faults(&c), 3);
	creal_done(&c);
}

/* One thread, where the pages are; LAZY alone; once more marks no more. */
static void lazy_alone(void **state)
{
	struct creal c = creal_ready(state);

	assert_int_equal(mbind_to(&c, 0, 8, NH_MPOL_BIND, other_mask(&c), LAZY), 0);
	assert_int_equal(marked(&c), 8);
	assert_int_equal(mbind_to(&c, 0, 8, NH_MPOL_BIND, other_mask(&c), LAZY), 0);
	assert_int_equal(real_stats(c.mm).marked, 8);
	touch(&c, 5);
	assert_int_equal(node_of(&c, 5), c.other);
	assert_int_equal(node_of(&c, 4), 0);
	creal_done(&c);
}

static void lazy_passes_over_the_inaccessible(void **state)
{
	struct creal c = creal_ready(state);

	assert_int_equal(nh_manage(c.mm, c.p, PAGES * real_page, 0), 0);
	assert_int_equal(protect(&c, 8, 8, PROT_NONE), 0);
	assert_int_equal(mbind_to(&c, 0, 24, NH_MPOL_BIND, other_mask(&c), LAZY), 0);
	assert_int_equal(marked(&c), 16);
	assert_true(is_bound(&c, 9, other_mask(&c)));
	assert_int_equal(get(&c, 9, 1, FORCE), 1);
	put(&c, 1);
	assert_int_equal(protect(&c, 8, 8, PROT_READ | PROT_WRITE), 0);
	intact(&c, 0, PAGES);
	creal_done(&c);
}

static void lazy_with_default_and_local(void **state)
{
	struct creal c = creal_ready(state);

	assert_int_equal(mbind_to(&c, 0, 8, NH_MPOL_BIND, 1, 0), 0);
	assert_int_equal(mbind_to(&c, 0, 8, NH_MPOL_DEFAULT, 0, LAZY), 0);
	assert_int_equal(mbind_to(&c, 8, 8, NH_MPOL_LOCAL, 0, LAZY), 0);
	assert_int_equal(marked(&c), 16);
	for (size_t i = 0; i < 16; i += 2)
		touch(&c, i); /* the first worker's part */
	real_go_to_node(c.mm, c.other);
	for (size_t i = 1; i < 16; i += 2)
		touch(&c, i);
	for (size_t i = 0; i < 16; i++)
		assert_int_equal(node_of(&c, i), i % 2 ? c.other : 0);
	assert_int_equal(faults(&c), 16);
	creal_done(&c);
}

static void noop_keeps_each_policy(void **state)
{
	struct creal c = creal_ready(state);

	assert_int_equal(mbind_to(&c, 0, 4, NH_MPOL_BIND, 1, LAZY), 0);
	assert_int_equal(mbind_to(&c, 4, 4, NH_MPOL_BIND, other_mask(&c), LAZY), 0);
	assert_int_equal(nh_unmark(c.mm, NULL, 0), 8);
	assert_int_equal(mbind_to(&c, 0, 8, NH_MPOL_NOOP, 1, LAZY), -EINVAL);
	assert_int_equal(mbind_to(&c, 0, 8, NH_MPOL_NOOP, 0, LAZY | STRICT), 0);
	assert_int_equal(marked(&c), 8);
	for (size_t i = 0; i < 8; i++) {
		touch(&c, i);
		assert_int_equal(node_of(&c, i), i < 4 ? 0 : c.other);
	}
	assert_int_equal(nh_set_mempolicy(c.mm, NH_MPOL_NOOP, NULL, 0), -EINVAL);
	creal_done(&c);
}

/* ---------------------------------------------------------------------- the hinting fault */

static void counted_once(void **state)
{
	struct creal c = creal_H(state);
	struct nh_stats st;

	touch(&c, 9);
	real_go_to_node(c.mm, 0);
	touch(&c, 9);
	st = real_stats(c.mm);
	assert_int_equal(st.hinting_faults, 1);
	assert_int_equal(st.touched_local + st.touched_remote, 1);
	assert_int_equal(st.migrated, 1);
	assert_int_equal(st.marked, PAGES);
	assert_int_equal(node_of(&c, 9), c.other);
	creal_done(&c);
}

/* Page @n of the range goes to whoever touches it from @node. Where it is then. */
static int touch_from(struct creal *c, size_t n, int node)
{
	assert_int_equal(mbind_to(c, n, 1, NH_MPOL_NOOP, 0, LAZY), 0);
	real_go_to_node(c->mm, node);
	touch(c, n);
	return node_of(c, n);
}

static void whose_policy_counts(void **state)
{
	struct creal c = creal_ready(state);
	const int balancing = NH_MPOL_BIND | NH_MPOL_F_NUMA_BALANCING;
	unsigned long both = 1 | other_mask(&c), mask = 0;
	int mode;

	assert_int_equal(nh_set_mempolicy(c.mm, NH_MPOL_BIND, &both, 65), 0);
	assert_int_equal(touch_from(&c, 0, c.other), 0); /* it lets no fault migrate */
	assert_int_equal(nh_set_mempolicy(c.mm, balancing, &both, 65), 0);
	assert_int_equal(touch_from(&c, 2, c.other), c.other);
	assert_int_equal(nh_get_mempolicy(c.mm, &mode, &mask, 64, NULL, 0), 0);
	assert_int_equal(mode, balancing);
	assert_int_equal(mask, both);
	/* The range's comes first. */
	assert_int_equal(mbind_to(&c, 4, 1, NH_MPOL_BIND, 1, LAZY), 0);
	touch(&c, 4);
	assert_int_equal(node_of(&c, 4), 0);
	assert_int_equal(nh_set_mempolicy(c.mm, NH_MPOL_DEFAULT, NULL, 0), 0);
	assert_int_equal(touch_from(&c, 6, c.other), c.other);
	creal_done(&c);
}

static void modes_decide(void **state)
{
	struct creal c = creal_ready(state);
	const unsigned long both = 1 | other_mask(&c);

	assert_int_equal(mbind_to(&c, 0, 2, NH_MPOL_PREFERRED, other_mask(&c), LAZY), 0);
	touch(&c, 1);
	assert_int_equal(node_of(&c, 1), c.other);
	assert_int_equal(mbind_to(&c, 2, 2, NH_MPOL_PREFERRED, both, LAZY), 0);
	assert_int_equal(mbind_to(&c, 4, 2, NH_MPOL_PREFERRED_MANY, both, LAZY), 0);
	assert_int_equal(mbind_to(&c, 6, 2, NH_MPOL_PREFERRED_MANY, other_mask(&c), LAZY), 0);
	assert_int_equal(mbind_to(&c, 8, 2, NH_MPOL_LOCAL, 0, LAZY), 0);
	assert_int_equal(mbind_to(&c, 10, 2, NH_MPOL_BIND | NH_MPOL_F_NUMA_BALANCING, both, LAZY),
			 0);
	assert_int_equal(mbind_to(&c, 12, 2, NH_MPOL_BIND | NH_MPOL_F_NUMA_BALANCING, 1, LAZY), 0);
	real_go_to_node(c.mm, c.other);
	for (size_t i = 3; i < 14; i += 2)
		touch(&c, i);
	assert_int_equal(node_of(&c, 3), 0); /* in the mask: fine */
	assert_int_equal(node_of(&c, 5), 0);
	assert_int_equal(node_of(&c, 7), c.other);
	assert_int_equal(node_of(&c, 9), c.other);
	assert_int_equal(node_of(&c, 11), c.other); /* this node, which the mask has */
	assert_int_equal(node_of(&c, 13), 0);	    /* and which it has not */
	creal_done(&c);
}

static void two_touches_in_a_row(void **state)
{
	struct creal c = creal_ready(state);

	assert_int_equal(mbind_to(&c, 0, PAGES, NH_MPOL_DEFAULT, 0, LAZY), 0);
	assert_int_equal(touch_from(&c, 3, 0), 0);
	assert_int_equal(touch_from(&c, 3, c.other), 0);
	assert_int_equal(touch_from(&c, 3, c.other), c.other);
	/* The first touch of all moves at once. */
	assert_int_equal(touch_from(&c, 7, c.other), c.other);
	creal_done(&c);
}

static void the_last_toucher_moves_along(void **state)
{
	struct creal c = creal_ready(state);

	assert_int_equal(mbind_to(&c, 0, PAGES, NH_MPOL_DEFAULT, 0, LAZY), 0);
	assert_int_equal(touch_from(&c, 3, c.other), c.other);
	/* Moved away at once; who touched it last is remembered: no second touch is needed. */
	assert_int_equal(mbind_to(&c, 3, 1, NH_MPOL_BIND, 1, STRICT | MOVE), 0);
	assert_int_equal(node_of(&c, 3), 0);
	assert_int_equal(mbind_to(&c, 3, 1, NH_MPOL_DEFAULT, 0, 0), 0);
	assert_int_equal(touch_from(&c, 3, c.other), c.other);
	creal_done(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		REAL_CASES(privilege, "70 74"),
		REAL_CASES(node_masks, "72"),
		REAL_CASES(ranges_and_holes, "73 75 78"),
		REAL_CASES(strict, "79 80 88"),
		REAL_CASES(what_a_policy_looks_like, "82"),
		REAL_CASES(lazy_lets_faults_migrate_a_plain_policy_does_not, "84 85 92"),
		REAL_CASES(lazy_alone, "86 87 94"),
		REAL_CASES(lazy_passes_over_the_inaccessible, "89"),
		REAL_CASES(lazy_with_default_and_local, "90 93"),
		REAL_CASES(noop_keeps_each_policy, "91"),
		REAL_CASES(counted_once, "107"),
		REAL_CASES(whose_policy_counts, "119"),
		REAL_CASES(modes_decide, "121 123"),
		REAL_CASES(two_touches_in_a_row, "124 125 126"),
		REAL_CASES(the_last_toucher_moves_along, "132"),
	};

	return cmocka_run_group_tests_name("real_mbind", tests, NULL, NULL);
}
