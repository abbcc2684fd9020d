/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Declarations that the hugetlb-poison tests share.
 *
 * hp.c: the kernel's side: counters, page frames, injection, the log.
 * hp_map.c: the user's side: mappings, processes that map, SIGBUS.
 */
#ifndef HP_H
#define HP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#endif
#ifndef __printf
#define __printf(a, b)	__attribute__((format(printf, a, b)))
#endif

#define HP_BASE		4096UL			/* a raw page, in bytes */
#define HP_2M		(2UL << 20)
#define HP_1G		(1UL << 30)
#define HP_SIZES	2			/* 2M, 1G */
#define HP_NODES	4			/* NUMA nodes looked at */
#define HP_ALL		(-1)			/* instead of a node: their sum */

/* Bits of /proc/kpageflags, see Documentation/admin-guide/mm/pagemap.rst */
#define HP_KPF(bit)	(1UL << (bit))
#define HP_KPF_LRU	HP_KPF(5)
#define HP_KPF_HEAD	HP_KPF(15)
#define HP_KPF_TAIL	HP_KPF(16)
#define HP_KPF_HUGE	HP_KPF(17)
#define HP_KPF_HWPOISON	HP_KPF(19)

/* --- waiting ---------------------------------------------------------- */

/* An idle guest takes a hundredth of it; one on a busy host may take a tenth. */
#define HP_PATIENCE_MS	60000

long hp_now_ms(void);
void hp_pause(void);
__printf(1, 2) void hp_in_vain(const char *what, ...);

/*
 * Waits until a condition is true; @what, and what follows it, is printed if that
 * never is. Returns whether it is.
 */
#define hp_await(condition, ...) ({					\
	long hp_began_ = hp_now_ms();					\
	bool hp_true_;							\
									\
	while (!(hp_true_ = (condition)) &&				\
	       hp_now_ms() - hp_began_ < HP_PATIENCE_MS)		\
		hp_pause();						\
	if (!hp_true_)							\
		hp_in_vain(__VA_ARGS__);				\
	hp_true_;							\
})

/*
 * The harness's time for a test was measured on an idle host. It must exceed the
 * wait for any one event, so that the wait ends first and names its event.
 */
#ifdef __KSELFTEST_HARNESS_H
#define HP_BUSY		5
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	(30 * HP_BUSY)
#undef TEST_F_TIMEOUT
#define TEST_F_TIMEOUT(fixture, name, seconds)				\
	__TEST_F_IMPL(fixture, name, -1, (seconds) * HP_BUSY)
#endif

/* --- counters --------------------------------------------------------- */

/*
 * Every number that an error may change. All but the last two exist for each
 * hugepage size, and for each node except for HP_RESV.
 */
enum hp_what {
	HP_NR, HP_FREE, HP_RESV, HP_SURPLUS,		/* the pool */
	HP_BAD, HP_POISONED,				/* hugepoison's gauges */
	HP_CONTAINED, HP_NARROWED, HP_DEQUEUED, HP_RELEASED, HP_REPLACED,
	HP_ISOLATED, HP_PINNED, HP_REPEATED, HP_FAILED,
	HP_HEALED, HP_REFILLED, HP_UNPOISONED,		/* its outcomes */
	HP_MF_TOTAL, HP_MF_IGNORED, HP_MF_FAILED, HP_MF_DELAYED,
	HP_MF_RECOVERED,				/* per node only */
	HP_CORRUPTED,					/* kB, system-wide */
	HP_WHATS
};

struct hp_state {
	long v[HP_WHATS][HP_SIZES][HP_NODES + 1];
};

enum hp_which { HP_GAUGES, HP_EVERYTHING };

long *hp_at(struct hp_state *state, enum hp_what what, unsigned long size, int node);
void hp_add(struct hp_state *state, enum hp_what what, unsigned long size, int node, long by);
void hp_read_state(struct hp_state *state);
int hp_check(const struct hp_state *want, enum hp_which which);
__printf(1, 2) long hp_read_long(const char *fmt, ...);
__printf(2, 3) int hp_write(const char *path, const char *fmt, ...);
int hp_read_text(const char *path, char *text, size_t len);
long hp_meminfo_kb(const char *field);
int hp_nodes(void);
int hp_set_pool(unsigned long size, int node, long nr);
void hp_refill(const struct hp_state *before);
int hp_grown_for_good(const struct hp_state *before);
void hp_reset_pools(const struct hp_state *before);

void hp_expect_contained(struct hp_state *want, unsigned long size, int node);
void hp_expect_narrowed(struct hp_state *want, unsigned long size, int node, bool first);
void hp_expect_lost(struct hp_state *want, unsigned long size, int node);
void hp_expect_released(struct hp_state *want, unsigned long size, int node);
void hp_expect_back(struct hp_state *want, unsigned long size, int node, long pages);

/* --- page frames ------------------------------------------------------ */

#define HP_NO_PFN	(~0UL)

unsigned long hp_pfn(const void *addr);
unsigned long hp_pageflags(unsigned long pfn);
unsigned long hp_count_flagged(unsigned long pfn, unsigned long nr, unsigned long flag);
int hp_pfn_node(unsigned long pfn);
unsigned long hp_block_pages(void);
unsigned long hp_block(unsigned long pfn);
int hp_set_block(unsigned long block, const char *state);
int hp_try_offline(unsigned long block, unsigned int seconds);
unsigned long hp_find_free(unsigned long size, int node);

