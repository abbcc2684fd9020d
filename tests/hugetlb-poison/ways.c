// SPDX-License-Identifier: GPL-2.0-only
/*
 * After the error every way into the hugepage: its healthy pages take and give
 * data, and what one way writes another mapping reads. The raw page is refused,
 * or the count ends before it; no system call's access to it raises a signal.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/futex.h>
#include <linux/loop.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include "kselftest_harness.h"

#include "hp.h"
#include "hp_ring.h"

#define SEED		0x3a75
#define SEED_AFTER	0x573a
#define NOBODY		65534
#define MAX_PAGES	3	/* in one transfer */

/* --- the stage ----------------------------------------------------------------- */

/*
 * The test's own process causes the error; an actor, as root or as nobody, goes
 * the ways. It has the hugepage twice, so that none of its looks at the result
 * prepares the way, and a child that has it too.
 */
struct scene {
	char *victim;			/* the hugepage, where the ways lead */
	char *alias;			/* the same hugepage elsewhere */
	char *raw;			/* the raw page, in the victim */
	unsigned long size;
	struct hp_mapper other;		/* has the victim at the same address */
	int hugetlb;			/* the hugepage's file */
	int disk;			/* of few pages, for direct I/O only */
	int file;			/* what is on that disk */
	int mem;			/* the other's memory */
	struct hp_ring ring;
};

FIXTURE(ways) {
	struct hp_test test;
	struct hp_map map;
	struct scene scene;
	unsigned long pfn;		/* of the raw page */
	int node;
};

FIXTURE_VARIANT(ways) {
	unsigned long size;
	bool nobody;
};

FIXTURE_VARIANT_ADD(ways, 2M_root) { .size = HP_2M, .nobody = false };
FIXTURE_VARIANT_ADD(ways, 2M_nobody) { .size = HP_2M, .nobody = true };
FIXTURE_VARIANT_ADD(ways, 1G_nobody) { .size = HP_1G, .nobody = true };

/* The harness's arguments of a test, for its parts. */
#define UNUSED		__attribute__((unused))
#define TEST_ARGS	UNUSED struct __test_metadata *_metadata,	\
			UNUSED FIXTURE_DATA(ways) *self,		\
			UNUSED const FIXTURE_VARIANT(ways) *variant
#define PASS_ARGS	_metadata, self, variant

/* A disk that transfers to and from user memory without a copy of its own. */
static int disk_open(int file)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), disk, nr;
	char path[32];

	if (control < 0)
		return -errno;
	nr = ioctl(control, LOOP_CTL_GET_FREE);
	close(control);
	snprintf(path, sizeof(path), "/dev/loop%d", nr);
	disk = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (disk < 0 || ioctl(disk, LOOP_SET_FD, file))
		return -errno;
	return disk;
}

FIXTURE_SETUP(ways)
{
	struct scene *scene = &self->scene;
	struct hp_map again;

	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	hp_catch_sigbus();
	hp_kill_late();
	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, variant->size, 1));
	hp_stamp(self->map.addr, variant->size, SEED);
	ASSERT_EQ(0, hp_map_again(&self->map, &again));

	scene->size = variant->size;
	scene->victim = self->map.addr;
	scene->alias = again.addr;
	scene->raw = scene->victim + hp_subpage(variant->size, HP_MIDDLE) * HP_BASE;
	scene->hugetlb = self->map.fd;
	self->pfn = hp_pfn(scene->raw);
	ASSERT_NE(HP_NO_PFN, self->pfn);
	self->node = hp_pfn_node(self->pfn);
	ASSERT_EQ(0, hp_touch(scene->alias, HP_READ).code);

	scene->file = memfd_create("disk", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(scene->file, 16 * HP_BASE));
	scene->disk = disk_open(scene->file);
	ASSERT_LE(0, scene->disk) {
		TH_LOG("no loop device");
	}
}

