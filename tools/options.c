// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: the options of each command, and their combinations.
 *
 * There is one table of options for all commands; each option says which commands
 * take it. --help of a command shows those.
 */
#define _GNU_SOURCE
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "inject.h"

#define PFN_MAX		((1ULL << 40) - 1)
#define HITTING		(CMD_INJECT | CMD_UNPOISON)
#define TARGETED	(HITTING | CMD_VERIFY | CMD_SOAK)
#define NAMED		(TARGETED | CMD_LIST)
#define ALL		(NAMED | CMD_STATUS | CMD_FEATURES | CMD_MONITOR | CMD_REMEMBER)

static void print_version(FILE *f, struct argp_state *state)
{
	(void)state;
	fprintf(f, "%s " VERSION "\n", program);
}

/* argp calls it for --version */
void (*argp_program_version_hook)(FILE *f, struct argp_state *state) = print_version;

enum key {
	KEY_FILE = 256, KEY_OFFSET, KEY_PID, KEY_ADDR, KEY_ALL_OF, KEY_SHMID, KEY_HUGEPAGE, KEY_PFN,
	KEY_FREE, KEY_SIZE, KEY_NODE, KEY_STATE, KEY_VIA, KEY_SUBPAGE, KEY_AGAIN, KEY_SECOND,
	KEY_DELAY, KEY_ANY_PAGE, KEY_YES, KEY_COUNT, KEY_RATE, KEY_DURATION, KEY_SEED, KEY_MAX_LOSS,
	KEY_REPORT, KEY_RESUME, KEY_DRY_RUN, KEY_JSON, KEY_PROMETHEUS, KEY_OUTPUT,
	KEY_MAPPINGS, KEY_FROM, KEY_JOURNAL, KEY_TRIGGERS, KEY_WATCH,
	KEY_DIMM, KEY_REMEMBER, KEY_NOW, KEY_REPLAY, KEY_FORGET, KEY_FORGET_ALL, KEY_END,
};

