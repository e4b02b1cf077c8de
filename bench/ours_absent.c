// SPDX-License-Identifier: MIT
/* Built where the library is not: every lane of ours is absent, the floors are measured alone. */
#include "ours.h"

#include <errno.h>

#define ABSENT(name)                        \
	int64_t name(struct bench_ctx *ctx) \
	{                                   \
		(void)ctx;                  \
		return -EOPNOTSUPP;         \
	}

ABSENT(ours_fault_shadow_thread)
ABSENT(ours_fault_shadow_monitor)
ABSENT(ours_fault_minor_thread)
ABSENT(ours_fault_minor_monitor)
ABSENT(ours_fault_mprotect_thread)
ABSENT(ours_migrate_shadow_thread)
ABSENT(ours_migrate_shadow_monitor)
ABSENT(ours_migrate_mprotect_thread)
ABSENT(ours_mark_mprotect)
ABSENT(ours_mark_shadow)
ABSENT(ours_mark_minor)
ABSENT(ours_unmark_mprotect)
ABSENT(ours_unmark_shadow)
ABSENT(ours_unmark_minor)
ABSENT(ours_next_touch)
ABSENT(ours_random)
