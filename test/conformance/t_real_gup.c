// SPDX-License-Identifier: MIT
/*
 * What: on real memory: what GUP refuses (cases 42 to 51, 62), forced writes (28), pages that several
 *	 processes map (81) and a mask that the page is outside of (122).
 * How:  through the public API, for every pair of trap and delivery.
 */
#include "creal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

typedef long call_fn(struct nh_mm *mm, const void *addr, size_t nr, unsigned int flags,
		     struct nh_page *pages);

static void arguments(void **state)
{
	static call_fn *const calls[] = { nh_get_user_pages,	      nh_get_user_pages_remote,
					  nh_pin_user_pages,	      nh_pin_user_pages_remote,
					  nh_get_user_pages_fast,     nh_pin_user_pages_fast,
					  nh_get_user_pages_fast_only };
	struct creal c = creal_ready(state);

	for (int i = 0; i < 7; i++) {
		const bool slow_pin = i == 2 || i == 3, fast_one = i >= 4;
		const bool is_pin = slow_pin || i == 5;
		const long refused = slow_pin ? 0 : -EINVAL;

		for (unsigned int bit = 13; bit < 32; bit++)
			assert_int_equal(calls[i](c.mm, c.p, 1, 1u << bit, page), refused);
		/* Of those that exist the fast ones do not know all. */
		for (unsigned int bit = 0; fast_one && bit < 13; bit++) {
			const unsigned int unknown = NH_FOLL_DUMP | NH_FOLL_NOWAIT |
						     NH_FOLL_HWPOISON | NH_FOLL_ANON |
						     NH_FOLL_SPLIT_PMD | NH_FOLL_INTERRUPTIBLE;

			if (1u << bit & unknown)
				assert_int_equal(calls[i](c.mm, c.p, 1, 1u << bit, page), -EINVAL);
		}
		if (is_pin)
			assert_int_equal(calls[i](c.mm, c.p, 1, NH_FOLL_GET, page), refused);
		else
			assert_int_equal(calls[i](c.mm, c.p, 1, NH_FOLL_LONGTERM, page), -EINVAL);
		assert_int_equal(calls[i](c.mm, c.p, 1, NH_FOLL_LONGTERM | NH_FOLL_PCI_P2PDMA,
					  page),
				 refused);
		if (is_pin || fast_one)
			assert_int_equal(calls[i](c.mm, c.p, 1, 0, NULL), refused);
		/* Bad flags are told even of no pages. */
		assert_int_equal(calls[i](c.mm, c.p, 0, 1u << 20, page), refused);
		assert_int_equal(calls[i](c.mm, c.p, 0, 0, page), 0);
		assert_int_equal(calls[i](c.mm, c.p, SIZE_MAX / 2, 0, page), -EOVERFLOW);
	}
	assert_int_equal(nh_get_user_pages(c.mm, c.p, 1, NH_FOLL_GET, NULL), -EINVAL);
	creal_done(&c);
}

static void without_pages(void **state)
{
	struct creal c = creal_ready(state);
	char *p = mmap(NULL, 2 * real_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);

	assert_ptr_not_equal(p, MAP_FAILED);
	assert_true(real_kernel_node(p) < 0);
	assert_int_equal(nh_get_user_pages(c.mm, p, 1, WRITE, NULL), 1);
	assert_true(real_kernel_node(p) >= 0);
	assert_true(real_kernel_node(p + real_page) < 0);
	munmap(p, 2 * real_page);
	creal_done(&c);
}

