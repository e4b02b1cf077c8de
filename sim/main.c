// SPDX-License-Identifier: MIT
/* nh-sim: what `numahint sim` runs. The engine in here is the one that ships, built with NH_SIM=1. */
#include "explore.h"
#include "scenarios.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define USAGE	    2

#define SCENARIO(s) &scen_##s,
const struct sim_scenario *const sim_scenarios[] = { SIM_SCENARIOS(SCENARIO) };
const size_t sim_nr_scenarios = NHI_ARRAY_SIZE(sim_scenarios);

static const char usage_text[] =
	"usage: numahint sim list\n"
	"       numahint sim explore SCENARIO... [OPTION...]\n"
	"       numahint sim replay FILE [-v]\n"
	"       numahint sim canaries [NAME] [-v]\n\n"
	"Runs the engine on a simulated machine under every interleaving of a scenario's tasks.\n"
	"SCENARIO: a name from `numahint sim list`, or all.\n\n"
	"  -b, --bound N          preemptions up to which all schedules are explored; default:\n"
	"                         the scenario's own\n"
	"  -S, --strategy S       exhaustive (default), random or pct\n"
	"  -s, --seed N           of random and pct: run i uses seed N + i; default 1\n"
	"  -n, --runs N           of random and pct; default 10000\n"
	"  -t, --time SECONDS     stop exploring a scenario after so long\n"
	"  --no-reduce            exhaustive: explore a state again when it is reached again\n"
	"  --canary NAME          a deliberately wrong engine: numahint sim canaries lists them\n"
	"  --schedule S           this schedule only: STEP:TASK,... or none\n"
	"  --save FILE            write the schedule of a failure to FILE, for replay\n"
	"  -v, --verbose          print every step\n"
	"  -h, --help             this text\n\n"
	"Exit codes: 0 nothing found, 1 a failure was found, 2 wrong usage.\n";

enum { OPT_NO_REDUCE = 256, OPT_CANARY, OPT_SCHEDULE, OPT_SAVE };

static const struct option long_options[] = {
	{ "bound", 1, NULL, 'b' },	   { "strategy", 1, NULL, 'S' },
	{ "seed", 1, NULL, 's' },	   { "runs", 1, NULL, 'n' },
	{ "time", 1, NULL, 't' },	   { "no-reduce", 0, NULL, OPT_NO_REDUCE },
	{ "canary", 1, NULL, OPT_CANARY }, { "schedule", 1, NULL, OPT_SCHEDULE },
	{ "save", 1, NULL, OPT_SAVE },	   { "verbose", 0, NULL, 'v' },
	{ "help", 0, NULL, 'h' },	   { NULL, 0, NULL, 0 },
};

struct command {
	struct sim_options o;
	bool bound_given, one;
	struct sim_schedule schedule; /* if @one */
};

const struct sim_scenario *sim_scenario_find(const char *name)
{
	for (size_t i = 0; i < sim_nr_scenarios; i++) {
		if (!strcmp(sim_scenarios[i]->name, name))
			return sim_scenarios[i];
	}
	return NULL;
}

static int wrong(const char *what, const char *arg)
{
	fprintf(stderr, "numahint sim: %s '%s'; numahint sim --help tells more\n", what, arg);
	return USAGE;
}

/* ----------------------------------------------------------------------------- schedules */

static bool parse_number(const char *text, uint64_t *ret)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	*ret = strtoull(text, &end, 0);
	return !*end;
}

static bool parse_schedule(const char *text, struct sim_schedule *s)
{
	s->nr = 0;
	if (!strcmp(text, "none"))
		return true;
	while (s->nr < SIM_SWITCHES) {
		int used = 0;

		if (sscanf(text, "%u:%u%n", &s->at[s->nr].step, &s->at[s->nr].task, &used) != 2)
			return false;
		s->nr++;
		text += used;
		if (!*text)
			return true;
		if (*text++ != ',')
			return false;
	}
	return false;
}

