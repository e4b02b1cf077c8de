/* SPDX-License-Identifier: MIT */
/*
 * Host memory of the simulator, zeroed. Under the scheduler it comes from an arena that is emptied
 * before each execution, so that the same choices meet the same addresses.
 */
#ifndef SIM_ALLOC_H
#define SIM_ALLOC_H

#include "atomic.h"

#include <stdlib.h>

#if NH_SIM
void *sim_alloc(size_t bytes);
static inline void sim_release(void *mem)
{
	(void)mem;
}
#else
static inline void *sim_alloc(size_t bytes)
{
	void *mem = calloc(1, bytes);

	if (!mem)
		abort();
	return mem;
}
static inline void sim_release(void *mem)
{
	free(mem);
}
#endif

#endif
