// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process fills a lost page again: all that map it get SIGBUS before and the new
 * contents after, and nothing else of the hugepage changes. A page that cannot be
 * filled stays exactly as it is, and the call says why.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "kselftest_harness.h"

#include "hp.h"
#include "hp_child.h"
#include "hp_limits.h"
#include "hp_narrowed.h"
#include "hp_proc.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif

#define OWN	"/proc/hugepoison/own"

/*
 * A hugepage with errors, and another process that maps it: a file's elsewhere, a private
 * one as a child does.
 */
struct owner {
	struct hp_narrowed n;
	struct hp_mapper other;
	char *there;		/* the mapping of the other */
	bool shared;
	int own;
	char was[HP_BASE];	/* what was in the raw page */
	char fill[4 * HP_BASE];
};

static void settle(META, struct owner *o, enum hp_backing backing, unsigned long size)
{
	ASSERT_EQ(0, hp_narrowed_make(&o->n, backing, size, 1));
	memcpy(o->was, hp_narrowed_raw(&o->n), HP_BASE);
	o->shared = backing != HP_PRIVATE;
	ASSERT_EQ(0, hp_mapper_start(&o->other, &o->n.map, o->shared));
	o->there = (char *)hp_ask(&o->other, HP_OP_ADDR, NULL, 0).value;
	o->own = open(OWN, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, o->own);
}

static char *raw_there(struct owner *o)
{
	return o->there + o->n.raw;
}

/* The error, and nothing but the raw page is lost, to both. */
static void hit(META, struct owner *o)
{
	EXPECT_EQ(0, hp_narrowed_hit(&o->n));
	EXPECT_EQ(0, hp_narrowed_wrong(&o->n));
	EXPECT_EQ(1, hp_ask(&o->other, HP_OP_LOST, o->there, o->n.seed).value);
}

/* Fill pages from the raw one on. Returns 0 when all were filled, else the errno. */
static int refill(struct owner *o, const void *from, unsigned long nr)
{
	long ret = pwrite(o->own, from, nr * HP_BASE, (off_t)(unsigned long)hp_narrowed_raw(&o->n));

	return ret == (long)(nr * HP_BASE) ? 0 : ret < 0 ? errno : -1;
}

static int write_at(struct owner *o, const void *from, unsigned long len, char *at)
{
	return said(pwrite(o->own, from, len, (off_t)(unsigned long)at));
}

/* How many lines /proc/hugepoison/own has for this process. */
static int count_lost(void)
{
	char text[4096];
	int lines = 0;

	if (hp_read_text(OWN, text, sizeof(text)) < 0)
		return -1;
	for (char *at = text; *at; at++)
		lines += *at == '\n';
	return lines - 1;
}

/* How many pages of hugepages of this size on all nodes processes have filled. */
static long count_refilled(unsigned long size)
{
	return hp_read_long(HP_SYSFS "hugepages-%lukB/refilled", size >> 10);
}

/* All is there again, in this process. */
static void expect_whole(META, struct owner *o)
{
	EXPECT_EQ(0, hp_damage(o->n.map.addr, o->n.map.size, o->n.seed));
	EXPECT_EQ(0, memcmp(o->was, hp_narrowed_raw(&o->n), HP_BASE));
	EXPECT_EQ(0, count_lost());
}

static void leave(META, struct owner *o)
{
	hp_mapper_stop(&o->other);
	close(o->own);
	hp_map_free(&o->n.map);
	EXPECT_EQ(0, hp_test_end(&o->n.test));
}

/* --- what each mapper sees ----------------------------------------------------------- */

FIXTURE(owner) {
	struct owner o;
};

FIXTURE_VARIANT(owner) {
	enum hp_backing backing;
	unsigned long size;
};

FIXTURE_VARIANT_ADD(owner, 2M_shared) { .backing = HP_MEMFD, .size = HP_2M };
FIXTURE_VARIANT_ADD(owner, 1G_shared) { .backing = HP_MEMFD, .size = HP_1G };
FIXTURE_VARIANT_ADD(owner, sysv_2M) { .backing = HP_SHM, .size = HP_2M };
FIXTURE_VARIANT_ADD(owner, 2M_private) { .backing = HP_PRIVATE, .size = HP_2M };
FIXTURE_VARIANT_ADD(owner, 1G_private) { .backing = HP_PRIVATE, .size = HP_1G };

