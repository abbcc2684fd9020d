/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Declarations that the commands of hugepoison-inject share, and a list of all parts. A
 * part includes the lowest header that is enough: util.h, options.h, page.h (raw pages, and
 * how they are found), event.h (bad pages, and events), memory.h (memory modules), this
 * one.
 *
 *	hugepoison-inject.c	the commands, by table
 *	options.c		what may follow a command, and what goes with what
 *	inject.c		inject and unpoison: look, check, hit, judge
 *	plan.c			which raw pages a call is going to hit
 *	target.c		from what the command line names to a raw page
 *	locate.c		from a place in a file to its raw page
 *	process.c		from a process to PFNs
 *	pagemap.c		from an address to its entry of the page table
 *	probe.c			what a file has at an offset, without touching it
 *	hugepage.c		from a PFN to its hugepage: flags, size, node, state
 *	way.c, mce.c		the kernel's ways to poison and to unpoison
 *	log.c			the kernel's log from the injection on
 *	counters.c, report.c	counters before and after, table and JSON
 *	status.c, metrics.c	policy, counters, pools; as a table, JSON, metrics
 *	list.c, owner.c		what is bad, and whose
 *	verify.c, verify-process.c, touch.c	what can be read of a target
 *	soak.c, journal.c	many errors at random, and the report of them
 *	monitor.c, trace.c, event.c	what happens, as it happens
 *	repeat.c		... again and again
 *	notify.c, trigger.c	... in systemd's journal, and for programs to act on
 *	injected.c		which errors are no real ones
 *	features.c		what this kernel has
 *	remember.c, store.c	bad pages over reboots, and the file that has them
 *	dmi.c, dimm.c		which memory modules there are, and which it is
 *	colour.c, watch.c	on a terminal; again and again
 *	util.c, json.c		numbers, small files, errors; JSON
 */
#ifndef HUGEPOISON_INJECT_H
#define HUGEPOISON_INJECT_H

#include "event.h"
#include "memory.h"
#include "options.h"
#include "page.h"
#include "util.h"

/* The result of the one call that changes something. */
struct outcome {
	int err;		/* the errno of the call, 0 if it succeeded */
	struct signal_seen sig;
	const char *verdict;	/* why the result is "failed", NULL if done */
};

enum repeat { FIRST, AGAIN, SECOND };

/**
 * struct hit - one error that is to be injected, or taken back
 * @page: where
 * @at: the offset, address or PFN that led there
 * @repeat: whether it is another one in a hugepage that was just hit
 */
struct hit {
	struct page page;
	uint64_t at;
	enum repeat repeat;
};

struct plan {
	struct hit *hit;
	size_t hits;
};

/* plan.c */
int plan_make(const struct options *opt, struct plan *plan);
int plan_look_again(const struct options *opt, const struct hit *hit, struct mapping *map);
void plan_free(struct plan *plan);

/* way.c */
enum way way_choose(const struct options *opt);
int way_check(enum way way);
const char *way_name(enum way way);
bool kernel_has_hugepoison(void);
bool mounted_dir(const char *kind, char *dir, size_t len);
bool debugfs_dir(char *dir, size_t len);
void way_apply(const struct options *opt, const struct page *page,
	       const struct mapping *map, struct outcome *out);

/* mce.c */
int mce_check(const char *debugfs);
int mce_inject(const char *debugfs, uint64_t pfn);

/* inject.c */
int run_inject(struct options *opt);
int inject_one(const struct options *opt, struct hit *hit, struct outcome *out);

/* log.c */
#define LOG_RECORD_MAX	8192	/* a read() is a record; the kernel's limit is below this */

struct log_reader {
	int fd, end;
	bool lost;		/* records were overwritten before we read them */
	bool done;		/* of this call: */
	uint64_t newer;		/* a record that is newer, UINT64_MAX if none is known */
	double until;
};

struct log {
	struct log_reader reader;
	char **line;
	int lines;
};

void log_open(struct log_reader *r);
void log_close(struct log_reader *r);
void log_begin(struct log_reader *r);
char *log_next(struct log_reader *r, char record[LOG_RECORD_MAX + 1]);
void log_start(struct log *log);
void log_read(struct log *log);
void log_wait(struct log *log, const char *prefix, const struct page *page);
void log_free(struct log *log);
char *log_record_text(char *record);
bool log_line_pfn(const char *line, uint64_t *pfn);
bool log_names(const char *line, const struct page *page);
int log_find_hit(const struct log *log, uint64_t pages, int node, struct page *page);

/* counters.c */
#define ROW_CORRUPTED	"HardwareCorrupted"
#define ROW_MARKED	"KPF_HWPOISON"
#define NODES_DIR	"/sys/devices/system/node"
#define OURS_DIR	"/sys/kernel/mm/hugepoison"

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

int counters_start(struct counters *c, const struct page *page);
void counters_finish(struct counters *c, const struct page *page);
void counters_free(struct counters *c);

/* report.c */
struct report {
	const struct options *opt;
	const struct hit *hit;
	const struct outcome *out;
	const struct counters *counters;
	const struct log *log;
};

void report_print(const struct report *r);
void report_row(const struct report *r);
const char *code_name(int code);
const char *result_text(const struct report *r);

/* status.c */
struct figure {
	enum { FIGURE_BAD, FIGURE_EVENT, FIGURE_POOL } group;
	char name[32];
	uint64_t kb;
	int node;		/* ANY_NODE: only for resv_hugepages */
	long long value;
};

struct status {
	struct figure *figure;
	size_t figures;
	char kernel[65];
	char policy[16];	/* "" on a stock kernel */
	long long replace, corrupted_kb;
};

int run_status(struct options *opt);
int status_take(struct status *s);
void metrics_print(const struct status *s, FILE *f);

/* verify.c, verify-process.c */
struct touched {
	uint64_t pages;		/* that were read, or tried */
	uint64_t holes;		/* hugepages that are not there */
	uint64_t healthy, raw;	/* as they should be */
	uint64_t lost;		/* healthy, but cannot be read */
	uint64_t readable;	/* raw, but can be read */
	uint64_t strange;	/* lost with another signal than is right */
	struct signal_seen sig;	/* the first that was seen */
	bool told;		/* the kernel tells which pages are raw */
};

int run_verify(struct options *opt);
int verify_process(const struct options *opt, struct touched *t);

/* soak.c, journal.c */
struct soak {
	uint64_t seed;
	uint64_t errors;	/* injected, this run and those before */
	uint64_t done, failed;
	uint64_t loss_kb;
	double seconds;
};

int run_soak(struct options *opt);
int journal_open(const struct options *opt, struct soak *s, FILE **f);
bool journal_parse(const char *line, const struct options *opt, struct soak *s);
int journal_write(FILE *f, const struct soak *s, const struct hit *hit,
		  const struct outcome *out);

/* features.c */
int run_features(struct options *opt);

#endif /* HUGEPOISON_INJECT_H */
