// SPDX-License-Identifier: MIT
/*
 * Can anything in this process hold a page of its memory for I/O? Only then may a page that is
 * marked be *copied* when it comes back: data that arrives in the old page would be lost.
 *
 * The one danger is a page that was held already when it was marked: whoever wants it later finds it
 * marked and faults first. So this is asked once before a series of marks. The answer is yes unless
 * everything that is open is of a kind that is known to copy: the page cache of the file systems
 * listed here, without O_DIRECT; pipes, sockets without zero-copy receive, event descriptors; a few
 * character devices. Unknown means no.
 */
#include "internal.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#define MAX_FDS 1024

struct dirent64_head {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

/* include/uapi/linux/magic.h and each file system's own super.c */
static const unsigned long safe_file_systems[] = {
	0xEF53,	    /* ext2, ext3, ext4 */
	0x58465342, /* xfs */
	0x9123683E, /* btrfs */
	0x01021994, /* tmpfs */
	0x858458F6, /* ramfs */
	0x794C7630, /* overlayfs */
	0x9FA0,	    /* proc */
	0x62656572, /* sysfs */
	0x73717368, /* squashfs */
	0xE0F5E1E2, /* erofs */
	0x27E0EB,   /* cgroup */
	0x63677270, /* cgroup2 */
	0x1CD1,	    /* devpts */
	0x6165676C, /* pstore */
	0x64626720, /* debugfs */
	0x74726163, /* tracefs */
	0x4D44,	    /* vfat */
	0x9660,	    /* iso9660 */
	0xF2F52010, /* f2fs */
	0x50494446, /* pidfs */
	0x6E736673, /* nsfs */
};

static bool safe_device(dev_t dev)
{
	unsigned int maj = major(dev), min = minor(dev);

	if (maj == 1) /* null zero full random urandom kmsg, not mem and port */
		return min == 3 || min == 5 || min == 7 || min == 8 || min == 9 || min == 11;
	if (maj == 4 || maj == 5) /* tty, console, ptmx */
		return true;
	return maj >= 136 && maj <= 143; /* pts */
}

static bool safe_anon(int fd)
{
	static const char *const safe[] = { "[eventfd]",      "[eventpoll]", "[timerfd]",
					    "[signalfd]",     "[pidfd]",     "[userfaultfd]",
					    "inotify",	      "[fanotify]",  "[landlock-ruleset]",
					    "seccomp notify", "[fscontext]" };
	char path[32] = "/proc/self/fd/", link[64], digits[12];
	size_t at = strlen(path);
	int n = 0;
	long len;

	do {
		digits[n++] = (char)('0' + fd % 10);
		fd /= 10;
	} while (fd);
	while (n)
		path[at++] = digits[--n];
	path[at] = 0;
	len = nhi_sys4(SYS_readlinkat, AT_FDCWD, path, link, sizeof(link) - 1);
	if (len < 11)
		return false;
	link[len] = 0;
	for (unsigned int i = 0; i < NHI_ARRAY_SIZE(safe); i++) {
		if (!strncmp(link, "anon_inode:", 11) && !strcmp(link + 11, safe[i]))
			return true;
	}
	return false;
}

/* Not AF_XDP (the card writes into the program's memory), not those nobody has looked at. */
static bool safe_socket(int fd)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	if (nhi_sys5(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &domain, &len))
		return false;
	return domain == AF_UNIX || domain == AF_INET || domain == AF_INET6 ||
	       domain == AF_NETLINK || domain == AF_PACKET;
}

static bool safe_fd(int fd)
{
	struct stat st;
	struct statfs fs;
	long flags = nhi_sys3(SYS_fcntl, fd, F_GETFL, 0);

	if (flags == -EBADF)
		return true; /* closed meanwhile */
	if (flags < 0 || flags & O_DIRECT || nhi_sys2(SYS_fstat, fd, &st) ||
	    nhi_sys2(SYS_fstatfs, fd, &fs))
		return false;
	switch (st.st_mode & S_IFMT) {
	case S_IFIFO:
		return true;
	case S_IFSOCK:
		return safe_socket(fd);
	case S_IFCHR:
		return safe_device(st.st_rdev);
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
		break;
	case S_IFBLK:
		return true; /* through the page cache, as it is without O_DIRECT */
	default:
		return safe_anon(fd);
	}
	if ((unsigned long)fs.f_type == ANON_INODE_FS_MAGIC)
		return safe_anon(fd);
	for (unsigned int i = 0; i < NHI_ARRAY_SIZE(safe_file_systems); i++) {
		if ((unsigned long)fs.f_type == safe_file_systems[i])
			return true;
	}
	return false;
}

static int to_int(const char *s)
{
	int n = 0;

	while (*s >= '0' && *s <= '9')
		n = n * 10 + (*s++ - '0');
	return *s ? -1 : n;
}

static bool all_fds_safe(int dir)
{
	char buf[2048] __attribute__((aligned(8)));
	int seen = 0;
	long n;

	while ((n = nhi_sys3(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
		for (long at = 0; at < n;) {
			struct dirent64_head *d = (void *)(buf + at);
			int fd = to_int(d->name);

			at += d->reclen;
			if (fd < 0 || fd == dir)
				continue;
			if (++seen > MAX_FDS || !safe_fd(fd))
				return false;
		}
	}
	return n == 0;
}

/* A device may go on writing after its descriptor was closed, while it is mapped. */
static bool no_device_mapped(void)
{
	static const char *const bad[] = { "/dev/infiniband", "/dev/vfio", "/dev/nvidia",
					   "/dev/dri",	      "/dev/kfd",  "anon_inode:[io_uring]",
					   "anon_inode:kvm" };
	char buf[8192];
	int fd = nhi_open("/proc/self/maps", O_RDONLY);
	bool safe = fd >= 0;
	size_t have = 0;
	long n;

	while (safe && (n = nhi_sys3(SYS_read, fd, buf + have, sizeof(buf) - 1 - have)) > 0) {
		have += (size_t)n;
		buf[have] = 0;
		for (unsigned int i = 0; i < NHI_ARRAY_SIZE(bad); i++)
			safe = safe && !strstr(buf, bad[i]);
		/* A name may be cut in two: the tail is looked at again. */
		if (have > 64) {
			memmove(buf, buf + have - 64, 64);
			have = 64;
		}
	}
	nhi_close(fd);
	return safe;
}

bool nhi_io_copy_safe(struct nhi_lx *lx)
{
	int dir = nhi_open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
	bool safe;

	(void)lx;
	if (dir < 0)
		return false;
	safe = all_fds_safe(dir);
	nhi_close(dir);
	return safe && no_device_mapped();
}
