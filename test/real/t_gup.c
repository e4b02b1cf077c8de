// SPDX-License-Identifier: MIT
/*
 * What: references keep pages from being marked and moved, and so make them safe to hand to the kernel;
 *	 whether a reference is a touch is the caller's choice.
 * How:  real I/O into pinned memory (O_DIRECT, io_uring fixed buffers, vmsplice) while one thread marks
 *	 everything again and again and another touches it; every byte is compared.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "atomic.h"
#include "real.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <numahint/numahint_gup.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define SEED   0x6705ull
#define PAGES  64
#define PIN_AT 16 /* the pinned pages are in the middle */
#define PINNED 16
#define ROUNDS 60

static struct nh_page page[PAGES];

static char *filled(struct nh_mm *mm, const struct pair *pair)
{
	char *p = real_map(pair, PAGES * real_page);

	real_go_to_node(mm, 0);
	real_fill(p, PAGES * real_page, SEED);
	return p;
}

static void done(struct nh_mm *mm, char *p)
{
	real_assert_balanced(mm);
	nh_mm_destroy(mm);
	munmap(p, PAGES * real_page);
}

static void pinned_pages_are_neither_marked_nor_moved(void **state)
{
	struct nh_mm *mm = real_mm(real_pair(state));
	char *p = filled(mm, real_pair(state));
	const unsigned long other = 1ul << real_other_node(0);
	int nodes[PAGES];
	uint64_t failed = 0, stayed = 0;

	assert_int_equal(nh_pin_user_pages_fast(mm, p, 4, NH_FOLL_WRITE, page), 4);
	assert_int_equal(nh_get_user_pages(mm, p + 4 * real_page, 4, 0, page + 4), 4);
	assert_int_equal(nh_page_count(mm, &page[0]), 1);
	assert_ptr_equal(nh_page_address(&page[5]), p + 5 * real_page);
	assert_int_equal(nh_next_touch(mm, p, PAGES * real_page), PAGES - 8);
	assert_int_equal(real_stats(mm).skipped[NH_REASON_PINNED], 8);
	assert_int_equal(nh_mbind(mm, p, 4 * real_page, NH_MPOL_BIND, &other, 64,
				  NH_MPOL_MF_STRICT | NH_MPOL_MF_MOVE),
			 -EIO);
	real_go_to_node(mm, real_other_node(0));
	real_check(p, PAGES * real_page, SEED);
	assert_int_equal(nh_node_of(mm, p, PAGES, nodes), 0);
	/* The kernel may fail to move a page; that is counted. */
	for (int i = 0; i < NH_REASONS; i++)
		failed += real_stats(mm).failed[i];
	for (int i = 0; i < PAGES; i++)
		stayed += i >= 8 && nodes[i] != real_other_node(0);
	assert_in_range(stayed, 0, failed);
	assert_in_range(stayed, 0, 4);
	for (int i = 0; i < 8; i++)
		assert_int_equal(nodes[i], 0);
	assert_int_equal(nh_page_node(mm, &page[0]), 0);
	nh_unpin_user_pages(mm, page, 4);
	nh_put_pages(mm, page + 4, 4);
	/* What the mbind asked for comes true when the pins are gone. */
	assert_int_equal(nh_mbind(mm, p, 8 * real_page, NH_MPOL_BIND, &other, 64,
				  NH_MPOL_MF_STRICT | NH_MPOL_MF_MOVE),
			 0);
	real_check(p, PAGES * real_page, SEED);
	done(mm, p);
}