/* --- errors ----------------------------------------------------------- */

#define HP_DEBUGFS	"/sys/kernel/debug/hwpoison/"
#define HP_SYSFS	"/sys/kernel/mm/hugepoison/"

int hp_inject(unsigned long pfn);
int hp_unpoison(unsigned long pfn);
int hp_unpoison_soon(unsigned long pfn);
int hp_inject_free(unsigned long size, int node, long subpage);
void hp_note_poisoned(unsigned long pfn);
void hp_undo(long corrupted);
int hp_set_containment(const char *policy);
int hp_set_replace(bool replace);

/* --- the kernel's log ------------------------------------------------- */

struct hp_log {
	int fd;
	char *text;
	size_t len;
};

int hp_log_open(struct hp_log *log);
void hp_log_close(struct hp_log *log);
void hp_log_forget(struct hp_log *log);
const char *hp_log_has(struct hp_log *log, const char *phrase);
__printf(2, 3) const char *hp_log_find(struct hp_log *log, const char *fmt, ...);
int hp_log_complaints(struct hp_log *log);

/* --- mappings --------------------------------------------------------- */

enum hp_backing {
	HP_ANON,		/* MAP_SHARED | MAP_ANONYMOUS */
	HP_FILE,		/* a file on hugetlbfs */
	HP_SHM,			/* SysV shared memory */
	HP_MEMFD,		/* memfd_create() */
	HP_PRIVATE,		/* MAP_PRIVATE | MAP_ANONYMOUS */
};

enum hp_place { HP_HEAD, HP_MIDDLE, HP_TAIL };

struct hp_map {
	enum hp_backing backing;
	unsigned long size;	/* of a hugepage, in bytes */
	unsigned long nr;	/* hugepages */
	char *addr;
	int fd;			/* HP_FILE, HP_MEMFD */
	int shmid;		/* HP_SHM */
};

int hp_map(struct hp_map *map, enum hp_backing backing, unsigned long size,
	   unsigned long nr);
int hp_map_again(const struct hp_map *map, struct hp_map *again);
void hp_unmap(struct hp_map *map);
void hp_map_free(struct hp_map *map);

void hp_place_on(unsigned long size, int node, unsigned long nr);
void hp_place_anywhere(void);
unsigned long hp_subpage(unsigned long size, enum hp_place place);
long hp_stamp(char *hugepage, unsigned long size, unsigned int seed);
long hp_damage(const char *hugepage, unsigned long size, unsigned int seed);
long hp_lost(const char *hugepage, unsigned long size, unsigned int seed, long *damage);

/* --- SIGBUS ----------------------------------------------------------- */

struct hp_sigbus {
	int code;		/* si_code; 0: there was no signal */
	int lsb;		/* si_addr_lsb */
	char *addr;		/* si_addr */
	pid_t tid;		/* the thread that got it */
};

enum hp_access { HP_READ, HP_WRITE };

void hp_catch_sigbus(void);
struct hp_sigbus hp_touch(char *addr, enum hp_access access);
int hp_syscall_touch(const char *addr, enum hp_access access);
int hp_async_signals(unsigned int which, struct hp_sigbus *bus);
pid_t hp_kill_early(void);
void hp_kill_late(void);

/* --- another process that maps ---------------------------------------- */

struct hp_mapper {
	struct hp_map *map;	/* this very process, when set */
	pid_t pid;
	int sock;
};

enum hp_op {
	HP_OP_READ, HP_OP_WRITE,		/* touch arg */
	HP_OP_SYS_READ, HP_OP_SYS_WRITE,	/* let a system call touch arg */
	HP_OP_STAMP, HP_OP_DAMAGE,		/* the hugepage at arg */
	HP_OP_LOST,				/* its raw pages, and damage */
	HP_OP_PFN,				/* of the page at arg */
	HP_OP_ADDR,				/* where is its own mapping? */
	HP_OP_KILL_EARLY, HP_OP_KILL_LATE,
	HP_OP_SIGNALS,				/* asynchronous ones; number seed */
	HP_OP_UNMAP,
};

struct hp_request {
	enum hp_op op;
	char *arg;
	unsigned int seed;
};

struct hp_answer {
	long value;
	long damage;		/* HP_OP_LOST */
	struct hp_sigbus bus;
};

int hp_mapper_start(struct hp_mapper *mapper, struct hp_map *map, bool map_anew);
void hp_mapper_self(struct hp_mapper *mapper, struct hp_map *map);
struct hp_answer hp_ask(struct hp_mapper *mapper, enum hp_op op, char *arg,
			unsigned int seed);
struct hp_answer hp_await_signals(struct hp_mapper *mapper, int nr);
int hp_mapper_stop(struct hp_mapper *mapper);

/* --- fixtures --------------------------------------------------------- */

/* Each test's state before, and the log since. */
struct hp_test {
	struct hp_state before;
	struct hp_log log;
};

int hp_test_begin(struct hp_test *test, unsigned long size);
int hp_test_end(struct hp_test *test);

#endif /* HP_H */
