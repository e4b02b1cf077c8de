// SPDX-License-Identifier: MIT
/*
 * What: every bad argument gets its error, in the order of mbind(2), and leaves memory and mm as
 *	 they were.
 * How:  one table per kind of argument; the memory is checked after each call.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <numahint/numahint.h>

#include "cases.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct nh_mm *mm;
static char *p; /* 8 pages, then nothing */
static size_t page;

static int setup(void **state)
{
	struct nh_mm_options o = { .size = sizeof(o), .nodes = "4" };

	(void)state;
	page = (size_t)sysconf(_SC_PAGESIZE);
	/* Far from where mappings are put by themselves: the hole behind it is to stay one. */
	p = mmap((void *)(UINTPTR_MAX >> 20), 16 * page, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || munmap(p + 8 * page, 8 * page))
		return -1;
	memset(p, 7, 8 * page);
	return nh_mm_create(&o, &mm);
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < 8 * page; i++)
		assert_int_equal(p[i], 7);
	nh_mm_destroy(mm);
	return munmap(p, 8 * page);
}

static void options(void **state)
{
	static const struct {
		struct nh_mm_options o;
		int want;
	} t[] = {
		{ { .size = 0 }, -EINVAL },
		{ { .size = 4 }, -EINVAL },
		{ { .size = 4096 }, -EINVAL },
		{ { .size = sizeof(t[0].o), .trap = 9 }, -EINVAL },
		{ { .size = sizeof(t[0].o), .delivery = 9 }, -EINVAL },
		{ { .size = sizeof(t[0].o), .copy = 9 }, -EINVAL },
		{ { .size = sizeof(t[0].o), .flags = 1 }, -EINVAL },
		{ { .size = sizeof(t[0].o), .fault_around_max = 513 }, -EINVAL },
		{ { .size = sizeof(t[0].o), .nodes = "" }, -EINVAL },
		{ { .size = sizeof(t[0].o), .nodes = "0" }, -EINVAL },
		{ { .size = sizeof(t[0].o), .nodes = "4x" }, -EINVAL },
		{ { .size = sizeof(t[0].o), .nodes = "256" }, -EINVAL },
		{ { .size = sizeof(t[0].o), .nodes = "core:4 pu:1" }, -EINVAL },
		/* PROT_NONE has no address for a monitor. */
		{ { .size = sizeof(t[0].o),
		    .trap = NH_TRAP_MPROTECT,
		    .delivery = NH_DELIVERY_MONITOR },
		  -EOPNOTSUPP },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct nh_mm *other = (void *)1;

		assert_int_equal(nh_mm_create(&t[i].o, &other), t[i].want);
		assert_ptr_equal(other, (void *)1);
	}
	assert_int_equal(nh_mm_create(NULL, NULL), -EINVAL);
}

static void synthetic_nodes(void **state)
{
	struct nh_mm_options o = { .size = sizeof(o), .nodes = "numa:3 core:2 pu:1" };
	struct nh_mm *other;
	char text[256];

	(void)state;
	assert_int_equal(nh_mm_create(&o, &other), 0);
	assert_true(nh_describe(other, text, sizeof(text)) > 0);
	assert_non_null(strstr(text, "nodes=3 emulated=1"));
	nh_mm_destroy(other);
}

static void too_many(void **state)
{
	struct nh_mm_options o = { .size = sizeof(o), .nodes = "2" };
	struct nh_mm *made[20];
	int n = 0, err;

	(void)state;
	while ((err = nh_mm_create(&o, &made[n])) == 0)
		n++;
	assert_int_equal(err, -EMFILE);
	assert_in_range(n, 14, 15); /* 16 less ours, and perhaps the default one */
	while (n)
		nh_mm_destroy(made[--n]);
}

