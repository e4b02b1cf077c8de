// SPDX-License-Identifier: MIT
/* A program with handlers of its own, masks of its own, and crashes: v_signals CASE. */
#include "victim.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

static sigjmp_buf back;
static volatile sig_atomic_t caught;
static void *volatile caught_at;
static uint8_t *data;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)context;
	caught = sig;
	caught_at = info->si_addr;
	siglongjmp(back, 1);
}

static void on_plain(int sig)
{
	caught = sig;
	siglongjmp(back, 1);
}

/* A parallel region in which every thread reads what the first one wrote. */
static void region(void)
{
	size_t bad = 0;

#pragma omp parallel for schedule(static) reduction(+ : bad)
	for (size_t i = 0; i < BIG; i++)
		bad += data[i] != pattern(i);
	EXPECT(!bad);
}

static void provoke(void *where, int expected)
{
	caught = 0;
	if (!sigsetjmp(back, 1))
		*(volatile char *)where = 1;
	EXPECT(caught == expected);
}

static void *mapping(int prot)
{
	void *p = mmap(NULL, 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EXPECT(p != MAP_FAILED);
	return p;
}

static void *file_past_end(void)
{
	char name[] = "/tmp/v_signals.XXXXXX";
	int fd = mkstemp(name);
	void *p;

	EXPECT(fd >= 0 && !unlink(name));
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	EXPECT(p != MAP_FAILED);
	return p;
}

/* Handlers set before the first region, and others behind it; each sees the true address. */
static void handlers(void)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO }, old;
	void *none = mapping(PROT_NONE), *readable = mapping(PROT_READ);

	sigemptyset(&sa.sa_mask);
	sigaddset(&sa.sa_mask, SIGUSR1);
	EXPECT(!sigaction(SIGSEGV, &sa, NULL) && !sigaction(SIGBUS, &sa, NULL));
	region();
	provoke(none, SIGSEGV);
	EXPECT(caught_at == none);
	provoke(readable, SIGSEGV);
	EXPECT(caught_at == readable);
	provoke(file_past_end(), SIGBUS);
	EXPECT(!sigaction(SIGSEGV, NULL, &old));
	EXPECT(old.sa_sigaction == on_fault && old.sa_flags & SA_SIGINFO);
	EXPECT(sigismember(&old.sa_mask, SIGUSR1) == 1);
	EXPECT(signal(SIGSEGV, on_plain) == (sighandler_t)(uintptr_t)on_fault);
	data = filled(BIG);
	region();
	provoke(none, SIGSEGV);
	EXPECT(signal(SIGSEGV, SIG_DFL) == on_plain);
	puts("handlers: chained");
}

/* The two signals are blocked, as far as the program can see; pages are handled all the same. */
static void blocked(void)
{
	sigset_t set, now;

	sigfillset(&set);
	EXPECT(!sigprocmask(SIG_SETMASK, &set, NULL));
	region();
	EXPECT(!sigprocmask(SIG_BLOCK, NULL, &now));
	EXPECT(sigismember(&now, SIGSEGV) == 1 && sigismember(&now, SIGBUS) == 1);
	EXPECT(sigismember(&now, SIGUSR1) == 1);
	sigemptyset(&set);
	sigaddset(&set, SIGBUS);
	EXPECT(!pthread_sigmask(SIG_UNBLOCK, &set, NULL));
	EXPECT(!pthread_sigmask(SIG_BLOCK, NULL, &now));
	EXPECT(sigismember(&now, SIGSEGV) == 1 && sigismember(&now, SIGBUS) == 0);
	puts("blocked: reported");
}

/* A handler that was to be called once; the second fault must kill. */
static void once(void)
{
	struct sigaction sa = { .sa_sigaction = on_fault,
				.sa_flags = SA_SIGINFO | (int)SA_RESETHAND };
	void *none = mapping(PROT_NONE);

	EXPECT(!sigaction(SIGSEGV, &sa, NULL));
	region();
	provoke(none, SIGSEGV);
	puts("once: and now it dies");
	fflush(stdout);
	*(volatile char *)none = 1;
}

static void crash_in_region(void)
{
	volatile char *none = mapping(PROT_NONE);

#pragma omp parallel
	{
		expect_marks();
#pragma omp critical
		*none = 1;
	}
}

int main(int argc, char **argv)
{
	const char *which = argc > 1 ? argv[1] : "";

	data = filled(BIG);
	if (!strcmp(which, "handlers")) {
		handlers();
	} else if (!strcmp(which, "blocked")) {
		blocked();
	} else if (!strcmp(which, "once")) {
		once();
	} else if (!strcmp(which, "crash")) {
		region();
		*(volatile char *)mapping(PROT_NONE) = 1;
	} else if (!strcmp(which, "crash-in-region")) {
		crash_in_region();
	} else if (!strcmp(which, "bus")) {
		region();
		*(volatile char *)file_past_end() = 1;
	} else if (!strcmp(which, "abort")) {
		region();
		abort();
	} else if (!strcmp(which, "kill")) {
		region();
		EXPECT(!kill(getpid(), SIGSEGV));
	} else {
		return 2;
	}
	return 0;
}
