// SPDX-License-Identifier: GPL-2.0-only
/* The kernel's side of the tests: counters, page frames, injection, the log. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hp.h"
#include "hp_complaints.h"

#define STOCK_MS	3000	/* a stock kernel never corrects a wrong count */

/* --- waiting ------------------------------------------------------------ */

/* On a clock that only goes forward. */
long hp_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void hp_pause(void)
{
	usleep(10 * 1000);
}

void hp_in_vain(const char *what, ...)
{
	va_list args;

	printf("# waited %d s in vain: ", HP_PATIENCE_MS / 1000);
	va_start(args, what);
	vprintf(what, args);
	va_end(args);
	printf("\n");
}

static bool is_stock(void)
{
	return access(HP_SYSFS, F_OK);
}

/* --- files of one value ------------------------------------------------ */

/* Returns the text's length, or -errno. */
int hp_read_text(const char *path, char *text, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, len - 1);
	if (n < 0)
		n = -errno;
	else
		text[n] = '\0';
	close(fd);
	return n;
}

/* Returns the number in a file, -1 where there is no such file. */
long hp_read_long(const char *fmt, ...)
{
	char path[256], text[64];
	va_list args;

	va_start(args, fmt);
	vsnprintf(path, sizeof(path), fmt, args);
	va_end(args);
	if (hp_read_text(path, text, sizeof(text)) <= 0)
		return -1;
	return strtol(text, NULL, 0);
}

/* Writes in one go, as these files want it. Returns 0 or -errno. */
int hp_write(const char *path, const char *fmt, ...)
{
	char text[256];
	va_list args;
	int len, fd, ret = 0;

	va_start(args, fmt);
	len = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, len) != len)
		ret = -errno;
	close(fd);
	return ret;
}

/* --- counters ---------------------------------------------------------- */

enum home { POOL, OURS, MF, MEMINFO };

static const struct {
	const char *file;
	enum home home;
	bool gauge;		/* goes back when all is undone */
} whats[HP_WHATS] = {
	[HP_NR]		= { "nr_hugepages", POOL, true },
	[HP_FREE]	= { "free_hugepages", POOL, true },
	[HP_RESV]	= { "resv_hugepages", POOL, true },
	[HP_SURPLUS]	= { "surplus_hugepages", POOL, true },
	[HP_BAD]	= { "mce_bad_pages", OURS, true },
	[HP_POISONED]	= { "poisoned_hugepages", OURS, true },
	[HP_CONTAINED]	= { "contained", OURS, false },
	[HP_NARROWED]	= { "narrowed", OURS, false },
	[HP_DEQUEUED]	= { "dequeued", OURS, false },
	[HP_RELEASED]	= { "released", OURS, false },
	[HP_REPLACED]	= { "replaced", OURS, false },
	[HP_ISOLATED]	= { "isolated", OURS, false },
	[HP_PINNED]	= { "pinned", OURS, false },
	[HP_REPEATED]	= { "repeated", OURS, false },
	[HP_FAILED]	= { "failed", OURS, false },
	[HP_HEALED]	= { "healed", OURS, false },
	[HP_REFILLED]	= { "refilled", OURS, false },
	[HP_UNPOISONED]	= { "unpoisoned", OURS, false },
	[HP_MF_TOTAL]	= { "total", MF, false },
	[HP_MF_IGNORED]	= { "ignored", MF, false },
	[HP_MF_FAILED]	= { "failed", MF, false },
	[HP_MF_DELAYED]	= { "delayed", MF, false },
	[HP_MF_RECOVERED] = { "recovered", MF, false },
	[HP_CORRUPTED]	= { "HardwareCorrupted", MEMINFO, true },
};

static const unsigned long sizes[HP_SIZES] = { HP_2M, HP_1G };

