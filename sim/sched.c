// SPDX-License-Identifier: MIT
#include "sched.h"
#include "alloc.h"
#include "history.h"
#include "os_sim.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define STACK (64 * 1024)
#define ARENA (4 * 1024 * 1024)

enum status { READY, ASLEEP, DONE };

struct task {
	enum status status;
	struct sim_fiber fiber;
	uint32_t before_me;	       /* tasks that go first, for this one polls */
	uint64_t history;	       /* see history.h */
	struct sim_step step;	       /* the operation under way; .what NULL: none */
	const volatile uint32_t *word; /* ASLEEP: on this */
	uint32_t value;
	uint32_t held[NHI_RANK_ENTRY + 1]; /* locks by rank */
};

static struct {
	const struct sim_scenario *sc;
	struct sim_strategy *strategy;
	struct world *w;
	uint32_t nr_tasks;
	struct task task[SIM_TASKS + 1]; /* the last is nobody, who runs before the first */
	uint32_t now;
	bool running; /* tasks take turns; else the one fiber there is does as it likes */
	struct sim_fiber main, helper;
	void (*helper_body)(void);

	uint32_t step, preemptions;
	struct sim_schedule schedule;
	enum sim_outcome outcome;
	bool finished;
	char message[400];
	uint64_t result;

	size_t used, image_used;
	void (*trace)(void *arg, const struct sim_step *step);
	void *trace_arg;
} x;

static char stacks[SIM_TASKS + 1][STACK] __attribute__((aligned(64)));
static char arena[ARENA] __attribute__((aligned(4096)));
static char image[ARENA] __attribute__((aligned(4096)));
enum nhi_canary nhi_canary;

/* ------------------------------------------------------------------------------- memory */

void *sim_alloc(size_t bytes)
{
	void *mem = arena + x.used;

	/* The engine wants its tables aligned; what was given back is never given out again. */
	x.used += nhi_round_up(bytes, (size_t)NHI_CACHE_LINE);
	if (x.used > ARENA)
		sim_fail_now("the arena of %d bytes is full", ARENA);
	return mem;
}

static void arena_reset(void)
{
	if (x.used > x.image_used)
		memset(arena + x.image_used, 0, x.used - x.image_used);
	memcpy(arena, image, x.image_used);
	x.used = x.image_used;
}

/* ------------------------------------------------------------------------------ failing */

__attribute__((noreturn)) static void leave(enum sim_outcome outcome)
{
	struct sim_fiber gone;

	x.outcome = outcome;
	x.running = false;
	sim_fiber_switch(&gone, &x.main);
	__builtin_unreachable();
}

void sim_fail_now(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(x.message, sizeof(x.message), format, args);
	va_end(args);
	leave(SIM_FAILED);
}

/* In place of src/base/base.c: an assertion of the engine ends the execution, not the program. */
void nhi_assert_fail(const char *cond, const char *file, int line)
{
	const char *name = strrchr(file, '/');

	sim_fail_now("assertion failed at %s:%d: %s", name ? name + 1 : file, line, cond);
}

static void on_crash(int sig, siginfo_t *info, void *context)
{
	(void)context;
	sim_fail_now("%s at address %p", sig == SIGSEGV ? "SIGSEGV" : "a crash", info->si_addr);
}

static void catch_crashes(void)
{
	static char stack[STACK];
	const stack_t alt = { .ss_sp = stack, .ss_size = sizeof(stack) };
	/* The handler is left by a switch of stacks, so nothing may stay blocked. */
	struct sigaction action = { .sa_sigaction = on_crash,
				    .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };

	(void)sigaltstack(&alt, NULL);
	(void)sigaction(SIGSEGV, &action, NULL);
	(void)sigaction(SIGBUS, &action, NULL);
	(void)sigaction(SIGFPE, &action, NULL);
}

/* -------------------------------------------------------------------------------- points */

static struct task *current(void)
{
	return &x.task[x.now];
}

static uint64_t word_at(const volatile void *where, uint32_t bytes)
{
	switch (bytes) {
	case 8:
		return *(const volatile uint64_t *)where;
	case 4:
		return *(const volatile uint32_t *)where;
	case 2:
		return *(const volatile uint16_t *)where;
	case 1:
		return *(const volatile uint8_t *)where;
	default:
		return 0;
	}
}

/* Names of objects are found by the engine's own look-ups, which are no points now. */
static void trace(const struct sim_step *s)
{
	bool running = x.running;

	x.running = false;
	x.trace(x.trace_arg, s);
	x.running = running;
}

