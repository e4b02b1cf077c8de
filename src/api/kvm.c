// SPDX-License-Identifier: MIT
/* The public entry points of numahint_kvm.h: memory slots of a virtual machine, and marking by them. */
#include "numahint/numahint_kvm.h"

#include "api.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PAGES_AT_ONCE 256

struct nh_kvm {
	struct nh_mm *mm;
	pthread_mutex_t lock; /* guards the slots; taken before any lock of the engine */
	struct nh_kvm_slot slot[NH_KVM_SLOTS];
	bool used[NH_KVM_SLOTS];
};

/* KVM_RUN fails with EFAULT where nobody may serve the kernel's own accesses. */
static int check_mm(struct nh_mm *mm)
{
	char text[512];

	if (nh_describe(mm, text, sizeof(text)) < 0)
		return -EINVAL;
	return strstr(text, "delivery=monitor") && strstr(text, "kernel_faults=1") ? 0 :
										     -EOPNOTSUPP;
}

int nh_kvm_attach(struct nh_mm *mm, struct nh_kvm **ret)
{
	struct nh_kvm *kvm;
	int err = ret ? nhi_mm_of(mm, &mm) : -EINVAL;

	if (!err)
		err = check_mm(mm);
	if (err)
		return err;
	kvm = calloc(1, sizeof(*kvm));
	if (!kvm)
		return -ENOMEM;
	kvm->mm = mm;
	pthread_mutex_init(&kvm->lock, NULL);
	*ret = kvm;
	return 0;
}

/* All VMAs of the slot: an unknown toucher is a vCPU whose fault KVM handed to a worker. */
static void guess_touchers(struct nh_kvm *kvm, const struct nh_kvm_slot *slot)
{
	struct nhi_mm *mm = &kvm->mm->mm;
	uintptr_t addr = (uintptr_t)slot->hva, end = addr + slot->len;
	struct nhi_vma vma;

	while (addr < end && nhi_vma_next(mm, addr, end, &vma)) {
		nhi_store_relaxed(&vma.map->guess, true);
		addr = vma.end;
		nhi_map_put(mm, vma.map);
	}
}

int nh_kvm_add_slot(struct nh_kvm *kvm, const struct nh_kvm_slot *slot)
{
	int err = -EEXIST;

	if (!kvm || !slot || slot->slot >= NH_KVM_SLOTS || !slot->len ||
	    slot->gpa + slot->len < slot->gpa)
		return -EINVAL;
	pthread_mutex_lock(&kvm->lock);
	if (!kvm->used[slot->slot])
		err = nh_manage(kvm->mm, slot->hva, slot->len, 0);
	if (!err) {
		guess_touchers(kvm, slot);
		kvm->slot[slot->slot] = *slot;
		kvm->used[slot->slot] = true;
	}
	pthread_mutex_unlock(&kvm->lock);
	return err;
}

/* Caller holds the lock. */
static int remove_slot(struct nh_kvm *kvm, unsigned int slot)
{
	int err = nh_unmanage(kvm->mm, kvm->slot[slot].hva, kvm->slot[slot].len);

	if (!err)
		kvm->used[slot] = false;
	return err;
}

int nh_kvm_remove_slot(struct nh_kvm *kvm, unsigned int slot)
{
	int err = -ENOENT;

	if (!kvm)
		return -EINVAL;
	pthread_mutex_lock(&kvm->lock);
	if (slot < NH_KVM_SLOTS && kvm->used[slot])
		err = remove_slot(kvm, slot);
	pthread_mutex_unlock(&kvm->lock);
	return err;
}

void nh_kvm_detach(struct nh_kvm *kvm)
{
	if (!kvm)
		return;
	pthread_mutex_lock(&kvm->lock);
	for (unsigned int i = 0; i < NH_KVM_SLOTS; i++) {
		if (kvm->used[i])
			(void)remove_slot(kvm, i);
	}
	pthread_mutex_unlock(&kvm->lock);
	pthread_mutex_destroy(&kvm->lock);
	free(kvm);
}

long nh_kvm_mark(struct nh_kvm *kvm, unsigned long long gpa, size_t len)
{
	const bool all = !gpa && !len;
	long marked = all ? 0 : -EFAULT;

	if (!kvm || gpa + len < gpa)
		return -EINVAL;
	pthread_mutex_lock(&kvm->lock);
	for (unsigned int i = 0; i < NH_KVM_SLOTS; i++) {
		const struct nh_kvm_slot *s = &kvm->slot[i];
		char *at = s->hva;
		long n;

		if (!kvm->used[i])
			continue;
		if (!all && (gpa < s->gpa || gpa + len > s->gpa + s->len))
			continue;
		n = all ? nh_next_touch(kvm->mm, at, s->len) :
			  nh_next_touch(kvm->mm, at + (gpa - s->gpa), len);
		if (n < 0 || !all) {
			marked = n;
			break;
		}
		marked += n;
	}
	pthread_mutex_unlock(&kvm->lock);
	return marked;
}

static int count_nodes(struct nh_kvm *kvm, const struct nh_kvm_slot *slot, size_t *nodes,
		       size_t max, size_t *elsewhere)
{
	const size_t page = nhi_page_size(&kvm->mm->mm), pages = slot->len / page;
	int where[PAGES_AT_ONCE];

	for (size_t i = 0; i < pages; i += PAGES_AT_ONCE) {
		size_t n = pages - i < PAGES_AT_ONCE ? pages - i : PAGES_AT_ONCE;
		int err = nh_node_of(kvm->mm, (char *)slot->hva + i * page, n, where);

		if (err)
			return err;
		for (size_t j = 0; j < n; j++) {
			if (where[j] >= 0 && (size_t)where[j] < max)
				nodes[where[j]]++;
			else
				++*elsewhere;
		}
	}
	return 0;
}

long nh_kvm_stats(struct nh_kvm *kvm, unsigned int slot, size_t *nodes, size_t max)
{
	size_t elsewhere = 0;
	int err = -ENOENT;

	if (!kvm || !nodes)
		return -EINVAL;
	memset(nodes, 0, max * sizeof(*nodes));
	pthread_mutex_lock(&kvm->lock);
	if (slot < NH_KVM_SLOTS && kvm->used[slot])
		err = count_nodes(kvm, &kvm->slot[slot], nodes, max, &elsewhere);
	pthread_mutex_unlock(&kvm->lock);
	return err ? err : (long)elsewhere;
}