static long read_pool(const char *file, unsigned long size, int node)
{
	if (node == HP_ALL)
		return hp_read_long("/sys/kernel/mm/hugepages/hugepages-%lukB/%s",
				    size >> 10, file);
	return hp_read_long("/sys/devices/system/node/node%d/hugepages/hugepages-%lukB/%s",
			    node, size >> 10, file);
}

static long read_ours(const char *file, unsigned long size, int node)
{
	if (node == HP_ALL)
		return hp_read_long(HP_SYSFS "hugepages-%lukB/%s", size >> 10, file);
	return hp_read_long(HP_SYSFS "node%d/hugepages-%lukB/%s", node, size >> 10, file);
}

/* A line of /proc/meminfo, in kB; -1 where there is none. */
long hp_meminfo_kb(const char *field)
{
	static char text[8192];
	char *at;

	if (hp_read_text("/proc/meminfo", text, sizeof(text)) <= 0)
		return -1;
	at = strstr(text, field);
	return at ? strtol(at + strlen(field) + 1, NULL, 10) : -1;
}

static long read_what(enum hp_what what, int size, int node)
{
	const char *file = whats[what].file;

	switch (whats[what].home) {
	case POOL:
		return read_pool(file, sizes[size], node);
	case OURS:
		return read_ours(file, sizes[size], node);
	case MF:
		if (size || node == HP_ALL)
			return -1;
		return hp_read_long("/sys/devices/system/node/node%d/memory_failure/%s",
				    node, file);
	case MEMINFO:
		return size || node != HP_ALL ? -1 : hp_meminfo_kb(file);
	}
	return -1;
}

/* Where @state keeps a number; it has no size where @size is 0. */
long *hp_at(struct hp_state *state, enum hp_what what, unsigned long size, int node)
{
	return &state->v[what][size == HP_1G][node + 1];
}

/* Change the expectation for a node, and for all nodes where there is a sum. */
void hp_add(struct hp_state *state, enum hp_what what, unsigned long size, int node,
	    long by)
{
	*hp_at(state, what, size, node) += by;
	if (node != HP_ALL && whats[what].home != MF)
		*hp_at(state, what, size, HP_ALL) += by;
}

void hp_read_state(struct hp_state *state)
{
	for (int what = 0; what < HP_WHATS; what++)
		for (int size = 0; size < HP_SIZES; size++)
			for (int node = HP_ALL; node < HP_NODES; node++)
				state->v[what][size][node + 1] =
					node < hp_nodes() ? read_what(what, size, node) : -1;
}

static const char * const size_name[][HP_SIZES] = {
	[POOL]		= { "2M ", "1G " },
	[OURS]		= { "2M ", "1G " },
	[MF]		= { "memory_failure/", "" },
	[MEMINFO]	= { "", "" },
};

static void report(int what, int size, int node, long want, long is)
{
	char where[16] = "all nodes";

	if (node != HP_ALL)
		snprintf(where, sizeof(where), "node %d", node);
	printf("# %s%s, %s: want %ld, is %ld%s\n", size_name[whats[what].home][size],
	       whats[what].file, where, want, is, is == -1 ? " (no such file)" : "");
}

static int compare(const struct hp_state *want, const struct hp_state *is,
		   enum hp_which which, bool tell)
{
	int wrong = 0;

	for (int what = 0; what < HP_WHATS; what++) {
		if (which == HP_GAUGES && !whats[what].gauge)
			continue;
		for (int size = 0; size < HP_SIZES; size++)
			for (int i = 0; i <= HP_NODES; i++) {
				long w = want->v[what][size][i], v = is->v[what][size][i];

				if (w == v)
					continue;
				wrong++;
				if (tell)
					report(what, size, i - 1, w, v);
			}
	}
	return wrong;
}

/* Counters only rise: one that is beyond the wanted number stays wrong. */
static bool is_beyond(const struct hp_state *want, const struct hp_state *is)
{
	for (int what = 0; what < HP_WHATS; what++)
		for (int size = 0; !whats[what].gauge && size < HP_SIZES; size++)
			for (int i = 0; i <= HP_NODES; i++)
				if (want->v[what][size][i] >= 0 &&
				    is->v[what][size][i] > want->v[what][size][i])
					return true;
	return false;
}