FIXTURE_TEARDOWN(ways)
{
	ioctl(self->scene.disk, LOOP_CLR_FD, 0);
	close(self->scene.disk);
	munmap(self->scene.alias, variant->size);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* --- data from and to the hugepage --------------------------------------------- */

static char buffer[MAX_PAGES * HP_BASE] __attribute__((aligned(4096)));

/* A system call's result: what it says, or -errno. */
static ssize_t result(ssize_t ret)
{
	return ret < 0 ? -errno : ret;
}

/*
 * One way: what a transfer of some bytes at @at says, and if it took place the
 * bytes that were there are in @buffer, or those from @buffer are there.
 */
struct way {
	ssize_t (*get)(struct scene *scene, char *at, size_t len);
	ssize_t (*put)(struct scene *scene, char *at, size_t len);
	bool waits;		/* for the worker, as it cannot wait in its faults */
};

/* Contents that differ from one use to the next. */
static void fill(char *to, size_t len)
{
	static unsigned long last = 1;

	for (size_t i = 0; i < len; i += sizeof(last)) {
		last = last * 6364136223846793005UL + 1442695040888963407UL;
		memcpy(to + i, &last, sizeof(last));
	}
}

static char *alias_of(const struct scene *scene, const char *at)
{
	return scene->alias + (at - scene->victim);
}

static ssize_t get_once(struct scene *scene, const struct way *way, char *at, size_t len)
{
	ssize_t ret;

	hp_await((ret = way->get(scene, at, len), ret > 0 || !way->waits),
		 "a worker has narrowed at %p", at);
	return ret;
}

/* Healthy pages, by one way and looked at by another. */
static void expect_healthy(TEST_ARGS, const struct way *way, char *at, size_t len)
{
	struct scene *scene = &self->scene;
	char *alias = alias_of(scene, at);

	if (way->get) {
		fill(alias, len);
		memset(buffer, 0, len);
		EXPECT_EQ((ssize_t)len, get_once(scene, way, at, len));
		EXPECT_EQ(0, memcmp(alias, buffer, len));
	}
	if (way->put) {
		fill(buffer, len);
		EXPECT_EQ((ssize_t)len, way->put(scene, at, len));
		EXPECT_EQ(0, memcmp(alias, buffer, len));
	}
}

static bool is_refused(ssize_t ret)
{
	return ret == -EFAULT || ret == -EIO || ret == -EHWPOISON;
}

static void expect_refused(TEST_ARGS, const struct way *way)
{
	struct scene *scene = &self->scene;

	for (size_t len = HP_BASE; len <= 2 * HP_BASE; len += HP_BASE) {
		ssize_t got = way->get ? way->get(scene, scene->raw, len) : -EFAULT;
		ssize_t put = way->put ? way->put(scene, scene->raw, len) : -EFAULT;

		EXPECT_EQ(true, is_refused(got)) {
			TH_LOG("%zu bytes from the raw page: %zd", len, got);
		}
		EXPECT_EQ(true, is_refused(put)) {
			TH_LOG("%zu bytes to the raw page: %zd", len, put);
		}
	}
}

/* The raw page is the second of three: nothing of it, but maybe of the first. */
static void expect_short(TEST_ARGS, const struct way *way)
{
	struct scene *scene = &self->scene;
	char *at = scene->raw - HP_BASE, *alias = alias_of(scene, at);
	ssize_t ret;

	if (way->get) {
		fill(alias, HP_BASE);
		ret = way->get(scene, at, 3 * HP_BASE);
		EXPECT_EQ(true, is_refused(ret) || (ret > 0 && ret <= (ssize_t)HP_BASE)) {
			TH_LOG("three pages around the raw page: %zd bytes", ret);
		}
		EXPECT_EQ(true, ret <= 0 || !memcmp(alias, buffer, ret));
	}
	if (way->put) {
		fill(buffer, 3 * HP_BASE);
		ret = way->put(scene, at, 3 * HP_BASE);
		EXPECT_EQ(true, is_refused(ret) || (ret > 0 && ret <= (ssize_t)HP_BASE)) {
			TH_LOG("three pages around the raw page: %zd bytes", ret);
		}
		EXPECT_EQ(true, ret <= 0 || !memcmp(alias, buffer, ret));
	}
}

/*
 * Next to the raw page, far from it, and across the end of a 2 MiB block, which
 * in a 1 GiB hugepage has an entry of its own. The first access narrows.
 */
static void check_way(TEST_ARGS, const struct way *way)
{
	struct scene *scene = &self->scene;
	char *far = scene->victim + (scene->size == HP_1G ? 3 * HP_2M : HP_2M / 8);

	expect_healthy(PASS_ARGS, way, far - HP_BASE, 2 * HP_BASE);
	expect_healthy(PASS_ARGS, way, scene->raw - HP_BASE, HP_BASE);
	expect_refused(PASS_ARGS, way);
	expect_healthy(PASS_ARGS, way, scene->raw + HP_BASE, HP_BASE);
	expect_short(PASS_ARGS, way);
	expect_healthy(PASS_ARGS, way, scene->raw + HP_BASE, 2 * HP_BASE);
	expect_healthy(PASS_ARGS, way, scene->raw - 2 * HP_BASE, 2 * HP_BASE);
}

/* --- the play ------------------------------------------------------------------ */

/* For good: there is no way back, and nothing root may do is left. */
static void become_nobody(TEST_ARGS)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	EXPECT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &all));
	EXPECT_EQ(0, setgroups(0, NULL));
	EXPECT_EQ(0, setgid(NOBODY));
	EXPECT_EQ(0, setuid(NOBODY));
	/* its own memory is its own all the same */
	EXPECT_EQ(0, prctl(PR_SET_DUMPABLE, 1));
}