static void kinds_of_mappings(void **state)
{
	struct creal c = creal_ready(state);
	const uintptr_t vdso = (uintptr_t)getauxval(AT_SYSINFO_EHDR);
	char name[] = "numahint-XXXXXX", *shared, *file, *huge;
	int fd = mkstemp(name);
	struct statfs fs;

	assert_true(fd >= 0);
	unlink(name);
	assert_int_equal(ftruncate(fd, (off_t)real_page), 0);
	shared = mmap(NULL, real_page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	file = mmap(NULL, real_page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	huge = mmap(NULL, real_huge, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
	if (vdso)
		assert_int_equal(nh_get_user_pages(c.mm, (void *)vdso, 1, 0, page), -EFAULT);
	assert_int_equal(nh_get_user_pages(c.mm, shared, 1, NH_FOLL_ANON, page), -EFAULT);
	assert_int_equal(nh_get_user_pages(c.mm, file, 1, NH_FOLL_ANON, page), -EFAULT);
	/* Shared memory needs nobody to be told that it is dirty. */
	assert_int_equal(fstatfs(fd, &fs), 0);
	if (fs.f_type != TMPFS_MAGIC)
		assert_int_equal(nh_pin_user_pages(c.mm, file, 1, NH_FOLL_LONGTERM | WRITE, page),
				 -EFAULT);
	assert_int_equal(nh_pin_user_pages(c.mm, file, 1, WRITE, page), 1);
	unpin(&c, 1);
	if (huge != MAP_FAILED) {
		assert_int_equal(nh_get_user_pages(c.mm, huge, 1, NH_FOLL_SPLIT_PMD, page),
				 -EOPNOTSUPP);
		munmap(huge, real_huge);
	}
	assert_int_equal(nh_get_user_pages(c.mm, c.p, 1, NH_FOLL_ANON, page),
			 c.pair->trap == NH_TRAP_MINOR ? -EFAULT : 1);
	put(&c, c.pair->trap == NH_TRAP_MINOR ? 0 : 1);
	assert_int_equal(nh_get_user_pages(c.mm, at(&c, PAGES), 1, FORCE, page), -EFAULT);
	munmap(shared, real_page);
	munmap(file, real_page);
	close(fd);
	creal_done(&c);
}

static uint64_t shared_bytes(const struct creal *c)
{
	struct nh_smaps s;

	return nh_smaps(c->mm, c->p, PAGES * real_page, &s, sizeof(s)) ? 0 : s.shared;
}

/* In a child, where every page is shared with the parent. */
static bool force_a_write(void *arg)
{
	struct creal *c = arg;
	uint64_t before = shared_bytes(c);

	if (before != PAGES * real_page || get(c, 0, 1, FORCE | WRITE) != 1)
		return false;
	put(c, 1);
	return shared_bytes(c) == before - real_page && faults(c) == 0;
}

static void read_after_forced_write(void *arg)
{
	struct creal *c = arg;

	if (get(c, 0, 1, FORCE | WRITE) != 1)
		_exit(1);
	put(c, 1);
	(void)*(volatile char *)c->p;
}

static void forced_write_on_inaccessible_memory(void **state)
{
	struct creal c;

	creal_private_only(state);
	c = creal_I(state);
	real_in_child(force_a_write, &c);
	real_child_dies(read_after_forced_write, &c, SIGSEGV);
	assert_int_equal(protect(&c, 0, PAGES, PROT_READ | PROT_WRITE), 0);
	intact(&c, 0, PAGES);
	creal_done(&c);
}

static void pages_that_a_child_maps(void **state)
{
	struct creal c;
	int fd[2], status;
	pid_t pid;
	char byte;

	creal_private_only(state);
	c = creal_ready(state);
	assert_int_equal(pipe(fd), 0);
	pid = fork();
	if (pid == 0) {
		close(fd[1]);
		_exit(read(fd[0], &byte, 1) == 0 ? 0 : 1);
	}
	close(fd[0]);
	real_fill_page(at(&c, 2), 2, SEED); /* our own again */
	assert_int_equal(mbind_to(&c, 0, 4, NH_MPOL_BIND, 1ul << c.other,
				  NH_MPOL_MF_STRICT | NH_MPOL_MF_MOVE),
			 0);
	assert_int_equal(node_of(&c, 0), 0);
	assert_int_equal(node_of(&c, 2), c.other);
	close(fd[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	creal_done(&c);
}

/* Neither where the page is nor where the toucher is: the mask's node that is nearest to the toucher. */
static void nearest_node_of_the_mask(void **state)
{
	struct creal c;

	if (real_nr_nodes() < 3) {
		print_message("skip: fewer than three nodes with CPUs\n");
		skip();
	}
	c = creal_ready(state);
	assert_int_equal(mbind_to(&c, 0, 4, NH_MPOL_BIND, 4, NH_MPOL_MF_STRICT | NH_MPOL_MF_MOVE),
			 0);
	assert_int_equal(node_of(&c, 1), 2);
	assert_int_equal(mbind_to(&c, 0, 4, NH_MPOL_BIND, 3, NH_MPOL_MF_LAZY), 0);
	real_go_to_node(c.mm, 1);
	touch(&c, 1);
	assert_int_equal(node_of(&c, 1), 1);
	real_go_to_node(c.mm, 0);
	touch(&c, 3);
	assert_int_equal(node_of(&c, 3), 0);
	real_go_to_node(c.mm, 2);
	touch(&c, 0);
	assert_true(node_of(&c, 0) < 2);
	creal_done(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		REAL_CASES(arguments, "46 47 48 50 62"),
		cmocka_unit_test_setup(without_pages, real_setup_1),
		REAL_CASES(kinds_of_mappings, "51"),
		REAL_CASES(forced_write_on_inaccessible_memory, "28"),
		REAL_CASES(pages_that_a_child_maps, "81"),
		REAL_CASES(nearest_node_of_the_mask, "122"),
	};

	return cmocka_run_group_tests_name("real_gup", tests, NULL, NULL);
}
