/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A fuzzer of hugepages and memory errors.
 *
 * A round is a set of things (files and private mappings of hugepages), some
 * processes with some threads each, and a list of operations for each thread, its
 * lane. Lane and step decide about the operation and its arguments, so the seed of a
 * round is all there is to say about it; what other threads do meanwhile is not
 * decided by it. After each round nothing may be left.
 *
 * fuzz.c:	options, rounds, the watch over them
 * lane.c:	processes, threads, signals, the order of operations
 * model.c:	what each page must hold
 * slot.c:	where a process maps things
 * trace.c:	operations, where a dead guest leaves them
 * hand.c:	root's part: errors, unpoisoning, the pool
 * settle.c:	what must be left after a round: nothing
 * ops_*.c:	the operations, by subject
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "../hugetlb-poison/hp.h"

#define PROCESSES	8		/* at most */
#define THREADS		8		/* of each, at most */
#define LANES		(PROCESSES * THREADS)
#define OBJECTS		8		/* shared things, made before a round */
#define ANONS		64		/* shared anonymous things of a round */
#define THINGS		2048		/* with the private ones */
#define NR_MOST		4		/* hugepages of a thing */
#define SLOTS		6		/* mappings of a process */
#define WATCHED		512		/* base pages of each hugepage with a model */
#define DOOMED		16		/* of them, those that errors may hit */
#define WORDS		4		/* looked at in each page */
#define MARKS		2	/* of a page that is written to: where and by whom */
#define STEPS		4096		/* of a lane in a round, at most */
#define INJECTED	4096		/* errors of a round, at most */

/* --- random numbers ------------------------------------------------------ */

struct rng {
	unsigned long state;
};

static inline unsigned long mix(unsigned long x)
{
	x += 0x9e3779b97f4a7c15UL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9UL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebUL;
	return x ^ (x >> 31);
}

static inline unsigned long rnd(struct rng *rng, unsigned long below)
{
	rng->state += 0x9e3779b97f4a7c15UL;
	return mix(rng->state) % below;
}

/* --- what all processes see ---------------------------------------------- */

enum thing_kind { T_NONE, T_ANON, T_MEMFD, T_FILE, T_SHM, T_PRIVATE };

/* Contents that a page may have. */
enum content {
	ZERO,
	EXACT,		/* the stamp of the version */
	UNSURE,		/* each word zero, or the stamp of some version */
	OF_FILE,	/* as UNSURE, with the file's stamps too */
};

struct thing {
	enum thing_kind kind;
	unsigned long size;		/* of a hugepage, in bytes */
	unsigned int nr;		/* hugepages */
	int fd;				/* -1: none */
	int shmid;
	bool wide;			/* all of a hugepage may be lost to an error */
	unsigned long *model;		/* shared things: NR_MOST * WATCHED */
};

enum order { DO_NOTHING, DO_HIT, DO_UNPOISON, DO_SOFT, DO_HIT_FREE, DO_COMPACT, DO_POOL, DO_READ,
	     DO_LIMIT, DO_POLICY, DO_WHERE, DO_OVERCOMMIT };

/* A lane's request to the hand. */
struct request {
	int order;			/* DO_NOTHING: free */
	pid_t pid;
	unsigned long addr;
	unsigned long arg;
	int answer;
};

struct lane {
	pid_t pid, tid;
	pid_t child;			/* what a fork of it left, 0: none */
	unsigned int steps;		/* done */
	int op;				/* that is going on, -1: none */
	unsigned long since;			/* in ms */
	struct request request;
};

struct fuzz {
	bool stop;
	int findings;
	unsigned long seed;			/* of this round */
	unsigned int order;		/* operations begun in this round */
	unsigned long calls[128];	/* of each operation, over all rounds */
	unsigned long went_well[128];
	unsigned long errors, unpoisoned, checks, losses, wide_losses, signals;
	unsigned int things;		/* used */
	bool doomed[WATCHED];
	unsigned int doomed_list[DOOMED];
	bool faults;			/* allocations fail */
	bool has_1g;			/* the pool has some to map */
	unsigned long hit_size;		/* of the hugepages that errors hit in this round */
	bool pool_changed;		/* by the hand, in this round */
	bool wide;			/* errors may cost all of a hugepage: the policy */
	unsigned int nr_injected;
	unsigned long injected[INJECTED];
	struct lane lane[LANES];
	struct thing thing[THINGS];
	unsigned int anons;		/* used */
	unsigned long model[OBJECTS + ANONS][NR_MOST * WATCHED];
};

extern struct fuzz *fz;

struct options {
	unsigned long seed;
	unsigned int seconds, processes, threads, steps, errors, stuck, rounds;
	bool faults, verbose, root;
	const char *replay;
	unsigned int pool;		/* hugepages, of all nodes */
};

extern struct options opt;

