// SPDX-License-Identifier: MIT
/*
 * Who touches: the calling thread, or, for the monitor, the thread that a fault message names.
 *
 * Emulated nodes: a table from thread to node; a thread that is seen for the first time gets the
 * next node in turn, so a program's main thread is on node 0 and its workers are spread.
 */
#include "internal.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* glibc >= 2.35; absent elsewhere, hence weak. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));
/* The start of struct rseq in include/uapi/linux/rseq.h (4.18). */
struct rseq_head {
	uint32_t cpu_id_start;
	uint32_t cpu_id;
};

static __thread int cached_tid __attribute__((tls_model("initial-exec")));

int nhi_self_tid(void)
{
	if (!cached_tid)
		cached_tid = (int)nhi_sys0(SYS_gettid);
	return cached_tid;
}

void nhi_identity_forked(void)
{
	cached_tid = 0;
}

/* --------------------------------------------------------------------------- emulated nodes */

static uint32_t tid_hash(int tid)
{
	return ((uint32_t)tid * 2654435761u) >> 8 & (NHI_TID_SLOTS - 1);
}

/* The slot of @tid, or a free one for it; NULL: the table is full. */
static uint64_t *tid_slot(struct nhi_lx *lx, int tid, uint64_t *ret_old)
{
	uint32_t at = tid_hash(tid);

	for (uint32_t i = 0; i < NHI_TID_SLOTS; i++, at = (at + 1) & (NHI_TID_SLOTS - 1)) {
		/* Relaxed: a slot is one word, and only its thread's tid matters to anyone. */
		uint64_t old = nhi_load_relaxed(&lx->tid_nodes[at]);

		if (!old || (int)(old >> 8) == tid) {
			*ret_old = old;
			return &lx->tid_nodes[at];
		}
	}
	return NULL;
}

static int emulated_node(struct nhi_lx *lx, int tid)
{
	for (;;) {
		uint64_t old, new, *slot = tid_slot(lx, tid, &old);
		uint32_t node;

		if (!slot)
			return tid % lx->os.nr_nodes;
		if (old)
			return (int)(old & 0xff);
		/* Node 0 is the main thread's; the count starts behind it. */
		node = 0;
		if (tid != lx->pid)
			node = nhi_add_relaxed(&lx->next_node, 1) % (uint32_t)lx->os.nr_nodes;
		new = (uint64_t)(uint32_t)tid << 8 | node;
		if (nhi_cas_relaxed(slot, &old, new))
			return (int)node;
	}
}

int nhi_linux_set_node(struct nhi_os *os, int node)
{
	struct nhi_lx *lx = nhi_lx_of(os);
	int tid = nhi_self_tid();

	if (!os->emulated)
		return -EOPNOTSUPP;
	if (node < 0 || node >= os->nr_nodes)
		return -EINVAL;
	for (;;) {
		uint64_t old, *slot = tid_slot(lx, tid, &old);

		if (!slot)
			return -EAGAIN;
		if (nhi_cas_relaxed(slot, &old, (uint64_t)(uint32_t)tid << 8 | (uint32_t)node))
			return 0;
	}
}

/* ------------------------------------------------------------------------------- self, other */

void nhi_lx_self(struct nhi_os *os, struct nhi_toucher *who)
{
	struct nhi_lx *lx = nhi_lx_of(os);

	who->tid = nhi_self_tid();
	who->cpu = sched_getcpu(); /* rseq or the vdso: no system call */
	if (os->emulated)
		who->node = emulated_node(lx, who->tid);
	else if (who->cpu >= 0 && who->cpu < NHI_MAX_CPUS)
		who->node = lx->cpu_node[who->cpu];
	else
		who->node = NHI_NO_NODE;
}

/*
 * Threads that announced themselves, for the monitor: tid -> its rseq area. `readers` keeps a
 * thread that ends from taking the area away while it is being read: the monitor counts itself in
 * and then looks at tid (A), the thread clears tid and then looks at readers (B); both seq_cst, so
 * one of them sees the other.
 */
struct thread {
	uint32_t tid;
	uint32_t readers;
	const uint32_t *cpu;
};
static struct thread threads[NHI_TID_SLOTS];

