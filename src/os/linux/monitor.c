// SPDX-License-Identifier: MIT
/*
 * The monitor: the one thread that reads a userfaultfd. It tells the engine what the program does to
 * its memory, and, in monitor delivery, of the faults.
 *
 * The race that must not happen: a resolver puts a page back after the program's MADV_DONTNEED has
 * returned. The program is held in its call until the event has been *read*, and the kernel refuses
 * COPY, MOVE and CONTINUE until then; so event_begin() (which waits until no resolver is inside)
 * comes before read(), always, for what is readable may be an event.
 *
 * Never wait without reading: a marker that holds the page may itself be held in mremap() until we
 * read its event. So whatever the sink cannot do at once stays in a queue and is tried again after
 * another, non-blocking, read.
 *
 * Our own calls: mremap() of a marker and the like raise events too. They are sorted out while
 * reading, by the table of calls under way: nhi_own_call().
 */
#include "internal.h"

#include <poll.h>
#include <string.h>
#include <sys/mman.h>

#define BATCH	    32	    /* messages per read(): 1 KiB */
#define QUEUE_BYTES 0x40000 /* of address space; used as needed */

enum { GO_ON, STOP, HEARD }; /* nhi_monitor.stop */

/* ------------------------------------------------------------------------------ own calls */

static __thread bool am_monitor __attribute__((tls_model("initial-exec")));
/* Between event_begin and event_end, with watch_lock held. */
static __thread bool in_event __attribute__((tls_model("initial-exec")));

bool nhi_monitor_in_event(void)
{
	return in_event;
}

static struct nhi_own *own_begin(struct nhi_lx *lx, const struct nhi_own *what)
{
	for (;;) {
		for (unsigned int i = 0; i < NHI_OWN_CALLS; i++) {
			struct nhi_own *own = &lx->monitor.own[i];
			uint32_t old = 0;

			if (!nhi_cas_acquire(&own->state, &old, 1))
				continue;
			own->kind = what->kind;
			own->start = what->start;
			own->to = what->to;
			own->len = what->len;
			nhi_store_release(&own->state, 2); /* pairs with is_own() */
			return own;
		}
		(void)nhi_sys0(SYS_sched_yield);
	}
}

static void own_end(struct nhi_lx *lx, struct nhi_own *own)
{
	/*
	 * The event was read before the call returned. If the reader is still sorting, the entry
	 * must stay until it is through. Pairs with the two additions in drain().
	 */
	uint32_t seq = nhi_load_acquire(&lx->monitor.seq);

	while (seq & 1 && nhi_load_acquire(&lx->monitor.seq) == seq)
		(void)nhi_sys0(SYS_sched_yield);
	nhi_store_release(&own->state, 0);
}

static bool is_own(struct nhi_lx *lx, const struct uffd_msg *msg)
{
	for (unsigned int i = 0; i < NHI_OWN_CALLS; i++) {
		struct nhi_own *own = &lx->monitor.own[i];

		if (nhi_load_acquire(&own->state) != 2)
			continue;
		if (own->kind == NHI_OWN_REMAP && msg->event == UFFD_EVENT_REMAP &&
		    msg->arg.remap.from == own->start && msg->arg.remap.to == own->to)
			return true;
		if (own->kind == NHI_OWN_UNMAP && msg->event == UFFD_EVENT_UNMAP &&
		    msg->arg.remove.start == own->start &&
		    msg->arg.remove.end == own->start + own->len)
			return true;
		/* One event per VMA of the range. */
		if (own->kind == NHI_OWN_REMOVE && msg->event == UFFD_EVENT_REMOVE &&
		    msg->arg.remove.start >= own->start &&
		    msg->arg.remove.end <= own->start + own->len)
			return true;
	}
	return false;
}

/* -------------------------------------------------------------------------------- reading */

static bool queue_room(const struct nhi_queue *q)
{
	return q->nr + BATCH <= q->max;
}

static void queue_add(struct nhi_queue *q, const struct uffd_msg *msg)
{
	q->msg[q->nr++] = *msg;
}

/*
 * Read what is there, without waiting, and sort it. Caller is between event_begin and event_end.
 * A full queue stops it: the rest stays in the kernel, where its threads wait anyway.
 */
