// SPDX-License-Identifier: MIT
/*
 * nh-oracle: random operations on the engine, each judged by oracle.c.
 *
 *	nh-oracle [--seed N] [--ops M] [--no-shrink]
 *
 * An episode is one machine and some hundred operations, all from one seed; a run is as many
 * episodes as --ops takes, with seeds N, N + 1, ... A failing episode is tried again with ever fewer
 * operations, in child processes so that a crash is a failure like any other, and what is left is
 * printed with the line that runs it again. Exit: 0; 1 a failure was found; 2 usage.
 */
#include "check.h"
#include "oracle.h"
#include "os_sim.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define EPISODE 400 /* operations */
#define TASKS	4

struct episode {
	struct sim_conf conf;
	uint32_t around;
	uint32_t nr;
	struct ora_op op[EPISODE];
};

struct world {
	struct sim *m;
	struct nhi_mm *mm;
	struct sim_task t[TASKS], in_child;
	struct sim_space *child;
	struct sim_folio *pin;
	bool failing;
	uint64_t seed;
};

static const char *const kind_name[ORA_KINDS] = {
	"read",	    "write", "mark",	    "bind",   "noop",	  "move",   "unmark",
	"unmanage", "mmap",  "huge",	    "munmap", "dontneed", "mremap", "fork",
	"raw-fork", "exit",  "child-write", "pin",    "unpin",	  "hog",    "fail",
};

/* ------------------------------------------------------------------------- from the seed */

/* How often each kind comes; a run leaves some out, so that others meet more often. */
static const uint8_t often[ORA_KINDS] = {
	[ORA_READ] = 20,       [ORA_WRITE] = 20, [ORA_MARK] = 16,    [ORA_BIND] = 10,
	[ORA_NOOP] = 3,	       [ORA_MOVE] = 5,	 [ORA_UNMARK] = 4,   [ORA_UNMANAGE] = 2,
	[ORA_MMAP] = 8,	       [ORA_HUGE] = 8,	 [ORA_MUNMAP] = 3,   [ORA_DONTNEED] = 6,
	[ORA_MREMAP] = 4,      [ORA_FORK] = 2,	 [ORA_RAW_FORK] = 2, [ORA_EXIT] = 3,
	[ORA_CHILD_WRITE] = 3, [ORA_PIN] = 3,	 [ORA_UNPIN] = 3,    [ORA_HOG] = 2,
	[ORA_FAIL] = 2,
};

static const uint8_t modes[] = { 0, 1, 2, 3, 4, 5 };

static void draw_op(struct ora_op *op, uint64_t *seed, uint32_t without, uint64_t nr)
{
	uint32_t sum = 0, pick;
	int k = 0;

	for (int i = 0; i < ORA_KINDS; i++)
		sum += without >> i & 1 ? 0 : often[i];
	pick = (uint32_t)(sim_random(seed) % sum);
	for (;; k++) {
		uint32_t w = without >> k & 1 ? 0 : often[k];

		if (pick < w)
			break;
		pick -= w;
	}
	op->kind = (enum ora_kind)k;
	op->page = (uint32_t)(sim_random(seed) % ORA_PAGES);
	op->nr = 1 + (uint32_t)(sim_random(seed) % (sim_random(seed) % 3 ? 8 : ORA_PAGES));
	if (op->kind <= ORA_WRITE)
		op->nr = 1;
	op->nr = nhi_min(op->nr, ORA_PAGES - op->page);
	op->to = (uint32_t)(sim_random(seed) % (ORA_PAGES - op->nr + 1));
	op->task = (int)(sim_random(seed) % TASKS);
	op->value = nr << 16 | (sim_random(seed) % 15 + 1) << 8 |
		    modes[sim_random(seed) % sizeof(modes)];
}

static void draw_episode(struct episode *e, uint64_t seed)
{
	static const uint32_t around[] = { 1, 1, 4, 512 }, granule[] = { 1, 1, 4 };
	uint64_t s = seed;
	uint32_t without = (uint32_t)sim_random(&s) & (uint32_t)sim_random(&s) &
			   (uint32_t)sim_random(&s) & ~7u & ~(1u << ORA_MMAP);

	memset(e, 0, sizeof(*e));
	e->conf.trap = sim_random(&s) % 2 ? NHI_TRAP_SHADOW : NHI_TRAP_MPROTECT;
	e->conf.delivery = sim_random(&s) % 2 ? NHI_DELIVERY_MONITOR : NHI_DELIVERY_THREAD;
	e->conf.huge_size = sim_random(&s) % 4 ? 4096 << 2 : 4096 << sim_random(&s) % 5;
	e->conf.nr_nodes = 2 + (int)(sim_random(&s) % 3);
	e->conf.nr_pages = ORA_PAGES;
	e->conf.frames = 4 * ORA_PAGES;
	e->conf.copy = sim_random(&s) % 2;
	e->conf.granule = granule[sim_random(&s) % NHI_ARRAY_SIZE(granule)];
	e->around = around[sim_random(&s) % NHI_ARRAY_SIZE(around)];
	if (sim_random(&s) % 3 == 0)
		without |= 1u << ORA_FAIL;
	for (e->nr = 0; e->nr < EPISODE; e->nr++)
		draw_op(&e->op[e->nr], &s, without, e->nr + 1);
}

