// SPDX-License-Identifier: GPL-2.0-only
/* Options, rounds, and the watch over them. See fuzz.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/memfd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB	(21U << 26)
#define MFD_HUGE_1GB	(30U << 26)
#endif

#define FAULTS		"/sys/kernel/debug/"
#define STUCK_CHECKED	300U	/* mlockall() of 180 MB took a minute on a busy host */

struct fuzz *fz;
struct options opt = {
	.seed = 1, .seconds = 60, .processes = 3, .threads = 2, .steps = 300, .errors = 20,
	.stuck = 60, .root = true,
};

unsigned long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000UL + ts.tv_nsec / 1000000;
}

/* A line, in one go, so that those of several processes stay apart. */
void say(const char *fmt, ...)
{
	char text[8192];
	va_list args;
	size_t len;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text) - 1, fmt, args);
	va_end(args);
	len = strlen(text);
	text[len++] = '\n';
	if (write(STDOUT_FILENO, text, len) < 0)
		_exit(4);
}

/* A fatal finding. It ends the round, and the run after it. */
void finding(const char *fmt, ...)
{
	char text[800];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (__atomic_fetch_add(&fz->findings, 1, __ATOMIC_SEQ_CST) < 10)
		say("FOUND: %s [lane %d, %s, pid %d]", text, lane, op_name, getpid());
	__atomic_store_n(&fz->stop, true, __ATOMIC_SEQ_CST);
}

/* --- shared things ------------------------------------------------------------------ */

static int open_thing(struct thing *thing, int id)
{
	unsigned long len = thing->nr * thing->size;
	char path[64];

	switch (thing->kind) {
	case T_MEMFD:
		thing->fd = memfd_create("fuzz", MFD_HUGETLB | (thing->size == HP_1G ?
								MFD_HUGE_1GB : MFD_HUGE_2MB));
		break;
	case T_FILE:
		snprintf(path, sizeof(path), "/dev/hugepages/fuzz%d", id);
		thing->fd = open(path, O_CREAT | O_RDWR, 0666);
		break;
	case T_SHM:
		thing->shmid = shmget(IPC_PRIVATE, len, IPC_CREAT | SHM_HUGETLB | 0666);
		return thing->shmid < 0 ? -errno : 0;
	default:
		return -EINVAL;
	}
	return thing->fd < 0 || ftruncate(thing->fd, len) ? -errno : 0;
}

int things_make(struct rng *rng)
{
	static const enum thing_kind kinds[] = { T_MEMFD, T_FILE, T_SHM, T_MEMFD };

	for (int id = 0; id < OBJECTS; id++) {
		struct thing *thing = &fz->thing[id];
		int ret;

		*thing = (struct thing) {
			.kind = kinds[id % ARRAY_SIZE(kinds)], .size = HP_2M,
			.nr = 1 + rnd(rng, NR_MOST), .fd = -1, .shmid = -1,
			.model = fz->model[id],
		};
		if (fz->has_1g && id == OBJECTS - 1) {
			thing->size = HP_1G;
			thing->nr = 1;
		}
		ret = open_thing(thing, id);
		/* segments reserve all they may need, and others may have it */
		if (ret == -ENOMEM && thing->kind == T_SHM) {
			thing->kind = T_MEMFD;
			ret = open_thing(thing, id);
		}
		if (ret)
			return ret;
	}
	fz->things = OBJECTS;
	return 0;
}

void things_unmake(void)
{
	char path[64];

	for (int id = 0; id < OBJECTS; id++) {
		struct thing *thing = &fz->thing[id];

		if (thing->fd >= 0)
			close(thing->fd);
		if (thing->kind == T_FILE) {
			snprintf(path, sizeof(path), "/dev/hugepages/fuzz%d", id);
			unlink(path);
		}
		if (thing->shmid >= 0)
			shmctl(thing->shmid, IPC_RMID, NULL);
	}
}

/* --- failing allocations -------------------------------------------------------------- */

static void set_fault(const char *which, const char *file, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), FAULTS "%s/%s", which, file);
	hp_write(path, "%s", value);
}

/* Of lanes only; what the hand does for an error is not to fail at random. */
static void set_faults(bool on)
{
	static const char *const which[] = { "failslab", "fail_page_alloc" };

	for (int i = 0; i < 2; i++) {
		set_fault(which[i], "task-filter", "Y");
		set_fault(which[i], "ignore-gfp-wait", "N");
		set_fault(which[i], "verbose", "0");
		set_fault(which[i], "interval", "1");
		set_fault(which[i], "times", "-1");
		set_fault(which[i], "probability", on ? "1" : "0");
	}
	set_fault("fail_page_alloc", "min-order", "0");
	set_fault("fail_page_alloc", "ignore-gfp-highmem", "N");
}

