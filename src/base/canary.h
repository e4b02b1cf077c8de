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
	X(MARKED_UNDER_GET, "mark-get", "marking does not look at references that are no pins")    \
	X(SHARED_PAGE_MARKED, "mark-shared", "marking does not look at who else maps the page")    \
	X(MOVED_UNDER_GET, "get-marked-migrate",                                                   \
	  "a fault moves a page that somebody got, mark and all")                                  \
	X(STATE_REUSED_AFTER_WAIT, "fault-fault-mark",                                             \
	  "misplaced before the wait, so misplaced after it")                                      \
	X(WAITS_ACCOUNTED, "fault-fault", "a fault that only waited is counted")                   \
	X(FOLLOW_PAGE_HONOURS, "follow-unmark", "follow_page does not see through a mark")         \
	X(FOLLOW_RULE_LOOPS, "force-inaccessible",                                                 \
	  "the follow rule forgets that nobody may access the VMA")                                \
	X(WAKE_BEFORE_STATE, "fault-fault", "sleepers are woken before the entry is unlocked")     \
	X(COUNT_AFTER_FLAG, "fault-fault", "a sleeper says that it waits, then reads the count")   \
	X(HUGE_SLEEPS_APART, "fault-fault-huge",                                                   \
	  "who waits for a part of a huge page is not woken")                                      \
	X(HOLE_NOT_HELD, "fault-fault-mark", "zeros are put where a page was marked this moment")  \
	X(LOST_EVENT, "mark-dontneed", "a discard that meets a locked entry is forgotten")         \
	X(MONITOR_SLEEPS, "mark-fault-monitor", "the monitor sleeps until an entry is unlocked")   \
	X(READER_LOOKS_FIRST, "event-fault-thread",                                                \
	  "a reader looks for a writer, then counts itself")                                       \
	X(SPLIT_UNDER_PIN, "pin-split", "a huge page is split although it is pinned")              \
	X(SPLIT_SHOWN_EARLY, "gup-split", "the PTEs count before they are written")                \
	X(HUGE_OVER_PTES, "mark-pin-huge", "a granule becomes huge over PTEs that are referenced") \
	X(PTE_UNDER_HUGE, "mark-pin-huge-fast",                                                    \
	  "a PTE is used without a look at the PMD after it")                                      \
	X(UNLOCK_FORGETS_PUTS, "get-put-unmark", "unlocking brings references back that were put") \
	X(EAGER_WITHOUT_MUTEX, "fork-eager", "an eager move does not keep a fork out")             \
	X(GUP_LETS_FORK_IN, "fork-get", "a child inherits an entry that GUP has locked")           \
	X(COUNTED_LATE, "count-mark", "marks are counted after they can be resolved")              \
	X(MARK_WITHOUT_FLUSH, "fault-mark", "the machine's: a CPU translates a marked page still") \
	X(MONITOR_READS_EARLY, "event-fault-thread",                                               \
	  "the machine's: an event is read while a fault is served")

#define NHI_CANARY_ENUM(name, scenario, text) NHI_CANARY_##name,
enum nhi_canary { NHI_CANARY_NONE, NHI_CANARIES(NHI_CANARY_ENUM) NHI_CANARIES_END };
extern enum nhi_canary nhi_canary;

#define NHI_CANARY(name) (nhi_canary == NHI_CANARY_##name)
#else
#define NHI_CANARY(name) 0
#endif

#endif
