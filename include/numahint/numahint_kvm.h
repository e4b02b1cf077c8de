/* SPDX-License-Identifier: MIT */
/**
 * numahint for virtual machine monitors: the memory of a KVM guest follows its virtual CPUs.
 *
 * KVM is a secondary MMU: it keeps page tables of its own, and faults into the process's memory with
 * get_user_pages, honouring NUMA hints. A range that is marked here is taken out of the process's page
 * table, which invalidates KVM's entries through its MMU notifier; the next access of a virtual CPU
 * faults in KVM, which asks the process's page table, and waits for the monitor: that is the hinting
 * fault, and the thread that runs the virtual CPU is its toucher. So nothing is needed of the VMM
 * but to say which memory is the guest's.
 *
 * KVM resolves some faults from a kernel worker (asynchronous page faults). Such a toucher is unknown;
 * the last one known for the page, or else for the slot, decides, and nh_stats::unknown_touchers
 * counts it.
 *
 * Needs the monitor, and a userfaultfd that may serve the kernel's own accesses: root,
 * CAP_SYS_PTRACE, vm.unprivileged_userfaultfd=1, or access to /dev/userfaultfd (`numahint doctor`).
 */
#ifndef NUMAHINT_KVM_H
#define NUMAHINT_KVM_H

#include <numahint/numahint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** struct nh_kvm - the memory of one virtual machine */
struct nh_kvm;

#define NH_KVM_SLOTS 64

/** struct nh_kvm_slot - as in struct kvm_userspace_memory_region, userspace side */
struct nh_kvm_slot {
	unsigned int slot;	/* the number given to KVM, < NH_KVM_SLOTS */
	unsigned long long gpa; /* guest-physical address, bytes */
	void *hva;		/* where it is in the process, a multiple of the page size */
	size_t len;		/* bytes, a multiple of the page size */
};

/**
 * nh_kvm_attach - begin with a virtual machine
 * @mm:  an mm with delivery monitor, or NULL for the default one
 * @ret: written on success only
 *
 * Return: 0; -EOPNOTSUPP (@mm does not deliver by monitor, or may not serve the kernel's accesses,
 *	so that KVM_RUN would fail with EFAULT); -EINVAL; -ENOMEM. May block.
 */
NH_API NH_CHECK int nh_kvm_attach(struct nh_mm *mm, struct nh_kvm **ret);

/**
 * nh_kvm_detach - restore and forget all slots; the virtual machine may be running
 * @kvm: from nh_kvm_attach(); NULL is ignored
 */
NH_API void nh_kvm_detach(struct nh_kvm *kvm);

/**
 * nh_kvm_add_slot - manage a memory slot, before or after it is given to KVM
 * @kvm:  the machine
 * @slot: private anonymous memory, or shared memory (memfd)
 *
 * Return: 0; -EEXIST (the number is in use, or the memory is managed already); -EINVAL; -ENOMEM
 *	(something in it is not mapped, or no memory); -EOPNOTSUPP (hugetlb, files: not by any trap).
 */
NH_API NH_CHECK int nh_kvm_add_slot(struct nh_kvm *kvm, const struct nh_kvm_slot *slot);

/**
 * nh_kvm_remove_slot - restore and forget one, before its memory goes
 *
 * Return: 0; -ENOENT; -EBUSY (some page could not be restored; it is marked still, and whole).
 */
NH_API int nh_kvm_remove_slot(struct nh_kvm *kvm, unsigned int slot);

/**
 * nh_kvm_mark - let the guest's pages follow the virtual CPUs that touch them next
 * @kvm: the machine, which may be running
 * @gpa: guest-physical start, a multiple of the page size
 * @len: bytes; 0 with @gpa 0: everything
 *
 * Pages that are pinned (nh_pin_user_pages(), VFIO) are left alone, without a shootdown.
 *
 * Return: pages marked; -EINVAL; -EFAULT (no slot holds all of the range).
 */
NH_API NH_CHECK long nh_kvm_mark(struct nh_kvm *kvm, unsigned long long gpa, size_t len);

/**
 * nh_kvm_stats - how many of a slot's pages are on each node
 * @nodes: @max counters; those of nodes below @max are written
 *
 * Disturbs no mark. Return: pages that are on no node below @max (never touched, or not to be seen);
 *	-ENOENT; -ENOMEM.
 */
NH_API NH_CHECK long nh_kvm_stats(struct nh_kvm *kvm, unsigned int slot, size_t *nodes, size_t max);

#ifdef __cplusplus
}
#endif

#endif
