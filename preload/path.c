// SPDX-License-Identifier: MIT
/*
 * Calls of libc that hand the name of a file to the kernel. Names are short, but programs with small
 * blocks inside of large mappings (Python's arenas, collectors of garbage) have them in marked memory.
 */
#include "held.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

PATH(int, access, (const char *path, int mode), (path, mode), path)
PATH(int, faccessat, (int dir, const char *path, int mode, int flags), (dir, path, mode, flags),
     path)
PATH(int, chdir, (const char *path), (path), path)
PATH(int, mkdir, (const char *path, mode_t mode), (path, mode), path)
PATH(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode), path)
PATH(int, rmdir, (const char *path), (path), path)
PATH(int, unlink, (const char *path), (path), path)
PATH(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags), path)
PATH(int, chmod, (const char *path, mode_t mode), (path, mode), path)
PATH(int, truncate, (const char *path, off_t len), (path, len), path)
PATH(DIR *, opendir, (const char *path), (path), path)
PATH(FILE *, fopen, (const char *path, const char *mode), (path, mode), path)
PATH(FILE *, fopen64, (const char *path, const char *mode), (path, mode), path)

HELD_TWO(int, stat, (const char *path, struct stat *st), (path, st), path, st, sizeof(*st))
HELD_TWO(int, stat64, (const char *path, struct stat64 *st), (path, st), path, st, sizeof(*st))
HELD_TWO(int, lstat, (const char *path, struct stat *st), (path, st), path, st, sizeof(*st))
HELD_TWO(int, lstat64, (const char *path, struct stat64 *st), (path, st), path, st, sizeof(*st))
HELD_TWO(int, fstatat, (int dir, const char *path, struct stat *st, int flags),
	 (dir, path, st, flags), path, st, sizeof(*st))
HELD_TWO(int, fstatat64, (int dir, const char *path, struct stat64 *st, int flags),
	 (dir, path, st, flags), path, st, sizeof(*st))
HELD_TWO(int, statx, (int dir, const char *path, int flags, unsigned int mask, struct statx *st),
	 (dir, path, flags, mask, st), path, st, sizeof(*st))
HELD_TWO(ssize_t, readlink, (const char *path, char *buf, size_t len), (path, buf, len), path, buf,
	 len)
HELD_TWO(ssize_t, readlinkat, (int dir, const char *path, char *buf, size_t len),
	 (dir, path, buf, len), path, buf, len)
HELD_TWO(int, rename, (const char *from, const char *to), (from, to), from, to, NHP_NAME)
HELD_TWO(int, link, (const char *from, const char *to), (from, to), from, to, NHP_NAME)
HELD_TWO(int, symlink, (const char *from, const char *to), (from, to), from, to, NHP_NAME)

BUFFER(int, fstat, (int fd, struct stat *st), (fd, st), st, sizeof(*st))
BUFFER(int, fstat64, (int fd, struct stat64 *st), (fd, st), st, sizeof(*st))
BUFFER(char *, getcwd, (char *buf, size_t len), (buf, len), buf, buf ? len : 0)

/* The mode is there only if a file may be made; passing what is not there on harms nobody. */
#define OPEN(name, params, last, args, path)     \
	NHP_EXPORT int name params;              \
	FIND(name)                               \
	int name params                          \
	{                                        \
		va_list list;                    \
		uint32_t held;                   \
		mode_t mode;                     \
		int result;                      \
                                                 \
		va_start(list, last);            \
		mode = va_arg(list, mode_t);     \
		va_end(list);                    \
		NEXT(name);                      \
		held = nhp_hold(path, NHP_NAME); \
		result = next_##name args;       \
		nhp_release(held);               \
		return result;                   \
	}

OPEN(open, (const char *path, int flags, ...), flags, (path, flags, mode), path)
OPEN(open64, (const char *path, int flags, ...), flags, (path, flags, mode), path)
OPEN(openat, (int dir, const char *path, int flags, ...), flags, (dir, path, flags, mode), path)
OPEN(openat64, (int dir, const char *path, int flags, ...), flags, (dir, path, flags, mode), path)
