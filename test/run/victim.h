/* SPDX-License-Identifier: MIT */
/*
 * What the programs have in common that test/run runs under numahint run. They know nothing of
 * numahint, but they look for its symbols to be sure that what they test has marked pages.
 */
#ifndef VICTIM_H
#define VICTIM_H

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "numahint/numahint.h"

#define BIG ((size_t)8 << 20)

#define EXPECT(cond)                                                                            \
	do {                                                                                    \
		if (!(cond)) {                                                                  \
			fprintf(stderr, "%s:%d: not true: %s (errno %s)\n", __FILE__, __LINE__, \
				#cond, strerror(errno));                                        \
			_exit(1);                                                               \
		}                                                                               \
	} while (0)

static inline uint8_t pattern(size_t at)
{
	return (uint8_t)(at * 2654435761u >> 13);
}

/* Serially, as the programs that numahint run is for. */
static inline uint8_t *filled(size_t len)
{
	uint8_t *p = malloc(len);

	EXPECT(p);
	for (size_t i = 0; i < len; i++)
		p[i] = pattern(i);
	return p;
}

static inline bool is_filled(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] != pattern(i))
			return false;
	}
	return true;
}

/* Pages marked now; -1 without numahint. */
static inline long marked_now(void)
{
	union {
		void *object;
		int (*stats)(struct nh_mm *, struct nh_stats *, size_t);
	} f = { .object = dlsym(RTLD_DEFAULT, "nh_stats") };
	struct nh_stats st;

	return f.object && !f.stats(NULL, &st, sizeof(st)) ? (long)st.marked_now : -1;
}

/*
 * Inside of a parallel region: is there something marked? Under numahint run there must be, or the
 * test shows nothing; the script sets EXPECT_MARKS then.
 */
static inline void expect_marks(void)
{
	if (getenv("EXPECT_MARKS"))
		EXPECT(marked_now() > 0);
}

#endif
