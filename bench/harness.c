// SPDX-License-Identifier: MIT
/* Runs the rows: every lane in turn, repetition by repetition, and what the figures amount to. */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#define OTHERS_VARIANTS 3 /* 0, 1, 2 other threads */

size_t bench_page;
size_t bench_huge;

void bench_init(void)
{
	FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "re");

	bench_page = (size_t)sysconf(_SC_PAGESIZE);
	bench_huge = (size_t)2 << 20;
	if (!f)
		return;
	if (fscanf(f, "%zu", &bench_huge) != 1)
		bench_huge = (size_t)2 << 20;
	(void)fclose(f);
}

int64_t bench_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

unsigned int bench_nr_lanes(const struct bench_case *bc)
{
	unsigned int n = 0;

	while (n < BENCH_LANES_MAX && bc->lanes[n].label)
		n++;
	return n;
}

const struct bench_stat *bench_ours(const struct bench_row *row)
{
	for (unsigned int i = 0; i < bench_nr_lanes(row->bc); i++)
		if (row->bc->lanes[i].role == BENCH_OURS && row->stat[i].error == 0)
			return &row->stat[i];
	return NULL;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

static double quantile(const double *sorted, unsigned int n, double q)
{
	double at = q * (n - 1);
	unsigned int i = (unsigned int)at;

	if (i + 1 >= n)
		return sorted[n - 1];
	return sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]);
}

static void summarise(struct bench_stat *st, double *values)
{
	qsort(values, st->n, sizeof(values[0]), compare_doubles);
	st->median = quantile(values, st->n, 0.5);
	st->min = values[0];
	st->max = values[st->n - 1];
	st->spread =
		(quantile(values, st->n, 0.75) - quantile(values, st->n, 0.25)) / 2 / st->median;
}

static void run_once(struct bench_row *row, unsigned int lane, double *values)
{
	struct bench_stat *st = &row->stat[lane];
	struct bench_ctx ctx = row->ctx;
	int64_t ns;

	ctx.ret_huge = -1;
	ctx.ret_metadata = -1;
	ns = row->bc->lanes[lane].fn(&ctx);
	if (ns <= 0) {
		st->error = ns == 0 ? -ERANGE : (int)ns;
		return;
	}
	values[st->n++] = bench_value(row->bc->unit, ctx.size, ns);
	if (ctx.ret_huge >= 0 && (st->huge < 0 || ctx.ret_huge < st->huge))
		st->huge = ctx.ret_huge;
	if (ctx.ret_metadata >= 0)
		st->metadata = ctx.ret_metadata;
}

static bool lane_wanted(const struct bench_row *row, unsigned int i,
			const struct bench_options *opt)
{
	return !opt->lane || strstr(row->bc->lanes[i].label, opt->lane);
}

static int run_row(struct bench_row *row, const struct bench_options *opt, bool warm)
{
	static double values[BENCH_LANES_MAX][BENCH_REPS_MAX];
	unsigned int nr = bench_nr_lanes(row->bc);
	struct bench_others *others;
	char text[160];
	int ret = bench_others_start(row->ctx.others, row->ctx.touchers, &others);

	if (ret < 0)
		return ret;
	for (unsigned int i = 0; i < nr; i++)
		row->stat[i] = (struct bench_stat){
			.error = lane_wanted(row, i, opt) ? 0 : -EOPNOTSUPP,
			.huge = -1,
			.metadata = -1,
		};
	/* One round for nothing: whatever is slow only once should not be in the spread. */
	for (unsigned int i = 0; warm && i < nr; i++) {
		struct bench_ctx ctx = row->ctx;

		if (!row->stat[i].error)
			(void)row->bc->lanes[i].fn(&ctx);
	}
	for (unsigned int rep = 0; rep < opt->reps; rep++) {
		/* Each round begins with another lane: none always follows the same one. */
		for (unsigned int k = 0; k < nr; k++) {
			unsigned int i = (k + rep) % nr;

			if (row->stat[i].error || !lane_wanted(row, i, opt))
				continue;
			(void)snprintf(text, sizeof(text), "%s: %u/%u %s", row->bc->name, rep + 1,
				       opt->reps, row->bc->lanes[i].label);
			bench_progress(text);
			run_once(row, i, values[i]);
		}
	}
	bench_others_stop(others);
	bench_progress(NULL);
	for (unsigned int i = 0; i < nr; i++)
		if (!row->stat[i].error)
			summarise(&row->stat[i], values[i]);
	return 0;
}

