// SPDX-License-Identifier: MIT
/*
 * Occasions: when memory is marked, and when what nobody touched is restored.
 *
 * A parallel region begins: what the program allocated and filled since the last one is marked, once
 * per allocation. It ends: what this region marked and nobody touched is restored, so that outside
 * of regions nothing is marked and the kernel's own accesses (read(2) into a buffer, say) never meet
 * a marked page that nobody can resolve for them.
 *
 * Two rules keep "once" from being wasted:
 *   Memory without a single page when a region begins, and with pages when it ends, was filled by
 *   the parallel threads themselves. Each page is where its first toucher is; it needs no marks.
 *   A region that touched next to nothing of an allocation (many programs begin with one that only
 *   counts threads) was not its occasion; it gets a few more.
 */
#include "api.h"
#include "preload.h"
#include "sys.h"

#include <sched.h>
#include <string.h>

#define SAMPLES	   8 /* pages that tell whether an allocation was filled */
#define MAX_TRIES  8
#define LONG_TRIES 250
#define FEW	   64 /* touching less than one page in so many is not an occasion */

static uint32_t next_id; /* of regions that mark; relaxed: only its being different matters */

/* ------------------------------------------------------------------------------------ the engine */

static struct nh_mm *the_mm;		    /* released once made; never unmade */
static __thread bool inside NHP_STATIC_TLS; /* the engine was called by us, not by the program */

struct nh_mm *nhp_mm_if_made(void)
{
	return nhi_load_acquire(&the_mm); /* pairs with the release in nhp_mm() */
}

static void options_of(const struct nhp_conf *c, struct nh_mm_options *o)
{
	static const char *const traps[] = { "auto", "mprotect", "shadow", "minor" };
	static const char *const deliveries[] = { "auto", "thread", "monitor" };
	static const char *const copies[] = { "auto", "never", "always" };

	*o = (struct nh_mm_options){ .size = sizeof(*o), .fault_around_max = c->around };
	for (unsigned int i = 0; i < NHI_ARRAY_SIZE(traps); i++)
		o->trap = strcmp(c->trap, traps[i]) ? o->trap : (enum nh_trap)i;
	for (unsigned int i = 0; i < NHI_ARRAY_SIZE(deliveries); i++)
		o->delivery = strcmp(c->delivery, deliveries[i]) ? o->delivery :
								   (enum nh_delivery)i;
	for (unsigned int i = 0; i < NHI_ARRAY_SIZE(copies); i++)
		o->copy = strcmp(c->copy, copies[i]) ? o->copy : (enum nh_copy)i;
	o->nodes = *c->nodes ? c->nodes : NULL;
}

/*
 * The program gives a range to the engine itself (its calls of libnumahint come to us, see
 * preload.map): then it is no more ours.
 */
static void claimed(uintptr_t start, uintptr_t end)
{
	if (inside)
		return;
	nhi_count(&nhp.claimed, 1);
	nhp_forget_range(start, end);
}

void nhp_engine_init(void)
{
	nhi_api_claim = claimed;
}

/*
 * Several threads may come here at once: the library makes one. A fork() meanwhile waits in the
 * library's handler (registered at start, see init.c), so a child has all of it or nothing.
 */
struct nh_mm *nhp_mm(void)
{
	struct nh_mm *mm = nhi_load_acquire(&the_mm); /* pairs with the release below */
	struct nh_mm_options o;
	int err;

	if (mm) {
		nhp_report_base(mm);
		return mm;
	}
	if (nhi_load_relaxed(&nhp.off))
		return NULL;
	nhp_signals_front();
	options_of(&nhp.conf, &o);
	err = nhi_default_mm(&o, &mm);
	if (err) {
		if (!nhi_xchg_acq_rel(&nhp.off, 1)) {
			nhp.refused_err = err;
			nhp_say("running unmanaged: %s", nh_strerror(err));
		}
		return NULL;
	}
	nhi_store_release(&the_mm, mm);
	return mm;
}

void nhp_unmark_all(void)
{
	struct nh_mm *mm = nhi_load_acquire(&the_mm);

	if (!mm || !nhi_load_relaxed(&nhp.marks) || nhp_getpid() != nhp.pid)
		return;
	while (nh_unmark(mm, NULL, 0) == -EBUSY)
		(void)sched_yield();
}

/* ----------------------------------------------------------------------------------- marking one */

/* How many of a few pages of the allocation, the first and the last among them, are there? */
static unsigned int sample_pages(const struct nhp_alloc *a)
{
	uintptr_t start = nhp_first(a);
	size_t pages = (nhp_end(a) - start) / NHP_PAGE;
	unsigned int found = 0;

	for (size_t i = 0; i < SAMPLES; i++) {
		uintptr_t at = start + (pages - 1) * i / (SAMPLES - 1) * NHP_PAGE;
		unsigned char resident = 0;

		/* For anonymous memory: is there a page. Costs 0.2 us and disturbs nothing. */
		if (!nhi_sys3(SYS_mincore, at, NHP_PAGE, &resident) && resident & 1)
			found++;
	}
	return found;
}

static bool has_pages(const struct nhp_alloc *a)
{
	return sample_pages(a) > 0;
}

/*
 * With --when start nothing tells that the program has finished filling: the last page does, or
 * that it takes long.
 */
static bool is_unfinished(const struct nhp_alloc *a)
{
	return nhp.conf.when == NHP_WHEN_START && a->tries < LONG_TRIES &&
	       sample_pages(a) < SAMPLES;
}

