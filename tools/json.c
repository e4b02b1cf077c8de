// SPDX-License-Identifier: MIT
/* A reader for our own reports, also after somebody has formatted them anew. */
#include "tools.h"

#include <stdlib.h>
#include <string.h>

static char peek(struct nht_json *j)
{
	while (j->at < j->end && strchr(" \t\r\n", *j->at))
		j->at++;
	return j->at < j->end ? *j->at : '\0';
}

static bool fail(struct nht_json *j)
{
	j->bad = true;
	j->at = j->end;
	return false;
}

bool nht_json_open(struct nht_json *j, char bracket)
{
	if (peek(j) != bracket)
		return fail(j);
	j->at++;
	return true;
}

static bool read_string(struct nht_json *j, char *text, size_t len)
{
	size_t n = 0;

	if (peek(j) != '"')
		return fail(j);
	for (j->at++; j->at < j->end && *j->at != '"'; j->at++) {
		char c = *j->at;

		if (c == '\\' && ++j->at < j->end) {
			c = *j->at;
			/* Ours are those below 128. */
			if (c == 'u' && j->end - j->at > 4) {
				char hex[5] = { j->at[1], j->at[2], j->at[3], j->at[4], 0 };

				c = (char)strtol(hex, NULL, 16);
				j->at += 4;
			}
		}
		if (n + 1 < len)
			text[n++] = c;
	}
	if (len)
		text[n] = '\0';
	if (j->at >= j->end)
		return fail(j);
	j->at++;
	return true;
}

bool nht_json_next(struct nht_json *j, char *key, size_t len)
{
	char c = peek(j);

	if (c == ',') {
		j->at++;
		c = peek(j);
	}
	if (c == ']' || c == '}') {
		j->at++;
		return false;
	}
	if (!c)
		return fail(j);
	if (!key)
		return true;
	if (!read_string(j, key, len))
		return false;
	if (peek(j) != ':')
		return fail(j);
	j->at++;
	return true;
}

bool nht_json_text(struct nht_json *j, char *text, size_t len)
{
	const char *start;
	size_t n = 0;

	if (peek(j) == '"')
		return read_string(j, text, len);
	for (start = j->at; j->at < j->end && !strchr(",]} \t\r\n", *j->at); j->at++) {
		if (n + 1 < len)
			text[n++] = *j->at;
	}
	if (len)
		text[n] = '\0';
	return j->at > start || fail(j);
}

void nht_json_skip(struct nht_json *j)
{
	int depth = 0;
	char c;

	do {
		c = peek(j);
		if (!c) {
			(void)fail(j);
			return;
		}
		if (c == '{' || c == '[') {
			depth++;
			j->at++;
		} else if (c == '}' || c == ']') {
			depth--;
			j->at++;
		} else if (c == ',' || c == ':') {
			j->at++;
		} else {
			(void)nht_json_text(j, NULL, 0);
		}
	} while (depth > 0 && !j->bad);
}
