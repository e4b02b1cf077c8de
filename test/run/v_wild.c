// SPDX-License-Identifier: MIT
/*
 * v_wild CASE: what unusual programs do, for as long as it takes to be marked several times. Without
 * OpenMP, for --when every.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BIG	 ((size_t)4 << 20)
#define ROUNDS	 40
#define ROUND_NS 8000000

static sigjmp_buf back;
static unsigned char *data;

static void fail(const char *what)
{
	printf("failed: %s\n", what);
	exit(1);
}

static unsigned long touch(void)
{
	unsigned long sum = 0;

	for (size_t i = 0; i < BIG; i += 4096) {
		sum += data[i];
		data[i]++;
	}
	return sum;
}

static void rest(void)
{
	struct timespec t = { .tv_nsec = ROUND_NS };

	(void)nanosleep(&t, NULL);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	(void)context;
	/* Marked memory is touched here too: faults are handled inside of handlers. */
	(void)touch();
	siglongjmp(back, 1);
}

/* It leaves its own handler by a jump, again and again, on a stack of its own or without. */
static void leave_handler(int on_stack)
{
	struct sigaction sa = { .sa_sigaction = on_fault,
				.sa_flags = SA_SIGINFO | (on_stack ? SA_ONSTACK : 0) };
	stack_t stack = { .ss_sp = malloc(1 << 18), .ss_size = 1 << 18 };
	char *const volatile none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	volatile unsigned long sum = 0;
	volatile int caught = 0;

	if (on_stack && sigaltstack(&stack, NULL))
		fail("sigaltstack");
	if (sigaction(SIGSEGV, &sa, NULL))
		fail("sigaction");
	for (volatile int i = 0; i < ROUNDS; i++) {
		if (!sigsetjmp(back, 1))
			*(volatile char *)none = 1;
		else
			caught++;
		sum += touch();
		rest();
	}
	printf("%d faults, sum %lu\n", caught, sum);
}

/* Code comes and goes at the addresses where data was. */
static void libraries(void)
{
	unsigned long sum = 0;

	for (int i = 0; i < ROUNDS; i++) {
		void *lib = dlopen("libm.so.6", RTLD_NOW), *p = malloc(BIG);
		double (*root)(double);

		if (!lib || !p)
			fail("dlopen");
		*(void **)&root = dlsym(lib, "sqrt");
		memset(p, i, BIG);
		sum += (unsigned long)root(i * i) + ((unsigned char *)p)[BIG - 1] + touch();
		rest();
		free(p);
		if (dlclose(lib))
			fail("dlclose");
	}
	printf("sum %lu\n", sum);
}

static void *churn(void *arg)
{
	unsigned long sum = (unsigned long)(uintptr_t)arg;

	for (int i = 0; i < ROUNDS; i++) {
		unsigned char *p = malloc(BIG / 4);

		if (!p)
			fail("malloc");
		memset(p, (int)sum + i, BIG / 4);
		p = realloc(p, BIG / 2);
		if (!p)
			fail("realloc");
		sum += p[BIG / 4 - 1];
		free(p);
		rest();
	}
	return (void *)(uintptr_t)sum;
}

/* Allocating in several threads that also come and go, whoever's malloc() it is. */
static void threads(void)
{
	pthread_t t[4];
	void *sum;

	for (uintptr_t i = 0; i < 4; i++) {
		if (pthread_create(&t[i], NULL, churn, (void *)i))
			fail("pthread_create");
	}
	for (int i = 0; i < 4; i++) {
		(void)pthread_join(t[i], &sum);
		printf("%lu\n", (unsigned long)(uintptr_t)sum);
	}
}

int main(int argc, char **argv)
{
	const char *which = argc > 1 ? argv[1] : "";

	data = malloc(BIG);
	if (!data)
		return 2;
	memset(data, 3, BIG);
	if (!strcmp(which, "jump"))
		leave_handler(0);
	else if (!strcmp(which, "stack"))
		leave_handler(1);
	else if (!strcmp(which, "libraries"))
		libraries();
	else if (!strcmp(which, "threads"))
		threads();
	else
		return 2;
	return 0;
}
