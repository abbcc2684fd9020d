// SPDX-License-Identifier: GPL-2.0-only
/* Processes, threads, and the order of their operations. */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

#define NOBODY		65534
#define CHILD_STEPS	24

struct process me;
__thread int lane;
__thread const char *op_name = "";

/* --- operations -------------------------------------------------------------- */

struct op ops[128];
int nr_ops;

static const struct op *const lists[] = {
	ops_map, ops_mem, ops_file, ops_proc, ops_uffd, ops_pin, ops_numa, ops_hand,
};

void ops_init(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		for (const struct op *op = lists[i]; op->name; op++)
			ops[nr_ops++] = *op;
}

/* Returns its number, or -1. */
int op_find(const char *name)
{
	for (int i = 0; i < nr_ops; i++)
		if (!strcmp(ops[i].name, name))
			return i;
	return -1;
}

static unsigned int weight(int op, bool child)
{
	return ops[op].off || (child && ops[op].not_in_child) ? 0 : ops[op].weight;
}

/* Returns an operation, by weight, or -1 when all are off. */
int op_pick(unsigned long seed, bool child)
{
	struct rng rng = { seed };
	unsigned long sum = 0, at;

	for (int i = 0; i < nr_ops; i++)
		sum += weight(i, child);
	at = sum ? rnd(&rng, sum) : 0;
	for (int i = 0; i < nr_ops; i++) {
		if (at < weight(i, child))
			return i;
		at -= weight(i, child);
	}
	return -1;
}

long op_run(int op, unsigned long seed)
{
	struct rng rng = { mix(seed) };
	struct lane *l = &fz->lane[lane];
	long ret;

	op_name = ops[op].name;
	trace_begin(lane, op, seed, me.child);
	if (!me.child) {
		l->since = now_ms();
		__atomic_store_n(&l->op, op, __ATOMIC_SEQ_CST);
	}
	ret = ops[op].run(&rng);
	if (!me.child) {
		__atomic_store_n(&l->op, -1, __ATOMIC_SEQ_CST);
		l->steps++;
	}
	trace_end(lane, op, seed, me.child, ret);
	count(&fz->calls[op]);
	if (ret >= 0)
		count(&fz->went_well[op]);
	return ret;
}

/* --- lanes --------------------------------------------------------------------- */

/* Replayed, each begins when the one before it has begun. */
static void await_turn(unsigned int order)
{
	unsigned long since = now_ms();

	while (__atomic_load_n(&fz->order, __ATOMIC_SEQ_CST) < order && !stopped()) {
		/* it waits for one that hangs */
		if (now_ms() - since > 100)
			return;
		sched_yield();
	}
}

static void lane_run(void)
{
	unsigned int order;
	unsigned long seed;
	int op;

	if (opt.replay) {
		while ((op = replay_next(lane, &seed, &order)) >= 0 && !stopped()) {
			await_turn(order);
			__atomic_fetch_add(&fz->order, 1, __ATOMIC_SEQ_CST);
			op_run(op, seed);
		}
		return;
	}
	for (unsigned int step = 0; step < opt.steps && !stopped(); step++) {
		seed = mix(mix(fz->seed + lane) + step);
		op = op_pick(seed, false);
		if (op < 0)
			return;
		__atomic_fetch_add(&fz->order, 1, __ATOMIC_SEQ_CST);
		op_run(op, seed);
	}
}

/* A forked child's operations, before it ends. */
void lane_child(unsigned long seed)
{
	struct rng rng = { seed };
	unsigned int steps = rnd(&rng, CHILD_STEPS);
	int op;

	for (unsigned int i = 0; i < steps && !stopped(); i++) {
		seed = rnd(&rng, ~0UL);
		op = op_pick(seed, true);
		if (op >= 0)
			op_run(op, seed);
	}
}

static void *thread(void *arg)
{
	lane = (long)arg;
	fz->lane[lane].pid = getpid();
	fz->lane[lane].tid = gettid();
	lane_run();
	fz->lane[lane].tid = 0;
	return NULL;
}

/* Where allocations fail a process may not get so far. */
static void give_up(const char *what)
{
	if (!fz->faults)
		finding("cannot %s: %s", what, strerror(errno));
	_exit(0);
}

static void become_nobody(void)
{
	if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY))
		give_up("become nobody");
	prctl(PR_SET_DUMPABLE, 1);
}

/* A process, all of it. */
void process_run(int index)
{
	pthread_t threads[THREADS];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	cgroup_enter(index);
	me.index = index;
	me.root = opt.root && !index;
	lane = index * opt.threads;
	if (fz->faults)
		hp_write("/proc/self/make-it-fail", "1");
	if (!me.root)
		become_nobody();
	slots_init();
	catch_signals();
	for (unsigned long i = 0; i < opt.threads; i++)
		if (pthread_create(&threads[i], NULL, thread, (void *)(lane + i)))
			give_up("start a thread");
	for (unsigned int i = 0; i < opt.threads; i++)
		pthread_join(threads[i], NULL);
	for (unsigned int i = 0; i < opt.threads; i++)
		if (fz->lane[lane + i].child)
			kill(fz->lane[lane + i].child, SIGKILL);
	while (wait(NULL) > 0)
		;
	_exit(0);
}