/*
 * Compare with the kernel's counters, giving it a moment: a worker frees some
 * hugepages. Returns how many numbers are wrong, after printing each.
 */
int hp_check(const struct hp_state *want, enum hp_which which)
{
	struct hp_state is;

	hp_await((hp_read_state(&is), !compare(want, &is, which, false) ||
		  (which == HP_EVERYTHING && is_beyond(want, &is))),
		 "the counters are right");
	return compare(want, &is, which, true);
}

/* Nodes are numbered from 0 without holes in the guest. */
int hp_nodes(void)
{
	static int nodes;
	char path[64];

	while (nodes < HP_NODES) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d", nodes);
		if (access(path, F_OK))
			break;
		nodes++;
	}
	return nodes;
}

static void pool_path(char *path, size_t len, unsigned long size, int node)
{
	snprintf(path, len,
		 "/sys/devices/system/node/node%d/hugepages/hugepages-%lukB/nr_hugepages",
		 node, size >> 10);
}

/* Returns whether it has that many. */
static bool refill_node(unsigned long size, int node, long want)
{
	char path[128];

	pool_path(path, sizeof(path), size, node);
	for (int try = 0; try < 5; try++) {
		if (hp_read_long("%s", path) >= want)
			return true;
		if (try) {
			hp_write("/proc/sys/vm/drop_caches", "3");
			hp_write("/proc/sys/vm/compact_memory", "1");
		}
		hp_write(path, "%ld", want);
	}
	return hp_read_long("%s", path) >= want;
}

/* How many hugepages a node is to have. Returns 0 or -errno. */
int hp_set_pool(unsigned long size, int node, long nr)
{
	char path[128];

	pool_path(path, sizeof(path), size, node);
	return hp_write(path, "%ld", nr);
}

/*
 * Give each pool the hugepages back that errors took. The smaller ones may
 * block a GiB in a row, as nothing moves them.
 */
void hp_refill(const struct hp_state *before)
{
	for (int node = 0; node < hp_nodes(); node++) {
		long want = before->v[HP_NR][1][node + 1];

		if (!refill_node(HP_1G, node, want)) {
			hp_set_pool(HP_2M, node, 0);
			refill_node(HP_1G, node, want);
		}
		refill_node(HP_2M, node, before->v[HP_NR][0][node + 1]);
	}
}

/* Returns how many pools have more hugepages than before, on all nodes together. */
static int grown(const struct hp_state *before, bool tell)
{
	struct hp_state now;
	int nr = 0;

	hp_read_state(&now);
	for (int size = 0; size < HP_SIZES; size++) {
		long want = before->v[HP_NR][size][HP_ALL + 1];
		long is = now.v[HP_NR][size][HP_ALL + 1];

		nr += is > want;
		if (tell && is > want)
			report(HP_NR, size, HP_ALL, want, is);
	}
	return nr;
}

/* As grown(), after a moment for workers that free some. */
int hp_grown_for_good(const struct hp_state *before)
{
	hp_await(!grown(before, false), "no pool is larger than before");
	return grown(before, true);
}

/* Take hugepages away from a node that has too many. */
static void shrink_node(unsigned long size, int node, long want)
{
	char path[128];

	pool_path(path, sizeof(path), size, node);
	if (hp_read_long("%s", path) > want)
		hp_write(path, "%ld", want);
}

/*
 * Give each node the hugepages that it had before. Migration may have moved some to
 * another node, without any error: where the pool has no free one it takes a temporary
 * one there, and frees the old one here. Refilling alone would make the pool larger.
 * Twice: stock's write of one node's size goes by the sum over all nodes, and makes up
 * on this one for a hugepage that another one frees meanwhile.
 */
