// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: read the hugepages of a process, through /proc/PID/mem.
 *
 * The process gets no signal. Unreadable pages have to be in the kernel's list of bad
 * pages, and pages in the list must not be readable; the page table, before and after,
 * connects the two.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include "inject.h"

struct reader {
	const struct options *opt;
	struct touched *t;
	struct bad *bad;	/* by page frame */
	size_t bads;
	int mem;
	uint64_t start, end;	/* the part of the process to read */
	uint64_t *entry;	/* of the hugepage's pages */
	bool *can;
};

static int compare(const void *key, const void *bad)
{
	uint64_t x = *(const uint64_t *)key, y = ((const struct bad *)bad)->pfn;

	return (x > y) - (x < y);
}

static bool is_bad(const struct reader *r, uint64_t pfn)
{
	return r->bads && bsearch(&pfn, r->bad, r->bads, sizeof(*r->bad), compare);
}

/* All of a contained hugepage is lost, and no neighbour shows where it is. */
static bool is_contained(const struct reader *r, const struct vma *vma, uint64_t size)
{
	char file[64];

	snprintf(file, sizeof(file), "%u:%u %" PRIu64 " ", vma->major, vma->minor, vma->inode);
	for (size_t i = 0; i < r->bads; i++)
		if (r->bad[i].kb << 10 == size && !strcmp(r->bad[i].state, "contained") &&
		    (vma->inode ? !strncmp(r->bad[i].owner, file, strlen(file)) :
		     !strcmp(r->bad[i].owner, "anon")))
			return true;
	return false;
}

/* Whether there is a page to read that reading would not allocate. */
static int is_there(const struct reader *r, const struct vma *vma, int fd, uint64_t addr,
		    uint64_t size, bool *there)
{
	enum probe result;
	void *mapped;
	int status;

	*there = false;
	for (uint64_t i = 0; i < size >> PAGE_SHIFT; i++)
		*there |= r->entry[i] & (PM_PRESENT | PM_SWAPPED);
	if (*there || fd < 0)
		return DONE;
	mapped = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd,
		      (off_t)(addr - vma->start + vma->offset));
	if (mapped == MAP_FAILED)
		return fail(FAILED, "cannot map what process %" PRIu64 " has at 0x%" PRIx64 ": %m",
			    r->opt->pid, addr);
	status = probe_page(mapped, size, &result);
	munmap(mapped, size);
	*there = result != PROBE_HOLE;
	return status;
}

/* Page frame of the hugepage's first page, by one that is mapped; 0 if none is. */
static uint64_t head_by_neighbour(const struct reader *r, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++)
		if (r->entry[i] & PM_PRESENT && r->can[i])
			return (r->entry[i] & PM_PFN_MASK) - i;
	return 0;
}

static void judge(const struct reader *r, const struct vma *vma, uint64_t pages)
{
	uint64_t head = head_by_neighbour(r, pages);
	bool contained = !head && is_contained(r, vma, pages << PAGE_SHIFT);

	for (uint64_t i = 0; i < pages; i++) {
		uint64_t pfn = r->entry[i] & PM_PRESENT ? r->entry[i] & PM_PFN_MASK : head + i;
		bool bad = head ? is_bad(r, pfn) : contained;

		r->t->pages++;
		r->t->healthy += r->can[i] && !bad;
		r->t->readable += r->can[i] && bad;
		r->t->raw += !r->can[i] && bad;
		r->t->lost += !r->can[i] && !bad;
	}
}

static int read_pages(struct reader *r, const struct vma *vma, int fd, uint64_t addr,
		      uint64_t size)
{
	uint64_t pages = size >> PAGE_SHIFT;
	bool there;
	char byte;
	int status = process_entries(r->opt->pid, addr, r->entry, pages);

	if (!status)
		status = is_there(r, vma, fd, addr, size, &there);
	if (status)
		return status;
	if (!there) {
		r->t->holes++;
		return DONE;
	}
	for (uint64_t i = 0; i < pages; i++) {
		r->can[i] = pread(r->mem, &byte, 1, (off_t)(addr + (i << PAGE_SHIFT))) == 1;
		if (!r->can[i] && errno == ESRCH)
			return fail(FAILED, "process %" PRIu64 " is gone", r->opt->pid);
	}
	status = process_entries(r->opt->pid, addr, r->entry, pages);
	if (!status)
		judge(r, vma, pages);
	return status;
}

/* The size of the hugepages in a mapping, narrowed or not; 0 if there are none. */
static uint64_t hugepage_size(const struct vma *vma, int fd)
{
	struct statfs fs;

	if (size_known(vma->page_size))
		return vma->page_size;
	return fd >= 0 && !fstatfs(fd, &fs) ? (uint64_t)fs.f_bsize : 0;
}

static int read_vma(struct reader *r, const struct vma *vma)
{
	int fd = process_map_file(r->opt->pid, vma), status = DONE;
	uint64_t size = hugepage_size(vma, fd);

	if (size) {
		r->entry = calloc(size >> PAGE_SHIFT, sizeof(*r->entry));
		r->can = calloc(size >> PAGE_SHIFT, sizeof(*r->can));
		if (!r->entry || !r->can)
			status = fail(FAILED, "out of memory");
		for (uint64_t at = vma->start; !status && at < vma->end; at += size)
			if (at < r->end && at + size > r->start)
				status = read_pages(r, vma, fd, at, size);
		free(r->entry);
		free(r->can);
	}
	if (fd >= 0)
		close(fd);
	return status;
}

static int nth(const struct options *opt, struct reader *r)
{
	int status = nth_hugepage(opt, &r->start);

	if (!status)
		r->end = r->start + 1;
	return status;
}

static int read_process(struct reader *r)
{
	struct vma *vmas;
	size_t count;
	int status = process_vmas(r->opt->pid, &vmas, &count);

	for (size_t i = 0; !status && i < count; i++)
		status = read_vma(r, &vmas[i]);
	free(vmas);
	if (!status && !r->t->pages && !r->t->holes)
		return fail(FAILED, "process %" PRIu64 " has no hugepages there", r->opt->pid);
	return status;
}

/**
 * verify_process - read the hugepages of a process
 * @opt: names the process, and maybe a part of it
 * @t: the result
 *
 * It does not read pages that a private mapping has as base pages since an error:
 * nothing distinguishes them from other memory.
 *
 * Return: DONE, or an exit status after a message.
 */
int verify_process(const struct options *opt, struct touched *t)
{
	struct reader r = { .opt = opt, .t = t, .end = UINT64_MAX };
	int dir = process_open(opt->pid), status = dir < 0 ? FAILED : DONE;

	if (!opt->everywhere) {
		r.start = opt->at;
		r.end = opt->end ? opt->end : opt->at + 1;
	}
	if (!status && opt->by_number)
		status = nth(opt, &r);
	if (status || opt->dry_run)
		return status;
	t->told = kernel_has_hugepoison();
	if (t->told)
		r.bad = read_bad_pages(&r.bads);
	if (r.bads == SIZE_MAX)
		return FAILED;
	r.mem = openat(dir, "mem", O_RDONLY | O_CLOEXEC);
	if (r.mem < 0)
		status = fail(FAILED, "cannot read /proc/%" PRIu64 "/mem: %m", opt->pid);
	else
		status = read_process(&r);
	if (r.mem >= 0)
		close(r.mem);
	free(r.bad);
	return status;
}
