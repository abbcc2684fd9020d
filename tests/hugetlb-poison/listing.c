// SPDX-License-Identifier: GPL-2.0-only
/*
 * /proc/hugepoison: it lists each bad page and its owner to root, and to
 * everybody else their own losses.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <hugetlbfs.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "kselftest_harness.h"

#include "hp.h"
#include "hp_child.h"
#include "hp_proc.h"

#define BAD_PAGES	"/proc/hugepoison/bad_pages"
#define OWN		"/proc/hugepoison/own"
#define NOBODY		65534
#define SEED		0x1157
#define MAX_LINES	1024

/* --- reading -------------------------------------------------------------- */

/* A line of bad_pages. */
struct bad {
	unsigned long pfn, kb;
	int node;
	char state[16];
	char owner[256];
};

/* A line of own. */
struct own {
	char *start, *end;
	unsigned long kb;
	char state[16];
};

/* All there is in a file, read by so many bytes at a time; NULL if it cannot be. */
static char *read_by(int fd, size_t step)
{
	size_t len = 0, room = 1 << 20;
	char *text = malloc(room);
	ssize_t n;

	while ((n = pread(fd, text + len, step, len)) > 0 && len + n + step < room)
		len += n;
	text[len] = '\0';
	if (!n)
		return text;
	free(text);
	return NULL;
}

static char *read_all(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text;

	if (fd < 0)
		return NULL;
	text = read_by(fd, 1 << 16);
	close(fd);
	return text;
}

static bool parse_bad(const char *line, void *to)
{
	struct bad *bad = to;
	int owner = 0;

	if (sscanf(line, "0x%lx %lu %d %15s %n", &bad->pfn, &bad->kb, &bad->node, bad->state,
		   &owner) != 4 || !owner)
		return false;
	snprintf(bad->owner, sizeof(bad->owner), "%s", line + owner);
	return bad->node >= 0 && bad->node < hp_nodes() && bad->owner[0];
}

static bool parse_own(const char *line, void *to)
{
	struct own *own = to;
	unsigned long start, end;

	if (sscanf(line, "%lx-%lx %lu %15s", &start, &end, &own->kb, own->state) != 4)
		return false;
	own->start = (char *)start;
	own->end = (char *)end;
	return end - start == own->kb << 10;
}

/* Returns how many lines there are, -1 if one or the header is not as it should be. */
static int parse(char *text, const char *header, bool (*parse_line)(const char *, void *),
		 void *lines, size_t size)
{
	char *rest = text, *line = text ? strsep(&rest, "\n") : NULL;
	int nr = 0;

	if (!line || strcmp(line, header)) {
		printf("# the header is '%s'\n", line ? line : "missing");
		return -1;
	}
	while ((line = strsep(&rest, "\n")) && *line) {
		if (nr == MAX_LINES || !parse_line(line, (char *)lines + nr * size)) {
			printf("# line %d is '%s'\n", nr, line);
			return -1;
		}
		nr++;
	}
	return nr;
}

static struct bad bads[MAX_LINES];
static struct own owns[MAX_LINES];

static int read_bad(void)
{
	char *text = read_all(BAD_PAGES);
	int nr = parse(text, "pfn kB node state owner", parse_bad, bads, sizeof(bads[0]));

	free(text);
	return nr;
}

static int parse_own_text(char *text)
{
	return parse(text, "address kB state", parse_own, owns, sizeof(owns[0]));
}

static int read_own(void)
{
	char *text = read_all(OWN);
	int nr = parse_own_text(text);

	free(text);
	return nr;
}

/* The line of a page frame as it was read last. */
static struct bad *find_bad(int nr, unsigned long pfn)
{
	for (int i = 0; i < nr; i++)
		if (bads[i].pfn == pfn)
			return &bads[i];
	return NULL;
}

/* --- expectations ----------------------------------------------------------- */

/* Whether an earlier line is of the same hugepage, and out of use with it. */
static bool counted(int i)
{
	unsigned long nr = bads[i].kb / 4;

	for (int j = 0; j < i; j++)
		if (bads[j].pfn / nr == bads[i].pfn / nr && bads[j].kb == bads[i].kb &&
		    !strcmp(bads[j].state, "contained"))
			return true;
	return false;
}

/* Base pages out of use, of a hugepage size, as the list has it. */
static long sum(int nr, unsigned long size)
{
	long pages = 0;

	for (int i = 0; i < nr; i++) {
		if (bads[i].kb != size >> 10)
			continue;
		if (strcmp(bads[i].state, "contained"))
			pages++;
		else if (!counted(i))
			pages += size / HP_BASE;
	}
	return pages;
}

