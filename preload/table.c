// SPDX-License-Identifier: MIT
/*
 * The table of large allocations.
 *
 * Slots in one array that is reserved at start and filled as needed; a slot is found by its address
 * through chained buckets, by a range through a scan. Readers that must be fast (free of a block
 * that is not here, which is nearly every one) take no lock: they look at the bounds, then at their
 * bucket, and believe what they saw if nothing was written meanwhile.
 *
 * The lock is held for a few instructions, with all signals blocked: a signal handler of the
 * program may call munmap() or write(), which come here.
 */
#include "preload.h"
#include "sys.h"

#include <linux/futex.h>
#include <sched.h>
#include <string.h>

#define BUCKETS 4096 /* power of two */

struct nhp_bounds nhp_bounds = { UINTPTR_MAX, 0 };

static struct nhp_alloc *slots;	 /* [1, NHP_MAX_ALLOCS]; NULL: nothing can be noted */
static uint32_t bucket[BUCKETS]; /* the first slot of each chain; under the lock */
static uint32_t used;		 /* slots in [1, used] have been in use; under the lock */
static uint32_t free_list;	 /* under the lock */
static uint32_t lock_word;	 /* futex: 0 free, 1 held, 2 held and waited for */
static uint32_t seq;		 /* odd while chains are being changed; written under the lock */

static uint32_t bucket_of(uintptr_t addr)
{
	return (uint32_t)((addr >> 4) * 0x9e3779b97f4a7c15ull >> 40) & (BUCKETS - 1);
}

/* ---------------------------------------------------------------------------------------- locks */

static void block_signals(uint64_t *old)
{
	const uint64_t all = ~0ull;

	(void)nhi_sys4(SYS_rt_sigprocmask, SIG_BLOCK, &all, old, sizeof(all));
}

static void restore_signals(const uint64_t *old)
{
	(void)nhi_sys4(SYS_rt_sigprocmask, SIG_SETMASK, old, NULL, sizeof(*old));
}

static void futex_wait(uint32_t *word, uint32_t value)
{
	(void)nhi_sys4(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL);
}

static void futex_wake(uint32_t *word, int nr)
{
	(void)nhi_sys3(SYS_futex, word, FUTEX_WAKE_PRIVATE, nr);
}

static void lock(uint64_t *token)
{
	uint32_t old = 0;

	block_signals(token);
	/* Acquire: sees what the last holder wrote before its release in unlock(). */
	if (nhi_cas_acquire(&lock_word, &old, 1))
		return;
	while (nhi_xchg_acquire(&lock_word, 2))
		futex_wait(&lock_word, 2);
}

static void unlock(const uint64_t *token)
{
	if (nhi_xchg_release(&lock_word, 0) == 2)
		futex_wake(&lock_word, 1);
	restore_signals(token);
}

/* Caller holds the lock. Readers of chains see an odd number, or another one than before. */
static void chains_begin(void)
{
	nhi_store_seq_cst(&seq, seq + 1);
}

static void chains_end(void)
{
	nhi_store_seq_cst(&seq, seq + 1);
}

/* ---------------------------------------------------------------------------------------- chains */

/* The slot at @addr; 0: none. Without the lock the answer may be wrong: see maybe_noted(). */
static uint32_t find(uintptr_t addr)
{
	uint32_t at = nhi_load_relaxed(&bucket[bucket_of(addr)]);

	for (uint32_t hops = 0; at && hops < NHP_MAX_ALLOCS; hops++) {
		if (nhi_load_relaxed(&slots[at].addr) == addr)
			break;
		at = nhi_load_relaxed(&slots[at].next);
	}
	return at;
}

/* Without the lock: false only if @addr is not noted. */
static bool maybe_noted(uintptr_t addr)
{
	uint32_t before;
	bool found;

	if (!nhp_near(addr, addr + 1))
		return false;
	before = nhi_load_seq_cst(&seq);
	found = find(addr) != 0;
	/* A writer was at work meanwhile: let the caller look again, with the lock. */
	return found || before & 1 || nhi_load_seq_cst(&seq) != before;
}

static void link_slot(uint32_t at)
{
	uint32_t *head = &bucket[bucket_of(slots[at].addr)];

	chains_begin();
	nhi_store_relaxed(&slots[at].next, *head);
	nhi_store_relaxed(head, at);
	chains_end();
}

static void unlink_slot(uint32_t at)
{
	uint32_t *link = &bucket[bucket_of(slots[at].addr)];

	while (*link != at)
		link = &slots[*link].next;
	chains_begin();
	nhi_store_relaxed(link, slots[at].next);
	chains_end();
}

static void set_state(struct nhp_alloc *a, enum nhp_state state)
{
	if (a->state == NHP_FRESH)
		nhi_store_relaxed(&nhp.fresh, nhp.fresh - 1);
	if (state == NHP_FRESH)
		nhi_store_relaxed(&nhp.fresh, nhp.fresh + 1);
	if (state == NHP_BUSY)
		a->before = (uint8_t)a->state;
	nhi_store_relaxed(&a->state, state); /* guarded by the lock; read by futex_wait() */
}

