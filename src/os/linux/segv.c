// SPDX-License-Identifier: MIT
/*
 * The signal handlers: SIGSEGV for the mprotect trap, SIGBUS for userfaultfd with thread delivery.
 *
 * Whatever is not a hinting fault goes to the handler that was there before, as if we were not: its
 * flags and mask are honoured, and where there was none the program dies of the same signal, at the
 * same instruction, with the same siginfo.
 *
 * Programs replace handlers, before and after us, and may call ours from theirs. We keep what we
 * find: handlers_install() notices a newer one and goes in front of it. If that one calls ours
 * again (it saved ours as its predecessor), the fault goes on to the one before it. Such a call is
 * told from a new signal by the siginfo, of which the chained handler gets our copy.
 */
#include "internal.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#define MAX_OS	  16
#define MAX_CHAIN 8

static struct nhi_lx *registry[MAX_OS];
static uint32_t install_lock;

static const int signals[2] = { SIGSEGV, SIGBUS };
/* chain[s][0] is the oldest; depth is published with release after its entry was written. */
static struct sigaction chain[2][MAX_CHAIN];
static uint32_t depth[2];

struct in_chain {
	const siginfo_t *info; /* our copy, NULL: none under way */
	const void *context;
	uint32_t level;
};
static __thread struct in_chain in_chain __attribute__((tls_model("initial-exec")));
static __thread uintptr_t last_stray __attribute__((tls_model("initial-exec")));

static bool is_write(const ucontext_t *uc)
{
#if defined(__x86_64__)
	return uc->uc_mcontext.gregs[REG_ERR] & NHI_X86_PF_WRITE;
#elif defined(__aarch64__)
	/* Records of { magic, size } up to one of magic 0; the one with ESR is optional. */
	const uint8_t *at = uc->uc_mcontext.__reserved;
	const uint8_t *end = at + sizeof(uc->uc_mcontext.__reserved);

	while (at + 16 <= end) {
		uint32_t head[2];
		uint64_t esr;

		memcpy(head, at, sizeof(head));
		if (!head[0] || head[1] < 16)
			break;
		memcpy(&esr, at + 8, sizeof(esr));
		if (head[0] == NHI_ARM64_ESR_MAGIC)
			return esr & NHI_ARM64_ESR_WNR;
		at += head[1];
	}
	return false;
#endif
}

