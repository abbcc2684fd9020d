/* SPDX-License-Identifier: GPL-2.0 */
/* hugepoison-inject: the command line's options. */
#ifndef HUGEPOISON_OPTIONS_H
#define HUGEPOISON_OPTIONS_H

#include "util.h"

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

/* options.c */
int options_parse(enum command command, int argc, char **argv, const char *doc,
		  unsigned int flags, struct options *opt);

/* watch.c */
int watch(const struct options *opt, int (*look)(const struct options *opt));

#endif /* HUGEPOISON_OPTIONS_H */
