// SPDX-License-Identifier: GPL-2.0-only
/*
 * A small page cache on hugetlb shared memory that survives memory errors.
 *
 * Several server processes share a cache of 4 KiB objects in hugepages; other
 * objects come from a file. When the kernel reports an error in a page of the
 * cache (SIGBUS, BUS_MCEERR_AO, sent to a thread that asked for it with
 * PR_MCE_KILL), or a server runs into it (BUS_MCEERR_AR), the cache drops that
 * one object, punches its 4 KiB out of the hugepage, which heals it, and reads
 * the object again from the file. The other processes do not notice.
 *
 * The address in the signal says which object to drop.
 *
 * To show it, and to test it, the servers also are their own clients, who know
 * what each object must say, and --errors injects errors (root, debugfs).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OBJECT		4096UL		/* bytes, and of a base page */
#define WORDS		(OBJECT / sizeof(unsigned long))
#define HUGEPAGE	(2UL << 20)
#define NONE		(-1L)
#define INJECT		"/sys/kernel/debug/hwpoison/corrupt-pfn"
#define ALIGN_UP(n, to)	(((n) + (to) - 1) / (to) * (to))

enum what { ANSWERS, WRONG, HITS, LOADS, UNCACHED, AO, AR, HEALS, NOT_HEALED, ERRORS, WHATS };
static const char * const names[WHATS] = {
	"answers", "wrong answers", "from the cache", "read from the file",
	"served past the cache", "signals of an error (AO)", "ran into an error (AR)",
	"pages healed", "not healed at once", "errors injected",
};

/* Which object a page of the cache has; kept outside of the hugepages. */
struct slot {
	pthread_mutex_t lock;
	long object;
};

/* Memory that all processes share, besides the cache itself. */
static struct shared {
	bool stop;
	unsigned long count[WHATS];
	struct slot slot[];
} *shared;

static struct {
	unsigned long objects, slots, servers, errors, seconds;
} want = { .objects = 4096, .slots = 2048, .servers = 3, .errors = 0, .seconds = 5 };

static int cache_fd, file;
static char *cache;
static int reports[2];			/* a pipe: from the signal to the janitor */
static __thread sigjmp_buf lost;	/* where to go from a page that is */
static __thread sig_atomic_t guarded;

