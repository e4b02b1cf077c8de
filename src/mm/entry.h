/* SPDX-License-Identifier: MIT */
/*
 * The entry: one 64-bit word for the mapping of one base page (a PTE) or of one huge page (a PMD).
 *
 *	63       48 47       32 31    24 23    16 15     8 7      4  3     2   0
 *	+----------+-----------+--------+--------+--------+--------+-----+------+
 *	|   pins   |   gets    | last   | last   |  node  | flags  |  W  | state|
 *	|          |           | pid    | node   |        |        |     |      |
 *	+----------+-----------+--------+--------+--------+--------+-----+------+
 *	  W: somebody waits for this entry.   255 in a node field: unknown.
 *
 * State and reference counts share the word, so that a lockless pin is one compare-and-swap and
 * cannot race with marking: both want PRESENT, one of them with no pins, and only one wins.
 *
 *                 mark                     fault, unmark
 *   NONE/PRESENT ------> LOCKED --> MARKED ------------> LOCKED --> PRESENT
 *        ^                  |          |                    |
 *        +---- skipped -----+          +---- not now -------+ (back to MARKED)
 *        |                             |
 *        +---- discarded, unmapped ----+
 *
 *   NONE     the engine knows nothing: the operating system may have a page there or not
 *   PRESENT  the page has been through the engine: its node, its last toucher, its references
 *   MARKED   the next access faults; gets may be held (without honour), pins are zero
 *   LOCKED   somebody is marking, restoring or moving the page; only the holder changes the state;
 *            gets may go down but not up
 *   MOVING   LOCKED, and the page is between two places (a migration entry)
 *
 *   NONE    -> LOCKED   nhi_entry_trylock   mark, move_now
 *   PRESENT -> LOCKED   nhi_entry_trylock   mark, move_now: pins are zero and stay zero
 *   MARKED  -> LOCKED   nhi_entry_trylock   fault, unmark, discard
 *   LOCKED  -> any but LOCKED  nhi_entry_unlock
 *   LOCKED <-> MOVING   nhi_entry_set_moving
 *
 * A huge page has its word in the PMD; while that word is NONE the PTEs below count. Whoever locks
 * a PTE looks at the PMD word again after it: see nhi_entry_lock_at() in table.c.
 */
#ifndef NHI_ENTRY_H
#define NHI_ENTRY_H

#include "atomic.h"
#include "base.h"
#include "canary.h"

typedef uint64_t nhi_word;

enum nhi_state { NHI_NONE = 0, NHI_PRESENT, NHI_MARKED, NHI_LOCKED, NHI_MOVING, NHI_STATES };

#define NHI_W_STATE	      0x7ull
#define NHI_W_WAITERS	      0x8ull
#define NHI_W_FLAGS	      0xf0ull
#define NHI_W_NODE_SHIFT      8
#define NHI_W_LAST_NODE_SHIFT 16
#define NHI_W_LAST_PID_SHIFT  24
#define NHI_W_GET_ONE	      (1ull << 32)
#define NHI_W_PIN_ONE	      (1ull << 48)
#define NHI_W_GETS	      (0xffffull << 32)
#define NHI_W_PINS	      (0xffffull << 48)

/* What an entry is when nobody ever wrote it, read as "unknown" by the accessors: the word 0. */
#define NHI_W_KNOWN	      0x10ull /* the node field was written */
#define NHI_W_TOUCHED	      0x20ull /* the last-toucher fields were written */
#define NHI_W_YOUNG	      0x40ull
#define NHI_W_WRITE	      0x80ull /* PRESENT and known to be writable by the program: for gup_fast.c */

static inline enum nhi_state nhi_word_state(nhi_word w)
{
	return (enum nhi_state)(w & NHI_W_STATE);
}

static inline bool nhi_word_busy(nhi_word w)
{
	return nhi_word_state(w) == NHI_LOCKED || nhi_word_state(w) == NHI_MOVING;
}

static inline uint32_t nhi_word_pins(nhi_word w)
{
	return (uint32_t)(w >> 48);
}

static inline uint32_t nhi_word_gets(nhi_word w)
{
	return (uint32_t)(w >> 32) & 0xffff;
}

/* 0 .. 254, or 255 for unknown. */
static inline uint8_t nhi_word_node(nhi_word w)
{
	return w & NHI_W_KNOWN ? (uint8_t)(w >> NHI_W_NODE_SHIFT) : 255;
}

static inline nhi_word nhi_word_with_node(nhi_word w, uint8_t node)
{
	return (w & ~(0xffull << NHI_W_NODE_SHIFT)) | (nhi_word)node << NHI_W_NODE_SHIFT |
	       NHI_W_KNOWN;
}

static inline uint8_t nhi_word_last_node(nhi_word w)
{
	return w & NHI_W_TOUCHED ? (uint8_t)(w >> NHI_W_LAST_NODE_SHIFT) : 255;
}

static inline uint8_t nhi_word_last_pid(nhi_word w)
{
	return (uint8_t)(w >> NHI_W_LAST_PID_SHIFT);
}

static inline nhi_word nhi_word_with_last(nhi_word w, uint8_t node, uint8_t pid)
{
	w &= ~(0xffffull << NHI_W_LAST_NODE_SHIFT);
	return w | (nhi_word)node << NHI_W_LAST_NODE_SHIFT | (nhi_word)pid << NHI_W_LAST_PID_SHIFT |
	       NHI_W_TOUCHED;
}

static inline nhi_word nhi_word_with_state(nhi_word w, enum nhi_state state)
{
	return (w & ~NHI_W_STATE) | (nhi_word)state;
}

#endif
