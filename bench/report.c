// SPDX-License-Identifier: MIT
/* What people read (a table, a line that moves while they wait) and what programs read (JSON). */
#include "harness.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char *const unit_names[] = {
	[BENCH_NS_PAGE] = "ns/page",
	[BENCH_US_HUGE] = "us/2M",
	[BENCH_GBPS] = "GB/s",
};

static const char *const role_names[] = {
	[BENCH_OURS] = "ours",
	[BENCH_FLOOR] = "floor",
	[BENCH_PEER] = "peer",
};

void bench_progress(const char *text)
{
	static int tty = -1;
	static char last[160];

	if (tty < 0)
		tty = isatty(STDERR_FILENO);
	if (tty) {
		(void)fprintf(stderr, "\r\033[K%s", text ? text : "");
		(void)fflush(stderr);
		return;
	}
	/* In a log, one line for each case says enough. */
	if (text && strncmp(text, last, strcspn(text, ":") + 1) != 0) {
		(void)fprintf(stderr, "%.*s ...\n", (int)strcspn(text, ":"), text);
		(void)snprintf(last, sizeof(last), "%s", text);
	}
}

double bench_value(enum bench_unit unit, size_t size, int64_t ns)
{
	switch (unit) {
	case BENCH_NS_PAGE:
		return (double)ns * (double)bench_page / (double)size;
	case BENCH_US_HUGE:
		return (double)ns / 1000 * (double)bench_huge / (double)size;
	case BENCH_GBPS:
		return (double)size / (double)ns;
	}
	return 0;
}

static void read_word(const char *path, char *buf, size_t len)
{
	FILE *f = fopen(path, "re");

	(void)snprintf(buf, len, "unknown");
	if (!f)
		return;
	if (fgets(buf, (int)len, f))
		buf[strcspn(buf, "\n")] = '\0';
	(void)fclose(f);
}

void bench_report_head(FILE *out)
{
	struct utsname u;
	char thp[64], nodes[64];

	uname(&u);
	read_word("/sys/kernel/mm/transparent_hugepage/enabled", thp, sizeof(thp));
	read_word("/sys/devices/system/node/has_memory", nodes, sizeof(nodes));
	fprintf(out, "%s %s, %ld CPUs, nodes with memory %s, THP %s\n", u.sysname, u.release,
		sysconf(_SC_NPROCESSORS_ONLN), nodes, thp);
	fprintf(out, "b: pages per fault or call; o: other threads running; t: threads touching\n"
		     "+-: half the quartile distance; huge: memory in huge pages afterwards\n"
		     "ours/: ours divided by this lane, and what it should be\n");
}

/* Less is better for times, more for throughputs. */
static const char *target_sign(enum bench_unit unit)
{
	return unit == BENCH_GBPS ? ">=" : "<=";
}

static const char *why(int error)
{
	switch (error) {
	case -EOPNOTSUPP:
		return "-";
	case -EILSEQ:
		return "DATA DAMAGED";
	case -ENODATA:
		return "nothing measured";
	case -ENOMEM:
		return "died: ENOMEM";
	default:
		return strerror(-error);
	}
}

static void report_lane(FILE *out, const struct bench_row *row, unsigned int i)
{
	const struct bench_lane *lane = &row->bc->lanes[i];
	const struct bench_stat *st = &row->stat[i];
	const struct bench_stat *ours = bench_ours(row);

	fprintf(out, "    %-5s %-38s", role_names[lane->role], lane->label);
	if (st->error) {
		fprintf(out, " %10s\n", why(st->error));
		return;
	}
	fprintf(out, " %10.*f %-7s +-%4.1f%%", st->median < 100 ? 2 : 0, st->median,
		unit_names[row->bc->unit], 100 * st->spread);
	if (lane->role != BENCH_OURS && ours)
		fprintf(out, "  ours/ %5.2f", ours->median / st->median);
	if (lane->target > 0)
		fprintf(out, "  (%s%.2f)", target_sign(row->bc->unit), lane->target);
	if (st->huge >= 0)
		fprintf(out, "  huge %.0f%%", 100 * st->huge);
	if (st->metadata >= 0)
		fprintf(out, "  metadata %.2f B/page", st->metadata);
	fputc('\n', out);
}

void bench_report_row(FILE *out, const struct bench_row *row)
{
	unsigned int nr = bench_nr_lanes(row->bc);

	fprintf(out, "  b=%-3u o=%u t=%u  %zu MiB\n", row->ctx.batch, row->ctx.others,
		row->ctx.touchers, row->ctx.size >> 20);
	for (unsigned int i = 0; i < nr; i++)
		if (row->bc->lanes[i].fn)
			report_lane(out, row, i);
}

