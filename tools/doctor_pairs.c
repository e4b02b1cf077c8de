// SPDX-License-Identifier: MIT
/*
 * numahint doctor: every pair of trap and delivery, tried: memory is filled, marked, touched, compared,
 * marked again and given to a system call. On two emulated nodes, so that pages have somewhere to go.
 */
#include "doctor.h"

#include "numahint/numahint.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES 32

struct pair {
	const char *name;
	enum nh_trap trap;
	enum nh_delivery delivery;
};

enum stage { STARTED, MADE, MANAGED, MARKED, COMPARED, FAULTED, CALLED };

struct pair_answer {
	enum stage stage; /* what was reached */
	int error;	  /* errno value of the stage that was not */
	int call_error;	  /* of the system call on marked memory */
	char text[512];	  /* nh_describe() */
	char reason[64];  /* why nothing was marked, or moved */
};

static bool compare(const unsigned char *mem, size_t page)
{
	for (size_t i = 0; i < PAGES * page; i++) {
		if (mem[i] != (unsigned char)(i / page + i))
			return false;
	}
	return true;
}

/* A write(2) of a marked page: will somebody resolve the kernel's own access? */
static int call_with_marked(struct nh_mm *mm, unsigned char *mem, size_t page)
{
	int fds[2];
	int err = 0;

	if (pipe(fds))
		return errno;
	if (nh_next_touch(mm, mem, PAGES * page) <= 0)
		err = EAGAIN;
	else if (write(fds[1], mem + 3 * page, 1) != 1)
		err = errno;
	(void)close(fds[0]);
	(void)close(fds[1]);
	return err;
}

/* The names of the reasons that were counted. */
static void read_reasons(struct nh_mm *mm, char *text, size_t len)
{
	struct nh_stats st;
	size_t used = 0;

	if (nh_stats(mm, &st, sizeof(st)))
		return;
	for (unsigned int i = 0; i < NH_REASONS && used < len; i++) {
		if (st.skipped[i] || st.failed[i])
			used += (size_t)snprintf(text + used, len - used, "%s%s", used ? ", " : "",
						 nh_reason_name(i));
	}
}

static void try_pair(const void *arg, void *result)
{
	const struct pair *p = arg;
	struct pair_answer *a = result;
	struct nh_mm_options o = {
		.size = sizeof(o), .trap = p->trap, .delivery = p->delivery, .nodes = "2"
	};
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int shared = p->trap == NH_TRAP_MINOR ? MAP_SHARED : MAP_PRIVATE;
	unsigned char *mem =
		mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, shared | MAP_ANONYMOUS, -1, 0);
	struct nh_stats st;
	struct nh_mm *mm;
	long ret;

	a->error = errno;
	if (mem == MAP_FAILED)
		return;
	for (size_t i = 0; i < PAGES * page; i++)
		mem[i] = (unsigned char)(i / page + i);
	a->error = -nh_mm_create(&o, &mm);
	if (a->error)
		return;
	a->stage = MADE;
	(void)nh_describe(mm, a->text, sizeof(a->text));
	a->error = -nh_manage(mm, mem, PAGES * page, 0);
	if (a->error)
		return;
	a->stage = MANAGED;
	ret = nh_next_touch(mm, mem, PAGES * page);
	a->error = ret < 0 ? (int)-ret : ret ? 0 : EOPNOTSUPP;
	read_reasons(mm, a->reason, sizeof(a->reason));
	if (a->error)
		return;
	a->stage = MARKED;
	(void)nh_thread_set_node(mm, 1);
	if (!compare(mem, page)) {
		a->error = EIO;
		return;
	}
	a->stage = COMPARED;
	/* Nothing faulted: the marks were none. */
	if (nh_stats(mm, &st, sizeof(st)) || !st.hinting_faults || !st.migrated) {
		a->error = ENODATA;
		read_reasons(mm, a->reason, sizeof(a->reason));
		return;
	}
	a->stage = FAULTED;
	(void)nh_thread_set_node(mm, 0);
	a->call_error = call_with_marked(mm, mem, page);
	a->stage = CALLED;
	nh_mm_destroy(mm);
}

/* ------------------------------------------------------------------------------------ the answer */

/* What went wrong behind a stage that was reached. */
static const char *stage_text(enum stage stage)
{
	static const char *const text[] = {
		[STARTED] = "it cannot be set up",
		[MADE] = "memory cannot be managed",
		[MANAGED] = "nothing could be marked",
		[MARKED] = "marked memory cannot be read",
		[COMPARED] = "no page migrated",
		[FAULTED] = "a system call on marked memory",
		[CALLED] = "cleaning up",
	};

	return text[stage];
}

