// SPDX-License-Identifier: MIT
/*
 * What can be said of a program before it runs: is it there, may it be executed, and will the
 * dynamic linker preload anything into it.
 */
#include "tools.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OUR_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define OUR_MACHINE EM_AARCH64
#endif

/* Where execvp(3) would find it: the first that can be executed, else why not. */
static int search(const char *name, char *path, size_t len)
{
	const char *dirs = getenv("PATH");
	int err = ENOENT;

	if (strchr(name, '/')) {
		(void)snprintf(path, len, "%s", name);
		return access(path, F_OK) ? errno : access(path, X_OK) ? errno : 0;
	}
	dirs = dirs ? dirs : "/bin:/usr/bin";
	for (const char *dir = dirs; dir; dir = strchr(dir, ':') ? strchr(dir, ':') + 1 : NULL) {
		int n = (int)strcspn(dir, ":");
		char candidate[4096];
		struct stat st;

		(void)snprintf(candidate, sizeof(candidate), "%.*s%s%s", n, dir, n ? "/" : "./",
			       name);
		if (stat(candidate, &st) || !S_ISREG(st.st_mode))
			continue;
		(void)snprintf(path, len, "%s", candidate);
		if (!access(candidate, X_OK))
			return 0;
		err = EACCES;
	}
	return err;
}

/* A segment of type PT_INTERP: its text goes to @interp. */
static bool find_interp(int fd, const Elf64_Ehdr *e, char *interp, size_t len)
{
	for (unsigned int i = 0; i < e->e_phnum; i++) {
		Elf64_Phdr p;
		ssize_t n;

		if (pread(fd, &p, sizeof(p), (off_t)(e->e_phoff + (uint64_t)i * e->e_phentsize)) !=
		    (ssize_t)sizeof(p))
			return false;
		if (p.p_type != PT_INTERP)
			continue;
		n = pread(fd, interp, len - 1 < p.p_filesz ? len - 1 : p.p_filesz,
			  (off_t)p.p_offset);
		interp[n > 0 ? n : 0] = '\0';
		return true;
	}
	return false;
}

static const char *check_elf(int fd, const char *path)
{
	char interp[256] = "";
	const char *slash = strrchr(path, '/');
	Elf64_Ehdr e;

	if (pread(fd, &e, sizeof(e), 0) != (ssize_t)sizeof(e) ||
	    memcmp(e.e_ident, ELFMAG, SELFMAG) != 0)
		return "it is no ELF program";
	if (e.e_ident[EI_CLASS] != ELFCLASS64 || e.e_machine != OUR_MACHINE)
		return "it is for another kind of processor than this numahint";
	if (!find_interp(fd, &e, interp, sizeof(interp))) {
		/* The dynamic linker itself has no interpreter, and preloads all the same. */
		if (!strncmp(slash ? slash + 1 : path, "ld-", 3))
			return NULL;
		return "it is statically linked, so nothing can be preloaded";
	}
	if (strstr(interp, "musl"))
		return "it uses another C library (musl) than this numahint";
	return NULL;
}

/* The dynamic linker ignores LD_PRELOAD where the program gains privileges by being executed. */
static const char *check_privileges(int fd, const struct stat *st)
{
	if (st->st_mode & S_ISUID && st->st_uid != getuid())
		return "it is setuid, and the dynamic linker preloads nothing into those";
	if (st->st_mode & S_ISGID && st->st_mode & S_IXGRP && st->st_gid != getgid())
		return "it is setgid, and the dynamic linker preloads nothing into those";
	if (getuid() && fgetxattr(fd, "security.capability", NULL, 0) > 0)
		return "it has file capabilities, and the dynamic linker preloads nothing into those";
	return NULL;
}

/* "#!/path/of/interpreter argument": what counts is the interpreter. */
static bool script_interpreter(int fd, char *path, size_t len)
{
	char line[256];
	ssize_t n = pread(fd, line, sizeof(line) - 1, 0);
	char *start = line + 2;

	line[n > 0 ? n : 0] = '\0';
	if (strncmp(line, "#!", 2) != 0)
		return false;
	start += strspn(start, " \t");
	start[strcspn(start, " \t\r\n")] = '\0';
	(void)snprintf(path, len, "%s", start);
	return true;
}

static const char *check_file(const char *path, int depth)
{
	char interpreter[256];
	const char *why = NULL;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return NULL; /* it can be executed but not read: let the dynamic linker decide */
	if (fstat(fd, &st))
		why = NULL;
	else if (script_interpreter(fd, interpreter, sizeof(interpreter)))
		why = depth < 4 ? check_file(interpreter, depth + 1) : NULL;
	else if (!(why = check_privileges(fd, &st)))
		why = check_elf(fd, path);
	(void)close(fd);
	return why;
}

void nht_find_program(struct nht_program *p, const char *name)
{
	struct stat st;
	int err;

	memset(p, 0, sizeof(*p));
	err = search(name, p->path, sizeof(p->path));
	if (!err && !stat(p->path, &st) && S_ISDIR(st.st_mode))
		err = EISDIR;
	if (err) {
		p->error = err == ENOENT || err == ENOTDIR ? NHT_NOT_FOUND : NHT_NOT_EXECUTABLE;
		p->reason = strchr(name, '/') || err != ENOENT ? strerror(err) :
								 "not found in PATH";
		return;
	}
	p->unmanaged = check_file(p->path, 0);
}
