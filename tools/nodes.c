// SPDX-License-Identifier: MIT
/* Topology by hwloc: what --nodes means, and `numahint topo`. */
#include "tools.h"

#include <dirent.h>
#include <errno.h>
#include <hwloc.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NODES 255

/* A loaded topology: the machine's, or a synthetic one. NULL: *why tells. */
static hwloc_topology_t load(const char *synthetic, const char **why)
{
	hwloc_topology_t t;

	if (hwloc_topology_init(&t)) {
		*why = "hwloc cannot be initialised";
		return NULL;
	}
	if (synthetic && hwloc_topology_set_synthetic(t, synthetic)) {
		*why = "not a number of nodes, and hwloc finds no synthetic topology in it "
		       "(example: \"numa:4 core:2 pu:1\")";
		hwloc_topology_destroy(t);
		return NULL;
	}
	if (hwloc_topology_load(t)) {
		*why = "hwloc cannot read this topology";
		hwloc_topology_destroy(t);
		return NULL;
	}
	return t;
}

int nht_parse_nodes(const char *text, const char **why)
{
	hwloc_topology_t t;
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (end != text && !*end) {
		if (!errno && n >= 1 && n <= MAX_NODES)
			return (int)n;
		*why = "the number of emulated nodes must be 1 to 255";
		return -EINVAL;
	}
	t = load(text, why);
	if (!t)
		return -EINVAL;
	n = hwloc_get_nbobjs_by_type(t, HWLOC_OBJ_NUMANODE);
	hwloc_topology_destroy(t);
	if (n >= 1 && n <= MAX_NODES)
		return (int)n;
	*why = "such a topology must have 1 to 255 NUMA nodes";
	return -EINVAL;
}

/* ----------------------------------------------------------------------------------------- topo */

struct view {
	hwloc_topology_t topology;
	int nodes;
	struct hwloc_distances_s *distances; /* NULL: the machine tells none */
};

/* Latency-like: the larger the farther; 10 for the node itself where nothing is known. */
static uint64_t distance(const struct view *v, int from, int to)
{
	unsigned int n = v->distances ? v->distances->nbobjs : 0;

	if ((unsigned int)from >= n || (unsigned int)to >= n)
		return from == to ? 10 : 20;
	return v->distances->values[(unsigned int)from * n + (unsigned int)to];
}

/* Which of the kernel's memory tiers has this node: the lower, the faster. -1: it does not say. */
static int tier_of(unsigned int node)
{
	static const char dir[] = "/sys/devices/virtual/memory_tiering";
	int tier, found = -1;
	struct dirent *e;
	DIR *d = opendir(dir);

	while (d && (e = readdir(d))) {
		char path[sizeof(dir) + sizeof(e->d_name) + 16];
		hwloc_bitmap_t nodes;
		char text[256];
		FILE *f;

		if (sscanf(e->d_name, "memory_tier%d", &tier) != 1)
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s/nodelist", dir, e->d_name);
		f = fopen(path, "re");
		nodes = hwloc_bitmap_alloc();
		if (f && nodes && fgets(text, sizeof(text), f) &&
		    !hwloc_bitmap_list_sscanf(nodes, text) && hwloc_bitmap_isset(nodes, node))
			found = tier;
		hwloc_bitmap_free(nodes);
		if (f)
			(void)fclose(f);
	}
	if (d)
		(void)closedir(d);
	return found;
}

/* What kind of memory hwloc takes a node for: "DRAM", "HBM", "NVM", ...; "": it does not say. */
static const char *kind_of(hwloc_obj_t node)
{
	const char *type = hwloc_obj_get_info_by_name(node, "MemoryTier");

	return node->subtype ? node->subtype : type ? type : "";
}

static void print_json(const struct view *v, bool synthetic)
{
	printf("  \"synthetic\": %s,\n  \"distances_known\": %s,\n  \"nodes\": [",
	       synthetic ? "true" : "false", v->distances ? "true" : "false");
	for (int i = 0; i < v->nodes; i++) {
		hwloc_obj_t node =
			hwloc_get_obj_by_type(v->topology, HWLOC_OBJ_NUMANODE, (unsigned int)i);
		int tier = synthetic ? -1 : tier_of(node->os_index);
		char cpus[4096];

		(void)hwloc_bitmap_list_snprintf(cpus, sizeof(cpus), node->cpuset);
		printf("%s\n    {\"node\": %u, \"cpus\": \"%s\", \"memory_bytes\": %" PRIu64
		       ", \"kind\": \"%s\"",
		       i ? "," : "", node->os_index, cpus,
		       (uint64_t)node->attr->numanode.local_memory, kind_of(node));
		if (tier >= 0)
			printf(", \"tier\": %d", tier);
		printf(", \"distances\": [");
		for (int j = 0; j < v->nodes; j++)
			printf("%s%" PRIu64, j ? ", " : "", distance(v, i, j));
		printf("]}");
	}
	printf("\n  ]\n");
}