/* Returns how many lines there are. */
static int expect_agreement(META)
{
	const unsigned long sizes[] = { HP_2M, HP_1G };
	int nr = read_bad();

	EXPECT_LE(0, nr);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		EXPECT_EQ(hp_read_long(HP_SYSFS "hugepages-%lukB/mce_bad_pages", sizes[i] >> 10),
			  sum(nr, sizes[i]));
	}
	return nr;
}

static void expect_bad(META, unsigned long pfn, unsigned long size, const char *state,
		       const char *owner)
{
	struct bad *bad = find_bad(expect_agreement(_metadata), pfn);

	ASSERT_NE(NULL, bad) {
		TH_LOG("%#lx is not in the list", pfn);
	}
	EXPECT_EQ(size >> 10, bad->kb);
	EXPECT_EQ(hp_pfn_node(pfn), bad->node);
	EXPECT_STREQ(state, bad->state);
	EXPECT_STREQ(owner, bad->owner);
}

/* The @i-th of the lines read last. */
static void expect_own(META, int i, const char *start, unsigned long size, const char *state)
{
	EXPECT_EQ(start, owns[i].start);
	EXPECT_EQ(start + size, owns[i].end);
	EXPECT_STREQ(state, owns[i].state);
}

/* The list's expected entry for the owner of a mapping, without its name. */
static void owner_of(const char *addr, const char *name, char *owner, size_t len)
{
	unsigned int major = 0, minor = 0;
	unsigned long inode = 0;
	struct hp_vma vma;

	if (!hp_vma_at(getpid(), addr, &vma))
		sscanf(vma.text, "%*s %*s %*s %x:%x %lu", &major, &minor, &inode);
	snprintf(owner, len, "%u:%u %lu %s", major, minor, inode, name);
}

/* Until the worker has taken a hugepage apart whose last user has left. */
static void await_released(META, unsigned long pfn)
{
	struct bad *bad = NULL;

	hp_await((bad = find_bad(read_bad(), pfn), bad && !strcmp(bad->state, "released")),
		 "%#lx is listed as released", pfn);
	ASSERT_NE(NULL, bad);
	EXPECT_STREQ("released", bad->state);
	EXPECT_STREQ("-", bad->owner);
}

/* --- root's list: one hugepage through its life -------------------------------- */

FIXTURE(file) {
	struct hp_test test;
	struct hp_map map;
	char owner[128];
	unsigned long raw[2];	/* page frames to be hit */
};

FIXTURE_VARIANT(file) {
	unsigned long size;
	enum hp_backing backing;
	const char *containment;
	const char *name;
};

FIXTURE_VARIANT_ADD(file, 2M_memfd_page) {
	.size = HP_2M, .backing = HP_MEMFD, .containment = "page", .name = "memfd:hugetlb-poison",
};

FIXTURE_VARIANT_ADD(file, 1G_memfd_page) {
	.size = HP_1G, .backing = HP_MEMFD, .containment = "page", .name = "memfd:hugetlb-poison",
};

FIXTURE_VARIANT_ADD(file, 2M_memfd_hugepage) {
	.size = HP_2M, .backing = HP_MEMFD, .containment = "hugepage",
	.name = "memfd:hugetlb-poison",
};

FIXTURE_VARIANT_ADD(file, 1G_shm_hugepage) {
	.size = HP_1G, .backing = HP_SHM, .containment = "hugepage", .name = "SYSV00000000",
};

FIXTURE_VARIANT_ADD(file, 2M_shm_page) {
	.size = HP_2M, .backing = HP_SHM, .containment = "page", .name = "SYSV00000000",
};

FIXTURE_VARIANT_ADD(file, 2M_anon_page) {
	.size = HP_2M, .backing = HP_ANON, .containment = "page", .name = "anon_hugepage",
};

FIXTURE_SETUP(file)
{
	unsigned long head;

	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	hp_catch_sigbus();
	ASSERT_EQ(0, hp_set_containment(variant->containment));
	ASSERT_EQ(0, hp_map(&self->map, variant->backing, variant->size, 1));
	ASSERT_EQ(0, hp_touch(self->map.addr, HP_WRITE).code);
	owner_of(self->map.addr, variant->name, self->owner, sizeof(self->owner));
	head = hp_pfn(self->map.addr);
	self->raw[0] = head + hp_subpage(variant->size, HP_MIDDLE);
	self->raw[1] = head;
}