unsigned long now_ms(void);
__printf(1, 2) void finding(const char *fmt, ...);
__printf(1, 2) void say(const char *fmt, ...);

static inline bool stopped(void)
{
	return __atomic_load_n(&fz->stop, __ATOMIC_SEQ_CST);
}

static inline void count(unsigned long *what)
{
	__atomic_fetch_add(what, 1, __ATOMIC_RELAXED);
}

/* --- mappings of a process ------------------------------------------------ */

struct slot {
	char *window;			/* addresses kept for it */
	char *addr;			/* NULL: nothing is mapped */
	unsigned int nr, first;		/* hugepages mapped, the first in the thing */
	int id;				/* of the thing mapped; private: of its own */
	int file;			/* private mapping of this thing, -1: of none */
	bool private;
	bool watched;			/* by userfaultfd */
	int prot;
	int lock;			/* readers, or -1 */
	unsigned long *model;		/* private: NR_MOST * WATCHED */
};

struct process {
	int index;
	bool root;
	bool child;			/* forked by a lane */
	int forking, storing;
	struct slot slot[SLOTS];
};

extern struct process me;
extern __thread int lane;		/* of this thread */
extern __thread const char *op_name;

void slots_init(void);
void slots_of_child(bool wild);
struct slot *slot_take(struct rng *rng, bool write, bool mapped);
void slot_drop(struct slot *slot);
int slot_map(struct slot *slot, int id, bool private, int flags, int prot,
	     unsigned int first, unsigned int nr);
void slot_unmap(struct slot *slot);
unsigned long some_size(struct rng *rng);
unsigned long size_at(unsigned long at);
int new_private(unsigned long size, unsigned int nr);
int new_anon(unsigned long size, unsigned int nr);
void keep_error(unsigned long pfn);
char *slot_page(const struct slot *slot, unsigned int hugepage, unsigned int watched);

static inline struct thing *slot_thing(const struct slot *slot)
{
	return &fz->thing[slot->id];
}

static inline unsigned long slot_len(const struct slot *slot)
{
	return slot->nr * slot_thing(slot)->size;
}

/* --- models ---------------------------------------------------------------- */

unsigned int watched_page(unsigned long size, unsigned int watched);
unsigned long *slot_model(const struct slot *slot, unsigned int hugepage, unsigned int watched);
void check_page(const struct slot *slot, unsigned int hugepage, unsigned int watched);
void stamp_page(const struct slot *slot, unsigned int hugepage, unsigned int watched);
int refill_page(const struct slot *slot, unsigned int hugepage, unsigned int watched);
int discard(int id, unsigned long *model, unsigned long from, unsigned long to,
	    enum content then, int (*act)(void *), void *arg);
void model_unsure(unsigned long *model);
void model_set(unsigned long *model, enum content content);
void check_all(const struct slot *slot, struct rng *rng, unsigned int nr);

/* --- touching memory ------------------------------------------------------- */

enum touch { FINE, LOST, LOST_WIDE, NO_PAGE, NO_ACCESS };

enum touch touch_read(const char *page, unsigned long *words);
enum touch touch_write(char *page, const unsigned long *words);
void fill_words(char *page, const unsigned long *words);
enum touch touch_read_marks(const char *page, unsigned long *marks);
enum touch touch_change_nothing(char *at);
int touch_call(int (*act)(void *), void *arg);
void catch_signals(void);

/* --- operations ------------------------------------------------------------- */

#define SKIPPED		(-10000)	/* there was nothing to do it to */

struct op {
	const char *name;
	unsigned int weight;
	long (*run)(struct rng *rng);
	bool not_in_child;
	bool off;
};

extern const struct op ops_map[], ops_mem[], ops_file[], ops_proc[], ops_uffd[], ops_pin[],
	ops_numa[], ops_hand[];
extern struct op ops[128];
extern int nr_ops;

void ops_init(void);
int op_find(const char *name);
int op_pick(unsigned long seed, bool child);
long op_run(int op, unsigned long seed);
int ask_hand(enum order order, const void *addr, unsigned long arg, bool wait);

/* --- the rest ---------------------------------------------------------------- */

void trace_open(void);
void trace_round(void);
void trace_begin(int lane, int op, unsigned long seed, bool child);
void trace_end(int lane, int op, unsigned long seed, bool child, long ret);

void process_run(int index);
void lane_child(unsigned long seed);
void hand_run(void);
int things_make(struct rng *rng);
void things_unmake(void);

struct settled {
	struct hp_state state;
	long committed;
};

void settle_begin(struct settled *before);
void settle_end(const struct settled *before);
int cgroup_make(int index, struct rng *rng);
void cgroup_enter(int index);
void cgroup_check(int index);
int cgroup_limit(int index, unsigned long arg);
int set_overcommit(unsigned long nr);

int replay_load(const char *path);
int replay_next(int lane, unsigned long *seed, unsigned int *order);

#endif /* FUZZ_H */
