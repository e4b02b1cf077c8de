// SPDX-License-Identifier: MIT
/*
 * What: a marked page goes to the node of whoever touches it next; nothing else moves, and no byte
 *	 changes, for every pair of trap and delivery.
 * How:  real memory; nodes of the machine, or four emulated ones where it has one. Placement on real
 *	 nodes is asked of the kernel (move_pages), not of the library.
 */
#include "atomic.h"
#include "real.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SEED 0x5eedull

static int node_of(struct nh_mm *mm, const void *p)
{
	int node;

	assert_int_equal(nh_node_of(mm, p, 1, &node), 0);
	if (!real_emulated())
		assert_int_equal(real_kernel_node(p), node);
	return node;
}

/* Marking moves nothing and hides nothing; the touch brings the page to the toucher. */
static void touch_moves(void **state)
{
	const size_t len = 4 * real_huge, nr = len / real_page;
	struct nh_mm *mm = real_mm(real_pair(state));
	char *p = real_map(real_pair(state), len);
	struct nh_stats st;

	real_go_to_node(mm, 0);
	real_fill(p, len, SEED);
	assert_int_equal(nh_manage(mm, p, len, 0), 0);
	assert_int_equal(nh_next_touch(mm, p, len), nr);
	st = real_stats(mm);
	assert_int_equal(st.marked, nr);
	assert_int_equal(st.marked_now, nr);
	assert_int_equal(st.migrated, 0);

	real_go_to_node(mm, real_other_node(0));
	real_check(p, len / 2, SEED);
	st = real_stats(mm);
	assert_in_range(st.migrated, nr / 2, nr / 2 + 512);
	assert_true(st.hinting_faults > 0);
	for (size_t i = 0; i < nr / 2; i += 7)
		assert_int_equal(node_of(mm, p + i * real_page), real_other_node(0));

	assert_true(nh_unmark(mm, NULL, 0) >= 0);
	assert_int_equal(real_stats(mm).marked_now, 0);
	for (size_t i = nr / 2 + 512; i < nr; i += 7)
		assert_int_equal(node_of(mm, p + i * real_page), 0);
	real_check(p, len, SEED);
	real_assert_balanced(mm);
	nh_mm_destroy(mm);
	munmap(p, len);
}

/* A touch from the node that the page is on restores it in place: nothing misplaced, nothing moved. */
static void local_touch_restores(void **state)
{
	const size_t len = 2 * real_huge, nr = len / real_page;
	struct nh_mm *mm = real_mm(real_pair(state));
	char *p = real_map(real_pair(state), len);
	struct nh_stats st;

	real_go_to_node(mm, 0);
	real_fill(p, len, SEED);
	assert_int_equal(nh_next_touch(mm, p, len), nr);
	real_check(p, len, SEED);
	st = real_stats(mm);
	assert_int_equal(st.migrated, 0);
	assert_int_equal(st.restored, nr);
	assert_int_equal(st.touched_local, nr);
	real_assert_balanced(mm);
	nh_mm_destroy(mm);
	munmap(p, len);
}

/* Writes through a marked page arrive, and stay through a second mark. */
static void writes_arrive(void **state)
{
	const size_t len = 2 * real_huge, nr = len / real_page;
	struct nh_mm *mm = real_mm(real_pair(state));
	char *p = real_map(real_pair(state), len);

	real_fill(p, len, SEED);
	for (uint64_t round = 1; round <= 3; round++) {
		assert_int_equal(nh_next_touch(mm, p, len), nr);
		real_go_to_node(mm, (int)round % real_nr_nodes());
		real_fill(p, len, SEED + round);
		real_check(p, len, SEED + round);
		assert_true(nh_unmark(mm, NULL, 0) >= 0);
		real_check(p, len, SEED + round);
	}
	real_assert_balanced(mm);
	nh_mm_destroy(mm);
	munmap(p, len);
}

/* Pages that were never touched are not marked, not allocated, and read as zeros afterwards. */
static void holes_stay_holes(void **state)
{
	const size_t len = 2 * real_huge, nr = len / real_page;
	struct nh_mm *mm = real_mm(real_pair(state));
	char *p = real_map(real_pair(state), len);
	long marked;
	int node;

	madvise(p, len, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < nr; i += 3)
		real_fill_page(p + i * real_page, i, SEED);
	marked = nh_next_touch(mm, p, len);
	/* PROT_NONE covers what lies between, too; that is found out at the touch. */
	if (real_pair(state)->trap == NH_TRAP_MPROTECT)
		assert_in_range(marked, (nr + 2) / 3, nr);
	else
		assert_int_equal(marked, (nr + 2) / 3);
	assert_int_equal(nh_node_of(mm, p + real_page, 1, &node), 0);
	assert_int_equal(node, -ENOENT);
	real_go_to_node(mm, real_other_node(0));
	for (size_t i = 0; i < nr; i++) {
		if (i % 3 == 0) {
			assert_true(real_page_ok(p + i * real_page, i, SEED));
			continue;
		}
		for (size_t j = 0; j < real_page; j += 64)
			assert_int_equal(p[i * real_page + j], 0);
	}
	real_assert_balanced(mm);
	nh_mm_destroy(mm);
	munmap(p, len);
}

