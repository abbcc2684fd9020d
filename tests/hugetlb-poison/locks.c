// SPDX-License-Identifier: GPL-2.0-only
/*
 * Users cannot keep others waiting. However many read, heal or sleep with a lock
 * held, an error is handled as fast as without them, all others who map the
 * hugepage are narrowed for, and nobody gets hugepages past his limits. Root's
 * uid is not enough to look or to change what concerns all.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <mm/gup_test.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include "kselftest_harness.h"

#include "hp.h"
#include "hp_child.h"
#include "hp_narrowed.h"
#include "hp_proc.h"

#define HOLE		(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define MEMBERS		100	/* of a crowd, more than a queue can bear */
#define ERRORS		5	/* that are timed */
#define SLACK_MS	250	/* of a timing, in an emulated guest */
#define SOON_MS		3000	/* as long as the worker may take */
#define POOL		"/sys/kernel/mm/hugepages/hugepages-2048kB/"

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int by_length(const void *a, const void *b)
{
	const long *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static long median(long *times, int nr)
{
	qsort(times, nr, sizeof(*times), by_length);
	return times[nr / 2];
}

/* --- a crowd: processes that do the same thing until they are killed ------------- */

struct crowd {
	pid_t group;
	int nr;
};

typedef void (*crowd_fn)(void *what);

static void gather(META, struct crowd *crowd, int nr, crowd_fn fn, void *what)
{
	*crowd = (struct crowd) { .nr = nr };
	for (int i = 0; i < nr; i++) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			setpgid(0, crowd->group);
			setpriority(PRIO_PROCESS, 0, 10);
			for (;;)
				fn(what);
		}
		setpgid(pid, crowd->group);
		if (!crowd->group)
			crowd->group = pid;
	}
}

/* Each of them is gone when this returns, and did what it was to do until now. */
static void disperse(META, struct crowd *crowd)
{
	int status, killed = 0;

	killpg(crowd->group, SIGKILL);
	while (waitpid(-crowd->group, &status, 0) > 0)
		killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	EXPECT_EQ(crowd->nr, killed);
}

static pid_t start_sharer(META, void (*fn)(void *what), void *what)
{
	pid_t pid = fork();

	EXPECT_LE(0, pid);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			fn(what);
	}
	return pid;
}

/*
 * How long errors usually take, in ms; each is undone. One of them may meet a host
 * that has no time for the guest; a lock that users prolong delays most of them.
 */
static long usual_error(META, char *at)
{
	unsigned long pfn = hp_pfn(at);
	long took[ERRORS], start;

	for (int i = 0; i < ERRORS; i++) {
		start = now_ms();
		EXPECT_EQ(0, hp_inject(pfn));
		took[i] = now_ms() - start;
		EXPECT_EQ(0, hp_touch(at + HP_BASE, HP_READ).code);
		EXPECT_EQ(0, hp_unpoison_soon(pfn));
		EXPECT_EQ(0, hp_touch(at, HP_READ).code);
	}
	return median(took, ERRORS);
}

FIXTURE(locks) {
	struct hp_narrowed n;
};

FIXTURE_SETUP(locks)
{
	ASSERT_EQ(0, hp_narrowed_make(&self->n, HP_MEMFD, HP_2M, 3));
}

