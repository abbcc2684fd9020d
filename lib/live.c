// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libhugepoison and a kernel: threads read memory of hugepages, of which page after page goes
 * bad, and find what must be there. For root, who makes the errors, in a guest:
 *
 *	scripts/vm -- build/lib/live [ERRORS]
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hugepoison.h"

#ifndef MADV_HWPOISON
#define MADV_HWPOISON	100
#endif

#define HUGEPAGE	(2UL << 20)
#define LEN		(4 * HUGEPAGE)
#define PAGES		(LEN / HUGEPOISON_PAGE)
#define READERS		3

static char *memory;
static atomic_bool stop;
static atomic_long reads, wrong;

static unsigned long word(unsigned long page, unsigned long i)
{
	return (page << 32 | i) * 0x9e3779b97f4a7c15UL;
}

static void make(void *to, unsigned long page)
{
	for (unsigned long i = 0; i < HUGEPOISON_PAGE / sizeof(long); i++)
		((unsigned long *)to)[i] = word(page, i);
}

static int fill(void *page, void *address, void *arg)
{
	(void)arg;
	make(page, ((char *)address - memory) / HUGEPOISON_PAGE);
	return 0;
}

static void look(unsigned long page)
{
	unsigned long *at = (unsigned long *)(memory + page * HUGEPOISON_PAGE);

	for (unsigned long i = 0; i < HUGEPOISON_PAGE / sizeof(long); i += 61)
		wrong += at[i] != word(page, i);
	reads++;
}

static void *reader(void *arg)
{
	unsigned int seed = (unsigned long)arg;

	while (!stop)
		look(rand_r(&seed) % PAGES);
	return NULL;
}

int main(int argc, char **argv)
{
	long errors = argc > 1 ? atol(argv[1]) : 40, made = 0;
	struct hugepoison_stats stats;
	pthread_t thread[READERS];
	unsigned int seed = 1;
	int ret;

	memory = mmap(NULL, LEN, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (memory == MAP_FAILED) {
		perror("no free 2M hugepages: /proc/sys/vm/nr_hugepages");
		return 1;
	}
	for (unsigned long page = 0; page < PAGES; page++)
		make(memory + page * HUGEPOISON_PAGE, page);
	ret = hugepoison_register(memory, LEN, fill, NULL);
	if (ret) {
		fprintf(stderr, "hugepoison_register: %s\n", strerror(-ret));
		return 1;
	}
	for (long i = 0; i < READERS; i++)
		pthread_create(&thread[i], NULL, reader, (void *)(i + 1));
	for (long i = 0; i < errors; i++) {
		unsigned long page = rand_r(&seed) % PAGES;

		made += !madvise(memory + page * HUGEPOISON_PAGE, HUGEPOISON_PAGE, MADV_HWPOISON);
		look(page);
		usleep(10000);
	}
	stop = true;
	for (long i = 0; i < READERS; i++)
		pthread_join(thread[i], NULL);
	for (unsigned long page = 0; page < PAGES; page++)
		look(page);
	hugepoison_get_stats(&stats);
	printf("%ld of %ld errors, %ld reads, %ld wrong; early %lu, touched %lu, filled %lu, refused %lu, failed %lu, timed out %lu\n",
	       made, errors, reads, wrong, stats.early, stats.touched, stats.filled,
	       stats.refused, stats.failed, stats.timed_out);
	return wrong || made < errors / 2 || stats.filled < (uint64_t)made / 2 || stats.failed;
}