typedef void part(TEST_ARGS);

/* Before the error, and after it. @cue is the moment of the error. */
static void act(TEST_ARGS, part *before, part *after, int cue[2])
{
	struct scene *scene = &self->scene;
	char go;

	if (variant->nobody)
		become_nobody(PASS_ARGS);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	EXPECT_EQ(0, hp_mapper_start(&scene->other, &self->map, false));
	if (before)
		before(PASS_ARGS);
	EXPECT_EQ(1, write(cue[0], "", 1));
	EXPECT_EQ(1, read(cue[0], &go, 1));
	after(PASS_ARGS);
	EXPECT_EQ(1, hp_stamp(scene->victim, scene->size, SEED_AFTER));
	EXPECT_EQ(0, hp_mapper_stop(&scene->other));
	EXPECT_EQ(0, hp_async_signals(0, &(struct hp_sigbus) { 0 }));
}

/*
 * The actor would not survive a signal that none of its accesses caused, see
 * hp_catch_sigbus(). The test's own process reads the actor's last write.
 */
static void play(TEST_ARGS, part *before, part *after)
{
	struct scene *scene = &self->scene;
	int cue[2], status = -1;
	long damage;
	char ready;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, cue));
	fflush(stdout);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(cue[1]);
		act(PASS_ARGS, before, after, cue);
		fflush(stdout);
		_exit(EXIT_SUCCESS);
	}
	close(cue[0]);
	EXPECT_EQ(1, read(cue[1], &ready, 1));
	EXPECT_EQ(0, hp_inject(self->pfn));
	EXPECT_EQ(1, send(cue[1], "", 1, MSG_NOSIGNAL));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status) {
		TH_LOG("the actor's wait status is %#x", status);
	}
	close(cue[1]);

	EXPECT_EQ(1, hp_lost(scene->victim, scene->size, SEED_AFTER, &damage));
	EXPECT_EQ(0, damage);
	munmap(scene->alias, scene->size);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_unpoison_soon(self->pfn));
}

/* --- access -------------------------------------------------------------------- */

static ssize_t load(struct scene *scene, char *at, size_t len)
{
	for (size_t i = 0; i < len; i += HP_BASE)
		if (hp_touch(at + i, HP_READ).code)
			return i ? (ssize_t)i : -EFAULT;
	(void)scene;
	memcpy(buffer, at, len);
	return len;
}

static ssize_t store(struct scene *scene, char *at, size_t len)
{
	for (size_t i = 0; i < len; i += HP_BASE)
		if (hp_touch(at + i, HP_WRITE).code)
			return i ? (ssize_t)i : -EFAULT;
	(void)scene;
	memcpy(at, buffer, len);
	return len;
}