/* Caller holds the lock, and @at is BUSY. */
static void drop_slot(uint32_t at)
{
	unlink_slot(at);
	set_state(&slots[at], NHP_FREE);
	slots[at].next = free_list;
	free_list = at;
}

static uint32_t take_slot(void)
{
	uint32_t at = free_list;

	if (at) {
		free_list = slots[at].next;
		return at;
	}
	return used < NHP_MAX_ALLOCS ? ++used : 0;
}

int nhp_table_init(void)
{
	long mem = nhi_sys6(SYS_mmap, 0, (NHP_MAX_ALLOCS + 1) * sizeof(*slots),
			    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			    0);

	if (nhi_sys_failed(mem))
		return (int)mem;
	slots = (struct nhp_alloc *)mem;
	return 0;
}

/* ---------------------------------------------------------------------------------------- adding */

/* Caller holds the lock. 0: the table is full. */
static uint32_t insert(uintptr_t addr, size_t len, enum nhp_kind kind, enum nhp_state state)
{
	uint32_t at = find(addr);

	if (at) {
		/* It went without our being told: freed by an allocator that we do not see. */
		if (slots[at].state == NHP_BUSY)
			return 0;
		slots[at].len = len;
		set_state(&slots[at], state);
		return at;
	}
	at = take_slot();
	if (!at)
		return 0;
	slots[at] =
		(struct nhp_alloc){ .addr = addr, .len = len, .kind = (uint8_t)kind, .strip = -1 };
	set_state(&slots[at], state);
	link_slot(at);
	if (addr < nhp_bounds.low)
		nhi_store_relaxed(&nhp_bounds.low, addr);
	if (addr + len > nhp_bounds.high)
		nhi_store_relaxed(&nhp_bounds.high, addr + len);
	return at;
}

void nhp_note(const void *addr, size_t len, enum nhp_kind kind)
{
	uint64_t token;
	uint32_t at;

	if (!slots || nhi_load_relaxed(&nhp.off) || nhp_getpid() != nhp.pid)
		return;
	lock(&token);
	at = insert((uintptr_t)addr, len, kind, NHP_FRESH);
	unlock(&token);
	nhi_count(at ? &nhp.allocs : &nhp.full, 1);
	if (at)
		nhp_allocated();
}

void nhp_note_again(const void *addr, size_t len, const struct nhp_alloc *old)
{
	uint64_t token;
	uint32_t at;

	lock(&token);
	/* What it grew by is new: it gets an occasion of its own. */
	at = insert((uintptr_t)addr, len, (enum nhp_kind)old->kind,
		    old->before == NHP_DONE && len <= old->len ? NHP_DONE : NHP_FRESH);
	unlock(&token);
	if (!at)
		nhi_count(&nhp.full, 1);
}

void nhp_note_managed(uintptr_t start, size_t len)
{
	uint64_t token;
	uint32_t at;

	if (!slots)
		return;
	lock(&token);
	at = insert(start, nhi_round_up(len, NHP_PAGE), NHP_MAP, NHP_DONE);
	if (at)
		slots[at].managed = true;
	unlock(&token);
}

/* What the engine has is looked for by `managed`: without it, marks there would stay unseen. */
static void note_rest(uintptr_t addr, size_t len, const struct nhp_alloc *old)
{
	uint64_t token;
	uint32_t at;

	lock(&token);
	at = insert(addr, len, (enum nhp_kind)old->kind, (enum nhp_state)old->before);
	if (at) {
		slots[at].managed = old->managed;
		slots[at].region = old->region;
		slots[at].marked = old->marked;
	}
	unlock(&token);
	if (!at)
		nhi_count(&nhp.full, 1);
}

/* --------------------------------------------------------------------------------------- owning */

void nhp_unclaim(struct nhp_alloc *a, enum nhp_state state)
{
	uint64_t token;

	lock(&token);
	if (state == NHP_FREE)
		drop_slot((uint32_t)(a - slots));
	else
		set_state(a, state);
	unlock(&token);
	futex_wake(&a->state, INT32_MAX);
}

/* The engine lets go of [start, end) of @a, which is BUSY. */
static void unmanage(struct nhp_alloc *a, uintptr_t start, uintptr_t end)
{
	struct nh_mm *mm;

	start = nhi_max(start, nhp_first(a));
	end = nhi_min(end, nhp_end(a));
	if (!a->managed || start >= end)
		return;
	mm = nhp_mm();
	/* -EBUSY: a page could not be put back for now; it must be before the program goes on. */
	while (mm && nh_unmanage(mm, (void *)start, end - start) == -EBUSY)
		(void)sched_yield();
}