/* The operation that the task was about to do at its last point is done. */
static void complete(struct task *t)
{
	struct sim_step *s = &t->step;

	if (!s->what)
		return;
	s->after = word_at(s->where, s->bytes);
	/* What leaves a word as it was is a read of it; the machine is one object. */
	t->history = sim_history_step(t->history, s->bytes ? s->where : (void *)x.w->m,
				      !s->bytes || s->before != s->after);
	if (x.trace)
		trace(s);
	s->what = NULL;
	s->preempted = false;
}

static void enter_task(uint32_t to)
{
	x.now = to;
	x.w->m->current = &x.w->task[to];
	for (uint32_t i = 0; i < x.nr_tasks; i++)
		x.task[i].before_me &= ~(1u << to);
}

static void check_step(void)
{
	const char *bad = x.w->m->broken;

	if (!bad)
		bad = use_holds(x.w);
	if (bad)
		sim_fail_now("%s", bad);
}

static bool all_done(bool but_monitor)
{
	for (uint32_t i = 0; i < x.nr_tasks; i++) {
		if (x.task[i].status != DONE &&
		    !(but_monitor && x.sc->monitor && i + 1 == x.nr_tasks))
			return false;
	}
	return true;
}

static const char *task_name(uint32_t i)
{
	return x.sc->monitor && i + 1 == x.nr_tasks ? "monitor" : x.sc->task[i].name;
}

static void deadlock(void)
{
	char list[300] = "";
	bool lost = false;
	size_t n = 0;

	for (uint32_t i = 0; i < x.nr_tasks; i++) {
		const struct task *t = &x.task[i];

		if (t->status != ASLEEP || n >= sizeof(list) - 1)
			continue;
		lost |= *t->word != t->value;
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s %s waits for %s",
				      n ? "," : "", task_name(i), sim_word_name(x.w, t->word));
		if (*t->word != t->value && n < sizeof(list))
			n += (size_t)snprintf(list + n, sizeof(list) - n,
					      ", which moved: its wake-up was lost");
	}
	sim_fail_now("%s:%s", lost ? "lost wake-up" : "deadlock", list);
}

/* Tasks that can go on, the running one first if it is one of them. */
static int options(uint8_t *option, bool *stay)
{
	uint32_t ready = 0, list;
	int n = 0;

	for (uint32_t i = 0; i < x.nr_tasks; i++)
		ready |= (uint32_t)(x.task[i].status == READY) << i;
	list = ready;
	/* Who polls lets the others go first; if they all do, nobody has to. */
	for (uint32_t i = 0; i < x.nr_tasks; i++) {
		if (x.task[i].before_me & ready)
			list &= ~(1u << i);
	}
	list = list ? list : ready;
	*stay = list >> x.now & 1;
	if (*stay)
		option[n++] = (uint8_t)x.now;
	for (uint32_t i = 0; i < x.nr_tasks; i++) {
		if (i != x.now && list >> i & 1)
			option[n++] = (uint8_t)i;
	}
	return n;
}

static void go_on_in(uint32_t to, bool stay)
{
	uint32_t from = x.now;

	if (to != from)
		x.task[to].step.preempted = stay;
	x.preemptions += stay && to != from;
	if (to == from) {
		enter_task(to);
		return;
	}
	enter_task(to);
	sim_fiber_switch(&x.task[from].fiber, &x.task[to].fiber);
}

static void note_switch(uint32_t to)
{
	if (x.schedule.nr < SIM_SWITCHES)
		x.schedule.at[x.schedule.nr++] = (struct sim_switch){ x.step, to };
}

/* Somebody has to go on; returns when it is this task's turn again. */
static void decide(void)
{
	uint8_t option[SIM_TASKS];
	bool stay;
	int n = options(option, &stay), pick = 0;

	if (++x.step > SIM_STEPS)
		sim_fail_now("livelock: no end after %d steps", SIM_STEPS);
	if (!n && all_done(true) && !all_done(false)) {
		struct task *monitor = &x.task[x.nr_tasks - 1];

		/* The program is over: so is the monitor, which sleeps until its bell rings. */
		x.w->m->stop = true;
		if (monitor->word == &x.w->m->bell) {
			monitor->status = READY;
			n = options(option, &stay);
		}
	}
	if (!n && all_done(false))
		leave(SIM_PASSED);
	if (!n)
		deadlock();
	if (n > 1) {
		pick = x.strategy->pick(x.strategy, option, n, stay);
		if (pick == SIM_PRUNE)
			leave(SIM_PRUNED);
		if (pick)
			note_switch(option[pick]);
	}
	go_on_in(option[pick], stay);
}

