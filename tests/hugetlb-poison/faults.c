// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ends of page faults in hugepages: no fault without a memory error is
 * tried for ever, no fault that cannot wait loses a healthy page, and a copy on
 * write with an empty pool costs no other process its data. And when the last
 * narrowed mapping is gone the kernel stops counting such mappings.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "hp.h"

#define SEED		0xfa07
#define NOBODY		65534
#define AT_ONCE_MS	5000	/* for a fault that ends by itself */
#define IDLE_MS		65000	/* the kernel waits 60 s */

/* Newer than the C library's headers. */
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY	1
#endif
#ifndef UFFDIO_POISON
#define UFFD_FEATURE_POISON	(1 << 14)
struct uffdio_poison {
	struct uffdio_range range;
	__u64 mode;
	__s64 updated;
};

#define UFFDIO_POISON		_IOWR(UFFDIO, 0x08, struct uffdio_poison)
#endif

static void become_nobody(void)
{
	if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY))
		_exit(EXIT_FAILURE);
}

/* Whether a child has ended by itself, well; else kills it. */
static bool ends_well(pid_t pid)
{
	int status;

	for (int ms = 0; ms < AT_ONCE_MS; ms += 10) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) && !WEXITSTATUS(status);
		usleep(10 * 1000);
	}
	printf("# the fault does not end\n");
	kill(pid, SIGKILL);
	usleep(100 * 1000);
	if (waitpid(pid, &status, WNOHANG) != pid)
		printf("# nor does it with SIGKILL\n");
	return false;
}

/* --- errors that user space makes ----------------------------------------------- */

FIXTURE(wanted) {
	struct hp_test test;
};

FIXTURE_VARIANT(wanted) {
	unsigned long size;
	int flags;		/* mmap() */
};

FIXTURE_VARIANT_ADD(wanted, 2M_private) { .size = HP_2M, .flags = MAP_PRIVATE };
FIXTURE_VARIANT_ADD(wanted, 2M_shared) { .size = HP_2M, .flags = MAP_SHARED };
FIXTURE_VARIANT_ADD(wanted, 1G_private) { .size = HP_1G, .flags = MAP_PRIVATE };
FIXTURE_VARIANT_ADD(wanted, 1G_shared) { .size = HP_1G, .flags = MAP_SHARED };

FIXTURE_SETUP(wanted)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	hp_catch_sigbus();
}

FIXTURE_TEARDOWN(wanted)
{
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* A mapping with an error that userfaultfd made in it. */
static int want_error(char *addr, unsigned long size)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_POISON };
	struct uffdio_register reg = {
		.range = { (unsigned long)addr, size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffdio_poison poison = { .range = { (unsigned long)addr, size } };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg) ||
	    ioctl(fd, UFFDIO_POISON, &poison)) {
		printf("# userfaultfd: %s\n", strerror(errno));
		_exit(EXIT_FAILURE);
	}
	return fd;
}

/* Loads, stores and system calls end with the error, each time. */
static bool is_an_error(char *addr, unsigned long size)
{
	struct hp_sigbus bus = hp_touch(addr + HP_BASE, HP_READ);

	return bus.code == BUS_MCEERR_AR && bus.lsb == __builtin_ctzl(size) &&
	       hp_touch(addr, HP_WRITE).code == BUS_MCEERR_AR &&
	       hp_syscall_touch(addr + 1, HP_READ) == -EFAULT &&
	       hp_syscall_touch(addr + 1, HP_WRITE) == -EFAULT;
}

static void poison_and_touch(unsigned long size, int flags)
{
	int huge = MAP_HUGETLB | (size == HP_1G ? MAP_HUGE_1GB : MAP_HUGE_2MB);
	char *addr = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  flags | huge | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct uffdio_range range = { (unsigned long)addr, size };
	bool right;
	int fd;

	if (addr == MAP_FAILED)
		_exit(EXIT_FAILURE);
	fd = want_error(addr, size);
	right = is_an_error(addr, size);
	/* watched or not, it stays one, until it is discarded */
	right &= !ioctl(fd, UFFDIO_UNREGISTER, &range);
	right &= is_an_error(addr, size);
	right &= !madvise(addr, size, MADV_DONTNEED);
	right &= !hp_touch(addr, HP_WRITE).code;
	_exit(right ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* An unprivileged user makes an error: touching it is SIGBUS or EFAULT, at once. */
TEST_F_TIMEOUT(wanted, ends, 60)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		become_nobody();
		poison_and_touch(variant->size, variant->flags);
	}
	EXPECT_TRUE(ends_well(pid));
}

