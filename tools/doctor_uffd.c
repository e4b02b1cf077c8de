// SPDX-License-Identifier: MIT
/* numahint doctor: who are we, and which userfaultfd may we have. */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than Debian 12's headers; the numbers are the kernel's. */
#define FEATURE_MOVE (1ull << 16)
#define EVENTS	     (UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP)

#define DEVICE	     "/dev/userfaultfd"

/* ---------------------------------------------------------------------------------- the process */

static void look_at_process(struct nht_doctor *d)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	char line[256] = "";
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "Seccomp:", 8))
			d->seccomp = atoi(line + 8);
	}
	if (f)
		(void)fclose(f);
	/* The initial namespace maps every user to itself. */
	if (nht_read_line("/proc/self/uid_map", line, sizeof(line))) {
		unsigned long inside = 1, outside = 1, count = 0;

		d->user_ns = sscanf(line, "%lu %lu %lu", &inside, &outside, &count) != 3 ||
			     inside || outside || count != 4294967295ul;
	}
	memset(data, 0, sizeof(data));
	if (!syscall(SYS_capget, &head, data))
		d->cap_ptrace = data[0].effective >> CAP_SYS_PTRACE & 1;
}

/* --------------------------------------------------------------------------------------- opening */

struct uffd_try {
	int way;
	uint64_t features;
};

struct uffd_answer {
	int error;
	uint64_t features;
};

static int open_uffd(int way)
{
	int dev, fd;

	if (way != NHT_DEVICE)
		return (int)syscall(SYS_userfaultfd,
				    O_CLOEXEC | O_NONBLOCK |
					    (way == NHT_USER_MODE ? UFFD_USER_MODE_ONLY : 0));
	dev = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (dev < 0)
		return -1;
	fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	(void)close(dev);
	return fd;
}

static void try_uffd(const void *arg, void *result)
{
	const struct uffd_try *t = arg;
	struct uffd_answer *a = result;
	struct uffdio_api api = { .api = UFFD_API, .features = t->features };
	int fd = open_uffd(t->way);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		a->error = errno;
	a->features = api.features;
}

static int ask(int way, uint64_t features, uint64_t *ret_features)
{
	struct uffd_try t = { way, features };
	struct uffd_answer a = { 0 };
	int err = nht_in_child(try_uffd, &t, &a, sizeof(a));

	if (ret_features)
		*ret_features = a.features;
	return err ? err : a.error;
}

/* ------------------------------------------------------------------------------------ the answer */

static void full_change(struct nht_doctor *d, struct nht_check *c)
{
	if (d->way[NHT_FULL] == EPERM && d->way[NHT_USER_MODE] != EPERM)
		nht_change(c, "sysctl -w vm.unprivileged_userfaultfd=1, or CAP_SYS_PTRACE%s",
			   d->user_ns && d->cap_ptrace ?
				   " in the initial user namespace (here it counts for nothing)" :
				   "");
	else
		nht_change(c, "%s", nht_refusal(d, d->way[NHT_FULL]));
}

static void device_change(struct nht_doctor *d, struct nht_check *c)
{
	struct stat st;

	if (d->way[NHT_DEVICE] == ENOENT && access("/proc/sys/vm/unprivileged_userfaultfd", F_OK))
		nht_change(c, "a kernel with userfaultfd, and Linux 6.1 for the device");
	else if (d->way[NHT_DEVICE] == ENOENT)
		nht_change(c, "Linux 6.1; in a container, --device " DEVICE);
	else if (d->way[NHT_DEVICE] == EACCES && !stat(DEVICE, &st))
		nht_change(c,
			   "read and write permission on " DEVICE
			   " (mode %04o, owner %u, group %u): chgrp and chmod, or a udev rule",
			   st.st_mode & 07777u, st.st_uid, st.st_gid);
	else
		nht_change(c, "%s", nht_refusal(d, d->way[NHT_DEVICE]));
}

static void user_mode_change(struct nht_doctor *d, struct nht_check *c)
{
	if (d->way[NHT_USER_MODE] == EINVAL)
		nht_change(c, "Linux 5.11");
	else
		nht_change(c, "%s", nht_refusal(d, d->way[NHT_USER_MODE]));
}

static void check_ways(struct nht_doctor *d)
{
	static const char *const name[] = { "userfaultfd(2)", DEVICE, "UFFD_USER_MODE_ONLY" };
	static const char *const good[] = { "also for accesses by the kernel",
					    "also for accesses by the kernel",
					    "for accesses by the program itself" };
	static void (*const change[])(struct nht_doctor *,
				      struct nht_check *) = { full_change, device_change,
							      user_mode_change };

	d->best = -1;
	for (int way = 0; way < NHT_WAYS; way++) {
		uint64_t features;

		d->way[way] = ask(way, 0, &features);
		if (d->way[way] || d->best >= 0)
			continue;
		d->best = way;
		d->features = features;
	}
	for (int way = 0; way < NHT_WAYS; way++) {
		struct nht_check *c =
			nht_check(d, "userfaultfd", name[way], d->way[way] ? NHT_NO : NHT_YES, "%s",
				  d->way[way] ? nht_error_text(d->way[way]) : good[way]);

		if (d->way[way])
			change[way](d, c);
	}
}

static void check_feature(struct nht_doctor *d, const char *name, uint64_t feature,
			  const char *what, const char *needs)
{
	bool have = d->best >= 0 && (d->features & feature) == feature;
	struct nht_check *c =
		nht_check(d, "userfaultfd", name, have ? NHT_YES : NHT_NO, "%s", what);

	if (!have)
		nht_change(c, "%s", d->best < 0 ? "a userfaultfd of any kind, see above" : needs);
}

static void check_fork_events(struct nht_doctor *d)
{
	int err = d->best < 0 ? ENOSYS : ask(d->best, EVENTS | UFFD_FEATURE_EVENT_FORK, NULL);
	struct nht_check *c;

	d->fork_events = !err;
	c = nht_check(d, "userfaultfd", "fork events", err ? NHT_NO : NHT_YES,
		      "raw clone(2) while pages are marked is %s; fork(3) is safe without",
		      err ? "unsafe" : "safe");
	if (!err)
		return;
	if (d->best < 0)
		nht_change(c, "a userfaultfd of any kind, see above");
	else
		nht_change(c, "CAP_SYS_PTRACE%s",
			   d->user_ns ? " in the initial user namespace" : "");
}

void nht_doctor_uffd(struct nht_doctor *d)
{
	look_at_process(d);
	check_ways(d);
	check_feature(d, "events", EVENTS, "unmapped, moved and discarded memory is noticed",
		      "Linux 4.11");
	check_feature(d, "SIGBUS", UFFD_FEATURE_SIGBUS, "a thread can handle its own fault",
		      "Linux 4.14");
	check_feature(d, "MINOR_SHMEM", UFFD_FEATURE_MINOR_SHMEM,
		      "shared memory can be marked (trap minor)", "Linux 5.14");
	check_feature(d, "MOVE", FEATURE_MOVE, "pages go back without a copy (trap shadow)",
		      "Linux 6.8; without, pages are copied or mapped back");
	check_fork_events(d);
}