static const struct row {
	unsigned int commands;
	struct argp_option option;
} rows[] = {
	{ NAMED, { NULL, 0, NULL, 0, "Target:", 1 } },
	{ NAMED,
	  { "file", KEY_FILE, "FILE", 0, "a file on hugetlbfs, or a hugetlb memfd (/proc/PID/fd/N)",
	    1 } },
	{ NAMED, { "shmid", KEY_SHMID, "ID", 0, "a SysV segment", 1 } },
	{ TARGETED, { "pid", KEY_PID, "PID", 0, "a process", 1 } },
	{ CMD_INJECT,
	  { "all-of", KEY_ALL_OF, "PID", 0, "every hugepage that a process maps, one error in each",
	    1 } },
	{ HITTING, { "pfn", KEY_PFN, "PFN[-END]", 0, "the page frame with this number", 1 } },
	{ HITTING, { "free", KEY_FREE, NULL, 0, "a free hugepage of the pool", 1 } },
	{ HITTING | CMD_VERIFY, { NULL, 0, NULL, 0, "Where in it:", 2 } },
	{ HITTING | CMD_VERIFY,
	  { "offset", KEY_OFFSET, "BYTES[-END]", 0,
	    "where in file or segment (default 0; verify: all of it). Each "
	    "raw page of a range, END not included; with --subpage, one of "
	    "each hugepage",
	    2 } },
	{ HITTING | CMD_VERIFY, { "addr", KEY_ADDR, "ADDRESS[-END]", 0, "where in a process", 2 } },
	{ HITTING | CMD_VERIFY,
	  { "hugepage", KEY_HUGEPAGE, "N", 0,
	    "the N-th hugepage of file or segment, or of those that a process "
	    "maps, from 0 on",
	    2 } },
	{ HITTING,
	  { "size", KEY_SIZE, "SIZE", 0,
	    "with --free: 2M or 1G (default: the default hugepage size)", 2 } },
	{ HITTING, { "node", KEY_NODE, "NODE", 0, "with --free: on this NUMA node", 2 } },
	{ CMD_INJECT | CMD_SOAK,
	  { "state", KEY_STATE, "STATE", 0,
	    "only a hugepage that is free, reserved (free, but promised), shared (of a file), "
	    "private, unfaulted (of a file, and nobody maps it) or pinned (of a process that has "
	    "pinned memory: which page no kernel tells)",
	    2 } },
	{ CMD_INJECT | CMD_SOAK,
	  { "subpage", KEY_SUBPAGE, "WHICH", 0,
	    "raw page of the hugepage: head, tail (the last), random or its index. Default: the "
	    "page that the offset, address or PFN names; else head; soak: random",
	    2 } },
	{ CMD_INJECT | CMD_SOAK, { NULL, 0, NULL, 0, "How:", 3 } },
	{ CMD_INJECT | CMD_SOAK,
	  { "via", KEY_VIA, "WAY", 0,
	    "corrupt-pfn (default) or hard-offline: as a memory scrubber reports an error, "
	    "\"action optional\": mappers that asked for early kill get SIGBUS now, others on "
	    "access. mce-inject: the same through the machine check code (AMD only): this tool makes "
	    "the kernel poll its banks. madvise: as an access that hit the error, \"action "
	    "required\": this tool maps the page and gets the SIGBUS itself; with --file and "
	    "--shmid only. soft-offline: as many corrected errors, the page is moved and nothing is "
	    "lost",
	    3 } },
	{ CMD_INJECT,
	  { "again", KEY_AGAIN, NULL, 0, "then report the same raw page once more", 3 } },
	{ CMD_INJECT | CMD_SOAK,
	  { "second", KEY_SECOND, NULL, 0,
	    "then hit the next raw page of the same hugepage; soak: hit hugepages with an error, "
	    "too",
	    3 } },
	{ HITTING,
	  { "any-page", KEY_ANY_PAGE, NULL, 0,
	    "with --pid or --pfn: take a page that is in no hugepage, too", 3 } },
	{ HITTING,
	  { "delay", KEY_DELAY, "SECONDS", 0,
	    "wait between the look and the hit; skip a page that moved meanwhile", 3 } },
	{ CMD_SOAK, { NULL, 0, NULL, 0, "Until when, how fast:", 4 } },
	{ CMD_SOAK, { "count", KEY_COUNT, "N", 0, "this many errors in all", 4 } },
	{ CMD_SOAK, { "duration", KEY_DURATION, "SECONDS", 0, "this long", 4 } },
	{ CMD_SOAK,
	  { "max-loss", KEY_MAX_LOSS, "SIZE", 0, "until HardwareCorrupted has grown by so much",
	    4 } },
	{ CMD_SOAK,
	  { "rate", KEY_RATE, "N", 0, "errors in a minute (default: as fast as it goes)", 4 } },
	{ CMD_SOAK,
	  { "seed", KEY_SEED, "N", 0, "of the random numbers (default: any; it is shown)", 4 } },
	{ CMD_SOAK,
	  { "report", KEY_REPORT, "FILE", 0, "write a line of JSON for each error to a new file",
	    4 } },
	{ CMD_SOAK,
	  { "resume", KEY_RESUME, NULL, 0, "go on with --report of an earlier soak", 4 } },
	{ CMD_MONITOR, { NULL, 0, NULL, 0, "What, and for whom:", 4 } },
	{ CMD_MONITOR, { "count", KEY_COUNT, "N", 0, "end after so many events", 4 } },
	{ CMD_MONITOR,
	  { "mappings", KEY_MAPPINGS, NULL, 0,
	    "with an event for each mapping: many, and any user can cause them", 4 } },
	{ CMD_MONITOR,
	  { "from", KEY_FROM, "FILE", 0,
	    "read a trace from FILE, as trace_pipe prints it (- for standard input)", 4 } },
	{ CMD_MONITOR,
	  { "journal", KEY_JOURNAL, NULL, 0, "to systemd's journal, with fields", 4 } },
	{ CMD_MONITOR,
	  { "triggers", KEY_TRIGGERS, "DIR", 0,
	    "run the programs in DIR for each event, with its fields in the environment", 4 } },
	{ CMD_MONITOR,
	  { "remember", KEY_REMEMBER, NULL, 0,
	    "remember real errors over reboots, see the command remember", 4 } },
	{ CMD_REMEMBER, { NULL, 0, NULL, 0, "What to do (without: show remembered pages):", 4 } },
	{ CMD_REMEMBER, { "now", KEY_NOW, NULL, 0, "remember all that is bad now", 4 } },
	{ CMD_REMEMBER,
	  { "replay", KEY_REPLAY, NULL, 0, "take remembered pages out of use", 4 } },
	{ CMD_REMEMBER,
	  { "forget", KEY_FORGET, "PFN", 0, "remember that page frame no longer", 4 } },
	{ CMD_REMEMBER, { "forget-all", KEY_FORGET_ALL, NULL, 0, "remember nothing", 4 } },
	{ CMD_INJECT | CMD_SOAK,
	  { "yes", KEY_YES, NULL, 0, "this is a test machine: do it. Without, nothing is hit",
	    5 } },
	{ ALL,
	  { "dry-run", KEY_DRY_RUN, NULL, 0,
	    "check everything, show the plan, change nothing", 5 } },
	{ ALL, { "json", KEY_JSON, NULL, 0, "print the report as JSON", 5 } },
	{ CMD_LIST,
	  { "dimm", KEY_DIMM, NULL, 0,
	    "a line for each bad page, with its memory module: of rasdaemon, DMI or EDAC", 5 } },
	{ CMD_STATUS | CMD_LIST,
	  { "watch", KEY_WATCH, "SECONDS", OPTION_ARG_OPTIONAL,
	    "again and again, until a signal comes (default: each 2 s)", 5 } },
	{ CMD_STATUS,
	  { "prometheus", KEY_PROMETHEUS, NULL, 0,
	    "print the report as metrics, for node_exporter's textfile collector", 5 } },
	{ CMD_STATUS,
	  { "output", KEY_OUTPUT, "FILE", 0, "put the report into FILE, all at once", 5 } },
};

