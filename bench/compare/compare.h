/* SPDX-License-Identifier: MIT */
/*
 * One program, one data set, and every way to bring the pages to the threads that use them.
 *
 *	scenarios.c  who touches what, in which order
 *	methods.c    what brings the pages there, ours among them
 *	watch.c      where the pages are while it runs, by move_pages(2), and what it cost
 */
#ifndef NH_COMPARE_H
#define NH_COMPARE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CMP_THREADS 16
#define CMP_SAMPLES 512	 /* pages whose place is looked at */
#define CMP_CURVE   1024 /* looks */

struct cmp_scenario {
	const char *name;
	const char *what;
	bool right;	     /* everyone fills what it will use */
	bool shared;	     /* all threads use all pages, reading */
	bool random;	     /* in an order without order */
	unsigned int part;   /* one page in this many is used, the first ones of each block */
	unsigned int phases; /* the owner of a block changes so often */
	unsigned int
		hog; /* percent of what would have to move that fits on the other nodes; 0: all */
};

struct cmp_run;
struct cmp_method {
	const char *name;
	const char *what;
	/* Why it cannot run here, or NULL. */
	const char *(*missing)(struct cmp_run *run);
	/* At the start of each phase, while the threads work already. */
	int (*begin)(struct cmp_run *run);
	void (*end)(struct cmp_run *run);
	bool shared_memory; /* wants MAP_SHARED */
};

struct cmp_thread {
	struct cmp_run *run;
	pthread_t thread;
	int index;
	int node;
	uint64_t rounds;
	int64_t longest_ns; /* between two pages, or from the start to the first */
};

struct cmp_look {
	int64_t at_ns; /* since the start of the phase */
	unsigned int phase;
	double local; /* share of the pages looked at that are where their user is */
};

struct cmp_run {
	const struct cmp_scenario *scenario;
	const struct cmp_method *method;
	char *mem;
	size_t page, pages; /* bytes, number */
	int nr_threads;
	int64_t duration_ns; /* of a phase */
	struct cmp_thread thread[CMP_THREADS];

	pthread_barrier_t barrier;
	unsigned int phase; /* atomic */
	bool stop;	    /* atomic: the phase is over */
	int64_t start_ns;   /* of the phase */
	int error;	    /* of a begin() */
	int64_t begin_ns;   /* what begin() took, the longest */

	struct cmp_look curve[CMP_CURVE];
	unsigned int nr_looks;
	char *hog;
	size_t hog_bytes;
	void *mm; /* ours: struct nh_mm */
};

int64_t cmp_now_ns(void);
/* The block of pages that thread @index uses in the current phase: [*first, *first + *nr). */
void cmp_block(const struct cmp_run *run, int index, size_t *first, size_t *nr);
/* The thread that uses page @i now; -1: nobody. */
int cmp_user(const struct cmp_run *run, size_t i);
void cmp_go_to_node(int node);

extern const struct cmp_scenario cmp_scenarios[];
extern const struct cmp_method cmp_methods[];

/* scenarios.c */
void cmp_fill(struct cmp_run *run);
void cmp_work(struct cmp_thread *t);
/* watch.c */
void cmp_look(struct cmp_run *run);
uint64_t cmp_vmstat(const char *name);
/* Pages whose user is elsewhere than they are: what there is to move. */
size_t cmp_misplaced(struct cmp_run *run);
void cmp_hog(struct cmp_run *run);

#endif