/* Touching one page of a hundred moves about that many: fault-around does not run ahead. */
static void sparse_touch_moves_little(void **state)
{
	const size_t len = 8 * real_huge, nr = len / real_page;
	struct nh_mm *mm = real_mm(real_pair(state));
	char *p = real_map(real_pair(state), len);
	size_t touched = 0;
	struct nh_stats st;

	madvise(p, len, MADV_NOHUGEPAGE);
	real_fill(p, len, SEED);
	assert_int_equal(nh_next_touch(mm, p, len), nr);
	real_go_to_node(mm, real_other_node(0));
	for (size_t i = 0; i < nr; i += 100, touched++)
		assert_true(real_page_ok(p + i * real_page, i, SEED));
	st = real_stats(mm);
	assert_in_range(st.migrated, touched, 2 * touched);
	assert_true(nh_unmark(mm, NULL, 0) >= 0);
	real_check(p, len, SEED);
	real_assert_balanced(mm);
	nh_mm_destroy(mm);
	munmap(p, len);
}

struct team {
	struct nh_mm *mm;
	char *p;
	size_t len;
	int stop;
	pthread_barrier_t ready;
};

struct member {
	struct team *team;
	pthread_t thread;
	int node;
	size_t first, nr; /* pages, its own */
	uint64_t rounds;
	bool ok;
};

/* Rewrite and check one's own pages in an order of one's own until told to stop. */
static void *toucher(void *arg)
{
	struct member *m = arg;
	uint64_t x = (uint64_t)m->node * 77 + 1, version = 0;

	real_go_to_node(m->team->mm, m->node);
	m->ok = true;
	pthread_barrier_wait(&m->team->ready);
	while (m->ok && !nhi_load_relaxed(&m->team->stop)) {
		for (size_t i = 0; i < m->nr && m->ok; i++) {
			size_t page = m->first + i;

			m->ok = real_page_ok(m->team->p + page * real_page, page, SEED + version);
		}
		version++;
		for (size_t i = 0; i < m->nr; i++) {
			size_t page = m->first + (x >> 33) % m->nr;

			x = x * 6364136223846793005ull + 1442695040888963407ull;
			(void)*(volatile char *)(m->team->p + page * real_page);
			page = m->first + i;
			real_fill_page(m->team->p + page * real_page, page, SEED + version);
		}
		m->rounds++;
	}
	return NULL;
}

/* No byte is lost under 4 threads that touch and one that marks for the whole test. */
static void no_byte_lost(void **state)
{
	enum { MEMBERS = 4, MARKS = 300, SOME_MARKS = 5 };
	/* Emulated machines are slow: less memory, and as many rounds as fit. */
	const size_t len = (getenv("NH_GUEST") ? 1 : 4) * real_huge, nr = len / real_page / MEMBERS;
	const uint64_t end = real_now_s() + 2;
	struct team team = { .mm = real_mm(real_pair(state)), .len = len };
	struct member member[MEMBERS] = { 0 };
	uint64_t marked = 0;

	team.p = real_map(real_pair(state), len);
	real_fill(team.p, len, SEED);
	pthread_barrier_init(&team.ready, NULL, MEMBERS + 1);
	for (int i = 0; i < MEMBERS; i++) {
		member[i] = (struct member){ .team = &team,
					     .node = i % real_nr_nodes(),
					     .first = (size_t)i * nr,
					     .nr = nr };
		assert_int_equal(pthread_create(&member[i].thread, NULL, toucher, &member[i]), 0);
	}
	pthread_barrier_wait(&team.ready);
	for (int i = 0; i < MARKS && (i < SOME_MARKS || real_now_s() < end); i++) {
		size_t from = (size_t)(i % 5) * real_page * 37;
		long n = nh_next_touch(team.mm, team.p + from, len - from);

		assert_true(n >= 0);
		marked += (uint64_t)n;
		if (i % 16 == 9)
			assert_true(nh_unmark(team.mm, NULL, 0) >= 0);
	}
	nhi_store_relaxed(&team.stop, 1);
	for (int i = 0; i < MEMBERS; i++) {
		pthread_join(member[i].thread, NULL);
		assert_true(member[i].ok);
	}
	assert_true(marked > len / real_page);
	assert_true(nh_unmark(team.mm, NULL, 0) >= 0);
	real_assert_balanced(team.mm);
	print_message("# %llu pages marked, %llu migrated\n", (unsigned long long)marked,
		      (unsigned long long)real_stats(team.mm).migrated);
	nh_mm_destroy(team.mm);
	munmap(team.p, len);
	pthread_barrier_destroy(&team.ready);
}

