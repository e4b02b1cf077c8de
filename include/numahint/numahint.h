/* SPDX-License-Identifier: MIT */
/*
 * numahint: NUMA hinting faults and lazy migration for Linux programs.
 *
 * Mark a range; the next thread to touch one of its pages takes a fault, and the page moves to the
 * node that the range's policy names for that thread. Nothing moves before it is touched, nothing
 * that is not touched moves, and the program never sees more than a slower access.
 *
 *	double *a = malloc(len);
 *	fill(a);			(one thread: every page sits on its node)
 *	nh_next_touch(NULL, a, len);
 *	work_in_parallel(a);		(each page follows the thread that touches it)
 *
 * Conventions
 *   Ranges are [addr, addr + len): addr a multiple of the page size, len in bytes, rounded up.
 *   Return 0 or a count on success and a negative errno value on failure; errno is not touched.
 *   `mm` may be NULL: the process's default mm, made at first use (NUMAHINT_CONF is read then).
 *   Unless a call says otherwise it is thread-safe, may block, may be called while other threads
 *   touch the range, must not be called from a signal handler, and may be called in a forked
 *   child, where the same ranges are managed and nothing is marked.
 *   Any failure leaves the memory as it was, and readable.
 */
#ifndef NUMAHINT_H
#define NUMAHINT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NH_VERSION_MAJOR 0
#define NH_VERSION_MINOR 1
#define NH_VERSION_PATCH 0

#define NH_API		 __attribute__((visibility("default")))
#define NH_CHECK	 __attribute__((warn_unused_result))

/**
 * nh_version - the version of the library that is loaded
 *
 * Return: major * 10000 + minor * 100 + patch.
 * Context: any, signal handlers included.
 */
NH_API int nh_version(void);

/**
 * nh_strerror - a sentence for an error value of this library
 * @err: a value returned by a call of this library (negative), or an errno value
 *
 * Return: a constant string, never NULL, naming the cause and, where there is one, the knob.
 * Context: any, signal handlers included.
 */
NH_API const char *nh_strerror(int err);

/* ------------------------------------------------------------------------------------- the mm */

/** struct nh_mm - a set of managed ranges with one way of marking and one set of counters */
struct nh_mm;

/** enum nh_trap - how a range is marked */
enum nh_trap {
	NH_TRAP_AUTO = 0,     /* the safest that works for the range here, see numahint(7) */
	NH_TRAP_MPROTECT = 1, /* PROT_NONE and SIGSEGV; any kernel, any private mapping */
	NH_TRAP_SHADOW = 2,   /* userfaultfd MISSING over moved-away pages; private anonymous */
	NH_TRAP_MINOR = 3,    /* userfaultfd MINOR; shared memory, memfd (Linux >= 5.14) */
};

/** enum nh_delivery - who handles the fault */
enum nh_delivery {
	NH_DELIVERY_AUTO = 0,	 /* monitor where it can serve the kernel's accesses, else thread */
	NH_DELIVERY_THREAD = 1,	 /* the faulting thread, in a signal handler */
	NH_DELIVERY_MONITOR = 2, /* a thread of the library; also serves accesses by system calls */
};

/** enum nh_copy - may a page be moved by copying it (fast), or only by the kernel (checked) */
enum nh_copy {
	NH_COPY_AUTO = 0,  /* copy where nothing in the process can hold a page for I/O */
	NH_COPY_NEVER = 1, /* always by move_pages(2) */
	NH_COPY_ALWAYS =
		2, /* the caller promises: no I/O in flight into a range while it is marked */
};

/**
 * struct nh_mm_options - how a new mm works
 *
 * Set @size to sizeof(struct nh_mm_options) and clear the rest; zero is the default everywhere.
 */
struct nh_mm_options {
	size_t size;
	enum nh_trap trap;
	enum nh_delivery delivery;
	enum nh_copy copy;
	/*
	 * Emulated nodes: NULL for the machine's own; a number ("4"), or an hwloc synthetic
	 * string whose NUMA level counts ("numa:4 core:2 pu:1"). Threads and pages then carry
	 * node numbers, and a migration costs a copy.
	 */
	const char *nodes;
	unsigned int fault_around_max; /* pages resolved by one fault at most; 0: 512 */
	unsigned int flags;	       /* must be 0 */
};