/* The parser's notes on the command line, beside the options themselves. */
struct parsed {
	struct options *opt;
	bool seen[KEY_END - KEY_FILE];
};

static bool seen(const struct parsed *p, enum key key)
{
	return p->seen[key - KEY_FILE];
}

static const char *option_name(int key)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].option.key == key)
			return rows[i].option.name;
	return "?";
}

static uint64_t number(struct argp_state *state, int key, const char *text, bool suffixes,
		       uint64_t max)
{
	uint64_t value = 0;
	const char *wrong = parse_number(text, suffixes, max, &value);

	if (wrong)
		argp_error(state, "--%s %s: %s", option_name(key), text, wrong);
	return value;
}

/* A number that must not be 0: 0 would mean no limit. */
static uint64_t limit(struct argp_state *state, int key, const char *text, bool suffixes,
		      uint64_t max)
{
	uint64_t value = number(state, key, text, suffixes, max);

	if (!value)
		argp_error(state, "--%s %s: has to be more than 0", option_name(key), text);
	return value;
}

static void range(struct argp_state *state, int key, const char *text, bool suffixes,
		  uint64_t max, struct options *opt)
{
	const char *wrong = parse_range(text, suffixes, max, &opt->at, &opt->end);

	if (wrong)
		argp_error(state, "--%s %s: %s", option_name(key), text, wrong);
}

static enum way parse_way(struct argp_state *state, const char *text)
{
	for (int way = WAY_CORRUPT_PFN; way <= WAY_MCE; way++)
		if (!strcmp(text, way_name(way)))
			return way;
	argp_error(state, "--via %s: no such way; there are corrupt-pfn, hard-offline, "
		   "soft-offline, madvise and mce-inject", text);
	return WAY_DEFAULT;
}

