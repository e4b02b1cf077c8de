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

/* A machine with the operations in place, ready for nhi_mm_init(&mm, &m->os, ...). */
struct sim *sim_os_create(const struct sim_conf *conf);

#endif
