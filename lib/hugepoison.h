/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libhugepoison: fill lost pages of hugepages again.
 *
 * After an uncorrectable memory error 4 KiB of a hugepage are lost, and a touch of them is
 * SIGBUS. A program that has the contents elsewhere registers its memory with a function
 * that makes a page's contents, and goes on. See hugepoison(3) and libhugepoison(7).
 */
#ifndef HUGEPOISON_H
#define HUGEPOISON_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HUGEPOISON_PAGE	4096

/*
 * Makes the contents of the page at @address, which is lost: writes HUGEPOISON_PAGE bytes to
 * @page, which is elsewhere. Runs in a thread of the library, so it may allocate, lock and do
 * I/O; but take no lock that a thread may hold while it touches lost memory, as that thread
 * waits for the function. Returns 0, or anything else if it cannot.
 */
typedef int (*hugepoison_fill_fn)(void *page, void *address, void *arg);

/* Fill lost pages of [@address, @address + @len) by @fill from now on. 0 or -errno. */
int hugepoison_register(void *address, size_t len, hugepoison_fill_fn fill, void *arg);

/* End that; returns when no call of the function for the range is under way. 0 or -errno. */
int hugepoison_unregister(void *address);

/*
 * Fill the lost pages of [@address, @address + @len) now: after a system call failed with
 * EFAULT, or was short. The pages that were filled: if more than 0, try the call again;
 * or -errno, with nothing filled.
 */
long hugepoison_repair(const void *address, size_t len);

struct hugepoison_lost {
	uintptr_t address;
	size_t len;		/* HUGEPOISON_PAGE, or all of a hugepage */
};

/* The losses of this process now: the first @max of them in @lost; how many, or -errno. */
long hugepoison_list(struct hugepoison_lost *lost, size_t max);

/* How long a thread that ran into a lost page waits for it: 10 s unless said. */
void hugepoison_set_timeout(unsigned int ms);

/* After fork(), in the child: it has no thread of the library's. 0 or -errno. */
int hugepoison_after_fork(void);

/*
 * For a program of several processes that share memory, which does the rest itself: one of
 * them fills pages for all. No thread and no signal handler of the library's takes part.
 */

/* A file descriptor for the memory of this process, not of its children; or -errno. */
int hugepoison_open(void);

/*
 * Fill the page at @address by @page. 0; -EEXIST when nothing is lost there, or no longer;
 * or -errno, with no contents changed.
 */
int hugepoison_write(int fd, void *address, const void *page);

/*
 * Is the page lost at @address, which is in a mapping? 1, 0 or -errno. Changes no contents; a
 * private mapping of a hugepage that has lost a page is mapped by small pages from then on.
 */
int hugepoison_is_lost(int fd, const void *address);

struct hugepoison_stats {
	uint64_t early;		/* errors reported before anybody touched the page */
	uint64_t touched;	/* threads that ran into a lost page */
	uint64_t filled;	/* pages */
	uint64_t refused;	/* pages that their function could not make */
	uint64_t failed;	/* pages that the kernel did not take */
	uint64_t timed_out;	/* threads that waited in vain */
};

void hugepoison_get_stats(struct hugepoison_stats *stats);

#ifdef __cplusplus
}
#endif
#endif /* HUGEPOISON_H */
