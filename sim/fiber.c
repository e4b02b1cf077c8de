// SPDX-License-Identifier: MIT
#include "fiber.h"

#include <stdint.h>

#if defined(__x86_64__) && !defined(SIM_UCONTEXT)

/* What a function call preserves goes to the stack; the rest the caller does not expect to keep. */
__asm__(".text\n"
	".p2align 4\n"
	".hidden sim_fiber_swap\n"
	".globl sim_fiber_swap\n"
	".type sim_fiber_swap, @function\n"
	"sim_fiber_swap:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size sim_fiber_swap, . - sim_fiber_swap\n");
void sim_fiber_swap(void **from, void *to);

void sim_fiber_make(struct sim_fiber *f, char *stack, size_t bytes, void (*entry)(void))
{
	uintptr_t *sp = (uintptr_t *)(((uintptr_t)stack + bytes) & ~(uintptr_t)15);

	*--sp = 0; /* entry returns to nowhere; the stack is as after a call */
	*--sp = (uintptr_t)entry;
	for (int i = 0; i < 6; i++)
		*--sp = 0;
	f->sp = sp;
}

void sim_fiber_switch(struct sim_fiber *from, struct sim_fiber *to)
{
	sim_fiber_swap(&from->sp, to->sp);
}

#else

void sim_fiber_make(struct sim_fiber *f, char *stack, size_t bytes, void (*entry)(void))
{
	(void)getcontext(&f->context);
	f->context.uc_stack.ss_sp = stack;
	f->context.uc_stack.ss_size = bytes;
	f->context.uc_link = NULL;
	makecontext(&f->context, entry, 0);
}

void sim_fiber_switch(struct sim_fiber *from, struct sim_fiber *to)
{
	(void)swapcontext(&from->context, &to->context);
}

#endif