/* --- faults that cannot wait -------------------------------------------------------- */

#define HITS	8		/* the worker is faster now and then */

FIXTURE(hasty) {
	struct hp_test test;
	struct hp_map map;
};

FIXTURE_VARIANT(hasty) {
	enum hp_backing backing;
};

FIXTURE_VARIANT_ADD(hasty, memfd) { .backing = HP_MEMFD };
FIXTURE_VARIANT_ADD(hasty, private) { .backing = HP_PRIVATE };

FIXTURE_SETUP(hasty)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	hp_catch_sigbus();
	hp_kill_late();
	ASSERT_EQ(0, hp_map(&self->map, variant->backing, HP_2M, HITS));
	for (int i = 0; i < HITS; i++)
		hp_stamp(self->map.addr + i * HP_2M, HP_2M, SEED);
}

FIXTURE_TEARDOWN(hasty)
{
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* Adds 1 to the word at @at, as part of waking nobody. Returns 0 or -errno. */
static int wake_op(char *at)
{
	static int other;

	if (syscall(__NR_futex, &other, FUTEX_WAKE_OP_PRIVATE, 1, 1, at,
		    FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 0)) < 0)
		return -errno;
	return 0;
}

static int lock_pi(char *at)
{
	if (syscall(__NR_futex, at, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0))
		return -errno;
	return syscall(__NR_futex, at, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0) ? -errno : 0;
}

/* A futex in a healthy page works right after the error, one in the raw page fails. */
TEST_F_TIMEOUT(hasty, futex, 60)
{
	const unsigned long healthy = 7 * HP_BASE, raw = 9 * HP_BASE + 64;

	for (int i = 0; i < HITS; i++) {
		char *at = self->map.addr + i * HP_2M;
		unsigned long pfn = hp_pfn(at + raw);

		/* not one of the stamps, at both ends of the page */
		*(int *)(at + healthy + 64) = 0;
		ASSERT_NE(HP_NO_PFN, pfn);
		ASSERT_EQ(0, hp_inject(pfn));
		EXPECT_EQ(0, i % 2 ? lock_pi(at + healthy + 64) : wake_op(at + healthy + 64));
		EXPECT_EQ(!(i % 2), *(int *)(at + healthy + 64));
		EXPECT_EQ(-EFAULT, wake_op(at + raw));
		EXPECT_EQ(-EFAULT, lock_pi(at + raw));
	}
}

/* Another process's healthy pages can be read and written right after the error. */
TEST_F_TIMEOUT(hasty, remote, 60)
{
	const unsigned long healthy = 7 * HP_BASE, raw = 9 * HP_BASE;
	unsigned long word, stamp;
	char path[64];
	pid_t pid;
	int fd;

	stamp = *(unsigned long *)(self->map.addr + healthy);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 0; i < HITS; i++)
			hp_touch(self->map.addr + i * HP_2M + 64, HP_READ);
		for (;;)
			pause();
	}
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	for (int i = 0; i < HITS; i++) {
		char *at = self->map.addr + i * HP_2M;
		unsigned long pfn = hp_pfn(at + raw);

		ASSERT_NE(HP_NO_PFN, pfn);
		ASSERT_EQ(0, hp_inject(pfn));
		EXPECT_EQ(sizeof(word), pread(fd, &word, sizeof(word), (off_t)at + healthy));
		EXPECT_EQ(stamp, word);
		EXPECT_EQ(sizeof(word), pwrite(fd, &word, sizeof(word), (off_t)at + healthy));
		EXPECT_EQ(-1, pread(fd, &word, sizeof(word), (off_t)at + raw));
		EXPECT_EQ(EIO, errno);
	}
	close(fd);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* --- a file that ends -------------------------------------------------------------- */

