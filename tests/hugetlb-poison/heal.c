// SPDX-License-Identifier: GPL-2.0-only
/*
 * An owner that punches the raw page out of a hugepage gets good memory there:
 * zeros in place of the lost bytes, all the other bytes as before, mapped by
 * hugepages again. A hugepage that cannot be healed stays exactly as it is, and
 * the call says why.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>

#include "kselftest_harness.h"

#include "hp.h"
#include "hp_child.h"
#include "hp_narrowed.h"
#include "hp_proc.h"

#define HOLE	(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define KB(pages)	((long)(pages) * (long)(HP_BASE >> 10))

/*
 * A hugepage whose owner heals it, and another process that maps it elsewhere.
 */
struct patient {
	struct hp_narrowed n;
	struct hp_mapper other;
	char *there;		/* the mapping of the other */
	int fd;			/* of the file, to punch by */
};

/* Memory without a descriptor is opened through the mapping. */
static int open_file(const struct hp_map *map)
{
	char path[96];

	if (map->fd > 0)
		return dup(map->fd);
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)map->addr,
		 (unsigned long)map->addr + map->nr * map->size);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* The raw page is to be page @page of the victim. */
static void aim(struct hp_narrowed *n, unsigned long page)
{
	n->raw = n->victim * n->map.size + page * HP_BASE;
	n->pfn = hp_pfn(hp_narrowed_raw(n));
	n->node = hp_pfn_node(n->pfn);
}

/* Another process maps the file as well. */
static void accompany(META, struct patient *p)
{
	p->fd = open_file(&p->n.map);
	ASSERT_LE(0, p->fd);
	ASSERT_EQ(0, hp_mapper_start(&p->other, &p->n.map, true));
	p->there = (char *)hp_ask(&p->other, HP_OP_ADDR, NULL, 0).value;
}

/* A file that the test has opened itself: three 2M pages, the second is to be hit. */
static void admit_file(META, struct patient *p)
{
	struct hp_map *map = &p->n.map;

	ASSERT_LE(0, map->fd);
	ASSERT_EQ(0, ftruncate(map->fd, 3 * HP_2M));
	map->addr = mmap(NULL, 3 * HP_2M, PROT_READ | PROT_WRITE, MAP_SHARED, map->fd, 0);
	ASSERT_NE(MAP_FAILED, map->addr);
	ASSERT_EQ(0, hp_narrowed_stamp(&p->n));
	accompany(_metadata, p);
}

static void admit(META, struct patient *p, enum hp_backing backing, unsigned long size,
		  unsigned long nr, unsigned long page)
{
	ASSERT_EQ(0, hp_narrowed_make(&p->n, backing, size, nr));
	accompany(_metadata, p);
	aim(&p->n, page);
}

static char *victim_there(struct patient *p)
{
	return p->there + p->n.victim * p->n.map.size;
}

/* Page @page of the victim goes bad; both lose @lost pages of it by now. */
static void hit(META, struct patient *p, unsigned long page, long lost)
{
	struct hp_narrowed *n = &p->n;
	unsigned int seed = n->seed + n->victim;
	char *victim = hp_narrowed_victim(n);
	long damage;

	EXPECT_EQ(0, hp_inject((n->pfn & -(n->map.size / HP_BASE)) + page));
	EXPECT_EQ(lost, hp_lost(victim, n->map.size, seed, &damage));
	EXPECT_EQ(0, damage);
	EXPECT_EQ(lost, hp_ask(&p->other, HP_OP_LOST, victim_there(p), seed).value);
	EXPECT_FALSE(hp_is_hugetlb(victim));
}

/* Punch pages of the victim. Returns 0 or the errno. */
static int punch(struct patient *p, unsigned long page, unsigned long nr)
{
	return said(fallocate(p->fd, HOLE, p->n.victim * p->n.map.size + page * HP_BASE,
			      nr * HP_BASE));
}

/* Only the raw pages are lost, to both; nothing was healed. */
static void expect_ill(META, struct patient *p, long lost, long zeroed)
{
	struct hp_narrowed *n = &p->n;
	unsigned int seed = n->seed + n->victim;
	struct hp_answer there = hp_ask(&p->other, HP_OP_LOST, victim_there(p), seed);
	long damage;

	EXPECT_EQ(lost, hp_lost(hp_narrowed_victim(n), n->map.size, seed, &damage));
	EXPECT_EQ(2 * zeroed, damage);
	EXPECT_EQ(lost, there.value);
	EXPECT_EQ(2 * zeroed, there.damage);
}

/* Both have all of the hugepage, by one entry, with zeros in @zeroed pages. */
static void expect_well(META, struct patient *p, long zeroed)
{
	struct hp_narrowed *n = &p->n;
	char *victim = hp_narrowed_victim(n);
	unsigned long size = n->map.size;
	struct hp_vma vma;

	expect_ill(_metadata, p, 0, zeroed);
	EXPECT_TRUE(hp_all_zero(hp_narrowed_raw(n)));
	EXPECT_EQ(0, hp_pageflags(hp_pfn(victim)) & HP_KPF_HWPOISON);
	EXPECT_EQ((long)hp_pfn(victim), hp_ask(&p->other, HP_OP_PFN, victim_there(p), 0).value);
	EXPECT_EQ(0, hp_vma_at(getpid(), victim, &vma));
	EXPECT_TRUE(hp_vma_flag(&vma, "ht"));
	EXPECT_EQ((long)size >> 10, hp_vma_kb(&vma, "KernelPageSize"));
	EXPECT_EQ(0, hp_vma_at(p->other.pid, victim_there(p), &vma));
	EXPECT_TRUE(hp_vma_flag(&vma, "ht"));
}