/* hp_touch() leaves its mark on the first page of a store that ends early. */
static void act_access(TEST_ARGS)
{
	static const struct way way = { .get = load, .put = store };
	struct scene *scene = &self->scene;
	struct hp_sigbus bus;

	expect_healthy(PASS_ARGS, &way, scene->raw - HP_BASE, HP_BASE);
	expect_healthy(PASS_ARGS, &way, scene->raw + HP_BASE, 2 * HP_BASE);
	expect_refused(PASS_ARGS, &way);
	bus = hp_touch(scene->raw + 99, HP_WRITE);
	EXPECT_EQ(BUS_MCEERR_AR, bus.code);
	EXPECT_EQ(scene->raw + 99, bus.addr);
	EXPECT_EQ(__builtin_ctzl(HP_BASE), bus.lsb);
}

TEST_F_TIMEOUT(ways, access, 60)
{
	play(PASS_ARGS, NULL, act_access);
}

/* --- read() and write() with the hugepage as the buffer ------------------------ */

static ssize_t write_pipe(struct scene *scene, char *at, size_t len)
{
	int fd[2];
	ssize_t ret;

	(void)scene;
	if (pipe(fd))
		return -errno;
	ret = result(write(fd[1], at, len));
	if (ret > 0 && read(fd[0], buffer, ret) != ret)
		ret = -ENODATA;
	close(fd[0]);
	close(fd[1]);
	return ret;
}

static ssize_t read_pipe(struct scene *scene, char *at, size_t len)
{
	int fd[2];
	ssize_t ret;

	(void)scene;
	if (pipe(fd))
		return -errno;
	ret = write(fd[1], buffer, len) == (ssize_t)len ? result(read(fd[0], at, len)) : -ENOSPC;
	close(fd[0]);
	close(fd[1]);
	return ret;
}

static void act_pipe(TEST_ARGS)
{
	static const struct way way = { .get = write_pipe, .put = read_pipe };

	check_way(PASS_ARGS, &way);
}

TEST_F_TIMEOUT(ways, pipe, 60)
{
	play(PASS_ARGS, NULL, act_pipe);
}

static ssize_t write_file(struct scene *scene, char *at, size_t len)
{
	ssize_t ret = result(pwrite(scene->file, at, len, 0));

	if (ret > 0 && pread(scene->file, buffer, ret, 0) != ret)
		return -ENODATA;
	return ret;
}

static ssize_t read_file(struct scene *scene, char *at, size_t len)
{
	if (pwrite(scene->file, buffer, len, 0) != (ssize_t)len)
		return -ENOSPC;
	return result(pread(scene->file, at, len, 0));
}

static void act_file(TEST_ARGS)
{
	static const struct way way = { .get = write_file, .put = read_file };

	check_way(PASS_ARGS, &way);
}

TEST_F_TIMEOUT(ways, file, 60)
{
	play(PASS_ARGS, NULL, act_file);
}

/* The disk's driver is given the hugepage's own pages. */
static ssize_t write_disk(struct scene *scene, char *at, size_t len)
{
	ssize_t ret = result(pwrite(scene->disk, at, len, 0));

	if (ret > 0 && pread(scene->file, buffer, ret, 0) != ret)
		return -ENODATA;
	return ret;
}

static ssize_t read_disk(struct scene *scene, char *at, size_t len)
{
	if (pwrite(scene->file, buffer, len, 0) != (ssize_t)len)
		return -ENOSPC;
	return result(pread(scene->disk, at, len, 0));
}

static void act_disk(TEST_ARGS)
{
	static const struct way way = { .get = write_disk, .put = read_disk };

	check_way(PASS_ARGS, &way);
}

TEST_F_TIMEOUT(ways, direct_io, 60)
{
	play(PASS_ARGS, NULL, act_disk);
}

/* --- the file itself ----------------------------------------------------------- */

static ssize_t read_hugetlb(struct scene *scene, char *at, size_t len)
{
	return result(pread(scene->hugetlb, buffer, len, at - scene->victim));
}

/* Up to the raw page, not into it, and on behind it. */
static void act_hugetlb_file(TEST_ARGS)
{
	static const struct way way = { .get = read_hugetlb };
	struct scene *scene = &self->scene;

	check_way(PASS_ARGS, &way);
	EXPECT_EQ((ssize_t)HP_BASE, read_hugetlb(scene, scene->raw - HP_BASE, 3 * HP_BASE));
	EXPECT_EQ(100, read_hugetlb(scene, scene->raw - 100, 2 * HP_BASE));
	EXPECT_EQ(-EIO, read_hugetlb(scene, scene->raw, HP_BASE));
	EXPECT_EQ(-EIO, read_hugetlb(scene, scene->raw + HP_BASE - 1, HP_BASE));
}

