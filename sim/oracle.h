/* SPDX-License-Identifier: MIT */
/*
 * An oracle for random operations: the state of every page before an operation, the state after it,
 * and in oracle.c, in plain lines, what may have changed between them and what must have.
 */
#ifndef SIM_ORACLE_H
#define SIM_ORACLE_H

#include "machine.h"
#include "mm.h"

#define ORA_PAGES 64

enum ora_kind {
	ORA_READ,
	ORA_WRITE,
	ORA_MARK,
	ORA_BIND, /* mbind with LAZY */
	ORA_NOOP, /* mbind(NOOP | LAZY) */
	ORA_MOVE, /* mbind with MOVE */
	ORA_UNMARK,
	ORA_UNMANAGE,
	ORA_MMAP,
	ORA_HUGE,
	ORA_MUNMAP,
	ORA_DONTNEED,
	ORA_MREMAP,
	ORA_FORK,     /* with pthread_atfork, as fork() does it */
	ORA_RAW_FORK, /* without: the engine has the event only */
	ORA_EXIT,
	ORA_CHILD_WRITE,
	ORA_PIN,
	ORA_UNPIN,
	ORA_HOG,
	ORA_FAIL, /* operations of the machine fail at random from now on, or no more */
	ORA_KINDS
};

struct ora_op {
	enum ora_kind kind;
	uint32_t page, nr, to; /* pages */
	int task;
	uint64_t value; /* to write; for mbind: mode, and nodes << 8 */
};

struct ora_page {
	bool mapped, shared, present, marked, pinned, huge, managed;
	bool certain;	   /* set by the rules: @value is known */
	unsigned int prot; /* of the machine */
	int node;
	uint32_t maps;
	uint64_t value; /* contents; 0 for a hole */
	nhi_word word;	/* the engine's entry */
	bool as_one;	/* which is that of a huge page */
	bool has_policy;
	struct nhi_policy policy;
};

struct ora_state {
	struct ora_page page[ORA_PAGES];
	uint32_t free[SIM_MAX_NODES];
	bool failing;
};

void ora_look(struct ora_state *s, struct nhi_mm *mm, struct sim *m);
/*
 * @ret: what the operation returned; @got: what a read saw. Return: NULL, or what is wrong.
 */
const char *ora_judge(const struct ora_state *before, const struct ora_op *op, long ret,
		      uint64_t got, const struct ora_state *after, const struct nhi_os *os);

#endif
