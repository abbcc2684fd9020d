// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long hostile processes can delay the handling of an error, and how much
 * they can allocate beyond their limits.
 *
 *   hostile [--processes N] [--errors N] [--list] [KIND...]
 *
 * Of each kind (hostile_kinds.c) N processes run as nobody, in a cgroup with
 * limits. The test reports errors in another process's memory while they sleep,
 * and again while they attack; half of the errors come right after one in their
 * memory. The time is from the report until another process that touches the raw
 * page gets SIGBUS. The reporter and that other process have real-time priority:
 * so the test measures locks, not CPU time. For use by scripts/hostile, whose
 * guest counts instructions, so that time is the same on each host.
 *
 * Prints a line for each figure, with tabs between its words:
 *
 *   row    KIND  WHOSE  PROCESSES  IDLE  IDLE_WORST  MEDIAN  WORST  ERRORS
 *   alloc  KIND  WHAT   PEAK       LIMIT
 *   wrong  KIND  WHY
 *   hung   KIND  WHY
 *
 * Times are in microseconds; WHOSE is "other", "theirs" (an error of theirs came
 * first) or "worker" (until the narrow worker has made a healthy page readable
 * for somebody who cannot fault). Allocations are in kB, but for hugepages.
 *
 * exit status: 0 if all was measured, 1 if something went wrong, 2 for wrong
 * usage, 3 if a kind hung: the guest is of no use any more
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hostile.h"

#define CGROUPS		"/sys/fs/cgroup"
#define CGROUP		CGROUPS "/hostile"
#define NOBODY		65534

/* Limits of the hostile processes. */
#define MEMORY_KB(n)	(131072L + 256L * (n))
#define HUGEPAGES	8
#define PIDS(n)		(2 * (n) + 16)

#define MAX_ERRORS	64
#define PAUSE_US	7000	/* between two errors, and a little more each time */
#define BEGIN_SECONDS	20	/* until each has begun its attack */
#define ATTACK_SECONDS	8	/* for all errors under attack */
#define WORKER_SECONDS	5	/* how long the narrow worker is waited for */
#define HUNG_SECONDS	60	/* no error takes as long, were it ever so slow */
#define END_SECONDS	20	/* until all are gone after SIGKILL */

#define PRIO_REPORT	50
#define PRIO_BAIT	60	/* its error comes first */
#define PRIO_VICTIM	40

static unsigned int nr_processes = 1000, nr_errors = 16;
static const struct kind *kind;
static struct hostile hostile;
static unsigned long their_pfn[NR_THEIRS];

/* --- time, priority, and what goes wrong ------------------------------------ */

static unsigned long now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000UL + now.tv_nsec / 1000;
}

static void beat(void)
{
	__atomic_store_n(&hostile.board->beat, now_us(), __ATOMIC_RELAXED);
}

/* Children are ordinary processes again. */
static void set_priority(pid_t pid, int priority)
{
	struct sched_param param = { .sched_priority = priority };

	if (sched_setscheduler(pid, SCHED_FIFO | SCHED_RESET_ON_FORK, &param))
		printf("# no real-time priority: %s\n", strerror(errno));
}

static void die(const char *what, int err)
{
	printf("wrong\t%s\t%s: %s\n", kind ? kind->name : "-", what, strerror(err));
	exit(EXIT_FAILURE);
}

static void need(const char *what, int ret)
{
	if (ret < 0)
		die(what, -ret);
}

