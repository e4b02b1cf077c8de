// SPDX-License-Identifier: MIT
/*
 * numahint sim: explores the engine on a simulated machine. The engine that is explored is built with
 * switching points in its atomics, so it is in a program of its own, nh-sim; this finds and runs it.
 */
#include "tools.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Beside the command as it was built, or where it was installed. */
static bool find(char path[PATH_MAX])
{
	static const char *const places[] = { "../sim/", "sim/", "../" NHT_PRELOAD_DIR "/" };
	char exe[PATH_MAX], candidate[2 * PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	exe[n > 0 ? n : 0] = '\0';
	if (strrchr(exe, '/'))
		strrchr(exe, '/')[1] = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		(void)snprintf(candidate, sizeof(candidate), "%s%snh-sim", exe, places[i]);
		if (realpath(candidate, path))
			return true;
	}
	return realpath(NHT_PRELOAD_FULL "/nh-sim", path) != NULL;
}

int nht_sim(int argc, char **argv)
{
	static char name[] = "numahint sim";
	char path[PATH_MAX];

	(void)argc;
	if (!find(path)) {
		nht_error("nh-sim is not beside this command and not in " NHT_PRELOAD_FULL);
		return NHT_FAILED;
	}
	argv[0] = name;
	(void)execv(path, argv);
	nht_error("%s: %s", path, strerror(errno));
	return NHT_FAILED;
}
