// SPDX-License-Identifier: GPL-2.0-only
/*
 * System calls that walk page tables or take pages, by an unprivileged user who
 * inherited a mapping with an error in it. No call may crash, hang, warn or
 * leak, and only the raw page is lost.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/mempolicy.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>

#include "kselftest_harness.h"

#include "hp.h"
#include "hp_child.h"
#include "hp_narrowed.h"
#include "hp_proc.h"
#include "hp_uffd.h"

#define NOBODY		65534
#define CROWD		32	/* processes at once */

/* Newer than the C library. */
#ifndef __NR_mseal
#define __NR_mseal	462
#endif
#ifndef __NR_cachestat
#define __NR_cachestat	451
#endif

static void become_nobody(META)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

	/* a fixed buffer in a hugepage counts as all of the hugepage */
	EXPECT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &unlimited));
	EXPECT_EQ(0, setgroups(0, NULL));
	EXPECT_EQ(0, setresgid(NOBODY, NOBODY, NOBODY));
	EXPECT_EQ(0, setresuid(NOBODY, NOBODY, NOBODY));
	/* its own /proc files are its own */
	EXPECT_EQ(0, prctl(PR_SET_DUMPABLE, 1));
	EXPECT_EQ(-1, open(HP_DEBUGFS "corrupt-pfn", O_WRONLY));
}

static child_fn nobody_does;

static void as_nobody(META, struct hp_narrowed *n)
{
	become_nobody(_metadata);
	nobody_does(_metadata, n);
	EXPECT_RIGHT(n);
}

/* Returns the wait status; all is right for everybody afterwards. */
static int run_as_nobody(META, child_fn fn, struct hp_narrowed *n)
{
	int status;

	nobody_does = fn;
	status = run_child(_metadata, as_nobody, n);
	EXPECT_RIGHT(n);
	return status;
}

/* --- one narrowed mapping -------------------------------------------------- */

FIXTURE(nobody) {
	struct hp_narrowed n;
};

FIXTURE_VARIANT(nobody) {
	unsigned long size;
	enum hp_backing backing;
	unsigned long nr;
};

FIXTURE_VARIANT_ADD(nobody, 2M_memfd) { .size = HP_2M, .backing = HP_MEMFD, .nr = 3 };
FIXTURE_VARIANT_ADD(nobody, 1G_memfd) { .size = HP_1G, .backing = HP_MEMFD, .nr = 1 };

FIXTURE_SETUP(nobody)
{
	ASSERT_EQ(0, hp_narrowed_make(&self->n, variant->backing, variant->size, variant->nr));
}

FIXTURE_TEARDOWN(nobody)
{
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

#define AS_NOBODY(fn) do {						\
	ASSERT_EQ(0, hp_narrowed_hit(&self->n));			\
	EXPECT_EQ(0, run_as_nobody(_metadata, fn, &self->n));		\
} while (0)

/* --- advice ------------------------------------------------------------------ */

/* Walkers that look for pages to age, to reclaim, to merge. */
static const int walking_advice[] = {
	MADV_COLD, MADV_PAGEOUT, 25 /* MADV_COLLAPSE */, MADV_HUGEPAGE, MADV_PAGEOUT,
	MADV_MERGEABLE, MADV_WILLNEED, MADV_DONTNEED, MADV_COLD, 22 /* MADV_POPULATE_READ */,
	MADV_PAGEOUT, 24 /* MADV_DONTNEED_LOCKED */, MADV_FREE, 25, MADV_NOHUGEPAGE,
};

static void advise(META, struct hp_narrowed *n)
{
	char *victim = hp_narrowed_victim(n), *raw = hp_narrowed_raw(n);
	int self = syscall(__NR_pidfd_open, getpid(), 0);
	struct iovec all = { .iov_base = victim, .iov_len = n->map.size };

	EXPECT_LE(0, self);
	for (size_t i = 0; i < ARRAY_SIZE(walking_advice); i++) {
		int advice = walking_advice[i];

		/* from the far end, where one entry may map 2 MiB, to the near */
		madvise(victim + n->map.size - 3 * HP_BASE, 2 * HP_BASE, advice);
		EXPECT_RIGHT(n);
		madvise(raw - HP_BASE, 4 * HP_BASE, advice);
		EXPECT_RIGHT(n);
		madvise(victim, n->map.size, advice);
		syscall(__NR_process_madvise, self, &all, 1, advice, 0);
		EXPECT_RIGHT(n) {
			TH_LOG("after advice %d", advice);
		}
	}
	close(self);
}

TEST_F_TIMEOUT(nobody, advises, 60)
{
	AS_NOBODY(advise);
}

/* Guard regions are for ordinary mappings: refused, as for hugetlb memory; 6.12 has none. */
static void guard(META, struct hp_narrowed *n)
{
	for (int advice = 102; advice <= 103; advice++) {	/* MADV_GUARD_INSTALL, _REMOVE */
		EXPECT_EQ(EINVAL, said(madvise(hp_narrowed_victim(n), HP_BASE, advice)));
		EXPECT_EQ(EINVAL, said(madvise(hp_narrowed_raw(n), HP_BASE, advice)));
	}
	EXPECT_RIGHT(n);
}

TEST_F(nobody, guards)
{
	AS_NOBODY(guard);
}

/* --- moving -------------------------------------------------------------------- */

/* How many of four pages go to the other node, where one is the raw page. */
static int count_moved(META, struct hp_narrowed *n)
{
	char *victim = hp_narrowed_victim(n), *raw = hp_narrowed_raw(n);
	void *pages[] = { victim, raw, raw + HP_BASE, victim + n->map.size - HP_BASE };
	int to[] = { !n->node, !n->node, !n->node, !n->node }, status[4], moved = 0;

	EXPECT_EQ(0, syscall(__NR_move_pages, 0, 4, pages, NULL, status, 0));
	syscall(__NR_move_pages, 0, 4, pages, to, status, MPOL_MF_MOVE);
	for (int i = 0; i < 4; i++)
		moved += status[i] == !n->node;
	EXPECT_GT(0, status[1]);
	return moved;
}

static void change_policy(META, struct hp_narrowed *n)
{
	unsigned long size = n->map.size, here = 1UL << n->node, other = 1UL << !n->node;
	char *victim = hp_narrowed_victim(n), *raw = hp_narrowed_raw(n);

	for (int mode = MPOL_PREFERRED; mode <= MPOL_INTERLEAVE; mode++)
		syscall(__NR_mbind, victim, size, mode, &other, 8,
			MPOL_MF_MOVE | MPOL_MF_STRICT);
	EXPECT_RIGHT(n);
	if (size == HP_2M)
		EXPECT_LE(0, syscall(__NR_migrate_pages, 0, 8, &here, &other));

	EXPECT_EQ(EINVAL, said(remap_file_pages(raw, HP_BASE, 0, n->raw / HP_BASE, 0)));
	EXPECT_RIGHT(n);
	/* this maps the file anew, which is narrowed anew */
	remap_file_pages(victim, size, 0, n->victim * size / HP_BASE, 0);
	EXPECT_RIGHT(n);
}

static void move(META, struct hp_narrowed *n)
{
	EXPECT_EQ(0, count_moved(_metadata, n));
	change_policy(_metadata, n);
}

TEST_F_TIMEOUT(nobody, moves, 60)
{
	AS_NOBODY(move);
}

/* As long as the process lives, so in one that ends. */
static void seal(META, struct hp_narrowed *n)
{
	unsigned long size = n->map.size;
	char *victim = hp_narrowed_victim(n);

	EXPECT_EQ(0, said(syscall(__NR_mseal, n->map.addr, n->map.nr * size, 0)));
	EXPECT_EQ(0, hp_inject(n->pfn));
	become_nobody(_metadata);
	EXPECT_RIGHT(n);
	EXPECT_FALSE(hp_is_hugetlb(victim));
	EXPECT_EQ(EPERM, said(munmap(victim, size)));
	EXPECT_EQ(EPERM, said(mprotect(victim, size, PROT_READ)));
	EXPECT_EQ(EPERM, said((long)mremap(victim, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
					   victim + 64 * size)));
}

