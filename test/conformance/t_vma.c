// SPDX-License-Identifier: MIT
/*
 * What: cases 1 to 12: what a mark means in which mapping, and what becomes of it when the program
 *	 changes or drops the mapping.
 * How:  on the simulated machine; the machine is asked afterwards.
 */
#include "conf.h"

TEST(accessible_is_any_of_read_write_exec)
{
	rig_map(r, 0, 8);
	rig_fill(r, 0, 0, 8);
	assert_int_equal(rig_manage(r, 0, 8), 0);
	for (unsigned int prot = 0; prot < 8; prot++)
		assert_int_equal(conf_mprotect(r, prot, 1, prot), 0);
	for (unsigned int prot = 0; prot < 8; prot++) {
		assert_int_equal(nhi_vma_accessible(nhi_vma_find(r->mm, at(r, prot))), prot != 0);
		assert_int_equal(rig_mark(r, prot, 1), prot != 0);
	}
	rig_intact(r, 0, 8);
}

TEST(a_mark_means_something_only_where_the_vma_is_accessible)
{
	struct nhi_vma *vma;

	fixture_R(r, 1);
	vma = nhi_vma_find(r->mm, at(r, 0));
	assert_int_equal(follow(r, 0, HONOR), -ENOENT);
	vma->prot = 0; /* the entry is as it was */
	assert_int_equal(nhi_word_state(*entry_of(r, 0)), NHI_MARKED);
	assert_int_equal(follow(r, 0, HONOR), 0);
	vma->prot = RW;
	assert_int_equal(follow(r, 0, HONOR), -ENOENT);
}

TEST(a_marked_page_is_present)
{
	uint8_t info = 0;

	rig_ready(r, 0, 1);
	assert_int_equal(rig_mark(r, 0, 1), 1);
	assert_int_equal(sim_page_maps(r->m->space, at(r, 0)), 1);
	assert_int_equal(r->m->os.ops->query(&r->m->os, nhi_vma_find(r->mm, at(r, 0))->map,
					     at(r, 0), 1, &info),
			 0);
	assert_int_equal(info & (NHI_INFO_PRESENT | NHI_INFO_SHARED), NHI_INFO_PRESENT);
	assert_false(nhi_word_busy(*entry_of(r, 0))); /* it is not one being moved */
	assert_int_equal(follow(r, 0, 0), 0);
	assert_int_equal(rig_node(r, 0), 0);
}

TEST(a_touch_is_a_hinting_fault_and_goes_on)
{
	fixture_H(r, 2);
	rig_put(r, 1, 0, 77);
	assert_int_equal(faults(r), 1);
	assert_int_equal(rig_get(r, 1, 0), 77);
	assert_int_equal(rig_get(r, 1, 1), 101);
	assert_int_equal(faults(r), 2);
	rig_put(r, 1, 0, 100);
}

TEST(an_inaccessible_page_stays_so)
{
	uint64_t value;

	fixture_I(r, 2);
	assert_int_equal(sim_read(&r->t[1], at(r, 0), &value), -EFAULT);
	assert_int_equal(sim_write(&r->t[1], at(r, 0), 1), -EFAULT);
	/* The engine, asked directly, says the same. */
	assert_int_equal(nhi_fault(r->mm, at(r, 0), false,
				   &(struct nhi_toucher){ .tid = 11, .cpu = 1, .node = 1 },
				   NHI_DELIVERY_THREAD),
			 -EFAULT);
	/* And after somebody looked through the protection. */
	assert_int_equal(get(r, 0, 1, FORCE), 1);
	put(r, 1);
	assert_int_equal(sim_read(&r->t[1], at(r, 0), &value), -EFAULT);
	assert_int_equal(faults(r), 0);
	rig_intact(r, 0, 2);
}

