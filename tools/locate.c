// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: from a place in a file to its raw page.
 *
 * A file is mapped, and probe_page() has its page put into our page table, if it is
 * there; /proc/self/pagemap then tells the PFN. The mapping is MAP_NORESERVE, lest it
 * takes a reservation that would stay with the file, and without PROT_WRITE, lest it
 * extends the file.
 *
 * The kernel shows a poisoned page's PFN nowhere to user space. The tool can tell it
 * only if it is the one poisoned hugepage of its size; otherwise it lists the
 * candidates.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "inject.h"

#define MAX_LISTED	16

/**
 * find_poisoned - find the one poisoned hugepage of a size
 * @what: SCAN_POISONED, or SCAN_POISONED_FREE
 * @size: its size in bytes
 * @node: its node, or ANY_NODE
 * @page: the hugepage
 *
 * Return: DONE, or FAILED after a message; it lists the candidates if there are several.
 */
int find_poisoned(enum scan what, uint64_t size, int node, struct page *page)
{
	struct page found[MAX_LISTED];
	int n = scan_hugepages(what, size, node, found, MAX_LISTED);
	char text[24];

	size_text(size, text, sizeof(text));
	if (n == 1) {
		*page = found[0];
		return DONE;
	}
	if (!n)
		return fail(FAILED, "no poisoned%s %s hugepage found%s",
			    what == SCAN_POISONED_FREE ? " free" : "", text,
			    node == ANY_NODE ? "" : " on that node");
	fprintf(stderr,
		"%s: the kernel does not show where a poisoned page is, and there are several "
		"poisoned %s hugepages:\n",
		program, text);
	for (int i = 0; i < n; i++)
		fprintf(stderr, "  --pfn 0x%" PRIx64 "  (node %d)\n", found[i].head, found[i].node);
	return fail(FAILED, "choose one by its PFN (the report of the injection names it)");
}

/*
 * Any healthy page of a narrowed hugepage identifies it: once touched, the page is in
 * our page table. False where all of it is lost, or the first ones are.
 */
static bool find_by_neighbour(const struct mapping *map, size_t size, struct page *page)
{
	uint64_t pages = size >> PAGE_SHIFT, entry;
	struct signal_seen sig;

	if (!kernel_has_hugepoison())
		return false;	/* all of it is lost there */
	for (uint64_t i = 0; i < MAX_LISTED; i++) {
		char *addr = (char *)map->addr + (i << PAGE_SHIFT);

		if (!touch(addr, &sig))
			continue;
		if (read_pagemap(AT_FDCWD, "/proc/self/pagemap", (uintptr_t)addr, &entry, 1) ||
		    !(entry & PM_PRESENT) || ((entry & PM_PFN_MASK) & (pages - 1)) != i)
			return false;
		page_assume((entry & PM_PFN_MASK) - i, pages, page);
		return true;
	}
	return false;
}

/**
 * find_mapped - find the hugepage behind our own mapping
 * @map: the hugepage is mapped at map->addr
 * @size: its size in bytes
 * @inside: how many bytes into it the raw page is
 * @name: how the user knows the file, for messages
 * @page: the raw page and its hugepage
 *
 * Return: DONE, or an exit status after a message.
 */
int find_mapped(struct mapping *map, size_t size, uint64_t inside, const char *name,
		struct page *page)
{
	enum probe result;
	uint64_t entry;
	int status = probe_page(map->addr, size, &result);

	if (status)
		return status;
	if (result == PROBE_HOLE)
		return fail(FAILED,
			    "%s has a hole there: no hugepage is allocated; write to it first",
			    name);
	if (result == PROBE_POISONED) {
		if (!find_by_neighbour(map, size, page))
			status = find_poisoned(SCAN_POISONED, size, ANY_NODE, page);
		if (!status)
			page->pfn = page->head + (inside >> PAGE_SHIFT);
		return status;
	}
	status = read_pagemap(AT_FDCWD, "/proc/self/pagemap", (uintptr_t)map->addr, &entry, 1);
	if (status)
		return status;
	if (!(entry & PM_PRESENT) || !(entry & PM_PFN_MASK))
		return fail(FAILED,
			    "/proc/self/pagemap hides the PFN: run as root (CAP_SYS_ADMIN)");
	return page_lookup((entry & PM_PFN_MASK) + (inside >> PAGE_SHIFT), page);
}

/**
 * size_of_file - a file's length, and the size of its hugepages
 * @fd: the file
 * @name: how the user knows it, for messages
 * @size: of its hugepages, in bytes
 * @length: of the file, in bytes
 *
 * Return: DONE, or FAILED after a message: it has no hugepages.
 */
int size_of_file(int fd, const char *name, uint64_t *size, uint64_t *length)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(fd, &fs) || fstat(fd, &st))
		return fail(FAILED, "cannot examine %s: %s", name, strerror(errno));
	if (fs.f_type != HUGETLBFS_MAGIC)
		return fail(FAILED,
			    "%s is not on hugetlbfs: its pages are no hugepages; give a file of a "
			    "hugetlbfs mount or a memfd made with MFD_HUGETLB (/proc/PID/fd/N)",
			    name);
	*size = (uint64_t)fs.f_bsize;
	*length = (uint64_t)st.st_size;
	return DONE;
}

/**
 * map_file - map a file without a reservation
 * @fd: the file
 * @name: how the user knows it, for messages
 * @start: the first byte
 * @len: how many
 * @map: our mapping, to be undone by target_unmap()
 *
 * Return: DONE, or FAILED after a message.
 */
int map_file(int fd, const char *name, uint64_t start, size_t len, struct mapping *map)
{
	map->addr = mmap(NULL, len, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, (off_t)start);
	map->len = len;
	if (map->addr != MAP_FAILED)
		return DONE;
	map->addr = NULL;
	return fail(FAILED, "cannot map %s at %" PRIu64 ": %s", name, start, strerror(errno));
}

/**
 * place_of - the place that --offset, or --hugepage, names
 * @opt: for --hugepage
 * @offset: that of --offset
 * @size: of the file's hugepages, in bytes
 */
uint64_t place_of(const struct options *opt, uint64_t offset, uint64_t size)
{
	return opt->by_number ? opt->number * size : offset;
}

/**
 * find_in_file - find the raw page at an offset of an open file
 * @opt: for --hugepage
 * @fd: the file
 * @name: how the user knows it, for messages
 * @offset: where in it
 * @page: the raw page and its hugepage
 * @map: our mapping of it
 *
 * Return: DONE, or an exit status after a message.
 */
int find_in_file(const struct options *opt, int fd, const char *name, uint64_t offset,
		 struct page *page, struct mapping *map)
{
	uint64_t size, length, start;
	int status = size_of_file(fd, name, &size, &length);

	if (status)
		return status;
	offset = place_of(opt, offset, size);
	if (offset >= length)
		return fail(FAILED, "offset %" PRIu64 " is beyond the end of %s (%" PRIu64
			    " bytes)", offset, name, length);
	start = offset & ~(size - 1);
	status = map_file(fd, name, start, size, map);
	return status ? status : find_mapped(map, size, offset - start, name, page);
}