/**
 * nh_mm_create - make an mm
 * @options: NULL for the defaults
 * @ret_mm:  the new mm; written on success only
 *
 * Return: 0; -EINVAL (an unknown value in @options, or a node string that does not parse);
 *	-EOPNOTSUPP (the trap or delivery asked for does not exist here: `numahint doctor` says
 *	which knob is in the way); -EPERM (userfaultfd refused: vm.unprivileged_userfaultfd,
 *	/dev/userfaultfd, CAP_SYS_PTRACE or a seccomp filter); -ENOMEM; -EMFILE (16 mms exist).
 */
NH_API NH_CHECK int nh_mm_create(const struct nh_mm_options *options, struct nh_mm **ret_mm);

/**
 * nh_mm_destroy - restore everything that is marked and forget the ranges
 * @mm: from nh_mm_create(); NULL is ignored; the default mm is unmarked and emptied, not freed
 *
 * No other call with @mm may be under way.
 */
NH_API void nh_mm_destroy(struct nh_mm *mm);

/**
 * nh_default_mm - the mm that NULL stands for
 * @ret_mm: written on success only
 *
 * Return: 0, or what nh_mm_create() returned for it.
 */
NH_API NH_CHECK int nh_default_mm(struct nh_mm **ret_mm);

/* ---------------------------------------------------------------------------------- ranges */

/**
 * nh_manage - let an mm manage the mappings in a range
 * @mm:    the mm
 * @addr:  start, a multiple of the page size
 * @len:   bytes
 * @flags: must be 0
 *
 * What is mapped in the range is read from /proc/self/maps; each mapping gets the trap that fits
 * it. Mappings that cannot be managed (hugetlb, devices, private files, stacks, locked memory) are
 * left out and counted in nh_stats(). Nothing is marked.
 *
 * Return: 0; -EINVAL (unaligned @addr, a range that wraps, @flags); -ENOMEM (a part is not mapped,
 *	as mprotect(2) has it; or memory); -EEXIST (a part is managed already); -EOPNOTSUPP (nothing
 *	in the range can be managed by this mm's trap and delivery); a length of 0 is 0.
 */
NH_API NH_CHECK int nh_manage(struct nh_mm *mm, void *addr, size_t len, unsigned int flags);

/**
 * nh_unmanage - restore what is marked in a range and forget it
 * @mm:   the mm
 * @addr: start, a multiple of the page size
 * @len:  bytes
 *
 * Parts that are not managed are ignored.
 *
 * Return: 0; -EINVAL; -EBUSY (a page could not be restored; it stays managed and readable).
 */
NH_API int nh_unmanage(struct nh_mm *mm, void *addr, size_t len);

/* Modes of nh_mbind() and of mbind(2); the numbers are the kernel's. */
enum nh_mpol {
	NH_MPOL_DEFAULT = 0,
	NH_MPOL_PREFERRED = 1,
	NH_MPOL_BIND = 2,
	NH_MPOL_INTERLEAVE = 3,
	NH_MPOL_LOCAL = 4,
	NH_MPOL_PREFERRED_MANY = 5,
	NH_MPOL_WEIGHTED_INTERLEAVE =
		6,	   /* the weights are those of sysfs, 1 where there are none */
	NH_MPOL_NOOP = 64, /* keep each range's policy; only for nh_mbind() */
};
#define NH_MPOL_F_STATIC_NODES	 (1 << 15)
#define NH_MPOL_F_RELATIVE_NODES (1 << 14)
#define NH_MPOL_F_NUMA_BALANCING (1 << 13)

#define NH_MPOL_MF_STRICT	 (1u << 0)
#define NH_MPOL_MF_MOVE		 (1u << 1)
#define NH_MPOL_MF_MOVE_ALL	 (1u << 2)
#define NH_MPOL_MF_LAZY		 (1u << 3) /* mark now, move at the next touch */

