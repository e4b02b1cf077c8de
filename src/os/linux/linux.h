/* SPDX-License-Identifier: MIT */
/* What src/api asks of the Linux implementation of the seam besides struct nhi_os_ops. */
#ifndef NHI_LINUX_H
#define NHI_LINUX_H

#include "os.h"

struct nhi_linux_options {
	enum nhi_trap trap;
	enum nhi_delivery delivery;
	enum nhi_copy copy;
	const char *nodes; /* NULL: the machine's; else emulated, see numahint.h */
};

/*
 * Make the operating system's side of an mm. Probes what works here.
 * Return: 0; -EINVAL bad node string; -EOPNOTSUPP, -EPERM as nh_mm_create(); -ENOMEM.
 */
int nhi_linux_create(const struct nhi_linux_options *options, struct nhi_os **ret);

/* "trap=shadow delivery=monitor move=1 kernel_faults=1 ..."; as snprintf(3). */
int nhi_linux_describe(struct nhi_os *os, char *buf, size_t len);

/* Emulated nodes: put the calling thread on a node. -EINVAL, -EOPNOTSUPP. */
int nhi_linux_set_node(struct nhi_os *os, int node);
/* A new thread announces itself (preload/, pthread_create): the monitor learns its rseq area. */
void nhi_linux_thread_start(void);
void nhi_linux_thread_exit(void);

/* May this process move pages that others map too? CAP_SYS_NICE. */
bool nhi_linux_may_move_all(void);

/* The fault handlers are the process's; put them back in front if somebody replaced them. */
int nhi_linux_handlers_install(void);

/*
 * fork: before, in the parent and in the child after. The engine has unmarked everything before
 * _prepare. In the child the descriptors and threads are gone and made anew when needed.
 */
void nhi_linux_fork_prepare(struct nhi_os *os);
void nhi_linux_fork_parent(struct nhi_os *os);
void nhi_linux_fork_child(struct nhi_os *os);

#endif
