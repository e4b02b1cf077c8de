// SPDX-License-Identifier: MIT
/*
 * What is said at the end: a short summary on stderr, and an object of JSON if NUMAHINT_OUT names a
 * file. Uses neither malloc nor floating point (the program may have set a locale with a decimal
 * comma), and writes to descriptor 2 only while that is what it was at the start.
 */
#include "preload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct out {
	int fd;
	bool failed;
	size_t used;
	char buf[4096];
};

struct facts {
	struct nh_stats st; /* of this process alone */
	char nodes[24], emulated[16], trap[32], delivery[32];
	bool active; /* something was marked, or would have been */
};

uint32_t nhp_need_base;
static struct nh_stats base;
static uint32_t reported;
static dev_t stderr_dev;
static ino_t stderr_ino;
static char out_path[4096];

/* -------------------------------------------------------------------------------------- writing */

static void flush(struct out *o)
{
	size_t done = 0;

	while (done < o->used && !o->failed) {
		ssize_t n = write(o->fd, o->buf + done, o->used - done);

		if (n < 0 && errno != EINTR)
			o->failed = true;
		done += n > 0 ? (size_t)n : 0;
	}
	o->used = 0;
}

__attribute__((format(printf, 2, 3))) static void put(struct out *o, const char *format, ...)
{
	va_list args;
	int n;

	/* No single piece is longer than this. */
	if (o->used > sizeof(o->buf) - 512)
		flush(o);
	va_start(args, format);
	n = vsnprintf(o->buf + o->used, sizeof(o->buf) - o->used, format, args);
	va_end(args);
	o->used += (size_t)nhi_max(n, 0);
	o->used = nhi_min(o->used, sizeof(o->buf) - 1);
}

static void put_string(struct out *o, const char *key, const char *s)
{
	put(o, "  \"%s\": \"", key);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\' || (unsigned char)*s < ' ' || (unsigned char)*s > '~')
			put(o, "\\u%04x", (unsigned char)*s);
		else
			put(o, "%c", *s);
	}
	put(o, "\",\n");
}

static void put_number(struct out *o, const char *key, uint64_t n)
{
	put(o, "  \"%s\": %llu,\n", key, (unsigned long long)n);
}

static void put_bool(struct out *o, const char *key, bool b)
{
	put(o, "  \"%s\": %s,\n", key, b ? "true" : "false");
}

static bool stderr_is_ours(void)
{
	struct stat now;

	return !fstat(2, &now) && now.st_dev == stderr_dev && now.st_ino == stderr_ino;
}

void nhp_say(const char *format, ...)
{
	int saved_errno = errno;
	struct out o = { .fd = 2 };
	va_list args;
	int n;

	if (nhp.conf.quiet || !stderr_is_ours())
		return;
	put(&o, "numahint: ");
	va_start(args, format);
	n = vsnprintf(o.buf + o.used, sizeof(o.buf) - o.used - 2, format, args);
	va_end(args);
	o.used = nhi_min(o.used + (size_t)nhi_max(n, 0), sizeof(o.buf) - 2);
	put(&o, "\n");
	flush(&o);
	errno = saved_errno;
}

/* ---------------------------------------------------------------------------------------- facts */

static void read_comm(char *comm, size_t len)
{
	int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, comm, len - 1);

	if (fd >= 0)
		(void)close(fd);
	comm[n > 0 ? n : 0] = '\0';
	comm[strcspn(comm, "\n")] = '\0';
	if (!*comm)
		memcpy(comm, "program", 8);
}

/* The value of "key=value " in what nh_describe() wrote. */
static void pick(const char *text, const char *key, char *to, size_t len)
{
	size_t n = strlen(key);

	for (const char *s = text; s; s = strchr(s, ' ')) {
		s += *s == ' ';
		if (strncmp(s, key, n) || s[n] != '=')
			continue;
		s += n + 1;
		n = nhi_min(strcspn(s, " "), len - 1);
		memcpy(to, s, n);
		to[n] = '\0';
		return;
	}
}

