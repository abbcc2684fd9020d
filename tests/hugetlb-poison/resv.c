// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reservations under memory errors: whatever a process does with hugepages that
 * go bad meanwhile, when it has gone as much is promised as before it came.
 *
 * Short random stories, each from a seed of its own. A story that ends with
 * another number of reservations is printed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "hp.h"
#include "hp_child.h"
#include "hp_uffd.h"

#define PAGES		3	/* hugepages of each mapping */
#define STEPS		12
#define SETTLE_MS	4000	/* until what nobody has is free */
#define MOUNT		"/tmp/hp-minimum"

/* How a story's hugepages are mapped. */
enum kind { SHARED, ANON, FILE_PRIVATE, KINDS };

struct story {
	enum kind kind;
	char *addr;
	char *at[PAGES];	/* where each hugepage is mapped, NULL for nowhere */
	int fd;
	int pipe[2];
	pid_t child;
	bool errors;
	bool stays;		/* never without a reservation of its own */
	char text[2048];
};

__printf(2, 3) static void tell(struct story *story, const char *fmt, ...)
{
	size_t len = strlen(story->text);
	va_list args;

	va_start(args, fmt);
	vsnprintf(story->text + len, sizeof(story->text) - len, fmt, args);
	va_end(args);
}

/* A file without a name, on a mount or not. */
static int make_file(const char *dir)
{
	char path[64];
	int fd;

	if (!dir)
		return memfd_create("resv", MFD_HUGETLB);
	snprintf(path, sizeof(path), "%s/resv", dir);
	fd = open(path, O_CREAT | O_RDWR, 0600);
	unlink(path);
	return fd;
}

/*
 * On a mount with a minimum stock loses count of private mappings that have no reservation
 * of their own: after fork, after mremap(), with MAP_NORESERVE. alloc_hugetlb_folio() takes
 * their hugepage from the subpool's minimum, and vma_has_reserves() says that nothing was
 * reserved. So the number grows by one each time, without any error: such stories are
 * about stock, and not told.
 */
static void begin(struct story *story, enum kind kind, const char *dir)
{
	int flags = kind == SHARED ? MAP_SHARED : MAP_PRIVATE;

	*story = (struct story) { .kind = kind, .fd = -1, .pipe = { -1, -1 }, .errors = true,
				  .stays = dir && kind == FILE_PRIVATE };
	if (kind == ANON) {
		flags |= MAP_ANONYMOUS | MAP_HUGETLB;
	} else {
		story->fd = make_file(dir);
		if (ftruncate(story->fd, PAGES * HP_2M))
			perror("ftruncate");
	}
	story->addr = mmap(NULL, PAGES * HP_2M, PROT_READ | PROT_WRITE, flags, story->fd, 0);
	for (int i = 0; i < PAGES; i++)
		story->at[i] = story->addr == MAP_FAILED ? NULL : story->addr + i * HP_2M;
	tell(story, "%s:", kind == SHARED ? "shared" : kind == ANON ? "anon" : "file-private");
}

/* A child that has what its parent has, writes to some, and stays for a while. */
static void add_child(struct story *story, unsigned int which)
{
	pid_t pid;

	if (story->child)
		return;
	pid = fork();
	if (pid > 0)
		story->child = pid;
	if (pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < PAGES; i++)
		if (which >> i & 1 && story->at[i])
			hp_touch(story->at[i] + 5 * HP_BASE, HP_WRITE);
	for (;;)
		pause();
}

static void end_child(struct story *story)
{
	if (!story->child)
		return;
	kill(story->child, SIGKILL);
	waitpid(story->child, NULL, 0);
	story->child = 0;
}

static void hold(struct story *story, char *at)
{
	struct iovec page = { .iov_base = at, .iov_len = HP_BASE };

	if (story->pipe[0] < 0 && pipe2(story->pipe, O_NONBLOCK))
		return;
	vmsplice(story->pipe[1], &page, 1, SPLICE_F_NONBLOCK);
}

