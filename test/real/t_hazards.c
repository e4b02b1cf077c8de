// SPDX-License-Identifier: MIT
/*
 * What: the program may do anything to marked memory - fork, daemon(3), close every descriptor,
 *	 discard, unmap, move, protect, hand it to the kernel - and reads what it would have read
 *	 without us.
 * How:  each hazard of doc/design.md ("Hazards"), for every pair of trap and delivery.
 */
#include "atomic.h"
#include "real.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEED 0xbadull
#define LEN  (2 * real_huge)

struct area {
	struct nh_mm *mm;
	char *p;
	size_t nr;
	bool told;
};

/* A filled and wholly marked area. */
static struct area marked_area(void **state)
{
	struct area a = { .mm = real_mm(real_pair(state)), .nr = LEN / real_page };

	a.p = real_map(real_pair(state), LEN);
	real_go_to_node(a.mm, 0);
	real_fill(a.p, LEN, SEED);
	assert_int_equal(nh_next_touch(a.mm, a.p, LEN), a.nr);
	return a;
}

static void done(struct area *a)
{
	nh_mm_destroy(a->mm);
	munmap(a->p, LEN);
}

static bool all_ok(void *arg)
{
	struct area *a = arg;

	for (size_t i = 0; i < a->nr; i++) {
		if (!real_page_ok(a->p + i * real_page, i, SEED))
			return false;
	}
	return true;
}

static void fork_both_sides_read(void **state)
{
	struct area a = marked_area(state);

	real_in_child(all_ok, &a);
	assert_true(all_ok(&a));
	real_assert_balanced(a.mm);
	done(&a);
}

/* The child marks, touches and forks on its own. */
static bool child_marks(void *arg)
{
	struct area *a = arg;
	int status;
	pid_t pid;

	if (nh_next_touch(a->mm, a->p, LEN) < 0 || !all_ok(a))
		return false;
	if (nh_next_touch(a->mm, a->p, LEN) < 0)
		return false;
	pid = fork();
	if (pid == 0)
		_exit(all_ok(a) ? 0 : 1);
	return waitpid(pid, &status, 0) == pid && status == 0 && all_ok(a);
}

static void forked_child_may_mark(void **state)
{
	struct area a = marked_area(state);

	real_in_child(child_marks, &a);
	assert_true(all_ok(&a));
	done(&a);
}

