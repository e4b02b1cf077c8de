/* SPDX-License-Identifier: MIT */
/* What the two OpenMP families share. */
#ifndef NHP_OPENMP_H
#define NHP_OPENMP_H

#include "preload.h"

/*
 * The next definition of @name for code at @caller. Not always behind RTLD_NEXT: a plugin that was
 * loaded with RTLD_LOCAL (numpy's, say) finds our wrapper first, and its runtime only through its
 * own dependencies. Also finds what that runtime can tell. Aborts if there is none: then nobody
 * could have called us.
 */
void *nhp_openmp_next(const char *name, const void *caller, struct nhp_omp *omp);

/* The next definition in *@slot, looked up at first use. */
static inline void *nhp_openmp_real(void **slot, const char *name, const void *caller,
				    struct nhp_omp *omp)
{
	void *found = nhi_load_acquire(slot); /* pairs with the release below: omp is filled */

	if (__builtin_expect(!found, 0)) {
		found = nhp_openmp_next(name, caller, omp);
		nhi_store_release(slot, found);
	}
	return found;
}

#endif