FIXTURE_TEARDOWN(file)
{
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

TEST_F_TIMEOUT(file, life, 60)
{
	bool page = !strcmp(variant->containment, "page");
	const char *state = page ? "narrowed" : "contained";

	EXPECT_EQ(0, read_bad());
	EXPECT_EQ(0, hp_inject(self->raw[0]));
	EXPECT_EQ(1, expect_agreement(_metadata));
	expect_bad(_metadata, self->raw[0], variant->size, state, self->owner);

	EXPECT_EQ(page ? 0 : -EHWPOISON, hp_inject(self->raw[1]));
	EXPECT_EQ(2, expect_agreement(_metadata));
	for (int i = 0; i < 2; i++)
		expect_bad(_metadata, self->raw[i], variant->size, state, self->owner);

	/* mapped or not, the file has it */
	if (variant->backing == HP_MEMFD) {
		hp_unmap(&self->map);
		expect_bad(_metadata, self->raw[0], variant->size, state, self->owner);
	}

	hp_map_free(&self->map);
	for (int i = 0; i < 2; i++)
		await_released(_metadata, self->raw[i]);
	EXPECT_EQ(2, expect_agreement(_metadata));
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(0, hp_unpoison_soon(self->raw[i]));
		EXPECT_EQ(1 - i, expect_agreement(_metadata));
	}
}

/* --- root's list: others -------------------------------------------------------- */

FIXTURE(list) {
	struct hp_test test;
	struct hp_map map;
};

FIXTURE_SETUP(list)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	hp_catch_sigbus();
}

