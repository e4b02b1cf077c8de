/* SPDX-License-Identifier: MIT */
/* Fibers: stacks that take turns on one thread. Switching is a few instructions and no system call. */
#ifndef SIM_FIBER_H
#define SIM_FIBER_H

#include <stddef.h>

#if defined(__x86_64__) && !defined(SIM_UCONTEXT)
struct sim_fiber {
	void *sp;
};
#else
#include <ucontext.h>
struct sim_fiber {
	ucontext_t context;
};
#endif

/* @entry runs on @stack at the first switch to the fiber; it must not return. */
void sim_fiber_make(struct sim_fiber *f, char *stack, size_t bytes, void (*entry)(void));
/* Leave @from, whose registers are kept there, and go on in @to. */
void sim_fiber_switch(struct sim_fiber *from, struct sim_fiber *to);

#endif