/* --- the watch -------------------------------------------------------------------------- */

static void show_file(pid_t tid, const char *name)
{
	char path[64], text[4096];

	snprintf(path, sizeof(path), "/proc/%d/%s", tid, name);
	if (hp_read_text(path, text, sizeof(text)) > 0)
		say("%s of %d:\n%s", name, tid, text);
}

/* Where the CPUs are, for what spins. */
static void show_cpus(void)
{
	struct hp_log log;

	if (hp_log_open(&log))
		return;
	for (int i = 0; i < 3; i++) {
		hp_write("/proc/sysrq-trigger", "l");
		usleep(300 * 1000);
	}
	hp_log_find(&log, "nothing that is said");
	for (char *line, *rest = log.text; (line = strsep(&rest, "\n"));)
		say("  | %s", line);
	hp_log_close(&log);
}

/* One call has taken for ever. */
static bool is_stuck(int which)
{
	struct lane *l = &fz->lane[which];
	int op = __atomic_load_n(&l->op, __ATOMIC_SEQ_CST);
	unsigned long since = __atomic_load_n(&l->since, __ATOMIC_SEQ_CST);

	if (op < 0 || !l->tid || now_ms() < since + opt.stuck * 1000UL)
		return false;
	finding("lane %d, %s: not done after %u s", which, ops[op].name, opt.stuck);
	show_file(l->tid, "stack");
	show_file(l->tid, "wchan");
	show_file(l->tid, "status");
	show_cpus();
	return true;
}

static void look_for_stuck(void)
{
	for (unsigned int i = 0; i < opt.processes * opt.threads; i++)
		if (is_stuck(i))
			return;
}

/* Waits until all processes end. One that outlives SIGKILL is the worst finding. */
static void end_process(pid_t pid)
{
	int status;

	for (unsigned int ms = 0; ms < opt.stuck * 1000; ms += 10) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return;
		if (ms == 5000 || ms == 10000)
			kill(pid, SIGKILL);
		usleep(10 * 1000);
	}
	finding("process %d outlives SIGKILL", pid);
	show_file(pid, "stack");
	hp_write("/proc/sysrq-trigger", "w");
	sleep(2);
	say("fuzz: seed %lu", fz->seed);
	/* nothing can be done any more in this guest */
	hp_write("/proc/sysrq-trigger", "o");
	sleep(30);
	_exit(1);
}

static pid_t start(void (*run)(int), int index)
{
	pid_t pid = fork();

	if (!pid) {
		lane = -1;
		run(index);
		_exit(0);
	}
	return pid;
}

static void start_hand(int index)
{
	(void)index;
	hand_run();
}

static void watch(pid_t *pids)
{
	unsigned int left = opt.processes;
	int status;

	while (left && !stopped()) {
		for (unsigned int i = 0; i < opt.processes; i++) {
			if (pids[i] <= 0 || waitpid(pids[i], &status, WNOHANG) != pids[i])
				continue;
			/* a cgroup at its limit kills */
			if (!WIFEXITED(status) && WTERMSIG(status) != SIGKILL)
				finding("process %d: status %#x", i, status);
			pids[i] = 0;
			left--;
		}
		look_for_stuck();
		usleep(5000);
	}
	__atomic_store_n(&fz->stop, true, __ATOMIC_SEQ_CST);
	for (unsigned int i = 0; i < opt.processes; i++)
		if (pids[i] > 0)
			end_process(pids[i]);
}

/* --- rounds ------------------------------------------------------------------------------- */

static void doom(struct rng *rng)
{
	memset(fz->doomed, 0, sizeof(fz->doomed));
	for (int i = 0; i < DOOMED; i++) {
		fz->doomed_list[i] = rnd(rng, WATCHED);
		fz->doomed[fz->doomed_list[i]] = true;
	}
}

static void begin_round(unsigned long seed)
{
	fz->seed = seed;
	fz->stop = false;
	fz->order = 0;
	fz->nr_injected = 0;
	fz->anons = 0;
	fz->wide = false;
	fz->pool_changed = false;
	memset(fz->model, 0, sizeof(fz->model));
	memset(fz->lane, 0, sizeof(fz->lane));
	for (int i = 0; i < LANES; i++)
		fz->lane[i].op = -1;
	trace_round();
}

