/* SPDX-License-Identifier: MIT */
/*
 * Histories of tasks: what happened before what.
 *
 * A read depends on the last write of its object, a write on that and on all reads since. Folding
 * these hashes into that of the task makes it stand for everything that the task can know, and
 * makes it the same in whatever order independent operations came.
 */
#ifndef SIM_HISTORY_H
#define SIM_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

static inline uint64_t sim_history_mix(uint64_t a, uint64_t b)
{
	uint64_t z = (a ^ b * 0x9e3779b97f4a7c15ull) + 0x2545f4914f6cdd1dull;

	z = (z ^ z >> 32) * 0xd6e8feb86659fd93ull;
	return z ^ z >> 32;
}

/* Forget all objects: a new execution. */
void sim_history_reset(void);
/* The history of a task that had @history, after an operation on @object. */
uint64_t sim_history_step(uint64_t history, const volatile void *object, bool write);

#endif