void hp_reset_pools(const struct hp_state *before)
{
	for (int turn = 0; turn < 2; turn++) {
		for (int node = 0; node < hp_nodes(); node++) {
			shrink_node(HP_2M, node, before->v[HP_NR][0][node + 1]);
			shrink_node(HP_1G, node, before->v[HP_NR][1][node + 1]);
		}
		hp_refill(before);
	}
}

/* --- what an error costs ----------------------------------------------- */

#define KB_PER_PAGE	((long)(HP_BASE >> 10))

static void expect_error(struct hp_state *want, unsigned long size, int node, long lost)
{
	hp_add(want, HP_BAD, size, node, lost);
	hp_add(want, HP_CORRUPTED, 0, HP_ALL, lost * KB_PER_PAGE);
	hp_add(want, HP_MF_TOTAL, 0, node, 1);
	hp_add(want, HP_MF_RECOVERED, 0, node, 1);
}

/* Containment hugepage: the first error costs all of a file's hugepage. */
void hp_expect_contained(struct hp_state *want, unsigned long size, int node)
{
	expect_error(want, size, node, size / HP_BASE);
	hp_add(want, HP_CONTAINED, size, node, 1);
	hp_add(want, HP_POISONED, size, node, 1);
}

/* Containment page: each error costs its raw page. */
void hp_expect_narrowed(struct hp_state *want, unsigned long size, int node, bool first)
{
	expect_error(want, size, node, 1);
	hp_add(want, HP_NARROWED, size, node, 1);
	if (first)
		hp_add(want, HP_POISONED, size, node, 1);
}

/*
 * A free hugepage is taken apart, or one that will be free when its users have
 * left it. A fresh one takes its place, but see hp_test_begin().
 */
void hp_expect_lost(struct hp_state *want, unsigned long size, int node)
{
	if (size == HP_1G) {
		hp_add(want, HP_NR, size, node, -1);
		hp_add(want, HP_FREE, size, node, -1);
	} else {
		hp_add(want, HP_REPLACED, size, node, 1);
	}
}

/* The last user has left a poisoned hugepage. */
void hp_expect_released(struct hp_state *want, unsigned long size, int node)
{
	hp_expect_lost(want, size, node);
	hp_add(want, HP_FREE, size, node, 1);
	hp_add(want, HP_POISONED, size, node, -1);
	hp_add(want, HP_RELEASED, size, node, 1);
}

/* Pages come back into use. */
void hp_expect_back(struct hp_state *want, unsigned long size, int node, long pages)
{
	hp_add(want, HP_BAD, size, node, -pages);
	hp_add(want, HP_CORRUPTED, 0, HP_ALL, -pages * KB_PER_PAGE);
}

/* --- page frames ------------------------------------------------------- */

static int pread_u64(const char *path, unsigned long *to, unsigned long nr, unsigned long index)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = nr * sizeof(*to);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = pread(fd, to, len, index * sizeof(*to));
	close(fd);
	return n == (ssize_t)len ? 0 : -EIO;
}

/* The page frame behind an address of ours, HP_NO_PFN where none is present. */
unsigned long hp_pfn(const void *addr)
{
	unsigned long entry;

	if (pread_u64("/proc/self/pagemap", &entry, 1, (unsigned long)addr / HP_BASE))
		return HP_NO_PFN;
	if (!(entry >> 63))
		return HP_NO_PFN;
	return entry & ((1ULL << 55) - 1);
}

unsigned long hp_pageflags(unsigned long pfn)
{
	unsigned long flags;

	return pread_u64("/proc/kpageflags", &flags, 1, pfn) ? 0 : flags;
}

/* How many of @nr page frames from @pfn have a flag. */
unsigned long hp_count_flagged(unsigned long pfn, unsigned long nr, unsigned long flag)
{
	unsigned long *flags = malloc(nr * sizeof(*flags));
	unsigned long count = 0;

	if (flags && !pread_u64("/proc/kpageflags", flags, nr, pfn))
		for (unsigned long i = 0; i < nr; i++)
			count += !!(flags[i] & flag);
	free(flags);
	return count;
}

