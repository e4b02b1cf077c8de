// SPDX-License-Identifier: MIT
#include "real.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const struct pair real_pairs[NR_PAIRS] = {
	{ NH_TRAP_MPROTECT, NH_DELIVERY_THREAD, "mprotect/thread" },
	{ NH_TRAP_SHADOW, NH_DELIVERY_THREAD, "shadow/thread" },
	{ NH_TRAP_SHADOW, NH_DELIVERY_MONITOR, "shadow/monitor" },
	{ NH_TRAP_MINOR, NH_DELIVERY_THREAD, "minor/thread" },
	{ NH_TRAP_MINOR, NH_DELIVERY_MONITOR, "minor/monitor" },
};

size_t real_page, real_huge;

static void learn_sizes(void)
{
	FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "r");

	real_page = (size_t)sysconf(_SC_PAGESIZE);
	real_huge = 2u << 20;
	if (f) {
		if (fscanf(f, "%zu", &real_huge) != 1)
			real_huge = 2u << 20;
		fclose(f);
	}
}

/* NH_TEST='io_uring*' runs the tests of that name only. */
__attribute__((constructor)) static void choose_tests(void)
{
	const char *pattern = getenv("NH_TEST");

	if (pattern)
		cmocka_set_test_filter(pattern);
}

static int setup(void **state, int i)
{
	learn_sizes();
	*state = (void *)&real_pairs[i];
	return 0;
}

int real_setup_0(void **state)
{
	return setup(state, 0);
}
int real_setup_1(void **state)
{
	return setup(state, 1);
}
int real_setup_2(void **state)
{
	return setup(state, 2);
}
int real_setup_3(void **state)
{
	return setup(state, 3);
}
int real_setup_4(void **state)
{
	return setup(state, 4);
}

static int nodes_in(const char *file)
{
	int first = 0, last = 0;
	FILE *f = fopen(file, "r");

	if (f) {
		if (fscanf(f, "%d-%d", &first, &last) < 2)
			last = first;
		fclose(f);
	}
	return last + 1;
}

bool real_emulated(void)
{
	return nodes_in("/sys/devices/system/node/online") < 2;
}

int real_nr_nodes(void)
{
	return real_emulated() ? 4 : nodes_in("/sys/devices/system/node/has_cpu");
}

struct nh_mm *real_mm_copy(const struct pair *pair, enum nh_copy copy)
{
	struct nh_mm_options o = { .size = sizeof(o),
				   .trap = pair->trap,
				   .delivery = pair->delivery,
				   .copy = copy,
				   .nodes = real_emulated() ? "4" : NULL };
	struct nh_mm *mm;
	int err = nh_mm_create(&o, &mm);

	if (err == -EOPNOTSUPP || err == -EPERM) {
		print_message("skip: %s: %s\n", pair->name, nh_strerror(err));
		skip();
	}
	assert_int_equal(err, 0);
	real_go_to_node(mm, 0); /* where every test begins, and what it fills is */
	return mm;
}

struct nh_mm *real_mm(const struct pair *pair)
{
	return real_mm_copy(pair, NH_COPY_AUTO);
}

void real_go_to_node(struct nh_mm *mm, int node)
{
	char name[64], list[256];
	cpu_set_t set;
	char *p = list;
	FILE *f;

	if (real_emulated()) {
		assert_int_equal(nh_thread_set_node(mm, node), 0);
		return;
	}
	snprintf(name, sizeof(name), "/sys/devices/system/node/node%d/cpulist", node);
	f = fopen(name, "r");
	assert_non_null(f);
	assert_non_null(fgets(list, sizeof(list), f));
	fclose(f);
	CPU_ZERO(&set);
	while (*p >= '0' && *p <= '9') {
		long from = strtol(p, &p, 10), to = from;

		if (*p == '-')
			to = strtol(p + 1, &p, 10);
		for (; from <= to; from++)
			CPU_SET((size_t)from, &set);
		p += *p == ',';
	}
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
	assert_int_equal(nh_thread_node(mm), node);
}

int real_other_node(int node)
{
	return (node + 1) % real_nr_nodes();
}

void *real_map(const struct pair *pair, size_t len)
{
	int kind = pair->trap == NH_TRAP_MINOR ? MAP_SHARED : MAP_PRIVATE;
	char *p = mmap(NULL, len + real_huge, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
	size_t head;

	assert_ptr_not_equal(p, MAP_FAILED);
	head = -(uintptr_t)p & (real_huge - 1);
	if (head)
		munmap(p, head);
	munmap(p + head + len, real_huge - head);
	return p + head;
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

void real_fill_page(void *page, size_t index, uint64_t seed)
{
	uint64_t *word = page, x = mix(seed ^ mix(index + 1));

	for (size_t i = 0; i < real_page / sizeof(*word); i++)
		word[i] = x + i;
}

bool real_page_ok(const void *page, size_t index, uint64_t seed)
{
	const volatile uint64_t *word = page;
	uint64_t x = mix(seed ^ mix(index + 1));

	for (size_t i = 0; i < real_page / sizeof(*word); i++) {
		if (word[i] != x + i) {
			print_error("page %zu word %zu: %llx, not %llx\n", index, i,
				    (unsigned long long)word[i], (unsigned long long)(x + i));
			return false;
		}
	}
	return true;
}

void real_fill(void *p, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len / real_page; i++)
		real_fill_page((char *)p + i * real_page, i, seed);
}

void real_check(const void *p, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len / real_page; i++)
		assert_true(real_page_ok((const char *)p + i * real_page, i, seed));
}

struct nh_stats real_stats(struct nh_mm *mm)
{
	struct nh_stats st;

	assert_int_equal(nh_stats(mm, &st, sizeof(st)), 0);
	return st;
}

void real_assert_balanced(struct nh_mm *mm)
{
	struct nh_stats st = real_stats(mm);

	assert_int_equal(st.marked, st.migrated + st.restored + st.lost + st.marked_now);
}

uint64_t real_now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec;
}

int real_kernel_node(const void *addr)
{
	void *page = (void *)((uintptr_t)addr & ~(real_page - 1));
	int status = -1;

	if (syscall(SYS_move_pages, 0, 1ul, &page, NULL, &status, 0))
		return -1;
	return status;
}

void real_in_child(bool (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fn(arg) ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

void real_child_dies(void (*fn)(void *arg), void *arg, int sig)
{
	const struct rlimit no_core = { 0, 0 };
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		alarm(20);
		fn(arg);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), sig);
}