/*
 * Pages of the range that are not on the node that @want gives: no more than the kernel failed to move,
 * which it may, and which is counted with the reason.
 */
static void assert_nodes(struct nh_mm *mm, const char *p, size_t nr, int (*want)(uintptr_t addr))
{
	struct nh_stats st = real_stats(mm);
	uint64_t failed = 0, elsewhere = 0;

	for (int i = 0; i < NH_REASONS; i++)
		failed += st.failed[i];
	for (size_t i = 0; i < nr; i++)
		elsewhere += node_of(mm, p + i * real_page) != want((uintptr_t)p + i * real_page);
	if (elsewhere || failed)
		print_message("# %d elsewhere, %d failed\n", (int)elsewhere, (int)failed);
	assert_in_range(elsewhere, 0, failed);
	assert_in_range(elsewhere, 0, nr / 16);
}

static int on_other(uintptr_t addr)
{
	(void)addr;
	return real_other_node(0);
}

static int interleaved(uintptr_t addr)
{
	return addr / real_page % 2 ? real_other_node(0) : 0;
}

/* mbind's modes decide at the touch: BIND and INTERLEAVE go to their nodes, whoever touches. */
static void policies_decide(void **state)
{
	const size_t len = real_huge, nr = len / real_page;
	struct nh_mm *mm = real_mm(real_pair(state));
	char *p = real_map(real_pair(state), len);
	int node, other = real_other_node(0);
	unsigned long bind = 1ul << other, both = 1ul | bind;

	madvise(p, len, MADV_NOHUGEPAGE);
	real_go_to_node(mm, 0);
	real_fill(p, len, SEED);
	assert_int_equal(nh_mbind(mm, p, len, NH_MPOL_BIND, &bind, 64,
				  NH_MPOL_MF_MOVE | NH_MPOL_MF_LAZY),
			 0);
	/* Marked, it is not where move_pages(2) looks. */
	assert_int_equal(nh_node_of(mm, p, 1, &node), 0);
	assert_int_equal(node, 0);
	real_check(p, len / 2, SEED);
	assert_nodes(mm, p, nr / 2, on_other);
	assert_int_equal(nh_mbind(mm, p, len, NH_MPOL_INTERLEAVE, &both, 64, NH_MPOL_MF_LAZY), 0);
	real_check(p, len, SEED);
	assert_nodes(mm, p, nr, interleaved);
	real_assert_balanced(mm);
	nh_mm_destroy(mm);
	munmap(p, len);
}

static size_t lines_in(const char *file)
{
	FILE *f = fopen(file, "r");
	size_t n = 0;
	int c;

	assert_non_null(f);
	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

/*
 * The worst order of touches for trap mprotect, every second page first, would split the range into
 * more VMAs than vm.max_map_count allows. It resolves more pages at once instead, and nothing fails.
 */
static void worst_order_keeps_below_max_map_count(void **state)
{
	const struct pair *pair = real_pair(state);
	unsigned long limit = 65530;
	FILE *f = fopen("/proc/sys/vm/max_map_count", "r");
	struct nh_mm *mm;
	struct nh_stats st;
	size_t nr;
	char *p;

	if (f) {
		assert_int_equal(fscanf(f, "%lu", &limit), 1);
		fclose(f);
	}
	if (pair->trap != NH_TRAP_MPROTECT || limit > 70000) {
		print_message(
			"skip: about trap mprotect and a vm.max_map_count of 70000 at most\n");
		skip();
	}
	nr = limit + limit / 8;
	mm = real_mm(pair);
	p = real_map(pair, nr * real_page);
	madvise(p, nr * real_page, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < nr; i++)
		*(size_t *)(p + i * real_page) = i;
	assert_int_equal(nh_next_touch(mm, p, nr * real_page), nr);
	real_go_to_node(mm, real_other_node(0));
	for (size_t i = 0; i < nr; i += 2)
		assert_int_equal(*(size_t *)(p + i * real_page), i);
	assert_in_range(lines_in("/proc/self/maps"), 1, limit * 3 / 4);
	for (size_t i = 1; i < nr; i += 2)
		assert_int_equal(*(size_t *)(p + i * real_page), i);
	st = real_stats(mm);
	assert_int_equal(st.failed[NH_REASON_MAPS], 0);
	assert_int_equal(st.marked_now, 0);
	real_assert_balanced(mm);
	nh_mm_destroy(mm);
	munmap(p, nr * real_page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		REAL_CASES(touch_moves, "5 83 115"),
		REAL_CASES(local_touch_restores, "112"),
		REAL_CASES(writes_arrive, "118"),
		REAL_TESTS(holes_stay_holes),
		REAL_TESTS(sparse_touch_moves_little),
		REAL_CASES(policies_decide, "120"),
		REAL_CASES(no_byte_lost, "103"),
		REAL_TESTS(worst_order_keeps_below_max_map_count),
	};

	return cmocka_run_group_tests_name("next_touch", tests, NULL, NULL);
}