FIXTURE(ended) {
	struct hp_test test;
	struct hp_map map;
};

FIXTURE_SETUP(ended)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	hp_catch_sigbus();
	hp_kill_late();
	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, HP_2M, HITS));
	hp_stamp(self->map.addr, HITS * HP_2M, SEED);
	ASSERT_EQ(0, ftruncate(self->map.fd, (HITS - 1) * HP_2M));
}

FIXTURE_TEARDOWN(ended)
{
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/*
 * A fault waits for a hugepage that the pool may get, for 200 ms after an error. None helps
 * a touch beyond the end of the file: it fails at once.
 */
TEST_F_TIMEOUT(ended, fails_at_once, 60)
{
	char *beyond = self->map.addr + (HITS - 1) * HP_2M;
	long ms, least = AT_ONCE_MS;

	for (int i = 0; i < HITS - 1; i++) {
		ASSERT_EQ(0, hp_inject(hp_pfn(self->map.addr + i * HP_2M)));
		ms = hp_now_ms();
		EXPECT_EQ(BUS_ADRERR, hp_touch(beyond, HP_READ).code);
		ms = hp_now_ms() - ms;
		if (ms < least)
			least = ms;
	}
	EXPECT_GT(100, least);
}

/* --- discarding part of a hugepage ---------------------------------------------- */

FIXTURE(cut) {
	struct hp_test test;
	struct hp_map map;
	char *raw;
};

FIXTURE_VARIANT(cut) {
	unsigned long size, at, len;	/* bytes to discard, and where */
};

FIXTURE_VARIANT_ADD(cut, 2M_begin) { .size = HP_2M, .at = 0, .len = HP_BASE };
FIXTURE_VARIANT_ADD(cut, 2M_middle) { .size = HP_2M, .at = HP_2M / 2, .len = HP_BASE };
FIXTURE_VARIANT_ADD(cut, 2M_end) { .size = HP_2M, .at = HP_2M - HP_BASE, .len = HP_BASE };
FIXTURE_VARIANT_ADD(cut, 1G_block) { .size = HP_1G, .at = HP_1G / 2, .len = HP_2M };

FIXTURE_SETUP(cut)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	hp_catch_sigbus();
	hp_kill_late();
	ASSERT_EQ(0, hp_map(&self->map, HP_PRIVATE, variant->size, 1));
	hp_stamp(self->map.addr, variant->size, SEED);
	self->raw = self->map.addr + variant->at;
}

FIXTURE_TEARDOWN(cut)
{
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* Right after the error, untouched: exactly the part that was named is zero. */
TEST_F_TIMEOUT(cut, is_discarded, 120)
{
	ASSERT_EQ(0, hp_inject(hp_pfn(self->raw)));
	EXPECT_EQ(0, madvise(self->raw, variant->len, MADV_DONTNEED));
	EXPECT_EQ(0, hp_touch(self->raw, HP_READ).code);
	EXPECT_EQ(0, *(unsigned long *)self->raw);
	EXPECT_EQ(0, hp_touch(self->raw + variant->len / 2, HP_WRITE).code);
}

/* Without an error the call does as on stock: rounds down, or refuses. */
TEST_F(cut, is_rounded_without_an_error)
{
	int ret = madvise(self->raw, variant->len, MADV_DONTNEED);

	EXPECT_EQ(variant->at ? -1 : 0, ret);
	EXPECT_EQ(variant->at ? EINVAL : 0, ret ? errno : 0);
	EXPECT_EQ(0, hp_damage(self->map.addr, variant->size, SEED));
}

/* --- a copy on write with an empty pool ------------------------------------------- */

struct shared {
	int step;
	unsigned long pfn;	/* of the first child's raw page */
	long lost, damage;	/* what it finds */
	int raw;
};

FIXTURE(empty_pool) {
	struct hp_test test;
	struct hp_map map;
	struct shared *shared;
	char *filler;
	unsigned long filled;
	pid_t pid[2];
};

FIXTURE_VARIANT(empty_pool) {
	bool narrowed;		/* else its entry only says that there is an error */
};

FIXTURE_VARIANT_ADD(empty_pool, narrowed) { .narrowed = true };
FIXTURE_VARIANT_ADD(empty_pool, not_yet) { .narrowed = false };

FIXTURE_SETUP(empty_pool)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	hp_catch_sigbus();
	hp_kill_late();
	self->shared = mmap(NULL, HP_BASE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->shared);
	ASSERT_EQ(0, hp_map(&self->map, HP_PRIVATE, HP_2M, 1));
	hp_stamp(self->map.addr, HP_2M, SEED);
	self->filled = 0;
	self->pid[0] = 0;
	self->pid[1] = 0;
}

