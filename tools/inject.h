/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of hugepoison-inject share.
 *
 *	hugepoison-inject.c	the commands, by table
 *	options.c		what may follow a command, and what goes with what
 *	inject.c		inject and unpoison: look, check, hit, judge
 *	plan.c			which raw pages a call is going to hit
 *	target.c		from a file, segment or pool to a PFN
 *	process.c		from a process to PFNs
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

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define VERSION	"2"

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
#define MAX_NODES	1024
#define MAX_SIZES	8
#define MAX_HITS	65536	/* errors of one call; soak has no limit */

#define fallthrough	__attribute__((__fallthrough__))
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof(*(a)))

/* Bits, for each option says which commands take it. */
enum command {
	CMD_STATUS = 1, CMD_LIST = 2, CMD_FEATURES = 4, CMD_INJECT = 8, CMD_UNPOISON = 16,
	CMD_VERIFY = 32, CMD_SOAK = 64, CMD_MONITOR = 128, CMD_REMEMBER = 256,
};

enum target_kind {
	TARGET_NONE, TARGET_FILE, TARGET_PID, TARGET_SHM, TARGET_PFN, TARGET_FREE,
};

enum way {
	WAY_DEFAULT,		/* way_choose() decides */
	WAY_CORRUPT_PFN,
	WAY_HARD_OFFLINE,
	WAY_SOFT_OFFLINE,
	WAY_MADVISE,
	WAY_MCE,
	WAY_CORRUPT_FREE,	/* corrupt-free-hugepage: the kernel chooses */
	WAY_UNPOISON,
};

enum subpage { SUBPAGE_NAMED, SUBPAGE_HEAD, SUBPAGE_TAIL, SUBPAGE_RANDOM, SUBPAGE_INDEX };

enum state {
	STATE_ANY, STATE_FREE, STATE_RESERVED, STATE_SHARED, STATE_PRIVATE, STATE_UNFAULTED,
	STATE_PINNED,
};

enum memory { MEMORY_LIST, MEMORY_NOW, MEMORY_REPLAY, MEMORY_FORGET, MEMORY_FORGET_ALL };

