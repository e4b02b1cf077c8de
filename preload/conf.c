// SPDX-License-Identifier: MIT
/* NUMAHINT_CONF: "key:value,key:value". Used by the command too, so it knows libc alone. */
#include "conf.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const keys[] = { "trap",  "delivery", "copy",       "around",  "nodes",
				    "when",  "min_size", "keep_marks", "dry_run", "strict",
				    "stats", "quiet",	 "root",       NULL };
static const char *const traps[] = { "auto", "mprotect", "shadow", "minor", NULL };
static const char *const deliveries[] = { "auto", "thread", "monitor", NULL };
static const char *const copies[] = { "auto", "never", "always", NULL };
static const char *const whens[] = { "parallel", "start", "threads", "every", "signal", NULL };
static const char *const switches[] = { "false", "true", NULL };

void nhp_conf_default(struct nhp_conf *conf)
{
	memset(conf, 0, sizeof(*conf));
	conf->min_size = 1 << 20;
}

static int min3(int a, int b, int c)
{
	int m = a < b ? a : b;

	return m < c ? m : c;
}

/* Levenshtein distance of short words; words that are longer are far from everything. */
static int distance(const char *a, const char *b)
{
	int row[32];
	int n = (int)strlen(b);

	if (n >= 32 || strlen(a) >= 32)
		return INT_MAX;
	for (int j = 0; j <= n; j++)
		row[j] = j;
	for (int i = 1; a[i - 1]; i++) {
		int diagonal = row[0];

		row[0] = i;
		for (int j = 1; j <= n; j++) {
			int above = row[j];

			row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[n];
}

const char *nhp_nearest(const char *word, const char *const *names)
{
	const char *best = NULL;
	int nearest = (int)strlen(word) / 2 + 1;

	for (; *names; names++) {
		int d = distance(word, *names);

		if (d < nearest) {
			nearest = d;
			best = *names;
		}
	}
	return best;
}

int nhp_parse_size(const char *text, size_t *bytes)
{
	unsigned long long value;
	unsigned int shift = 0;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno)
		return -ERANGE;
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
	case 't':
	case 'T':
		shift = 40;
		break;
	}
	end += shift != 0;
	if (shift && !strcmp(end, "iB"))
		end += 2;
	if (*end)
		return -EINVAL;
	if (value > (SIZE_MAX >> 1) >> shift)
		return -ERANGE;
	*bytes = (size_t)value << shift;
	return 0;
}

/* "100ms", "2s", "1m" */
static int parse_ms(const char *text, unsigned int *ms)
{
	unsigned long factor, value;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (!strcmp(end, "ms"))
		factor = 1;
	else if (!strcmp(end, "s"))
		factor = 1000;
	else if (!strcmp(end, "m"))
		factor = 60000;
	else
		return -EINVAL;
	if (errno || !value || value > 86400000 / factor)
		return -EINVAL;
	*ms = (unsigned int)(value * factor);
	return 0;
}

static const struct {
	const char *name;
	int number;
} signals[] = { { "USR1", SIGUSR1 },   { "USR2", SIGUSR2 }, { "HUP", SIGHUP },
		{ "WINCH", SIGWINCH }, { "URG", SIGURG },   { "CONT", SIGCONT } };
#define NR_SIGNALS (sizeof(signals) / sizeof(signals[0]))

/* With or without "SIG"; those that a program can do without. */
static int parse_signal(const char *text, int *number)
{
	text += strncmp(text, "SIG", 3) ? 0 : 3;
	for (size_t i = 0; i < NR_SIGNALS; i++) {
		if (!strcmp(text, signals[i].name)) {
			*number = signals[i].number;
			return 0;
		}
	}
	return -EINVAL;
}

int nhp_parse_when(const char *text, struct nhp_conf *c)
{
	int err = 0;

	if (!strcmp(text, "parallel"))
		c->when = NHP_WHEN_PARALLEL;
	else if (!strcmp(text, "start"))
		c->when = NHP_WHEN_START;
	else if (!strcmp(text, "threads"))
		c->when = NHP_WHEN_THREADS;
	else if (!strncmp(text, "every=", 6) && !(err = parse_ms(text + 6, &c->every_ms)))
		c->when = NHP_WHEN_EVERY;
	else if (!strncmp(text, "signal=", 7) && !(err = parse_signal(text + 7, &c->signal)))
		c->when = NHP_WHEN_SIGNAL;
	else
		err = -EINVAL;
	return err;
}

const char *nhp_when_name(const struct nhp_conf *c)
{
	static char text[32];

	(void)snprintf(text, sizeof(text), "%s", whens[c->when]);
	if (c->when == NHP_WHEN_EVERY)
		(void)snprintf(text, sizeof(text), "every=%ums", c->every_ms);
	for (size_t i = 0; c->when == NHP_WHEN_SIGNAL && i < NR_SIGNALS; i++) {
		if (signals[i].number == c->signal)
			(void)snprintf(text, sizeof(text), "signal=%s", signals[i].name);
	}
	return text;
}

static int choose(const char *const *names, const char *value)
{
	for (int i = 0; names[i]; i++) {
		if (!strcmp(names[i], value))
			return i;
	}
	return -EINVAL;
}

static int set_name(char *to, size_t len, const char *const *names, const char *value)
{
	if (names && choose(names, value) < 0)
		return -EINVAL;
	if (strlen(value) >= len || !*value)
		return -EINVAL;
	memcpy(to, value, strlen(value) + 1);
	return 0;
}

static int set_switch(bool *to, const char *value)
{
	int n = choose(switches, value);

	if (n >= 0)
		*to = n;
	return n < 0 ? n : 0;
}

