// SPDX-License-Identifier: MIT
/*
 * Throughput without any fault: how fast can this machine put copies of pages in place at all?
 * Each figure counts the payload once.
 */
#include "floor.h"
#include "uffd_defs.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum bulk_how {
	BULK_MEMCPY,	     /* one memcpy() a thread */
	BULK_MEMCPY_CHUNKS,  /* one memcpy() for each 2 MiB */
	BULK_COPY,	     /* UFFDIO_COPY, 2 MiB a call */
	BULK_COPY_DROP,	     /* and MADV_DONTNEED of the source */
	BULK_HUGE,	     /* copy to a recycled huge page, UFFDIO_MOVE that in place */
	BULK_HUGE_STREAM,    /* the same, copied with stores that bypass the caches */
	BULK_COLLAPSE,	     /* base pages: the same, and drop the source; huge pages at hand */
	BULK_COLLAPSE_FRESH, /* and with a huge page newly allocated each time */
};

struct bulk {
	enum bulk_how how;
	unsigned int batch;
	int uffd;
	struct floor_mem to;
	struct floor_mem from;
	struct floor_mem pool; /* huge pages to copy into */
};

/*
 * The C library's memcpy() bypasses the caches only for lengths near the size of the last of them.
 * Below that, every line of the target is first read from memory, to be overwritten: a third of
 * the traffic. A copy of 2 MiB that wants to be as fast as one of 1 GiB must ask for it.
 */
static void copy_stream(char *to, const char *from, size_t len)
{
#ifdef __SSE2__
	for (size_t i = 0; i < len; i += 64) {
		__m128i a = _mm_load_si128((const __m128i *)(const void *)(from + i));
		__m128i b = _mm_load_si128((const __m128i *)(const void *)(from + i + 16));
		__m128i c = _mm_load_si128((const __m128i *)(const void *)(from + i + 32));
		__m128i d = _mm_load_si128((const __m128i *)(const void *)(from + i + 48));

		_mm_stream_si128((__m128i *)(void *)(to + i), a);
		_mm_stream_si128((__m128i *)(void *)(to + i + 16), b);
		_mm_stream_si128((__m128i *)(void *)(to + i + 32), c);
		_mm_stream_si128((__m128i *)(void *)(to + i + 48), d);
	}
	_mm_sfence();
#else
	memcpy(to, from, len);
#endif
}

/* @spare: a huge page to copy into; the source, which is one too, becomes the next. */
static int huge_in_place(struct bulk *b, size_t off, char **spare)
{
	char *from = b->from.addr + off;
	int ret;

	if (b->how == BULK_HUGE_STREAM)
		copy_stream(*spare, from, bench_huge);
	else
		memcpy(*spare, from, bench_huge);
	ret = floor_uffd_move(b->uffd, b->to.addr + off, *spare, bench_huge, false);
	*spare = from;
	return ret;
}

/*
 * 512 base pages become one huge page. The range had base pages until it was marked, so an empty
 * page table is still there, and a huge page cannot be moved in over one: DONTNEED frees it (where
 * the kernel has CONFIG_PT_RECLAIM).
 */
static int collapse(struct bulk *b, size_t off)
{
	char *from = b->from.addr + off;
	char *huge = b->pool.addr + off;
	int ret;

	memcpy(huge, from, bench_huge);
	if (madvise(b->to.addr + off, bench_huge, MADV_DONTNEED) < 0)
		return -errno;
	ret = floor_uffd_move(b->uffd, b->to.addr + off, huge, bench_huge, false);
	if (ret < 0)
		return ret;
	return madvise(from, bench_huge, MADV_DONTNEED) < 0 ? -errno : 0;
}

static int copy_chunk(struct bulk *b, size_t off)
{
	size_t step = b->batch * bench_page;

	for (size_t i = off; i < off + bench_huge; i += step) {
		int ret = floor_uffd_copy(b->uffd, b->to.addr + i, b->from.addr + i, step, false);

		if (ret < 0)
			return ret;
	}
	if (b->how == BULK_COPY_DROP && madvise(b->from.addr + off, bench_huge, MADV_DONTNEED) < 0)
		return -errno;
	return 0;
}

static int do_bulk(void *arg, unsigned int index, size_t start, size_t end)
{
	struct bulk *b = arg;
	char *spare = b->pool.addr + index * bench_huge;
	int ret = 0;

	if (b->how == BULK_MEMCPY) {
		memcpy(b->to.addr + start, b->from.addr + start, end - start);
		return 0;
	}
	for (size_t off = start; ret == 0 && off < end; off += bench_huge) {
		switch (b->how) {
		case BULK_MEMCPY_CHUNKS:
			memcpy(b->to.addr + off, b->from.addr + off, bench_huge);
			break;
		case BULK_COPY:
		case BULK_COPY_DROP:
			ret = copy_chunk(b, off);
			break;
		case BULK_HUGE:
		case BULK_HUGE_STREAM:
			ret = huge_in_place(b, off, &spare);
			break;
		default:
			ret = collapse(b, off);
			break;
		}
	}
	return ret;
}

