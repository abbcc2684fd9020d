// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: from a process to PFNs.
 *
 * An open /proc/PID goes stale with its process. The tool opens it once and keeps it,
 * so that a PID that the kernel gives to another process between the look and the hit
 * cannot fool it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include "page.h"

#define MIN_VMAS	65530	/* the kernel's default of vm.max_map_count */
#define MAX_VMAS	(1 << 22)

static int process_fd = -1;
static uint64_t process_pid;

/**
 * process_open - the directory of a process in /proc, for as long as the tool runs
 * @pid: the process
 *
 * Return: a file descriptor, -1 after a message.
 */
int process_open(uint64_t pid)
{
	char path[32];

	if (process_fd >= 0 && process_pid == pid)
		return process_fd;
	snprintf(path, sizeof(path), "/proc/%" PRIu64, pid);
	process_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (process_fd < 0)
		fail(FAILED, "no process %" PRIu64 ": %s", pid, strerror(errno));
	process_pid = pid;
	return process_fd;
}

static FILE *process_file(uint64_t pid, const char *name)
{
	int dir = process_open(pid), fd;
	FILE *f;

	if (dir < 0)
		return NULL;
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	f = fd < 0 ? NULL : fdopen(fd, "r");
	if (f)
		return f;
	if (errno == ESRCH || errno == ENOENT)
		fail(FAILED, "process %" PRIu64 " is gone", pid);
	else
		fail(FAILED, "cannot read /proc/%" PRIu64 "/%s: %s", pid, name, strerror(errno));
	return NULL;
}

/**
 * process_entries - read entries of a process's page table
 * @pid: the process
 * @addr: the first address
 * @entry: what it has there, and at the following pages
 * @count: of how many pages
 *
 * Return: DONE, or FAILED after a message.
 */
int process_entries(uint64_t pid, uint64_t addr, uint64_t *entry, size_t count)
{
	int dir = process_open(pid);

	return dir < 0 ? FAILED : read_pagemap(dir, "pagemap", addr, entry, count);
}

/**
 * parse_vma - a line of /proc/PID/maps
 * @line: the line
 * @vma: what it says
 */
bool parse_vma(const char *line, struct vma *vma)
{
	char perm[5];
	int name = 0;

	*vma = (struct vma) { 0 };
	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n",
		   &vma->start, &vma->end, perm, &vma->offset, &vma->major, &vma->minor,
		   &vma->inode, &name) != 7 || strlen(perm) != 4 || vma->start >= vma->end)
		return false;
	vma->shared = perm[3] == 's';
	snprintf(vma->name, sizeof(vma->name), "%.*s", (int)strcspn(line + name, "\n"),
		 line + name);
	return true;
}

/**
 * most_vmas - how many mappings of a process to read
 *
 * The kernel lists them by address. A process that makes new ones ahead of its reader, and
 * removes others behind it, shows as many as there are addresses.
 */
size_t most_vmas(void)
{
	static size_t most;
	long long max;

	if (most)
		return most;
	max = read_value("/proc/sys/vm/max_map_count");
	most = max < MIN_VMAS ? MIN_VMAS : max > MAX_VMAS ? MAX_VMAS : (size_t)max;
	/* the kernel's own page is in no count */
	return ++most;
}

static int changes_all_the_time(uint64_t pid)
{
	return fail(FAILED, "process %" PRIu64 " changes its mappings while we read them: "
		    "kill -STOP %" PRIu64, pid, pid);
}

/**
 * process_vmas - the mappings of a process, with the sizes of their pages
 * @pid: the process
 * @vmas: where to put them, to be freed
 * @count: how many there are
 *
 * Return: DONE, or FAILED after a message.
 */
int process_vmas(uint64_t pid, struct vma **vmas, size_t *count)
{
	FILE *f = process_file(pid, "smaps");
	size_t len = 0, room = 0;
	char *line = NULL;
	struct vma vma, *grown;
	uint64_t kb;
	bool gone;

	*vmas = NULL;
	*count = 0;
	if (!f)
		return FAILED;
	while (getline(&line, &len, f) > 0) {
		if (*count && sscanf(line, "KernelPageSize: %" SCNu64, &kb) == 1)
			(*vmas)[*count - 1].page_size = kb << 10;
		if (!parse_vma(line, &vma))
			continue;
		if (*count == most_vmas())
			break;
		if (*count == room) {
			room = room ? room * 2 : 64;
			grown = realloc(*vmas, room * sizeof(**vmas));
			if (!grown)
				break;
			*vmas = grown;
		}
		(*vmas)[(*count)++] = vma;
	}
	free(line);
	gone = ferror(f);
	if (fclose(f) || gone)
		return fail(FAILED, "process %" PRIu64 " is gone", pid);
	return *count < most_vmas() ? DONE : changes_all_the_time(pid);
}

/**
 * process_hugepages - where a process maps hugepages
 * @pid: the process
 * @addr: where to put the addresses of those in its page table, in order, to be freed
 * @count: how many there are
 *
 * It leaves out narrowed ones: they are mapped by base pages.
 *
 * Return: DONE, or FAILED after a message.
 */