FIXTURE_TEARDOWN(list)
{
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

TEST_F(list, modes)
{
	struct stat file;

	ASSERT_EQ(0, stat(BAD_PAGES, &file));
	EXPECT_EQ(S_IFREG | 0400, file.st_mode);
	ASSERT_EQ(0, stat(OWN, &file));
	/* whoever has lost a page may fill it again */
	EXPECT_EQ(S_IFREG | 0666, file.st_mode);
	EXPECT_EQ(0, read_bad());
	EXPECT_EQ(0, read_own());
}

static void make_path(char *path, size_t len, const char *name)
{
	snprintf(path, len, "%s/%s", hugetlbfs_find_path_for_size(HP_2M), name);
}

static void expect_path(META, FIXTURE_DATA(list) *self, unsigned long pfn, const char *name)
{
	char owner[128];

	owner_of(self->map.addr, name, owner, sizeof(owner));
	expect_bad(_metadata, pfn, HP_2M, "narrowed", owner);
}

/* A name that would be two words and two lines; another one; none. */
TEST_F(list, path)
{
	char path[256], other[256];
	unsigned long pfn;

	make_path(path, sizeof(path), "two words\nand\\");
	make_path(other, sizeof(other), "other");
	self->map = (struct hp_map) { .backing = HP_FILE, .size = HP_2M, .nr = 1 };
	self->map.fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	ASSERT_LE(0, self->map.fd);
	self->map.addr = mmap(NULL, HP_2M, PROT_READ | PROT_WRITE, MAP_SHARED, self->map.fd, 0);
	ASSERT_NE(MAP_FAILED, self->map.addr);
	EXPECT_EQ(0, hp_touch(self->map.addr, HP_WRITE).code);
	pfn = hp_pfn(self->map.addr);

	EXPECT_EQ(0, hp_inject(pfn));
	expect_path(_metadata, self, pfn, "/two\\040words\\012and\\134");
	EXPECT_EQ(0, rename(path, other));
	expect_path(_metadata, self, pfn, "/other");
	EXPECT_EQ(0, link(other, path));
	EXPECT_EQ(0, unlink(path));
	expect_path(_metadata, self, pfn, "/other");
	EXPECT_EQ(0, unlink(other));
	expect_path(_metadata, self, pfn, "/other//deleted");

	hp_map_free(&self->map);
	await_released(_metadata, pfn);
	EXPECT_EQ(0, hp_unpoison_soon(pfn));
}

/* A file nobody has open goes away with its file system, listed or not. */
TEST_F(list, umount)
{
	char dir[] = "/tmp/hugetlb-poison.XXXXXX", path[64];
	unsigned long pfn;

	ASSERT_NE(NULL, mkdtemp(dir));
	ASSERT_EQ(0, mount("none", dir, "hugetlbfs", 0, "pagesize=2M"));
	snprintf(path, sizeof(path), "%s/file", dir);
	self->map = (struct hp_map) { .backing = HP_FILE, .size = HP_2M, .nr = 1 };
	self->map.fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	ASSERT_LE(0, self->map.fd);
	self->map.addr = mmap(NULL, HP_2M, PROT_READ | PROT_WRITE, MAP_SHARED, self->map.fd, 0);
	EXPECT_EQ(0, hp_touch(self->map.addr, HP_WRITE).code);
	pfn = hp_pfn(self->map.addr);
	EXPECT_EQ(0, hp_inject(pfn));
	expect_path(_metadata, self, pfn, "/file");
	hp_map_free(&self->map);
	EXPECT_EQ(1, expect_agreement(_metadata));
	EXPECT_EQ(0, umount(dir));
	await_released(_metadata, pfn);
	EXPECT_EQ(0, hp_unpoison_soon(pfn));
	rmdir(dir);
}

/* Private memory that a pipe holds: contained, and somebody's. */
TEST_F(list, narrowed_private)
{
	unsigned long pfn;

	ASSERT_EQ(0, hp_map(&self->map, HP_PRIVATE, HP_2M, 1));
	hp_stamp(self->map.addr, HP_2M, SEED);
	pfn = hp_pfn(self->map.addr + 3 * HP_BASE);
	ASSERT_EQ(0, hp_inject(pfn));
	expect_bad(_metadata, pfn, HP_2M, "narrowed", "anon");
	hp_map_free(&self->map);
	await_released(_metadata, pfn);
	EXPECT_EQ(0, hp_unpoison_soon(pfn));
}

/* All of it is lost, and a driver holds it. */
TEST_F(list, held)
{
	struct iovec page = { .iov_len = HP_BASE };
	unsigned long pfn;
	int fd[2];

	ASSERT_EQ(0, hp_map(&self->map, HP_PRIVATE, HP_2M, 1));
	hp_stamp(self->map.addr, HP_2M, SEED);
	pfn = hp_pfn(self->map.addr + 3 * HP_BASE);
	ASSERT_EQ(0, pipe(fd));
	page.iov_base = self->map.addr;
	ASSERT_EQ((ssize_t)HP_BASE, vmsplice(fd[1], &page, 1, 0));
	ASSERT_EQ(0, hp_set_containment("hugepage"));
	hp_inject(pfn);
	expect_bad(_metadata, pfn, HP_2M, "contained", "anon");
	close(fd[0]);
	close(fd[1]);
	await_released(_metadata, pfn);
	EXPECT_EQ(0, hp_unpoison_soon(pfn));
}

/* A free hugepage is released at once. */
TEST_F(list, free)
{
	unsigned long pfn = hp_find_free(HP_2M, 0);

	ASSERT_NE(HP_NO_PFN, pfn);
	EXPECT_EQ(0, hp_inject(pfn + 7));
	expect_bad(_metadata, pfn + 7, HP_2M, "released", "-");
	EXPECT_EQ(0, hp_unpoison(pfn + 7));
	EXPECT_EQ(0, expect_agreement(_metadata));
}

/* --- long lists --------------------------------------------------------------- */

#define MANY	24		/* hugepages, each with an error, and one with MANY more */

static void inject_many(META, FIXTURE_DATA(list) *self)
{
	unsigned long head[MANY];

	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, HP_2M, MANY));
	for (int i = 0; i < MANY; i++) {
		ASSERT_EQ(0, hp_touch(self->map.addr + i * HP_2M, HP_WRITE).code);
		head[i] = hp_pfn(self->map.addr + i * HP_2M);
		ASSERT_NE(HP_NO_PFN, head[i]);
		ASSERT_EQ(0, hp_inject(head[i] + 20 * i));
	}
	for (int i = 1; i <= MANY; i++)
		ASSERT_EQ(0, hp_inject(head[0] + 3 * i));
}

/* In the order of addresses. */
static void expect_many(META, FIXTURE_DATA(list) *self)
{
	EXPECT_EQ(2 * MANY, read_own());
	for (int i = 0; i <= MANY; i++)
		expect_own(_metadata, i, self->map.addr + 3 * i * HP_BASE, HP_BASE, "narrowed");
	for (int i = 1; i < MANY; i++)
		expect_own(_metadata, MANY + i, self->map.addr + i * HP_2M + 20 * i * HP_BASE,
			   HP_BASE, "narrowed");
}

