/* SPDX-License-Identifier: MIT */
/* The next definitions of the functions that we interpose, and our start before dlsym() works. */
#ifndef NHP_REAL_H
#define NHP_REAL_H

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>

#define NHP_PAGE nhp_page_size

extern size_t nhp_page_size;

/* X(return type, name, parameters) */
#define NHP_REALS(X)                                                                             \
	X(void *, malloc, (size_t))                                                              \
	X(void *, calloc, (size_t, size_t))                                                      \
	X(void *, realloc, (void *, size_t))                                                     \
	X(void, free, (void *))                                                                  \
	X(int, posix_memalign, (void **, size_t, size_t))                                        \
	X(void *, aligned_alloc, (size_t, size_t))                                               \
	X(void *, memalign, (size_t, size_t))                                                    \
	X(void *, valloc, (size_t))                                                              \
	X(void *, pvalloc, (size_t))                                                             \
	X(void *, mmap, (void *, size_t, int, int, int, off_t))                                  \
	X(int, munmap, (void *, size_t))                                                         \
	X(void *, mremap, (void *, size_t, size_t, int, ...))                                    \
	X(int, madvise, (void *, size_t, int))                                                   \
	X(int, mprotect, (void *, size_t, int))                                                  \
	X(int, mlock, (const void *, size_t))                                                    \
	X(int, mlock2, (const void *, size_t, unsigned int))                                     \
	X(int, mlockall, (int))                                                                  \
	X(int, pthread_create, (pthread_t *, const pthread_attr_t *, void *(*)(void *), void *)) \
	X(int, pthread_sigmask, (int, const sigset_t *, sigset_t *))                             \
	X(int, sigprocmask, (int, const sigset_t *, sigset_t *))                                 \
	X(int, sigaction, (int, const struct sigaction *, struct sigaction *))                   \
	X(int, sigaltstack, (const stack_t *, stack_t *))                                        \
	X(int, posix_spawn,                                                                      \
	  (pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, \
	   char *const[], char *const[]))                                                        \
	X(int, posix_spawnp,                                                                     \
	  (pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, \
	   char *const[], char *const[]))                                                        \
	X(int, system, (const char *))                                                           \
	X(FILE *, popen, (const char *, const char *))                                           \
	X(int, execve, (const char *, char *const[], char *const[]))                             \
	X(int, execv, (const char *, char *const[]))                                             \
	X(int, execvp, (const char *, char *const[]))                                            \
	X(int, execvpe, (const char *, char *const[], char *const[]))                            \
	X(int, fexecve, (int, char *const[], char *const[]))                                     \
	X(int, execveat, (int, const char *, char *const[], char *const[], int))                 \
	X(long, syscall, (long, ...))                                                            \
	X(int, clone, (int (*)(void *), void *, int, void *, ...))                               \
	X(pid_t, vfork, (void))                                                                  \
	X(void, _exit, (int))                                                                    \
	X(void, _Exit, (int))                                                                    \
	X(void, abort, (void))

struct nhp_real {
#define X(ret, name, params) ret(*name) params;
	NHP_REALS(X)
#undef X
};
extern struct nhp_real nhp_real;

/* Look everything up; any number of times, in any thread. */
void nhp_resolve(void);

/* NHP_REAL(free)(p): any interposed function may be called before the constructor runs. */
#define NHP_REAL(name) \
	(__builtin_expect(!nhp_real.name, 0) ? nhp_resolve() : (void)0, nhp_real.name)

/* Blocks handed out while dlsym() looks for malloc; they are never freed. */
void *nhp_boot_alloc(size_t size);
bool nhp_boot_owns(const void *p);
/* Bytes from @p, which it owns, to the end of the arena. */
size_t nhp_boot_rest(const void *p);
/* Are we inside of nhp_resolve() in a way that malloc must not rely on it? */
bool nhp_booting(void);

#endif
