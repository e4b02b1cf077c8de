/* SPDX-License-Identifier: MIT */
/*
 * System calls without libc: the result is a count or a negative errno, errno is not touched, and
 * nobody who interposes mmap() and its like is called. All are async-signal-safe.
 */
#ifndef NHI_LINUX_SYS_H
#define NHI_LINUX_SYS_H

#include <stdint.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
static inline long nhi_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
static inline long nhi_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}
#else
#error "numahint knows the system calls of x86-64 and arm64"
#endif

#define nhi_sys0(nr)		 nhi_syscall(nr, 0, 0, 0, 0, 0, 0)
#define nhi_sys1(nr, a)		 nhi_syscall(nr, (long)(a), 0, 0, 0, 0, 0)
#define nhi_sys2(nr, a, b)	 nhi_syscall(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define nhi_sys3(nr, a, b, c)	 nhi_syscall(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define nhi_sys4(nr, a, b, c, d) nhi_syscall(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define nhi_sys5(nr, a, b, c, d, e) \
	nhi_syscall(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define nhi_sys6(nr, a, b, c, d, e, f) \
	nhi_syscall(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* Did a call that returns an address fail? Its errno is -(long)ret then. */
static inline int nhi_sys_failed(long ret)
{
	return (unsigned long)ret > -4096UL;
}

#endif