static void drain(struct nhi_lx *lx)
{
	struct nhi_monitor *m = &lx->monitor;
	struct uffd_msg batch[BATCH];
	size_t n;

	do {
		long bytes;

		n = 0;
		if (!queue_room(&m->events) || !queue_room(&m->faults))
			return;
		(void)nhi_add_acq_rel(&m->seq, 1); /* pairs with own_end() */
		bytes = nhi_sys3(SYS_read, lx->events.fd, batch, sizeof(batch));
		if (bytes > 0)
			n = (size_t)bytes / sizeof(batch[0]);
		for (size_t i = 0; i < n; i++) {
			if (batch[i].event == UFFD_EVENT_PAGEFAULT)
				queue_add(&m->faults, &batch[i]);
			else if (!is_own(lx, &batch[i]))
				queue_add(&m->events, &batch[i]);
		}
		(void)nhi_add_acq_rel(&m->seq, 1);
	} while (n == BATCH);
}

static void events_begin(struct nhi_lx *lx, const struct nhi_os_sink *sink)
{
	sink->event_begin(lx->mm);
	nhi_futex_lock(&lx->watch_lock);
	in_event = true;
}

static void events_end(struct nhi_lx *lx, const struct nhi_os_sink *sink)
{
	in_event = false;
	nhi_futex_unlock(&lx->watch_lock);
	sink->event_end(lx->mm);
}

/*
 * What the monitor does while the helper makes a call for it. An event that was read cannot be dealt
 * with now, for it may need the pages that the call is about; so no fault is resolved until it has
 * been: see do_faults().
 */
static void read_meanwhile(struct nhi_lx *lx)
{
	const struct nhi_os_sink *sink =
		nhi_load_relaxed(&lx->sink); /* set before our first call */
	const bool nested = in_event;

	(void)nhi_sys0(SYS_sched_yield);
	if (!nested)
		events_begin(lx, sink);
	drain(lx);
	if (!nested && !lx->monitor.events.nr)
		events_end(lx, sink);
}

long nhi_own_call(struct nhi_lx *lx, const struct nhi_own *what, long nr, const long arg[5])
{
	struct nhi_own *own = own_begin(lx, what);
	long ret;

	if (am_monitor)
		ret = nhi_helper_call(lx, nr, arg, read_meanwhile);
	else
		ret = nhi_syscall(nr, arg[0], arg[1], arg[2], arg[3], arg[4], 0);
	own_end(lx, own);
	return ret;
}

/* --------------------------------------------------------------------------------- events */

struct fork_copy {
	struct nhi_lx *lx;
	int fd;
};

/* The child shares nothing but what fork() copied: it gets the marked pages from our shadow. */
static int fork_copy_out(void *arg, struct nhi_map *pub, uintptr_t addr, uint32_t nr)
{
	struct fork_copy *fc = arg;
	struct nhi_lx_map *map = nhi_lx_map(pub);
	uint32_t done = 0;

	if (pub->trap != NHI_TRAP_SHADOW)
		return 0;
	while (done < nr) {
		struct uffdio_copy copy = { .dst = addr + nhi_bytes(fc->lx, done),
					    .src = nhi_kept(map, addr) + nhi_bytes(fc->lx, done),
					    .len = nhi_bytes(fc->lx, nr - done) };
		long ret = nhi_sys3(SYS_ioctl, fc->fd, UFFDIO_COPY, &copy);

		if (copy.copy > 0)
			done += (uint32_t)((uint64_t)copy.copy >> fc->lx->page_shift);
		else if (ret == -EAGAIN || ret == -EINTR)
			(void)nhi_sys0(SYS_sched_yield);
		else if (ret)
			done++; /* there already, or the child is gone */
		if (!ret)
			break;
	}
	return 0;
}

static int event_forked(struct nhi_lx *lx, const struct nhi_os_sink *sink, int fd)
{
	struct fork_copy fc = { .lx = lx, .fd = fd };
	int err = sink->forked(lx->mm, fork_copy_out, &fc);

	/* Closing it ends the watching of the child and wakes what waits there. */
	if (err != -EAGAIN)
		nhi_close(fd);
	return err;
}

/* Does private memory of ours in [start, end) have a page, in memory or in swap? */
static bool any_page(struct nhi_lx *lx, uintptr_t start, uintptr_t end)
{
	bool any = false;

	nhi_futex_lock(&lx->maps_lock);
	for (struct nhi_lx_map *map = lx->maps; map && !any; map = map->next) {
		uintptr_t from = nhi_max(start, map->pub.start), to = nhi_min(end, map->pub.end);

		if (map->pub.trap == NHI_TRAP_SHADOW && from < to)
			any = nhi_pagemap_any(lx, lx->monitor.pagemap_fd, from, to);
	}
	nhi_futex_unlock(&lx->maps_lock);
	return any;
}