static void ranges(void **state)
{
	const struct {
		char *addr;
		size_t len;
		int manage, mbind;
	} t[] = {
		{ p + 1, page, -EINVAL, -EINVAL },	  { p, 0, 0, 0 },
		{ p, SIZE_MAX - page, -EINVAL, -EINVAL }, { p, 9 * page, -ENOMEM, -EFAULT },
		{ p + 8 * page, page, -ENOMEM, -EFAULT }, { NULL, page, -ENOMEM, -EFAULT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(nh_manage(mm, t[i].addr, t[i].len, 0), t[i].manage);
		assert_int_equal(nh_mbind(mm, t[i].addr, t[i].len, NH_MPOL_LOCAL, NULL, 0,
					  NH_MPOL_MF_LAZY),
				 t[i].mbind);
	}
	assert_int_equal(nh_manage(mm, p, page, 1), -EINVAL);
	assert_int_equal(nh_manage(mm, p, 2 * page, 0), 0);
	assert_int_equal(nh_manage(mm, p + page, 2 * page, 0), -EEXIST);
	assert_int_equal(nh_unmanage(mm, p + 1, page), -EINVAL);
	assert_int_equal(nh_unmanage(mm, p, 2 * page), 0);
	assert_int_equal(nh_unmanage(mm, p, 2 * page), 0);
	assert_int_equal(nh_unmark(mm, p + 1, page), -EINVAL);
	assert_int_equal(nh_unmark(mm, p, page), 0);
}

/* nh_next_touch() takes any array: the whole pages inside it. */
static void next_touch_shrinks(void **state)
{
	(void)state;
	assert_int_equal(nh_next_touch(mm, p + 1, page), 0);
	assert_int_equal(nh_next_touch(mm, p + 1, 0), 0);
	assert_int_equal(nh_next_touch(mm, p + 1, SIZE_MAX), -EINVAL);
	assert_int_equal(nh_next_touch(mm, p + 1, 3 * page), 2);
	assert_int_equal(nh_unmark(mm, NULL, 0), 2);
	assert_int_equal(nh_next_touch(mm, p, 9 * page), -EFAULT);
}

/* Cases 70 to 77: what is checked, in which order, with which error. */
static void mbind_arguments(void **state)
{
	unsigned long none = 0, one = 2, missing = 1ul << 40;
	const struct {
		int mode;
		unsigned long *mask, maxnode;
		unsigned int flags;
		int want;
	} t[] = {
		{ 99, NULL, 0, 0, -EINVAL },
		{ -1, NULL, 0, 0, -EINVAL },
		{ NH_MPOL_BIND | NH_MPOL_F_STATIC_NODES | NH_MPOL_F_RELATIVE_NODES, &one, 64, 0,
		  -EINVAL },
		{ NH_MPOL_INTERLEAVE | NH_MPOL_F_NUMA_BALANCING, &one, 64, 0, -EINVAL },
		{ NH_MPOL_BIND | NH_MPOL_F_NUMA_BALANCING, &one, 64, 0, 0 },
		{ NH_MPOL_BIND, &none, 64, 0, -EINVAL },
		{ NH_MPOL_BIND, NULL, 0, 0, -EINVAL },
		{ NH_MPOL_BIND, &one, 0, 0, -EINVAL },
		{ NH_MPOL_BIND, &one, 1, 0, -EINVAL },
		{ NH_MPOL_BIND, &one, 1ul << 20, 0, -EINVAL },
		{ NH_MPOL_BIND, &missing, 64, 0, -EINVAL },
		{ NH_MPOL_BIND, &one, 64, 1u << 4, -EINVAL },
		{ NH_MPOL_DEFAULT, &one, 64, 0, -EINVAL },
		{ NH_MPOL_LOCAL, &one, 64, 0, -EINVAL },
		{ NH_MPOL_LOCAL | NH_MPOL_F_STATIC_NODES, NULL, 0, 0, -EINVAL },
		{ NH_MPOL_PREFERRED, NULL, 0, 0, 0 },
		{ NH_MPOL_PREFERRED | NH_MPOL_F_RELATIVE_NODES, NULL, 0, 0, -EINVAL },
		{ NH_MPOL_NOOP, &one, 64, 0, -EINVAL },
		{ NH_MPOL_NOOP, NULL, 0, 0, 0 },
		{ NH_MPOL_BIND, &one, 64, NH_MPOL_MF_STRICT, -EIO },
		{ NH_MPOL_BIND, &one, 64, NH_MPOL_MF_STRICT | NH_MPOL_MF_LAZY, 0 },
		{ NH_MPOL_DEFAULT, NULL, 0, NH_MPOL_MF_LAZY, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		int got = nh_mbind(mm, p, page, t[i].mode, t[i].mask, t[i].maxnode, t[i].flags);

		if (got != t[i].want)
			print_error("row %zu\n", i);
		assert_int_equal(got, t[i].want);
	}
	/* A length of 0 succeeds before mode and nodes are looked at together. */
	assert_int_equal(nh_mbind(mm, p, 0, NH_MPOL_BIND, &none, 64, 0), 0);
	assert_int_equal(nh_mbind(mm, p, SIZE_MAX, NH_MPOL_BIND, &one, 64, 0), 0);
	assert_int_equal(nh_mbind(mm, p + 1, 0, NH_MPOL_BIND, &one, 64, 0), -EINVAL);
}

static void nodes_and_threads(void **state)
{
	int nodes[9];

	(void)state;
	assert_int_equal(nh_thread_set_node(mm, 4), -EINVAL);
	assert_int_equal(nh_thread_set_node(mm, -1), -EINVAL);
	assert_int_equal(nh_thread_set_node(mm, 3), 0);
	assert_int_equal(nh_thread_node(mm), 3);
	assert_int_equal(nh_thread_set_node(mm, 0), 0);
	assert_int_equal(nh_node_of(mm, p + 1, 1, nodes), -EINVAL);
	assert_int_equal(nh_node_of(mm, p, 1, NULL), -EINVAL);
	assert_int_equal(nh_node_of(mm, p, 9, nodes), 0);
	assert_int_equal(nodes[8], -EFAULT);
	assert_int_equal(nodes[0], 0);
}

static void texts(void **state)
{
	struct nh_stats st;
	uint64_t small[2] = { 5, 5 };

	(void)state;
	for (int e = -200; e <= 200; e++)
		assert_true(strlen(nh_strerror(e)) > 3);
	assert_string_equal(nh_strerror(EPERM), nh_strerror(-EPERM));
	for (unsigned int r = 0; r < NH_REASONS; r++)
		assert_non_null(nh_reason_name(r));
	assert_null(nh_reason_name(NH_REASONS));
	assert_int_equal(nh_stats(mm, NULL, sizeof(st)), -EINVAL);
	assert_int_equal(nh_stats(mm, &st, 0), -EINVAL);
	assert_int_equal(nh_stats(mm, (struct nh_stats *)small, sizeof(uint64_t)), 0);
	assert_int_equal(small[1], 5);
	assert_int_equal(nh_version(), 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(options, setup, teardown),
		cmocka_unit_test_setup_teardown(synthetic_nodes, setup, teardown),
		cmocka_unit_test_setup_teardown(too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(ranges, setup, teardown),
		cmocka_unit_test_setup_teardown(next_touch_shrinks, setup, teardown),
		CASES_WITH(mbind_arguments, "71 73 76 88", setup, teardown),
		cmocka_unit_test_setup_teardown(nodes_and_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(texts, setup, teardown),
	};

	return cmocka_run_group_tests_name("args", tests, NULL, NULL);
}
