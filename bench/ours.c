// SPDX-License-Identifier: MIT
/*
 * The lanes of the library, through its public API alone. Each lane makes an mm and a range of its
 * own: filled by a thread on node 0, marked, touched by threads on node 0 (nothing moves) or node 1.
 */
#include "ours.h"

#include "floor.h"

#include <errno.h>
#include <numahint/numahint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct ours {
	struct nh_mm *mm;
	struct floor_mem mem;
	int memfd;
	int node; /* of the touchers */
	bool random;
};

static int open_ours(struct ours *o, const struct bench_ctx *ctx, enum nh_trap trap,
		     enum nh_delivery delivery)
{
	struct nh_mm_options options = { .size = sizeof(options),
					 .trap = trap,
					 .delivery = delivery,
					 .nodes = floor_nr_nodes() > 1 ? NULL : "2",
					 .fault_around_max = ctx->batch };
	int ret;

	*o = (struct ours){ .memfd = -1 };
	ret = nh_mm_create(&options, &o->mm);
	if (ret < 0)
		return ret == -EPERM ? -EOPNOTSUPP : ret;
	if (trap == NH_TRAP_MINOR) {
		o->memfd = memfd_create("nh-bench", MFD_CLOEXEC);
		if (o->memfd < 0 || ftruncate(o->memfd, (off_t)ctx->size) < 0)
			return -errno;
		ret = floor_mem_map_fd(&o->mem, ctx->size, o->memfd);
	} else {
		ret = floor_mem_map(&o->mem, ctx->size, ctx->thp);
	}
	if (ret < 0)
		return ret;
	(void)nh_thread_set_node(o->mm, 0);
	floor_stamp(o->mem.addr, 0, o->mem.len);
	/* Like the range, its tables are there before the clock runs. */
	return nh_manage(o->mm, o->mem.addr, o->mem.len, 0);
}

static void close_ours(struct ours *o)
{
	nh_mm_destroy(o->mm);
	if (o->mem.addr)
		floor_mem_unmap(&o->mem);
	if (o->memfd >= 0)
		close(o->memfd);
}

/* What the library says has happened, against what was asked for. */
static int check(const struct ours *o, struct bench_ctx *ctx, uint64_t marked, bool touched)
{
	const uint64_t pages = ctx->size / bench_page;
	struct nh_stats st;
	int ret = nh_stats(o->mm, &st, sizeof(st));

	if (ret < 0)
		return ret;
	ctx->ret_metadata = (double)st.metadata_bytes / (double)pages;
	if (ctx->thp)
		ctx->ret_huge = floor_huge_share(o->mem.addr, o->mem.len);
	/* Some pages may be refused; a lane in which few were marked has measured nothing. */
	if (marked < pages - pages / 16)
		return -EAGAIN;
	if (touched && st.hinting_faults == 0)
		return -EAGAIN;
	if (touched && o->node == 1 && st.migrated < marked - marked / 16)
		return -EAGAIN;
	return 0;
}

static int touch(void *arg, unsigned int index, size_t start, size_t end)
{
	struct ours *o = arg;

	(void)index;
	(void)nh_thread_set_node(o->mm, o->node);
	if (o->random)
		return floor_touch_random(o->mem.addr, o->mem.len, start / bench_page,
					  end / bench_page);
	return floor_touch(o->mem.addr, start, end);
}

static int64_t run(struct bench_ctx *ctx, enum nh_trap trap, enum nh_delivery delivery, int node,
		   bool random)
{
	struct ours o;
	int64_t ns;
	long marked;
	int ret = open_ours(&o, ctx, trap, delivery);

	if (ret < 0) {
		close_ours(&o);
		return ret;
	}
	o.node = node;
	o.random = random;
	marked = nh_next_touch(o.mm, o.mem.addr, o.mem.len);
	ns = marked < 0 ? marked : bench_touchers(ctx, touch, &o);
	if (ns >= 0) {
		ret = check(&o, ctx, (uint64_t)marked, true);
		if (ret == 0)
			ret = floor_touch(o.mem.addr, 0, o.mem.len);
		ns = ret < 0 ? ret : ns;
	}
	close_ours(&o);
	return ns;
}