static void set_stage(enum stage stage)
{
	__atomic_store_n(&hostile.board->stage, stage, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &hostile.board->stage, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static enum stage get_stage(void)
{
	return __atomic_load_n(&hostile.board->stage, __ATOMIC_SEQ_CST);
}

static void await_stage(enum stage stage)
{
	enum stage is;

	while ((is = get_stage()) < stage)
		syscall(SYS_futex, &hostile.board->stage, FUTEX_WAIT, is, NULL, NULL, 0);
}

/* --- the hostile processes ----------------------------------------------------- */

static void make_cgroup(void)
{
	hp_write(CGROUPS "/cgroup.subtree_control", "+memory +pids +hugetlb");
	if (mkdir(CGROUP, 0755) && errno != EEXIST)
		die(CGROUP, errno);
	need("memory.max", hp_write(CGROUP "/memory.max", "%ldK", MEMORY_KB(nr_processes)));
	need("hugetlb.2MB.max", hp_write(CGROUP "/hugetlb.2MB.max", "%lu", HUGEPAGES * HP_2M));
	need("pids.max", hp_write(CGROUP "/pids.max", "%u", PIDS(nr_processes)));
}

static void become_nobody(void)
{
	need("cgroup.procs", hp_write(CGROUP "/cgroup.procs", "0"));
	if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY))
		die("setresuid", errno);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void fail_as_leader(const char *what, int ret)
{
	printf("# %s: %s: %s\n", kind->name, what, strerror(-ret));
	fflush(stdout);
	set_stage(STAGE_FAILED);
	_exit(EXIT_FAILURE);
}

/* All have begun before one of them does its second round. */
static void be_hostile(unsigned int i)
{
	struct board *board = hostile.board;
	int ret = kind->begin ? kind->begin(&hostile, i) : 0;

	if (ret)
		fail_as_leader("begin", ret);
	__atomic_fetch_add(&board->ready, 1, __ATOMIC_SEQ_CST);
	await_stage(STAGE_ATTACK);
	for (unsigned long round = 0;; round++) {
		__atomic_store_n(&board->rounds[i], round + 1, __ATOMIC_RELAXED);
		kind->attack(&hostile, i, round);
		if (!round)
			sched_yield();
	}
}

/* The first toucher is charged. */
static void touch_theirs(void)
{
	struct hp_map *map = &hostile.theirs;

	map->addr = mmap(NULL, NR_THEIRS * HP_2M, PROT_READ | PROT_WRITE, MAP_SHARED, map->fd, 0);
	if (map->addr == MAP_FAILED)
		fail_as_leader("mmap", -errno);
	for (unsigned int i = 0; i < NR_THEIRS; i++)
		map->addr[i * HP_2M] = 1;
}

static void lead(void)
{
	int ret;

	become_nobody();
	touch_theirs();
	ret = kind->prepare ? kind->prepare(&hostile) : 0;
	if (ret)
		fail_as_leader("prepare", ret);
	set_stage(STAGE_PREPARED);
	await_stage(STAGE_POISONED);
	for (unsigned int i = 0; i < nr_processes; i++) {
		pid_t pid = fork();

		if (pid < 0)
			fail_as_leader("fork", -errno);
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			be_hostile(i);
		}
	}
	for (;;)
		pause();
}

/* An error in each of their hugepages; where they are is known by a mapping. */
static void poison_theirs(void)
{
	char *addr = mmap(NULL, NR_THEIRS * HP_2M, PROT_READ | PROT_WRITE, MAP_SHARED,
			  hostile.theirs.fd, 0);

	for (unsigned int i = 0; i < NR_THEIRS; i++) {
		__atomic_load_n(addr + i * HP_2M, __ATOMIC_RELAXED);
		their_pfn[i] = hp_pfn(addr + i * HP_2M);
	}
	munmap(addr, NR_THEIRS * HP_2M);
	for (unsigned int i = 0; i < NR_THEIRS; i++)
		need("an error of theirs", hp_inject(their_pfn[i] + RAW_PAGE));
}

