// SPDX-License-Identifier: MIT
/*
 * What it costs to mark a range, and to take the marks off again in place when nobody touched it:
 * the bare system calls over the whole range. Marking is where the other threads of a process
 * hurt: every way must flush their TLBs, and they differ in how often.
 */
#include "floor.h"
#include "uffd_defs.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum mark_how {
	MARK_MPROTECT,
	MARK_MREMAP,
	MARK_MOVE,
	MARK_MINOR,
};

struct mark {
	struct floor_mem range;
	struct floor_mem shadow;
	int uffd;
	int memfd;
	enum mark_how how;
};

static int open_minor(struct mark *m, const struct bench_ctx *ctx)
{
	int ret;

	m->memfd = memfd_create("nh-bench", MFD_CLOEXEC);
	if (m->memfd < 0 || ftruncate(m->memfd, (off_t)ctx->size) < 0)
		return -errno;
	ret = floor_mem_map_fd(&m->range, ctx->size, m->memfd);
	if (ret < 0)
		return ret;
	ret = floor_uffd_open(UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MINOR_SHMEM);
	if (ret < 0)
		return ret;
	m->uffd = ret;
	floor_stamp(m->range.addr, 0, ctx->size);
	return floor_uffd_register(m->uffd, &m->range, UFFDIO_REGISTER_MODE_MINOR);
}

static int open_mark(struct mark *m, const struct bench_ctx *ctx, enum mark_how how)
{
	int ret;

	*m = (struct mark){ .uffd = -1, .memfd = -1, .how = how };
	if (how == MARK_MINOR)
		return open_minor(m, ctx);
	ret = floor_mem_map(&m->range, ctx->size, ctx->thp);
	if (ret < 0)
		return ret;
	floor_stamp(m->range.addr, 0, ctx->size);
	if (how == MARK_MPROTECT)
		return 0;
	ret = floor_mem_map(&m->shadow, ctx->size, ctx->thp);
	if (ret < 0)
		return ret;
	ret = floor_uffd_open(UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MOVE);
	if (ret < 0)
		return ret;
	m->uffd = ret;
	ret = floor_uffd_register(m->uffd, &m->range, UFFDIO_REGISTER_MODE_MISSING);
	if (ret == 0 && how == MARK_MOVE)
		ret = floor_uffd_register(m->uffd, &m->shadow, UFFDIO_REGISTER_MODE_MISSING);
	return ret;
}

static void close_mark(struct mark *m)
{
	if (m->uffd >= 0)
		close(m->uffd);
	if (m->memfd >= 0)
		close(m->memfd);
	floor_mem_unmap(&m->range);
	floor_mem_unmap(&m->shadow);
}

static int remap(char *from, char *to, size_t len, int flags)
{
	void *p = mremap(from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED | flags, to);

	return p == MAP_FAILED ? -errno : 0;
}

static int do_mark(void *arg, unsigned int index, size_t start, size_t end)
{
	struct mark *m = arg;
	char *range = m->range.addr;
	int ret = 0;

	(void)index;
	switch (m->how) {
	case MARK_MPROTECT:
		return mprotect(range + start, end - start, PROT_NONE) < 0 ? -errno : 0;
	case MARK_MINOR:
		return madvise(range + start, end - start, MADV_DONTNEED) < 0 ? -errno : 0;
	case MARK_MREMAP:
		for (size_t off = start; ret == 0 && off < end; off += bench_huge)
			ret = remap(range + off, m->shadow.addr + off, bench_huge,
				    MREMAP_DONTUNMAP);
		return ret;
	case MARK_MOVE:
		for (size_t off = start; ret == 0 && off < end; off += bench_huge)
			ret = floor_uffd_move(m->uffd, m->shadow.addr + off, range + off,
					      bench_huge, false);
		return ret;
	}
	return -EINVAL;
}

static int do_unmark(void *arg, unsigned int index, size_t start, size_t end)
{
	struct mark *m = arg;
	char *range = m->range.addr;
	int ret = 0;

	(void)index;
	switch (m->how) {
	case MARK_MPROTECT:
		return mprotect(range + start, end - start, PROT_READ | PROT_WRITE) < 0 ? -errno :
											  0;
	case MARK_MINOR:
		for (size_t off = start; ret == 0 && off < end; off += bench_huge)
			ret = floor_uffd_continue(m->uffd, range + off, bench_huge, false);
		return ret;
	case MARK_MREMAP:
		for (size_t off = start; ret == 0 && off < end; off += bench_huge)
			ret = remap(m->shadow.addr + off, range + off, bench_huge, 0);
		return ret;
	case MARK_MOVE:
		for (size_t off = start; ret == 0 && off < end; off += bench_huge)
			ret = floor_uffd_move(m->uffd, range + off, m->shadow.addr + off,
					      bench_huge, false);
		return ret;
	}
	return -EINVAL;
}

static int64_t run(struct bench_ctx *ctx, enum mark_how how, bool unmark)
{
	struct bench_ctx one = *ctx;
	struct mark m;
	int64_t mark_ns, unmark_ns;
	int ret = open_mark(&m, ctx, how);

	if (ret < 0) {
		close_mark(&m);
		return ret;
	}
	one.touchers = 1;
	mark_ns = bench_touchers(&one, do_mark, &m);
	if (mark_ns < 0) {
		close_mark(&m);
		return mark_ns;
	}
	if (ctx->thp && m.shadow.addr)
		ctx->ret_huge = floor_huge_share(m.shadow.addr, m.shadow.len);
	unmark_ns = bench_touchers(&one, do_unmark, &m);
	if (unmark_ns >= 0) {
		ret = floor_touch(m.range.addr, 0, m.range.len);
		if (ret < 0)
			unmark_ns = ret;
	}
	if (ctx->thp && unmark)
		ctx->ret_huge = floor_huge_share(m.range.addr, m.range.len);
	close_mark(&m);
	if (unmark || unmark_ns < 0)
		return unmark_ns;
	return mark_ns;
}

int64_t floor_mark_mprotect(struct bench_ctx *ctx)
{
	return run(ctx, MARK_MPROTECT, false);
}

int64_t floor_mark_mremap(struct bench_ctx *ctx)
{
	return run(ctx, MARK_MREMAP, false);
}

int64_t floor_mark_move(struct bench_ctx *ctx)
{
	return run(ctx, MARK_MOVE, false);
}

int64_t floor_mark_minor(struct bench_ctx *ctx)
{
	return run(ctx, MARK_MINOR, false);
}

int64_t floor_unmark_mprotect(struct bench_ctx *ctx)
{
	return run(ctx, MARK_MPROTECT, true);
}

int64_t floor_unmark_mremap(struct bench_ctx *ctx)
{
	return run(ctx, MARK_MREMAP, true);
}

int64_t floor_unmark_move(struct bench_ctx *ctx)
{
	return run(ctx, MARK_MOVE, true);
}

int64_t floor_unmark_minor(struct bench_ctx *ctx)
{
	return run(ctx, MARK_MINOR, true);
}