/* ---------------------------------------------------------------------------- operations */

static void op_fail(struct world *w, const struct ora_op *op)
{
	static const uint8_t status[] = { NHI_PAGE_BUSY, NHI_PAGE_NOMEM, NHI_PAGE_STUCK };
	static const int err[] = { 0, -EAGAIN, -ENOMEM };
	enum sim_op which = (enum sim_op)(op->value % SIM_OPS);

	w->failing = !w->failing;
	sim_fail_none(w->m);
	if (!w->failing)
		return;
	w->m->plan[which].chance = 300;
	w->m->plan[which].err = err[op->page % 3];
	w->m->plan[which].status = status[op->nr % 3];
	/* A status that says STUCK is for those who may; who may not, is busy. */
	if (w->m->plan[which].status == NHI_PAGE_STUCK && which != SIM_OP_RESTORE &&
	    which != SIM_OP_MIGRATE && which != SIM_OP_RESTORE_HARD)
		w->m->plan[which].status = NHI_PAGE_BUSY;
	/* Restoring knows no other status. */
	if (which == SIM_OP_RESTORE || which == SIM_OP_RESTORE_HARD)
		w->m->plan[which].status = NHI_PAGE_STUCK;
	/* What has no way to fail but by an errno. */
	if (!w->m->plan[which].err && (which == SIM_OP_ZERO_FILL || which == SIM_OP_MARK_BEGIN))
		w->m->plan[which].err = -EAGAIN;
}

/* Room for a copy of every page: a child that gets none is killed, which proves nothing. */
static bool roomy(const struct sim *m)
{
	uint32_t frames = 0;

	for (int n = 0; n < m->conf.nr_nodes; n++)
		frames += sim_free_frames(m, n);
	return frames >= ORA_PAGES;
}

static long op_child(struct world *w, const struct ora_op *op)
{
	struct sim_task *t = &w->t[op->task];
	uint64_t value;

	switch (op->kind) {
	case ORA_FORK:
	case ORA_RAW_FORK:
		if (w->child || !roomy(w->m))
			return -EBUSY;
		w->m->current = t;
		if (op->kind == ORA_FORK) {
			nhi_mm_fork_prepare(w->mm);
			sim_fork_prepare(w->m);
		}
		w->child = sim_fork(t);
		if (op->kind == ORA_FORK)
			nhi_mm_fork_parent(w->mm);
		w->in_child.space = w->child;
		for (uint32_t i = 0; i < ORA_PAGES; i++) {
			uint64_t ours, theirs;

			sim_peek(w->m->space, sim_addr(w->m, i), &ours);
			sim_peek(w->child, sim_addr(w->m, i), &theirs);
			sim_check(w->m, ours == theirs && !w->child->pte[i].protnone);
		}
		return 0;
	case ORA_EXIT:
		if (w->child)
			sim_exit(w->child);
		w->child = NULL;
		return 0;
	default: {
		const struct sim_area *a =
			w->child ? sim_area_find(w->child, sim_addr(w->m, op->page)) : NULL;

		if (!a || a->shared)
			return -EBUSY;
		(void)sim_write(&w->in_child, sim_addr(w->m, op->page), op->value);
		return sim_read(&w->in_child, sim_addr(w->m, op->page), &value);
	}
	}
}

static long op_mmap(struct world *w, const struct ora_op *op, uintptr_t at, size_t len)
{
	struct sim_task *t = &w->t[op->task];
	unsigned int prot = NHI_PROT_READ | (op->value & 0x700 ? NHI_PROT_WRITE : 0);
	bool shared = op->to % 8 == 0;
	long err;

	if (op->to % 16 == 1)
		prot = 0;
	err = sim_mmap(t, at, len, prot, shared ? NHI_KIND_SHMEM : NHI_KIND_ANON, shared);
	for (uint32_t i = op->page; !err && op->to % 2 && i < op->page + op->nr; i++)
		(void)sim_write(t, sim_addr(w->m, i), op->value + i);
	return err;
}

