// SPDX-License-Identifier: MIT
/*
 * v_without THING... -- COMMAND...: run a command with things taken away, one after the other:
 *
 *	root               as user and group 65534
 *	userns             as root of a user namespace of its own
 *	dev                with an empty /dev
 *	proc-sys           with an empty /proc/sys/vm
 *	huge               transparent huge pages are off for it
 *	space=MIB          that much address space
 *	cpu=N              bound to this processor
 *	NAME=ERRNO|kill    a system call fails, or kills: userfaultfd, move_pages, mbind, get_mempolicy
 *	guard=ERRNO        mprotect(2) with PROT_NONE fails, but for single pages as stacks have
 *
 * Exit code 77: it cannot be taken away here.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	int err = fd < 0 || write(fd, text, strlen(text)) < 0;

	if (fd >= 0)
		(void)close(fd);
	return err;
}

static int enter_userns(void)
{
	char map[64];
	unsigned int uid = getuid(), gid = getgid();

	if (unshare(CLONE_NEWUSER))
		return -1;
	(void)write_file("/proc/self/setgroups", "deny");
	(void)snprintf(map, sizeof(map), "0 %u 1", gid);
	if (write_file("/proc/self/gid_map", map))
		return -1;
	(void)snprintf(map, sizeof(map), "0 %u 1", uid);
	return write_file("/proc/self/uid_map", map);
}

static int cover(const char *path)
{
	return unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	       mount("none", path, "tmpfs", 0, NULL);
}

static int install(struct sock_filter *code, unsigned short len)
{
	struct sock_fprog program = { len, code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

#define LOAD(field)  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IS(value, y) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (y), 0)
#define RET(value)   BPF_STMT(BPF_RET | BPF_K, (value))

static int refuse(long nr, unsigned int action)
{
	struct sock_filter code[] = { LOAD(nr), IS((unsigned int)nr, 1), RET(SECCOMP_RET_ALLOW),
				      RET(action) };

	return install(code, sizeof(code) / sizeof(code[0]));
}

/* Thread stacks need a guard page; marks of the trap are longer. */
static int refuse_guards(unsigned int action)
{
	struct sock_filter code[] = {
		LOAD(nr),
		IS(SYS_mprotect, 1),
		RET(SECCOMP_RET_ALLOW),
		LOAD(args[2]), /* little-endian: the low half comes first */
		IS(0, 1),
		RET(SECCOMP_RET_ALLOW),
		LOAD(args[1]),
		IS(4096, 1),
		RET(action),
		RET(SECCOMP_RET_ALLOW),
	};

	return install(code, sizeof(code) / sizeof(code[0]));
}

static int take(const char *what)
{
	static const struct {
		const char *name;
		long nr;
	} calls[] = { { "userfaultfd", SYS_userfaultfd },
		      { "move_pages", SYS_move_pages },
		      { "mbind", SYS_mbind },
		      { "get_mempolicy", SYS_get_mempolicy } };
	const char *value = strchr(what, '=') ? strchr(what, '=') + 1 : "";
	unsigned int action = strcmp(value, "kill") ?
				      SECCOMP_RET_ERRNO | (unsigned int)atoi(value) :
				      SECCOMP_RET_KILL_PROCESS;
	cpu_set_t cpus;

	if (!strcmp(what, "root"))
		/* Who changed its user does not own its /proc/self otherwise. */
		return setgid(65534) || setuid(65534) || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	if (!strcmp(what, "userns"))
		return enter_userns();
	if (!strcmp(what, "dev"))
		return cover("/dev");
	if (!strcmp(what, "proc-sys"))
		return cover("/proc/sys/vm");
	if (!strcmp(what, "huge"))
		return prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	if (!strncmp(what, "space=", 6)) {
		rlim_t bytes = strtoul(value, NULL, 10) << 20;
		struct rlimit limit = { bytes, bytes };

		return setrlimit(RLIMIT_AS, &limit);
	}
	if (!strncmp(what, "cpu=", 4)) {
		CPU_ZERO(&cpus);
		CPU_SET((size_t)atoi(value), &cpus);
		return sched_setaffinity(0, sizeof(cpus), &cpus);
	}
	if (!strncmp(what, "guard=", 6))
		return refuse_guards(action);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		size_t len = strlen(calls[i].name);

		if (!strncmp(what, calls[i].name, len) && what[len] == '=')
			return refuse(calls[i].nr, action);
	}
	errno = EINVAL;
	return -1;
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (take(argv[i])) {
			perror(argv[i]);
			return errno == EINVAL ? 2 : 77;
		}
	}
	if (i + 1 >= argc)
		return 2;
	execvp(argv[i + 1], argv + i + 1);
	perror(argv[i + 1]);
	return 127;
}