/* Each sees the other's writes, in every page; then restores the contents. */
static void expect_writable(META, struct patient *p)
{
	struct hp_narrowed *n = &p->n;
	unsigned int seed = n->seed + n->victim;
	char *victim = hp_narrowed_victim(n);

	EXPECT_EQ(0, hp_ask(&p->other, HP_OP_STAMP, victim_there(p), 77).value);
	EXPECT_EQ(0, hp_damage(victim, n->map.size, 77));
	EXPECT_EQ(0, hp_stamp(victim, n->map.size, seed));
	EXPECT_EQ(0, hp_ask(&p->other, HP_OP_DAMAGE, victim_there(p), seed).value);
}

/*
 * A fresh hugepage came from the buddy allocator; where those are not wanted,
 * as here for 1 GiB, a free one of the pool, and the pool is one smaller.
 */
static void expect_healed(struct hp_state *want, struct hp_narrowed *n, int from)
{
	unsigned long size = n->map.size;

	hp_add(want, HP_HEALED, size, n->node, 1);
	hp_add(want, HP_RELEASED, size, n->node, 1);
	hp_add(want, HP_POISONED, size, n->node, -1);
	if (size == HP_1G) {
		hp_add(want, HP_NR, size, n->node, -1);
		hp_add(want, HP_FREE, size, from, -1);
	}
}

static int node_of(const struct hp_narrowed *n)
{
	return hp_pfn_node(hp_pfn(hp_narrowed_victim(n)));
}

static void discharge(META, struct patient *p)
{
	hp_mapper_stop(&p->other);
	close(p->fd);
	hp_map_free(&p->n.map);
	EXPECT_EQ(0, hp_test_end(&p->n.test));
}

/* --- where, how, in what ------------------------------------------------------------- */

enum way { EXACT, LARGER, REMOVE, WAYS };

FIXTURE(place) {
	struct patient p;
};

FIXTURE_VARIANT(place) {
	unsigned long size;
	enum hp_backing backing;
	unsigned long nr;
	enum hp_place place;
};

#define PLACE(sz, number, backing_name, backing_id, place_name, place_id)		\
	FIXTURE_VARIANT_ADD(place, sz##_##backing_name##_##place_name) {		\
		.size = HP_##sz, .backing = backing_id, .nr = number, .place = place_id,\
	}

#define PLACES(backing_name, backing_id)						\
	PLACE(2M, 3, backing_name, backing_id, head, HP_HEAD);				\
	PLACE(2M, 3, backing_name, backing_id, middle, HP_MIDDLE);			\
	PLACE(2M, 3, backing_name, backing_id, tail, HP_TAIL)

PLACES(anon, HP_ANON);
PLACES(file, HP_FILE);
PLACES(shm, HP_SHM);
PLACES(memfd, HP_MEMFD);
/* Emulated, a GiB is copied in half a minute. */
PLACE(1G, 1, anon, HP_ANON, head, HP_HEAD);
PLACE(1G, 1, file, HP_FILE, middle, HP_MIDDLE);
PLACE(1G, 1, shm, HP_SHM, tail, HP_TAIL);
PLACE(1G, 1, memfd, HP_MEMFD, middle, HP_MIDDLE);

FIXTURE_SETUP(place)
{
	admit(_metadata, &self->p, variant->backing, variant->size, variant->nr,
	      hp_subpage(variant->size, variant->place));
}

FIXTURE_TEARDOWN(place)
{
	discharge(_metadata, &self->p);
}

/* Three pages on either side, as far as the hugepage goes. Returns how many. */
static unsigned long around(const struct hp_narrowed *n, unsigned long page, unsigned long *first)
{
	unsigned long nr = n->map.size / HP_BASE;
	unsigned long end = page + 4 < nr ? page + 4 : nr;

	*first = page < 3 ? 0 : page - 3;
	return end - *first;
}

/* Returns how many pages it zeroed. */
static long heal(META, struct patient *p, enum way by, unsigned long page)
{
	unsigned long first = page, nr = 1;

	if (by == LARGER)
		nr = around(&p->n, page, &first);
	EXPECT_EQ(0, by != REMOVE ? punch(p, first, nr) :
		     said(madvise(hp_narrowed_raw(&p->n), HP_BASE, MADV_REMOVE)));
	return nr;
}

static void heal_once(META, struct patient *p, enum way by, unsigned long page)
{
	struct hp_narrowed *n = &p->n;
	unsigned long pfn = n->pfn;
	struct hp_state want;
	long zeroed;

	hp_read_state(&want);
	hp_expect_narrowed(&want, n->map.size, n->node, true);
	hit(_metadata, p, page, 1);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));

	zeroed = heal(_metadata, p, by, page);
	expect_well(_metadata, p, zeroed);
	expect_healed(&want, n, node_of(n));
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	EXPECT_NE(NULL, hp_log_find(&n->test.log, "%#lx: %lu kB hugepage on node %d: healed", pfn,
				    n->map.size >> 10, n->node));
	expect_writable(_metadata, p);
	for (unsigned long i = 0; i < n->map.nr; i++)
		EXPECT_EQ(0, hp_damage(n->map.addr + i * n->map.size, n->map.size, n->seed + i));
	EXPECT_NE(0, hp_pageflags(pfn) & HP_KPF_HWPOISON);
	EXPECT_EQ(0, hp_unpoison_soon(pfn));
}