/* Operations of the program on its memory. */
static long op_program(struct world *w, const struct ora_op *op, uint64_t *got)
{
	struct sim_task *t = &w->t[op->task];
	uintptr_t at = sim_addr(w->m, op->page);
	size_t len = (size_t)op->nr << w->m->page_shift;

	switch (op->kind) {
	case ORA_READ:
		return sim_read(t, at, got);
	case ORA_WRITE:
		return sim_write(t, at, op->value);
	case ORA_MMAP:
		return op_mmap(w, op, at, len);
	case ORA_HUGE:
		return sim_populate_huge(t, at, op->value);
	case ORA_MUNMAP:
		return sim_munmap(t, at, len);
	case ORA_DONTNEED:
		for (uint32_t i = 0; i < op->nr; i++) {
			struct sim_area *a =
				sim_area_find(w->m->space, sim_addr(w->m, op->page + i));

			if (!a || a->shared)
				return -EINVAL;
		}
		return sim_dontneed(t, at, len);
	case ORA_MREMAP:
		return sim_mremap(t, at, sim_addr(w->m, op->to), len);
	case ORA_PIN:
		if (w->pin || sim_page_maps(w->m->space, at) != 1)
			return -EBUSY;
		w->pin = sim_pin(t, at);
		return w->pin ? 0 : -EFAULT;
	case ORA_UNPIN:
		if (w->pin)
			sim_unpin(w->m, w->pin);
		w->pin = NULL;
		return 0;
	case ORA_HOG:
		/* Node 0 always has room: who waits for memory here waits for ever. */
		sim_hog(w->m, 1 + op->task % (w->m->conf.nr_nodes - 1),
			op->nr % 2 ? op->nr / 8 : UINT32_MAX);
		return 0;
	default:
		return op_child(w, op);
	}
}

/* Run one operation. Return: what it returned. */
static long run_op(struct world *w, const struct ora_op *op, uint64_t *got)
{
	uintptr_t at = sim_addr(w->m, op->page), end = sim_addr(w->m, op->page + op->nr);
	const int mode = (int)(op->value & 0xff);
	uint64_t nodes[4] = { mode == 0 || mode == 4 ? 0 : (op->value >> 8 & 0xf) };

	w->m->current = &w->t[op->task];
	switch (op->kind) {
	case ORA_MARK:
		return nhi_mark_range(w->mm, at, end);
	case ORA_BIND:
		return nhi_mbind(w->mm, at, end - at, mode, nodes, 8);
	case ORA_NOOP:
		nodes[0] = 0;
		return nhi_mbind(w->mm, at, end - at, 64, nodes, 8);
	case ORA_MOVE:
		return nhi_mbind(w->mm, at, end - at, mode, nodes, 2 | (op->to & 1));
	case ORA_UNMARK:
		return nhi_unmark_range(w->mm, at, end);
	case ORA_UNMANAGE:
		return nhi_unmanage(w->mm, at, end);
	case ORA_FAIL:
		op_fail(w, op);
		return 0;
	default:
		return op_program(w, op, got);
	}
}

/* ----------------------------------------------------------------------------- episodes */

static const char *finish(struct world *w)
{
	const char *bad;

	sim_fail_none(w->m);
	for (int n = 0; n < w->m->conf.nr_nodes; n++)
		sim_hog(w->m, n, UINT32_MAX);
	if (w->child)
		sim_exit(w->child);
	if (w->pin)
		sim_unpin(w->m, w->pin);
	w->m->current = &w->t[0];
	nhi_mm_done(w->mm);
	sim_munmap(&w->t[0], SIM_BASE, (size_t)ORA_PAGES << w->m->page_shift);
	bad = w->m->broken;
	if (!bad && sim_leaks(w->m))
		bad = "frames, maps or tables leaked";
	w->m->os.ops->destroy(&w->m->os);
	return bad;
}

static void begin(struct world *w, const struct episode *e, struct nhi_mm *mm)
{
	memset(w, 0, sizeof(*w));
	w->mm = mm;
	w->m = sim_os_create(&e->conf);
	w->m->seed = 1;
	for (int i = 0; i < TASKS; i++)
		sim_task_init(w->m, &w->t[i], 10 + i, i);
	sim_task_init(w->m, &w->in_child, 20, 1);
	(void)nhi_mm_init(mm, &w->m->os, e->around);
}