/**
 * nh_mbind - mbind(2), with the lazy migration that Linux does not offer
 * @mm:       the mm
 * @addr:     start, a multiple of the page size
 * @len:      bytes
 * @mode:     enum nh_mpol, with mode flags
 * @nodemask: bits of the nodes, as for mbind(2)
 * @maxnode:  number of bits in @nodemask plus one, as for mbind(2)
 * @flags:    NH_MPOL_MF_*
 *
 * With NH_MPOL_MF_LAZY the present, unshared, unpinned pages of the range are marked and none
 * moves inside the call; each moves at its next touch if the policy then says that it is misplaced
 * for the toucher. NH_MPOL_NOOP with LAZY leaves the policies alone. Memory that is not managed
 * yet is managed first, as by nh_manage(). A range without a policy follows whoever touches it.
 * Without LAZY the policy is set, and with MOVE the pages are moved before the call returns.
 *
 * Return: 0, or the errors of mbind(2) in its order of checks: -EINVAL, -EFAULT (a hole), -EPERM
 *	(MOVE_ALL without CAP_SYS_NICE), -EIO (STRICT), -ENOMEM; besides: -EOPNOTSUPP as for
 *	nh_manage().
 * Source: mbind(2); cases 70 to 96 of the semantics, see doc/conformance.md.
 */
NH_API NH_CHECK int nh_mbind(struct nh_mm *mm, void *addr, size_t len, int mode,
			     const unsigned long *nodemask, unsigned long maxnode,
			     unsigned int flags);

#define NH_MPOL_F_NODE	       (1u << 0) /* the node of the page at the address */
#define NH_MPOL_F_ADDR	       (1u << 1) /* of the address, not of the thread */
#define NH_MPOL_F_MEMS_ALLOWED (1u << 2) /* the nodes that have memory */

/**
 * nh_get_mempolicy - get_mempolicy(2): what policy a range or the calling thread has
 * @mm:       the mm
 * @mode:     NULL, or written: enum nh_mpol with mode flags; the node, with NH_MPOL_F_NODE
 * @nodemask: NULL, or written: the policy's nodes
 * @maxnode:  number of bits in @nodemask plus one
 * @addr:     with NH_MPOL_F_ADDR an address, else NULL
 * @flags:    NH_MPOL_F_NODE only together with NH_MPOL_F_ADDR; MEMS_ALLOWED alone
 *
 * Shows policies as they were set by nh_mbind() and nh_set_mempolicy(), without what is internal:
 * after a lazy BIND it shows BIND. A range without a policy has NH_MPOL_DEFAULT. Asking for a node
 * disturbs no mark; a page that was never touched is brought in.
 *
 * Return: 0; -EINVAL (flags, or @maxnode too small for the machine); -EFAULT (nothing is mapped).
 */
NH_API NH_CHECK int nh_get_mempolicy(struct nh_mm *mm, int *mode, unsigned long *nodemask,
				     unsigned long maxnode, const void *addr, unsigned int flags);

/**
 * nh_set_mempolicy - set_mempolicy(2): the calling thread's policy, for ranges that have none
 * @mm:       the mm
 * @mode:     enum nh_mpol, with mode flags; NH_MPOL_DEFAULT removes it
 * @nodemask: bits of the nodes
 * @maxnode:  number of bits in @nodemask plus one
 *
 * A marked page of a range without a policy follows whoever touches it. A thread with a policy of its
 * own moves such pages only if the policy has NH_MPOL_F_NUMA_BALANCING, and then as that says. On real
 * nodes the kernel is told, too, so that what the thread populates comes from there. The policy is not
 * inherited by new threads; a child keeps that of the thread that forked.
 *
 * Return: 0; -EINVAL; -EFAULT (@nodemask); -ENOMEM.
 */
NH_API NH_CHECK int nh_set_mempolicy(struct nh_mm *mm, int mode, const unsigned long *nodemask,
				     unsigned long maxnode);

/**
 * nh_mprotect - mprotect(2) of memory of which some is marked, by whatever trap
 * @mm:   the mm
 * @addr: start, a multiple of the page size; memory that is not managed is changed too
 * @len:  bytes
 * @prot: PROT_NONE, or PROT_READ, PROT_WRITE and PROT_EXEC
 *
 * What is marked in the range is restored: its hints are lost, without a hinting fault. An
 * inaccessible range is not marked, and no fault makes it accessible. Trap mprotect needs this call
 * where a program changes the protection of managed memory; the others bear mprotect(2) itself.
 *
 * Return: 0; -EINVAL; -ENOMEM (a part is not mapped: nothing is changed); -EBUSY (a page could not be
 *	restored); -EACCES, as mprotect(2).
 */
NH_API NH_CHECK int nh_mprotect(struct nh_mm *mm, void *addr, size_t len, int prot);

