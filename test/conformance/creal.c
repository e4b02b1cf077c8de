// SPDX-License-Identifier: MIT
#include "creal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

struct nh_page page[PAGES];

static struct nh_mm *make(const struct pair *pair)
{
	struct nh_mm_options o = { .size = sizeof(o),
				   .trap = pair->trap,
				   .delivery = pair->delivery,
				   .nodes = real_emulated() ? "4" : NULL,
				   .fault_around_max = 1 };
	struct nh_mm *mm;
	int err = nh_mm_create(&o, &mm);

	if (err == -EOPNOTSUPP || err == -EPERM) {
		print_message("skip: %s: %s\n", pair->name, nh_strerror(err));
		skip();
	}
	assert_int_equal(err, 0);
	real_go_to_node(mm, 0);
	return mm;
}

struct creal creal_ready(void **state)
{
	struct creal c = { .pair = real_pair(state) };

	c.mm = make(c.pair);
	c.other = real_other_node(0);
	c.p = real_map(c.pair, 2 * PAGES * real_page);
	assert_int_equal(munmap(c.p + PAGES * real_page, PAGES * real_page), 0);
	(void)madvise(c.p, PAGES * real_page, MADV_NOHUGEPAGE);
	real_fill(c.p, PAGES * real_page, SEED);
	return c;
}

static struct creal bound(void **state, int node)
{
	struct creal c = creal_ready(state);

	assert_int_equal(mbind_to(&c, 0, PAGES, NH_MPOL_BIND, 1ul << (node ? c.other : 0),
				  NH_MPOL_MF_LAZY),
			 0);
	assert_int_equal(marked(&c), PAGES);
	real_go_to_node(c.mm, c.other);
	return c;
}

struct creal creal_H(void **state)
{
	return bound(state, 1);
}

struct creal creal_R(void **state)
{
	return bound(state, 0);
}

struct creal creal_I(void **state)
{
	struct creal c = creal_ready(state);

	assert_int_equal(nh_manage(c.mm, c.p, PAGES * real_page, 0), 0);
	assert_int_equal(protect(&c, 0, PAGES, PROT_NONE), 0);
	real_go_to_node(c.mm, c.other);
	return c;
}

void creal_done(struct creal *c)
{
	real_assert_balanced(c->mm);
	nh_mm_destroy(c->mm);
	munmap(c->p, PAGES * real_page);
}

void creal_private_only(void **state)
{
	if (real_pair(state)->trap == NH_TRAP_MINOR) {
		print_message("skip: about private memory\n");
		skip();
	}
}

char *at(const struct creal *c, size_t n)
{
	return c->p + n * real_page;
}

int mbind_to(const struct creal *c, size_t first, size_t n, int mode, unsigned long nodes,
	     unsigned int flags)
{
	return nh_mbind(c->mm, at(c, first), n * real_page, mode, &nodes, 65, flags);
}

int protect(const struct creal *c, size_t first, size_t n, int prot)
{
	return nh_mprotect(c->mm, at(c, first), n * real_page, prot);
}

int node_of(const struct creal *c, size_t n)
{
	int node;

	assert_int_equal(nh_node_of(c->mm, at(c, n), 1, &node), 0);
	return node;
}

uint64_t marked(const struct creal *c)
{
	return real_stats(c->mm).marked_now;
}

uint64_t faults(const struct creal *c)
{
	return real_stats(c->mm).hinting_faults;
}

void touch(const struct creal *c, size_t n)
{
	assert_true(real_page_ok(at(c, n), n, SEED));
}

void intact(const struct creal *c, size_t first, size_t n)
{
	for (size_t i = first; i < first + n; i++)
		touch(c, i);
}

long get(const struct creal *c, size_t first, size_t n, unsigned int flags)
{
	return nh_get_user_pages(c->mm, at(c, first), n, flags, page);
}

long pin(const struct creal *c, size_t first, size_t n, unsigned int flags)
{
	return nh_pin_user_pages(c->mm, at(c, first), n, flags, page);
}

long fast(const struct creal *c, size_t first, size_t n, unsigned int flags)
{
	return nh_get_user_pages_fast(c->mm, at(c, first), n, flags, page);
}

long fast_only(const struct creal *c, size_t first, size_t n, unsigned int flags)
{
	return nh_get_user_pages_fast_only(c->mm, at(c, first), n, flags, page);
}

int follow(const struct creal *c, size_t n, unsigned int flags)
{
	return nh_follow_page(c->mm, at(c, n), flags, page);
}

void put(const struct creal *c, size_t n)
{
	nh_put_pages(c->mm, page, n);
}

void unpin(const struct creal *c, size_t n)
{
	nh_unpin_user_pages(c->mm, page, n);
}

bool shows(size_t i, size_t n)
{
	return nh_page_address(&page[i]) && real_page_ok(nh_page_address(&page[i]), n, SEED);
}
