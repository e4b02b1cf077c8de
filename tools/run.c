// SPDX-License-Identifier: MIT
/*
 * numahint run: check everything that can be checked, then become the program. There is no process
 * in between: exit code, signals, job control and the process id are the program's own.
 */
#include "tools.h"

#include "conf.h"
#include "numahint/numahint.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PRELOAD_NAME "libnumahint-preload.so"

struct run {
	struct nhp_conf conf;
	const char *json; /* as given; NULL: none */
	char json_path[PATH_MAX];
	char preload[PATH_MAX];
	bool print_env;
};

enum {
	OPT_NODES = 256,
	OPT_TRAP,
	OPT_DELIVERY,
	OPT_COPY,
	OPT_WHEN,
	OPT_MIN_SIZE,
	OPT_KEEP,
	OPT_DRY,
	OPT_JSON,
	OPT_STATS,
	OPT_STRICT,
	OPT_PRINT_ENV
};

static const struct option options[] = {
	{ "nodes", required_argument, NULL, OPT_NODES },
	{ "trap", required_argument, NULL, OPT_TRAP },
	{ "delivery", required_argument, NULL, OPT_DELIVERY },
	{ "copy", required_argument, NULL, OPT_COPY },
	{ "when", required_argument, NULL, OPT_WHEN },
	{ "min-size", required_argument, NULL, OPT_MIN_SIZE },
	{ "keep-marks", no_argument, NULL, OPT_KEEP },
	{ "dry-run", no_argument, NULL, OPT_DRY },
	{ "json", required_argument, NULL, OPT_JSON },
	{ "stats", no_argument, NULL, OPT_STATS },
	{ "strict", no_argument, NULL, OPT_STRICT },
	{ "print-env", no_argument, NULL, OPT_PRINT_ENV },
	{ "verbose", no_argument, NULL, 'v' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static void usage(void)
{
	printf("usage: numahint run [OPTION...] [--] PROGRAM [ARGUMENT...]\n\n"
	       "Runs PROGRAM with its large allocations marked when a parallel region begins, so that\n"
	       "each page moves to the node of the thread that touches it. Needs no privilege.\n\n"
	       "  --nodes N|SYNTHETIC   emulate N nodes, or those of an hwloc synthetic topology\n"
	       "  --trap TRAP           how pages are marked: auto, mprotect, shadow, minor\n"
	       "  --delivery WHO        who handles a fault: auto, monitor, thread\n"
	       "  --copy COPY           may pages move by copying: auto, never, always\n"
	       "  --when WHEN           when to mark: parallel (OpenMP regions), start (as soon as\n"
	       "                        there are pages), threads (when one starts), every=TIME,\n"
	       "                        signal=NAME (parallel)\n"
	       "  --min-size SIZE       allocations of at least SIZE, with K, M or G (1M)\n"
	       "  --keep-marks          what a region did not touch stays marked behind its end\n"
	       "  --dry-run             mark nothing, report what would be marked\n"
	       "  --json FILE           write a report to FILE (- is standard output)\n"
	       "  -v, --verbose, --stats  more counters at the end\n"
	       "  -q, --quiet           no summary at the end\n"
	       "  --strict              exit with 125 rather than run the program unmanaged\n"
	       "  --print-env           print the environment that does the same, run nothing\n"
	       "  -h, --help            this text\n\n"
	       "NUMAHINT_CONF=key:value,... gives the same options; see numahint-run(1).\n");
}

/* ---------------------------------------------------------------------------------- the options */

static int set_nodes(struct run *r, const char *text)
{
	const char *why = "";
	int n = nht_parse_nodes(text, &why);

	if (n < 0) {
		nht_error("--nodes '%s': %s", text, why);
		return NHT_USAGE;
	}
	/* The library in the program needs no topology: a number is enough. */
	(void)snprintf(r->conf.nodes, sizeof(r->conf.nodes), "%d", n);
	return 0;
}

static int set_choice(char *to, size_t len, const char *option, const char *value,
		      const char *const *names)
{
	if (nht_choose(names, value) < 0)
		return nht_bad_value(option, value, names);
	(void)snprintf(to, len, "%s", value);
	return 0;
}

static int set_min_size(struct run *r, const char *text)
{
	int err = nhp_parse_size(text, &r->conf.min_size);

	if (!err)
		return 0;
	nht_error("--min-size: '%s' is %s", text,
		  err == -ERANGE ? "too large" : "not a size: a number, with K, M or G behind it");
	return NHT_USAGE;
}

static int set_when(struct nhp_conf *c, const char *text)
{
	static const char *const whens[] = { "parallel",   "start",	  "threads",
					     "every=TIME", "signal=NAME", NULL };

	if (!nhp_parse_when(text, c))
		return 0;
	if (!strncmp(text, "every", 5))
		nht_error("--when %s: a time is a number with ms, s or m, as in every=500ms", text);
	else if (!strncmp(text, "signal", 6))
		nht_error("--when %s: a signal is one of USR1, USR2, HUP, WINCH, URG, CONT", text);
	else
		return nht_bad_value("--when", text, whens);
	return NHT_USAGE;
}

/* Return: 0, or an exit code. */
static int set_option(struct run *r, int opt)
{
	static const char *const traps[] = { "auto", "mprotect", "shadow", "minor", NULL };
	static const char *const deliveries[] = { "auto", "monitor", "thread", NULL };
	static const char *const copies[] = { "auto", "never", "always", NULL };
	struct nhp_conf *c = &r->conf;

	switch (opt) {
	case OPT_NODES:
		return set_nodes(r, optarg);
	case OPT_TRAP:
		return set_choice(c->trap, sizeof(c->trap), "--trap", optarg, traps);
	case OPT_DELIVERY:
		return set_choice(c->delivery, sizeof(c->delivery), "--delivery", optarg,
				  deliveries);
	case OPT_COPY:
		return set_choice(c->copy, sizeof(c->copy), "--copy", optarg, copies);
	case OPT_WHEN:
		return set_when(c, optarg);
	case OPT_MIN_SIZE:
		return set_min_size(r, optarg);
	case OPT_KEEP:
		c->keep_marks = true;
		return 0;
	case OPT_DRY:
		c->dry_run = true;
		return 0;
	case OPT_JSON:
		r->json = optarg;
		return 0;
	case OPT_STATS:
	case 'v':
		c->stats = true;
		return 0;
	case 'q':
		c->quiet = true;
		return 0;
	case OPT_STRICT:
		c->strict = true;
		return 0;
	default:
		r->print_env = true;
		return 0;
	}
}

static void complain(void *arg, const char *sentence)
{
	(void)arg;
	nht_error("NUMAHINT_CONF: %s; ignored", sentence);
}

/* What contradicts itself on every machine. */
static int check_options(const struct run *r)
{
	const struct nhp_conf *c = &r->conf;

	if (!strcmp(c->trap, "mprotect") && !strcmp(c->delivery, "monitor")) {
		nht_error(
			"--trap mprotect works with --delivery thread only: no monitor is told of its faults");
		return NHT_USAGE;
	}
	return 0;
}

/* ----------------------------------------------------------------------------------- the preload */

/* Beside the command as it was built, or where it was installed. */
static bool find_preload(struct run *r)
{
	static const char *const places[] = { "../preload/", "preload/",
					      "../" NHT_PRELOAD_DIR "/" };
	const char *given = getenv("NUMAHINT_PRELOAD");
	char exe[PATH_MAX], candidate[2 * PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	if (given)
		return realpath(given, r->preload) != NULL;
	exe[n > 0 ? n : 0] = '\0';
	if (strrchr(exe, '/'))
		strrchr(exe, '/')[1] = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		(void)snprintf(candidate, sizeof(candidate), "%s%s%s", exe, places[i],
			       PRELOAD_NAME);
		if (realpath(candidate, r->preload))
			return true;
	}
	return realpath(NHT_PRELOAD_FULL "/" PRELOAD_NAME, r->preload) != NULL;
}

/* Ours in front of what LD_PRELOAD has already; an outer numahint run gives way to this one. */
static char *ld_preload(const struct run *r)
{
	const char *old = getenv("LD_PRELOAD");
	size_t len = strlen(r->preload) + (old ? strlen(old) : 0) + 2;
	char *text = malloc(len), *copy = old ? strdup(old) : NULL, *rest = NULL;

	if (!text)
		return NULL;
	(void)snprintf(text, len, "%s", r->preload);
	for (char *s = copy ? strtok_r(copy, ": ", &rest) : NULL; s;
	     s = strtok_r(NULL, ": ", &rest)) {
		const char *slash = strrchr(s, '/');

		if (strcmp(slash ? slash + 1 : s, PRELOAD_NAME) != 0) {
			strncat(text, ":", len - strlen(text) - 1);
			strncat(text, s, len - strlen(text) - 1);
		}
	}
	free(copy);
	return text;
}

static void print_quoted(const char *name, const char *value)
{
	printf("%s='", name);
	for (; *value; value++)
		*value == '\'' ? (void)fputs("'\\''", stdout) : (void)putchar(*value);
	printf("' ");
}

static int set_env(struct run *r, bool print, char **argv)
{
	char conf[1024], *preload;

	r->conf.root = print ? 0 : (int)getpid();
	(void)nhp_conf_print(&r->conf, conf, sizeof(conf));
	preload = ld_preload(r);
	if (!preload) {
		nht_error("out of memory");
		return NHT_FAILED;
	}
	if (print) {
		print_quoted("LD_PRELOAD", preload);
		print_quoted("NUMAHINT_CONF", conf);
		if (r->json)
			print_quoted("NUMAHINT_OUT", r->json_path);
		for (; *argv; argv++)
			printf("%s%s", *argv, argv[1] ? " " : "");
		putchar('\n');
	} else if (setenv("LD_PRELOAD", preload, 1) || setenv("NUMAHINT_CONF", conf, 1) ||
		   (r->json && setenv("NUMAHINT_OUT", r->json_path, 1))) {
		nht_error("out of memory");
		return NHT_FAILED;
	}
	free(preload);
	return 0;
}

/* ------------------------------------------------------------------------------------- the report */

/*
 * The program may change its directory, so its library gets an absolute path. The name must be
 * free: the first process that has something to say takes it.
 */
static int prepare_json(struct run *r)
{
	struct stat st;
	bool there;
	int fd;

	if (!r->json)
		return 0;
	/* Where the program writes; an existing device or pipe is not ours to replace either. */
	if (!strcmp(r->json, "-")) {
		(void)snprintf(r->json_path, sizeof(r->json_path), "-");
		return 0;
	}
	if (*r->json == '/') {
		(void)snprintf(r->json_path, sizeof(r->json_path), "%s", r->json);
	} else {
		char cwd[PATH_MAX];

		if (!getcwd(cwd, sizeof(cwd)) ||
		    snprintf(r->json_path, sizeof(r->json_path), "%s/%s", cwd, r->json) >=
			    (int)sizeof(r->json_path)) {
			nht_error("--json %s: the path is too long", r->json);
			return NHT_FAILED;
		}
	}
	there = !lstat(r->json_path, &st);
	if (r->print_env || (there && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
		return 0;
	fd = open(r->json_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0) {
		nht_error("--json %s: %s", r->json, strerror(errno));
		return NHT_FAILED;
	}
	(void)close(fd);
	(void)unlink(r->json_path);
	return 0;
}

static void print_escaped(FILE *f, const char *s)
{
	for (; *s; s++) {
		if (*s == '"' || *s == '\\' || (unsigned char)*s < ' ')
			fprintf(f, "\\u%04x", (unsigned char)*s);
		else
			fputc(*s, f);
	}
}

/* The program runs without us, so nobody else will write one. */
static void write_unmanaged(const struct run *r, const char *program, const char *why)
{
	FILE *f = !r->json ? NULL : strcmp(r->json, "-") ? fopen(r->json_path, "we") : stdout;

	if (!f)
		return;
	fprintf(f, "{\n  \"schema\": \"numahint/1\",\n  \"program\": \"");
	print_escaped(f, program);
	fprintf(f, "\",\n  \"pid\": %d,\n  \"managed\": false,\n  \"unmanaged_because\": \"",
		(int)getpid());
	print_escaped(f, why);
	fprintf(f,
		"\",\n  \"nodes\": %d,\n  \"emulated\": %s,\n  \"trap\": \"%s\",\n"
		"  \"delivery\": \"%s\",\n",
		*r->conf.nodes ? atoi(r->conf.nodes) : 1, *r->conf.nodes ? "true" : "false",
		*r->conf.trap ? r->conf.trap : "auto",
		*r->conf.delivery ? r->conf.delivery : "auto");
	fprintf(f, "  \"managed_bytes\": 0,\n  \"marked_pages\": 0,\n  \"hinting_faults\": 0,\n"
		   "  \"migrated_pages\": 0,\n  \"restored_pages\": 0,\n  \"skipped\": {},\n"
		   "  \"failed\": {},\n  \"local_before\": null,\n  \"local_after\": null,\n"
		   "  \"ranges\": []\n}\n");
	if (f == stdout ? fflush(f) : fclose(f))
		nht_error("--json %s: %s", r->json, strerror(errno));
}

/* --------------------------------------------------------------------------------------- running */

/* Would the library work as asked, here and for this user? The program would find out too late. */
static const char *probe(const struct run *r)
{
	static const char *const traps[] = { "auto", "mprotect", "shadow", "minor", NULL };
	static const char *const deliveries[] = { "auto", "thread", "monitor", NULL };
	struct nh_mm_options o = { .size = sizeof(o) };
	struct nh_mm *mm;
	static char why[512];
	int err;

	if (*r->conf.trap)
		o.trap = (enum nh_trap)nht_choose(traps, r->conf.trap);
	if (*r->conf.delivery)
		o.delivery = (enum nh_delivery)nht_choose(deliveries, r->conf.delivery);
	o.nodes = *r->conf.nodes ? r->conf.nodes : NULL;
	err = nh_mm_create(&o, &mm);
	if (!err) {
		nh_mm_destroy(mm);
		return NULL;
	}
	(void)snprintf(why, sizeof(why), "trap %s with delivery %s: %s",
		       *r->conf.trap ? r->conf.trap : "auto",
		       *r->conf.delivery ? r->conf.delivery : "auto", nh_strerror(err));
	return why;
}

static int become(const struct nht_program *p, char **argv)
{
	execv(p->path, argv);
	if (errno == ENOEXEC) {
		/* A script without "#!": as execvp(3) and every shell does. */
		char **sh = NULL;
		size_t n = 0;

		while (argv[n])
			n++;
		sh = calloc(n + 2, sizeof(*sh));
		if (sh) {
			sh[0] = (char *)"/bin/sh";
			sh[1] = (char *)p->path;
			memcpy(sh + 2, argv + 1, n * sizeof(*sh));
			execv(sh[0], sh);
		}
		free(sh);
	}
	nht_error("%s: %s", p->path, strerror(errno));
	return errno == ENOENT ? NHT_NOT_FOUND : NHT_NOT_EXECUTABLE;
}

static int run_program(struct run *r, char **argv)
{
	struct nht_program p;
	const char *why;
	int code;

	nht_find_program(&p, *argv);
	if (p.error) {
		nht_error("%s: %s", *argv, p.reason);
		return p.error;
	}
	code = prepare_json(r);
	if (code)
		return code;
	why = p.unmanaged ? p.unmanaged : probe(r);
	if (!why && !find_preload(r))
		why = "cannot find " PRELOAD_NAME "; NUMAHINT_PRELOAD may name it";
	if (!why && strpbrk(r->preload, ": "))
		why = "the path of " PRELOAD_NAME
		      " has a colon or a space, which LD_PRELOAD cannot have";
	if (why && r->conf.strict) {
		nht_error("%s: %s; not run, for --strict", *argv, why);
		return NHT_FAILED;
	}
	if (why) {
		nht_error("%s: %s; running it unmanaged", *argv, why);
		write_unmanaged(r, *argv, why);
	} else {
		code = set_env(r, false, argv);
		if (code)
			return code;
	}
	return become(&p, argv);
}

static int print_env(struct run *r, char **argv)
{
	int code = prepare_json(r);

	if (code)
		return code;
	if (!find_preload(r)) {
		nht_error("cannot find " PRELOAD_NAME "; NUMAHINT_PRELOAD may name it");
		return NHT_FAILED;
	}
	return set_env(r, true, argv);
}

/* What an outer numahint run or the user says by the environment; options override it. */
static int environment(struct run *r)
{
	const char *nodes = getenv("NUMAHINT_NODES"), *why = "";
	int n;

	nhp_conf_default(&r->conf);
	(void)nhp_conf_parse(&r->conf, getenv("NUMAHINT_CONF"), complain, NULL);
	if (*r->conf.nodes)
		nodes = r->conf.nodes;
	if (!nodes || !*nodes)
		return 0;
	n = nht_parse_nodes(nodes, &why);
	if (n < 0) {
		nht_error("%s=%s: %s", *r->conf.nodes ? "NUMAHINT_CONF: nodes" : "NUMAHINT_NODES",
			  nodes, why);
		return NHT_USAGE;
	}
	(void)snprintf(r->conf.nodes, sizeof(r->conf.nodes), "%d", n);
	return 0;
}

int nht_run(int argc, char **argv)
{
	struct run r = { .json = NULL };
	int opt, code;

	code = environment(&r);
	if (code)
		return code;
	opterr = 0;
	while ((opt = getopt_long(argc, argv, "+:hvq", options, NULL)) != -1) {
		if (opt == 'h') {
			usage();
			return 0;
		}
		code = opt == '?' || opt == ':' ? nht_bad_option(argv, options) :
						  set_option(&r, opt);
		if (code)
			return code;
	}
	code = check_options(&r);
	if (code)
		return code;
	if (r.print_env)
		return print_env(&r, argv + optind);
	if (optind == argc) {
		nht_error(
			"which program? usage: numahint run [OPTION...] [--] PROGRAM [ARGUMENT...]");
		return NHT_USAGE;
	}
	return run_program(&r, argv + optind);
}