FIXTURE_SETUP(owner)
{
	settle(_metadata, &self->o, variant->backing, variant->size);
}

FIXTURE_TEARDOWN(owner)
{
	leave(_metadata, &self->o);
}

TEST_F_TIMEOUT(owner, refills, 60)
{
	struct owner *o = &self->o;
	char *raw = hp_narrowed_raw(&o->n);
	long refilled = count_refilled(variant->size);

	hit(_metadata, o);
	EXPECT_EQ(1, count_lost());
	ASSERT_EQ(0, refill(o, o->was, 1));
	EXPECT_EQ(refilled + 1, count_refilled(variant->size));
	expect_whole(_metadata, o);
	EXPECT_EQ(o->shared ? 0 : 1, hp_ask(&o->other, HP_OP_LOST, o->there, o->n.seed).value);

	/* it is memory as any other: both write, a system call writes */
	EXPECT_EQ(0, hp_touch(raw, HP_WRITE).code);
	EXPECT_EQ(0, hp_syscall_touch(raw, HP_WRITE));
	memset(raw, 0x33, HP_BASE);
	if (o->shared) {
		EXPECT_EQ(0, hp_ask(&o->other, HP_OP_STAMP, o->there, 7).value);
		EXPECT_EQ(0, hp_damage(o->n.map.addr, o->n.map.size, 7));
	} else {
		EXPECT_EQ(0x33, raw[HP_BASE / 2]);
		EXPECT_EQ(BUS_MCEERR_AR, hp_ask(&o->other, HP_OP_READ, raw_there(o), 0).bus.code);
	}
}

/* Before any fault or the worker has narrowed. */
TEST_F_TIMEOUT(owner, at_once, 60)
{
	struct owner *o = &self->o;

	ASSERT_EQ(0, hp_inject(o->n.pfn));
	o->n.hit = true;
	ASSERT_EQ(0, refill(o, o->was, 1));
	expect_whole(_metadata, o);
}

TEST_F_TIMEOUT(owner, is_not_lost, 60)
{
	struct owner *o = &self->o;
	char *raw = hp_narrowed_raw(&o->n);
	long refilled = count_refilled(variant->size);

	memset(o->fill, 0x55, sizeof(o->fill));
	EXPECT_EQ(EEXIST, refill(o, o->fill, 1));
	EXPECT_EQ(0, memcmp(raw, o->was, HP_BASE));
	hit(_metadata, o);
	ASSERT_EQ(0, refill(o, o->was, 1));
	EXPECT_EQ(EEXIST, refill(o, o->fill, 1));
	EXPECT_EQ(refilled + 1, count_refilled(variant->size));
	EXPECT_EQ(EEXIST, said(pwrite(o->own, o->fill, HP_BASE, (unsigned long)raw - HP_BASE)));
	expect_whole(_metadata, o);
}

/* The three pages from the raw one on are lost, the fourth is not. */
TEST_F_TIMEOUT(owner, several, 60)
{
	struct owner *o = &self->o;
	char *raw = hp_narrowed_raw(&o->n);
	const char *good = raw + 3 * HP_BASE;

	memcpy(o->fill, raw, sizeof(o->fill));
	hit(_metadata, o);
	EXPECT_EQ(0, hp_inject(o->n.pfn + 1));
	EXPECT_EQ(0, hp_inject(o->n.pfn + 2));
	EXPECT_EQ(3, count_lost());
	memset(o->fill + 3 * HP_BASE, 0x55, HP_BASE);
	EXPECT_EQ(3 * (long)HP_BASE,
		  pwrite(o->own, o->fill, sizeof(o->fill), (off_t)(unsigned long)raw));
	EXPECT_NE(0x55, good[100]);
	expect_whole(_metadata, o);
}