TEST_F_TIMEOUT(ways, hugetlb_file, 60)
{
	play(PASS_ARGS, NULL, act_hugetlb_file);
}

/* --- another process's memory -------------------------------------------------- */

static ssize_t vm_readv(const struct scene *scene, char *here, char *there, size_t len)
{
	struct iovec local = { here, len }, remote = { there, len };

	return result(process_vm_readv(scene->other.pid, &local, 1, &remote, 1, 0));
}

static ssize_t vm_writev(const struct scene *scene, char *here, char *there, size_t len)
{
	struct iovec local = { here, len }, remote = { there, len };

	return result(process_vm_writev(scene->other.pid, &local, 1, &remote, 1, 0));
}

static ssize_t get_theirs(struct scene *scene, char *at, size_t len)
{
	return vm_readv(scene, buffer, at, len);
}

static ssize_t put_theirs(struct scene *scene, char *at, size_t len)
{
	return vm_writev(scene, buffer, at, len);
}

/* The other's buffer is where ours is; the hugepage is here. */
static ssize_t get_ours(struct scene *scene, char *at, size_t len)
{
	ssize_t ret = vm_writev(scene, at, buffer, len);

	if (ret > 0 && vm_readv(scene, buffer, buffer, ret) != ret)
		return -ENODATA;
	return ret;
}

static ssize_t put_ours(struct scene *scene, char *at, size_t len)
{
	if (vm_writev(scene, buffer, buffer, len) != (ssize_t)len)
		return -ENODATA;
	return vm_readv(scene, at, buffer, len);
}

static void act_process_vm(TEST_ARGS)
{
	static const struct way theirs = { .get = get_theirs, .put = put_theirs };
	static const struct way ours = { .get = get_ours, .put = put_ours };

	check_way(PASS_ARGS, &theirs);
	check_way(PASS_ARGS, &ours);
}

TEST_F_TIMEOUT(ways, process_vm, 60)
{
	play(PASS_ARGS, NULL, act_process_vm);
}

static ssize_t read_mem(struct scene *scene, char *at, size_t len)
{
	return result(pread(scene->mem, buffer, len, (off_t)at));
}

static ssize_t write_mem(struct scene *scene, char *at, size_t len)
{
	return result(pwrite(scene->mem, buffer, len, (off_t)at));
}

static void open_mem(TEST_ARGS)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/mem", self->scene.other.pid);
	self->scene.mem = open(path, O_RDWR);
	EXPECT_LE(0, self->scene.mem);
}

static void act_mem(TEST_ARGS)
{
	static const struct way way = { .get = read_mem, .put = write_mem, .waits = true };

	check_way(PASS_ARGS, &way);
	close(self->scene.mem);
}

TEST_F_TIMEOUT(ways, proc_mem, 60)
{
	play(PASS_ARGS, open_mem, act_mem);
}

/* Word by word. */
static ssize_t peek(struct scene *scene, char *at, size_t len)
{
	for (size_t i = 0; i < len; i += sizeof(long)) {
		long word;

		errno = 0;
		word = ptrace(PTRACE_PEEKDATA, scene->other.pid, at + i, 0);
		if (errno)
			return i ? (ssize_t)i : -errno;
		memcpy(buffer + i, &word, sizeof(word));
	}
	return len;
}

static ssize_t poke(struct scene *scene, char *at, size_t len)
{
	for (size_t i = 0; i < len; i += sizeof(long)) {
		long word;

		memcpy(&word, buffer + i, sizeof(word));
		if (ptrace(PTRACE_POKEDATA, scene->other.pid, at + i, word))
			return i ? (ssize_t)i : -errno;
	}
	return len;
}

static void stop_other(TEST_ARGS)
{
	pid_t pid = self->scene.other.pid;
	int status;

	EXPECT_EQ(0, ptrace(PTRACE_SEIZE, pid, 0, 0));
	EXPECT_EQ(0, ptrace(PTRACE_INTERRUPT, pid, 0, 0));
	EXPECT_EQ(pid, waitpid(pid, &status, __WALL));
	EXPECT_EQ(true, WIFSTOPPED(status));
}