static void point(const volatile void *where, uint32_t bytes, const char *what, const char *func,
		  int line)
{
	struct task *t = current();

	complete(t);
	check_step();
	decide();
	t->step.step = x.step;
	t->step.task = (uint8_t)x.now;
	t->step.where = where;
	t->step.what = what;
	t->step.func = func;
	t->step.line = line;
	t->step.bytes = bytes;
	t->step.before = word_at(where, bytes);
}

/* --------------------------------------------------------------- hooks of engine and machine */

void nhi_sim_yield(const volatile void *where, unsigned int bytes, const char *what,
		   const char *func, int line)
{
	if (x.running)
		point(where, bytes, what, func, line);
}

uint64_t nhi_sim_saw(uint64_t value)
{
	if (x.running)
		current()->history = sim_history_mix(current()->history, value);
	return value;
}

uint32_t *nhi_sim_held(void)
{
	return current()->held;
}

static void hook_point(struct sim *m, const volatile void *where, const char *func, int line)
{
	(void)m;
	if (x.running)
		point(where, 0, "machine", func, line);
}

static void hook_wait(struct sim *m, uint32_t *word, uint32_t value)
{
	struct task *t = current();

	(void)m;
	/* The look and the falling asleep are one, as in futex(2). */
	point(word, sizeof(*word), "wait", "os", 0);
	t->history = sim_history_step(t->history, (char *)word + 1, true);
	if (*word != value)
		return;
	complete(t);
	t->status = ASLEEP;
	t->word = word;
	t->value = value;
	decide();
	t->word = NULL;
	/* Who woke it comes before what it does next. */
	t->history = sim_history_step(t->history, (char *)word + 1, false);
	sim_say("wakes up");
}

static void hook_wake_all(struct sim *m, uint32_t *word)
{
	(void)m;
	point(word, sizeof(*word), "wake", "os", 0);
	current()->history = sim_history_step(current()->history, (char *)word + 1, true);
	for (uint32_t i = 0; i < x.nr_tasks; i++) {
		if (x.task[i].status == ASLEEP && x.task[i].word == word)
			x.task[i].status = READY;
	}
}

static void hook_relax(struct sim *m)
{
	(void)m;
	complete(current());
	check_step();
	for (uint32_t i = 0; i < x.nr_tasks; i++) {
		if (i != x.now && x.task[i].status == READY)
			current()->before_me |= 1u << i;
	}
	sim_say("polls");
	decide();
}

static void hook_looked(struct sim *m)
{
	complete(current());
	current()->history = sim_history_step(current()->history, m, true);
}

/* A decision that is not about tasks: 0 or 1. */
static bool hook_fails(struct sim *m, int op)
{
	static const uint8_t option[] = { 0, 1 };
	int pick;

	(void)m;
	if (++x.step > SIM_STEPS)
		sim_fail_now("livelock: no end after %d steps", SIM_STEPS);
	pick = x.strategy->pick(x.strategy, option, 2, false);
	if (pick == SIM_PRUNE)
		leave(SIM_PRUNED);
	if (pick)
		note_switch(1);
	current()->history = sim_history_mix(current()->history, (uint64_t)pick);
	if (pick)
		sim_say("%s fails", sim_op_name[op]);
	return pick;
}

static const struct sim_hooks hooks = {
	.looked = hook_looked,
	.fails = hook_fails,
	.yield = hook_point,
	.wait = hook_wait,
	.wake_all = hook_wake_all,
	.relax = hook_relax,
};

void sim_say(const char *format, ...)
{
	struct sim_step s = { .step = x.step, .task = (uint8_t)x.now };
	va_list args;

	if (!x.trace || !x.running)
		return;
	va_start(args, format);
	(void)vsnprintf(s.text, sizeof(s.text), format, args);
	va_end(args);
	s.preempted = current()->step.preempted;
	trace(&s);
}

/* ---------------------------------------------------------------------------- executions */

static void task_main(void)
{
	struct sim_task *t = &x.w->task[x.now];

	if (x.sc->monitor && x.now + 1 == x.nr_tasks)
		sim_monitor(t);
	else
		x.sc->task[x.now].body(x.w, t);
	sim_say("ends");
	complete(current());
	current()->status = DONE;
	decide();
	__builtin_unreachable();
}

static void helper_main(void)
{
	x.helper_body();
	x.finished = true;
	leave(x.outcome);
}