/* However little is read at a time, it is the same. */
static void expect_same(META, const char *path)
{
	static const size_t steps[] = { 1, 7, 40, 4096 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *want, *is;

	ASSERT_LE(0, fd);
	want = read_by(fd, 1 << 16);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		is = read_by(fd, steps[i]);
		ASSERT_NE(NULL, is);
		EXPECT_STREQ(want, is);
		free(is);
	}
	free(want);
	close(fd);
}

TEST_F_TIMEOUT(list, many, 60)
{
	inject_many(_metadata, self);
	EXPECT_EQ(2 * MANY, expect_agreement(_metadata));
	expect_many(_metadata, self);
	/* once more with all of it narrowed */
	for (int i = 0; i < MANY; i++)
		EXPECT_EQ(0, hp_touch(self->map.addr + (i + 1) * HP_2M - 1, HP_READ).code);
	expect_many(_metadata, self);
	expect_same(_metadata, BAD_PAGES);
	expect_same(_metadata, OWN);
}

/* --- what a process has lost ----------------------------------------------------- */

FIXTURE(own) {
	struct hp_test test;
	struct hp_map map;
	struct hp_map other;	/* which the unprivileged do not map */
	char *hit;		/* the hugepage with the error */
	char *raw;
	unsigned long pfn;
};

FIXTURE_VARIANT(own) {
	unsigned long size, nr;
	enum hp_backing backing;
	const char *containment;
};

#define OWN_VARIANT(sz, nr_of, name, id, policy)				\
	FIXTURE_VARIANT_ADD(own, sz##_##name##_##policy) {			\
		.size = HP_##sz, .nr = nr_of, .backing = id, .containment = #policy, \
	}

OWN_VARIANT(2M, 3, memfd, HP_MEMFD, page);
OWN_VARIANT(2M, 3, anon, HP_ANON, page);
OWN_VARIANT(1G, 1, memfd, HP_MEMFD, page);
OWN_VARIANT(2M, 3, memfd, HP_MEMFD, hugepage);
OWN_VARIANT(1G, 1, memfd, HP_MEMFD, hugepage);
OWN_VARIANT(2M, 3, private, HP_PRIVATE, page);
OWN_VARIANT(1G, 1, private, HP_PRIVATE, page);

#define OWN_ARGS	META, FIXTURE_DATA(own) *self, const FIXTURE_VARIANT(own) *variant

static bool narrows(const FIXTURE_VARIANT(own) *variant)
{
	return !strcmp(variant->containment, "page");
}

FIXTURE_SETUP(own)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	hp_catch_sigbus();
	ASSERT_EQ(0, hp_map(&self->other, HP_MEMFD, HP_2M, 1));
	ASSERT_EQ(0, hp_touch(self->other.addr, HP_WRITE).code);
	ASSERT_EQ(0, hp_set_containment(variant->containment));
	ASSERT_EQ(0, hp_map(&self->map, variant->backing, variant->size, variant->nr));
	for (unsigned long i = 0; i < variant->nr; i++)
		hp_stamp(self->map.addr + i * variant->size, variant->size, SEED);
	self->hit = self->map.addr + variant->nr / 2 * variant->size;
	self->raw = self->hit + hp_subpage(variant->size, HP_MIDDLE) * HP_BASE;
	self->pfn = hp_pfn(self->raw);
}

FIXTURE_TEARDOWN(own)
{
	hp_map_free(&self->map);
	hp_map_free(&self->other);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* One error, one line, wherever the hugepage is mapped. */
static void expect_loss_at(OWN_ARGS, char *hit)
{
	EXPECT_EQ(1, read_own());
	if (narrows(variant))
		expect_own(_metadata, 0, hit + (self->raw - self->hit), HP_BASE, "narrowed");
	else
		expect_own(_metadata, 0, hit, variant->size, "contained");
}

/* An unprivileged process: before it touches anything, after, and without. */
static void unprivileged(OWN_ARGS)
{
	hp_unmap(&self->other);
	EXPECT_EQ(0, setgid(NOBODY));
	EXPECT_EQ(0, setuid(NOBODY));
	EXPECT_EQ(-1, open(BAD_PAGES, O_RDONLY));
	EXPECT_EQ(EACCES, errno);
	for (int i = 0; i < 2; i++) {
		expect_loss_at(_metadata, self, variant, self->hit);
		EXPECT_EQ(narrows(variant) ? 0 : BUS_MCEERR_AR, hp_touch(self->hit, HP_READ).code);
	}
	hp_unmap(&self->map);
	EXPECT_EQ(0, read_own());
}

static int run_unprivileged(OWN_ARGS)
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		unprivileged(_metadata, self, variant);
		fflush(stdout);
		_exit(EXIT_SUCCESS);
	}
	waitpid(pid, &status, 0);
	return status;
}