#define MEMORY	"/sys/devices/system/memory/"

/* Page frames of a memory block, 0 where there are none. */
unsigned long hp_block_pages(void)
{
	char text[32];

	if (hp_read_text(MEMORY "block_size_bytes", text, sizeof(text)) <= 0)
		return 0;
	return strtoul(text, NULL, 16) / HP_BASE;
}

/* The memory block that a page frame is in, HP_NO_PFN where there are none. */
unsigned long hp_block(unsigned long pfn)
{
	unsigned long pages = hp_block_pages();

	return pages ? pfn / pages : HP_NO_PFN;
}

/* Returns 0 or -errno. */
int hp_set_block(unsigned long block, const char *state)
{
	char path[96];

	snprintf(path, sizeof(path), MEMORY "memory%lu/state", block);
	return hp_write(path, "%s", state);
}

static void on_alarm(int sig)
{
	(void)sig;
}

/* Taking a block offline may be tried for ever, until a signal comes. */
int hp_try_offline(unsigned long block, unsigned int seconds)
{
	struct sigaction action = { .sa_handler = on_alarm };
	int ret;

	sigaction(SIGALRM, &action, NULL);
	alarm(seconds);
	ret = hp_set_block(block, "offline");
	alarm(0);
	return ret;
}

/* Memory blocks are linked from the directory of their node. */
int hp_pfn_node(unsigned long pfn)
{
	unsigned long block = hp_block(pfn);
	char path[96];

	for (int node = 0; node < hp_nodes(); node++) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/memory%lu",
			 node, block);
		if (!access(path, F_OK))
			return node;
	}
	return -1;
}

static bool is_free_hugepage(unsigned long pfn, unsigned long size)
{
	unsigned long nr = size / HP_BASE;
	unsigned long flags = hp_pageflags(pfn), mapcount;

	if ((flags & (HP_KPF_HUGE | HP_KPF_HEAD)) != (HP_KPF_HUGE | HP_KPF_HEAD))
		return false;
	if (flags & HP_KPF_HWPOISON)
		return false;
	/*
	 * Its last page is a tail, and the next is the head of something else. So it is at
	 * both ends of a GiB with smaller hugepages, which has no tail in the middle.
	 */
	if (!(hp_pageflags(pfn + nr - 1) & HP_KPF_TAIL) ||
	    !(hp_pageflags(pfn + nr / 2) & HP_KPF_TAIL) ||
	    hp_pageflags(pfn + nr) & HP_KPF_TAIL)
		return false;
	return !pread_u64("/proc/kpagecount", &mapcount, 1, pfn) && !mapcount;
}

/*
 * The head of a hugepage that nobody maps. While the test holds none unmapped
 * in a file, that is a free one.
 */
unsigned long hp_find_free(unsigned long size, int node)
{
	unsigned long nr = size / HP_BASE, pfn;
	unsigned long flags;

	for (pfn = nr; !pread_u64("/proc/kpageflags", &flags, 1, pfn); pfn += nr)
		if (is_free_hugepage(pfn, size) && hp_pfn_node(pfn) == node)
			return pfn;
	return HP_NO_PFN;
}

/* --- errors ------------------------------------------------------------ */

static unsigned long poisoned[4096];
static unsigned int nr_poisoned;

/* For hp_undo(). Threads may call it. */
void hp_note_poisoned(unsigned long pfn)
{
	unsigned int i = __atomic_fetch_add(&nr_poisoned, 1, __ATOMIC_RELAXED);

	poisoned[i % ARRAY_SIZE(poisoned)] = pfn;
}

/* An error as a scrubber finds it (action optional). Returns 0 or -errno. */
int hp_inject(unsigned long pfn)
{
	hp_note_poisoned(pfn);
	return hp_write(HP_DEBUGFS "corrupt-pfn", "%#lx", pfn);
}