static bool wanted(const struct bench_case *bc, const struct bench_options *opt)
{
	for (size_t i = 0; i < opt->nr_cases; i++) {
		size_t len = strlen(opt->cases[i]);

		if (strcmp(bc->name, opt->cases[i]) == 0)
			return true;
		/* "fault-" stands for all that begin so. */
		if (len > 0 && opt->cases[i][len - 1] == '-' &&
		    strncmp(bc->name, opt->cases[i], len) == 0)
			return true;
	}
	return opt->nr_cases == 0;
}

static size_t free_memory(void)
{
	struct sysinfo si;

	return sysinfo(&si) < 0 ? SIZE_MAX : si.freeram * si.mem_unit;
}

static size_t row_size(const struct bench_case *bc, const struct bench_options *opt)
{
	size_t size = opt->size ? opt->size : bc->size;

	if (!opt->size && opt->quick)
		size /= 8;
	/* The range, its copy, and as much again while frames are warmed: leave half of the rest. */
	while (size > free_memory() / 6)
		size /= 2;
	size = size / bench_huge * bench_huge;
	return size < 4 * bench_huge ? 4 * bench_huge : size;
}

/* The variants of a case: (others, touchers). Scaling is measured without others. */
static size_t add_rows(struct bench_row *rows, const struct bench_case *bc,
		       const struct bench_options *opt)
{
	unsigned int nr_others = bc->flags & BENCH_F_OTHERS ? OTHERS_VARIANTS : 1;
	size_t n = 0;

	for (unsigned int b = 0; b < BENCH_BATCHES_MAX && (b == 0 || bc->batches[b]); b++) {
		struct bench_ctx ctx = {
			.size = row_size(bc, opt),
			.batch = bc->batches[b] ? bc->batches[b] :
						  (unsigned int)(bench_huge / bench_page),
			.touchers = 1,
			.thp = bc->flags & BENCH_F_THP,
			.program = opt->program,
			.preload = opt->preload,
		};

		for (unsigned int o = 0; o < nr_others; o++) {
			if (opt->others >= 0 && o != (unsigned int)opt->others)
				continue;
			ctx.others = o;
			rows[n++] = (struct bench_row){ .bc = bc, .ctx = ctx };
		}
		if (bc->flags & BENCH_F_SCALING && opt->others <= 0) {
			ctx.others = 0;
			ctx.touchers = 2;
			rows[n++] = (struct bench_row){ .bc = bc, .ctx = ctx };
		}
	}
	return n;
}

int bench_run(const struct bench_options *opt, struct bench_row **ret_rows)
{
	size_t most = bench_nr_cases * BENCH_BATCHES_MAX * (OTHERS_VARIANTS + 1);
	struct bench_row *rows = calloc(most, sizeof(*rows));
	const struct bench_case *last = NULL;
	size_t nr = 0;
	int ret = 0;

	if (!rows)
		return -ENOMEM;
	for (size_t i = 0; i < bench_nr_cases; i++)
		if (wanted(&bench_cases[i], opt))
			nr += add_rows(rows + nr, &bench_cases[i], opt);
	if (nr == 0)
		ret = -ENOENT;
	if (ret == 0)
		bench_report_head(stdout);
	for (size_t i = 0; ret == 0 && i < nr; i++) {
		if (rows[i].bc != last)
			printf("\n%s: %s\n", rows[i].bc->name, rows[i].bc->what);
		ret = run_row(&rows[i], opt, rows[i].bc != last);
		last = rows[i].bc;
		if (ret == 0)
			bench_report_row(stdout, &rows[i]);
		(void)fflush(stdout);
	}
	if (ret < 0) {
		free(rows);
		return ret;
	}
	bench_report_scaling(stdout, rows, nr);
	*ret_rows = rows;
	return (int)nr;
}