static void honor_is_the_callers_choice(void **state)
{
	struct nh_mm *mm = real_mm(real_pair(state));
	char *p = filled(mm, real_pair(state));
	struct nh_stats st;

	assert_int_equal(nh_next_touch(mm, p, PAGES * real_page), PAGES);
	real_go_to_node(mm, real_other_node(0));
	assert_int_equal(nh_follow_page(mm, p, 0, page), 0);
	assert_int_equal(nh_follow_page(mm, p, NH_FOLL_HONOR_NUMA_FAULT, page), -ENOENT);
	assert_int_equal(nh_get_user_pages_fast_only(mm, p, 4, 0, page), 0);
	assert_int_equal(nh_get_user_pages(mm, p, 1, NH_FOLL_NOFAULT | NH_FOLL_WRITE, page),
			 -EFAULT);
	/* Not honoured: seen as it is, marked still. */
	assert_int_equal(nh_get_user_pages(mm, p, 4, 0, page), 4);
	for (size_t i = 0; i < 4; i++)
		assert_true(real_page_ok(nh_page_address(&page[i]), i, SEED));
	st = real_stats(mm);
	assert_int_equal(st.marked_now, PAGES);
	assert_int_equal(st.hinting_faults, 0);
	/* It stays where it is while the reference is held, touched or not. */
	assert_true(real_page_ok(p, 0, SEED));
	assert_int_equal(nh_page_node(mm, &page[0]), 0);
	assert_int_equal(real_stats(mm).hinting_faults, 1);
	assert_true(real_page_ok(nh_page_address(&page[0]), 0, SEED));
	nh_put_pages(mm, page, 4);
	/* Honoured: the caller is who touched it. */
	assert_int_equal(
		nh_get_user_pages(mm, p + 8 * real_page, 1, NH_FOLL_HONOR_NUMA_FAULT, page), 1);
	assert_int_equal(nh_page_node(mm, page), real_other_node(0));
	assert_ptr_equal(nh_page_address(page), p + 8 * real_page);
	assert_int_equal(real_stats(mm).hinting_faults, 2);
	nh_put_pages(mm, page, 1);
	real_check(p, PAGES * real_page, SEED);
	done(mm, p);
}

/* ------------------------------------------------------------------- while others disturb */

struct disturbance {
	struct nh_mm *mm;
	char *p;
	uint32_t stop;
	uint64_t marked, touched;
};

static bool is_pinned(size_t i)
{
	return i >= PIN_AT && i < PIN_AT + PINNED;
}

static void *marker(void *arg)
{
	struct disturbance *d = arg;

	while (!nhi_load_acquire(&d->stop)) { /* pairs with the store in calm() */
		long n = nh_next_touch(d->mm, d->p, PAGES * real_page);

		nhi_count(&d->marked, n > 0 ? (uint64_t)n : 0);
	}
	return NULL;
}

/* Touches what is not pinned, from one node after the other. */
static void *toucher(void *arg)
{
	struct disturbance *d = arg;
	bool ok = true;

	for (int round = 0; ok && !nhi_load_acquire(&d->stop); round++) {
		real_go_to_node(d->mm, round % real_nr_nodes());
		for (size_t i = 0; ok && i < PAGES; i++) {
			if (!is_pinned(i))
				ok = real_page_ok(d->p + i * real_page, i, SEED);
			nhi_count(&d->touched, 1);
		}
	}
	return ok ? NULL : arg;
}

struct disturbers {
	struct disturbance d;
	pthread_t marker, toucher;
};

static void disturb(struct disturbers *x, struct nh_mm *mm, char *p)
{
	x->d = (struct disturbance){ .mm = mm, .p = p };
	assert_int_equal(pthread_create(&x->marker, NULL, marker, &x->d), 0);
	assert_int_equal(pthread_create(&x->toucher, NULL, toucher, &x->d), 0);
}

/* Another round? Until all rounds were made and the others had a hand in it. */
static bool more(struct disturbers *x, uint64_t round)
{
	return round < ROUNDS || nhi_count_read(&x->d.marked) < PAGES ||
	       nhi_count_read(&x->d.touched) < PAGES;
}

static void calm(struct disturbers *x)
{
	void *bad;

	nhi_store_release(&x->d.stop, 1); /* pairs with the loads above */
	pthread_join(x->marker, NULL);
	pthread_join(x->toucher, &bad);
	assert_null(bad);
}

