// SPDX-License-Identifier: MIT
/* The public entry points: they check arguments, copy what the caller points to, and call the engine. */
#include "api.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(NHI_REASONS == NH_REASONS, "reasons are numbered alike");
_Static_assert((int)NHI_TRAP_MINOR == (int)NH_TRAP_MINOR, "traps are numbered alike");
_Static_assert((int)NHI_DELIVERY_MONITOR == (int)NH_DELIVERY_MONITOR, "deliveries too");
_Static_assert((int)NHI_COPY_ALWAYS == (int)NH_COPY_ALWAYS, "and copies");

#define MAX_MMS 16

/* Guards the table and the making of the default mm; taken in fork handlers, never on a fault. */
static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct nh_mm *mms[MAX_MMS];
static struct nh_mm *default_mm; /* released once it works; pairs with nhi_mm_of() */
static uint64_t fork_token;	 /* guarded by registry, from prepare to parent or child */

int nh_version(void)
{
	return NH_VERSION_MAJOR * 10000 + NH_VERSION_MINOR * 100 + NH_VERSION_PATCH;
}

/* ------------------------------------------------------------------------------------ fork */

static void fork_prepare(void)
{
	pthread_mutex_lock(&registry);
	for (int i = 0; i < MAX_MMS; i++) {
		if (!mms[i])
			continue;
		mms[i]->mm.os->ops->enter(mms[i]->mm.os, &fork_token);
		break;
	}
	for (int i = 0; i < MAX_MMS; i++) {
		if (!mms[i])
			continue;
		nhi_mm_fork_prepare(&mms[i]->mm);
		nhi_linux_fork_prepare(mms[i]->mm.os);
	}
}

static void fork_done(bool child)
{
	struct nhi_os *any = NULL;

	for (int i = MAX_MMS - 1; i >= 0; i--) {
		if (!mms[i])
			continue;
		any = mms[i]->mm.os;
		(child ? nhi_linux_fork_child : nhi_linux_fork_parent)(any);
		(child ? nhi_mm_fork_child : nhi_mm_fork_parent)(&mms[i]->mm);
	}
	if (any)
		any->ops->leave(any, &fork_token);
	pthread_mutex_unlock(&registry);
}

static void fork_parent(void)
{
	fork_done(false);
}

static void fork_child(void)
{
	fork_done(true);
}

/* Caller holds registry. */
static int fork_handlers(void)
{
	static bool done;
	int err = done ? 0 : -pthread_atfork(fork_prepare, fork_parent, fork_child);

	done |= !err;
	return err;
}

int nhi_api_fork_handlers(void)
{
	int err;

	pthread_mutex_lock(&registry);
	err = fork_handlers();
	pthread_mutex_unlock(&registry);
	return err;
}

/* ---------------------------------------------------------------------------------- the mm */

/* Caller holds registry. */
static int create(const struct nh_mm_options *o, struct nh_mm **ret)
{
	struct nhi_linux_options lo = { .trap = (enum nhi_trap)o->trap,
					.delivery = (enum nhi_delivery)o->delivery,
					.copy = (enum nhi_copy)o->copy,
					.nodes = o->nodes };
	struct nhi_os *os;
	struct nh_mm *mm;
	int slot = 0, err;

	while (slot < MAX_MMS && mms[slot])
		slot++;
	if (slot == MAX_MMS)
		return -EMFILE;
	err = nhi_linux_create(&lo, &os);
	if (err)
		return err;
	mm = os->ops->table_alloc(os, sizeof(*mm));
	if (!mm) {
		os->ops->destroy(os);
		return -ENOMEM;
	}
	err = nhi_mm_init(&mm->mm, os, o->fault_around_max);
	if (!err)
		err = fork_handlers();
	if (err) {
		os->ops->table_free(os, mm, sizeof(*mm));
		os->ops->destroy(os);
		return err;
	}
	mms[slot] = mm;
	*ret = mm;
	return 0;
}

