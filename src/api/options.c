// SPDX-License-Identifier: MIT
/* NUMAHINT_CONF: "key:value,key:value", as other allocators and runners have it. */
#include "api.h"

#include <stdlib.h>
#include <string.h>

static const char *const traps[] = { "auto", "mprotect", "shadow", "minor" };
static const char *const deliveries[] = { "auto", "thread", "monitor" };
static const char *const copies[] = { "auto", "never", "always" };

/* The index of @value (@len bytes) in @names, or -EINVAL. */
static int choose(const char *const *names, size_t n, const char *value, size_t len)
{
	for (size_t i = 0; i < n; i++) {
		if (strlen(names[i]) == len && !memcmp(names[i], value, len))
			return (int)i;
	}
	return -EINVAL;
}

static bool is_key(const char *key, size_t len, const char *name)
{
	return strlen(name) == len && !memcmp(name, key, len);
}

static int set_one(const char *key, size_t klen, const char *value, size_t vlen,
		   struct nh_mm_options *o, char *nodes, size_t nodes_len)
{
	int n = 0;

	if (is_key(key, klen, "trap")) {
		n = choose(traps, NHI_ARRAY_SIZE(traps), value, vlen);
		o->trap = n < 0 ? NH_TRAP_AUTO : (enum nh_trap)n;
	} else if (is_key(key, klen, "delivery")) {
		n = choose(deliveries, NHI_ARRAY_SIZE(deliveries), value, vlen);
		o->delivery = n < 0 ? NH_DELIVERY_AUTO : (enum nh_delivery)n;
	} else if (is_key(key, klen, "copy")) {
		n = choose(copies, NHI_ARRAY_SIZE(copies), value, vlen);
		o->copy = n < 0 ? NH_COPY_AUTO : (enum nh_copy)n;
	} else if (is_key(key, klen, "around")) {
		o->fault_around_max = (unsigned int)strtoul(value, NULL, 10);
		n = o->fault_around_max ? 0 : -EINVAL;
	} else if (is_key(key, klen, "nodes") && vlen) {
		if (vlen >= nodes_len)
			return -EINVAL;
		memcpy(nodes, value, vlen);
		nodes[vlen] = '\0';
		o->nodes = nodes;
	}
	return n < 0 ? n : 0;
}

/* A value reaches to the next comma; a synthetic node string has colons but no commas. */
int nhi_options_parse(const char *conf, struct nh_mm_options *options, char *nodes, size_t len)
{
	while (conf && *conf) {
		const char *end = strchrnul(conf, ',');
		const char *colon = memchr(conf, ':', (size_t)(end - conf));
		int err = -EINVAL;

		if (colon)
			err = set_one(conf, (size_t)(colon - conf), colon + 1,
				      (size_t)(end - colon - 1), options, nodes, len);
		if (err)
			return err;
		conf = *end ? end + 1 : end;
	}
	return 0;
}