TEST_F_TIMEOUT(owner, forks_after, 60)
{
	struct owner *o = &self->o;
	struct hp_mapper child;
	char *raw = hp_narrowed_raw(&o->n);

	hit(_metadata, o);
	ASSERT_EQ(0, refill(o, o->was, 1));
	ASSERT_EQ(0, hp_mapper_start(&child, &o->n.map, false));
	EXPECT_EQ(0, hp_ask(&child, HP_OP_DAMAGE, o->n.map.addr, o->n.seed).value);
	memset(raw, 0x11, HP_BASE);
	EXPECT_EQ(0, hp_ask(&child, HP_OP_READ, raw, 0).bus.code);
	EXPECT_EQ(o->shared, hp_ask(&child, HP_OP_DAMAGE, o->n.map.addr, o->n.seed).value != 0);
	EXPECT_EQ(0, hp_mapper_stop(&child));
}

/* Discarding it is up to the owner: a file keeps it, private memory reads zeros. */
TEST_F_TIMEOUT(owner, discards, 60)
{
	struct owner *o = &self->o;
	char *raw = hp_narrowed_raw(&o->n);

	hit(_metadata, o);
	ASSERT_EQ(0, refill(o, o->was, 1));
	EXPECT_EQ(0, hp_touch(raw, HP_READ).code);
	EXPECT_EQ(0, said(madvise(raw, HP_BASE, MADV_DONTNEED)));
	if (o->shared)
		expect_whole(_metadata, o);
	else
		EXPECT_TRUE(hp_all_zero(raw));
	EXPECT_EQ(0, count_lost());
}

/*
 * A private mapping of the file has a hugepage of its own, with an error, and has discarded
 * one page of it. There it sees the file, beside that its own page and not the file's.
 */
TEST_F_TIMEOUT(owner, is_covered, 60)
{
	struct owner *o = &self->o;
	unsigned long bad = (o->n.raw + o->n.map.size / 4) % o->n.map.size;
	int status = -1;
	char *private;
	pid_t pid;

	if (variant->backing != HP_MEMFD || variant->size != HP_2M)
		return;
	private = mmap(NULL, HP_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE, o->n.map.fd, 0);
	ASSERT_NE(MAP_FAILED, private);
	memset(private, 0x77, HP_2M);
	EXPECT_EQ(0, hp_inject(hp_pfn(private + bad)));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(private + bad, HP_READ).code);
	EXPECT_EQ(0, said(madvise(private + o->n.raw + HP_BASE, HP_BASE, MADV_DONTNEED)));
	hit(_metadata, o);
	ASSERT_EQ(0, refill(o, o->was, 1));
	/* fork copies no entry: the child maps all anew */
	pid = fork();
	if (!pid) {
		hp_touch(private + o->n.raw + HP_BASE, HP_READ);
		_exit(private[o->n.raw + HP_BASE + 100] == 0x77 ? 1 :
		      private[o->n.raw + 100] == 0x77 ? 0 : 2);
	}
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, munmap(private, HP_2M));
}

/* --- the contents change at once ------------------------------------------------------ */

/* Counts of the process that reads all the time. */
struct reader {
	unsigned long lost, right, wrong, by_call, wrong_call;
	bool stop;
};

static sigjmp_buf reader_env;

static void on_reader_sigbus(int sig)
{
	(void)sig;
	siglongjmp(reader_env, 1);
}

static void read_on(struct owner *o, struct reader *r)
{
	const char *raw = hp_narrowed_raw(&o->n);
	struct iovec from = { (void *)raw, HP_BASE };
	char page[HP_BASE];
	struct iovec to = { page, HP_BASE };

	signal(SIGBUS, on_reader_sigbus);
	while (!__atomic_load_n(&r->stop, __ATOMIC_SEQ_CST)) {
		if (sigsetjmp(reader_env, 1))
			r->lost++;
		else if (memcmp(raw, o->was, HP_BASE))
			r->wrong++;
		else
			r->right++;
		if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) == HP_BASE) {
			r->by_call++;
			r->wrong_call += !!memcmp(page, o->was, HP_BASE);
		}
	}
}

FIXTURE(readers) {
	struct owner o;
};

FIXTURE_VARIANT(readers) {
	unsigned long size;
};

FIXTURE_VARIANT_ADD(readers, 2M) { .size = HP_2M };
FIXTURE_VARIANT_ADD(readers, 1G) { .size = HP_1G };

FIXTURE_SETUP(readers)
{
	settle(_metadata, &self->o, HP_MEMFD, variant->size);
}

FIXTURE_TEARDOWN(readers)
{
	leave(_metadata, &self->o);
}

