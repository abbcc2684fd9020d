// SPDX-License-Identifier: GPL-2.0
/* hugepoison-inject: from the command line's target to a raw page. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include "page.h"

/* Devices and FIFOs may do something on open() already. */
static int open_file(const char *name, bool read_only, int *fd)
{
	struct stat st;
	const int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

	if (stat(name, &st))
		return fail(FAILED, "%s: %s", name, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return fail(FAILED, "%s is not a regular file: give a file on hugetlbfs", name);
	*fd = open(name, O_RDWR | flags);
	if (*fd < 0 && read_only)
		*fd = open(name, O_RDONLY | flags);
	if (*fd >= 0)
		return DONE;
	return fail(FAILED, "cannot open %s%s: %s", name, read_only ? "" :
		    " for reading and writing, which looking into it takes", strerror(errno));
}

static int find_file(const struct options *opt, struct page *page, struct mapping *map)
{
	int fd, status = open_file(opt->file, false, &fd);

	if (status)
		return status;
	status = find_in_file(opt, fd, opt->file, opt->at, page, map);
	close(fd);
	return status;
}

/* The size of the pages behind our own mapping at @addr, 0 if it is unknown. */
static uint64_t mapping_page_size(const void *addr)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	uint64_t start, end, kb = 0;
	bool inside = false;
	char line[512];

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &start, &end) == 2)
			inside = start <= (uintptr_t)addr && (uintptr_t)addr < end;
		else if (inside && sscanf(line, "KernelPageSize: %" SCNu64, &kb) == 1)
			break;
	}
	fclose(f);
	return kb << 10;
}

/*
 * Attaching takes reservations for a SHM_NORESERVE segment, but its first user's
 * attach took them already: a segment never attached has no pages.
 */
static int map_segment(const struct options *opt, const char *name, struct mapping *map,
		       uint64_t *size)
{
	struct shmid_ds ds;
	void *addr;

	if (shmctl((int)opt->shmid, IPC_STAT, &ds))
		return fail(FAILED, "no %s: %s; `ipcs -m` lists what there is", name,
			    strerror(errno));
	if (!opt->everywhere && !opt->by_number && opt->at >= ds.shm_segsz)
		return fail(FAILED, "offset %" PRIu64 " is beyond the end of %s (%zu bytes)",
			    opt->at, name, ds.shm_segsz);
	if (!ds.shm_atime)
		return fail(FAILED,
			    "%s was never attached, so it has no hugepage yet; write to it first",
			    name);
	addr = shmat((int)opt->shmid, NULL, opt->command == CMD_LIST ? SHM_RDONLY : 0);
	if (addr == (void *)-1)
		return fail(FAILED, "cannot attach %s: %s", name, strerror(errno));
	map->attached = addr;
	map->addr = addr;
	map->len = ds.shm_segsz;
	*size = mapping_page_size(addr);
	if (size_known(*size))
		return DONE;
	return fail(FAILED, "%s is not made of hugepages: create it with shmget(SHM_HUGETLB)",
		    name);
}

static int find_shm(const struct options *opt, struct page *page, struct mapping *map)
{
	uint64_t size, offset, start;
	char name[48];
	int status;

	snprintf(name, sizeof(name), "shared memory segment %" PRIu64, opt->shmid);
	status = map_segment(opt, name, map, &size);
	if (status)
		return status;
	offset = place_of(opt, opt->at, size);
	if (offset >= map->len)
		return fail(FAILED, "offset %" PRIu64 " is beyond the end of %s (%zu bytes)",
			    offset, name, map->len);
	start = offset & ~(size - 1);
	map->addr = (char *)map->attached + start;
	return find_mapped(map, size, offset - start, name, page);
}

static int map_whole_file(const struct options *opt, struct mapping *map, uint64_t *size)
{
	uint64_t length;
	int fd, status = open_file(opt->file, opt->command == CMD_LIST, &fd);

	if (status)
		return status;
	status = size_of_file(fd, opt->file, size, &length);
	if (!status && !length)
		status = fail(FAILED, "%s is empty", opt->file);
	if (!status)
		status = map_file(fd, opt->file, 0, length, map);
	close(fd);
	return status;
}

/**
 * target_map - map all of a file or a segment
 * @opt: names the target
 * @map: our mapping, to be undone by target_unmap() in any case
 * @size: of its hugepages, in bytes
 *
 * Return: DONE, or an exit status after a message.
 */