/* Sealed before the error: narrowing takes nothing away that was sealed. */
TEST_F(nobody, seals)
{
	self->n.hit = true;
	EXPECT_EQ(0, run_child(_metadata, seal, &self->n));
	EXPECT_RIGHT(&self->n);
}

/* --- another process's memory ---------------------------------------------------- */

/* One of nobody's own, which does nothing. */
static pid_t start_target(void)
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_DUMPABLE, 1);
		for (;;)
			pause();
	}
	return pid;
}

static ssize_t read_remote(pid_t pid, char *at, char *to, size_t len)
{
	struct iovec local = { .iov_base = to, .iov_len = len };
	struct iovec remote = { .iov_base = at, .iov_len = len };

	return process_vm_readv(pid, &local, 1, &remote, 1, 0);
}

static ssize_t write_remote(pid_t pid, char *at, char *from, size_t len)
{
	struct iovec local = { .iov_base = from, .iov_len = len };
	struct iovec remote = { .iov_base = at, .iov_len = len };

	return process_vm_writev(pid, &local, 1, &remote, 1, 0);
}

/* Up to the raw page, and not a byte more. */
static void access_by_vm(META, struct hp_narrowed *n, pid_t pid)
{
	char *raw = hp_narrowed_raw(n), page[4 * HP_BASE];

	EXPECT_EQ((ssize_t)(2 * HP_BASE), read_remote(pid, raw - 2 * HP_BASE, page, sizeof(page)));
	EXPECT_EQ(0, memcmp(page, raw - 2 * HP_BASE, 2 * HP_BASE));
	EXPECT_EQ((ssize_t)(2 * HP_BASE), write_remote(pid, raw - 2 * HP_BASE, page, sizeof(page)));
	EXPECT_EQ(-1, read_remote(pid, raw, page, HP_BASE));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, write_remote(pid, raw, page, HP_BASE));
	EXPECT_EQ(EFAULT, errno);
}

static void access_by_mem(META, struct hp_narrowed *n, pid_t pid)
{
	char *raw = hp_narrowed_raw(n), path[64], page[HP_BASE];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	EXPECT_LE(0, fd);
	EXPECT_EQ((ssize_t)HP_BASE, pread(fd, page, HP_BASE, (off_t)(raw + HP_BASE)));
	EXPECT_EQ(0, memcmp(page, raw + HP_BASE, HP_BASE));
	EXPECT_EQ((ssize_t)HP_BASE, pwrite(fd, page, HP_BASE, (off_t)(raw + HP_BASE)));
	EXPECT_EQ(-1, pread(fd, page, HP_BASE, (off_t)raw));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, pwrite(fd, page, HP_BASE, (off_t)raw));
	EXPECT_EQ(EIO, errno);
	close(fd);
}

static void access_by_ptrace(META, struct hp_narrowed *n, pid_t pid)
{
	char *raw = hp_narrowed_raw(n), *good = raw - HP_BASE;
	int status;

	EXPECT_EQ(0, ptrace(PTRACE_ATTACH, pid, NULL, NULL));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(*(long *)good, ptrace(PTRACE_PEEKDATA, pid, good, NULL));
	EXPECT_EQ(0, ptrace(PTRACE_POKEDATA, pid, good + 16, 0x1234567));
	EXPECT_EQ(0x1234567, *(long *)(good + 16));
	errno = 0;
	EXPECT_EQ(-1, ptrace(PTRACE_PEEKDATA, pid, raw, NULL));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, ptrace(PTRACE_POKEDATA, pid, raw, 1));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(0, ptrace(PTRACE_DETACH, pid, NULL, NULL));
}

