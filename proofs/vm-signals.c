// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preloaded into QEMU by proofs/vm-guest.
 *
 * It writes each SIGBUS that the kernel sends QEMU to the file $VM_SIGNALS, with its
 * address and lsb, and then calls QEMU's own handler. While there is a file
 * $VM_SIGNALS.late it drops action-optional ones: QEMU then learns of the error only
 * when its machine touches it.
 *
 * QEMU 7.2 reports memory errors as Intel's processors do, to machines with AMD's
 * processors too. An AMD model's Linux does not recover from that. Later versions of
 * QEMU report them as AMD's processors do, and so does this library with $VM_AMD:
 * CPUID says that the processor contains errors (SUCCOR), an error that a load ran
 * into is marked as poison, and every other error is deferred instead of uncorrected.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define LEAF_RAS	0x80000007U
#define SUCCOR		(1U << 1)		/* in EBX */

#define MC9_STATUS	(0x400 + 4 * 9 + 1)	/* the bank that QEMU uses */
#define VALID		(1UL << 63)
#define UNCORRECTED	(1UL << 61)
#define INTEL_S		(1UL << 56)
#define INTEL_AR	(1UL << 55)
#define DEFERRED	(1UL << 44)
#define POISON		(1UL << 43)
#define INTEL_CODE	0xffffUL

static void (*theirs)(int sig, siginfo_t *info, void *context);
static char late[4096];
static int record = -1;

/* QEMU reads an action-optional signal from a signalfd and hands on all but its lsb. */
static int lsb_read;

ssize_t read(int fd, void *buffer, size_t size)
{
	ssize_t (*real)(int fd, void *buffer, size_t size) = dlsym(RTLD_NEXT, "read");
	const struct signalfd_siginfo *info = buffer;
	ssize_t got = real(fd, buffer, size);

	if (got == sizeof(*info) && info->ssi_signo == SIGBUS && info->ssi_code == BUS_MCEERR_AO)
		lsb_read = info->ssi_addr_lsb;
	return got;
}

/* snprintf() is not promised to be safe here, but with these it does not allocate. */
static void note(int sig, siginfo_t *info, void *context)
{
	int lsb = info->si_code == BUS_MCEERR_AO ? lsb_read : info->si_addr_lsb;
	char line[80];
	int len;

	len = snprintf(line, sizeof(line), "%s %p %d\n",
		       info->si_code == BUS_MCEERR_AR ? "AR" :
		       info->si_code == BUS_MCEERR_AO ? "AO" : "other",
		       info->si_addr, lsb);
	if (write(record, line, len) != len)
		_exit(3);
	if (info->si_code != BUS_MCEERR_AO || access(late, F_OK))
		theirs(sig, info, context);
}

int sigaction(int sig, const struct sigaction *new, struct sigaction *old)
{
	int (*real)(int n, const struct sigaction *a, struct sigaction *b);
	const char *path = getenv("VM_SIGNALS");
	struct sigaction mine;

	real = dlsym(RTLD_NEXT, "sigaction");
	if (sig != SIGBUS || !path || !new || !(new->sa_flags & SA_SIGINFO))
		return real(sig, new, old);
	snprintf(late, sizeof(late), "%s.late", path);
	if (record < 0)
		record = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	theirs = new->sa_sigaction;
	mine = *new;
	mine.sa_sigaction = note;
	return real(sig, &mine, old);
}

/* QEMU leaves out leaves of nothing but zeros, so this one may have to be added. */
static struct kvm_cpuid2 *with_succor(const struct kvm_cpuid2 *given)
{
	size_t size = sizeof(*given) + given->nent * sizeof(given->entries[0]);
	struct kvm_cpuid2 *leaves = calloc(1, size + sizeof(given->entries[0]));
	unsigned int i;

	memcpy(leaves, given, size);
	for (i = 0; i < leaves->nent; i++)
		if (leaves->entries[i].function == LEAF_RAS)
			break;
	leaves->entries[i].function = LEAF_RAS;
	leaves->entries[i].ebx |= SUCCOR;
	if (i == leaves->nent)
		leaves->nent++;
	return leaves;
}

static void as_amd_does(struct kvm_msrs *msrs)
{
	for (unsigned int i = 0; i < msrs->nmsrs; i++) {
		__u64 *status = &msrs->entries[i].data;

		if (msrs->entries[i].index != MC9_STATUS || !(*status & VALID) || *status & POISON)
			continue;
		if (!(*status & INTEL_AR))
			*status = (*status & ~UNCORRECTED) | DEFERRED;
		*status = (*status & ~(INTEL_S | INTEL_AR | INTEL_CODE)) | POISON;
	}
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*real)(int fd, unsigned long request, ...) = dlsym(RTLD_NEXT, "ioctl");
	va_list list;
	void *arg;

	va_start(list, request);
	arg = va_arg(list, void *);
	va_end(list);
	if (request == KVM_SET_CPUID2 && getenv("VM_AMD"))
		arg = with_succor(arg);
	else if (request == KVM_SET_MSRS && getenv("VM_AMD"))
		as_amd_does(arg);
	return real(fd, request, arg);
}
