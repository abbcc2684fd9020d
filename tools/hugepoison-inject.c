// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject - put a memory error into a hugepage and tell what came of it
 *
 * The order of events: read the options, find the raw page, see whether the kernel
 * has the way to poison it, take the counters, look at the page once more, inject,
 * take the counters again, judge, report. Everything before the injection only
 * reads; there is one call that changes anything, in way_apply().
 */
#define _GNU_SOURCE
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inject.h"

#define CAP_SYS_ADMIN_BIT	21
#define PFN_MAX			((1ULL << 40) - 1)
#define TARGETS			"--file, --pid, --shmid, --pfn, --free"

const char *argp_program_version = "hugepoison-inject 1";

enum key {
	KEY_FILE = 256, KEY_OFFSET, KEY_PID, KEY_ADDR, KEY_SHMID, KEY_PFN, KEY_FREE, KEY_SIZE,
	KEY_NODE, KEY_VIA, KEY_SUBPAGE, KEY_UNPOISON, KEY_ANY_PAGE, KEY_DRY_RUN, KEY_JSON, KEY_END,
};

static const struct argp_option argp_options[] = {
	{ NULL, 0, NULL, 0, "Target (exactly one):", 1 },
	{ "file", KEY_FILE, "FILE", 0,
	  "the hugepage at --offset of a file on hugetlbfs, or of a hugetlb memfd "
	  "(/proc/PID/fd/N)",
	  1 },
	{ "offset", KEY_OFFSET, "BYTES", 0, "where in FILE or segment (default 0)", 1 },
	{ "pid", KEY_PID, "PID", 0, "the hugepage at --addr of a process", 1 },
	{ "addr", KEY_ADDR, "ADDRESS", 0, "where in PID", 1 },
	{ "shmid", KEY_SHMID, "ID", 0, "the hugepage at --offset of a SysV segment", 1 },
	{ "pfn", KEY_PFN, "PFN", 0, "the page frame with this number", 1 },
	{ "free", KEY_FREE, NULL, 0, "a free hugepage of the pool", 1 },
	{ "size", KEY_SIZE, "SIZE", 0, "with --free: 2M or 1G (default: the default hugepage size)",
	  1 },
	{ "node", KEY_NODE, "NODE", 0, "with --free: on this NUMA node (default: any)", 1 },

	{ NULL, 0, NULL, 0, "What to do:", 2 },
	{ "via", KEY_VIA, "WAY", 0,
	  "corrupt-pfn (default) or hard-offline: as a memory scrubber reports an error, "
	  "\"action optional\": mappers that asked for early kill get SIGBUS now, others on "
	  "access. madvise: as an access that hit the error, \"action required\": this tool maps the page "
	  "and gets the SIGBUS itself; with --file and --shmid only",
	  2 },
	{ "subpage", KEY_SUBPAGE, "WHICH", 0,
	  "raw page of the hugepage: head, tail (the last), random or its index. Default: the page "
	  "that the offset, address or PFN names; head for --free",
	  2 },
	{ "unpoison", KEY_UNPOISON, NULL, 0,
	  "take the error back: on a stock kernel all errors of the hugepage, with "
	  "CONFIG_HUGEPOISON that of the named page, or all if it has none. Only the kernel "
	  "knows whether it still can. With --free: from a poisoned hugepage in the pool",
	  2 },
	{ "any-page", KEY_ANY_PAGE, NULL, 0,
	  "with --pid or --pfn: take a page that is in no hugepage, too", 2 },
	{ "dry-run", KEY_DRY_RUN, NULL, 0,
	  "check everything, show what would be hit, change nothing", 2 },
	{ "json", KEY_JSON, NULL, 0, "print the report as JSON", 2 },
	{ 0 },
};