/* Leave b->to as marking leaves it: registered, empty, its page tables still there. */
static int empty_target(struct bulk *b, struct floor_mem *away, bool base)
{
	int ret;

	if (base && madvise(b->to.addr, b->to.len, MADV_NOHUGEPAGE) < 0)
		return -errno;
	floor_stamp(b->to.addr, 0, b->to.len);
	if (base && b->pool.addr && madvise(b->to.addr, b->to.len, MADV_HUGEPAGE) < 0)
		return -errno;
	ret = floor_uffd_open(UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MOVE);
	if (ret < 0)
		return ret;
	b->uffd = ret;
	ret = floor_uffd_register(b->uffd, &b->to, UFFDIO_REGISTER_MODE_MISSING);
	if (ret == 0)
		ret = floor_uffd_register(b->uffd, away, UFFDIO_REGISTER_MODE_MISSING);
	for (size_t off = 0; ret == 0 && off < b->to.len; off += bench_huge)
		ret = floor_uffd_move(b->uffd, away->addr + off, b->to.addr + off, bench_huge,
				      false);
	return ret;
}

static int open_bulk(struct bulk *b, const struct bench_ctx *ctx)
{
	bool collapses = b->how == BULK_COLLAPSE || b->how == BULK_COLLAPSE_FRESH;
	size_t pool = collapses ? ctx->size : (ctx->touchers + 1) * bench_huge;
	int ret;

	ret = floor_mem_map(&b->to, ctx->size, ctx->thp || collapses);
	if (ret == 0)
		ret = floor_mem_map(&b->from, ctx->size, ctx->thp);
	if (ret == 0 && (collapses || b->how == BULK_HUGE || b->how == BULK_HUGE_STREAM))
		ret = floor_mem_map(&b->pool, pool, true);
	if (ret < 0)
		return ret;
	if (b->pool.addr && b->how != BULK_COLLAPSE_FRESH)
		floor_stamp(b->pool.addr, 0, b->pool.len);
	if (b->how == BULK_MEMCPY || b->how == BULK_MEMCPY_CHUNKS) {
		floor_stamp(b->to.addr, 0, ctx->size);
		floor_stamp(b->from.addr, 0, ctx->size);
		return 0;
	}
	/* The source is the shadow: what was in the range is moved there. */
	return empty_target(b, &b->from, !ctx->thp);
}

static void close_bulk(struct bulk *b)
{
	if (b->uffd >= 0)
		close(b->uffd);
	floor_mem_unmap(&b->to);
	floor_mem_unmap(&b->from);
	floor_mem_unmap(&b->pool);
}

static int64_t run(struct bench_ctx *ctx, enum bulk_how how)
{
	struct bulk b = { .how = how, .batch = ctx->batch, .uffd = -1 };
	int64_t ns;
	int ret = open_bulk(&b, ctx);

	if (ret < 0) {
		close_bulk(&b);
		return ret;
	}
	ns = bench_touchers(ctx, do_bulk, &b);
	if (ns >= 0) {
		ret = floor_touch(b.to.addr, 0, b.to.len);
		if (ret < 0)
			ns = ret;
	}
	if (ctx->thp || how == BULK_COLLAPSE || how == BULK_COLLAPSE_FRESH)
		ctx->ret_huge = floor_huge_share(b.to.addr, b.to.len);
	close_bulk(&b);
	return ns;
}

int64_t floor_memcpy(struct bench_ctx *ctx)
{
	return run(ctx, BULK_MEMCPY);
}

int64_t floor_memcpy_huge_chunks(struct bench_ctx *ctx)
{
	return run(ctx, BULK_MEMCPY_CHUNKS);
}

int64_t floor_bulk_copy(struct bench_ctx *ctx)
{
	return run(ctx, BULK_COPY);
}

int64_t floor_bulk_copy_drop(struct bench_ctx *ctx)
{
	return run(ctx, BULK_COPY_DROP);
}

int64_t floor_bulk_huge(struct bench_ctx *ctx)
{
	return run(ctx, BULK_HUGE);
}

int64_t floor_bulk_huge_stream(struct bench_ctx *ctx)
{
	return run(ctx, BULK_HUGE_STREAM);
}

int64_t floor_bulk_collapse(struct bench_ctx *ctx)
{
	return run(ctx, BULK_COLLAPSE);
}

int64_t floor_bulk_collapse_fresh(struct bench_ctx *ctx)
{
	return run(ctx, BULK_COLLAPSE_FRESH);
}
