/* SPDX-License-Identifier: MIT */
/*
 * The frame around a measurement: cases, lanes, repetitions, statistics, output.
 *
 * A *case* is one question ("what does a hinting fault cost?"). A *lane* is one way to do the
 * work: ours, a floor (bare code that makes the same system calls and nothing else), or a peer
 * (what people use today). A *row* is a case with its parameters fixed: pages per fault, other
 * threads running, threads touching. All lanes of a row are measured in turn, repetition by
 * repetition, so that a noisy minute hurts all of them alike; what is compared is the median.
 */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define BENCH_LANES_MAX	  8
#define BENCH_BATCHES_MAX 4
#define BENCH_REPS_MAX	  101

/** struct bench_ctx - the parameters of one measurement, and what a lane tells beside the time */
struct bench_ctx {
	size_t size;	       /* bytes worked on: a multiple of the huge page size */
	unsigned int batch;    /* base pages resolved by one fault, or by one call */
	unsigned int others;   /* threads that run meanwhile on memory of their own */
	unsigned int touchers; /* threads that do the work, each on an equal part */
	bool thp;	       /* memory in transparent huge pages, or none of them */
	const char *program;   /* child to run, for the cases that run one */
	const char *preload;   /* library to load into it, NULL for none */
	double ret_huge;       /* out: share of the memory in huge pages afterwards; < 0: unset */
	double ret_metadata;   /* out: bytes of metadata per base page; < 0: unset */
};

/**
 * bench_fn - do the work of a lane once
 *
 * Set-up and tear-down are the lane's own and are not in the time. It checks that every page still
 * holds what was written to it.
 *
 * Return: nanoseconds for all of ctx->size; -EOPNOTSUPP where the kernel or the build lacks it;
 *	-EILSEQ where data was damaged; another negative errno value.
 */
typedef int64_t (*bench_fn)(struct bench_ctx *ctx);

enum bench_role {
	BENCH_OURS,
	BENCH_FLOOR,
	BENCH_PEER,
};

/** enum bench_unit - how a time is shown, and so which direction is better */
enum bench_unit {
	BENCH_NS_PAGE, /* nanoseconds per base page: less is better */
	BENCH_US_HUGE, /* microseconds per 2 MiB: less is better */
	BENCH_GBPS,    /* 10^9 bytes of payload per second: more is better */
};

/**
 * struct bench_lane - one way to do the work of a case
 * @target: what ours divided by this lane should be: at most this for times, at least this for
 *	throughputs; 0 where nothing is promised. Shown, never enforced.
 */
struct bench_lane {
	const char *label;
	enum bench_role role;
	bench_fn fn;
	double target;
};

#define BENCH_F_OTHERS	(1u << 0) /* also with one and two other threads running */
#define BENCH_F_SCALING (1u << 1) /* also with two threads touching */
#define BENCH_F_THP	(1u << 2) /* memory in transparent huge pages */

struct bench_case {
	const char *name;
	const char *what; /* one line for --list and above the rows */
	enum bench_unit unit;
	unsigned int flags;			  /* BENCH_F_* */
	size_t size;				  /* bytes, unless --size says otherwise */
	unsigned int batches[BENCH_BATCHES_MAX];  /* up to the first 0; none: one row with 512 */
	struct bench_lane lanes[BENCH_LANES_MAX]; /* up to the first without a label */
};

/** struct bench_options - from the command line */
struct bench_options {
	const char *cases[64]; /* names or prefixes ("fault-"); none: all */
	size_t nr_cases;
	size_t size;	   /* 0: each case's own */
	const char *lane;  /* only lanes whose label contains this; NULL: all */
	unsigned int reps; /* repetitions of each lane */
	int others;	   /* only rows with this many others; -1: all */
	bool quick;	   /* an eighth of the size, three repetitions */
	const char *json;  /* file, "-" for stdout, NULL for none */
	const char *program;
	const char *preload;
};

/** struct bench_stat - a lane's values in a row; all in the unit of the case */
struct bench_stat {
	int error; /* 0, or the first negative errno value; then the rest is not valid */
	unsigned int n;
	double median;
	double min;
	double max;
	double spread;	 /* half the distance of the quartiles, as a share of the median */
	double huge;	 /* lowest share of huge pages afterwards; < 0: not told */
	double metadata; /* bytes per base page; < 0: not told */
};

/** struct bench_row - one line of the report */
struct bench_row {
	const struct bench_case *bc;
	struct bench_ctx ctx;
	struct bench_stat stat[BENCH_LANES_MAX];
};

/* cases.c: the table, and its length */
extern const struct bench_case bench_cases[];
extern const size_t bench_nr_cases;

/* harness.c */

/** bench_page, bench_huge - bytes of a base page and of a transparent huge page */
extern size_t bench_page;
extern size_t bench_huge;

/** bench_init - read the page sizes; call first */
void bench_init(void);

/** bench_now_ns - CLOCK_MONOTONIC */
int64_t bench_now_ns(void);

/**
 * bench_run - measure all rows that the options ask for
 *
 * Return: number of rows in *@ret_rows, which the caller frees; -ENOMEM, -ENOENT (no such case).
 */
int bench_run(const struct bench_options *opt, struct bench_row **ret_rows);

/** bench_nr_lanes - lanes of a case */
unsigned int bench_nr_lanes(const struct bench_case *bc);

/** bench_ours - the lane of ours in a case that worked in this row, or NULL */
const struct bench_stat *bench_ours(const struct bench_row *row);

/* load.c: threads */

/**
 * bench_part_fn - one toucher's part of the work
 * @arg:   as given to bench_touchers()
 * @index: number of the toucher
 * @start: its part of the memory begins here, bytes from the start
 * @end:   and ends before here
 *
 * Return: 0 or a negative errno value.
 */
typedef int (*bench_part_fn)(void *arg, unsigned int index, size_t start, size_t end);

/**
 * bench_touchers - let ctx->touchers threads work on equal parts and take the time
 *
 * Return: nanoseconds from the start of the first to the end of the last; a negative errno value.
 */
int64_t bench_touchers(const struct bench_ctx *ctx, bench_part_fn fn, void *arg);

/** bench_pin - bind the calling thread; touchers have the slots from 0 on, others the next */
void bench_pin(unsigned int slot);

struct bench_others;

/**
 * bench_others_start - start threads that do nothing but run, each walking memory of its own
 *
 * They make every change of a page table pay for a TLB shootdown, as the other threads of a real
 * program do.
 *
 * Return: 0; -ENOMEM, -EAGAIN.
 */
int bench_others_start(unsigned int nr, unsigned int touchers, struct bench_others **ret_others);
void bench_others_stop(struct bench_others *others);

/* report.c */

/** bench_progress - a line on stderr that replaces itself on a terminal; NULL clears it */
void bench_progress(const char *text);

/** bench_value - nanoseconds for ctx->size bytes in the unit of a case */
double bench_value(enum bench_unit unit, size_t size, int64_t ns);

void bench_report_head(FILE *out);
void bench_report_row(FILE *out, const struct bench_row *row);
void bench_report_scaling(FILE *out, const struct bench_row *rows, size_t nr);
int bench_report_json(const char *path, const struct bench_row *rows, size_t nr);

#endif
