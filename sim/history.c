// SPDX-License-Identifier: MIT
#include "history.h"
#include "base.h"

#define OBJECTS 4096

struct object {
	uintptr_t name;
	uint64_t writer, readers; /* hashes of the last write, and of the reads since */
	uint32_t epoch;		  /* the execution it belongs to */
};

static struct object objects[OBJECTS];
static uint32_t epoch;

void sim_history_reset(void)
{
	epoch++;
}

static struct object *find(uintptr_t name)
{
	uint32_t i = (uint32_t)((name * 0x9e3779b97f4a7c15ull) >> 52);

	for (;; i = (i + 1) % OBJECTS) {
		struct object *o = &objects[i];

		if (o->epoch != epoch) {
			*o = (struct object){ .name = name, .writer = name, .epoch = epoch };
			return o;
		}
		if (o->name == name)
			return o;
	}
}

uint64_t sim_history_step(uint64_t history, const volatile void *object, bool write)
{
	struct object *o = find((uintptr_t)object);

	if (write) {
		history = sim_history_mix(sim_history_mix(history, o->writer), o->readers + 1);
		o->writer = history;
		o->readers = 0;
	} else {
		history = sim_history_mix(history, o->writer);
		o->readers += sim_history_mix(history, 3);
	}
	return history;
}
