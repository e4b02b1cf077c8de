// SPDX-License-Identifier: MIT
/* Inspectors: accounting by node, and a core file of what is managed. Neither disturbs a mark. */
#include "api.h"
#include "gup.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

_Static_assert(sizeof(struct nh_smaps) == sizeof(struct nhi_smaps), "accounted alike");

int nh_smaps(struct nh_mm *mm, const void *addr, size_t len, struct nh_smaps *ret, size_t size)
{
	struct nhi_smaps sums = { 0 }; /* the caller's may be marked: written with no lock held */
	uintptr_t start = 0, end = UINTPTR_MAX;
	int err = nhi_mm_of(mm, &mm);

	if (!err && (!ret || size < sizeof(uint64_t)))
		err = -EINVAL;
	if (!err && (addr || len))
		err = nhi_range_of(mm, addr, len, &start, &end);
	if (!err)
		err = nhi_smaps(&mm->mm, start, end, &sums);
	if (!err)
		memcpy(ret, &sums, nhi_min(size, sizeof(sums)));
	return err;
}

/* ------------------------------------------------------------------------------- core files */

#if defined(__x86_64__)
#define MACHINE EM_X86_64
#elif defined(__aarch64__)
#define MACHINE EM_AARCH64
#elif defined(__riscv)
#define MACHINE EM_RISCV
#elif defined(__powerpc64__)
#define MACHINE EM_PPC64
#elif defined(__s390x__)
#define MACHINE EM_S390
#else
#define MACHINE EM_NONE
#endif

struct dump {
	struct nhi_mm *mm;
	int fd, mem;   /* the core file; /proc/self/mem, for what the program itself may not read */
	bool can_seek; /* holes need not be written */
	bool hole_last; /* the file is shorter than it will be */
	char *buf;	/* one page */
};

static int put_bytes(struct dump *d, const void *from, size_t len)
{
	const char *p = from;

	while (len) {
		ssize_t n = write(d->fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
	}
	d->hole_last = false;
	return 0;
}

static int put_hole(struct dump *d, size_t len)
{
	if (d->can_seek) {
		d->hole_last = true;
		return lseek(d->fd, (off_t)len, SEEK_CUR) < 0 ? -errno : 0;
	}
	memset(d->buf, 0, len);
	return put_bytes(d, d->buf, len);
}

/* The page that @page refers to, whatever its protection, into d->buf. */
static int read_page(struct dump *d, uintptr_t addr, const struct nhi_page *page, size_t size)
{
	if (page->word & NHI_PAGE_IS_COPY) {
		memcpy(d->buf, (void *)page->usable, size);
		return 0;
	}
	return pread(d->mem, d->buf, size, (off_t)addr) == (ssize_t)size ? 0 : -ENOENT;
}

static int put_page(struct dump *d, uintptr_t addr)
{
	const size_t size = nhi_page_size(d->mm);
	int err = nhi_peek_marked(d->mm, addr, d->buf);

	if (err) {
		struct nhi_page page;

		err = nhi_get_dump_page(d->mm, addr, &page);
		if (!err) {
			err = read_page(d, addr, &page, size);
			nhi_pages_put(d->mm, &page, 1, false);
		}
	}
	/* What is not there, or went away meanwhile, is a hole. */
	return err ? put_hole(d, size) : put_bytes(d, d->buf, size);
}

static uint16_t count_vmas(struct nhi_mm *mm)
{
	struct nhi_vma vma;
	uint16_t n = 0;

	for (uintptr_t at = 0; n < PN_XNUM - 1 && nhi_vma_next(mm, at, UINTPTR_MAX, &vma); n++) {
		at = vma.end;
		nhi_map_put(mm, vma.map);
	}
	return n;
}

/* Headers for at most @nr VMAs; the ranges that they describe are what is written. */
static int put_headers(struct dump *d, ElfW(Phdr) * ph, uint16_t nr)
{
	ElfW(Ehdr) eh = { .e_type = ET_CORE,
			  .e_machine = MACHINE,
			  .e_version = EV_CURRENT,
			  .e_phoff = sizeof(eh),
			  .e_ehsize = sizeof(eh),
			  .e_phentsize = sizeof(*ph) };
	const size_t page = nhi_page_size(d->mm);
	size_t used = sizeof(eh) + nr * sizeof(*ph), offset = nhi_round_up(used, page);
	struct nhi_vma vma;
	uintptr_t at = 0;
	int err;

	for (; eh.e_phnum < nr && nhi_vma_next(d->mm, at, UINTPTR_MAX, &vma); eh.e_phnum++) {
		ph[eh.e_phnum] = (ElfW(Phdr)){ .p_type = PT_LOAD,
					       .p_flags = (vma.prot & NHI_PROT_READ ? PF_R : 0u) |
							  (vma.prot & NHI_PROT_WRITE ? PF_W : 0u) |
							  (vma.prot & NHI_PROT_EXEC ? PF_X : 0u),
					       .p_offset = offset,
					       .p_vaddr = vma.start,
					       .p_filesz = vma.end - vma.start,
					       .p_memsz = vma.end - vma.start,
					       .p_align = page };
		offset += vma.end - vma.start;
		at = vma.end;
		nhi_map_put(d->mm, vma.map);
	}
	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32;
	eh.e_ident[EI_DATA] = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;
	eh.e_ident[EI_VERSION] = EV_CURRENT;
	err = put_bytes(d, &eh, sizeof(eh));
	if (!err)
		err = put_bytes(d, ph, nr * sizeof(*ph));
	if (!err && used % page)
		err = put_hole(d, page - used % page);
	return err ? err : eh.e_phnum;
}

static int dump(struct dump *d)
{
	const size_t page = nhi_page_size(d->mm);
	const uint16_t max = count_vmas(d->mm);
	const size_t bytes = nhi_round_up((max + 1) * sizeof(ElfW(Phdr)), page);
	ElfW(Phdr) *ph = d->mm->os->ops->table_alloc(d->mm->os, bytes);
	int nr = ph ? put_headers(d, ph, max) : -ENOMEM, err = nr < 0 ? nr : 0;

	for (int i = 0; i < nr && !err; i++) {
		for (size_t off = 0; off < ph[i].p_filesz && !err; off += page)
			err = put_page(d, ph[i].p_vaddr + off);
	}
	if (!err && d->hole_last) {
		off_t at = lseek(d->fd, 0, SEEK_CUR);

		err = at < 0 || ftruncate(d->fd, at) ? -errno : 0;
	}
	if (ph)
		d->mm->os->ops->table_free(d->mm->os, ph, bytes);
	return err;
}

int nh_dump(struct nh_mm *mm, int fd)
{
	struct dump d = { .fd = fd };
	int err = nhi_mm_of(mm, &mm);

	if (err)
		return err;
	d.mm = &mm->mm;
	d.can_seek = lseek(fd, 0, SEEK_CUR) >= 0;
	d.mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	if (d.mem < 0)
		return -errno;
	d.buf = d.mm->os->ops->table_alloc(d.mm->os, nhi_page_size(d.mm));
	err = d.buf ? dump(&d) : -ENOMEM;
	if (d.buf)
		d.mm->os->ops->table_free(d.mm->os, d.buf, nhi_page_size(d.mm));
	close(d.mem);
	return err;
}