static void act_ptrace(TEST_ARGS)
{
	static const struct way way = { .get = peek, .put = poke, .waits = true };

	check_way(PASS_ARGS, &way);
	EXPECT_EQ(0, ptrace(PTRACE_DETACH, self->scene.other.pid, 0, 0));
}

TEST_F_TIMEOUT(ways, ptrace, 60)
{
	play(PASS_ARGS, stop_other, act_ptrace);
}

/* --- pages passed on, not copied ----------------------------------------------- */

static ssize_t vmsplice_all(int fd, char *at, size_t len)
{
	struct iovec pages = { at, len };

	return result(vmsplice(fd, &pages, 1, 0));
}

/* The pages themselves go into a pipe, and from there into a file. */
static ssize_t splice_from(struct scene *scene, char *at, size_t len)
{
	loff_t offset = 0;
	ssize_t ret;
	int fd[2];

	if (pipe(fd))
		return -errno;
	ret = vmsplice_all(fd[1], at, len);
	if (ret > 0 && (splice(fd[0], NULL, scene->file, &offset, ret, 0) != ret ||
			pread(scene->file, buffer, ret, 0) != ret))
		ret = -ENODATA;
	close(fd[0]);
	close(fd[1]);
	return ret;
}

static ssize_t splice_to(struct scene *scene, char *at, size_t len)
{
	loff_t offset = 0;
	ssize_t ret;
	int fd[2];

	if (pipe(fd))
		return -errno;
	if (pwrite(scene->file, buffer, len, 0) != (ssize_t)len ||
	    splice(scene->file, &offset, fd[1], NULL, len, 0) != (ssize_t)len)
		ret = -ENODATA;
	else
		ret = vmsplice_all(fd[0], at, len);
	close(fd[0]);
	close(fd[1]);
	return ret;
}

static void act_splice(TEST_ARGS)
{
	static const struct way way = { .get = splice_from, .put = splice_to };

	check_way(PASS_ARGS, &way);
}

TEST_F_TIMEOUT(ways, splice, 60)
{
	play(PASS_ARGS, NULL, act_splice);
}

/* --- io_uring ------------------------------------------------------------------ */

static ssize_t request(struct scene *scene, int opcode, int flags, int fd, char *at, size_t len)
{
	struct io_uring_sqe sqe = {
		.opcode = opcode, .flags = flags, .fd = fd,
		.addr = (unsigned long)at, .len = len,
	};

	return hp_ring_do(&scene->ring, &sqe);
}

/* Registered for one transfer, which pins the pages for as long as it may take. */
static ssize_t get_fixed(struct scene *scene, char *at, size_t len)
{
	ssize_t ret = hp_ring_register(&scene->ring, at, len);

	if (ret)
		return ret;
	ret = request(scene, IORING_OP_WRITE_FIXED, 0, scene->disk, at, len);
	if (ret > 0 && pread(scene->file, buffer, ret, 0) != ret)
		ret = -ENODATA;
	return hp_ring_unregister(&scene->ring) ?: ret;
}

static ssize_t put_fixed(struct scene *scene, char *at, size_t len)
{
	ssize_t ret = hp_ring_register(&scene->ring, at, len);

	if (ret)
		return ret;
	if (pwrite(scene->file, buffer, len, 0) == (ssize_t)len)
		ret = request(scene, IORING_OP_READ_FIXED, 0, scene->disk, at, len);
	else
		ret = -ENOSPC;
	return hp_ring_unregister(&scene->ring) ?: ret;
}

static void open_ring(TEST_ARGS)
{
	EXPECT_EQ(0, hp_ring_open(&self->scene.ring));
}

static void act_ring_fixed(TEST_ARGS)
{
	static const struct way way = { .get = get_fixed, .put = put_fixed };

	check_way(PASS_ARGS, &way);
	hp_ring_close(&self->scene.ring);
}

TEST_F_TIMEOUT(ways, ring_fixed, 60)
{
	play(PASS_ARGS, open_ring, act_ring_fixed);
}

