// SPDX-License-Identifier: MIT
/*
 * SIGSEGV and SIGBUS are how faults on marked pages reach us, so our handlers must stay in front and
 * the two must never be blocked: the kernel kills a process whose fault it cannot deliver. The
 * program does not notice:
 *
 *   Handlers. The engine's handler is the kernel's; the next one it calls for what is not a hinting
 *   fault is stand_in() below, which does what the program's own sigaction() asked for. A program
 *   that sets or asks for a handler deals with that record only, so there is no moment at which our
 *   handler is not in front.
 *
 *   Masks. The two bits are left out of what the kernel gets, and put back into what is reported.
 */
#include "linux.h"
#include "preload.h"
#include "sys.h"

#include <errno.h>
#include <string.h>
#include <ucontext.h>

#define NR_SIGNALS 65

#define HIDES_SEGV 1u
#define HIDES_BUS  2u

NHP_EXPORT int sigaction(int sig, const struct sigaction *new, struct sigaction *old);
NHP_EXPORT sighandler_t signal(int sig, sighandler_t handler);
NHP_EXPORT int pthread_sigmask(int how, const sigset_t *new, sigset_t *old);
NHP_EXPORT int sigprocmask(int how, const sigset_t *new, sigset_t *old);
/* The library's own calls, by --wrap. */
int __wrap_sigaction(int sig, const struct sigaction *new, struct sigaction *old);
int __wrap_pthread_sigmask(int how, const sigset_t *new, sigset_t *old);

static __thread unsigned int hidden NHP_STATIC_TLS; /* HIDES_*, of this thread's mask */
static uint8_t hidden_in[NR_SIGNALS];		    /* HIDES_*, of the mask of each handler */

static uint32_t front; /* set once: stand_in() is installed, and `wanted` counts */
/* What the program wants for SIGSEGV and SIGBUS. Two buffers each: see publish(). */
static struct sigaction wanted[2][2];
static uint32_t current[2];
static uint32_t wanted_lock;

int __wrap_sigaction(int sig, const struct sigaction *new, struct sigaction *old)
{
	return NHP_REAL(sigaction)(sig, new, old);
}

int __wrap_pthread_sigmask(int how, const sigset_t *new, sigset_t *old)
{
	return NHP_REAL(pthread_sigmask)(how, new, old);
}

/* ---------------------------------------------------------------------------------------- masks */

unsigned int nhp_hidden_mask(void)
{
	return hidden;
}

void nhp_set_hidden_mask(unsigned int mask)
{
	hidden = mask;
}

/* Take the two out of *set. Return: which were there. */
static unsigned int strip(sigset_t *set)
{
	unsigned int bits = 0;

	if (sigismember(set, SIGSEGV) == 1)
		bits |= HIDES_SEGV;
	if (sigismember(set, SIGBUS) == 1)
		bits |= HIDES_BUS;
	sigdelset(set, SIGSEGV);
	sigdelset(set, SIGBUS);
	return bits;
}

static void put_back(sigset_t *set, unsigned int bits)
{
	if (bits & HIDES_SEGV)
		sigaddset(set, SIGSEGV);
	if (bits & HIDES_BUS)
		sigaddset(set, SIGBUS);
}

static int change_mask(int (*next)(int, const sigset_t *, sigset_t *), int how, const sigset_t *new,
		       sigset_t *old)
{
	unsigned int was = hidden, bits = 0;
	sigset_t set;
	int ret;

	if (new) {
		set = *new;
		bits = strip(&set);
	}
	/* SIG_UNBLOCK of what is not blocked is harmless: leave the bits to the kernel. */
	ret = next(how, new &&how != SIG_UNBLOCK ? &set : new, old);
	if (ret)
		return ret;
	if (old)
		put_back(old, was);
	if (new &&how == SIG_BLOCK)
		hidden |= bits;
	else if (new &&how == SIG_UNBLOCK)
		hidden &= ~bits;
	else if (new)
		hidden = bits;
	return ret;
}

int pthread_sigmask(int how, const sigset_t *new, sigset_t *old)
{
	return change_mask(NHP_REAL(pthread_sigmask), how, new, old);
}

int sigprocmask(int how, const sigset_t *new, sigset_t *old)
{
	return change_mask(NHP_REAL(sigprocmask), how, new, old);
}

/* ------------------------------------------------------------------------------------- stand-in */

static const int signals[2] = { SIGSEGV, SIGBUS };

static void die(int sig, siginfo_t *info)
{
	struct sigaction dfl;

	memset(&dfl, 0, sizeof(dfl));
	dfl.sa_handler = SIG_DFL;
	(void)NHP_REAL(sigaction)(sig, &dfl, NULL);
	/* It is blocked now: it arrives when this handler returns, with the same siginfo. */
	(void)nhi_sys4(SYS_rt_tgsigqueueinfo, nhi_sys0(SYS_getpid), nhi_sys0(SYS_gettid), sig,
		       info);
}

/*
 * Readers are signal handlers, so writers do not make them wait: the record that is not current is
 * filled and then made current. A reader would have to sleep through two changes to see a torn one.
 */
