// SPDX-License-Identifier: MIT
/* numahint VERB [options] ... */
#include "tools.h"

#include "conf.h"
#include "numahint/numahint.h"

#include <string.h>

static const struct nht_verb verbs[] = {
	{ "run", "run a program with NUMA hinting faults on its large allocations", nht_run },
	{ "sim", "run the engine under every interleaving, on a simulated machine", nht_sim },
	{ "strips", "draw where pages sat before and after, from a report of run --json",
	  nht_strips },
	{ "doctor", "what works here, and what to change for more", nht_doctor },
	{ "topo", "the machine's NUMA nodes, or those of a synthetic topology", nht_topo },
};

static void usage(FILE *to)
{
	fprintf(to, "usage: numahint VERB [OPTION...]\n\n"
		    "User-space NUMA hinting faults and lazy page migration.\n\nVerbs:\n");
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		fprintf(to, "  %-8s %s\n", verbs[i].name, verbs[i].help);
	fprintf(to,
		"\n  -h, --help     this text; numahint VERB --help tells more\n"
		"  --version      the version\n\n"
		"Exit codes: 1 doctor: nothing works here, 2 wrong usage, 125 numahint failed, 126 the program cannot be executed,\n"
		"127 it was not found; otherwise the program's own.\n");
}

static const struct nht_verb *find_verb(const char *name)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (!strcmp(name, verbs[i].name))
			return &verbs[i];
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const char *names[sizeof(verbs) / sizeof(verbs[0]) + 1] = { NULL }, *near;
	const struct nht_verb *verb;

	if (argc < 2) {
		usage(stderr);
		return NHT_USAGE;
	}
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("numahint %d.%d.%d\n", NH_VERSION_MAJOR, NH_VERSION_MINOR, NH_VERSION_PATCH);
		return 0;
	}
	verb = find_verb(argv[1]);
	if (!verb) {
		for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
			names[i] = verbs[i].name;
		near = nhp_nearest(argv[1], names);
		nht_error("unknown verb '%s'%s%s%s; numahint --help lists them", argv[1],
			  near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
		return NHT_USAGE;
	}
	nht_set_verb(verb->name);
	return verb->main(argc - 1, argv + 1);
}
