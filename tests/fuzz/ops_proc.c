// SPDX-License-Identifier: GPL-2.0-only
/* Operations: processes, and what one sees and does of another. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

#define CHILD_MS	2000

/* Nobody writes to private memory while it is copied, if that can be had. */
static bool keep_quiet(void)
{
	__atomic_fetch_add(&me.forking, 1, __ATOMIC_SEQ_CST);
	for (int ms = 0; ms < 20; ms++) {
		if (!__atomic_load_n(&me.storing, __ATOMIC_SEQ_CST))
			return true;
		usleep(1000);
	}
	return false;
}

static void collect_child(void)
{
	struct lane *l = &fz->lane[lane];
	int status;

	if (!l->child)
		return;
	for (int ms = 0; ms < CHILD_MS && !stopped(); ms++) {
		if (waitpid(l->child, &status, WNOHANG)) {
			l->child = 0;
			return;
		}
		usleep(1000);
	}
	kill(l->child, SIGKILL);
	waitpid(l->child, &status, 0);
	l->child = 0;
}

static void child(bool wild, unsigned long seed, unsigned int end)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	me.child = true;
	me.forking = 0;
	me.storing = 0;
	slots_of_child(wild);
	lane_child(seed);
	if (end == 0)
		execl("/bin/true", "true", NULL);
	if (end == 1)
		kill(getpid(), SIGKILL);
	_exit(0);
}

static long op_fork(struct rng *rng)
{
	bool wild = !rnd(rng, 4);
	unsigned long seed = rnd(rng, ~0UL);
	unsigned int end = rnd(rng, 4);
	pid_t pid;

	collect_child();
	if (!wild && !keep_quiet())
		wild = true;
	else if (wild)
		__atomic_fetch_add(&me.forking, 1, __ATOMIC_SEQ_CST);
	pid = fork();
	if (!pid)
		child(wild, seed, end);
	__atomic_fetch_sub(&me.forking, 1, __ATOMIC_SEQ_CST);
	if (pid < 0)
		return -errno;
	fz->lane[lane].child = pid;
	if (rnd(rng, 2))
		collect_child();
	return 0;
}

static long op_kill_child(struct rng *rng)
{
	(void)rng;
	if (!fz->lane[lane].child)
		return SKIPPED;
	kill(fz->lane[lane].child, SIGKILL);
	collect_child();
	return 0;
}

/* --- files of /proc --------------------------------------------------------------- */

static pid_t some_process(struct rng *rng)
{
	pid_t tid = fz->lane[rnd(rng, opt.processes * opt.threads)].tid;

	return rnd(rng, 2) || !tid ? getpid() : tid;
}

static long read_all(const char *path)
{
	char text[16384];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	while ((n = read(fd, text, sizeof(text))) > 0)
		;
	close(fd);
	return n;
}

static long op_proc_text(struct rng *rng)
{
	static const char *const files[] = {
		"maps", "smaps", "smaps_rollup", "numa_maps", "status", "statm", "oom_score",
	};
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", some_process(rng),
		 files[rnd(rng, ARRAY_SIZE(files))]);
	return read_all(path);
}

static long op_own(struct rng *rng)
{
	static const char *const files[] = {
		"/proc/hugepoison/own", "/proc/hugepoison/bad_pages", "/proc/meminfo",
		HP_SYSFS "hugepages-2048kB/mce_bad_pages",
		HP_SYSFS "hugepages-2048kB/poisoned_hugepages",
		HP_SYSFS "hugepages-1048576kB/poisoned_hugepages", HP_SYSFS "containment",
	};

	return read_all(files[rnd(rng, ARRAY_SIZE(files))]);
}

static long op_pagemap(struct rng *rng)
{
	struct slot *slot = &me.slot[rnd(rng, SLOTS)];
	char path[64];
	unsigned long entries[512];
	ssize_t ret;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", some_process(rng));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = pread(fd, entries, sizeof(entries),
		    (unsigned long)slot->window / HP_BASE * 8 + rnd(rng, 4) * sizeof(entries));
	close(fd);
	return ret < 0 ? -errno : 0;
}

/* As linux/fs.h has it since 6.7. */
struct scan {
	unsigned long size, flags, start, end, walk_end, vec, vec_len, max_pages;
	unsigned long inverted, mask, anyof, returned;
};

#define SCAN		_IOWR('f', 16, struct scan)
#define SCAN_WP		1
#define SCAN_PRESENT	(1 << 3)

/*
 * Scans for present pages, at times write-protecting pages that userfaultfd
 * watches.
 */
static long op_pagemap_scan(struct rng *rng)
{
	struct slot *slot = slot_take(rng, false, true);
	struct { unsigned long start, end, categories; } found[32];
	struct scan scan = { .size = sizeof(scan), .vec = (unsigned long)found, .vec_len = 32 };
	long ret;
	int fd;

	if (!slot)
		return SKIPPED;
	scan.flags = rnd(rng, 3) ? 0 : SCAN_WP;
	scan.start = (unsigned long)slot->addr;
	scan.end = scan.start + slot_len(slot);
	scan.mask = rnd(rng, 2) ? SCAN_PRESENT : 0;
	scan.returned = SCAN_PRESENT;
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ret = fd < 0 || ioctl(fd, SCAN, &scan) < 0 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	slot_drop(slot);
	return ret;
}

