/*
 * What: the machine has the NUMA nodes that were asked for, and pages sit where they were bound.
 * How: counts nodes in sysfs; for every node binds a mapping with mbind(2), touches it, and compares what move_pages(2)
 *      and numa_maps say; moves pages from the first node to the last. System calls and libc only, so that it tests the
 *      guest and nothing else. On the host it takes the nodes there are.
 * Fails when: the guest was booted with other nodes, or the kernel moves pages by itself (automatic balancing is on).
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/mempolicy.h>

#define MAX_NODES 64
#define NR_PAGES  64

static int nr_results;
static int nr_failed;

static void result(bool ok, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("%sok %d - ", ok ? "" : "not ", ++nr_results);
	vprintf(format, args);
	printf("\n");
	va_end(args);
	if (!ok)
		nr_failed++;
}

static void skip(const char *name, const char *reason)
{
	printf("ok %d - %s # SKIP %s\n", ++nr_results, name, reason);
}

/* The first line of a file, without its newline; "" if there is none. */
static void read_line(const char *path, char *line, int size)
{
	FILE *file = fopen(path, "r");

	line[0] = '\0';
	if (!file)
		return;
	if (fgets(line, size, file))
		line[strcspn(line, "\n")] = '\0';
	fclose(file);
}

/* Fills nodes[] with the numbers in a kernel list such as "0-1,3"; returns how many. */
static int parse_list(const char *text, int nodes[MAX_NODES])
{
	int nr = 0;

	while (*text) {
		char *end;
		long first = strtol(text, &end, 10);
		long last = first;

		if (end == text)
			break;
		if (*end == '-')
			last = strtol(end + 1, &end, 10);
		for (long node = first; node <= last && nr < MAX_NODES; node++)
			nodes[nr++] = (int)node;
		text = *end == ',' ? end + 1 : end;
	}
	return nr;
}

static void test_nodes(void)
{
	const char *wanted = getenv("NH_GUEST_NODES");
	char line[256];
	int nodes[MAX_NODES];
	int nr;

	read_line("/sys/devices/system/node/online", line, sizeof(line));
	nr = parse_list(line, nodes);
	result(wanted && nr == atoi(wanted), "as many nodes as asked for: %d", nr);
}

static void test_cpuless(void)
{
	const char *wanted = getenv("NH_GUEST_CPULESS");
	char line[256];
	int with_cpu[MAX_NODES], online[MAX_NODES];
	int nr_online, nr_with_cpu;

	read_line("/sys/devices/system/node/online", line, sizeof(line));
	nr_online = parse_list(line, online);
	read_line("/sys/devices/system/node/has_cpu", line, sizeof(line));
	nr_with_cpu = parse_list(line, with_cpu);
	result(wanted && nr_online - nr_with_cpu == atoi(wanted), "%d of %d nodes without CPUs",
	       nr_online - nr_with_cpu, nr_online);
}

static void test_balancing(void)
{
	char line[64];

	read_line("/proc/sys/kernel/numa_balancing", line, sizeof(line));
	result(!strcmp(line, "0"), "automatic balancing is off: '%s'", line);
}

/* How many of the pages move_pages() finds on the node. */
static int count_move_pages(char *map, size_t page, int node)
{
	void *pages[NR_PAGES];
	int status[NR_PAGES];
	int on_node = 0;

	for (int i = 0; i < NR_PAGES; i++) {
		pages[i] = map + (size_t)i * page;
		status[i] = -1;
	}
	if (syscall(SYS_move_pages, 0, (unsigned long)NR_PAGES, pages, NULL, status, 0))
		return -errno;
	for (int i = 0; i < NR_PAGES; i++)
		on_node += status[i] == node;
	return on_node;
}

/* How many pages of the mapping numa_maps counts on the node. */
static int count_numa_maps(char *map, int node)
{
	FILE *file = fopen("/proc/self/numa_maps", "r");
	char line[1024];
	char wanted[32];
	int nr = 0;

	if (!file)
		return -errno;
	snprintf(wanted, sizeof(wanted), " N%d=", node);
	while (fgets(line, sizeof(line), file)) {
		const char *found;

		if (strtoull(line, NULL, 16) != (uintptr_t)map)
			continue;
		found = strstr(line, wanted);
		if (found)
			nr = atoi(found + strlen(wanted));
	}
	fclose(file);
	return nr;
}

static void test_bound(int node)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t len = NR_PAGES * page;
	unsigned long mask = 1ul << node;
	int by_move_pages, by_numa_maps;
	char *map;

	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED || madvise(map, len, MADV_NOHUGEPAGE) ||
	    syscall(SYS_mbind, map, len, MPOL_BIND, &mask, MAX_NODES, 0)) {
		result(false, "mbind to node %d: %s", node, strerror(errno));
		return;
	}
	memset(map, 1, len);
	by_move_pages = count_move_pages(map, page, node);
	by_numa_maps = count_numa_maps(map, node);
	result(by_move_pages == NR_PAGES && by_numa_maps == NR_PAGES,
	       "%d pages bound to node %d: %d there by move_pages, %d by numa_maps", NR_PAGES, node,
	       by_move_pages, by_numa_maps);
	munmap(map, len);
}

static void test_moved(int from, int to)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned long mask = 1ul << from;
	void *pages[NR_PAGES];
	int nodes[NR_PAGES], status[NR_PAGES];
	int by_numa_maps;
	char *map;

	map = mmap(NULL, NR_PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		   0);
	if (map == MAP_FAILED || madvise(map, NR_PAGES * page, MADV_NOHUGEPAGE) ||
	    syscall(SYS_mbind, map, NR_PAGES * page, MPOL_PREFERRED, &mask, MAX_NODES, 0)) {
		result(false, "mapping on node %d: %s", from, strerror(errno));
		return;
	}
	for (int i = 0; i < NR_PAGES; i++) {
		pages[i] = map + (size_t)i * page;
		map[(size_t)i * page] = (char)i;
		nodes[i] = to;
		status[i] = -1;
	}
	if (syscall(SYS_move_pages, 0, (unsigned long)NR_PAGES, pages, nodes, status,
		    MPOL_MF_MOVE)) {
		result(false, "move_pages to node %d: %s", to, strerror(errno));
		return;
	}
	by_numa_maps = count_numa_maps(map, to);
	for (int i = 0; i < NR_PAGES; i++) {
		if (map[(size_t)i * page] != (char)i)
			by_numa_maps = -1;
	}
	result(by_numa_maps == NR_PAGES, "%d pages moved from node %d to %d: %d there, data intact",
	       NR_PAGES, from, to, by_numa_maps);
	munmap(map, NR_PAGES * page);
}

int main(void)
{
	char line[256];
	int nodes[MAX_NODES];
	int nr_nodes;
	bool in_guest;

	read_line("/sys/devices/system/node/has_memory", line, sizeof(line));
	nr_nodes = parse_list(line, nodes);
	if (nr_nodes == 0) {
		printf("no NUMA nodes in sysfs\n");
		return 77;
	}
	in_guest = getenv("NH_GUEST") != NULL;
	printf("1..%d\n", (in_guest ? 3 : 0) + nr_nodes + 1);
	if (in_guest) {
		test_nodes();
		test_cpuless();
		test_balancing();
	}
	for (int i = 0; i < nr_nodes; i++)
		test_bound(nodes[i]);
	if (nr_nodes > 1)
		test_moved(nodes[0], nodes[nr_nodes - 1]);
	else
		skip("pages moved from node to node", "one node only");
	return nr_failed ? 1 : 0;
}
