// SPDX-License-Identifier: MIT
/* get_mempolicy, set_mempolicy and mprotect, for memory that the library manages and other memory. */
#include "api.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define BITS	 (8 * sizeof(unsigned long))
#define MAX_BITS (4096ul * 8) /* as mbind(2) has it */

/* Is [addr, addr + len) memory that may be read (written)? Marked memory is: a touch restores it. */
static bool accessible(struct nhi_mm *mm, uintptr_t addr, size_t len, unsigned int prot)
{
	const uintptr_t page = nhi_page_size(mm), end = addr + len;

	while (addr < end) {
		uintptr_t at = nhi_round_down(addr, page);
		struct nhi_mapping in;
		struct nhi_vma vma;
		bool managed = nhi_vma_next(mm, at, at + page, &vma);

		if (managed) {
			in = (struct nhi_mapping){ .end = vma.end, .prot = vma.prot };
			nhi_map_put(mm, vma.map);
		} else if (mm->os->ops->mappings(mm->os, at, at + page, &in, 1) != 1) {
			return false;
		}
		if (!(in.prot & prot))
			return false;
		addr = managed ? in.end : at + page;
	}
	return true;
}

/* As copy_from_user(): -EFAULT instead of a crash. */
static int copy_in(struct nhi_mm *mm, void *to, const void *from, size_t len)
{
	struct iovec local = { to, len }, remote = { (void *)(uintptr_t)from, len };

	/* The kernel tells without a walk through the mappings, but for memory that is marked. */
	if (syscall(SYS_process_vm_readv, getpid(), &local, 1, &remote, 1, 0) == (long)len)
		return 0;
	if (!accessible(mm, (uintptr_t)from, len, NHI_PROT_READ))
		return -EFAULT;
	memcpy(to, from, len);
	return 0;
}

int nhi_copy_nodes(struct nh_mm *mm, const unsigned long *nodemask, unsigned long maxnode,
		   uint64_t nodes[4])
{
	unsigned long mask[MAX_BITS / BITS];
	int err;

	memset(nodes, 0, 4 * sizeof(nodes[0]));
	if (!nodemask || maxnode == 1)
		return 0;
	if (maxnode == 0 || maxnode - 1 > MAX_BITS)
		return -EINVAL;
	maxnode--;
	err = copy_in(&mm->mm, mask, nodemask, (maxnode + BITS - 1) / BITS * sizeof(mask[0]));
	for (unsigned long bit = 0; bit < maxnode && !err; bit++) {
		if (!(mask[bit / BITS] >> (bit % BITS) & 1))
			continue;
		if (bit >= NHI_MAX_NODES)
			return -EINVAL;
		nodes[bit / 64] |= 1ull << (bit % 64);
	}
	return err;
}

int nh_set_mempolicy(struct nh_mm *mm, int mode, const unsigned long *nodemask,
		     unsigned long maxnode)
{
	uint64_t nodes[4];
	int err = nhi_mm_of(mm, &mm);

	if (!err)
		err = nhi_mode_check(mode);
	if (!err)
		err = nhi_copy_nodes(mm, nodemask, maxnode, nodes);
	if (!err)
		err = nhi_set_mempolicy(&mm->mm, mode, nodes);
	/* For what the thread populates from now on; where it fails pages come as before. */
	if (!err && !mm->mm.os->emulated)
		(void)syscall(SYS_set_mempolicy, mode, nodes, NHI_MAX_NODES + 1);
	return err;
}

int nh_get_mempolicy(struct nh_mm *mm, int *mode, unsigned long *nodemask, unsigned long maxnode,
		     const void *addr, unsigned int flags)
{
	uint64_t nodes[4];
	int err = nhi_mm_of(mm, &mm), what;

	if (err)
		return err;
	if (nodemask && maxnode < (unsigned long)mm->mm.os->nr_nodes)
		return -EINVAL;
	err = nhi_get_mempolicy(&mm->mm, (uintptr_t)addr, flags, &what, nodes);
	if (err)
		return err;
	if (mode)
		*mode = what;
	for (unsigned long bit = 0; nodemask && bit + 1 < maxnode; bit += BITS)
		nodemask[bit / BITS] = bit / 64 < 4 ? nodes[bit / 64] : 0;
	return 0;
}

static int change(void *arg, uintptr_t start, size_t len, unsigned int prot)
{
	(void)arg;
	/* NHI_PROT_* have the numbers of PROT_*. By number: the runner interposes mprotect(). */
	return syscall(SYS_mprotect, start, len, prot) ? -errno : 0;
}

int nh_mprotect(struct nh_mm *mm, void *addr, size_t len, int prot)
{
	uintptr_t start, end;
	int err = nhi_mm_of(mm, &mm);

	if (!err)
		err = prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC) ?
			      -EINVAL :
			      nhi_range_of(mm, addr, len, &start, &end);
	if (err || !len)
		return err;
	return nhi_mprotect(&mm->mm, start, end, (unsigned int)prot, change, NULL);
}
