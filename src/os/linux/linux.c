// SPDX-License-Identifier: MIT
/* The Linux implementation of the seam: life, the table of operations, what is simple. */
#include "internal.h"

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SCRATCH_PAGES 64

/* --------------------------------------------------------------------- time, waiting, memory */

static uint64_t now_ns(struct nhi_os *os)
{
	struct timespec ts;

	(void)os;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void enter(struct nhi_os *os, uint64_t *token)
{
	(void)os;
	nhi_signals_block(token);
}

static void leave(struct nhi_os *os, const uint64_t *token)
{
	(void)os;
	nhi_signals_restore(token);
}

static void wait(struct nhi_os *os, uint32_t *word, uint32_t value)
{
	(void)os;
	(void)nhi_futex_wait(word, value, -1);
}

static void wake_all(struct nhi_os *os, uint32_t *word)
{
	(void)os;
	nhi_futex_wake(word, INT32_MAX);
}

static void relax(struct nhi_os *os)
{
	(void)os;
	(void)nhi_sys0(SYS_sched_yield);
}

static void *table_alloc(struct nhi_os *os, size_t bytes)
{
	return nhi_pages_alloc(nhi_round_up(bytes, os->page_size), "numahint table");
}

static void table_free(struct nhi_os *os, void *mem, size_t bytes)
{
	nhi_pages_free(mem, nhi_round_up(bytes, os->page_size));
}

/* -------------------------------------------------------------------------------- mappings */

static long mappings(struct nhi_os *os, uintptr_t start, uintptr_t end, struct nhi_mapping *maps,
		     size_t max)
{
	return nhi_maps_read(nhi_lx_of(os), start, end, maps, max);
}

static int set_policy(struct nhi_os *os, uintptr_t start, uintptr_t end, int mode,
		      const unsigned long *nodes, unsigned int nr_bits)
{
	struct nhi_lx *lx = nhi_lx_of(os);
	long err = 0;

	if (os->emulated)
		return 0;
	/*
	 * LOCAL is what first touch does anyhow, unless the program was told otherwise by numactl, say;
	 * and a policy of the range would outweigh ours when pages are copied to their new node.
	 */
	if (mode == MPOL_LOCAL) {
		mode = MPOL_DEFAULT;
		nodes = NULL;
	}
	/* mbind(2) takes the number of bits plus one. */
	if (nodes && nr_bits)
		err = nhi_sys6(SYS_mbind, start, end - start, mode, nodes, nr_bits + 1, 0);
	else
		err = nhi_sys6(SYS_mbind, start, end - start, mode, NULL, 0, 0);
	nhi_futex_lock(&lx->maps_lock);
	for (struct nhi_lx_map *map = lx->maps; map; map = map->next) {
		if (map->pub.start < end && start < map->pub.end && mode)
			nhi_store_relaxed(&map->has_policy, true);
	}
	nhi_futex_unlock(&lx->maps_lock);
	return (int)err;
}

/* ------------------------------------------------------------------------------- traps */

/* In the kernel's words: an access by the kernel itself, which no signal handler sees. */
static int populate_forced(uintptr_t addr, bool write)
{
	int fd = nhi_open("/proc/self/mem", O_RDWR);
	uint8_t byte;
	long n;

	if (fd < 0)
		return -EFAULT;
	n = nhi_sys4(SYS_pread64, fd, &byte, 1, addr);
	/* The program cannot write here, so it does not write at the same time. */
	if (n == 1 && write)
		n = nhi_sys4(SYS_pwrite64, fd, &byte, 1, addr);
	nhi_close(fd);
	return n == 1 ? 0 : -EFAULT;
}

static int populate(struct nhi_os *os, struct nhi_map *map, uintptr_t addr, bool write, bool force)
{
	long err = -EFAULT;

	for (int i = 0; i < 2 && err == -EFAULT; i++) {
		err = nhi_sys3(SYS_madvise, addr, os->page_size,
			       write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
		/* A hole in a watched range, with delivery by thread: the kernel asks nobody. */
		if (err == -EFAULT && map)
			(void)nhi_lx_map(map)->trap->zero_fill(nhi_lx_map(map), addr);
	}
	if (err == -EINVAL && force)
		return populate_forced(addr, write);
	/* -EINVAL: no such access is allowed. -ENOMEM: not mapped; memory, too, but who can tell. */
	return err == -EINVAL || err == -ENOMEM ? -EFAULT : (int)err;
}

static int peek(struct nhi_os *os, struct nhi_map *pub, uintptr_t addr, void *buf)
{
	struct nhi_lx_map *map = nhi_lx_map(pub);
	long n;
	int fd;

	if (map->store) {
		memcpy(buf, (const void *)nhi_kept(map, addr), os->page_size);
		return 0;
	}
	/* In place without access: the kernel reads it all the same. */
	fd = nhi_open("/proc/self/mem", O_RDONLY);
	if (fd < 0)
		return -EFAULT;
	n = nhi_sys4(SYS_pread64, fd, buf, os->page_size, addr);
	nhi_close(fd);
	return n == (long)os->page_size ? 0 : -EFAULT;
}

static int query(struct nhi_os *os, struct nhi_map *map, uintptr_t addr, uint32_t nr, uint8_t *info)
{
	memset(info, 0, nr); /* the traps merge what they learn */
	if (!map)
		return nhi_pagemap_query(nhi_lx_of(os), addr, nr, info);
	return nhi_lx_map(map)->trap->query(nhi_lx_map(map), addr, nr, info);
}

static int mark_begin(struct nhi_os *os, struct nhi_map *pub)
{
	struct nhi_lx *lx = nhi_lx_of(os);
	struct nhi_lx_map *map = nhi_lx_map(pub);
	int err = 0;

	nhi_futex_lock(&map->lock);
	/* After a fork there are neither threads nor stores. */
	if (map->store) {
		err = nhi_lx_ready(lx);
		if (!err)
			err = nhi_store_ready(map);
	}
	if (!err) {
		nhi_pagemap_begin(lx);
		err = map->trap->mark_begin(map);
		if (err)
			nhi_pagemap_end(lx);
	}
	if (err)
		nhi_futex_unlock(&map->lock);
	return err;
}

static void mark_end(struct nhi_os *os, struct nhi_map *pub)
{
	struct nhi_lx *lx = nhi_lx_of(os);
	struct nhi_lx_map *map = nhi_lx_map(pub);

	map->trap->mark_end(map);
	nhi_pagemap_end(lx);
	nhi_futex_unlock(&map->lock);
}

static long mark(struct nhi_os *os, struct nhi_run *run)
{
	struct nhi_lx *lx = nhi_lx_of(os);

	if (run->huge && lx->events.fd >= 0)
		(void)nhi_pool_make(lx);
	return nhi_lx_map(run->map)->trap->mark(nhi_lx_map(run->map), run);
}

static int nodes(struct nhi_os *os, struct nhi_map *map, uintptr_t addr, uint32_t nr, uint8_t *out)
{
	memset(out, NHI_UNKNOWN_NODE, nr);
	if (!map)
		return nhi_place_query(addr, os->page_size, nr, out);
	return nhi_lx_map(map)->trap->nodes(nhi_lx_map(map), addr, nr, out);
}

static int restore(struct nhi_os *os, struct nhi_run *run)
{
	(void)os;
	return nhi_lx_map(run->map)->trap->restore(nhi_lx_map(run->map), run);
}

static int migrate(struct nhi_os *os, struct nhi_run *run)
{
	(void)os;
	return nhi_lx_map(run->map)->trap->migrate(nhi_lx_map(run->map), run);
}

static int restore_hard(struct nhi_os *os, struct nhi_run *run)
{
	const uint32_t words = run->huge ? 1 : run->nr_pages;
	int err = nhi_lx_map(run->map)->trap->restore_hard(nhi_lx_map(run->map), run);

	/* What migrate() had moved before it was stuck is where it was to go; emulated pages always. */
	for (uint32_t i = 0; !err && !os->emulated && run->node != NHI_NO_NODE && i < words; i++) {
		uint8_t node = NHI_UNKNOWN_NODE;

		if (run->status[i] != NHI_PAGE_OK)
			continue;
		(void)nhi_place_query(run->addr + i * os->page_size, os->page_size, 1, &node);
		if (node != run->node)
			run->status[i] = NHI_PAGE_OTHER;
	}
	return err;
}

static int zero_fill(struct nhi_os *os, struct nhi_map *map, uintptr_t addr)
{
	(void)os;
	return nhi_lx_map(map)->trap->zero_fill(nhi_lx_map(map), addr);
}

static void quiet(struct nhi_os *os, struct nhi_map *map)
{
	(void)os;
	nhi_lx_map(map)->trap->quiet(nhi_lx_map(map));
}

static uint32_t granule(struct nhi_os *os, struct nhi_map *map, uint64_t marked)
{
	(void)os;
	return map->trap == NHI_TRAP_MPROTECT ? nhi_mprotect_granule(nhi_lx_map(map), marked) : 1;
}

static void discard(struct nhi_os *os, struct nhi_map *map, uintptr_t addr, uint32_t nr)
{
	(void)os;
	nhi_lx_map(map)->trap->discard(nhi_lx_map(map), addr, nr);
}

/*
 * Moving its first page moves a huge page as a whole; if it is mapped by base pages by now, move
 * the others too.
 */
static long move_huge_now(struct nhi_os *os, struct nhi_run *run)
{
	const uint32_t chunk = 64;

	nhi_place_move(run->addr, os->page_size, 1, run->node, run->status);
	for (uint32_t at = 0; at < run->nr_pages && run->status[0] == NHI_PAGE_OK; at += chunk) {
		uint32_t n = nhi_min(chunk, run->nr_pages - at);
		uintptr_t addr = run->addr + at * os->page_size;
		uint8_t node[64], status;

		memset(node, NHI_UNKNOWN_NODE, sizeof(node));
		(void)nhi_place_query(addr, os->page_size, n, node);
		for (uint32_t i = 0; i < n; i++) {
			if (node[i] == NHI_UNKNOWN_NODE || node[i] == run->node)
				continue;
			nhi_place_move(addr + i * os->page_size, os->page_size, 1, run->node,
				       &status);
			if (status != NHI_PAGE_OK && status != NHI_PAGE_HOLE)
				run->status[0] = status;
		}
	}
	return run->status[0] == NHI_PAGE_OK ? run->nr_pages : 0;
}

static long move_now(struct nhi_os *os, struct nhi_run *run)
{
	long moved = 0;

	if (os->emulated) {
		/* Entries carry the node numbers; the copy is what a migration costs. */
		if (run->prot & NHI_PROT_READ)
			nhi_place_pretend(nhi_lx_of(os), run->addr, run->nr_pages * os->page_size);
		nhi_run_status(run, 0, run->nr_pages, NHI_PAGE_OK);
		return run->nr_pages;
	}
	if (run->huge)
		return move_huge_now(os, run);
	/* The alias maps the pages once more, and what is mapped twice is not moved. */
	if (run->map && run->map->trap == NHI_TRAP_MINOR)
		(void)nhi_sys3(SYS_madvise, nhi_kept(nhi_lx_map(run->map), run->addr),
			       run->nr_pages * os->page_size, MADV_DONTNEED);
	(run->all ? nhi_place_move_all : nhi_place_move)(run->addr, os->page_size, run->nr_pages,
							 run->node, run->status);
	for (uint32_t i = 0; i < run->nr_pages; i++)
		moved += run->status[i] == NHI_PAGE_OK;
	return moved;
}

/* ------------------------------------------------------------------------------------ life */

static void bind(struct nhi_os *os, const struct nhi_os_sink *sink, void *mm)
{
	struct nhi_lx *lx = nhi_lx_of(os);

	if (sink)
		lx->mm = mm;
	nhi_store_release(&lx->sink, sink); /* pairs with segv.c and monitor.c */
}

static void destroy(struct nhi_os *os)
{
	struct nhi_lx *lx = nhi_lx_of(os);

	nhi_segv_unregister(lx);
	nhi_futex_lock(&lx->maps_lock);
	nhi_monitor_stop(lx);
	nhi_helper_stop(lx);
	nhi_pool_free(lx);
	nhi_uffd_close(lx);
	nhi_pages_free((void *)lx->scratch, SCRATCH_PAGES * os->page_size);
	nhi_pages_free(lx->tid_nodes, NHI_TID_SLOTS * sizeof(uint64_t));
	nhi_pages_free(lx, nhi_round_up(sizeof(*lx), os->page_size));
}

static const struct nhi_os_ops linux_ops = {
	.name = "linux",
	.bind = bind,
	.destroy = destroy,
	.now_ns = now_ns,
	.self = nhi_lx_self,
	.enter = enter,
	.leave = leave,
	.wait = wait,
	.wake_all = wake_all,
	.relax = relax,
	.table_alloc = table_alloc,
	.table_free = table_free,
	.mappings = mappings,
	.attach = nhi_lx_attach,
	.detach = nhi_lx_detach,
	.set_policy = set_policy,
	.query = query,
	.mark_begin = mark_begin,
	.mark_end = mark_end,
	.mark = mark,
	.nodes = nodes,
	.restore = restore,
	.migrate = migrate,
	.restore_hard = restore_hard,
	.zero_fill = zero_fill,
	.quiet = quiet,
	.granule = granule,
	.discard = discard,
	.moved = nhi_lx_moved,
	.populate = populate,
	.peek = peek,
	.move_now = move_now,
};

static unsigned long read_number(const char *path, unsigned long fallback)
{
	char text[64];

	return nhi_read_file(AT_FDCWD, path, text, sizeof(text)) > 0 ? strtoul(text, NULL, 10) :
								       fallback;
}

static unsigned int shift_of(size_t size)
{
	return (unsigned int)__builtin_ctzl(size);
}

static void find_sizes(struct nhi_lx *lx)
{
	struct nhi_os *os = &lx->os;

	os->page_size = (size_t)sysconf(_SC_PAGESIZE);
	/* A table of 8-byte entries fills a page; so a PMD maps that many pages, with THP or not. */
	os->huge_size = read_number("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size",
				    os->page_size * (os->page_size / 8));
	if (os->huge_size < os->page_size || os->huge_size & (os->huge_size - 1))
		os->huge_size = os->page_size * (os->page_size / 8);
	lx->page_shift = shift_of(os->page_size);
	lx->huge_shift = shift_of(os->huge_size);
	lx->max_map_count = read_number("/proc/sys/vm/max_map_count", 65530);
}

static int find_nodes(struct nhi_lx *lx, const char *nodes)
{
	int fd, n, err;

	if (nodes) {
		n = nhi_topology_parse_nodes(nodes);
		if (n < 0)
			return n;
		nhi_topology_emulate(lx, n);
		lx->tid_nodes = nhi_pages_alloc(NHI_TID_SLOTS * sizeof(uint64_t), "numahint tids");
		lx->scratch = (uintptr_t)nhi_pages_alloc(SCRATCH_PAGES * lx->os.page_size,
							 "numahint scratch");
		return lx->tid_nodes && lx->scratch ? 0 : -ENOMEM;
	}
	fd = nhi_open("/sys/devices/system/node", O_RDONLY | O_DIRECTORY);
	err = nhi_topology_read(lx, fd);
	nhi_close(fd);
	return err;
}

/* Which pairs of trap and delivery exist at all, and here. */
static int check(struct nhi_lx *lx)
{
	const struct nhi_linux_options *o = &lx->options;
	const bool needs_uffd = o->trap == NHI_TRAP_SHADOW || o->trap == NHI_TRAP_MINOR ||
				o->delivery == NHI_DELIVERY_MONITOR;

	if (o->trap == NHI_TRAP_MPROTECT && o->delivery == NHI_DELIVERY_MONITOR)
		return -EOPNOTSUPP;
	nhi_uffd_probe(&lx->caps);
	if (needs_uffd && !lx->caps.usable)
		return lx->caps.error == -EPERM ? -EPERM : -EOPNOTSUPP;
	if (o->trap == NHI_TRAP_MINOR && !(lx->caps.features & UFFD_FEATURE_MINOR_SHMEM))
		return -EOPNOTSUPP;
	if (!(lx->caps.features & UFFD_FEATURE_SIGBUS) && o->delivery == NHI_DELIVERY_THREAD)
		lx->caps.usable = false;
	lx->delivery = o->delivery;
	if (o->delivery == NHI_DELIVERY_AUTO)
		lx->delivery = lx->caps.kernel_faults ? NHI_DELIVERY_MONITOR : NHI_DELIVERY_THREAD;
	return 0;
}

int nhi_linux_create(const struct nhi_linux_options *options, struct nhi_os **ret)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct nhi_lx *lx = nhi_pages_alloc(nhi_round_up(sizeof(*lx), page), "numahint os");
	int err, fd;

	if (!lx)
		return -ENOMEM;
	lx->os.ops = &linux_ops;
	lx->options = *options;
	lx->pid = (int)nhi_sys0(SYS_getpid);
	lx->events.fd = lx->plain.fd = -1;
	find_sizes(lx);
	err = check(lx);
	if (!err)
		err = find_nodes(lx, options->nodes);
	lx->options.nodes = NULL; /* the caller's */
	if (!err)
		err = nhi_segv_register(lx);
	if (!err)
		err = nhi_linux_handlers_install();
	if (err) {
		nhi_pages_free(lx->tid_nodes, NHI_TID_SLOTS * sizeof(uint64_t));
		nhi_pages_free((void *)lx->scratch, SCRATCH_PAGES * page);
		nhi_segv_unregister(lx);
		nhi_pages_free(lx, nhi_round_up(sizeof(*lx), page));
		return err;
	}
	fd = nhi_pagemap_open();
	lx->pagemap_scan = nhi_pagemap_can_scan(fd);
	nhi_close(fd);
	lx->blind = !lx->os.emulated && nhi_place_is_blind(page);
	*ret = &lx->os;
	return 0;
}

int nhi_linux_describe(struct nhi_os *os, char *buf, size_t len)
{
	static const char *const traps[] = { "auto", "mprotect", "shadow", "minor" };
	static const char *const how[] = { "userfaultfd", "device", "user-mode-only" };
	const struct nhi_lx *lx = nhi_lx_of(os);
	const struct nhi_uffd_caps *caps = &lx->caps;
	enum nhi_trap trap = lx->options.trap;

	if (trap == NHI_TRAP_AUTO)
		trap = caps->usable ? NHI_TRAP_SHADOW : NHI_TRAP_MPROTECT;
	return snprintf(buf, len,
			"trap=%s delivery=%s uffd=%s kernel_faults=%d fork_events=%d move=%d "
			"minor=%d pagemap_scan=%d copy=%s",
			traps[trap],
			trap == NHI_TRAP_MPROTECT || lx->delivery == NHI_DELIVERY_THREAD ?
				"thread" :
				"monitor",
			caps->usable ? how[caps->how] : "none", caps->kernel_faults,
			caps->fork_events, !!(caps->features & UFFD_FEATURE_MOVE),
			!!(caps->features & UFFD_FEATURE_MINOR_SHMEM), lx->pagemap_scan,
			lx->options.copy == NHI_COPY_ALWAYS ? "always" :
			lx->options.copy == NHI_COPY_NEVER  ? "never" :
			nhi_io_copy_safe(nhi_lx_of(os))	    ? "auto(yes)" :
							      "auto(no)");
}

bool nhi_linux_may_move_all(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	memset(data, 0, sizeof(data));
	if (nhi_sys2(SYS_capget, &head, data))
		return false;
	return data[CAP_SYS_NICE / 32].effective >> (CAP_SYS_NICE % 32) & 1;
}
