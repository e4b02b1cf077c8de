// SPDX-License-Identifier: MIT
/*
 * What: cases 46 to 69: the fast way, references and pins, and who uses GUP without being the program.
 * How:  on the simulated machine. Fixtures H, R, I: conf.h.
 */
#include "conf.h"

static void map_kind(struct rig *r, uint32_t first, enum nhi_kind kind, bool shared)
{
	assert_int_equal(sim_mmap(&r->t[0], at(r, first), pages(r, 1), RW, kind, shared), 0);
}

/* Only file systems without dirty tracking, and which memory is DAX, are not to be seen. */
TEST(checks_of_the_mapping)
{
	enum { ANON, SHMEM, FILE_SHARED, HUGETLB, SPECIAL, NOTHING };
	static const struct {
		uint32_t page;
		enum nhi_gup_call call;
		unsigned int flags;
		long want;
	} t[] = {
		{ SPECIAL, NHI_GUP_GET, 0, -EFAULT },
		{ SPECIAL, NHI_GUP_GET, FORCE, -EFAULT },
		{ ANON, NHI_GUP_GET, NHI_FOLL_ANON, 1 },
		{ SHMEM, NHI_GUP_GET, NHI_FOLL_ANON, -EFAULT },
		{ FILE_SHARED, NHI_GUP_GET, NHI_FOLL_ANON, -EFAULT },
		{ HUGETLB, NHI_GUP_GET, NHI_FOLL_SPLIT_PMD, -EOPNOTSUPP },
		{ HUGETLB, NHI_GUP_GET, NHI_FOLL_SPLIT_PMD | NHI_FOLL_ANON, -EFAULT },
		{ FILE_SHARED, NHI_GUP_PIN_FAST, NHI_FOLL_LONGTERM | WRITE, -EFAULT },
		{ FILE_SHARED, NHI_GUP_PIN_FAST, NHI_FOLL_LONGTERM, 1 },
		{ FILE_SHARED, NHI_GUP_PIN_FAST, WRITE, 1 },
		{ NOTHING, NHI_GUP_GET, 0, -EFAULT },
		{ NOTHING, NHI_GUP_GET, FORCE, -EFAULT },
	};

	map_kind(r, ANON, NHI_KIND_ANON, false);
	map_kind(r, SHMEM, NHI_KIND_SHMEM, true);
	map_kind(r, FILE_SHARED, NHI_KIND_FILE, true);
	map_kind(r, HUGETLB, NHI_KIND_HUGETLB, false);
	map_kind(r, SPECIAL, NHI_KIND_SPECIAL, false);
	for (size_t i = 0; i < NHI_ARRAY_SIZE(t); i++) {
		long got = gup(r, t[i].call, t[i].page, 1, t[i].flags);

		if (got != t[i].want)
			print_error("row %zu\n", i);
		assert_int_equal(got, t[i].want);
		nhi_pages_put(r->mm, page, got > 0, t[i].call == NHI_GUP_PIN_FAST);
	}
}

TEST(gets_and_pins_are_counted_apart)
{
	uint32_t n = fixture_huge(r, 1);
	nhi_word *word;

	(void)rig_get(r, 1, 0);
	word = entry_of(r, 0);
	assert_int_equal(get(r, 0, n, 0), n);
	assert_int_equal(nhi_word_gets(*word), n);
	assert_int_equal(nhi_word_pins(*word), 0);
	put(r, n);
	assert_int_equal(pin(r, 1, 2, 0), 2);
	assert_int_equal(pin(r, 1, 2, WRITE), 2);
	assert_int_equal(nhi_word_gets(*word), 0);
	assert_int_equal(nhi_word_pins(*word), 4);
	unpin(r, 2);
	page[0].word = at(r, 1) | NHI_PAGE_IS_HUGE | NHI_PAGE_IS_PIN;
	page[1].word = at(r, 2) | NHI_PAGE_IS_HUGE | NHI_PAGE_IS_PIN;
	unpin(r, 2);
	assert_int_equal(*word & (NHI_W_PINS | NHI_W_GETS), 0);
}

