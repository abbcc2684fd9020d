// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel of tests/remember.bats: takes what is written to soft_offline_page and
 * hard_offline_page of a machine of files, and marks the page in its kpageflags. LD_PRELOAD.
 *
 * MOCK is the machine; MOCK_LOG gets a line for each page. MOCK_SOFT_ERRNO is what soft
 * offline fails with, MOCK_BUSY a page frame that fails with EBUSY always, MOCK_POOL a
 * nr_hugepages that gets one smaller by each page, and MOCK_NO_MEMORY says that it stays so.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/syscall.h>

#define KPF_HWPOISON	19

static void mark(uint64_t pfn)
{
	char path[4096];
	uint64_t flags = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/proc/kpageflags", getenv("MOCK"));
	fd = open(path, O_RDWR);
	if (fd < 0 || pread(fd, &flags, sizeof(flags), (off_t)(pfn * 8)) != sizeof(flags))
		abort();
	flags |= 1ULL << KPF_HWPOISON;
	if (pwrite(fd, &flags, sizeof(flags), (off_t)(pfn * 8)) != sizeof(flags))
		abort();
	close(fd);
}

static void take_from_pool(void)
{
	const char *pool = getenv("MOCK_POOL");
	FILE *f = pool ? fopen(pool, "r+") : NULL;
	long pages;

	if (!f)
		return;
	if (fscanf(f, "%ld", &pages) != 1)
		abort();
	rewind(f);
	fprintf(f, "%ld\n", pages - 1);
	fclose(f);
}

static int offline(const char *how, uint64_t pfn)
{
	const char *busy = getenv("MOCK_BUSY"), *err = getenv("MOCK_SOFT_ERRNO");
	FILE *log = fopen(getenv("MOCK_LOG"), "a");

	if (!log)
		abort();
	fprintf(log, "%s 0x%" PRIx64 "\n", how, pfn);
	fclose(log);
	if (busy && strtoull(busy, NULL, 0) == pfn)
		return EBUSY;
	if (err && !strcmp(how, "soft"))
		return atoi(err);
	mark(pfn);
	take_from_pool();
	return 0;
}

ssize_t write(int fd, const void *buf, size_t len)
{
	char link[64], path[4096] = "", text[64];
	const char *name;
	int err;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, path, sizeof(path) - 1) < 0)
		path[0] = '\0';
	name = strrchr(path, '/');
	if (name && !strcmp(name, "/nr_hugepages") && getenv("MOCK_NO_MEMORY"))
		return (ssize_t)len;
	if (!name || !strstr(name, "_offline_page"))
		return syscall(SYS_write, fd, buf, len);
	snprintf(text, sizeof(text), "%.*s", (int)len, (const char *)buf);
	err = offline(strstr(name, "soft") ? "soft" : "hard", strtoull(text, NULL, 0) >> 12);
	if (!err)
		return (ssize_t)len;
	errno = err;
	return -1;
}
