// SPDX-License-Identifier: MIT
/*
 * The malloc family. Blocks of at least min_size are noted; freeing any other block costs two
 * comparisons. The whole pages inside a block are ours to mark: what the allocator keeps before and
 * behind it never is.
 */
#include "preload.h"

#include <errno.h>
#include <string.h>

/* Every one of these is called by the program. */
NHP_EXPORT void *malloc(size_t size);
NHP_EXPORT void *calloc(size_t nr, size_t size);
NHP_EXPORT void *realloc(void *old, size_t size);
NHP_EXPORT void free(void *p);
NHP_EXPORT int posix_memalign(void **ret, size_t align, size_t size);
NHP_EXPORT void *aligned_alloc(size_t align, size_t size);
NHP_EXPORT void *memalign(size_t align, size_t size);
NHP_EXPORT void *valloc(size_t size);
NHP_EXPORT void *pvalloc(size_t size);

static inline void *noted(void *p, size_t size)
{
	if (nhp_is_large(size) && p) {
		int saved_errno = errno;

		nhp_note(p, size, NHP_HEAP);
		errno = saved_errno;
	}
	return p;
}

void *malloc(size_t size)
{
	if (nhp_booting())
		return nhp_boot_alloc(size);
	return noted(NHP_REAL(malloc)(size), size);
}

void *calloc(size_t nr, size_t size)
{
	void *p;

	if (nhp_booting()) {
		/* dlsym() asks for a few bytes. The arena is zeroed. */
		return size && nr > SIZE_MAX / size ? NULL : nhp_boot_alloc(nr * size);
	}
	p = NHP_REAL(calloc)(nr, size);
	return p ? noted(p, nr * size) : NULL; /* no overflow: it would have failed */
}

/* A block of the start, which the allocator does not know, goes over to it. */
static void *realloc_boot(const void *old, size_t size)
{
	void *p = malloc(size);

	/* Its length is not kept; what lies behind it is readable up to the end of the arena. */
	if (p)
		memcpy(p, old, nhi_min(size, nhp_boot_rest(old)));
	return p;
}

void *realloc(void *old, size_t size)
{
	struct nhp_alloc was;
	bool known;
	void *p;

	if (nhp_boot_owns(old))
		return realloc_boot(old, size);
	if (nhp_booting())
		return old ? NULL : nhp_boot_alloc(size);
	known = old && nhp_forget(old, &was);
	p = NHP_REAL(realloc)(old, size);
	if (!known)
		return noted(p, size);
	if (!p && size)
		nhp_note_again(old, was.len, &was); /* it failed: the old block is still there */
	else if (p && nhp_is_large(size))
		nhp_note_again(p, size, &was);
	return p;
}

void free(void *p)
{
	struct nhp_alloc old;

	if (__builtin_expect(nhp_boot_owns(p), 0))
		return;
	if (__builtin_expect(nhp_near((uintptr_t)p, (uintptr_t)p + 1), 0))
		(void)nhp_forget(p, &old);
	NHP_REAL(free)(p);
}

int posix_memalign(void **ret, size_t align, size_t size)
{
	int err = NHP_REAL(posix_memalign)(ret, align, size);

	if (!err)
		(void)noted(*ret, size);
	return err;
}

void *aligned_alloc(size_t align, size_t size)
{
	return noted(NHP_REAL(aligned_alloc)(align, size), size);
}

void *memalign(size_t align, size_t size)
{
	return noted(NHP_REAL(memalign)(align, size), size);
}

void *valloc(size_t size)
{
	return noted(NHP_REAL(valloc)(size), size);
}

void *pvalloc(size_t size)
{
	return noted(NHP_REAL(pvalloc)(size), size);
}
