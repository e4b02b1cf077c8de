// SPDX-License-Identifier: MIT
/* numahint doctor: what works here, and what would have to change for more. */
#include "doctor.h"

#include "numahint/numahint.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_MS 10000 /* for one check */

/* ----------------------------------------------------------------------------------- the checks */

struct nht_check *nht_check(struct nht_doctor *d, const char *group, const char *name,
			    enum nht_state state, const char *detail, ...)
{
	static struct nht_check none;
	struct nht_check *c = &none;
	va_list args;

	if (d->nr < (int)(sizeof(d->check) / sizeof(d->check[0])))
		c = &d->check[d->nr++];
	memset(c, 0, sizeof(*c));
	c->group = group;
	c->state = state;
	(void)snprintf(c->name, sizeof(c->name), "%s", name);
	va_start(args, detail);
	(void)vsnprintf(c->detail, sizeof(c->detail), detail, args);
	va_end(args);
	return c;
}

void nht_change(struct nht_check *c, const char *text, ...)
{
	va_list args;

	va_start(args, text);
	(void)vsnprintf(c->change, sizeof(c->change), text, args);
	va_end(args);
}

const char *nht_error_text(int error)
{
	static char text[64];

	if (error < NHT_KILLED)
		return strerror(error);
	if (error == NHT_KILLED + SIGKILL)
		return "no answer in ten seconds";
	(void)snprintf(text, sizeof(text), "killed by SIG%s", sigabbrev_np(error - NHT_KILLED));
	return text;
}

const char *nht_refusal(const struct nht_doctor *d, int error)
{
	if (error == NHT_KILLED + SIGSYS ||
	    (d->seccomp == 2 && (error == EPERM || error == ENOSYS)))
		return "the seccomp filter that refuses it (docker run --security-opt "
		       "seccomp=PROFILE)";
	if (error == ENOSYS)
		return "a kernel that has it (CONFIG_USERFAULTFD, CONFIG_NUMA)";
	if (error == EPERM || error == EACCES)
		return "a security module or capability that refuses it";
	if (error >= NHT_KILLED)
		return "nothing known: this is a bug of numahint or of the kernel, please report it";
	return "nothing known; please report it with this output";
}

bool nht_read_line(const char *path, char *text, size_t len)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(text, (int)len, f);

	if (f)
		(void)fclose(f);
	if (ok)
		text[strcspn(text, "\n")] = '\0';
	return ok;
}

/* ------------------------------------------------------------------------------------ the child */

static int wait_for(pid_t child)
{
	const struct timespec tick = { .tv_nsec = 2000000 };
	int status = 0;

	for (int ms = 0; ms < LIMIT_MS; ms += 2) {
		if (waitpid(child, &status, WNOHANG) == child)
			return status;
		(void)nanosleep(&tick, NULL);
	}
	(void)kill(child, SIGKILL);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

int nht_in_child(void (*fn)(const void *arg, void *result), const void *arg, void *result,
		 size_t len)
{
	void *shared = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;
	pid_t child;

	if (shared == MAP_FAILED)
		return errno;
	(void)fflush(NULL);
	child = fork();
	if (!child) {
		const struct rlimit none = { 0, 0 };

		(void)setrlimit(RLIMIT_CORE, &none);
		fn(arg, shared);
		_exit(0);
	}
	if (child > 0)
		status = wait_for(child);
	memcpy(result, shared, len);
	(void)munmap(shared, len);
	if (child < 0)
		return EAGAIN;
	return WIFSIGNALED(status) ? NHT_KILLED + WTERMSIG(status) : 0;
}

/* ------------------------------------------------------------------------------------- the answer */

static const char *const groups[][2] = {
	{ "pairs", "Traps and deliveries, each tried" },
	{ "userfaultfd", "userfaultfd" },
	{ "moving", "Moving pages" },
	{ "settings", "Settings" },
};

static void print_group(const struct nht_doctor *d, const char *group, bool color)
{
	static const char *const word[] = { "yes", "no", "-" };
	static const int paint[] = { 32, 31, 33 };

	for (int i = 0; i < d->nr; i++) {
		const struct nht_check *c = &d->check[i];

		if (strcmp(c->group, group) != 0)
			continue;
		if (color)
			printf("  \033[%dm%-3s\033[0m", paint[c->state], word[c->state]);
		else
			printf("  %-3s", word[c->state]);
		printf("  %-22s  %s\n", c->name, c->detail);
		if (*c->change)
			printf("       %-22s  -> %s\n", "", c->change);
	}
}

static void print_text(const struct nht_doctor *d, const struct utsname *u, bool color)
{
	printf("numahint %d.%d.%d, Linux %s %s, user %u\n", NH_VERSION_MAJOR, NH_VERSION_MINOR,
	       NH_VERSION_PATCH, u->release, u->machine, getuid());
	for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
		printf("\n%s\n", groups[g][1]);
		print_group(d, groups[g][0], color);
	}
	printf("\nNodes\n");
	nht_print_machine(false);
	if (!d->works)
		printf("\nNothing can be marked here; -> above tells what to change.\n");
	else if (!d->kernel_accesses)
		printf("\nPrograms can be run: trap %s, delivery %s. System calls on marked memory "
		       "fail,\nso numahint run marks inside parallel regions only.\n",
		       d->trap, d->delivery);
	else
		printf("\nPrograms can be run: trap %s, delivery %s, which serves system calls too.\n",
		       d->trap, d->delivery);
}