static const char argp_doc[] =
	"Put a simulated memory error into one raw page of a hugepage, and report what was hit and "
	"what changed.\v"
	"This kills processes and takes memory away, as a real error does: for test machines.\n\n"
	"Numbers are decimal, or hexadecimal with 0x; BYTES and SIZE take K, M or G.\n\n"
	"Holes are refused: no hugepage is ever allocated. A poisoned hugepage named by file, "
	"address or segment is found if it is the only poisoned one of its size.\n\n"
	"Exit status: 0 done, 1 failed, 2 usage, 77 not supported by this kernel.\n\n"
	"Examples:\n"
	"  hugepoison-inject --file /dev/hugepages/db --offset 4M --dry-run\n"
	"  hugepoison-inject --pid 1234 --addr 0x7f2a40000000 --subpage tail --json\n"
	"  hugepoison-inject --free --size 1G --node 1\n"
	"  hugepoison-inject --unpoison --pfn 0x12a00\n";

/* What was seen of the command line, beside the options themselves. */
struct parsed {
	struct options opt;
	bool seen[KEY_END - KEY_FILE];
};

static bool seen(const struct parsed *p, enum key key)
{
	return p->seen[key - KEY_FILE];
}

static uint64_t number(struct argp_state *state, const char *option, const char *text,
		       bool suffixes, uint64_t max)
{
	uint64_t value = 0;
	const char *wrong = parse_number(text, suffixes, max, &value);

	if (wrong)
		argp_error(state, "--%s %s: %s", option, text, wrong);
	return value;
}

static enum way parse_way(struct argp_state *state, const char *text)
{
	for (int way = WAY_CORRUPT_PFN; way <= WAY_MADVISE; way++)
		if (way != WAY_CORRUPT_FREE && !strcmp(text, way_name(way)))
			return way;
	argp_error(state, "--via %s: no such way; there are corrupt-pfn, hard-offline and madvise",
		   text);
	return WAY_DEFAULT;
}

static void parse_subpage(struct argp_state *state, const char *text, struct options *opt)
{
	if (!strcmp(text, "head"))
		opt->subpage = SUBPAGE_HEAD;
	else if (!strcmp(text, "tail"))
		opt->subpage = SUBPAGE_TAIL;
	else if (!strcmp(text, "random"))
		opt->subpage = SUBPAGE_RANDOM;
	else if (!parse_number(text, false, PFN_MAX, &opt->index))
		opt->subpage = SUBPAGE_INDEX;
	else
		argp_error(state,
			   "--subpage %s: neither head, tail, random nor the index of a raw page",
			   text);
}

static void parse_target(struct argp_state *state, enum key key, char *arg, struct options *opt)
{
	enum target_kind kind = TARGET_NONE;

	switch (key) {
	case KEY_FILE:
		kind = TARGET_FILE;
		opt->file = arg;
		break;
	case KEY_PID:
		kind = TARGET_PID;
		opt->pid = number(state, "pid", arg, false, INT_MAX);
		break;
	case KEY_SHMID:
		kind = TARGET_SHM;
		opt->shmid = number(state, "shmid", arg, false, INT_MAX);
		break;
	case KEY_PFN:
		kind = TARGET_PFN;
		opt->pfn = number(state, "pfn", arg, false, PFN_MAX);
		break;
	default:
		kind = TARGET_FREE;
	}
	if (opt->kind != TARGET_NONE && opt->kind != kind)
		argp_error(state, "more than one target: give one of " TARGETS);
	opt->kind = kind;
}