static void let_go(struct story *story)
{
	for (int i = 0; i < 2; i++) {
		if (story->pipe[i] >= 0)
			close(story->pipe[i]);
		story->pipe[i] = -1;
	}
}

/* One hugepage goes elsewhere, out of the middle of its mapping maybe. */
static int move(struct story *story, int i)
{
	char *room = mmap(NULL, 2 * HP_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *to = (char *)(((unsigned long)room + HP_2M - 1) & -HP_2M);

	if (mremap(story->at[i], HP_2M, HP_2M, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
		return errno;
	story->at[i] = to;
	return 0;
}

/* An error in a free hugepage; the log says in which. */
static int hit_free(unsigned long page)
{
	const char *at = NULL;
	struct hp_log log;
	int ret;

	if (hp_log_open(&log))
		return -ENODEV;
	ret = hp_inject_free(HP_2M, 0, (long)page);
	if (!ret)
		at = hp_log_find(&log, "Memory failure: 0x");
	if (at)
		hp_note_poisoned(strtoul(at, NULL, 16));
	hp_log_close(&log);
	return ret;
}

static void step(struct story *story)
{
	int i = random() % PAGES, what = random() % 16;
	unsigned long raw_at = random() % 512 * HP_BASE;
	char *at = story->at[i], *raw = at + raw_at;
	unsigned long pfn;

	if (!at || (story->stays && (what == 10 || what == 14)))
		return;
	switch (what) {
	case 0 ... 3:
		tell(story, " touch%d=%d", i,
		     hp_touch(raw, random() % 3 ? HP_WRITE : HP_READ).code);
		break;
	case 4 ... 6:
		pfn = story->errors ? hp_pfn(raw) : HP_NO_PFN;
		if (pfn != HP_NO_PFN)
			tell(story, " err%d=%d", i, hp_inject(pfn));
		break;
	case 7:
		tell(story, " drop%d=%d", i, madvise(at, HP_2M, MADV_DONTNEED));
		break;
	case 8:
		tell(story, " droppage%d=%d", i, madvise(raw, HP_BASE, MADV_DONTNEED));
		break;
	case 9:
		if (story->fd >= 0)
			tell(story, " punch%d=%d", i,
			     fallocate(story->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				       i * HP_2M, HP_2M));
		break;
	case 10:
		tell(story, " fork");
		add_child(story, random());
		break;
	case 11:
		tell(story, " childgone");
		end_child(story);
		break;
	case 12:
		if (random() % 2) {
			tell(story, " hold%d", i);
			hold(story, raw);
		} else {
			tell(story, " letgo");
			let_go(story);
		}
		break;
	case 13:
		tell(story, " part%d=%d", i, munmap(at, HP_2M));
		story->at[i] = NULL;
		break;
	case 14:
		tell(story, " move%d=%d", i, move(story, i));
		break;
	case 15:
		if (story->errors)
			tell(story, " errfree=%d", hit_free(raw_at / HP_BASE));
		break;
	}
}

static void unmap_all(struct story *story)
{
	for (int i = 0; i < PAGES; i++) {
		if (story->at[i])
			munmap(story->at[i], HP_2M);
		story->at[i] = NULL;
	}
}

static void end(struct story *story)
{
	if (random() % 2)
		unmap_all(story);
	end_child(story);
	let_go(story);
	unmap_all(story);
	if (story->fd >= 0)
		close(story->fd);
}

FIXTURE(resv) {
	struct hp_test test;
};

FIXTURE_VARIANT(resv) {
	const char *containment;
	int overcommit;
	const char *mount;	/* options; without a mount NULL */
};

FIXTURE_VARIANT_ADD(resv, page)		{ .containment = "page" };
FIXTURE_VARIANT_ADD(resv, hugepage)	{ .containment = "hugepage" };
FIXTURE_VARIANT_ADD(resv, page_surplus)	{ .containment = "page", .overcommit = 8 };

/* without size= stock does not count the hugepages that a mount uses */
FIXTURE_VARIANT_ADD(resv, page_minimum)	{ .containment = "page", .mount = "min_size=4M" };

FIXTURE_VARIANT_ADD(resv, hugepage_minimum) {
	.containment = "hugepage", .mount = "min_size=4M",
};

FIXTURE_VARIANT_ADD(resv, page_both) { .containment = "page", .mount = "size=8M,min_size=4M" };

static long resv_now(void)
{
	return hp_read_long("/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages");
}

static int mount_with(const char *options)
{
	char text[64];

	snprintf(text, sizeof(text), "pagesize=2M,%s", options);
	mkdir(MOUNT, 0700);
	return mount("none", MOUNT, "hugetlbfs", 0, text) ? -errno : 0;
}

static int unmount(void)
{
	return umount(MOUNT) || rmdir(MOUNT) ? -errno : 0;
}

FIXTURE_SETUP(resv)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	ASSERT_EQ(0, hp_set_containment(variant->containment));
	ASSERT_EQ(0, hp_write("/proc/sys/vm/nr_overcommit_hugepages", "%d",
			      variant->overcommit));
	if (variant->mount)
		ASSERT_EQ(0, mount_with(variant->mount));
	hp_catch_sigbus();
}

FIXTURE_TEARDOWN(resv)
{
	hp_write("/proc/sys/vm/nr_overcommit_hugepages", "0");
	if (variant->mount)
		EXPECT_EQ(0, unmount());
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* One of three hugepages moves, none was touched, no error: stock loses two. */
TEST_F(resv, of_what_stays_behind)
{
	long before = resv_now();
	struct story story;

	begin(&story, ANON, NULL);
	EXPECT_EQ(before + PAGES, resv_now());
	EXPECT_EQ(0, move(&story, 1));
	end(&story);
	EXPECT_EQ(before, resv_now());
}

/*
 * The owner's reservation ends while a device still has the hugepage, which gives it back
 * later: the number wraps below zero meanwhile, without any error. Others may use the free
 * hugepages all the same, and need no surplus.
 */
TEST_F(resv, of_a_pinned_hugepage)
{
	const char *surplus = "/sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages";
	long before = resv_now();
	struct story story;
	char *addr;

	begin(&story, ANON, NULL);
	EXPECT_EQ(0, hp_touch(story.addr, HP_WRITE).code);
	hold(&story, story.addr);
	unmap_all(&story);
	addr = mmap(NULL, HP_2M, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_EQ(0, hp_touch(addr, HP_WRITE).code);
	EXPECT_EQ(0, hp_read_long(surplus));
	munmap(addr, HP_2M);
	end(&story);
	EXPECT_TRUE(hp_await(resv_now() == before, "the pinned hugepage is free"));
}

/*
 * A private mapping sees the file's poisoned hugepage, and has not used its reservation.
 * In its range nothing less than a hugepage can be unmapped or protected, so that each VMA
 * gives back the reservation of whole hugepages.
 */
TEST_F(resv, of_a_range_in_pieces)
{
	const struct { unsigned long at, len; } pieces[] = {
		{ 0, HP_BASE }, { 0, HP_2M / 2 }, { HP_2M / 2, HP_2M / 2 },
		{ 9 * HP_BASE, HP_BASE }, { HP_2M - HP_BASE, HP_BASE },
		{ HP_2M / 2, HP_2M }, { -(HP_2M / 2), HP_2M },
	};
	long before = resv_now();
	char *shared, *victim;
	struct story story;

	begin(&story, FILE_PRIVATE, NULL);
	shared = mmap(NULL, PAGES * HP_2M, PROT_READ | PROT_WRITE, MAP_SHARED, story.fd, 0);
	ASSERT_NE(MAP_FAILED, shared);
	EXPECT_EQ(before + 2 * PAGES, resv_now());
	EXPECT_EQ(0, hp_touch(shared + HP_2M, HP_WRITE).code);
	victim = story.at[1];
	EXPECT_EQ(0, hp_touch(victim, HP_READ).code);
	ASSERT_EQ(0, hp_inject(hp_pfn(victim + 9 * HP_BASE)));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(victim + 9 * HP_BASE, HP_READ).code);

	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		char *at = victim + pieces[i].at;
		unsigned long len = pieces[i].len;

		EXPECT_EQ(EINVAL, said(munmap(at, len)));
		EXPECT_EQ(EINVAL, said(mprotect(at, len, PROT_READ)));
	}
	EXPECT_EQ(before + 2 * PAGES - 1, resv_now());
	EXPECT_EQ(0, munmap(victim, 2 * HP_2M));
	story.at[1] = NULL;
	story.at[2] = NULL;
	EXPECT_EQ(before + PAGES, resv_now());
	munmap(shared, PAGES * HP_2M);
	end(&story);
	EXPECT_TRUE(hp_await(resv_now() == before, "nothing is reserved any more"));
}

/* Stories that end as they began, with errors or as on stock without any. */
static void tell_all(struct __test_metadata *_metadata, FIXTURE_DATA(resv) *self,
		     const FIXTURE_VARIANT(resv) *variant, bool errors)
{
	const char *rounds = getenv("HP_ROUNDS");
	int stories = rounds ? atoi(rounds) / 2 : 50;
	const char *dir = variant->mount ? MOUNT : NULL;
	long before = resv_now();
	struct story story;

	for (int seed = 1; seed <= stories; seed++) {
		srandom(seed);
		begin(&story, random() % KINDS, dir);
		story.errors = errors;
		for (int i = 0; story.addr != MAP_FAILED && i < STEPS; i++)
			step(&story);
		end(&story);
		for (int ms = 0; ms < SETTLE_MS && resv_now() != before; ms += 50)
			usleep(50000);
		if (resv_now() != before)
			TH_LOG("seed %d: %ld before, %ld after: %s", seed, before, resv_now(),
			       story.text);
		EXPECT_EQ(before, resv_now());
		before = resv_now();
		hp_undo(*hp_at(&self->test.before, HP_CORRUPTED, 0, HP_ALL));
		hp_refill(&self->test.before);
	}
}

TEST_F_TIMEOUT(resv, comes_back, 400)
{
	tell_all(_metadata, self, variant, true);
}

/* The same without an error: a number that changes here is stock's. */
TEST_F_TIMEOUT(resv, comes_back_without_errors, 400)
{
	if (variant->mount)
		tell_all(_metadata, self, variant, false);
}

/* --- a mount that goes right after its users ------------------------------------- */

/* The mount's minimum is unused when it goes: nothing keeps its subpool. */
FIXTURE(unmounted) {
	struct hp_test test;
	long resv;
};

FIXTURE_VARIANT(unmounted) {
	const char *containment;
	bool private, errors;
};

FIXTURE_VARIANT_ADD(unmounted, page) { .containment = "page", .errors = true };
FIXTURE_VARIANT_ADD(unmounted, hugepage) { .containment = "hugepage", .errors = true };

FIXTURE_VARIANT_ADD(unmounted, page_private) {
	.containment = "page", .errors = true, .private = true,
};

FIXTURE_VARIANT_ADD(unmounted, hugepage_private) {
	.containment = "hugepage", .errors = true, .private = true,
};

FIXTURE_VARIANT_ADD(unmounted, no_error) { .containment = "page" };

FIXTURE_SETUP(unmounted)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	ASSERT_EQ(0, hp_set_containment(variant->containment));
	self->resv = resv_now();
	ASSERT_EQ(0, mount_with("min_size=2M"));
	EXPECT_EQ(self->resv + 1, resv_now());
	hp_catch_sigbus();
}

FIXTURE_TEARDOWN(unmounted)
{
	umount(MOUNT);
	rmdir(MOUNT);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/*
 * One healthy hugepage, one with an error: the first is free at once, the second when the
 * worker has released it, maybe after the mount has gone.
 */
TEST_F(unmounted, with_a_hugepage_to_release)
{
	int node, fd = open(MOUNT "/file", O_CREAT | O_RDWR, 0600);
	struct hp_state now;
	long released;
	char *addr;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 2 * HP_2M));
	addr = mmap(NULL, 2 * HP_2M, PROT_READ | PROT_WRITE,
		    variant->private ? MAP_PRIVATE : MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_EQ(0, hp_touch(addr, HP_WRITE).code);
	EXPECT_EQ(0, hp_touch(addr + HP_2M, HP_WRITE).code);
	node = hp_pfn_node(hp_pfn(addr + HP_2M));
	hp_read_state(&now);
	released = *hp_at(&now, HP_RELEASED, HP_2M, node);
	if (variant->errors) {
		ASSERT_EQ(0, hp_inject(hp_pfn(addr + HP_2M + 9 * HP_BASE)));
		hp_touch(addr + HP_2M, HP_READ);
	}
	munmap(addr, 2 * HP_2M);
	close(fd);
	ASSERT_EQ(0, unmount());
	if (variant->errors)
		EXPECT_TRUE(hp_await((hp_read_state(&now),
				      *hp_at(&now, HP_RELEASED, HP_2M, node) > released),
				     "the hugepage is released"));
	EXPECT_EQ(self->resv, resv_now());
	/* whoever has the subpool's memory next keeps it to himself */
	for (int i = 0; i < 8; i++) {
		ASSERT_EQ(0, mount_with("min_size=2M"));
		EXPECT_EQ(self->resv + 1, resv_now());
		ASSERT_EQ(0, unmount());
	}
	EXPECT_EQ(self->resv, resv_now());
}

/* --- a file that is truncated while a hugepage is filled ------------------------- */

#define TIMES_2M	100	/* a small one may be filled before, or not yet taken */
#define TIMES_1G	5	/* at most: one is enough that is truncated in the middle */

/*
 * Truncation meets a fault, or UFFDIO_COPY, that has taken a hugepage for its reservation
 * and fills it. Without any error: on stock truncation does not wait for the hugepage, and
 * gives its reservation back as if nobody had used it.
 */
FIXTURE(truncated) {
	struct hp_test test;
	char *addr, *from;
	unsigned long size;
	int fd, uffd;
	bool filled;
};

FIXTURE_VARIANT(truncated) {
	unsigned long size;
	bool copy;
	int times;
};

#define TRUNCATED(sz, way, is_copy)						\
	FIXTURE_VARIANT_ADD(truncated, sz##_##way) {				\
		.size = HP_##sz, .copy = is_copy, .times = TIMES_##sz,		\
	}

TRUNCATED(2M, fault, false);
TRUNCATED(2M, copy, true);
TRUNCATED(1G, fault, false);
TRUNCATED(1G, copy, true);

FIXTURE_SETUP(truncated)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	self->size = variant->size;
	self->uffd = variant->copy ? open_userfaultfd(0) : -1;
	if (variant->copy)
		ASSERT_LE(0, self->uffd);
	/* zero pages: the copy may not fault with the hugepage taken */
	self->from = mmap(NULL, self->size, PROT_READ,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, self->from);
	hp_catch_sigbus();
}