int process_hugepages(uint64_t pid, uint64_t **addr, size_t *count)
{
	struct vma *vmas;
	size_t nr, room = 0;
	uint64_t entry;
	int status = process_vmas(pid, &vmas, &nr);

	*addr = NULL;
	*count = 0;
	for (size_t i = 0; !status && i < nr; i++) {
		if (!size_known(vmas[i].page_size))
			continue;
		for (uint64_t at = vmas[i].start; !status && at < vmas[i].end;
		     at += vmas[i].page_size) {
			status = process_entries(pid, at, &entry, 1);
			if (status || !(entry & PM_PRESENT))
				continue;
			if (*count == room) {
				uint64_t *grown = realloc(*addr, (room += 512) * sizeof(*grown));

				if (!grown)
					exit(fail(FAILED, "out of memory"));
				*addr = grown;
			}
			(*addr)[(*count)++] = at;
		}
	}
	free(vmas);
	return status;
}

/**
 * process_pins - has a process pinned memory
 * @pid: the process
 *
 * VmPin counts what RDMA, VFIO and io_uring have pinned for it; the kernel shows
 * nowhere which pages those are.
 */
bool process_pins(uint64_t pid)
{
	FILE *f = process_file(pid, "status");
	unsigned long kb = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmPin: %lu", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

static int find_vma(uint64_t pid, uint64_t addr, struct vma *vma)
{
	FILE *f = process_file(pid, "maps");
	size_t len = 0, count = 0;
	bool found = false;
	char *line = NULL;

	if (!f)
		return FAILED;
	while (!found && count < most_vmas() && getline(&line, &len, f) > 0) {
		found = parse_vma(line, vma) && vma->start <= addr && addr < vma->end;
		count++;
	}
	free(line);
	fclose(f);
	if (found)
		return DONE;
	if (count == most_vmas())
		return changes_all_the_time(pid);
	return fail(FAILED, "address 0x%" PRIx64 " is in no mapping of process %" PRIu64
		    ": see /proc/%" PRIu64 "/maps", addr, pid, pid);
}

/**
 * process_map_file - open the hugetlbfs file behind a mapping of a process
 * @pid: the process
 * @vma: the mapping
 *
 * Return: a file descriptor, -1 if there is no such file.
 */
int process_map_file(uint64_t pid, const struct vma *vma)
{
	int dir = process_open(pid), fd;
	char path[80];
	struct statfs fs;

	if (dir < 0 || !vma->shared || !vma->inode)
		return -1;
	snprintf(path, sizeof(path), "map_files/%" PRIx64 "-%" PRIx64, vma->start, vma->end);
	fd = openat(dir, path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0 && (fstatfs(fd, &fs) || fs.f_type != HUGETLBFS_MAGIC)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The process has no page there; a shared mapping's file may have one. */
static int find_behind_vma(const struct options *opt, uint64_t addr, const struct vma *vma,
			   struct page *page, struct mapping *map)
{
	int fd = process_map_file(opt->pid, vma), status;
	struct options plain = *opt;
	char name[80];

	if (fd < 0)
		return fail(FAILED, "process %" PRIu64 " has no page at 0x%" PRIx64
			    ": it must touch the address first", opt->pid, addr);
	snprintf(name, sizeof(name), "the mapping at 0x%" PRIx64 " of process %" PRIu64,
		 vma->start, opt->pid);
	plain.by_number = false;
	status = find_in_file(&plain, fd, name, addr - vma->start + vma->offset, page, map);
	close(fd);
	return status;
}

/**
 * nth_hugepage - where a process maps its hugepage of a number
 * @opt: --pid and --hugepage
 * @at: its address
 *
 * Return: DONE, or an exit status after a message.
 */
int nth_hugepage(const struct options *opt, uint64_t *at)
{
	uint64_t *addr;
	size_t count;
	int status = process_hugepages(opt->pid, &addr, &count);

	if (!status && opt->number >= count)
		status = fail(FAILED,
			      "--hugepage %" PRIu64 ": process %" PRIu64 " maps %zu, from 0 on",
			      opt->number, opt->pid, count);
	if (!status)
		*at = addr[opt->number];
	free(addr);
	return status;
}

/**
 * find_pid - find the raw page at an address of a process
 * @opt: names both
 * @page: the raw page and its hugepage
 * @map: our mapping of it, if there is one
 *
 * Return: DONE, or an exit status after a message.
 */
int find_pid(const struct options *opt, struct page *page, struct mapping *map)
{
	uint64_t addr = opt->at, entry;
	struct vma vma;
	int status = opt->by_number ? nth_hugepage(opt, &addr) : DONE;

	if (!status)
		status = find_vma(opt->pid, addr, &vma);
	if (!status)
		status = process_entries(opt->pid, addr, &entry, 1);
	if (status)
		return status;
	if (!(entry & PM_PRESENT) && entry & PM_SWAPPED)
		return fail(FAILED, "the page at 0x%" PRIx64 " of process %" PRIu64
			    " is swapped out, migrating or poisoned: not a hugepage, or try again",
			    addr, opt->pid);
	if (!(entry & PM_PRESENT))
		return find_behind_vma(opt, addr, &vma, page, map);
	if (!(entry & PM_PFN_MASK))
		return fail(FAILED,
			    "/proc/%" PRIu64 "/pagemap hides the PFN: run as root (CAP_SYS_ADMIN)",
			    opt->pid);
	return page_lookup(entry & PM_PFN_MASK, page);
}