int target_map(const struct options *opt, struct mapping *map, uint64_t *size)
{
	char name[48];

	*map = (struct mapping) { 0 };
	if (opt->kind == TARGET_FILE)
		return map_whole_file(opt, map, size);
	snprintf(name, sizeof(name), "shared memory segment %" PRIu64, opt->shmid);
	return map_segment(opt, name, map, size);
}

/**
 * free_hugepages - how many the pool has
 * @size: of this size, bytes
 * @node: on this node, or ANY_NODE
 *
 * Return: the number, NO_VALUE if there is no such pool.
 */
long long free_hugepages(uint64_t size, int node)
{
	char path[128], where[48] = "/sys/kernel/mm";

	if (node != ANY_NODE)
		snprintf(where, sizeof(where), "/sys/devices/system/node/node%d", node);
	snprintf(path, sizeof(path), "%s/hugepages/hugepages-%" PRIu64 "kB/free_hugepages",
		 where, size >> 10);
	return read_value(path);
}

static int check_pool(const struct options *opt, uint64_t size)
{
	char text[24], all[96], where[24] = "", dir[48] = "/sys/kernel/mm";

	size_text(size, text, sizeof(text));
	known_sizes(all, sizeof(all));
	if (!size_known(size))
		return fail(FAILED, "this kernel has no hugepages of size %s, only %s", text, all);
	if (opt->node != ANY_NODE) {
		if (!node_online(opt->node))
			return fail(FAILED,
				    "node %d is not online: see /sys/devices/system/node/online",
				    opt->node);
		snprintf(where, sizeof(where), " on node %d", opt->node);
		snprintf(dir, sizeof(dir), "/sys/devices/system/node/node%d", opt->node);
	}
	if (opt->command == CMD_UNPOISON || free_hugepages(size, opt->node) > 0)
		return DONE;
	return fail(FAILED, "no free %s hugepage%s: echo N > %s/hugepages/hugepages-%" PRIu64
		    "kB/nr_hugepages", text, where, dir, size >> 10);
}

static int find_free(const struct options *opt, struct page *page)
{
	uint64_t size = opt->size ? opt->size : default_size();
	int status = check_pool(opt, size);

	if (status)
		return status;
	if (opt->command == CMD_UNPOISON)
		return find_poisoned(SCAN_POISONED_FREE, size, opt->node, page);
	if (opt->way == WAY_CORRUPT_FREE) {
		*page = (struct page) {
			.huge = true, .pages = size >> PAGE_SHIFT, .node = opt->node,
		};
		return DONE;
	}
	if (scan_hugepages(SCAN_FREE, size, opt->node, page, 1) == 1)
		return DONE;
	return fail(FAILED,
		    "the pool counts free hugepages, but /proc/kpageflags shows none: try again");
}

static int dispatch(const struct options *opt, struct page *page, struct mapping *map)
{
	switch (opt->kind) {
	case TARGET_FILE: return find_file(opt, page, map);
	case TARGET_PID: return find_pid(opt, page, map);
	case TARGET_SHM: return find_shm(opt, page, map);
	case TARGET_PFN: return page_lookup(opt->at, page);
	case TARGET_FREE: return find_free(opt, page);
	default: return fail(USAGE, "no target");
	}
}

/**
 * target_find - find the raw page that the target names
 * @opt: names the target
 * @page: the raw page and its hugepage
 * @map: our mapping of it, to be undone by target_unmap() on success
 *
 * Changes nothing: allocates, reserves and touches no page.
 *
 * Return: DONE, or an exit status after a message.
 */
int target_find(const struct options *opt, struct page *page, struct mapping *map)
{
	int status;

	*map = (struct mapping) { 0 };
	*page = (struct page) { .node = ANY_NODE };
	status = dispatch(opt, page, map);
	if (!status && !page->huge && !opt->any_page)
		status = fail(FAILED, "PFN 0x%" PRIx64 " is not in a hugepage%s: add --any-page "
			      "if you mean it", page->pfn, page->poisoned ?
			      " (any more: a poisoned free hugepage is dissolved)" : "");
	if (status)
		target_unmap(map);
	return status;
}

/**
 * random_number - any number
 */
