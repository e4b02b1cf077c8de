// SPDX-License-Identifier: MIT
/* Threads announce themselves, so that the monitor knows on which CPU a toucher runs. */
#include "linux.h"
#include "preload.h"

#include <errno.h>
#include <string.h>

NHP_EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			      void *arg);
NHP_EXPORT int sigaltstack(const stack_t *new, stack_t *old);
/* The library's own calls, by --wrap: its threads are not the program's. */
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);

struct start {
	void *(*fn)(void *);
	void *arg;
	unsigned int hidden; /* signals that the program believes to be blocked */
};

static pthread_key_t at_exit;
static bool have_key;

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg)
{
	return NHP_REAL(pthread_create)(thread, attr, fn, arg);
}

static void exiting(void *arg)
{
	(void)arg;
	nhp_hold_thread_exit();
	nhi_linux_thread_exit();
}

static void *run(void *arg)
{
	struct start s = *(struct start *)arg;

	NHP_REAL(free)(arg);
	nhp_set_hidden_mask(s.hidden);
	nhi_linux_thread_start();
	/* A destructor also runs after pthread_exit() and cancellation. */
	if (have_key)
		(void)pthread_setspecific(at_exit, &at_exit);
	nhp_thread_starts();
	return s.fn(s.arg);
}

/*
 * The kernel writes signal frames to stacks and cannot wait for a marked page there; and the
 * handler that would resolve it needs one itself.
 */
static void never_mark(const void *addr, size_t len)
{
	nhp_forget_range((uintptr_t)addr, (uintptr_t)addr + len);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	struct start *s;
	void *stack = NULL;
	size_t len = 0;
	int err;

	if (attr && !pthread_attr_getstack(attr, &stack, &len) && stack && len)
		never_mark(stack, len);
	s = nhp.ready ? NHP_REAL(malloc)(sizeof(*s)) : NULL;
	if (!s)
		return NHP_REAL(pthread_create)(thread, attr, fn, arg);
	*s = (struct start){ fn, arg, nhp_hidden_mask() };
	err = NHP_REAL(pthread_create)(thread, attr, run, s);
	if (err)
		NHP_REAL(free)(s);
	return err;
}

int sigaltstack(const stack_t *new, stack_t *old)
{
	if (new && !(new->ss_flags &SS_DISABLE))
		never_mark(new->ss_sp, new->ss_size);
	return NHP_REAL(sigaltstack)(new, old);
}

void nhp_threads_init(void)
{
	have_key = !pthread_key_create(&at_exit, exiting);
	nhi_linux_thread_start();
}
