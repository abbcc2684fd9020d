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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/syscall.h>

#define KPF_HWPOISON	19

static void mark(unsigned long pfn)
{
	char path[4096];
	unsigned long flags = 0;
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

/* Return: 0, or -1 with errno set. */
static int offline(const char *how, unsigned long pfn)
{
	const char *busy = getenv("MOCK_BUSY"), *err = getenv("MOCK_SOFT_ERRNO");
	FILE *log = fopen(getenv("MOCK_LOG"), "a");

	if (!log)
		abort();
	fprintf(log, "%s 0x%lx\n", how, pfn);
	fclose(log);
	errno = 0;
	if (busy && strtoul(busy, NULL, 0) == pfn)
		errno = EBUSY;
	else if (err && !strcmp(how, "soft"))
		errno = atoi(err);
	if (errno)
		return -1;
	mark(pfn);
	take_from_pool();
	return 0;
}

ssize_t write(int fd, const void *buf, size_t len)
{
	char link[64], path[4096] = "", text[64];
	const char *name;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, path, sizeof(path) - 1) < 0)
		path[0] = '\0';
	name = strrchr(path, '/');
	if (name && !strcmp(name, "/nr_hugepages") && getenv("MOCK_NO_MEMORY"))
		return (ssize_t)len;
	if (!name || !strstr(name, "_offline_page"))
		return syscall(SYS_write, fd, buf, len);
	snprintf(text, sizeof(text), "%.*s", (int)len, (const char *)buf);
	if (offline(strstr(name, "soft") ? "soft" : "hard", strtoul(text, NULL, 0) >> 12))
		return -1;
	return (ssize_t)len;
}