/* Of 1 GiB there is only one hugepage to heal with: one way for each place. */
TEST_F_TIMEOUT(place, healed, 120)
{
	unsigned long page = hp_subpage(variant->size, variant->place);

	if (variant->size == HP_1G) {
		heal_once(_metadata, &self->p, (variant->place + variant->backing) % WAYS, page);
		return;
	}
	for (enum way by = EXACT; by < WAYS; by++) {
		aim(&self->p.n, page);
		heal_once(_metadata, &self->p, by, page);
	}
}

/* --- what is in the way ---------------------------------------------------------------- */

FIXTURE(obstacle) {
	struct patient p;
	unsigned long page;
};

FIXTURE_SETUP(obstacle)
{
	self->page = hp_subpage(HP_2M, HP_MIDDLE);
	admit(_metadata, &self->p, HP_MEMFD, HP_2M, 3, self->page);
}

FIXTURE_TEARDOWN(obstacle)
{
	discharge(_metadata, &self->p);
}

/* A hole with only a part of the raw page zeroes its healthy pages. */
TEST_F(obstacle, part_of_raw_page)
{
	struct patient *p = &self->p;
	struct hp_state now;
	loff_t at;

	hit(_metadata, p, self->page, 1);
	hp_read_state(&now);
	at = p->n.raw + HP_BASE / 2;
	EXPECT_EQ(0, said(fallocate(p->fd, HOLE, at, HP_BASE)));
	EXPECT_EQ(0, hp_check(&now, HP_EVERYTHING));
	EXPECT_EQ(1, hp_lost(hp_narrowed_victim(&p->n), HP_2M, p->n.seed + p->n.victim, &at));
	EXPECT_EQ(1, at);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(hp_narrowed_raw(&p->n), HP_READ).code);
	EXPECT_EQ(0, said(fallocate(p->fd, HOLE, p->n.raw - 5, HP_BASE + 6)));
	EXPECT_EQ(0, hp_lost(hp_narrowed_victim(&p->n), HP_2M, p->n.seed + p->n.victim, &at));
	EXPECT_TRUE(hp_all_zero(hp_narrowed_raw(&p->n)));
	EXPECT_TRUE(hp_is_hugetlb(hp_narrowed_victim(&p->n)));
}

/* Healthy pages are punched out as on a stock kernel. */
TEST_F(obstacle, beside_raw_page)
{
	struct patient *p = &self->p;
	struct hp_state now;

	hit(_metadata, p, self->page, 1);
	hp_read_state(&now);
	EXPECT_EQ(0, punch(p, self->page + 1, 4));
	EXPECT_EQ(0, punch(p, 0, 2));
	EXPECT_EQ(0, hp_check(&now, HP_EVERYTHING));
	expect_ill(_metadata, p, 1, 6);
}

/* A pipe refers to a page of it, as a device might. */
TEST_F_TIMEOUT(obstacle, held, 60)
{
	struct patient *p = &self->p;
	struct iovec held = { .iov_base = hp_narrowed_victim(&p->n), .iov_len = HP_BASE };
	struct hp_state now;
	int fd[2];

	hit(_metadata, p, self->page, 1);
	ASSERT_EQ(0, pipe(fd));
	ASSERT_EQ((ssize_t)HP_BASE, vmsplice(fd[1], &held, 1, 0));
	hp_read_state(&now);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(EBUSY, punch(p, self->page, 1));
	EXPECT_EQ(0, hp_check(&now, HP_EVERYTHING));
	EXPECT_NE(NULL, hp_log_find(&p->n.test.log, "%#lx: not healed", p->n.pfn));
	expect_ill(_metadata, p, 1, 0);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(hp_narrowed_raw(&p->n), HP_READ).code);

	close(fd[0]);
	close(fd[1]);
	EXPECT_EQ(0, punch(p, self->page, 1));
	expect_well(_metadata, p, 1);
	expect_writable(_metadata, p);
}

/* --- what the pool has -------------------------------------------------------------------- */

static int set_pool(const char *file, long nr)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-2048kB/%s", file);
	return hp_write(path, "%ld", nr);
}