static void die(const char *what)
{
	fprintf(stderr, "hugecache: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static void tell(enum what what)
{
	__atomic_fetch_add(&shared->count[what], 1, __ATOMIC_RELAXED);
}

static unsigned long told(enum what what)
{
	return __atomic_load_n(&shared->count[what], __ATOMIC_RELAXED);
}

static bool stopped(void)
{
	return __atomic_load_n(&shared->stop, __ATOMIC_RELAXED);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* --- objects ------------------------------------------------------------------ */

static unsigned long word_of(unsigned long object, unsigned long i)
{
	return (object * WORDS + i + 1) * 0x9e3779b97f4a7c15UL;
}

static void make_object(unsigned long object, unsigned long *to)
{
	for (unsigned long i = 0; i < WORDS; i++)
		to[i] = word_of(object, i);
}

static bool is_object(unsigned long object, const unsigned long *is)
{
	for (unsigned long i = 0; i < WORDS; i++)
		if (is[i] != word_of(object, i))
			return false;
	return true;
}

/* The file that the cache is for; it needs no name. */
static int make_file(void)
{
	unsigned long object[WORDS];
	int fd = memfd_create("hugecache-file", MFD_CLOEXEC);

	for (unsigned long i = 0; fd >= 0 && i < want.objects; i++) {
		make_object(i, object);
		if (write(fd, object, OBJECT) != (ssize_t)OBJECT)
			return -1;
	}
	return fd;
}

/* --- errors ------------------------------------------------------------------- */

static char *page_of(unsigned long slot)
{
	return cache + slot * OBJECT;
}

/*
 * The janitor handles an error that nobody has run into (AO). A server that runs
 * into one (AR) in a guarded copy jumps to its recovery point.
 */
static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (info->si_code == BUS_MCEERR_AO &&
	    write(reports[1], &info->si_addr, sizeof(info->si_addr)) > 0)
		return;
	if (info->si_code == BUS_MCEERR_AR && guarded)
		siglongjmp(lost, 1);
	signal(sig, SIG_DFL);
	raise(sig);
}

/*
 * Guards from here on, or no longer. The barrier keeps the compiler from moving
 * it.
 */
static void guard(bool on)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	guarded = on;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Copies a page, or returns false where an error is in the way. */
static bool copy_page(void *to, const void *from)
{
	bool good = !sigsetjmp(lost, 1);

	if (good) {
		guard(true);
		memcpy(to, from, OBJECT);
	}
	guard(false);
	return good;
}

/*
 * The heart of the cache: the page's contents are gone, so punch out the page. It
 * comes back as good memory. The lock is held; the slot is empty afterwards. When
 * the punch fails (somebody holds the hugepage, no memory) the next request tries
 * again.
 */
static bool heal(unsigned long slot)
{
	shared->slot[slot].object = NONE;
	if (!fallocate(cache_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, slot * OBJECT,
		       OBJECT)) {
		tell(HEALS);
		return true;
	}
	tell(NOT_HEALED);
	return false;
}

/*
 * A server may have run into the error before, and healed it: then nothing is
 * left to do.
 */
static void look_at(unsigned long slot)
{
	unsigned long copy[WORDS];

	pthread_mutex_lock(&shared->slot[slot].lock);
	if (!copy_page(copy, page_of(slot)))
		heal(slot);
	pthread_mutex_unlock(&shared->slot[slot].lock);
}

/*
 * The one thread that asks for signals of errors before anybody runs into them.
 */
static void *janitor(void *unused)
{
	struct pollfd report = { .fd = reports[0], .events = POLLIN };
	char *at;

	(void)unused;
	prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
	while (!stopped()) {
		if (poll(&report, 1, 100) <= 0 || read(reports[0], &at, sizeof(at)) != sizeof(at))
			continue;
		tell(AO);
		look_at((at - cache) / OBJECT);
	}
	return NULL;
}

/* --- the cache ---------------------------------------------------------------- */

/* Reads an object from the file, into the cache if its page is good. */
static void load(unsigned long slot, unsigned long object, void *to)
{
	if (pread(file, to, OBJECT, object * OBJECT) != (ssize_t)OBJECT)
		die("the file");
	tell(LOADS);
	for (int try = 0; try < 2; try++) {
		if (copy_page(page_of(slot), to)) {
			shared->slot[slot].object = object;
			return;
		}
		tell(AR);
		if (!heal(slot))
			break;
	}
	tell(UNCACHED);
}

static void get(unsigned long object, unsigned long *to)
{
	unsigned long at = object % want.slots;
	struct slot *slot = &shared->slot[at];

	pthread_mutex_lock(&slot->lock);
	if (slot->object == (long)object) {
		if (copy_page(to, page_of(at))) {
			tell(HITS);
			pthread_mutex_unlock(&slot->lock);
			return;
		}
		tell(AR);
		heal(at);
	}
	load(at, object, to);
	pthread_mutex_unlock(&slot->lock);
}

/* A server and its client: every answer is checked. */
static void serve(unsigned int seed)
{
	unsigned long answer[WORDS], object;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!stopped()) {
		object = rand_r(&seed) % want.objects;
		get(object, answer);
		tell(ANSWERS);
		if (is_object(object, answer))
			continue;
		tell(WRONG);
		fprintf(stderr, "hugecache: object %lu has the wrong contents\n", object);
	}
	exit(EXIT_SUCCESS);
}

/* --- the show ----------------------------------------------------------------- */

/* The page frame of one of our pages; it has to be mapped. */
static unsigned long frame_of(const char *at)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	unsigned long entry = 0;

	if (fd < 0 || pread(fd, &entry, sizeof(entry),
			    (unsigned long)at / OBJECT * sizeof(entry)) != sizeof(entry))
		die("/proc/self/pagemap");
	close(fd);
	return entry >> 63 ? entry & ((1UL << 55) - 1) : 0;
}

/* An error somewhere in the cache; none where the page is bad already. */
static void inject(int fd, unsigned int *seed)
{
	char *at = page_of(rand_r(seed) % want.slots);
	unsigned long copy[WORDS], frame;
	char text[32];
	int len;

	frame = copy_page(copy, at) ? frame_of(at) : 0;
	if (!frame)
		return;
	len = snprintf(text, sizeof(text), "%#lx", frame);
	if (write(fd, text, len) == len)
		tell(ERRORS);
}

