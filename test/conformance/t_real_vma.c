// SPDX-License-Identifier: MIT
/*
 * What: cases 1 to 45 and 54 to 66 on real memory: what a mark means in which mapping, and what
 *	 references see of it.
 * How:  through the public API, for every pair of trap and delivery. Fixtures H, R, I: creal.h.
 */
#include "creal.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

static void accessible_is_any_access(void **state)
{
	struct creal c = creal_ready(state);

	assert_int_equal(nh_manage(c.mm, c.p, PAGES * real_page, 0), 0);
	for (int prot = 0; prot < 8; prot++) {
		assert_int_equal(protect(&c, (size_t)prot, 1, prot), 0);
		assert_int_equal(nh_next_touch(c.mm, at(&c, (size_t)prot), real_page), prot != 0);
	}
	assert_int_equal(marked(&c), 7);
	assert_int_equal(protect(&c, 0, 8, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(marked(&c), 0);
	intact(&c, 0, PAGES);
	creal_done(&c);
}

static void read_first_page(void *arg)
{
	struct creal *c = arg;

	(void)*(volatile char *)c->p;
}

static void read_after_force(void *arg)
{
	struct creal *c = arg;

	if (get(c, 0, 1, FORCE) != 1)
		_exit(1);
	put(c, 1);
	read_first_page(c);
}

static void an_inaccessible_page_kills(void **state)
{
	struct creal c = creal_I(state);

	real_child_dies(read_first_page, &c, SIGSEGV);
	real_child_dies(read_after_force, &c, SIGSEGV);
	assert_int_equal(faults(&c), 0);
	creal_done(&c);
}

static void write_first_page(void *arg)
{
	struct creal *c = arg;

	/* A page of the child's own, or it would not be marked. */
	if (protect(c, 0, 1, PROT_READ | PROT_WRITE))
		_exit(1);
	real_fill_page(c->p, 0, SEED);
	if (protect(c, 0, 1, PROT_READ) || nh_next_touch(c->mm, c->p, real_page) != 1)
		_exit(1);
	*(volatile char *)c->p = 1;
}

static void a_forbidden_access_kills_an_allowed_one_does_not(void **state)
{
	struct creal c = creal_ready(state);

	assert_int_equal(nh_manage(c.mm, c.p, PAGES * real_page, 0), 0);
	assert_int_equal(protect(&c, 0, PAGES, PROT_READ), 0);
	real_child_dies(write_first_page, &c, SIGSEGV);
	assert_int_equal(nh_next_touch(c.mm, c.p, real_page), 1);
	touch(&c, 0);
	assert_int_equal(faults(&c), 1);
	creal_done(&c);
}

static void changed_protection_loses_hints(void **state)
{
	struct creal c = creal_R(state);

	assert_int_equal(protect(&c, 0, 4, PROT_READ), 0);
	assert_int_equal(marked(&c), PAGES - 4);
	touch(&c, 1);
	assert_int_equal(faults(&c), 0);
	creal_done(&c);
}

static void inaccessible_and_back_loses_hints(void **state)
{
	struct creal c = creal_R(state);

	assert_int_equal(protect(&c, 2, 4, PROT_NONE), 0);
	assert_int_equal(protect(&c, 2, 4, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(marked(&c), PAGES - 4);
	intact(&c, 2, 4);
	assert_int_equal(faults(&c), 0);
	creal_done(&c);
}

static void follow_predicate(void **state)
{
	struct creal c = creal_R(state);

	for (unsigned int bits = 0; bits < 8; bits++) {
		const unsigned int flags = (bits & 1 ? HONOR : 0) | (bits & 2 ? FORCE : 0) |
					   (bits & 4 ? WRITE : 0);

		assert_int_equal(follow(&c, 1, flags), bits & 1 ? -ENOENT : 0);
	}
	assert_int_equal(marked(&c), PAGES);
	assert_int_equal(protect(&c, 1, 1, PROT_NONE), 0);
	for (unsigned int bits = 0; bits < 4; bits++)
		assert_int_equal(follow(&c, 1, (bits & 1 ? HONOR : 0) | (bits & 2 ? FORCE : 0)), 0);
	assert_int_equal(faults(&c), 0);
	creal_done(&c);
}

static void reads_leave_hints_and_writes_take_them(void **state)
{
	struct creal c = creal_H(state);

	assert_int_equal(get(&c, 0, 2, 0), 2);
	assert_true(shows(0, 0) && shows(1, 1));
	assert_int_equal(marked(&c), PAGES);
	assert_int_equal(faults(&c), 0);
	put(&c, 2);
	assert_int_equal(get(&c, 4, 2, WRITE), 2);
	assert_int_equal(faults(&c), 2);
	assert_int_equal(node_of(&c, 4), c.other);
	assert_ptr_equal(nh_page_address(&page[1]), at(&c, 5));
	put(&c, 2);
	intact(&c, 0, PAGES);
	creal_done(&c);
}

static void one_hinting_fault_for_a_write(void **state)
{
	struct creal c = creal_R(state);

	assert_int_equal(get(&c, 3, 1, WRITE), 1);
	assert_int_equal(faults(&c), 1);
	real_fill_page(at(&c, 3), 3, SEED);
	assert_int_equal(faults(&c), 1);
	put(&c, 1);
	creal_done(&c);
	c = creal_H(state);
	assert_int_equal(get(&c, 3, 1, WRITE), 1);
	real_fill_page(at(&c, 3), 3, SEED);
	assert_int_equal(faults(&c), 1);
	assert_int_equal(node_of(&c, 3), c.other);
	put(&c, 1);
	creal_done(&c);
}

static void forced_writes(void **state)
{
	struct creal c;

	creal_private_only(state);
	c = creal_ready(state);
	assert_int_equal(nh_manage(c.mm, c.p, PAGES * real_page, 0), 0);
	assert_int_equal(protect(&c, 0, 4, PROT_READ), 0);
	assert_int_equal(mbind_to(&c, 0, PAGES, NH_MPOL_BIND, 1, NH_MPOL_MF_LAZY), 0);
	/* Read-only and private: no fault, unless the hint is to be honoured. */
	assert_int_equal(get(&c, 0, 1, WRITE), -EFAULT);
	assert_int_equal(get(&c, 0, 1, WRITE | FORCE), 1);
	assert_int_equal(faults(&c), 0);
	put(&c, 1);
	assert_int_equal(get(&c, 2, 1, WRITE | FORCE | HONOR), 1);
	assert_int_equal(faults(&c), 1);
	put(&c, 1);
	/* Writable: FORCE makes no difference. */
	assert_int_equal(get(&c, 8, 1, WRITE | FORCE), 1);
	assert_int_equal(faults(&c), 2);
	put(&c, 1);
	creal_done(&c);
}

static void inaccessible_memory(void **state)
{
	struct creal c = creal_I(state);

	assert_int_equal(get(&c, 0, 1, 0), -EFAULT);
	assert_int_equal(get(&c, 0, 1, HONOR), -EFAULT);
	assert_int_equal(fast(&c, 0, 1, 0), -EFAULT);
	alarm(20); /* it must not go on for ever */
	assert_int_equal(get(&c, 0, 2, FORCE | HONOR), 2);
	put(&c, 2);
	assert_int_equal(get(&c, 0, 2, FORCE), 2);
	put(&c, 2);
	assert_int_equal(fast(&c, 4, 1, FORCE), 1);
	alarm(0);
	put(&c, 1);
	assert_int_equal(faults(&c), 0);
	creal_done(&c);
}

/* Known to the fast way before it became inaccessible. */
static void inaccessible_by_the_fast_way(void **state)
{
	struct creal c = creal_ready(state);

	assert_int_equal(nh_manage(c.mm, c.p, PAGES * real_page, 0), 0);
	assert_int_equal(fast(&c, 0, 4, WRITE), 4);
	put(&c, 4);
	assert_int_equal(protect(&c, 0, 2, PROT_NONE), 0);
	assert_int_equal(fast_only(&c, 0, 4, 0), 0);
	assert_int_equal(fast(&c, 0, 4, 0), -EFAULT);
	assert_int_equal(fast(&c, 0, 1, FORCE), 1);
	put(&c, 1);
	creal_done(&c);
}

static void force_limits(void **state)
{
	struct creal c = creal_ready(state);
	char *shared = mmap(NULL, real_page, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(shared, MAP_FAILED);
	assert_int_equal(nh_get_user_pages(c.mm, shared, 1, WRITE | FORCE, page), -EFAULT);
	assert_int_equal(nh_get_user_pages(c.mm, shared, 1, FORCE, page), 1);
	put(&c, 1);
	munmap(shared, real_page);
	creal_done(&c);
}

static void force_and_honor_are_independent(void **state)
{
	struct creal c = creal_R(state);

	assert_int_equal(get(&c, 1, 1, FORCE), 1);
	assert_int_equal(faults(&c), 0);
	put(&c, 1);
	assert_int_equal(get(&c, 1, 1, FORCE | HONOR), 1);
	assert_int_equal(faults(&c), 1);
	put(&c, 1);
	creal_done(&c);
}

static void dumps_allocate_nothing(void **state)
{
	struct creal c = creal_R(state);
	char *empty;

	assert_int_equal(nh_get_dump_page(c.mm, at(&c, 3), page), 0);
	assert_true(shows(0, 3));
	put(&c, 1);
	assert_int_equal(protect(&c, 4, 1, PROT_NONE), 0);
	assert_int_equal(nh_get_dump_page(c.mm, at(&c, 4), page), 0);
	put(&c, 1);
	empty = mmap(NULL, real_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(nh_get_dump_page(c.mm, empty, page), -ENOENT);
	assert_int_equal(nh_get_user_pages(c.mm, empty, 1, NH_FOLL_DUMP, page), -EFAULT);
	assert_int_equal(nh_get_user_pages(c.mm, empty, 1, NH_FOLL_NOFAULT, page), -EFAULT);
	assert_int_equal(real_kernel_node(empty) < 0, 1);
	munmap(empty, real_page);
	assert_int_equal(marked(&c), PAGES - 1);
	assert_int_equal(faults(&c), 0);
	creal_done(&c);
}

static void nofault(void **state)
{
	struct creal c = creal_R(state);

	assert_int_equal(get(&c, 0, 2, NH_FOLL_NOFAULT), 2);
	put(&c, 2);
	assert_int_equal(get(&c, 0, 1, NH_FOLL_NOFAULT | HONOR), -EFAULT);
	assert_int_equal(get(&c, 0, 1, NH_FOLL_NOFAULT | WRITE), -EFAULT);
	assert_int_equal(marked(&c), PAGES);
	creal_done(&c);
}

static void ranges_with_an_end(void **state)
{
	struct creal c = creal_ready(state);

	assert_int_equal(get(&c, PAGES - 3, 5, 0), 3);
	put(&c, 3);
	assert_int_equal(get(&c, PAGES, 2, 0), -EFAULT);
	assert_int_equal(fast(&c, PAGES - 3, 5, 0), 3);
	put(&c, 3);
	assert_int_equal(fast(&c, PAGES, 1, 0), -EFAULT);
	creal_done(&c);
}

static void only_marked_pages_fault(void **state)
{
	struct creal c = creal_ready(state);

	assert_int_equal(nh_next_touch(c.mm, at(&c, 2), 3 * real_page), 3);
	assert_int_equal(get(&c, 0, 8, HONOR), 8);
	assert_int_equal(faults(&c), 3);
	put(&c, 8);
	creal_done(&c);
}

static void references_are_counted(void **state)
{
	struct creal c = creal_ready(state);

	assert_int_equal(get(&c, 0, 1, 0), 1);
	assert_int_equal(nh_page_count(c.mm, page), 1);
	assert_int_equal(nh_pin_user_pages(c.mm, c.p, 1, 0, page + 1), 1);
	assert_int_equal(nh_page_count(c.mm, page), 2);
	nh_put_pages(c.mm, page + 1, 0);
	nh_unpin_user_pages(c.mm, page + 1, 1);
	assert_int_equal(nh_page_count(c.mm, page), 1);
	put(&c, 1);
	creal_done(&c);
}

static void the_caller_is_who_touches(void **state)
{
	struct creal c = creal_ready(state);

	assert_int_equal(nh_next_touch(c.mm, c.p, 4 * real_page), 4);
	assert_int_equal(mbind_to(&c, 0, 4, NH_MPOL_DEFAULT, 0, 0), 0);
	real_go_to_node(c.mm, c.other);
	assert_int_equal(nh_get_user_pages_remote(c.mm, at(&c, 2), 1, HONOR, page), 1);
	assert_int_equal(nh_page_node(c.mm, page), c.other);
	assert_int_equal(node_of(&c, 1), 0);
	put(&c, 1);
	creal_done(&c);
}

static void fast_stops_at_hints(void **state)
{
	struct creal c = creal_R(state);

	touch(&c, 0);
	touch(&c, 2);
	touch(&c, 1);
	assert_int_equal(faults(&c), 3);
	assert_int_equal(fast_only(&c, 0, 6, 0), 3);
	put(&c, 3);
	assert_int_equal(fast_only(&c, 3, 4, HONOR), 0);
	assert_int_equal(fast_only(&c, 0, 1, WRITE), 0); /* not known to be writable */
	assert_int_equal(faults(&c), 3);
	/* The rest by the slow way: as it is, or honoured. */
	assert_int_equal(fast(&c, 0, 6, 0), 6);
	assert_true(shows(5, 5));
	put(&c, 6);
	assert_int_equal(faults(&c), 3);
	assert_int_equal(fast(&c, 4, 1, HONOR), 1);
	assert_int_equal(faults(&c), 4);
	put(&c, 1);
	creal_done(&c);
}

static void populating(void **state)
{
	struct creal c = creal_R(state);

	assert_int_equal(nh_fault_in(c.mm, c.p, 8 * real_page, 0), 0);
	assert_int_equal(marked(&c), PAGES);
	assert_int_equal(nh_fault_in(c.mm, c.p, 2 * real_page, 1), 0);
	assert_int_equal(faults(&c), 2);
	assert_int_equal(nh_fault_in(c.mm, at(&c, PAGES - 1), 2 * real_page, 0), -ENOMEM);
	assert_int_equal(protect(&c, 8, 1, PROT_NONE), 0);
	assert_int_equal(nh_fault_in(c.mm, at(&c, 8), real_page, 0), -EINVAL);
	assert_int_equal(nh_populate(c.mm, at(&c, 8), real_page), -EFAULT);
	assert_int_equal(protect(&c, 8, 2, PROT_READ), 0);
	assert_int_equal(nh_fault_in(c.mm, at(&c, 8), real_page, 1), -EINVAL);
	assert_int_equal(nh_next_touch(c.mm, at(&c, 8), 2 * real_page), 2);
	assert_int_equal(nh_populate(c.mm, at(&c, 8), 2 * real_page), 2);
	assert_int_equal(faults(&c), 2); /* read-only: the hints stay */
	if (c.pair->trap != NH_TRAP_MINOR) {
		assert_int_equal(nh_populate(c.mm, at(&c, 16), 4 * real_page), 4);
		assert_int_equal(faults(&c), 6);
	}
	creal_done(&c);
}

static void asking_for_the_node(void **state)
{
	struct creal c = creal_H(state);
	int node;

	assert_int_equal(nh_get_mempolicy(c.mm, &node, NULL, 0, at(&c, 3) + 7,
					  NH_MPOL_F_NODE | NH_MPOL_F_ADDR),
			 0);
	assert_int_equal(node, 0);
	assert_int_equal(marked(&c), PAGES);
	assert_int_equal(faults(&c), 0);
	/* Nor does moving at once need a fault: case 67. */
	assert_int_equal(mbind_to(&c, 0, 4, NH_MPOL_BIND, 1ul << c.other,
				  NH_MPOL_MF_STRICT | NH_MPOL_MF_MOVE),
			 0);
	assert_int_equal(node_of(&c, 3), c.other);
	touch(&c, 3);
	assert_int_equal(faults(&c), 0);
	creal_done(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		REAL_CASES(accessible_is_any_access, "1"),
		REAL_CASES(an_inaccessible_page_kills, "6 8"),
		REAL_CASES(a_forbidden_access_kills_an_allowed_one_does_not, "7"),
		REAL_CASES(changed_protection_loses_hints, "9"),
		REAL_CASES(inaccessible_and_back_loses_hints, "10"),
		REAL_CASES(follow_predicate, "13 14 15"),
		REAL_CASES(reads_leave_hints_and_writes_take_them, "17 22"),
		REAL_CASES(one_hinting_fault_for_a_write, "23"),
		REAL_CASES(forced_writes, "24 25"),
		REAL_CASES(inaccessible_memory, "27 30"),
		REAL_CASES(inaccessible_by_the_fast_way, "58"),
		REAL_CASES(force_limits, "29"),
		REAL_CASES(force_and_honor_are_independent, "31"),
		REAL_CASES(dumps_allocate_nothing, "33 63"),
		REAL_CASES(nofault, "34"),
		REAL_CASES(ranges_with_an_end, "40 59"),
		REAL_CASES(only_marked_pages_fault, "41"),
		REAL_CASES(references_are_counted, "53"),
		REAL_CASES(the_caller_is_who_touches, "45"),
		REAL_CASES(fast_stops_at_hints, "54 57 61"),
		REAL_CASES(populating, "64 65"),
		REAL_CASES(asking_for_the_node, "66 67"),
	};

	return cmocka_run_group_tests_name("real_vma", tests, NULL, NULL);
}
