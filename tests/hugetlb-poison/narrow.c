// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hugepage with an error in use page by page: more errors in it, many
 * mappers, mappers with and without a signal, entries of its healthy parts, and
 * mappings that cannot be narrowed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "kselftest_harness.h"

#include "hp.h"
#include "hp_proc.h"

#define SEED		0x9a00
#define IN_BLOCK	(HP_2M / HP_BASE)

FIXTURE(narrow) {
	struct hp_test test;
	struct hp_map map;
	char *victim;		/* the hugepage with the errors */
	unsigned long head;	/* its page frame */
	int node;
};

FIXTURE_VARIANT(narrow) {
	unsigned long size;
};

FIXTURE_VARIANT_ADD(narrow, 2M) { .size = HP_2M };
FIXTURE_VARIANT_ADD(narrow, 1G) { .size = HP_1G };

/* The harness's arguments of a test, for its parts. */
#define UNUSED		__attribute__((unused))
#define TEST_ARGS	UNUSED struct __test_metadata *_metadata,	\
			UNUSED FIXTURE_DATA(narrow) *self,		\
			UNUSED const FIXTURE_VARIANT(narrow) *variant
#define PASS_ARGS	_metadata, self, variant

/* Of three hugepages the one in the middle; a GiB takes its time, so just one. */
FIXTURE_SETUP(narrow)
{
	unsigned long nr = variant->size == HP_1G ? 1 : 3;

	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	hp_catch_sigbus();
	hp_kill_late();
	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, variant->size, nr));
	self->victim = self->map.addr + nr / 2 * variant->size;
	for (unsigned long i = 0; i < nr; i++)
		hp_stamp(self->map.addr + i * variant->size, variant->size, SEED);
	self->head = hp_pfn(self->victim);
	ASSERT_NE(HP_NO_PFN, self->head);
	self->node = hp_pfn_node(self->head);
}

