// SPDX-License-Identifier: MIT
/* numahint doctor: moving pages between nodes, and settings of the system that help or hinder. */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_NODES  1024
#define NODE_WORDS (MAX_NODES / (8 * sizeof(long)))

struct nodes {
	bool bit[MAX_NODES];
	int count;
};

static void add_node(struct nodes *set, long node)
{
	if (node < 0 || node >= MAX_NODES || set->bit[node])
		return;
	set->bit[node] = true;
	set->count++;
}

/* A list of the kernel's: "0-3,8". */
static void read_nodes(const char *path, struct nodes *set)
{
	char text[1024], *s = text;

	memset(set, 0, sizeof(*set));
	if (!nht_read_line(path, text, sizeof(text)))
		return;
	while (*s >= '0' && *s <= '9') {
		long first = strtol(s, &s, 10), last = first;

		if (*s == '-')
			last = strtol(s + 1, &s, 10);
		for (long node = first; node <= last && node < MAX_NODES; node++)
			add_node(set, node);
		s += *s == ',';
	}
}

static const char *list_text(const struct nodes *set, char *text, size_t len)
{
	size_t used = 0;

	*text = '\0';
	for (int node = 0; node < MAX_NODES && used + 16 < len; node++) {
		int last = node;

		if (!set->bit[node])
			continue;
		while (last + 1 < MAX_NODES && set->bit[last + 1])
			last++;
		used += (size_t)snprintf(text + used, len - used, last > node ? "%s%d-%d" : "%s%d",
					 used ? "," : "", node, last);
		node = last;
	}
	return text;
}

static void nodes_with_memory(struct nodes *set)
{
	read_nodes("/sys/devices/system/node/has_memory", set);
	if (!set->count)
		read_nodes("/sys/devices/system/node/has_normal_memory", set);
	if (!set->count)
		add_node(set, 0); /* a kernel without NUMA */
}

/* ----------------------------------------------------------------------------------------- moving */

struct move {
	int node;
	int flags;
};

struct move_answer {
	int error;
	int status; /* the node, or a negative errno value */
};

static void try_move(const void *arg, void *result)
{
	const struct move *m = arg;
	struct move_answer *a = result;
	char *mem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *page = mem;
	int status = -EBUSY;

	if (mem == MAP_FAILED) {
		a->error = errno;
		return;
	}
	*mem = 1;
	if (syscall(SYS_move_pages, 0, 1ul, &page, m->node < 0 ? NULL : &m->node, &status,
		    m->flags) < 0)
		a->error = errno;
	a->status = status;
}

static int move_to(int node, int flags)
{
	struct move m = { node, flags };
	struct move_answer a = { 0 };
	int err = nht_in_child(try_move, &m, &a, sizeof(a));

	if (err || a.error)
		return err ? err : a.error;
	if (a.status < 0)
		return -a.status;
	return node < 0 || a.status == node ? 0 : EBUSY;
}

static void check_move_pages(struct nht_doctor *d)
{
	struct nodes memory, failed = { 0 };
	struct nht_check *c;
	char list[256];
	int err = 0;

	nodes_with_memory(&memory);
	for (int node = 0; node < MAX_NODES; node++) {
		int e = memory.bit[node] ? move_to(node, MPOL_MF_MOVE) : 0;

		if (e)
			add_node(&failed, node);
		err = e ? e : err;
	}
	if (!err) {
		(void)nht_check(d, "moving", "move_pages(2)", NHT_YES,
				"a page was moved to each node with memory: %s",
				list_text(&memory, list, sizeof(list)));
		return;
	}
	c = nht_check(d, "moving", "move_pages(2)", NHT_NO, "no page moves to node %s: %s",
		      list_text(&failed, list, sizeof(list)), nht_error_text(err));
	if (err == ENOMEM)
		nht_change(c, "free memory on node %s", list);
	else if (err == EACCES || err == ENODEV)
		nht_change(c, "cpuset.mems of the cgroup (docker run --cpuset-mems=...)");
	else
		nht_change(c, "%s, or CAP_SYS_NICE, with which container runtimes allow it",
			   nht_refusal(d, err));
}

