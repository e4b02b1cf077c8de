// SPDX-License-Identifier: MIT
/*
 * Mappings. Anonymous ones of at least min_size are noted. Before the program changes a mapping that
 * we know, the engine restores what is marked there, or lets go of it: then the kernel sees what it
 * would have seen without us.
 */
#include "preload.h"

#include <errno.h>
#include <stdarg.h>

NHP_EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
NHP_EXPORT void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
NHP_EXPORT int munmap(void *addr, size_t len);
NHP_EXPORT void *mremap(void *old, size_t old_len, size_t len, int flags, ...);
NHP_EXPORT int madvise(void *addr, size_t len, int advice);
NHP_EXPORT int posix_madvise(void *addr, size_t len, int advice);
NHP_EXPORT int mprotect(void *addr, size_t len, int prot);
NHP_EXPORT int mlock(const void *addr, size_t len);
NHP_EXPORT int mlock2(const void *addr, size_t len, unsigned int flags);
NHP_EXPORT int mlockall(int flags);

/* What we can mark, and what nobody else has plans for. */
static bool is_ours(int prot, int flags)
{
	const int not_ours = MAP_HUGETLB | MAP_GROWSDOWN | MAP_STACK | MAP_LOCKED;

	return flags & MAP_ANONYMOUS && !(flags & not_ours) &&
	       (prot & (PROT_READ | PROT_WRITE)) == (PROT_READ | PROT_WRITE);
}

/* [*start, *end): whole pages; empty if it wraps, which the kernel will refuse. */
static void span(const void *addr, size_t len, uintptr_t *start, uintptr_t *end)
{
	*start = nhi_round_down((uintptr_t)addr, NHP_PAGE);
	*end = nhi_round_up((uintptr_t)addr + len, NHP_PAGE);
	if (*end < *start)
		*end = *start;
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	uintptr_t start, end;
	int saved_errno;
	void *p;

	/* What lies there goes. MAP_FIXED_NOREPLACE fails instead. */
	if (flags & MAP_FIXED) {
		span(addr, len, &start, &end);
		nhp_forget_range(start, end);
	}
	p = NHP_REAL(mmap)(addr, len, prot, flags, fd, offset);
	if (p == MAP_FAILED || !nhp_is_large(len))
		return p;
	saved_errno = errno;
	if (is_ours(prot, flags))
		nhp_note(p, len, NHP_MAP);
	else
		nhi_count(&nhp.left, 1);
	errno = saved_errno;
	return p;
}

/* off_t has 64 bits on everything we run on. */
void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	return mmap(addr, len, prot, flags, fd, offset);
}

int munmap(void *addr, size_t len)
{
	uintptr_t start, end;

	span(addr, len, &start, &end);
	nhp_forget_range(start, end);
	return NHP_REAL(munmap)(addr, len);
}

void *mremap(void *old, size_t old_len, size_t len, int flags, ...)
{
	uintptr_t start, end;
	struct nhp_alloc was;
	void *to = NULL, *p;
	int saved_errno;
	bool known;
	va_list args;

	if (flags & MREMAP_FIXED) {
		va_start(args, flags);
		to = va_arg(args, void *);
		va_end(args);
		span(to, len, &start, &end);
		nhp_forget_range(start, end);
	}
	known = nhp_forget(old, &was);
	if (!known || was.len > old_len) {
		/* A part of something, or something else: the engine lets go of what is there. */
		span(old, nhi_max(old_len, known ? was.len : 0), &start, &end);
		nhp_forget_range(start, end);
	}
	p = NHP_REAL(mremap)(old, old_len, len, flags, to);
	saved_errno = errno;
	if (known && p == MAP_FAILED)
		nhp_note_again(old, was.len, &was);
	else if (known && nhp_is_large(len))
		nhp_note_again(p, len, &was);
	errno = saved_errno;
	return p;
}

/* Advice that says nothing about what the pages hold. */
static bool is_hint(int advice)
{
	return advice == MADV_NORMAL || advice == MADV_RANDOM || advice == MADV_SEQUENTIAL ||
	       advice == MADV_HUGEPAGE || advice == MADV_NOHUGEPAGE;
}

int madvise(void *addr, size_t len, int advice)
{
	uintptr_t start, end;

	if (!is_hint(advice)) {
		span(addr, len, &start, &end);
		nhp_unmark_range(start, end);
	}
	return NHP_REAL(madvise)(addr, len, advice);
}

int posix_madvise(void *addr, size_t len, int advice)
{
	int saved_errno = errno, err = 0;

	/* The numbers are those of madvise(2); POSIX's DONTNEED keeps the data, so it does nothing. */
	if (advice != POSIX_MADV_DONTNEED && madvise(addr, len, advice))
		err = errno;
	errno = saved_errno;
	return err;
}

int mprotect(void *addr, size_t len, int prot)
{
	uintptr_t start, end;

	span(addr, len, &start, &end);
	nhp_unmanage_range(start, end);
	return NHP_REAL(mprotect)(addr, len, prot);
}

/* Locked memory cannot be managed; and the kernel touches the pages now. */
int mlock(const void *addr, size_t len)
{
	uintptr_t start, end;

	span(addr, len, &start, &end);
	nhp_forget_range(start, end);
	return NHP_REAL(mlock)(addr, len);
}

int mlock2(const void *addr, size_t len, unsigned int flags)
{
	uintptr_t start, end;

	span(addr, len, &start, &end);
	nhp_forget_range(start, end);
	return NHP_REAL(mlock2)(addr, len, flags);
}

int mlockall(int flags)
{
	nhp_forget_range(0, UINTPTR_MAX);
	return NHP_REAL(mlockall)(flags);
}