static void pair_change(struct nht_doctor *d, struct nht_check *c, const struct pair *p, int error)
{
	if (p->trap != NH_TRAP_MPROTECT && d->best < 0) {
		nht_change(c, "%s", nht_refusal(d, d->way[NHT_USER_MODE]));
		return;
	}
	if (p->trap == NH_TRAP_MINOR && error == EOPNOTSUPP)
		nht_change(c, "Linux 5.14");
	else if (p->trap == NH_TRAP_SHADOW && error == EOPNOTSUPP)
		nht_change(c, "Linux 5.7");
	else if (error == ENOMEM)
		nht_change(c, "memory, address space (ulimit -v), or vm.overcommit_memory other "
			      "than 2");
	else if (d->seccomp == 2)
		nht_change(c, "%s", nht_refusal(d, EPERM));
	else
		nht_change(c, "%s", nht_refusal(d, error));
}

static const char *kernel_knob(const struct nht_doctor *d)
{
	return d->user_ns && d->cap_ptrace ?
		       "sysctl -w vm.unprivileged_userfaultfd=1 or access to /dev/userfaultfd; the "
		       "CAP_SYS_PTRACE of a user namespace does not count" :
		       "sysctl -w vm.unprivileged_userfaultfd=1, access to /dev/userfaultfd, or "
		       "CAP_SYS_PTRACE";
}

static void check_pair(struct nht_doctor *d, const struct pair *p)
{
	struct pair_answer a = { 0 };
	int err = nht_in_child(try_pair, p, &a, sizeof(a));
	struct nht_check *c;

	if (!err)
		err = a.error;
	if (err || a.stage != CALLED) {
		c = nht_check(d, "pairs", p->name, NHT_NO, "%s: %s", stage_text(a.stage),
			      *a.reason ? a.reason : nht_error_text(err));
		pair_change(d, c, p, err);
		return;
	}
	if (!a.call_error) {
		(void)nht_check(d, "pairs", p->name, NHT_YES, "system calls on marked memory work");
		return;
	}
	c = nht_check(d, "pairs", p->name, NHT_YES, "system calls on marked memory fail: %s",
		      nht_error_text(a.call_error));
	if (p->delivery == NH_DELIVERY_MONITOR)
		nht_change(c, "for system calls: %s", kernel_knob(d));
}

/* The value of "key=value " in what nh_describe() wrote. */
static void pick(const char *text, const char *key, char *to, size_t len)
{
	const char *s = strstr(text, key);

	if (s)
		(void)snprintf(to, len, "%.*s", (int)strcspn(s + strlen(key), " "),
			       s + strlen(key));
}

static void check_default(struct nht_doctor *d)
{
	static const struct pair p = { "default", NH_TRAP_AUTO, NH_DELIVERY_AUTO };
	struct pair_answer a = { 0 };
	int err = nht_in_child(try_pair, &p, &a, sizeof(a));
	struct nht_check *c;

	if (!err)
		err = a.error;
	d->works = !err && a.stage == CALLED;
	d->kernel_accesses = d->works && !a.call_error;
	pick(a.text, "trap=", d->trap, sizeof(d->trap));
	pick(a.text, "delivery=", d->delivery, sizeof(d->delivery));
	if (d->works) {
		(void)nht_check(d, "pairs", p.name, NHT_YES, "trap %s, delivery %s", d->trap,
				d->delivery);
		return;
	}
	c = nht_check(d, "pairs", p.name, NHT_NO, "nothing can be marked here: %s",
		      nht_error_text(err));
	nht_change(c, "what is said of the pairs above");
}

void nht_doctor_pairs(struct nht_doctor *d)
{
	static const struct pair pairs[] = {
		{ "mprotect, thread", NH_TRAP_MPROTECT, NH_DELIVERY_THREAD },
		{ "shadow, thread", NH_TRAP_SHADOW, NH_DELIVERY_THREAD },
		{ "shadow, monitor", NH_TRAP_SHADOW, NH_DELIVERY_MONITOR },
		{ "minor, thread", NH_TRAP_MINOR, NH_DELIVERY_THREAD },
		{ "minor, monitor", NH_TRAP_MINOR, NH_DELIVERY_MONITOR },
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		check_pair(d, &pairs[i]);
	check_default(d);
}