static void start_hostile(void)
{
	pid_t leader;

	hostile.theirs = (struct hp_map) { .size = HP_2M, .nr = NR_THEIRS };
	hostile.theirs.fd = memfd_create("theirs", MFD_HUGETLB);
	if (hostile.theirs.fd < 0 || ftruncate(hostile.theirs.fd, NR_THEIRS * HP_2M))
		die("memfd", errno);
	fflush(stdout);
	leader = fork();
	if (!leader)
		lead();
	need("fork", leader);
	await_stage(STAGE_PREPARED);
	if (get_stage() == STAGE_FAILED)
		die("not prepared", EINVAL);
	poison_theirs();
	set_stage(STAGE_POISONED);
	while (__atomic_load_n(&hostile.board->ready, __ATOMIC_SEQ_CST) < nr_processes) {
		if (get_stage() == STAGE_FAILED)
			die("not begun", EINVAL);
		usleep(10 * 1000);
	}
	beat();
}

static unsigned int count_idle(void)
{
	unsigned int idle = 0;

	for (unsigned int i = 0; i < nr_processes; i++)
		idle += !__atomic_load_n(&hostile.board->rounds[i], __ATOMIC_RELAXED);
	return idle;
}

static void attack(void)
{
	unsigned long end = now_us() + BEGIN_SECONDS * 1000000UL;

	set_stage(STAGE_ATTACK);
	while (count_idle() && now_us() < end)
		usleep(PAUSE_US);
	if (count_idle())
		printf("# %s: %u processes have not begun after %d s\n", kind->name,
		       count_idle(), BEGIN_SECONDS);
	beat();
}

/* Returns whether all are gone. */
static bool end_hostile(void)
{
	char text[128] = "";

	hp_write(CGROUP "/cgroup.kill", "1");
	for (int ms = 0; ms < END_SECONDS * 1000; ms += 20) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (hp_read_text(CGROUP "/cgroup.events", text, sizeof(text)) > 0 &&
		    strstr(text, "populated 0"))
			break;
		usleep(20 * 1000);
	}
	close(hostile.theirs.fd);
	return strstr(text, "populated 0");
}

/* --- errors, and who sees them --------------------------------------------------- */

/* Another process's memory: one process touches it, one never does. */
struct victims {
	struct hp_map map;
	struct hp_mapper toucher;
	struct hp_mapper bystander;
	char *there;		/* the bystander's mapping */
	int mem;		/* of the bystander */
	unsigned int used;	/* hugepages that have an error */
};

static sem_t bait_wanted, bait_done;
static unsigned int bait;

/* Reports errors in their memory. */
static void *report_bait(void *arg)
{
	(void)arg;
	for (;;) {
		sem_wait(&bait_wanted);
		hp_inject(their_pfn[bait % NR_THEIRS] + 64 + bait / NR_THEIRS);
		bait++;
		sem_post(&bait_done);
	}
	return NULL;
}

static void start_bait(void)
{
	pthread_attr_t attr;
	struct sched_param param = { .sched_priority = PRIO_BAIT };
	pthread_t thread;

	sem_init(&bait_wanted, 0, 0);
	sem_init(&bait_done, 0, 0);
	pthread_attr_init(&attr);
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
	pthread_attr_setschedparam(&attr, &param);
	need("thread", -pthread_create(&thread, &attr, report_bait, NULL));
}

static void start_victims(struct victims *v)
{
	char path[64], *toucher;

	hp_catch_sigbus();
	need("victims", hp_map(&v->map, HP_MEMFD, HP_2M, 4 * nr_errors + 1));
	for (unsigned long i = 0; i < v->map.nr; i++)
		v->map.addr[i * HP_2M] = 1;
	need("toucher", hp_mapper_start(&v->toucher, &v->map, true));
	need("bystander", hp_mapper_start(&v->bystander, &v->map, true));
	/* the hostile processes have nothing to do with this file: its locks are not theirs */
	if (madvise(v->map.addr, v->map.nr * HP_2M, MADV_DONTFORK))
		die("madvise", errno);
	set_priority(v->toucher.pid, PRIO_VICTIM);
	toucher = (char *)hp_ask(&v->toucher, HP_OP_ADDR, NULL, 0).value;
	for (unsigned long i = 0; i < v->map.nr; i++)
		hp_ask(&v->toucher, HP_OP_READ, toucher + i * HP_2M, 0);
	v->there = (char *)hp_ask(&v->bystander, HP_OP_ADDR, NULL, 0).value;
	snprintf(path, sizeof(path), "/proc/%d/mem", v->bystander.pid);
	v->mem = open(path, O_RDONLY | O_CLOEXEC);
	if (v->mem < 0)
		die(path, errno);
}

