// SPDX-License-Identifier: GPL-2.0-only
/*
 * The costs of hugepages, in instructions, with and without memory errors.
 *
 * For a guest that counts instructions (scripts/vm --icount): there one tick of
 * the time stamp counter is one instruction, of the program and of the kernel.
 * Prints a line for each benchmark: its name, the median and the minimum of
 * the samples, their number; "lost" for data that an error took away.
 * scripts/bench runs it on two kernels and compares.
 *
 * Two runs on one kernel give the same medians, to an instruction or two in
 * 10000. This takes: no address space randomisation; a static program, since a
 * shared library's place in the page cache depends on the boot; real-time
 * priority, so that processes run in one order; freed pages that stay with the
 * CPU, so that their cost does not depend on their neighbours.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/mman.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hp.h"

#define NR_HUGE		32		/* hugepages of the larger mappings */
#define NR_SMALL	4096		/* base pages, likewise */
#define READ_BYTES	(64 << 10)
#define MAX_SAMPLES	128
#define MAX_MAPPERS	256
#define RAW_PAGE	5		/* where errors hit */
#define KPF_THP		HP_KPF(22)
#define LOST		(~0UL)
#define BROKEN		(~0UL - 1)	/* the benchmark itself went wrong */

/* How long the kernel's workers may take after an error, and at the end. */
#define WORKER_US	(200 * 1000)
#define RELEASE_US	(300 * 1000)
#define LATE_US		(400 * 1000)	/* when a process wakes up after an error */

/*
 * Measured piece by piece: the sum of the medians says more than the median of
 * sums, as each piece now and then takes an extra turn.
 */
#define MAX_PHASES	3

static bool quick;
static unsigned long phase[MAX_PHASES];	/* of the current sample */

/* --- counting ---------------------------------------------------------- */

static unsigned long overhead;

static inline unsigned long count(void)
{
	return __builtin_ia32_rdtsc();
}

static unsigned long since(unsigned long begin)
{
	return count() - begin - overhead;
}

/* A loop of known length; the timer's interrupts may only make it longer. */
static unsigned long count_a_loop(long rounds)
{
	unsigned long least = ~0UL, begin, took;

	for (int i = 0; i < 8; i++) {
		long left = rounds;

		begin = count();
		__asm__ volatile("1: dec %0; jnz 1b" : "+r"(left));
		took = count() - begin;
		least = took < least ? took : least;
	}
	return least;
}

/* Whether the counter counts instructions here; also finds its own cost. */
static bool counts_instructions(void)
{
	unsigned long begin, small = count_a_loop(1000), large = count_a_loop(1001000);

	begin = count();
	overhead = count() - begin;
	for (int i = 0; i < 8; i++) {
		unsigned long cost;

		begin = count();
		cost = since(begin);
		overhead += (long)cost < 0 ? (long)cost : 0;
	}
	return large - small == 2000000;
}

static int compare(const void *a, const void *b)
{
	unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;

	return x < y ? -1 : x > y;
}

/* --- mappings ---------------------------------------------------------- */

#define RW	(PROT_READ | PROT_WRITE)

