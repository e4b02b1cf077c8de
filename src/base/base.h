/* SPDX-License-Identifier: MIT */
/* Small things every folder uses. Knows nobody. */
#ifndef NHI_BASE_H
#define NHI_BASE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef NH_DEBUG
#define NH_DEBUG 0
#endif

#define NHI_ARRAY_SIZE(a)	 (sizeof(a) / sizeof((a)[0]))
#define NHI_CACHE_LINE		 64

#define nhi_min(a, b)		 ((a) < (b) ? (a) : (b))
#define nhi_max(a, b)		 ((a) > (b) ? (a) : (b))

/* @align must be a power of two. */
#define nhi_round_down(x, align) ((x) & ~((__typeof__(x))(align)-1))
#define nhi_round_up(x, align)	 nhi_round_down((x) + ((__typeof__(x))(align)-1), align)

/*
 * nhi_assert: for our own bugs only; kept in release builds where it is cheap. Async-signal-safe:
 * writes one line to descriptor 2 and aborts.
 */
#define nhi_assert(cond)                                            \
	do {                                                        \
		if (__builtin_expect(!(cond), 0))                   \
			nhi_assert_fail(#cond, __FILE__, __LINE__); \
	} while (0)
__attribute__((noreturn)) void nhi_assert_fail(const char *cond, const char *file, int line);

#if NH_DEBUG
#define nhi_debug_assert(cond) nhi_assert(cond)
#else
#define nhi_debug_assert(cond) ((void)0)
#endif

#endif