TEST(a_forbidden_access_keeps_the_hint)
{
	rig_ready(r, 0, 1);
	assert_int_equal(conf_mprotect(r, 0, 1, NHI_PROT_READ), 0);
	assert_int_equal(rig_mark(r, 0, 1), 1);
	assert_int_equal(sim_write(&r->t[1], at(r, 0), 1), -EFAULT);
	assert_int_equal(faults(r), 0);
	assert_int_equal(rig_marked(r, 0, 1), 1);
	assert_int_equal(rig_get(r, 1, 0), 100);
	assert_int_equal(faults(r), 1);
}

TEST(a_changed_protection_loses_the_hint)
{
	fixture_R(r, 4);
	assert_int_equal(conf_mprotect(r, 0, 2, NHI_PROT_READ), 0);
	assert_int_equal(rig_marked(r, 0, 4), 2);
	assert_int_equal(rig_get(r, 1, 0), 100);
	assert_int_equal(faults(r), 0);
	assert_int_equal(touched(r), 0);
	assert_int_equal(sim_write(&r->t[1], at(r, 0), 1), -EFAULT);
	/* The VMA was split for it, and is one again when both halves are alike. */
	assert_int_equal(r->mm->nr_vmas, 2);
	assert_int_equal(conf_mprotect(r, 0, 4, RW), 0);
	assert_int_equal(r->mm->nr_vmas, 1);
	rig_put(r, 1, 0, 100);
}

TEST(made_inaccessible_and_back_the_hint_is_lost)
{
	uint64_t value;

	fixture_R(r, 2);
	assert_int_equal(conf_mprotect(r, 0, 2, 0), 0);
	assert_int_equal(sim_read(&r->t[1], at(r, 0), &value), -EFAULT);
	assert_int_equal(conf_mprotect(r, 0, 2, RW), 0);
	assert_int_equal(rig_get(r, 1, 0), 100);
	assert_int_equal(faults(r), 0);
	assert_int_equal(touched(r), 0);
}

/* The call fails: the engine believes what the machine says, and nothing is lost. */
static int refuse(void *arg, uintptr_t start, size_t len, unsigned int prot)
{
	(void)arg, (void)start, (void)len, (void)prot;
	return -EACCES;
}

TEST(a_protection_that_cannot_be_changed)
{
	fixture_R(r, 2);
	assert_int_equal(nhi_mprotect(r->mm, at(r, 0), at(r, 1), 0, refuse, NULL), -EACCES);
	assert_int_equal(nhi_vma_find(r->mm, at(r, 0))->prot, RW);
	assert_int_equal(r->mm->nr_vmas, 1);
	rig_put(r, 1, 0, 100);
	assert_int_equal(conf_mprotect(r, 0, 3, RW), -ENOMEM); /* a hole at the end */
	assert_int_equal(rig_marked(r, 0, 2), 1);
}

TEST(dropped_pages_are_dropped_marked_or_not)
{
	fixture_R(r, 4);
	assert_int_equal(sim_dontneed(&r->t[1], at(r, 0), pages(r, 1)), 0);
	assert_int_equal(rig_get(r, 1, 0), 0);
	assert_int_equal(sim_munmap(&r->t[1], at(r, 3), pages(r, 1)), 0);
	assert_int_equal(rig_marked(r, 0, 4), 2);
	assert_int_equal(faults(r), 0);
	assert_int_equal(rig_count(r, NHI_C_LOST), 2);
	rig_intact(r, 1, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASES(accessible_is_any_of_read_write_exec, "1"),
		CASES(a_mark_means_something_only_where_the_vma_is_accessible, "2"),
		CASES(a_marked_page_is_present, "3"),
		CASES(a_touch_is_a_hinting_fault_and_goes_on, "5"),
		CASES(an_inaccessible_page_stays_so, "6 8"),
		CASES(a_forbidden_access_keeps_the_hint, "7"),
		CASES(a_changed_protection_loses_the_hint, "9"),
		CASES(made_inaccessible_and_back_the_hint_is_lost, "10"),
		cmocka_unit_test(a_protection_that_cannot_be_changed),
		CASES(dropped_pages_are_dropped_marked_or_not, "12"),
	};

	return cmocka_run_group_tests_name("vma", tests, NULL, NULL);
}