int nh_mm_create(const struct nh_mm_options *options, struct nh_mm **ret_mm)
{
	struct nh_mm_options o = { .size = sizeof(o) };
	int err;

	if (!ret_mm)
		return -EINVAL;
	if (options) {
		if (options->size < sizeof(size_t) || options->size > sizeof(o))
			return -EINVAL;
		memcpy(&o, options, options->size);
	}
	if (o.trap > NH_TRAP_MINOR || o.delivery > NH_DELIVERY_MONITOR || o.copy > NH_COPY_ALWAYS ||
	    o.flags || o.fault_around_max > NHI_MAX_RUN)
		return -EINVAL;
	pthread_mutex_lock(&registry);
	err = create(&o, ret_mm);
	pthread_mutex_unlock(&registry);
	return err;
}

void nh_mm_destroy(struct nh_mm *mm)
{
	struct nhi_os *os;

	if (!mm)
		return;
	if (mm->is_default) {
		while (nhi_unmanage(&mm->mm, 0, UINTPTR_MAX))
			mm->mm.os->ops->relax(mm->mm.os);
		return;
	}
	pthread_mutex_lock(&registry);
	for (int i = 0; i < MAX_MMS; i++) {
		if (mms[i] == mm)
			mms[i] = NULL;
	}
	pthread_mutex_unlock(&registry);
	os = mm->mm.os;
	nhi_mm_done(&mm->mm);
	os->ops->table_free(os, mm, sizeof(*mm));
	os->ops->destroy(os);
}

/* Caller holds registry. @o: NULL: as the environment says. */
static int make_default(const struct nh_mm_options *o)
{
	struct nh_mm_options env = { .size = sizeof(env), .nodes = getenv("NUMAHINT_NODES") };
	char nodes[256];
	struct nh_mm *mm;
	int err = 0;

	if (default_mm)
		return 0;
	if (!o) {
		err = nhi_options_parse(getenv("NUMAHINT_CONF"), &env, nodes, sizeof(nodes));
		o = &env;
	}
	if (!err)
		err = create(o, &mm);
	if (!err) {
		mm->is_default = true;
		nhi_store_release(&default_mm, mm);
	}
	return err;
}

int nhi_default_mm(const struct nh_mm_options *options, struct nh_mm **ret)
{
	int err;

	pthread_mutex_lock(&registry);
	err = make_default(options);
	*ret = default_mm;
	pthread_mutex_unlock(&registry);
	return err;
}

int nhi_mm_of(struct nh_mm *mm, struct nh_mm **ret)
{
	if (!mm)
		mm = nhi_load_acquire(&default_mm); /* pairs with the release in make_default() */
	*ret = mm;
	return mm ? 0 : nhi_default_mm(NULL, ret);
}

int nh_default_mm(struct nh_mm **ret_mm)
{
	return ret_mm ? nhi_mm_of(NULL, ret_mm) : -EINVAL;
}

/* ---------------------------------------------------------------------------------- ranges */

/* [addr, addr + len) with @len rounded up to pages, as [*start, *end). */
int nhi_range_of(const struct nh_mm *mm, const void *addr, size_t len, uintptr_t *start,
		 uintptr_t *end)
{
	const uintptr_t mask = nhi_page_size(&mm->mm) - 1;

	*start = (uintptr_t)addr;
	*end = (*start + len + mask) & ~mask;
	if (*start & mask || *start + len < *start || (len && *end <= *start))
		return -EINVAL;
	return 0;
}

void (*nhi_api_claim)(uintptr_t start, uintptr_t end);

static void claim(uintptr_t start, uintptr_t end)
{
	if (nhi_api_claim && start < end)
		nhi_api_claim(start, end);
}

int nh_manage(struct nh_mm *mm, void *addr, size_t len, unsigned int flags)
{
	uintptr_t start, end;
	int err = nhi_mm_of(mm, &mm);

	if (!err)
		err = flags ? -EINVAL : nhi_range_of(mm, addr, len, &start, &end);
	if (err || !len)
		return err;
	claim(start, end);
	err = nhi_manage(&mm->mm, start, end, NHI_MANAGE_FRESH);
	return err == -EFAULT ? -ENOMEM : err; /* as mprotect(2) has it */
}

