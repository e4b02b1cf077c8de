/* SPDX-License-Identifier: MIT */
/*
 * Parts of the userfaultfd interface that are newer than the headers of Debian 12 (Linux 6.1), so
 * that the benchmarks build there and use what the running kernel has. Every value is the kernel's
 * own, from include/uapi/linux/userfaultfd.h; the release that brought it is named. The kernel is
 * asked at run time (UFFDIO_API, UFFDIO_REGISTER): nothing here is taken for granted.
 */
#ifndef BENCH_UFFD_DEFS_H
#define BENCH_UFFD_DEFS_H

#include <linux/types.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

/* Linux 6.6: UFFDIO_POISON */
#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON (1 << 14)
#endif

/* Linux 6.8: UFFDIO_MOVE, private anonymous memory only */
#ifndef UFFD_FEATURE_MOVE
#define UFFD_FEATURE_MOVE (1 << 16)
#endif

#ifndef UFFDIO_MOVE
#define _UFFDIO_MOVE 0x05
struct uffdio_move {
	__u64 dst;
	__u64 src;
	__u64 len;
	__u64 mode;
	__s64 move; /* written by the kernel: bytes moved, or a negative errno value */
};
#define UFFDIO_MOVE			 _IOWR(UFFDIO, _UFFDIO_MOVE, struct uffdio_move)
#define UFFDIO_MOVE_MODE_DONTWAKE	 ((__u64)1 << 0)
#define UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES ((__u64)1 << 1)
#endif

/* Linux 5.11 (system call flag); older C libraries only */
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

/* Linux 5.7, include/uapi/linux/mman.h */
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#endif
