/* SPDX-License-Identifier: MIT */
/*
 * The lanes of ours. Without the library in the build they say -EOPNOTSUPP, and the report is of
 * floors and peers alone.
 */
#ifndef BENCH_OURS_H
#define BENCH_OURS_H

#include "harness.h"

int64_t ours_fault_shadow_thread(struct bench_ctx *ctx);
int64_t ours_fault_shadow_monitor(struct bench_ctx *ctx);
int64_t ours_fault_minor_thread(struct bench_ctx *ctx);
int64_t ours_fault_minor_monitor(struct bench_ctx *ctx);
int64_t ours_fault_mprotect_thread(struct bench_ctx *ctx);
int64_t ours_migrate_shadow_thread(struct bench_ctx *ctx);
int64_t ours_migrate_shadow_monitor(struct bench_ctx *ctx);
int64_t ours_migrate_mprotect_thread(struct bench_ctx *ctx);
int64_t ours_mark_mprotect(struct bench_ctx *ctx);
int64_t ours_mark_shadow(struct bench_ctx *ctx);
int64_t ours_mark_minor(struct bench_ctx *ctx);
int64_t ours_unmark_mprotect(struct bench_ctx *ctx);
int64_t ours_unmark_shadow(struct bench_ctx *ctx);
int64_t ours_unmark_minor(struct bench_ctx *ctx);
int64_t ours_next_touch(struct bench_ctx *ctx);
int64_t ours_random(struct bench_ctx *ctx);

#endif