FIXTURE_TEARDOWN(locks)
{
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

/* --- healers -------------------------------------------------------------------------- */

#define CGROUP	"/sys/fs/cgroup"
#define PAYER	CGROUP "/hp-locks"

/* The raw page of a file, to be punched out. */
struct raw_page {
	int fd;
	off_t at;
};

static void punch_busy(void *what)
{
	struct raw_page *raw = what;

	if (said(fallocate(raw->fd, HOLE, raw->at, HP_BASE)) != EBUSY)
		_exit(EXIT_FAILURE);
}

/* The largest that the pool was while errors came, and how long these took, in ms. */
static long largest_pool(META, char *at, long *usual)
{
	unsigned long pfn = hp_pfn(at);
	long largest = 0, start, nr, took[ERRORS];

	for (int i = 0; i < 10 * ERRORS; i++) {
		nr = hp_read_long(POOL "nr_hugepages");
		largest = nr > largest ? nr : largest;
		usleep(20 * 1000);
		if (i % 10)
			continue;
		start = now_ms();
		EXPECT_EQ(0, hp_inject(pfn));
		took[i / 10] = now_ms() - start;
		EXPECT_EQ(0, hp_unpoison_soon(pfn));
	}
	*usual = median(took, ERRORS);
	return largest;
}

/* All of them want a fresh hugepage for one that somebody does not let go of. */
TEST_F_TIMEOUT(locks, healers, 180)
{
	struct hp_narrowed *n = &self->n;
	struct iovec held = { .iov_base = hp_narrowed_victim(n), .iov_len = HP_BASE };
	struct raw_page raw = { .fd = n->map.fd, .at = n->raw };
	long before, usual;
	struct crowd crowd;
	int fd[2];

	ASSERT_EQ(0, hp_narrowed_hit(n));
	ASSERT_EQ(0, pipe2(fd, O_CLOEXEC));
	ASSERT_EQ((ssize_t)HP_BASE, vmsplice(fd[1], &held, 1, 0));
	EXPECT_EQ(EBUSY, said(fallocate(raw.fd, HOLE, raw.at, HP_BASE)));

	before = hp_read_long(POOL "nr_hugepages");
	gather(_metadata, &crowd, MEMBERS, punch_busy, &raw);
	EXPECT_GE(before + 1, largest_pool(_metadata, n->map.addr, &usual));
	disperse(_metadata, &crowd);
	TH_LOG("%d healers: %ld ms for an error", MEMBERS, usual);
	EXPECT_GE(2 * SLACK_MS, usual);
	EXPECT_EQ(before, hp_read_long(POOL "nr_hugepages"));
	EXPECT_RIGHT(n);

	close(fd[0]);
	close(fd[1]);
	EXPECT_EQ(0, said(fallocate(raw.fd, HOLE, raw.at, HP_BASE)));
	EXPECT_TRUE(hp_all_zero(hp_narrowed_raw(n)));
	EXPECT_EQ(0, hp_unpoison_soon(n->pfn));
	n->hit = false;
	hp_stamp(hp_narrowed_victim(n), HP_2M, n->seed + n->victim);
}

FIXTURE(starved) {
	struct hp_narrowed n;
	struct hp_map other;
};

FIXTURE_SETUP(starved)
{
	ASSERT_EQ(0, hp_narrowed_make(&self->n, HP_MEMFD, HP_2M, 1));
	ASSERT_EQ(0, hp_map(&self->other, HP_MEMFD, HP_2M, 1));
	ASSERT_EQ(0, hp_touch(self->other.addr, HP_WRITE).code);
}

FIXTURE_TEARDOWN(starved)
{
	hp_map_free(&self->other);
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

static void starve(void)
{
	static const struct sched_param none;

	if (sched_getscheduler(0) != SCHED_IDLE &&
	    sched_setscheduler(0, SCHED_IDLE, &none))
		_exit(EXIT_FAILURE);
}

/* Each read of a hugepage takes its lock in turn, whenever the task gets the CPU. */
static void read_starved(void *what)
{
	struct raw_page *raw = what;
	char byte;

	starve();
	if (pread(raw->fd, &byte, 1, raw->at - raw->at % HP_2M) != 1)
		_exit(EXIT_FAILURE);
}

static void punch_starved(void *what)
{
	starve();
	punch_busy(what);
}

static void spin(void *what)
{
	(void)what;
}

static void punch_once(void *what)
{
	struct raw_page *raw = what;

	_exit(said(fallocate(raw->fd, HOLE, raw->at, HP_BASE)));
}

/* How long a heal of a file takes, in ms; it is ended when it takes far too long. */
static long heal_of(META, struct hp_map *map)
{
	unsigned long pfn = hp_pfn(map->addr + 5 * HP_BASE);
	struct raw_page raw = { .fd = map->fd, .at = 5 * HP_BASE };
	long start, ms = 0;
	int status = -1;
	pid_t healer;

	EXPECT_EQ(0, hp_inject(pfn));
	start = now_ms();
	healer = start_sharer(_metadata, punch_once, &raw);
	while (!waitpid(healer, &status, WNOHANG) && ms < 5 * SOON_MS) {
		usleep(1000);
		ms = now_ms() - start;
	}
	if (ms >= 5 * SOON_MS) {
		kill(healer, SIGKILL);
		waitpid(healer, &status, 0);
	}
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, hp_unpoison_soon(pfn));
	EXPECT_EQ(0, hp_touch(map->addr, HP_READ).code);
	return ms;
}

/*
 * Tasks that hardly ever get the CPU heal and read a file: heals of others do not take their
 * turns with them.
 */
TEST_F_TIMEOUT(starved, healers, 300)
{
	const struct sched_param first = { .sched_priority = 1 };
	struct hp_narrowed *n = &self->n;
	struct iovec held = { .iov_base = hp_narrowed_victim(n), .iov_len = HP_BASE };
	struct raw_page raw = { .fd = n->map.fd, .at = n->raw };
	struct crowd readers, healers, spinners;
	long ms[ERRORS];
	int fd[2];

	ASSERT_EQ(0, hp_narrowed_hit(n));
	ASSERT_EQ(0, pipe2(fd, O_CLOEXEC));
	ASSERT_EQ((ssize_t)HP_BASE, vmsplice(fd[1], &held, 1, 0));
	gather(_metadata, &healers, 2, punch_starved, &raw);
	gather(_metadata, &readers, MEMBERS, read_starved, &raw);
	usleep(500 * 1000);	/* until they queue */
	gather(_metadata, &spinners, 8 * sysconf(_SC_NPROCESSORS_ONLN), spin, NULL);
	ASSERT_EQ(0, sched_setscheduler(0, SCHED_FIFO, &first));
	for (int i = 0; i < ERRORS; i++)
		ms[i] = heal_of(_metadata, &self->other);
	disperse(_metadata, &spinners);
	disperse(_metadata, &healers);
	disperse(_metadata, &readers);
	TH_LOG("beside starved healers and readers: %ld ms for a heal", median(ms, ERRORS));
	EXPECT_GE(2 * SOON_MS, ms[ERRORS - 1]);
	close(fd[0]);
	close(fd[1]);
}

FIXTURE(copying) {
	struct hp_narrowed n;
	struct hp_map other;
};

FIXTURE_VARIANT(copying) {
	unsigned long size;
};

/* Emulated, a GiB is copied in half a minute. */
FIXTURE_VARIANT_ADD(copying, 1G) { .size = HP_1G };

FIXTURE_SETUP(copying)
{
	ASSERT_EQ(0, hp_narrowed_make(&self->n, HP_MEMFD, variant->size, 1));
	ASSERT_EQ(0, hp_map(&self->other, HP_MEMFD, HP_2M, 1));
	ASSERT_EQ(0, hp_touch(self->other.addr, HP_WRITE).code);
}

FIXTURE_TEARDOWN(copying)
{
	hp_map_free(&self->other);
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

static void punch_raw_page(META, struct hp_narrowed *n)
{
	EXPECT_EQ(0, said(fallocate(n->map.fd, HOLE, n->raw, HP_BASE)));
}

/* An error elsewhere does not wait for a copy. */
TEST_F_TIMEOUT(copying, no_delay, 180)
{
	struct hp_narrowed *n = &self->n;
	pid_t healer;
	long ms;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	healer = start_child(_metadata, punch_raw_page, n);
	usleep(500 * 1000);	/* until the copy is under way */
	ms = usual_error(_metadata, self->other.addr);
	TH_LOG("while %lu kB are copied: %ld ms for an error", variant->size >> 10, ms);
	EXPECT_GE(2 * SLACK_MS, ms);
	EXPECT_EQ(0, waitpid(healer, NULL, WNOHANG)) {
		TH_LOG("the copy was over too soon to tell");
	}
	EXPECT_EQ(healer, waitpid(healer, NULL, 0));
	EXPECT_TRUE(hp_all_zero(hp_narrowed_raw(n)));
	EXPECT_EQ(0, hp_unpoison_soon(n->pfn));
	n->hit = false;
}

/* The cgroup has what it may have: it has to give room for the second hugepage. */
static void heal_at_limit(META, struct hp_narrowed *n)
{
	long paid = 3 * (long)HP_2M;
	int fd;

	EXPECT_EQ(0, hp_write(PAYER "/hugetlb.2MB.max", "%ld", paid));
	EXPECT_EQ(0, hp_write(PAYER "/cgroup.procs", "0"));
	EXPECT_EQ(0, hp_map(&n->map, HP_MEMFD, HP_2M, 3));
	EXPECT_EQ(0, hp_narrowed_stamp(n));
	fd = n->map.fd;
	EXPECT_EQ(0, hp_narrowed_hit(n));
	EXPECT_EQ(ENOMEM, said(fallocate(fd, HOLE, n->raw, HP_BASE)));
	EXPECT_EQ(paid, hp_read_long(PAYER "/hugetlb.2MB.current"));
	EXPECT_RIGHT(n);

	EXPECT_EQ(0, hp_write(PAYER "/hugetlb.2MB.max", "%ld", paid + (long)HP_2M));
	EXPECT_EQ(0, said(fallocate(fd, HOLE, n->raw, HP_BASE)));
	EXPECT_EQ(paid, hp_read_long(PAYER "/hugetlb.2MB.current"));
	EXPECT_TRUE(hp_all_zero(hp_narrowed_raw(n)));
	EXPECT_EQ(0, hp_unpoison_soon(n->pfn));
	hp_map_free(&n->map);
	EXPECT_EQ(0, hp_read_long(PAYER "/hugetlb.2MB.current"));
}

/* The harness shares what a child expects with its parent for fixtures only. */
FIXTURE(users) {
	struct hp_narrowed n;
};

FIXTURE_SETUP(users)
{
	ASSERT_EQ(0, hp_test_begin(&self->n.test, HP_2M));
	hp_catch_sigbus();
}

FIXTURE_TEARDOWN(users)
{
	EXPECT_EQ(0, hp_test_end(&self->n.test));
}

TEST_F(users, limit)
{
	ASSERT_EQ(0, hp_write(CGROUP "/cgroup.subtree_control", "+hugetlb"));
	ASSERT_EQ(0, mkdir(PAYER, 0755));
	EXPECT_EQ(0, run_child(_metadata, heal_at_limit, &self->n));
	EXPECT_EQ(0, rmdir(PAYER));
}

/* --- mappers that the worker narrows for ------------------------------------------------ */

#define SHARERS		70	/* more than the worker looks up at a time */
#define STUCK_PAGES	(1UL << 20)
#define TRIES		5

static bool is_narrowed(pid_t pid, const char *at)
{
	struct hp_vma vma;

	return !hp_vma_at(pid, at, &vma) && !hp_vma_flag(&vma, "ht");
}

static void idle(void *what)
{
	(void)what;
	pause();
}

/* Sits in one call with mmap_lock held for reading: pages are got one by one. */
static void hold_mmap_lock(void *pipe_fd)
{
	int gup = open("/sys/kernel/debug/gup_test", O_RDWR | O_CLOEXEC);
	char *zeros = mmap(NULL, STUCK_PAGES * HP_BASE, PROT_READ,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct gup_test get = {
		.addr = (unsigned long)zeros, .size = STUCK_PAGES * HP_BASE,
		.nr_pages_per_call = 1,
	};

	if (gup < 0 || zeros == MAP_FAILED || write(*(int *)pipe_fd, "", 1) != 1)
		_exit(EXIT_FAILURE);
	for (;;)
		ioctl(gup, GUP_BASIC_TEST, &get);
}

static void end(pid_t *pids, int nr)
{
	for (int i = 0; i < nr; i++)
		kill(pids[i], SIGKILL);
	for (int i = 0; i < nr; i++)
		waitpid(pids[i], NULL, 0);
}

/* Of processes that sleep; how many are not narrowed when the time is up. */
static int not_narrowed(const pid_t *pids, int nr, const char *at)
{
	long give_up = now_ms() + SOON_MS;
	int wide;

	do {
		usleep(20 * 1000);
		wide = 0;
		for (int i = 0; i < nr; i++)
			wide += !is_narrowed(pids[i], at);
	} while (wide && now_ms() < give_up);
	return wide;
}

/* However many there are, all are narrowed for. */
TEST_F_TIMEOUT(locks, many_mappers, 60)
{
	struct hp_narrowed *n = &self->n;
	pid_t pids[SHARERS];

	for (int i = 0; i < SHARERS; i++)
		pids[i] = start_sharer(_metadata, idle, NULL);
	ASSERT_EQ(0, hp_inject(n->pfn));
	n->hit = true;
	EXPECT_EQ(0, not_narrowed(pids, SHARERS, hp_narrowed_victim(n)));
	end(pids, SHARERS);
	EXPECT_EQ(0, hp_touch(hp_narrowed_victim(n), HP_READ).code);
	EXPECT_RIGHT(n);
}

/*
 * Two mappers that hold their mmap_lock, one before the victim and one behind it.
 * Between two calls they drop the lock for a moment, and the worker may come then:
 * return false if it did, as that try proves nothing.
 */
static bool is_narrowed_beside_stuck(META, struct hp_narrowed *n)
{
	pid_t stuck[2], other;
	char ready[2];
	bool wide;
	int fd[2];

	ASSERT_EQ(0, pipe2(fd, O_CLOEXEC));
	stuck[0] = start_sharer(_metadata, hold_mmap_lock, &fd[1]);
	other = start_sharer(_metadata, idle, NULL);
	stuck[1] = start_sharer(_metadata, hold_mmap_lock, &fd[1]);
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(1, read(fd[0], ready, 1));
	usleep(100 * 1000);	/* until both are in the call for good */

	ASSERT_EQ(0, hp_inject(n->pfn));
	n->hit = true;
	EXPECT_EQ(0, not_narrowed(&other, 1, hp_narrowed_victim(n)));
	wide = !is_narrowed(stuck[0], hp_narrowed_victim(n)) &&
	       !is_narrowed(stuck[1], hp_narrowed_victim(n));
	end(stuck, 2);
	end(&other, 1);
	close(fd[0]);
	close(fd[1]);
	EXPECT_EQ(0, hp_touch(hp_narrowed_victim(n), HP_READ).code);
	EXPECT_RIGHT(n);
	return wide;
}

TEST_F_TIMEOUT(locks, stuck_mapper, 60)
{
	struct hp_narrowed *n = &self->n;
	bool stuck = false;

	ASSERT_EQ(0, access("/sys/kernel/debug/gup_test", R_OK)) {
		TH_LOG("needs CONFIG_GUP_TEST");
	}
	for (int i = 0; i < TRIES && !stuck; i++) {
		if (n->hit)
			ASSERT_EQ(0, hp_unpoison_soon(n->pfn));
		n->hit = false;
		/* from here on a hugepage again, and for those that are forked */
		ASSERT_EQ(0, hp_touch(hp_narrowed_victim(n), HP_READ).code);
		ASSERT_FALSE(is_narrowed(getpid(), hp_narrowed_victim(n)));
		stuck = is_narrowed_beside_stuck(_metadata, n);
	}
	EXPECT_TRUE(stuck);
}

FIXTURE(zeroing) {
	struct hp_narrowed n;
	struct hp_map big;
};

FIXTURE_VARIANT(zeroing) {
	unsigned long size;
};

FIXTURE_VARIANT_ADD(zeroing, 1G) { .size = HP_1G };

FIXTURE_SETUP(zeroing)
{
	ASSERT_EQ(0, hp_narrowed_make(&self->n, HP_MEMFD, HP_2M, 3));
	ASSERT_EQ(0, hp_map(&self->big, HP_MEMFD, variant->size, 2));
}

FIXTURE_TEARDOWN(zeroing)
{
	hp_map_free(&self->big);
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

struct zeroed {
	char *hugepage;
	int done[2];
};

/*
 * The kernel zeroes a hugepage before a write, which takes seconds for a GiB,
 * emulated.
 */
static void zero(void *what)
{
	struct zeroed *zeroed = what;

	*zeroed->hugepage = 1;
	if (write(zeroed->done[1], "", 1) != 1)
		_exit(EXIT_FAILURE);
	pause();
}

/*
 * The worker does not wait for a page fault in a mapping that it is to narrow. It narrows
 * for others meanwhile.
 */
TEST_F_TIMEOUT(zeroing, no_delay, 180)
{
	struct hp_narrowed *n = &self->n;
	struct hp_map *big = &self->big;
	struct zeroed zeroed = { .hugepage = big->addr + big->size };
	struct pollfd done;
	unsigned long pfn;
	pid_t zeroer, other;

	ASSERT_EQ(0, pipe(zeroed.done));
	done = (struct pollfd){ .fd = zeroed.done[0], .events = POLLIN };
	ASSERT_EQ(0, hp_touch(big->addr, HP_WRITE).code);
	pfn = hp_pfn(big->addr + 3 * HP_BASE);
	other = start_sharer(_metadata, idle, NULL);
	zeroer = start_sharer(_metadata, zero, &zeroed);
	usleep(40 * 1000);	/* until it is in the fault */
	EXPECT_EQ(0, hp_inject(pfn));
	usleep(80 * 1000);	/* until the worker is there */
	EXPECT_EQ(0, hp_narrowed_hit(n));
	EXPECT_EQ(0, not_narrowed(&other, 1, hp_narrowed_victim(n)));
	EXPECT_EQ(0, poll(&done, 1, 0)) {
		TH_LOG("the worker waited, or the hugepage was zeroed too soon to tell");
	}
	end(&zeroer, 1);
	close(zeroed.done[0]);
	close(zeroed.done[1]);
	end(&other, 1);
	hp_map_free(big);
	EXPECT_EQ(0, hp_unpoison_soon(pfn));
}

/* --- who maps a hugepage very often ---------------------------------------------------------- */

#define MOST_MAPPINGS	60000UL	/* of one process: a few less than it may have */
#define WALK_MS		16	/* longer than an error's own time */
#define ROUNDS		9

/* A file of two hugepages: one has errors, the other is mapped very often. */
struct often_mapped {
	struct hp_map map;
	long walk_ms;	/* how long it takes to walk all the mappings, when known */
};

/* All the mappings are walked, with the lock held that keeps them. */
static long punch_other(struct often_mapped *f)
{
	long start = now_ms();

	if (fallocate(f->map.fd, HOLE, HP_2M, HP_2M))
		_exit(EXIT_FAILURE);
	return now_ms() - start;
}

/* A process maps the other hugepage until it takes long to walk. */
static long map_often(struct often_mapped *f)
{
	char *at = mmap(NULL, (MOST_MAPPINGS + 1) * HP_2M, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	long ms;

	if (at == MAP_FAILED)
		_exit(EXIT_FAILURE);
	at += HP_2M - (unsigned long)at % HP_2M;
	for (unsigned long i = 0; i < MOST_MAPPINGS; i++, at += HP_2M) {
		if (mmap(at, HP_2M, PROT_READ, MAP_SHARED | MAP_FIXED, f->map.fd, HP_2M) != at)
			_exit(EXIT_FAILURE);
		if (i % 500)
			continue;
		ms = punch_other(f);
		if (ms >= WALK_MS)
			return ms;
	}
	_exit(EXIT_FAILURE);
}

static void map_and_punch(void *what)
{
	struct often_mapped *f = what;
	long ms = f->walk_ms ? 0 : map_often(f);

	if (!ms)
		punch_other(f);
	else
		__atomic_store_n(&f->walk_ms, ms, __ATOMIC_RELEASE);
}

static bool is_mapped_often(struct often_mapped *f)
{
	return hp_await(__atomic_load_n(&f->walk_ms, __ATOMIC_ACQUIRE),
			"a hugepage is mapped so often that it takes %d ms to walk", WALK_MS);
}

static void *report(void *pfn)
{
	return (void *)(long)hp_inject(*(unsigned long *)pfn);
}

/* How long an error takes, in ms, right after one at @theirs was reported. */
static long error_behind(META, unsigned long theirs, unsigned long pfn)
{
	void *ret = NULL;
	pthread_t other;
	long start, ms;

	EXPECT_EQ(0, pthread_create(&other, NULL, report, &theirs));
	usleep(5 * 1000);	/* until it waits */
	start = now_ms();
	EXPECT_EQ(0, hp_inject(pfn));
	ms = now_ms() - start;
	EXPECT_EQ(0, pthread_join(other, &ret));
	EXPECT_EQ(NULL, ret);
	EXPECT_EQ(0, hp_unpoison_soon(pfn));
	return ms;
}

FIXTURE(often) {
	struct often_mapped *theirs;	/* in memory that all processes of the test share */
	struct hp_map ours;
	unsigned long pfn;
};

FIXTURE_SETUP(often)
{
	self->theirs = mmap(NULL, sizeof(*self->theirs), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->theirs);
	ASSERT_EQ(0, hp_map(&self->theirs->map, HP_MEMFD, HP_2M, 2));
	ASSERT_EQ(0, hp_map(&self->ours, HP_MEMFD, HP_2M, 1));
	ASSERT_EQ(0, hp_touch(self->ours.addr, HP_WRITE).code);
	self->pfn = hp_pfn(self->ours.addr);
}

FIXTURE_TEARDOWN(often)
{
	hp_map_free(&self->theirs->map);
	hp_map_free(&self->ours);
	munmap(self->theirs, sizeof(*self->theirs));
	hp_undo(0);
}

/* An error waits for the locks of its file; those in other files do not wait for it. */
TEST_F_TIMEOUT(often, punched, 180)
{
	struct often_mapped *theirs = self->theirs;
	struct crowd puncher;
	unsigned long pfn;
	long ms[ROUNDS];

	ASSERT_EQ(0, hp_touch(theirs->map.addr, HP_WRITE).code);
	pfn = hp_pfn(theirs->map.addr);
	gather(_metadata, &puncher, 1, map_and_punch, theirs);
	ASSERT_TRUE(is_mapped_often(theirs));

	for (int i = 0; i < ROUNDS; i++)
		ms[i] = error_behind(_metadata, pfn + 1 + i, self->pfn);
	disperse(_metadata, &puncher);
	TH_LOG("the lock is held for %ld ms: %ld ms for an error elsewhere", theirs->walk_ms,
	       median(ms, ROUNDS));
	EXPECT_GE(theirs->walk_ms / 4, median(ms, ROUNDS));
}

/* --- how much of a CPU the workers use ---------------------------------------------------- */

#define WORKED_MS	4000	/* for so long their time is measured */
#define WORKED_PERCENT	20	/* of a CPU: as much as they may use of it */

/* The CPU time in ms that a process has had, if it is a worker at the workers' priority. */
static double worker_ms(const char *pid)
{
	char path[300], name[64] = "";
	long nice = 0, ran = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%*d (%63[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u "
			 "%*d %*d %*d %ld", name, &nice) != 2)
		nice = 0;
	if (f)
		fclose(f);
	if (nice != -20 || strncmp(name, "kworker/u", 9))
		return 0;
	snprintf(path, sizeof(path), "/proc/%s/schedstat", pid);
	ran = hp_read_long("%s", path);
	return ran > 0 ? ran / 1e6 : 0;
}

static double workers_ms(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	double ms = 0;

	while (proc && (entry = readdir(proc)))
		if (entry->d_name[0] > '0' && entry->d_name[0] <= '9')
			ms += worker_ms(entry->d_name);
	if (proc)
		closedir(proc);
	return ms;
}

/* How many percent of a CPU the workers use for some time. */
static int percent_worked(void)
{
	double worked = workers_ms();
	long start = now_ms();

	usleep(WORKED_MS * 1000);
	return 100 * (workers_ms() - worked) / (now_ms() - start);
}

/*
 * A process with as many mappings of a poisoned hugepage as it may have. One more is of two
 * hugepages, and cannot be split for want of mappings. Each futex call there is a fault that
 * cannot wait, so it calls the worker.
 */
static void call_worker(void *what)
{
	struct often_mapped *f = what;
	char *at, *both = mmap(NULL, 2 * HP_2M, PROT_READ | PROT_WRITE, MAP_SHARED,
			       f->map.fd, 0);
	unsigned int *word = (unsigned int *)both, nr = 0;

	at = mmap(NULL, (2 * MOST_MAPPINGS) * HP_2M, PROT_NONE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (both == MAP_FAILED || at == MAP_FAILED)
		_exit(EXIT_FAILURE);
	at += HP_2M - (unsigned long)at % HP_2M;
	while (mmap(at, HP_2M, PROT_READ, MAP_SHARED | MAP_FIXED, f->map.fd, 0) == at) {
		at += HP_2M;
		nr++;
	}
	if (nr < MOST_MAPPINGS)
		_exit(EXIT_FAILURE);
	__atomic_store_n(&f->walk_ms, WALK_MS, __ATOMIC_RELEASE);
	for (;;)
		syscall(SYS_futex, word, FUTEX_WAKE_OP, 1, 1, word + 1,
			FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 0));
}

/* A process does not get more of a CPU by what the workers do for it. */
TEST_F_TIMEOUT(often, called, 300)
{
	struct often_mapped *theirs = self->theirs;
	struct crowd caller;
	int percent;

	ASSERT_EQ(0, hp_touch(theirs->map.addr, HP_WRITE).code);
	gather(_metadata, &caller, 1, call_worker, theirs);
	ASSERT_TRUE(is_mapped_often(theirs));
	ASSERT_EQ(0, hp_inject(hp_pfn(theirs->map.addr) + 5));
	usleep(WORKED_MS * 1000);	/* until the worker has narrowed what it can */
	percent = percent_worked();
	disperse(_metadata, &caller);
	TH_LOG("the workers use %d %% of a CPU", percent);
	EXPECT_GE(WORKED_PERCENT, percent);
}

/* --- page faults of others ------------------------------------------------------------------ */

/*
 * Faults share mutexes by a hash of the file and the place in it. A private mapping and a shared
 * one certainly share the mutex of the same place.
 */
FIXTURE(queued) {
	struct hp_narrowed n;
	struct hp_map other;
	char *copied;	/* the private mapping of a hugepage */
	long *copies;	/* of it that were made so far, in memory that all share */
};

FIXTURE_SETUP(queued)
{
	ASSERT_EQ(0, hp_narrowed_make(&self->n, HP_MEMFD, HP_2M, 1));
	ASSERT_EQ(0, hp_map(&self->other, HP_MEMFD, HP_2M, 1));
	ASSERT_EQ(0, hp_touch(self->other.addr, HP_WRITE).code);
	self->copied = mmap(NULL, HP_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE,
			    self->other.fd, 0);
	ASSERT_NE(MAP_FAILED, self->copied);
	*self->copied = 1;
	self->copies = mmap(NULL, HP_BASE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			    -1, 0);
	ASSERT_NE(MAP_FAILED, self->copies);
}

FIXTURE_TEARDOWN(queued)
{
	EXPECT_EQ(0, munmap(self->copies, HP_BASE));
	EXPECT_EQ(0, munmap(self->copied, HP_2M));
	hp_map_free(&self->other);
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

/* The fault of a child that writes copies the hugepage, with the mutex held. */
static void copy_in_child(void *data)
{
	FIXTURE_DATA(queued) *self = data;
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		*self->copied = 2;
		__atomic_add_fetch(self->copies, 1, __ATOMIC_SEQ_CST);
		_exit(EXIT_SUCCESS);
	}
	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		_exit(EXIT_FAILURE);
}

/* How many copies others make while a touch of the raw page fails after an error. */
static long copies_meanwhile(META, FIXTURE_DATA(queued) *self)
{
	char *raw = self->other.addr + HP_BASE;
	unsigned long pfn = hp_pfn(raw);
	long before;

	EXPECT_EQ(0, hp_inject(pfn));
	before = __atomic_load_n(self->copies, __ATOMIC_SEQ_CST);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(raw, HP_READ).code);
	before = __atomic_load_n(self->copies, __ATOMIC_SEQ_CST) - before;
	EXPECT_EQ(0, hp_unpoison_soon(pfn));
	EXPECT_EQ(0, hp_touch(raw, HP_READ).code);
	return before;
}

/*
 * A touch of a raw page does not queue with the page faults of others. The narrow worker often
 * comes before the touch, which needs no mutex then: of nine a few would have waited.
 */
TEST_F_TIMEOUT(queued, touches, 180)
{
	const struct sched_param first = { .sched_priority = 1 };
	struct crowd crowd;
	long copies = 0;

	ASSERT_EQ(0, hp_narrowed_hit(&self->n));
	gather(_metadata, &crowd, MEMBERS, copy_in_child, self);
	ASSERT_EQ(0, sched_setscheduler(0, SCHED_FIFO, &first));
	usleep(1000 * 1000);	/* until they queue */
	for (int i = 0; i < ROUNDS; i++)
		copies += copies_meanwhile(_metadata, self);
	disperse(_metadata, &crowd);
	TH_LOG("others made %ld copies during %d touches", copies, ROUNDS);
	EXPECT_GE(2 * MEMBERS, copies);
}

/* --- what concerns all ---------------------------------------------------------------------- */

static int open_and_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), error;

	if (fd < 0)
		return errno;
	error = said(write(fd, text, strlen(text)));
	close(fd);
	return error;
}

static void expect_refused(META)
{
	int fd = open("/proc/hugepoison/bad_pages", O_RDONLY | O_CLOEXEC), error = errno;

	EXPECT_GT(0, fd);
	EXPECT_TRUE(error == EPERM || error == EACCES);
	EXPECT_NE(0, open_and_write(HP_SYSFS "containment", "page"));
	EXPECT_NE(0, open_and_write(HP_SYSFS "replace", "1"));
	EXPECT_NE(0, open_and_write(HP_DEBUGFS "corrupt-free-hugepage", "2M 0"));
	EXPECT_NE(0, open_and_write(HP_DEBUGFS "corrupt-filter-hugepage-size", "0"));
	EXPECT_NE(0, open_and_write(HP_DEBUGFS "corrupt-filter-hugetlb-cgroup", "0"));
}

/* Root in a container: uid 0, without the capabilities. */
static void without_capabilities(META, struct hp_narrowed *n)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { };

	(void)n;
	EXPECT_EQ(0, syscall(SYS_capset, &header, none));
	EXPECT_EQ(0, geteuid());
	expect_refused(_metadata);
}

/* Root of a user namespace: with all capabilities there. */
static void in_user_namespace(META, struct hp_narrowed *n)
{
	(void)n;
	EXPECT_EQ(0, unshare(CLONE_NEWUSER));
	EXPECT_EQ(0, hp_write("/proc/self/uid_map", "0 0 1"));
	EXPECT_EQ(0, geteuid());
	expect_refused(_metadata);
}

TEST_F(users, capabilities)
{
	EXPECT_EQ(0, open_and_write(HP_SYSFS "containment", "page"));
	EXPECT_EQ(0, open_and_write(HP_SYSFS "replace", "1"));
	EXPECT_EQ(0, access("/proc/hugepoison/bad_pages", R_OK));
	EXPECT_EQ(0, run_child(_metadata, without_capabilities, &self->n));
	EXPECT_EQ(0, run_child(_metadata, in_user_namespace, &self->n));
}

TEST_HARNESS_MAIN
