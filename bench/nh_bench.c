// SPDX-License-Identifier: MIT
/* nh-bench: what numahint costs, beside what it cannot cost less than, in the same run. */
#include "harness.h"

#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
	"usage: nh-bench [OPTION...]\n"
	"  --list           name the cases and end\n"
	"  --case NAME      only this case; NAME- means all that begin so; may be repeated\n"
	"  --lane TEXT      only the lanes whose label contains TEXT\n"
	"  --size SIZE      memory worked on, with K, M or G (default: each case's own)\n"
	"  --reps N         repetitions of each lane (default 5, at most 101)\n"
	"  --others N       only with N other threads running: 0, 1 or 2\n"
	"  --quick          an eighth of the size, three repetitions\n"
	"  --json[=FILE]    also write the figures as JSON; \"-\" (the default) is stdout\n"
	"  --triad FILE     program for the case idle\n"
	"  --preload FILE   library for the case idle\n"
	"Runs every case by default. Exit status: 0, or 1 if something could not be run at all;\n"
	"never because something was slow.\n";

static int parse_size(const char *text, size_t *ret_size)
{
	char *end;
	unsigned long long n;
	unsigned int shift = 0;

	errno = 0;
	n = strtoull(text, &end, 10);
	switch (*end) {
	case 'k':
	case 'K':
		shift = 10;
		break;
	case 'm':
	case 'M':
		shift = 20;
		break;
	case 'g':
	case 'G':
		shift = 30;
		break;
	default:
		break;
	}
	if (end == text || errno || (*end && !shift) || (*end && end[1]) || n == 0 ||
	    n > (SIZE_MAX >> shift) || text[0] == '-')
		return -EINVAL;
	*ret_size = (size_t)n << shift;
	return 0;
}

static int parse_number(const char *text, unsigned int most, unsigned int *ret)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (end == text || *end || n > most)
		return -EINVAL;
	*ret = (unsigned int)n;
	return 0;
}

static void list(void)
{
	for (size_t i = 0; i < bench_nr_cases; i++)
		printf("%-24s %s\n", bench_cases[i].name, bench_cases[i].what);
}

/* In a build tree the example and the library lie at fixed places beside this program. */
static void find_defaults(struct bench_options *opt)
{
	static char program[PATH_MAX + 64], preload[PATH_MAX + 64];
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *dir;

	if (n < 0)
		return;
	self[n] = '\0';
	dir = dirname(self);
	(void)snprintf(program, sizeof(program), "%s/../examples/triad", dir);
	(void)snprintf(preload, sizeof(preload), "%s/../preload/libnumahint-preload.so", dir);
	if (!opt->program)
		opt->program = program;
	if (!opt->preload)
		opt->preload = preload;
}

enum option_id {
	OPT_LIST = 1,
	OPT_CASE,
	OPT_LANE,
	OPT_SIZE,
	OPT_REPS,
	OPT_OTHERS,
	OPT_QUICK,
	OPT_JSON,
	OPT_TRIAD,
	OPT_PRELOAD,
	OPT_HELP
};

static const struct option long_options[] = {
	{ "list", no_argument, NULL, OPT_LIST },
	{ "case", required_argument, NULL, OPT_CASE },
	{ "lane", required_argument, NULL, OPT_LANE },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "reps", required_argument, NULL, OPT_REPS },
	{ "others", required_argument, NULL, OPT_OTHERS },
	{ "quick", no_argument, NULL, OPT_QUICK },
	{ "json", optional_argument, NULL, OPT_JSON },
	{ "triad", required_argument, NULL, OPT_TRIAD },
	{ "preload", required_argument, NULL, OPT_PRELOAD },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

/* Return: 0 go on; 1 done; a negative errno value for a wrong value. */
static int take_option(int id, struct bench_options *opt)
{
	unsigned int n = 0;
	int ret = 0;

	switch (id) {
	case OPT_LIST:
		list();
		return 1;
	case OPT_HELP:
		fputs(usage, stdout);
		return 1;
	case OPT_CASE:
		if (opt->nr_cases == sizeof(opt->cases) / sizeof(opt->cases[0]))
			return -E2BIG;
		opt->cases[opt->nr_cases++] = optarg;
		return 0;
	case OPT_LANE:
		opt->lane = optarg;
		return 0;
	case OPT_SIZE:
		return parse_size(optarg, &opt->size);
	case OPT_REPS:
		ret = parse_number(optarg, BENCH_REPS_MAX, &n);
		opt->reps = n;
		return n == 0 ? -EINVAL : ret;
	case OPT_OTHERS:
		ret = parse_number(optarg, 2, &n);
		opt->others = (int)n;
		return ret;
	case OPT_QUICK:
		opt->quick = true;
		return 0;
	case OPT_JSON:
		opt->json = optarg ? optarg : "-";
		return 0;
	case OPT_TRIAD:
		opt->program = optarg;
		return 0;
	case OPT_PRELOAD:
		opt->preload = optarg;
		return 0;
	default:
		return -ENOENT;
	}
}

int main(int argc, char **argv)
{
	struct bench_options opt = { .others = -1 };
	struct bench_row *rows = NULL;
	int id, nr, ret;

	while ((id = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		ret = take_option(id == 'h' ? OPT_HELP : id, &opt);
		if (ret > 0)
			return 0;
		if (ret == -ENOENT) {
			fputs(usage, stderr);
			return 2;
		}
		if (ret < 0) {
			fprintf(stderr, "nh-bench: '%s' is not a value for this option\n", optarg);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "nh-bench: unexpected argument '%s'\n", argv[optind]);
		return 2;
	}
	if (opt.reps == 0)
		opt.reps = opt.quick ? 3 : 5;
	bench_init();
	find_defaults(&opt);
	nr = bench_run(&opt, &rows);
	if (nr == -ENOENT)
		fprintf(stderr, "nh-bench: no such case; --list names them\n");
	else if (nr < 0)
		fprintf(stderr, "nh-bench: %s\n", strerror(-nr));
	if (nr < 0)
		return nr == -ENOENT ? 2 : 1;
	ret = opt.json ? bench_report_json(opt.json, rows, (size_t)nr) : 0;
	free(rows);
	if (ret < 0) {
		fprintf(stderr, "nh-bench: %s: %s\n", opt.json, strerror(-ret));
		return 1;
	}
	return 0;
}
