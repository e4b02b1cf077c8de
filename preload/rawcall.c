// SPDX-License-Identifier: MIT
/*
 * System calls that come by syscall(2), mbind(2) or clone(2) instead of a function with a name:
 *
 *   mbind with MPOL_MF_LAZY, which Linux refuses, is served by the engine: that is what the flag was
 *   meant for. libnuma's mbind() comes here too.
 *   Whatever starts a process gets it without marks: a copy of the address space without the
 *   library's fork handlers.
 *   Everything else may have pointers anywhere among its arguments: what they point to is held.
 */
#include "preload.h"
#include "sys.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>

#define POINTED 16384 /* bytes behind a pointer of unknown meaning that are held */

struct raw {
	long nr, arg[6];
};

NHP_EXPORT long mbind(void *addr, unsigned long len, int mode, const unsigned long *nodemask,
		      unsigned long maxnode, unsigned int flags);
NHP_EXPORT int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
/* Called by syscall() below. */
long nhp_syscall(long nr, long a, long b, long c, long d, long e, long f);
void *nhp_before_copy(void);

static long as_libc(long ret)
{
	if (!nhi_sys_failed(ret))
		return ret;
	errno = (int)-ret;
	return -1;
}

/* --------------------------------------------------------------------------------------- mbind */

static long lazy_mbind(const struct raw *r)
{
	const unsigned long *nodes = (const unsigned long *)r->arg[3];
	uintptr_t start = (uintptr_t)r->arg[0], len = (uintptr_t)r->arg[1];
	struct nh_mm *mm = nhp.ready && nhp_getpid() == nhp.pid ? nhp_mm() : NULL;
	int err;

	if (!mm)
		return -EINVAL; /* as the kernel answers */
	/* Marks that no region ends: (C) in hold.c. */
	nhp_marks_begin();
	err = nh_mbind(mm, (void *)start, len, (int)r->arg[2], nodes, (unsigned long)r->arg[4],
		       (unsigned int)r->arg[5]);
	/* From now on it is an allocation that had its occasion, so that system calls meet no mark. */
	if (!err && len)
		nhp_note_managed(start, len);
	return err;
}

long mbind(void *addr, unsigned long len, int mode, const unsigned long *nodemask,
	   unsigned long maxnode, unsigned int flags)
{
	const struct raw r = {
		SYS_mbind, { (long)addr, (long)len, mode, (long)nodemask, (long)maxnode, flags }
	};

	if (flags & NH_MPOL_MF_LAZY)
		return as_libc(lazy_mbind(&r));
	return as_libc(nhi_sys6(SYS_mbind, addr, len, mode, nodemask, maxnode, flags));
}

/* ------------------------------------------------------------------------------------- syscall */

/* The kernel never sees a mark where one of the arguments may point to. */
static long held_call(const struct raw *r)
{
	uint32_t held[6];
	long ret;

	for (int i = 0; i < 6; i++)
		held[i] = nhp_hold((const void *)r->arg[i], POINTED);
	ret = nhi_sys6(r->nr, r->arg[0], r->arg[1], r->arg[2], r->arg[3], r->arg[4], r->arg[5]);
	for (int i = 0; i < 6; i++)
		nhp_release(held[i]);
	return ret;
}

/* Those whose buffers are longer than what is held behind any pointer. */
static long buffer_call(const struct raw *r)
{
	uint32_t held = nhp_hold((const void *)r->arg[1], (size_t)r->arg[2]);
	long ret = held_call(r);

	nhp_release(held);
	return ret;
}

long nhp_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	const struct raw r = { nr, { a, b, c, d, e, f } };

	switch (nr) {
	case SYS_mbind:
		if (f & NH_MPOL_MF_LAZY)
			return as_libc(lazy_mbind(&r));
		break;
	case SYS_read:
	case SYS_write:
	case SYS_pread64:
	case SYS_pwrite64:
	case SYS_sendto:
	case SYS_recvfrom:
		return as_libc(buffer_call(&r));
	case SYS_munmap:
		nhp_forget_range((uintptr_t)a, (uintptr_t)a + (uintptr_t)b);
		break;
	case SYS_madvise:
	case SYS_mprotect:
	case SYS_mremap:
		nhp_unmark_range((uintptr_t)a, (uintptr_t)a + (uintptr_t)b);
		break;
	case SYS_execve:
	case SYS_execveat:
		nhp_unmark_all();
		break;
	}
	return as_libc(held_call(&r));
}

/* ----------------------------------------------------------------------------------- processes */

void *nhp_before_copy(void)
{
	nhp_unmark_all();
	return (void *)(uintptr_t)NHP_REAL(syscall);
}

/*
 * The child may return on another stack, or on ours while the caller waits: no frame of this library
 * may lie between. So for what makes processes, restore and jump; everything else has a function.
 */
#if defined(__x86_64__)
__asm__(".text\n"
	".globl syscall\n"
	".type syscall, @function\n"
	"syscall:\n"
	"	.cfi_startproc\n"
	"	cmp	$56, %rdi\n" /* clone */
	"	je	1f\n"
	"	cmp	$57, %rdi\n" /* fork */
	"	je	1f\n"
	"	cmp	$58, %rdi\n" /* vfork */
	"	je	1f\n"
	"	cmp	$435, %rdi\n" /* clone3 */
	"	je	1f\n"
	"	jmp	nhp_syscall\n"
	"1:	push	%rdi\n"
	"	push	%rsi\n"
	"	push	%rdx\n"
	"	push	%rcx\n"
	"	push	%r8\n"
	"	push	%r9\n"
	"	sub	$8, %rsp\n"
	"	.cfi_adjust_cfa_offset 56\n"
	"	call	nhp_before_copy\n"
	"	add	$8, %rsp\n"
	"	pop	%r9\n"
	"	pop	%r8\n"
	"	pop	%rcx\n"
	"	pop	%rdx\n"
	"	pop	%rsi\n"
	"	pop	%rdi\n"
	"	.cfi_adjust_cfa_offset -56\n"
	"	jmp	*%rax\n"
	"	.cfi_endproc\n"
	".size syscall, . - syscall\n");
#endif

/* The child begins in @fn on @stack, so this returns in the caller only. */
int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	void *parent_tid, *tls, *child_tid;
	va_list args;
	int ret;

	va_start(args, arg);
	parent_tid = va_arg(args, void *);
	tls = va_arg(args, void *);
	child_tid = va_arg(args, void *);
	va_end(args);
	if (flags & CLONE_VM)
		return NHP_REAL(clone)(fn, stack, flags, arg, parent_tid, tls, child_tid);
	nhp_hold_all();
	ret = NHP_REAL(clone)(fn, stack, flags, arg, parent_tid, tls, child_tid);
	nhp_release_all();
	return ret;
}
