// SPDX-License-Identifier: MIT
/*
 * A small virtual machine monitor whose guest's memory follows its virtual CPUs.
 *
 * The guest has no operating system: vCPU 0 fills its memory, then every vCPU sums a part of its own,
 * again and again. The threads of the vCPUs sit on different nodes (emulated ones on a machine with
 * one), all pages begin on the first one's, and after numahint has marked them they are where they
 * are summed; a device model that reads guest memory in between disturbs no mark. The sums are right.
 *
 * Usage: tiny-vmm [--vcpus N] [--mb N] [--rounds N]
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/kvm.h>
#include <numahint/numahint_gup.h>
#include <numahint/numahint_kvm.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_VCPUS 8
#define FILL_AT	  0x1000 /* guest-physical addresses of the two programs ... */
#define SUM_AT	  0x1100
#define DATA_AT	  0x100000 /* ... and of what they work on */
#define RESULT	  0x10	   /* the port that a result is written to */

/* 32-bit code; esi: where, ecx: how many words of 4 bytes. */
static const uint8_t fill_code[] = {
	0x89, 0x36,	    /* 1: mov  %esi, (%esi) */
	0x83, 0xc6,   0x04, /*    add  $4, %esi */
	0x49,		    /*    dec  %ecx */
	0x75, 0xf8,	    /*    jnz  1b */
	0xe7, RESULT,	    /*    out  %eax, $RESULT */
	0xf4,		    /*    hlt */
};
static const uint8_t sum_code[] = {
	0x31, 0xc0,	    /*    xor  %eax, %eax */
	0x03, 0x06,	    /* 1: add  (%esi), %eax */
	0x83, 0xc6,   0x04, /*    add  $4, %esi */
	0x49,		    /*    dec  %ecx */
	0x75, 0xf8,	    /*    jnz  1b */
	0xe7, RESULT,	    /*    out  %eax, $RESULT */
	0xf4,		    /*    hlt */
};

struct vcpu {
	int index, fd, node;
	struct kvm_run *run;
	pthread_t thread;
	bool bad;
};

static struct {
	int kvm, fd, nr_vcpus, nr_nodes;
	size_t run_bytes, bytes, page;
	char *memory;
	bool emulated;
	struct nh_mm *mm;
	struct nh_kvm *guest;
	struct vcpu vcpu[MAX_VCPUS];
	pthread_barrier_t barrier;
	atomic_bool stop;
} vm;

