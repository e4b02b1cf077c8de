/* SPDX-License-Identifier: MIT */
/*
 * Deliberately wrong variants of the engine, to show that the explorer in sim/ finds them.
 *
 * Each brings back a bug that this kind of code has had. They exist in the simulator's build only,
 * where one at a time is switched on; everywhere else the condition is the constant 0.
 */
#ifndef NHI_CANARY_H
#define NHI_CANARY_H

#include "atomic.h"

#if NH_SIM
/* X(name, the scenario that finds it first, what is wrong) */
#define NHI_CANARIES(X)                                                                            \
	X(GUP_FOLLOWS_MARKED_HUGE, "gup-fast-migrate-huge",                                        \
	  "fast GUP hands out a huge page that is marked")                                         \
	X(PIN_BETWEEN_CHECK_AND_LOCK, "mark-pin",                                                  \
	  "an entry is checked, then locked by a plain store")                                     \
	X(PINNED_PAGE_MARKED, "mark-pin", "marking does not look at pins")                         \
	X(SHARED_PAGE_MARKED, "mark-shared", "marking does not look at who else maps the page")    \
	X(MARKED_UNDER_GET, "mark-get", "marking does not look at references that are no pins")    \
	X(MOVED_UNDER_GET, "get-marked-migrate", "a fault moves a page that somebody got marked")  \
	X(STATE_REUSED_AFTER_WAIT, "fault-fault-mark",                                             \
	  "what a fault found before it waited counts after it")                                   \
	X(WAITS_ACCOUNTED, "fault-fault", "a fault that only waited is counted")                   \
	X(FOLLOW_PAGE_HONOURS, "follow-unmark", "follow_page does not see through a mark")         \
	X(FOLLOW_RULE_LOOPS, "force-inaccessible",                                                 \
	  "the follow rule forgets that nobody may access the VMA, and loops")                     \
	X(WAKE_BEFORE_STATE, "fault-fault", "sleepers are woken before the entry is unlocked")     \
	X(FLAG_BEFORE_COUNT, "fault-fault", "a sleeper reads the count after it said it waits")    \
	X(LOST_EVENT, "mark-dontneed", "a discard that meets a locked entry is forgotten")         \
	X(MONITOR_SLEEPS, "event-fault", "the monitor sleeps until an entry is unlocked")          \
	X(SPLIT_UNDER_PIN, "pin-split", "a huge page is split although it is pinned")              \
	X(SPLIT_SHOWN_EARLY, "gup-split", "the PTEs count before they are written")                \
	X(HUGE_OVER_PTES, "mark-pin-huge", "a granule becomes huge over PTEs that are referenced") \
	X(PTE_UNDER_HUGE, "mark-pin-huge", "a PTE is used without a look at the PMD after it")     \
	X(READER_LOOKS_FIRST, "event-fault", "a reader looks for a writer, then counts itself")    \
	X(UNLOCK_FORGETS_PUTS, "get-put-unmark",                                                   \
	  "unlocking restores references that were given back meanwhile")                          \
	X(FORK_LOOKS_ONCE, "fork-mark", "fork does not look again once it has the lock")           \
	X(EAGER_WITHOUT_MUTEX, "fork-eager", "an eager move does not keep a fork out")             \
	X(COUNTED_LATE, "count-mark", "marks are counted after they can be resolved")              \
	X(QUIET_WHILE_MARKED, "fault-mark", "marks of a map are counted after the os made them")

#define NHI_CANARY_ENUM(name, scenario, text) NHI_CANARY_##name,
enum nhi_canary { NHI_CANARY_NONE, NHI_CANARIES(NHI_CANARY_ENUM) NHI_CANARIES_END };
extern enum nhi_canary nhi_canary;

#define NHI_CANARY(name) (nhi_canary == NHI_CANARY_##name)
#else
#define NHI_CANARY(name) 0
#endif

#endif