int nh_unmanage(struct nh_mm *mm, void *addr, size_t len)
{
	uintptr_t start, end;
	int err = nhi_mm_of(mm, &mm);

	if (!err)
		err = nhi_range_of(mm, addr, len, &start, &end);
	if (err || !len)
		return err;
	return nhi_unmanage(&mm->mm, start, end);
}

static long do_mbind(struct nh_mm *mm, uintptr_t start, size_t len, int mode,
		     const unsigned long *nodemask, unsigned long maxnode, unsigned int flags)
{
	uint64_t nodes[4];
	int err = mode == NH_MPOL_NOOP ? 0 : nhi_mode_check(mode);

	if (!err)
		err = nhi_copy_nodes(mm, nodemask, maxnode, nodes);
	if (err)
		return err;
	if (flags & NH_MPOL_MF_MOVE_ALL && !nhi_linux_may_move_all())
		return flags & ~15u ? -EINVAL : -EPERM; /* before the range is looked at: case 70 */
	claim(start, start + len);
	if (flags & NH_MPOL_MF_LAZY) {
		err = nhi_linux_handlers_install();
		if (err)
			return err;
	}
	return nhi_mbind(&mm->mm, start, len, mode, nodes, flags);
}

int nh_mbind(struct nh_mm *mm, void *addr, size_t len, int mode, const unsigned long *nodemask,
	     unsigned long maxnode, unsigned int flags)
{
	int err = nhi_mm_of(mm, &mm);
	long n;

	if (err)
		return err;
	n = do_mbind(mm, (uintptr_t)addr, len, mode, nodemask, maxnode, flags);
	return n < 0 ? (int)n : 0;
}

long nh_next_touch(struct nh_mm *mm, void *addr, size_t len)
{
	uintptr_t mask, start, end;
	int err = nhi_mm_of(mm, &mm);

	if (err)
		return err;
	mask = nhi_page_size(&mm->mm) - 1;
	start = (uintptr_t)addr;
	if (start + len < start || start > UINTPTR_MAX - mask)
		return -EINVAL;
	end = (start + len) & ~mask;
	start = (start + mask) & ~mask;
	if (start >= end)
		return 0;
	return do_mbind(mm, start, end - start, NH_MPOL_LOCAL, NULL, 0,
			NH_MPOL_MF_MOVE | NH_MPOL_MF_LAZY);
}

long nh_unmark(struct nh_mm *mm, void *addr, size_t len)
{
	uintptr_t start, end;
	int err = nhi_mm_of(mm, &mm);

	if (err)
		return err;
	if (!addr && !len)
		return nhi_unmark_range(&mm->mm, 0, UINTPTR_MAX);
	err = nhi_range_of(mm, addr, len, &start, &end);
	return err ? err : nhi_unmark_range(&mm->mm, start, end);
}

int nh_node_of(struct nh_mm *mm, const void *addr, size_t nr, int *nodes)
{
	int local[NHI_MAX_RUN]; /* the caller's array may be marked: written with no lock held */
	uintptr_t start, end;
	int err = nhi_mm_of(mm, &mm);

	if (!err)
		err = !nodes || nr > SIZE_MAX >> mm->mm.page_shift ?
			      -EINVAL :
			      nhi_range_of(mm, addr, nr << mm->mm.page_shift, &start, &end);
	while (nr && !err) {
		uint32_t n = (uint32_t)nhi_min(nr, (size_t)NHI_MAX_RUN);

		err = nhi_nodes_of(&mm->mm, start, n, local);
		if (!err)
			memcpy(nodes, local, n * sizeof(*nodes));
		start += (uintptr_t)n << mm->mm.page_shift;
		nodes += n;
		nr -= n;
	}
	return err;
}