TEST_F_TIMEOUT(own, unprivileged, 60)
{
	unsigned long pfn = hp_pfn(self->other.addr);

	EXPECT_EQ(0, read_own());
	EXPECT_EQ(0, hp_inject(self->pfn));
	expect_loss_at(_metadata, self, variant, self->hit);

	ASSERT_EQ(0, hp_set_containment("hugepage"));
	EXPECT_EQ(0, hp_inject(pfn));
	EXPECT_EQ(2, read_own());
	EXPECT_EQ(0, run_unprivileged(_metadata, self, variant));
	hp_unmap(&self->other);
	expect_loss_at(_metadata, self, variant, self->hit);

	hp_map_free(&self->map);
	hp_map_free(&self->other);
	EXPECT_EQ(0, read_own());
	await_released(_metadata, self->pfn);
	await_released(_metadata, pfn);
	EXPECT_EQ(0, hp_unpoison_soon(self->pfn));
	EXPECT_EQ(0, hp_unpoison_soon(pfn));
}

/* By single hugepages: more than one mapping cannot be moved at once. */
static int move_elsewhere(const struct hp_map *map, struct hp_map *again)
{
	const int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	size_t len = map->nr * map->size;
	unsigned long room;

	room = (unsigned long)mmap(NULL, len + map->size, PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	again->addr = (char *)((room + map->size - 1) & -map->size);
	for (size_t at = 0; at < len; at += map->size)
		if (mremap(map->addr + at, map->size, map->size, flags,
			   again->addr + at) == MAP_FAILED)
			return -errno;
	return 0;
}

/* A mapping of later; of private memory, which has none, the same one moved. */
static int map_elsewhere(const struct hp_map *map, struct hp_map *again)
{
	size_t len = map->nr * map->size;
	int ret;

	*again = *map;
	if (map->backing == HP_PRIVATE)
		return move_elsewhere(map, again);
	ret = hp_map_again(map, again);
	munmap(map->addr, len);
	return ret;
}

/* It has lost the same, at its own address, touched or not. */
TEST_F_TIMEOUT(own, elsewhere, 60)
{
	struct hp_map again;
	char *hit;

	EXPECT_EQ(0, hp_inject(self->pfn));
	ASSERT_EQ(0, map_elsewhere(&self->map, &again));
	hit = again.addr + (self->hit - self->map.addr);
	self->map = again;
	expect_loss_at(_metadata, self, variant, hit);
	hp_touch(hit, HP_READ);
	expect_loss_at(_metadata, self, variant, hit);
}

/* Punched out, or undone: nothing is lost any more, and a touch finds as much. */
TEST_F_TIMEOUT(own, regained, 60)
{
	bool private = variant->backing == HP_PRIVATE;

	EXPECT_EQ(0, hp_inject(self->pfn));
	expect_loss_at(_metadata, self, variant, self->hit);
	if (!private) {
		EXPECT_EQ(0, hp_unpoison(self->pfn));
		EXPECT_EQ(0, read_own());
		EXPECT_EQ(0, hp_touch(self->raw, HP_READ).code);
		EXPECT_EQ(0, read_own());
		EXPECT_EQ(0, hp_inject(self->pfn));
		hp_touch(self->hit, HP_READ);
		expect_loss_at(_metadata, self, variant, self->hit);
	}
	EXPECT_EQ(0, madvise(self->hit, variant->size, private ? MADV_DONTNEED : MADV_REMOVE));
	EXPECT_EQ(0, read_own());
	if (variant->size == HP_2M)
		EXPECT_EQ(0, hp_touch(self->raw, HP_WRITE).code);
	EXPECT_EQ(0, read_own());
	await_released(_metadata, self->pfn);
	EXPECT_EQ(0, hp_unpoison_soon(self->pfn));
}

/* --- what a process has lost: special mappings ---------------------------------------- */

/* A private mapping of a file loses the file's raw page, but for what it has a copy of. */
TEST_F(list, private_of_file)
{
	char *untouched, *copied;
	unsigned long pfn;

	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, HP_2M, 1));
	hp_stamp(self->map.addr, HP_2M, SEED);
	pfn = hp_pfn(self->map.addr + HP_BASE);
	untouched = mmap(NULL, HP_2M, PROT_READ, MAP_PRIVATE, self->map.fd, 0);
	copied = mmap(NULL, HP_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->map.fd, 0);
	ASSERT_NE(MAP_FAILED, untouched);
	ASSERT_NE(MAP_FAILED, copied);
	EXPECT_EQ(0, hp_touch(copied, HP_WRITE).code);
	hp_unmap(&self->map);

	EXPECT_EQ(0, hp_inject(pfn));
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(1, read_own());
		expect_own(_metadata, 0, untouched + HP_BASE, HP_BASE, "narrowed");
		EXPECT_EQ(BUS_MCEERR_AR, hp_touch(untouched + HP_BASE, HP_READ).code);
		EXPECT_EQ(0, hp_touch(untouched, HP_READ).code);
		EXPECT_EQ(0, hp_touch(copied, HP_READ).code);
	}
	munmap(untouched, HP_2M);
	munmap(copied, HP_2M);
	EXPECT_EQ(0, read_own());
}

