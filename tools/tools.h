/* SPDX-License-Identifier: MIT */
/* What the verbs of the numahint command share. */
#ifndef NHT_TOOLS_H
#define NHT_TOOLS_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Exit codes; what a program returns is its own affair. */
#define NHT_NOTHING	   1 /* doctor: nothing works here */
#define NHT_USAGE	   2
#define NHT_FAILED	   125
#define NHT_NOT_EXECUTABLE 126
#define NHT_NOT_FOUND	   127

struct nht_verb {
	const char *name;
	const char *help;		    /* one line */
	int (*main)(int argc, char **argv); /* argv[0] is the verb */
};
int nht_run(int argc, char **argv);
int nht_topo(int argc, char **argv);
int nht_strips(int argc, char **argv);
int nht_doctor(int argc, char **argv);
int nht_sim(int argc, char **argv);

/* common.c */
/* "numahint VERB: ..." on stderr, with a newline. */
__attribute__((format(printf, 1, 2))) void nht_error(const char *format, ...);
void nht_set_verb(const char *verb);
/* After getopt_long() returned '?' or ':': say what is wrong. Return: NHT_USAGE. */
int nht_bad_option(char **argv, const struct option *options);
/* Say that @value is none of @names (NULL at the end). Return: NHT_USAGE. */
int nht_bad_value(const char *option, const char *value, const char *const *names);
/* Index of @value in @names; -1. */
int nht_choose(const char *const *names, const char *value);
/* May the output have colours: --color=auto|always|never (NULL: auto), NO_COLOR, a terminal? */
bool nht_colors(const char *choice);
/* "128 MiB", "1.5 GiB" into a static buffer. */
const char *nht_bytes(uint64_t bytes);

/* nodes.c: topology by hwloc */
/*
 * How many NUMA nodes "4" or a synthetic string stands for. On an error *why is a sentence.
 * Return: 1 to 255; -EINVAL.
 */
int nht_parse_nodes(const char *text, const char **why);
/* This machine as hwloc sees it: a table, or members of an object of JSON without its braces. */
void nht_print_machine(bool json);

/* program.c: what can be said of a program before it runs */
struct nht_program {
	char path[4096];
	int error;	       /* exit code, or 0 */
	const char *reason;    /* why it cannot be found or executed */
	const char *unmanaged; /* why it cannot be managed; NULL: it can */
};
void nht_find_program(struct nht_program *p, const char *name);

/* json.c: reading our own reports */
struct nht_json {
	const char *at, *end; /* the text that is left */
	bool bad;
};
/*
 * Members of an object, elements of an array: call after nht_json_open() until it returns false.
 * @key (may be NULL for arrays) gets the member's name. Each value must then be read or skipped.
 */
bool nht_json_open(struct nht_json *j, char bracket);
bool nht_json_next(struct nht_json *j, char *key, size_t len);
/* A string, number, true, false or null as text. Return: false, and j->bad, if it is none. */
bool nht_json_text(struct nht_json *j, char *text, size_t len);
void nht_json_skip(struct nht_json *j);

#endif
