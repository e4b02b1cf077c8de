/* SPDX-License-Identifier: MIT */
/* What must hold between the engine and the machine whenever no task is inside the engine. */
#ifndef SIM_CHECK_H
#define SIM_CHECK_H

#include "machine.h"
#include "mm.h"

/*
 * VMAs sorted and disjoint; an entry is MARKED exactly where the machine has a mark; nothing is
 * locked or waited for; marked == restored + migrated + lost + marked now, by the counters, by the
 * maps and by counting. Return: NULL, or a sentence about the first thing that is wrong.
 */
const char *sim_check_engine(struct nhi_mm *mm, struct sim *m);

#endif
