// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: from a file, process, segment or pool to a PFN.
 *
 * The PFN behind an offset of a hugetlbfs file is in /proc/self/pagemap once we
 * map the file, but only for pages that our page table holds, and touching a
 * hole would allocate a hugepage, which no injector may do. Nothing says without
 * touching whether the page cache has the page: lseek(SEEK_DATA) calls the whole
 * file data, cachestat() refuses hugetlbfs, mincore() looks at our empty page
 * table only, st_blocks counts without saying where.
 *
 * UFFDIO_CONTINUE does it: in a mapping registered for userfaultfd minor faults
 * it maps the page that the page cache holds, fails with EFAULT where there is
 * none and with EIO where it is poisoned, and it never allocates. The mapping is
 * MAP_NORESERVE, lest it takes a reservation that would stay with the file, and
 * without PROT_WRITE, lest it extends the file.
 *
 * A poisoned page's PFN is shown nowhere to user space. It can be told only if it
 * is the one poisoned hugepage of its size; otherwise the candidates are listed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/magic.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "inject.h"

#define PM_PRESENT	(1ULL << 63)
#define PM_SWAPPED	(1ULL << 62)
#define PM_PFN_MASK	((1ULL << 55) - 1)
#define MAX_LISTED	16

enum probe { PROBE_PRESENT, PROBE_HOLE, PROBE_POISONED, PROBE_FAILED };

/* One line of /proc/PID/maps. */
struct vma {
	uint64_t start, end, offset;
	bool shared;
	bool file;
};

static int read_pagemap(int dirfd, const char *path, uint64_t addr, uint64_t *entry)
{
	int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	off_t pos = (off_t)(addr >> PAGE_SHIFT) * (off_t)sizeof(*entry);
	ssize_t got = -1;

	if (fd >= 0) {
		got = pread(fd, entry, sizeof(*entry), pos);
		close(fd);
	}
	if (got == sizeof(*entry))
		return DONE;
	return fail(FAILED, "cannot read %s: %s", path,
		    got < 0 ? strerror(errno) : "the address is beyond it");
}

static int no_userfaultfd(const char *what)
{
	return fail(UNSUPPORTED, "cannot find the page without userfaultfd: %s: %s: the kernel "
		    "needs CONFIG_USERFAULTFD with minor faults on hugetlbfs; --pid and --pfn "
		    "work without", what, strerror(errno));
}

static int register_minor(int uffd, void *addr, size_t size)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MINOR_HUGETLBFS };
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)addr, .len = size },
		.mode = UFFDIO_REGISTER_MODE_MINOR,
	};

	if (ioctl(uffd, UFFDIO_API, &api))
		return no_userfaultfd("UFFDIO_API");
	if (!ioctl(uffd, UFFDIO_REGISTER, &reg))
		return DONE;
	if (errno == EPERM)
		return fail(FAILED,
			    "cannot look into the file: it is sealed against writing or opened "
			    "read-only; use --pid or --pfn");
	return no_userfaultfd("UFFDIO_REGISTER");
}

/* Map the hugepage at @addr from the page cache, if it is there. */
static int continue_page(int uffd, void *addr, size_t size, enum probe *result)
{
	struct uffdio_continue cont = {
		.range = { .start = (uintptr_t)addr, .len = size },
		.mode = UFFDIO_CONTINUE_MODE_DONTWAKE,
	};
	int err = 0;

	do {
		cont.mapped = 0;
		err = ioctl(uffd, UFFDIO_CONTINUE, &cont) ? errno : 0;
	} while (err == EAGAIN || err == EINTR);

	switch (err) {
	case 0:
	case EEXIST:
		*result = PROBE_PRESENT;
		return DONE;
	case EFAULT:
		*result = PROBE_HOLE;
		return DONE;
	case EIO:
		*result = PROBE_POISONED;
		return DONE;
	default:
		errno = err;
		return no_userfaultfd("UFFDIO_CONTINUE");
	}
}

static int probe_page(void *addr, size_t size, enum probe *result)
{
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	int status;

	*result = PROBE_FAILED;
	if (uffd < 0)
		return no_userfaultfd("userfaultfd()");
	status = register_minor(uffd, addr, size);
	if (!status)
		status = continue_page(uffd, addr, size, result);
	close(uffd);
	return status;
}

/* The target is a poisoned hugepage of @size: which one? */
static int find_poisoned(enum scan what, uint64_t size, int node, struct page *page)
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
		"hugepoison-inject: the kernel does not show where a poisoned page is, and there "
		"are several poisoned %s hugepages:\n",
		text);
	for (int i = 0; i < n; i++)
		fprintf(stderr, "  --pfn 0x%" PRIx64 "  (node %d)\n", found[i].head, found[i].node);
	return fail(FAILED, "choose one by its PFN (the report of the injection names it)");
}

