// SPDX-License-Identifier: MIT
/*
 * The triad of the STREAM benchmark, a[i] = b[i] + s * c[i], with arrays that one thread fills:
 * memory bandwidth and nothing else. STREAM itself fills them in parallel, which is the cure by
 * hand. This program knows nothing of NUMA. Try
 *
 *	triad
 *	numahint run -- triad
 */
#include <getopt.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

static double triad(double *restrict a, const double *restrict b, const double *restrict c,
		    size_t n)
{
	double start = omp_get_wtime();

#pragma omp parallel for schedule(static)
	for (size_t i = 0; i < n; i++)
		a[i] = b[i] + 3.0 * c[i];
	return omp_get_wtime() - start;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "bytes", required_argument, NULL, 'b' },
		{ "iterations", required_argument, NULL, 'i' },
		{ 0 },
	};
	size_t bytes = (size_t)384 << 20; /* all three arrays */
	double best = 1e9, total = 0, sum = 0;
	double *a, *b, *c;
	int iterations = 20;
	size_t n;
	int opt;

	while ((opt = getopt_long(argc, argv, "b:i:", options, NULL)) != -1) {
		if (opt == 'b') {
			bytes = strtoul(optarg, NULL, 10);
		} else if (opt == 'i') {
			iterations = atoi(optarg);
		} else {
			fprintf(stderr, "usage: triad [--bytes N] [--iterations N]\n");
			return 2;
		}
	}
	n = bytes / 3 / sizeof(*a);
	if (n < 1 || iterations < 1) {
		fprintf(stderr, "triad: at least 24 bytes and one iteration\n");
		return 2;
	}
	a = malloc(n * sizeof(*a));
	b = malloc(n * sizeof(*b));
	c = malloc(n * sizeof(*c));
	if (!a || !b || !c) {
		fprintf(stderr, "triad: no memory for %zu bytes\n", bytes);
		return 1;
	}
	for (size_t i = 0; i < n; i++) { /* serial, on purpose */
		a[i] = 0;
		b[i] = 1 + (double)(i % 7);
		c[i] = 2 + (double)(i % 5);
	}

	for (int i = 0; i < iterations; i++) {
		double t = triad(a, b, c, n);

		total += t;
		best = t < best ? t : best;
	}

	for (size_t i = 0; i < n; i++)
		sum += a[i];
	printf("triad: %zu bytes, %d iterations, %d threads: checksum %.0f, best %.6f s "
	       "(%.2f GB/s), mean %.6f s\n",
	       3 * n * sizeof(*a), iterations, omp_get_max_threads(), sum, best,
	       3e-9 * (double)(n * sizeof(*a)) / best, total / iterations);
	free(a);
	free(b);
	free(c);
	return 0;
}