static int parse_detail(struct argp_state *state, int key, char *arg, struct options *opt)
{
	switch (key) {
	case KEY_OFFSET:
		opt->offset = number(state, "offset", arg, true, INT64_MAX);
		break;
	case KEY_ADDR:
		opt->addr = number(state, "addr", arg, false, UINT64_MAX);
		break;
	case KEY_SIZE:
		opt->size = number(state, "size", arg, true, 1ULL << 50);
		if (!opt->size)
			argp_error(state, "--size 0: no hugepage is that small");
		break;
	case KEY_NODE:
		opt->node = (int)number(state, "node", arg, false, INT_MAX);
		break;
	case KEY_VIA:
		opt->way = parse_way(state, arg);
		break;
	case KEY_SUBPAGE:
		parse_subpage(state, arg, opt);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static int parse_switch(int key, struct options *opt)
{
	switch (key) {
	case KEY_UNPOISON:
		opt->unpoison = true;
		break;
	case KEY_ANY_PAGE:
		opt->any_page = true;
		break;
	case KEY_DRY_RUN:
		opt->dry_run = true;
		break;
	case KEY_JSON:
		opt->json = true;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* What each way to name a target needs, and what goes with no other. */
static const char *check_target(const struct parsed *p)
{
	enum target_kind kind = p->opt.kind;

	if (kind == TARGET_NONE)
		return "no target: give one of " TARGETS;
	if (kind == TARGET_PID && !seen(p, KEY_ADDR))
		return "--pid needs --addr: see /proc/PID/maps";
	if (kind != TARGET_PID && seen(p, KEY_ADDR))
		return "--addr goes with --pid only";
	if (kind != TARGET_FILE && kind != TARGET_SHM && seen(p, KEY_OFFSET))
		return "--offset goes with --file or --shmid only";
	if (kind != TARGET_FREE && (seen(p, KEY_SIZE) || seen(p, KEY_NODE)))
		return "--size and --node go with --free only";
	if (kind != TARGET_PID && kind != TARGET_PFN && p->opt.any_page)
		return "--any-page goes with --pid or --pfn only";
	return NULL;
}

static const char *check_action(const struct parsed *p)
{
	const struct options *opt = &p->opt;

	if (opt->unpoison && seen(p, KEY_VIA))
		return "--unpoison has one way only: leave --via out";
	if (opt->unpoison && seen(p, KEY_SUBPAGE))
		return "--unpoison takes the page that the target names: leave --subpage out";
	if (opt->way != WAY_MADVISE || opt->kind == TARGET_FILE || opt->kind == TARGET_SHM)
		return NULL;
	if (opt->kind == TARGET_PID)
		return "--via madvise poisons the caller's own memory, not another process's: give "
		       "the same page as --file or --shmid, or use --via corrupt-pfn";
	return "--via madvise needs something to map: use --file or --shmid, or --via corrupt-pfn";
}

static void check_combination(struct argp_state *state, const struct parsed *p)
{
	const char *wrong = check_target(p);

	if (!wrong)
		wrong = check_action(p);
	if (wrong)
		argp_error(state, "%s", wrong);
}

static const char *option_name(int key)
{
	const struct argp_option *o = argp_options;

	while (o->key != key)
		o++;
	return o->name;
}

static error_t parse_opt(int key, char *arg, struct argp_state *state)
{
	struct parsed *p = state->input;

	if (key == ARGP_KEY_ARG)
		argp_error(state, "%s: unexpected; a target is named by an option", arg);
	if (key == ARGP_KEY_END)
		check_combination(state, p);
	if (key < KEY_FILE || key >= KEY_END)
		return ARGP_ERR_UNKNOWN;
	if (p->seen[key - KEY_FILE])
		argp_error(state, "--%s is given twice", option_name(key));
	p->seen[key - KEY_FILE] = true;
	if (parse_detail(state, key, arg, &p->opt) && parse_switch(key, &p->opt))
		parse_target(state, (enum key)key, arg, &p->opt);
	return 0;
}

/* PFNs, kpageflags, debugfs and MADV_HWPOISON all ask for the same capability. */
static int check_privilege(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	uint64_t caps = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %" SCNx64, &caps) == 1)
			break;
	if (f)
		fclose(f);
	if (caps >> CAP_SYS_ADMIN_BIT & 1)
		return DONE;
	return fail(FAILED, "not permitted: run as root (it takes CAP_SYS_ADMIN)");
}

static int check_poisoned(const struct options *opt, const struct page *page)
{
	if (!opt->unpoison || page->poisoned)
		return DONE;
	return fail(FAILED, "PFN 0x%" PRIx64 " is not poisoned: there is nothing to take back",
		    page->pfn);
}

/* Is it still there? It may have been freed or migrated since we looked. */
static int look_again(const struct options *opt, const struct page *page)
{
	struct mapping map;
	struct page now;
	int status;

	if (!page->known || opt->way == WAY_MADVISE)
		return DONE;
	status = target_find(opt, &now, &map);
	if (status)
		return status;
	target_unmap(&map);
	if (now.head == page->head && now.pages == page->pages)
		return DONE;
	return fail(FAILED, "the target moved from PFN 0x%" PRIx64 " to 0x%" PRIx64
		    " while being looked at: nothing was hit, try again", page->head, now.head);
}

/* The kernel chose: its log says what, and /proc/kpageflags has to agree. */
static const char *find_choice(const struct log *log, struct page *page)
{
	struct page hit;
	int hits = log_find_hit(log, page->pages, page->node, &hit);

	if (hits > 1)
		return "several hugepages were poisoned at the same time: which one by us cannot "
		       "be told";
	if (!hits)
		return "the kernel reports success, but its log names no page";
	hit.poisoned = false;
	*page = hit;
	return NULL;
}

/* A free hugepage of our own choice may have been taken before the error struck. */
static bool was_free(const struct log *log, const struct page *page)
{
	for (int i = 0; i < log->lines; i++)
		if (log_names(log->line[i], page) && strstr(log->line[i], "free huge page"))
			return true;
	return log->fd < 0 || log->lost;	/* no evidence against it */
}

static const char *judge_unpoison(const struct outcome *out, const struct page *page)
{
	if (out->err)
		return "the kernel did not take the error back";
	/* With CONFIG_HUGEPOISON another error of the hugepage may keep it marked. */
	if (page_poisoned(page->head) && !kernel_has_hugepoison())
		return "the kernel reports success, but the hugepage is still marked";
	return NULL;
}

static const char *judge(const struct options *opt, const struct outcome *out,
			 const struct log *log, struct page *page)
{
	const char *wrong = NULL;

	if (opt->unpoison)
		return judge_unpoison(out, page);
	if (out->err)
		return "the kernel did not handle the error, or not fully";
	if (!page->known)
		wrong = find_choice(log, page);
	if (!wrong && !page_poisoned(page->pfn))
		return "the kernel reports success, but the page is not marked: do the "
		       "corrupt-filter-* files in debugfs exclude it?";
	if (!wrong && opt->kind == TARGET_FREE && !was_free(log, page))
		return "the hugepage was no longer free when the error struck it";
	return wrong;
}

static int act(const struct options *opt, struct page *page, const struct mapping *map,
	       struct counters *counters)
{
	struct outcome out = { 0 };
	struct log log = { .fd = -1 };
	int status;

	if (!opt->dry_run) {
		log_start(&log);
		if (log.fd < 0 && !page->known)
			return fail(FAILED, "cannot read /dev/kmsg, where the kernel says which "
				    "hugepage it chose: use --via corrupt-pfn");
		way_apply(opt, page, map, &out);
		log_read(&log);
		out.verdict = judge(opt, &out, &log, page);
		counters_finish(counters, page);
	}
	status = report_print(&(struct report) { opt, page, &out, counters, &log });
	if (out.verdict)
		status = fail(FAILED, "%s%s%s", out.verdict, out.err ? ": " : "",
			      out.err ? errno_name(out.err) : "");
	log_free(&log);
	return status;
}

/* All that can be found wrong without changing anything. */
static int prepare(struct options *opt, struct page *page, struct mapping *map)
{
	int status = target_find(opt, page, map);

	if (status)
		return status;
	if (opt->way != WAY_MADVISE)
		target_unmap(map);
	status = target_pick_page(opt, page);
	if (!status)
		status = check_poisoned(opt, page);
	if (!status)
		status = way_check(opt->way);
	return status;
}

static int run(struct options *opt)
{
	struct counters counters = { 0 };
	struct mapping map = { 0 };
	struct page page;
	int status = check_privilege();

	if (!status)
		status = hugepage_open();
	if (status)
		return status;
	opt->way = way_choose(opt);
	status = prepare(opt, &page, &map);
	if (!status)
		status = counters_start(&counters, &page);
	if (!status)
		status = look_again(opt, &page);
	if (!status)
		status = act(opt, &page, &map, &counters);
	counters_free(&counters);
	target_unmap(&map);
	return status;
}

int main(int argc, char **argv)
{
	const struct argp argp = { argp_options, parse_opt, NULL, argp_doc, NULL, NULL, NULL };
	struct parsed p = { .opt.node = ANY_NODE };

	/* A closed pipe is an error to report, after the injection, not to die of. */
	signal(SIGPIPE, SIG_IGN);
	argp_err_exit_status = USAGE;
	if (argp_parse(&argp, argc, argv, 0, NULL, &p))
		return USAGE;
	return run(&p.opt);
}
