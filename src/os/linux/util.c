// SPDX-License-Identifier: MIT
/* Futex locks, memory, small files, signal masks. All of it may run on the signal path. */
#include "internal.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

/* 0 free, 1 held, 2 held and somebody may sleep */
bool nhi_futex_trylock(uint32_t *word)
{
	uint32_t old = 0;

	/* Acquire: sees what the last holder wrote before its release in nhi_futex_unlock(). */
	return nhi_cas_acquire(word, &old, 1);
}

void nhi_futex_lock(uint32_t *word)
{
	if (nhi_futex_trylock(word))
		return;
	while (nhi_xchg_acquire(word, 2) != 0)
		(void)nhi_futex_wait(word, 2, -1);
}

void nhi_futex_unlock(uint32_t *word)
{
	if (nhi_xchg_release(word, 0) == 2)
		nhi_futex_wake(word, 1);
}

int nhi_futex_wait(uint32_t *word, uint32_t value, int timeout_ms)
{
	struct timespec ts = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L };

	return (int)nhi_sys4(SYS_futex, word, FUTEX_WAIT_PRIVATE, value,
			     timeout_ms < 0 ? NULL : &ts);
}

void nhi_futex_wake(uint32_t *word, int nr)
{
	(void)nhi_sys3(SYS_futex, word, FUTEX_WAKE_PRIVATE, nr);
}

void nhi_name_range(uintptr_t start, size_t len, const char *name)
{
	/* Fails before 5.17 and without CONFIG_ANON_VMA_NAME: then it has no name. */
	(void)nhi_sys5(SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, len, name);
}

void *nhi_pages_alloc(size_t bytes, const char *name)
{
	long ret = nhi_sys6(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);

	if (nhi_sys_failed(ret))
		return NULL;
	nhi_name_range((uintptr_t)ret, bytes, name);
	return (void *)ret;
}

void nhi_pages_free(void *mem, size_t bytes)
{
	if (mem)
		(void)nhi_sys2(SYS_munmap, mem, bytes);
}

int nhi_open(const char *path, int flags)
{
	return (int)nhi_sys4(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0);
}

void nhi_close(int fd)
{
	if (fd >= 0)
		(void)nhi_sys1(SYS_close, fd);
}

long nhi_read_file(int dirfd, const char *path, char *buf, size_t len)
{
	int fd = (int)nhi_sys4(SYS_openat, dirfd, path, O_RDONLY | O_CLOEXEC, 0);
	size_t have = 0;
	long n = 0;

	if (fd < 0)
		return fd;
	while (have < len - 1) {
		n = nhi_sys3(SYS_read, fd, buf + have, len - 1 - have);
		if (n <= 0)
			break;
		have += (size_t)n;
	}
	nhi_close(fd);
	buf[have] = 0;
	return n < 0 ? n : (long)have;
}

void nhi_run_status(struct nhi_run *run, uint32_t first, uint32_t end, enum nhi_page_status status)
{
	if (run->huge) {
		/* One fate for all: done when the last page is done, failed when one fails. */
		bool done = status == NHI_PAGE_OK || status == NHI_PAGE_HOLE;

		if (!done || end == run->nr_pages)
			run->status[0] = done ? NHI_PAGE_OK : (uint8_t)status;
		return;
	}
	for (uint32_t i = first; i < end; i++)
		run->status[i] = (uint8_t)status;
}

/*
 * Signals. A handler of ours runs with everything blocked, and so do our threads: there enter and
 * leave cost nothing. Elsewhere everything is blocked but what the thread's own instructions may
 * raise (the thread may touch marked memory of its own) and the two that libc uses between threads.
 */
static __thread bool all_blocked __attribute__((tls_model("initial-exec")));
#define TOKEN_NOTHING UINT64_MAX /* no mask has all bits: SIGKILL cannot be blocked */

void nhi_signals_mark_blocked(bool blocked)
{
	all_blocked = blocked;
}

void nhi_signals_block(uint64_t *token)
{
	uint64_t mask = ~(1ULL << (SIGSEGV - 1) | 1ULL << (SIGBUS - 1) | 1ULL << (SIGILL - 1) |
			  1ULL << (SIGFPE - 1) | 1ULL << (SIGTRAP - 1) | 1ULL << (32 - 1) |
			  1ULL << (33 - 1));

	*token = TOKEN_NOTHING;
	if (all_blocked)
		return;
	(void)nhi_sys4(SYS_rt_sigprocmask, SIG_BLOCK, &mask, token, sizeof(mask));
}

void nhi_signals_restore(const uint64_t *token)
{
	if (*token == TOKEN_NOTHING)
		return;
	(void)nhi_sys4(SYS_rt_sigprocmask, SIG_SETMASK, token, NULL, sizeof(*token));
}