TEST_F_TIMEOUT(readers, see_no_zeros, 120)
{
	struct owner *o = &self->o;
	struct reader *r = mmap(NULL, HP_BASE, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = -1;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, r);
	hit(_metadata, o);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		read_on(o, r);
		_exit(EXIT_SUCCESS);
	}
	/* lost again and filled again: an error in what was filled in, each time */
	for (int i = 0; i < 20; i++) {
		unsigned long before = __atomic_load_n(&r->lost, __ATOMIC_SEQ_CST);

		hp_await(__atomic_load_n(&r->lost, __ATOMIC_SEQ_CST) > before, "the loss is seen");
		before = __atomic_load_n(&r->right, __ATOMIC_SEQ_CST);
		ASSERT_EQ(0, refill(o, o->was, 1));
		hp_await(__atomic_load_n(&r->right, __ATOMIC_SEQ_CST) > before + 1, "it is read");
		EXPECT_EQ(0, hp_touch(hp_narrowed_raw(&o->n), HP_READ).code);
		EXPECT_EQ(0, hp_inject(hp_pfn(hp_narrowed_raw(&o->n))));
	}
	__atomic_store_n(&r->stop, true, __ATOMIC_SEQ_CST);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, r->wrong);
	EXPECT_EQ(0, r->wrong_call);
	EXPECT_LT(0, r->by_call);
	munmap(r, HP_BASE);
}

/* --- a file's --------------------------------------------------------------------------- */

FIXTURE(file) {
	struct owner o;
};

FIXTURE_VARIANT(file) {
	unsigned long size;
};

FIXTURE_VARIANT_ADD(file, 2M) { .size = HP_2M };
FIXTURE_VARIANT_ADD(file, 1G) { .size = HP_1G };

FIXTURE_SETUP(file)
{
	settle(_metadata, &self->o, HP_MEMFD, variant->size);
	hit(_metadata, &self->o);
}

FIXTURE_TEARDOWN(file)
{
	leave(_metadata, &self->o);
}

TEST_F_TIMEOUT(file, is_read, 60)
{
	struct owner *o = &self->o;
	char buf[3 * HP_BASE];

	EXPECT_EQ((long)HP_BASE, pread(o->n.map.fd, buf, sizeof(buf), o->n.raw - HP_BASE));
	ASSERT_EQ(0, refill(o, o->was, 1));
	EXPECT_EQ((long)sizeof(buf), pread(o->n.map.fd, buf, sizeof(buf), o->n.raw - HP_BASE));
	EXPECT_EQ(0, memcmp(buf, hp_narrowed_raw(&o->n) - HP_BASE, sizeof(buf)));
	EXPECT_EQ(0, memcmp(buf + HP_BASE, o->was, HP_BASE));
	EXPECT_EQ(100, pread(o->n.map.fd, buf, 100, o->n.raw + 50));
	EXPECT_EQ(0, memcmp(buf, o->was + 50, 100));
}

/* A private mapping of the file sees it, and copies it when it writes. */
TEST_F_TIMEOUT(file, is_copied, 60)
{
	struct owner *o = &self->o;
	char *private = mmap(NULL, o->n.map.size, PROT_READ | PROT_WRITE, MAP_PRIVATE,
			     o->n.map.fd, 0);

	ASSERT_NE(MAP_FAILED, private);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(private + o->n.raw, HP_READ).code);
	ASSERT_EQ(0, refill(o, o->was, 1));
	EXPECT_EQ(0, hp_touch(private + o->n.raw, HP_READ).code);
	EXPECT_EQ(0, memcmp(private + o->n.raw, o->was, HP_BASE));
	private[o->n.raw + 8] ^= 1;
	EXPECT_NE(0, memcmp(private + o->n.raw, o->was, HP_BASE));
	expect_whole(_metadata, o);
	EXPECT_EQ(0, munmap(private, o->n.map.size));
}

static int wait_there(char *at, int value)
{
	struct timespec soon = { .tv_nsec = 1000 };

	return said(syscall(__NR_futex, at, FUTEX_WAIT, value, &soon, NULL, 0));
}

/* A futex that processes share: its key is of the file. */
TEST_F_TIMEOUT(file, waits_there, 60)
{
	struct owner *o = &self->o;
	char *word = hp_narrowed_raw(&o->n) + HP_BASE / 2;

	ASSERT_EQ(0, refill(o, o->was, 1));
	*(int *)word = 5;
	EXPECT_EQ(EAGAIN, wait_there(word, 77));
	EXPECT_EQ(ETIMEDOUT, wait_there(word, 5));
}

