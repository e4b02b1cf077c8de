// SPDX-License-Identifier: MIT
/*
 * An execution as a person reads it: who ran, which words changed from what to what, and where.
 * Reads, and operations that left their word as it was, are left out unless they are asked for.
 */
#include "explore.h"

#include <string.h>

struct printer {
	FILE *to;
	const struct sim_scenario *sc;
	bool verbose;
	int last;	  /* task of the last line */
	const char *func; /* of the last line about the machine */
};

static bool within(const volatile void *p, const void *object, size_t bytes)
{
	return (const volatile char *)p >= (const char *)object &&
	       (const volatile char *)p < (const char *)object + bytes;
}

/* The page whose entry @where is; *huge: the huge page. */
static bool entry_name(const struct world *w, const volatile void *where, char *name, size_t bytes)
{
	for (uint32_t i = 0; i < w->m->conf.nr_pages; i++) {
		struct nhi_pmd *pmd = nhi_pmd_lookup(w->mm, at(w, i));

		if (!pmd)
			continue;
		if (where == &pmd->word) {
			snprintf(name, bytes, "huge page %u", i);
			return true;
		}
		if (pmd->ptes && where == &pmd->ptes[nhi_pte_index(w->mm, at(w, i))]) {
			snprintf(name, bytes, "page %u", i);
			return true;
		}
	}
	return false;
}

const char *sim_word_name(const struct world *w, const volatile void *where)
{
	const struct nhi_mm *mm = w->mm;
	const struct nhi_mmap_lock *l = &mm->mmap_lock;

	if (where == &mm->mark_mutex.word)
		return "mark_mutex";
	if (where == &l->writers.word)
		return "mmap_lock writers";
	if (where == &l->writer)
		return "mmap_lock writer";
	if (where == &l->drain)
		return "mmap_lock drain";
	if (where == &l->writer_tid)
		return "mmap_lock writer_tid";
	if (within(where, l->slot, sizeof(l->slot)))
		return "mmap_lock readers";
	if (within(where, mm->queue, sizeof(mm->queue)))
		return "the wait queue";
	if (within(where, mm->around, sizeof(mm->around)))
		return "stream";
	if (where == &mm->hard)
		return "hard";
	for (size_t i = 0; i < mm->nr_vmas; i++) {
		if (where == &mm->vmas[i].map->refs)
			return "map refs";
		if (where == &mm->vmas[i].map->marked)
			return "map marked";
	}
	return sim_sched_is_address((uintptr_t)where) ? "a word" : "a call of its own";
}

static void word_text(uint64_t word, char *text, size_t bytes)
{
	static const char *const state[] = { "NONE", "PRESENT", "MARKED", "LOCKED", "MOVING" };
	enum nhi_state s = nhi_word_state(word);
	char more[48] = "";

	if (nhi_word_pins(word) || nhi_word_gets(word))
		snprintf(more, sizeof(more), ", %u pins, %u gets", nhi_word_pins(word),
			 nhi_word_gets(word));
	snprintf(text, bytes, "%s%s%s", s < NHI_STATES ? state[s] : "?", more,
		 word & NHI_W_WAITERS ? ", waited for" : "");
}

/* Addresses differ from run to run, and say nothing. */
static void number_text(uint64_t word, char *text, size_t bytes)
{
	if (sim_sched_is_address(word))
		snprintf(text, bytes, "a table");
	else
		snprintf(text, bytes, "%ld", (long)word);
}

static void head(struct printer *p, const struct sim_step *s)
{
	const char *name = sim_task_name(p->sc, s->task);

	if (p->last != s->task && p->last >= 0)
		fprintf(p->to, "%s\n", s->preempted ? "  ---- preempted" : "  ----");
	p->last = s->task;
	fprintf(p->to, "%5u  %-10s ", s->step, name);
}

static bool is_dull(const struct printer *p, const struct sim_step *s)
{
	if (p->verbose)
		return false;
	if (!s->bytes)
		return s->func == p->func; /* the same operation goes on */
	return s->before == s->after ||
	       !strcmp(sim_word_name(sim_sched_world(), s->where), "stream");
}

static void print_step(void *arg, const struct sim_step *s)
{
	struct printer *p = arg;
	char name[40], from[64], to[64];

	if (s->text[0]) {
		head(p, s);
		p->func = NULL;
		fprintf(p->to, "* %s\n", s->text);
		return;
	}
	/* Who took over is worth a line in any case. */
	if (is_dull(p, s) && p->last == s->task)
		return;
	head(p, s);
	p->func = s->bytes ? NULL : s->func;
	if (!s->bytes) {
		fprintf(p->to, "%s()\n", s->func);
		return;
	}
	if (entry_name(sim_sched_world(), s->where, name, sizeof(name))) {
		word_text(s->before, from, sizeof(from));
		word_text(s->after, to, sizeof(to));
		fprintf(p->to, "%s:%d %s of %s: %s", s->func, s->line, s->what, name, from);
		fprintf(p->to, s->before == s->after ? "\n" : " -> %s\n", to);
		return;
	}
	number_text(s->before, from, sizeof(from));
	number_text(s->after, to, sizeof(to));
	fprintf(p->to, "%s:%d %s of %s: %s", s->func, s->line, s->what,
		sim_word_name(sim_sched_world(), s->where), from);
	fprintf(p->to, s->before == s->after ? "\n" : " -> %s\n", to);
}

void sim_print_execution(FILE *to, const struct sim_scenario *sc,
			 const struct sim_schedule *schedule, bool verbose)
{
	struct printer p = { .to = to, .sc = sc, .verbose = verbose, .last = -1 };
	bool failed;

	fprintf(to, " step  task       what\n");
	sim_sched_trace(print_step, &p);
	failed = sim_replay_schedule(sc, schedule);
	sim_sched_trace(NULL, NULL);
	fprintf(to, "  ==== %s\n", failed ? sim_sched_message() : "passed");
}
