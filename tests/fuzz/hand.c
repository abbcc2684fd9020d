// SPDX-License-Identifier: GPL-2.0-only
/*
 * Root's part: what lanes may not do themselves they ask of the hand, a process
 * with a few threads. It keeps each error, so that it can be undone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "fuzz.h"
#include "../hugetlb-poison/hp_proc.h"

#define HANDS	3

/* Undoing an error excludes looking whether it is contained. */
static pthread_rwlock_t undoing = PTHREAD_RWLOCK_INITIALIZER;

/* --- the lane's side ------------------------------------------------------------ */

/* Returns the answer; -EBUSY when the lane still waits for an earlier one. */
int ask_hand(enum order order, const void *addr, unsigned long arg, bool wait)
{
	struct request *request = &fz->lane[lane].request;

	if (__atomic_load_n(&request->order, __ATOMIC_SEQ_CST) != DO_NOTHING)
		return -EBUSY;
	request->pid = getpid();
	request->addr = (unsigned long)addr;
	request->arg = arg;
	request->answer = 0;
	__atomic_store_n(&request->order, order, __ATOMIC_SEQ_CST);
	while (wait && !stopped() &&
	       __atomic_load_n(&request->order, __ATOMIC_SEQ_CST) != DO_NOTHING)
		usleep(200);
	return request->answer;
}

/* --- the hand's side -------------------------------------------------------------- */

static unsigned long pfn_of(pid_t pid, unsigned long addr)
{
	unsigned long entry;

	if (hp_pagemap(pid, (void *)addr, 1, &entry) || !(entry & HP_PM_PRESENT))
		return HP_NO_PFN;
	return entry & HP_PM_PFN;
}

/* So that it can be undone. */
void keep_error(unsigned long pfn)
{
	unsigned int i = __atomic_fetch_add(&fz->nr_injected, 1, __ATOMIC_SEQ_CST);

	if (i < INJECTED)
		fz->injected[i] = pfn;
	count(&fz->errors);
}

/* An error in the page that is there now. */
static int hit(const struct request *request)
{
	unsigned long pfn = pfn_of(request->pid, request->addr);
	int ret;

	if (pfn == HP_NO_PFN)
		return -ENOENT;
	keep_error(pfn);
	pthread_rwlock_rdlock(&undoing);
	ret = hp_write(HP_DEBUGFS "corrupt-pfn", "%#lx", pfn);
	if (!ret && hp_pageflags(pfn) & HP_KPF_HWPOISON &&
	    pfn_of(request->pid, request->addr) == pfn)
		finding("raw page %#lx is still mapped after the error, at %#lx of %d", pfn,
			request->addr, request->pid);
	pthread_rwlock_unlock(&undoing);
	return ret;
}

static int hit_free(unsigned int watched)
{
	return hp_write(HP_DEBUGFS "corrupt-free-hugepage", "%lu -1 %u", fz->hit_size,
			watched_page(fz->hit_size, watched));
}

static int unpoison(unsigned long which)
{
	unsigned int nr = fz->nr_injected;
	int ret;

	if (!nr)
		return -ENOENT;
	pthread_rwlock_wrlock(&undoing);
	ret = hp_unpoison(fz->injected[which % nr % INJECTED]);
	pthread_rwlock_unlock(&undoing);
	if (!ret)
		count(&fz->unpoisoned);
	return ret;
}

static int soft_offline(const struct request *request)
{
	unsigned long pfn = pfn_of(request->pid, request->addr);

	if (pfn == HP_NO_PFN)
		return -ENOENT;
	keep_error(pfn);
	return hp_write("/sys/devices/system/memory/soft_offline_page", "%#lx", pfn * HP_BASE);
}

/* How many hugepages there may be: some more or less, then as before. */
static int change_pool(unsigned long arg)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	int node = arg % hp_nodes();
	long nr = opt.pool / hp_nodes();

	fz->pool_changed = true;
	pthread_mutex_lock(&one);
	hp_set_pool(HP_2M, node, nr - 4 + (long)(arg / 8 % 9));
	usleep(arg / 128 % 3000);
	hp_set_pool(HP_2M, node, nr);
	pthread_mutex_unlock(&one);
	return 0;
}

/* How much errors cost from now on, and whether a fresh hugepage is looked for. */
static int change_policy(unsigned long arg)
{
	if (arg % 2)
		return hp_set_replace(arg % 4 == 1);
	fz->wide = true;
	return hp_set_containment(arg % 4 ? "hugepage" : "page");
}

static int read_files(void)
{
	static const char *const files[] = {
		"/proc/hugepoison/bad_pages", "/proc/meminfo", "/proc/buddyinfo",
		HP_SYSFS "hugepages-2048kB/mce_bad_pages",
		HP_SYSFS "hugepages-2048kB/poisoned_hugepages",
		HP_SYSFS "hugepages-1048576kB/mce_bad_pages",
	};
	char text[16384];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		hp_read_text(files[i], text, sizeof(text));
	return 0;
}

/* The page frame that a page is in now. */
static int where(const struct request *request)
{
	unsigned long pfn = pfn_of(request->pid, request->addr);

	return pfn == HP_NO_PFN ? -ENOENT : (int)pfn;
}

static int do_order(const struct request *request)
{
	switch (request->order) {
	case DO_HIT:
		return hit(request);
	case DO_HIT_FREE:
		return hit_free(request->arg);
	case DO_UNPOISON:
		return unpoison(request->arg);
	case DO_SOFT:
		return soft_offline(request);
	case DO_COMPACT:
		return hp_write("/proc/sys/vm/compact_memory", "1");
	case DO_POOL:
		return change_pool(request->arg);
	case DO_LIMIT:
		return cgroup_limit(request->arg % opt.processes, request->arg / 8);
	case DO_POLICY:
		return change_policy(request->arg);
	case DO_READ:
		return read_files();
	case DO_WHERE:
		return where(request);
	case DO_OVERCOMMIT:
		return set_overcommit(request->arg);
	}
	return -EINVAL;
}

static void *hand(void *arg)
{
	unsigned long self = (unsigned long)arg;

	while (!stopped()) {
		bool idle = true;

		for (unsigned int i = self; i < opt.processes * opt.threads; i += HANDS) {
			struct request *request = &fz->lane[i].request;

			if (__atomic_load_n(&request->order, __ATOMIC_SEQ_CST) == DO_NOTHING)
				continue;
			request->answer = do_order(request);
			__atomic_store_n(&request->order, DO_NOTHING, __ATOMIC_SEQ_CST);
			idle = false;
		}
		if (idle)
			usleep(500);
	}
	return NULL;
}

void hand_run(void)
{
	pthread_t threads[HANDS];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned long i = 0; i < HANDS; i++)
		pthread_create(&threads[i], NULL, hand, (void *)i);
	for (int i = 0; i < HANDS; i++)
		pthread_join(threads[i], NULL);
	_exit(0);
}
