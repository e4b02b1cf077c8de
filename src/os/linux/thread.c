// SPDX-License-Identifier: MIT
/*
 * Threads of our own: made by pthread_create(), because what they call (the sink) may use
 * thread-local storage, but with a descriptor table of their own that holds nothing of the
 * program's: a pipe's end kept open there would never tell the other end that it is closed.
 */
#include "internal.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#define STACK_BYTES (256 * 1024)

/* Close [first, last] in this thread's table. */
static void close_between(unsigned int first, unsigned int last)
{
	if (first > last)
		return;
	if (nhi_sys3(__NR_close_range, first, last, 0) == 0)
		return;
	/* Before 5.9: one by one. */
	last = nhi_min(last, 65536u);
	for (unsigned int fd = first; fd <= last; fd++)
		nhi_close((int)fd);
}

void nhi_thread_begin(struct nhi_lx *lx, uint32_t *state, const char *name)
{
	int low = nhi_min(lx->events.fd, lx->plain.fd);
	int high = nhi_max(lx->events.fd, lx->plain.fd);

	nhi_signals_mark_blocked(true);
	/* Emulated nodes go round robin to the program's threads; ours is not one of those. */
	(void)nhi_linux_set_node(&lx->os, 0);
	(void)nhi_sys2(SYS_prctl, PR_SET_NAME, name);
	if (nhi_sys1(SYS_unshare, CLONE_FILES) == 0) {
		unsigned int from = 0;

		if (low >= 0) {
			if (low > 0)
				close_between(from, (unsigned int)low - 1);
			from = (unsigned int)low + 1;
		}
		if (high >= 0 && high != low) {
			close_between(from, (unsigned int)high - 1);
			from = (unsigned int)high + 1;
		}
		close_between(from, ~0u);
	}
	nhi_store_release(state, NHI_THREAD_RUNNING); /* pairs with nhi_thread_create() */
	nhi_futex_wake(state, 1);
}

int nhi_thread_create(struct nhi_lx *lx, pthread_t *thread, uint32_t *state, void *(*fn)(void *))
{
	pthread_attr_t attr;
	sigset_t all, old;
	uint32_t now;
	int err;

	/*
	 * Everything but the two signals that libc sends to all threads, for setuid() and for
	 * cancelling; sigfillset() of glibc leaves those out.
	 */
	sigfillset(&all);
	if (pthread_attr_init(&attr))
		return -ENOMEM;
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	nhi_store_relaxed(state, NHI_THREAD_STARTING); /* the thread starts after this */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(thread, &attr, fn, lx);
	if (err == EINVAL) /* thread-local storage does not fit into a stack of this size */
		err = pthread_create(thread, NULL, fn, lx);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (err) {
		nhi_store_relaxed(state, NHI_THREAD_NONE);
		return -err;
	}
	while ((now = nhi_load_acquire(state)) == NHI_THREAD_STARTING)
		(void)nhi_futex_wait(state, now, -1);
	return 0;
}
