// SPDX-License-Identifier: MIT
/*
 * nh-compare METHOD SCENARIO: one run, one line of JSON. `./dev compare` runs all of them in a guest
 * with real nodes and makes tables and plots.
 */
#include "atomic.h"
#include "compare.h"

#include <getopt.h>
#include <numahint/numahint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define LOCAL_ENOUGH 0.99
#define LOOK_US	     10000

static struct cmp_run run = { .duration_ns = 3000000000ll };

static int nr_nodes(void)
{
	int first = 0, last = 0;
	FILE *f = fopen("/sys/devices/system/node/has_cpu", "r");

	if (f) {
		if (fscanf(f, "%d-%d", &first, &last) < 2)
			last = first;
		fclose(f);
	}
	return last + 1;
}

static void *thread_main(void *arg)
{
	struct cmp_thread *t = arg;

	cmp_go_to_node(t->node);
	for (unsigned int phase = 0; phase < run.scenario->phases; phase++) {
		pthread_barrier_wait(&run.barrier); /* all have stopped */
		pthread_barrier_wait(&run.barrier); /* the phase is prepared */
		cmp_work(t);
		pthread_barrier_wait(&run.barrier); /* all have stopped */
	}
	return NULL;
}

/* The main thread's part of the phase: begin, look at where the pages are, stop. */
static void lead(unsigned int phase, size_t *misplaced)
{
	int64_t now;

	pthread_barrier_wait(&run.barrier);
	nhi_store_relaxed(&run.phase, phase);
	*misplaced += cmp_misplaced(&run);
	nhi_store_relaxed(&run.stop, false);
	run.start_ns = cmp_now_ns();
	pthread_barrier_wait(&run.barrier);
	/* By the main thread, while the others work: its own time is one thing, their pauses another. */
	run.error = run.method->begin(&run);
	now = cmp_now_ns() - run.start_ns;
	run.begin_ns = now > run.begin_ns ? now : run.begin_ns;
	do {
		cmp_look(&run);
		usleep(LOOK_US);
	} while (cmp_now_ns() - run.start_ns < run.duration_ns);
	cmp_look(&run);
	nhi_store_relaxed(&run.stop, true);
	pthread_barrier_wait(&run.barrier);
}

