// SPDX-License-Identifier: MIT
/*
 * What: cases 13 to 45: how GUP looks at a page, when it faults, how it goes on and where it stops.
 * How:  on the simulated machine; operations of the machine are replaced for a moment where a case
 *	 speaks of what happens in between. Fixtures H, R, I: conf.h.
 */
#include "conf.h"

/* The machine's operations with one of them replaced. */
static struct nhi_os_ops spy;
static const struct nhi_os_ops *real_ops;
static struct rig *spied;
static int rounds;

static struct nhi_os_ops *replace(struct rig *r)
{
	spied = r;
	rounds = 0;
	real_ops = r->m->os.ops;
	spy = *real_ops;
	r->m->os.ops = &spy;
	return &spy;
}

static void put_back(struct rig *r)
{
	r->m->os.ops = real_ops;
}

TEST(follow_predicate_is_honor_and_accessible)
{
	fixture_R(r, 1);
	for (unsigned int bits = 0; bits < 16; bits++) {
		const unsigned int flags = (bits & 1 ? HONOR : 0) | (bits & 2 ? FORCE : 0) |
					   (bits & 4 ? WRITE : 0);
		const bool accessible = bits & 8;

		nhi_vma_find(r->mm, at(r, 0))->prot = accessible ? RW : 0;
		assert_int_equal(follow(r, 0, flags), bits & 1 && accessible ? -ENOENT : 0);
	}
	nhi_vma_find(r->mm, at(r, 0))->prot = RW;
	assert_int_equal(rig_marked(r, 0, 1), 1);
}

TEST(follow_page_without_honor_sees_everything)
{
	uint32_t n;

	fixture_R(r, 2);
	assert_int_equal(follow(r, 0, 0), 0);
	assert_int_equal(follow(r, 0, GET), 0);
	assert_int_equal(*(uint64_t *)page[0].usable, 100);
	put(r, 1);
	assert_int_equal(rig_marked(r, 0, 2), 2);
	assert_int_equal(nhi_unmanage(r->mm, 0, UINTPTR_MAX), 0);
	assert_int_equal(sim_munmap(&r->t[0], at(r, 0), pages(r, 2)), 0);
	n = fixture_huge(r, 1);
	assert_int_equal(follow(r, 1, 0), 0);
	assert_int_equal(rig_marked(r, 0, n), n);
	assert_int_equal(faults(r), 0);
}

TEST(follow_page_of_an_inaccessible_page)
{
	fixture_I(r, 2);
	assert_int_equal(follow(r, 0, 0), 0);
	assert_int_equal(follow(r, 0, HONOR), 0);
	assert_int_equal(faults(r), 0);
}

TEST(follow_page_with_honor_stops_at_a_hint)
{
	uint32_t n = fixture_huge(r, 1);

	assert_int_equal(follow(r, 1, HONOR), -ENOENT);
	assert_int_equal(follow(r, 1, HONOR | GET), -ENOENT);
	assert_int_equal(rig_marked(r, 0, n), n);
	(void)rig_get(r, 1, 0);
	assert_int_equal(follow(r, 1, HONOR), 0);
}

TEST(follow_page_guards)
{
	fixture_R(r, 1);
	assert_int_equal(sim_mmap(&r->t[0], at(r, 4), pages(r, 1), RW, NHI_KIND_SPECIAL, false), 0);
	rig_put(r, 0, 4, 5);
	assert_int_equal(follow(r, 0, NHI_FOLL_PIN), -ENOENT);
	assert_int_equal(follow(r, 0, NHI_FOLL_PIN | GET), -EINVAL);
	assert_int_equal(follow(r, 4, 0), -ENOENT); /* secret memory is such */
	assert_int_equal(follow(r, 8, 0), -ENOENT);
}

static int populate_in_rounds(struct nhi_os *os, struct nhi_map *map, uintptr_t addr, bool write,
			      bool force)
{
	return ++rounds < 3 ? -EAGAIN : real_ops->populate(os, map, addr, write, force);
}

TEST(a_fault_that_needs_three_rounds)
{
	rig_map(r, 0, 2);
	replace(r)->populate = populate_in_rounds;
	assert_int_equal(get(r, 0, 1, WRITE), 1);
	put_back(r);
	assert_int_equal(rounds, 3);
	assert_int_equal(rig_node(r, 0), 1);
	put(r, 1);
	/* What stops it: the error, or the pages so far. */
	sim_fail(r->m, SIM_OP_POPULATE, 2, true, -ENOMEM, 0);
	assert_int_equal(sim_dontneed(&r->t[0], at(r, 0), pages(r, 2)), 0);
	assert_int_equal(get(r, 1, 1, WRITE), 1);
	put(r, 1);
	assert_int_equal(sim_dontneed(&r->t[0], at(r, 0), pages(r, 2)), 0);
	sim_fail_none(r->m);
	sim_fail(r->m, SIM_OP_POPULATE, 1, true, -ENOMEM, 0);
	rig_map(r, 4, 2);
	assert_int_equal(get(r, 4, 2, WRITE), -ENOMEM);
	sim_fail_none(r->m);
	sim_fail(r->m, SIM_OP_POPULATE, 2, true, -ENOMEM, 0);
	assert_int_equal(get(r, 4, 2, WRITE), 1);
	put(r, 1);
}

