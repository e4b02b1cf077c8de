/* SPDX-License-Identifier: MIT */
/*
 * Kernel interfaces that may be newer than the headers this is compiled with. Each names its
 * source, a path in the Linux tree, and the version that brought it. Whether the running kernel
 * has it is asked at run time, in uffd.c.
 */
#ifndef NHI_LINUX_UAPI_H
#define NHI_LINUX_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/userfaultfd.h>

/* include/uapi/linux/userfaultfd.h, 5.11 */
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

/* include/uapi/linux/userfaultfd.h, 5.14 */
#ifndef UFFD_FEATURE_MINOR_SHMEM
#define UFFD_FEATURE_MINOR_SHMEM (1 << 10)
#endif

/* include/uapi/linux/userfaultfd.h, 5.13 (hugetlb), 5.14 (shmem) */
#ifndef UFFDIO_CONTINUE
struct uffdio_continue {
	struct uffdio_range range;
	__u64 mode;
	__s64 mapped;
};
#define _UFFDIO_CONTINUE	   (0x07)
#define UFFDIO_CONTINUE		   _IOWR(UFFDIO, _UFFDIO_CONTINUE, struct uffdio_continue)
#define UFFDIO_REGISTER_MODE_MINOR ((__u64)1 << 2)
#endif

/* include/uapi/linux/userfaultfd.h, 6.8 */
#ifndef UFFDIO_MOVE
#define UFFD_FEATURE_MOVE (1 << 16)
struct uffdio_move {
	__u64 dst;
	__u64 src;
	__u64 len;
#define UFFDIO_MOVE_MODE_DONTWAKE	 ((__u64)1 << 0)
#define UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES ((__u64)1 << 1)
	__u64 mode;
	__s64 move; /* bytes moved, or -errno */
};
#define _UFFDIO_MOVE (0x05)
#define UFFDIO_MOVE  _IOWR(UFFDIO, _UFFDIO_MOVE, struct uffdio_move)
#endif

/* include/uapi/linux/userfaultfd.h, 6.1: the only ioctl of /dev/userfaultfd */
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC	    0xAA
#define USERFAULTFD_IOC_NEW _IO(USERFAULTFD_IOC, 0x00)
#endif

/* include/uapi/linux/mman.h, 5.7 */
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

/* include/uapi/asm-generic/mman-common.h, 5.14 */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* include/uapi/linux/prctl.h, 5.17 */
#ifndef PR_SET_VMA
#define PR_SET_VMA	     0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

/* include/uapi/linux/close_range.h, 5.9 */
#ifndef __NR_close_range
#define __NR_close_range 436
#endif

/*
 * include/uapi/linux/fs.h, 6.7. Own names: that header cannot be included together with
 * sys/mount.h, so its own macros may or may not be here.
 */
struct nhi_page_region {
	__u64 start;
	__u64 end;
	__u64 categories;
};
struct nhi_pm_scan_arg {
	__u64 size;
	__u64 flags;
	__u64 start;
	__u64 end;
	__u64 walk_end;
	__u64 vec;
	__u64 vec_len;
	__u64 max_pages;
	__u64 category_inverted;
	__u64 category_mask;
	__u64 category_anyof_mask;
	__u64 return_mask;
};
#define NHI_PAGEMAP_SCAN    _IOWR('f', 16, struct nhi_pm_scan_arg)
#define NHI_PAGE_IS_HUGE    (1 << 6)

/* Documentation/admin-guide/mm/pagemap.rst: an entry of /proc/PID/pagemap */
#define NHI_PM_EXCLUSIVE    (1ULL << 56) /* 4.2 */
#define NHI_PM_SWAP	    (1ULL << 62)
#define NHI_PM_PRESENT	    (1ULL << 63)

/* arch/x86/include/asm/trap_pf.h: the error code of a page fault */
#define NHI_X86_PF_WRITE    2
/* arch/arm64/include/uapi/asm/sigcontext.h and asm/esr.h */
#define NHI_ARM64_ESR_MAGIC 0x45535201
#define NHI_ARM64_ESR_WNR   (1UL << 6)

#endif
