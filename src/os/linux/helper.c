// SPDX-License-Identifier: MIT
/*
 * A program may close every descriptor it has, ours included (close_range(2), daemon(3), shells).
 * The userfaultfd lives on, for our threads hold it in tables of their own; what the program's
 * threads lost is the number by which to call it. So one small thread makes the call for them.
 *
 * One request at a time, by futex alone: no descriptor is needed to talk to it.
 */
#include "internal.h"

/* word: IDLE -> REQUEST [the caller, who holds lock] -> DONE [the helper] -> IDLE [the caller] */
enum { IDLE, REQUEST, DONE, STOP };

static void *helper_main(void *arg)
{
	struct nhi_lx *lx = arg;
	struct nhi_helper *h = &lx->helper;
	uint32_t word;

	nhi_thread_begin(lx, &h->state, "nh-helper");
	for (;;) {
		/* Acquire: the request, written before the release in nhi_helper_ioctl(). */
		word = nhi_load_acquire(&h->word);
		if (word == STOP)
			break;
		if (word != REQUEST) {
			(void)nhi_futex_wait(&h->word, word, -1);
			continue;
		}
		h->ret = nhi_syscall(h->nr, h->arg[0], h->arg[1], h->arg[2], h->arg[3], h->arg[4],
				     0);
		nhi_store_release(&h->word, DONE); /* pairs with the load in nhi_helper_ioctl() */
		nhi_futex_wake(&h->word, INT32_MAX);
	}
	return NULL;
}

int nhi_helper_start(struct nhi_lx *lx)
{
	struct nhi_helper *h = &lx->helper;

	if (nhi_load_relaxed(&h->state) != NHI_THREAD_NONE) /* under maps_lock, as all writers */
		return 0;
	nhi_store_relaxed(&h->word, IDLE); /* nobody else is there yet */
	return nhi_thread_create(lx, &h->thread, &h->state, helper_main);
}

void nhi_helper_stop(struct nhi_lx *lx)
{
	struct nhi_helper *h = &lx->helper;

	if (nhi_load_relaxed(&h->state) == NHI_THREAD_NONE)
		return;
	nhi_futex_lock(&h->lock);
	nhi_store_release(&h->word, STOP);
	nhi_futex_wake(&h->word, INT32_MAX);
	pthread_join(h->thread, NULL);
	nhi_store_relaxed(&h->state, NHI_THREAD_NONE);
	nhi_futex_unlock(&h->lock);
}

/* Hand a system call of up to five arguments to the helper; the caller holds the lock. */
static void request(struct nhi_helper *h, long nr, const long arg[5])
{
	h->nr = nr;
	for (int i = 0; i < 5; i++)
		h->arg[i] = arg[i];
	nhi_store_release(&h->word, REQUEST);
	nhi_futex_wake(&h->word, 1);
}

static long result(struct nhi_helper *h)
{
	long ret = h->ret;

	nhi_store_relaxed(&h->word, IDLE); /* we hold the lock: nobody requests meanwhile */
	nhi_futex_unlock(&h->lock);
	return ret;
}

long nhi_helper_ioctl(struct nhi_lx *lx, int fd, unsigned long cmd, void *arg)
{
	const long args[5] = { fd, (long)cmd, (long)arg, 0, 0 };
	struct nhi_helper *h = &lx->helper;
	uint64_t token;
	uint32_t word;
	long ret;

	if (nhi_load_relaxed(&h->state) != NHI_THREAD_RUNNING)
		return -EBADF;
	/* A handler of the program that runs here and faults would wait for its own thread. */
	nhi_signals_block(&token);
	nhi_futex_lock(&h->lock);
	request(h, SYS_ioctl, args);
	while ((word = nhi_load_acquire(&h->word)) != DONE)
		(void)nhi_futex_wait(&h->word, word, -1);
	ret = result(h);
	nhi_signals_restore(&token);
	nhi_count(&lx->os.helper_ioctls, 1);
	return ret;
}

long nhi_helper_call(struct nhi_lx *lx, long nr, const long arg[5],
		     void (*meanwhile)(struct nhi_lx *lx))
{
	struct nhi_helper *h = &lx->helper;

	if (nhi_load_relaxed(&h->state) != NHI_THREAD_RUNNING)
		return -EBADF;
	/* Whoever holds the lock may wait for an event to be read, and we are the reader. */
	while (!nhi_futex_trylock(&h->lock))
		meanwhile(lx);
	request(h, nr, arg);
	while (nhi_load_acquire(&h->word) != DONE)
		meanwhile(lx);
	return result(h);
}