int hp_unpoison(unsigned long pfn)
{
	return hp_write(HP_DEBUGFS "unpoison-pfn", "%#lx", pfn);
}

/* An error in a free hugepage of the kernel's choice; @subpage < 0: none named. */
int hp_inject_free(unsigned long size, int node, long subpage)
{
	const char *name = size == HP_1G ? "1G" : "2M";

	if (subpage < 0)
		return hp_write(HP_DEBUGFS "corrupt-free-hugepage", "%s %d", name, node);
	return hp_write(HP_DEBUGFS "corrupt-free-hugepage", "%s %d %ld", name, node, subpage);
}

/*
 * When the last user leaves a hugepage a worker takes it apart: for that long
 * it is busy. Returns 0 or -errno.
 */
int hp_unpoison_soon(unsigned long pfn)
{
	int ret = -EBUSY;

	hp_await((ret = hp_unpoison(pfn)) != -EBUSY, "%#lx can be unpoisoned", pfn);
	return ret;
}

static void undo_one(unsigned long pfn)
{
	unsigned long head;

	/* /proc/kpageflags is not asked: it warns while a hugepage is taken apart */
	if (!hp_unpoison(pfn) || !is_stock())
		return;
	/* A kernel that knows of the head only. */
	for (int i = 0; i < HP_SIZES; i++) {
		head = pfn & -(sizes[i] / HP_BASE);
		if (hp_pageflags(head) & HP_KPF_HUGE && !hp_unpoison(head))
			return;
	}
}

/*
 * Undo the errors that a test left behind, until HardwareCorrupted is what it was
 * before, in kB. One try is not enough: a hugepage is busy while it is taken
 * apart, and there is a moment then when its raw pages do not look bad.
 */
void hp_undo(long corrupted)
{
	unsigned int nr = nr_poisoned < ARRAY_SIZE(poisoned) ? nr_poisoned : ARRAY_SIZE(poisoned);
	long end = hp_now_ms() + (is_stock() ? STOCK_MS : HP_PATIENCE_MS);

	for (;;) {
		for (unsigned int i = 0; i < nr; i++)
			undo_one(poisoned[i]);
		if (hp_meminfo_kb("HardwareCorrupted") <= corrupted || hp_now_ms() > end)
			break;
		hp_pause();
	}
	nr_poisoned = 0;
}

/*
 * How much an error may cost from now on: "page", which is the default, or
 * "hugepage". The end of the test sets it back. Returns 0 or -errno.
 */
int hp_set_containment(const char *policy)
{
	return hp_write(HP_SYSFS "containment", "%s", policy);
}

/* Whether a lost hugepage is replaced by a fresh one. */
int hp_set_replace(bool replace)
{
	return hp_write(HP_SYSFS "replace", "%d", replace);
}

/* --- the kernel's log -------------------------------------------------- */

/* From here on. */
int hp_log_open(struct hp_log *log)
{
	log->text = NULL;
	log->len = 0;
	log->fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (log->fd < 0)
		return -errno;
	return lseek(log->fd, 0, SEEK_END) < 0 ? -errno : 0;
}

void hp_log_close(struct hp_log *log)
{
	close(log->fd);
	free(log->text);
}

static void append(struct hp_log *log, const char *text)
{
	size_t len = strlen(text);
	char *bigger = realloc(log->text, log->len + len + 1);

	if (!bigger)
		return;
	memcpy(bigger + log->len, text, len + 1);
	log->text = bigger;
	log->len += len;
}

/* A record is "priority,sequence,time,flags;text\n". */
static void pull(struct hp_log *log)
{
	char record[8192], *text;
	ssize_t n;

	for (;;) {
		n = read(log->fd, record, sizeof(record) - 1);
		if (n < 0 && errno == EPIPE)	/* some were overwritten */
			continue;
		if (n <= 0)
			return;
		record[n] = '\0';
		text = strchr(record, ';');
		if (text)
			append(log, text + 1);
	}
}

