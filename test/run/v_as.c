// SPDX-License-Identifier: MIT
/*
 * v_as nobody COMMAND...: as an ordinary user. v_as no-userfaultfd COMMAND...: with a seccomp filter
 * that refuses userfaultfd(2), as container runtimes have. v_as deadly-userfaultfd COMMAND...: with one
 * that kills who calls it, as service managers have.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int become_nobody(void)
{
	return setgid(65534) || setuid(65534);
}

static int refuse_userfaultfd(unsigned int action)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
	int failed;

	if (argc < 3)
		return 2;
	if (!strcmp(argv[1], "nobody"))
		failed = become_nobody();
	else if (!strcmp(argv[1], "no-userfaultfd"))
		failed = refuse_userfaultfd(SECCOMP_RET_ERRNO | EPERM);
	else
		failed = refuse_userfaultfd(SECCOMP_RET_KILL_PROCESS);
	if (failed) {
		perror(argv[1]);
		return 1;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}