FIXTURE_TEARDOWN(narrow)
{
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* --- what tests have in common ------------------------------------------- */

/* All but @lost raw pages are readable, with the contents of @seed. */
static void expect_lost(TEST_ARGS, char *hugepage, long lost, unsigned int seed)
{
	long damage;

	EXPECT_EQ(lost, hp_lost(hugepage, variant->size, seed, &damage));
	EXPECT_EQ(0, damage);
}

static void expect_lost_by(TEST_ARGS, struct hp_mapper *mapper, char *hugepage,
			   long lost, unsigned int seed)
{
	struct hp_answer answer = hp_ask(mapper, HP_OP_LOST, hugepage, seed);

	EXPECT_EQ(lost, answer.value);
	EXPECT_EQ(0, answer.damage);
}

/* The access ran into an error of this extent. */
static void expect_bus(TEST_ARGS, struct hp_sigbus bus, char *addr, unsigned long extent)
{
	EXPECT_EQ(BUS_MCEERR_AR, bus.code);
	EXPECT_EQ(addr, bus.addr);
	EXPECT_EQ(__builtin_ctzl(extent), bus.lsb);
}

/* Nobody has the hugepage any more: its healthy pages are free, errors undone. */
static void expect_released(TEST_ARGS, const unsigned long *raw, int nr)
{
	struct hp_state want = self->test.before;

	hp_map_free(&self->map);
	hp_expect_lost(&want, variant->size, self->node);
	hp_add(&want, HP_BAD, variant->size, self->node, nr);
	hp_add(&want, HP_CORRUPTED, 0, HP_ALL, nr * (long)(HP_BASE >> 10));
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
	for (int i = 0; i < nr; i++)
		EXPECT_EQ(0, hp_unpoison_soon(self->head + raw[i]));
}

/* Where another process has the victim. */
static char *victim_of(struct hp_mapper *mapper, FIXTURE_DATA(narrow) *self)
{
	char *base = (char *)hp_ask(mapper, HP_OP_ADDR, NULL, 0).value;

	return base + (self->victim - self->map.addr);
}

/* --- the second, third and n-th error ------------------------------------- */

/*
 * Next to each other and far away; in a 1 GiB hugepage the last two are in
 * blocks that one entry maps by then.
 */
static int places(unsigned long size, unsigned long raw[])
{
	int nr = 0;

	raw[nr++] = hp_subpage(size, HP_MIDDLE);
	raw[nr++] = hp_subpage(size, HP_MIDDLE) + 1;
	raw[nr++] = hp_subpage(size, HP_HEAD);
	raw[nr++] = size == HP_1G ? 7 * IN_BLOCK : 77;
	raw[nr++] = hp_subpage(size, HP_TAIL);
	return nr;
}

#define MAX_ERRORS	5
enum { SELF, INHERITED, ANEW, LATE, MAPPERS };

/*
 * Each has got one signal for the latest error, with the address in its
 * mapping.
 */
static void expect_told(TEST_ARGS, struct hp_mapper mapper[], const pid_t told[],
			unsigned long raw, int errors)
{
	for (int i = 0; i < LATE; i++) {
		struct hp_answer answer = hp_await_signals(&mapper[i], errors);
		char *at = victim_of(&mapper[i], self) + raw * HP_BASE;

		EXPECT_EQ(errors, answer.value);
		EXPECT_EQ(BUS_MCEERR_AO, answer.bus.code);
		EXPECT_EQ(at, answer.bus.addr);
		EXPECT_EQ(__builtin_ctzl(HP_BASE), answer.bus.lsb);
		EXPECT_EQ(told[i], answer.bus.tid);
	}
	EXPECT_EQ(0, hp_ask(&mapper[LATE], HP_OP_SIGNALS, NULL, 0).value);
}

static void start_told(TEST_ARGS, struct hp_mapper mapper[], pid_t told[])
{
	hp_mapper_self(&mapper[SELF], &self->map);
	for (int i = INHERITED; i < MAPPERS; i++)
		ASSERT_EQ(0, hp_mapper_start(&mapper[i], &self->map, i == ANEW));
	for (int i = 0; i < MAPPERS; i++) {
		expect_lost_by(PASS_ARGS, &mapper[i], victim_of(&mapper[i], self), 0, SEED);
		told[i] = i == LATE ? 0 : hp_ask(&mapper[i], HP_OP_KILL_EARLY, NULL, 0).value;
	}
}

/* The second comes before anybody touched the hugepage after the first. */
TEST_F_TIMEOUT(narrow, later_errors, 60)
{
	struct hp_mapper mapper[MAPPERS];
	unsigned long raw[MAX_ERRORS];
	struct hp_state want;
	pid_t told[MAPPERS];
	int nr = places(variant->size, raw);

	start_told(PASS_ARGS, mapper, told);
	hp_read_state(&want);
	for (int i = 0; i < nr; i++) {
		EXPECT_EQ(0, hp_inject(self->head + raw[i]));
		hp_expect_narrowed(&want, variant->size, self->node, !i);
		expect_told(PASS_ARGS, mapper, told, raw[i], i + 1);
		for (int j = 0; i && j < MAPPERS; j++) {
			char *victim = victim_of(&mapper[j], self);
			char *at = victim + raw[i] * HP_BASE;

			expect_bus(PASS_ARGS, hp_ask(&mapper[j], HP_OP_READ, at, 0).bus,
				   at, HP_BASE);
			expect_lost_by(PASS_ARGS, &mapper[j], victim, i + 1, SEED);
		}
		EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	}

	/* The first of them once more: it is known. */
	EXPECT_EQ(-EHWPOISON, hp_inject(self->head + raw[0]));
	hp_add(&want, HP_REPEATED, variant->size, self->node, 1);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	for (int j = 0; j < MAPPERS; j++)
		expect_lost_by(PASS_ARGS, &mapper[j], victim_of(&mapper[j], self), nr, SEED);
	expect_told(PASS_ARGS, mapper, told, raw[nr - 1], nr);

	for (int i = INHERITED; i < MAPPERS; i++)
		EXPECT_EQ(0, hp_mapper_stop(&mapper[i]));
	expect_released(PASS_ARGS, raw, nr);
}

/* Errors one after another, and each raw page of a 2 MiB block is gone. */
TEST_F_TIMEOUT(narrow, nothing_left, 120)
{
	unsigned long first = hp_subpage(variant->size, HP_MIDDLE) & -IN_BLOCK;
	unsigned long raw[IN_BLOCK];
	int failed = 0;

	for (unsigned long i = 0; i < IN_BLOCK; i++) {
		raw[i] = first + i;
		failed += !!hp_inject(self->head + raw[i]);
	}
	EXPECT_EQ(0, failed);
	expect_lost(PASS_ARGS, self->victim, IN_BLOCK, SEED);
	expect_released(PASS_ARGS, raw, IN_BLOCK);
}

/* A process that maps the page twice gets one signal. */
TEST_F_TIMEOUT(narrow, mapped_twice, 60)
{
	unsigned long raw = hp_subpage(variant->size, HP_MIDDLE);
	char *at = self->victim + raw * HP_BASE;
	struct hp_mapper mapper;
	struct hp_answer answer;
	struct hp_map again;
	char *elsewhere;
	pid_t told;

	ASSERT_EQ(0, hp_map_again(&self->map, &again));
	elsewhere = again.addr + (self->victim - self->map.addr);
	expect_lost(PASS_ARGS, elsewhere, 0, SEED);
	hp_mapper_self(&mapper, &self->map);
	told = hp_kill_early();

	EXPECT_EQ(0, hp_inject(self->head + raw));
	answer = hp_await_signals(&mapper, 1);
	EXPECT_EQ(told, answer.bus.tid);
	EXPECT_EQ(__builtin_ctzl(HP_BASE), answer.bus.lsb);
	EXPECT_EQ(true, answer.bus.addr == at || answer.bus.addr == elsewhere + raw * HP_BASE);
	expect_lost(PASS_ARGS, self->victim, 1, SEED);
	expect_lost(PASS_ARGS, elsewhere, 1, SEED);
	EXPECT_EQ(1, hp_stamp(elsewhere, variant->size, SEED + 1));
	expect_lost(PASS_ARGS, self->victim, 1, SEED + 1);
	EXPECT_EQ(1, hp_ask(&mapper, HP_OP_SIGNALS, NULL, 0).value);

	hp_unmap(&again);
	expect_released(PASS_ARGS, &raw, 1);
}

/* --- how the healthy parts are mapped ------------------------------------- */

#define FEW	8	/* faults of the test program's own pages */

/* One that had to be taken twice, as the one that narrows, counts as a major one. */
static long faults_so_far(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

/* Touches one raw page in each block, in some all of them. Returns the faults. */
static long faults_of_touching(TEST_ARGS, long lost)
{
	long before = faults_so_far();

	expect_lost(PASS_ARGS, self->victim, lost, SEED);
	return faults_so_far() - before;
}

/* So many blocks of 2 MiB have one entry, and the raw pages none. */
static void expect_mapped(TEST_ARGS, long blocks, long raw)
{
	struct hp_vma vma;

	ASSERT_EQ(0, hp_vma_at(getpid(), self->victim, &vma));
	EXPECT_EQ(self->victim, vma.start);
	EXPECT_EQ(self->victim + variant->size, vma.end);
	EXPECT_EQ(false, hp_vma_flag(&vma, "ht"));
	EXPECT_EQ((long)(HP_BASE >> 10), hp_vma_kb(&vma, "KernelPageSize"));
	EXPECT_EQ((long)(variant->size >> 10) - raw * (long)(HP_BASE >> 10),
		  hp_vma_kb(&vma, "Rss"));
	EXPECT_EQ(blocks * (long)(HP_2M >> 10), hp_vma_kb(&vma, "FilePmdMapped"));
}

/*
 * A healthy block of 2 MiB takes one fault and one entry; so does the block
 * with the error, its pages all at once. Another error costs its own block no
 * more, and the others nothing.
 */
TEST_F_TIMEOUT(narrow, blocks, 60)
{
	unsigned long blocks = variant->size / HP_2M;
	unsigned long raw[] = {
		hp_subpage(variant->size, HP_MIDDLE),
		blocks > 1 ? 7 * IN_BLOCK : 77,
	};
	long faults;

	EXPECT_EQ(0, hp_inject(self->head + raw[0]));
	faults = faults_of_touching(PASS_ARGS, 1);
	EXPECT_GE((long)blocks + FEW, faults);
	EXPECT_LE((long)blocks, faults);
	expect_mapped(PASS_ARGS, blocks - 1, 1);

	EXPECT_EQ(0, hp_inject(self->head + raw[1]));
	faults = faults_of_touching(PASS_ARGS, 2);
	EXPECT_GE(FEW, faults);
	/* the block's first page is the raw one, which maps none of the others */
	EXPECT_EQ(0, hp_touch(self->victim + (raw[1] + 1) * HP_BASE, HP_READ).code);
	expect_mapped(PASS_ARGS, blocks > 1 ? blocks - 2 : 0, 2);

	expect_released(PASS_ARGS, raw, 2);
}

/* The hugepage's range is a mapping of its own. */
static bool is_narrowed(pid_t pid, const char *victim, unsigned long size)
{
	struct hp_vma vma;

	return !hp_vma_at(pid, victim, &vma) && !hp_vma_flag(&vma, "ht") &&
	       vma.start == victim && vma.end == victim + size;
}

/* A mapping that has the hugepage alone, and one that has it at its end. */
TEST_F_TIMEOUT(narrow, part_of_the_file, 60)
{
	unsigned long raw = hp_subpage(variant->size, HP_MIDDLE);
	unsigned long offset = self->victim - self->map.addr;
	unsigned long len[] = { variant->size, offset + variant->size };
	unsigned long from[] = { offset, 0 };
	char *part[2];

	for (int i = 0; i < 2; i++) {
		part[i] = mmap(NULL, len[i], PROT_READ | PROT_WRITE, MAP_SHARED,
			       self->map.fd, from[i]);
		ASSERT_NE(MAP_FAILED, part[i]);
		expect_lost(PASS_ARGS, part[i] + offset - from[i], 0, SEED);
	}
	EXPECT_EQ(0, hp_inject(self->head + raw));
	for (int i = 0; i < 2; i++) {
		char *victim = part[i] + offset - from[i];
		char *at = victim + raw * HP_BASE;

		expect_bus(PASS_ARGS, hp_touch(at + 1, HP_WRITE), at + 1, HP_BASE);
		EXPECT_EQ(1, hp_stamp(victim, variant->size, SEED + i));
		expect_lost(PASS_ARGS, self->victim, 1, SEED + i);
		EXPECT_EQ(true, is_narrowed(getpid(), victim, variant->size));
		munmap(part[i], len[i]);
	}
	expect_released(PASS_ARGS, &raw, 1);
}

/* --- who may only read ------------------------------------------------------ */

static char *map_for_reading(FIXTURE_DATA(narrow) *self)
{
	char path[64], *addr;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->map.fd);
	fd = open(path, O_RDONLY);
	addr = mmap(NULL, self->map.nr * self->map.size, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	return addr == MAP_FAILED ? NULL : addr + (self->victim - self->map.addr);
}

/* Shared, although it can never be written through. */
TEST_F_TIMEOUT(narrow, read_only, 60)
{
	unsigned long raw = hp_subpage(variant->size, HP_MIDDLE);
	char *early = map_for_reading(self), *late, *at;

	ASSERT_NE(NULL, early);
	expect_lost(PASS_ARGS, early, 0, SEED);
	EXPECT_EQ(0, hp_inject(self->head + raw));
	late = map_for_reading(self);
	ASSERT_NE(NULL, late);

	at = early + raw * HP_BASE;
	expect_bus(PASS_ARGS, hp_touch(at, HP_READ), at, HP_BASE);
	expect_lost(PASS_ARGS, early, 1, SEED);
	expect_lost(PASS_ARGS, late, 1, SEED);
	EXPECT_EQ(1, hp_stamp(self->victim, variant->size, SEED + 1));
	expect_lost(PASS_ARGS, early, 1, SEED + 1);
	expect_lost(PASS_ARGS, late, 1, SEED + 1);

	munmap(early - (self->victim - self->map.addr), self->map.nr * variant->size);
	munmap(late - (self->victim - self->map.addr), self->map.nr * variant->size);
	expect_released(PASS_ARGS, &raw, 1);
}

/* --- what cannot be narrowed ------------------------------------------------ */

static int userfault_open(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return ioctl(fd, UFFDIO_API, &api) ? -errno : fd;
}

static int userfault_register(int fd, char *addr, unsigned long len)
{
	struct uffdio_register arg = {
		.range = { .start = (unsigned long)addr, .len = len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	return ioctl(fd, UFFDIO_REGISTER, &arg) ? -errno : 0;
}

static int userfault_unregister(int fd, char *addr, unsigned long len)
{
	struct uffdio_range range = { .start = (unsigned long)addr, .len = len };

	return ioctl(fd, UFFDIO_UNREGISTER, &range) ? -errno : 0;
}

/* Logged by the fault or by the worker, whichever comes first. */
static bool said(struct hp_log *log, const char *phrase)
{
	return hp_log_find(log, "%s", phrase);
}

/* A range that userfaultfd watches loses the hugepage; others lose the raw page. */
TEST_F_TIMEOUT(narrow, userfaultfd, 60)
{
	unsigned long raw = hp_subpage(variant->size, HP_MIDDLE);
	unsigned long len = self->map.nr * variant->size;
	struct hp_map again;
	char *elsewhere;
	int fd;

	ASSERT_EQ(0, hp_map_again(&self->map, &again));
	elsewhere = again.addr + (self->victim - self->map.addr);
	fd = userfault_open();
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, userfault_register(fd, self->map.addr, len));

	EXPECT_EQ(0, hp_inject(self->head + raw));
	expect_bus(PASS_ARGS, hp_touch(self->victim + HP_BASE, HP_READ),
		   self->victim + HP_BASE, variant->size);
	EXPECT_EQ(-EFAULT, hp_syscall_touch(self->victim + HP_BASE, HP_WRITE));
	expect_lost(PASS_ARGS, elsewhere, 1, SEED);
	EXPECT_EQ(true, said(&self->test.log, "userfaultfd"));
	expect_bus(PASS_ARGS, hp_touch(self->victim + raw * HP_BASE, HP_WRITE),
		   self->victim + raw * HP_BASE, variant->size);

	ASSERT_EQ(0, userfault_unregister(fd, self->map.addr, len));
	expect_lost(PASS_ARGS, self->victim, 1, SEED);
	expect_bus(PASS_ARGS, hp_touch(self->victim + raw * HP_BASE, HP_WRITE),
		   self->victim + raw * HP_BASE, HP_BASE);

	close(fd);
	hp_unmap(&again);
	expect_released(PASS_ARGS, &raw, 1);
}

/* --- many who map it --------------------------------------------------------- */

#define CROWD	64

TEST_F_TIMEOUT(narrow, crowd, 120)
{
	unsigned long raw = hp_subpage(variant->size, HP_MIDDLE);
	struct hp_mapper mapper[CROWD];
	int killed = 0;

	for (int i = 0; i < CROWD; i++) {
		ASSERT_EQ(0, hp_mapper_start(&mapper[i], &self->map, i % 2));
		expect_lost_by(PASS_ARGS, &mapper[i], victim_of(&mapper[i], self), 0, SEED);
	}
	EXPECT_EQ(0, hp_inject(self->head + raw));
	for (int i = 0; i < CROWD; i++)
		expect_lost_by(PASS_ARGS, &mapper[i], victim_of(&mapper[i], self), 1, SEED);

	for (int writer = 0; writer < CROWD; writer += CROWD / 2 - 1) {
		char *victim = victim_of(&mapper[writer], self);

		EXPECT_EQ(1, hp_ask(&mapper[writer], HP_OP_STAMP, victim, SEED + writer).value);
		for (int i = 0; i < CROWD; i++)
			expect_lost_by(PASS_ARGS, &mapper[i], victim_of(&mapper[i], self), 1,
				       SEED + writer);
	}
	for (int i = 0; i < CROWD; i++)
		killed += hp_mapper_stop(&mapper[i]) != 0;
	EXPECT_EQ(0, killed);
	expect_lost(PASS_ARGS, self->victim, 1, SEED + 2 * (CROWD / 2 - 1));
	expect_released(PASS_ARGS, &raw, 1);
}

/* --- who never notices -------------------------------------------------------- */

#define BYSTANDERS	3
#define ROUNDS		3	/* of all its pages that each makes after an error */

struct bystanders {
	unsigned long rounds[BYSTANDERS];
	unsigned long wrong[BYSTANDERS];
	bool leave;
};

/* Reads and writes healthy pages on and on; a signal would be its end. */
static void stand_by(struct bystanders *all, int me, char *victim, unsigned long size)
{
	unsigned long step = size == HP_1G ? 4 : 2, value = 0, *word;

	signal(SIGBUS, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!__atomic_load_n(&all->leave, __ATOMIC_SEQ_CST)) {
		/* pages of odd number, and of each a word that is its own */
		for (unsigned long page = 1; page < size / HP_BASE; page += step) {
			word = (unsigned long *)(victim + page * HP_BASE) + 8 + me;
			all->wrong[me] += __atomic_load_n(word, __ATOMIC_RELAXED) != value;
			__atomic_store_n(word, value + 1, __ATOMIC_RELAXED);
		}
		value++;
		__atomic_fetch_add(&all->rounds[me], 1, __ATOMIC_SEQ_CST);
	}
	_exit(EXIT_SUCCESS);
}

static bool rounds_made(struct bystanders *all)
{
	unsigned long from[BYSTANDERS];
	bool made = true;

	memcpy(from, all->rounds, sizeof(from));
	for (int i = 0; i < BYSTANDERS; i++)
		made &= hp_await(__atomic_load_n(&all->rounds[i], __ATOMIC_SEQ_CST) >=
				 from[i] + ROUNDS, "bystander %d has gone round", i);
	return made;
}

TEST_F_TIMEOUT(narrow, bystanders, 120)
{
	unsigned long raw[] = {
		0, hp_subpage(variant->size, HP_TAIL) - 1, variant->size / HP_BASE / 2,
		variant->size / HP_BASE / 2 + 2,
	};
	pid_t pid[BYSTANDERS];
	struct bystanders *all;
	int status;

	all = mmap(NULL, sizeof(*all), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, all);
	fflush(stdout);
	for (int i = 0; i < BYSTANDERS; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i])
			stand_by(all, i, self->victim, variant->size);
	}
	EXPECT_EQ(true, rounds_made(all));
	for (size_t i = 0; i < ARRAY_SIZE(raw); i++) {
		EXPECT_EQ(0, hp_inject(self->head + raw[i]));
		EXPECT_EQ(true, rounds_made(all));
	}
	__atomic_store_n(&all->leave, true, __ATOMIC_SEQ_CST);
	for (int i = 0; i < BYSTANDERS; i++) {
		EXPECT_EQ(pid[i], waitpid(pid[i], &status, 0));
		EXPECT_EQ(0, status);
		EXPECT_EQ(0, all->wrong[i]);
	}
	expect_released(PASS_ARGS, raw, ARRAY_SIZE(raw));
}

/* --- fork ---------------------------------------------------------------------- */

/*
 * Each generation finds what the one before wrote, and writes before its child
 * is born and after it died. Returns how much was wrong.
 */
static int generation(char *victim, unsigned long size, unsigned int seed, int more)
{
	int wrong = 0, status = 0;
	struct hp_sigbus bus;
	long damage;
	pid_t pid;

	wrong += hp_lost(victim, size, seed, &damage) != 1 || damage;
	wrong += hp_stamp(victim, size, seed + 1) != 1;
	bus = hp_touch(victim, HP_WRITE);
	wrong += bus.code != BUS_MCEERR_AR || bus.addr != victim || bus.lsb != 12;
	if (!more)
		return wrong;

	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(generation(victim, size, seed + 1, more - 1));
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		wrong++;
	wrong += hp_lost(victim, size, seed + 2, &damage) != 1 || damage;
	wrong += hp_stamp(victim, size, seed + 1) != 1;
	return wrong;
}

/* A child born now that waits for its turn. */
static pid_t fork_family(int turn[2], char *victim, unsigned long size, unsigned int seed)
{
	char go;
	pid_t pid;

	if (pipe(turn))
		return -errno;
	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	close(turn[1]);
	_exit(read(turn[0], &go, 1) == 1 ? generation(victim, size, seed, 2) : 99);
}

/* Born before the error, after it, and after the parent's mapping was narrowed. */
TEST_F_TIMEOUT(narrow, family, 60)
{
	static const unsigned long raw;
	pid_t pid[3];
	int turn[3][2], status;

	pid[0] = fork_family(turn[0], self->victim, variant->size, SEED);
	EXPECT_EQ(0, hp_inject(self->head + raw));
	pid[1] = fork_family(turn[1], self->victim, variant->size, SEED + 1);
	EXPECT_EQ(0, hp_touch(self->victim + HP_BASE, HP_READ).code);
	pid[2] = fork_family(turn[2], self->victim, variant->size, SEED + 2);
	for (int i = 0; i < 3; i++) {
		ASSERT_LT(0, pid[i]);
		ASSERT_EQ(1, write(turn[i][1], "", 1));
		ASSERT_EQ(pid[i], waitpid(pid[i], &status, 0));
		EXPECT_EQ(0, status) {
			TH_LOG("family %d", i);
		}
		expect_lost(PASS_ARGS, self->victim, 1, SEED + 1 + i);
		close(turn[i][0]);
		close(turn[i][1]);
	}
	expect_released(PASS_ARGS, &raw, 1);
}

TEST_HARNESS_MAIN