/* --------------------------------------------------------------------- threads, counters */

int nh_thread_node(struct nh_mm *mm)
{
	struct nhi_toucher me;
	int err = nhi_mm_of(mm, &mm);

	if (err)
		return err;
	mm->mm.os->ops->self(mm->mm.os, &me);
	return me.node < 0 ? 0 : me.node;
}

int nh_thread_set_node(struct nh_mm *mm, int node)
{
	int err = nhi_mm_of(mm, &mm);

	return err ? err : nhi_linux_set_node(mm->mm.os, node);
}

int nh_stats(struct nh_mm *mm, struct nh_stats *ret, size_t size)
{
	struct nh_stats st = { 0 };
	const struct nhi_mm *m;
	int err = nhi_mm_of(mm, &mm);

	if (err)
		return err;
	if (!ret || size < sizeof(uint64_t))
		return -EINVAL;
	nhi_mm_settle(&mm->mm);
	m = &mm->mm;
	st.managed_bytes = nhi_mm_managed_bytes(&mm->mm);
	st.metadata_bytes = nhi_count_read(&m->metadata_bytes);
	st.marked_now = nhi_mm_marked_now(&mm->mm);
	st.marked = nhi_mm_counter(m, NHI_C_MARKED);
	st.hinting_faults = nhi_mm_counter(m, NHI_C_HINTING_FAULTS);
	st.hinting_local = nhi_mm_counter(m, NHI_C_HINTING_LOCAL);
	st.around = nhi_mm_counter(m, NHI_C_AROUND);
	st.migrated = nhi_mm_counter(m, NHI_C_MIGRATED);
	st.restored = nhi_mm_counter(m, NHI_C_RESTORED);
	st.lost = nhi_mm_counter(m, NHI_C_LOST);
	st.waits = nhi_mm_counter(m, NHI_C_WAITS);
	st.zero_filled = nhi_mm_counter(m, NHI_C_ZERO_FILLED);
	st.unknown_touchers = nhi_mm_counter(m, NHI_C_UNKNOWN_TOUCHERS);
	st.copied = nhi_mm_counter(m, NHI_C_COPIED);
	st.moved = nhi_mm_counter(m, NHI_C_MOVED);
	st.ladder_move = nhi_mm_counter(m, NHI_C_LADDER_MOVE);
	st.ladder_copy = nhi_mm_counter(m, NHI_C_LADDER_COPY);
	st.ladder_mremap = nhi_mm_counter(m, NHI_C_LADDER_MREMAP);
	st.by_monitor = nhi_mm_counter(m, NHI_C_BY_MONITOR);
	st.by_thread = nhi_mm_counter(m, NHI_C_BY_THREAD);
	st.helper_ioctls = nhi_count_read(&m->os->helper_ioctls);
	st.mark_ns = nhi_mm_counter(m, NHI_C_MARK_NS);
	st.touched_local = nhi_mm_counter(m, NHI_C_TOUCHED_LOCAL);
	st.touched_remote = nhi_mm_counter(m, NHI_C_TOUCHED_REMOTE);
	st.eager = nhi_mm_counter(m, NHI_C_EAGER);
	for (int i = 0; i < NH_REASONS; i++) {
		st.skipped[i] = nhi_mm_counter(m, NHI_C_SKIPPED + i);
		st.failed[i] = nhi_mm_counter(m, NHI_C_FAILED + i);
	}
	memcpy(ret, &st, nhi_min(size, sizeof(st)));
	return 0;
}

int nh_describe(struct nh_mm *mm, char *buf, size_t len)
{
	char how[256];
	int err = nhi_mm_of(mm, &mm);

	if (err)
		return err;
	err = nhi_linux_describe(mm->mm.os, how, sizeof(how));
	if (err < 0)
		return err;
	return snprintf(buf, len, "nodes=%d emulated=%d %s", mm->mm.os->nr_nodes,
			mm->mm.os->emulated, how);
}
