/* SPDX-License-Identifier: MIT */
/*
 * The engine's locks, and the order in which they may be taken.
 *
 *	mark_mutex              one marker at a time; never on the fault path
 *	  mmap_lock (write)     the VMA map changes, an event is being handled
 *	  mmap_lock (read)      a fault is being resolved
 *	    entry               a bit in a word: see entry.h
 *
 * A thread never waits for an entry while it holds mmap_lock or another entry: it takes the first
 * by try, lets go of everything, waits and starts again; further entries are taken by try only. So
 * entries cannot deadlock, in whatever order they are taken. A marker holds entries while it calls
 * the operating system without mmap_lock, because that call may wait for the monitor, and the
 * monitor waits for mmap_lock (write), but never for an entry.
 *
 * Whoever holds any of these has called os->enter: no signal handler of the program runs on that
 * thread, and it touches no managed memory.
 */
#ifndef NHI_LOCK_H
#define NHI_LOCK_H

#include "atomic.h"
#include "canary.h"
#include "os.h"

enum nhi_rank { NHI_RANK_NONE = 0, NHI_RANK_MARK = 1, NHI_RANK_MMAP = 2, NHI_RANK_ENTRY = 3 };

#if NH_DEBUG
#if NH_SIM
/* Filled by sim/: how many locks of each rank the running task holds. */
uint32_t *nhi_sim_held(void);
#endif
/* The calling thread takes or drops a lock of @rank; asserts the order above. */
void nhi_rank_take(enum nhi_rank rank);
void nhi_rank_drop(enum nhi_rank rank);
#else
static inline void nhi_rank_take(enum nhi_rank rank)
{
	(void)rank;
}
static inline void nhi_rank_drop(enum nhi_rank rank)
{
	(void)rank;
}
#endif

/* A sleeping mutex. 0 free, 1 taken, 2 taken and somebody sleeps. */
struct nhi_mutex {
	uint32_t word;
};

void nhi_mutex_lock(struct nhi_os *os, struct nhi_mutex *m);
bool nhi_mutex_trylock(struct nhi_mutex *m);
void nhi_mutex_unlock(struct nhi_os *os, struct nhi_mutex *m);

/*
 * mmap_lock: many readers, one writer. Readers count themselves in one of several slots, so that
 * threads that fault at the same time do not share a cache line; a writer raises its flag and waits
 * until every slot is empty. Reading never nests, so a writer may hold off new readers.
 *
 * Pairwise: read with read: parallel. Read with write: excluded. Write with write: excluded by
 * `writers`.
 */
#define NHI_MMAP_SLOTS 16

struct nhi_mmap_lock {
	struct nhi_mutex writers; /* taken for as long as the lock is held for writing */
	uint32_t writer;	  /* 1: a writer waits or works; readers sleep on it */
	uint32_t drain; /* counts up when a slot empties under a writer, who sleeps on it */
	int writer_tid; /* of the holder, for faults by the writer itself */
	struct {
		uint32_t readers;
		char pad[NHI_CACHE_LINE - sizeof(uint32_t)];
	} slot[NHI_MMAP_SLOTS] __attribute__((aligned(NHI_CACHE_LINE)));
};

/* Return: the slot, for nhi_mmap_read_unlock(); any @hint spreads, the thread's id will do. */
unsigned int nhi_mmap_read_lock(struct nhi_os *os, struct nhi_mmap_lock *l, unsigned int hint);
void nhi_mmap_read_unlock(struct nhi_os *os, struct nhi_mmap_lock *l, unsigned int slot);
void nhi_mmap_write_lock(struct nhi_os *os, struct nhi_mmap_lock *l, int tid);
void nhi_mmap_write_unlock(struct nhi_os *os, struct nhi_mmap_lock *l);

#endif