void nhi_linux_thread_start(void)
{
	uint32_t tid = (uint32_t)nhi_self_tid(), at = tid_hash((int)tid);
	const struct rseq_head *rseq;

	if (!&__rseq_offset || !__rseq_size)
		return;
	rseq = (const void *)((const char *)__builtin_thread_pointer() + __rseq_offset);
	for (uint32_t i = 0; i < NHI_TID_SLOTS; i++, at = (at + 1) & (NHI_TID_SLOTS - 1)) {
		uint32_t old = 0;

		if (nhi_load_relaxed(&threads[at].tid) == tid)
			return;
		/* UINT32_MAX keeps others away until cpu is there. */
		if (!nhi_cas_relaxed(&threads[at].tid, &old, UINT32_MAX))
			continue;
		nhi_store_relaxed(&threads[at].cpu, &rseq->cpu_id);
		nhi_store_release(&threads[at].tid, tid); /* pairs with the load in find_thread() */
		return;
	}
}

/* Probing does not stop at a free slot, for a slot before it may have been freed since. */
static struct thread *find_thread(uint32_t tid)
{
	uint32_t at = tid_hash((int)tid);

	for (uint32_t i = 0; i < 64; i++, at = (at + 1) & (NHI_TID_SLOTS - 1)) {
		if (nhi_load_acquire(&threads[at].tid) == tid)
			return &threads[at];
	}
	return NULL;
}

void nhi_linux_thread_exit(void)
{
	struct thread *t = find_thread((uint32_t)nhi_self_tid());

	if (!t)
		return;
	nhi_store_seq_cst(&t->tid, 0);
	while (nhi_load_seq_cst(&t->readers)) /* (B) */
		(void)nhi_sys0(SYS_sched_yield);
}

static int announced_cpu(int tid)
{
	struct thread *t = find_thread((uint32_t)tid);
	int cpu = -1;

	if (!t)
		return -1;
	(void)nhi_add_seq_cst(&t->readers, 1);
	if (nhi_load_seq_cst(&t->tid) == (uint32_t)tid) /* (A) */
		cpu = (int)nhi_load_relaxed(nhi_load_relaxed(&t->cpu));
	(void)nhi_add_seq_cst(&t->readers, -1u);
	return cpu;
}

/*
 * Field 39 of /proc/self/task/TID/stat: the CPU it last ran on, which for a thread that waits for a
 * fault is where it touched. The name in field 2 may hold anything, so fields are counted behind
 * the last parenthesis. -1: not a thread of this process (KVM faults in from kernel workers).
 */
static int proc_cpu(int tid)
{
	char path[48] = "/proc/self/task/", text[1024], digits[12];
	char *s, *to = path + strlen(path);
	int n = 0;

	while (tid > 0) {
		digits[n++] = (char)('0' + tid % 10);
		tid /= 10;
	}
	while (n)
		*to++ = digits[--n];
	memcpy(to, "/stat", 6);
	if (nhi_read_file(AT_FDCWD, path, text, sizeof(text)) < 0)
		return -1;
	s = strrchr(text, ')');
	for (int field = 2; s && field < 39; field++) {
		s = strchr(s, ' ');
		s = s ? s + 1 : NULL;
	}
	return s ? atoi(s) : -1;
}

void nhi_lx_other(struct nhi_lx *lx, int tid, struct nhi_toucher *who)
{
	who->tid = tid;
	who->cpu = -1;
	who->node = NHI_NO_NODE;
	if (tid <= 0)
		return;
	if (lx->os.emulated) {
		uint64_t old = 0;

		/* Not one of ours: a kernel worker, say (KVM's asynchronous page faults). */
		if ((!tid_slot(lx, tid, &old) || !old) &&
		    nhi_sys3(SYS_tgkill, nhi_sys0(SYS_getpid), tid, 0))
			return;
		who->node = emulated_node(lx, tid);
		return;
	}
	if (lx->os.nr_nodes == 1) {
		who->node = 0;
		return;
	}
	who->cpu = announced_cpu(tid);
	if (who->cpu < 0)
		who->cpu = proc_cpu(tid);
	if (who->cpu >= 0 && who->cpu < NHI_MAX_CPUS)
		who->node = lx->cpu_node[who->cpu];
}
