// SPDX-License-Identifier: MIT
/*
 * Occasions outside of parallel regions: at a thread's start, at intervals, on a signal. Each is a
 * region without a team: it begins by marking, and ends when the next one begins or the program ends.
 *
 * The ticker is a thread of ours that makes them. It starts with the first large allocation, so that
 * a program without any stays without it, and anew in a forked child.
 */
#include "preload.h"
#include "sys.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define START_MS    20	/* --when start: how soon an allocation with pages is found */
#define LINGER_MS   500 /* ... after which what nobody touched is restored */
#define STACK_BYTES (256u << 10)

static struct nhp_region open_region; /* guarded by occasion_lock */
static uint32_t occasion_lock;	      /* 0, 1; only ever tried */
static uint32_t ticker_of;	      /* pid whose ticker was started */
static uint32_t wanted;		      /* futex: signals that came; counts up */
static uint32_t resting;	      /* nothing is fresh: the ticker sleeps until it is woken */

/* ------------------------------------------------------------------------------------- marking */

/* One at a time: who comes second finds it done. */
static void occasion(bool again, bool mark)
{
	uint32_t old = 0;

	if (nhi_load_relaxed(&nhp.off) || !nhi_cas_acquire(&occasion_lock, &old, 1))
		return;
	if (!nhp.conf.keep_marks)
		nhp_region_end(&open_region);
	if (mark && (again || nhi_load_relaxed(&nhp.fresh)))
		nhp_occasion(&open_region, again);
	nhi_store_release(&occasion_lock, 0);
}

void nhp_thread_starts(void)
{
	if (nhp.conf.when == NHP_WHEN_THREADS && nhi_load_relaxed(&nhp.fresh))
		occasion(false, true);
}

/* -------------------------------------------------------------------------------------- ticker */

static void sleep_on(uint32_t *word, uint32_t value, unsigned int ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	(void)nhi_sys4(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, ms ? &ts : NULL);
}

static void wake(uint32_t *word)
{
	(void)nhi_sys3(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1);
}

/* Once for each allocation, soon after it has pages; then there is nothing to do. */
static void tick_start(void)
{
	if (nhi_load_relaxed(&nhp.fresh)) {
		occasion(false, true);
		sleep_on(&resting, 0, START_MS);
		return;
	}
	sleep_on(&resting, 0, LINGER_MS);
	if (nhi_load_relaxed(&nhp.fresh))
		return;
	occasion(false, false);
	nhi_store_seq_cst(&resting, 1); /* pairs with the load in nhp_allocated() */
	if (!nhi_load_seq_cst(&nhp.fresh))
		sleep_on(&resting, 1, 0);
	nhi_store_relaxed(&resting, 0);
}

static void *ticker(void *arg)
{
	uint32_t seen = 0, now;

	(void)arg;
	for (;;) {
		switch (nhp.conf.when) {
		case NHP_WHEN_EVERY:
			sleep_on(&resting, 0, nhp.conf.every_ms);
			occasion(true, true);
			break;
		case NHP_WHEN_SIGNAL:
			now = nhi_load_relaxed(&wanted);
			if (now == seen)
				sleep_on(&wanted, seen, 0);
			else
				occasion(true, true);
			seen = now;
			break;
		case NHP_WHEN_THREADS:
			/* Marks are made by the threads; this restores what stays untouched. */
			sleep_on(&resting, 0, LINGER_MS);
			occasion(false, false);
			break;
		default:
			tick_start();
		}
	}
	return NULL;
}

static void start_ticker(void)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;

	sigfillset(&all);
	if (pthread_attr_init(&attr))
		return;
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	/* It handles none of the program's signals. Its own hinting faults cannot happen. */
	(void)NHP_REAL(pthread_sigmask)(SIG_SETMASK, &all, &old);
	if (NHP_REAL(pthread_create)(&thread, &attr, ticker, NULL))
		nhp_say("cannot start a thread for --when %s", nhp_when_name(&nhp.conf));
	(void)NHP_REAL(pthread_sigmask)(SIG_SETMASK, &old, NULL);
	(void)pthread_attr_destroy(&attr);
}

void nhp_allocated(void)
{
	uint32_t old = nhi_load_relaxed(&ticker_of);

	if (nhp.conf.when == NHP_WHEN_PARALLEL)
		return;
	if (old != (uint32_t)nhp.pid && nhi_cas_relaxed(&ticker_of, &old, (uint32_t)nhp.pid))
		start_ticker();
	else if (nhi_load_seq_cst(&resting))
		wake(&resting);
}

/* -------------------------------------------------------------------------------------- signal */

static void on_signal(int sig)
{
	(void)sig;
	/* Relaxed: the ticker only wants to know that it changed. */
	(void)nhi_add_relaxed(&wanted, 1);
	wake(&wanted);
}

void nhp_occasion_init(void)
{
	struct sigaction sa;

	if (nhp.conf.when != NHP_WHEN_SIGNAL)
		return;
	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = on_signal;
	sa.sa_flags = SA_RESTART;
	if (NHP_REAL(sigaction)(nhp.conf.signal, &sa, NULL))
		nhp_say("cannot handle signal %d: %s", nhp.conf.signal, nh_strerror(-errno));
}

void nhp_occasion_fork_child(void)
{
	open_region.id = 0;
	occasion_lock = resting = 0;
}