static void end_victims(struct victims *v)
{
	close(v->mem);
	hp_mapper_stop(&v->toucher);
	hp_mapper_stop(&v->bystander);
	hp_map_free(&v->map);
}

/* Samples of one figure, in microseconds. */
struct samples {
	unsigned long us[MAX_ERRORS];
	unsigned int nr;
};

static int compare(const void *a, const void *b)
{
	unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;

	return x < y ? -1 : x > y;
}

static unsigned long median(struct samples *s)
{
	qsort(s->us, s->nr, sizeof(s->us[0]), compare);
	return s->us[s->nr / 2];
}

static unsigned long worst(struct samples *s)
{
	qsort(s->us, s->nr, sizeof(s->us[0]), compare);
	return s->us[s->nr - 1];
}

static void add_sample(struct samples *s, unsigned long begin)
{
	if (s->nr < MAX_ERRORS)
		s->us[s->nr++] = now_us() - begin;
	beat();
}

/* Out of reach, and nothing but the raw page. Returns how much is not so. */
static int check_victim(struct victims *v, char *there)
{
	char *raw = there + RAW_PAGE * HP_BASE;
	struct hp_sigbus bus = hp_ask(&v->toucher, HP_OP_READ, raw, 0).bus;

	if (bus.code == 4 && bus.lsb == 12)	/* BUS_MCEERR_AR */
		return 0;
	printf("# %s: the raw page: si_code %d, lsb %d\n", kind->name, bus.code, bus.lsb);
	return 1;
}

/*
 * Waits until root can read a healthy page of a process that does not touch it.
 */
static void await_worker(struct victims *v, off_t at, unsigned long begin, struct samples *s)
{
	unsigned long end = begin + WORKER_SECONDS * 1000000UL;
	char byte;

	while (pread(v->mem, &byte, 1, at) != 1 && now_us() < end)
		usleep(1000);
	add_sample(s, begin);
}

struct figures {
	struct samples other, theirs, worker;
};

/* One error in a hugepage of its own. Returns how much went wrong. */
static int report_error(struct victims *v, bool with_bait, struct figures *f)
{
	unsigned long at = v->used++ * HP_2M, begin;
	char *there = (char *)hp_ask(&v->toucher, HP_OP_ADDR, NULL, 0).value + at;
	unsigned long pfn = hp_pfn(v->map.addr + at) + RAW_PAGE;
	int ret, wrong;

	begin = now_us();
	if (with_bait)
		sem_post(&bait_wanted);
	ret = hp_inject(pfn);
	wrong = check_victim(v, there);
	add_sample(with_bait ? &f->theirs : &f->other, begin);
	if (ret)
		printf("# %s: the error was not contained: %s\n", kind->name, strerror(-ret));
	if (with_bait)
		sem_wait(&bait_done);
	if (kind->worker && !with_bait)
		await_worker(v, (off_t)(unsigned long)v->there + at, begin, &f->worker);
	return wrong + !!ret;
}

static int report_errors(struct victims *v, struct figures *f)
{
	unsigned long end = now_us() + ATTACK_SECONDS * 1000000UL;
	int wrong = 0;

	for (unsigned int i = 0; i < 2 * nr_errors && (i < 4 || now_us() < end); i++) {
		usleep(PAUSE_US + i * 97);
		wrong += report_error(v, i & 1, f);
	}
	return wrong;
}

