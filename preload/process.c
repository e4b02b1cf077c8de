// SPDX-License-Identifier: MIT
/*
 * Processes: what starts another program makes the kernel read strings that may be marked, in this
 * process or in a child that shares its memory. So everything is restored first, and nothing is marked
 * until the child has memory of its own. fork() itself is the library's affair (pthread_atfork); here
 * only our own state follows it.
 */
#include "preload.h"
#include "sys.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

NHP_EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
			   const posix_spawnattr_t *attr, char *const argv[], char *const envp[]);
NHP_EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
			    const posix_spawnattr_t *attr, char *const argv[], char *const envp[]);
NHP_EXPORT int system(const char *command);
NHP_EXPORT FILE *popen(const char *command, const char *type);
NHP_EXPORT int execve(const char *path, char *const argv[], char *const envp[]);
NHP_EXPORT int execv(const char *path, char *const argv[]);
NHP_EXPORT int execvp(const char *file, char *const argv[]);
NHP_EXPORT int execvpe(const char *file, char *const argv[], char *const envp[]);
NHP_EXPORT int fexecve(int fd, char *const argv[], char *const envp[]);
NHP_EXPORT int execveat(int fd, const char *path, char *const argv[], char *const envp[],
			int flags);
NHP_EXPORT int execl(const char *path, const char *arg, ...);
NHP_EXPORT int execlp(const char *file, const char *arg, ...);
NHP_EXPORT int execle(const char *path, const char *arg, ...);
NHP_EXPORT __attribute__((noreturn)) void _exit(int status);
NHP_EXPORT __attribute__((noreturn)) void _Exit(int status);
NHP_EXPORT __attribute__((noreturn)) void abort(void);

int nhp_getpid(void)
{
	return (int)nhi_sys0(SYS_getpid);
}

/* ------------------------------------------------------------------------------------- spawning */

/* Used: vfork() below calls it by its name. */
__attribute__((used)) static void before_child(void)
{
	nhp_hold_all();
	if (nhp_getpid() == nhp.pid)
		nhi_count(&nhp.children, 1);
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	int err;

	before_child();
	err = NHP_REAL(posix_spawn)(pid, path, actions, attr, argv, envp);
	nhp_release_all();
	return err;
}

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
		 const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	int err;

	before_child();
	err = NHP_REAL(posix_spawnp)(pid, file, actions, attr, argv, envp);
	nhp_release_all();
	return err;
}

/* It waits for the command inside, so nothing is marked before that has ended. */
int system(const char *command)
{
	int status;

	before_child();
	status = NHP_REAL(system)(command);
	nhp_release_all();
	return status;
}

FILE *popen(const char *command, const char *type)
{
	FILE *file;

	before_child();
	file = NHP_REAL(popen)(command, type);
	nhp_release_all();
	return file;
}

/*
 * The child of vfork() returns through the caller's frame and may overwrite what lies below it, so the
 * parent keeps the return address in a register, as libc's does, and comes back to us only when the
 * child has memory of its own.
 */
#if defined(__x86_64__)
/* In the parent. @ret: of the system call. */
__attribute__((used)) static long after_vfork(long ret)
{
	nhp_release_all();
	if (ret >= 0)
		return ret;
	errno = (int)-ret;
	return -1;
}

__asm__(".text\n"
	".globl vfork\n"
	".type vfork, @function\n"
	"vfork:\n"
	"	.cfi_startproc\n"
	"	sub	$8, %rsp\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	call	before_child\n"
	"	add	$8, %rsp\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	pop	%rdi\n" /* the kernel keeps it */
	"	.cfi_adjust_cfa_offset -8\n"
	"	.cfi_register %rip, %rdi\n"
	"	mov	$58, %eax\n" /* SYS_vfork */
	"	syscall\n"
	"	push	%rdi\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	.cfi_rel_offset %rip, 0\n"
	"	test	%rax, %rax\n"
	"	jz	1f\n"
	"	mov	%rax, %rdi\n"
	"	sub	$8, %rsp\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	call	after_vfork\n"
	"	add	$8, %rsp\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"1:	ret\n"
	"	.cfi_endproc\n"
	".size vfork, . - vfork\n");
#endif

/* --------------------------------------------------------------------------------------- exec */

static void before_exec(void)
{
	nhp_unmark_all();
	nhp_report_exec();
}

/* exec came back. */
static int exec_failed(int ret)
{
	if (nhp_getpid() == nhp.pid)
		nhp_report_exec_failed();
	return ret;
}

int execve(const char *path, char *const argv[], char *const envp[])
{
	before_exec();
	return exec_failed(NHP_REAL(execve)(path, argv, envp));
}

int execv(const char *path, char *const argv[])
{
	before_exec();
	return exec_failed(NHP_REAL(execv)(path, argv));
}

int execvp(const char *file, char *const argv[])
{
	before_exec();
	return exec_failed(NHP_REAL(execvp)(file, argv));
}

int execvpe(const char *file, char *const argv[], char *const envp[])
{
	before_exec();
	return exec_failed(NHP_REAL(execvpe)(file, argv, envp));
}

int fexecve(int fd, char *const argv[], char *const envp[])
{
	before_exec();
	return exec_failed(NHP_REAL(fexecve)(fd, argv, envp));
}

int execveat(int fd, const char *path, char *const argv[], char *const envp[], int flags)
{
	before_exec();
	return exec_failed(NHP_REAL(execveat)(fd, path, argv, envp, flags));
}

/* How many entries argv needs, with its NULL. A NULL as first argument is accepted, as by libc. */
static size_t count_args(const char *first, va_list args)
{
	size_t n = 1;

	while (first) {
		first = va_arg(args, const char *);
		n++;
	}
	return n;
}

static void copy_args(const char **argv, const char *first, va_list args)
{
	*argv = first;
	while (*argv++)
		*argv = va_arg(args, const char *);
}

/* On the caller's stack: in a child of vfork() there is no other place. */
#define LIST_TO_ARGV(argv, arg, args)                                   \
	va_start(args, arg);                                            \
	argv = __builtin_alloca(count_args(arg, args) * sizeof(*argv)); \
	va_end(args);                                                   \
	va_start(args, arg);                                            \
	copy_args(argv, arg, args)

int execl(const char *path, const char *arg, ...)
{
	const char **argv;
	va_list args;

	LIST_TO_ARGV(argv, arg, args);
	va_end(args);
	return execv(path, (char *const *)argv);
}

int execlp(const char *file, const char *arg, ...)
{
	const char **argv;
	va_list args;

	LIST_TO_ARGV(argv, arg, args);
	va_end(args);
	return execvp(file, (char *const *)argv);
}

int execle(const char *path, const char *arg, ...)
{
	const char **argv;
	char *const *envp;
	va_list args;

	LIST_TO_ARGV(argv, arg, args);
	envp = va_arg(args, char *const *);
	va_end(args);
	return execve(path, (char *const *)argv, envp);
}

/* --------------------------------------------------------------------------- ends without exit() */

void _exit(int status)
{
	nhp_report();
	NHP_REAL(_exit)(status);
	__builtin_unreachable();
}

void _Exit(int status)
{
	nhp_report();
	NHP_REAL(_Exit)(status);
	__builtin_unreachable();
}

void abort(void)
{
	nhp_report();
	NHP_REAL(abort)();
	__builtin_unreachable();
}
