// SPDX-License-Identifier: GPL-2.0-only
/*
 * A private GiB becomes a hugepage again by one page table at a time. Meanwhile, or
 * while the GiB is stuck half-way, its process and children write, fork, discard, pin:
 * each has the bytes that it should have. All variants are of 1 GiB, and want a second one
 * in the pool: make test T=stepwise FULL=1
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "kselftest_harness.h"

#include "hp_child.h"
#include "hp_proc.h"

#define SEED		0x57e9
#define SIZE		HP_1G
#define TABLES		512		/* page tables of it */
#define RAW_TABLE	5		/* that has the raw page */
#define STOP_TABLE	300		/* where promoting has to stop */
#define MOVED_TABLE	3		/* one before, moved by then */
#define LEFT_TABLE	400		/* one after it */
#define BYTE		100		/* of a page: no stamp is there */
#define LONG_MS		10000		/* the worker looks at the pool each 4 s */

struct gib {
	struct hp_test test;
	struct hp_map map;
	char *raw;		/* where the raw page is mapped */
	unsigned long pfn;	/* the raw page */
	int pipes[2];		/* hold a page while they are open */
};

/* A page of a table: one that hp_stamp() stamps, the next is not. */
static char *page_of(struct gib *g, int table)
{
	return g->map.addr + table * HP_2M;
}

static int make(struct gib *g, bool file)
{
	int ret = hp_test_begin(&g->test, SIZE);

	hp_catch_sigbus();
	if (ret)
		return ret;
	if (file) {
		g->map = (struct hp_map){ .backing = HP_PRIVATE, .size = SIZE, .nr = 1 };
		g->map.fd = memfd_create("stepwise", MFD_HUGETLB | MFD_HUGE_1GB);
		if (g->map.fd < 0 || ftruncate(g->map.fd, SIZE))
			return -errno;
		g->map.addr = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE,
				   g->map.fd, 0);
		if (g->map.addr == MAP_FAILED)
			return -errno;
	} else {
		ret = hp_map(&g->map, HP_PRIVATE, SIZE, 1);
	}
	if (ret)
		return ret;
	hp_stamp(g->map.addr, SIZE, SEED);
	g->raw = page_of(g, RAW_TABLE);
	g->pfn = hp_pfn(g->raw);
	return g->pfn == HP_NO_PFN ? -ENODATA : 0;
}

static int end(struct gib *g)
{
	hp_map_free(&g->map);
	return hp_test_end(&g->test);
}

static bool is_huge(const char *addr)
{
	struct hp_vma vma;

	return !hp_vma_at(getpid(), addr, &vma) && hp_vma_flag(&vma, "ht");
}

/* Whether a page is in the hugepage that the error has hit. */
static bool is_in_old(struct gib *g, char *addr)
{
	hp_touch(addr, HP_READ);
	return hp_pfn(addr) / (SIZE / HP_BASE) == g->pfn / (SIZE / HP_BASE);
}

static void hit(META, struct gib *g)
{
	ASSERT_EQ(0, hp_inject(g->pfn));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(g->raw, HP_READ).code);
}

/*
 * Whether a page gets into the fresh hugepage: the fault after the discard moves it there, or,
 * if somebody has a reference to the hugepage just then, a task does that computes.
 */
static bool moves(struct gib *g, char *page)
{
	long until = hp_now_ms() + HP_PATIENCE_MS;

	while (is_in_old(g, page) && hp_now_ms() < until)
		;
	return !is_in_old(g, page);
}

/* The fault after the discard promotes, as far as it can. */
static void discard_raw(META, struct gib *g)
{
	ASSERT_EQ(0, madvise(g->raw, HP_BASE, MADV_DONTNEED));
	EXPECT_TRUE(hp_all_zero(g->raw));
}

/* Each page has its two stamps, but those of @zeroed pages. */
static void expect_stamps(META, const char *addr, unsigned int seed, int zeroed)
{
	long damage;

	EXPECT_EQ(0, hp_lost(addr, SIZE, seed, &damage));
	EXPECT_EQ(2 * zeroed, damage);
}

/* Compute until a range is a hugepage: the worker leaves it to a task that does. */
static bool becomes_huge(const char *addr, long ms)
{
	long until = hp_now_ms() + ms;

	while (!is_huge(addr) && hp_now_ms() < until)
		;
	return is_huge(addr);
}