static void access_remotely(META, struct hp_narrowed *n)
{
	pid_t pid = start_target();
	int status;

	access_by_vm(_metadata, n, pid);
	access_by_mem(_metadata, n, pid);
	access_by_ptrace(_metadata, n, pid);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG)) {
		TH_LOG("the other process was killed: %#x", status);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

TEST_F(nobody, reads_another)
{
	AS_NOBODY(access_remotely);
}

/* --- what /proc is asked ------------------------------------------------------------- */

/* The ioctl of /proc/PID/pagemap, Documentation/admin-guide/mm/pagemap.rst */
struct scan {
	__u64 size, flags, start, end, walk_end, regions, nr_regions, max_pages;
	__u64 inverted, mask, any_of, tell;
};

struct region {
	__u64 start, end, categories;
};

#define SCAN		_IOWR('f', 16, struct scan)
#define SCAN_PROTECT	1
#define SCAN_ASYNC_ONLY	2
#define IS_WRITTEN	2
#define IS_PRESENT	8
#define MAX_REGIONS	1024

/* How many base pages of the hugepage are so; -errno. */
static long scan(struct hp_narrowed *n, unsigned long flags, unsigned long what)
{
	static struct region region[MAX_REGIONS];
	struct scan scan = {
		.size = sizeof(scan), .flags = flags,
		.start = (unsigned long)hp_narrowed_victim(n),
		.end = (unsigned long)hp_narrowed_victim(n) + n->map.size,
		.regions = (unsigned long)region, .nr_regions = MAX_REGIONS,
		.mask = what, .tell = what,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	long nr, pages = 0;

	nr = ioctl(fd, SCAN, &scan);
	if (nr < 0)
		pages = -errno;
	for (long i = 0; i < nr; i++)
		pages += (region[i].end - region[i].start) / HP_BASE;
	close(fd);
	return pages;
}

static const char * const own_files[] = {
	"maps", "smaps", "smaps_rollup", "numa_maps", "status", "statm", "stat", "io",
	"oom_score", "wchan", "mountinfo",
};

static void read_own_files(META)
{
	static char text[1 << 16];
	char path[64];
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(own_files); i++) {
		snprintf(path, sizeof(path), "/proc/self/%s", own_files[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
			continue;
		EXPECT_LT(0, read(fd, text, sizeof(text))) {
			TH_LOG("%s", path);
		}
		while (read(fd, text, sizeof(text)) > 0)
			;
		close(fd);
	}
}

static void ask_proc(META, struct hp_narrowed *n)
{
	char *victim = hp_narrowed_victim(n), *raw = hp_narrowed_raw(n);
	unsigned long nr = n->map.size / HP_BASE, entry;
	unsigned char *in_core = malloc(nr);
	long missing = 0;

	EXPECT_EQ(0, hp_narrowed_populate(n));
	read_own_files(_metadata);
	for (int what = 1; what <= 5; what++) {
		EXPECT_EQ(0, hp_write("/proc/self/clear_refs", "%d", what == 5 ? 1 : what));
		EXPECT_RIGHT(n);
	}

	/* page frames are not for nobody to know */
	EXPECT_EQ(0, hp_pagemap(getpid(), raw + HP_BASE, 1, &entry));
	EXPECT_EQ(HP_PM_PRESENT, entry & (HP_PM_PRESENT | HP_PM_PFN));

	EXPECT_EQ(0, mincore(victim, n->map.size, in_core));
	for (unsigned long i = 0; i < nr; i++)
		missing += !(in_core[i] & 1);
	EXPECT_GE(1, missing);
	free(in_core);
	EXPECT_EQ(0, msync(victim, n->map.size, MS_SYNC | MS_INVALIDATE));
	EXPECT_EQ(0, msync(raw, HP_BASE, MS_ASYNC));
	EXPECT_EQ((long)nr - 1, scan(n, 0, IS_PRESENT));
}

TEST_F(nobody, asks_proc)
{
	AS_NOBODY(ask_proc);
}

/* How much of a file is in memory is not told of hugetlbfs, nor of a poisoned hugepage. */
static void ask_for_cache(META, struct hp_narrowed *n)
{
	__u64 range[2] = { n->victim * n->map.size, n->map.size }, counts[5];

	EXPECT_EQ(EOPNOTSUPP, said(syscall(__NR_cachestat, n->map.fd, range, counts, 0)));
	/* nor does a file on hugetlbfs give up pages, or read ahead */
	EXPECT_EQ(0, posix_fadvise(n->map.fd, 0, 0, POSIX_FADV_DONTNEED));
	EXPECT_EQ(0, said(readahead(n->map.fd, range[0], range[1])));
	EXPECT_RIGHT(n);
}

TEST_F(nobody, asks_for_cache)
{
	AS_NOBODY(ask_for_cache);
}

/* --- userfaultfd ------------------------------------------------------------------ */

/* Nobody fills a mapping that is not watched. */
static int fill(int fd, char *at, char *with)
{
	struct uffdio_copy copy = {
		.dst = (unsigned long)at, .src = (unsigned long)with, .len = HP_BASE,
	};

	return said(ioctl(fd, UFFDIO_COPY, &copy));
}

/*
 * Missing pages, minor faults and accesses (RWP, of newer kernels) cannot be asked for:
 * a clear answer.
 */
static void ask_for_faults(META, struct hp_narrowed *n)
{
	static const unsigned long modes[] = {
		UFFDIO_REGISTER_MODE_MISSING, UFFDIO_REGISTER_MODE_WP, UFFDIO_REGISTER_MODE_MINOR,
		1 << 3 /* UFFDIO_REGISTER_MODE_RWP */,
	};
	int fd = open_userfaultfd(1 << 17 /* UFFD_FEATURE_RWP */);

	fd = fd < 0 ? open_userfaultfd(0) : fd;
	EXPECT_LE(0, fd);
	EXPECT_EQ(ENOENT, fill(fd, hp_narrowed_raw(n), hp_narrowed_raw(n) + HP_BASE));
	EXPECT_EQ(ENOENT, fill(fd, hp_narrowed_raw(n) + HP_BASE, hp_narrowed_raw(n) + 2 * HP_BASE));
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		EXPECT_EQ(EINVAL, watch(fd, hp_narrowed_victim(n), n->map.size, modes[i]));
		EXPECT_EQ(EINVAL, watch(fd, n->map.addr, n->map.nr * n->map.size, modes[i]));
		EXPECT_EQ(EINVAL, watch(fd, hp_narrowed_raw(n), HP_BASE, modes[i]));
		EXPECT_RIGHT(n);
	}
	close(fd);
}

/* Writes can be tracked on any mapping; on this one too, or not, but no hang. */
static void track_writes(META, struct hp_narrowed *n)
{
	char *near = hp_narrowed_raw(n) + HP_BASE;
	char *far = hp_narrowed_victim(n) + n->map.size - HP_BASE;
	int fd = open_userfaultfd(UFFD_FEATURE_WP_ASYNC);
	int error = watch(fd, hp_narrowed_victim(n), n->map.size, UFFDIO_REGISTER_MODE_WP);

	EXPECT_LE(0, fd);
	EXPECT_TRUE(!error || error == EINVAL);
	EXPECT_NE(0, watch(fd, near, 2 * HP_BASE, UFFDIO_REGISTER_MODE_WP));
	for (int round = 0; !error && round < 3; round++) {
		EXPECT_LE(0, scan(n, SCAN_PROTECT | SCAN_ASYNC_ONLY, IS_WRITTEN));
		EXPECT_EQ(0, scan(n, SCAN_PROTECT | SCAN_ASYNC_ONLY, IS_WRITTEN));
		EXPECT_EQ(0, hp_touch(near + 8, HP_READ).code);
		EXPECT_EQ(0, scan(n, 0, IS_WRITTEN));
		EXPECT_EQ(0, hp_touch(near + 8, HP_WRITE).code);
		EXPECT_EQ(1, scan(n, 0, IS_WRITTEN));
		EXPECT_EQ(0, hp_touch(far + 8, HP_WRITE).code);
		EXPECT_LE(2, scan(n, 0, IS_WRITTEN));
		EXPECT_EQ(BUS_MCEERR_AR, hp_touch(hp_narrowed_raw(n), HP_WRITE).code);
		EXPECT_RIGHT(n);
		if (round)
			madvise(hp_narrowed_victim(n), n->map.size, MADV_DONTNEED);
	}
	close(fd);
}

#define UNPRIVILEGED_UFFD	"/proc/sys/vm/unprivileged_userfaultfd"

TEST_F(nobody, watches)
{
	EXPECT_EQ(0, hp_write(UNPRIVILEGED_UFFD, "1"));
	AS_NOBODY(ask_for_faults);
	EXPECT_EQ(0, hp_write(UNPRIVILEGED_UFFD, "0"));
}

TEST_F(nobody, tracks_writes)
{
	int fd = open_userfaultfd(UFFD_FEATURE_WP_ASYNC);

	if (fd < 0)
		SKIP(return, "needs CONFIG_PTE_MARKER_UFFD_WP");
	close(fd);
	AS_NOBODY(track_writes);
}

/* Maps what the file has. Returns 0 or the errno. */
static int map_file_page(int fd, char *at, unsigned long len)
{
	struct uffdio_continue range = {
		.range = { .start = (unsigned long)at, .len = len },
	};

	return said(ioctl(fd, UFFDIO_CONTINUE, &range));
}

/* A mapping that asks for what the file has gets each hugepage but the poisoned one. */
TEST_F(nobody, continues)
{
	struct hp_narrowed *n = &self->n;
	unsigned long size = n->map.size;
	int fd = open_userfaultfd(UFFD_FEATURE_MINOR_HUGETLBFS);
	struct hp_map again;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, hp_map_again(&n->map, &again));
	ASSERT_EQ(0, watch(fd, again.addr, again.nr * size, UFFDIO_REGISTER_MODE_MINOR));
	ASSERT_EQ(0, hp_narrowed_hit(n));
	for (unsigned long i = 0; i < n->map.nr; i++) {
		EXPECT_EQ(i == n->victim ? EIO : 0, map_file_page(fd, again.addr + i * size, size));
		if (i != n->victim)
			EXPECT_EQ(0, hp_damage(again.addr + i * size, size, n->seed + i));
	}
	EXPECT_EQ(0, unwatch(fd, again.addr, again.nr * size));
	EXPECT_EQ(0, hp_narrowed_wrong_at(n, again.addr));
	hp_unmap(&again);
	close(fd);
	EXPECT_RIGHT(n);
}

/* --- pins and pipes ------------------------------------------------------------------ */

/* Returns the ring, for which the pages stay pinned; -errno. */
static int pin(char *at, unsigned long len)
{
	struct io_uring_params params = { .flags = 0 };
	struct iovec buffer = { .iov_base = at, .iov_len = len };
	int error, fd = syscall(__NR_io_uring_setup, 1, &params);

	if (fd < 0)
		return -errno;
	error = said(syscall(__NR_io_uring_register, fd, IORING_REGISTER_BUFFERS, &buffer, 1));
	if (!error)
		return fd;
	close(fd);
	return -error;
}

static int futex(char *at, int op, int value)
{
	struct timespec soon = { .tv_nsec = 1000 };

	return said(syscall(__NR_futex, at, op, value, &soon, NULL, 0));
}

static void pin_and_pipe(META, struct hp_narrowed *n)
{
	char *victim = hp_narrowed_victim(n), *raw = hp_narrowed_raw(n);
	struct iovec pages = { .iov_base = raw + HP_BASE, .iov_len = 4 * HP_BASE };
	char piped[4 * HP_BASE];
	int ring, fd[2];

	ring = pin(raw + HP_BASE, 64 * HP_BASE);
	EXPECT_LE(0, ring);
	EXPECT_RIGHT(n);
	close(ring);
	ring = pin(victim, raw - victim);
	EXPECT_LE(0, ring);
	close(ring);
	EXPECT_EQ(-EFAULT, pin(raw - HP_BASE, 3 * HP_BASE));
	EXPECT_EQ(-EFAULT, pin(raw, HP_BASE));

	EXPECT_EQ(0, pipe(fd));
	EXPECT_EQ((ssize_t)sizeof(piped), vmsplice(fd[1], &pages, 1, 0));
	EXPECT_EQ((ssize_t)sizeof(piped), read(fd[0], piped, sizeof(piped)));
	EXPECT_EQ(0, memcmp(piped, raw + HP_BASE, sizeof(piped)));
	pages.iov_base = raw;
	EXPECT_EQ(EFAULT, said(vmsplice(fd[1], &pages, 1, 0)));
	close(fd[0]);
	close(fd[1]);

	EXPECT_EQ(EAGAIN, futex(raw + HP_BASE + 8, FUTEX_WAIT, 77));
	EXPECT_EQ(ETIMEDOUT, futex(raw + HP_BASE + 8, FUTEX_WAIT, 0));
	EXPECT_EQ(0, futex(raw + HP_BASE + 8, FUTEX_LOCK_PI, 0));
	EXPECT_EQ(0, futex(raw + HP_BASE + 8, FUTEX_UNLOCK_PI, 0));
	EXPECT_EQ(EFAULT, futex(raw, FUTEX_WAIT, 77));
	EXPECT_EQ(EFAULT, futex(raw, FUTEX_LOCK_PI, 0));
	EXPECT_RIGHT(n);
}

TEST_F(nobody, pins)
{
	AS_NOBODY(pin_and_pipe);
}

/* --- translations that another CPU has ------------------------------------------------- */

/* A thread that stores without end in two pages; a store that is refused is counted. */
struct writer {
	unsigned long *at[2];
	unsigned long tries[2], refused[2];	/* written by the thread */
	int cpu;
	bool stop;
};

static __thread sigjmp_buf refused_env;

static void on_refused(int sig)
{
	(void)sig;
	siglongjmp(refused_env, 1);
}

static void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void *write_on(void *arg)
{
	static __thread unsigned int i;
	struct writer *w = arg;

	run_on(w->cpu);
	for (i = 0; !__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE); i++) {
		if (sigsetjmp(refused_env, 1))
			__atomic_add_fetch(&w->refused[i % 2], 1, __ATOMIC_RELEASE);
		else
			__atomic_add_fetch(w->at[i % 2], 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&w->tries[i % 2], 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static unsigned long tries(struct writer *w, int which)
{
	return __atomic_load_n(&w->tries[which], __ATOMIC_ACQUIRE);
}

/* The thread has begun and ended a store since. */
static bool await_tries(struct writer *w)
{
	unsigned long before[2] = { tries(w, 0), tries(w, 1) };

	return hp_await(tries(w, 0) > before[0] + 1 && tries(w, 1) > before[1] + 1,
			"the other thread stores");
}

/* Once mprotect() has returned no store succeeds on any CPU, until it is allowed again. */
static void expect_flushed(META, struct hp_narrowed *n, struct writer *w, int prot)
{
	char *victim = hp_narrowed_victim(n);
	unsigned long word[2], refused[2];

	EXPECT_TRUE(await_tries(w));
	EXPECT_EQ(0, mprotect(victim, n->map.size, PROT_READ));
	for (int i = 0; i < 2; i++) {
		word[i] = __atomic_load_n(w->at[i], __ATOMIC_ACQUIRE);
		refused[i] = w->refused[i];
	}
	EXPECT_EQ(0, mprotect(victim, n->map.size, prot));
	EXPECT_TRUE(await_tries(w));
	EXPECT_EQ(0, mprotect(victim, n->map.size, PROT_READ));
	for (int i = 0; i < 2; i++) {
		EXPECT_LT(0, word[i]);
		EXPECT_EQ(word[i], __atomic_load_n(w->at[i], __ATOMIC_ACQUIRE)) {
			TH_LOG("%p was written although that is not allowed", w->at[i]);
		}
		EXPECT_LT(refused[i], w->refused[i]);
	}
	EXPECT_EQ(0, mprotect(victim, n->map.size, PROT_READ | PROT_WRITE));
	EXPECT_TRUE(await_tries(w));
	for (int i = 0; i < 2; i++)
		EXPECT_LT(word[i], __atomic_load_n(w->at[i], __ATOMIC_ACQUIRE));
}

/* One page beside the raw page, one at the far end, where an entry may map 2 MiB. */
static void protect_from_other_cpu(META, struct hp_narrowed *n)
{
	char *victim = hp_narrowed_victim(n);
	struct writer w = {
		.at = { (unsigned long *)(hp_narrowed_raw(n) + HP_BASE + 512),
			(unsigned long *)(victim + n->map.size - HP_BASE + 512) },
		.cpu = 1,
	};
	pthread_t thread;

	signal(SIGSEGV, on_refused);
	run_on(0);
	EXPECT_EQ(0, pthread_create(&thread, NULL, write_on, &w));
	for (int i = 0; i < 8; i++)
		expect_flushed(_metadata, n, &w, i % 2 ? PROT_READ : PROT_NONE);
	__atomic_store_n(&w.stop, true, __ATOMIC_RELEASE);
	EXPECT_EQ(0, pthread_join(thread, NULL));
	signal(SIGSEGV, SIG_DFL);
}

TEST_F(nobody, flushes)
{
	AS_NOBODY(protect_from_other_cpu);
}

/* --- many at once, and little to use ---------------------------------------------------- */

static int gate[2];

/* Waits until the gate is closed, which is when the parent's end is. */
static void come_and_look(META, struct hp_narrowed *n)
{
	char none;

	close(gate[1]);
	become_nobody(_metadata);
	EXPECT_EQ(0, read(gate[0], &none, 1));
	for (int i = 0; i < 3; i++) {
		EXPECT_RIGHT(n);
		EXPECT_EQ(0, madvise(hp_narrowed_victim(n), n->map.size, MADV_DONTNEED));
	}
}

/* Half of them come before the error, and narrow all at the same time. */
TEST_F_TIMEOUT(nobody, crowd, 90)
{
	struct hp_narrowed *n = &self->n;
	pid_t pid[CROWD];
	int status;

	ASSERT_EQ(0, pipe(gate));
	for (int i = 0; i < CROWD; i++) {
		if (i == CROWD / 2) {
			ASSERT_EQ(0, hp_inject(n->pfn));
			n->hit = true;
		}
		pid[i] = start_child(_metadata, come_and_look, n);
	}
	close(gate[1]);
	for (int i = 0; i < CROWD; i++) {
		EXPECT_EQ(pid[i], waitpid(pid[i], &status, 0));
		EXPECT_EQ(0, status);
	}
	EXPECT_RIGHT(n);
}

static void allow_nothing_more(META, struct hp_narrowed *n)
{
	static const int limits[] = { RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK, RLIMIT_NOFILE };
	struct rlimit least = { HP_BASE, HP_BASE };

	(void)n;
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		if (limits[i] == RLIMIT_NOFILE)
			least = (struct rlimit) { 16, 16 };
		EXPECT_EQ(0, setrlimit(limits[i], &least));
	}
}

/* Narrowing takes nothing that is limited: no address space, no locked memory. */
TEST_F(nobody, limits)
{
	ASSERT_EQ(0, hp_inject(self->n.pfn));
	self->n.hit = true;
	EXPECT_EQ(0, run_as_nobody(_metadata, allow_nothing_more, &self->n));
}

/* --- a segment that anybody may attach ----------------------------------------------- */

FIXTURE(attach) {
	struct hp_narrowed n;
};

FIXTURE_SETUP(attach)
{
	struct hp_map *map = &self->n.map;

	ASSERT_EQ(0, hp_narrowed_make(&self->n, HP_SHM, HP_2M, 3));
	/* again, for all to attach */
	hp_unmap(map);
	map->shmid = shmget(IPC_PRIVATE, map->nr * HP_2M, SHM_HUGETLB | IPC_CREAT | 0666);
	ASSERT_LE(0, map->shmid);
	map->addr = shmat(map->shmid, NULL, 0);
	shmctl(map->shmid, IPC_RMID, NULL);
	ASSERT_NE(MAP_FAILED, map->addr);
	ASSERT_EQ(0, hp_narrowed_stamp(&self->n));
}

FIXTURE_TEARDOWN(attach)
{
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

static void attach_and_look(META, struct hp_narrowed *n)
{
	char *at = shmat(n->map.shmid, NULL, 0), *read_only;

	EXPECT_NE(MAP_FAILED, at);
	EXPECT_EQ(0, hp_narrowed_wrong_at(n, at));
	read_only = shmat(n->map.shmid, NULL, SHM_RDONLY);
	EXPECT_NE(MAP_FAILED, read_only);
	EXPECT_EQ(0, memcmp(at, read_only, n->raw));
	EXPECT_EQ(SIGSEGV, hp_signal_of(read_only + n->raw, HP_WRITE));
	EXPECT_EQ(SIGBUS, hp_signal_of(read_only + n->raw, HP_READ));
	EXPECT_EQ(0, shmdt(read_only));
	EXPECT_EQ(0, shmdt(at));
}

TEST_F(attach, by_nobody)
{
	AS_NOBODY(attach_and_look);
}

/* --- no room for one mapping more ------------------------------------------------------ */

#define MAX_MAP_COUNT	"/proc/sys/vm/max_map_count"
#define FEW		1000

FIXTURE(map_count) {
	struct hp_narrowed n;
	long max;
	char *filler;
};

FIXTURE_VARIANT(map_count) {
	unsigned long size, nr;
};

FIXTURE_VARIANT_ADD(map_count, 2M) { .size = HP_2M, .nr = 3 };
FIXTURE_VARIANT_ADD(map_count, 1G) { .size = HP_1G, .nr = 2 };

FIXTURE_SETUP(map_count)
{
	self->max = hp_read_long(MAX_MAP_COUNT);
	ASSERT_LT(FEW, self->max);
	ASSERT_EQ(0, hp_narrowed_make(&self->n, HP_MEMFD, variant->size, variant->nr));
}

FIXTURE_TEARDOWN(map_count)
{
	hp_write(MAX_MAP_COUNT, "%ld", self->max);
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

/* Every second page of a mapping protected otherwise is a mapping of its own. */
static bool fill_up(char **filler)
{
	*filler = mmap(NULL, 2 * FEW * HP_BASE, PROT_READ,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (*filler == MAP_FAILED)
		return false;
	for (int i = 1; i < 2 * FEW; i += 2)
		if (mprotect(*filler + i * HP_BASE, HP_BASE, PROT_NONE))
			return errno == ENOMEM;
	return false;
}

TEST_F(map_count, reached)
{
	struct hp_narrowed *n = &self->n;
	char *healthy = hp_narrowed_victim(n);
	struct hp_sigbus bus;

	ASSERT_EQ(0, hp_write(MAX_MAP_COUNT, "%d", FEW));
	ASSERT_TRUE(fill_up(&self->filler));
	/* one more may still fit, which is not enough for a split on both sides */
	mprotect(self->filler + (2 * FEW - 1) * HP_BASE, HP_BASE, PROT_NONE);
	ASSERT_EQ(0, hp_inject(n->pfn));
	n->hit = true;

	for (int i = 0; i < 3; i++) {
		bus = hp_touch(healthy, HP_READ);
		EXPECT_EQ(BUS_MCEERR_AR, bus.code);
		EXPECT_EQ(healthy, bus.addr);
		EXPECT_EQ(__builtin_ctzl(variant->size), bus.lsb);
		EXPECT_EQ(-EFAULT, hp_syscall_touch(healthy, HP_READ));
		usleep(150 * 1000);	/* the worker cannot either */
	}
	EXPECT_TRUE(hp_is_hugetlb(healthy));
	EXPECT_NE(NULL, hp_log_find(&n->test.log, "containment hugepage at"));
	EXPECT_NE(NULL, hp_log_find(&n->test.log, "max_map_count"));

	ASSERT_EQ(0, hp_write(MAX_MAP_COUNT, "%ld", self->max));
	EXPECT_RIGHT(n);
	EXPECT_FALSE(hp_is_hugetlb(healthy));
	munmap(self->filler, 2 * FEW * HP_BASE);
}

/* --- a page table that two processes share ---------------------------------------------- */

#define SHARED_AT	((char *)0x10000000000UL)	/* an aligned GiB, nothing is there */
#define SHARED_LEN	HP_1G
#define USED		5				/* of its hugepages */

FIXTURE(table) {
	struct hp_narrowed n;
	struct hp_mapper other;
};

/* The first toucher after the error. */
FIXTURE_VARIANT(table) {
	bool other_first;
};

FIXTURE_VARIANT_ADD(table, self_first) { .other_first = false };
FIXTURE_VARIANT_ADD(table, other_first) { .other_first = true };

FIXTURE_SETUP(table)
{
	struct hp_narrowed *n = &self->n;

	ASSERT_EQ(0, hp_narrowed_make(n, HP_MEMFD, HP_2M, USED));
	ASSERT_EQ(0, ftruncate(n->map.fd, SHARED_LEN));
	hp_unmap(&n->map);
	n->map.addr = mmap(SHARED_AT, SHARED_LEN, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, n->map.fd, 0);
	ASSERT_EQ(SHARED_AT, n->map.addr);
	for (int i = 0; i < USED; i++)
		EXPECT_EQ(0, hp_touch(n->map.addr + i * HP_2M, HP_READ).code);
	ASSERT_EQ(0, hp_mapper_start(&self->other, &n->map, false));
}

FIXTURE_TEARDOWN(table)
{
	hp_mapper_stop(&self->other);
	munmap(SHARED_AT, SHARED_LEN);
	self->n.map.addr = NULL;
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

static long table_users(unsigned long pfn)
{
	unsigned long count = 0;
	int fd = open("/proc/kpagecount", O_RDONLY | O_CLOEXEC);

	if (pread(fd, &count, sizeof(count), pfn * sizeof(count)) < 0)
		count = -1;
	close(fd);
	return count;
}

static void look_in_other(META, FIXTURE_DATA(table) *self)
{
	struct hp_narrowed *n = &self->n;

	for (unsigned long i = 0; i < USED; i++) {
		struct hp_answer answer = hp_ask(&self->other, HP_OP_LOST,
						 n->map.addr + i * HP_2M, n->seed + i);

		EXPECT_EQ(i == n->victim, answer.value);
		EXPECT_EQ(0, answer.damage);
	}
}

TEST_F(table, one_narrows)
{
	struct hp_narrowed *n = &self->n;
	char *beside = n->map.addr;

	EXPECT_EQ(0, hp_ask(&self->other, HP_OP_READ, hp_narrowed_raw(n), 0).bus.code);
	ASSERT_EQ(1, table_users(n->pfn)) {
		TH_LOG("the page table is not shared");
	}
	ASSERT_EQ(0, hp_inject(n->pfn));
	n->hit = true;
	if (variant->other_first)
		look_in_other(_metadata, self);
	EXPECT_RIGHT(n);
	look_in_other(_metadata, self);
	EXPECT_RIGHT(n);

	/* they still share the memory, if not the table */
	hp_ask(&self->other, HP_OP_STAMP, beside, 123);
	EXPECT_EQ(0, hp_damage(beside, HP_2M, 123));
	EXPECT_EQ(1, hp_stamp(hp_narrowed_victim(n), HP_2M, 124));
	EXPECT_EQ(0, hp_ask(&self->other, HP_OP_LOST, hp_narrowed_victim(n), 124).damage);
	hp_stamp(beside, HP_2M, n->seed);
	hp_stamp(hp_narrowed_victim(n), HP_2M, n->seed + n->victim);
	/* a hugepage never used before, beside it */
	EXPECT_EQ(0, hp_touch(n->map.addr + USED * HP_2M, HP_WRITE).code);
	EXPECT_EQ(0, hp_ask(&self->other, HP_OP_READ, n->map.addr + USED * HP_2M, 0).bus.code);
	look_in_other(_metadata, self);
}

/* --- what goes round by itself ------------------------------------------------------------ */

FIXTURE(system) {
	struct hp_narrowed n;
};

FIXTURE_VARIANT(system) {
	unsigned long size, nr;
	enum hp_backing backing;
};

FIXTURE_VARIANT_ADD(system, 2M) { .size = HP_2M, .nr = 3, .backing = HP_MEMFD };
FIXTURE_VARIANT_ADD(system, 1G) { .size = HP_1G, .nr = 1, .backing = HP_MEMFD };
FIXTURE_VARIANT_ADD(system, 2M_private) { .size = HP_2M, .nr = 3, .backing = HP_PRIVATE };

FIXTURE_SETUP(system)
{
	ASSERT_EQ(0, hp_narrowed_make(&self->n, variant->backing, variant->size, variant->nr));
}

FIXTURE_TEARDOWN(system)
{
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

/* One bit for each page frame: all that is on a list is idle from now on. */
static void mark_idle(META, unsigned long pfn, unsigned long nr)
{
	int fd = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR | O_CLOEXEC);
	unsigned long ones[8] = { ~0UL, ~0UL, ~0UL, ~0UL, ~0UL, ~0UL, ~0UL, ~0UL };

	EXPECT_LE(0, fd);
	for (unsigned long i = pfn & -512UL; i < pfn + nr; i += 512) {
		EXPECT_EQ((ssize_t)sizeof(ones), pwrite(fd, ones, sizeof(ones), i / 8));
		EXPECT_EQ((ssize_t)sizeof(ones), pread(fd, ones, sizeof(ones), i / 8));
		memset(ones, 0xff, sizeof(ones));
	}
	close(fd);
}

TEST_F(system, sweeps)
{
	struct hp_narrowed *n = &self->n;
	unsigned long nr = n->map.size == HP_2M ? HP_2M / HP_BASE : 4096;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	EXPECT_EQ(0, hp_write("/proc/sys/vm/compact_memory", "1"));
	EXPECT_RIGHT(n);
	EXPECT_EQ(0, hp_write("/proc/sys/vm/drop_caches", "3"));
	EXPECT_RIGHT(n);
	for (int round = 0; round < 2; round++) {
		mark_idle(_metadata, n->pfn - nr / 4, nr / 2);
		EXPECT_RIGHT(n);
	}
	EXPECT_EQ(0, hp_write("/sys/kernel/mm/ksm/run", "1"));
	EXPECT_RIGHT(n);
	EXPECT_EQ(0, hp_write("/sys/kernel/mm/ksm/run", "0"));
	/* every page's flags, users and cgroup */
	hp_count_flagged(n->pfn & -nr, nr, HP_KPF_HWPOISON);
	EXPECT_LT(0, table_users(n->pfn - 1));
}

#define SPLIT	"/sys/kernel/debug/split_huge_pages"

/* Transparent hugepages are split by root: a narrowed range has none, but of its size. */
TEST_F_TIMEOUT(system, splits, 60)
{
	struct hp_narrowed *n = &self->n;
	unsigned long from = (unsigned long)n->map.addr, nr = n->map.nr * n->map.size;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	ASSERT_EQ(0, hp_narrowed_populate(n));
	EXPECT_EQ(0, hp_write(SPLIT, "%d,0x%lx,0x%lx", getpid(), from, from + nr));
	EXPECT_RIGHT(n);
	if (n->map.fd > 0) {
		unsigned long pages = n->map.size / HP_BASE;

		/* of the file only the poisoned hugepage: others would be split */
		EXPECT_EQ(0, hp_write(SPLIT, "/proc/%d/fd/%d,0x%lx,0x%lx", getpid(), n->map.fd,
				      n->victim * pages, (n->victim + 1) * pages));
		EXPECT_RIGHT(n);
	}
	EXPECT_EQ(0, hp_write(SPLIT, "1"));
	EXPECT_RIGHT(n);
	EXPECT_NE(0, hp_pageflags(hp_pfn(hp_narrowed_victim(n))) & HP_KPF_HUGE);
}

/* A private range's own pages: the parent keeps the hugepage. */
static void copy_pages(META, struct hp_narrowed *n)
{
	EXPECT_EQ(1, hp_stamp(hp_narrowed_victim(n), n->map.size, n->seed + n->victim));
}

static void move_copies(META, struct hp_narrowed *n)
{
	copy_pages(_metadata, n);
	EXPECT_EQ(n->map.backing == HP_PRIVATE ? 3 : 0, count_moved(_metadata, n));
	change_policy(_metadata, n);
}

/* Copies of a private range's pages move as any page, the hugepage does not. */
TEST_F_TIMEOUT(system, moves, 60)
{
	struct hp_narrowed *n = &self->n;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	EXPECT_EQ(0, run_child(_metadata, move_copies, n));
	EXPECT_RIGHT(n);
	move(_metadata, n);
	EXPECT_RIGHT(n);
}

TEST_F(system, flushes)
{
	struct hp_narrowed *n = &self->n;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	EXPECT_EQ(0, run_child(_metadata, protect_from_other_cpu, n));
	EXPECT_RIGHT(n);
	protect_from_other_cpu(_metadata, n);
	EXPECT_RIGHT(n);
}

/* --- what perf sees ---------------------------------------------------------------- */

#define RING_PAGES	16	/* a power of 2 */

struct ring {
	int fd;
	struct perf_event_mmap_page *head;
	char *data;
	unsigned long read;
};

struct mapped {			/* PERF_RECORD_MMAP2 */
	struct perf_event_header header;
	__u32 pid, tid;
	__u64 addr, len, pgoff;
	__u32 maj, min;
	__u64 ino, ino_generation;
	__u32 prot, flags;
};

struct faulted {		/* PERF_RECORD_SAMPLE, in the order of these bits */
	struct perf_event_header header;
	__u64 addr, phys, size;
};

#define SAMPLED	(PERF_SAMPLE_ADDR | PERF_SAMPLE_PHYS_ADDR | PERF_SAMPLE_DATA_PAGE_SIZE)

static bool open_ring(struct ring *ring, bool identify)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr), .type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_PAGE_FAULTS_MIN, .sample_period = 1,
		.sample_type = identify ? PERF_SAMPLE_ADDR : SAMPLED, .build_id = identify,
		.exclude_kernel = 1, .mmap = 1, .mmap_data = 1, .mmap2 = 1,
	};

	*ring = (struct ring) { .fd = syscall(__NR_perf_event_open, &attr, 0, -1, -1, 0) };
	ring->head = mmap(NULL, (1 + RING_PAGES) * HP_BASE, PROT_READ | PROT_WRITE, MAP_SHARED,
			  ring->fd, 0);
	ring->data = (char *)ring->head + HP_BASE;
	return ring->head != MAP_FAILED;
}

static void close_ring(struct ring *ring)
{
	munmap(ring->head, (1 + RING_PAGES) * HP_BASE);
	close(ring->fd);
}

/* The next record, or NULL. No record is so long that all of it is needed. */
static const struct perf_event_header *next_record(struct ring *ring, void *record, size_t len)
{
	struct perf_event_header *header = record;

	if (ring->read >= __atomic_load_n(&ring->head->data_head, __ATOMIC_ACQUIRE))
		return NULL;
	for (size_t i = 0; i < len; i++)
		((char *)record)[i] = ring->data[(ring->read + i) % (RING_PAGES * HP_BASE)];
	ring->read += header->size;
	return header;
}

/* Only what comes from now on counts. */
static void forget_records(struct ring *ring)
{
	struct perf_event_header header;

	while (next_record(ring, &header, sizeof(header)))
		;
}

/* The entry that a fault has made, as perf's walk of the page table reports it. */
static struct faulted fault_at(struct ring *ring, char *at)
{
	struct faulted sample;

	forget_records(ring);
	hp_touch(at, HP_READ);
	while (next_record(ring, &sample, sizeof(sample)))
		if (sample.header.type == PERF_RECORD_SAMPLE &&
		    (sample.addr & -HP_BASE) == (unsigned long)at)
			return sample;
	return (struct faulted) { .addr = 0 };
}

static struct mapped protect(struct ring *ring, char *at, unsigned long len)
{
	struct mapped record;

	forget_records(ring);
	mprotect(at, len, PROT_READ);
	mprotect(at, len, PROT_READ | PROT_WRITE);
	while (next_record(ring, &record, sizeof(record)))
		if (record.header.type == PERF_RECORD_MMAP2 && record.addr == (unsigned long)at)
			return record;
	return (struct mapped) { .addr = 0 };
}

static void leave(META, struct hp_narrowed *n)
{
	(void)_metadata;
	(void)n;
}

/* The next touch is a fault. fork takes a private hugepage's entries, and no page. */
static void drop_entries(META, struct hp_narrowed *n)
{
	int error = n->map.backing == HP_PRIVATE ? run_child(_metadata, leave, n) :
		    said(madvise(hp_narrowed_victim(n), n->map.size, MADV_DONTNEED));

	EXPECT_EQ(0, error);
}

TEST_F(system, is_seen_by_perf)
{
	struct hp_narrowed *n = &self->n;
	char *victim = hp_narrowed_victim(n), *near = hp_narrowed_raw(n) + HP_BASE;
	unsigned int flags = variant->backing == HP_PRIVATE ? MAP_PRIVATE : MAP_SHARED;
	struct faulted sample;
	struct mapped record;
	struct ring ring;

	ASSERT_TRUE(open_ring(&ring, false));
	record = protect(&ring, victim, n->map.size);
	EXPECT_EQ(n->map.size, record.len);
	EXPECT_EQ(flags | MAP_HUGETLB, record.flags);

	ASSERT_EQ(0, hp_narrowed_hit(n));
	record = protect(&ring, victim, n->map.size);
	EXPECT_EQ(n->map.size, record.len);
	EXPECT_EQ(n->victim * n->map.size, record.pgoff);
	EXPECT_EQ(flags, record.flags);
	EXPECT_EQ(PROT_READ, record.prot);

	drop_entries(_metadata, n);
	sample = fault_at(&ring, near);
	EXPECT_EQ(HP_BASE, sample.size);
	EXPECT_EQ((n->pfn + 1) * HP_BASE, sample.phys);
	if (n->map.size == HP_1G) {
		sample = fault_at(&ring, victim);
		EXPECT_EQ(HP_2M, sample.size);
		EXPECT_EQ(hp_pfn(victim) * HP_BASE, sample.phys);
	}
	close_ring(&ring);
	EXPECT_RIGHT(n);
}

static long event_count(const char *name)
{
	static char text[1 << 14];
	char line[64];
	const char *at;

	snprintf(line, sizeof(line), "\n%s ", name);
	if (hp_read_text("/proc/vmstat", text, sizeof(text)) < 0)
		return -1;
	at = strstr(text, line);
	return at ? strtol(at + strlen(line), NULL, 10) : -1;
}

/* --- an identity that perf reads from the file ------------------------------------------ */

#define ID	"twenty bytes of mine"
#define ID_SIZE	20

/* A program's head, of which the table and the note are in the raw page. */
struct identified {
	Elf64_Phdr note_at;
	Elf64_Nhdr note;
	char name[4], id[ID_SIZE];
};

static void write_identity(struct hp_narrowed *n)
{
	Elf64_Ehdr *head = (Elf64_Ehdr *)n->map.addr;
	struct identified *raw = (struct identified *)hp_narrowed_raw(n);

	memcpy(head->e_ident, ELFMAG, SELFMAG);
	head->e_ident[EI_CLASS] = ELFCLASS64;
	head->e_type = ET_DYN;
	head->e_phoff = n->raw;
	head->e_phnum = 1;
	raw->note_at.p_type = PT_NOTE;
	raw->note_at.p_offset = n->raw + offsetof(struct identified, note);
	raw->note_at.p_filesz = sizeof(*raw) - offsetof(struct identified, note);
	raw->note = (Elf64_Nhdr) { .n_namesz = 4, .n_descsz = ID_SIZE, .n_type = NT_GNU_BUILD_ID };
	memcpy(raw->name, "GNU", 4);
	memcpy(raw->id, ID, ID_SIZE);
}

/* Whether perf has read what is in the raw page. */
static bool perf_read_it(const struct mapped *record)
{
	return record->header.misc & PERF_RECORD_MISC_MMAP_BUILD_ID &&
	       !memcmp((char *)&record->maj + 4, ID, ID_SIZE);
}

/* Any user may ask for it, and the kernel reads with a plain load: that would be its end. */
static void ask_for_identity(META, struct hp_narrowed *n)
{
	struct mapped record;
	struct ring ring;

	become_nobody(_metadata);
	EXPECT_TRUE(open_ring(&ring, true));
	record = protect(&ring, n->map.addr, n->map.size);
	EXPECT_EQ(n->map.size, record.len);
	EXPECT_EQ(!n->hit, perf_read_it(&record));
	close_ring(&ring);
}

FIXTURE(identity) {
	struct hp_narrowed n;
};

FIXTURE_SETUP(identity)
{
	ASSERT_EQ(0, hp_narrowed_make(&self->n, HP_MEMFD, HP_2M, 1));
	write_identity(&self->n);
}

FIXTURE_TEARDOWN(identity)
{
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

TEST_F(identity, is_not_read)
{
	struct hp_narrowed *n = &self->n;

	EXPECT_EQ(0, run_child(_metadata, ask_for_identity, n));
	ASSERT_EQ(0, hp_narrowed_hit(n));
	EXPECT_EQ(0, run_child(_metadata, ask_for_identity, n));
	/* nor from a mapping that has come since, and is not narrowed */
	hp_unmap(&n->map);
	n->map.addr = mmap(NULL, HP_2M, PROT_READ | PROT_WRITE, MAP_SHARED, n->map.fd, 0);
	EXPECT_NE(MAP_FAILED, n->map.addr);
	EXPECT_EQ(0, run_child(_metadata, ask_for_identity, n));
}

/* --- a private range with swapped pages ----------------------------------------------- */

#define ZRAM		"/sys/block/zram0/"
#define ZRAM_PAGES	8192UL
#define SWAPPED		(1UL << 62)	/* in pagemap */

/* Returns 0 or -errno. */
static int make_swap(void)
{
	unsigned int header[HP_BASE / sizeof(int)] = { 0 };
	int fd, ret;

	ret = hp_write(ZRAM "disksize", "%lu", ZRAM_PAGES * HP_BASE);
	if (ret)
		return ret;
	fd = open("/dev/zram0", O_RDWR | O_CLOEXEC);
	header[256] = 1;			/* version */
	header[257] = ZRAM_PAGES - 1;		/* last page */
	memcpy((char *)header + HP_BASE - 10, "SWAPSPACE2", 10);
	ret = pwrite(fd, header, HP_BASE, 0) == (ssize_t)HP_BASE ? 0 : -EIO;
	close(fd);
	return ret ?: -said(swapon("/dev/zram0", 0));
}

static long count_swapped(const char *at, unsigned long nr)
{
	unsigned long entries[HP_2M / HP_BASE];
	long swapped = 0;

	if (hp_pagemap(getpid(), at, nr, entries))
		return -1;
	for (unsigned long i = 0; i < nr; i++)
		swapped += !!(entries[i] & SWAPPED);
	return swapped;
}

FIXTURE(swapped) {
	struct hp_narrowed n;
	struct hp_mapper child;	/* has inherited the hugepage */
	bool swaps;
};

FIXTURE_SETUP(swapped)
{
	struct hp_narrowed *n = &self->n;

	ASSERT_EQ(0, make_swap());
	self->swaps = true;
	ASSERT_EQ(0, hp_narrowed_make(n, HP_PRIVATE, HP_2M, 1));
	ASSERT_EQ(0, hp_mapper_start(&self->child, &n->map, false));
	ASSERT_EQ(0, hp_narrowed_hit(n));
}

FIXTURE_TEARDOWN(swapped)
{
	if (self->child.pid)
		hp_mapper_stop(&self->child);
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
	if (self->swaps)
		EXPECT_EQ(0, said(swapoff("/dev/zram0")));
	EXPECT_EQ(0, hp_write(ZRAM "reset", "1"));
}

/* The parent's own pages, which it copied as the child has the hugepage, go to swap. */
static void page_out(META, struct hp_narrowed *n)
{
	char *raw = hp_narrowed_raw(n);

	EXPECT_EQ(1, hp_stamp(n->map.addr, HP_2M, n->seed));
	EXPECT_EQ(0, madvise(n->map.addr, HP_2M, MADV_PAGEOUT));
	/* all but some in a CPU's batch, which the next call finds */
	EXPECT_EQ(0, madvise(n->map.addr, HP_2M, MADV_PAGEOUT));
	EXPECT_LT(400, count_swapped(n->map.addr, HP_2M / HP_BASE));
	EXPECT_EQ(0, count_swapped(raw, 1));
}

/* Linux 7 reads no page of zram ahead, as it is as fast as memory. */
static bool zram_is_read_ahead(void)
{
	struct utsname us;

	return !uname(&us) && atoi(us.release) < 7;
}

/* Read ahead beside hwpoison entries and the hugepage's, by both users of a swap entry. */
TEST_F(swapped, reads_ahead)
{
	struct hp_narrowed *n = &self->n;
	long ahead = event_count("swap_ra");
	struct hp_mapper second;

	page_out(_metadata, n);
	ASSERT_EQ(0, hp_mapper_start(&second, &n->map, false));
	EXPECT_RIGHT(n);
	EXPECT_EQ(zram_is_read_ahead(), event_count("swap_ra") > ahead);
	EXPECT_EQ(0, hp_ask(&second, HP_OP_LOST, n->map.addr, n->seed).damage);
	EXPECT_EQ(1, hp_ask(&second, HP_OP_LOST, n->map.addr, n->seed).value);
	EXPECT_EQ(1, hp_ask(&self->child, HP_OP_LOST, n->map.addr, n->seed).value);
	EXPECT_EQ(0, hp_mapper_stop(&second));
}

/* The swap area goes: each page comes back to where it was. */
TEST_F(swapped, swaps_off)
{
	struct hp_narrowed *n = &self->n;

	page_out(_metadata, n);
	ASSERT_EQ(0, said(swapoff("/dev/zram0")));
	self->swaps = false;
	EXPECT_EQ(0, count_swapped(n->map.addr, HP_2M / HP_BASE));
	EXPECT_RIGHT(n);
	EXPECT_EQ(0, hp_ask(&self->child, HP_OP_LOST, n->map.addr, n->seed).damage);
}

/* Swapped pages are not lost to a hugepage that is made of the others. */
TEST_F(swapped, is_healed)
{
	struct hp_narrowed *n = &self->n;
	char *raw = hp_narrowed_raw(n);
	long damage;

	page_out(_metadata, n);
	EXPECT_EQ(0, madvise(raw, HP_BASE, MADV_DONTNEED));
	EXPECT_TRUE(hp_all_zero(raw));
	EXPECT_EQ(0, hp_lost(n->map.addr, HP_2M, n->seed, &damage));
	EXPECT_EQ(2, damage);	/* the raw page's, zero now */
	EXPECT_EQ(0, count_swapped(n->map.addr, HP_2M / HP_BASE));
	/* the next discard, with nothing in swap: a hugepage again */
	EXPECT_EQ(0, madvise(raw, HP_BASE, MADV_DONTNEED));
	EXPECT_TRUE(hp_all_zero(raw));
	EXPECT_TRUE(hp_is_hugetlb(raw));
	EXPECT_EQ(0, hp_lost(n->map.addr, HP_2M, n->seed, &damage));
	EXPECT_EQ(2, damage);
}

/* --- hints -------------------------------------------------------------------------- */

#define NUMA_BALANCING	"/proc/sys/kernel/numa_balancing"
#define BALANCE_MS	6000

static long cpu_ms(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

#define OWN	(64 * HP_BASE)	/* bytes of ordinary memory */

/*
 * Used from the far node until the scan came by, which the process's own memory
 * shows: the hugepage stays where it is.
 */
static void use_from_far(META, struct hp_narrowed *n)
{
	long before = event_count("numa_hint_faults");
	char *own = mmap(NULL, OWN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EXPECT_LE(0, before);
	EXPECT_NE(MAP_FAILED, own);
	copy_pages(_metadata, n);
	run_on(n->node);	/* CPUs are dealt out to the nodes in turn */
	memset(own, 1, OWN);
	run_on(!n->node);
	/* it comes once in a second of the process's own time */
	while (cpu_ms() < BALANCE_MS && event_count("numa_hint_faults") - before < 16) {
		EXPECT_RIGHT(n);
		memset(own, 2, OWN);
	}
	EXPECT_LT(0, event_count("numa_hint_faults") - before);
	EXPECT_RIGHT(n);
}

TEST_F_TIMEOUT(system, numa_balancing, 60)
{
	struct hp_narrowed *n = &self->n;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	EXPECT_EQ(0, hp_write(NUMA_BALANCING, "1"));
	EXPECT_EQ(0, run_child(_metadata, use_from_far, n));
	EXPECT_EQ(0, hp_write(NUMA_BALANCING, "0"));
	EXPECT_RIGHT(n);
	EXPECT_EQ(n->pfn - 1, hp_pfn(hp_narrowed_raw(n) - HP_BASE));
}

/* --- memory goes offline ---------------------------------------------------------- */

#define MEMORY	"/sys/devices/system/memory/"
#define OFFLINE_SECONDS	3	/* refused at once, or tried until a signal comes */

TEST_F(system, offline)
{
	struct hp_narrowed *n = &self->n;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	ASSERT_EQ(0, hp_narrowed_populate(n));
	EXPECT_GT(0, hp_try_offline(hp_block(n->pfn), OFFLINE_SECONDS));
	/* the block's free hugepages are given up even so, as on a stock kernel */
	hp_refill(&n->test.before);
	EXPECT_RIGHT(n);
	EXPECT_FALSE(hp_is_hugetlb(hp_narrowed_victim(n)));
}

/* --- long-term pins in memory that has to be movable --------------------------------------- */

FIXTURE(movable) {
	struct hp_narrowed n;
	unsigned long block;	/* of memory, made movable */
	unsigned long first, end;	/* page frames of it */
};

/* A block in which no page is used for anything, so that it goes at once. */
static bool find_unused_block(unsigned long nr, unsigned long *block)
{
	for (*block = 4096; (*block)--;) {
		char path[96];

		snprintf(path, sizeof(path), MEMORY "memory%lu/state", *block);
		if (access(path, F_OK))
			continue;
		if (hp_count_flagged(*block * nr, nr, HP_KPF(10) /* buddy */) == nr &&
		    !hp_set_block(*block, "offline"))
			return true;
	}
	return false;
}

static int resize_pool(int node, long by)
{
	char path[128];

	snprintf(path, sizeof(path),
		 "/sys/devices/system/node/node%d/hugepages/hugepages-2048kB/nr_hugepages", node);
	return hp_write(path, "%ld", hp_read_long("%s", path) + by);
}

FIXTURE_SETUP(movable)
{
	struct hp_narrowed *n = &self->n;
	unsigned long nr = hp_block_pages();

	ASSERT_LT(0, nr);
	ASSERT_TRUE(find_unused_block(nr, &self->block));
	ASSERT_EQ(0, hp_set_block(self->block, "online_movable"));
	self->first = self->block * nr;
	self->end = self->first + nr;
	/* the pool takes of it, and gives what came last first */
	ASSERT_EQ(0, resize_pool(hp_pfn_node(self->first), 4));
	hp_place_on(HP_2M, hp_pfn_node(self->first), 1);
	ASSERT_EQ(0, hp_narrowed_make(n, HP_MEMFD, HP_2M, 3));
	hp_place_anywhere();
	ASSERT_LE(self->first, n->pfn);
	ASSERT_GT(self->end, n->pfn);
}

FIXTURE_TEARDOWN(movable)
{
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
	EXPECT_EQ(0, resize_pool(hp_pfn_node(self->first), -4));
	EXPECT_EQ(0, hp_set_block(self->block, "offline"));
	EXPECT_EQ(0, hp_set_block(self->block, "online"));
}

/* A hugepage that is pinned for long has to move first. A poisoned one cannot. */
static void pin_for_long(META, struct hp_narrowed *n)
{
	char *raw = hp_narrowed_raw(n);
	int ring;

	alarm(HP_PATIENCE_MS / 1000);	/* stock tries for ever */
	for (int i = 0; i < 3; i++) {
		ring = pin(raw + HP_BASE, 16 * HP_BASE);
		EXPECT_LE(0, ring);
		EXPECT_RIGHT(n);
		close(ring);
	}
	EXPECT_EQ(-EFAULT, pin(raw, HP_BASE));
	alarm(0);
}

TEST_F_TIMEOUT(movable, pin, 60)
{
	AS_NOBODY(pin_for_long);
}

TEST_HARNESS_MAIN