/* A private mapping fills what the file has lost for itself: the file stays as it is. */
TEST_F_TIMEOUT(file, privately, 60)
{
	struct owner *o = &self->o;
	char *private = mmap(NULL, o->n.map.size, PROT_READ | PROT_WRITE, MAP_PRIVATE,
			     o->n.map.fd, 0);

	ASSERT_NE(MAP_FAILED, private);
	EXPECT_EQ((long)HP_BASE, pwrite(o->own, o->was, HP_BASE,
					(off_t)(unsigned long)(private + o->n.raw)));
	EXPECT_EQ(0, memcmp(private + o->n.raw, o->was, HP_BASE));
	EXPECT_EQ(0, hp_narrowed_wrong(&o->n));
	EXPECT_EQ(0, munmap(private, o->n.map.size));
}

/* An error in what was filled in costs that page again, and no more. */
TEST_F_TIMEOUT(file, is_hit_again, 60)
{
	struct owner *o = &self->o;
	char *raw = hp_narrowed_raw(&o->n);
	unsigned long pfn;

	ASSERT_EQ(0, refill(o, o->was, 1));
	expect_whole(_metadata, o);
	pfn = hp_pfn(raw);
	EXPECT_NE(o->n.pfn, pfn);
	EXPECT_EQ(0, hp_ask(&o->other, HP_OP_KILL_EARLY, NULL, 0).value <= 0);
	EXPECT_EQ(0, hp_inject(pfn));
	EXPECT_EQ(raw_there(o), hp_await_signals(&o->other, 1).bus.addr);
	EXPECT_EQ(0, hp_narrowed_wrong(&o->n));
	EXPECT_EQ(1, count_lost());
	ASSERT_EQ(0, refill(o, o->was, 1));
	expect_whole(_metadata, o);
	EXPECT_NE(pfn, hp_pfn(raw));
}

/* Another error in the hugepage is one of its own. */
TEST_F_TIMEOUT(file, second, 60)
{
	struct owner *o = &self->o;
	unsigned long next = (o->n.pfn ^ 1) - o->n.pfn;
	char *other = hp_narrowed_raw(&o->n) + (long)next * (long)HP_BASE;
	char was[HP_BASE];

	memcpy(was, other, HP_BASE);
	ASSERT_EQ(0, refill(o, o->was, 1));
	EXPECT_EQ(0, hp_inject(o->n.pfn ^ 1));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(other, HP_READ).code);
	EXPECT_EQ(0, memcmp(o->was, hp_narrowed_raw(&o->n), HP_BASE));
	EXPECT_EQ((long)HP_BASE, pwrite(o->own, was, HP_BASE, (off_t)(unsigned long)other));
	expect_whole(_metadata, o);
}

#define HOLE	(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

/* A hole beside it heals the hugepage: the page keeps what was filled in. */
TEST_F_TIMEOUT(file, heals, 120)
{
	struct owner *o = &self->o;
	unsigned long other = (o->n.raw + o->n.map.size / 4) % o->n.map.size;

	/* of a GiB only the first page of each block there has contents to be known again */
	if (o->n.map.size > HP_2M)
		other &= -HP_2M;
	ASSERT_EQ(0, refill(o, o->was, 1));
	EXPECT_EQ(0, hp_inject(o->n.pfn + (long)(other - o->n.raw) / (long)HP_BASE));
	EXPECT_EQ(0, said(fallocate(o->n.map.fd, HOLE, other, HP_BASE)));
	EXPECT_TRUE(hp_all_zero(o->n.map.addr + other));
	EXPECT_EQ(0, memcmp(o->was, hp_narrowed_raw(&o->n), HP_BASE));
	EXPECT_EQ(2, hp_damage(o->n.map.addr, o->n.map.size, o->n.seed));
	EXPECT_EQ(0, count_lost());
	hp_touch(o->n.map.addr, HP_WRITE);
	EXPECT_TRUE(hp_is_hugetlb(o->n.map.addr));
}