/*
 * A hugepage that userfaultfd watches is lost as a whole, for as long as it
 * does.
 */
TEST_F(list, watched)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register arg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		SKIP(return, "needs CONFIG_USERFAULTFD");
	ASSERT_EQ(0, ioctl(fd, UFFDIO_API, &api));
	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, HP_2M, 1));
	EXPECT_EQ(0, hp_touch(self->map.addr, HP_WRITE).code);
	arg.range.start = (unsigned long)self->map.addr;
	arg.range.len = HP_2M;
	ASSERT_EQ(0, ioctl(fd, UFFDIO_REGISTER, &arg));
	EXPECT_EQ(0, hp_inject(hp_pfn(self->map.addr)));
	EXPECT_EQ(1, read_own());
	expect_own(_metadata, 0, self->map.addr, HP_2M, "contained");
	ASSERT_EQ(0, ioctl(fd, UFFDIO_UNREGISTER, &arg.range));
	EXPECT_EQ(1, read_own());
	expect_own(_metadata, 0, self->map.addr, HP_BASE, "narrowed");
	close(fd);
}

/* The file is about who opened it, whoever reads, and empty when they are gone. */
TEST_F(list, passed_on)
{
	int ready[2], fd, child;
	char *text, byte;
	pid_t pid;

	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, HP_2M, 1));
	EXPECT_EQ(0, hp_touch(self->map.addr, HP_WRITE).code);
	EXPECT_EQ(0, hp_inject(hp_pfn(self->map.addr)));
	ASSERT_EQ(0, pipe(ready));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(open(OWN, O_RDONLY), 100);
		for (byte = 0; write(ready[1], &byte, 1) == 1;)
			pause();
	}
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	hp_unmap(&self->map);
	EXPECT_EQ(0, read_own());
	child = syscall(SYS_pidfd_open, pid, 0);
	fd = syscall(SYS_pidfd_getfd, child, 100, 0);
	ASSERT_LE(0, fd);
	text = read_by(fd, 4096);
	EXPECT_EQ(1, parse_own_text(text));
	free(text);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	EXPECT_EQ(0, pread(fd, &byte, 1, 0));
	close(fd);
	close(child);
	close(ready[0]);
	close(ready[1]);
}

#define SPARSE		(64UL << 40)	/* half of the address space: 32 million hugepages */
#define AT_WORK		20		/* clock ticks in the kernel */

/* Clock ticks that a process has spent in the kernel, or -1. */
static long kernel_ticks(pid_t pid)
{
	char path[64], text[512], *at;
	long ticks = -1;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (hp_read_text(path, text, sizeof(text)) < 0)
		return -1;
	at = strrchr(text, ')');
	if (at)
		sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %ld", &ticks);
	return ticks;
}

/* A reader of a huge sparse mapping visits all of it, and can be killed meanwhile. */
TEST_F(list, killed)
{
	int status;
	long began;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (mmap(NULL, SPARSE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
			 MAP_NORESERVE, -1, 0) == MAP_FAILED)
			_exit(1);
		read_own();
		_exit(0);
	}
	ASSERT_LT(0, pid);
	EXPECT_TRUE(hp_await(kernel_ticks(pid) >= AT_WORK, "the reader is at work"));
	began = hp_now_ms();
	EXPECT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_GT(1000 * HP_BUSY, hp_now_ms() - began);
}