static enum state parse_state(struct argp_state *state, const char *text)
{
	for (enum state i = STATE_FREE; i <= STATE_PINNED; i++)
		if (!strcmp(text, state_name(i)))
			return i;
	argp_error(state, "--state %s: no such state; there are free, reserved, shared, private, "
		   "unfaulted and pinned", text);
	return STATE_ANY;
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

static int parse_target(struct argp_state *state, int key, char *arg, struct options *opt)
{
	enum target_kind kind;

	switch (key) {
	case KEY_FILE:
		kind = TARGET_FILE;
		opt->file = arg;
		break;
	case KEY_ALL_OF:
		opt->everywhere = true;
		fallthrough;
	case KEY_PID:
		kind = TARGET_PID;
		opt->pid = number(state, key, arg, false, INT_MAX);
		break;
	case KEY_SHMID:
		kind = TARGET_SHM;
		opt->shmid = number(state, key, arg, false, INT_MAX);
		break;
	case KEY_PFN:
		kind = TARGET_PFN;
		range(state, key, arg, false, PFN_MAX, opt);
		break;
	case KEY_FREE:
		kind = TARGET_FREE;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	if (opt->kind != TARGET_NONE)
		argp_error(state, "more than one target: give one only");
	opt->kind = kind;
	return 0;
}

static int parse_place(struct argp_state *state, int key, char *arg, struct options *opt)
{
	switch (key) {
	case KEY_OFFSET:
		range(state, key, arg, true, INT64_MAX, opt);
		break;
	case KEY_ADDR:
		range(state, key, arg, false, UINT64_MAX, opt);
		break;
	case KEY_HUGEPAGE:
		opt->by_number = true;
		opt->number = number(state, key, arg, false, INT64_MAX >> 21);
		break;
	case KEY_SIZE:
		opt->size = number(state, key, arg, true, 1ULL << 50);
		if (!opt->size)
			argp_error(state, "--size 0: no hugepage is that small");
		break;
	case KEY_NODE:
		opt->node = (int)number(state, key, arg, false, INT_MAX);
		break;
	case KEY_STATE:
		opt->state = parse_state(state, arg);
		break;
	case KEY_SUBPAGE:
		parse_subpage(state, arg, opt);
		break;
	case KEY_VIA:
		opt->way = parse_way(state, arg);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static int parse_limit(struct argp_state *state, int key, char *arg, struct options *opt)
{
	switch (key) {
	case KEY_DELAY:
		opt->delay = number(state, key, arg, false, 86400);
		break;
	case KEY_COUNT:
		opt->count = limit(state, key, arg, false, INT64_MAX);
		break;
	case KEY_RATE:
		opt->rate = limit(state, key, arg, false, 1000000);
		break;
	case KEY_DURATION:
		opt->duration = limit(state, key, arg, false, INT_MAX);
		break;
	case KEY_SEED:
		opt->seed = number(state, key, arg, false, INT64_MAX);
		opt->seeded = true;
		break;
	case KEY_MAX_LOSS:
		opt->max_loss = limit(state, key, arg, true, 1ULL << 50);
		break;
	case KEY_WATCH:
		opt->watch = arg ? limit(state, key, arg, false, 86400) : 2;
		break;
	case KEY_REPORT:
		opt->report = arg;
		break;
	case KEY_OUTPUT:
		opt->output = arg;
		break;
	case KEY_FROM:
		opt->from = arg;
		break;
	case KEY_TRIGGERS:
		opt->triggers = arg;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static bool *find_switch(int key, struct options *opt)
{
	switch (key) {
	case KEY_AGAIN:
		return &opt->again;
	case KEY_SECOND:
		return &opt->second;
	case KEY_ANY_PAGE:
		return &opt->any_page;
	case KEY_YES:
		return &opt->yes;
	case KEY_RESUME:
		return &opt->resume;
	case KEY_DRY_RUN:
		return &opt->dry_run;
	case KEY_JSON:
		return &opt->json;
	case KEY_PROMETHEUS:
		return &opt->prometheus;
	case KEY_DIMM:
		return &opt->dimm;
	case KEY_MAPPINGS:
		return &opt->mappings;
	case KEY_JOURNAL:
		return &opt->journal;
	case KEY_REMEMBER:
		return &opt->remember;
	default:
		return NULL;	/* KEY_FREE and the like are targets */
	}
}

static void parse_memory(struct argp_state *state, int key, char *arg, struct options *opt)
{
	static const enum memory what[] = {
		[KEY_NOW - KEY_NOW] = MEMORY_NOW, [KEY_REPLAY - KEY_NOW] = MEMORY_REPLAY,
		[KEY_FORGET - KEY_NOW] = MEMORY_FORGET,
		[KEY_FORGET_ALL - KEY_NOW] = MEMORY_FORGET_ALL,
	};

	if (opt->memory != MEMORY_LIST)
		argp_error(state, "--now, --replay, --forget and --forget-all: give one only");
	opt->memory = what[key - KEY_NOW];
	if (key == KEY_FORGET)
		opt->at = number(state, key, arg, false, PFN_MAX);
}

/*
 * Options that each kind of target needs, and options that exclude each other.
 */
static const char *check_target(const struct parsed *p)
{
	const struct options *opt = p->opt;
	enum target_kind kind = opt->kind;
	bool in_file = kind == TARGET_FILE || kind == TARGET_SHM;

	if (kind == TARGET_NONE && opt->command & TARGETED)
		return "no target: see --help for how to name one";
	if (kind == TARGET_PID && opt->command & HITTING && !opt->everywhere &&
	    !seen(p, KEY_ADDR) && !opt->by_number)
		return "--pid needs --addr or --hugepage: see /proc/PID/maps";
	if (kind != TARGET_PID && seen(p, KEY_ADDR))
		return "--addr goes with --pid only";
	if (!in_file && seen(p, KEY_OFFSET))
		return "--offset goes with --file or --shmid only";
	if (opt->by_number && (seen(p, KEY_ADDR) || seen(p, KEY_OFFSET) || seen(p, KEY_ALL_OF)))
		return "--hugepage is a place of its own: leave --addr, --offset and --all-of out";
	if (seen(p, KEY_ALL_OF) && seen(p, KEY_ADDR))
		return "--all-of takes all of the process: use --pid with --addr";
	if (opt->by_number && !in_file && kind != TARGET_PID)
		return "--hugepage goes with --file, --shmid or --pid only";
	if (kind != TARGET_FREE && (seen(p, KEY_SIZE) || seen(p, KEY_NODE)))
		return "--size and --node go with --free only";
	if (kind != TARGET_PFN && (kind != TARGET_PID || opt->everywhere) && opt->any_page)
		return "--any-page goes with --pid or --pfn only";
	return NULL;
}

static const char *check_way(const struct options *opt)
{
	if (opt->way != WAY_MADVISE || opt->kind == TARGET_FILE || opt->kind == TARGET_SHM)
		return NULL;
	if (opt->kind == TARGET_PID)
		return "--via madvise poisons the caller's own memory, not another process's: give "
		       "the same page as --file or --shmid, or use --via corrupt-pfn";
	return "--via madvise needs something to map: use --file or --shmid, or --via corrupt-pfn";
}

static const char *check_state(const struct options *opt)
{
	bool pool = opt->state == STATE_FREE || opt->state == STATE_RESERVED;

	if (opt->state == STATE_ANY || opt->kind == TARGET_PFN)
		return NULL;
	if (opt->kind == TARGET_FREE && !pool)
		return "--free takes free hugepages: --state can be free or reserved";
	if (opt->kind != TARGET_FREE && pool)
		return "--state free and reserved go with --free or --pfn only";
	if (opt->kind != TARGET_PID && opt->state == STATE_PINNED)
		return "--state pinned goes with --pid and --all-of only";
	return NULL;
}

static const char *check_action(const struct parsed *p)
{
	const struct options *opt = p->opt;
	bool limited = opt->count || opt->duration || opt->max_loss;

	if ((opt->again || opt->second) && opt->way == WAY_SOFT_OFFLINE)
		return "--again and --second go with errors: soft-offline makes none";
	if (opt->command == CMD_SOAK && !limited)
		return "no limit: give one of --count, --duration, --max-loss";
	if (opt->resume && !opt->report)
		return "--resume needs --report: the file to go on with";
	if (opt->resume && opt->seeded)
		return "--resume takes the seed of the report: leave --seed out";
	if (opt->prometheus && opt->json)
		return "--json and --prometheus: give one only";
	if (opt->watch && (opt->prometheus || opt->output))
		return "--watch is for people: a timer is for --prometheus and --output";
	if (opt->dimm && opt->kind != TARGET_NONE)
		return "--dimm takes page frames, and of a file or segment only root knows them: "
		       "leave --file and --shmid out";
	return NULL;
}

static void check_combination(struct argp_state *state, const struct parsed *p)
{
	const char *wrong = check_target(p);

	if (!wrong)
		wrong = check_way(p->opt);
	if (!wrong)
		wrong = check_state(p->opt);
	if (!wrong)
		wrong = check_action(p);
	if (wrong)
		argp_error(state, "%s", wrong);
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
	if (key >= KEY_NOW && key <= KEY_FORGET_ALL)
		parse_memory(state, key, arg, p->opt);
	if (parse_target(state, key, arg, p->opt) && parse_place(state, key, arg, p->opt) &&
	    parse_limit(state, key, arg, p->opt) && find_switch(key, p->opt))
		*find_switch(key, p->opt) = true;
	return 0;
}

/**
 * options_parse - read the command line of a command
 * @command: which one
 * @argc: how many words
 * @argv: the words, from the name to use in messages on
 * @doc: the text of --help above and below the options
 * @flags: of argp_parse(); 0: a mistake ends the program, with USAGE
 * @opt: the options
 *
 * Return: DONE or USAGE.
 */
int options_parse(enum command command, int argc, char **argv, const char *doc,
		  unsigned int flags, struct options *opt)
{
	struct argp_option table[ARRAY_SIZE(rows) + 1] = { 0 };
	const struct argp argp = { table, parse_opt, NULL, doc, NULL, NULL, NULL };
	struct parsed p = { .opt = opt };
	int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].commands & command)
			table[n++] = rows[i].option;
	*opt = (struct options) { .command = command, .node = ANY_NODE };
	argp_err_exit_status = USAGE;
	if (argp_parse(&argp, argc, argv, flags, NULL, &p))
		return USAGE;
	if (command == CMD_VERIFY && !seen(&p, KEY_ADDR) && !seen(&p, KEY_OFFSET) &&
	    !opt->by_number)
		opt->everywhere = true;
	if (command == CMD_SOAK || command == CMD_LIST)
		opt->everywhere = true;
	if (command == CMD_SOAK && opt->subpage == SUBPAGE_NAMED)
		opt->subpage = SUBPAGE_RANDOM;
	return DONE;
}