/* A worker heals 2 MiB by itself: all mappers have a hugepage again, with what was filled in. */
TEST_F_TIMEOUT(file, heals_itself, 120)
{
	struct owner *o = &self->o;
	char *victim = hp_narrowed_victim(&o->n);

	if (variant->size == HP_1G) {
		ASSERT_EQ(0, refill(o, o->was, 1));
		sleep(6);
		EXPECT_FALSE(hp_is_hugetlb(victim));
		expect_whole(_metadata, o);
		return;
	}
	/* a page that nobody has filled stays lost */
	EXPECT_EQ(0, hp_inject(o->n.pfn + 9));
	ASSERT_EQ(0, refill(o, o->was, 1));
	EXPECT_EQ(0, hp_touch(hp_narrowed_raw(&o->n), HP_READ).code);
	EXPECT_TRUE(hp_await(hp_pfn(victim) != o->n.pfn - o->n.raw / HP_BASE &&
			     hp_touch(victim, HP_READ).code == 0, "the hugepage is another one"));
	EXPECT_EQ(0, memcmp(o->was, hp_narrowed_raw(&o->n), HP_BASE));
	EXPECT_EQ(1, count_lost());
	memset(o->fill, 0, HP_BASE);
	EXPECT_EQ(0, write_at(o, o->fill, HP_BASE, hp_narrowed_raw(&o->n) + 9 * HP_BASE));
	EXPECT_TRUE(hp_await((hp_touch(victim, HP_READ), hp_is_hugetlb(victim)),
			     "the mapping is promoted"));
	EXPECT_EQ(0, memcmp(o->was, hp_narrowed_raw(&o->n), HP_BASE));
	EXPECT_TRUE(hp_all_zero(hp_narrowed_raw(&o->n) + 9 * HP_BASE));
	EXPECT_EQ(2, hp_damage(o->n.map.addr, o->n.map.size, o->n.seed));
	EXPECT_EQ(2, hp_ask(&o->other, HP_OP_DAMAGE, o->there, o->n.seed).value);
}

/* A hole over it zeroes it. */
TEST_F_TIMEOUT(file, is_punched, 60)
{
	struct owner *o = &self->o;
	char *raw = hp_narrowed_raw(&o->n);

	ASSERT_EQ(0, refill(o, o->was, 1));
	EXPECT_EQ(0, memcmp(o->was, raw, HP_BASE));
	EXPECT_EQ(0, said(fallocate(o->n.map.fd, HOLE, o->n.raw, HP_BASE / 2)));
	EXPECT_EQ(0, memcmp(o->was + HP_BASE / 2, raw + HP_BASE / 2, HP_BASE / 2));
	EXPECT_EQ(0, raw[0]);
	EXPECT_EQ(0, said(fallocate(o->n.map.fd, HOLE, o->n.raw, HP_BASE)));
	EXPECT_TRUE(hp_all_zero(raw));
	EXPECT_EQ(2, hp_damage(o->n.map.addr, o->n.map.size, o->n.seed));
}

/* The file drops the hugepage: what stood in goes as well, though it is all that is mapped. */
TEST_F_TIMEOUT(file, is_truncated, 60)
{
	struct owner *o = &self->o;
	char *raw = hp_narrowed_raw(&o->n), *victim = hp_narrowed_victim(&o->n);

	ASSERT_EQ(0, refill(o, o->was, 1));
	EXPECT_EQ(0, hp_touch(raw, HP_WRITE).code);
	EXPECT_EQ(0, said(madvise(victim, raw - victim, MADV_DONTNEED)));
	EXPECT_EQ(0, said(fallocate(o->n.map.fd, HOLE, 0, o->n.map.size)));
	EXPECT_TRUE(hp_all_zero(raw));
	EXPECT_TRUE(hp_is_hugetlb(victim));
}

/* The contents of the raw page are out of date. */
TEST_F_TIMEOUT(file, is_not_unpoisoned, 60)
{
	struct owner *o = &self->o;

	ASSERT_EQ(0, refill(o, o->was, 1));
	EXPECT_EQ(-EBUSY, hp_unpoison(o->n.pfn));
	expect_whole(_metadata, o);
}

/* --- what cannot be ----------------------------------------------------------------------- */

FIXTURE(refused) {
	struct owner o;
};

FIXTURE_VARIANT(refused) {
	enum hp_backing backing;
};