struct options {
	enum command command;
	enum target_kind kind;
	const char *file;
	uint64_t pid;
	uint64_t shmid;
	uint64_t at;		/* offset, address or PFN: the target's kind tells which */
	uint64_t end;		/* of a range, exclusive; 0: one raw page */
	bool everywhere;	/* no place was given: --all-of, and verify */
	bool by_number;		/* --hugepage */
	uint64_t number;
	uint64_t size;		/* of --free, bytes; 0: the default hugepage size */
	int node;
	enum state state;
	enum way way;
	enum subpage subpage;
	uint64_t index;		/* of SUBPAGE_INDEX */
	bool again, second;
	uint64_t delay;		/* seconds */
	bool any_page, yes, dry_run, json, prometheus;
	const char *output;
	uint64_t rate, count, duration, seed, max_loss;	/* of soak; 0: no limit */
	bool seeded, resume;
	const char *report;
	bool dimm;
	uint64_t watch;		/* seconds between two looks; 0: one look */
	bool mappings, journal, remember;	/* of monitor */
	const char *from, *triggers;
	enum memory memory;	/* of remember; at: which page to forget */
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

/* Our own mapping of the target. */
struct mapping {
	void *addr;		/* where the first hugepage starts, NULL if none */
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

/* util.c */
#define EVERYDAY_NAME	"hugepoisonctl"

extern bool quiet;
extern const char *program;

int fail(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *errno_name(int err);
const char *parse_number(const char *text, bool suffixes, uint64_t max, uint64_t *out);
const char *parse_range(const char *text, bool suffixes, uint64_t max, uint64_t *start,
			uint64_t *end);
long long read_value(const char *path);
long long read_keyed_value(const char *path, const char *key);
long long hardware_corrupted(void);
bool read_word(const char *path, char *buf, size_t len);
bool in_list_file(const char *path, unsigned int number);
bool node_online(int node);
void size_text(uint64_t bytes, char *buf, size_t len);
void print_name(FILE *f, const char *name);
bool privileged(void);
int check_privilege(void);
int finish_output(FILE *f, const char *name);
double now(void);
void sleep_until(double when);

/* hugepage.c */
int hugepage_sizes(uint64_t *bytes, int max);
int hugepage_open(void);
bool size_known(uint64_t bytes);
uint64_t default_size(void);
void known_sizes(char *buf, size_t len);
bool page_flags(uint64_t pfn, uint64_t *flags);
bool page_poisoned(uint64_t pfn);
bool next_marked(uint64_t *pfn);
uint64_t count_poisoned(const struct page *page);
int node_of(uint64_t pfn);
int page_lookup(uint64_t pfn, struct page *page);
void page_assume(uint64_t pfn, uint64_t pages, struct page *page);
enum state page_state(const struct page *page);
bool page_unmapped(const struct page *page);
uint64_t last_pfn(void);

enum scan { SCAN_FREE, SCAN_POISONED, SCAN_POISONED_FREE };
int scan_hugepages(enum scan what, uint64_t size, int node, struct page *found, int max);

/* probe.c */
enum probe { PROBE_PRESENT, PROBE_HOLE, PROBE_POISONED, PROBE_FAILED };

int probe_page(void *addr, size_t size, enum probe *result);

/* target.c */
int target_find(const struct options *opt, struct page *page, struct mapping *map);
int find_in_file(const struct options *opt, int fd, const char *name, uint64_t offset,
		 struct page *page, struct mapping *map);
int target_pick_page(const struct options *opt, struct page *page);
int target_map(const struct options *opt, struct mapping *map, uint64_t *size);
void target_unmap(struct mapping *map);
void target_name(const struct options *opt, FILE *f);
const char *state_mismatch(const struct options *opt, const struct page *page);
long long free_hugepages(uint64_t size, int node);
uint64_t random_number(void);

/* process.c */
struct vma {
	uint64_t start, end, offset;
	unsigned int major, minor;
	uint64_t inode;
	uint64_t page_size;	/* 0: not looked up */
	bool shared;
	char name[64];
};

#define PM_PRESENT	(1ULL << 63)
#define PM_SWAPPED	(1ULL << 62)
#define PM_PFN_MASK	((1ULL << 55) - 1)

bool parse_vma(const char *line, struct vma *vma);
int process_open(uint64_t pid);
int process_vmas(uint64_t pid, struct vma **vmas, size_t *count);
int process_entries(uint64_t pid, uint64_t addr, uint64_t *entry, size_t count);
int process_map_file(uint64_t pid, const struct vma *vma);
int process_hugepages(uint64_t pid, uint64_t **addr, size_t *count);
int nth_hugepage(const struct options *opt, uint64_t *at);
bool process_pins(uint64_t pid);
int find_pid(const struct options *opt, struct page *page, struct mapping *map);
int read_pagemap(int dirfd, const char *path, uint64_t addr, uint64_t *entry, size_t count);

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
int write_text(const char *path, const char *text);
void way_apply(const struct options *opt, const struct page *page,
	       const struct mapping *map, struct outcome *out);

/* mce.c */
int mce_check(const char *debugfs);
int mce_inject(const char *debugfs, uint64_t pfn);

/* inject.c */
int run_inject(struct options *opt);
int inject_one(const struct options *opt, struct hit *hit, struct outcome *out);

/* log.c */
struct log {
	int fd;
	bool lost;		/* records were overwritten before we read them */
	char **line;
	int lines;
};

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

/* json.c */
struct json_object;

void put_number(struct json_object *o, const char *key, uint64_t value);
void put_value(struct json_object *o, const char *key, long long value);
void put_text(struct json_object *o, const char *key, const char *text);
void put_bool(struct json_object *o, const char *key, bool value);
void put_target(struct json_object *o, const struct options *opt);
struct json_object *json_start(const char *action);
void json_finish(struct json_object *o, FILE *f, bool pretty);

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

/* list.c, owner.c */
struct bad {
	uint64_t pfn, kb;
	int node;
	char state[12];
	char owner[256];	/* as the kernel writes it */
};

int run_list(struct options *opt);
bool parse_bad(const char *line, struct bad *bad);
bool parse_own(const char *line, uint64_t *start, uint64_t *end, uint64_t *kb, char state[12]);
struct bad *read_bad_pages(size_t *count);
long owner_shmid(const struct bad *bad);
void owner_path(const struct bad *bad, char *buf, size_t len);
void owner_pids(const struct bad *bad, char *buf, size_t len);

/* json.c, list.c */
struct json_object *json_owner(const struct bad *bad, bool pids);

/* trace.c */
struct trace {
	int fd;
	bool ended;		/* of a file */
	bool clock_known;	/* its times are those of now() */
	char dir[320];		/* our instance, "" for a file */
	char text[8192];	/* read, and not handed out yet */
	size_t got;
};

int trace_check(char *tracefs, size_t len);
int trace_open(struct trace *trace, bool mappings);
int trace_open_file(struct trace *trace, const char *name);
void trace_close(struct trace *trace);
bool trace_line(struct trace *trace, char *line, size_t len);
double trace_when(const struct trace *trace, double seconds);

/* event.c */
enum event_kind {
	EVENT_CONTAIN, EVENT_NARROW, EVENT_PROMOTE, EVENT_RELEASE, EVENT_REPLACE, EVENT_HEAL,
	EVENT_PAGE,		/* the kernel's own: an error in any page */
	EVENT_LOST,		/* the buffer of the trace was too small */
};

/**
 * struct event - something that happened
 * @kind: what
 * @seconds: when, on the clock of the trace
 * @when: the same since 1970, 0 where that is not known
 * @pfn: the page frame, see include/trace/events/hugepoison.h
 * @kb: the size of the hugepage, 4 where it is none
 * @node: the NUMA node, ANY_NODE where that is not known
 * @outcome: in a word
 * @type: what the kernel takes the page for, of its own events
 * @ns: how long it took
 * @lost: how many events, of EVENT_LOST
 * @injected: it was no real error
 * @bad: what the kernel has of it; without a state if it has nothing
 */
struct event {
	enum event_kind kind;
	double seconds, when;
	uint64_t pfn, kb;
	int node;
	char outcome[16], type[40];
	uint64_t ns, lost;
	bool injected;
	struct bad bad;
};

const char *event_name(enum event_kind kind);
bool event_parse(const char *line, struct event *event);
int event_severity(const struct event *event);
bool event_is_error(const struct event *event);
const char *event_words(const struct event *event);
bool event_look_up(struct event *event, const struct bad *list, size_t count);
void event_time(const struct event *event, char *buf, size_t len);
void event_owner(const struct event *event, char *buf, size_t len);
void event_header(FILE *f);
void event_print(const struct event *event, FILE *f);
void event_json(const struct event *event, FILE *f);

/* notify.c */
#define MESSAGE_ID_ERROR		"7c2f5d1be38a4f6d9b0e64a1d75c3f28"
#define MESSAGE_ID_NOT_CONTAINED	"e41b90c6a7d2483f8f35c1907be62d4a"
#define MESSAGE_ID_AFTER		"1d86f3ab5c094e27a2f7d0385b9e4c61"
#define MESSAGE_ID_POOL_SHORT		"b93e07d45f6c4a189ce2816fa04d7b35"
#define MESSAGE_ID_LOST			"50a7c9e2d81b4637b46f3e95c20d8a1f"

void event_fields(const struct event *event, char *buf, size_t len);
int journal_event(const struct event *event);
void notify_ready(void);

/* trigger.c */
#define TRIGGER_SECONDS	10

struct triggers {
	bool active;
	int fd;
	int pid;
	uint64_t dropped;
};

int triggers_check(const char *dir);
int triggers_start(struct triggers *t, const char *dir);
void triggers_event(struct triggers *t, const struct event *event);
void triggers_stop(struct triggers *t);

/* monitor.c */
int run_monitor(struct options *opt);

/* injected.c */
bool injected_line(const char *text, uint64_t *pfn);
void injected_load(void);
bool was_injected(uint64_t pfn);
int injected_begin(void);
void injected_note(int fd, uint64_t pfn, bool back);
void injected_end(int fd);

/* dmi.c */
#define MAX_MODULES	256

struct module {
	uint16_t handle, array;
	uint32_t mb;
	char locator[48], bank[48], serial[40], part[40];
};

/* Addresses of an array of modules, or of one. */
struct range {
	bool one;
	uint16_t handle;
	uint64_t start, end;
};

struct dmi {
	char machine[33];
	struct module module[MAX_MODULES];
	size_t modules;
	struct range range[MAX_MODULES];
	size_t ranges;
};

void dmi_parse(const uint8_t *p, size_t len, struct dmi *dmi);
void dmi_read(struct dmi *dmi);
size_t dmi_modules(const struct dmi *dmi, uint64_t pfn, const struct module *list[MAX_MODULES]);
void module_text(const struct module *m, char *buf, size_t len);

/* store.c */
#define STORE_DIR	"/var/lib/hugepoison"
#define STORE_FILE	STORE_DIR "/pages"

struct remembered {
	uint64_t pfn, kb;
	char since[24];
	char *memory;
};

struct store {
	struct remembered *page;
	size_t pages;
	char machine[40];	/* "" where the firmware does not name it */
	bool damaged;		/* what could be read of the file is here */
	bool other;		/* another machine's */
};

size_t store_parse(struct store *s, FILE *f);
int store_load(struct store *s);
void store_free(struct store *s);
int store_lock(int *fd);
int store_save(const struct store *s, int dir);
struct remembered *store_find(const struct store *s, uint64_t pfn);
bool store_add(struct store *s, uint64_t pfn, uint64_t kb, const char *since, const char *memory);
void store_forget(struct store *s, struct remembered *page);
char *memory_text(const struct dmi *dmi, uint64_t pfn);

/* remember.c */
int remember_errors(const uint64_t *pfns, size_t count);
int run_remember(struct options *opt);

/* dimm.c */
struct dimm {
	uint64_t pfn;
	char name[192];
	const char *source;
	size_t candidates;	/* how many modules it may be, where none is named */
};

void dimm_open(const struct bad *list, size_t count);
void dimm_find(uint64_t pfn, struct dimm *dimm);
void dimm_text(uint64_t pfn, char *buf, size_t len);

/* watch.c */
int watch(const struct options *opt, int (*look)(const struct options *opt));

/* colour.c */
enum colour { COLOUR_NONE, COLOUR_BAD, COLOUR_WARN, COLOUR_GOOD, COLOUR_END };

const char *colour(FILE *f, enum colour colour);

/* touch.c, verify.c, verify-process.c */
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

bool touch(const void *addr, struct signal_seen *sig);
void note_signal(struct signal_seen *sig, const siginfo_t *info);
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

/* options.c */
const char *state_name(enum state state);
int options_parse(enum command command, int argc, char **argv, const char *doc,
		  unsigned int flags, struct options *opt);

#endif /* HUGEPOISON_INJECT_H */
