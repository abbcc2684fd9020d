// SPDX-License-Identifier: GPL-2.0-only
/* A process's mappings in /proc. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hp.h"
#include "hp_proc.h"

static FILE *open_proc(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return fopen(path, "re");
}

/* --- smaps -------------------------------------------------------------- */

/* The first line of each mapping begins with its addresses. */
static bool is_first_line(const char *line, struct hp_vma *vma)
{
	unsigned long start, end;

	if (sscanf(line, "%lx-%lx %7s %lx", &start, &end, vma->perms, &vma->offset) != 4)
		return false;
	vma->start = (char *)start;
	vma->end = (char *)end;
	return true;
}

static void add_line(struct hp_vma *vma, const char *line)
{
	size_t len = strlen(vma->text);

	snprintf(vma->text + len, sizeof(vma->text) - len, "%s", line);
}

/* The mapping at an address. Returns 0, -ENOENT where there is none, -errno. */
int hp_vma_at(pid_t pid, const void *addr, struct hp_vma *vma)
{
	FILE *file = open_proc(pid, "smaps");
	const char *at = addr;
	bool found = false;
	struct hp_vma next;
	char line[512];

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		if (is_first_line(line, &next)) {
			if (found)
				break;
			found = at >= next.start && at < next.end;
			next.text[0] = '\0';
			if (found)
				*vma = next;
		}
		if (found)
			add_line(vma, line);
	}
	fclose(file);
	return found ? 0 : -ENOENT;
}

/* "Field:   number kB" at the beginning of a line; -1 where there is none. */
static long field_kb(const char *text, const char *field)
{
	size_t len = strlen(field);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, field, len) && line[len] == ':')
			return strtol(line + len + 1, NULL, 10);
	}
	return -1;
}

long hp_vma_kb(const struct hp_vma *vma, const char *field)
{
	return field_kb(vma->text, field);
}

/* One of the two letters in VmFlags. */
bool hp_vma_flag(const struct hp_vma *vma, const char *flag)
{
	const char *flags = strstr(vma->text, "VmFlags:");
	char word[8];

	snprintf(word, sizeof(word), " %s ", flag);
	return flags && strstr(flags, word);
}

/* How many mappings begin in a range of addresses. */
int hp_count_vmas(pid_t pid, const char *from, const char *to)
{
	FILE *file = open_proc(pid, "maps");
	struct hp_vma vma;
	char line[512];
	int nr = 0;

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file))
		nr += is_first_line(line, &vma) && vma.start >= from && vma.start < to;
	fclose(file);
	return nr;
}

/* --- the process as a whole --------------------------------------------- */

static long file_kb(pid_t pid, const char *name, const char *field)
{
	char path[64], text[4096];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return hp_read_text(path, text, sizeof(text)) < 0 ? -1 : field_kb(text, field);
}

long hp_status_kb(pid_t pid, const char *field)
{
	return file_kb(pid, "status", field);
}

long hp_rollup_kb(pid_t pid, const char *field)
{
	return file_kb(pid, "smaps_rollup", field);
}

/*
 * The number behind "FIELD=" in the line of numa_maps for the mapping that
 * begins at @addr. -1 where the line has no such field, -ENOENT without a line.
 */
long hp_numa_maps(pid_t pid, const void *addr, const char *field)
{
	FILE *file = open_proc(pid, "numa_maps");
	long value = -ENOENT;
	char line[1024], word[64];
	const char *at;

	if (!file)
		return -errno;
	snprintf(word, sizeof(word), " %s=", field);
	while (value == -ENOENT && fgets(line, sizeof(line), file)) {
		if (strtoul(line, NULL, 16) != (unsigned long)addr)
			continue;
		at = strstr(line, word);
		value = at ? strtol(at + strlen(word), NULL, 10) : -1;
	}
	fclose(file);
	return value;
}

/* Returns 0 or -errno. */
int hp_pagemap(pid_t pid, const void *addr, unsigned long nr, unsigned long *entries)
{
	size_t len = nr * sizeof(*entries);
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = pread(fd, entries, len, (unsigned long)addr / HP_BASE * sizeof(*entries));
	if (n < 0)
		n = -errno;
	close(fd);
	return n == (ssize_t)len ? 0 : n < 0 ? n : -EIO;
}