bool nhp_forget(const void *addr, struct nhp_alloc *old)
{
	struct nhp_alloc *a;
	uint64_t token;
	uint32_t at;

	if (!maybe_noted((uintptr_t)addr) || nhp_getpid() != nhp.pid)
		return false;
	for (;;) {
		lock(&token);
		at = find((uintptr_t)addr);
		a = &slots[at];
		if (!at || a->state != NHP_BUSY)
			break;
		unlock(&token);
		futex_wait(&a->state, NHP_BUSY);
	}
	if (at)
		set_state(a, NHP_BUSY);
	unlock(&token);
	if (!at)
		return false;
	nhp_strip_after(a);
	unmanage(a, 0, UINTPTR_MAX);
	*old = *a;
	nhp_unclaim(a, NHP_FREE);
	return true;
}

struct nhp_alloc *nhp_claim_next(uint32_t *at, bool (*want)(const struct nhp_alloc *, void *),
				 void *arg)
{
	struct nhp_alloc *a = NULL;
	uint64_t token;

	if (!slots)
		return NULL;
	lock(&token);
	while (!a && ++*at <= used) {
		struct nhp_alloc *b = &slots[*at];

		if (b->state != NHP_FREE && b->state != NHP_BUSY && want(b, arg))
			a = b;
	}
	if (a)
		set_state(a, NHP_BUSY);
	unlock(&token);
	return a;
}

/* --------------------------------------------------------------------------------------- ranges */

struct span {
	uintptr_t start, end;
};

/* The next allocation behind *at that overlaps @s, made BUSY; waits for others that work on it. */
static struct nhp_alloc *claim_overlap(uint32_t *at, const struct span *s)
{
	for (;;) {
		struct nhp_alloc *a = NULL;
		uint64_t token;
		bool busy;

		lock(&token);
		while (!a && ++*at <= used) {
			struct nhp_alloc *b = &slots[*at];

			if (b->state != NHP_FREE && b->addr < s->end && b->addr + b->len > s->start)
				a = b;
		}
		busy = a && a->state == NHP_BUSY;
		if (a && !busy)
			set_state(a, NHP_BUSY);
		unlock(&token);
		if (!busy)
			return a;
		futex_wait(&a->state, NHP_BUSY);
		--*at;
	}
}

static bool far(uintptr_t start, uintptr_t end)
{
	return !slots || start >= end || !nhp_near(start, end) || nhp_getpid() != nhp.pid;
}

void nhp_forget_range(uintptr_t start, uintptr_t end)
{
	struct span s = { start, end };
	struct nhp_alloc *a;
	uint32_t at = 0;

	if (far(start, end))
		return;
	while ((a = claim_overlap(&at, &s))) {
		uintptr_t a_start = a->addr, a_end = a->addr + a->len;
		struct nhp_alloc old;

		nhp_strip_after(a);
		unmanage(a, start, end);
		if (a_start < start) {
			/* The part in front stays; a part behind a hole is let alone. */
			if (a_end > end)
				unmanage(a, end, a_end);
			a->len = start - a_start;
			nhp_unclaim(a, (enum nhp_state)a->before);
			continue;
		}
		old = *a;
		nhp_unclaim(a, NHP_FREE);
		if (a_end <= end)
			continue;
		/* What stays is noted anew, and managed still. */
		note_rest(end, a_end - end, &old);
		at = 0; /* it may have got a slot that was passed; it does not overlap any more */
	}
}

void nhp_unmanage_range(uintptr_t start, uintptr_t end)
{
	struct span s = { start, end };
	struct nhp_alloc *a;
	uint32_t at = 0;

	if (far(start, end))
		return;
	while ((a = claim_overlap(&at, &s))) {
		unmanage(a, start, end);
		nhp_unclaim(a, (enum nhp_state)a->before);
	}
}

void nhp_unmark_range(uintptr_t start, uintptr_t end)
{
	struct span s = { nhi_round_down(start, NHP_PAGE), nhi_round_up(end, NHP_PAGE) };
	struct nhp_alloc *a;
	uint32_t at = 0;

	if (!nhi_load_relaxed(&nhp.marks) || far(start, end))
		return;
	while ((a = claim_overlap(&at, &s))) {
		uintptr_t from = nhi_max(s.start, nhp_first(a)), to = nhi_min(s.end, nhp_end(a));
		struct nh_mm *mm = a->managed && from < to ? nhp_mm() : NULL;

		while (mm && nh_unmark(mm, (void *)from, to - from) == -EBUSY)
			(void)sched_yield();
		nhp_unclaim(a, (enum nhp_state)a->before);
	}
}

/* ----------------------------------------------------------------------------------------- fork */

static uint64_t fork_token;

/* Without waiting for BUSY allocations: the engine's locks may be held already, see region.c. */
void nhp_table_fork_prepare(void)
{
	lock(&fork_token);
}

void nhp_table_fork_parent(void)
{
	unlock(&fork_token);
}

void nhp_table_fork_child(void)
{
	/* Whoever worked on something did not come along; the engine finished or never began. */
	for (uint32_t at = 1; slots && at <= used; at++) {
		slots[at].strip = -1; /* the parent's */
		if (slots[at].state != NHP_BUSY)
			continue;
		slots[at].managed = true;
		set_state(&slots[at], NHP_DONE);
	}
	lock_word = 0;
	restore_signals(&fork_token);
}