FIXTURE_VARIANT_ADD(refused, shared) { .backing = HP_MEMFD };
FIXTURE_VARIANT_ADD(refused, private) { .backing = HP_PRIVATE };

FIXTURE_SETUP(refused)
{
	settle(_metadata, &self->o, variant->backing, HP_2M);
}

FIXTURE_TEARDOWN(refused)
{
	leave(_metadata, &self->o);
}

TEST_F_TIMEOUT(refused, calls, 60)
{
	struct owner *o = &self->o;
	char *raw = hp_narrowed_raw(&o->n);
	char *plain = mmap(NULL, 3 * HP_BASE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	hit(_metadata, o);
	EXPECT_EQ(0, said(mprotect(plain + 2 * HP_BASE, HP_BASE, PROT_NONE)));
	EXPECT_EQ(EINVAL, write_at(o, o->was, HP_BASE - 1, raw));
	EXPECT_EQ(EINVAL, write_at(o, o->was, HP_BASE, raw + 1));
	EXPECT_EQ(EINVAL, write_at(o, o->was, HP_BASE, plain));
	EXPECT_EQ(0, munmap(plain, HP_BASE));
	EXPECT_EQ(EFAULT, write_at(o, o->was, HP_BASE, plain));
	EXPECT_EQ(EFAULT, write_at(o, plain, HP_BASE, raw));
	/* the second half of the source is not there */
	EXPECT_EQ(EFAULT, write_at(o, plain + 2 * HP_BASE - 100, HP_BASE, raw));
	/* it is the lost page itself */
	EXPECT_EQ(EFAULT, write_at(o, raw, HP_BASE, raw));
	EXPECT_EQ(0, said(mprotect(o->n.map.addr, HP_2M, PROT_READ)));
	EXPECT_EQ(EACCES, write_at(o, o->was, HP_BASE, raw));
	EXPECT_EQ(0, said(mprotect(o->n.map.addr, HP_2M, PROT_READ | PROT_WRITE)));
	EXPECT_EQ(0, hp_narrowed_wrong(&o->n));
	munmap(plain + HP_BASE, 2 * HP_BASE);
}

/* A child gets the file from its opener. */
static void inherit(META, struct hp_narrowed *n)
{
	struct owner *o = (struct owner *)n;
	int own;

	EXPECT_EQ(EPERM, refill(o, o->was, 1));
	EXPECT_EQ(0, setgid(65534));
	EXPECT_EQ(0, setuid(65534));
	EXPECT_EQ(EPERM, refill(o, o->was, 1));
	own = open(OWN, O_RDWR);
	EXPECT_LE(0, own);
	EXPECT_EQ(HP_BASE, pwrite(own, o->was, HP_BASE, (off_t)(unsigned long)hp_narrowed_raw(n)));
	EXPECT_EQ(0, memcmp(hp_narrowed_raw(n), o->was, HP_BASE));
}

/* Only who has opened it; and that without privilege. */
TEST_F_TIMEOUT(refused, others, 60)
{
	struct owner *o = &self->o;

	hit(_metadata, o);
	EXPECT_EQ(0, run_child(_metadata, inherit, &o->n));
	if (o->shared)
		expect_whole(_metadata, o);
	else
		EXPECT_EQ(0, hp_narrowed_wrong(&o->n));
}

/* How often the cgroup has run out of memory. */
static long count_oom(void)
{
	char text[512];
	const char *oom;

	if (hp_read_text(CGROUP "/memory.events", text, sizeof(text)) < 0)
		return -1;
	oom = strstr(text, "\noom ");
	return oom ? atol(oom + strlen("\noom ")) : -1;
}

enum limit_stage { READY = 1, LIMITED, EMPTY, ASKED, ANSWERED, UNLIMITED };

/*
 * The stages of the process in the cgroup and of the one outside, which sets the limit and
 * reads how often it was met: inside of it opening a file may fail. Memory that both have
 * touched says who is to go on.
 */
static struct {
	int stage;
	int pipe, ret;		/* what calls said over the limit */
} *limit;

static void begin_stage(int stage)
{
	__atomic_store_n(&limit->stage, stage, __ATOMIC_SEQ_CST);
}

static bool await_stage(int stage)
{
	return hp_await(__atomic_load_n(&limit->stage, __ATOMIC_SEQ_CST) == stage,
			"stage %d", stage);
}

/*
 * Each CPU has pages that are charged in advance, and a call that finds some does not meet
 * the limit: have a pipe use up those of this CPU. Returns the errno of the pipe.
 */
static int use_up(int fd, const char *page)
{
	while (write(fd, page, HP_BASE) > 0)
		;
	return errno;
}

static void stay_on_this_cpu(META)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(sched_getcpu(), &cpus);
	EXPECT_EQ(0, sched_setaffinity(0, sizeof(cpus), &cpus));
}