TEST(fast_stops_at_a_marked_huge_page)
{
	uint32_t n = fixture_huge(r, 0);

	assert_int_equal(gup(r, NHI_GUP_FAST_ONLY, 0, n, 0), 0);
	assert_int_equal(gup(r, NHI_GUP_FAST_ONLY, 0, n, HONOR), 0);
	assert_int_equal(gup(r, NHI_GUP_FAST_ONLY, 0, n, FORCE), 0);
	assert_int_equal(faults(r), 0);
	assert_int_equal(rig_marked(r, 0, n), n);
	(void)rig_get(r, 1, 0);
	assert_int_equal(gup(r, NHI_GUP_FAST_ONLY, 0, n, 0), n);
	put(r, n);
}

/* Pages that the fast way knew before they became inaccessible, too. */
TEST(inaccessible_memory_by_the_fast_way)
{
	rig_ready(r, 0, 2);
	assert_int_equal(gup(r, NHI_GUP_FAST, 0, 2, WRITE), 2);
	put(r, 2);
	assert_int_equal(gup(r, NHI_GUP_FAST_ONLY, 0, 2, WRITE), 2);
	put(r, 2);
	assert_int_equal(conf_mprotect(r, 0, 1, 0), 0);
	assert_int_equal(conf_mprotect(r, 1, 1, NHI_PROT_READ), 0);
	assert_int_equal(gup(r, NHI_GUP_FAST_ONLY, 0, 2, 0), 0);
	assert_int_equal(gup(r, NHI_GUP_FAST, 0, 2, 0), -EFAULT);
	assert_int_equal(gup(r, NHI_GUP_FAST, 0, 1, FORCE), 1);
	put(r, 1);
	assert_int_equal(gup(r, NHI_GUP_FAST_ONLY, 1, 1, WRITE), 0);
	assert_int_equal(gup(r, NHI_GUP_FAST, 1, 1, WRITE), -EFAULT);
	assert_int_equal(gup(r, NHI_GUP_FAST, 1, 1, 0), 1);
	put(r, 1);
}

/* The page table changes under the fast way, which must have left no reference behind. */
TEST(recheck_after_the_grab)
{
	struct nhi_pmd *pmd;
	nhi_word *pte, old;

	rig_ready(r, 0, 1);
	assert_int_equal(get(r, 0, 1, 0), 1);
	put(r, 1);
	pmd = nhi_pmd_lookup(r->mm, at(r, 0));
	pte = entry_of(r, 0);
	/* Somebody is making the granule a huge page: the PMD's word is no longer NONE. */
	assert_int_equal(
		nhi_entry_trylock(r->mm, at(r, 0), &pmd->word, NULL, NHI_WANT(NHI_NONE), &old), 0);
	assert_int_equal(nhi_entry_ref(pte, pmd, 1, GET), -ESTALE);
	assert_int_equal(*pte & (NHI_W_PINS | NHI_W_GETS), 0);
	assert_int_equal(gup(r, NHI_GUP_FAST_ONLY, 0, 1, 0), 0);
	nhi_entry_unlock(r->mm, at(r, 0), &pmd->word, NHI_NONE);
	assert_int_equal(gup(r, NHI_GUP_FAST_ONLY, 0, 1, 0), 1);
	put(r, 1);
}

TEST(fast_stops_at_what_it_does_not_know)
{
	rig_ready(r, 0, 4);
	assert_int_equal(gup(r, NHI_GUP_FAST_ONLY, 0, 1, 0), 0);
	assert_int_equal(get(r, 0, 2, 0), 2);
	put(r, 2);
	assert_int_equal(gup(r, NHI_GUP_FAST_ONLY, 0, 4, 0), 2);
	put(r, 2);
	assert_int_equal(gup(r, NHI_GUP_FAST_ONLY, 0, 4, WRITE), 0);
	assert_int_equal(get(r, 0, 1, WRITE), 1);
	put(r, 1);
	assert_int_equal(gup(r, NHI_GUP_FAST_ONLY, 0, 4, WRITE), 1);
	put(r, 1);
}

