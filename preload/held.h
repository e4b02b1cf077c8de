/* SPDX-License-Identifier: MIT */
/* Functions of libc of which an argument is held while they run: see hold.c. */
#ifndef NHP_HELD_H
#define NHP_HELD_H

#include "preload.h"

#include <dlfcn.h>

/*
 * The next definition. Looked up before main(), because read() and write() may be called in signal
 * handlers, where dlsym() must not be.
 */
#define FIND(name)                                                               \
	static typeof(&name) next_##name;                                        \
	__attribute__((constructor)) static void find_##name(void)               \
	{                                                                        \
		next_##name = (typeof(&name))(uintptr_t)dlsym(RTLD_NEXT, #name); \
	}

#define NEXT(name)                             \
	if (__builtin_expect(!next_##name, 0)) \
	find_##name()

#define HELD(ret, name, params, args, hold) \
	NHP_EXPORT ret name params;         \
	FIND(name)                          \
	ret name params                     \
	{                                   \
		uint32_t held;              \
		ret result;                 \
                                            \
		NEXT(name);                 \
		held = hold;                \
		result = next_##name args;  \
		nhp_release(held);          \
		return result;              \
	}

#define BUFFER(ret, name, params, args, buf, len) HELD(ret, name, params, args, nhp_hold(buf, len))

/* Of a file's name the kernel reads no more; we read nothing, for it may be no pointer at all. */
#define NHP_NAME				  4096
#define PATH(ret, name, params, args, path)	  HELD(ret, name, params, args, nhp_hold(path, NHP_NAME))

/* A name, and a place for the answer: two holds. */
#define HELD_TWO(ret, name, params, args, path, buf, len) \
	NHP_EXPORT ret name params;                       \
	FIND(name)                                        \
	ret name params                                   \
	{                                                 \
		uint32_t held[2];                         \
		ret result;                               \
                                                          \
		NEXT(name);                               \
		held[0] = nhp_hold(path, NHP_NAME);       \
		held[1] = nhp_hold(buf, len);             \
		result = next_##name args;                \
		nhp_release(held[1]);                     \
		nhp_release(held[0]);                     \
		return result;                            \
	}

#endif