/* By a kernel thread, which has nobody to send a signal to. */
static ssize_t get_async(struct scene *scene, char *at, size_t len)
{
	ssize_t ret = request(scene, IORING_OP_WRITE, IOSQE_ASYNC, scene->file, at, len);

	if (ret > 0 && pread(scene->file, buffer, ret, 0) != ret)
		ret = -ENODATA;
	return ret;
}

static ssize_t put_async(struct scene *scene, char *at, size_t len)
{
	if (pwrite(scene->file, buffer, len, 0) != (ssize_t)len)
		return -ENOSPC;
	return request(scene, IORING_OP_READ, IOSQE_ASYNC, scene->file, at, len);
}

static void act_ring_async(TEST_ARGS)
{
	static const struct way way = { .get = get_async, .put = put_async };

	check_way(PASS_ARGS, &way);
	hp_ring_close(&self->scene.ring);
}

TEST_F_TIMEOUT(ways, ring_async, 60)
{
	play(PASS_ARGS, open_ring, act_ring_async);
}

/* Pinned before the error, the raw page among them, and used after it. */
static ssize_t get_pinned(struct scene *scene, char *at, size_t len)
{
	ssize_t ret = request(scene, IORING_OP_WRITE_FIXED, 0, scene->disk, at, len);

	if (ret > 0 && pread(scene->file, buffer, ret, 0) != ret)
		ret = -ENODATA;
	return ret;
}

static ssize_t put_pinned(struct scene *scene, char *at, size_t len)
{
	if (pwrite(scene->file, buffer, len, 0) != (ssize_t)len)
		return -ENOSPC;
	return request(scene, IORING_OP_READ_FIXED, 0, scene->disk, at, len);
}

static void pin_around_raw(TEST_ARGS)
{
	struct scene *scene = &self->scene;

	open_ring(PASS_ARGS);
	EXPECT_EQ(0, hp_ring_register(&scene->ring, scene->raw - 2 * HP_BASE, 5 * HP_BASE));
}

static void act_pinned(TEST_ARGS)
{
	static const struct way way = { .get = get_pinned, .put = put_pinned };
	struct scene *scene = &self->scene;

	for (int i = 0; i < 2; i++) {
		expect_healthy(PASS_ARGS, &way, scene->raw - 2 * HP_BASE, 2 * HP_BASE);
		expect_healthy(PASS_ARGS, &way, scene->raw + HP_BASE, 2 * HP_BASE);
		/* all the rest is mapped as well, the pinned pages among it */
		EXPECT_EQ(1, hp_stamp(scene->victim, scene->size, SEED));
	}
	hp_ring_close(&self->scene.ring);
}

TEST_F_TIMEOUT(ways, ring_pinned_before, 60)
{
	play(PASS_ARGS, pin_around_raw, act_pinned);
}

/* --- futexes ------------------------------------------------------------------- */

#define WAIT_S		(2 * HP_PATIENCE_MS / 1000)

static long futex(void *word, int op, unsigned int value, const struct timespec *timeout)
{
	return result(syscall(__NR_futex, word, op, value, timeout, NULL, 0));
}

static bool is_asleep(pid_t pid)
{
	char path[32], text[512], *state;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (hp_read_text(path, text, sizeof(text)) <= 0)
		return false;
	state = strrchr(text, ')');
	return state && state[2] == 'S';
}

/* A process that waits at an address of its own; not before it does. */
static pid_t start_waiter(unsigned int *word)
{
	struct timespec patience = { .tv_sec = WAIT_S };
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(futex(word, FUTEX_WAIT, 0, &patience) ? EXIT_FAILURE : EXIT_SUCCESS);
	}
	hp_await(is_asleep(pid), "process %d waits on its futex", pid);
	return pid;
}

static unsigned int *word_at(char *page)
{
	return (unsigned int *)(page + 256);
}

/* Healthy pages: next to the raw page, and in another block of a 1 GiB hugepage. */
static unsigned int *word_nr(const struct scene *scene, int i)
{
	return word_at(i ? scene->victim + HP_2M / 2 : scene->raw + HP_BASE);
}

static pid_t early_waiter[2];

