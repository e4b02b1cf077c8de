// SPDX-License-Identifier: MIT
/*
 * libgomp's entry points of parallel regions; the compiler calls them. Each is the next definition
 * between the begin and the end of a region.
 */
#include "openmp.h"

typedef void (*body)(void *);

static struct nhp_omp omp;

/* The next definition of the function that this is expanded in, as a pointer of type @type. */
#define NEXT(name, type)                                                        \
	static void *slot_##name;                                               \
	const type next = (type)(uintptr_t)nhp_openmp_real(&slot_##name, #name, \
							   __builtin_return_address(0), &omp)

NHP_EXPORT void GOMP_parallel(body fn, void *data, unsigned int threads, unsigned int flags);
NHP_EXPORT unsigned int GOMP_parallel_reductions(body fn, void *data, unsigned int threads,
						 unsigned int flags);
NHP_EXPORT void GOMP_parallel_sections(body fn, void *data, unsigned int threads,
				       unsigned int count, unsigned int flags);

void GOMP_parallel(body fn, void *data, unsigned int threads, unsigned int flags)
{
	NEXT(GOMP_parallel, typeof(&GOMP_parallel));
	struct nhp_region r;

	nhp_region_begin(&r, threads, &omp);
	next(fn, data, threads, flags);
	nhp_region_end(&r);
}

unsigned int GOMP_parallel_reductions(body fn, void *data, unsigned int threads, unsigned int flags)
{
	NEXT(GOMP_parallel_reductions, typeof(&GOMP_parallel_reductions));
	struct nhp_region r;
	unsigned int ret;

	nhp_region_begin(&r, threads, &omp);
	ret = next(fn, data, threads, flags);
	nhp_region_end(&r);
	return ret;
}

void GOMP_parallel_sections(body fn, void *data, unsigned int threads, unsigned int count,
			    unsigned int flags)
{
	NEXT(GOMP_parallel_sections, typeof(&GOMP_parallel_sections));
	struct nhp_region r;

	nhp_region_begin(&r, threads, &omp);
	next(fn, data, threads, count, flags);
	nhp_region_end(&r);
}

/* Combined parallel loops: with a chunk size, and with the schedule that OMP_SCHEDULE names. */
#define CHUNKED(name)                                                                         \
	NHP_EXPORT void name(body fn, void *data, unsigned int threads, long start, long end, \
			     long step, long chunk, unsigned int flags);                      \
	void name(body fn, void *data, unsigned int threads, long start, long end, long step, \
		  long chunk, unsigned int flags)                                             \
	{                                                                                     \
		NEXT(name, typeof(&name));                                                    \
		struct nhp_region r;                                                          \
                                                                                              \
		nhp_region_begin(&r, threads, &omp);                                          \
		next(fn, data, threads, start, end, step, chunk, flags);                      \
		nhp_region_end(&r);                                                           \
	}

#define SCHEDULED(name)                                                                       \
	NHP_EXPORT void name(body fn, void *data, unsigned int threads, long start, long end, \
			     long step, unsigned int flags);                                  \
	void name(body fn, void *data, unsigned int threads, long start, long end, long step, \
		  unsigned int flags)                                                         \
	{                                                                                     \
		NEXT(name, typeof(&name));                                                    \
		struct nhp_region r;                                                          \
                                                                                              \
		nhp_region_begin(&r, threads, &omp);                                          \
		next(fn, data, threads, start, end, step, flags);                             \
		nhp_region_end(&r);                                                           \
	}

CHUNKED(GOMP_parallel_loop_static)
CHUNKED(GOMP_parallel_loop_dynamic)
CHUNKED(GOMP_parallel_loop_guided)
CHUNKED(GOMP_parallel_loop_nonmonotonic_dynamic)
CHUNKED(GOMP_parallel_loop_nonmonotonic_guided)
SCHEDULED(GOMP_parallel_loop_runtime)
SCHEDULED(GOMP_parallel_loop_nonmonotonic_runtime)
SCHEDULED(GOMP_parallel_loop_maybe_nonmonotonic_runtime)

/* ------------------------------------------------------- programs of compilers before GCC 4.9 */

/* Here the region lasts from a start call to GOMP_parallel_end() in the same thread. */
static __thread struct nhp_region open_region NHP_STATIC_TLS;

NHP_EXPORT void GOMP_parallel_start(body fn, void *data, unsigned int threads);
NHP_EXPORT void GOMP_parallel_sections_start(body fn, void *data, unsigned int threads,
					     unsigned int count);
NHP_EXPORT void GOMP_parallel_end(void);

/* A region inside of a region is not an occasion, and must not lose the outer one. */
static void begin_open(unsigned int threads)
{
	if (!open_region.id)
		nhp_region_begin(&open_region, threads, &omp);
}

void GOMP_parallel_start(body fn, void *data, unsigned int threads)
{
	NEXT(GOMP_parallel_start, typeof(&GOMP_parallel_start));

	begin_open(threads);
	next(fn, data, threads);
}

void GOMP_parallel_sections_start(body fn, void *data, unsigned int threads, unsigned int count)
{
	NEXT(GOMP_parallel_sections_start, typeof(&GOMP_parallel_sections_start));

	begin_open(threads);
	next(fn, data, threads, count);
}

void GOMP_parallel_end(void)
{
	NEXT(GOMP_parallel_end, typeof(&GOMP_parallel_end));

	next();
	if (!omp.in_parallel || !omp.in_parallel())
		nhp_region_end(&open_region);
}

#define CHUNKED_START(name)                                                                   \
	NHP_EXPORT void name(body fn, void *data, unsigned int threads, long start, long end, \
			     long step, long chunk);                                          \
	void name(body fn, void *data, unsigned int threads, long start, long end, long step, \
		  long chunk)                                                                 \
	{                                                                                     \
		NEXT(name, typeof(&name));                                                    \
                                                                                              \
		begin_open(threads);                                                          \
		next(fn, data, threads, start, end, step, chunk);                             \
	}

CHUNKED_START(GOMP_parallel_loop_static_start)
CHUNKED_START(GOMP_parallel_loop_dynamic_start)
CHUNKED_START(GOMP_parallel_loop_guided_start)

NHP_EXPORT void GOMP_parallel_loop_runtime_start(body fn, void *data, unsigned int threads,
						 long start, long end, long step);

void GOMP_parallel_loop_runtime_start(body fn, void *data, unsigned int threads, long start,
				      long end, long step)
{
	NEXT(GOMP_parallel_loop_runtime_start, typeof(&GOMP_parallel_loop_runtime_start));

	begin_open(threads);
	next(fn, data, threads, start, end, step);
}
