// SPDX-License-Identifier: MIT
/* What must be true when the tasks of a scenario have ended. */
#include "check.h"
#include "history.h"
#include "sched.h"

/* Whatever can be seen, by value. */
uint64_t sim_digest(struct world *w)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < w->m->conf.nr_pages; i++) {
		bool huge = false;
		nhi_word *entry = nhi_entry_lookup(w->mm, at(w, i), &huge);

		sum = sim_history_mix(sum, use_peek(w, i));
		sum = sim_history_mix(sum, use_marked(w, i));
		sum = sim_history_mix(sum, (uint64_t)sim_page_node(w->m->space, at(w, i)));
		sum = sim_history_mix(sum, entry ? *entry : 0);
		sum = sim_history_mix(sum, huge);
	}
	for (int c = 0; c < NHI_COUNTERS; c++)
		sum = sim_history_mix(sum,
				      c == NHI_C_MARK_NS ? 0 : use_count(w, (enum nhi_counter)c));
	for (int i = 0; i < SIM_RESULTS; i++)
		sum = sim_history_mix(sum, w->v[i]);
	return sum;
}

/* Every reference was given back, so no entry has any. */
static void no_references(const struct world *w, uint32_t page)
{
	bool huge;
	const nhi_word *entry = nhi_entry_lookup(w->mm, at(w, page), &huge);
	nhi_word word = entry ? *entry : 0;

	sim_must(!nhi_word_pins(word) && !nhi_word_gets(word),
		 "at the end: page %u has %u pins and %u gets that nobody has", page,
		 nhi_word_pins(word), nhi_word_gets(word));
}

/* All tasks have ended: what must be true now, and that everything can be given back. */
void sim_judge(struct world *w, const struct sim_scenario *sc)
{
	const char *bad = sim_check_engine(w->mm, w->m);

	sim_must(!bad, "at the end: %s", bad);
	for (int i = 0; i < SIM_HOLDS; i++)
		sim_must(!w->hold[i].active, "at the end: a reference was kept");
	for (uint32_t i = 0; i < w->m->conf.nr_pages; i++)
		no_references(w, i);
	if (sc->check)
		sc->check(w);
	if (w->child)
		sim_exit(w->child);
	for (uint32_t i = 0; i < w->m->conf.nr_pages; i++) {
		uint64_t want = use_peek(w, i), got;
		const struct sim_area *area = sim_area_find(w->m->space, at(w, i));

		if (!area || !(area->prot & NHI_PROT_READ))
			continue;
		got = use_read(w, &w->task[i % 2], i);
		sim_must(got == want, "at the end: page %u reads as %lu, not %lu", i, got, want);
	}
	nhi_mm_done(w->mm);
	(void)sim_munmap(&w->task[0], SIM_BASE, (size_t)w->m->conf.nr_pages << w->m->page_shift);
	sim_must(!w->m->broken, "at the end: %s", w->m->broken);
	sim_must(!sim_leaks(w->m), "at the end: frames, maps or tables were not given back");
}
