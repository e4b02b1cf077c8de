// SPDX-License-Identifier: MIT
/* Messages and small things that every verb needs. */
#include "tools.h"

#include "conf.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *the_verb = "";

void nht_set_verb(const char *verb)
{
	the_verb = verb;
}

void nht_error(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "numahint%s%s: ", *the_verb ? " " : "", the_verb);
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

int nht_bad_option(char **argv, const struct option *options)
{
	const char *names[32], *word = argv[optind - 1], *near = NULL;
	int n = 0;

	for (const struct option *o = options; o->name && n < 31; o++) {
		/* optopt is the value of a long option that misses its argument, or has one too many. */
		if (optopt && o->val == optopt) {
			nht_error("--%s %s", o->name,
				  o->has_arg == no_argument ? "takes no argument" :
							      "needs an argument");
			return NHT_USAGE;
		}
		names[n++] = o->name;
	}
	names[n] = NULL;
	if (optopt) {
		nht_error("unknown option -%c; --help lists them", optopt);
		return NHT_USAGE;
	}
	if (!strncmp(word, "--", 2))
		near = nhp_nearest(word + 2, names);
	nht_error("unknown option %s%s%s%s; --help lists them", word,
		  near ? " (did you mean --" : "", near ? near : "", near ? "?)" : "");
	return NHT_USAGE;
}

int nht_bad_value(const char *option, const char *value, const char *const *names)
{
	const char *near = nhp_nearest(value, names);
	char all[128] = "";

	for (int i = 0; names[i]; i++) {
		size_t used = strlen(all);

		(void)snprintf(all + used, sizeof(all) - used, "%s%s", i ? ", " : "", names[i]);
	}
	nht_error("%s: '%s' is none of %s%s%s%s", option, value, all, near ? " (did you mean " : "",
		  near ? near : "", near ? "?)" : "");
	return NHT_USAGE;
}

int nht_choose(const char *const *names, const char *value)
{
	for (int i = 0; names[i]; i++) {
		if (!strcmp(names[i], value))
			return i;
	}
	return -1;
}

bool nht_colors(const char *choice)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	if (choice && strcmp(choice, "auto") != 0)
		return !strcmp(choice, "always");
	return isatty(STDOUT_FILENO) && !(no_color && *no_color) &&
	       !(term && !strcmp(term, "dumb"));
}

const char *nht_bytes(uint64_t bytes)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	static char text[32];
	double value = (double)bytes;
	int u = 0;

	while (value >= 1024 && u < 5) {
		value /= 1024;
		u++;
	}
	(void)snprintf(text, sizeof(text), value == (double)(uint64_t)value ? "%.0f %s" : "%.1f %s",
		       value, unit[u]);
	return text;
}
