// SPDX-License-Identifier: MIT
/*
 * Memory that a system call is using. Where the toucher handles its own faults, a system call that
 * meets a marked page gets EFAULT; so the buffer must be free of marks before *and during* the call,
 * while another thread may begin to mark at any moment.
 *
 * Whoever makes the call publishes its buffer in a slot (A), then looks whether anything may be
 * marked (B) and restores the buffer if so. Whoever marks says that marks may exist (C), then looks
 * at the slots (D) and leaves alone every allocation of which a part is held. A to D are seq_cst, so
 * at least one side sees the other; if the caller sees the marker, it waits for it, because the
 * allocation is BUSY then.
 */
#include "preload.h"
#include "sys.h"

#include <string.h>

#define SLOTS	 128
#define FREE	 0u
#define FILLING	 UINT32_MAX
#define OVERFLOW (SLOTS + 1)

struct hold {
	uint32_t owner; /* FREE, FILLING or a thread id */
	uintptr_t start, end;
} __attribute__((aligned(NHI_CACHE_LINE)));

static struct hold holds[SLOTS];
static uint32_t overflow; /* calls that found no slot, or want none: nothing is marked meanwhile */
static __thread uint32_t my_tid NHP_STATIC_TLS;

static uint32_t self(void)
{
	if (!my_tid)
		my_tid = (uint32_t)nhi_sys0(SYS_gettid);
	return my_tid;
}

/* Return: a slot, from 1; OVERFLOW. Also in a child of vfork(), which shares the slots. */
static uint32_t publish(uintptr_t start, uintptr_t end)
{
	uint32_t tid = self(), at = tid * 2654435761u >> 16;

	for (uint32_t i = 0; i < SLOTS; i++, at++) {
		struct hold *h = &holds[at % SLOTS];
		uint32_t old = FREE;

		/* Acquire: pairs with the release of whoever had the slot before. */
		if (nhi_load_relaxed(&h->owner) || !nhi_cas_acquire(&h->owner, &old, FILLING))
			continue;
		nhi_store_relaxed(&h->start, start);
		nhi_store_relaxed(&h->end, end);
		nhi_store_seq_cst(&h->owner, tid); /* (A) */
		return at % SLOTS + 1;
	}
	(void)nhi_add_seq_cst(&overflow, 1); /* (A) */
	return OVERFLOW;
}

uint32_t nhp_hold_slow(uintptr_t start, uintptr_t end)
{
	uint32_t slot = publish(start, end);

	if (nhi_load_seq_cst(&nhp.marks)) /* (B) */
		nhp_unmark_range(start, end);
	return slot;
}

void nhp_release_slow(uint32_t slot)
{
	if (slot == OVERFLOW)
		(void)nhi_add_seq_cst(&overflow, -1u);
	else
		nhi_store_release(&holds[slot - 1].owner, FREE);
}

void nhp_hold_all(void)
{
	(void)nhi_add_seq_cst(&overflow, 1); /* (A) */
	if (!nhi_load_seq_cst(&nhp.marks))   /* (B) */
		return;
	/* Waits for those that are being marked; then what the program marked by itself. */
	nhp_unmark_range(NHP_PAGE, UINTPTR_MAX & ~(uintptr_t)(NHP_PAGE - 1));
	nhp_unmark_all();
}

void nhp_release_all(void)
{
	(void)nhi_add_seq_cst(&overflow, -1u);
}

bool nhp_held(uintptr_t start, uintptr_t end)
{
	if (nhi_load_seq_cst(&overflow)) /* (D) */
		return true;
	for (uint32_t i = 0; i < SLOTS; i++) {
		uint32_t owner = nhi_load_seq_cst(&holds[i].owner); /* (D) */

		/* FILLING: it has not looked for marks yet, and will see ours. */
		if (owner == FREE || owner == FILLING)
			continue;
		/* Relaxed: a slot that changes meanwhile is another call, which will look. */
		if (nhi_load_relaxed(&holds[i].start) < end &&
		    nhi_load_relaxed(&holds[i].end) > start)
			return true;
	}
	return false;
}

void nhp_hold_thread_exit(void)
{
	uint32_t tid = self();

	/* A thread that was cancelled inside of a call did not come back to release its slot. */
	for (uint32_t i = 0; i < SLOTS; i++) {
		if (nhi_load_relaxed(&holds[i].owner) == tid)
			nhi_store_release(&holds[i].owner, FREE);
	}
}

void nhp_hold_fork_child(void)
{
	/* The other threads did not come along. */
	memset(holds, 0, sizeof(holds));
	overflow = 0;
	my_tid = 0;
}