/* No hugepage is available: the pool has none to spare, and gets none. */
TEST_F(obstacle, no_hugepage)
{
	struct patient *p = &self->p;
	struct hp_state now;
	char *more;

	hit(_metadata, p, self->page, 1);
	ASSERT_EQ(0, hp_set_replace(false));
	ASSERT_EQ(0, set_pool("nr_hugepages", 3));
	hp_read_state(&now);
	EXPECT_EQ(0, *hp_at(&now, HP_FREE, HP_2M, HP_ALL));
	EXPECT_EQ(ENOMEM, punch(p, self->page, 1));
	EXPECT_EQ(ENOMEM, said(madvise(hp_narrowed_raw(&p->n), HP_BASE, MADV_REMOVE)));
	EXPECT_EQ(0, hp_check(&now, HP_EVERYTHING));
	EXPECT_NE(NULL, hp_log_find(&p->n.test.log, "%#lx: not healed", p->n.pfn));
	expect_ill(_metadata, p, 1, 0);

	/* a reserved one is not to spare */
	ASSERT_EQ(0, set_pool("nr_hugepages", 4));
	more = mmap(NULL, HP_2M, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	ASSERT_NE(MAP_FAILED, more);
	hp_read_state(&now);
	EXPECT_EQ(1, *hp_at(&now, HP_RESV, HP_2M, HP_ALL));
	EXPECT_EQ(1, *hp_at(&now, HP_FREE, HP_2M, HP_ALL));
	EXPECT_EQ(ENOMEM, punch(p, self->page, 1));
	EXPECT_EQ(0, hp_check(&now, HP_EVERYTHING));
	expect_ill(_metadata, p, 1, 0);
	munmap(more, HP_2M);

	/* one that is not reserved is: the pool is one smaller then */
	hp_read_state(&now);
	EXPECT_EQ(0, punch(p, self->page, 1));
	expect_well(_metadata, p, 1);
	expect_healed(&now, &p->n, node_of(&p->n));
	hp_add(&now, HP_NR, HP_2M, p->n.node, -1);
	hp_add(&now, HP_FREE, HP_2M, node_of(&p->n), -1);
	EXPECT_EQ(0, hp_check(&now, HP_EVERYTHING));
}

/* All free hugepages are reserved: their owner gets them. */
TEST_F(obstacle, all_promised)
{
	struct patient *p = &self->p;
	struct hp_state now;
	long nr;
	char *more;

	hit(_metadata, p, self->page, 1);
	hp_read_state(&now);
	nr = *hp_at(&now, HP_FREE, HP_2M, HP_ALL);
	more = mmap(NULL, nr * HP_2M, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	ASSERT_NE(MAP_FAILED, more);
	hp_read_state(&now);
	EXPECT_EQ(nr, *hp_at(&now, HP_RESV, HP_2M, HP_ALL));
	EXPECT_EQ(0, punch(p, self->page, 1));
	expect_well(_metadata, p, 1);
	expect_healed(&now, &p->n, node_of(&p->n));
	EXPECT_EQ(0, hp_check(&now, HP_EVERYTHING));
	for (long i = 0; i < nr; i++)
		EXPECT_EQ(0, hp_touch(more + i * HP_2M, HP_WRITE).code);
	munmap(more, nr * HP_2M);
}

/* The pool was set to 0 while its hugepages are in use: all are surplus. */
TEST_F(obstacle, surplus)
{
	struct patient *p = &self->p;
	struct hp_state now;

	hit(_metadata, p, self->page, 1);
	ASSERT_EQ(0, set_pool("nr_hugepages", 0));
	hp_read_state(&now);
	EXPECT_EQ(3, *hp_at(&now, HP_SURPLUS, HP_2M, HP_ALL));
	EXPECT_EQ(0, punch(p, self->page, 1));
	expect_well(_metadata, p, 1);
	expect_healed(&now, &p->n, node_of(&p->n));
	EXPECT_EQ(0, hp_check(&now, HP_EVERYTHING));
	EXPECT_EQ(0, hp_unpoison_soon(p->n.pfn));
	hp_mapper_stop(&p->other);
	close(p->fd);
	hp_map_free(&p->n.map);
	hp_read_state(&now);
	EXPECT_EQ(0, *hp_at(&now, HP_NR, HP_2M, HP_ALL));
	EXPECT_EQ(0, *hp_at(&now, HP_SURPLUS, HP_2M, HP_ALL));
}

/* --- more than one error ------------------------------------------------------------------ */

/* All raw pages are in the hole: one fresh hugepage for all of them. */
TEST_F(obstacle, several_raw_pages)
{
	static const unsigned long pages[] = { 7, 8, 300 };
	struct patient *p = &self->p;
	unsigned long head = p->n.pfn - self->page;
	struct hp_state want;

	hp_read_state(&want);
	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++) {
		hp_expect_narrowed(&want, HP_2M, p->n.node, !i);
		hit(_metadata, p, pages[i], i + 1);
	}
	aim(&p->n, 9);
	EXPECT_EQ(0, punch(p, 7, 294));
	expect_well(_metadata, p, 294);
	expect_healed(&want, &p->n, node_of(&p->n));
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	expect_writable(_metadata, p);
	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++)
		EXPECT_EQ(0, hp_unpoison_soon(head + pages[i]));
}

#define RAW(i)	(10 + 100 * (i))	/* pages that go bad */

/* Three raw pages; only the first one is punched out. Checks the costs. */
static void heal_first(META, struct patient *p, struct hp_state *want)
{
	hp_read_state(want);
	for (int i = 0; i < 3; i++) {
		hp_expect_narrowed(want, HP_2M, p->n.node, !i);
		hit(_metadata, p, RAW(i), i + 1);
	}
	EXPECT_EQ(0, punch(p, RAW(0), 1));
	expect_ill(_metadata, p, 2, 1);
	expect_healed(want, &p->n, node_of(&p->n));
	hp_expect_back(want, HP_2M, node_of(&p->n), -2);
	hp_add(want, HP_POISONED, HP_2M, node_of(&p->n), 1);
	EXPECT_EQ(0, hp_check(want, HP_EVERYTHING));
}

/* The page frame under a page of the victim. */
static unsigned long pfn_at(struct patient *p, unsigned long page)
{
	return hp_pfn(hp_narrowed_victim(&p->n)) + page;
}

