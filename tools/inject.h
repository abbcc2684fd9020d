/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of hugepoison-inject share.
 *
 *	hugepoison-inject.c	options, the order of events, the verdict
 *	util.c			numbers, small files, errors
 *	hugepage.c		from a PFN to its hugepage: flags, size, node, scans
 *	target.c		from a file, process, segment or pool to a PFN
 *	way.c			the kernel's ways to poison and to unpoison
 *	log.c			the kernel's log from the injection on
 *	report.c		counters before and after, table and JSON
 */
#ifndef HUGEPOISON_INJECT_H
#define HUGEPOISON_INJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit status. A function that returns int returns one of these. */
enum {
	DONE = 0,
	FAILED = 1,		/* nothing was touched, or the kernel refused */
	USAGE = 2,		/* the command line makes no sense */
	UNSUPPORTED = 77,	/* this kernel lacks what it takes */
};

#define PAGE_SHIFT	12
#define PAGE_BYTES	(1UL << PAGE_SHIFT)
#define ANY_NODE	(-1)
#define NO_VALUE	(-1LL)	/* a counter this kernel does not have */

enum target_kind {
	TARGET_NONE, TARGET_FILE, TARGET_PID, TARGET_SHM, TARGET_PFN, TARGET_FREE,
};

enum way {
	WAY_DEFAULT,		/* way_choose() decides */
	WAY_CORRUPT_PFN,
	WAY_CORRUPT_FREE,	/* corrupt-free-hugepage: the kernel chooses */
	WAY_HARD_OFFLINE,
	WAY_MADVISE,
	WAY_UNPOISON,
};

enum subpage { SUBPAGE_NAMED, SUBPAGE_HEAD, SUBPAGE_TAIL, SUBPAGE_RANDOM, SUBPAGE_INDEX };

struct options {
	enum target_kind kind;
	const char *file;
	uint64_t offset;	/* of --file and --shmid, bytes */
	uint64_t pid;
	uint64_t addr;
	uint64_t shmid;
	uint64_t pfn;
	uint64_t size;		/* of --free, bytes; 0: the default hugepage size */
	int node;
	enum way way;
	enum subpage subpage;
	uint64_t index;		/* of SUBPAGE_INDEX */
	bool any_page;
	bool dry_run;
	bool unpoison;
	bool json;
};

/**
 * struct page - a raw page and the hugepage around it
 * @known: false while only the pool is known, because the kernel will choose
 * @huge: false for a page that is in no hugepage; then @head is @pfn, @pages 1
 * @pfn: the raw page
 * @head: the hugepage's first page
 * @pages: how many base pages the hugepage has
 * @node: its NUMA node, ANY_NODE if unknown
 * @poisoned: the hugepage was poisoned when it was looked up
 */
struct page {
	bool known;
	bool huge;
	uint64_t pfn;
	uint64_t head;
	uint64_t pages;
	int node;
	bool poisoned;
};

/* Our own mapping of the target's hugepage: only madvise needs one for long. */
struct mapping {
	void *addr;		/* where the hugepage starts, NULL if none */
	size_t len;
	void *attached;		/* shmat()'s address, NULL for a file */
};

struct signal_seen {
	bool seen;
	int code;
	uintptr_t addr;
	int lsb;
};

/* What became of the one call that changes something. */
struct outcome {
	int err;		/* the errno of the call, 0 if it succeeded */
	struct signal_seen sig;
	const char *verdict;	/* why the result is "failed", NULL if done */
};

/* util.c */
int fail(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *errno_name(int err);
const char *parse_number(const char *text, bool suffixes, uint64_t max, uint64_t *out);
long long read_value(const char *path);
long long read_keyed_value(const char *path, const char *key);
bool in_list_file(const char *path, unsigned int number);
void size_text(uint64_t bytes, char *buf, size_t len);

/* hugepage.c */
int hugepage_open(void);
bool size_known(uint64_t bytes);
uint64_t default_size(void);
void known_sizes(char *buf, size_t len);
bool page_flags(uint64_t pfn, uint64_t *flags);
bool page_poisoned(uint64_t pfn);
uint64_t count_poisoned(const struct page *page);
int node_of(uint64_t pfn);
int page_lookup(uint64_t pfn, struct page *page);
void page_assume(uint64_t pfn, uint64_t pages, struct page *page);

enum scan { SCAN_FREE, SCAN_POISONED, SCAN_POISONED_FREE };
int scan_hugepages(enum scan what, uint64_t size, int node, struct page *found, int max);

/* target.c */
int target_find(const struct options *opt, struct page *page, struct mapping *map);
int target_pick_page(const struct options *opt, struct page *page);
void target_unmap(struct mapping *map);
long long free_hugepages(uint64_t size, int node);

/* way.c */
enum way way_choose(const struct options *opt);
int way_check(enum way way);
const char *way_name(enum way way);
bool kernel_has_hugepoison(void);
void way_apply(const struct options *opt, const struct page *page,
	       const struct mapping *map, struct outcome *out);

/* log.c */
struct log {
	int fd;
	bool lost;		/* records were overwritten before we read them */
	char **line;
	int lines;
};

void log_start(struct log *log);
void log_read(struct log *log);
void log_free(struct log *log);
bool log_line_pfn(const char *line, uint64_t *pfn);
bool log_names(const char *line, const struct page *page);
int log_find_hit(const struct log *log, uint64_t pages, int node, struct page *page);

/* report.c */
struct counter {
	char name[32];
	char path[160];		/* "" for those that are computed */
	int node;		/* ANY_NODE: system-wide */
	bool important;		/* shown even when it did not change */
	long long before, after;
};

struct counters {
	struct counter *row;
	int rows;
};

struct report {
	const struct options *opt;
	const struct page *page;
	const struct outcome *out;
	const struct counters *counters;
	const struct log *log;
};

int counters_start(struct counters *c, const struct page *page);
void counters_finish(struct counters *c, const struct page *page);
void counters_free(struct counters *c);
int report_print(const struct report *r);

#endif /* HUGEPOISON_INJECT_H */
