// SPDX-License-Identifier: MIT
/*
 * What: each rung of the restore ladder is reached, and what it brings back is right: UFFDIO_MOVE,
 *	 UFFDIO_COPY, mremap of the page; and an ioctl made by the helper for a program that closed
 *	 our descriptor.
 * How:  trap shadow; the rungs above are taken away as a program would take them away.
 */
#include "real.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SEED 0x1adde5ull
#define LEN  (2 * real_huge)

static const struct pair *shadow_only(void **state)
{
	if (real_pair(state)->trap != NH_TRAP_SHADOW) {
		print_message("skip: only trap shadow has a ladder\n");
		skip();
	}
	return real_pair(state);
}

static bool kernel_has_move(struct nh_mm *mm)
{
	char text[512];

	assert_true(nh_describe(mm, text, sizeof(text)) > 0);
	return strstr(text, "move=1");
}

static char *marked(struct nh_mm *mm, const struct pair *pair, int advice)
{
	char *p = real_map(pair, LEN);

	madvise(p, LEN, advice);
	real_go_to_node(mm, 0);
	real_fill(p, LEN, SEED);
	assert_int_equal(nh_next_touch(mm, p, LEN), LEN / real_page);
	return p;
}

static void check_and_destroy(struct nh_mm *mm, char *p)
{
	real_check(p, LEN, SEED);
	real_assert_balanced(mm);
	assert_int_equal(real_stats(mm).marked_now, 0);
	nh_mm_destroy(mm);
	munmap(p, LEN);
}

static void rung_move(void **state)
{
	const struct pair *pair = shadow_only(state);
	struct nh_mm *mm = real_mm(pair);
	char *p;

	if (!kernel_has_move(mm)) {
		nh_mm_destroy(mm);
		print_message("skip: the kernel has no UFFDIO_MOVE\n");
		skip();
	}
	p = marked(mm, pair, MADV_NOHUGEPAGE);
	assert_int_equal(nh_unmark(mm, p, LEN), LEN / real_page);
	assert_int_equal(real_stats(mm).ladder_move, LEN / real_page);
	check_and_destroy(mm, p);
}

/* mprotect by the program: the shadow's protection differs, MOVE says EINVAL, a copy is allowed. */
static void rung_copy(void **state)
{
	const struct pair *pair = shadow_only(state);
	struct nh_mm *mm = real_mm_copy(pair, NH_COPY_ALWAYS);
	char *p = marked(mm, pair, MADV_NOHUGEPAGE);

	assert_int_equal(mprotect(p, LEN, PROT_READ), 0);
	assert_int_equal(nh_unmark(mm, p, LEN), LEN / real_page);
	assert_true(real_stats(mm).ladder_copy > 0);
	check_and_destroy(mm, p);
}

/* The same where no page may be copied: the page itself goes back by mremap. */
static void rung_mremap(void **state)
{
	const struct pair *pair = shadow_only(state);
	struct nh_mm *mm = real_mm_copy(pair, NH_COPY_NEVER);
	char *p = marked(mm, pair, MADV_NOHUGEPAGE);
	volatile char *q = p;

	assert_int_equal(mprotect(p, LEN, PROT_READ), 0);
	assert_true(real_page_ok(p + 5 * real_page, 5, SEED)); /* by a fault */
	assert_true(nh_unmark(mm, p, LEN) > 0);
	assert_true(real_stats(mm).ladder_mremap > 0);
	real_check(p, LEN, SEED);
	/* The protection that the program asked for is there, not the one that came with the page. */
	assert_int_equal(mprotect(p, LEN, PROT_READ | PROT_WRITE), 0);
	q[0] = q[0];
	check_and_destroy(mm, p);
}

/* Huge pages: restored as one, still one. */
static void rung_huge(void **state)
{
	const struct pair *pair = shadow_only(state);
	struct nh_mm *mm = real_mm(pair);
	char *p = marked(mm, pair, MADV_HUGEPAGE);

	assert_int_equal(nh_unmark(mm, p, LEN), LEN / real_page);
	check_and_destroy(mm, p);
}

static bool close_and_touch(void *arg)
{
	struct nh_mm *mm = arg;
	const struct pair *pair = &real_pairs[1];
	char *p = marked(mm, pair, MADV_NOHUGEPAGE);

	for (int fd = 3; fd < 4096; fd++)
		close(fd);
	for (size_t i = 0; i < LEN / real_page; i++) {
		if (!real_page_ok(p + i * real_page, i, SEED))
			return false;
	}
	return real_stats(mm).helper_ioctls > 0;
}

static void rung_helper(void **state)
{
	const struct pair *pair = shadow_only(state);
	struct nh_mm *mm;

	if (pair->delivery != NH_DELIVERY_THREAD) {
		print_message("skip: the monitor has its own descriptor\n");
		skip();
	}
	mm = real_mm(pair);
	real_in_child(close_and_touch, mm);
	nh_mm_destroy(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		REAL_TESTS(rung_move), REAL_TESTS(rung_copy),	REAL_TESTS(rung_mremap),
		REAL_TESTS(rung_huge), REAL_TESTS(rung_helper),
	};

	return cmocka_run_group_tests_name("ladder", tests, NULL, NULL);
}
