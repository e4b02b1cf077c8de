// SPDX-License-Identifier: MIT
/*
 * Nodes, CPUs and distances from sysfs, or made up. Everything is read below a directory that the
 * caller opened, so that tests can feed the text of other machines.
 */
#include "internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE 4096

/* The next "a" or "a-b" of a kernel list such as "0-3,8"; false at its end. */
static bool list_next(const char **s, long *first, long *last)
{
	char *end;

	while (**s == ',' || **s == ' ' || **s == '\n')
		(*s)++;
	if (**s < '0' || **s > '9')
		return false;
	*first = *last = strtol(*s, &end, 10);
	if (*end == '-')
		*last = strtol(end + 1, &end, 10);
	*s = end;
	return true;
}

static void set_bits(uint64_t bits[4], const char *list, int *highest)
{
	long first, last;

	while (list_next(&list, &first, &last)) {
		for (long i = first; i <= last && i < NHI_MAX_NODES; i++) {
			bits[i / 64] |= 1ULL << (i % 64);
			*highest = nhi_max(*highest, (int)i);
		}
	}
}

static void read_cpus(struct nhi_lx *lx, int root_fd, int node)
{
	char path[64], text[LINE];
	const char *s = text;
	long first, last;

	(void)snprintf(path, sizeof(path), "node%d/cpulist", node);
	if (nhi_read_file(root_fd, path, text, sizeof(text)) < 0)
		return;
	while (list_next(&s, &first, &last)) {
		lx->os.has_cpus[node / 64] |= 1ULL << (node % 64);
		for (long cpu = first; cpu <= last && cpu < NHI_MAX_CPUS; cpu++)
			lx->cpu_node[cpu] = (int16_t)node;
	}
}

/* The line has a number for each online node, in order. */
static void read_distances(struct nhi_lx *lx, int root_fd, int node, const uint64_t online[4])
{
	char path[64], text[LINE];
	char *s = text;

	(void)snprintf(path, sizeof(path), "node%d/distance", node);
	if (nhi_read_file(root_fd, path, text, sizeof(text)) < 0)
		return;
	for (int to = 0; to < lx->os.nr_nodes; to++) {
		char *end;
		long d;

		if (!(online[to / 64] >> (to % 64) & 1))
			continue;
		d = strtol(s, &end, 10);
		if (end == s)
			return;
		lx->os.distance[node][to] = (uint8_t)nhi_min(d, 255L);
		s = end;
	}
}

static void default_distances(struct nhi_os *os)
{
	for (int i = 0; i <= NHI_MAX_NODES; i++) {
		for (int j = 0; j <= NHI_MAX_NODES; j++)
			os->distance[i][j] = i == j ? 10 : 20;
	}
}

int nhi_topology_read(struct nhi_lx *lx, int root_fd)
{
	uint64_t online[4] = { 0 };
	char text[LINE];
	int highest = 0, ignored = 0;

	default_distances(&lx->os);
	for (int cpu = 0; cpu < NHI_MAX_CPUS; cpu++)
		lx->cpu_node[cpu] = NHI_NO_NODE;
	if (root_fd < 0 || nhi_read_file(root_fd, "online", text, sizeof(text)) < 0) {
		/* A kernel without CONFIG_NUMA: one node. */
		memset(lx->cpu_node, 0, sizeof(lx->cpu_node));
		lx->os.nr_nodes = 1;
		lx->os.has_memory[0] = lx->os.has_cpus[0] = 1;
		return 0;
	}
	set_bits(online, text, &highest);
	lx->os.nr_nodes = highest + 1;
	if (nhi_read_file(root_fd, "has_memory", text, sizeof(text)) >= 0 ||
	    nhi_read_file(root_fd, "has_normal_memory", text, sizeof(text)) >= 0)
		set_bits(lx->os.has_memory, text, &ignored);
	else
		memcpy(lx->os.has_memory, online, sizeof(online));
	for (int node = 0; node <= highest; node++) {
		if (!(online[node / 64] >> (node % 64) & 1))
			continue;
		read_cpus(lx, root_fd, node);
		read_distances(lx, root_fd, node, online);
	}
	return 0;
}

void nhi_topology_emulate(struct nhi_lx *lx, int nr_nodes)
{
	default_distances(&lx->os);
	lx->os.nr_nodes = nr_nodes;
	lx->os.emulated = true;
	for (int node = 0; node < nr_nodes; node++) {
		lx->os.has_memory[node / 64] |= 1ULL << (node % 64);
		lx->os.has_cpus[node / 64] |= 1ULL << (node % 64);
	}
}

static bool is_numa(const char *type, size_t len)
{
	return (len >= 4 && !strncasecmp(type, "numa", 4)) ||
	       (len == 4 && !strncasecmp(type, "node", 4));
}

/*
 * hwloc's synthetic syntax: levels "type:count" from the root down, count children per parent, so
 * the number of NUMA nodes is the product of the counts down to that level. "[numa]", with or
 * without attributes, puts one node at each object of the level above. Attributes in parentheses
 * are ignored.
 */
static int parse_synthetic(const char *s)
{
	long total = 1;

	while (*s) {
		const char *type = s + (*s == '[');
		size_t len = strspn(type, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
		long count = 1;
		char *end;

		if (*s == ' ') {
			s++;
			continue;
		}
		if (*s == '[') {
			if (is_numa(type, len))
				return total <= NHI_MAX_NODES ? (int)total : -EINVAL;
			s = strchr(s, ']');
			if (!s)
				return -EINVAL;
			s++;
			continue;
		}
		s = type + len + strspn(type + len, "0123456789"); /* "l2:4" */
		if (!len || *s != ':')
			return -EINVAL;
		count = strtol(s + 1, &end, 10);
		if (end == s + 1 || count < 1 || count > 1 << 20 || total > 1 << 20)
			return -EINVAL;
		total *= count;
		s = end;
		if (*s == '(') {
			s = strchr(s, ')');
			if (!s)
				return -EINVAL;
			s++;
		}
		if (*s && *s != ' ')
			return -EINVAL;
		if (is_numa(type, len))
			return total <= NHI_MAX_NODES ? (int)total : -EINVAL;
	}
	return -EINVAL; /* no NUMA level */
}

int nhi_topology_parse_nodes(const char *nodes)
{
	char *end;
	long n = strtol(nodes, &end, 10);

	if (end != nodes && !*end)
		return n >= 1 && n <= NHI_MAX_NODES ? (int)n : -EINVAL;
	return parse_synthetic(nodes);
}