static void expect_huge(META, const char *addr)
{
	EXPECT_TRUE(becomes_huge(addr, HP_PATIENCE_MS)) {
		TH_LOG("waited for the range to be a hugepage");
	}
}

/* The worker has looked at it by then. */
static void expect_narrow(META, const char *addr)
{
	EXPECT_FALSE(becomes_huge(addr, LONG_MS));
}

static void hold(META, struct gib *g, char *page)
{
	struct iovec iov = { .iov_base = page, .iov_len = HP_BASE };

	ASSERT_EQ(0, pipe(g->pipes));
	ASSERT_EQ((ssize_t)HP_BASE, vmsplice(g->pipes[1], &iov, 1, 0));
}

static void let_go(struct gib *g)
{
	close(g->pipes[0]);
	close(g->pipes[1]);
}

/* --- stuck half-way ----------------------------------------------------------------- */

FIXTURE(stopped) {
	struct gib g;
	char *own;		/* a page of the process's own, in a pipe */
};

FIXTURE_VARIANT(stopped) {
	bool file;
};

FIXTURE_VARIANT_ADD(stopped, 1G_anon) { .file = false };
FIXTURE_VARIANT_ADD(stopped, 1G_file) { .file = true };

/* A page that a pipe holds cannot move, so the tables from there on do not. */
FIXTURE_SETUP(stopped)
{
	struct gib *g = &self->g;

	ASSERT_EQ(0, make(g, variant->file));
	self->own = page_of(g, STOP_TABLE);
	hit(_metadata, g);
	ASSERT_EQ(0, madvise(self->own, HP_BASE, MADV_DONTNEED));
	self->own[BYTE] = 1;
	hold(_metadata, g, self->own);
	discard_raw(_metadata, g);
	ASSERT_FALSE(is_huge(g->raw));
	expect_stamps(_metadata, g->map.addr, SEED, 2);
	ASSERT_TRUE(moves(g, page_of(g, MOVED_TABLE))) {
		TH_LOG("waited for the range to move");
	}
	ASSERT_TRUE(is_in_old(g, page_of(g, LEFT_TABLE)));
}

FIXTURE_TEARDOWN(stopped)
{
	EXPECT_EQ(0, end(&self->g));
}

/* All pages as they were; one hugepage, in the pool's count as well. */
static void expect_promoted(META, struct gib *g, char *own, int zeroed)
{
	expect_huge(_metadata, g->raw);
	expect_stamps(_metadata, g->map.addr, SEED, zeroed);
	EXPECT_EQ(1, own[BYTE]);
	EXPECT_EQ((long)SIZE >> 10, hp_status_kb(getpid(), "HugetlbPages"));
	EXPECT_FALSE(is_in_old(g, g->raw));
	EXPECT_FALSE(is_in_old(g, page_of(g, LEFT_TABLE)));
}

/* The process reads and writes both parts; what is in the pipe is what it wrote. */
TEST_F_TIMEOUT(stopped, goes_on, 120)
{
	struct gib *g = &self->g;
	char *moved = page_of(g, MOVED_TABLE), *left = page_of(g, LEFT_TABLE);
	char got[HP_BASE];

	moved[BYTE] = 5;
	left[BYTE] = 6;
	self->own[BYTE] = 1;
	EXPECT_EQ((ssize_t)HP_BASE, read(g->pipes[0], got, sizeof(got)));
	EXPECT_EQ(1, got[BYTE]);
	let_go(g);
	expect_promoted(_metadata, g, self->own, 2);
	EXPECT_EQ(5, moved[BYTE]);
	EXPECT_EQ(6, left[BYTE]);
}

/* A child has both parts as they were; while it does the range stays as it is. */
TEST_F_TIMEOUT(stopped, is_forked, 240)
{
	struct gib *g = &self->g;
	char *moved = page_of(g, MOVED_TABLE), *left = page_of(g, LEFT_TABLE);
	struct hp_mapper child;
	struct hp_answer answer;

	ASSERT_EQ(0, hp_mapper_start(&child, &g->map, false));
	moved[BYTE] = 5;
	left[BYTE] = 6;
	answer = hp_ask(&child, HP_OP_LOST, g->map.addr, SEED);
	EXPECT_EQ(0, answer.value);
	EXPECT_EQ(4, answer.damage);
	EXPECT_EQ(0, hp_ask(&child, HP_OP_STAMP, g->map.addr, SEED + 1).value);
	expect_stamps(_metadata, g->map.addr, SEED, 2);
	let_go(g);
	expect_narrow(_metadata, g->raw);
	EXPECT_EQ(0, hp_ask(&child, HP_OP_DAMAGE, g->map.addr, SEED + 1).value);
	EXPECT_EQ(0, hp_mapper_stop(&child));
	expect_promoted(_metadata, g, self->own, 2);
	EXPECT_EQ(5, moved[BYTE]);
	EXPECT_EQ(6, left[BYTE]);
}