/**
 * nh_next_touch - every page of the range goes to whoever touches it next
 * @mm:   the mm
 * @addr: start; need not be aligned: the pages that lie wholly inside the range are taken
 * @len:  bytes
 *
 * Short for nh_mbind(mm, addr, len, NH_MPOL_LOCAL, NULL, 0, NH_MPOL_MF_MOVE | NH_MPOL_MF_LAZY),
 * with the range shrunk to whole pages, so that it can be given any array.
 *
 * Return: the number of pages marked; or an error of nh_mbind().
 */
NH_API NH_CHECK long nh_next_touch(struct nh_mm *mm, void *addr, size_t len);

/**
 * nh_unmark - restore every marked page of the range, in place
 * @mm:   the mm
 * @addr: start, a multiple of the page size; NULL with a length of 0: everything in @mm
 * @len:  bytes
 *
 * Return: the number of pages restored by this call; -EINVAL; -EBUSY (some page could not be
 *	restored; it stays marked, and readable by touching it).
 */
NH_API long nh_unmark(struct nh_mm *mm, void *addr, size_t len);

/**
 * nh_node_of - where pages sit
 * @mm:    the mm
 * @addr:  start, a multiple of the page size
 * @nr:    number of pages
 * @nodes: @nr entries: the page's node, or -ENOENT for a page that was never touched, -EFAULT
 *	where nothing is mapped, -EBUSY where the kernel does not say, for the moment
 *
 * Disturbs no mark and touches no page. Memory that is not managed is answered too.
 *
 * Return: 0; -EINVAL; -ENOMEM.
 */
NH_API NH_CHECK int nh_node_of(struct nh_mm *mm, const void *addr, size_t nr, int *nodes);

/**
 * struct nh_smaps - what a range consists of, in bytes, as /proc/PID/smaps has it, but by node
 *
 * Marking changes nothing but @marked, and neither does taking access away.
 */
struct nh_smaps {
	uint64_t managed;      /* bytes of the range that are managed; the rest is about these */
	uint64_t resident;     /* in memory, marked or not */
	uint64_t huge;	       /* of resident: in huge pages that are mapped as one */
	uint64_t shared;       /* ... mapped by somebody else too */
	uint64_t marked;       /* ... the next access faults */
	uint64_t referenced;   /* ... held through this library: see numahint_gup.h */
	uint64_t inaccessible; /* ... where the program has no access */
	uint64_t unplaced;     /* ... of which the kernel does not tell the node */
	uint64_t node[256];    /* ... by node; these and @unplaced add up to @resident */
};

/**
 * nh_smaps - account for a range
 * @mm:   the mm
 * @addr: start, a multiple of the page size; NULL with a length of 0: everything in @mm
 * @len:  bytes
 * @ret:  filled up to @size bytes, so that a newer library serves an older caller
 * @size: sizeof(struct nh_smaps)
 *
 * Touches no page and disturbs no mark. Pages are looked at one after the other while others touch
 * them: a snapshot of each, not of all.
 *
 * Return: 0; -EINVAL.
 */
NH_API NH_CHECK int nh_smaps(struct nh_mm *mm, const void *addr, size_t len, struct nh_smaps *ret,
			     size_t size);

/**
 * nh_dump - write what is managed as an ELF core file
 * @mm: the mm
 * @fd: open for writing; where it can seek, holes are left out
 *
 * One PT_LOAD segment for each managed range, with the contents of its pages, also of those that are
 * marked, which the kernel's own core files lack, and of those that are inaccessible. There are no
 * notes: no registers. Disturbs no mark, allocates no page of the range.
 *
 * Return: 0; the error of write(2), lseek(2) or of opening /proc/self/mem; -ENOMEM.
 */
NH_API NH_CHECK int nh_dump(struct nh_mm *mm, int fd);

/* --------------------------------------------------------------------------------- threads */

/**
 * nh_thread_node - the node that a touch by the calling thread counts for
 * @mm: the mm
 *
 * Return: the node, >= 0.
 * Context: any, signal handlers included.
 */
NH_API int nh_thread_node(struct nh_mm *mm);

/**
 * nh_thread_set_node - on emulated nodes: put the calling thread on a node
 * @mm:   the mm
 * @node: the node
 *
 * Return: 0; -EINVAL (no such node); -EOPNOTSUPP (the nodes are real: use sched_setaffinity(2)).
 */