uint64_t random_number(void)
{
	uint64_t r = 0;

	if (getrandom(&r, sizeof(r), 0) != sizeof(r))
		r = (uint64_t)getpid();
	return r;
}

/**
 * target_pick_page - apply --subpage
 * @opt: says which raw page
 * @page: the hugepage; its raw page is replaced. While it is unknown, page->pfn
 * becomes the index, the only known number
 *
 * Return: DONE, or USAGE after a message.
 */
int target_pick_page(const struct options *opt, struct page *page)
{
	uint64_t index = page->pfn - page->head;

	if (opt->subpage == SUBPAGE_NAMED)
		return DONE;
	if (!page->huge)
		return fail(USAGE, "--subpage: PFN 0x%" PRIx64 " is not in a hugepage", page->pfn);
	if (opt->subpage == SUBPAGE_HEAD)
		index = 0;
	else if (opt->subpage == SUBPAGE_TAIL)
		index = page->pages - 1;
	else if (opt->subpage == SUBPAGE_RANDOM)
		index = random_number() % page->pages; /* a power of two: no bias */
	else
		index = opt->index;
	if (index >= page->pages)
		return fail(USAGE,
			    "--subpage %" PRIu64 ": the hugepage has raw pages 0 to %" PRIu64,
			    index, page->pages - 1);
	page->pfn = page->head + index;
	return DONE;
}

/**
 * state_mismatch - does the hugepage lack the state of --state
 * @opt: the options
 * @page: the hugepage
 *
 * Return: NULL if all is well, else the hugepage's state.
 */
const char *state_mismatch(const struct options *opt, const struct page *page)
{
	uint64_t size = page->pages << PAGE_SHIFT;
	enum state is = page_state(page);
	char path[96];

	switch (opt->state) {
	case STATE_ANY:
		return NULL;
	case STATE_RESERVED:
		snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%" PRIu64
			 "kB/resv_hugepages", size >> 10);
		if (page->known && is != STATE_FREE)
			return state_name(is);
		return read_value(path) >= free_hugepages(size, ANY_NODE) ? NULL :
			"free, and not every free one is promised";
	case STATE_UNFAULTED:
		return is == STATE_SHARED && page_unmapped(page) ? NULL :
			is == STATE_SHARED ? "mapped" : state_name(is);
	case STATE_PINNED:
		return process_pins(opt->pid) ? NULL : "of a process that has pinned nothing";
	case STATE_FREE:
		if (!page->known)
			return NULL;
		fallthrough;
	default:
		return is == opt->state ? NULL : state_name(is);
	}
}

/**
 * target_name - print the command line's target
 * @opt: the options
 * @f: where to
 */
void target_name(const struct options *opt, FILE *f)
{
	const char *what = "offset";

	switch (opt->kind) {
	case TARGET_FILE:
		fprintf(f, "file ");
		print_name(f, opt->file);
		break;
	case TARGET_PID:
		fprintf(f, "process %" PRIu64, opt->pid);
		what = "address";
		break;
	case TARGET_SHM:
		fprintf(f, "shared memory segment %" PRIu64, opt->shmid);
		break;
	case TARGET_PFN:
		fprintf(f, "PFN 0x%" PRIx64, opt->at);
		if (opt->end)
			fprintf(f, "-0x%" PRIx64, opt->end);
		return;
	default:
		fprintf(f, "a%s free hugepage", opt->command == CMD_UNPOISON ? " poisoned" : "");
		return;
	}
	if (opt->by_number)
		fprintf(f, ", hugepage %" PRIu64, opt->number);
	else if (opt->end)
		fprintf(f, ", %s 0x%" PRIx64 "-0x%" PRIx64, what, opt->at, opt->end);
	else if (!opt->everywhere && opt->kind == TARGET_PID)
		fprintf(f, ", %s 0x%" PRIx64, what, opt->at);
	else if (!opt->everywhere)
		fprintf(f, ", %s %" PRIu64, what, opt->at);
}

/**
 * target_unmap - undo our own mapping, so that we are no mapper of the hugepage
 * @map: the mapping; nothing happens if there is none
 */
void target_unmap(struct mapping *map)
{
	if (map->attached)
		shmdt(map->attached);
	else if (map->addr)
		munmap(map->addr, map->len);
	*map = (struct mapping) { 0 };
}
