// SPDX-License-Identifier: MIT
/*
 * numahint's C API in one page: fill an array with one thread, ask that its pages follow whoever
 * touches them next, work on it with all threads, and see where the pages are.
 */
#include <numahint/numahint.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#define LEN  ((size_t)64 << 20)
#define PAGE ((size_t)4096)

static void show(const char *when, const char *mem)
{
	static int nodes[LEN / PAGE];
	size_t count[64] = { 0 };

	if (nh_node_of(NULL, mem, LEN / PAGE, nodes) < 0)
		return;
	for (size_t i = 0; i < LEN / PAGE; i++)
		if (nodes[i] >= 0 && nodes[i] < 64)
			count[nodes[i]]++;
	printf("%s:", when);
	for (int n = 0; n < 64; n++)
		if (count[n])
			printf("  node %d: %zu pages", n, count[n]);
	printf("\n");
}

int main(void)
{
	char *mem = aligned_alloc(PAGE, LEN);
	struct nh_stats st;
	long marked;

	if (!mem)
		return 1;
	for (size_t i = 0; i < LEN; i++)
		mem[i] = (char)i;
	show("filled by one thread", mem);

	marked = nh_next_touch(NULL, mem, LEN);
	if (marked < 0) {
		fprintf(stderr, "next_touch: %s\n", nh_strerror((int)marked));
		return 1;
	}
#pragma omp parallel for schedule(static)
	for (size_t i = 0; i < LEN; i++)
		mem[i]++;
	show("worked on by all", mem);

	if (nh_stats(NULL, &st, sizeof(st)) == 0)
		printf("%ld marked, %lu faults, %lu migrated\n", marked,
		       (unsigned long)st.hinting_faults, (unsigned long)st.migrated);
	return nh_unmark(NULL, NULL, 0) < 0;
}
