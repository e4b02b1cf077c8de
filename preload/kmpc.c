// SPDX-License-Identifier: MIT
/*
 * LLVM's and Intel's entry points of parallel regions. They take the region's shared variables as
 * further arguments, so those have to be passed on without knowing how many the next definition
 * reads: it reads as many as @argc says, and more do no harm.
 */
#include "openmp.h"

#include <stdarg.h>

#define FEW  16
#define MANY 256

typedef void (*microtask)(int *, int *, ...);
typedef void (*fork_call)(void *where, int argc, microtask task, ...);

static struct nhp_omp omp;

NHP_EXPORT void __kmpc_fork_call(void *where, int argc, microtask task, ...);
NHP_EXPORT void __kmpc_fork_teams(void *where, int argc, microtask task, ...);
NHP_EXPORT void __kmpc_fork_call_if(void *where, int argc, microtask task, int cond, void *args);

#define A1(n)	a[n]
#define A4(n)	A1(n), A1((n) + 1), A1((n) + 2), A1((n) + 3)
#define A16(n)	A4(n), A4((n) + 4), A4((n) + 8), A4((n) + 12)
#define A64(n)	A16(n), A16((n) + 16), A16((n) + 32), A16((n) + 48)
#define A256(n) A64(n), A64((n) + 64), A64((n) + 128), A64((n) + 192)

static void call_few(fork_call next, void *where, int argc, microtask task, va_list args)
{
	void *a[FEW] = { NULL };

	for (int i = 0; i < argc; i++)
		a[i] = va_arg(args, void *);
	next(where, argc, task, A16(0));
}

static void call_many(fork_call next, void *where, int argc, microtask task, va_list args)
{
	void *a[MANY] = { NULL };

	for (int i = 0; i < argc; i++)
		a[i] = va_arg(args, void *);
	next(where, argc, task, A256(0));
}

static void call(fork_call next, void *where, int argc, microtask task, va_list args)
{
	struct nhp_region r;

	if (argc > MANY) {
		/* Compilers put more than a few variables into one structure. */
		nhp_say("a parallel region with %d arguments cannot be passed on", argc);
		abort();
	}
	nhp_region_begin(&r, 0, &omp);
	(argc <= FEW ? call_few : call_many)(next, where, argc, task, args);
	nhp_region_end(&r);
}

void __kmpc_fork_call(void *where, int argc, microtask task, ...)
{
	static void *slot;
	fork_call next = (fork_call)(uintptr_t)nhp_openmp_real(&slot, "__kmpc_fork_call",
							       __builtin_return_address(0), &omp);
	va_list args;

	va_start(args, task);
	call(next, where, argc, task, args);
	va_end(args);
}

void __kmpc_fork_teams(void *where, int argc, microtask task, ...)
{
	static void *slot;
	fork_call next = (fork_call)(uintptr_t)nhp_openmp_real(&slot, "__kmpc_fork_teams",
							       __builtin_return_address(0), &omp);
	va_list args;

	va_start(args, task);
	call(next, where, argc, task, args);
	va_end(args);
}

/* Since LLVM 16: "#pragma omp parallel if(cond)". */
void __kmpc_fork_call_if(void *where, int argc, microtask task, int cond, void *args)
{
	static void *slot;
	void (*next)(void *, int, microtask, int, void *) =
		(void (*)(void *, int, microtask, int, void *))(uintptr_t)nhp_openmp_real(
			&slot, "__kmpc_fork_call_if", __builtin_return_address(0), &omp);
	struct nhp_region r;

	nhp_region_begin(&r, cond ? 0 : 1, &omp);
	next(where, argc, task, cond, args);
	nhp_region_end(&r);
}
