/* SPDX-License-Identifier: MIT */
/*
 * Atomics whose memory order is part of the name, so that a reader sees it where it is used and
 * grep finds every place. Nothing else in the tree uses the compiler's builtins.
 *
 * Every use names its partner, or says why relaxed is enough. In the simulator's build each
 * operation is a point where the scheduler may switch tasks.
 */
#ifndef NHI_ATOMIC_H
#define NHI_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

#ifndef NH_SIM
#define NH_SIM 0
#endif

#if NH_SIM
/* Filled by sim/: lets the explorer run another task before the operation @what on @where. */
void nhi_sim_yield(const volatile void *where, unsigned int bytes, const char *what,
		   const char *func, int line);
/* The running task goes on by @value, which it read without yielding. Returns it. */
uint64_t nhi_sim_saw(uint64_t value);
#define NHI_YIELD(p, what) nhi_sim_yield((p), sizeof(*(p)), what, __func__, __LINE__)
#else
#define NHI_YIELD(p, what) ((void)0)
#define nhi_sim_saw(value) (value)
#endif

#define nhi_load_relaxed(p) (NHI_YIELD(p, "load"), __atomic_load_n((p), __ATOMIC_RELAXED))
#define nhi_load_acquire(p) (NHI_YIELD(p, "load"), __atomic_load_n((p), __ATOMIC_ACQUIRE))
#define nhi_load_seq_cst(p) (NHI_YIELD(p, "load"), __atomic_load_n((p), __ATOMIC_SEQ_CST))
#define nhi_store_relaxed(p, v) \
	(NHI_YIELD(p, "store"), __atomic_store_n((p), (v), __ATOMIC_RELAXED))
#define nhi_store_release(p, v) \
	(NHI_YIELD(p, "store"), __atomic_store_n((p), (v), __ATOMIC_RELEASE))
#define nhi_store_seq_cst(p, v) \
	(NHI_YIELD(p, "store"), __atomic_store_n((p), (v), __ATOMIC_SEQ_CST))
#define nhi_xchg_acq_rel(p, v) \
	(NHI_YIELD(p, "xchg"), __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL))
#define nhi_xchg_acquire(p, v) \
	(NHI_YIELD(p, "xchg"), __atomic_exchange_n((p), (v), __ATOMIC_ACQUIRE))
#define nhi_xchg_release(p, v) \
	(NHI_YIELD(p, "xchg"), __atomic_exchange_n((p), (v), __ATOMIC_RELEASE))

/* Each add returns the value after the addition. */
#define nhi_add_relaxed(p, v) (NHI_YIELD(p, "add"), __atomic_add_fetch((p), (v), __ATOMIC_RELAXED))
#define nhi_add_release(p, v) (NHI_YIELD(p, "add"), __atomic_add_fetch((p), (v), __ATOMIC_RELEASE))
#define nhi_add_acq_rel(p, v) (NHI_YIELD(p, "add"), __atomic_add_fetch((p), (v), __ATOMIC_ACQ_REL))
#define nhi_add_seq_cst(p, v) (NHI_YIELD(p, "add"), __atomic_add_fetch((p), (v), __ATOMIC_SEQ_CST))

/* Counters: nobody orders anything by them, so relaxed is enough; not a switching point. */
#define nhi_count(p, v)	      ((void)__atomic_fetch_add((p), (v), __ATOMIC_RELAXED))
#define nhi_count_read(p)     nhi_sim_saw(__atomic_load_n((p), __ATOMIC_RELAXED))

/* Each compare-and-swap is strong; on failure *old holds what was found. */
#define nhi_cas_relaxed(p, old, v) \
	(NHI_YIELD(p, "cas"),      \
	 __atomic_compare_exchange_n((p), (old), (v), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
#define nhi_cas_acquire(p, old, v) \
	(NHI_YIELD(p, "cas"),      \
	 __atomic_compare_exchange_n((p), (old), (v), false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
#define nhi_cas_release(p, old, v) \
	(NHI_YIELD(p, "cas"),      \
	 __atomic_compare_exchange_n((p), (old), (v), false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
#define nhi_cas_acq_rel(p, old, v) \
	(NHI_YIELD(p, "cas"),      \
	 __atomic_compare_exchange_n((p), (old), (v), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
#define nhi_cas_seq_cst(p, old, v) \
	(NHI_YIELD(p, "cas"),      \
	 __atomic_compare_exchange_n((p), (old), (v), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))

#endif
