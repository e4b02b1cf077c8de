/* SPDX-License-Identifier: MIT */
/* The seam (src/os/os.h) on the simulated machine. */
#ifndef SIM_OS_SIM_H
#define SIM_OS_SIM_H

#include "machine.h"

struct sim_map {
	struct nhi_map pub;
	struct sim *m;
	uint64_t hw;	  /* pages that are marked in the machine, as it counts them itself */
	uint32_t marking; /* between mark_begin and mark_end */
};

/*
 * os_fail.c. Is this call of @op to fail? Return: its errno, or 0; *status is not OK if its pages are
 * to.
 */
int sim_injected(struct sim *m, enum sim_op op, uint8_t *status);

/* A machine with the operations in place, ready for nhi_mm_init(&mm, &m->os, ...). */
struct sim *sim_os_create(const struct sim_conf *conf);

#endif