/* The parent leaves, and the child has the rest moved. */
static int outlive(struct gib *g, char *own, int go)
{
	char byte;

	if (read(go, &byte, 1))
		return 1;
	let_go(g);
	if (hp_damage(g->map.addr, SIZE, SEED) != 4)
		return 2;
	page_of(g, MOVED_TABLE)[BYTE] = 5;
	if (madvise(page_of(g, LEFT_TABLE), HP_BASE, MADV_DONTNEED) ||
	    !hp_all_zero(page_of(g, LEFT_TABLE)))
		return 3;
	if (!becomes_huge(g->raw, HP_PATIENCE_MS))
		return 4;
	if (hp_damage(g->map.addr, SIZE, SEED) != 6 || own[BYTE] != 1)
		return 5;
	return page_of(g, MOVED_TABLE)[BYTE] == 5 ? 0 : 6;
}

TEST_F_TIMEOUT(stopped, is_inherited, 240)
{
	struct gib *g = &self->g;
	int go[2], status = -1;
	pid_t pid;

	ASSERT_EQ(0, pipe(go));
	pid = fork();
	if (!pid) {
		close(go[1]);
		_exit(outlive(g, self->own, go[0]));
	}
	page_of(g, MOVED_TABLE)[BYTE] = 7;
	hp_unmap(&g->map);
	let_go(g);
	close(go[0]);
	close(go[1]);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* The rest of the poisoned hugepage has one more error: promoting must not copy it. */
TEST_F_TIMEOUT(stopped, is_hit_where_it_is_left, 240)
{
	struct gib *g = &self->g;
	char *left = page_of(g, LEFT_TABLE);

	ASSERT_EQ(0, hp_inject(hp_pfn(left)));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(left, HP_READ).code);
	let_go(g);
	expect_narrow(_metadata, left);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(left, HP_READ).code);
	ASSERT_EQ(0, madvise(left, HP_BASE, MADV_DONTNEED));
	EXPECT_TRUE(hp_all_zero(left));
	expect_huge(_metadata, left);
	expect_stamps(_metadata, g->map.addr, SEED, 3);
}

/* Both hugepages are narrowed then: of each one page is lost. */
TEST_F_TIMEOUT(stopped, errors_in_both, 240)
{
	struct gib *g = &self->g;
	char *moved = page_of(g, MOVED_TABLE), *left = page_of(g, LEFT_TABLE);
	struct hp_mapper child;
	long damage;

	ASSERT_EQ(0, hp_inject(hp_pfn(left)));
	ASSERT_EQ(0, hp_inject(hp_pfn(moved)));
	EXPECT_EQ(2, hp_lost(g->map.addr, SIZE, SEED, &damage));
	EXPECT_EQ(4, damage);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(moved, HP_WRITE).code);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(left, HP_READ).code);
	ASSERT_EQ(0, hp_mapper_start(&child, &g->map, false));
	EXPECT_EQ(2, hp_ask(&child, HP_OP_LOST, g->map.addr, SEED).value);
	EXPECT_EQ(0, hp_mapper_stop(&child));
	EXPECT_EQ(0, madvise(left, HP_BASE, MADV_DONTNEED));
	EXPECT_EQ(0, madvise(moved, HP_BASE, MADV_DONTNEED));
	EXPECT_TRUE(hp_all_zero(left));
	EXPECT_TRUE(hp_all_zero(moved));
	let_go(g);
	/* not to a hugepage that has an error */
	expect_narrow(_metadata, g->raw);
	expect_stamps(_metadata, g->map.addr, SEED, 4);
}