static void publish(int s, const struct sigaction *sa)
{
	uint32_t spare = !nhi_load_relaxed(&current[s]); /* written under wanted_lock only */

	wanted[s][spare] = *sa;
	nhi_store_release(&current[s], spare); /* pairs with stand_in() */
}

static void stand_in(int sig, siginfo_t *info, void *context)
{
	int s = sig == SIGBUS;
	struct sigaction sa = wanted[s][nhi_load_acquire(&current[s])]; /* pairs with publish() */
	ucontext_t *uc = context;
	sigset_t mask = uc->uc_sigmask;

	if (sa.sa_handler == SIG_IGN && info->si_code <= 0)
		return; /* sent by somebody; the kernel ignores no fault */
	if (sa.sa_handler == SIG_DFL || sa.sa_handler == SIG_IGN) {
		die(sig, info);
		return;
	}
	if (sa.sa_flags & (int)SA_RESETHAND) {
		struct sigaction once = sa;

		once.sa_handler = SIG_DFL;
		once.sa_flags &= ~SA_SIGINFO;
		publish(s, &once);
	}
	/* The mask that the kernel would have set for the program's handler. */
	for (int i = 1; i < NR_SIGNALS; i++) {
		if (sigismember(&sa.sa_mask, i) == 1)
			sigaddset(&mask, i);
	}
	(void)strip(&mask);
	/* A crash in the handler of a crash kills; so the signal itself stays blocked. */
	if (!(sa.sa_flags & SA_NODEFER))
		sigaddset(&mask, sig);
	(void)NHP_REAL(pthread_sigmask)(SIG_SETMASK, &mask, NULL);
	if (sa.sa_flags & SA_SIGINFO)
		sa.sa_sigaction(sig, info, context);
	else
		sa.sa_handler(sig);
}

/* The stack that the program's handler asked for is the one that the kernel must switch to. */
static void follow_stack(int sig, int flags)
{
	struct sigaction now;

	if (NHP_REAL(sigaction)(sig, NULL, &now) ||
	    (now.sa_flags & SA_ONSTACK) == (flags & SA_ONSTACK))
		return;
	now.sa_flags ^= SA_ONSTACK;
	(void)NHP_REAL(sigaction)(sig, &now, NULL);
}

static void lock(void)
{
	while (nhi_xchg_acquire(&wanted_lock, 1))
		(void)nhi_sys0(SYS_sched_yield);
}

static void unlock(void)
{
	nhi_store_release(&wanted_lock, 0);
}

void nhp_signals_front(void)
{
	struct sigaction ours;

	lock();
	for (int s = 0; s < 2 && !nhi_load_relaxed(&front); s++) {
		struct sigaction now;

		if (NHP_REAL(sigaction)(signals[s], NULL, &now))
			continue;
		put_back(&now.sa_mask, hidden_in[signals[s]]);
		publish(s, &now);
		memset(&ours, 0, sizeof(ours));
		ours.sa_sigaction = stand_in;
		ours.sa_flags = SA_SIGINFO | SA_NODEFER |
				(now.sa_flags & (SA_ONSTACK | SA_RESTART));
		(void)NHP_REAL(sigaction)(signals[s], &ours, NULL);
	}
	nhi_store_release(&front, 1); /* pairs with sigaction() */
	unlock();
	/* Before the first mark is made, and so before anybody can miss it. */
	(void)nhi_linux_handlers_install();
}

/* ------------------------------------------------------------------------------------- handlers */

static int change_record(int s, const struct sigaction *new, struct sigaction *old)
{
	struct sigaction was;

	lock();
	was = wanted[s][nhi_load_relaxed(&current[s])];
	if (new) {
		publish(s, new);
		follow_stack(signals[s], new->sa_flags);
	}
	unlock();
	if (old)
		*old = was;
	return 0;
}

int sigaction(int sig, const struct sigaction *new, struct sigaction *old)
{
	struct sigaction sa;
	unsigned int bits = 0, was;
	int ret;

	if (sig <= 0 || sig >= NR_SIGNALS)
		return NHP_REAL(sigaction)(sig, new, old);
	if (nhi_load_acquire(&front) && (sig == SIGSEGV || sig == SIGBUS))
		return change_record(sig == SIGBUS, new, old);
	was = hidden_in[sig];
	if (new) {
		sa = *new;
		bits = strip(&sa.sa_mask);
	}
	ret = NHP_REAL(sigaction)(sig, new ? &sa : NULL, old);
	if (ret)
		return ret;
	if (old)
		put_back(&old->sa_mask, was);
	if (new)
		hidden_in[sig] = (uint8_t)bits;
	return ret;
}

sighandler_t signal(int sig, sighandler_t handler)
{
	struct sigaction new, old;

	memset(&new, 0, sizeof(new));
	new.sa_handler = handler;
	new.sa_flags = SA_RESTART;
	sigemptyset(&new.sa_mask);
	if (handler == SIG_ERR || sig <= 0) {
		errno = EINVAL;
		return SIG_ERR;
	}
	/* As the C library has it: the signal is blocked while it is handled. */
	sigaddset(&new.sa_mask, sig);
	return sigaction(sig, &new, &old) ? SIG_ERR : old.sa_handler;
}