static void check_node_query(struct nht_doctor *d)
{
	int err = move_to(-1, 0);
	struct nht_check *c = nht_check(d, "moving", "where a page is", err ? NHT_NO : NHT_YES,
					"%s", err ? nht_error_text(err) : "move_pages(2) tells");

	if (err)
		nht_change(c, "%s, or CAP_SYS_NICE, with which container runtimes allow it",
			   nht_refusal(d, err));
}

static void check_move_all(struct nht_doctor *d)
{
	struct nodes memory;
	int node = 0, err, plain;
	struct nht_check *c;

	nodes_with_memory(&memory);
	while (node < MAX_NODES - 1 && !memory.bit[node])
		node++;
	err = move_to(node, MPOL_MF_MOVE_ALL);
	plain = move_to(node, MPOL_MF_MOVE);
	c = nht_check(d, "moving", "MPOL_MF_MOVE_ALL", err ? NHT_NO : NHT_YES, "%s",
		      err ? nht_error_text(err) :
			    "pages that other processes map too can be moved");
	if (err && plain)
		nht_change(c, "what is said of move_pages(2) above");
	else if (err)
		nht_change(c, "CAP_SYS_NICE%s", d->user_ns ? " in the initial user namespace" : "");
}

static void try_mbind(const void *arg, void *result)
{
	void *mem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int *error = result;

	(void)arg;
	if (mem == MAP_FAILED || syscall(SYS_mbind, mem, 4096ul, MPOL_DEFAULT, NULL, 0ul, 0u))
		*error = errno;
}

static void check_mbind(struct nht_doctor *d)
{
	int error = 0, err = nht_in_child(try_mbind, NULL, &error, sizeof(error));
	struct nht_check *c;

	err = err ? err : error;
	c = nht_check(d, "moving", "mbind(2)", err ? NHT_NO : NHT_YES, "%s",
		      err ? nht_error_text(err) : "a range can have a policy");
	if (err)
		nht_change(c, "%s, or CAP_SYS_NICE, with which container runtimes allow it",
			   nht_refusal(d, err));
}

/* The nodes that this process may allocate on. */
struct allowed {
	int error, mode;
	unsigned long mask[NODE_WORDS];
};

static void ask_allowed(const void *arg, void *result)
{
	struct allowed *a = result;

	(void)arg;
	if (syscall(SYS_get_mempolicy, NULL, a->mask, (unsigned long)MAX_NODES, NULL,
		    MPOL_F_MEMS_ALLOWED) ||
	    syscall(SYS_get_mempolicy, &a->mode, NULL, 0ul, NULL, 0ul))
		a->error = errno;
}

static void check_allowed(struct nht_doctor *d)
{
	static const char *const modes[] = {
		"default",	  "preferred",		"bind", "interleave", "local",
		"preferred-many", "weighted-interleave"
	};
	struct allowed a = { 0 };
	int err = nht_in_child(ask_allowed, NULL, &a, sizeof(a));
	struct nodes memory, may = { 0 }, barred = { 0 };
	struct nht_check *c;
	char list[256], all[256];

	err = err ? err : a.error;
	if (err) {
		c = nht_check(d, "moving", "allowed nodes", NHT_NO, "get_mempolicy(2): %s",
			      nht_error_text(err));
		nht_change(c, "%s, or CAP_SYS_NICE, with which container runtimes allow it",
			   nht_refusal(d, err));
		return;
	}
	nodes_with_memory(&memory);
	for (int node = 0; node < MAX_NODES; node++) {
		bool in = a.mask[(size_t)node / (8 * sizeof(long))] >>
				  ((size_t)node % (8 * sizeof(long))) &
			  1;

		if (in)
			add_node(&may, node);
		else if (memory.bit[node])
			add_node(&barred, node);
	}
	c = nht_check(d, "moving", "allowed nodes", barred.count ? NHT_NO : NHT_YES,
		      "memory on node %s, of %s", list_text(&may, list, sizeof(list)),
		      list_text(&memory, all, sizeof(all)));
	if (barred.count)
		nht_change(c, "cpuset.mems of the cgroup (docker run --cpuset-mems, systemd "
			      "AllowedMemoryNodes)");
	a.mode &= 0xff;
	if (a.mode != MPOL_DEFAULT && a.mode != MPOL_LOCAL)
		(void)nht_check(d, "moving", "policy", NHT_NOTE,
				"this process was given policy %s (numactl?); new pages obey it",
				a.mode < 7 ? modes[a.mode] : "?");
}

