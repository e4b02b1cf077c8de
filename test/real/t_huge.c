// SPDX-License-Identifier: MIT
/*
 * What: huge pages stay huge through marking, restoring and migrating (AnonHugePages of the range,
 *	 asked of the kernel), and a part of one may be discarded, unmapped or protected while it is
 *	 marked.
 * How:  trap shadow; skipped where the kernel gives no huge page, or cannot tell or place one.
 */
#include "real.h"

#include <numahint/numahint_gup.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define SEED 0x2f31ull
#define LEN  (4 * real_huge)

/* kB of AnonHugePages in the VMAs that overlap [p, p + len). */
static size_t anon_huge_kb(const char *p, size_t len)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[512];
	size_t sum = 0, kb;
	bool inside = false;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = start < (uintptr_t)p + len && end > (uintptr_t)p;
		else if (inside && sscanf(line, "AnonHugePages: %zu kB", &kb) == 1)
			sum += kb;
	}
	fclose(f);
	return sum;
}

static char *huge_area(void **state, struct nh_mm **ret)
{
	const struct pair *pair = real_pair(state);
	char text[512];
	char *p;

	if (pair->trap != NH_TRAP_SHADOW) {
		print_message("skip: only trap shadow keeps huge pages as one\n");
		skip();
	}
	*ret = real_mm(pair);
	p = real_map(pair, LEN);
	madvise(p, LEN, MADV_HUGEPAGE);
	real_go_to_node(*ret, 0);
	real_fill(p, LEN, SEED);
	assert_true(nh_describe(*ret, text, sizeof(text)) > 0);
	if (anon_huge_kb(p, LEN) != LEN / 1024 || !strstr(text, "move=1")) {
		nh_mm_destroy(*ret);
		munmap(p, LEN);
		print_message("skip: no huge pages here, or no UFFDIO_MOVE to place them\n");
		skip();
	}
	assert_int_equal(nh_next_touch(*ret, p, LEN), LEN / real_page);
	return p;
}

static void done(struct nh_mm *mm, char *p)
{
	real_assert_balanced(mm);
	nh_mm_destroy(mm);
	munmap(p, LEN);
}

static void huge_restored_stays_huge(void **state)
{
	struct nh_mm *mm;
	char *p = huge_area(state, &mm);

	real_check(p, LEN, SEED); /* from its own node */
	assert_int_equal(real_stats(mm).migrated, 0);
	assert_int_equal(real_stats(mm).hinting_faults, LEN / real_huge);
	assert_int_equal(real_stats(mm).touched_local, LEN / real_page);
	assert_int_equal(anon_huge_kb(p, LEN), LEN / 1024);
	done(mm, p);
}

static void huge_migrated_stays_huge(void **state)
{
	struct nh_mm *mm;
	char *p = huge_area(state, &mm);

	for (int round = 1; round <= 3; round++) {
		real_go_to_node(mm, round % real_nr_nodes());
		real_check(p, LEN, SEED);
		assert_int_equal(real_stats(mm).migrated, (size_t)round * LEN / real_page);
		assert_int_equal(anon_huge_kb(p, LEN), LEN / 1024);
		if (!real_emulated())
			assert_int_equal(real_kernel_node(p), round % real_nr_nodes());
		assert_int_equal(nh_next_touch(mm, p, LEN), LEN / real_page);
	}
	assert_true(nh_unmark(mm, NULL, 0) >= 0);
	real_check(p, LEN, SEED);
	done(mm, p);
}

/* A reference honours the hint of all of it, and holds all of it. */
static void huge_referenced(void **state)
{
	static struct nh_page page[4096];
	struct nh_mm *mm;
	char *p = huge_area(state, &mm);
	const size_t nr = real_huge / real_page;
	int nodes[4096];

	assert_in_range(nr, 2, 4096);
	assert_int_equal(nh_get_user_pages_fast_only(mm, p, nr, 0, page), 0);
	assert_int_equal(real_stats(mm).hinting_faults, 0);
	real_go_to_node(mm, real_other_node(0));
	assert_int_equal(nh_get_user_pages(mm, p, nr, NH_FOLL_HONOR_NUMA_FAULT, page), nr);
	assert_int_equal(real_stats(mm).hinting_faults, 1);
	assert_int_equal(nh_node_of(mm, p, nr, nodes), 0);
	for (size_t i = 0; i < nr; i++)
		assert_int_equal(nodes[i], real_other_node(0));
	/* One of them is enough to keep it from being marked. */
	nh_put_pages(mm, page, 7);
	nh_put_pages(mm, page + 8, nr - 8);
	assert_int_equal(nh_next_touch(mm, p, LEN), 0);
	assert_int_equal(real_stats(mm).skipped[NH_REASON_PINNED], nr);
	nh_put_pages(mm, page + 7, 1);
	assert_int_equal(nh_next_touch(mm, p, LEN), nr);
	assert_int_equal(anon_huge_kb(p, LEN), 0); /* all marked, kept elsewhere as they were */
	assert_true(nh_unmark(mm, NULL, 0) >= 0);
	assert_int_equal(anon_huge_kb(p, LEN), LEN / 1024);
	done(mm, p);
}

static void huge_partly_discarded(void **state)
{
	struct nh_mm *mm;
	char *p = huge_area(state, &mm);
	const size_t from = 10, to = 600; /* across a huge page's end */

	assert_int_equal(madvise(p + from * real_page, (to - from) * real_page, MADV_DONTNEED), 0);
	for (size_t i = 0; i < LEN / real_page; i++) {
		if (i < from || i >= to)
			assert_true(real_page_ok(p + i * real_page, i, SEED));
		else
			assert_int_equal(p[i * real_page + 5], 0);
	}
	assert_int_equal(real_stats(mm).lost, to - from);
	done(mm, p);
}

static void huge_partly_unmapped(void **state)
{
	struct nh_mm *mm;
	char *p = huge_area(state, &mm);

	assert_int_equal(munmap(p + 100 * real_page, 50 * real_page), 0);
	for (size_t i = 0; i < LEN / real_page; i++) {
		if (i < 100 || i >= 150)
			assert_true(real_page_ok(p + i * real_page, i, SEED));
	}
	done(mm, p);
}

static void huge_partly_protected(void **state)
{
	struct nh_mm *mm;
	char *p = huge_area(state, &mm);

	assert_int_equal(mprotect(p + 100 * real_page, 50 * real_page, PROT_READ), 0);
	real_check(p, LEN, SEED);
	done(mm, p);
}

static void huge_partly_moved(void **state)
{
	struct nh_mm *mm;
	char *p = huge_area(state, &mm);
	char *q = mremap(p + 100 * real_page, 50 * real_page, 50 * real_page,
			 MREMAP_MAYMOVE | MREMAP_FIXED, real_map(real_pair(state), real_huge));

	assert_ptr_not_equal(q, MAP_FAILED);
	for (size_t i = 0; i < LEN / real_page; i++) {
		char *page = i < 100 || i >= 150 ? p + i * real_page : q + (i - 100) * real_page;

		assert_true(real_page_ok(page, i, SEED));
	}
	done(mm, p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		REAL_CASES(huge_restored_stays_huge, "98 108"),
		REAL_TESTS(huge_migrated_stays_huge),
		REAL_CASES(huge_referenced, "20 55 138"),
		REAL_TESTS(huge_partly_discarded),
		REAL_TESTS(huge_partly_unmapped),
		REAL_TESTS(huge_partly_protected),
		REAL_TESTS(huge_partly_moved),
	};

	return cmocka_run_group_tests_name("huge", tests, NULL, NULL);
}