/*
 * Where is the hugepage that is mapped at map->addr, and which raw page is
 * @inside bytes into it?
 */
static int find_mapped(struct mapping *map, size_t size, uint64_t inside, const char *name,
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
		status = find_poisoned(SCAN_POISONED, size, ANY_NODE, page);
		if (!status)
			page->pfn = page->head + (inside >> PAGE_SHIFT);
		return status;
	}
	status = read_pagemap(AT_FDCWD, "/proc/self/pagemap", (uintptr_t)map->addr, &entry);
	if (status)
		return status;
	if (!(entry & PM_PRESENT) || !(entry & PM_PFN_MASK))
		return fail(FAILED,
			    "/proc/self/pagemap hides the PFN: run as root (CAP_SYS_ADMIN)");
	return page_lookup((entry & PM_PFN_MASK) + (inside >> PAGE_SHIFT), page);
}

/* @name is how the user knows the file, for messages. */
static int find_in_file(int fd, const char *name, uint64_t offset, struct page *page,
			struct mapping *map)
{
	struct statfs fs;
	struct stat st;
	uint64_t size, start;

	if (fstatfs(fd, &fs) || fstat(fd, &st))
		return fail(FAILED, "cannot examine %s: %s", name, strerror(errno));
	if (fs.f_type != HUGETLBFS_MAGIC)
		return fail(FAILED,
			    "%s is not on hugetlbfs: its pages are no hugepages; give a file of a "
			    "hugetlbfs mount or a memfd made with MFD_HUGETLB (/proc/PID/fd/N)",
			    name);
	if (offset >= (uint64_t)st.st_size)
		return fail(FAILED, "offset %" PRIu64 " is beyond the end of %s (%lld bytes)",
			    offset, name, (long long)st.st_size);
	size = (uint64_t)fs.f_bsize;
	start = offset & ~(size - 1);
	map->addr = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, (off_t)start);
	if (map->addr == MAP_FAILED) {
		map->addr = NULL;
		return fail(FAILED, "cannot map %s at %" PRIu64 ": %s", name, start,
			    strerror(errno));
	}
	map->len = size;
	return find_mapped(map, size, offset - start, name, page);
}

static int find_file(const struct options *opt, struct page *page, struct mapping *map)
{
	struct stat st;
	int fd, status;

	if (stat(opt->file, &st))
		return fail(FAILED, "%s: %s", opt->file, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return fail(FAILED, "%s is not a regular file: give a file on hugetlbfs",
			    opt->file);
	fd = open(opt->file, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return fail(FAILED, "cannot open %s for reading and writing, which looking into "
			    "it takes: %s", opt->file, strerror(errno));
	status = find_in_file(fd, opt->file, opt->offset, page, map);
	close(fd);
	return status;
}

/* The size of the pages behind our own mapping at @addr, 0 if it cannot be told. */
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

static int find_attached(const struct options *opt, const char *name, struct page *page,
			 struct mapping *map)
{
	uint64_t size = mapping_page_size(map->attached), start;

	if (!size_known(size))
		return fail(FAILED,
			    "%s is not made of hugepages: create it with shmget(SHM_HUGETLB)",
			    name);
	start = opt->offset & ~(size - 1);
	map->addr = (char *)map->attached + start;
	return find_mapped(map, size, opt->offset - start, name, page);
}

/*
 * Attaching takes reservations for a SHM_NORESERVE segment, but so did the first
 * attach of whoever put pages into it: a segment never attached has no pages.
 */
static int find_shm(const struct options *opt, struct page *page, struct mapping *map)
{
	struct shmid_ds ds;
	char name[48];
	void *addr;

	snprintf(name, sizeof(name), "shared memory segment %" PRIu64, opt->shmid);
	if (shmctl((int)opt->shmid, IPC_STAT, &ds))
		return fail(FAILED, "no %s: %s; `ipcs -m` lists what there is", name,
			    strerror(errno));
	if (opt->offset >= ds.shm_segsz)
		return fail(FAILED, "offset %" PRIu64 " is beyond the end of %s (%zu bytes)",
			    opt->offset, name, ds.shm_segsz);
	if (!ds.shm_atime)
		return fail(FAILED,
			    "%s was never attached, so it has no hugepage yet; write to it first",
			    name);
	addr = shmat((int)opt->shmid, NULL, 0);
	if (addr == (void *)-1)
		return fail(FAILED, "cannot attach %s: %s", name, strerror(errno));
	map->attached = addr;
	return find_attached(opt, name, page, map);
}

static bool parse_vma(const char *line, struct vma *vma)
{
	char perm[5];
	uint64_t inode;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*s %" SCNu64,
		   &vma->start, &vma->end, perm, &vma->offset, &inode) != 5)
		return false;
	vma->shared = perm[3] == 's';
	vma->file = inode != 0;
	return true;
}