static void die(const char *what)
{
	fprintf(stderr, "tiny-vmm: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void check(int err, const char *what)
{
	if (err < 0) {
		fprintf(stderr, "tiny-vmm: %s: %s\n", what, nh_strerror(err));
		exit(1);
	}
}

/* ---------------------------------------------------------------------------------- machine */

static int nodes_with_cpus(void)
{
	int first = 0, last = 0;
	FILE *f = fopen("/sys/devices/system/node/has_cpu", "r");

	if (f && fscanf(f, "%d-%d", &first, &last) < 2)
		last = first;
	if (f)
		fclose(f);
	return last + 1;
}

static void make_machine(void)
{
	struct kvm_userspace_memory_region region = { .slot = 0 };

	vm.fd = ioctl(vm.kvm, KVM_CREATE_VM, 0);
	if (vm.fd < 0)
		die("KVM_CREATE_VM");
	(void)ioctl(vm.fd, KVM_SET_TSS_ADDR, 0xfffbd000ul); /* Intel wants it */
	vm.memory =
		mmap(NULL, vm.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm.memory == MAP_FAILED)
		die("guest memory");
	(void)madvise(vm.memory, vm.bytes, MADV_NOHUGEPAGE);
	region.memory_size = vm.bytes;
	region.userspace_addr = (uintptr_t)vm.memory;
	if (ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &region))
		die("KVM_SET_USER_MEMORY_REGION");
	vm.run_bytes = (size_t)ioctl(vm.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
}

/* Flat 32-bit protected mode, without paging. */
static void make_vcpu(struct vcpu *v)
{
	struct kvm_segment flat = { .limit = 0xffffffff, .present = 1, .db = 1, .s = 1, .g = 1 };
	struct kvm_sregs sregs;

	v->fd = ioctl(vm.fd, KVM_CREATE_VCPU, v->index);
	if (v->fd < 0)
		die("KVM_CREATE_VCPU");
	v->run = mmap(NULL, vm.run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED || ioctl(v->fd, KVM_GET_SREGS, &sregs))
		die("KVM_GET_SREGS");
	flat.type = 11;
	flat.selector = 8;
	sregs.cs = flat;
	flat.type = 3;
	flat.selector = 16;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat;
	sregs.cr0 |= 1;
	if (ioctl(v->fd, KVM_SET_SREGS, &sregs))
		die("KVM_SET_SREGS");
}

/* Run the program at @code over [from, from + bytes) of guest memory; what it wrote to the port. */
static uint32_t run_vcpu(struct vcpu *v, uint64_t code, uint64_t from, uint64_t bytes)
{
	struct kvm_regs regs = { .rip = code, .rsi = from, .rcx = bytes / 4, .rflags = 2 };
	uint32_t result = 0;

	if (ioctl(v->fd, KVM_SET_REGS, &regs))
		die("KVM_SET_REGS");
	for (;;) {
		if (ioctl(v->fd, KVM_RUN, 0) && errno != EINTR)
			die("KVM_RUN");
		if (v->run->exit_reason == KVM_EXIT_HLT)
			return result;
		if (v->run->exit_reason != KVM_EXIT_IO) {
			fprintf(stderr, "tiny-vmm: vCPU %d: exit %u\n", v->index,
				v->run->exit_reason);
			exit(1);
		}
		memcpy(&result, (char *)v->run + v->run->io.data_offset, sizeof(result));
	}
}

/* ------------------------------------------------------------------------------------- vCPUs */

static void go_to_node(int node)
{
	char name[80], list[256] = "", *p = list;
	cpu_set_t set;
	FILE *f;

	if (vm.emulated) {
		check(nh_thread_set_node(vm.mm, node), "nh_thread_set_node");
		return;
	}
	snprintf(name, sizeof(name), "/sys/devices/system/node/node%d/cpulist", node);
	f = fopen(name, "r");
	if (!f || !fgets(list, sizeof(list), f))
		die(name);
	fclose(f);
	CPU_ZERO(&set);
	while (*p >= '0' && *p <= '9') {
		long from = strtol(p, &p, 10), to = from;

		if (*p == '-')
			to = strtol(p + 1, &p, 10);
		for (; from <= to; from++)
			CPU_SET((size_t)from, &set);
		p += *p == ',';
	}
	(void)sched_setaffinity(0, sizeof(set), &set);
}

static uint64_t part(void)
{
	return (vm.bytes - DATA_AT) / (uint64_t)vm.nr_vcpus & ~(uint64_t)(vm.page - 1);
}

static bool sum_is_right(struct vcpu *v)
{
	uint64_t from = DATA_AT + (uint64_t)v->index * part();
	uint32_t expected = 0, sum;

	for (uint64_t at = from; at < from + part(); at += 4)
		expected += (uint32_t)at;
	sum = run_vcpu(v, SUM_AT, from, part());
	if (sum != expected)
		fprintf(stderr, "tiny-vmm: vCPU %d: the sum is %x, not %x\n", v->index, sum,
			expected);
	return sum == expected;
}

/* Fill; then sum once for the table; then sum until told to stop. */
static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;

	go_to_node(v->node);
	pthread_barrier_wait(&vm.barrier);
	if (v->index == 0)
		run_vcpu(v, FILL_AT, DATA_AT, part() * (uint64_t)vm.nr_vcpus);
	pthread_barrier_wait(&vm.barrier); /* filled */
	pthread_barrier_wait(&vm.barrier); /* marked */
	v->bad = !sum_is_right(v);
	pthread_barrier_wait(&vm.barrier); /* summed */
	pthread_barrier_wait(&vm.barrier); /* looked at */
	while (!v->bad && !atomic_load(&vm.stop))
		v->bad = !sum_is_right(v);
	return NULL;
}

/* ------------------------------------------------------------------------------------ report */

static void show(const char *when)
{
	size_t nodes[64];
	long elsewhere = nh_kvm_stats(vm.guest, 0, nodes, 64);

	check((int)elsewhere, "nh_kvm_stats");
	printf("%-34s", when);
	for (int n = 0; n < vm.nr_nodes; n++)
		printf("  node %d: %5zu", n, nodes[n]);
	printf("  none: %ld\n", elsewhere);
}

/* A device model reads a block by reference, without being a toucher. */
static bool device_reads(void)
{
	const size_t nr = 64;
	struct nh_page page[64];
	struct nh_stats before, after;
	bool right = true;
	long n;

	check(nh_stats(vm.mm, &before, sizeof(before)), "nh_stats");
	n = nh_get_user_pages(vm.mm, vm.memory + DATA_AT, nr, 0, page);
	check((int)n, "nh_get_user_pages");
	for (long i = 0; i < n; i++) {
		uint32_t first;

		memcpy(&first, nh_page_address(&page[i]), sizeof(first));
		right &= first == DATA_AT + (uint32_t)((size_t)i * vm.page);
	}
	nh_put_pages(vm.mm, page, (size_t)n);
	check(nh_stats(vm.mm, &after, sizeof(after)), "nh_stats");
	printf("a device read %ld marked pages: %s, %ld marks fewer\n", n,
	       right ? "right" : "WRONG", (long)(before.marked_now - after.marked_now));
	return right && n == (long)nr && before.marked_now == after.marked_now;
}

static bool mark_while_they_run(int rounds)
{
	uint64_t marked = 0;
	struct nh_stats st;
	bool bad = false;

	for (int i = 0; i < rounds; i++) {
		long n = nh_kvm_mark(vm.guest, 0, 0);

		check((int)(n < 0 ? n : 0), "nh_kvm_mark");
		marked += (uint64_t)n;
		usleep(20000);
	}
	atomic_store(&vm.stop, true);
	for (int i = 0; i < vm.nr_vcpus; i++) {
		pthread_join(vm.vcpu[i].thread, NULL);
		bad |= vm.vcpu[i].bad;
	}
	check(nh_stats(vm.mm, &st, sizeof(st)), "nh_stats");
	printf("marked %d times more while the vCPUs ran: %llu pages; sums %s\n", rounds,
	       (unsigned long long)marked, bad ? "WRONG" : "right");
	printf("hinting faults: %llu  migrated: %llu  restored: %llu  unknown touchers: %llu\n",
	       (unsigned long long)st.hinting_faults, (unsigned long long)st.migrated,
	       (unsigned long long)st.restored, (unsigned long long)st.unknown_touchers);
	return !bad;
}

static void begin(void)
{
	char nodes[16];
	struct nh_mm_options o = { .size = sizeof(o), .delivery = NH_DELIVERY_MONITOR };
	struct nh_kvm_slot slot = { .slot = 0, .hva = vm.memory, .len = vm.bytes };
	int err;

	vm.nr_nodes = nodes_with_cpus();
	vm.emulated = vm.nr_nodes < 2;
	if (vm.emulated) {
		vm.nr_nodes = vm.nr_vcpus;
		snprintf(nodes, sizeof(nodes), "%d", vm.nr_vcpus);
		o.nodes = nodes;
	}
	err = nh_mm_create(&o, &vm.mm);
	if (!err)
		err = nh_kvm_attach(vm.mm, &vm.guest);
	if (err) {
		fprintf(stderr, "tiny-vmm: %s (try `numahint doctor`)\n", nh_strerror(err));
		exit(77);
	}
	check(nh_kvm_add_slot(vm.guest, &slot), "nh_kvm_add_slot");
	printf("%d vCPUs, %zu MiB, %d %s nodes\n", vm.nr_vcpus, vm.bytes >> 20, vm.nr_nodes,
	       vm.emulated ? "emulated" : "real");
}

static bool work(int rounds)
{
	bool right;
	long marked;

	pthread_barrier_init(&vm.barrier, NULL, (unsigned int)vm.nr_vcpus + 1);
	for (int i = 0; i < vm.nr_vcpus; i++) {
		vm.vcpu[i].index = i;
		vm.vcpu[i].node = i % vm.nr_nodes;
		make_vcpu(&vm.vcpu[i]);
		if (pthread_create(&vm.vcpu[i].thread, NULL, vcpu_main, &vm.vcpu[i]))
			die("pthread_create");
	}
	pthread_barrier_wait(&vm.barrier);
	pthread_barrier_wait(&vm.barrier); /* filled */
	show("filled by vCPU 0:");
	marked = nh_kvm_mark(vm.guest, 0, 0);
	check((int)(marked < 0 ? marked : 0), "nh_kvm_mark");
	printf("marked: %ld pages\n", marked);
	right = device_reads();
	pthread_barrier_wait(&vm.barrier); /* marked */
	pthread_barrier_wait(&vm.barrier); /* summed */
	show("each vCPU summed its part:");
	pthread_barrier_wait(&vm.barrier); /* looked at */
	return mark_while_they_run(rounds) && right;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "vcpus", required_argument, NULL, 'v' },
						 { "mb", required_argument, NULL, 'm' },
						 { "rounds", required_argument, NULL, 'r' },
						 { 0 } };
	int opt, rounds = 20;
	long mb = 32;
	bool right;

	vm.nr_vcpus = 2;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'v')
			vm.nr_vcpus = atoi(optarg);
		else if (opt == 'm')
			mb = atol(optarg);
		else if (opt == 'r')
			rounds = atoi(optarg);
		else
			return 2;
	}
	if (vm.nr_vcpus < 1 || vm.nr_vcpus > MAX_VCPUS || mb < 2 || mb > 2048 || rounds < 0) {
		fprintf(stderr, "tiny-vmm: 1 to %d vCPUs, 2 to 2048 MiB\n", MAX_VCPUS);
		return 2;
	}
	vm.page = (size_t)sysconf(_SC_PAGESIZE);
	vm.bytes = (size_t)mb << 20;
	vm.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm.kvm < 0) {
		fprintf(stderr, "tiny-vmm: /dev/kvm: %s\n", strerror(errno));
		return 77;
	}
	make_machine();
	begin();
	memcpy(vm.memory + FILL_AT, fill_code, sizeof(fill_code));
	memcpy(vm.memory + SUM_AT, sum_code, sizeof(sum_code));
	right = work(rounds);
	nh_kvm_detach(vm.guest);
	nh_mm_destroy(vm.mm);
	return right ? 0 : 1;
}
