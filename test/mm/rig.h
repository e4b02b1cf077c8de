/* SPDX-License-Identifier: MIT */
/*
 * An engine on a simulated machine with four tasks, task i on node i % nodes; and short names for
 * what most tests do. Pages are counted from the start of the window. Every check prints the place
 * that called it.
 */
#ifndef TEST_MM_RIG_H
#define TEST_MM_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "check.h"
#include "mm.h"
#include "os_sim.h"

#define RIG_TASKS 4
#define RW	  (NHI_PROT_READ | NHI_PROT_WRITE)

/* The numbers of mbind(2). */
enum { DEFAULT, PREFERRED, BIND, INTERLEAVE, LOCAL, PREFERRED_MANY, WEIGHTED, NOOP = 64 };
enum { STRICT = 1, MOVE = 2, MOVE_ALL = 4, LAZY = 8 };
#define BALANCING (1 << 13)
#define RELATIVE  (1 << 14)
#define STATIC	  (1 << 15)

struct rig {
	struct sim *m;
	struct nhi_mm *mm;
	struct sim_task t[RIG_TASKS];
};

struct rig *rig_make(const struct sim_conf *conf, uint32_t around_max);
/* Checks the invariants, ends the engine, looks for leaks. */
void rig_free(struct rig *r);

static inline uintptr_t at(const struct rig *r, uint32_t page)
{
	return sim_addr(r->m, page);
}

static inline size_t pages(const struct rig *r, uint32_t n)
{
	return (size_t)n << r->m->page_shift;
}

/* Map private anonymous memory, RW; populate its pages from task @task with 100 + page. */
void rig_map(struct rig *r, uint32_t first, uint32_t n);
void rig_fill(struct rig *r, int task, uint32_t first, uint32_t n);
int rig_manage(struct rig *r, uint32_t first, uint32_t n);
/* rig_map, rig_fill by task 0, manage. */
void rig_ready(struct rig *r, uint32_t first, uint32_t n);
long rig_mark(struct rig *r, uint32_t first, uint32_t n);
/* mbind to the nodes of a 64-bit mask. */
long rig_mbind(struct rig *r, uint32_t first, uint32_t n, int mode, uint64_t nodes,
	       unsigned int flags);
uint32_t rig_marked(struct rig *r, uint32_t first, uint32_t n);
int rig_node(struct rig *r, uint32_t page);
uint64_t rig_count(struct rig *r, enum nhi_counter c);

/* A read by a task that must succeed; its value. */
#define rig_get(r, task, page) rig_get_at(r, task, page, __FILE__, __LINE__)
uint64_t rig_get_at(struct rig *r, int task, uint32_t page, const char *file, int line);
#define rig_put(r, task, page, value) rig_put_at(r, task, page, value, __FILE__, __LINE__)
void rig_put_at(struct rig *r, int task, uint32_t page, uint64_t value, const char *file, int line);

/* The invariants of sim/check.h. */
#define rig_check(r) rig_check_at(r, __FILE__, __LINE__)
void rig_check_at(struct rig *r, const char *file, int line);
/* Pages hold 100 + page, by looking. */
#define rig_intact(r, first, n) rig_intact_at(r, first, n, __FILE__, __LINE__)
void rig_intact_at(struct rig *r, uint32_t first, uint32_t n, const char *file, int line);

#endif
