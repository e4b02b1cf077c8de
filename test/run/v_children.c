// SPDX-License-Identifier: MIT
/*
 * Processes that are started while pages are marked, with strings that lie in marked memory:
 * v_children CASE. The child must see what the parent saw.
 */
#include "victim.h"

#include <omp.h>
#include <sched.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;

static uint8_t *data;
/* Inside of large allocations, so that they are marked. */
struct strings {
	char path[64], arg0[64], arg1[64], arg2[64];
	char *argv[4];
};
static struct strings *s;

static int exit_code(pid_t pid)
{
	int status;

	EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid);
	EXPECT(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int child_looks(void)
{
	bool same = is_filled(data, BIG);

	data[0]++;
	return same && data[0] == (uint8_t)(pattern(0) + 1) ? 7 : 1;
}

static void by_fork(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(child_looks());
	EXPECT(exit_code(pid) == 7);
}

/* fork() of a child of a fork(), whose parent is gone when it looks: daemon(3). */
static void by_daemon(void)
{
	int fds[2], code = 0;
	pid_t pid;

	EXPECT(!pipe(fds));
	pid = fork();
	if (!pid) {
		EXPECT(!daemon(1, 1));
		code = child_looks();
		EXPECT(write(fds[1], &code, sizeof(code)) == sizeof(code));
		_exit(0);
	}
	EXPECT(exit_code(pid) == 0);
	EXPECT(read(fds[0], &code, sizeof(code)) == sizeof(code) && code == 7);
}

static void by_vfork(void)
{
	pid_t pid = vfork();

	if (!pid) {
		execv(s->path, s->argv);
		_exit(99);
	}
	EXPECT(exit_code(pid) == 3);
}

static void by_spawn(void)
{
	pid_t pid;

	EXPECT(!posix_spawn(&pid, s->path, NULL, NULL, s->argv, environ));
	EXPECT(exit_code(pid) == 3);
	EXPECT(!posix_spawnp(&pid, "sh", NULL, NULL, s->argv, environ));
	EXPECT(exit_code(pid) == 3);
}

static void by_system(void)
{
	char line[16] = "";
	FILE *f;

	EXPECT(WEXITSTATUS(system(s->arg2)) == 3);
	f = popen("echo hello", "r");
	EXPECT(f && fgets(line, sizeof(line), f) && !strcmp(line, "hello\n"));
	EXPECT(!pclose(f));
}

/* Behind the C library's back. */
static void by_clone(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

	if (!pid)
		_exit(child_looks());
	EXPECT(exit_code(pid) == 7);
}

static void by_exec(void)
{
	execl(s->path, s->arg0, s->arg1, s->arg2, NULL);
	EXPECT(!"execl came back");
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = { { "fork", by_fork },   { "daemon", by_daemon }, { "vfork", by_vfork },
	      { "spawn", by_spawn }, { "system", by_system }, { "clone", by_clone },
	      { "exec", by_exec } };

static void prepare(void)
{
	data = filled(BIG);
	s = (struct strings *)filled(BIG);
	strcpy(s->path, "/bin/sh");
	strcpy(s->arg0, "sh");
	strcpy(s->arg1, "-c");
	strcpy(s->arg2, "exit 3");
	s->argv[0] = s->arg0;
	s->argv[1] = s->arg1;
	s->argv[2] = s->arg2;
	s->argv[3] = NULL;
}

int main(int argc, char **argv)
{
	void (*run)(void) = NULL;
	size_t bad = 0;

	for (size_t i = 0; argc > 1 && i < sizeof(cases) / sizeof(cases[0]); i++)
		run = strcmp(argv[1], cases[i].name) ? run : cases[i].run;
	if (!run)
		return 2;
	prepare();
#pragma omp parallel num_threads(2)
	{
#pragma omp master
		{
			expect_marks();
			run();
		}
	}
#pragma omp parallel for reduction(+ : bad)
	for (size_t i = 0; i < BIG; i++)
		bad += data[i] != pattern(i);
	EXPECT(!bad);
	printf("%s: the same on both sides\n", argv[1]);
	return 0;
}
