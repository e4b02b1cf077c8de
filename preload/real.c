// SPDX-License-Identifier: MIT
/*
 * Finding the next definitions.
 *
 * malloc() is called long before any constructor, and dlsym() may itself call calloc(). So the
 * first call looks everything up, and what is asked for meanwhile comes from a small static arena.
 */
#include "preload.h"

#include <dlfcn.h>

struct nhp_real nhp_real;
size_t nhp_page_size = 4096; /* until the constructor knows better */

#define BOOT_BYTES 65536
static _Alignas(16) char boot[BOOT_BYTES];
static uint32_t boot_used;
static __thread bool resolving NHP_STATIC_TLS;

void *nhp_boot_alloc(size_t size)
{
	uint32_t end;

	if (size > BOOT_BYTES)
		return NULL;
	/* Relaxed: each caller gets bytes that nobody else has. */
	end = nhi_add_relaxed(&boot_used, (uint32_t)nhi_round_up(size, 16));
	return end <= BOOT_BYTES ? boot + end - nhi_round_up(size, 16) : NULL;
}

bool nhp_boot_owns(const void *p)
{
	return (uintptr_t)p - (uintptr_t)boot < BOOT_BYTES;
}

bool nhp_booting(void)
{
	return resolving && !nhp_real.malloc;
}

void nhp_resolve(void)
{
	if (resolving)
		return;
	resolving = true;
	/*
	 * The pointers are published one by one: what this finds is the same in every thread.
	 * The malloc family is first in the list, so that dlsym() can use it for the rest.
	 */
#define X(ret, name, params)                                       \
	if (!nhp_real.name) {                                      \
		union {                                            \
			void *object;                              \
			ret(*function) params;                     \
		} found = { .object = dlsym(RTLD_NEXT, #name) };   \
		nhi_store_relaxed(&nhp_real.name, found.function); \
	}
	NHP_REALS(X)
#undef X
	resolving = false;
}

size_t nhp_boot_rest(const void *p)
{
	return BOOT_BYTES - ((uintptr_t)p - (uintptr_t)boot);
}
