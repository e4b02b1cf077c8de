/* SPDX-License-Identifier: MIT */
/*
 * numahint doctor: what its files share. A check is one line of the answer: does it work here, and if
 * not, what would have to change. Everything is tried, in a child process: a seccomp filter may kill
 * who asks, and a fault that nobody handles may hang.
 */
#ifndef NHT_DOCTOR_H
#define NHT_DOCTOR_H

#include "tools.h"

enum nht_state {
	NHT_YES,
	NHT_NO,	  /* @change says what to do about it */
	NHT_NOTE, /* neither good nor bad, or only by a choice that somebody made */
};

struct nht_check {
	const char *group; /* a constant */
	char name[40];
	enum nht_state state;
	char detail[240];
	char change[320]; /* the knob; "": none */
};

/* The three ways to a userfaultfd, in the order in which the library tries them. */
enum { NHT_FULL, NHT_DEVICE, NHT_USER_MODE, NHT_WAYS };

struct nht_doctor {
	struct nht_check check[48];
	int nr;

	/* the process */
	bool user_ns; /* capabilities count for less than they look */
	bool cap_ptrace;
	int seccomp; /* 0 none, 1 strict, 2 a filter */
	/* userfaultfd: 0, an errno value, or NHT_KILLED + the signal */
	int way[NHT_WAYS];
	int best; /* the first that works; -1 */
	uint64_t features;
	bool fork_events;
	/* what the library does if it is not told otherwise */
	bool works, kernel_accesses;
	char trap[16], delivery[16];
};
#define NHT_KILLED 4096

/* A new line of the answer. */
__attribute__((format(printf, 5, 6))) struct nht_check *
nht_check(struct nht_doctor *d, const char *group, const char *name, enum nht_state state,
	  const char *detail, ...);
__attribute__((format(printf, 2, 3))) void nht_change(struct nht_check *c, const char *text, ...);
/* "Operation not permitted", "killed by SIGSYS": for struct nht_doctor's error values. */
const char *nht_error_text(int error);
/* Whose fault is it that a system call is refused? A sentence for nht_change(). */
const char *nht_refusal(const struct nht_doctor *d, int error);

/*
 * Run @fn in a child, which leaves its answer in @result (@len bytes, zero at first).
 * Return: 0; an errno value (no child); NHT_KILLED + the signal that ended it.
 */
int nht_in_child(void (*fn)(const void *arg, void *result), const void *arg, void *result,
		 size_t len);
/* The number or text in a file below /proc or /sys; false: there is none. */
bool nht_read_line(const char *path, char *text, size_t len);

/* doctor_uffd.c, doctor_pairs.c, doctor_system.c: the checks, in this order */
void nht_doctor_uffd(struct nht_doctor *d);
void nht_doctor_pairs(struct nht_doctor *d);
void nht_doctor_moving(struct nht_doctor *d);
void nht_doctor_settings(struct nht_doctor *d);

#endif