static bool is_listed(unsigned long pfn, const char *state)
{
	char line[64], text[8192];

	snprintf(line, sizeof(line), "%#lx 2048 %d %s ", pfn, hp_pfn_node(pfn), state);
	if (hp_read_text("/proc/hugepoison/bad_pages", text, sizeof(text)) <= 0)
		return false;
	return strstr(text, line);
}

static void unpoison_old(META, unsigned long head)
{
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(0, hp_unpoison_soon(head + RAW(i)));
}

/*
 * The others stay lost, though they have good memory now: they are zero when
 * they are punched out as well, and that takes no hugepage.
 */
TEST_F(obstacle, one_after_the_other)
{
	struct patient *p = &self->p;
	struct hp_narrowed *n = &p->n;
	unsigned long old = n->pfn - self->page, fresh;
	struct hp_sigbus bus;
	struct hp_state want;

	heal_first(_metadata, p, &want);
	fresh = pfn_at(p, 0);
	EXPECT_NE(old, fresh);
	bus = hp_touch(hp_narrowed_victim(n) + RAW(1) * HP_BASE, HP_WRITE);
	EXPECT_EQ(BUS_MCEERR_AR, bus.code);
	EXPECT_EQ(12, bus.lsb);
	EXPECT_TRUE(is_listed(fresh + RAW(1), "lost"));
	EXPECT_TRUE(is_listed(old + RAW(1), "released"));
	EXPECT_EQ(-EBUSY, hp_unpoison(fresh + RAW(1)));

	ASSERT_EQ(0, hp_set_replace(false));
	EXPECT_EQ(0, punch(p, RAW(1) - 1, 2));
	expect_ill(_metadata, p, 1, 3);
	EXPECT_EQ(fresh, pfn_at(p, 0));
	hp_expect_back(&want, HP_2M, hp_pfn_node(fresh), 1);
	hp_add(&want, HP_HEALED, HP_2M, hp_pfn_node(fresh), 1);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));

	EXPECT_EQ(0, punch(p, RAW(2), 1));
	n->raw = n->victim * HP_2M + RAW(2) * HP_BASE;
	expect_well(_metadata, p, 4);
	EXPECT_EQ(fresh, pfn_at(p, 0));
	hp_expect_back(&want, HP_2M, hp_pfn_node(fresh), 1);
	hp_add(&want, HP_POISONED, HP_2M, hp_pfn_node(fresh), -1);
	hp_add(&want, HP_HEALED, HP_2M, hp_pfn_node(fresh), 1);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	expect_writable(_metadata, p);
	unpoison_old(_metadata, old);
}

/* A hugepage with good pages that are lost, and a real error beside them. */
TEST_F(obstacle, lost_and_bad)
{
	struct patient *p = &self->p;
	struct hp_narrowed *n = &p->n;
	unsigned long old = n->pfn - self->page, second, third;
	struct hp_state want;

	heal_first(_metadata, p, &want);
	second = pfn_at(p, 0);
	n->pfn = second;
	EXPECT_EQ(0, hp_inject(second + 5));
	EXPECT_NE(0, hp_inject(second + RAW(1)));	/* bad now, not only lost */
	EXPECT_TRUE(is_listed(second + RAW(1), "narrowed"));
	expect_ill(_metadata, p, 3, 1);
	EXPECT_EQ(0, punch(p, RAW(1), 1));
	expect_ill(_metadata, p, 2, 2);
	third = pfn_at(p, 0);
	EXPECT_NE(second, third);
	EXPECT_TRUE(is_listed(third + 5, "lost"));
	EXPECT_TRUE(is_listed(third + RAW(2), "lost"));
	EXPECT_EQ(0, punch(p, 0, RAW(2) + 1));
	n->raw = n->victim * HP_2M + RAW(2) * HP_BASE;
	expect_well(_metadata, p, RAW(2) + 1);
	EXPECT_EQ(third, pfn_at(p, 0));
	expect_writable(_metadata, p);
	unpoison_old(_metadata, old);
	EXPECT_EQ(0, hp_unpoison_soon(second + 5));
	EXPECT_EQ(0, hp_unpoison_soon(second + RAW(1)));
}

/* When all users have left, a hugepage without bad pages is free as a whole. */
TEST_F(obstacle, left_with_lost_pages)
{
	struct patient *p = &self->p;
	unsigned long old = p->n.pfn - self->page, fresh;
	struct hp_state want = p->n.test.before, now;

	heal_first(_metadata, p, &now);
	fresh = pfn_at(p, 0);
	hp_mapper_stop(&p->other);
	close(p->fd);
	hp_map_free(&p->n.map);
	hp_expect_back(&want, HP_2M, p->n.node, -3);
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
	EXPECT_EQ(0, hp_count_flagged(fresh, HP_2M / HP_BASE, HP_KPF_HWPOISON));
	/* the same hugepage, not another one in its place */
	EXPECT_EQ(HP_2M / HP_BASE, hp_count_flagged(fresh, HP_2M / HP_BASE, HP_KPF_HUGE));
	unpoison_old(_metadata, old);
	EXPECT_EQ(0, hp_check(&p->n.test.before, HP_GAUGES));
}

