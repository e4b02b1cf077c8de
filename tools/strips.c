// SPDX-License-Identifier: MIT
/* numahint strips: for each range of a report, one strip per node, before and after. */
#include "tools.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CELLS	   64
#define MAX_RANGES 256
#define MAX_NODES  62 /* the report has a letter or digit for each; see numahint-run(1) */

struct range {
	char addr[32], kind[16], before[CELLS + 1], after[CELLS + 1];
	unsigned long long len;
};

struct report {
	char program[64], nodes[16], emulated[8], trap[16], delivery[16];
	char before[16], after[16];
	unsigned long long marked, faults, migrated, restored;
	struct range range[MAX_RANGES];
	int nr;
};

/* -------------------------------------------------------------------------------------- reading */

static void read_range(struct nht_json *j, struct report *rep)
{
	struct range extra, *r = rep->nr < MAX_RANGES ? &rep->range[rep->nr++] : &extra;
	char key[32], number[32];

	memset(r, 0, sizeof(*r));
	(void)nht_json_open(j, '{');
	while (nht_json_next(j, key, sizeof(key))) {
		if (!strcmp(key, "addr")) {
			(void)nht_json_text(j, r->addr, sizeof(r->addr));
		} else if (!strcmp(key, "kind")) {
			(void)nht_json_text(j, r->kind, sizeof(r->kind));
		} else if (!strcmp(key, "before")) {
			(void)nht_json_text(j, r->before, sizeof(r->before));
		} else if (!strcmp(key, "after")) {
			(void)nht_json_text(j, r->after, sizeof(r->after));
		} else if (!strcmp(key, "len")) {
			(void)nht_json_text(j, number, sizeof(number));
			r->len = strtoull(number, NULL, 10);
		} else {
			nht_json_skip(j);
		}
	}
}

static bool read_report(struct nht_json *j, struct report *rep)
{
	const struct {
		const char *key;
		char *text;
		size_t len;
		unsigned long long *number;
	} wanted[] = {
		{ "program", rep->program, sizeof(rep->program), NULL },
		{ "nodes", rep->nodes, sizeof(rep->nodes), NULL },
		{ "emulated", rep->emulated, sizeof(rep->emulated), NULL },
		{ "trap", rep->trap, sizeof(rep->trap), NULL },
		{ "delivery", rep->delivery, sizeof(rep->delivery), NULL },
		{ "local_before", rep->before, sizeof(rep->before), NULL },
		{ "local_after", rep->after, sizeof(rep->after), NULL },
		{ "marked_pages", NULL, 0, &rep->marked },
		{ "hinting_faults", NULL, 0, &rep->faults },
		{ "migrated_pages", NULL, 0, &rep->migrated },
		{ "restored_pages", NULL, 0, &rep->restored },
	};
	char key[64], text[64];

	(void)nht_json_open(j, '{');
	while (nht_json_next(j, key, sizeof(key))) {
		size_t i = 0, n = sizeof(wanted) / sizeof(wanted[0]);

		while (i < n && strcmp(key, wanted[i].key) != 0)
			i++;
		if (i < n && wanted[i].text) {
			(void)nht_json_text(j, wanted[i].text, wanted[i].len);
		} else if (i < n) {
			(void)nht_json_text(j, text, sizeof(text));
			*wanted[i].number = strtoull(text, NULL, 10);
		} else if (!strcmp(key, "ranges")) {
			(void)nht_json_open(j, '[');
			while (nht_json_next(j, NULL, 0))
				read_range(j, rep);
		} else {
			nht_json_skip(j);
		}
	}
	return !j->bad;
}

static char *read_file(const char *path, size_t *len)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "re") : stdin;
	char *text = NULL;
	size_t room = 0, n;

	*len = 0;
	if (!f)
		return NULL;
	do {
		char *more = realloc(text, room += 65536);

		if (!more)
			break;
		text = more;
		n = fread(text + *len, 1, room - *len, f);
		*len += n;
	} while (n);
	if (f != stdin)
		(void)fclose(f);
	return text;
}

/* -------------------------------------------------------------------------------------- drawing */

static int node_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 36;
	return -1;
}

/* @width cells of a strip for @node; a cell stands for CELLS / @width looks, the first counts. */
static void draw(const char *cells, int node, int width, bool color)
{
	static const int palette[] = { 33, 208, 40, 199, 220, 51, 129, 245 };
	int step = CELLS / width;

	if (color)
		printf("\033[38;5;%dm", palette[node % 8]);
	for (int i = 0; i < width; i++) {
		char c = cells[i * step];

		if (node_of(c) == node)
			color ? (void)fputs("\xe2\x96\x88", stdout) : (void)putchar(c);
		else
			color ? (void)putchar(' ') : (void)putchar(c == '?' ? '?' : '.');
	}
	if (color)
		printf("\033[0m");
}