static bool save(const char *path, const struct sim_scenario *sc, const struct sim_schedule *s)
{
	FILE *to = fopen(path, "w");

	if (!to) {
		perror(path);
		return false;
	}
	fprintf(to, "numahint-schedule 1\nscenario %s\n", sc->name);
	if (nhi_canary)
		fprintf(to, "canary %s\n", sim_canary_name[nhi_canary]);
	for (uint32_t i = 0; i < s->nr; i++)
		fprintf(to, "switch %u %u %s\n", s->at[i].step, s->at[i].task,
			sim_task_name(sc, s->at[i].task));
	if (fclose(to)) {
		perror(path);
		return false;
	}
	fprintf(stderr, "saved; again: numahint sim replay %s\n", path);
	return true;
}

/* Return: the scenario, or NULL with a message. */
static const struct sim_scenario *load(const char *path, struct sim_schedule *s)
{
	FILE *from = fopen(path, "r");
	const struct sim_scenario *sc = NULL;
	char line[200], word[100];
	int number = 0, version = 0;
	bool bad = false;

	if (!from) {
		perror(path);
		return NULL;
	}
	s->nr = 0;
	while (!bad && fgets(line, sizeof(line), from)) {
		number++;
		if (sscanf(line, "numahint-schedule %d", &version) == 1) {
			bad = version != 1;
		} else if (sscanf(line, "scenario %99s", word) == 1) {
			sc = sim_scenario_find(word);
			bad = !sc;
		} else if (sscanf(line, "canary %99s", word) == 1) {
			bad = sim_canary_find(word) < 0;
			nhi_canary = bad ? NHI_CANARY_NONE : (enum nhi_canary)sim_canary_find(word);
		} else {
			bad = s->nr == SIM_SWITCHES ||
			      sscanf(line, "switch %u %u", &s->at[s->nr].step,
				     &s->at[s->nr].task) != 2;
			s->nr += !bad;
		}
	}
	(void)fclose(from);
	if (!bad && sc && version == 1)
		return sc;
	fprintf(stderr, "numahint sim: %s:%d: not a schedule of this version\n", path, number);
	return NULL;
}

/* ------------------------------------------------------------------------------ commands */

static int list(void)
{
	for (size_t i = 0; i < sim_nr_scenarios; i++)
		printf("%-22s %s (%d preemptions)\n", sim_scenarios[i]->name,
		       sim_scenarios[i]->what, sim_scenarios[i]->bound);
	return 0;
}

static int explore(const struct sim_scenario *sc, struct command *c, struct sim_report *sum)
{
	struct sim_report r;

	if (!c->bound_given)
		c->o.bound = (uint32_t)sc->bound;
	sim_explore(sc, &c->o, &r);
	sum->schedules += r.schedules;
	sum->states += r.states;
	sum->seconds += r.seconds;
	if (r.failed) {
		sim_print_failure(stdout, sc, &r, c->o.verbose);
		return c->o.save && !save(c->o.save, sc, &r.schedule) ? USAGE : 1;
	}
	if (c->o.how == SIM_EXHAUSTIVE)
		printf("%-22s %s %u preemptions: ", sc->name, r.complete ? "all of" : "stopped at",
		       r.bound);
	else
		printf("%-22s seeds %lu to %lu: ", sc->name, c->o.seed,
		       c->o.seed + r.schedules - 1);
	printf("%lu schedules, %lu states, %lu results (%08x), %.2f s, %.0f/s\n", r.schedules,
	       r.states, r.results, r.digest, r.seconds,
	       (double)r.schedules / (r.seconds > 0 ? r.seconds : 1e-9));
	(void)fflush(stdout);
	return 0;
}

static int one_schedule(const struct sim_scenario *sc, const struct sim_schedule *s, bool verbose)
{
	sim_sched_open(sc);
	sim_print_execution(stdout, sc, s, verbose);
	return sim_replay_schedule(sc, s);
}