/* Discarded pages stay discarded, and later stores to them come along. */
TEST_F_TIMEOUT(stopped, is_discarded, 120)
{
	struct gib *g = &self->g;
	char *moved = page_of(g, MOVED_TABLE), *left = page_of(g, LEFT_TABLE);

	EXPECT_EQ(0, madvise(moved, 2 * HP_BASE, MADV_DONTNEED));
	EXPECT_EQ(0, madvise(left, 2 * HP_BASE, MADV_DONTNEED));
	EXPECT_TRUE(hp_all_zero(moved));
	EXPECT_TRUE(hp_all_zero(left));
	moved[HP_BASE + BYTE] = 5;
	left[HP_BASE + BYTE] = 6;
	let_go(g);
	expect_promoted(_metadata, g, self->own, 4);
	EXPECT_TRUE(hp_all_zero(moved));
	EXPECT_TRUE(hp_all_zero(left));
	EXPECT_EQ(5, moved[HP_BASE + BYTE]);
	EXPECT_EQ(6, left[HP_BASE + BYTE]);
}

/*
 * A device has pinned a page of the fresh hugepage, the process discards the page and
 * writes to the memory that it gets instead: nothing may bring the pinned page back.
 */
TEST_F_TIMEOUT(stopped, is_pinned_and_discarded, 120)
{
	struct gib *g = &self->g;
	char *moved = page_of(g, MOVED_TABLE);
	struct io_uring_params params = { .flags = 0 };
	struct iovec buffer = { .iov_base = moved, .iov_len = HP_BASE };
	int ring = syscall(__NR_io_uring_setup, 1, &params);

	ASSERT_LE(0, ring);
	ASSERT_EQ(0, syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, &buffer, 1));
	EXPECT_EQ(0, madvise(moved, HP_BASE, MADV_DONTNEED));
	moved[BYTE] = 5;
	let_go(g);
	expect_narrow(_metadata, g->raw);
	EXPECT_EQ(5, moved[BYTE]);
	close(ring);
	expect_promoted(_metadata, g, self->own, 3);
	EXPECT_EQ(5, moved[BYTE]);
}

/*
 * A child that has copies discards one, and its range moves: to a hugepage where the pages
 * of its parent's still are.
 */
static int move_copies(struct gib *g, int go)
{
	char *moved = page_of(g, MOVED_TABLE), byte;

	if (read(go, &byte, 1))
		return 1;
	let_go(g);
	if (hp_damage(g->map.addr, SIZE, SEED) != 4)
		return 2;
	if (madvise(moved, HP_BASE, MADV_DONTNEED) ||
	    madvise(g->raw, HP_BASE, MADV_DONTNEED) || !hp_all_zero(g->raw))
		return 3;
	if (!becomes_huge(g->raw, HP_PATIENCE_MS))
		return 4;
	if (!hp_all_zero(moved))
		return 5;
	return hp_damage(g->map.addr, SIZE, SEED) == 6 ? 0 : 6;
}

/* Where a device has pinned a page of the fresh hugepage, a child has nothing of it. */
TEST_F_TIMEOUT(stopped, is_pinned_and_forked, 240)
{
	struct gib *g = &self->g;
	struct io_uring_params params = { .flags = 0 };
	struct iovec buffer = { .iov_base = page_of(g, MOVED_TABLE), .iov_len = HP_BASE };
	int ring = syscall(__NR_io_uring_setup, 1, &params), go[2], status = -1;
	pid_t pid;

	ASSERT_LE(0, ring);
	ASSERT_EQ(0, syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, &buffer, 1));
	ASSERT_EQ(0, pipe(go));
	pid = fork();
	if (!pid) {
		close(ring);
		close(go[1]);
		_exit(move_copies(g, go[0]));
	}
	EXPECT_EQ(0, syscall(__NR_io_uring_register, ring, IORING_UNREGISTER_BUFFERS, NULL, 0));
	close(ring);
	hp_unmap(&g->map);
	let_go(g);
	close(go[0]);
	close(go[1]);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* The rights and the place that the mapping has by then. */