static int set_number(const char *value, long max, long *to)
{
	char *end;

	errno = 0;
	*to = strtol(value, &end, 10);
	return errno || end == value || *end || *to < 0 || *to > max ? -EINVAL : 0;
}

/* Return: 0; -EINVAL bad value, with what would be good in *expected; -ENOENT no such key. */
static int set_key(struct nhp_conf *c, const char *key, const char *value, const char **expected)
{
	long number = 0;
	int err = -ENOENT;

	*expected = "true or false";
	if (!strcmp(key, "trap")) {
		*expected = "auto, mprotect, shadow or minor";
		err = set_name(c->trap, sizeof(c->trap), traps, value);
	} else if (!strcmp(key, "delivery")) {
		*expected = "auto, thread or monitor";
		err = set_name(c->delivery, sizeof(c->delivery), deliveries, value);
	} else if (!strcmp(key, "copy")) {
		*expected = "auto, never or always";
		err = set_name(c->copy, sizeof(c->copy), copies, value);
	} else if (!strcmp(key, "nodes")) {
		*expected = "a number of nodes or a synthetic topology";
		err = set_name(c->nodes, sizeof(c->nodes), NULL, value);
	} else if (!strcmp(key, "around")) {
		*expected = "1 to 512 pages";
		err = set_number(value, 512, &number);
		c->around = err ? c->around : (unsigned int)number;
	} else if (!strcmp(key, "when")) {
		*expected = "parallel, start, threads, every=TIME or signal=NAME";
		err = nhp_parse_when(value, c);
	} else if (!strcmp(key, "min_size")) {
		*expected = "bytes, or a number with K, M or G";
		err = nhp_parse_size(value, &c->min_size);
	} else if (!strcmp(key, "root")) {
		*expected = "a process id";
		err = set_number(value, INT_MAX, &number);
		c->root = err ? c->root : (int)number;
	} else if (!strcmp(key, "keep_marks")) {
		err = set_switch(&c->keep_marks, value);
	} else if (!strcmp(key, "dry_run")) {
		err = set_switch(&c->dry_run, value);
	} else if (!strcmp(key, "strict")) {
		err = set_switch(&c->strict, value);
	} else if (!strcmp(key, "stats")) {
		err = set_switch(&c->stats, value);
	} else if (!strcmp(key, "quiet")) {
		err = set_switch(&c->quiet, value);
	}
	return err == -ERANGE ? -EINVAL : err;
}

/* @item: one "key:value", which is changed. */
static int parse_item(struct nhp_conf *conf, char *item, char *sentence, size_t len)
{
	char *colon = strchr(item, ':');
	const char *near, *expected;
	int err;

	if (!colon) {
		(void)snprintf(sentence, len, "'%s' is not key:value", item);
		return -EINVAL;
	}
	*colon = '\0';
	err = set_key(conf, item, colon + 1, &expected);
	if (err == -ENOENT) {
		near = nhp_nearest(item, keys);
		(void)snprintf(sentence, len, "unknown key '%s'%s%s%s", item,
			       near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
		return -EINVAL;
	}
	if (err)
		(void)snprintf(sentence, len, "'%s' does not fit key '%s', which takes %s",
			       colon + 1, item, expected);
	return err;
}

int nhp_conf_parse(struct nhp_conf *conf, const char *text,
		   void (*complain)(void *arg, const char *sentence), void *arg)
{
	int ret = 0;

	while (text && *text) {
		size_t len = strcspn(text, ",");
		char item[NHP_CONF_TEXT + 32], sentence[2 * NHP_CONF_TEXT + 96];

		if (len >= sizeof(item)) {
			complain(arg, "a key with its value is longer than 159 bytes");
			ret = -EINVAL;
		} else if (len) {
			memcpy(item, text, len);
			item[len] = '\0';
			if (parse_item(conf, item, sentence, sizeof(sentence))) {
				complain(arg, sentence);
				ret = -EINVAL;
			}
		}
		text += len + (text[len] == ',');
	}
	return ret;
}

struct out {
	char *buf;
	size_t len, used;
};

static void add(struct out *o, const char *key, const char *value)
{
	size_t room = o->used < o->len ? o->len - o->used : 0;
	int n = snprintf(room ? o->buf + o->used : NULL, room, "%s%s:%s", o->used ? "," : "", key,
			 value);

	o->used += (size_t)(n < 0 ? 0 : n);
}

int nhp_conf_print(const struct nhp_conf *c, char *buf, size_t len)
{
	struct out o = { buf, len, 0 };
	char number[32];

	if (len)
		*buf = '\0';
	if (*c->nodes)
		add(&o, "nodes", c->nodes);
	if (*c->trap)
		add(&o, "trap", c->trap);
	if (*c->delivery)
		add(&o, "delivery", c->delivery);
	if (*c->copy)
		add(&o, "copy", c->copy);
	if (c->around) {
		(void)snprintf(number, sizeof(number), "%u", c->around);
		add(&o, "around", number);
	}
	(void)snprintf(number, sizeof(number), "%zu", c->min_size);
	add(&o, "min_size", number);
	add(&o, "when", nhp_when_name(c));
	if (c->keep_marks)
		add(&o, "keep_marks", "true");
	if (c->dry_run)
		add(&o, "dry_run", "true");
	if (c->strict)
		add(&o, "strict", "true");
	if (c->stats)
		add(&o, "stats", "true");
	if (c->quiet)
		add(&o, "quiet", "true");
	if (c->root) {
		(void)snprintf(number, sizeof(number), "%d", c->root);
		add(&o, "root", number);
	}
	return (int)o.used;
}
