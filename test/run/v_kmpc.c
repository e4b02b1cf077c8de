// SPDX-License-Identifier: MIT
/*
 * A parallel loop as Clang compiles it, by hand, so that no Clang is needed: __kmpc_fork_call() of
 * LLVM's runtime with the shared variables as arguments; few of them, and more than twenty.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct ident {
	int32_t reserved_1, flags, reserved_2, reserved_3;
	const char *source;
};
typedef void (*microtask)(int32_t *, int32_t *, ...);

extern void __kmpc_fork_call(struct ident *where, int32_t argc, microtask task, ...);
extern void __kmpc_push_num_threads(struct ident *where, int32_t thread, int32_t nr);
extern int32_t __kmpc_global_thread_num(struct ident *where);
extern void __kmpc_for_static_init_8u(struct ident *where, int32_t thread, int32_t schedule,
				      int32_t *last, uint64_t *lower, uint64_t *upper,
				      int64_t *stride, int64_t increment, int64_t chunk);
extern void __kmpc_for_static_fini(struct ident *where, int32_t thread);

static struct ident here = { 0, 2, 0, 0, ";v_kmpc.c;main;1;1;;" };

/* This thread's part of [0, n). */
static void part(int32_t thread, uint64_t n, uint64_t *lower, uint64_t *upper)
{
	int32_t last = 0;
	int64_t stride = 1;

	*lower = 0;
	*upper = n - 1;
	__kmpc_for_static_init_8u(&here, thread, 34, &last, lower, upper, &stride, 1, 1);
	__kmpc_for_static_fini(&here, thread);
}

static void add_few(int32_t *thread, int32_t *bound, double *a, const double *b, const uint64_t *n)
{
	uint64_t lower, upper;

	(void)bound;
	part(*thread, *n, &lower, &upper);
	for (uint64_t i = lower; i <= upper; i++)
		a[i] += b[i];
}

static void add_many(int32_t *thread, int32_t *bound, const uint64_t *n, double *a, const int *x1,
		     const int *x2, const int *x3, const int *x4, const int *x5, const int *x6,
		     const int *x7, const int *x8, const int *x9, const int *x10, const int *x11,
		     const int *x12, const int *x13, const int *x14, const int *x15, const int *x16,
		     const int *x17, const int *x18)
{
	const int sum = *x1 + *x2 + *x3 + *x4 + *x5 + *x6 + *x7 + *x8 + *x9 + *x10 + *x11 + *x12 +
			*x13 + *x14 + *x15 + *x16 + *x17 + *x18;
	uint64_t lower, upper;

	(void)bound;
	part(*thread, *n, &lower, &upper);
	for (uint64_t i = lower; i <= upper; i++)
		a[i] += sum;
}

int main(void)
{
	const uint64_t n = 1 << 20;
	double *a = malloc(n * sizeof(*a)), *b = malloc(n * sizeof(*b)), total = 0;
	int x[18];

	if (!a || !b)
		return 1;
	for (uint64_t i = 0; i < n; i++) {
		a[i] = (double)i;
		b[i] = 1;
	}
	for (int i = 0; i < 18; i++)
		x[i] = 1 << i;
	__kmpc_push_num_threads(&here, __kmpc_global_thread_num(&here), 2);
	__kmpc_fork_call(&here, 3, (microtask)(uintptr_t)add_few, a, b, &n);
	__kmpc_push_num_threads(&here, __kmpc_global_thread_num(&here), 2);
	__kmpc_fork_call(&here, 20, (microtask)(uintptr_t)add_many, &n, a, x, x + 1, x + 2, x + 3,
			 x + 4, x + 5, x + 6, x + 7, x + 8, x + 9, x + 10, x + 11, x + 12, x + 13,
			 x + 14, x + 15, x + 16, x + 17);
	for (uint64_t i = 0; i < n; i++)
		total += a[i];
	printf("kmpc: %.0f\n", total);
	free(a);
	free(b);
	return 0;
}