/* Other filters than this would be hit by chance: what became of a page in between. */
static void set_filter(bool on)
{
	hp_write(HP_DEBUGFS "corrupt-filter-hugepage-size", "%lu", on ? fz->hit_size >> 10 : 0);
	hp_write(HP_DEBUGFS "corrupt-filter-enable", "%d", on);
}

static void run_processes(struct rng *rng)
{
	pid_t pids[PROCESSES], hand;

	for (unsigned int i = 0; i < opt.processes; i++)
		if (cgroup_make(i, rng))
			finding("no cgroup");
	hand = start(start_hand, 0);
	for (unsigned int i = 0; i < opt.processes; i++)
		pids[i] = start(process_run, i);
	watch(pids);
	end_process(hand);
}

static void do_round(unsigned long seed)
{
	struct settled before;
	struct rng rng = { seed };
	int ret;

	begin_round(seed);
	settle_begin(&before);
	doom(&rng);
	fz->hit_size = fz->has_1g && !rnd(&rng, 3) ? HP_1G : HP_2M;
	ret = things_make(&rng);
	if (ret) {
		finding("cannot make files of hugepages: %s", strerror(-ret));
		return;
	}
	set_filter(true);
	if (fz->faults)
		set_faults(true);
	run_processes(&rng);
	if (fz->faults)
		set_faults(false);
	set_filter(false);
	things_unmake();
	for (unsigned int i = 0; i < opt.processes; i++)
		cgroup_check(i);
	settle_end(&before);
}

static void quiet_console(bool quiet)
{
	static char before[64];

	if (opt.verbose)
		return;
	if (quiet)
		hp_read_text("/proc/sys/kernel/printk", before, sizeof(before));
	hp_write("/proc/sys/kernel/printk", "%s", quiet ? "5" : before);
}

static unsigned long all_calls(void)
{
	unsigned long sum = 0;

	for (int i = 0; i < nr_ops; i++)
		sum += fz->calls[i];
	return sum;
}

static void progress(unsigned int rounds, unsigned long since)
{
	say("%5lu s  rounds %u calls %lu checks %lu errors %lu unpoisoned %lu lost %lu wide %lu",
	    (now_ms() - since) / 1000, rounds, all_calls(), fz->checks, fz->errors,
	    fz->unpoisoned, fz->losses, fz->wide_losses);
}

static void show_ops(void)
{
	for (int i = 0; i < nr_ops; i++)
		say("  %-16s %8lu calls %8lu fine", ops[i].name, fz->calls[i], fz->went_well[i]);
}

static void run(void)
{
	unsigned long since = now_ms(), told = since;
	unsigned int rounds = 0;

	while (!fz->findings && now_ms() - since < opt.seconds * 1000UL &&
	       (!opt.rounds || rounds < opt.rounds)) {
		do_round(opt.replay ? opt.seed : opt.seed + rounds);
		rounds++;
		if (now_ms() - told > 5000 || opt.verbose) {
			told = now_ms();
			progress(rounds, since);
		}
	}
	progress(rounds, since);
	show_ops();
	if (fz->findings)
		say("fuzz: seed %lu fails; again: --seed %lu --rounds 1", fz->seed, fz->seed);
	say("%u passed, %d failed, 0 skipped", rounds - !!fz->findings, !!fz->findings);
}

/* --- options --------------------------------------------------------------------------------- */

/* By the names that scripts/build gives kernels. */
static bool has_checkers(void)
{
	struct utsname us;

	return !uname(&us) && (strstr(us.release, "-debug") || strstr(us.release, "-kcsan"));
}

static void say_usage(int status)
{
	printf("usage: fuzz [OPTION...], in a guest, as root; see tests/fuzz/README.md\n"
	       "  --seed N       of the first round; each other has the next (%lu)\n"
	       "  --seconds N    begin no round after that (%u)\n"
	       "  --rounds N     at most so many\n"
	       "  --workers N    processes, at most %d (%u)\n"
	       "  --threads N    of each, at most %d (%u)\n"
	       "  --steps N      operations of each thread in a round, at most %d (%u)\n"
	       "  --errors N     weight of the operation hit; all others have some 1000 (%u)\n"
	       "  --stuck N      a call that takes so many seconds hangs (%u;\n"
	       "                 by default %u on a kernel with checkers, which is slow)\n"
	       "  --faults       allocations fail at random\n"
	       "  --nobody       no process is root\n"
	       "  --only OP,...  no other operations\n"
	       "  --without OP,...  all but these\n"
	       "  --replay FILE  operations from a list, as tests/fuzz/run writes it\n"
	       "  --list         the operations, with their weights\n"
	       "  --verbose      the kernel's messages on the console\n"
	       "exit status: 0 all well, 1 something was found, 2 wrong usage\n",
	       opt.seed, opt.seconds, PROCESSES, opt.processes, THREADS, opt.threads, STEPS,
	       opt.steps, opt.errors, opt.stuck, STUCK_CHECKED);
	exit(status);
}