/* Ask every engine. true: the access can be made again. */
static bool resolve(uintptr_t addr, bool write, bool bus)
{
	bool stray = false;

	for (unsigned int i = 0; i < MAX_OS; i++) {
		/* Acquire: pairs with nhi_segv_register(), and with bind(). */
		struct nhi_lx *lx = nhi_load_acquire(&registry[i]);
		const struct nhi_os_sink *sink = lx ? nhi_load_acquire(&lx->sink) : NULL;
		struct nhi_toucher who;
		int ret;

		if (!sink)
			continue;
		nhi_lx_self(&lx->os, &who);
		ret = sink->fault(lx->mm, addr, write, &who, NHI_DELIVERY_THREAD);
		if (!ret) {
			last_stray = 0;
			return true;
		}
		if (ret == -EFAULT)
			return false;
		stray |= bus && lx->events.fd >= 0;
	}
	/* Registered but not managed; see nhi_unwatch_stray(). Once: it may be a true SIGBUS. */
	if (!stray || last_stray == addr)
		return false;
	last_stray = addr;
	for (unsigned int i = 0; i < MAX_OS; i++) {
		struct nhi_lx *lx = nhi_load_acquire(&registry[i]);

		if (lx && lx->events.fd >= 0 && nhi_unwatch_stray(lx, addr))
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------------------- chaining */

/* Die of it as if nobody had handled it, when the handler returns and the signal is unblocked. */
static void die(int sig, siginfo_t *info)
{
	struct sigaction dfl;

	memset(&dfl, 0, sizeof(dfl));
	dfl.sa_handler = SIG_DFL;
	(void)sigaction(sig, &dfl, NULL);
	(void)nhi_sys4(SYS_rt_tgsigqueueinfo, nhi_sys0(SYS_getpid), nhi_sys0(SYS_gettid), sig,
		       info);
}

static void call_next(const struct sigaction *sa, int sig, siginfo_t *info, ucontext_t *uc)
{
	sigset_t mask = uc->uc_sigmask;

	/* What the kernel would have blocked for it. */
	for (int i = 1; i < NSIG; i++) {
		if (sigismember(&sa->sa_mask, i) == 1)
			sigaddset(&mask, i);
	}
	if (!(sa->sa_flags & SA_NODEFER))
		sigaddset(&mask, sig);
	(void)nhi_sys4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8);
	if (sa->sa_flags & SA_SIGINFO)
		sa->sa_sigaction(sig, info, uc);
	else
		sa->sa_handler(sig);
}

static void pass_on(int s, siginfo_t *info, ucontext_t *uc)
{
	const struct in_chain saved = in_chain;
	siginfo_t copy = *info;
	struct sigaction *sa;
	uint32_t level = nhi_load_acquire(&depth[s]);

	if (saved.info == info && saved.context == uc)
		level = saved.level;
	if (!level) {
		die(signals[s], info);
		return;
	}
	sa = &chain[s][level - 1];
	if (sa->sa_handler == SIG_IGN && !(sa->sa_flags & SA_SIGINFO) && info->si_code <= 0)
		return; /* sent by somebody; the kernel ignores no fault */
	if (!(sa->sa_flags & SA_SIGINFO) &&
	    (sa->sa_handler == SIG_DFL || sa->sa_handler == SIG_IGN)) {
		die(signals[s], info);
		return;
	}
	in_chain.info = &copy;
	in_chain.context = uc;
	in_chain.level = level - 1;
	if ((unsigned int)sa->sa_flags & SA_RESETHAND) {
		struct sigaction once = *sa;

		sa->sa_flags = 0;
		sa->sa_handler = SIG_DFL;
		call_next(&once, signals[s], &copy, uc);
	} else {
		call_next(sa, signals[s], &copy, uc);
	}
	in_chain = saved;
}

static void handler(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	int saved_errno = errno;
	bool done = false;

	/* si_code <= 0: kill(2) and its like, no fault. */
	if (info->si_code > 0 && (in_chain.info != info || in_chain.context != context)) {
		nhi_signals_mark_blocked(true);
		done = resolve((uintptr_t)info->si_addr, is_write(uc), sig == SIGBUS);
		nhi_signals_mark_blocked(false);
	}
	if (!done)
		pass_on(sig == SIGBUS, info, uc);
	errno = saved_errno;
}

/* ----------------------------------------------------------------------------- installing */

static int install_one(int s)
{
	struct sigaction now, ours;
	uint32_t level = nhi_load_relaxed(&depth[s]); /* written under install_lock only */

	if (sigaction(signals[s], NULL, &now))
		return -errno;
	if (now.sa_flags & SA_SIGINFO && now.sa_sigaction == handler)
		return 0;
	if (level == MAX_CHAIN) {
		/* Somebody installs again and again: keep the newest. */
		memmove(&chain[s][1], &chain[s][2], sizeof(now) * (MAX_CHAIN - 2));
		level--;
	}
	chain[s][level] = now;
	nhi_store_release(&depth[s], level + 1); /* pairs with pass_on() */
	memset(&ours, 0, sizeof(ours));
	ours.sa_sigaction = handler;
	/* The stack that the next one asked for: it may be there for stack overflows. */
	ours.sa_flags = SA_SIGINFO | (now.sa_flags & (SA_ONSTACK | SA_RESTART));
	sigfillset(&ours.sa_mask);
	return sigaction(signals[s], &ours, NULL) ? -errno : 0;
}

int nhi_linux_handlers_install(void)
{
	int saved_errno = errno, err;

	nhi_futex_lock(&install_lock);
	err = install_one(0);
	if (!err)
		err = install_one(1);
	nhi_futex_unlock(&install_lock);
	errno = saved_errno;
	return err;
}

int nhi_segv_register(struct nhi_lx *lx)
{
	for (unsigned int i = 0; i < MAX_OS; i++) {
		struct nhi_lx *old = NULL;

		if (nhi_cas_release(&registry[i], &old, lx)) /* pairs with resolve() */
			return 0;
	}
	return -EMFILE;
}

void nhi_segv_unregister(struct nhi_lx *lx)
{
	for (unsigned int i = 0; i < MAX_OS; i++) {
		if (nhi_load_relaxed(&registry[i]) == lx)
			nhi_store_release(&registry[i], NULL);
	}
}