static void run_show(void)
{
	double end = now() + want.seconds;
	unsigned int seed = 1;
	int fd = -1;

	if (want.errors) {
		fd = open(INJECT, O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			die(INJECT ": root and CONFIG_HWPOISON_INJECT are needed");
	}
	while (now() < end || told(ERRORS) < want.errors) {
		if (told(ERRORS) < want.errors)
			inject(fd, &seed);
		if (now() > end + 20 * want.seconds)
			break;
		usleep(1000);
	}
	usleep(200 * 1000);	/* for the last signal */
	__atomic_store_n(&shared->stop, true, __ATOMIC_RELAXED);
}

static void show_table(void)
{
	for (int i = 0; i < WHATS; i++)
		printf("%-28s %10lu\n", names[i], told(i));
}

static int judge(int dead)
{
	if (dead)
		printf("hugecache: %d servers died\n", dead);
	if (told(WRONG))
		printf("hugecache: some answers were wrong\n");
	if (told(ERRORS) < want.errors)
		printf("hugecache: only %lu of %lu errors\n", told(ERRORS), want.errors);
	if (want.errors && !told(HEALS))
		printf("hugecache: nothing was healed\n");
	return dead || told(WRONG) || told(ERRORS) < want.errors ||
	       (want.errors && !told(HEALS));
}

/* --- setting up --------------------------------------------------------------- */

static void make_shared(void)
{
	size_t len = sizeof(*shared) + want.slots * sizeof(struct slot);
	pthread_mutexattr_t attr;

	shared = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("mmap");
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	for (unsigned long i = 0; i < want.slots; i++) {
		pthread_mutex_init(&shared->slot[i].lock, &attr);
		shared->slot[i].object = NONE;
	}
}

static void make_cache(void)
{
	size_t len = ALIGN_UP(want.slots * OBJECT, HUGEPAGE);

	cache_fd = memfd_create("hugecache", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	if (cache_fd < 0 || ftruncate(cache_fd, len))
		die("memfd_create");
	cache = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, cache_fd, 0);
	if (cache == MAP_FAILED) {
		fprintf(stderr, "hugecache: mmap: %s: %lu free 2M hugepages are needed, and\n"
			"some to spare (sysctl vm.nr_hugepages)\n", strerror(errno),
			len / HUGEPAGE);
		exit(EXIT_FAILURE);
	}
}

static void say_usage(int status)
{
	fprintf(status ? stderr : stdout,
		"usage: hugecache [--objects N] [--slots N] [--servers N] [--seconds N] [--errors N]\n"
		"A page cache on hugetlb shared memory that survives memory errors.\n"
		"  --objects N  objects of 4 KiB in the file (default %lu)\n"
		"  --slots N    of them in the cache (default %lu)\n"
		"  --servers N  processes (default %lu)\n"
		"  --seconds N  how long (default %lu)\n"
		"  --errors N   memory errors to inject, as root (default %lu)\n"
		"exit status: 0 all answers were right, 1 not so, 2 wrong usage\n",
		want.objects, want.slots, want.servers, want.seconds, want.errors);
	exit(status);
}

static unsigned long parse_number(const char *option, const char *text, unsigned long least)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || value < least || value > 1UL << 20) {
		fprintf(stderr, "hugecache: --%s %s: say a number from %lu to %lu\n", option, text,
			least, 1UL << 20);
		exit(2);
	}
	return value;
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "objects", required_argument, NULL, 0 },
		{ "slots", required_argument, NULL, 1 },
		{ "servers", required_argument, NULL, 2 },
		{ "seconds", required_argument, NULL, 3 },
		{ "errors", required_argument, NULL, 4 },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	unsigned long *to[] = {
		&want.objects, &want.slots, &want.servers, &want.seconds, &want.errors,
	};
	int c, index = 0;

	while ((c = getopt_long(argc, argv, "h", options, &index)) != -1) {
		if (c == 'h' || c == '?')
			say_usage(c == 'h' ? 0 : 2);
		*to[c] = parse_number(options[index].name, optarg, c != 4);
	}
	if (optind < argc)
		say_usage(2);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	int status, dead = 0;
	pthread_t thread;
	pid_t *pid;

	parse(argc, argv);
	make_shared();
	make_cache();
	file = make_file();
	pid = calloc(want.servers, sizeof(*pid));
	if (file < 0 || !pid || pipe(reports))
		die("the file");
	sigaction(SIGBUS, &action, NULL);
	for (unsigned long i = 0; i < want.servers; i++) {
		pid[i] = fork();
		if (!pid[i])
			serve(i + 1);
	}
	if (pthread_create(&thread, NULL, janitor, NULL))
		die("pthread_create");
	run_show();
	pthread_join(thread, NULL);
	for (unsigned long i = 0; i < want.servers; i++)
		dead += pid[i] < 0 || waitpid(pid[i], &status, 0) != pid[i] || status;
	show_table();
	return judge(dead);
}
