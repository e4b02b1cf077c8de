// SPDX-License-Identifier: MIT
/* The deliberately wrong engines of src/base/canary.h, each of which the explorer must find. */
#include "explore.h"

#include <string.h>

struct canary {
	const char *scenario, *what;
};

#define NAME(name, scenario, text) #name,
#define ROW(name, scenario, text)  { scenario, text },

const char *const sim_canary_name[NHI_CANARIES_END] = { "none", NHI_CANARIES(NAME) };
static const struct canary canaries[NHI_CANARIES_END] = { { 0 }, NHI_CANARIES(ROW) };

int sim_canary_find(const char *name)
{
	for (int i = 1; i < NHI_CANARIES_END; i++) {
		const char *a = sim_canary_name[i], *b = name;

		while (*a && (*b == '-' ? '_' : *b & ~('a' - 'A')) ==
				     (*a == '_' ? '_' : *a & ~('a' - 'A')))
			a++, b++;
		if (!*a && !*b)
			return i;
	}
	return -1;
}

int sim_canaries(FILE *to, const char *only, bool verbose)
{
	int found = 0, tried = 0;

	for (int i = 1; i < NHI_CANARIES_END; i++) {
		const struct sim_scenario *sc = sim_scenario_find(canaries[i].scenario);
		struct sim_options o = { .reduce = true };
		struct sim_report r;

		if (only && sim_canary_find(only) != i)
			continue;
		tried++;
		o.bound = (uint32_t)sc->bound;
		nhi_canary = (enum nhi_canary)i;
		sim_explore(sc, &o, &r);
		found += r.failed;
		fprintf(to, "%-26s %s\n    %s: %s\n", sim_canary_name[i], canaries[i].what,
			sc->name, r.failed ? r.message : "NOT FOUND");
		fprintf(to, "    %u preemptions, %lu schedules, %.2f s\n", r.bound, r.schedules,
			r.seconds);
		if (verbose && r.failed)
			sim_print_failure(to, sc, &r, false);
		(void)fflush(to);
		nhi_canary = NHI_CANARY_NONE;
	}
	fprintf(to, "canaries: %d of %d found\n", found, tried);
	return tried - found + !tried;
}
