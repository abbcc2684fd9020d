// SPDX-License-Identifier: GPL-2.0-only
/*
 * The file lets go of a poisoned hugepage: it is released, and the mappings are
 * hugetlb mappings again as soon as they are touched.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include "kselftest_harness.h"

#include "hp.h"
#include "hp_child.h"
#include "hp_narrowed.h"
#include "hp_proc.h"

/* --- the file changes ----------------------------------------------------------------- */

FIXTURE(file) {
	struct hp_narrowed n;
	struct hp_mapper other;	/* a process that maps it elsewhere */
	char *base;		/* there */
};

FIXTURE_VARIANT(file) {
	unsigned long size;
	enum hp_backing backing;
	unsigned long nr;
};

FIXTURE_VARIANT_ADD(file, 2M_file) { .size = HP_2M, .backing = HP_FILE, .nr = 3 };
FIXTURE_VARIANT_ADD(file, 2M_memfd) { .size = HP_2M, .backing = HP_MEMFD, .nr = 3 };
FIXTURE_VARIANT_ADD(file, 1G_memfd) { .size = HP_1G, .backing = HP_MEMFD, .nr = 1 };

FIXTURE_SETUP(file)
{
	ASSERT_EQ(0, hp_narrowed_make(&self->n, variant->backing, variant->size, variant->nr));
	ASSERT_EQ(0, hp_mapper_start(&self->other, &self->n.map, true));
	self->base = (char *)hp_ask(&self->other, HP_OP_ADDR, NULL, 0).value;
}