/* daemon(3): the parent exits first; the grandchild tells through a pipe what it read. */
static void daemon_reads(void **state)
{
	struct area a = marked_area(state);
	int fd[2], status;
	char verdict = 0;
	pid_t pid;

	assert_int_equal(pipe(fd), 0);
	pid = fork();
	if (pid == 0) {
		if (nh_next_touch(a.mm, a.p, LEN) < 0 || daemon(1, 1))
			_exit(1);
		verdict = all_ok(&a) ? 'y' : 'n';
		_exit(write(fd[1], &verdict, 1) == 1 ? 0 : 1);
	}
	close(fd[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(read(fd[0], &verdict, 1), 1);
	assert_int_equal(verdict, 'y');
	close(fd[0]);
	done(&a);
}

/* The program closes every descriptor it does not know, ours among them. */
static bool close_all_and_read(void *arg)
{
	struct area *a = arg;

	if (nh_next_touch(a->mm, a->p, LEN) < 0)
		return false;
	for (int fd = 3; fd < 4096; fd++)
		close(fd);
	if (!all_ok(a))
		return false;
	/* And goes on: marks again, touches again. */
	return nh_next_touch(a->mm, a->p, LEN) >= 0 && all_ok(a);
}

static void close_range_then_read(void **state)
{
	struct area a = marked_area(state);

	real_in_child(close_all_and_read, &a);
	assert_true(all_ok(&a));
	done(&a);
}

/* The descriptor number is taken over by a file of the program's. */
static bool reuse_and_read(void *arg)
{
	struct area *a = arg;

	if (nh_next_touch(a->mm, a->p, LEN) < 0)
		return false;
	for (int fd = 3; fd < 2048; fd++)
		dup2(0, fd);
	return all_ok(a);
}

static void descriptor_reused_then_read(void **state)
{
	struct area a = marked_area(state);

	real_in_child(reuse_and_read, &a);
	done(&a);
}

static void assert_zero(const char *page)
{
	for (size_t i = 0; i < real_page; i++)
		assert_int_equal(page[i], 0);
}

static bool has_events(void **state)
{
	return real_pair(state)->trap != NH_TRAP_MPROTECT;
}

/* After MADV_DONTNEED a marked private page reads as zeros; a shared one as before. */
static void dontneed_reads_zeros(void **state)
{
	struct area a = marked_area(state);
	char *from = a.p + 5 * real_page;
	const size_t n = 100;

	if (!has_events(state))
		assert_true(nh_unmark(a.mm, from, n * real_page) >= 0);
	assert_int_equal(madvise(from, n * real_page, MADV_DONTNEED), 0);
	for (size_t i = 0; i < a.nr; i++) {
		if (i < 5 || i >= 5 + n || real_pair(state)->trap == NH_TRAP_MINOR)
			assert_true(real_page_ok(a.p + i * real_page, i, SEED));
		else
			assert_zero(a.p + i * real_page);
	}
	real_assert_balanced(a.mm);
	done(&a);
}

struct racer {
	struct area *a;
	int stop;
	bool ok;
};

/* Writes a page, discards it, and must then read zeros, while others mark it all the time. */
static void *discarder(void *arg)
{
	struct racer *r = arg;
	volatile char *page = r->a->p + 7 * real_page;

	r->ok = true;
	for (int i = 0; i < 3000 && r->ok; i++) {
		page[64] = 1;
		r->ok = page[64] == 1;
		madvise((void *)page, real_page, MADV_DONTNEED);
		r->ok &= page[64] == 0;
	}
	nhi_store_relaxed(&r->stop, 1);
	return NULL;
}

/* What the program discarded never comes back, whatever the moment of the mark. */
static void dontneed_against_mark(void **state)
{
	struct area a = { 0 };
	struct racer r = { .a = &a };
	pthread_t thread;

	if (real_pair(state)->trap != NH_TRAP_SHADOW) {
		print_message("skip: about private memory under a userfaultfd\n");
		skip();
	}
	a = marked_area(state);
	assert_int_equal(pthread_create(&thread, NULL, discarder, &r), 0);
	while (!nhi_load_relaxed(&r.stop))
		assert_true(nh_next_touch(a.mm, a.p, 16 * real_page) >= 0);
	pthread_join(thread, NULL);
	assert_true(r.ok);
	assert_true(nh_unmark(a.mm, NULL, 0) >= 0);
	real_assert_balanced(a.mm);
	done(&a);
}

static void munmap_part(void **state)
{
	struct area a = marked_area(state);
	char *hole = a.p + 64 * real_page;

	if (!has_events(state))
		assert_int_equal(nh_unmanage(a.mm, hole, 64 * real_page), 0);
	assert_int_equal(munmap(hole, 64 * real_page), 0);
	for (size_t i = 0; i < a.nr; i++) {
		if (i < 64 || i >= 128)
			assert_true(real_page_ok(a.p + i * real_page, i, SEED));
	}
	/* Something new at the same place is not mistaken for what was there. */
	assert_ptr_equal(mmap(hole, 64 * real_page, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 hole);
	assert_zero(hole + 3 * real_page);
	real_assert_balanced(a.mm);
	done(&a);
}

static void mremap_moves_marked(void **state)
{
	struct area a = marked_area(state);
	char *to = real_map(real_pair(state), LEN), *old = a.p;

	if (!has_events(state))
		assert_int_equal(nh_unmanage(a.mm, a.p, LEN), 0);
	assert_ptr_equal(mremap(old, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	a.p = to;
	assert_true(all_ok(&a));
	if (has_events(state)) {
		assert_int_equal(nh_next_touch(a.mm, a.p, LEN), a.nr);
		assert_true(all_ok(&a));
	}
	real_assert_balanced(a.mm);
	done(&a);
}

/* A part grows into a new place, as realloc does it. */
static void mremap_part_grows(void **state)
{
	struct area a = marked_area(state);
	size_t half = LEN / 2;
	char *p;

	if (!has_events(state))
		assert_int_equal(nh_unmanage(a.mm, a.p + half, half), 0);
	p = mremap(a.p + half, half, LEN, MREMAP_MAYMOVE);
	assert_ptr_not_equal(p, MAP_FAILED);
	for (size_t i = 0; i < a.nr; i++) {
		char *page = (i < a.nr / 2 ? a.p : p - half) + i * real_page;

		assert_true(real_page_ok(page, i, SEED));
	}
	if (real_pair(state)->trap != NH_TRAP_MINOR) /* a shared object does not grow */
		assert_zero(p + half + real_page);
	real_assert_balanced(a.mm);
	nh_mm_destroy(a.mm);
	munmap(a.p, half);
	munmap(p, LEN);
}

/* The program takes write permission away from marked memory: it still reads, and can be restored. */
static void mprotect_read_only(void **state)
{
	struct area a = marked_area(state);

	assert_int_equal(mprotect(a.p, LEN / 2, PROT_READ), 0);
	assert_true(all_ok(&a));
	assert_true(nh_unmark(a.mm, NULL, 0) >= 0);
	assert_int_equal(mprotect(a.p, LEN / 2, PROT_READ | PROT_WRITE), 0);
	a.p[3] = 9;
	assert_int_equal(a.p[3], 9);
	real_assert_balanced(a.mm);
	done(&a);
}

/* An access that the program's own protection forbids is a genuine fault, marked or not. */
static void write_read_only(void *arg)
{
	struct area *a = arg;

	if (nh_next_touch(a->mm, a->p, LEN) < 0)
		_exit(1);
	/* PROT_NONE is all that trap mprotect has: the program says what it is about to do. */
	if (a->told && nh_unmanage(a->mm, a->p, LEN))
		_exit(1);
	mprotect(a->p, LEN, PROT_READ);
	*(volatile char *)(a->p + 9 * real_page) = 1;
}

static void genuine_fault_dies(void **state)
{
	struct area a = marked_area(state);

	a.told = !has_events(state);
	real_child_dies(write_read_only, &a, SIGSEGV);
	done(&a);
}

/* A crash elsewhere is not hidden by our handlers. */
static void write_elsewhere(void *arg)
{
	struct area *a = arg;
	/* A mapping that forbids it, rather than address 0, about which compilers know too much. */
	volatile char *p = mmap(NULL, real_page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (nh_next_touch(a->mm, a->p, LEN) < 0)
		_exit(1);
	*p = 1;
}

static void crash_elsewhere_dies(void **state)
{
	struct area a = marked_area(state);

	real_child_dies(write_elsewhere, &a, SIGSEGV);
	done(&a);
}

/* Pages shared with a child after fork are not marked; written ones are again. */
static void fork_shared_pages(void **state)
{
	struct area a = marked_area(state);
	int fd[2];
	char c;
	pid_t pid;

	if (real_pair(state)->trap != NH_TRAP_SHADOW) {
		print_message("skip: about private memory under a userfaultfd\n");
		skip();
	}
	assert_int_equal(pipe(fd), 0);
	pid = fork();
	if (pid == 0) {
		close(fd[1]);
		_exit(read(fd[0], &c, 1) == 0 && all_ok(&a) ? 0 : 1);
	}
	close(fd[0]);
	real_fill_page(a.p, 0, SEED);
	assert_in_range(nh_next_touch(a.mm, a.p, LEN), 1, a.nr - 1);
	assert_true(real_stats(a.mm).skipped[NH_REASON_SHARED] > 0);
	assert_true(all_ok(&a));
	close(fd[1]);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	real_assert_balanced(a.mm);
	done(&a);
}

/* With a monitor that may serve the kernel, system calls on marked memory just work. */
static void system_calls_read_marked(void **state)
{
	struct area a = marked_area(state);
	char desc[512];
	int fd;

	nh_describe(a.mm, desc, sizeof(desc));
	if (real_pair(state)->delivery != NH_DELIVERY_MONITOR || !strstr(desc, "kernel_faults=1")) {
		done(&a);
		print_message("skip: no monitor that may serve the kernel's accesses\n");
		skip();
	}
	fd = memfd_create("t", 0);
	assert_int_equal(write(fd, a.p, LEN), LEN);
	assert_int_equal(nh_next_touch(a.mm, a.p, LEN), a.nr);
	assert_int_equal(pread(fd, a.p, LEN, 0), LEN);
	assert_true(all_ok(&a));
	assert_true(real_stats(a.mm).by_monitor > 0);
	close(fd);
	done(&a);
}

/* A handler of the program's, interrupting the marker, may touch what is being marked. */
static struct area *in_handler;
static int handled;

static void on_timer(int sig)
{
	static size_t i;

	(void)sig;
	i = (i * 5 + 1) % in_handler->nr;
	if (!real_page_ok(in_handler->p + i * real_page, i, SEED))
		abort();
	handled++;
}

static void signal_handlers_touch(void **state)
{
	struct area a = marked_area(state);
	struct sigaction sa = { .sa_handler = on_timer, .sa_flags = SA_RESTART };
	/* ns; an emulated machine has to get out of one handler before the next. */
	const long period = getenv("NH_GUEST") ? 5000000 : 300000;
	const struct itimerspec every = { { 0, period }, { 0, period } };
	const uint64_t end = real_now_s() + 3;
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	timer_t timer;

	in_handler = &a;
	handled = 0;
	sigaction(SIGUSR1, &sa, NULL);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &ev, &timer), 0);
	timer_settime(timer, 0, &every, NULL);
	for (int i = 0; i < 200 && (i < 20 || real_now_s() < end); i++) {
		assert_true(nh_next_touch(a.mm, a.p, LEN) >= 0);
		if (i % 10 == 0)
			assert_true(nh_unmark(a.mm, NULL, 0) >= 0);
	}
	timer_delete(timer);
	signal(SIGUSR1, SIG_IGN);
	assert_true(handled > 0);
	assert_true(all_ok(&a));
	real_assert_balanced(a.mm);
	done(&a);
}

/* posix_spawn and system() with marks about: nothing of theirs lies in managed memory. */
static void spawn_works(void **state)
{
	struct area a = marked_area(state);

	assert_int_equal(system("exit 7") >> 8, 7);
	assert_true(all_ok(&a));
	done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		REAL_TESTS(fork_both_sides_read),
		REAL_TESTS(forked_child_may_mark),
		REAL_TESTS(daemon_reads),
		REAL_TESTS(close_range_then_read),
		REAL_TESTS(descriptor_reused_then_read),
		REAL_CASES(dontneed_reads_zeros, "12"),
		REAL_CASES(dontneed_against_mark, "105"),
		REAL_TESTS(munmap_part),
		REAL_TESTS(mremap_moves_marked),
		REAL_TESTS(mremap_part_grows),
		REAL_TESTS(mprotect_read_only),
		REAL_CASES(genuine_fault_dies, "7"),
		REAL_TESTS(crash_elsewhere_dies),
		REAL_CASES(fork_shared_pages, "96"),
		REAL_TESTS(system_calls_read_marked),
		REAL_TESTS(signal_handlers_touch),
		REAL_TESTS(spawn_works),
	};

	return cmocka_run_group_tests_name("hazards", tests, NULL, NULL);
}