static unsigned long parse_number(const char *text, unsigned long most)
{
	char *end;
	unsigned long value = strtoul(text, &end, 0);

	if (!*text || *end || *text == '-' || value > most) {
		fprintf(stderr, "fuzz: %s: not a number up to %lu\n", text, most);
		exit(2);
	}
	return value;
}

static void switch_ops(char *names, bool only)
{
	char *name;

	for (int i = 0; only && i < nr_ops; i++)
		ops[i].off = true;
	while ((name = strsep(&names, ","))) {
		int op = op_find(name);

		if (op < 0) {
			fprintf(stderr, "fuzz: no operation %s: see --list\n", name);
			exit(2);
		}
		ops[op].off = !only;
	}
}

static void list_ops(void)
{
	for (int i = 0; i < nr_ops; i++)
		printf("%-16s %u%s\n", ops[i].name, ops[i].weight,
		       ops[i].not_in_child ? " (not in a forked child)" : "");
	exit(0);
}

/* Options that are a number. */
static const struct number {
	int letter;
	unsigned int *value;
	unsigned int most;
} numbers[] = {
	{ 'S', &opt.seconds, 1000000 },
	{ 'r', &opt.rounds, 1000000 },
	{ 'w', &opt.processes, PROCESSES },
	{ 't', &opt.threads, THREADS },
	{ 'n', &opt.steps, STEPS },
	{ 'e', &opt.errors, 10000 },
	{ 'k', &opt.stuck, 100000 },
};

static bool take_number(int letter, const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (numbers[i].letter == letter) {
			*numbers[i].value = parse_number(text, numbers[i].most);
			return true;
		}
	return false;
}

static void take_option(int letter, char *text)
{
	if (take_number(letter, text))
		return;
	if (letter == 's')
		opt.seed = parse_number(text, ~0UL);
	else if (letter == 'f')
		opt.faults = true;
	else if (letter == 'N')
		opt.root = false;
	else if (letter == 'o' || letter == 'x')
		switch_ops(text, letter == 'o');
	else if (letter == 'R')
		opt.replay = text;
	else if (letter == 'l')
		list_ops();
	else if (letter == 'v')
		opt.verbose = true;
	else
		say_usage(letter == 'h' ? 0 : 2);
}

static void options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "seconds", required_argument, NULL, 'S' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "workers", required_argument, NULL, 'w' },
		{ "threads", required_argument, NULL, 't' },
		{ "steps", required_argument, NULL, 'n' },
		{ "errors", required_argument, NULL, 'e' },
		{ "stuck", required_argument, NULL, 'k' },
		{ "faults", no_argument, NULL, 'f' },
		{ "nobody", no_argument, NULL, 'N' },
		{ "only", required_argument, NULL, 'o' },
		{ "without", required_argument, NULL, 'x' },
		{ "replay", required_argument, NULL, 'R' },
		{ "list", no_argument, NULL, 'l' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	int letter;

	while ((letter = getopt_long(argc, argv, "h", options, NULL)) != -1)
		take_option(letter, optarg);
	if (optind < argc || !opt.processes || !opt.threads)
		say_usage(2);
	ops[op_find("hit")].weight = opt.errors;
}

int main(int argc, char **argv)
{
	struct settled state;

	ops_init();
	if (has_checkers())
		opt.stuck = STUCK_CHECKED;
	options(argc, argv);
	if (opt.replay && replay_load(opt.replay)) {
		fprintf(stderr, "fuzz: cannot read %s\n", opt.replay);
		return 2;
	}
	if (access(HP_DEBUGFS "corrupt-pfn", W_OK)) {
		fprintf(stderr, "fuzz: not root in a guest with CONFIG_HWPOISON_INJECT\n");
		return 77;
	}
	fz = mmap(NULL, sizeof(*fz), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fz == MAP_FAILED)
		return 1;
	lane = -1;
	fz->faults = opt.faults;
	trace_open();
	settle_begin(&state);
	opt.pool = *hp_at(&state.state, HP_NR, HP_2M, HP_ALL);
	fz->has_1g = *hp_at(&state.state, HP_NR, HP_1G, HP_ALL) > 0;
	hp_write("/proc/sys/kernel/yama/ptrace_scope", "0");
	quiet_console(true);
	run();
	quiet_console(false);
	return fz->findings ? EXIT_FAILURE : EXIT_SUCCESS;
}
