// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's log of tests/remember.bats, when users write to it faster than one reader
 * reads. LD_PRELOAD. Record 20 is about an injected error, all others are noise.
 *
 * LOOKS is a file that gets a line for each look at the list of bad pages.
 *
 * FLOOD is how many records come with each read(): with 1 the reader finds a next one
 * always, with 2 the kernel overwrites what it is about to read. FLOOD_READS is how many
 * reads there may be.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/syscall.h>

#define KEPT	64	/* records */
#define MAX_FD	64

static long newest = 40, next[MAX_FD], reads;

static int is_log(int fd)
{
	char link[64], path[4096] = "";
	const char *name;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (fd < 0 || fd >= MAX_FD || readlink(link, path, sizeof(path) - 1) < 0)
		return 0;
	name = strrchr(path, '/');
	return name && !strcmp(name, "/kmsg");
}

static long oldest(void)
{
	return newest < KEPT ? 1 : newest - KEPT + 1;
}

off_t lseek(int fd, off_t offset, int whence)
{
	if (!is_log(fd))
		return syscall(SYS_lseek, fd, offset, whence);
	next[fd] = newest + 1;
	return 0;
}

ssize_t read(int fd, void *buf, size_t len)
{
	const char *says = "eth0: link is up";
	long number;

	if (!is_log(fd))
		return syscall(SYS_read, fd, buf, len);
	if (++reads > atol(getenv("FLOOD_READS")))
		abort();
	newest += atol(getenv("FLOOD"));
	if (!next[fd])
		next[fd] = 1;
	if (next[fd] < oldest()) {
		next[fd] = oldest();
		errno = EPIPE;
		return -1;
	}
	number = next[fd]++;
	if (number == 20)
		says = "Injecting memory failure at pfn 0x5287";
	return snprintf(buf, len, "6,%ld,%ld,-;%s\n", number, number * 1000, says);
}

FILE *fopen(const char *path, const char *mode)
{
	FILE *(*libc)(const char *path, const char *mode) = dlsym(RTLD_NEXT, "fopen");
	FILE *looks = strstr(path, "/bad_pages") ? libc(getenv("LOOKS"), "a") : NULL;

	if (looks) {
		fprintf(looks, "%s\n", path);
		fclose(looks);
	}
	return libc(path, mode);
}