FIXTURE_TEARDOWN(empty_pool)
{
	for (int i = 0; i < 2; i++)
		if (self->pid[i]) {
			kill(self->pid[i], SIGKILL);
			waitpid(self->pid[i], NULL, 0);
		}
	if (self->filled)
		munmap(self->filler, self->filled);
	munmap(self->shared, HP_BASE);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

static void go_on(struct shared *shared, int step)
{
	__atomic_store_n(&shared->step, step, __ATOMIC_SEQ_CST);
}

/* Returns whether the other process got there. */
static bool await_step(struct shared *shared, int step)
{
	for (int ms = 0; ms < AT_ONCE_MS; ms++) {
		if (__atomic_load_n(&shared->step, __ATOMIC_SEQ_CST) == step)
			return true;
		usleep(1000);
	}
	printf("# step %d was never reached\n", step);
	return false;
}

static int watch(char *addr, unsigned long len)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (unsigned long)addr, len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
		_exit(EXIT_FAILURE);
	return fd;
}

/* A child with its own hugepage gets an error, then checks its remaining pages. */
static void own_and_lose(struct shared *shared, char *addr, bool narrowed)
{
	int fd = -1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	hp_stamp(addr, HP_2M, SEED + 1);
	/* userfaultfd keeps the kernel from narrowing */
	if (!narrowed)
		fd = watch(addr, HP_2M);
	shared->pfn = hp_pfn(addr + 5 * HP_BASE);
	if (hp_inject(shared->pfn))
		_exit(EXIT_FAILURE);
	if (narrowed)
		hp_touch(addr, HP_READ);
	go_on(shared, 1);
	await_step(shared, 2);
	if (!narrowed)
		close(fd);
	shared->lost = hp_lost(addr, HP_2M, SEED + 1, &shared->damage);
	shared->raw = hp_touch(addr + 5 * HP_BASE, HP_READ).code;
	go_on(shared, 3);
	for (;;)
		pause();
}

static pid_t start(void (*fn)(struct shared *shared, char *addr, bool narrowed),
		   struct shared *shared, char *addr, bool narrowed)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		fn(shared, addr, narrowed);
	return pid;
}