FIXTURE_TEARDOWN(truncated)
{
	munmap(self->from, self->size);
	if (self->uffd >= 0)
		close(self->uffd);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

static long resv_of(unsigned long size)
{
	return hp_read_long("/sys/kernel/mm/hugepages/hugepages-%lukB/resv_hugepages",
			    size >> 10);
}

static void *fill(void *data)
{
	FIXTURE_DATA(truncated) *self = data;
	struct uffdio_copy copy = { .dst = (unsigned long)self->addr,
				    .src = (unsigned long)self->from, .len = self->size };

	if (self->uffd < 0)
		hp_touch(self->addr, HP_WRITE);
	else
		ioctl(self->uffd, UFFDIO_COPY, &copy);
	__atomic_store_n(&self->filled, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static bool is_filled(FIXTURE_DATA(truncated) *self)
{
	return __atomic_load_n(&self->filled, __ATOMIC_SEQ_CST);
}

static void map_file(META, FIXTURE_DATA(truncated) *self)
{
	self->filled = false;
	self->fd = memfd_create("resv", MFD_HUGETLB | (self->size == HP_1G ? MFD_HUGE_1GB : 0));
	ASSERT_EQ(0, ftruncate(self->fd, self->size));
	self->addr = mmap(NULL, self->size, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->addr);
	if (self->uffd >= 0)
		ASSERT_EQ(0, watch(self->uffd, self->addr, self->size,
				   UFFDIO_REGISTER_MODE_MISSING));
}

/* Returns whether the hugepage was being filled when truncation began. */
static bool truncate_while_filled(META, FIXTURE_DATA(truncated) *self, long before)
{
	struct stat now = { };
	pthread_t thread;
	bool during;

	map_file(_metadata, self);
	EXPECT_EQ(before + 1, resv_of(self->size));
	ASSERT_EQ(0, pthread_create(&thread, NULL, fill, self));
	while (resv_of(self->size) != before && !is_filled(self))
		sched_yield();
	during = !is_filled(self);
	EXPECT_EQ(0, ftruncate(self->fd, 0));
	pthread_join(thread, NULL);
	/* the file is open still, and has neither a hugepage nor a reservation */
	EXPECT_EQ(before, resv_of(self->size));
	EXPECT_EQ(0, fstat(self->fd, &now));
	EXPECT_EQ(0, now.st_blocks);
	munmap(self->addr, self->size);
	close(self->fd);
	EXPECT_EQ(before, resv_of(self->size));
	return during;
}

TEST_F_TIMEOUT(truncated, while_filled, 60)
{
	long before = resv_of(variant->size);
	int during = 0, times = 0;

	while (times < variant->times && __test_passed(_metadata) &&
	       !(during && variant->size == HP_1G)) {
		during += truncate_while_filled(_metadata, self, before);
		times++;
	}
	TH_LOG("truncated %d times, %d of them while it was filled", times, during);
	EXPECT_TRUE(during || variant->size == HP_2M);
}

/*
 * Truncation waits for faults in the file itself, not for those of others, who can make theirs
 * long. Fault mutexes are shared by a hash, so a few have to.
 */
FIXTURE(another) {
	FIXTURE_DATA(truncated) filled;
};

FIXTURE_VARIANT(another) {
	unsigned long size;
};

FIXTURE_VARIANT_ADD(another, 1G) { .size = HP_1G };

FIXTURE_SETUP(another)
{
	ASSERT_EQ(0, hp_test_begin(&self->filled.test, variant->size));
	self->filled.size = variant->size;
	self->filled.uffd = -1;
	hp_catch_sigbus();
}

FIXTURE_TEARDOWN(another)
{
	EXPECT_EQ(0, hp_test_end(&self->filled.test));
}

/* Returns whether truncation ended before the hugepage of the other file was filled. */
static bool truncate_beside(META, FIXTURE_DATA(truncated) *filled)
{
	long before = resv_of(filled->size);
	int fd = memfd_create("resv", MFD_HUGETLB);
	pthread_t thread;
	char *addr;
	bool soon;

	ASSERT_EQ(0, ftruncate(fd, HP_2M));
	addr = mmap(NULL, HP_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, addr);
	map_file(_metadata, filled);
	ASSERT_EQ(0, pthread_create(&thread, NULL, fill, filled));
	while (resv_of(filled->size) != before && !is_filled(filled))
		sched_yield();
	EXPECT_EQ(0, ftruncate(fd, 0));
	soon = !is_filled(filled);
	pthread_join(thread, NULL);
	munmap(filled->addr, filled->size);
	munmap(addr, HP_2M);
	close(filled->fd);
	close(fd);
	return soon;
}

TEST_F_TIMEOUT(another, is_filled, 60)
{
	int soon = 0;

	for (int i = 0; i < TIMES_1G; i++)
		soon += truncate_beside(_metadata, &self->filled);
	EXPECT_LT(TIMES_1G / 2, soon)
		TH_LOG("%d of %d truncations did not wait", soon, TIMES_1G);
}

TEST_HARNESS_MAIN