static void print_row(const char *whose, struct samples *idle, struct samples *attacked)
{
	if (!idle->nr || !attacked->nr)
		return;
	printf("row\t%s\t%s\t%u\t%lu\t%lu\t%lu\t%lu\t%u\n", kind->name, whose, nr_processes,
	       median(idle), worst(idle), median(attacked), worst(attacked), attacked->nr);
}

/* --- what is allocated --------------------------------------------------------------- */

struct memory {
	long hugepages;		/* of the pool, surplus ones as well */
	long free_kb;		/* without those of the pool */
	long charged_kb;
	long huge_charged_kb;
};

static void read_memory(struct memory *m)
{
	m->hugepages = hp_read_long("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
	m->free_kb = hp_meminfo_kb("MemFree");
	m->charged_kb = hp_read_long(CGROUP "/memory.current") / 1024;
	m->huge_charged_kb = hp_read_long(CGROUP "/hugetlb.2MB.current") / 1024;
}

/* The most that was seen, against what was before. */
struct peaks {
	struct memory before;
	long hugepages, huge_charged_kb, charged_kb, nobodys_kb, left_kb;
};

static void raise_to(long *peak, long value)
{
	if (value > *peak)
		*peak = value;
}

static long grown_kb(struct peaks *p, struct memory *is)
{
	return p->before.free_kb - is->free_kb - (is->hugepages - p->before.hugepages) * 2048;
}

static void look_at_memory(struct peaks *p)
{
	struct memory is;

	read_memory(&is);
	raise_to(&p->hugepages, is.hugepages - p->before.hugepages);
	raise_to(&p->huge_charged_kb, is.huge_charged_kb);
	raise_to(&p->charged_kb, is.charged_kb);
	raise_to(&p->nobodys_kb, grown_kb(p, &is) - is.charged_kb);
}

/* Samples it while others run. */
static void *watch_memory(void *arg)
{
	struct peaks *p = arg;

	for (;;) {
		look_at_memory(p);
		usleep(3 * PAUSE_US);
	}
	return NULL;
}

static void print_alloc(const char *what, long peak, long limit)
{
	printf("alloc\t%s\t%s\t%ld\t%ld\n", kind->name, what, peak, limit);
}

/* A hugepage is in the pool twice while a fresh one takes the place of a bad one. */
#define SPARE_HUGEPAGES	4
/* Of a process, the kernel has some that no cgroup is charged for. */
#define NOBODYS_KB(n)	(16384L + 16L * (n))
#define LEFT_KB		16384L

static void print_allocs(struct peaks *p)
{
	print_alloc("hugepages beyond the pool", p->hugepages, SPARE_HUGEPAGES);
	print_alloc("hugetlb.2MB.current", p->huge_charged_kb, HUGEPAGES * 2048);
	print_alloc("memory.current", p->charged_kb, MEMORY_KB(nr_processes));
	print_alloc("charged to nobody", p->nobodys_kb, NOBODYS_KB(nr_processes));
	print_alloc("left behind", p->left_kb, LEFT_KB);
}

/* --- one kind -------------------------------------------------------------------------- */

static void end_as_hung(const char *why)
{
	printf("hung\t%s\t%s\n", kind->name, why);
	fflush(stdout);
	_exit(3);
}

/* Hugepages taken by errors come back when nobody has them. */
static void clean_up(struct peaks *p)
{
	struct memory is;

	hp_undo(0);
	rmdir(CGROUP);
	hp_write("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "%ld",
		 p->before.hugepages);
	for (int ms = 0; ms < 3000; ms += 100) {
		read_memory(&is);
		p->left_kb = grown_kb(p, &is);
		if (p->left_kb < LEFT_KB)
			break;
		usleep(100 * 1000);
	}
}

static int measure(void)
{
	struct figures idle = { }, attacked = { };
	struct victims victims = { };
	struct peaks peaks = { };
	pthread_t watcher;
	int wrong;

	set_priority(0, PRIO_REPORT);
	make_cgroup();
	read_memory(&peaks.before);
	start_victims(&victims);
	start_hostile();
	start_bait();
	/* after the first one all is warm */
	report_error(&victims, false, &(struct figures) { });
	wrong = report_errors(&victims, &idle);
	need("thread", -pthread_create(&watcher, NULL, watch_memory, &peaks));
	attack();
	wrong += report_errors(&victims, &attacked);
	pthread_cancel(watcher);
	pthread_join(watcher, NULL);
	wrong += count_idle();
	print_row("other", &idle.other, &attacked.other);
	print_row("theirs", &idle.theirs, &attacked.theirs);
	print_row("worker", &idle.worker, &attacked.worker);
	if (!end_hostile())
		end_as_hung("some outlive SIGKILL");
	end_victims(&victims);
	clean_up(&peaks);
	print_allocs(&peaks);
	if (wrong)
		printf("wrong\t%s\t%d checks of errors and processes failed\n", kind->name,
		       wrong);
	fflush(stdout);
	return wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* In a process of its own, as it may never come back. */
static int run_kind(void)
{
	pid_t pid;
	int status;

	memset(hostile.board, 0, sizeof(*hostile.board));
	beat();
	fflush(stdout);
	pid = fork();
	if (!pid)
		exit(measure());
	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (now_us() > hostile.board->beat + HUNG_SECONDS * 1000000UL)
			end_as_hung("no error was handled any more");
		usleep(100 * 1000);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
		exit(3);
	return status ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Without names all are wanted. */
static bool is_wanted(const char *name, char **names)
{
	if (!*names)
		return true;
	for (; *names; names++)
		if (!strcmp(name, *names))
			return true;
	return false;
}

static void check_names(char **names)
{
	for (; *names; names++) {
		unsigned int k = 0;

		while (k < nr_kinds && strcmp(kinds[k].name, *names))
			k++;
		if (k == nr_kinds) {
			fprintf(stderr, "hostile: no kind named %s; see --list\n", *names);
			exit(2);
		}
	}
}

static void list_kinds(void)
{
	for (unsigned int k = 0; k < nr_kinds; k++)
		printf("%s\t%s\n", kinds[k].name, kinds[k].what);
	exit(EXIT_SUCCESS);
}

static unsigned int parse_number(const char *text, unsigned int most)
{
	unsigned long nr = strtoul(text, NULL, 10);

	if (!nr || nr > most) {
		fprintf(stderr, "hostile: %s is not from 1 to %u\n", text, most);
		exit(2);
	}
	return nr;
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "processes", required_argument, NULL, 'p' },
		{ "errors", required_argument, NULL, 'e' },
		{ "list", no_argument, NULL, 'l' },
		{ }
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'p')
			nr_processes = parse_number(optarg, MAX_PROCESSES);
		else if (option == 'e')
			nr_errors = parse_number(optarg, MAX_ERRORS);
		else if (option == 'l')
			list_kinds();
		else
			exit(2);
	}
}

/* As udev does; and a task that FUSE keeps waiting is not the kernel's fault. */
static void prepare_system(void)
{
	struct rlimit files = { 65536, 65536 };

	setrlimit(RLIMIT_NOFILE, &files);
	chmod("/dev/fuse", 0666);
	hp_write("/proc/sys/kernel/hung_task_timeout_secs", "0");
	hostile.board = mmap(NULL, sizeof(*hostile.board), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (hostile.board == MAP_FAILED)
		die("mmap", errno);
}

int main(int argc, char **argv)
{
	int ret = EXIT_SUCCESS;

	parse(argc, argv);
	check_names(argv + optind);
	setlinebuf(stdout);
	prepare_system();
	for (unsigned int k = 0; k < nr_kinds; k++) {
		kind = &kinds[k];
		if (!is_wanted(kind->name, argv + optind))
			continue;
		printf("kind\t%s\t%s\n", kind->name, kind->what);
		if (run_kind())
			ret = EXIT_FAILURE;
	}
	return ret;
}
