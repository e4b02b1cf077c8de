// SPDX-License-Identifier: MIT
/* The preloaded library's own life: start, fork, end. */
#include "api.h"
#include "preload.h"

#include <string.h>
#include <unistd.h>

struct nhp nhp;
size_t nhp_min_size = SIZE_MAX;

static void complain(void *arg, const char *sentence)
{
	(void)arg;
	nhp_say("NUMAHINT_CONF: %s", sentence);
}

static void fork_child(void)
{
	nhp_table_fork_child();
	nhp_report_fork_child();
	nhp_hold_fork_child();
	nhp_occasion_fork_child();
	nhp.pid = nhp_getpid();
	nhp.root = false;
	/* Nothing is marked in a child, and it has done nothing yet. */
	nhp.marks = 0;
	nhp.regions = nhp.children = 0;
	nhp.allocs = nhp.managed = nhp.ranges = nhp.in_place = 0;
	nhp.left = nhp.full = nhp.refused = nhp.claimed = nhp.dry_bytes = 0;
}

static void fork_parent(void)
{
	nhi_count(&nhp.children, 1);
	nhp_table_fork_parent();
}

static void at_quick_end(void)
{
	nhp_report();
}

static void read_conf(void)
{
	const char *nodes = getenv("NUMAHINT_NODES");

	nhp_conf_default(&nhp.conf);
	(void)nhp_conf_parse(&nhp.conf, getenv("NUMAHINT_CONF"), complain, NULL);
	if (nodes && !*nhp.conf.nodes && strlen(nodes) < sizeof(nhp.conf.nodes))
		memcpy(nhp.conf.nodes, nodes, strlen(nodes) + 1);
}

__attribute__((constructor)) static void begin(void)
{
	int err;

	nhp_resolve();
	nhp_page_size = (size_t)sysconf(_SC_PAGESIZE);
	nhp.pid = nhp_getpid();
	nhp_report_init();
	read_conf();
	nhp.root = nhp.conf.root == nhp.pid;
	nhp_engine_init();
	nhp_mmap_init();
	err = nhp_table_init();
	if (!err)
		err = -pthread_atfork(nhp_table_fork_prepare, fork_parent, fork_child);
	/* Second, so that it prepares first, with our table unlocked: see nhp_mm(). */
	if (!err)
		err = nhi_api_fork_handlers();
	if (err) {
		nhp_say("running unmanaged: %s", nh_strerror(err));
		return;
	}
	nhp_threads_init();
	nhp_occasion_init();
	(void)at_quick_exit(at_quick_end);
	nhp.ready = true;
	nhi_store_relaxed(&nhp_min_size, nhi_max(nhp.conf.min_size, nhp_page_size));
}

__attribute__((destructor)) static void end(void)
{
	nhp_report();
}
