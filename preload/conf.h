/* SPDX-License-Identifier: MIT */
/* NUMAHINT_CONF, as the runner writes it and the preloaded library reads it; see numahint-run(1). */
#ifndef NHP_CONF_H
#define NHP_CONF_H

#include <stdbool.h>
#include <stddef.h>

enum nhp_when {
	NHP_WHEN_PARALLEL, /* at parallel regions of OpenMP */
	NHP_WHEN_START,	   /* as soon as an allocation has pages */
	NHP_WHEN_THREADS,  /* when a thread starts */
	NHP_WHEN_EVERY,	   /* everything, again and again */
	NHP_WHEN_SIGNAL,   /* everything, on a signal */
};

#define NHP_CONF_TEXT 128

struct nhp_conf {
	enum nhp_when when;
	unsigned int every_ms; /* NHP_WHEN_EVERY */
	int signal;	       /* NHP_WHEN_SIGNAL: its number */
	size_t min_size;       /* bytes */
	bool keep_marks, dry_run, strict, stats, quiet;
	int root; /* pid of the process that the runner became; 0: not started by it */
	/* The library's keys, checked for their spelling only; "" is absent. */
	char trap[16], delivery[16], copy[16], nodes[NHP_CONF_TEXT];
	unsigned int around;
};

void nhp_conf_default(struct nhp_conf *conf);

/*
 * Add what @text says to @conf. Each thing that is wrong is one call of @complain, with a sentence
 * without a newline; the rest of the text still counts.
 * Return: 0; -EINVAL if anything was wrong.
 */
int nhp_conf_parse(struct nhp_conf *conf, const char *text,
		   void (*complain)(void *arg, const char *sentence), void *arg);

/* "key:value,..." with everything that differs from the default. As snprintf(3). */
int nhp_conf_print(const struct nhp_conf *conf, char *buf, size_t len);

/*
 * "parallel", "start", "threads", "every=500ms" (ms, s, m; at least 1 ms), "signal=USR2". Sets when,
 * every_ms and signal. Return: 0, -EINVAL.
 */
int nhp_parse_when(const char *text, struct nhp_conf *conf);
/* The text that parses as @conf's when; in a static buffer that is filled once. */
const char *nhp_when_name(const struct nhp_conf *conf);

/* "512K", "1M", "2G", a plain number of bytes. Return: 0, -EINVAL, -ERANGE. */
int nhp_parse_size(const char *text, size_t *bytes);

/* The name in @names (NULL at the end) that @word was probably meant to be; NULL: none is near. */
const char *nhp_nearest(const char *word, const char *const *names);

#endif
