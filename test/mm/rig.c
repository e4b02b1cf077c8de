// SPDX-License-Identifier: MIT
#include "rig.h"

#include <stdlib.h>

struct rig *rig_make(const struct sim_conf *conf, uint32_t around_max)
{
	static const struct sim_conf none;
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->mm = aligned_alloc(NHI_CACHE_LINE, nhi_round_up(sizeof(*r->mm), NHI_CACHE_LINE));
	assert_non_null(r->mm);
	r->m = sim_os_create(conf ? conf : &none);
	for (int i = 0; i < RIG_TASKS; i++)
		sim_task_init(r->m, &r->t[i], 10 + i, i);
	assert_int_equal(nhi_mm_init(r->mm, &r->m->os, around_max), 0);
	return r;
}

void rig_free(struct rig *r)
{
	rig_check(r);
	sim_fail_none(r->m);
	nhi_mm_done(r->mm);
	(void)sim_munmap(&r->t[0], SIM_BASE, pages(r, r->m->conf.nr_pages));
	assert_null(r->m->broken);
	assert_false(sim_leaks(r->m));
	r->m->os.ops->destroy(&r->m->os);
	free(r->mm);
	free(r);
}

void rig_map(struct rig *r, uint32_t first, uint32_t n)
{
	assert_int_equal(sim_mmap(&r->t[0], at(r, first), pages(r, n), RW, NHI_KIND_ANON, false),
			 0);
}

void rig_fill(struct rig *r, int task, uint32_t first, uint32_t n)
{
	for (uint32_t i = first; i < first + n; i++)
		rig_put(r, task, i, 100 + i);
}

int rig_manage(struct rig *r, uint32_t first, uint32_t n)
{
	return nhi_manage(r->mm, at(r, first), at(r, first + n), true);
}

void rig_ready(struct rig *r, uint32_t first, uint32_t n)
{
	rig_map(r, first, n);
	rig_fill(r, 0, first, n);
	assert_int_equal(rig_manage(r, first, n), 0);
}

long rig_mark(struct rig *r, uint32_t first, uint32_t n)
{
	return nhi_mark_range(r->mm, at(r, first), at(r, first + n));
}

long rig_mbind(struct rig *r, uint32_t first, uint32_t n, int mode, uint64_t nodes,
	       unsigned int flags)
{
	const uint64_t mask[4] = { nodes };

	return nhi_mbind(r->mm, at(r, first), pages(r, n), mode, mask, flags);
}

uint32_t rig_marked(struct rig *r, uint32_t first, uint32_t n)
{
	uint32_t marked = 0;

	for (uint32_t i = first; i < first + n; i++)
		marked += sim_marked(r->m->space, at(r, i));
	return marked;
}

int rig_node(struct rig *r, uint32_t page)
{
	return sim_page_node(r->m->space, at(r, page));
}

uint64_t rig_count(struct rig *r, enum nhi_counter c)
{
	return nhi_mm_counter(r->mm, c);
}

uint64_t rig_get_at(struct rig *r, int task, uint32_t page, const char *file, int line)
{
	uint64_t value = 0;

	_assert_int_equal((uintmax_t)(intmax_t)sim_read(&r->t[task], at(r, page), &value), 0, file,
			  line);
	return value;
}

void rig_put_at(struct rig *r, int task, uint32_t page, uint64_t value, const char *file, int line)
{
	_assert_int_equal((uintmax_t)(intmax_t)sim_write(&r->t[task], at(r, page), value), 0, file,
			  line);
}

void rig_check_at(struct rig *r, const char *file, int line)
{
	const char *bad = sim_check_engine(r->mm, r->m);

	if (bad)
		print_error("%s\n", bad);
	_assert_true(bad == NULL, "invariants", file, line);
}

void rig_intact_at(struct rig *r, uint32_t first, uint32_t n, const char *file, int line)
{
	for (uint32_t i = first; i < first + n; i++) {
		uint64_t value;

		(void)sim_peek(r->m->space, at(r, i), &value);
		_assert_int_equal(value, 100 + i, file, line);
	}
}
