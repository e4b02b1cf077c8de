// SPDX-License-Identifier: MIT
/*
 * Memory for the floors: aligned to huge pages, with or without them, stamped so that a page that
 * went astray is seen, and read in order or scrambled.
 */
#include "floor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void align(struct floor_mem *m, size_t len)
{
	uintptr_t base = (uintptr_t)m->map;

	m->addr = (char *)((base + bench_huge - 1) / bench_huge * bench_huge);
	m->len = len;
}

int floor_mem_map(struct floor_mem *m, size_t len, bool thp)
{
	/*
	 * A gap of one huge page on either side keeps the mapping from merging with a neighbour:
	 * then one line of smaps is exactly this memory.
	 */
	m->map_len = len + 2 * bench_huge;
	m->map = mmap(NULL, m->map_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		      0);
	if (m->map == MAP_FAILED)
		return -errno;
	align(m, len);
	if (mprotect(m->addr, len, PROT_READ | PROT_WRITE) < 0 ||
	    madvise(m->addr, len, thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) < 0) {
		int ret = -errno;

		munmap(m->map, m->map_len);
		return ret;
	}
	return 0;
}

int floor_mem_map_fd(struct floor_mem *m, size_t len, int fd)
{
	m->map_len = len + 2 * bench_huge;
	m->map = mmap(NULL, m->map_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		      0);
	if (m->map == MAP_FAILED)
		return -errno;
	align(m, len);
	if (mmap(m->addr, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
	    MAP_FAILED) {
		int ret = -errno;

		munmap(m->map, m->map_len);
		return ret;
	}
	return 0;
}

void floor_mem_unmap(struct floor_mem *m)
{
	if (m->map)
		munmap(m->map, m->map_len);
	*m = (struct floor_mem){ 0 };
}

static uint64_t stamp_of(size_t off)
{
	return (uint64_t)off * 0x9e3779b97f4a7c15u + 1;
}

void floor_stamp(char *addr, size_t start, size_t end)
{
	for (size_t off = start; off < end; off += bench_page)
		*(volatile uint64_t *)(addr + off) = stamp_of(off);
}

int floor_touch(const char *addr, size_t start, size_t end)
{
	size_t bad = 0;

	for (size_t off = start; off < end; off += bench_page)
		bad += *(const volatile uint64_t *)(addr + off) != stamp_of(off);
	return bad ? -EILSEQ : 0;
}

/*
 * A bijection of the numbers below 2^bits: xor of a right shift and multiplication by an odd
 * number both have inverses modulo a power of two. It needs no table, whose own cache misses would
 * be measured too.
 */
static size_t scramble(size_t x, unsigned int bits)
{
	size_t mask = ((size_t)1 << bits) - 1;

	for (int round = 0; round < 3; round++) {
		x = (x * 0x9e3779b97f4a7c15u) & mask;
		x ^= x >> (bits / 2 + 1);
	}
	return x;
}

int floor_touch_random(const char *addr, size_t len, size_t from, size_t to)
{
	unsigned int bits = (unsigned int)__builtin_ctzl(len / bench_page);
	size_t bad = 0;

	if (len / bench_page != (size_t)1 << bits)
		return -EINVAL;
	for (size_t i = from; i < to; i++) {
		size_t off = scramble(i, bits) * bench_page;

		bad += *(const volatile uint64_t *)(addr + off) != stamp_of(off);
	}
	return bad ? -EILSEQ : 0;
}

double floor_huge_share(const char *addr, size_t len)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	uintptr_t start = (uintptr_t)addr;
	bool inside = false;
	size_t huge_kb = 0;
	char line[512];

	if (!smaps)
		return -1;
	while (fgets(line, sizeof(line), smaps)) {
		unsigned long lo, hi;
		size_t kb;

		if (sscanf(line, "%lx-%lx ", &lo, &hi) == 2)
			inside = lo >= start && hi <= start + len;
		else if (inside && sscanf(line, "AnonHugePages: %zu kB", &kb) == 1)
			huge_kb += kb;
	}
	(void)fclose(smaps);
	return (double)huge_kb * 1024 / (double)len;
}

int floor_nr_nodes(void)
{
	FILE *f = fopen("/sys/devices/system/node/has_memory", "re");
	int lo, hi, n = 0;
	char sep = ',';

	if (!f)
		return 1;
	/* A list such as "0-1,4". */
	while (sep == ',' && fscanf(f, "%d", &lo) == 1) {
		hi = lo;
		if (fscanf(f, "-%d", &hi) < 0)
			hi = lo;
		n += hi - lo + 1;
		if (fscanf(f, "%c", &sep) != 1)
			break;
	}
	(void)fclose(f);
	return n > 0 ? n : 1;
}
