// SPDX-License-Identifier: MIT
/*
 * What: case 140 on real memory, and the core file: inspectors see marked and inaccessible pages, and
 *	 leave every mark where it is.
 * How:  sums before and after; the core file is parsed and compared byte by byte.
 */
#include "creal.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static struct nh_smaps sums(const struct creal *c)
{
	struct nh_smaps s;

	assert_int_equal(nh_smaps(c->mm, c->p, PAGES * real_page, &s, sizeof(s)), 0);
	return s;
}

static void assert_same(struct nh_smaps a, struct nh_smaps b)
{
	a.marked = b.marked;
	a.inaccessible = b.inaccessible;
	assert_memory_equal(&a, &b, sizeof(a));
}

static void sums_do_not_change(void **state)
{
	struct creal c = creal_ready(state);
	struct nh_smaps before, now;

	/* A quarter on the other node. */
	assert_int_equal(mbind_to(&c, 0, PAGES / 4, NH_MPOL_BIND, 1ul << c.other,
				  NH_MPOL_MF_STRICT | NH_MPOL_MF_MOVE),
			 0);
	assert_int_equal(mbind_to(&c, 0, PAGES, NH_MPOL_LOCAL, 0, 0), 0);
	before = sums(&c);
	assert_int_equal(before.managed, PAGES * real_page);
	assert_int_equal(before.resident, PAGES * real_page);
	assert_int_equal(before.node[0], PAGES / 4 * 3 * real_page);
	assert_int_equal(before.node[c.other], PAGES / 4 * real_page);
	assert_int_equal(nh_next_touch(c.mm, c.p, PAGES * real_page), PAGES);
	now = sums(&c);
	assert_same(now, before);
	assert_int_equal(now.marked, PAGES * real_page);
	assert_int_equal(marked(&c), PAGES);
	assert_int_equal(faults(&c), 0);
	assert_int_equal(protect(&c, 0, PAGES / 2, PROT_NONE), 0);
	now = sums(&c);
	assert_int_equal(now.inaccessible, PAGES / 2 * real_page);
	/* Older kernels do not tell where inaccessible pages are. */
	now.node[0] += now.unplaced - now.unplaced / 2;
	now.node[c.other] += now.unplaced / 2;
	now.unplaced = 0;
	assert_same(now, before);
	assert_int_equal(nh_smaps(c.mm, c.p + 1, real_page, &now, sizeof(now)), -EINVAL);
	assert_int_equal(nh_smaps(c.mm, c.p, real_page, &now, 4), -EINVAL);
	assert_int_equal(nh_smaps(c.mm, NULL, 0, &now, sizeof(now)), 0);
	assert_int_equal(now.resident, PAGES * real_page);
	creal_done(&c);
}

/* The bytes that the core file has for address @addr; fails where it has none. */
static const char *in_core(const char *core, size_t len, const void *addr)
{
	const ElfW(Ehdr) *eh = (const void *)core;
	const ElfW(Phdr) *ph = (const void *)(core + eh->e_phoff);

	assert_memory_equal(eh->e_ident, ELFMAG, SELFMAG);
	assert_int_equal(eh->e_type, ET_CORE);
	for (int i = 0; i < eh->e_phnum; i++) {
		if ((uintptr_t)addr < ph[i].p_vaddr ||
		    (uintptr_t)addr >= ph[i].p_vaddr + ph[i].p_memsz)
			continue;
		assert_true(ph[i].p_offset + ph[i].p_filesz <= len);
		return core + ph[i].p_offset + ((uintptr_t)addr - ph[i].p_vaddr);
	}
	assert_true(false);
	return NULL;
}

static void check_core(const struct creal *c, const char *core, size_t len)
{
	for (size_t i = 0; i < PAGES; i++) {
		const char *got = in_core(core, len, at(c, i));

		if (i != 5 && i != PAGES - 1)
			assert_true(real_page_ok(got, i, SEED));
		for (size_t j = 0; j < real_page && (i == 5 || i == PAGES - 1); j++)
			assert_int_equal(got[j], 0);
	}
}

static void core_file(void **state)
{
	struct creal c;
	size_t len;
	FILE *file;
	char *core;
	int fds[2];

	creal_private_only(state);
	c = creal_ready(state);
	file = tmpfile();
	assert_non_null(file);
	/* Marked, not marked, holes in the middle and at the end, read-only, inaccessible. */
	assert_int_equal(madvise(at(&c, 5), real_page, MADV_DONTNEED), 0);
	assert_int_equal(madvise(at(&c, PAGES - 1), real_page, MADV_DONTNEED), 0);
	assert_int_equal(nh_manage(c.mm, c.p, PAGES * real_page, 0), 0);
	assert_int_equal(protect(&c, 8, 4, PROT_READ), 0);
	assert_int_equal(protect(&c, 12, 4, PROT_NONE), 0);
	assert_int_equal(nh_next_touch(c.mm, c.p, 4 * real_page), 4);
	assert_int_equal(nh_next_touch(c.mm, at(&c, 20), 4 * real_page), 4);
	assert_int_equal(nh_dump(c.mm, fileno(file)), 0);
	assert_int_equal(marked(&c), 8);
	assert_int_equal(faults(&c), 0);
	assert_int_equal(sums(&c).resident, (PAGES - 2) * real_page);
	len = (size_t)lseek(fileno(file), 0, SEEK_END);
	core = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fileno(file), 0);
	assert_ptr_not_equal(core, MAP_FAILED);
	check_core(&c, core, len);
	munmap(core, len);
	/* What cannot be written to says so. */
	assert_int_equal(nh_dump(c.mm, -1), -EBADF);
	assert_int_equal(pipe(fds), 0);
	close(fds[1]);
	assert_int_equal(nh_dump(c.mm, fds[0]), -EBADF);
	close(fds[0]);
	fclose(file);
	assert_int_equal(protect(&c, 8, 8, PROT_READ | PROT_WRITE), 0);
	intact(&c, 6, PAGES - 7);
	creal_done(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		REAL_CASES(sums_do_not_change, "140"),
		REAL_CASES(core_file, "63"),
	};

	return cmocka_run_group_tests_name("real_inspect", tests, NULL, NULL);
}