static void print_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\' || (unsigned char)*s < ' ')
			printf("\\u%04x", (unsigned char)*s);
		else
			putchar(*s);
	}
	putchar('"');
}

static void print_json(const struct nht_doctor *d, const struct utsname *u)
{
	static const char *const state[] = { "yes", "no", "note" };

	printf("{\n  \"schema\": \"numahint/1\",\n  \"version\": \"%d.%d.%d\",\n  \"kernel\": ",
	       NH_VERSION_MAJOR, NH_VERSION_MINOR, NH_VERSION_PATCH);
	print_string(u->release);
	printf(",\n  \"machine\": ");
	print_string(u->machine);
	printf(",\n  \"uid\": %u,\n  \"works\": %s,\n  \"trap\": \"%s\",\n  \"delivery\": \"%s\",\n"
	       "  \"kernel_accesses\": %s,\n  \"fork_events\": %s,\n  \"checks\": [",
	       getuid(), d->works ? "true" : "false", d->trap, d->delivery,
	       d->kernel_accesses ? "true" : "false", d->fork_events ? "true" : "false");
	for (int i = 0; i < d->nr; i++) {
		const struct nht_check *c = &d->check[i];

		printf("%s\n    {\"group\": \"%s\", \"name\": ", i ? "," : "", c->group);
		print_string(c->name);
		printf(", \"state\": \"%s\", \"detail\": ", state[c->state]);
		print_string(c->detail);
		printf(", \"change\": ");
		*c->change ? print_string(c->change) : (void)printf("null");
		putchar('}');
	}
	printf("\n  ],\n");
	nht_print_machine(true);
	printf("}\n");
}

static void usage(void)
{
	printf("usage: numahint doctor [--json] [--color WHEN]\n\n"
	       "Tries what numahint needs, here and for this user: each trap with each delivery, moving\n"
	       "pages, settings of the system. Where something does not work, -> names what to change.\n\n"
	       "  --json                      as an object of JSON\n"
	       "  --color auto|always|never   colours\n"
	       "  -h, --help                  this text\n\n"
	       "Exit codes: 0 programs can be run, 1 nothing can be marked here.\n");
}

int nht_doctor(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "color", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	static const char *const choices[] = { "auto", "always", "never", NULL };
	static struct nht_doctor d;
	const char *color = NULL;
	struct utsname u;
	bool json = false;
	int opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
		switch (opt) {
		case 'j':
			json = true;
			break;
		case 'c':
			if (nht_choose(choices, optarg) < 0)
				return nht_bad_value("--color", optarg, choices);
			color = optarg;
			break;
		case 'h':
			usage();
			return 0;
		default:
			return nht_bad_option(argv, options);
		}
	}
	if (optind < argc) {
		nht_error("unexpected argument '%s'; --help tells more", argv[optind]);
		return NHT_USAGE;
	}
	if (uname(&u)) {
		nht_error("uname: %s", strerror(errno));
		return NHT_FAILED;
	}
	nht_doctor_uffd(&d);
	nht_doctor_pairs(&d);
	nht_doctor_moving(&d);
	nht_doctor_settings(&d);
	if (json)
		print_json(&d, &u);
	else
		print_text(&d, &u, nht_colors(color));
	return d.works ? 0 : NHT_NOTHING;
}
