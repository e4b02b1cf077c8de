// SPDX-License-Identifier: MIT
/* Operations that fail: on their Nth call, at random, or where the explorer says so. */
#include "os_sim.h"

#include <string.h>

uint64_t sim_random(uint64_t *seed)
{
	uint64_t z = (*seed += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

const char *const sim_op_name[SIM_OPS] = {
	"table_alloc", "mappings", "attach",   "set_policy", "query",	     "mark_begin",
	"mark",	       "nodes",	   "restore",  "migrate",    "restore_hard", "zero_fill",
	"moved",       "move_now", "populate", "peek",
};

void sim_fail(struct sim *m, enum sim_op op, uint64_t nth, bool forever, int err, uint8_t status)
{
	m->plan[op] =
		(struct sim_plan){ .nth = nth, .forever = forever, .err = err, .status = status };
}

void sim_fail_none(struct sim *m)
{
	memset(m->plan, 0, sizeof(m->plan));
}

/*
 * How an operation fails where the explorer says that it does: what Linux answers, one way after the
 * other. Return: false: it does not fail, or not before the tasks run.
 */
static bool may_be_said(enum sim_op op, uint64_t calls, uint8_t *status, int *err)
{
	static const struct {
		int err;
		uint8_t status;
	} says[SIM_OPS][2] = {
		[SIM_OP_TABLE_ALLOC] = { { -ENOMEM, 0 }, { -ENOMEM, 0 } },
		[SIM_OP_QUERY] = { { -EPERM, 0 }, { -EPERM, 0 } },
		[SIM_OP_MARK_BEGIN] = { { -ENOMEM, 0 }, { -ENOMEM, 0 } },
		[SIM_OP_MARK] = { { 0, NHI_PAGE_BUSY }, { -ENOMEM, 0 } },
		[SIM_OP_NODES] = { { -EPERM, 0 }, { -EPERM, 0 } },
		[SIM_OP_RESTORE] = { { 0, NHI_PAGE_STUCK }, { -EAGAIN, 0 } },
		[SIM_OP_MIGRATE] = { { 0, NHI_PAGE_STUCK }, { 0, NHI_PAGE_NOMEM } },
		[SIM_OP_RESTORE_HARD] = { { -ENOMEM, 0 }, { -ENOMEM, 0 } },
		[SIM_OP_ZERO_FILL] = { { -EAGAIN, 0 }, { -EAGAIN, 0 } },
		[SIM_OP_MOVED] = { { -ENOMEM, 0 }, { -ENOMEM, 0 } },
		[SIM_OP_MOVE_NOW] = { { 0, NHI_PAGE_BUSY }, { -ENOMEM, 0 } },
		[SIM_OP_POPULATE] = { { -ENOMEM, 0 }, { -EAGAIN, 0 } },
		[SIM_OP_PEEK] = { { -EFAULT, 0 }, { -EFAULT, 0 } },
	};

	*err = says[op][calls % 2].err;
	*status = says[op][calls % 2].status;
	return *err || *status;
}

int sim_injected(struct sim *m, enum sim_op op, uint8_t *status)
{
	struct sim_plan *p = &m->plan[op];
	int err = 0;
	bool now;

	*status = NHI_PAGE_OK;
	if (m->hooks.looked)
		m->hooks.looked(m);
	p->calls++;
	if (m->may_fail && m->hooks.fails && may_be_said(op, p->calls, status, &err)) {
		if (!m->hooks.fails(m, op)) {
			*status = NHI_PAGE_OK;
			return 0;
		}
		m->may_fail--;
		p->failed++;
		return err;
	}
	if (p->chance)
		now = sim_random(&m->seed) % 1024 < p->chance;
	else
		now = p->nth && (p->calls == p->nth || (p->forever && p->calls > p->nth));
	if (!now)
		return 0;
	if (!p->err)
		*status = p->status;
	return p->err;
}
