// SPDX-License-Identifier: GPL-2.0
/* hugepoison-inject: the kernel's lists of bad pages and their owners. */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "inject.h"

#define MAX_PIDS	32

/**
 * parse_bad - a line of /proc/hugepoison/bad_pages
 * @line: the line
 * @bad: what it says
 */
bool parse_bad(const char *line, struct bad *bad)
{
	int owner = 0;

	*bad = (struct bad) { 0 };
	if (sscanf(line, "0x%" SCNx64 " %" SCNu64 " %d %11s %n", &bad->pfn, &bad->kb, &bad->node,
		   bad->state, &owner) != 4 || !owner)
		return false;
	/* arithmetic on them must make sense */
	if (bad->kb < 4 || bad->kb & (bad->kb - 1) || bad->pfn >> 52)
		return false;
	snprintf(bad->owner, sizeof(bad->owner), "%.*s", (int)strcspn(line + owner, "\n"),
		 line + owner);
	return *bad->owner;
}

/**
 * parse_own - a line of /proc/hugepoison/own
 * @line: the line
 * @start: where the lost range begins
 * @end: where it ends
 * @kb: the size of it
 * @state: why it is lost
 */
bool parse_own(const char *line, uint64_t *start, uint64_t *end, uint64_t *kb, char state[12])
{
	return sscanf(line, "%" SCNx64 "-%" SCNx64 " %" SCNu64 " %11s", start, end, kb, state) ==
		       4 &&
	       *start < *end;
}

static int compare(const void *a, const void *b)
{
	const struct bad *x = a, *y = b;

	return (x->pfn > y->pfn) - (x->pfn < y->pfn);
}

/**
 * read_bad_pages - each page with an error, by page frame
 * @count: how many there are
 *
 * Return: them, to be freed; NULL if there are none, or after a message with count SIZE_MAX.
 */
struct bad *read_bad_pages(size_t *count)
{
	FILE *f = fopen("/proc/hugepoison/bad_pages", "re");
	struct bad *list = NULL, bad, *grown;
	size_t len = 0, n = 0;
	char *line = NULL;

	*count = SIZE_MAX;
	if (!f) {
		fail(FAILED, "cannot read /proc/hugepoison/bad_pages: %m");
		return NULL;
	}
	while (getline(&line, &len, f) > 0) {
		if (!parse_bad(line, &bad))
			continue;
		grown = realloc(list, (n + 1) * sizeof(*list));
		if (!grown)
			break;
		list = grown;
		list[n++] = bad;
	}
	free(line);
	fclose(f);
	*count = n;
	if (n)
		qsort(list, n, sizeof(*list), compare);
	return list;
}

static bool file_owner(const struct bad *bad, unsigned int *major, unsigned int *minor,
		       uint64_t *inode, int *name)
{
	*name = 0;
	return sscanf(bad->owner, "%u:%u %" SCNu64 " %n", major, minor, inode, name) == 3 && *name;
}

/**
 * owner_path - the name of the file that a bad page is in
 * @bad: the page
 * @buf: where to put it, "" if there is none
 * @len: how much fits there
 */
void owner_path(const struct bad *bad, char *buf, size_t len)
{
	unsigned int major, minor;
	uint64_t inode;
	size_t n = 0;
	int at;

	*buf = '\0';
	if (!file_owner(bad, &major, &minor, &inode, &at))
		return;
	for (const char *c = bad->owner + at; *c && n + 1 < len; c++, n++) {
		unsigned int byte;

		buf[n] = *c;
		if (*c == '\\' && sscanf(c + 1, "%3o", &byte) == 1 && strlen(c) > 3) {
			buf[n] = (char)byte;
			c += 3;
		}
	}
	buf[n] = '\0';
}

/**
 * owner_shmid - the SysV segment that a bad page is in
 * @bad: the page
 *
 * A segment's file has its id for an inode number.
 *
 * Return: the id, -1 if it is in none.
 */
long owner_shmid(const struct bad *bad)
{
	unsigned int major, minor;
	uint64_t inode;
	int at;

	if (!file_owner(bad, &major, &minor, &inode, &at) || strncmp(bad->owner + at, "SYSV", 4))
		return -1;
	return (long)inode;
}

static bool maps_file(const char *pid, unsigned int major, unsigned int minor, uint64_t inode)
{
	char path[300], *line = NULL;
	size_t len = 0, count = 0;
	bool found = false;
	struct vma vma;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	f = fopen(path, "re");
	while (f && !found && count++ < most_vmas() && getline(&line, &len, f) > 0)
		found = parse_vma(line, &vma) && vma.inode == inode && vma.major == major &&
			vma.minor == minor;
	free(line);
	if (f)
		fclose(f);
	return found;
}

/**
 * owner_pids - the processes that map the file that a bad page is in
 * @bad: the page
 * @buf: where to put them, "12,34"; "" if there are none, or it is in no file
 * @len: how much fits there
 */
void owner_pids(const struct bad *bad, char *buf, size_t len)
{
	unsigned int major, minor, n = 0;
	const struct dirent *entry;
	uint64_t inode;
	DIR *dir;
	int at;

	*buf = '\0';
	if (!file_owner(bad, &major, &minor, &inode, &at))
		return;
	dir = opendir("/proc");
	while (dir && n < MAX_PIDS && (entry = readdir(dir))) {
		if (!isdigit((unsigned char)*entry->d_name) ||
		    !maps_file(entry->d_name, major, minor, inode))
			continue;
		snprintf(buf + strlen(buf), len - strlen(buf), "%s%.10s", n++ ? "," : "",
			 entry->d_name);
	}
	if (dir)
		closedir(dir);
}
