// SPDX-License-Identifier: GPL-2.0
/* hugepoison-inject: from an address to its entry of the page table. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "page.h"

/**
 * read_pagemap - read entries of a page table
 * @dirfd: where @path begins
 * @path: the pagemap
 * @addr: the first address
 * @entry: what it has there, and at the following pages
 * @count: of how many pages
 *
 * Return: DONE, or FAILED after a message.
 */
int read_pagemap(int dirfd, const char *path, uint64_t addr, uint64_t *entry, size_t count)
{
	int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	off_t pos = (off_t)(addr >> PAGE_SHIFT) * (off_t)sizeof(*entry);
	ssize_t want = (ssize_t)(count * sizeof(*entry)), got = -1;

	if (fd >= 0) {
		got = pread(fd, entry, (size_t)want, pos);
		close(fd);
	}
	if (got == want)
		return DONE;
	return fail(FAILED, "cannot read %s: %s", path,
		    got < 0 ? strerror(errno) : "the address is beyond it");
}