NH_API int nh_thread_set_node(struct nh_mm *mm, int node);

/* -------------------------------------------------------------------------------- counters */

/** enum nh_reason - why a page was not marked, or not moved */
enum nh_reason {
	NH_REASON_SHARED = 0,	/* mapped by somebody else too: fork, KSM, another process */
	NH_REASON_PINNED,	/* pinned through this library or by the kernel */
	NH_REASON_BUSY,		/* being marked, moved or restored by another thread */
	NH_REASON_NOMEM,	/* no memory, or none on the target node */
	NH_REASON_UNMOVABLE,	/* hugetlb, device, special mapping, locked or secret memory */
	NH_REASON_FILE,		/* backed by a private file mapping */
	NH_REASON_STACK,	/* stack or other memory that the kernel writes without asking */
	NH_REASON_INACCESSIBLE, /* PROT_NONE */
	NH_REASON_MAPS,		/* vm.max_map_count is near */
	NH_REASON_UNSUPPORTED,	/* no trap for this kind of memory here */
	NH_REASON_OTHER,
	NH_REASONS
};

/** nh_reason_name - "shared", "pinned", ...; NULL for an unknown number */
NH_API const char *nh_reason_name(unsigned int reason);

/**
 * struct nh_stats - what happened in an mm so far; pages are base pages
 *
 * A marked page ends in exactly one of: restored, migrated, lost (the program unmapped or
 * discarded it), or it is marked now.
 */
struct nh_stats {
	uint64_t managed_bytes;
	uint64_t metadata_bytes;   /* page tables, of the library */
	uint64_t marked_now;	   /* pages */
	uint64_t marked;	   /* pages, every time one was marked */
	uint64_t hinting_faults;   /* faults that found their page still marked */
	uint64_t hinting_local;	   /* of those: the page sat on the toucher's node */
	uint64_t around;	   /* pages resolved by a fault on a neighbour */
	uint64_t migrated;	   /* pages */
	uint64_t restored;	   /* pages */
	uint64_t lost;		   /* pages */
	uint64_t waits;		   /* faults that waited for another thread's work on the page */
	uint64_t zero_filled;	   /* first touches of a hole in a watched range, pages */
	uint64_t unknown_touchers; /* faults whose thread could not be placed */
	uint64_t copied;	   /* of migrated: by copy */
	uint64_t moved;		   /* of migrated: by the kernel */
	uint64_t ladder_move;	   /* pages restored by UFFDIO_MOVE */
	uint64_t ladder_copy;	   /* ... by UFFDIO_COPY */
	uint64_t ladder_mremap;	   /* ... by mremap(2) */
	uint64_t by_monitor;	   /* faults handled by the monitor */
	uint64_t by_thread;	   /* faults handled by the toucher */
	uint64_t helper_ioctls; /* made by the helper because the program closed our descriptor */
	uint64_t mark_ns;	/* time spent marking */
	uint64_t skipped[NH_REASONS]; /* pages that were to be marked and were not */
	uint64_t failed[NH_REASONS];  /* pages that were to be moved and were not */
	uint64_t touched_local;	      /* pages that sat on the toucher's node when the fault came */
	uint64_t touched_remote;      /* ... that did not */
	uint64_t eager;		      /* pages moved inside nh_mbind(), without marking */
};

/**
 * nh_stats - read the counters
 * @mm:   the mm
 * @st:   filled up to @size bytes, so that a newer library serves an older caller
 * @size: sizeof(struct nh_stats)
 *
 * The counters are read one by one while others may count: a snapshot, not a transaction.
 *
 * Return: 0; -EINVAL.
 */
NH_API NH_CHECK int nh_stats(struct nh_mm *mm, struct nh_stats *st, size_t size);

/**
 * nh_describe - how an mm works on this machine, for people
 * @mm:  the mm
 * @buf: filled with "nodes=2 emulated=0 trap=shadow delivery=monitor ..." and a NUL
 * @len: size of @buf, bytes
 *
 * Return: the length of the whole text, as snprintf(3); -EINVAL.
 */
NH_API int nh_describe(struct nh_mm *mm, char *buf, size_t len);

#ifdef __cplusplus
}
#endif
#endif