/* Threads that all run on one node make nothing misplaced. */
static void check_cpus(struct nht_doctor *d)
{
	struct nodes with_cpus, mine = { 0 };
	cpu_set_t *cpus = CPU_ALLOC(8192);
	size_t size = CPU_ALLOC_SIZE(8192);
	struct nht_check *c;
	char list[256], all[256], path[64];

	read_nodes("/sys/devices/system/node/has_cpu", &with_cpus);
	if (!cpus || sched_getaffinity(0, size, cpus) || !with_cpus.count) {
		CPU_FREE(cpus);
		return;
	}
	for (int node = 0; node < MAX_NODES; node++) {
		static struct nodes list_of_cpus; /* the same syntax */

		(void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", node);
		if (!with_cpus.bit[node])
			continue;
		read_nodes(path, &list_of_cpus);
		for (int cpu = 0; cpu < MAX_NODES; cpu++) {
			if (list_of_cpus.bit[cpu] && CPU_ISSET_S((size_t)cpu, size, cpus))
				add_node(&mine, node);
		}
	}
	c = nht_check(d, "moving", "nodes with our CPUs",
		      mine.count < with_cpus.count ? NHT_NO : NHT_YES,
		      "threads may run on node %s, of %s", list_text(&mine, list, sizeof(list)),
		      list_text(&with_cpus, all, sizeof(all)));
	if (mine.count < with_cpus.count)
		nht_change(c,
			   "taskset or numactl that this was started with, or cpuset.cpus of the "
			   "cgroup");
	CPU_FREE(cpus);
}

void nht_doctor_moving(struct nht_doctor *d)
{
	check_move_pages(d);
	check_node_query(d);
	check_move_all(d);
	check_mbind(d);
	check_allowed(d);
	check_cpus(d);
}

/* --------------------------------------------------------------------------------------- settings */

static void check_balancing(struct nht_doctor *d)
{
	struct nodes memory;
	struct nht_check *c;
	char text[32];

	nodes_with_memory(&memory);
	if (!nht_read_line("/proc/sys/kernel/numa_balancing", text, sizeof(text)))
		(void)nht_check(d, "settings", "kernel.numa_balancing", NHT_YES,
				"not in this kernel");
	else if (atoi(text) == 0 || memory.count == 1)
		(void)nht_check(d, "settings", "kernel.numa_balancing", NHT_YES, "%s%s", text,
				atoi(text) ? ", but there is one node" : ", off");
	else {
		c = nht_check(d, "settings", "kernel.numa_balancing", NHT_NO,
			      "%s: the kernel marks and moves pages too, of whole processes", text);
		nht_change(c, "sysctl -w kernel.numa_balancing=0");
	}
}

/* Two huge pages' worth, at a boundary, and what smaps says of it. */
static void try_thp(const void *arg, void *result)
{
	size_t huge = *(const size_t *)arg;
	char *mem =
		mmap(NULL, 3 * huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uintptr_t at = ((uintptr_t)mem + huge - 1) / huge * huge;
	unsigned long start, kib, *ret_kib = result;
	bool here = false;
	char line[512];
	FILE *f;

	if (mem == MAP_FAILED)
		return;
	(void)madvise((void *)at, 2 * huge, MADV_HUGEPAGE);
	memset((void *)at, 1, 2 * huge);
	f = fopen("/proc/self/smaps", "re");
	while (f && fgets(line, sizeof(line), f)) {
		unsigned long end;

		if (sscanf(line, "%lx-%lx ", &start, &end) == 2 && strchr(line, '-'))
			here = start <= at && at < end;
		else if (here && sscanf(line, "AnonHugePages: %lu", &kib) == 1)
			*ret_kib = kib;
	}
}

static void check_thp(struct nht_doctor *d)
{
	static const char dir[] = "/sys/kernel/mm/transparent_hugepage/";
	char mode[64], text[32], path[96];
	unsigned long kib = 0;
	struct nht_check *c;
	size_t huge;

	(void)snprintf(path, sizeof(path), "%senabled", dir);
	if (!nht_read_line(path, mode, sizeof(mode))) {
		c = nht_check(d, "settings", "transparent huge pages", NHT_NO,
			      "not in this kernel");
		nht_change(c, "CONFIG_TRANSPARENT_HUGEPAGE");
		return;
	}
	(void)snprintf(path, sizeof(path), "%shpage_pmd_size", dir);
	huge = nht_read_line(path, text, sizeof(text)) ? strtoul(text, NULL, 10) : 2ul << 20;
	(void)nht_in_child(try_thp, &huge, &kib, sizeof(kib));
	if (kib) {
		(void)nht_check(d, "settings", "transparent huge pages", NHT_YES,
				"given here, and moved as one; setting: %s", mode);
		return;
	}
	c = nht_check(d, "settings", "transparent huge pages", NHT_NO,
		      "none was given; setting: %s", mode);
	if (prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) > 0)
		nht_change(c, "a parent process has switched them off: prctl(PR_SET_THP_DISABLE)");
	else if (strstr(mode, "[never]"))
		nht_change(c, "echo madvise > %senabled", dir);
	else
		nht_change(c,
			   "memory is short or fragmented; echo 1 > /proc/sys/vm/compact_memory");
}

static void check_maps(struct nht_doctor *d)
{
	char text[32];
	struct nht_check *c;
	long max;

	if (!nht_read_line("/proc/sys/vm/max_map_count", text, sizeof(text)))
		return;
	max = atol(text);
	c = nht_check(d, "settings", "vm.max_map_count", max < 65530 ? NHT_NO : NHT_YES,
		      "%ld: trap mprotect can have about %ld separate marks", max, max / 2);
	if (max < 65530)
		nht_change(c, "sysctl -w vm.max_map_count=65530");
}

static void check_memory(struct nht_doctor *d)
{
	struct rlimit as;
	struct nht_check *c;
	char text[32];

	if (nht_read_line("/proc/sys/vm/overcommit_memory", text, sizeof(text)) &&
	    atoi(text) == 2) {
		c = nht_check(
			d, "settings", "vm.overcommit_memory", NHT_NO,
			"2: the address space that traps shadow and minor reserve counts as memory");
		nht_change(c, "sysctl -w vm.overcommit_memory=0, or trap mprotect");
	}
	if (!getrlimit(RLIMIT_AS, &as) && as.rlim_cur != RLIM_INFINITY) {
		c = nht_check(d, "settings", "address space", NHT_NO,
			      "%s at most: traps shadow and minor need twice what is marked",
			      nht_bytes(as.rlim_cur));
		nht_change(c, "ulimit -v unlimited, or trap mprotect");
	}
}

static void try_open(const void *arg, void *result)
{
	int *error = result;

	*error = open(arg, O_RDONLY | O_CLOEXEC) < 0 ? errno : 0;
}

static void check_proc(struct nht_doctor *d)
{
	static const struct {
		const char *name, *path, *what;
	} files[] = {
		{ "pagemap", "/proc/self/pagemap", "which pages are there, and whose they are" },
		{ "maps", "/proc/self/maps", "which memory can be managed" },
		{ "sysfs", "/sys/devices/system/node/online", "the nodes of this machine" },
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		int error = 0;
		int err = nht_in_child(try_open, files[i].path, &error, sizeof(error));
		struct nht_check *c;

		err = err ? err : error;
		c = nht_check(d, "settings", files[i].name, err ? NHT_NO : NHT_YES, "%s%s%s",
			      files[i].what, err ? ": " : "", err ? nht_error_text(err) : "");
		if (err)
			nht_change(c, strncmp(files[i].path, "/proc", 5) ?
					      "/sys mounted; a kernel with CONFIG_NUMA, if there "
					      "are several nodes" :
					      "/proc mounted and readable");
	}
}

static void check_seccomp(struct nht_doctor *d)
{
	if (d->seccomp)
		(void)nht_check(d, "settings", "seccomp", NHT_NOTE,
				"a filter decides which system calls are allowed (a container?)");
	if (d->user_ns)
		(void)nht_check(d, "settings", "user namespace", NHT_NOTE,
				"capabilities count for what belongs to this namespace only");
}

void nht_doctor_settings(struct nht_doctor *d)
{
	check_balancing(d);
	check_thp(d);
	check_maps(d);
	check_memory(d);
	check_proc(d);
	check_seccomp(d);
}