#define ZAP_WAITS 64

/*
 * MADV_DONTNEED: the program's thread may go on as soon as its event is read, and then drops the
 * pages. If a marker got to them first they would be safe in the shadow, and come back at the next
 * touch though the call has returned. So the pages go before the event ends.
 *
 * What is there now was there before the event was read: since then no fault is resolved, and the
 * range stays watched (watch_lock), so no page can have come. Mostly the thread drops them while we
 * look; one that is not scheduled, or MADV_FREE, which leaves them to be dropped later, is not waited
 * for. What a marker holds meanwhile is in LOCKED entries, for which discarded() comes again.
 */
static void finish_removal(struct nhi_lx *lx, uintptr_t start, uintptr_t end)
{
	const struct nhi_own own = { .kind = NHI_OWN_REMOVE, .start = start, .len = end - start };
	const long arg[5] = { (long)start, (long)(end - start), MADV_DONTNEED };

	for (int i = 0; i < ZAP_WAITS; i++) {
		if (!any_page(lx, start, end))
			return;
		(void)nhi_sys0(SYS_sched_yield);
	}
	(void)nhi_own_call(lx, &own, SYS_madvise, arg);
}

static int event_removed(struct nhi_lx *lx, const struct nhi_os_sink *sink, uintptr_t start,
			 uintptr_t end)
{
	int err;

	finish_removal(lx, start, end);
	err = sink->discarded(lx->mm, start, end);
	/* A marker that failed puts back what it had taken: once more. */
	return err || !any_page(lx, start, end) ? err : sink->discarded(lx->mm, start, end);
}

static int event(struct nhi_lx *lx, const struct nhi_os_sink *sink, const struct uffd_msg *msg)
{
	switch (msg->event) {
	case UFFD_EVENT_REMOVE:
		return event_removed(lx, sink, msg->arg.remove.start, msg->arg.remove.end);
	case UFFD_EVENT_UNMAP:
		nhi_watch_forget(lx, msg->arg.remove.start, msg->arg.remove.end);
		return sink->unmapped(lx->mm, msg->arg.remove.start, msg->arg.remove.end);
	case UFFD_EVENT_REMAP:
		return sink->remapped(lx->mm, msg->arg.remap.from, msg->arg.remap.to,
				      msg->arg.remap.len);
	case UFFD_EVENT_FORK:
		return event_forked(lx, sink, (int)msg->arg.fork.ufd);
	default:
		return 0;
	}
}

/* All events, in order; reads on while the first cannot be done. */
static void do_events(struct nhi_lx *lx, const struct nhi_os_sink *sink)
{
	struct nhi_queue *q = &lx->monitor.events;

	while (q->nr) {
		if (event(lx, sink, &q->msg[0]) == -EAGAIN) {
			(void)nhi_sys0(SYS_sched_yield);
			drain(lx);
			continue;
		}
		q->nr--;
		memmove(q->msg, q->msg + 1, q->nr * sizeof(q->msg[0]));
	}
}

/* --------------------------------------------------------------------------------- faults */

/* Return: false: try again later. */
static bool do_fault(struct nhi_lx *lx, const struct nhi_os_sink *sink, const struct uffd_msg *msg)
{
	uintptr_t addr =
		nhi_round_down((uintptr_t)msg->arg.pagefault.address, (uintptr_t)lx->os.page_size);
	bool write = msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE;
	struct nhi_toucher who;
	int ret;

	nhi_lx_other(lx, (int)msg->arg.pagefault.feat.ptid, &who);
	ret = sink->fault(lx->mm, addr, write, &who, NHI_DELIVERY_MONITOR);
	if (ret == -EAGAIN)
		return false;
	if (ret)
		(void)nhi_unwatch_stray(lx, addr);
	/*
	 * The call that made the page accessible woke its waiters, but the page may have been made
	 * accessible in another way (mremap, somebody else's call before this one waited).
	 */
	nhi_uffd_wake(lx, addr, lx->os.page_size);
	return true;
}

