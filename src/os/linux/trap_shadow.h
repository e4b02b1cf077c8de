/* SPDX-License-Identifier: MIT */
/* The two halves of the shadow trap: trap_shadow.c moves pages out, shadow_back.c brings them back. */
#ifndef NHI_LINUX_TRAP_SHADOW_H
#define NHI_LINUX_TRAP_SHADOW_H

#include "internal.h"

#define NHI_RUN_MAX 512 /* pages of status kept on the stack */

int nhi_shadow_restore(struct nhi_lx_map *map, struct nhi_run *run);
int nhi_shadow_migrate(struct nhi_lx_map *map, struct nhi_run *run);
int nhi_shadow_restore_hard(struct nhi_lx_map *map, struct nhi_run *run);

#endif