/* Signals of errors that this thread has not touched: caught, and nothing more. */
static long op_mce_kill(struct rng *rng)
{
	static const int policies[] = { PR_MCE_KILL_EARLY, PR_MCE_KILL_LATE, PR_MCE_KILL_DEFAULT };

	return prctl(PR_MCE_KILL, PR_MCE_KILL_SET, policies[rnd(rng, 3)], 0, 0) ? -errno : 0;
}

static long op_clear_refs(struct rng *rng)
{
	return hp_write("/proc/self/clear_refs", "%lu", 1 + rnd(rng, 4));
}

/* Reading another one's memory, or its own by the same way. */
static long op_proc_mem(struct rng *rng)
{
	struct slot *slot = &me.slot[rnd(rng, SLOTS)];
	char path[64], buffer[4 * HP_BASE];
	unsigned long at = (unsigned long)slot->window + rnd(rng, NR_MOST * 512) * HP_BASE;
	ssize_t ret;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", some_process(rng));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = pread(fd, buffer, 1 + rnd(rng, sizeof(buffer)), at);
	close(fd);
	return ret < 0 ? -errno : 0;
}

static long op_process_vm(struct rng *rng)
{
	struct slot *slot = &me.slot[rnd(rng, SLOTS)];
	char buffer[4 * HP_BASE];
	struct iovec local = { buffer, 1 + rnd(rng, sizeof(buffer)) };
	struct iovec remote = { slot->window + rnd(rng, NR_MOST * 512) * HP_BASE, local.iov_len };

	return process_vm_readv(some_process(rng), &local, 1, &remote, 1, 0) < 0 ? -errno : 0;
}

/* Stops a child that is traced. Returns the signal it got first, 0: none, or -errno. */
static int stop_child(pid_t pid)
{
	struct lane *l = &fz->lane[lane];
	int status;

	if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL))
		return -errno;
	for (int ms = 0; ms < CHILD_MS && !stopped(); ms++) {
		if (waitpid(pid, &status, WNOHANG | __WALL)) {
			if (WIFSTOPPED(status))
				return status >> 16 ? 0 : WSTOPSIG(status);
			l->child = 0;
			return -ESRCH;
		}
		usleep(1000);
	}
	/* it cannot be let go before it has stopped, and would stop later */
	kill(pid, SIGKILL);
	waitpid(pid, &status, __WALL);
	l->child = 0;
	return -EBUSY;
}

static long op_ptrace(struct rng *rng)
{
	struct slot *slot = &me.slot[rnd(rng, SLOTS)];
	char *at = slot->window + rnd(rng, NR_MOST * 512) * HP_BASE + 1024;
	pid_t pid = fz->lane[lane].child;
	long ret, value;
	int signal;

	if (!pid)
		return SKIPPED;
	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL))
		return -errno;
	signal = stop_child(pid);
	if (signal < 0)
		return signal;
	errno = 0;
	value = ptrace(PTRACE_PEEKDATA, pid, at, NULL);
	ret = errno ? -errno : 0;
	if (!ret && !value)
		ret = ptrace(PTRACE_POKEDATA, pid, at, NULL) ? -errno : 0;
	ptrace(PTRACE_DETACH, pid, NULL, (long)signal);
	return ret;
}

/* --- futexes ------------------------------------------------------------------------ */

/* In a word that is always zero. */
static long op_futex(struct rng *rng)
{
	struct slot *slot = &me.slot[rnd(rng, SLOTS)];
	void *at = slot->window + rnd(rng, NR_MOST * 512) * HP_BASE + 3072;
	struct timespec soon = { .tv_nsec = 1000000 };
	long ret;

	switch (rnd(rng, 4)) {
	case 0:
		ret = syscall(SYS_futex, at, FUTEX_WAIT, 0, &soon, NULL, 0);
		break;
	case 1:
		ret = syscall(SYS_futex, at, FUTEX_WAKE, 1, NULL, NULL, 0);
		break;
	case 2:
		ret = syscall(SYS_futex, at, FUTEX_WAKE_OP, 1, 1, at,
			      FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_EQ, 0));
		break;
	default:
		ret = syscall(SYS_futex, at, FUTEX_LOCK_PI, 0, &soon, NULL, 0);
		if (!ret)
			syscall(SYS_futex, at, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
	}
	return ret < 0 ? -errno : 0;
}

static long op_nap(struct rng *rng)
{
	if (rnd(rng, 2))
		sched_yield();
	else
		usleep(rnd(rng, 5000));
	return 0;
}

const struct op ops_proc[] = {
	{ "fork", 15, op_fork, true },
	{ "kill-child", 5, op_kill_child, true },
	{ "proc-text", 10, op_proc_text },
	{ "own", 10, op_own },
	{ "pagemap", 8, op_pagemap },
	{ "pagemap-scan", 6, op_pagemap_scan },
	{ "mce-kill", 2, op_mce_kill },
	{ "clear-refs", 3, op_clear_refs },
	{ "proc-mem", 12, op_proc_mem },
	{ "process-vm", 12, op_process_vm },
	{ "ptrace", 5, op_ptrace, true },
	{ "futex", 10, op_futex },
	{ "nap", 15, op_nap },
	{ }
};