static void die(const char *what)
{
	printf("bench: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static int need_memfd(unsigned int flags, unsigned long len)
{
	int fd = memfd_create("bench", flags | MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, len))
		die("memfd");
	return fd;
}

static char *need_map(unsigned long len, int flags, int fd)
{
	char *addr = mmap(NULL, len, RW, flags, fd, 0);

	if (addr == MAP_FAILED)
		die("mmap");
	return addr;
}

/* At a multiple of 2 MiB, so that transparent hugepages fit. */
static char *need_aligned(unsigned long len, int flags, int fd)
{
	char *room = need_map(len + HP_2M, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	char *at = (char *)(((unsigned long)room + HP_2M - 1) & -HP_2M);

	munmap(room, len + HP_2M);
	if (mmap(at, len, RW, flags | MAP_FIXED, fd, 0) != at)
		die("mmap");
	return at;
}

static void store(char *at)
{
	__atomic_store_n(at, 1, __ATOMIC_RELAXED);
}

static void load(char *at)
{
	__atomic_load_n(at, __ATOMIC_RELAXED);
}

static void touch_all(char *addr, unsigned long len, unsigned long step)
{
	for (unsigned long i = 0; i < len; i += step)
		store(addr + i);
}

/* --- samples: without any error ---------------------------------------- */

#define HUGE_LEN	(NR_HUGE * HP_2M)
#define SMALL_LEN	(NR_SMALL * HP_BASE)

/* Data that the setups prepare and the samples use. */
static int fd;
static char *area;
static unsigned long area_len;

static void setup_file(void)
{
	area_len = HUGE_LEN;
	fd = need_memfd(MFD_HUGETLB | MFD_HUGE_2MB, area_len);
	area = need_map(area_len, MAP_SHARED, fd);
}

static void setup_full_file(void)
{
	setup_file();
	touch_all(area, area_len, HP_2M);
}

static void setup_private(void)
{
	fd = -1;
	area_len = HUGE_LEN;
	area = need_map(area_len, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1);
	touch_all(area, area_len, HP_2M);
}

static void setup_1g(void)
{
	area_len = HP_1G;
	fd = need_memfd(MFD_HUGETLB | MFD_HUGE_1GB, area_len);
	area = need_map(area_len, MAP_SHARED, fd);
	store(area);
}

static void setup_small(void)
{
	fd = -1;
	area_len = SMALL_LEN;
	area = need_map(area_len, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	touch_all(area, area_len, HP_BASE);
}

static void need_thp(bool wanted)
{
	if (!(hp_pageflags(hp_pfn(area)) & KPF_THP) == wanted) {
		printf("bench: got %s transparent hugepage\n", wanted ? "no" : "a");
		exit(EXIT_FAILURE);
	}
}

/* Of base pages, though setup_file_thp() may have run before. */
static void setup_small_file(void)
{
	hp_write("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "never");
	area_len = SMALL_LEN;
	fd = need_memfd(0, area_len);
	area = need_map(area_len, MAP_SHARED, fd);
	touch_all(area, area_len, HP_BASE);
	need_thp(false);
}

static void setup_thp(void)
{
	fd = -1;
	area_len = HUGE_LEN;
	area = need_aligned(area_len, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	madvise(area, area_len, MADV_HUGEPAGE);
	touch_all(area, area_len, HP_2M);
	need_thp(true);
}

static void setup_file_thp(void)
{
	hp_write("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "always");
	area_len = HUGE_LEN;
	fd = need_memfd(0, area_len);
	area = need_aligned(area_len, MAP_SHARED, fd);
	touch_all(area, area_len, HP_2M);
	need_thp(true);
}

static void tear_down(void)
{
	munmap(area, area_len);
	if (fd >= 0)
		close(fd);
}

static unsigned long sample_fault(void)
{
	unsigned long begin = count(), took;

	store(area);
	took = since(begin);
	fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HP_2M);
	return took;
}

/* The first store after the process has let go of so much. */
static unsigned long refault(size_t len)
{
	unsigned long begin;

	madvise(area, len, MADV_DONTNEED);
	begin = count();
	store(area);
	return since(begin);
}

static unsigned long sample_minor_fault(void)
{
	return refault(area_len);
}

static unsigned long sample_private_fault(void)
{
	return refault(HP_2M);
}

static unsigned long sample_cow(void)
{
	char *copy = need_map(HP_2M, MAP_PRIVATE, fd);
	unsigned long begin, took;

	load(copy);
	begin = count();
	store(copy);
	took = since(begin);
	munmap(copy, HP_2M);
	return took;
}

static unsigned long sample_mmap(void)
{
	unsigned long begin = count(), took;
	char *addr = mmap(NULL, area_len, RW, MAP_SHARED, fd, 0);

	took = since(begin);
	if (addr == MAP_FAILED)
		return BROKEN;
	munmap(addr, area_len);
	return took;
}

static unsigned long munmap_mapped(char *addr, unsigned long len, unsigned long step)
{
	unsigned long begin;

	touch_all(addr, len, step);
	begin = count();
	munmap(addr, len);
	return since(begin);
}

static unsigned long sample_munmap(void)
{
	return munmap_mapped(need_map(area_len, MAP_SHARED, fd), area_len, HP_2M);
}

static unsigned long sample_munmap_private(void)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB;

	return munmap_mapped(need_map(8 * HP_2M, flags, -1), 8 * HP_2M, HP_2M);
}

static unsigned long sample_munmap_thp(void)
{
	char *addr = need_aligned(8 * HP_2M, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	madvise(addr, 8 * HP_2M, MADV_HUGEPAGE);
	return munmap_mapped(addr, 8 * HP_2M, HP_2M);
}

static unsigned long sample_munmap_file_thp(void)
{
	return munmap_mapped(need_aligned(area_len, MAP_SHARED, fd), area_len, HP_2M);
}

static unsigned long sample_munmap_small(void)
{
	return munmap_mapped(need_map(SMALL_LEN, MAP_PRIVATE | MAP_ANONYMOUS, -1),
			     SMALL_LEN, HP_BASE);
}

static unsigned long sample_munmap_small_file(void)
{
	return munmap_mapped(need_map(area_len, MAP_SHARED, fd), area_len, HP_BASE);
}

static unsigned long sample_mprotect(void)
{
	unsigned long begin, took;

	touch_all(area, area_len, HP_2M);
	begin = count();
	mprotect(area, area_len, PROT_READ);
	took = since(begin);
	mprotect(area, area_len, RW);
	return took;
}

static unsigned long sample_read(void)
{
	static char to[READ_BYTES];
	unsigned long begin, took;
	ssize_t n;

	begin = count();
	n = pread(fd, to, sizeof(to), 0);
	took = since(begin);
	return n == sizeof(to) ? took : BROKEN;
}

/* When the child of sample_fork() began and ended. */
static struct life {
	unsigned long begin, end;
} *life;

/* The call itself, the way to the child, the child's end until its parent knows. */
static unsigned long sample_fork(void)
{
	unsigned long begin, middle, end;
	pid_t pid;

	begin = count();
	pid = fork();
	if (!pid) {
		life->begin = count();
		life->end = count();
		_exit(EXIT_SUCCESS);
	}
	middle = count();
	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		return BROKEN;
	end = count();
	phase[1] = life->begin - middle - overhead;
	phase[2] = end - life->end - overhead;
	return middle - begin - overhead;
}

/* A fault after madvise() took one base page of an ordinary mapping away. */
static unsigned long sample_small_fault(void)
{
	unsigned long begin;

	madvise(area, HP_BASE, MADV_DONTNEED);
	begin = count();
	store(area);
	return since(begin);
}

/* --- samples: with errors ---------------------------------------------- */

static sigjmp_buf lost_env;

/* Data that is gone, as measured: an answer, not a failure. */
static void on_sigbus(int sig)
{
	(void)sig;
	siglongjmp(lost_env, 1);
}

static unsigned long cost_of_load(char *at)
{
	unsigned long begin;

	if (sigsetjmp(lost_env, 1))
		return LOST;
	begin = count();
	load(at);
	return since(begin);
}

/* A hugepage that gets an error, and the processes that map it. */
static struct {
	int fd, inject;
	char *addr;
	unsigned long size, pfn;
	pid_t pid[MAX_MAPPERS];
	int nr;
	int go[2];		/* a byte for each child that shall measure */
} victim;

/* How the children answer. */
static struct answers {
	int ready;
	unsigned long cost[MAX_MAPPERS];
} *answers;

static int answered(void)
{
	return __atomic_load_n(&answers->ready, __ATOMIC_SEQ_CST);
}

static void answer(int i, unsigned long cost)
{
	answers->cost[i] = cost;
	__atomic_fetch_add(&answers->ready, 1, __ATOMIC_SEQ_CST);
}

/* Never idle: idle time is no instruction, but is counted. */
static void wait_for_answers(int nr)
{
	while (answered() < nr)
		sched_yield();
}

/* Maps the victim, then measures one load from @offset of it when told to. */
static void child(int i, unsigned long offset)
{
	char go;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	load(victim.addr);
	answer(i, 0);
	if (read(victim.go[0], &go, 1) == 1)
		answer(i, cost_of_load(victim.addr + offset));
	for (;;)
		pause();
}

static void add_mappers(int nr, unsigned long offset)
{
	for (int i = 0; i < nr; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (!pid)
			child(victim.nr, offset);
		victim.pid[victim.nr++] = pid;
		wait_for_answers(victim.nr);
	}
}

static void need_victim_of(unsigned long size, unsigned int map_flags)
{
	unsigned int flag = size == HP_1G ? MFD_HUGE_1GB : MFD_HUGE_2MB;

	answers->ready = 0;
	victim.nr = 0;
	victim.size = size;
	victim.fd = need_memfd(MFD_HUGETLB | flag, size);
	victim.addr = need_map(size, map_flags, victim.fd);
	store(victim.addr);
	victim.pfn = hp_pfn(victim.addr) + RAW_PAGE;
	victim.inject = open(HP_DEBUGFS "corrupt-pfn", O_WRONLY | O_CLOEXEC);
	if (victim.inject < 0 || pipe(victim.go))
		die("corrupt-pfn, pipe");
}

static void need_victim(unsigned long size)
{
	need_victim_of(size, MAP_SHARED);
}

/* The error itself: what the write to the injector takes. */
static unsigned long hit(void)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%#lx", victim.pfn);
	unsigned long begin = count(), took;
	ssize_t n = write(victim.inject, text, len);

	took = since(begin);
	return n == len ? took : BROKEN;
}

/* The next sample begins when the kernel has done with this one. */
static void drop_victim(void)
{
	usleep(WORKER_US);
	for (int i = 0; i < victim.nr; i++) {
		kill(victim.pid[i], SIGKILL);
		waitpid(victim.pid[i], NULL, 0);
	}
	close(victim.go[0]);
	close(victim.go[1]);
	close(victim.inject);
	munmap(victim.addr, victim.size);
	close(victim.fd);
	usleep(RELEASE_US);
}

static unsigned long contain(int mappers)
{
	unsigned long took;

	need_victim(HP_2M);
	add_mappers(mappers - 1, 0);
	took = hit();
	drop_victim();
	return took;
}

static unsigned long sample_contain_1(void)
{
	return contain(1);
}

static unsigned long sample_contain_4(void)
{
	return contain(4);
}

static unsigned long sample_contain_16(void)
{
	return contain(16);
}

static unsigned long sample_contain_64(void)
{
	return contain(64);
}

static unsigned long sample_contain_256(void)
{
	return contain(256);
}

/* Mapper after mapper measures its load; the cost of the last one's. */
static unsigned long ask_all(void)
{
	for (int i = 0; i < victim.nr; i++) {
		if (write(victim.go[1], "", 1) != 1)
			return BROKEN;
		wait_for_answers(victim.nr + 1 + i);
	}
	return answers->cost[victim.nr - 1];
}

/* The first load of anybody after an error; it is also who maps the hugepage alone. */
static unsigned long sample_first_touch(void)
{
	unsigned long took;

	need_victim(HP_2M);
	took = hit() == BROKEN ? BROKEN : cost_of_load(victim.addr + HP_2M / 2);
	drop_victim();
	return took;
}

static unsigned long sample_second_touch(void)
{
	unsigned long took;

	need_victim(HP_2M);
	took = hit() == BROKEN ? BROKEN : cost_of_load(victim.addr);
	if (took != BROKEN && took != LOST)
		took = cost_of_load(victim.addr + HP_2M - 1);
	drop_victim();
	return took;
}

static unsigned long sample_next_mapper(void)
{
	unsigned long took;

	need_victim(HP_2M);
	add_mappers(1, HP_2M / 2);
	took = hit() == BROKEN ? BROKEN : cost_of_load(victim.addr);
	if (took != BROKEN)
		took = ask_all();
	drop_victim();
	return took;
}

/* A process that sleeps through the error: the worker narrows for it. */
static unsigned long sample_after_worker(void)
{
	unsigned long took;

	need_victim(HP_2M);
	took = hit();
	usleep(LATE_US);
	if (took != BROKEN)
		took = cost_of_load(victim.addr + HP_2M / 2);
	drop_victim();
	return took;
}

/* Its owner punches the raw page out of a hugepage that it has narrowed. */
static unsigned long punch(void)
{
	unsigned long begin = count(), took;
	int ret = fallocate(victim.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			    RAW_PAGE * HP_BASE, HP_BASE);

	took = since(begin);
	return ret ? BROKEN : took;
}

static unsigned long heal_and_load(bool load)
{
	unsigned long took, loaded;

	need_victim(HP_2M);
	took = hit();
	if (took != BROKEN && cost_of_load(victim.addr + HP_2M / 2) == LOST)
		took = LOST;
	else if (took != BROKEN)
		took = punch();
	if (took < BROKEN) {
		loaded = cost_of_load(victim.addr + RAW_PAGE * HP_BASE);
		took = loaded == LOST || load ? loaded : took;
	}
	drop_victim();
	return took;
}

static unsigned long sample_heal(void)
{
	return heal_and_load(false);
}

static unsigned long sample_healed_touch(void)
{
	return heal_and_load(true);
}

/* A private hugepage, of which its process has touched the healthy part if asked to. */
static unsigned long hit_private(int mappers, bool touch)
{
	unsigned long took;

	need_victim_of(HP_2M, MAP_PRIVATE);
	add_mappers(mappers - 1, HP_2M / 2);
	took = hit();
	if (took != BROKEN && touch)
		took = cost_of_load(victim.addr + HP_2M / 2);
	return took;
}

static unsigned long contain_private(int mappers)
{
	unsigned long took = hit_private(mappers, false);

	drop_victim();
	return took;
}

static unsigned long sample_contain_private_1(void)
{
	return contain_private(1);
}

static unsigned long sample_contain_private_16(void)
{
	return contain_private(16);
}

static unsigned long sample_contain_private_256(void)
{
	return contain_private(256);
}

static unsigned long sample_private_touch(void)
{
	unsigned long took = hit_private(1, true);

	drop_victim();
	return took;
}

static unsigned long sample_private_next(void)
{
	unsigned long took = hit_private(2, true);

	if (took != BROKEN)
		took = ask_all();
	drop_victim();
	return took;
}

/* It discards the raw page, and then the rest of it is copied to a hugepage. */
static unsigned long sample_private_heal(void)
{
	unsigned long took = hit_private(1, true);

	if (took < BROKEN) {
		madvise(victim.addr + RAW_PAGE * HP_BASE, HP_BASE, MADV_DONTNEED);
		took = cost_of_load(victim.addr + RAW_PAGE * HP_BASE);
	}
	drop_victim();
	return took;
}

/*
 * A process fills the raw page again that it has run into: the cost of that, or of the load
 * that follows.
 */
static unsigned long refill(unsigned long size, int flags, bool load)
{
	static char page[HP_BASE];
	unsigned long begin, took;
	ssize_t ret = -1;
	char *raw;
	int own;

	need_victim_of(size, flags);
	own = open("/proc/hugepoison/own", O_RDWR);
	raw = victim.addr + RAW_PAGE * HP_BASE;
	store(page);
	took = hit() == BROKEN ? BROKEN : LOST;
	if (took == LOST && cost_of_load(victim.addr) != LOST && cost_of_load(raw) == LOST) {
		begin = count();
		ret = pwrite(own, page, HP_BASE, (off_t)(unsigned long)raw);
		took = since(begin);
		if (ret != (ssize_t)HP_BASE)
			took = BROKEN;
		else if (load)
			took = cost_of_load(raw);
	}
	close(own);
	drop_victim();
	return took;
}

static unsigned long sample_refill(void)
{
	return refill(HP_2M, MAP_SHARED, false);
}

static unsigned long sample_refilled_load(void)
{
	return refill(HP_2M, MAP_SHARED, true);
}

static unsigned long sample_refill_private(void)
{
	return refill(HP_2M, MAP_PRIVATE, false);
}

static unsigned long sample_refill_1g(void)
{
	return refill(HP_1G, MAP_SHARED, false);
}

static unsigned long sample_refill_private_1g(void)
{
	return refill(HP_1G, MAP_PRIVATE, false);
}

/* It discards a healthy page, and finds that the raw one is still lost. */
static unsigned long sample_private_refault(void)
{
	unsigned long took = hit_private(1, true);

	if (took < BROKEN) {
		madvise(victim.addr + HP_2M / 2, HP_BASE, MADV_DONTNEED);
		took = cost_of_load(victim.addr + HP_2M / 2);
	}
	drop_victim();
	return took;
}

static unsigned long sample_new_mapping(void)
{
	unsigned long took;
	char *addr;

	need_victim(HP_2M);
	took = hit();
	addr = need_map(HP_2M, MAP_SHARED, victim.fd);
	if (took != BROKEN)
		took = cost_of_load(addr + HP_2M / 2);
	munmap(addr, HP_2M);
	drop_victim();
	return took;
}

/* One error in a 1 GiB page, and what its mappers find: in order. */
static unsigned long touch_1g(int mappers, unsigned long offset)
{
	unsigned long took;

	need_victim(HP_1G);
	add_mappers(mappers, offset);
	took = hit() == BROKEN ? BROKEN : ask_all();
	drop_victim();
	return took;
}

static unsigned long sample_1g_bad_block(void)
{
	return touch_1g(1, 0);
}

static unsigned long sample_1g_healthy_block(void)
{
	return touch_1g(1, HP_1G / 2);
}

static unsigned long sample_1g_next_mapper(void)
{
	return touch_1g(2, HP_1G / 2);
}

/* A private one, in the 2 MiB with the error. */
static unsigned long sample_1g_private(void)
{
	unsigned long took;

	need_victim_of(HP_1G, MAP_PRIVATE);
	took = hit() == BROKEN ? BROKEN : cost_of_load(victim.addr);
	drop_victim();
	return took;
}

static bool over;
static unsigned long longest;		/* that the thread waited */

/* Of a higher priority: it waits for mmap_lock alone, each time for another moment. */
static void *wait_for_lock(void *arg)
{
	const struct sched_param param = { .sched_priority = 11 };
	const struct timespec between = { .tv_nsec = 173 * 1000 };
	unsigned long begin, took;

	if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &param))
		die("pthread_setschedparam");
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		begin = count();
		munmap(need_map(HP_BASE, MAP_PRIVATE | MAP_ANONYMOUS, -1), HP_BASE);
		took = since(begin);
		longest = took > longest ? took : longest;
		nanosleep(&between, NULL);
	}
	return arg;
}

/* A private GiB becomes a hugepage again, and another thread maps meanwhile. */
static unsigned long sample_1g_wait(void)
{
	unsigned long took;
	pthread_t thread;

	need_victim_of(HP_1G, MAP_PRIVATE);
	took = hit() == BROKEN ? BROKEN : cost_of_load(victim.addr);
	if (took < BROKEN) {
		over = false;
		longest = 0;
		if (pthread_create(&thread, NULL, wait_for_lock, NULL))
			die("pthread_create");
		/* lets the thread run, which raises its priority */
		usleep(WORKER_US);
		madvise(victim.addr + RAW_PAGE * HP_BASE, HP_BASE, MADV_DONTNEED);
		took = cost_of_load(victim.addr + RAW_PAGE * HP_BASE);
		__atomic_store_n(&over, true, __ATOMIC_RELEASE);
		pthread_join(thread, NULL);
		/* copying a byte takes an instruction */
		took = took < HP_1G ? BROKEN : longest;
	}
	drop_victim();
	return took;
}

/*
 * Some things happen once: the first error turns on what later ones find. And
 * what the log says is written to the console, which costs more than all else.
 */
static void setup_errors(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	hp_write("/proc/sys/kernel/printk", "1");
	answers = (void *)need_map(sizeof(*answers), MAP_SHARED | MAP_ANONYMOUS, -1);
	signal(SIGBUS, on_sigbus);
	contain(2);
}

static void no_tear_down(void)
{
}

/* --- samples: an error elsewhere ---------------------------------------- */

/*
 * Another process has an error in a hugepage, and has touched it since. Then
 * measure processes without hugepages again.
 */
static void with_an_error(void (*setup)(void))
{
	static bool there;

	setup_errors();
	if (!there) {
		need_victim(HP_2M);
		add_mappers(1, 0);
		if (hit() == BROKEN || ask_all() == BROKEN)
			die("error");
		there = true;
	}
	setup();
}

static void setup_full_file_after(void)
{
	with_an_error(setup_full_file);
}

static void setup_small_after(void)
{
	with_an_error(setup_small);
}

static void setup_small_file_after(void)
{
	with_an_error(setup_small_file);
}

static void setup_thp_after(void)
{
	with_an_error(setup_thp);
}

static void setup_file_thp_after(void)
{
	with_an_error(setup_file_thp);
}

/* A base page of an ordinary mapping, not at a hugepage's boundary. */
static unsigned long sample_madvise(void)
{
	unsigned long begin;

	store(area + HP_BASE);
	begin = count();
	madvise(area + HP_BASE, HP_BASE, MADV_DONTNEED);
	return since(begin);
}

/* --- the list ---------------------------------------------------------- */

/* Those without errors come first: an error leaves its marks on the kernel. */
static const struct bench {
	const char *name;
	unsigned int samples, quick;	/* none with --quick: left out */
	void (*setup)(void);
	unsigned long (*sample)(void);
	void (*tear_down)(void);
} benches[] = {
	{ "fault",		41, 21,	setup_file, sample_fault, tear_down },
	{ "minor_fault",	101, 101, setup_full_file, sample_minor_fault, tear_down },
	{ "private_fault",	41, 21,	setup_private, sample_private_fault, tear_down },
	{ "cow",		41, 21,	setup_full_file, sample_cow, tear_down },
	{ "mmap",		101, 101, setup_file, sample_mmap, tear_down },
	{ "munmap",		101, 101, setup_full_file, sample_munmap, tear_down },
	{ "munmap_private",	21, 11,	setup_private, sample_munmap_private, tear_down },
	{ "mprotect",		101, 101, setup_full_file, sample_mprotect, tear_down },
	{ "read",		101, 101, setup_full_file, sample_read, tear_down },
	{ "fork",		101, 51, setup_full_file, sample_fork, tear_down },
	{ "fork_private",	101, 51, setup_private, sample_fork, tear_down },
	{ "minor_fault_1g",	101, 0,	setup_1g, sample_minor_fault, tear_down },
	{ "thp_fault",		41, 21,	setup_thp, sample_private_fault, tear_down },
	{ "thp_munmap",		21, 11,	setup_thp, sample_munmap_thp, tear_down },
	{ "thp_fork",		101, 51, setup_thp, sample_fork, tear_down },
	{ "file_thp_fault",	101, 101, setup_file_thp, sample_minor_fault, tear_down },
	{ "file_thp_munmap",	101, 51, setup_file_thp, sample_munmap_file_thp, tear_down },
	{ "small_fault",	101, 101, setup_small, sample_small_fault, tear_down },
	{ "small_file_fault",	101, 101, setup_small_file, sample_minor_fault, tear_down },
	{ "small_munmap",	41, 21,	setup_small, sample_munmap_small, tear_down },
	{ "small_file_munmap",	41, 21,	setup_small_file, sample_munmap_small_file, tear_down },
	{ "small_fork",		41, 21,	setup_small, sample_fork, tear_down },
	{ "madvise",		101, 101, setup_small, sample_madvise, tear_down },

	{ "contain_1",		9, 9,	setup_errors, sample_contain_1, no_tear_down },
	{ "contain_4",		5, 0,	setup_errors, sample_contain_4, no_tear_down },
	{ "contain_16",		5, 3,	setup_errors, sample_contain_16, no_tear_down },
	{ "contain_64",		5, 0,	setup_errors, sample_contain_64, no_tear_down },
	{ "contain_256",	3, 3,	setup_errors, sample_contain_256, no_tear_down },
	{ "contain_private_1",	5, 3,	setup_errors, sample_contain_private_1, no_tear_down },
	{ "contain_private_16",	5, 3,	setup_errors, sample_contain_private_16, no_tear_down },
	{ "private_touch",	5, 3,	setup_errors, sample_private_touch, no_tear_down },
	{ "private_next",	5, 3,	setup_errors, sample_private_next, no_tear_down },
	{ "contain_private_256", 3, 3,	setup_errors, sample_contain_private_256, no_tear_down },
	{ "private_heal",	5, 3,	setup_errors, sample_private_heal, no_tear_down },
	{ "private_refault",	5, 3,	setup_errors, sample_private_refault, no_tear_down },
	{ "first_touch",	5, 3,	setup_errors, sample_first_touch, no_tear_down },
	{ "second_touch",	3, 3,	setup_errors, sample_second_touch, no_tear_down },
	{ "next_mapper",	5, 3,	setup_errors, sample_next_mapper, no_tear_down },
	{ "new_mapping",	5, 3,	setup_errors, sample_new_mapping, no_tear_down },
	{ "after_worker",	3, 3,	setup_errors, sample_after_worker, no_tear_down },
	{ "heal",		5, 3,	setup_errors, sample_heal, no_tear_down },
	{ "healed_touch",	5, 3,	setup_errors, sample_healed_touch, no_tear_down },
	{ "refill",		5, 3,	setup_errors, sample_refill, no_tear_down },
	{ "refilled_load",	5, 3,	setup_errors, sample_refilled_load, no_tear_down },
	{ "refill_private",	5, 3,	setup_errors, sample_refill_private, no_tear_down },
	{ "1g_refill",		1, 0,	setup_errors, sample_refill_1g, no_tear_down },
	{ "1g_refill_private",	1, 0,	setup_errors, sample_refill_private_1g, no_tear_down },
	{ "1g_bad_block",	1, 0,	setup_errors, sample_1g_bad_block, no_tear_down },
	{ "1g_healthy_block",	1, 0,	setup_errors, sample_1g_healthy_block, no_tear_down },
	{ "1g_next_mapper",	1, 0,	setup_errors, sample_1g_next_mapper, no_tear_down },
	{ "1g_private",		1, 0,	setup_errors, sample_1g_private, no_tear_down },
	{ "1g_wait",		1, 0,	setup_errors, sample_1g_wait, no_tear_down },

	{ "after_minor_fault",	101, 101, setup_full_file_after, sample_minor_fault, tear_down },
	{ "after_madvise",	101, 101, setup_small_after, sample_madvise, tear_down },
	{ "after_small_fault",	101, 101, setup_small_after, sample_small_fault, tear_down },
	{ "after_small_munmap",	41, 21,	setup_small_after, sample_munmap_small, tear_down },
	{ "after_small_fork",	41, 21,	setup_small_after, sample_fork, tear_down },
	{ "after_file_fault",	101, 101, setup_small_file_after, sample_minor_fault, tear_down },
	{ "after_file_munmap",	41, 21,	setup_small_file_after, sample_munmap_small_file,
	  tear_down },
	{ "after_thp_fault",	41, 21,	setup_thp_after, sample_private_fault, tear_down },
	{ "after_thp_munmap",	21, 11,	setup_thp_after, sample_munmap_thp, tear_down },
	{ "after_thp_fork",	101, 51, setup_thp_after, sample_fork, tear_down },
	{ "after_file_thp",	101, 101, setup_file_thp_after, sample_minor_fault, tear_down },
	{ "after_file_thp_unmap", 101, 51, setup_file_thp_after, sample_munmap_file_thp,
	  tear_down },
};

static void print_cost(unsigned long cost)
{
	if (cost == LOST)
		printf(" lost");
	else if (cost == BROKEN)
		printf(" broken");
	else
		printf(" %lu", cost);
}

static unsigned long samples[MAX_PHASES][MAX_SAMPLES];

static void take_sample(const struct bench *bench, unsigned int i)
{
	memset(phase, 0, sizeof(phase));
	samples[0][i] = bench->sample();
	for (int p = 1; p < MAX_PHASES; p++)
		samples[p][i] = phase[p];
}

/* The sum over the phases of the sample with rank @i; one that has no number has no sum. */
static unsigned long ranked(unsigned int i)
{
	unsigned long sum = samples[0][i];

	if (sum == LOST || sum == BROKEN)
		return sum;
	for (int p = 1; p < MAX_PHASES; p++)
		sum += samples[p][i];
	return sum;
}

/* A first sample warms up and does not count; errors have setup_errors() for that. */
static void run(const struct bench *bench)
{
	unsigned int nr = quick ? bench->quick : bench->samples;

	if (!nr)
		return;
	bench->setup();
	if (bench->setup != setup_errors)
		take_sample(bench, 0);
	for (unsigned int i = 0; i < nr; i++)
		take_sample(bench, i);
	bench->tear_down();

	for (int p = 0; p < MAX_PHASES; p++)
		qsort(samples[p], nr, sizeof(samples[p][0]), compare);
	printf("%s", bench->name);
	print_cost(ranked(nr / 2));
	print_cost(ranked(0));
	printf(" %u\n", nr);
	fflush(stdout);
}

static bool wanted(const char *name, char **names)
{
	if (!*names)
		return true;
	for (; *names; names++)
		if (!strcmp(*names, name))
			return true;
	return false;
}

/* Where the program lies in memory shall not differ from run to run. */
static void stay_in_place(char **argv)
{
	int now = personality(0xffffffff);

	if (now & ADDR_NO_RANDOMIZE)
		return;
	personality(now | ADDR_NO_RANDOMIZE);
	execv("/proc/self/exe", argv);
	die("exec");
}

/* The rest of what makes two runs the same, see above. */
static void keep_noise_out(void)
{
	struct sched_param param = { .sched_priority = 10 };

	if (sched_setscheduler(0, SCHED_FIFO, &param))
		die("sched_setscheduler");
	if (hp_write("/proc/sys/vm/percpu_pagelist_high_fraction", "8"))
		die("percpu_pagelist_high_fraction");
	life = (void *)need_map(sizeof(*life), MAP_SHARED | MAP_ANONYMOUS, -1);
	life->begin = 0;
}

int main(int argc, char **argv)
{
	char **names = argv + 1;

	if (argc > 1 && !strcmp(argv[1], "--help")) {
		printf("usage: bench [--quick] [NAME...], in a guest of scripts/vm --icount\n");
		return EXIT_SUCCESS;
	}
	stay_in_place(argv);
	if (*names && !strcmp(*names, "--quick")) {
		quick = true;
		names++;
	}
	if (!counts_instructions()) {
		printf("bench: no counter of instructions: run me in scripts/vm --icount\n");
		return EXIT_FAILURE;
	}
	keep_noise_out();
	for (size_t i = 0; i < ARRAY_SIZE(benches); i++)
		if (wanted(benches[i].name, names))
			run(&benches[i]);
	return EXIT_SUCCESS;
}