/* How much faster two threads are than one, in a lane; 0 where it is not known. */
static double gain(const struct bench_row *one, const struct bench_row *two, unsigned int lane)
{
	const struct bench_stat *a = &one->stat[lane];
	const struct bench_stat *b = &two->stat[lane];

	if (a->error || b->error)
		return 0;
	return one->bc->unit == BENCH_GBPS ? b->median / a->median : a->median / b->median;
}

static const struct bench_row *with_one_toucher(const struct bench_row *rows, size_t nr,
						const struct bench_row *two)
{
	for (size_t i = 0; i < nr; i++)
		if (rows[i].bc == two->bc && rows[i].ctx.batch == two->ctx.batch &&
		    rows[i].ctx.others == 0 && rows[i].ctx.touchers == 1)
			return &rows[i];
	return NULL;
}

void bench_report_scaling(FILE *out, const struct bench_row *rows, size_t nr)
{
	bool head = false;

	for (size_t r = 0; r < nr; r++) {
		const struct bench_row *one = with_one_toucher(rows, nr, &rows[r]);
		double ours = 0;

		if (rows[r].ctx.touchers < 2 || !one)
			continue;
		if (!head)
			fprintf(out, "\nscaling: two threads against one; ours should gain >=0.90 "
				     "of what the floor gains\n");
		head = true;
		fprintf(out, "  %s b=%u\n", rows[r].bc->name, rows[r].ctx.batch);
		for (unsigned int i = 0; i < bench_nr_lanes(rows[r].bc); i++) {
			const struct bench_lane *lane = &rows[r].bc->lanes[i];
			double g = gain(one, &rows[r], i);

			if (g <= 0)
				continue;
			if (lane->role == BENCH_OURS)
				ours = g;
			fprintf(out, "    %-5s %-38s %10.2f x", role_names[lane->role], lane->label,
				g);
			if (ours > 0 && lane->role == BENCH_FLOOR)
				fprintf(out, "  ours/ %5.2f  (>=0.90)", ours / g);
			fputc('\n', out);
		}
	}
}

static void json_lane(FILE *f, const struct bench_row *row, unsigned int i)
{
	const struct bench_lane *lane = &row->bc->lanes[i];
	const struct bench_stat *st = &row->stat[i];
	const struct bench_stat *ours = bench_ours(row);

	fprintf(f, "{\"lane\":\"%s\",\"role\":\"%s\"", lane->label, role_names[lane->role]);
	if (st->error) {
		fprintf(f, ",\"error\":\"%s\"}",
			st->error == -EOPNOTSUPP ? "unsupported" : why(st->error));
		return;
	}
	fprintf(f, ",\"n\":%u,\"median\":%.4f,\"min\":%.4f,\"max\":%.4f,\"spread\":%.4f", st->n,
		st->median, st->min, st->max, st->spread);
	if (ours && lane->role != BENCH_OURS)
		fprintf(f, ",\"ours_ratio\":%.4f", ours->median / st->median);
	if (lane->target > 0)
		fprintf(f, ",\"target\":%.2f,\"target_is\":\"%s\"", lane->target,
			row->bc->unit == BENCH_GBPS ? "at least" : "at most");
	if (st->huge >= 0)
		fprintf(f, ",\"huge_share\":%.4f", st->huge);
	if (st->metadata >= 0)
		fprintf(f, ",\"metadata_bytes_per_page\":%.3f", st->metadata);
	fputc('}', f);
}

int bench_report_json(const char *path, const struct bench_row *rows, size_t nr)
{
	bool to_stdout = strcmp(path, "-") == 0;
	FILE *f = to_stdout ? stdout : fopen(path, "we");
	struct utsname u;
	int ret = 0;

	if (!f)
		return -errno;
	uname(&u);
	fprintf(f,
		"{\"schema\":\"numahint-bench/1\",\"kernel\":\"%s\",\"cpus\":%ld,\"page\":%zu,"
		"\"huge\":%zu,\"rows\":[",
		u.release, sysconf(_SC_NPROCESSORS_ONLN), bench_page, bench_huge);
	for (size_t r = 0; r < nr; r++) {
		const struct bench_row *row = &rows[r];
		bool comma = false;

		fprintf(f,
			"%s\n{\"case\":\"%s\",\"unit\":\"%s\",\"bytes\":%zu,\"batch\":%u,"
			"\"others\":%u,\"touchers\":%u,\"lanes\":[",
			r ? "," : "", row->bc->name, unit_names[row->bc->unit], row->ctx.size,
			row->ctx.batch, row->ctx.others, row->ctx.touchers);
		for (unsigned int i = 0; i < bench_nr_lanes(row->bc); i++) {
			if (comma)
				fputc(',', f);
			comma = true;
			json_lane(f, row, i);
		}
		fprintf(f, "]}");
	}
	fprintf(f, "\n]}\n");
	if (ferror(f))
		ret = -EIO;
	if (!to_stdout && fclose(f) != 0)
		ret = -errno;
	return ret;
}