static enum nhp_state refuse(struct nhp_alloc *a, int err)
{
	nhi_count(&nhp.refused, 1);
	nhp.refused_err = err;
	a->region = 0;
	return NHP_DONE;
}

/* The empty one is looked at less and less often, for programs with thousands of regions. */
static enum nhp_state wait_for_pages(struct nhp_alloc *a, struct nhp_region *r)
{
	a->empty = nhp.conf.when == NHP_WHEN_PARALLEL;
	a->region = r->id;
	if (++a->tries > 16 && a->empty)
		a->look_at = nhi_count_read(&nhp.regions) + nhi_min(a->tries, 1024u);
	r->empties++;
	return NHP_FRESH;
}

enum nhp_state nhp_mark_one(struct nhp_alloc *a, struct nhp_region *r)
{
	uintptr_t start = nhp_first(a), end = nhp_end(a);
	struct nh_mm *mm;
	long n;
	int err;

	a->empty = false;
	a->marked = 0;
	if (start >= end)
		return NHP_DONE;
	if (!has_pages(a) || is_unfinished(a))
		return wait_for_pages(a, r);
	if (nhp.conf.dry_run) {
		nhi_count(&nhp.dry_bytes, end - start);
		nhi_count(&nhp.ranges, 1);
		return NHP_DONE;
	}
	mm = nhp_mm();
	if (!mm)
		return NHP_DONE;
	if (!a->managed) {
		inside = true;
		err = nh_manage(mm, (void *)start, end - start, 0);
		inside = false;
		if (err && err != -EEXIST)
			return refuse(a, err);
		a->managed = true;
		a->tries = 0;
		nhi_count(&nhp.managed, end - start);
		nhi_count(&nhp.ranges, 1);
	}
	/* A system call is at work on it; it stays for the next occasion. */
	if (nhp_held(start, end)) {
		a->region = r->id;
		return NHP_FRESH;
	}
	nhp_strip_before(a);
	inside = true;
	n = nh_next_touch(mm, (void *)start, end - start);
	inside = false;
	if (n < 0)
		return refuse(a, (int)n);
	a->marked = (uint64_t)n;
	a->region = r->id;
	r->marked += n > 0;
	return NHP_DONE;
}

static bool is_due(const struct nhp_alloc *a, void *arg)
{
	const struct nhp_region *r = arg;

	if (a->region == r->id)
		return false;
	if (r->again && !nhp.conf.dry_run)
		return true;
	return a->state == NHP_FRESH && a->look_at <= nhi_count_read(&nhp.regions);
}

static void mark_all(struct nhp_region *r)
{
	struct nhp_alloc *a;
	uint32_t at = 0;

	do {
		r->id = nhi_add_relaxed(&next_id, 1);
	} while (!r->id);
	nhp_marks_begin();
	while ((a = nhp_claim_next(&at, is_due, r)))
		nhp_unclaim(a, nhp_mark_one(a, r));
}

/* -------------------------------------------------------------------------------- begin and end */

static void begin(struct nhp_region *r)
{
	mark_all(r);
	if (!r->marked)
		nhi_count(&nhp.marks, -1u);
	if (!r->marked && !r->empties)
		r->id = 0;
}

void nhp_occasion(struct nhp_region *r, bool again)
{
	*r = (struct nhp_region){ .again = again };
	if (nhp.ready && nhp_getpid() == nhp.pid)
		begin(r);
}

void nhp_region_begin_slow(struct nhp_region *r, unsigned int threads, const struct nhp_omp *omp)
{
	*r = (struct nhp_region){ 0 };
	if (!nhp.ready || nhp.conf.when != NHP_WHEN_PARALLEL || nhi_load_relaxed(&nhp.off) ||
	    nhp_getpid() != nhp.pid)
		return;
	/* A team of one moves nothing; a nested team is mostly one, and works for an outer one. */
	if (threads == 1 || (!threads && omp->max_threads && omp->max_threads() == 1) ||
	    (omp->in_parallel && omp->in_parallel()))
		return;
	begin(r);
}

static bool is_of_region(const struct nhp_alloc *a, void *arg)
{
	const struct nhp_region *r = arg;

	return a->region == r->id && (a->empty || a->marked);
}

/* What becomes of an allocation, BUSY, when the region that looked at it ends. */
static enum nhp_state end_one(struct nhp_alloc *a)
{
	uintptr_t start = nhp_first(a), end = nhp_end(a);
	struct nh_mm *mm = nhp_mm();
	long restored = 0;

	a->region = 0;
	if (a->empty) {
		a->empty = false;
		if (!has_pages(a))
			return NHP_FRESH;
		nhi_count(&nhp.in_place, 1);
		return NHP_DONE;
	}
	if (!nhp.conf.keep_marks && a->managed && mm) {
		while ((restored = nh_unmark(mm, (void *)start, end - start)) == -EBUSY)
			(void)sched_yield();
		nhp_strip_after(a);
	}
	if (restored > 0 && (uint64_t)restored > a->marked - a->marked / FEW &&
	    ++a->tries < MAX_TRIES)
		return NHP_FRESH;
	return NHP_DONE;
}

void nhp_region_end_slow(struct nhp_region *r)
{
	struct nhp_alloc *a;
	uint32_t at = 0;

	/* The region forked a child, and this is the child's end of it: nothing is marked there. */
	while ((a = nhp_claim_next(&at, is_of_region, r)))
		nhp_unclaim(a, end_one(a));
	if (r->marked && !nhp.conf.keep_marks)
		nhi_count(&nhp.marks, -1u);
	r->id = 0;
}