/* The hole begins in one hugepage and ends in the next: both are healed. */
TEST_F(obstacle, two_hugepages)
{
	struct patient *p = &self->p;
	struct hp_narrowed *n = &p->n;
	unsigned long last = HP_2M / HP_BASE - 1, pfn[2];
	char *next = hp_narrowed_victim(n) + HP_2M;
	struct hp_state want;
	long damage;

	pfn[0] = n->pfn - self->page + last;
	pfn[1] = hp_pfn(next) + 1;
	hp_read_state(&want);
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(0, hp_inject(pfn[i]));
		hp_expect_narrowed(&want, HP_2M, hp_pfn_node(pfn[i]), true);
		hp_add(&want, HP_HEALED, HP_2M, hp_pfn_node(pfn[i]), 1);
		hp_add(&want, HP_RELEASED, HP_2M, hp_pfn_node(pfn[i]), 1);
		hp_add(&want, HP_POISONED, HP_2M, hp_pfn_node(pfn[i]), -1);
	}
	EXPECT_EQ(1, hp_lost(next, HP_2M, n->seed + n->victim + 1, &damage));
	EXPECT_EQ(0, punch(p, last - 1, 5));
	aim(n, last);
	expect_well(_metadata, p, 2);
	EXPECT_EQ(0, hp_lost(next, HP_2M, n->seed + n->victim + 1, &damage));
	EXPECT_EQ(6, damage);
	EXPECT_TRUE(hp_is_hugetlb(next));
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(0, hp_unpoison_soon(pfn[i]));
}

/* --- who may punch, and who pays ---------------------------------------------------------- */

static void admit_sealable(META, struct patient *p)
{
	struct hp_map *map = &p->n.map;

	p->n.victim = 1;
	ASSERT_EQ(0, hp_test_begin(&p->n.test, HP_2M));
	hp_catch_sigbus();
	*map = (struct hp_map) { .backing = HP_MEMFD, .size = HP_2M, .nr = 3 };
	map->fd = memfd_create("sealable", MFD_HUGETLB | MFD_HUGE_2MB | MFD_ALLOW_SEALING);
	admit_file(_metadata, p);
}