/* Each once; those that cannot be done now stay, in order. */
static void do_faults(struct nhi_lx *lx, const struct nhi_os_sink *sink)
{
	struct nhi_queue *q = &lx->monitor.faults;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < q->nr; i++) {
		if (!do_fault(lx, sink, &q->msg[i]))
			q->msg[kept++] = q->msg[i];
		if (in_event) { /* read_meanwhile() */
			do_events(lx, sink);
			events_end(lx, sink);
		}
	}
	q->nr = kept;
}

/* ----------------------------------------------------------------------------------- life */

static void *monitor_main(void *arg)
{
	struct nhi_lx *lx = arg;
	struct nhi_monitor *m = &lx->monitor;
	struct pollfd pfd = { .fd = lx->events.fd, .events = POLLIN };

	am_monitor = true;
	nhi_thread_begin(lx, &m->state, "nh-monitor");
	m->pagemap_fd = nhi_pagemap_open(); /* in this thread's own descriptor table */
	while (nhi_load_acquire(&m->stop) == GO_ON) {
		/* Retry queued faults soon; else sleep until something comes. */
		struct timespec soon = { 0, 20000 };
		const struct nhi_os_sink *sink;
		long n = nhi_sys5(SYS_ppoll, &pfd, 1, m->faults.nr ? &soon : NULL, NULL, 8);

		if (n < 0 && n != -EINTR)
			break;
		sink = nhi_load_acquire(&lx->sink); /* pairs with bind() */
		if (!sink) {
			drain(lx); /* nothing is managed: only the bell can ring */
			m->events.nr = 0;
			continue;
		}
		if (n > 0) {
			events_begin(lx, sink);
			drain(lx);
			do_events(lx, sink);
			events_end(lx, sink);
		}
		do_faults(lx, sink);
	}
	/* Somebody waits in nhi_monitor_stop() for the bell to be heard, perhaps since just now. */
	while (nhi_load_acquire(&m->stop) == STOP) {
		drain(lx);
		m->events.nr = m->faults.nr = 0;
		(void)nhi_sys0(SYS_sched_yield);
	}
	return NULL;
}

static int queue_make(struct nhi_queue *q)
{
	if (!q->msg)
		q->msg = nhi_pages_alloc(QUEUE_BYTES, "numahint queue");
	q->nr = 0;
	q->max = QUEUE_BYTES / sizeof(q->msg[0]);
	return q->msg ? 0 : -ENOMEM;
}

/* Caller holds maps_lock. */
int nhi_monitor_start(struct nhi_lx *lx)
{
	struct nhi_monitor *m = &lx->monitor;
	int err;

	if (nhi_load_relaxed(&m->state) != NHI_THREAD_NONE)
		return 0;
	if (queue_make(&m->events) || queue_make(&m->faults))
		return -ENOMEM;
	if (!m->bell)
		m->bell = (uintptr_t)nhi_pages_alloc(lx->os.page_size, "numahint bell");
	if (!m->bell)
		return -ENOMEM;
	/* Not into a child: it would make fork() raise an event. */
	(void)nhi_sys3(SYS_madvise, m->bell, lx->os.page_size, MADV_DONTFORK);
	err = nhi_uffd_register(lx, &lx->events, m->bell, lx->os.page_size,
				UFFDIO_REGISTER_MODE_MISSING);
	if (err)
		return err;
	nhi_store_relaxed(&m->stop, GO_ON);
	return nhi_thread_create(lx, &m->thread, &m->state, monitor_main);
}

/* Caller holds maps_lock; nothing is marked or managed. */
void nhi_monitor_stop(struct nhi_lx *lx)
{
	struct nhi_monitor *m = &lx->monitor;

	if (nhi_load_relaxed(&m->state) == NHI_THREAD_NONE)
		return;
	nhi_store_release(&m->stop, STOP); /* pairs with the loads in monitor_main() */
	(void)nhi_sys3(SYS_madvise, m->bell, lx->os.page_size, MADV_DONTNEED);
	nhi_store_release(&m->stop, HEARD);
	pthread_join(m->thread, NULL);
	nhi_store_relaxed(&m->state, NHI_THREAD_NONE);
	/* Nobody reads any more: to unmap a page that is still registered would wait for ever. */
	(void)nhi_uffd_unregister(lx, &lx->events, m->bell, lx->os.page_size);
	nhi_pages_free((void *)m->bell, lx->os.page_size);
	nhi_pages_free(m->events.msg, QUEUE_BYTES);
	nhi_pages_free(m->faults.msg, QUEUE_BYTES);
	m->bell = 0;
	m->events.msg = m->faults.msg = NULL;
}