static void print_range(const struct report *rep, int at, int nodes, int width, bool color)
{
	const struct range *r = &rep->range[at];

	printf("\n  range %d: %s, %s at %s\n", at + 1, nht_bytes(r->len), r->kind, r->addr);
	printf("            %-*s  %s\n", width + 2, "before", "after");
	for (int node = 0; node < nodes; node++) {
		printf("  node %-3d  |", node);
		draw(r->before, node, width, color);
		printf("|  |");
		draw(r->after, node, width, color);
		printf("|\n");
	}
}

/* Nodes to draw: those that the report counts, but no more than it can name. */
static int nodes_to_draw(const struct report *rep)
{
	int nodes = atoi(rep->nodes);

	return nodes < 1 ? 1 : nodes > MAX_NODES ? MAX_NODES : nodes;
}

/* The largest first, so that --max keeps what matters. */
static int larger(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->len < y->len ? 1 : x->len > y->len ? -1 : strcmp(x->addr, y->addr);
}

static void print_share(const char *what, const char *share)
{
	if (!strcmp(share, "null"))
		printf("  %s: not measured\n", what);
	else
		printf("  %s: %5.1f %%\n", what, strtod(share, NULL) * 100);
}

static void print_report(struct report *rep, int max, int width, bool color)
{
	printf("%s on %s %snode%s, trap %s, delivery %s\n", rep->program, rep->nodes,
	       strcmp(rep->emulated, "true") ? "" : "emulated ", strcmp(rep->nodes, "1") ? "s" : "",
	       rep->trap, rep->delivery);
	printf("  %llu pages marked, %llu hinting faults, %llu pages migrated, %llu restored\n",
	       rep->marked, rep->faults, rep->migrated, rep->restored);
	print_share("pages on the node that touches them, before", rep->before);
	print_share("                                     after ", rep->after);
	if (rep->nr > max)
		qsort(rep->range, (size_t)rep->nr, sizeof(rep->range[0]), larger);
	for (int i = 0; i < rep->nr && i < max; i++)
		print_range(rep, i, nodes_to_draw(rep), width, color);
	if (rep->nr > max)
		printf("\n  and %d smaller ranges\n", rep->nr - max);
	else if (!rep->nr)
		printf("  no ranges\n");
}

static int strips_of(const char *path, int max, int width, bool color)
{
	static struct report rep;
	struct nht_json j = { 0 };
	size_t len;
	char *text = read_file(path, &len);
	int code = 0;

	if (!text) {
		nht_error("%s: %s", path, strerror(errno));
		return NHT_FAILED;
	}
	memset(&rep, 0, sizeof(rep));
	j.at = text;
	j.end = text + len;
	if (read_report(&j, &rep)) {
		print_report(&rep, max, width, color);
	} else {
		nht_error("%s: not a report of numahint run --json", path);
		code = NHT_FAILED;
	}
	free(text);
	return code;
}

static void usage(void)
{
	printf("usage: numahint strips [--color WHEN] [--max N] [--wide] FILE...\n\n"
	       "Draws where the pages of each range sat when they were marked, and where they sit\n"
	       "after: one strip per node. FILE is a report of numahint run --json; - is standard input.\n\n"
	       "  --color auto|always|never   blocks in colours; else the node's digit or letter\n"
	       "  --max N                     at most N ranges, the largest (8)\n"
	       "  --wide                      64 cells a strip instead of 32\n"
	       "  -h, --help                  this text\n");
}

int nht_strips(int argc, char **argv)
{
	static const struct option options[] = {
		{ "color", required_argument, NULL, 'c' },
		{ "max", required_argument, NULL, 'm' },
		{ "wide", no_argument, NULL, 'w' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	static const char *const choices[] = { "auto", "always", "never", NULL };
	const char *color = NULL;
	int opt, max = 8, width = CELLS / 2, code = 0;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			if (nht_choose(choices, optarg) < 0)
				return nht_bad_value("--color", optarg, choices);
			color = optarg;
			break;
		case 'm':
			max = atoi(optarg);
			if (max < 1) {
				nht_error("--max: '%s' is not a number above 0", optarg);
				return NHT_USAGE;
			}
			break;
		case 'w':
			width = CELLS;
			break;
		case 'h':
			usage();
			return 0;
		default:
			return nht_bad_option(argv, options);
		}
	}
	if (optind == argc) {
		nht_error("which report? usage: numahint strips [OPTION...] FILE...");
		return NHT_USAGE;
	}
	for (; optind < argc && !code; optind++)
		code = strips_of(argv[optind], max, width, nht_colors(color));
	return code;
}
