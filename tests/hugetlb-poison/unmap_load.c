// SPDX-License-Identifier: GPL-2.0-only
/*
 * Errors in a mapping under fault load: every one is unmapped from everybody.
 *
 * A page fault holds its mapping's hugetlb VMA lock. With many of them under
 * way somebody always does, and a handler that only tries for the lock fails:
 * the raw page stays mapped and the mappers are killed for it. On the stock
 * kernel this test fails; that makes it the reproducer.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>

#include "kselftest_harness.h"

#include "hp.h"

#define ERRORS		8	/* in as many hugepages, one after another */
#define BUSY		8	/* hugepages that are faulted all the time */
#define LOADERS		4	/* processes */
#define THREADS		3	/* that fault, in each */
#define BETWEEN_US	3000	/* from one error to the next */
#define MIN_FAULTS	50	/* of each loader before the first error */

/* The loaders' reports, in ordinary shared memory. */
struct load {
	unsigned long faults[LOADERS];
	bool mapped[LOADERS][ERRORS];	/* the raw pages, after the errors */
	bool readable[LOADERS][ERRORS];
	long lost[LOADERS][ERRORS];	/* raw pages that are not readable */
	long damage[LOADERS][ERRORS];
	enum phase { FAULT, LOOK, LEAVE } phase;
	int looked;
};

FIXTURE(load) {
	struct hp_test test;
	struct hp_map map;
	struct load *load;
	pid_t pid[LOADERS];
	unsigned long pfn[ERRORS];
};

static struct hp_map *loaded;
static struct load *load;

static char *victim(int i)
{
	return loaded->addr + i * loaded->size;
}

static char *raw(int i)
{
	return victim(i) + 11 * i * HP_BASE;
}

static bool in_phase(enum phase phase)
{
	return __atomic_load_n(&load->phase, __ATOMIC_SEQ_CST) == phase;
}

static void enter(enum phase phase)
{
	__atomic_store_n(&load->phase, phase, __ATOMIC_SEQ_CST);
}

/* Drop a hugepage from this process's page table and fault it in again. */
static void *fault_on_and_on(void *which)
{
	unsigned long i = (unsigned long)which;

	while (in_phase(FAULT)) {
		char *at = loaded->addr + (ERRORS + i++ % BUSY) * loaded->size;

		madvise(at, loaded->size, MADV_DONTNEED);
		__atomic_store_n(at, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&load->faults[(unsigned long)which / THREADS], 1,
				   __ATOMIC_RELAXED);
	}
	return NULL;
}

static void look(int self)
{
	for (int i = 0; i < ERRORS; i++) {
		load->mapped[self][i] = hp_pfn(raw(i)) != HP_NO_PFN;
		load->readable[self][i] = !hp_touch(raw(i), HP_READ).code;
		load->lost[self][i] = hp_lost(victim(i), HP_2M, i, &load->damage[self][i]);
	}
	__atomic_fetch_add(&load->looked, 1, __ATOMIC_SEQ_CST);
}

/* One process: maps the victims, faults elsewhere, then tells what it sees. */
static void loader(int self)
{
	pthread_t thread[THREADS];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	hp_kill_late();
	for (int i = 0; i < ERRORS; i++)
		if (hp_touch(victim(i), HP_READ).code)
			_exit(EXIT_FAILURE);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, fault_on_and_on,
			       (void *)(self * THREADS + i));
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	look(self);
	while (!in_phase(LEAVE))
		usleep(1000);
	_exit(EXIT_SUCCESS);
}

FIXTURE_SETUP(load)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	hp_catch_sigbus();
	self->load = mmap(NULL, sizeof(*self->load), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->load);
	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, HP_2M, ERRORS + BUSY));
	load = self->load;
	loaded = &self->map;
	for (int i = 0; i < ERRORS; i++) {
		hp_stamp(victim(i), HP_2M, i);
		self->pfn[i] = hp_pfn(raw(i));
	}
}

FIXTURE_TEARDOWN(load)
{
	enter(LEAVE);
	for (int i = 0; i < LOADERS; i++)
		if (self->pid[i] > 0)
			waitpid(self->pid[i], NULL, 0);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

static bool all_busy(void)
{
	for (int i = 0; i < LOADERS; i++)
		if (__atomic_load_n(&load->faults[i], __ATOMIC_RELAXED) < MIN_FAULTS)
			return false;
	return true;
}

static bool all_looked(void)
{
	return __atomic_load_n(&load->looked, __ATOMIC_SEQ_CST) == LOADERS;
}

TEST_F_TIMEOUT(load, all_unmapped, 120)
{
	int killed = 0, mapped = 0, readable = 0, failed = 0, status;
	long lost = 0, damage = 0;
	unsigned long faults = 0;

	fflush(stdout);
	for (int i = 0; i < LOADERS; i++) {
		self->pid[i] = fork();
		ASSERT_LE(0, self->pid[i]);
		if (!self->pid[i])
			loader(i);
	}
	while (!all_busy())
		usleep(1000);

	for (int i = 0; i < ERRORS; i++) {
		failed += !!hp_inject(self->pfn[i]);
		usleep(BETWEEN_US);
	}
	for (int i = 0; i < LOADERS; i++)
		faults += load->faults[i];
	enter(LOOK);
	hp_await(all_looked(), "all have looked");
	enter(LEAVE);

	for (int i = 0; i < LOADERS; i++) {
		waitpid(self->pid[i], &status, 0);
		self->pid[i] = 0;
		killed += status != 0;
		for (int j = 0; j < ERRORS; j++) {
			mapped += load->mapped[i][j];
			readable += load->readable[i][j];
			lost += load->lost[i][j];
			damage += load->damage[i][j];
		}
	}
	TH_LOG("%lu faults; %d of %d errors not contained, %d of %d loaders killed",
	       faults, failed, ERRORS, killed, LOADERS);
	EXPECT_EQ(0, failed);
	EXPECT_EQ(0, killed);
	EXPECT_EQ(LOADERS, load->looked);
	EXPECT_EQ(0, mapped);
	EXPECT_EQ(0, readable);
	EXPECT_EQ(LOADERS * ERRORS, lost);
	EXPECT_EQ(0, damage);
	for (int i = 0; i < ERRORS; i++) {
		EXPECT_EQ(HP_NO_PFN, hp_pfn(raw(i)));
		EXPECT_EQ(BUS_MCEERR_AR, hp_touch(raw(i), HP_READ).code);
		EXPECT_NE(NULL, hp_log_find(&self->test.log,
					    "%#lx: recovery action for huge page: Recovered",
					    self->pfn[i]));
	}
	EXPECT_EQ(NULL, hp_log_has(&self->test.log, "failed to unmap page"));

	hp_map_free(&self->map);
	for (int i = 0; i < ERRORS; i++)
		EXPECT_EQ(0, hp_unpoison_soon(self->pfn[i]));
}

TEST_HARNESS_MAIN