static void wait_early(TEST_ARGS)
{
	for (int i = 0; i < 2; i++)
		early_waiter[i] = start_waiter(word_nr(&self->scene, i));
}

static void expect_woken(TEST_ARGS, pid_t pid, void *word)
{
	int status = -1;

	EXPECT_EQ(1, futex(word, FUTEX_WAKE, 9, NULL));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/*
 * A wake after the error finds a waiter from before it, and the other way round
 * by another mapping.
 */
static void act_futex(TEST_ARGS)
{
	struct scene *scene = &self->scene;
	unsigned int *raw = word_at(scene->raw);

	for (int i = 0; i < 2; i++) {
		unsigned int *word = word_nr(scene, i);
		void *alias = alias_of(scene, (char *)word);

		expect_woken(PASS_ARGS, early_waiter[i], i ? (void *)word : alias);
		expect_woken(PASS_ARGS, start_waiter(word), alias);
		expect_woken(PASS_ARGS, start_waiter(alias), word);
		__atomic_store_n(word, 1, __ATOMIC_SEQ_CST);
		EXPECT_EQ(-EAGAIN, futex(alias, FUTEX_WAIT, 0, NULL));
	}
	EXPECT_EQ(-EFAULT, futex(raw, FUTEX_WAIT, 0, NULL));
	EXPECT_EQ(-EFAULT, futex(raw, FUTEX_WAKE, 1, NULL));
	EXPECT_EQ(-EFAULT, futex(raw, FUTEX_LOCK_PI, 0, NULL));
	EXPECT_EQ(-EFAULT, result(syscall(__NR_futex, word_nr(scene, 0), FUTEX_WAKE_OP, 1, 1,
					  raw, FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 0))));
}

TEST_F_TIMEOUT(ways, futex, 60)
{
	play(PASS_ARGS, wait_early, act_futex);
}

/* --- data of the kernel's own -------------------------------------------------- */

static void act_getrandom(TEST_ARGS)
{
	struct scene *scene = &self->scene;
	char *at = scene->raw + HP_BASE, *alias = alias_of(scene, at);
	ssize_t ret;

	memset(alias, 0, HP_BASE);
	EXPECT_EQ((ssize_t)HP_BASE, result(getrandom(at, HP_BASE, 0)));
	EXPECT_EQ(0, memcmp(at, alias, HP_BASE));
	memset(buffer, 0, HP_BASE);
	EXPECT_NE(0, memcmp(buffer, alias, HP_BASE));

	EXPECT_EQ(-EFAULT, result(getrandom(scene->raw, HP_BASE, 0)));
	ret = result(getrandom(scene->raw - HP_BASE, 3 * HP_BASE, 0));
	EXPECT_EQ(true, ret == -EFAULT || (ret > 0 && ret <= (ssize_t)HP_BASE));
}

TEST_F_TIMEOUT(ways, getrandom, 60)
{
	play(PASS_ARGS, NULL, act_getrandom);
}

/* A path, a time, a set of signals: small things in and out. */
static void act_small(TEST_ARGS)
{
	struct scene *scene = &self->scene;
	char *at = scene->raw - HP_BASE;
	struct timespec *now = (void *)(at + 512);

	memcpy(at, "/proc/self/stat", sizeof("/proc/self/stat"));
	EXPECT_EQ(0, access(at, R_OK));
	EXPECT_EQ(0, syscall(__NR_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, now));
	EXPECT_EQ(0, memcmp(now, alias_of(scene, (char *)now), sizeof(*now)));
	EXPECT_EQ(-EFAULT, result(access(scene->raw, R_OK)));
	EXPECT_EQ(-EFAULT, result(syscall(__NR_clock_gettime, CLOCK_PROCESS_CPUTIME_ID,
					  scene->raw)));
	EXPECT_EQ(-EFAULT, result(syscall(__NR_rt_sigprocmask, SIG_BLOCK, scene->raw, NULL, 8)));
	/* a string that would go on in the raw page */
	memset(scene->raw - 4, 'x', 4);
	EXPECT_EQ(-EFAULT, result(access(scene->raw - 4, R_OK)));
}

TEST_F_TIMEOUT(ways, small, 60)
{
	play(PASS_ARGS, NULL, act_small);
}

TEST_HARNESS_MAIN