/* Nobody writes to a sealed file: a heal does not either. */
TEST(sealed)
{
	struct patient p = { .fd = -1 };
	struct hp_map *map = &p.n.map;
	struct hp_state now;

	admit_sealable(_metadata, &p);
	hit(_metadata, &p, hp_subpage(HP_2M, HP_MIDDLE), 1);

	ASSERT_EQ(0, fcntl(map->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	hp_read_state(&now);
	EXPECT_EQ(EPERM, punch(&p, hp_subpage(HP_2M, HP_MIDDLE), 1));
	EXPECT_EQ(0, hp_check(&now, HP_EVERYTHING));
	expect_ill(_metadata, &p, 1, 0);
	discharge(_metadata, &p);
}

/* Neither maps the file from here on. */
static void leave_file(META, struct patient *p)
{
	EXPECT_EQ(0, hp_ask(&p->other, HP_OP_UNMAP, NULL, 0).value);
	hp_mapper_stop(&p->other);
	hp_unmap(&p->n.map);
}

static void map_file(META, struct patient *p, int prot)
{
	struct hp_map *map = &p->n.map;

	map->addr = mmap(NULL, 3 * HP_2M, prot, MAP_SHARED, map->fd, 0);
	ASSERT_NE(MAP_FAILED, map->addr);
}

static long lost_here(struct patient *p, long *damage)
{
	return hp_lost(hp_narrowed_victim(&p->n), HP_2M, p->n.seed + p->n.victim, damage);
}

/* A writer may have a reference: the handler's keeps the file from being sealed. */
TEST(is_sealed_once_healed)
{
	struct patient p = { .fd = -1 };
	struct hp_map *map = &p.n.map;
	unsigned long page = hp_subpage(HP_2M, HP_MIDDLE);
	long damage;

	admit_sealable(_metadata, &p);
	hit(_metadata, &p, page, 1);
	leave_file(_metadata, &p);
	EXPECT_EQ(EBUSY, said(fcntl(map->fd, F_ADD_SEALS, F_SEAL_WRITE)));
	EXPECT_EQ(0, fcntl(map->fd, F_GET_SEALS));
	/* it can be mapped for writing still, and loses nothing else */
	map_file(_metadata, &p, PROT_READ | PROT_WRITE);
	EXPECT_EQ(1, lost_here(&p, &damage));
	EXPECT_EQ(0, damage);
	EXPECT_EQ(0, punch(&p, page, 1));
	EXPECT_EQ(0, lost_here(&p, &damage));
	EXPECT_EQ(2, damage);
	hp_unmap(map);

	EXPECT_EQ(0, said(fcntl(map->fd, F_ADD_SEALS, F_SEAL_WRITE)));
	map_file(_metadata, &p, PROT_READ);
	EXPECT_EQ(0, lost_here(&p, &damage));
	EXPECT_EQ(2, damage);
	close(p.fd);
	hp_map_free(map);
	EXPECT_EQ(0, hp_test_end(&p.n.test));
}

/* Sealed before the error: readers lose the raw page, and nothing heals it. */
TEST(sealed_before)
{
	struct patient p = { .fd = -1 };
	struct hp_map *map = &p.n.map;
	unsigned long page = hp_subpage(HP_2M, HP_MIDDLE);
	struct hp_state now;
	char *raw;
	long damage;

	admit_sealable(_metadata, &p);
	aim(&p.n, page);
	leave_file(_metadata, &p);
	ASSERT_EQ(0, said(fcntl(map->fd, F_ADD_SEALS, F_SEAL_WRITE)));
	map_file(_metadata, &p, PROT_READ);
	EXPECT_EQ(0, lost_here(&p, &damage));
	ASSERT_EQ(0, hp_inject(p.n.pfn));
	raw = hp_narrowed_raw(&p.n);
	EXPECT_EQ(1, lost_here(&p, &damage));
	EXPECT_EQ(0, damage);
	EXPECT_FALSE(hp_is_hugetlb(raw));
	EXPECT_EQ(SIGSEGV, hp_signal_of(raw + HP_BASE, HP_WRITE));
	EXPECT_EQ(EACCES, said(mprotect(hp_narrowed_victim(&p.n), HP_2M,
					PROT_READ | PROT_WRITE)));
	hp_read_state(&now);
	EXPECT_EQ(EPERM, punch(&p, page, 1));
	EXPECT_NE(0, madvise(raw, HP_BASE, MADV_REMOVE));
	EXPECT_EQ(0, hp_check(&now, HP_EVERYTHING));
	EXPECT_EQ(1, lost_here(&p, &damage));
	EXPECT_EQ(0, damage);
	close(p.fd);
	hp_map_free(map);
	EXPECT_EQ(0, hp_test_end(&p.n.test));
}

#define MOUNT	"/tmp/hugetlb-poison.heal"

static long mount_free(void)
{
	struct statfs fs;

	return statfs(MOUNT, &fs) ? -errno : (long)fs.f_bfree;
}

/*
 * A mount that has reserved three hugepages and may have no more, and a cgroup.
 */
TEST(charged)
{
	struct patient p = { .n.victim = 1 };
	struct hp_map *map = &p.n.map;
	struct hp_state want;

	ASSERT_EQ(0, hp_test_begin(&p.n.test, HP_2M));
	hp_catch_sigbus();
	mkdir(MOUNT, 0700);
	ASSERT_EQ(0, mount("none", MOUNT, "hugetlbfs", 0, "pagesize=2M,size=6M,min_size=6M"));
	*map = (struct hp_map) { .backing = HP_FILE, .size = HP_2M, .nr = 3 };
	map->fd = open(MOUNT "/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ASSERT_EQ(0, unlink(MOUNT "/file"));
	admit_file(_metadata, &p);
	hp_read_state(&want);
	EXPECT_EQ(0, mount_free());
	for (int i = 0; i < 4; i++) {
		aim(&p.n, 20 + i);
		hp_expect_narrowed(&want, HP_2M, p.n.node, true);
		hit(_metadata, &p, 20 + i, 1);
		EXPECT_EQ(0, punch(&p, 20 + i, 1));
		expect_well(_metadata, &p, 1);
		expect_healed(&want, &p.n, node_of(&p.n));
		EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
		EXPECT_EQ(0, mount_free());
		expect_writable(_metadata, &p);
		EXPECT_EQ(0, hp_unpoison_soon(p.n.pfn));
		hp_expect_back(&want, HP_2M, p.n.node, 1);
		hp_read_state(&want);
	}
	hp_mapper_stop(&p.other);
	close(p.fd);
	hp_map_free(map);
	EXPECT_EQ(3, mount_free());
	EXPECT_EQ(0, umount(MOUNT));
	rmdir(MOUNT);
	EXPECT_EQ(0, hp_test_end(&p.n.test));
}

#define CGROUP	"/sys/fs/cgroup"
#define PAYER	CGROUP "/hp-heal"

static void pay_and_leave(META, struct hp_narrowed *n)
{
	struct patient p = { .n = *n };
	long paid = 3 * (long)HP_2M;

	EXPECT_EQ(0, hp_write(PAYER "/cgroup.procs", "0"));
	EXPECT_EQ(0, hp_map(&p.n.map, HP_MEMFD, HP_2M, 3));
	EXPECT_EQ(0, hp_narrowed_stamp(&p.n));
	p.fd = dup(p.n.map.fd);
	EXPECT_EQ(0, hp_mapper_start(&p.other, &p.n.map, true));
	p.there = (char *)hp_ask(&p.other, HP_OP_ADDR, NULL, 0).value;
	hit(_metadata, &p, hp_subpage(HP_2M, HP_MIDDLE), 1);
	EXPECT_EQ(paid, hp_read_long(PAYER "/hugetlb.2MB.current"));
	EXPECT_EQ(0, punch(&p, hp_subpage(HP_2M, HP_MIDDLE), 1));
	expect_well(_metadata, &p, 1);
	EXPECT_EQ(0, hp_unpoison_soon(p.n.pfn));
	EXPECT_EQ(paid, hp_read_long(PAYER "/hugetlb.2MB.current"));
	EXPECT_EQ(paid, hp_read_long(PAYER "/hugetlb.2MB.rsvd.current"));
	hp_mapper_stop(&p.other);
	close(p.fd);
	hp_map_free(&p.n.map);
	EXPECT_EQ(0, hp_read_long(PAYER "/hugetlb.2MB.current"));
	EXPECT_EQ(0, hp_read_long(PAYER "/hugetlb.2MB.rsvd.current"));
}

/*
 * The harness shares a child's expectations with its parent for fixtures only.
 */
FIXTURE(cgroup) {
	struct hp_narrowed n;
};

FIXTURE_SETUP(cgroup)
{
	ASSERT_EQ(0, hp_test_begin(&self->n.test, HP_2M));
	hp_catch_sigbus();
}

FIXTURE_TEARDOWN(cgroup)
{
	EXPECT_EQ(0, hp_test_end(&self->n.test));
}

TEST_F(cgroup, payer)
{
	ASSERT_EQ(0, hp_write(CGROUP "/cgroup.subtree_control", "+hugetlb"));
	ASSERT_EQ(0, mkdir(PAYER, 0755));
	EXPECT_EQ(0, run_child(_metadata, pay_and_leave, &self->n));
	EXPECT_EQ(0, rmdir(PAYER));
}

/* --- all at once ----------------------------------------------------------------------------- */

/*
 * Somebody punches parts of a hugepage without an end while errors come to it:
 * neither may wait for the other for ever. A stock kernel does.
 */
TEST_F_TIMEOUT(obstacle, punch_meets_error, 60)
{
	struct patient *p = &self->p;
	unsigned long pfn;
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			fallocate(p->fd, HOLE, p->n.victim * HP_2M, HP_2M - HP_BASE);
	}
	ASSERT_LT(0, pid);
	for (int i = 0; i < 200; i++) {
		pfn = hp_pfn(hp_narrowed_victim(&p->n));
		if (pfn == HP_NO_PFN)
			continue;
		pfn += i % 2 ? HP_2M / HP_BASE - 1 : 100;
		EXPECT_EQ(0, hp_inject(pfn));
		hp_touch(hp_narrowed_victim(&p->n), HP_READ);
		EXPECT_EQ(0, hp_unpoison_soon(pfn));
		hp_touch(hp_narrowed_victim(&p->n), HP_WRITE);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* --- a device writes to the hugepage meanwhile --------------------------------- */

#define DIRECT_AT	(16 * HP_BASE)	/* where in the hugepage */
#define DIRECT_LEN	(64UL << 10)
#define DIRECT_RAW	(300 * HP_BASE)
#define DIRECT_ROUNDS	40

/* Reads past the page cache: the device has the pages pinned and writes to them. */
struct device {
	pthread_t thread;
	int backing, fd, control, number;
	char *to;
	bool stop;
	long reads, wrong;
};

static int open_device(struct device *device)
{
	char path[32];

	device->backing = memfd_create("heal-device", 0);
	if (device->backing < 0 || ftruncate(device->backing, 2 * DIRECT_LEN))
		return -errno;
	for (size_t at = 0; at < 2 * DIRECT_LEN; at += sizeof(at))
		if (pwrite(device->backing, &at, sizeof(at), at) != sizeof(at))
			return -errno;
	device->control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	device->number = ioctl(device->control, LOOP_CTL_GET_FREE);
	snprintf(path, sizeof(path), "/dev/loop%d", device->number);
	device->fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (device->fd < 0 || ioctl(device->fd, LOOP_SET_FD, device->backing))
		return -errno;
	return 0;
}

static void close_device(struct device *device)
{
	ioctl(device->fd, LOOP_CLR_FD, 0);
	close(device->fd);
	close(device->control);
	close(device->backing);
}

/* The two halves of the device in turn, so that each read changes every word. */
static void *read_device(void *arg)
{
	struct device *device = arg;

	while (!__atomic_load_n(&device->stop, __ATOMIC_SEQ_CST)) {
		off_t from = device->reads++ % 2 * DIRECT_LEN;
		ssize_t n = pread(device->fd, device->to, DIRECT_LEN, from);

		device->wrong += n != (ssize_t)DIRECT_LEN;
		for (size_t at = 0; at < DIRECT_LEN; at += sizeof(at))
			device->wrong += *(size_t *)(device->to + at) != from + at;
	}
	return NULL;
}

TEST_F_TIMEOUT(obstacle, device_writes, 120)
{
	struct hp_narrowed *n = &self->p.n;
	char *victim = hp_narrowed_victim(n), *raw = victim + DIRECT_RAW;
	struct device device = { .to = victim + DIRECT_AT };
	long healed = 0, busy = 0;

	ASSERT_EQ(0, open_device(&device));
	ASSERT_EQ(0, pthread_create(&device.thread, NULL, read_device, &device));
	for (int round = 0; round < DIRECT_ROUNDS; round++) {
		int ret = -1;

		EXPECT_EQ(0, hp_touch(raw, HP_WRITE).code);
		EXPECT_EQ(0, hp_inject(hp_pfn(raw)));
		for (int try = 0; ret && try < 500; try++) {
			ret = fallocate(self->p.fd, HOLE, raw - n->map.addr, HP_BASE);
			if (ret)
				EXPECT_EQ(EBUSY, errno);
			busy += !!ret;
		}
		EXPECT_EQ(0, ret);
		EXPECT_TRUE(hp_all_zero(raw));
		healed += !ret;
	}
	__atomic_store_n(&device.stop, true, __ATOMIC_SEQ_CST);
	pthread_join(device.thread, NULL);
	TH_LOG("%ld heals, %ld times busy, %ld reads", healed, busy, device.reads);
	EXPECT_LT(DIRECT_ROUNDS, device.reads);
	EXPECT_EQ(0, device.wrong);
	close_device(&device);
}

TEST_HARNESS_MAIN