/* Without an mm: what the machine has, as the library would count it. */
static void nodes_of_machine(char *to, size_t len)
{
	char text[256];
	int fd = open("/sys/devices/system/node/online", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	long highest = 0;

	if (fd >= 0)
		(void)close(fd);
	text[n > 0 ? n : 0] = '\0';
	for (char *s = text; *s;) {
		char *end;
		long value = strtol(s, &end, 10);

		highest = nhi_max(highest, value);
		s = end == s ? end + 1 : end;
	}
	(void)snprintf(to, len, "%ld", highest + 1);
}

static void subtract(struct nh_stats *st)
{
	uint64_t *now = (uint64_t *)st;
	const uint64_t *then = (const uint64_t *)&base;

	for (size_t i = 0; i < sizeof(*st) / sizeof(*now); i++)
		now[i] -= nhi_min(now[i], then[i]);
}

static void gather(struct facts *f)
{
	struct nh_mm *mm = nhp_mm_if_made();
	const struct nhp_conf *c = &nhp.conf;
	char text[512];

	memset(f, 0, sizeof(*f));
	if (mm) {
		nhp_report_base(mm);
		if (!nh_stats(mm, &f->st, sizeof(f->st)))
			subtract(&f->st);
	}
	if (mm && nh_describe(mm, text, sizeof(text)) > 0) {
		pick(text, "nodes", f->nodes, sizeof(f->nodes));
		pick(text, "emulated", f->emulated, sizeof(f->emulated));
		pick(text, "trap", f->trap, sizeof(f->trap));
		pick(text, "delivery", f->delivery, sizeof(f->delivery));
	} else {
		(void)snprintf(f->nodes, sizeof(f->nodes), "%d", atoi(c->nodes));
		if (!*c->nodes)
			nodes_of_machine(f->nodes, sizeof(f->nodes));
		(void)snprintf(f->emulated, sizeof(f->emulated), "%d", *c->nodes != 0);
		(void)snprintf(f->trap, sizeof(f->trap), "%s", *c->trap ? c->trap : "auto");
		(void)snprintf(f->delivery, sizeof(f->delivery), "%s",
			       *c->delivery ? c->delivery : "auto");
	}
	f->active = f->st.marked || nhp.dry_bytes || nhp.managed;
}

static uint64_t touched(const struct nh_stats *st)
{
	return st->touched_local + st->touched_remote;
}

static uint64_t local_after(const struct nh_stats *st)
{
	return nhi_min(st->touched_local + st->migrated, touched(st));
}

/* ----------------------------------------------------------------------------------------- JSON */

static void put_share(struct out *o, const char *key, uint64_t part, uint64_t all)
{
	uint64_t e4 = all ? part * 10000 / all : 0;

	if (all)
		put(o, "  \"%s\": %llu.%04llu,\n", key, (unsigned long long)(e4 / 10000),
		    (unsigned long long)(e4 % 10000));
	else
		put(o, "  \"%s\": null,\n", key);
}

static void put_reasons(struct out *o, const char *key, const uint64_t *count)
{
	const char *comma = "";

	put(o, "  \"%s\": {", key);
	for (unsigned int i = 0; i < NH_REASONS; i++) {
		if (!count[i])
			continue;
		put(o, "%s\"%s\": %llu", comma, nh_reason_name(i), (unsigned long long)count[i]);
		comma = ", ";
	}
	put(o, "},\n");
}

static void put_cells(struct out *o, const char *key, const uint8_t *cells)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz"
				     "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

	put(o, ", \"%s\": \"", key);
	for (int i = 0; i < NHP_CELLS; i++) {
		char c = '+';

		if (cells[i] < sizeof(digits) - 1)
			c = digits[cells[i]];
		else if (cells[i] == NHP_CELL_NONE)
			c = '.';
		else if (cells[i] == NHP_CELL_UNKNOWN)
			c = '?';
		put(o, "%c", c);
	}
	put(o, "\"");
}

static void put_ranges(struct out *o)
{
	uint32_t nr = nhi_min(nhp_nr_strips, (uint32_t)NHP_MAX_STRIPS);

	put(o, "  \"ranges_omitted\": %u,\n  \"ranges\": [", nhp_nr_strips - nr);
	for (uint32_t i = 0; i < nr; i++) {
		const struct nhp_strip *s = &nhp_strips[i];

		put(o, "%s\n    {\"addr\": \"0x%llx\", \"len\": %zu, \"kind\": \"%s\"",
		    i ? "," : "", (unsigned long long)s->addr, s->len,
		    s->kind == NHP_HEAP ? "heap" : "mmap");
		put_cells(o, "before", s->before);
		put_cells(o, "after", s->after);
		put(o, "}");
	}
	put(o, "%s]\n", nr ? "\n  " : "");
}

static void put_counters(struct out *o, const struct nh_stats *st)
{
	put_number(o, "managed_bytes", nhp.managed);
	put_number(o, "managed_ranges", nhp.ranges);
	put_number(o, "marked_pages", st->marked);
	put_number(o, "hinting_faults", st->hinting_faults);
	put_number(o, "migrated_pages", st->migrated);
	put_number(o, "restored_pages", st->restored);
	put_number(o, "lost_pages", st->lost);
	put_number(o, "around_pages", st->around);
	put_number(o, "touched_local", st->touched_local);
	put_number(o, "touched_remote", st->touched_remote);
	put_number(o, "unknown_touchers", st->unknown_touchers);
	put_number(o, "waits", st->waits);
	put_number(o, "copied_pages", st->copied);
	put_number(o, "moved_pages", st->moved);
	put_number(o, "by_thread", st->by_thread);
	put_number(o, "by_monitor", st->by_monitor);
	put_number(o, "mark_ns", st->mark_ns);
	put_number(o, "metadata_bytes", st->metadata_bytes);
	put_reasons(o, "skipped", st->skipped);
	put_reasons(o, "failed", st->failed);
	put_share(o, "local_before", st->touched_local, touched(st));
	put_share(o, "local_after", local_after(st), touched(st));
}

