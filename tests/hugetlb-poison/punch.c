// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whole hugepages are punched out of a file while a process faults in a private
 * mapping of it. No memory error is needed: stock takes the private mapping's
 * reservation map for a lock, waits for what happens to be there, and the kernel
 * dies within seconds, or the puncher hangs for ever. That makes this test the
 * reproducer, for stock as well.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

#include "kselftest_harness.h"

#include "hp.h"

#define PUNCHES		400
#define BUSY		4	/* hugepages that a thread faults all the time */
#define READERS		2	/* threads that map the hugepage to be punched */
#define SEED		0x14

FIXTURE(punch) {
	struct hp_test test;
	struct hp_map map;	/* shared: [0] is punched, the others stay holes */
	char *own;		/* the same, private */
	pthread_t thread[READERS + 1];
	unsigned long faults;
	bool stop;
};

FIXTURE_SETUP(punch)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	hp_catch_sigbus();
	/* reserved for the file, and for the private mapping once more */
	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, HP_2M, 1 + BUSY));
	self->own = mmap(NULL, (1 + BUSY) * HP_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE,
			 self->map.fd, 0);
	ASSERT_NE(MAP_FAILED, self->own);
}

FIXTURE_TEARDOWN(punch)
{
	munmap(self->own, (1 + BUSY) * HP_2M);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

static bool stopped(FIXTURE_DATA(punch) *self)
{
	return __atomic_load_n(&self->stop, __ATOMIC_RELAXED);
}

/* Somebody is in a fault of the private mapping, nearly always. */
static void *fault_elsewhere(void *arg)
{
	FIXTURE_DATA(punch) *self = arg;

	for (unsigned long i = 0; !stopped(self); i++) {
		char *at = self->own + (1 + i % BUSY) * HP_2M;

		__atomic_store_n(at, i, __ATOMIC_RELAXED);
		madvise(at, HP_2M, MADV_DONTNEED);
		__atomic_fetch_add(&self->faults, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* The hugepage of the file is mapped for reading, whenever there is one. */
static void *read_and_discard(void *arg)
{
	FIXTURE_DATA(punch) *self = arg;

	while (!stopped(self)) {
		hp_touch(self->own, HP_READ);
		if (!__atomic_load_n(self->own, __ATOMIC_RELAXED))
			madvise(self->own, HP_2M, MADV_DONTNEED);
	}
	return NULL;
}

/* Each hole is one: what is read there next is zero, and nothing of before. */
TEST_F_TIMEOUT(punch, beside_private_faults, 300)
{
	unsigned long stale = 0, failed = 0, waited = 0;

	ASSERT_EQ(0, pthread_create(&self->thread[0], NULL, fault_elsewhere, self));
	for (int i = 1; i <= READERS; i++)
		ASSERT_EQ(0, pthread_create(&self->thread[i], NULL, read_and_discard, self));

	for (unsigned int i = 1; i <= PUNCHES; i++) {
		self->map.addr[0] = 1 + i % 100;
		/* until the private mapping has it */
		for (int ms = 0; ms < 5000 && self->own[0] != (char)(1 + i % 100); ms++) {
			madvise(self->own, HP_2M, MADV_DONTNEED);
			waited++;
			usleep(1000);
		}
		failed += !!fallocate(self->map.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				      0, HP_2M);
		stale += self->map.addr[0] != 0;
	}
	self->stop = true;
	for (int i = 0; i <= READERS; i++)
		pthread_join(self->thread[i], NULL);
	TH_LOG("%lu faults elsewhere, %lu ms waited for", self->faults, waited);
	EXPECT_LT(PUNCHES / 10, self->faults);
	EXPECT_EQ(0, failed);
	EXPECT_EQ(0, stale);
}

TEST_HARNESS_MAIN