int64_t ours_fault_shadow_thread(struct bench_ctx *ctx)
{
	return run(ctx, NH_TRAP_SHADOW, NH_DELIVERY_THREAD, 0, false);
}

int64_t ours_fault_shadow_monitor(struct bench_ctx *ctx)
{
	return run(ctx, NH_TRAP_SHADOW, NH_DELIVERY_MONITOR, 0, false);
}

int64_t ours_fault_minor_thread(struct bench_ctx *ctx)
{
	return run(ctx, NH_TRAP_MINOR, NH_DELIVERY_THREAD, 0, false);
}

int64_t ours_fault_minor_monitor(struct bench_ctx *ctx)
{
	return run(ctx, NH_TRAP_MINOR, NH_DELIVERY_MONITOR, 0, false);
}

int64_t ours_fault_mprotect_thread(struct bench_ctx *ctx)
{
	return run(ctx, NH_TRAP_MPROTECT, NH_DELIVERY_THREAD, 0, false);
}

int64_t ours_migrate_shadow_thread(struct bench_ctx *ctx)
{
	return run(ctx, NH_TRAP_SHADOW, NH_DELIVERY_THREAD, 1, false);
}

int64_t ours_migrate_shadow_monitor(struct bench_ctx *ctx)
{
	return run(ctx, NH_TRAP_SHADOW, NH_DELIVERY_MONITOR, 1, false);
}

int64_t ours_migrate_mprotect_thread(struct bench_ctx *ctx)
{
	return run(ctx, NH_TRAP_MPROTECT, NH_DELIVERY_THREAD, 1, false);
}

int64_t ours_next_touch(struct bench_ctx *ctx)
{
	return run(ctx, NH_TRAP_SHADOW, NH_DELIVERY_THREAD, 1, false);
}

int64_t ours_random(struct bench_ctx *ctx)
{
	return run(ctx, NH_TRAP_SHADOW, NH_DELIVERY_THREAD, 1, true);
}

/* -------------------------------------------------------------------------------- marking */

struct marking {
	struct ours o;
	bool unmark;
	long pages;
};

static int do_mark(void *arg, unsigned int index, size_t start, size_t end)
{
	struct marking *m = arg;
	char *addr = m->o.mem.addr + start;
	long n;

	(void)index;
	n = m->unmark ? nh_unmark(m->o.mm, addr, end - start) :
			nh_next_touch(m->o.mm, addr, end - start);
	if (n < 0)
		return (int)n;
	m->pages += n; /* one toucher: see the cases */
	return 0;
}

static int64_t mark(struct bench_ctx *ctx, enum nh_trap trap, bool unmark)
{
	struct marking m = { .unmark = unmark };
	int64_t ns;
	int ret = open_ours(&m.o, ctx, trap, NH_DELIVERY_THREAD);

	if (ret == 0 && unmark) {
		long n = nh_next_touch(m.o.mm, m.o.mem.addr, m.o.mem.len);

		ret = n < 0 ? (int)n : 0;
	}
	if (ret < 0) {
		close_ours(&m.o);
		return ret;
	}
	ns = bench_touchers(ctx, do_mark, &m);
	if (ns >= 0) {
		ret = check(&m.o, ctx, (uint64_t)m.pages, false);
		if (ret == 0)
			ret = floor_touch(m.o.mem.addr, 0, m.o.mem.len);
		ns = ret < 0 ? ret : ns;
	}
	close_ours(&m.o);
	return ns;
}

int64_t ours_mark_mprotect(struct bench_ctx *ctx)
{
	return mark(ctx, NH_TRAP_MPROTECT, false);
}

int64_t ours_mark_shadow(struct bench_ctx *ctx)
{
	return mark(ctx, NH_TRAP_SHADOW, false);
}

int64_t ours_mark_minor(struct bench_ctx *ctx)
{
	return mark(ctx, NH_TRAP_MINOR, false);
}

int64_t ours_unmark_mprotect(struct bench_ctx *ctx)
{
	return mark(ctx, NH_TRAP_MPROTECT, true);
}

int64_t ours_unmark_shadow(struct bench_ctx *ctx)
{
	return mark(ctx, NH_TRAP_SHADOW, true);
}

int64_t ours_unmark_minor(struct bench_ctx *ctx)
{
	return mark(ctx, NH_TRAP_MINOR, true);
}
