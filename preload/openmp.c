// SPDX-License-Identifier: MIT
/* Finding the OpenMP runtime that a caller of ours would have called. */
#include "openmp.h"

#include <dlfcn.h>
#include <link.h>

/* The symbol as the library that holds @code would have bound it without us. */
static void *next_of_library(const void *code, const char *name)
{
	struct link_map *map;
	void *handle, *found;
	Dl_info info;

	if (!dladdr1(code, &info, (void **)&map, RTLD_DL_LINKMAP))
		return NULL;
	/* "" is the main program; its handle searches the global scope, as RTLD_NEXT did. */
	handle = dlopen(*map->l_name ? map->l_name : NULL, RTLD_LAZY | RTLD_NOLOAD);
	if (!handle)
		return NULL;
	found = dlsym(handle, name);
	(void)dlclose(handle);
	return found;
}

void *nhp_openmp_next(const char *name, const void *caller, struct nhp_omp *omp)
{
	union {
		void *object;
		int (*function)(void);
	} tells;
	void *found = dlsym(RTLD_NEXT, name);

	if (!found)
		found = next_of_library(caller, name);
	if (!found) {
		nhp_say("no OpenMP runtime defines %s", name);
		abort();
	}
	tells.object = next_of_library(found, "omp_in_parallel");
	omp->in_parallel = tells.function;
	tells.object = next_of_library(found, "omp_get_max_threads");
	omp->max_threads = tells.function;
	return found;
}
