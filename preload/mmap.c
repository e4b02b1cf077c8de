// SPDX-License-Identifier: MIT
/*
 * Mappings. Anonymous ones of at least min_size are noted. Before the program changes a mapping that
 * we know, the engine restores what is marked there, or lets go of it: then the kernel sees what it
 * would have seen without us.
 */
#include "preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
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

/*
 * The object that has the program's malloc(), if that is not the C library's: jemalloc, tcmalloc,
 * mimalloc. Its mappings are left alone, for three reasons. It maps with its own locks held, under
 * which we must not start a thread, because that allocates. It keeps small blocks in them, and the
 * kernel gets pointers to those by more ways than can be held (names of files, say). And the large
 * blocks that it hands out come by malloc.c.
 */
static struct {
	uintptr_t start, end; /* nothing: the C library's; set before other threads run */
} allocator;

static int find_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	uintptr_t start = UINTPTR_MAX, end = 0, function = (uintptr_t)arg;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type != PT_LOAD)
			continue;
		start = nhi_min(start, info->dlpi_addr + p->p_vaddr);
		end = nhi_max(end, info->dlpi_addr + p->p_vaddr + p->p_memsz);
	}
	if (function < start || function >= end)
		return 0;
	allocator.start = start;
	allocator.end = end;
	return 1;
}

void nhp_mmap_init(void)
{
	/* One that the executable has itself stands before us; a library's is the next. */
	void *first = dlsym(RTLD_DEFAULT, "malloc");
	uintptr_t theirs = (uintptr_t)NHP_REAL(malloc);
	const ElfW(Sym) *symbol = NULL;
	Dl_info info;

	/* An executable at a fixed address may only have a stub for it, as python3 has. */
	if (first != (void *)malloc && dladdr1(first, &info, (void **)&symbol, RTLD_DL_SYMENT) &&
	    symbol && symbol->st_shndx != SHN_UNDEF)
		theirs = (uintptr_t)first;
	(void)dl_iterate_phdr(find_object, (void *)theirs);
	/* The C library's own calls do not come by us. */
	if ((uintptr_t)NHP_REAL(_exit) - allocator.start < allocator.end - allocator.start)
		allocator.start = allocator.end = 0;
}

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

static void *map(void *addr, size_t len, int prot, int flags, int fd, off_t offset,
		 uintptr_t caller)
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
	if (is_ours(prot, flags) && caller - allocator.start >= allocator.end - allocator.start)
		nhp_note(p, len, NHP_MAP);
	else
		nhi_count(&nhp.left, 1);
	errno = saved_errno;
	return p;
}

#define CALLER ((uintptr_t)__builtin_return_address(0))

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	return map(addr, len, prot, flags, fd, offset, CALLER);
}

/* off_t has 64 bits on everything we run on. */
void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	return map(addr, len, prot, flags, fd, offset, CALLER);
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