/* The one in the cgroup. The OOM killer must not find it: it is there to be called or not. */
static void meet_limit(META, struct hp_narrowed *n)
{
	const unsigned long many = 8 << 20;
	struct owner *o = (struct owner *)n;
	int pipe_fd[2];
	char *much;

	much = mmap(NULL, many, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	o->own = open(OWN, O_RDWR | O_CLOEXEC);
	EXPECT_EQ(0, pipe2(pipe_fd, O_NONBLOCK | O_CLOEXEC));
	EXPECT_LE(1 << 20, fcntl(pipe_fd[1], F_SETPIPE_SZ, 1 << 20));
	EXPECT_EQ(0, hp_write("/proc/self/oom_score_adj", "-1000"));
	stay_on_this_cpu(_metadata);
	enter_cgroup("memory");
	EXPECT_EQ(0, said(madvise(much, many, MADV_POPULATE_WRITE)));
	/* touches what the calls need */
	EXPECT_EQ((long)HP_BASE, write(pipe_fd[1], o->was, HP_BASE));
	EXPECT_EQ(EFAULT, refill(o, NULL, 1));

	begin_stage(READY);
	if (!await_stage(LIMITED))
		return;
	limit->pipe = use_up(pipe_fd[1], o->was);
	begin_stage(EMPTY);
	if (!await_stage(ASKED))
		return;
	limit->ret = refill(o, o->was, 1);
	begin_stage(ANSWERED);
	if (!await_stage(UNLIMITED))
		return;
	EXPECT_EQ(0, refill(o, o->was, 1));
	EXPECT_EQ(0, memcmp(o->was, hp_narrowed_raw(n), HP_BASE));
}

/* Over the limit of the cgroup the call fails, and the OOM killer is not called. */
TEST_F_TIMEOUT(refused, limit, 120)
{
	struct owner *o = &self->o;
	int status = -1;
	long before;
	pid_t pid;

	hit(_metadata, o);
	limit = mmap(NULL, HP_BASE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, limit);
	begin_stage(0);
	pid = start_child(_metadata, meet_limit, &o->n);
	EXPECT_TRUE(await_stage(READY));
	EXPECT_EQ(0, hp_write(CGROUP "/memory.swap.max", "0"));
	/* none can be killed for it, so the limit holds all the same */
	EXPECT_EQ(0, hp_write(CGROUP "/memory.max", "1048576"));
	begin_stage(LIMITED);
	EXPECT_TRUE(await_stage(EMPTY));
	EXPECT_EQ(ENOMEM, limit->pipe);
	before = count_oom();
	EXPECT_LT(0, before);
	begin_stage(ASKED);
	EXPECT_TRUE(await_stage(ANSWERED));
	EXPECT_EQ(ENOMEM, limit->ret);
	EXPECT_EQ(before, count_oom());
	EXPECT_EQ(0, hp_narrowed_wrong(&o->n));
	EXPECT_EQ(0, hp_write(CGROUP "/memory.max", "max"));
	begin_stage(UNLIMITED);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	if (o->shared)
		expect_whole(_metadata, o);
	else
		EXPECT_EQ(0, hp_narrowed_wrong(&o->n));
	munmap(limit, HP_BASE);
	leave_cgroup();
}

TEST_F_TIMEOUT(refused, whole, 60)
{
	struct owner *o = &self->o;

	EXPECT_EQ(0, hp_set_containment("hugepage"));
	EXPECT_EQ(0, hp_inject(o->n.pfn));
	EXPECT_EQ(EOPNOTSUPP, refill(o, o->was, 1));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(hp_narrowed_raw(&o->n), HP_READ).code);
}

TEST_HARNESS_MAIN
