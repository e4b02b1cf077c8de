// SPDX-License-Identifier: MIT
/*
 * /proc/self/maps, read without allocating, and what kind of memory each line is.
 *
 * Left out of what may be managed, because the kernel writes there on its own account and cannot
 * always wait: stacks, and with them the thread control blocks (robust lists, rseq areas). A thread's
 * stack is an ordinary anonymous mapping; it is told by the thread's robust list, whose head lies in
 * the control block at the top of the stack.
 */
#include "internal.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#define BUF_BYTES   65536
#define MAX_THREADS 1024
/* Around the main thread's control block, which may lie in the heap: its static TLS. */
#define TLS_BELOW   0x40000
#define TLS_ABOVE   0x10000
/*
 * What lies above the robust list on a stack of the C library: on x86-64 the rest of the control
 * block, in the same page, for the stack ends there; elsewhere static TLS follows.
 */
#ifdef __x86_64__
#define STACK_ABOVE 1
#else
#define STACK_ABOVE TLS_ABOVE
#endif
/* Around a stack pointer that is on no known stack: a coroutine's. */
#define FIBER_BELOW 0x40000
#define FIBER_ABOVE 0x100000

struct line {
	uintptr_t start, end;
	char perms[5];
	unsigned long dev, inode;
	const char *name;
};

struct reader {
	int fd;
	char *buf; /* BUF_BYTES */
	size_t have, at;
};

struct tcbs {
	uintptr_t main;
	uint32_t nr;
	uintptr_t at[MAX_THREADS];
};

/* -------------------------------------------------------------------------------- reading */

static const char *hex(const char *s, unsigned long *ret)
{
	unsigned long n = 0;

	for (;; s++) {
		if (*s >= '0' && *s <= '9')
			n = n << 4 | (unsigned long)(*s - '0');
		else if (*s >= 'a' && *s <= 'f')
			n = n << 4 | (unsigned long)(*s - 'a' + 10);
		else
			break;
	}
	*ret = n;
	return s;
}

/* "start-end perms offset major:minor inode   name" */
static bool parse(const char *s, struct line *l)
{
	unsigned long start, end, ignored, maj, min;

	s = hex(s, &start);
	if (*s != '-')
		return false;
	s = hex(s + 1, &end);
	if (*s != ' ')
		return false;
	l->start = start;
	l->end = end;
	for (int i = 0; i < 4; i++) {
		if (!s[1])
			return false;
		l->perms[i] = *++s;
	}
	l->perms[4] = 0;
	s = hex(s + 2, &ignored);
	if (*s != ' ')
		return false;
	s = hex(s + 1, &maj);
	if (*s != ':')
		return false;
	s = hex(s + 1, &min);
	l->dev = maj << 20 | min;
	l->inode = strtoul(s, (char **)&s, 10);
	while (*s == ' ')
		s++;
	l->name = s;
	return true;
}

/* The next line, without its newline; NULL at the end. */
static char *next_line(struct reader *r)
{
	for (;;) {
		char *nl = memchr(r->buf + r->at, '\n', r->have - r->at);
		char *line = r->buf + r->at;
		long n;

		if (nl) {
			*nl = 0;
			r->at = (size_t)(nl - r->buf) + 1;
			return line;
		}
		memmove(r->buf, r->buf + r->at, r->have - r->at);
		r->have -= r->at;
		r->at = 0;
		if (r->have == BUF_BYTES)
			return NULL;
		n = nhi_sys3(SYS_read, r->fd, r->buf + r->have, BUF_BYTES - r->have);
		if (n <= 0)
			return NULL;
		r->have += (size_t)n;
	}
}

/* --------------------------------------------------------------------------------- threads */

static void add_tcb(struct tcbs *t, int tid, int pid)
{
	void *head = NULL;
	size_t len;

	if (nhi_sys3(SYS_get_robust_list, tid, &head, &len) || !head)
		return;
	if (tid == pid)
		t->main = (uintptr_t)head;
	else if (t->nr < MAX_THREADS)
		t->at[t->nr++] = (uintptr_t)head;
}

static void find_tcbs(struct tcbs *t, char *buf)
{
	int dir = nhi_open("/proc/self/task", O_RDONLY | O_DIRECTORY);
	int pid = (int)nhi_sys0(SYS_getpid);
	long n;

	t->main = 0;
	t->nr = 0;
	while (dir >= 0 && (n = nhi_sys3(SYS_getdents64, dir, buf, BUF_BYTES)) > 0) {
		for (long at = 0; at < n;) {
			uint16_t reclen;

			/* struct linux_dirent64: ino, off, reclen at 16, type, name at 19 */
			memcpy(&reclen, buf + at + 16, sizeof(reclen));
			if (buf[at + 19] != '.')
				add_tcb(t, atoi(buf + at + 19), pid);
			at += reclen;
		}
	}
	nhi_close(dir);
}