static void do_nothing(struct shared *shared, char *addr, bool narrowed)
{
	(void)shared;
	(void)addr;
	(void)narrowed;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

/*
 * The owner of a mapping writes to a hugepage that it shares with its second
 * child, and the pool is empty: that child loses it. The first child, which has a
 * hugepage of its own at the same place, loses its raw page and nothing else.
 */
TEST_F_TIMEOUT(empty_pool, copies, 60)
{
	struct hp_state now;
	char *addr = self->map.addr;

	self->pid[0] = start(own_and_lose, self->shared, addr, variant->narrowed);
	ASSERT_TRUE(await_step(self->shared, 1));
	hp_note_poisoned(self->shared->pfn);
	self->pid[1] = start(do_nothing, self->shared, addr, false);

	hp_read_state(&now);
	self->filled = (*hp_at(&now, HP_FREE, HP_2M, HP_ALL) -
			*hp_at(&now, HP_RESV, HP_2M, HP_ALL)) * HP_2M;
	if (self->filled) {
		self->filler = mmap(NULL, self->filled, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB |
				    MAP_POPULATE, -1, 0);
		ASSERT_NE(MAP_FAILED, self->filler);
	}
	hp_read_state(&now);
	ASSERT_EQ(0, *hp_at(&now, HP_FREE, HP_2M, HP_ALL));

	EXPECT_EQ(0, hp_touch(addr, HP_WRITE).code);
	EXPECT_EQ(0, hp_stamp(addr, HP_2M, SEED + 2));
	go_on(self->shared, 2);
	EXPECT_TRUE(await_step(self->shared, 3));
	EXPECT_EQ(1, self->shared->lost);
	EXPECT_EQ(0, self->shared->damage);
	EXPECT_EQ(BUS_MCEERR_AR, self->shared->raw);
	EXPECT_EQ(0, hp_damage(addr, HP_2M, SEED + 2));
}

/*
 * The same where the child has moved its mapping. No error is needed for that: on
 * a stock kernel the owner's write never ends, also as nobody, nor with SIGKILL.
 */
static void copy_from_a_child_that_moved(unsigned long spare)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB;
	char *addr = mmap(NULL, HP_2M, PROT_READ | PROT_WRITE, flags, -1, 0);
	struct shared *shared = mmap(NULL, HP_BASE, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *to;

	if (addr == MAP_FAILED || shared == MAP_FAILED)
		_exit(EXIT_FAILURE);
	hp_stamp(addr, HP_2M, SEED);
	if (!fork()) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		to = mmap(NULL, HP_2M, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, -1, 0);
		if (mremap(addr, HP_2M, HP_2M, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to)
			go_on(shared, 1);
		for (;;)
			pause();
	}
	if (!await_step(shared, 1))
		_exit(EXIT_FAILURE);
	spare -= HP_2M;
	if (spare && mmap(NULL, spare, PROT_READ | PROT_WRITE, flags | MAP_POPULATE, -1, 0) ==
		     MAP_FAILED)
		_exit(EXIT_FAILURE);
	hp_touch(addr, HP_WRITE);
	_exit(hp_stamp(addr, HP_2M, SEED + 1) ? EXIT_FAILURE : EXIT_SUCCESS);
}

TEST_F_TIMEOUT(empty_pool, moved, 60)
{
	struct hp_state now;
	pid_t pid;

	hp_read_state(&now);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		become_nobody();
		copy_from_a_child_that_moved((*hp_at(&now, HP_FREE, HP_2M, HP_ALL) -
					      *hp_at(&now, HP_RESV, HP_2M, HP_ALL)) * HP_2M);
	}
	EXPECT_TRUE(ends_well(pid));
}

/* --- when all is over ------------------------------------------------------------- */

FIXTURE(idle) {
	struct hp_test test;
	struct hp_map map;
};

FIXTURE_SETUP(idle)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	hp_catch_sigbus();
	hp_kill_late();
}

FIXTURE_TEARDOWN(idle)
{
	EXPECT_EQ(0, hp_test_end(&self->test));
}

static bool says_so(struct hp_log *log, int ms)
{
	/* hp_log_find() waits some seconds itself */
	for (time_t end = time(NULL) + ms / 1000; time(NULL) < end;)
		if (hp_log_find(log, "no mapping is narrowed any more"))
			return true;
	return false;
}

static void narrow_one(struct __test_metadata *_metadata, FIXTURE_DATA(idle) *self)
{
	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, HP_2M, 1));
	hp_stamp(self->map.addr, HP_2M, SEED);
	ASSERT_EQ(0, hp_inject(hp_pfn(self->map.addr)));
	EXPECT_EQ(0, hp_touch(self->map.addr + HP_BASE, HP_READ).code);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(self->map.addr, HP_READ).code);
}

/*
 * Mappings below a hugepage's size are counted as long as one is narrowed, and a
 * minute more; then again after the next error.
 */
TEST_F_TIMEOUT(idle, stops_counting, 400)
{
	for (int i = 0; i < 2; i++) {
		narrow_one(_metadata, self);
		hp_log_forget(&self->test.log);
		if (!i)
			EXPECT_FALSE(says_so(&self->test.log, IDLE_MS));
		hp_map_free(&self->map);
		EXPECT_TRUE(says_so(&self->test.log, 2 * IDLE_MS));
	}
}

TEST_HARNESS_MAIN
