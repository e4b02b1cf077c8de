// SPDX-License-Identifier: MIT
/*
 * The cost of being loaded: a STREAM-like program runs as a child, with and without the preloaded
 * library, and nothing is ever marked in it.
 */
#include "floor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRIAD_ITERATIONS "40"

static void child(const struct bench_ctx *ctx, int out, const char *preload)
{
	char bytes[32];

	(void)snprintf(bytes, sizeof(bytes), "%zu", ctx->size);
	(void)unsetenv("LD_PRELOAD");
	if (preload) {
		(void)setenv("LD_PRELOAD", preload, 1);
		/* Loaded, and told to leave every allocation alone. */
		(void)setenv("NUMAHINT_CONF", "when:never", 1);
	}
	if (dup2(out, STDOUT_FILENO) < 0)
		_exit(126);
	execl(ctx->program, ctx->program, "--bytes", bytes, "--iterations", TRIAD_ITERATIONS,
	      (char *)NULL);
	_exit(127);
}

/* Its best iteration: the one that was disturbed least by the rest of the machine. */
static int64_t triad(struct bench_ctx *ctx, const char *preload)
{
	int fds[2], status;
	char text[1024];
	size_t len = 0;
	ssize_t n;
	double seconds;
	const char *at;
	pid_t pid;

	if (!ctx->program || access(ctx->program, X_OK) < 0)
		return -EOPNOTSUPP;
	if (pipe(fds) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		close(fds[0]);
		close(fds[1]);
		return -errno;
	}
	if (pid == 0)
		child(ctx, fds[1], preload);
	close(fds[1]);
	while ((n = read(fds[0], text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(fds[0]);
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return -ECHILD;
	at = strstr(text, "best ");
	if (!at || sscanf(at, "best %lf s", &seconds) != 1)
		return -ENODATA;
	return (int64_t)(seconds * 1e9);
}

int64_t floor_idle_plain(struct bench_ctx *ctx)
{
	return triad(ctx, NULL);
}

int64_t floor_idle_preload(struct bench_ctx *ctx)
{
	if (!ctx->preload || access(ctx->preload, R_OK) < 0)
		return -EOPNOTSUPP;
	return triad(ctx, ctx->preload);
}