/* ----------------------------------------------------------------------------------- kinds */

static bool starts(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

/* The device number of the kernel's own tmpfs: memfd, shared anonymous and System V memory. */
static unsigned long shmem_dev(void)
{
	static unsigned long cached; /* the same whoever computes it */
	unsigned long dev = nhi_load_relaxed(&cached);
	struct stat st;
	int fd;

	if (dev)
		return dev;
	fd = (int)nhi_sys2(SYS_memfd_create, "numahint", MFD_CLOEXEC);
	if (fd < 0)
		return 0;
	if (!fstat(fd, &st))
		dev = (unsigned long)major(st.st_dev) << 20 | minor(st.st_dev);
	nhi_close(fd);
	nhi_store_relaxed(&cached, dev);
	return dev;
}

static bool on_tmpfs(const char *path, unsigned long inode)
{
	struct statfs fs;
	struct stat st;

	return !stat(path, &st) && st.st_ino == inode && !statfs(path, &fs) &&
	       (unsigned long)fs.f_type == TMPFS_MAGIC;
}

static enum nhi_kind kind_of(const struct line *l)
{
	bool shared = l->perms[3] == 's';

	if (!l->inode && !shared) {
		if (starts(l->name, "[anon:numahint"))
			return NHI_KIND_SPECIAL;
		if (!*l->name || starts(l->name, "[heap]") || starts(l->name, "[anon:"))
			return NHI_KIND_ANON;
		return starts(l->name, "[stack") ? NHI_KIND_STACK : NHI_KIND_SPECIAL;
	}
	if (starts(l->name, "/secretmem"))
		return NHI_KIND_SPECIAL;
	if (starts(l->name, "/anon_hugepage") || starts(l->name, "/dev/hugepages/"))
		return NHI_KIND_HUGETLB;
	if (shared && l->dev == shmem_dev())
		return NHI_KIND_SHMEM;
	if (starts(l->name, "/dev/") && !starts(l->name, "/dev/shm/"))
		return NHI_KIND_SPECIAL;
	if (*l->name != '/')
		return NHI_KIND_SPECIAL; /* anon_inode:... */
	if (starts(l->name, "/memfd:"))
		return shared ? NHI_KIND_HUGETLB : NHI_KIND_FILE; /* else it would be shmem_dev() */
	return shared && on_tmpfs(l->name, l->inode) ? NHI_KIND_SHMEM : NHI_KIND_FILE;
}

/* ---------------------------------------------------------------------------- locked memory */

static bool any_locked(char *buf)
{
	long n = nhi_read_file(AT_FDCWD, "/proc/self/status", buf, BUF_BYTES);
	const char *s = n > 0 ? strstr(buf, "\nVmLck:") : NULL;

	return s && strtoul(s + 7, NULL, 10) != 0;
}

static unsigned int flags_of(const char *s)
{
	unsigned int flags = 0;

	flags |= strstr(s, " dc") ? NHI_VMA_DONTFORK : 0;
	flags |= strstr(s, " lo") ? NHI_VMA_LOCKED : 0;
	flags |= strstr(s, " ht") ? NHI_VMA_HUGETLB : 0;
	return flags;
}

/* From smaps: it walks the page tables of everything before @addr, so it is slow. */
static unsigned int smaps_flags(struct reader *r, uintptr_t addr)
{
	bool inside = false;
	struct line l;
	char *s;

	while ((s = next_line(r))) {
		if (*s >= 'A' && *s <= 'Z') {
			if (inside && starts(s, "VmFlags:"))
				return flags_of(s + 8);
		} else if (parse(s, &l)) {
			if (l.start > addr)
				break;
			inside = l.end > addr;
		}
	}
	return 0;
}

unsigned int nhi_vma_flags(uintptr_t addr)
{
	struct reader r = { .fd = nhi_open("/proc/self/smaps", O_RDONLY) };
	unsigned int flags = 0;

	if (r.fd < 0)
		return 0;
	r.buf = nhi_pages_alloc(BUF_BYTES, "numahint");
	if (r.buf)
		flags = smaps_flags(&r, addr);
	nhi_pages_free(r.buf, BUF_BYTES);
	nhi_close(r.fd);
	return flags;
}

/* -------------------------------------------------------------------------------- mappings */

struct result {
	struct nhi_mapping *maps;
	size_t nr, max;
	uintptr_t start, end;
};

static void emit(struct result *res, uintptr_t from, uintptr_t to, const struct line *l,
		 enum nhi_kind kind)
{
	struct nhi_mapping *m = &res->maps[res->nr];

	from = nhi_max(from, res->start);
	to = nhi_min(to, res->end);
	if (from >= to || res->nr == res->max)
		return;
	m->start = from;
	m->end = to;
	m->prot = (l->perms[0] == 'r' ? NHI_PROT_READ : 0) |
		  (l->perms[1] == 'w' ? NHI_PROT_WRITE : 0) |
		  (l->perms[2] == 'x' ? NHI_PROT_EXEC : 0);
	m->kind = kind;
	m->shared = l->perms[3] == 's';
	res->nr++;
}

/*
 * The part of a mapping that must be left alone, if any. Neighbouring mappings of the same kind are
 * one line, so that memory above a stack is told from the stack by where its control block is; below
 * a stack there is a guard page. Ranges only grow here: two stacks in a line have become one range.
 */
static bool forbidden(const struct line *l, const struct tcbs *tcbs, uintptr_t page, uintptr_t *low,
		      uintptr_t *high)
{
	uintptr_t sp = (uintptr_t)__builtin_frame_address(0);

	*low = UINTPTR_MAX;
	*high = 0;
	for (uint32_t i = 0; i < tcbs->nr; i++) {
		if (tcbs->at[i] < l->start || tcbs->at[i] >= l->end)
			continue;
		*low = l->start;
		*high = nhi_max(*high, tcbs->at[i] + STACK_ABOVE);
	}
	if (sp >= l->start && sp < l->end && (sp < *low || sp >= *high)) {
		*low = nhi_min(*low, sp - nhi_min(sp - l->start, FIBER_BELOW));
		*high = nhi_max(*high, sp + FIBER_ABOVE);
	}
	if (tcbs->main >= l->start && tcbs->main < l->end) {
		*low = nhi_min(*low, tcbs->main - TLS_BELOW);
		*high = nhi_max(*high, tcbs->main + TLS_ABOVE);
	}
	*low = nhi_max(nhi_round_down(*low, page), l->start);
	*high = nhi_min(nhi_round_up(*high, page), l->end);
	return *low < *high;
}

static void emit_line(struct result *res, const struct line *l, const struct tcbs *tcbs,
		      bool locked, size_t page)
{
	enum nhi_kind kind = kind_of(l);
	uintptr_t low, high;

	if (locked && (kind == NHI_KIND_ANON || kind == NHI_KIND_SHMEM) &&
	    nhi_vma_flags(l->start) & NHI_VMA_LOCKED)
		kind = NHI_KIND_SPECIAL;
	if (kind != NHI_KIND_ANON || !forbidden(l, tcbs, page, &low, &high)) {
		emit(res, l->start, l->end, l, kind);
		return;
	}
	emit(res, l->start, low, l, kind);
	emit(res, low, high, l, NHI_KIND_STACK);
	emit(res, high, l->end, l, kind);
}

long nhi_maps_read(struct nhi_lx *lx, uintptr_t start, uintptr_t end, struct nhi_mapping *maps,
		   size_t max)
{
	struct result res = { .maps = maps, .max = max, .start = start, .end = end };
	const size_t bytes = BUF_BYTES + sizeof(struct tcbs);
	char *mem = nhi_pages_alloc(bytes, "numahint");
	struct reader r = { .fd = -1, .buf = mem };
	struct tcbs *tcbs;
	struct line l;
	bool locked;
	char *s;

	if (!mem)
		return -ENOMEM;
	tcbs = (void *)(mem + BUF_BYTES);
	find_tcbs(tcbs, mem);
	locked = any_locked(mem);
	r.fd = nhi_open("/proc/self/maps", O_RDONLY);
	if (r.fd < 0) {
		nhi_pages_free(mem, bytes);
		return r.fd;
	}
	while (res.nr < max && (s = next_line(&r))) {
		if (!parse(s, &l) || l.end <= start)
			continue;
		if (l.start >= end)
			break;
		emit_line(&res, &l, tcbs, locked, lx->os.page_size);
	}
	nhi_close(r.fd);
	nhi_pages_free(mem, bytes);
	return (long)res.nr;
}