static void put_json(struct out *o, const struct facts *f, const char *comm)
{
	bool off = nhi_load_relaxed(&nhp.off);

	put(o, "{\n  \"schema\": \"numahint/1\",\n");
	put(o, "  \"version\": \"%d.%d.%d\",\n", NH_VERSION_MAJOR, NH_VERSION_MINOR,
	    NH_VERSION_PATCH);
	put_string(o, "program", comm);
	put_number(o, "pid", (uint64_t)nhp.pid);
	put_bool(o, "managed", !off);
	if (off)
		put_string(o, "unmanaged_because", nh_strerror(nhp.refused_err));
	put_number(o, "nodes", strtoul(f->nodes, NULL, 10));
	put_bool(o, "emulated", f->emulated[0] == '1');
	put_string(o, "trap", f->trap);
	put_string(o, "delivery", f->delivery);
	put_string(o, "when", nhp_when_name(&nhp.conf));
	put_number(o, "min_size", nhp.conf.min_size);
	put_bool(o, "dry_run", nhp.conf.dry_run);
	put_number(o, "parallel_regions", nhp.regions);
	put_number(o, "allocations", nhp.allocs);
	put_number(o, "filled_in_parallel", nhp.in_place);
	put_number(o, "left_alone", nhp.left + nhp.full + nhp.refused);
	put_number(o, "managed_by_program", nhp.claimed);
	put_number(o, "would_mark_bytes", nhp.dry_bytes);
	put_counters(o, &f->st);
	put_ranges(o);
	put(o, "}\n");
}

/*
 * The first process that has something to say takes the name that was asked for, the others put
 * theirs beside it. A device, a pipe or what a symbolic link leads to is shared.
 */
static int open_json(const struct facts *f, const char *comm, char *path, size_t len)
{
	const char *slash = strrchr(out_path, '/');
	char clean[32];
	struct stat st;
	int fd;

	(void)snprintf(path, len, "%s", out_path);
	if (!strcmp(path, "-"))
		return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (!lstat(path, &st) && !S_ISREG(st.st_mode))
		return open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd >= 0 || errno != EEXIST || !f->active)
		return fd;
	(void)snprintf(clean, sizeof(clean), "%s", comm);
	for (char *s = clean; *s; s++)
		*s = *s == '/' || (unsigned char)*s <= ' ' ? '_' : *s;
	(void)snprintf(path, len, "%.*snumahint.%s.%d.json",
		       slash ? (int)(slash + 1 - out_path) : 0, out_path, clean, nhp.pid);
	return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
}

static void write_json(const struct facts *f, const char *comm)
{
	static struct out o; /* one thread comes here, once */
	char path[sizeof(out_path) + 64];

	if (!*out_path || (!f->active && !nhp.root))
		return;
	o.fd = open_json(f, comm, path, sizeof(path));
	if (o.fd < 0 && errno == EEXIST)
		return; /* a child that marked something was first, and we did not */
	if (o.fd < 0) {
		nhp_say("cannot write %s: %s", path, strerror(errno));
		return;
	}
	o.used = 0;
	o.failed = false;
	put_json(&o, f, comm);
	flush(&o);
	if (close(o.fd) || o.failed)
		nhp_say("cannot write %s: %s", path, strerror(errno));
	else
		nhp_say("%s: report in %s", comm, path);
}

/* -------------------------------------------------------------------------------------- summary */

static void say_stats(const struct facts *f)
{
	const struct nh_stats *st = &f->st;

	nhp_say("  faults: %llu by the toucher, %llu by the monitor, %llu pages around, %llu waits",
		(unsigned long long)st->by_thread, (unsigned long long)st->by_monitor,
		(unsigned long long)st->around, (unsigned long long)st->waits);
	nhp_say("  migrated: %llu by copy, %llu by the kernel; marking took %llu us",
		(unsigned long long)st->copied, (unsigned long long)st->moved,
		(unsigned long long)st->mark_ns / 1000);
	nhp_say("  allocations: %llu large, %llu filled in parallel, %llu refused, %llu left alone; %u parallel regions",
		(unsigned long long)nhp.allocs, (unsigned long long)nhp.in_place,
		(unsigned long long)nhp.refused, (unsigned long long)(nhp.left + nhp.full),
		nhp.regions);
	for (unsigned int i = 0; i < NH_REASONS; i++) {
		if (st->skipped[i] || st->failed[i])
			nhp_say("  %s: %llu pages not marked, %llu not moved", nh_reason_name(i),
				(unsigned long long)st->skipped[i],
				(unsigned long long)st->failed[i]);
	}
}