static int find_vma(int dir, const struct options *opt, struct vma *vma)
{
	int fd = openat(dir, "maps", O_RDONLY | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	bool found = false;
	char *line = NULL;
	size_t len = 0;

	if (!f)
		return fail(FAILED, "cannot read /proc/%" PRIu64 "/maps: %s", opt->pid,
			    strerror(errno));
	while (!found && getline(&line, &len, f) > 0)
		found = parse_vma(line, vma) && vma->start <= opt->addr && opt->addr < vma->end;
	free(line);
	fclose(f);
	if (found)
		return DONE;
	return fail(FAILED, "address 0x%" PRIx64 " is in no mapping of process %" PRIu64
		    ": see /proc/%" PRIu64 "/maps", opt->addr, opt->pid, opt->pid);
}

/* The process has no page there; a shared mapping's file may have one. */
static int find_behind_vma(int dir, const struct options *opt, const struct vma *vma,
			   struct page *page, struct mapping *map)
{
	char path[80], name[80];
	struct statfs fs;
	int fd = -1, status;

	snprintf(path, sizeof(path), "map_files/%" PRIx64 "-%" PRIx64, vma->start, vma->end);
	snprintf(name, sizeof(name), "the mapping at 0x%" PRIx64 " of process %" PRIu64,
		 vma->start, opt->pid);
	if (vma->shared && vma->file)
		fd = openat(dir, path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstatfs(fd, &fs) || fs.f_type != HUGETLBFS_MAGIC) {
		if (fd >= 0)
			close(fd);
		return fail(FAILED, "process %" PRIu64 " has no page at 0x%" PRIx64
			    ": it must touch the address first", opt->pid, opt->addr);
	}
	status = find_in_file(fd, name, opt->addr - vma->start + vma->offset, page, map);
	close(fd);
	return status;
}

static int find_addr(int dir, const struct options *opt, struct page *page, struct mapping *map)
{
	struct vma vma;
	uint64_t entry;
	int status = find_vma(dir, opt, &vma);

	if (!status)
		status = read_pagemap(dir, "pagemap", opt->addr, &entry);
	if (status)
		return status;
	if (!(entry & PM_PRESENT) && entry & PM_SWAPPED)
		return fail(FAILED, "the page at 0x%" PRIx64 " of process %" PRIu64
			    " is swapped out or migrating: not a hugepage, or try again",
			    opt->addr, opt->pid);
	if (!(entry & PM_PRESENT))
		return find_behind_vma(dir, opt, &vma, page, map);
	if (!(entry & PM_PFN_MASK))
		return fail(FAILED,
			    "/proc/%" PRIu64 "/pagemap hides the PFN: run as root (CAP_SYS_ADMIN)",
			    opt->pid);
	return page_lookup(entry & PM_PFN_MASK, page);
}

/* An open /proc/PID goes stale with its process: a recycled PID cannot fool us. */
static int find_pid(const struct options *opt, struct page *page, struct mapping *map)
{
	char path[32];
	int dir, status;

	snprintf(path, sizeof(path), "/proc/%" PRIu64, opt->pid);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return fail(FAILED, "no process %" PRIu64 ": %s", opt->pid, strerror(errno));
	status = find_addr(dir, opt, page, map);
	close(dir);
	return status;
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
		if (!in_list_file("/sys/devices/system/node/online", (unsigned int)opt->node))
			return fail(FAILED,
				    "node %d is not online: see /sys/devices/system/node/online",
				    opt->node);
		snprintf(where, sizeof(where), " on node %d", opt->node);
		snprintf(dir, sizeof(dir), "/sys/devices/system/node/node%d", opt->node);
	}
	if (opt->unpoison || free_hugepages(size, opt->node) > 0)
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
	if (opt->unpoison)
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
	case TARGET_PFN: return page_lookup(opt->pfn, page);
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

static uint64_t random_below(uint64_t n)
{
	uint64_t r = 0;

	/* n is a power of two no larger than 2^18: no bias to care about */
	if (getrandom(&r, sizeof(r), 0) != sizeof(r))
		r = (uint64_t)getpid();
	return r % n;
}

/**
 * target_pick_page - apply --subpage
 * @opt: says which raw page
 * @page: the hugepage; its raw page is replaced. While it is not known, page->pfn
 *	becomes the index, which is all that can be said
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
		index = random_below(page->pages);
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