TEST(dump_page_of_marked_and_inaccessible_memory)
{
	fixture_R(r, 4);
	assert_int_equal(conf_mprotect(r, 2, 2, 0), 0);
	for (uint32_t i = 0; i < 4; i++) {
		as(r, 1);
		assert_int_equal(nhi_get_dump_page(r->mm, at(r, i), page), 0);
		if (i < 2)
			assert_int_equal(*(uint64_t *)page[0].usable, 100 + i);
		put(r, 1);
	}
	assert_int_equal(nhi_get_dump_page(r->mm, at(r, 4), page), -ENOENT);
	assert_int_equal(rig_marked(r, 0, 4), 2);
	assert_int_equal(faults(r), 0);
}

static int fault_in(struct rig *r, uint32_t first, uint32_t n, bool write)
{
	as(r, 1);
	return nhi_fault_in(r->mm, at(r, first), at(r, first + n), write);
}

TEST(faulting_in)
{
	fixture_R(r, 4);
	assert_int_equal(fault_in(r, 0, 4, false), 0);
	assert_int_equal(rig_marked(r, 0, 4), 4);
	assert_int_equal(fault_in(r, 0, 2, true), 0);
	assert_int_equal(rig_marked(r, 0, 4), 2);
	assert_int_equal(faults(r), 2);
	assert_int_equal(fault_in(r, 2, 3, false), -ENOMEM);
	assert_int_equal(conf_mprotect(r, 3, 1, 0), 0);
	assert_int_equal(fault_in(r, 3, 1, false), -EINVAL);
	assert_int_equal(conf_mprotect(r, 3, 1, NHI_PROT_READ), 0);
	assert_int_equal(fault_in(r, 3, 1, true), -EINVAL);
	rig_map(r, 8, 1);
	sim_fail(r->m, SIM_OP_POPULATE, 1, false, -EHWPOISON, 0);
	assert_int_equal(fault_in(r, 8, 1, true), -EHWPOISON);
	sim_fail_none(r->m);
	assert_int_equal(fault_in(r, 8, 1, true), 0);
	assert_int_equal(rig_node(r, 8), 1);
}

TEST(asking_for_a_node_moves_nothing)
{
	uint64_t nodes[4];
	int mode;

	fixture_H(r, 2);
	rig_map(r, 2, 1);
	as(r, 1);
	assert_int_equal(nhi_get_mempolicy(r->mm, at(r, 0) + 5, 3, &mode, nodes), 0);
	assert_int_equal(mode, 0); /* the node */
	assert_int_equal(rig_marked(r, 0, 2), 2);
	assert_int_equal(faults(r), 0);
	/* A hole is filled by the question. */
	assert_int_equal(nhi_get_mempolicy(r->mm, at(r, 2), 3, &mode, nodes), 0);
	assert_int_equal(mode, 1);
	assert_int_equal(nhi_get_mempolicy(r->mm, at(r, 3), 3, &mode, nodes), -EFAULT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASES(checks_of_the_mapping, "51"),
		CASES(gets_and_pins_are_counted_apart, "53"),
		CASES(fast_stops_at_a_marked_huge_page, "55"),
		CASES(inaccessible_memory_by_the_fast_way, "58"),
		CASES(recheck_after_the_grab, "60"),
		CASES(fast_stops_at_what_it_does_not_know, "61"),
		CASES(dump_page_of_marked_and_inaccessible_memory, "63"),
		CASES(faulting_in, "65"),
		CASES(asking_for_a_node_moves_nothing, "66"),
	};

	return cmocka_run_group_tests_name("refs", tests, NULL, NULL);
}
