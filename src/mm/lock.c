// SPDX-License-Identifier: MIT
#include "lock.h"

#if NH_DEBUG
/*
 * How many locks of each rank this thread holds. Entries are not counted one by one: a thread may
 * hold many. Initial-exec: read in signal handlers, where a lazily allocated TLS block would not do.
 */
#if NH_SIM
#define held nhi_sim_held()
#else
static __thread uint32_t held[NHI_RANK_ENTRY + 1] __attribute__((tls_model("initial-exec")));
#endif

void nhi_rank_take(enum nhi_rank rank)
{
	for (int r = (int)rank; r <= NHI_RANK_ENTRY; r++)
		nhi_assert(held[r] == 0);
	held[rank]++;
}

void nhi_rank_drop(enum nhi_rank rank)
{
	nhi_assert(held[rank] == 1);
	held[rank]--;
}
#endif

void nhi_mutex_lock(struct nhi_os *os, struct nhi_mutex *m)
{
	uint32_t old = 0;

	/* Acquire pairs with the release in nhi_mutex_unlock(). */
	if (nhi_cas_acquire(&m->word, &old, 1))
		return;
	while (nhi_xchg_acquire(&m->word, 2) != 0)
		os->ops->wait(os, &m->word, 2);
}

bool nhi_mutex_trylock(struct nhi_mutex *m)
{
	uint32_t old = 0;

	return nhi_cas_acquire(&m->word, &old, 1);
}

void nhi_mutex_unlock(struct nhi_os *os, struct nhi_mutex *m)
{
	if (nhi_xchg_release(&m->word, 0) == 2)
		os->ops->wake_all(os, &m->word);
}

unsigned int nhi_mmap_read_lock(struct nhi_os *os, struct nhi_mmap_lock *l, unsigned int hint)
{
	unsigned int slot = hint % NHI_MMAP_SLOTS;

	nhi_rank_take(NHI_RANK_MMAP);
	for (;;) {
		/*
		 * (R) Count in, then look for a writer; the writer (W) raises its flag, then looks
		 * at the counts. Each writes one word and reads the other's: with anything weaker
		 * than sequential consistency both could miss each other.
		 */
		if (NHI_CANARY(READER_LOOKS_FIRST) && !nhi_load_seq_cst(&l->writer)) {
			nhi_add_seq_cst(&l->slot[slot].readers, 1);
			return slot;
		}
		nhi_add_seq_cst(&l->slot[slot].readers, 1);
		if (!nhi_load_seq_cst(&l->writer))
			return slot;
		if (nhi_add_seq_cst(&l->slot[slot].readers, -1) == 0) {
			nhi_add_release(&l->drain, 1);
			os->ops->wake_all(os, &l->drain);
		}
		os->ops->wait(os, &l->writer, 1);
	}
}

void nhi_mmap_read_unlock(struct nhi_os *os, struct nhi_mmap_lock *l, unsigned int slot)
{
	/* Pairs with (W): a writer that saw the count must be woken, so look for it afterwards. */
	if (nhi_add_seq_cst(&l->slot[slot].readers, -1) == 0 && nhi_load_seq_cst(&l->writer)) {
		nhi_add_release(&l->drain, 1);
		os->ops->wake_all(os, &l->drain);
	}
	nhi_rank_drop(NHI_RANK_MMAP);
}

void nhi_mmap_write_lock(struct nhi_os *os, struct nhi_mmap_lock *l, int tid)
{
	nhi_rank_take(NHI_RANK_MMAP);
	nhi_mutex_lock(os, &l->writers);
	nhi_store_seq_cst(&l->writer, 1); /* (W), pairs with (R) */
	for (unsigned int i = 0; i < NHI_MMAP_SLOTS; i++) {
		for (;;) {
			/* Before the count is read: an increment after it must end the sleep. */
			uint32_t drain = nhi_load_acquire(&l->drain);

			if (nhi_load_seq_cst(&l->slot[i].readers) == 0)
				break;
			os->ops->wait(os, &l->drain, drain);
		}
	}
	/* Relaxed: read only to compare with the reader's own id, which only it writes. */
	nhi_store_relaxed(&l->writer_tid, tid);
}

void nhi_mmap_write_unlock(struct nhi_os *os, struct nhi_mmap_lock *l)
{
	nhi_store_relaxed(&l->writer_tid, 0);
	nhi_store_seq_cst(&l->writer, 0);
	os->ops->wake_all(os, &l->writer);
	nhi_mutex_unlock(os, &l->writers);
	nhi_rank_drop(NHI_RANK_MMAP);
}