/* The huge page is split after it was looked at and before it is locked. */
static void split_then_enter(struct nhi_os *os, uint64_t *token)
{
	real_ops->enter(os, token);
	if (++rounds == 1) {
		assert_int_equal(nhi_pmd_split(spied->mm, at(spied, 0),
					       nhi_pmd_lookup(spied->mm, at(spied, 0))),
				 0);
		sim_split_huge(spied->m->space, at(spied, 0));
	}
}

TEST(a_huge_page_that_is_split_meanwhile)
{
	uint32_t n = fixture_huge(r, 1);
	long got;

	replace(r)->enter = split_then_enter;
	got = get(r, 1, 1, HONOR);
	put_back(r);
	assert_int_equal(got, 1);
	assert_true(rounds > 0);
	assert_int_equal(rig_node(r, 1), 1);
	assert_int_equal(rig_node(r, 0), 0); /* by base pages now */
	assert_int_equal(rig_marked(r, 0, n), n - 1);
	assert_int_equal(faults(r), 1);
	put(r, 1);
}

/* The second fault of a write after a migration is the machine's: here a page comes back writable. */
TEST(write_takes_one_hinting_fault)
{
	fixture_R(r, 1);
	assert_int_equal(get(r, 0, 1, WRITE), 1);
	assert_int_equal(faults(r), 1);
	assert_true(*entry_of(r, 0) & NHI_W_WRITE);
	rig_put(r, 1, 0, 100);
	assert_int_equal(faults(r), 1);
	put(r, 1);
	assert_int_equal(rig_mbind(r, 0, 1, BIND, 2, LAZY), 1);
	assert_int_equal(get(r, 0, 1, WRITE), 1);
	assert_int_equal(faults(r), 2);
	assert_int_equal(rig_node(r, 0), 1);
	rig_put(r, 1, 0, 100);
	assert_int_equal(faults(r), 2);
	put(r, 1);
}

TEST(forced_write_on_inaccessible_private_memory)
{
	struct sim_space *child;
	uint64_t value;

	fixture_I(r, 2);
	child = sim_fork(&r->t[0]);
	assert_int_equal(get(r, 0, 1, FORCE | WRITE), 1);
	/* A copy of our own; the child's page is untouched; we still may not. */
	assert_int_equal(sim_page_maps(r->m->space, at(r, 0)), 1);
	assert_int_equal(sim_page_maps(r->m->space, at(r, 1)), 2);
	assert_int_equal(sim_read(&r->t[1], at(r, 0), &value), -EFAULT);
	put(r, 1);
	assert_int_equal(get(r, 0, 1, FORCE), 1);
	put(r, 1);
	assert_int_equal(faults(r), 0);
	rig_intact(r, 0, 2);
	sim_exit(child);
}

TEST(dump_and_honor_on_huge_and_on_base_pages)
{
	uint32_t n = fixture_huge(r, 1);

	assert_int_equal(get(r, 1, 1, NHI_FOLL_DUMP | HONOR), -EFAULT);
	assert_int_equal(rig_marked(r, 0, n), n);
	assert_int_equal(faults(r), 0);
	assert_int_equal(nhi_unmark_range(r->mm, 0, UINTPTR_MAX), n);
	assert_int_equal(rig_mark(r, 1, 1), 1); /* by base pages */
	assert_int_equal(get(r, 1, 1, NHI_FOLL_DUMP | HONOR), 1);
	assert_int_equal(faults(r), 1);
	put(r, 1);
}

TEST(nowait_returns_what_there_is)
{
	fixture_H(r, 2);
	rig_map(r, 2, 2);
	sim_fail(r->m, SIM_OP_POPULATE, 1, true, -EAGAIN, 0); /* the store would block */
	assert_int_equal(get(r, 2, 2, NHI_FOLL_NOWAIT), 0);
	assert_int_equal(get(r, 1, 2, NHI_FOLL_NOWAIT | HONOR), 1); /* and migrates */
	assert_int_equal(rig_node(r, 1), 1);
	put(r, 1);
	sim_fail_none(r->m);
	assert_int_equal(get(r, 2, 2, NHI_FOLL_NOWAIT), 2);
	put(r, 2);
}

/* Whoever moved page 0 is done: it is on node 1. */
static void migration_ends(struct rig *r)
{
	struct nhi_run run = { .map = nhi_vma_find(r->mm, at(r, 0))->map,
			       .addr = at(r, 0),
			       .nr_pages = 1,
			       .prot = RW,
			       .node = 1,
			       .status = (uint8_t[1]){ NHI_PAGE_OTHER } };

	assert_int_equal(r->m->os.ops->move_now(&r->m->os, &run), 1);
	unlock_entry(r, 0, NHI_PRESENT);
}