FIXTURE_TEARDOWN(file)
{
	hp_mapper_stop(&self->other);
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

/* Both have narrowed before anything happens to the file. */
static void narrow_both(META, FIXTURE_DATA(file) *self)
{
	struct hp_narrowed *n = &self->n;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	EXPECT_EQ(1, hp_ask(&self->other, HP_OP_LOST, self->base + n->victim * n->map.size,
			    n->seed + n->victim).value);
}

/* A fresh hugepage where the poisoned one was, for both, and a hugetlb one. */
static void expect_fresh(META, FIXTURE_DATA(file) *self)
{
	struct hp_narrowed *n = &self->n;
	unsigned long size = n->map.size;
	char *victim = hp_narrowed_victim(n), *there = self->base + n->victim * size;
	struct hp_vma vma;

	EXPECT_TRUE(hp_all_zero(hp_narrowed_raw(n)));
	EXPECT_TRUE(hp_all_zero(victim));
	EXPECT_TRUE(hp_all_zero(victim + size - HP_BASE));
	EXPECT_EQ(0, hp_vma_at(getpid(), victim, &vma));
	EXPECT_TRUE(hp_vma_flag(&vma, "ht"));
	EXPECT_EQ((long)size >> 10, hp_vma_kb(&vma, "KernelPageSize"));
	EXPECT_EQ(0, hp_pageflags(hp_pfn(victim)) & HP_KPF_HWPOISON);

	EXPECT_EQ(0, hp_ask(&self->other, HP_OP_STAMP, there, 77).value);
	EXPECT_EQ(0, hp_damage(victim, size, 77));
	EXPECT_EQ(0, hp_stamp(victim, size, 78));
	EXPECT_EQ(0, hp_ask(&self->other, HP_OP_DAMAGE, there, 78).value);
	EXPECT_EQ(0, hp_vma_at(self->other.pid, there, &vma));
	EXPECT_TRUE(hp_vma_flag(&vma, "ht"));
	for (unsigned long i = 0; i < n->victim; i++)
		EXPECT_EQ(0, hp_damage(n->map.addr + i * size, size, n->seed + i));
	for (unsigned long i = n->victim + 1; i < n->map.nr; i++)
		EXPECT_EQ(0, hp_touch(n->map.addr + i * size, HP_READ).code);
	EXPECT_EQ((long)(n->map.nr * size) >> 10, hp_status_kb(getpid(), "HugetlbPages"));
}

/* Released: its pages are free but for the raw one. */
static void expect_released(META, struct hp_narrowed *n, struct hp_state *want)
{
	hp_expect_released(want, n->map.size, n->node);
	hp_await(hp_read_long(HP_SYSFS "hugepages-%lukB/released", n->map.size >> 10) ==
		 *hp_at(want, HP_RELEASED, n->map.size, HP_ALL), "the hugepage is released");
	EXPECT_EQ(0, hp_pageflags(n->pfn - 1) & (HP_KPF_HUGE | HP_KPF_HWPOISON));
	EXPECT_NE(0, hp_pageflags(n->pfn) & HP_KPF_HWPOISON);
	EXPECT_EQ(*hp_at(want, HP_RELEASED, n->map.size, n->node),
		  hp_read_long(HP_SYSFS "node%d/hugepages-%lukB/released", n->node,
			       n->map.size >> 10));
}

TEST_F(file, punch_hole)
{
	struct hp_narrowed *n = &self->n;
	struct hp_state want;

	narrow_both(_metadata, self);
	hp_read_state(&want);
	ASSERT_EQ(0, fallocate(n->map.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       n->victim * n->map.size, n->map.size));
	expect_released(_metadata, n, &want);
	expect_fresh(_metadata, self);
}

TEST_F(file, madvise_remove)
{
	struct hp_narrowed *n = &self->n;
	struct hp_state want;

	narrow_both(_metadata, self);
	hp_read_state(&want);
	ASSERT_EQ(0, madvise(hp_narrowed_victim(n), n->map.size, MADV_REMOVE));
	expect_released(_metadata, n, &want);
	expect_fresh(_metadata, self);
}

TEST_F(file, truncate_and_extend)
{
	struct hp_narrowed *n = &self->n;
	char *victim = hp_narrowed_victim(n), *raw = hp_narrowed_raw(n);
	struct hp_state want;

	narrow_both(_metadata, self);
	hp_read_state(&want);
	ASSERT_EQ(0, ftruncate(n->map.fd, n->victim * n->map.size));
	expect_released(_metadata, n, &want);
	EXPECT_EQ(BUS_ADRERR, hp_touch(victim, HP_READ).code);
	EXPECT_EQ(BUS_ADRERR, hp_touch(raw, HP_WRITE).code);
	EXPECT_EQ(BUS_ADRERR,
		  hp_ask(&self->other, HP_OP_READ, self->base + n->raw, 0).bus.code);
	ASSERT_EQ(0, ftruncate(n->map.fd, n->map.nr * n->map.size));
	expect_fresh(_metadata, self);
}

/* Truncation that does not come to the poisoned hugepage leaves it alone. */
TEST_F(file, truncate_behind)
{
	struct hp_narrowed *n = &self->n, rest = *n;

	narrow_both(_metadata, self);
	ASSERT_EQ(0, ftruncate(n->map.fd, (n->victim + 1) * n->map.size));
	rest.map.nr = n->victim + 1;
	EXPECT_RIGHT(&rest);
	if (rest.map.nr < n->map.nr)
		EXPECT_EQ(BUS_ADRERR, hp_touch(hp_narrowed_victim(n) + n->map.size, HP_READ).code);
	ASSERT_EQ(0, ftruncate(n->map.fd, n->map.nr * n->map.size));
	EXPECT_RIGHT(&rest);
}

/* Moved to another address, it is promoted there. */
TEST_F(file, moved)
{
	struct hp_narrowed *n = &self->n;
	unsigned long size = n->map.size;
	char *room, *to;

	room = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		    -1, 0);
	ASSERT_NE(MAP_FAILED, room);
	to = (char *)(((unsigned long)room + size - 1) & -size);
	narrow_both(_metadata, self);
	ASSERT_EQ(to, mremap(hp_narrowed_victim(n), size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	ASSERT_EQ(0, fallocate(n->map.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       n->victim * size, size));
	EXPECT_TRUE(hp_all_zero(to));
	EXPECT_TRUE(hp_is_hugetlb(to));
	ASSERT_EQ(hp_narrowed_victim(n), mremap(to, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
						hp_narrowed_victim(n)));
	expect_fresh(_metadata, self);
}

/* Without access rights, promoted as soon as there are some. */
TEST_F(file, protected)
{
	struct hp_narrowed *n = &self->n;
	char *victim = hp_narrowed_victim(n);

	narrow_both(_metadata, self);
	ASSERT_EQ(0, mprotect(victim, n->map.size, PROT_NONE));
	ASSERT_EQ(0, fallocate(n->map.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       n->victim * n->map.size, n->map.size));
	EXPECT_EQ(SIGSEGV, hp_signal_of(victim, HP_READ));
	ASSERT_EQ(0, mprotect(victim, n->map.size, PROT_READ));
	EXPECT_TRUE(hp_all_zero(victim));
	EXPECT_EQ(SIGSEGV, hp_signal_of(victim, HP_WRITE));
	ASSERT_EQ(0, mprotect(victim, n->map.size, PROT_READ | PROT_WRITE));
	expect_fresh(_metadata, self);
}

/* Gone and back again, several times over: an error in each new hugepage. */
TEST_F_TIMEOUT(file, again_and_again, 60)
{
	struct hp_narrowed *n = &self->n;
	struct hp_state want = n->test.before;
	int rounds = n->map.size == HP_1G ? 1 : 4, node;
	unsigned long pfn[4], size = n->map.size;
	char *victim = hp_narrowed_victim(n);
	long damage;

	for (int i = 0; i < rounds; i++) {
		EXPECT_EQ(0, hp_stamp(victim, size, 9 + i));
		pfn[i] = hp_pfn(victim) + 3 + i;
		node = hp_pfn_node(pfn[i]);
		ASSERT_EQ(0, hp_inject(pfn[i]));
		EXPECT_EQ(1, hp_lost(victim, size, 9 + i, &damage));
		EXPECT_EQ(0, damage);
		EXPECT_EQ(1, hp_ask(&self->other, HP_OP_LOST, self->base + n->victim * size,
				    9 + i).value);
		ASSERT_EQ(0, fallocate(n->map.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				       n->victim * size, size));
		hp_expect_lost(&want, size, node);
		hp_add(&want, HP_BAD, size, node, 1);
		hp_add(&want, HP_CORRUPTED, 0, HP_ALL, HP_BASE >> 10);
	}
	expect_fresh(_metadata, self);
	hp_mapper_stop(&self->other);
	hp_map_free(&n->map);
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
	for (int i = 0; i < rounds; i++)
		EXPECT_EQ(0, hp_unpoison_soon(pfn[i]));
}

/* --- SysV shared memory ------------------------------------------------------------- */

FIXTURE(segment) {
	struct hp_narrowed n;
};

FIXTURE_SETUP(segment)
{
	ASSERT_EQ(0, hp_narrowed_make(&self->n, HP_SHM, HP_2M, 3));
}

FIXTURE_TEARDOWN(segment)
{
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

/* How many VMAs have it attached; -errno once it is gone. */
static long attached(int shmid)
{
	struct shmid_ds ds;

	return shmctl(shmid, IPC_STAT, &ds) ? -errno : (long)ds.shm_nattch;
}

static void attach_and_detach(META, struct hp_narrowed *n)
{
	long before = attached(n->map.shmid), now;
	struct hp_map again;

	EXPECT_EQ(0, hp_map_again(&n->map, &again));
	now = attached(n->map.shmid);
	/* the worker may have been there already */
	EXPECT_TRUE(now == before + 1 || now == before + 3) {
		TH_LOG("%ld, of which %ld before", now, before);
	}
	EXPECT_EQ(0, hp_narrowed_wrong_at(n, again.addr));
	EXPECT_EQ(before + 3, attached(n->map.shmid));	/* the split shows */
	EXPECT_EQ(0, said(shmdt(again.addr)));
	EXPECT_EQ(before, attached(n->map.shmid));
	EXPECT_EQ(EINVAL, said(shmdt(again.addr)));
}

/* Counted for each VMA, so three for a narrowed mapping; detaching takes all. */
TEST_F(segment, detach)
{
	struct hp_narrowed *n = &self->n;

	EXPECT_EQ(1, attached(n->map.shmid));
	ASSERT_EQ(0, hp_narrowed_hit(n));
	EXPECT_EQ(3, attached(n->map.shmid));
	attach_and_detach(_metadata, n);
	EXPECT_EQ(0, run_child(_metadata, attach_and_detach, n));
	EXPECT_EQ(3, attached(n->map.shmid));
	EXPECT_RIGHT(n);

	/* marked for removal all the time, it goes with the last */
	EXPECT_EQ(0, shmdt(n->map.addr));
	n->map.addr = NULL;
	EXPECT_EQ(-EINVAL, attached(n->map.shmid));
}

/* Nobody has it attached for a while: not a byte of it is lost by that. */
TEST_F(segment, keep)
{
	struct hp_narrowed *n = &self->n;
	int id = shmget(IPC_PRIVATE, 3 * HP_2M, SHM_HUGETLB | IPC_CREAT | 0600);

	ASSERT_LE(0, id);
	hp_unmap(&n->map);
	n->map.shmid = id;
	n->map.addr = shmat(id, NULL, 0);
	ASSERT_NE(MAP_FAILED, n->map.addr);
	ASSERT_EQ(0, hp_narrowed_stamp(n));
	ASSERT_EQ(0, hp_narrowed_hit(n));
	EXPECT_EQ(0, shmdt(n->map.addr));
	EXPECT_EQ(0, attached(id));
	usleep(300 * 1000);

	n->map.addr = shmat(id, NULL, 0);
	EXPECT_EQ(0, shmctl(id, IPC_RMID, NULL));
	EXPECT_RIGHT(n);
	hp_unmap(&n->map);
	EXPECT_EQ(-EINVAL, attached(id));
}

/* --- the pool it came from ------------------------------------------------------------ */

FIXTURE(pool) {
	struct hp_narrowed n;
};

FIXTURE_VARIANT(pool) {
	unsigned long size, nr;
};

FIXTURE_VARIANT_ADD(pool, 2M) { .size = HP_2M, .nr = 3 };
FIXTURE_VARIANT_ADD(pool, 1G) { .size = HP_1G, .nr = 1 };

FIXTURE_SETUP(pool)
{
	ASSERT_EQ(0, hp_test_begin(&self->n.test, variant->size));
	hp_catch_sigbus();
}

/* The test itself has expected what is left of the pool. */
FIXTURE_TEARDOWN(pool)
{
	hp_map_free(&self->n.map);
	EXPECT_EQ(0, hp_test_end(&self->n.test));
}

static int set_pool(unsigned long size, const char *file, long nr)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%lukB/%s", size >> 10,
		 file);
	return hp_write(path, "%ld", nr);
}

/* No pool any more, and of the hugepage one raw page. */
static void expect_nothing_but_raw(META, struct hp_narrowed *n)
{
	struct hp_state want = n->test.before;

	for (int node = HP_ALL; node < hp_nodes(); node++) {
		*hp_at(&want, HP_NR, n->map.size, node) = 0;
		*hp_at(&want, HP_FREE, n->map.size, node) = 0;
	}
	hp_add(&want, HP_BAD, n->map.size, n->node, 1);
	hp_add(&want, HP_CORRUPTED, 0, HP_ALL, HP_BASE >> 10);
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
	EXPECT_EQ(0, hp_pageflags(n->pfn - 1) & (HP_KPF_HUGE | HP_KPF_HWPOISON));
	EXPECT_NE(0, hp_pageflags(n->pfn) & HP_KPF_HWPOISON);
	EXPECT_EQ(0, hp_unpoison_soon(n->pfn));
}

/* The pool is given up while the hugepages are in use: all are surplus. */
TEST_F(pool, shrunk_before)
{
	struct hp_narrowed *n = &self->n;

	ASSERT_EQ(0, hp_map(&n->map, HP_MEMFD, variant->size, variant->nr));
	ASSERT_EQ(0, hp_narrowed_stamp(n));
	ASSERT_EQ(0, set_pool(variant->size, "nr_hugepages", 0));
	ASSERT_EQ(0, hp_narrowed_hit(n));
	EXPECT_RIGHT(n);
	hp_map_free(&n->map);
	expect_nothing_but_raw(_metadata, n);
}

TEST_F(pool, shrunk_after)
{
	struct hp_narrowed *n = &self->n;

	ASSERT_EQ(0, hp_map(&n->map, HP_MEMFD, variant->size, variant->nr));
	ASSERT_EQ(0, hp_narrowed_stamp(n));
	ASSERT_EQ(0, hp_narrowed_hit(n));
	ASSERT_EQ(0, set_pool(variant->size, "nr_hugepages", 0));
	EXPECT_RIGHT(n);
	hp_map_free(&n->map);
	expect_nothing_but_raw(_metadata, n);
}

/* Made for this mapping, as there was no pool; gigantic ones never are. */
FIXTURE(overcommit) {
	struct hp_narrowed n;
};

FIXTURE_SETUP(overcommit)
{
	ASSERT_EQ(0, hp_test_begin(&self->n.test, HP_2M));
	hp_catch_sigbus();
}

FIXTURE_TEARDOWN(overcommit)
{
	hp_map_free(&self->n.map);
	EXPECT_EQ(0, set_pool(HP_2M, "nr_overcommit_hugepages", 0));
	EXPECT_EQ(0, hp_test_end(&self->n.test));
}

TEST_F(overcommit, released)
{
	struct hp_narrowed *n = &self->n;

	ASSERT_EQ(0, set_pool(HP_2M, "nr_hugepages", 0));
	ASSERT_EQ(0, set_pool(HP_2M, "nr_overcommit_hugepages", 3));
	EXPECT_EQ(0, hp_map(&n->map, HP_MEMFD, HP_2M, 3));
	EXPECT_EQ(0, hp_narrowed_stamp(n));
	EXPECT_EQ(0, hp_narrowed_hit(n));
	EXPECT_RIGHT(n);
	hp_map_free(&n->map);
	expect_nothing_but_raw(_metadata, n);
}

/*
 * A mount that has reserved all hugepages. The kernel has to replace a hugepage
 * that leaves the pool.
 */
#define MOUNT	"/tmp/hugetlb-poison.mount"
#define PROMISE	3L

static int map_promised(struct hp_map *map)
{
	*map = (struct hp_map) { .backing = HP_FILE, .size = HP_2M, .nr = PROMISE };
	map->fd = open(MOUNT "/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (map->fd < 0 || unlink(MOUNT "/file") || ftruncate(map->fd, PROMISE * HP_2M))
		return -errno;
	map->addr = mmap(NULL, PROMISE * HP_2M, PROT_READ | PROT_WRITE, MAP_SHARED, map->fd, 0);
	return map->addr == MAP_FAILED ? -errno : 0;
}

FIXTURE(promise) {
	struct hp_narrowed n;
};

FIXTURE_SETUP(promise)
{
	ASSERT_EQ(0, hp_test_begin(&self->n.test, HP_2M));
	hp_catch_sigbus();
	mkdir(MOUNT, 0700);
	ASSERT_EQ(0, set_pool(HP_2M, "nr_hugepages", PROMISE));
	ASSERT_EQ(0, mount("none", MOUNT, "hugetlbfs", 0, "pagesize=2M,size=6M,min_size=6M"));
	ASSERT_EQ(0, map_promised(&self->n.map));
}

FIXTURE_TEARDOWN(promise)
{
	hp_map_free(&self->n.map);
	umount(MOUNT);
	rmdir(MOUNT);
	EXPECT_EQ(0, hp_test_end(&self->n.test));
}

TEST_F(promise, kept)
{
	struct hp_narrowed *n = &self->n;
	struct hp_state want;

	ASSERT_EQ(0, hp_narrowed_stamp(n));
	ASSERT_EQ(0, hp_narrowed_hit(n));
	EXPECT_RIGHT(n);
	hp_read_state(&want);
	hp_map_free(&n->map);

	/* promised as before, and there is as much to keep it with */
	hp_expect_released(&want, HP_2M, n->node);
	*hp_at(&want, HP_RESV, HP_2M, HP_ALL) = PROMISE;
	EXPECT_TRUE(hp_await(hp_read_long(HP_SYSFS "hugepages-2048kB/released") ==
			     *hp_at(&want, HP_RELEASED, HP_2M, HP_ALL),
			     "the hugepage is released"));
	hp_read_state(&want);
	EXPECT_EQ(PROMISE, *hp_at(&want, HP_RESV, HP_2M, HP_ALL));
	EXPECT_EQ(PROMISE, *hp_at(&want, HP_FREE, HP_2M, HP_ALL));
	EXPECT_EQ(PROMISE, *hp_at(&want, HP_NR, HP_2M, HP_ALL));
	EXPECT_EQ(1, *hp_at(&want, HP_BAD, HP_2M, HP_ALL));

	ASSERT_EQ(0, map_promised(&n->map));
	ASSERT_EQ(0, hp_stamp(n->map.addr, HP_2M, 5));
	EXPECT_EQ(0, hp_damage(n->map.addr, HP_2M, 5));
	hp_map_free(&n->map);
	EXPECT_EQ(0, umount(MOUNT));
	EXPECT_EQ(0, hp_read_long("/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages"));
	EXPECT_EQ(0, hp_unpoison_soon(n->pfn));
}

/* --- who pays ------------------------------------------------------------------------- */

#define CGROUP	"/sys/fs/cgroup"
#define PAYER	CGROUP "/hp-promote"

static long paid(void)
{
	return hp_read_long(PAYER "/hugetlb.2MB.current");
}

/* A process in a cgroup of its own, charged for what it uses until it is gone. */
static void use_and_leave(META, struct hp_narrowed *n)
{
	EXPECT_EQ(0, hp_write(PAYER "/cgroup.procs", "0"));
	EXPECT_EQ(0, hp_map(&n->map, HP_MEMFD, HP_2M, 3));
	EXPECT_EQ(0, hp_narrowed_stamp(n));
	EXPECT_EQ(3 * (long)HP_2M, paid());
	EXPECT_EQ(0, hp_narrowed_hit(n));
	EXPECT_RIGHT(n);
	EXPECT_EQ(3 * (long)HP_2M, paid());
	hp_map_free(&n->map);
	EXPECT_TRUE(hp_await(!paid(), "its cgroup is charged for nothing"));
	EXPECT_EQ(0, hp_unpoison_soon(n->pfn));
}

FIXTURE(payer) {
	struct hp_narrowed n;
};

FIXTURE_SETUP(payer)
{
	ASSERT_EQ(0, hp_test_begin(&self->n.test, HP_2M));
	hp_catch_sigbus();
}

FIXTURE_TEARDOWN(payer)
{
	EXPECT_EQ(0, hp_test_end(&self->n.test));
}

TEST_F(payer, cgroup)
{
	ASSERT_EQ(0, hp_write(CGROUP "/cgroup.subtree_control", "+hugetlb"));
	ASSERT_EQ(0, mkdir(PAYER, 0755));
	EXPECT_EQ(0, run_child(_metadata, use_and_leave, &self->n));
	EXPECT_EQ(0, rmdir(PAYER));
}

TEST_HARNESS_MAIN