/* --- reading while everything changes ------------------------------------------------- */

#define FUZZ_PAGES	6
#define FUZZ_SECONDS	2
#define FUZZ_ERRORS	2000

/* The lock keeps what is about to be hit from being given back meanwhile. */
static pthread_mutex_t fuzz_lock = PTHREAD_MUTEX_INITIALIZER;
static struct hp_map *fuzz_map;
static bool fuzz_done;
static unsigned long fuzz_pfns[FUZZ_ERRORS];
static unsigned int fuzz_nr;

static bool fuzz_goes_on(void)
{
	return !__atomic_load_n(&fuzz_done, __ATOMIC_RELAXED);
}

static char *fuzz_page(unsigned int *seed)
{
	return fuzz_map->addr + rand_r(seed) % FUZZ_PAGES * HP_2M +
	       rand_r(seed) % (HP_2M / HP_BASE) * HP_BASE;
}

static void *fuzz_inject(void *unused)
{
	unsigned int seed = SEED;
	unsigned long pfn;

	while (fuzz_goes_on() && fuzz_nr < FUZZ_ERRORS) {
		char *page = fuzz_page(&seed);

		hp_touch(page, HP_READ);
		pthread_mutex_lock(&fuzz_lock);
		pfn = hp_pfn(page);
		if (pfn != HP_NO_PFN) {
			hp_inject(pfn);
			fuzz_pfns[fuzz_nr] = pfn;
			__atomic_add_fetch(&fuzz_nr, 1, __ATOMIC_RELEASE);
		}
		pthread_mutex_unlock(&fuzz_lock);
		usleep(300);
	}
	return unused;
}

static void *fuzz_unpoison(void *unused)
{
	unsigned int seed = SEED + 1, nr;

	while (fuzz_goes_on()) {
		nr = __atomic_load_n(&fuzz_nr, __ATOMIC_ACQUIRE);
		if (nr)
			hp_unpoison(fuzz_pfns[rand_r(&seed) % nr]);
		usleep(500);
	}
	return unused;
}

static void *fuzz_punch(void *unused)
{
	unsigned int seed = SEED + 2;

	while (fuzz_goes_on()) {
		char *hugepage = fuzz_map->addr + rand_r(&seed) % FUZZ_PAGES * HP_2M;

		pthread_mutex_lock(&fuzz_lock);
		madvise(hugepage, HP_2M, MADV_REMOVE);
		pthread_mutex_unlock(&fuzz_lock);
		hp_touch(hugepage, HP_WRITE);
		usleep(5000);
	}
	return unused;
}

static void *fuzz_remap(void *unused)
{
	struct hp_map again;

	while (fuzz_goes_on()) {
		if (hp_map_again(fuzz_map, &again))
			continue;
		for (int i = 0; i < FUZZ_PAGES; i++)
			hp_touch(again.addr + i * HP_2M, HP_READ);
		hp_unmap(&again);
		usleep(1000);
	}
	return unused;
}

static void *fuzz_own(void *unused)
{
	long wrong = 0;

	while (fuzz_goes_on()) {
		wrong += read_own() < 0;
		usleep(1000);
	}
	(void)unused;
	return (void *)wrong;
}

TEST_F_TIMEOUT(list, fuzz, 60)
{
	static void *(*const what[])(void *) = {
		fuzz_inject, fuzz_unpoison, fuzz_punch, fuzz_remap, fuzz_own,
	};
	pthread_t threads[ARRAY_SIZE(what)];
	time_t end = time(NULL) + FUZZ_SECONDS;
	void *wrong = NULL;
	int bad = 0;

	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, HP_2M, FUZZ_PAGES));
	fuzz_map = &self->map;
	for (size_t i = 0; i < ARRAY_SIZE(what); i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, what[i], NULL));
	while (time(NULL) <= end) {
		bad += read_bad() < 0;
		usleep(1000);
	}
	EXPECT_EQ(0, bad);
	__atomic_store_n(&fuzz_done, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < ARRAY_SIZE(what); i++)
		pthread_join(threads[i], &wrong);
	EXPECT_EQ(NULL, wrong);
	TH_LOG("%u errors", fuzz_nr);

	/* the worker may be about to release some */
	hp_map_free(&self->map);
	sleep(1);
	expect_agreement(_metadata);
}

TEST_HARNESS_MAIN
