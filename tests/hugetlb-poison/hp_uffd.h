/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * userfaultfd, and the writes that it tracks. To be included after hp_child.h.
 */
#ifndef HP_UFFD_H
#define HP_UFFD_H

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC	(1 << 15)
#endif

/* Returns -errno where the kernel has not all the features. */
static inline int open_userfaultfd(unsigned long features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	int error = said(ioctl(fd, UFFDIO_API, &api));

	if (!error)
		return fd;
	close(fd);
	return -error;
}

static inline int watch(int fd, char *at, unsigned long len, unsigned long mode)
{
	struct uffdio_register range = {
		.range = { .start = (unsigned long)at, .len = len }, .mode = mode,
	};

	return said(ioctl(fd, UFFDIO_REGISTER, &range));
}

/* A child has the userfaultfd as well: closing it does not end that. */
static inline int unwatch(int fd, char *at, unsigned long len)
{
	struct uffdio_range range = { .start = (unsigned long)at, .len = len };

	return said(ioctl(fd, UFFDIO_UNREGISTER, &range));
}

/* The next write is to be noticed. */
static inline int track(int fd, char *at, unsigned long len)
{
	struct uffdio_writeprotect range = {
		.range = { .start = (unsigned long)at, .len = len },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};

	return said(ioctl(fd, UFFDIO_WRITEPROTECT, &range));
}

/* Whether a page was not written since. */
static inline bool is_tracked(const char *at)
{
	const unsigned long uffd_wp = 1UL << 57;	/* in pagemap */
	unsigned long entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (pread(fd, &entry, sizeof(entry), (unsigned long)at / 4096 * sizeof(entry)) < 0)
		entry = 0;
	close(fd);
	return entry & uffd_wp;
}

#endif /* HP_UFFD_H */