static void print_table(const struct view *v, bool synthetic)
{
	printf("%d node%s%s\n", v->nodes, v->nodes == 1 ? "" : "s",
	       synthetic ? " (synthetic)" : "");
	printf("node  %-24s %12s  kind\n", "cpus", "memory");
	for (int i = 0; i < v->nodes; i++) {
		hwloc_obj_t node =
			hwloc_get_obj_by_type(v->topology, HWLOC_OBJ_NUMANODE, (unsigned int)i);
		int tier = synthetic ? -1 : tier_of(node->os_index);
		char cpus[4096], tier_text[32] = "";

		(void)hwloc_bitmap_list_snprintf(cpus, sizeof(cpus), node->cpuset);
		if (tier >= 0)
			(void)snprintf(tier_text, sizeof(tier_text), "%stier %d",
				       *kind_of(node) ? ", " : "", tier);
		printf("%4u  %-24s %12s  %s%s\n", node->os_index, *cpus ? cpus : "-",
		       nht_bytes(node->attr->numanode.local_memory),
		       *kind_of(node) || *tier_text ? kind_of(node) : "-", tier_text);
	}
	printf("distances%s\n", v->distances ? "" : " (not known)");
	for (int i = 0; i < v->nodes; i++) {
		printf("%4d ", i);
		for (int j = 0; j < v->nodes; j++)
			printf(" %4" PRIu64, distance(v, i, j));
		putchar('\n');
	}
	if (v->nodes == 1)
		printf("One node: nothing can be misplaced. numahint run --nodes 4 emulates four.\n");
}

static void topo_usage(void)
{
	printf("usage: numahint topo [--nodes N|SYNTHETIC] [--json]\n\n"
	       "Prints NUMA nodes with their CPUs, memory and distances.\n\n"
	       "  --nodes N|SYNTHETIC   not this machine's: N nodes, or an hwloc synthetic topology\n"
	       "                        such as \"numa:4 core:2 pu:1\"\n"
	       "  --json                as an object of JSON\n"
	       "  -h, --help            this text\n");
}

/* @synthetic: NULL for the machine's own. */
static bool print_view(const char *synthetic, bool json, const char **why)
{
	struct view v = { .topology = load(synthetic, why) };
	unsigned int nr = 1;

	if (!v.topology)
		return false;
	v.nodes = hwloc_get_nbobjs_by_type(v.topology, HWLOC_OBJ_NUMANODE);
	if (hwloc_distances_get_by_type(v.topology, HWLOC_OBJ_NUMANODE, &nr, &v.distances,
					HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0) ||
	    !nr)
		v.distances = NULL;
	(json ? print_json : print_table)(&v, synthetic != NULL);
	if (v.distances)
		hwloc_distances_release(v.topology, v.distances);
	hwloc_topology_destroy(v.topology);
	return true;
}

void nht_print_machine(bool json)
{
	const char *why = "";

	if (!print_view(NULL, json, &why))
		puts(json ? "  \"nodes\": []" : why);
}

static int print_topology(const char *nodes, bool json)
{
	const char *why = "", *synthetic = nodes;
	char plain[32], *end;

	if (nodes && nht_parse_nodes(nodes, &why) < 0) {
		nht_error("--nodes '%s': %s", nodes, why);
		return NHT_USAGE;
	}
	if (nodes && strtol(nodes, &end, 10) && !*end) {
		(void)snprintf(plain, sizeof(plain), "numa:%d pu:1", atoi(nodes));
		synthetic = plain;
	}
	if (json)
		printf("{\n  \"schema\": \"numahint/1\",\n");
	if (!print_view(synthetic, json, &why)) {
		nht_error("%s", why);
		return NHT_FAILED;
	}
	if (json)
		printf("}\n");
	return 0;
}

int nht_topo(int argc, char **argv)
{
	static const struct option options[] = {
		{ "nodes", required_argument, NULL, 'n' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *nodes = NULL;
	bool json = false;
	int opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
		switch (opt) {
		case 'n':
			nodes = optarg;
			break;
		case 'j':
			json = true;
			break;
		case 'h':
			topo_usage();
			return 0;
		default:
			return nht_bad_option(argv, options);
		}
	}
	if (optind < argc) {
		nht_error("unexpected argument '%s'; --help tells more", argv[optind]);
		return NHT_USAGE;
	}
	return print_topology(nodes, json);
}