TEST(slow_gup_waits_for_a_page_that_is_being_moved)
{
	rig_ready(r, 0, 2);
	assert_int_equal(get(r, 0, 2, 0), 2); /* so that there are entries */
	put(r, 2);
	lock_entry(r, 0, NHI_MOVING);
	/* These do not wait. */
	assert_int_equal(follow(r, 0, 0), -ENOENT);
	assert_int_equal(follow(r, 0, GET), -ENOENT);
	assert_int_equal(get(r, 0, 1, NHI_FOLL_NOFAULT), -EFAULT);
	assert_int_equal(gup(r, NHI_GUP_FAST_ONLY, 0, 1, 0), 0);
	assert_int_equal(waits, 0);
	when_waiting(r, migration_ends);
	assert_int_equal(get(r, 0, 1, HONOR), 1);
	assert_int_equal(waits, 1);
	assert_int_equal(rig_node(r, 0), 1);
	assert_int_equal(nhi_page_refs(r->mm, page), 1);
	assert_int_equal(faults(r), 0);
	put(r, 1);
}

TEST(special_memory_with_and_without_pages)
{
	rig_map(r, 0, 2);
	assert_int_equal(sim_mmap(&r->t[0], at(r, 4), pages(r, 1), RW, NHI_KIND_SPECIAL, false), 0);
	as(r, 1);
	assert_int_equal(nhi_gup(r->mm, NHI_GUP_GET, at(r, 4), 1, 0, NULL), -EFAULT);
	assert_int_equal(get(r, 4, 1, 0), -EFAULT);
}

TEST(a_reference_makes_a_page_young_and_keeps_its_hint)
{
	fixture_R(r, 2);
	assert_false(*entry_of(r, 0) & NHI_W_YOUNG);
	assert_int_equal(get(r, 0, 1, 0), 1);
	assert_true(*entry_of(r, 0) & NHI_W_YOUNG);
	assert_false(*entry_of(r, 1) & NHI_W_YOUNG);
	assert_int_equal(rig_marked(r, 0, 2), 2);
	put(r, 1);
	assert_int_equal(follow(r, 1, 0), 0); /* a look does not */
	assert_false(*entry_of(r, 1) & NHI_W_YOUNG);
}

TEST(what_a_fault_says)
{
	static const struct {
		int err;
		unsigned int flags;
		long want;
	} t[] = {
		{ -EHWPOISON, 0, -EFAULT },
		{ -EHWPOISON, NHI_FOLL_HWPOISON, -EHWPOISON },
		{ -ENOMEM, 0, -ENOMEM },
		{ -EFAULT, 0, -EFAULT },
	};

	rig_map(r, 0, 1);
	for (size_t i = 0; i < NHI_ARRAY_SIZE(t); i++) {
		sim_fail(r->m, SIM_OP_POPULATE, 1, false, t[i].err, 0);
		assert_int_equal(get(r, 0, 1, t[i].flags | WRITE), t[i].want);
		sim_fail_none(r->m);
	}
	assert_int_equal(rig_node(r, 0), NHI_NO_NODE);
	assert_int_equal(get(r, 0, 1, WRITE), 1);
	put(r, 1);
}

TEST(remote_gup_is_a_touch_of_the_caller)
{
	rig_ready(r, 0, 2);
	assert_int_equal(rig_mark(r, 0, 2), 2); /* no policy: whoever touches */
	assert_int_equal(get(r, 0, 1, HONOR), 1);
	assert_int_equal(rig_node(r, 0), 1);
	assert_int_equal(nhi_word_last_node(*entry_of(r, 0)), 1);
	put(r, 1);
	as(r, 0);
	assert_int_equal(nhi_gup(r->mm, NHI_GUP_GET, at(r, 1), 1, HONOR, page), 1);
	assert_int_equal(rig_node(r, 1), 0);
	assert_int_equal(faults(r), 2);
	put(r, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASES(follow_predicate_is_honor_and_accessible, "13"),
		CASES(follow_page_without_honor_sees_everything, "14"),
		CASES(follow_page_of_an_inaccessible_page, "14 15"),
		CASES(follow_page_with_honor_stops_at_a_hint, "15"),
		CASES(follow_page_guards, "16"),
		CASES(a_fault_that_needs_three_rounds, "19"),
		CASES(a_huge_page_that_is_split_meanwhile, "21"),
		CASES(write_takes_one_hinting_fault, "23"),
		CASES(forced_write_on_inaccessible_private_memory, "28"),
		CASES(dump_and_honor_on_huge_and_on_base_pages, "32"),
		CASES(nowait_returns_what_there_is, "35"),
		CASES(slow_gup_waits_for_a_page_that_is_being_moved, "38 39 61"),
		CASES(special_memory_with_and_without_pages, "42"),
		CASES(a_reference_makes_a_page_young_and_keeps_its_hint, "43"),
		CASES(what_a_fault_says, "44"),
		CASES(remote_gup_is_a_touch_of_the_caller, "45"),
	};

	return cmocka_run_group_tests_name("follow", tests, NULL, NULL);
}