/* Return: NULL, or what went wrong at *where. */
static const char *run(const struct episode *e, uint32_t *where, FILE *trace)
{
	static struct nhi_mm mm;
	struct ora_state before, after;
	struct world w;
	const char *bad = NULL;

	begin(&w, e, &mm);
	ora_look(&before, &mm, w.m);
	for (uint32_t i = 0; i < e->nr && !bad; i++) {
		const struct ora_op *op = &e->op[i];
		uint64_t got = 0;
		long ret;

		*where = i;
		if (trace)
			fprintf(trace, "%4u  %-11s page %2u +%-2u to %2u task %d value %#lx", i,
				kind_name[op->kind], op->page, op->nr, op->to, op->task, op->value);
		if (trace)
			fflush(trace);
		ret = run_op(&w, op, &got);
		if (trace)
			fprintf(trace, " = %ld\n", ret);
		ora_look(&after, &mm, w.m);
		before.failing = w.failing;
		bad = ora_judge(&before, op, ret, got, &after, &w.m->os);
		if (!bad)
			bad = sim_check_engine(&mm, w.m);
		before = after;
	}
	if (bad)
		return bad;
	*where = e->nr;
	return finish(&w);
}

/* Does @e fail? In a child of our own, so that it may crash or hang. */
static bool fails(const struct episode *e)
{
	uint32_t where;
	int status;
	pid_t pid = fork();

	if (pid < 0)
		abort();
	if (!pid) {
		alarm(10);
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		_exit(run(e, &where, NULL) ? 1 : 0);
	}
	waitpid(pid, &status, 0);
	return !WIFEXITED(status) || WEXITSTATUS(status);
}

/* Leave out ever smaller stretches for as long as it still fails. */
static void shrink(struct episode *e)
{
	static struct episode less;

	for (uint32_t len = e->nr / 2; len; len = len > 1 ? (len + 1) / 2 : 0) {
		for (uint32_t at = 0; at + len <= e->nr;) {
			less = *e;
			memmove(&less.op[at], &less.op[at + len],
				(e->nr - at - len) * sizeof(less.op[0]));
			less.nr -= len;
			if (fails(&less))
				*e = less;
			else
				at += len;
		}
	}
}

static void report(struct episode *e, uint64_t seed, bool small)
{
	const char *bad;
	uint32_t where;

	if (small)
		shrink(e);
	printf("seed %lu fails; again: nh-oracle --seed %lu --ops 1\n", seed, seed);
	printf("trap %s, delivery %s, %d nodes, %zu pages in a huge page, around %u, granule %u\n",
	       e->conf.trap == NHI_TRAP_SHADOW ? "shadow" : "mprotect",
	       e->conf.delivery == NHI_DELIVERY_MONITOR ? "monitor" : "thread", e->conf.nr_nodes,
	       e->conf.huge_size / 4096, e->around, e->conf.granule);
	fflush(stdout);
	bad = run(e, &where, stdout);
	printf("after operation %u: %s\n", where, bad ? bad : "passed this time");
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "seed", required_argument, NULL, 's' },
						 { "ops", required_argument, NULL, 'o' },
						 { "no-shrink", no_argument, NULL, 'n' },
						 { NULL, 0, NULL, 0 } };
	static struct episode e;
	uint64_t seed = 1, ops = 1000000;
	bool small = true;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (c == 'o')
			ops = strtoull(optarg, NULL, 0);
		else if (c == 'n')
			small = false;
		else
			return 2;
	}
	for (uint64_t done = 0, s = seed; done < ops; done += EPISODE, s++) {
		static struct episode batch;
		const uint64_t at_once = 64;
		pid_t pid = fork();
		int status;

		/* Some episodes in a child; if one fails there, it is looked for one by one. */
		if (!pid) {
			uint32_t where;

			if (!freopen("/dev/null", "w", stderr))
				_exit(2);
			for (uint64_t i = 0; i < at_once && done + i * EPISODE < ops; i++) {
				alarm(10);
				draw_episode(&batch, s + i);
				if (run(&batch, &where, NULL))
					_exit(1);
			}
			_exit(0);
		}
		waitpid(pid, &status, 0);
		for (uint64_t i = 0; status && i < at_once; i++) {
			draw_episode(&e, s + i);
			if (fails(&e)) {
				report(&e, s + i, small);
				return 1;
			}
		}
		done += (at_once - 1) * EPISODE;
		s += at_once - 1;
	}
	printf("%lu operations from seed %lu: no difference\n", ops, seed);
	return 0;
}