/* Skip all messages so far. */
void hp_log_forget(struct hp_log *log)
{
	pull(log);
	free(log->text);
	log->text = NULL;
	log->len = 0;
}

/*
 * Find a phrase that must not be in the log, without waiting; NULL if it is not
 * there.
 */
const char *hp_log_has(struct hp_log *log, const char *phrase)
{
	pull(log);
	return log->text ? strstr(log->text, phrase) : NULL;
}

/*
 * Returns the text behind the first occurrence of a phrase, or NULL if it is not
 * said. A message can be read when those before it are written, maybe by another
 * CPU that is not running just now, and some are left to a worker.
 */
const char *hp_log_find(struct hp_log *log, const char *fmt, ...)
{
	const char *at;
	char phrase[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(phrase, sizeof(phrase), fmt, args);
	va_end(args);
	hp_await((at = hp_log_has(log, phrase)), "the log says \"%s\"", phrase);
	return at ? at + strlen(phrase) : NULL;
}

#define MOST_COMPLAINTS	32

struct patterns {
	regex_t regex[MOST_COMPLAINTS];
	size_t nr;
};

static void compile(struct patterns *patterns, const char * const *text, size_t nr)
{
	while (patterns->nr < nr) {
		if (regcomp(&patterns->regex[patterns->nr], text[patterns->nr],
			    REG_EXTENDED | REG_NOSUB))
			abort();
		patterns->nr++;
	}
}

static bool matches(const char *line, const struct patterns *patterns)
{
	for (size_t i = 0; i < patterns->nr; i++)
		if (!regexec(&patterns->regex[i], line, 0, NULL, 0))
			return true;
	return false;
}

static bool is_complaint(const char *line)
{
	static struct patterns yes, no;

	_Static_assert(ARRAY_SIZE(hp_complaints) <= MOST_COMPLAINTS, "raise MOST_COMPLAINTS");
	compile(&yes, hp_complaints, ARRAY_SIZE(hp_complaints));
	compile(&no, hp_no_complaints, ARRAY_SIZE(hp_no_complaints));
	return matches(line, &yes) && !matches(line, &no);
}

/* Prints and counts the kernel's complaints in the log. */
int hp_log_complaints(struct hp_log *log)
{
	char *copy, *line, *rest;
	int nr = 0;

	pull(log);
	if (!log->text)
		return 0;
	copy = strdup(log->text);
	rest = copy;
	while ((line = strsep(&rest, "\n"))) {
		if (!is_complaint(line))
			continue;
		printf("# the kernel says: %s\n", line);
		nr++;
	}
	free(copy);
	return nr;
}

/* --- fixtures ---------------------------------------------------------- */

/* Returns 0, or -errno after naming the missing thing. */
/*
 * @size is of the hugepages that the test loses. The kernel must not replace 1
 * GiB pages: whether a guest has another GiB in a row is chance.
 */
int hp_test_begin(struct hp_test *test, unsigned long size)
{
	int ret = hp_log_open(&test->log);

	if (ret) {
		printf("# cannot read /dev/kmsg: %s. Run this as root.\n", strerror(-ret));
		return ret;
	}
	if (access(HP_DEBUGFS "corrupt-pfn", W_OK)) {
		ret = -errno;
		printf("# no " HP_DEBUGFS "corrupt-pfn: needs root and CONFIG_HWPOISON_INJECT\n");
		return ret;
	}
	hp_read_state(&test->before);
	return hp_set_replace(size != HP_1G);
}

/* Returns the number of leftovers, after printing each. */
int hp_test_end(struct hp_test *test)
{
	int left;

	hp_set_containment("page");
	hp_set_replace(true);
	hp_undo(*hp_at(&test->before, HP_CORRUPTED, 0, HP_ALL));
	left = hp_grown_for_good(&test->before);
	hp_reset_pools(&test->before);
	left += hp_check(&test->before, HP_GAUGES);
	left += hp_log_complaints(&test->log);
	hp_log_close(&test->log);
	return left;
}