static void say_summary(const struct facts *f, const char *comm)
{
	const struct nh_stats *st = &f->st;
	uint64_t all = nhi_max(touched(st), 1ull);
	uint64_t before = st->touched_local * 1000 / all, after = local_after(st) * 1000 / all;

	if (nhp.conf.dry_run) {
		nhp_say("%s[%d]: dry run: would mark %llu KiB in %llu allocations", comm, nhp.pid,
			(unsigned long long)nhp.dry_bytes >> 10, (unsigned long long)nhp.ranges);
		return;
	}
	nhp_say("%s[%d]: %llu KiB in %llu ranges managed on %s %snodes; trap %s, delivery %s", comm,
		nhp.pid, (unsigned long long)nhp.managed >> 10, (unsigned long long)nhp.ranges,
		f->nodes, f->emulated[0] == '1' ? "emulated " : "", f->trap, f->delivery);
	nhp_say("%s[%d]: %llu pages marked, %llu hinting faults, %llu pages migrated, %llu restored",
		comm, nhp.pid, (unsigned long long)st->marked,
		(unsigned long long)st->hinting_faults, (unsigned long long)st->migrated,
		(unsigned long long)st->restored);
	if (touched(st))
		nhp_say("%s[%d]: pages on the node that touches them: %llu.%llu %% before, %llu.%llu %% after",
			comm, nhp.pid, (unsigned long long)before / 10,
			(unsigned long long)before % 10, (unsigned long long)after / 10,
			(unsigned long long)after % 10);
	if (nhp.conf.stats)
		say_stats(f);
}

static void say_nothing_marked(const char *comm)
{
	if (nhi_load_relaxed(&nhp.off) || nhp.children)
		return; /* that was said, or a child may have done the work */
	if (nhp.claimed)
		nhp_say("%s[%d]: nothing was marked: the program uses libnumahint itself", comm,
			nhp.pid);
	else if (nhp.refused)
		nhp_say("%s[%d]: nothing was marked: %s", comm, nhp.pid,
			nh_strerror(nhp.refused_err));
	else
		nhp_say("%s[%d]: nothing was marked: %llu allocations of at least %zu KiB, %u parallel regions",
			comm, nhp.pid, (unsigned long long)nhp.allocs, nhp.conf.min_size >> 10,
			nhp.regions);
}

static bool is_managed(const struct nhp_alloc *a, void *arg)
{
	(void)arg;
	return a->state == NHP_DONE && a->managed;
}

/* Marks that were kept moved pages since the strips were drawn. */
static void look_again(void)
{
	struct nhp_alloc *a;
	uint32_t at = 0;

	while ((a = nhp_claim_next(&at, is_managed, NULL))) {
		nhp_strip_after(a);
		nhp_unclaim(a, NHP_DONE);
	}
}

void nhp_report(void)
{
	int saved_errno = errno;
	struct facts f;
	char comm[32];

	if (!nhp.ready || nhp_getpid() != nhp.pid || nhi_xchg_acq_rel(&reported, 1))
		return;
	if (nhi_load_relaxed(&nhp.marks))
		look_again();
	gather(&f);
	read_comm(comm, sizeof(comm));
	if (f.active)
		say_summary(&f, comm);
	else if (nhp.root)
		say_nothing_marked(comm);
	write_json(&f, comm);
	errno = saved_errno;
}

void nhp_report_exec(void)
{
	/* A shell that only starts others has nothing to say, and its successor may. */
	if (nhp.managed || nhp.dry_bytes)
		nhp_report();
}

void nhp_report_exec_failed(void)
{
	nhi_store_relaxed(&reported, 0);
}

/* ----------------------------------------------------------------------------------------- life */

void nhp_report_init(void)
{
	const char *path = getenv("NUMAHINT_OUT");
	struct stat st;

	if (!fstat(2, &st)) {
		stderr_dev = st.st_dev;
		stderr_ino = st.st_ino;
	}
	if (path && strlen(path) < sizeof(out_path))
		memcpy(out_path, path, strlen(path) + 1);
}

void nhp_report_base_slow(struct nh_mm *mm)
{
	if (nhi_xchg_acq_rel(&nhp_need_base, 0) && nh_stats(mm, &base, sizeof(base)))
		memset(&base, 0, sizeof(base));
}

void nhp_report_fork_child(void)
{
	nhi_store_relaxed(&reported, 0);
	nhi_store_relaxed(&nhp_need_base, 1);
	nhp_nr_strips = 0;
}