/* A file of ROUNDS x PINNED pages; -1: no such file here. */
static int make_file(int flags, char *name)
{
	char *buf = mmap(NULL, PINNED * real_page, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = mkstemp(name), direct;

	assert_true(fd >= 0);
	assert_ptr_not_equal(buf, MAP_FAILED);
	for (uint64_t round = 0; round < ROUNDS; round++) {
		real_fill(buf, PINNED * real_page, SEED + round);
		assert_int_equal(write(fd, buf, PINNED * real_page), PINNED * real_page);
	}
	assert_int_equal(fsync(fd), 0);
	munmap(buf, PINNED * real_page);
	direct = open(name, O_RDONLY | flags);
	unlink(name);
	close(fd);
	return direct;
}

static void direct_io_into_pinned_memory(void **state)
{
	struct nh_mm *mm = real_mm(real_pair(state));
	char name[] = "numahint-XXXXXX";
	struct disturbers x;
	char *p, *buf;
	int fd = make_file(O_DIRECT, name);

	if (fd < 0) {
		nh_mm_destroy(mm);
		print_message("skip: no O_DIRECT on this file system\n");
		skip();
	}
	p = filled(mm, real_pair(state));
	buf = p + PIN_AT * real_page;
	disturb(&x, mm, p);
	for (uint64_t round = 0; more(&x, round); round++) {
		assert_int_equal(nh_pin_user_pages_fast(mm, buf, PINNED, NH_FOLL_WRITE, page),
				 PINNED);
		assert_int_equal(pread(fd, buf, PINNED * real_page,
				       (off_t)(round % ROUNDS * PINNED * real_page)),
				 PINNED * real_page);
		nh_unpin_user_pages(mm, page, PINNED);
		/* By now it may be marked, moved, marked again. */
		real_check(buf, PINNED * real_page, SEED + round % ROUNDS);
	}
	calm(&x);
	close(fd);
	done(mm, p);
}

static void io_uring_fixed_buffers(void **state)
{
	struct nh_mm *mm = real_mm(real_pair(state));
	char name[] = "numahint-XXXXXX";
	struct disturbers x;
	struct io_uring ring;
	struct iovec iov;
	char *p;
	int fd;

	if (io_uring_queue_init(4, &ring, 0) < 0) {
		nh_mm_destroy(mm);
		print_message("skip: no io_uring for this user\n");
		skip();
	}
	fd = make_file(0, name);
	assert_true(fd >= 0);
	p = filled(mm, real_pair(state));
	iov = (struct iovec){ p + PIN_AT * real_page, PINNED * real_page };
	assert_int_equal(nh_pin_user_pages(mm, iov.iov_base, PINNED,
					   NH_FOLL_WRITE | NH_FOLL_LONGTERM, page),
			 PINNED);
	assert_int_equal(io_uring_register_buffers(&ring, &iov, 1), 0);
	disturb(&x, mm, p);
	for (uint64_t round = 0; more(&x, round); round++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
		struct io_uring_cqe *cqe;

		io_uring_prep_read_fixed(sqe, fd, iov.iov_base, PINNED * (unsigned int)real_page,
					 round % ROUNDS * PINNED * real_page, 0);
		assert_int_equal(io_uring_submit(&ring), 1);
		assert_int_equal(io_uring_wait_cqe(&ring, &cqe), 0);
		assert_int_equal(cqe->res, PINNED * real_page);
		io_uring_cqe_seen(&ring, cqe);
		real_check(iov.iov_base, PINNED * real_page, SEED + round % ROUNDS);
	}
	calm(&x);
	io_uring_unregister_buffers(&ring);
	nh_unpin_user_pages(mm, page, PINNED);
	io_uring_queue_exit(&ring);
	close(fd);
	done(mm, p);
}

/* The pipe refers to the pages themselves until they are read from it. */
static void vmsplice_of_pinned_memory(void **state)
{
	struct nh_mm *mm = real_mm(real_pair(state));
	char *p = filled(mm, real_pair(state)), *out;
	struct disturbers x;
	int fds[2];

	out = mmap(NULL, PINNED * real_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		   -1, 0);
	assert_int_equal(pipe(fds), 0);
	disturb(&x, mm, p);
	for (uint64_t round = 0; more(&x, round); round++) {
		struct iovec iov = { p + PIN_AT * real_page, PINNED * real_page };
		ssize_t spliced;

		assert_int_equal(nh_pin_user_pages_fast(mm, iov.iov_base, PINNED, NH_FOLL_WRITE,
							page),
				 PINNED);
		real_fill(iov.iov_base, PINNED * real_page, SEED + round);
		spliced = vmsplice(fds[1], &iov, 1, 0);
		assert_true(spliced >= (ssize_t)real_page);
		spliced -= spliced % (ssize_t)real_page;
		assert_int_equal(read(fds[0], out, (size_t)spliced), spliced);
		real_check(out, (size_t)spliced, SEED + round);
		nh_unpin_user_pages(mm, page, PINNED);
	}
	calm(&x);
	close(fds[0]);
	close(fds[1]);
	munmap(out, PINNED * real_page);
	done(mm, p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		REAL_TESTS(pinned_pages_are_neither_marked_nor_moved),
		REAL_CASES(honor_is_the_callers_choice, "14 15 17 18 49 56 128"),
		REAL_TESTS(direct_io_into_pinned_memory),
		REAL_TESTS(io_uring_fixed_buffers),
		REAL_TESTS(vmsplice_of_pinned_memory),
	};

	return cmocka_run_group_tests_name("gup", tests, NULL, NULL);
}