/* Run @body alone, on a stack of its own. Return: false if it failed. */
static bool alone(void (*body)(void))
{
	x.helper_body = body;
	x.finished = false;
	x.running = false;
	sim_fiber_make(&x.helper, stacks[SIM_TASKS], STACK, helper_main);
	sim_fiber_switch(&x.main, &x.helper);
	return x.finished;
}

static void build(void)
{
	struct world *w = x.w = sim_alloc(sizeof(*w));
	struct sim_conf conf = x.sc->conf;

	conf.nr_pages = conf.nr_pages ? conf.nr_pages : 8;
	conf.huge_size = conf.huge_size ? conf.huge_size : 2 * 4096;
	/* Two of the canaries are of the machine: what the os layer has to do for the engine. */
	conf.bugs |= NHI_CANARY(MARK_WITHOUT_FLUSH) ? SIM_BUG_NO_FLUSH : 0;
	conf.bugs |= NHI_CANARY(MONITOR_READS_EARLY) ? SIM_BUG_READ_EARLY : 0;
	w->mm = sim_alloc(sizeof(*w->mm));
	w->m = sim_os_create(&conf);
	for (uint32_t i = 0; i < SIM_TASKS; i++)
		sim_task_init(w->m, &w->task[i], 10 + (int)i, x.sc->task[i].cpu);
	(void)nhi_mm_init(w->mm, &w->m->os, x.sc->around ? x.sc->around : 1);
	x.sc->setup(w);
	w->m->current = &w->task[0];
}

void sim_sched_open(const struct sim_scenario *sc)
{
	catch_crashes();
	memset(arena, 0, x.used);
	x.used = 0;
	x.sc = sc;
	x.now = 0;
	memset(x.task, 0, sizeof(x.task));
	for (x.nr_tasks = 0; x.nr_tasks < SIM_TASKS && sc->task[x.nr_tasks].body;)
		x.nr_tasks++;
	x.nr_tasks += sc->monitor;
	x.outcome = SIM_PASSED;
	if (!alone(build)) {
		fprintf(stderr, "%s: setup: %s\n", sc->name, x.message);
		abort();
	}
	x.image_used = x.used;
	memcpy(image, arena, x.used);
}

static void judge(void)
{
	memset(&x.w->m->hooks, 0, sizeof(x.w->m->hooks));
	x.w->m->may_fail = 0;
	x.w->m->current = &x.w->task[0];
	x.result = sim_digest(x.w);
	sim_judge(x.w, x.sc);
}

/* Nobody runs yet: who is first? */
static void start(void)
{
	x.running = true;
	decide();
}

enum sim_outcome sim_sched_run(struct sim_strategy *s)
{
	arena_reset();
	sim_history_reset();
	x.strategy = s;
	x.step = x.preemptions = 0;
	x.schedule.nr = 0;
	memset(x.task, 0, sizeof(x.task));
	for (uint32_t i = 0; i < x.nr_tasks; i++) {
		x.task[i].history = i + 1;
		sim_fiber_make(&x.task[i].fiber, stacks[i], STACK, task_main);
	}
	x.w->m->hooks = hooks;
	x.w->m->may_fail = x.sc->may_fail;
	x.task[SIM_TASKS].status = DONE;
	x.now = SIM_TASKS;
	x.outcome = SIM_PASSED;
	(void)alone(start);
	x.now = 0;
	if (x.outcome == SIM_PASSED && !alone(judge))
		x.outcome = SIM_FAILED;
	return x.outcome;
}

const char *sim_sched_message(void)
{
	return x.message;
}

const struct sim_schedule *sim_sched_schedule(void)
{
	return &x.schedule;
}

uint32_t sim_sched_steps(void)
{
	return x.step;
}

uint32_t sim_sched_preemptions(void)
{
	return x.preemptions;
}

uint64_t sim_sched_result(void)
{
	return x.result;
}

uint32_t sim_sched_step(void)
{
	return x.step;
}

uint64_t sim_sched_state(void)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < x.nr_tasks; i++) {
		const struct task *t = &x.task[i];

		sum += sim_history_mix(t->history + (uint64_t)t->status,
				       (uint64_t)t->before_me << 8 | i);
	}
	return sum;
}

uint8_t sim_sched_now(void)
{
	return (uint8_t)x.now;
}

void sim_sched_trace(void (*to)(void *arg, const struct sim_step *step), void *arg)
{
	x.trace = to;
	x.trace_arg = arg;
}

bool sim_sched_is_address(uint64_t value)
{
	return value >= (uintptr_t)arena && value < (uintptr_t)arena + ARENA;
}

struct world *sim_sched_world(void)
{
	return x.w;
}