TEST_F_TIMEOUT(stopped, is_protected_and_moved, 120)
{
	struct gib *g = &self->g;
	char *room, *to, *from = g->map.addr;

	room = mmap(NULL, 2 * SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, room);
	to = (char *)(((unsigned long)room + SIZE - 1) & -SIZE);
	ASSERT_EQ(0, mprotect(from, SIZE, PROT_READ));
	ASSERT_EQ(to, mremap(from, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	expect_stamps(_metadata, to, SEED, 2);
	let_go(g);
	expect_huge(_metadata, to);
	expect_stamps(_metadata, to, SEED, 2);
	EXPECT_EQ(-EFAULT, hp_syscall_touch(to, HP_WRITE));
	ASSERT_EQ(0, mprotect(to, SIZE, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, hp_stamp(to, SIZE, SEED + 1));
	EXPECT_EQ(0, hp_damage(to, SIZE, SEED + 1));
	g->map.addr = to;
}

/* A hole in the file, and its end, are where they are in both parts. */
TEST_F_TIMEOUT(stopped, loses_its_file, 120)
{
	struct gib *g = &self->g;
	char *moved = page_of(g, MOVED_TABLE), *left = page_of(g, LEFT_TABLE);

	if (!variant->file) {
		EXPECT_EQ(0, munmap(g->map.addr, SIZE));
		g->map.addr = NULL;
		let_go(g);
		return;
	}
	ASSERT_EQ(0, ftruncate(g->map.fd, 0));
	EXPECT_EQ(BUS_ADRERR, hp_touch(moved, HP_READ).code);
	EXPECT_EQ(BUS_ADRERR, hp_touch(left, HP_WRITE).code);
	ASSERT_EQ(0, ftruncate(g->map.fd, SIZE));
	EXPECT_TRUE(hp_all_zero(moved));
	EXPECT_TRUE(hp_all_zero(left));
	left[BYTE] = 6;
	ASSERT_EQ(0, fallocate(g->map.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE));
	EXPECT_EQ(0, left[BYTE]);
	let_go(g);
}

/* --- while it moves ---------------------------------------------------------------------- */

FIXTURE(moving) {
	struct gib g;
};

FIXTURE_VARIANT(moving) {
	bool file;
};

FIXTURE_VARIANT_ADD(moving, 1G_anon) { .file = false };
FIXTURE_VARIANT_ADD(moving, 1G_file) { .file = true };

FIXTURE_SETUP(moving)
{
	ASSERT_EQ(0, make(&self->g, variant->file));
	hit(_metadata, &self->g);
}

FIXTURE_TEARDOWN(moving)
{
	EXPECT_EQ(0, end(&self->g));
}

struct writer {
	struct gib *g;
	bool stop;
	long wrong, rounds;
	long longest;	/* wait, in ms */
};

static unsigned int *count_in(struct gib *g, int table)
{
	return (unsigned int *)(page_of(g, table) + HP_BASE + BYTE);
}

/* Counts in a page of each table, and looks whether the last count is there still. */
static void *count_everywhere(void *arg)
{
	struct writer *w = arg;
	unsigned int *word;

	for (unsigned int nr = 1; !__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE); nr++) {
		for (int table = 0; table < TABLES; table++) {
			word = count_in(w->g, table);
			w->wrong += nr > 1 && *word != nr - 1;
			*word = nr;
		}
		__atomic_store_n(&w->rounds, nr, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* A thread's stores before, during and after the move are all there. */
TEST_F_TIMEOUT(moving, loses_no_store, 240)
{
	struct gib *g = &self->g;
	struct writer w = { .g = g };
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, count_everywhere, &w));
	hp_await(__atomic_load_n(&w.rounds, __ATOMIC_ACQUIRE) > 2, "the thread writes");
	discard_raw(_metadata, g);
	expect_huge(_metadata, g->raw);
	__atomic_store_n(&w.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, w.wrong);
	for (int table = 0; table < TABLES; table++)
		EXPECT_EQ((unsigned int)w.rounds, *count_in(g, table));
	expect_stamps(_metadata, g->map.addr, SEED, 1);
}

static long cpu_ms(void)
{
	struct timespec used;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

/* A wait takes no CPU time. The thread may be the one that moves, which does. */
static void *map_over_and_over(void *arg)
{
	struct writer *w = arg;
	long start, waited;

	while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
		void *page;

		start = hp_now_ms() - cpu_ms();
		page = mmap(NULL, HP_BASE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		w->wrong += page == MAP_FAILED || munmap(page, HP_BASE);
		waited = hp_now_ms() - cpu_ms() - start;
		w->longest = waited > w->longest ? waited : w->longest;
		__atomic_add_fetch(&w->rounds, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/*
 * mmap_lock is held by one page table at a time: other threads map meanwhile. A host that has
 * no time for the guest prolongs the move as well as a thread's wait.
 */
TEST_F_TIMEOUT(moving, lets_others_map, 240)
{
	struct gib *g = &self->g;
	struct writer w = { .g = g };
	pthread_t thread;
	long took;

	ASSERT_EQ(0, pthread_create(&thread, NULL, map_over_and_over, &w));
	hp_await(__atomic_load_n(&w.rounds, __ATOMIC_ACQUIRE) > 2, "the thread maps");
	ASSERT_EQ(0, madvise(g->raw, HP_BASE, MADV_DONTNEED));
	took = hp_now_ms();
	EXPECT_EQ(0, hp_touch(g->raw, HP_READ).code);
	expect_huge(_metadata, g->raw);
	took = hp_now_ms() - took;
	__atomic_store_n(&w.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	TH_LOG("moved in %ld ms, the longest wait of a thread that maps: %ld ms", took,
	       w.longest);
	EXPECT_GT(took / 2, w.longest);
	EXPECT_EQ(0, w.wrong);
	expect_stamps(_metadata, g->map.addr, SEED, 1);
}

static void *touch_raw(void *arg)
{
	struct writer *w = arg;

	w->wrong = hp_touch(w->g->raw, HP_READ).code;
	__atomic_store_n(&w->stop, true, __ATOMIC_RELEASE);
	return NULL;
}

/* Each page of a child's own: a count of its parent's, then another one. */
static int look_and_write(struct gib *g, unsigned int nr)
{
	for (int table = 0; table < TABLES; table++) {
		if (*count_in(g, table) != nr)
			return 1;
		if (table % 7 == 0)
			*count_in(g, table) = ~nr;
	}
	return 0;
}

TEST_F_TIMEOUT(moving, is_forked, 240)
{
	struct gib *g = &self->g;
	struct writer w = { .g = g };
	unsigned int nr = 0;
	pthread_t thread;
	int status;
	pid_t pid;

	for (int table = 0; table < TABLES; table++)
		*count_in(g, table) = nr;
	ASSERT_EQ(0, madvise(g->raw, HP_BASE, MADV_DONTNEED));
	ASSERT_EQ(0, pthread_create(&thread, NULL, touch_raw, &w));
	do {
		status = -1;
		pid = fork();
		if (!pid)
			_exit(look_and_write(g, nr));
		nr++;
		for (int table = 0; table < TABLES; table++)
			*count_in(g, table) = nr;
		EXPECT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
	} while (!__atomic_load_n(&w.stop, __ATOMIC_ACQUIRE));
	pthread_join(thread, NULL);
	EXPECT_EQ(0, w.wrong);
	expect_huge(_metadata, g->raw);
	for (int table = 0; table < TABLES; table++)
		EXPECT_EQ(nr, *count_in(g, table));
	expect_stamps(_metadata, g->map.addr, SEED, 1);
}

/* Pinned, it stays where it is, and takes no hugepage. */
TEST_F_TIMEOUT(moving, is_pinned, 120)
{
	struct gib *g = &self->g;
	struct hp_state want;

	hold(_metadata, g, page_of(g, LEFT_TABLE));
	hp_read_state(&want);
	discard_raw(_metadata, g);
	EXPECT_FALSE(is_huge(g->raw));
	EXPECT_TRUE(is_in_old(g, page_of(g, MOVED_TABLE)));
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
	let_go(g);
	discard_raw(_metadata, g);
	expect_huge(_metadata, g->raw);
	expect_stamps(_metadata, g->map.addr, SEED, 1);
}

/* Without a hugepage to spare the range waits, and becomes one by itself later. */
TEST_F_TIMEOUT(moving, waits_for_a_hugepage, 120)
{
	struct gib *g = &self->g;
	struct hp_state now;
	struct hp_map others;

	hp_read_state(&now);
	ASSERT_EQ(0, hp_map(&others, HP_MEMFD, SIZE, *hp_at(&now, HP_FREE, SIZE, HP_ALL)));
	for (unsigned long i = 0; i < others.nr; i++)
		others.addr[i * SIZE] = 1;
	discard_raw(_metadata, g);
	EXPECT_FALSE(is_huge(g->raw));
	expect_stamps(_metadata, g->map.addr, SEED, 1);
	hp_map_free(&others);
	expect_huge(_metadata, g->raw);
	expect_stamps(_metadata, g->map.addr, SEED, 1);
}

TEST_HARNESS_MAIN
