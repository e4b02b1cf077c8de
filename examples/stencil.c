// SPDX-License-Identifier: MIT
/*
 * A 2-D five-point stencil (Jacobi iteration) as many programs are written: one thread fills the
 * grids, then all threads work on them. Linux puts a page on the node of the thread that first
 * writes to it, so every page sits on the first thread's node, and every other node works on
 * remote memory. This program knows nothing of NUMA. Try
 *
 *	stencil
 *	numahint run -- stencil
 */
#include <getopt.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

static void initialise(double *grid, double *next, size_t n)
{
	/* Serial: this is what makes all pages local to one thread and remote to the others. */
	for (size_t i = 0; i < n * n; i++) {
		grid[i] = 0;
		next[i] = 0;
	}
	/* A hot upper edge, and a left edge that gets warmer downwards. */
	for (size_t i = 0; i < n; i++) {
		grid[i] = next[i] = 100;
		grid[i * n] = next[i * n] = 50.0 * (double)i / (double)n;
	}
}

static void step(const double *restrict grid, double *restrict next, size_t n)
{
#pragma omp parallel for schedule(static)
	for (size_t y = 1; y < n - 1; y++)
		for (size_t x = 1; x < n - 1; x++)
			next[y * n + x] = 0.25 * (grid[(y - 1) * n + x] + grid[(y + 1) * n + x] +
						  grid[y * n + x - 1] + grid[y * n + x + 1]);
}

static double checksum(const double *grid, size_t n)
{
	double sum = 0;

	/* In order, by one thread: the same digits however many threads did the work. */
	for (size_t i = 0; i < n * n; i++)
		sum += grid[i];
	return sum;
}

int main(int argc, char **argv)
{
	size_t n = 4096; /* two grids of 128 MiB */
	int iterations = 20;
	double *grid, *next, start, seconds;
	int opt;

	while ((opt = getopt(argc, argv, "n:i:")) != -1) {
		if (opt == 'n') {
			n = strtoul(optarg, NULL, 10);
		} else if (opt == 'i') {
			iterations = atoi(optarg);
		} else {
			fprintf(stderr, "usage: stencil [-n SIDE] [-i ITERATIONS]\n");
			return 2;
		}
	}
	if (n < 3 || n > 100000 || iterations < 1) {
		fprintf(stderr, "stencil: SIDE must be 3 to 100000, ITERATIONS at least 1\n");
		return 2;
	}
	grid = malloc(n * n * sizeof(*grid));
	next = malloc(n * n * sizeof(*next));
	if (!grid || !next) {
		fprintf(stderr, "stencil: no memory for two grids of %zu x %zu\n", n, n);
		return 1;
	}

	initialise(grid, next, n);
	start = omp_get_wtime();
	for (int i = 0; i < iterations; i++) {
		double *swap = grid;

		step(grid, next, n);
		grid = next;
		next = swap;
	}
	seconds = omp_get_wtime() - start;

	printf("stencil: %zu x %zu, %d iterations, %d threads: checksum %.6f, %.3f s\n", n, n,
	       iterations, omp_get_max_threads(), checksum(grid, n), seconds);
	free(grid);
	free(next);
	return 0;
}