/* ms until enough was local for the first time, the slowest phase; -1: never. */
static double ms_to_local(void)
{
	double worst = 0;

	for (unsigned int phase = 0; phase < run.scenario->phases; phase++) {
		double ms = -1;

		for (unsigned int i = 0; i < run.nr_looks && ms < 0; i++) {
			if (run.curve[i].phase == phase && run.curve[i].local >= LOCAL_ENOUGH)
				ms = (double)run.curve[i].at_ns / 1e6;
		}
		if (ms < 0)
			return -1;
		worst = ms > worst ? ms : worst;
	}
	return worst;
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void report(const struct rusage *before, const struct rusage *after, uint64_t moved,
		   size_t needed)
{
	int64_t longest = 0;
	uint64_t rounds = 0;

	for (int i = 0; i < run.nr_threads; i++) {
		longest = run.thread[i].longest_ns > longest ? run.thread[i].longest_ns : longest;
		rounds += run.thread[i].rounds;
	}
	printf("{\"method\": \"%s\", \"scenario\": \"%s\", \"pages\": %zu, \"ms_to_local\": %.1f, "
	       "\"needed\": %zu, \"moved\": %llu, \"for_nothing\": %llu, \"begin_ms\": %.2f, "
	       "\"longest_pause_ms\": %.2f, "
	       "\"user_s\": %.2f, \"sys_s\": %.2f, \"rounds\": %llu, \"local_after\": %.4f, \"curve\": [",
	       run.method->name, run.scenario->name, run.pages, ms_to_local(), needed,
	       (unsigned long long)moved, (unsigned long long)(moved > needed ? moved - needed : 0),
	       (double)run.begin_ns / 1e6, (double)longest / 1e6,
	       seconds(after->ru_utime) - seconds(before->ru_utime),
	       seconds(after->ru_stime) - seconds(before->ru_stime), (unsigned long long)rounds,
	       run.nr_looks ? run.curve[run.nr_looks - 1].local : 0);
	for (unsigned int i = 0; i < run.nr_looks; i++)
		printf("%s[%u, %.1f, %.3f]", i ? ", " : "", run.curve[i].phase,
		       (double)run.curve[i].at_ns / 1e6, run.curve[i].local);
	printf("]}\n");
}

static void measure(void)
{
	struct nh_stats st = { 0 };
	struct rusage before, after;
	uint64_t moved = cmp_vmstat("pgmigrate_success");
	size_t needed = 0;

	getrusage(RUSAGE_SELF, &before);
	for (unsigned int phase = 0; phase < run.scenario->phases; phase++)
		lead(phase, &needed);
	getrusage(RUSAGE_SELF, &after);
	moved = cmp_vmstat("pgmigrate_success") - moved;
	/* The kernel counts what it moves; pages moved by copying it does not see. */
	if (run.mm && !nh_stats(run.mm, &st, sizeof(st)))
		moved = st.migrated;
	if (run.method->end)
		run.method->end(&run);
	report(&before, &after, moved, needed);
}

static int usage(void)
{
	fprintf(stderr, "usage: nh-compare [--mb N] [--seconds S] METHOD SCENARIO\nmethods:\n");
	for (const struct cmp_method *m = cmp_methods; m->name; m++)
		fprintf(stderr, "  %-14s %s\n", m->name, m->what);
	fprintf(stderr, "scenarios:\n");
	for (const struct cmp_scenario *s = cmp_scenarios; s->name; s++)
		fprintf(stderr, "  %-14s %s\n", s->name, s->what);
	return 2;
}

static bool choose(const char *method, const char *scenario)
{
	for (run.method = cmp_methods; run.method->name; run.method++) {
		if (!strcmp(run.method->name, method))
			break;
	}
	for (run.scenario = cmp_scenarios; run.scenario->name; run.scenario++) {
		if (!strcmp(run.scenario->name, scenario))
			break;
	}
	return run.method->name && run.scenario->name;
}

static int map(size_t mb)
{
	int kind = run.method->shared_memory ? MAP_SHARED : MAP_PRIVATE;

	run.page = (size_t)sysconf(_SC_PAGESIZE);
	run.pages = (mb << 20) / run.page;
	run.mem = mmap(NULL, run.pages * run.page, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1,
		       0);
	if (run.mem == MAP_FAILED)
		return -1;
	/* Base pages for everybody: who moves huge ones is another question. */
	(void)madvise(run.mem, run.pages * run.page, MADV_NOHUGEPAGE);
	run.nr_threads = nr_nodes(); /* one on each */
	for (int i = 0; i < run.nr_threads; i++)
		run.thread[i] = (struct cmp_thread){ .run = &run, .index = i, .node = i };
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "mb", required_argument, NULL, 'm' },
						 { "seconds", required_argument, NULL, 's' },
						 { 0 } };
	const char *why;
	size_t mb = 64;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'm')
			mb = strtoul(optarg, NULL, 10);
		else if (opt == 's')
			run.duration_ns = (int64_t)(atof(optarg) * 1e9);
		else
			return usage();
	}
	if (argc - optind != 2 || !mb || run.duration_ns <= 0 ||
	    !choose(argv[optind], argv[optind + 1]))
		return usage();
	if (map(mb) || run.nr_threads < 2 || run.nr_threads > CMP_THREADS) {
		fprintf(stderr,
			"nh-compare: needs 2 to %d nodes with CPUs (./dev compare has them)\n",
			CMP_THREADS);
		return 77;
	}
	why = run.method->missing ? run.method->missing(&run) : NULL;
	if (why) {
		fprintf(stderr, "nh-compare: %s: %s\n", run.method->name, why);
		return 77;
	}
	cmp_fill(&run);
	cmp_hog(&run);
	pthread_barrier_init(&run.barrier, NULL, (unsigned int)run.nr_threads + 1);
	for (int i = 0; i < run.nr_threads; i++)
		pthread_create(&run.thread[i].thread, NULL, thread_main, &run.thread[i]);
	measure();
	for (int i = 0; i < run.nr_threads; i++)
		pthread_join(run.thread[i].thread, NULL);
	nh_mm_destroy(run.mm);
	return run.error ? 1 : 0;
}
