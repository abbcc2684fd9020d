// SPDX-License-Identifier: GPL-2.0-only
/*
 * A small page cache on hugepages that survives memory errors, by libhugepoison.
 *
 * Some threads serve 4 KiB objects from a cache in hugepages; what is not there comes from
 * a file. So an error in the cache loses nothing: fill() below reads the object again, and
 * the library puts it where it was. The servers do not notice. A server that has run into
 * the lost page waits in the library's signal handler, and its copy goes on.
 *
 * To show it, and to test it, the servers also are their own clients, who know
 * what each object must say, and --errors injects errors (root, debugfs).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <hugepoison.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define OBJECT		((size_t)HUGEPOISON_PAGE)	/* bytes, and of a base page */
#define WORDS		(OBJECT / sizeof(unsigned long))
#define HUGEPAGE	(2UL << 20)
#define NONE		(-1L)
#define INJECT		"/sys/kernel/debug/hwpoison/corrupt-pfn"
#define ALIGN_UP(n, to)	(((n) + (to) - 1) / (to) * (to))

enum what { ANSWERS, WRONG, HITS, LOADS, ERRORS, WHATS };
static const char * const names[WHATS] = {
	"answers", "wrong answers", "from the cache", "read from the file", "errors injected",
};

/* Which object a page of the cache has; kept outside of the hugepages. */
static struct slot {
	pthread_mutex_t lock;
	atomic_long object;
} *slots;

static struct {
	unsigned long objects, slots, servers, errors, seconds;
} want = { .objects = 4096, .slots = 2048, .servers = 3, .errors = 0, .seconds = 5 };

static atomic_ulong count[WHATS];
static atomic_bool stop;
static int file;
static char *cache;

static void die(const char *what)
{
	fprintf(stderr, "hugecache: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
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

static void read_object(unsigned long object, void *to)
{
	if (pread(file, to, OBJECT, object * OBJECT) != (ssize_t)OBJECT)
		die("the file");
}

/* --- errors ------------------------------------------------------------------- */

/*
 * The heart of it: a page of the cache is lost, make its contents. This runs in the library's
 * thread. It must not take a slot's lock: the server that has it may be waiting for this page.
 */
static int fill(void *page, void *address, void *unused)
{
	long object = slots[((char *)address - cache) / OBJECT].object;

	(void)unused;
	if (object == NONE)
		memset(page, 0, OBJECT);
	else
		read_object(object, page);
	return 0;
}

/* --- the cache ---------------------------------------------------------------- */

static char *page_of(unsigned long slot)
{
	return cache + slot * OBJECT;
}

/*
 * Read an object from the file, into the cache. The slot says so before the page is written:
 * if an error comes in the midst of it, fill() makes all of the page, and the copy goes on.
 */
static void load(unsigned long slot, unsigned long object, void *to)
{
	read_object(object, to);
	slots[slot].object = object;
	memcpy(page_of(slot), to, OBJECT);
	count[LOADS]++;
}

static void get(unsigned long object, unsigned long *to)
{
	unsigned long slot = object % want.slots;

	pthread_mutex_lock(&slots[slot].lock);
	if (slots[slot].object == (long)object) {
		memcpy(to, page_of(slot), OBJECT);
		count[HITS]++;
	} else {
		load(slot, object, to);
	}
	pthread_mutex_unlock(&slots[slot].lock);
}

/* A server and its client: every answer is checked. */
static void *serve(void *number)
{
	unsigned int seed = (unsigned long)number;
	unsigned long answer[WORDS], object;

	while (!stop) {
		object = rand_r(&seed) % want.objects;
		get(object, answer);
		count[ANSWERS]++;
		if (is_object(object, answer))
			continue;
		count[WRONG]++;
		fprintf(stderr, "hugecache: object %lu has the wrong contents\n", object);
	}
	return NULL;
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

/* An error somewhere in the cache; none where a server has lost the page meanwhile. */
static void inject(int fd, unsigned int *seed)
{
	char *at = page_of(rand_r(seed) % want.slots);
	unsigned long frame;

	/* the touch maps it */
	__atomic_load_n(at, __ATOMIC_RELAXED);
	frame = frame_of(at);
	if (frame && dprintf(fd, "%#lx", frame) > 0)
		count[ERRORS]++;
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
	while (now() < end || count[ERRORS] < want.errors) {
		if (count[ERRORS] < want.errors)
			inject(fd, &seed);
		if (now() > end + 20 * want.seconds)
			break;
		usleep(1000);
	}
	usleep(200 * 1000);	/* for the last signal */
	stop = true;
}

static void show_table(const struct hugepoison_stats *stats)
{
	for (int i = 0; i < WHATS; i++)
		printf("%-28s %10lu\n", names[i], count[i]);
	printf("%-28s %10lu\n", "signals of an error (AO)", stats->early);
	printf("%-28s %10lu\n", "ran into an error (AR)", stats->touched);
	printf("%-28s %10lu\n", "pages filled again", stats->filled);
}

static int judge(const struct hugepoison_stats *stats)
{
	if (count[WRONG])
		printf("hugecache: some answers were wrong\n");
	if (count[ERRORS] < want.errors)
		printf("hugecache: only %lu of %lu errors\n", count[ERRORS], want.errors);
	if (want.errors && !stats->filled)
		printf("hugecache: nothing was filled again\n");
	return count[WRONG] || count[ERRORS] < want.errors || (want.errors && !stats->filled);
}

/* --- setting up --------------------------------------------------------------- */

static void make_cache(void)
{
	size_t len = ALIGN_UP(want.slots * OBJECT, HUGEPAGE);
	int err;

	slots = calloc(want.slots, sizeof(*slots));
	if (!slots)
		die("calloc");
	for (unsigned long i = 0; i < want.slots; i++) {
		pthread_mutex_init(&slots[i].lock, NULL);
		slots[i].object = NONE;
	}
	cache = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB,
		     -1, 0);
	if (cache == MAP_FAILED) {
		fprintf(stderr, "hugecache: mmap: %s: %lu free 2M hugepages are needed, and\n"
			"some to spare (sysctl vm.nr_hugepages)\n", strerror(errno),
			len / HUGEPAGE);
		exit(EXIT_FAILURE);
	}
	/* pages behind the last slot have no contents: they are not registered */
	err = hugepoison_register(cache, want.slots * OBJECT, fill, NULL);
	if (err)
		fprintf(stderr, "hugecache: lost pages stay lost: hugepoison_register: %s\n",
			strerror(-err));
}

static void say_usage(int status)
{
	fprintf(status ? stderr : stdout,
		"usage: hugecache [--objects N] [--slots N] [--servers N] [--seconds N] [--errors N]\n"
		"A page cache on hugepages that survives memory errors.\n"
		"  --objects N  objects of 4 KiB in the file (default %lu)\n"
		"  --slots N    of them in the cache (default %lu)\n"
		"  --servers N  threads (default %lu)\n"
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
	struct hugepoison_stats stats;
	pthread_t *thread;

	parse(argc, argv);
	make_cache();
	file = make_file();
	thread = calloc(want.servers, sizeof(*thread));
	if (file < 0 || !thread)
		die("the file");
	for (unsigned long i = 0; i < want.servers; i++)
		if (pthread_create(&thread[i], NULL, serve, (void *)(i + 1)))
			die("pthread_create");
	run_show();
	for (unsigned long i = 0; i < want.servers; i++)
		pthread_join(thread[i], NULL);
	hugepoison_get_stats(&stats);
	show_table(&stats);
	return judge(&stats);
}