static int explore_all(struct command *c, char **names, int n)
{
	struct sim_report sum = { 0 };
	int ret = 0, err, done = 0;

	for (int i = 0; i < n; i++) {
		const struct sim_scenario *sc = sim_scenario_find(names[i]);

		if (!sc && strcmp(names[i], "all"))
			return wrong("no scenario", names[i]);
		if (c->one)
			return sc ? one_schedule(sc, &c->schedule, c->o.verbose) :
				    wrong("one schedule is of one scenario, not of", names[i]);
		for (size_t k = 0; k < sim_nr_scenarios; k++) {
			if (sc && sc != sim_scenarios[k])
				continue;
			err = explore(sim_scenarios[k], c, &sum);
			ret = err > ret ? err : ret;
			done++;
		}
	}
	if (!done)
		return wrong("which scenario? None after", "explore");
	if (done > 1)
		printf("%d scenarios: %lu schedules, %lu states, %.1f s, %.0f/s\n", done,
		       sum.schedules, sum.states, sum.seconds, (double)sum.schedules / sum.seconds);
	return ret;
}

/* Return: 0, or an exit code. */
static int option(struct command *c, int opt, const char *arg)
{
	uint64_t n = 0;

	if (opt < 256 && strchr("bsnt", opt) && !parse_number(arg, &n))
		return wrong("not a number:", arg);
	switch (opt) {
	case 'b':
		c->o.bound = (uint32_t)n;
		c->bound_given = true;
		return 0;
	case 's':
		c->o.seed = n;
		return 0;
	case 'n':
		c->o.runs = n;
		return 0;
	case 't':
		c->o.seconds = (double)n;
		return 0;
	case 'v':
		c->o.verbose = true;
		return 0;
	case 'S':
		if (strcmp(arg, "exhaustive") && strcmp(arg, "random") && strcmp(arg, "pct"))
			return wrong("no strategy", arg);
		c->o.how = *arg == 'e' ? SIM_EXHAUSTIVE : *arg == 'r' ? SIM_RANDOM : SIM_PCT;
		return 0;
	case OPT_NO_REDUCE:
		c->o.reduce = false;
		return 0;
	case OPT_SAVE:
		c->o.save = arg;
		return 0;
	case OPT_CANARY:
		if (sim_canary_find(arg) < 0)
			return wrong("no canary", arg);
		nhi_canary = (enum nhi_canary)sim_canary_find(arg);
		return 0;
	case OPT_SCHEDULE:
		c->one = true;
		return parse_schedule(arg, &c->schedule) ? 0 : wrong("not a schedule:", arg);
	default:
		return USAGE;
	}
}

int main(int argc, char **argv)
{
	static struct command c = { .o = { .reduce = true, .seed = 1, .runs = 10000 } };
	const struct sim_scenario *sc;
	const char *verb;
	int opt, err;

	while ((opt = getopt_long(argc, argv, "b:S:s:n:t:vh", long_options, NULL)) != -1) {
		if (opt == 'h') {
			fputs(usage_text, stdout);
			return 0;
		}
		err = option(&c, opt, optarg);
		if (err)
			return err;
	}
	if (optind == argc) {
		fputs(usage_text, stderr);
		return USAGE;
	}
	verb = argv[optind++];
	if (!strcmp(verb, "list"))
		return list();
	if (!strcmp(verb, "explore"))
		return explore_all(&c, argv + optind, argc - optind);
	if (!strcmp(verb, "canaries"))
		return sim_canaries(stdout, argv[optind], c.o.verbose) != 0;
	if (strcmp(verb, "replay"))
		return wrong("unknown command", verb);
	if (optind == argc)
		return wrong("which file? None after", verb);
	sc = load(argv[optind], &c.schedule);
	return sc ? one_schedule(sc, &c.schedule, c.o.verbose) : USAGE;
}
