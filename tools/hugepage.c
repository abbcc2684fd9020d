// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: from a PFN to its hugepage.
 *
 * Everything here is read from /proc/kpageflags and /proc/kpagecount. A hugepage
 * is naturally aligned, so its head is found by rounding down to each size the
 * kernel has, and a scan has to look at one page in 512, or in 262144, only.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/kernel-page-flags.h>

#include "page.h"

#define SIZES_DIR	"/sys/kernel/mm/hugepages"
#define MEMORY_DIR	"/sys/devices/system/memory"
#define MAX_ZONES	4096
#define FLAG(name)	(1ULL << KPF_##name)

struct zone {
	int node;
	uint64_t start, end;	/* PFNs */
};

static int flags_fd = -1, count_fd = -1;
static uint64_t sizes[MAX_SIZES];	/* bytes, ascending */
static int nr_sizes;
static struct zone zones[MAX_ZONES];
static int nr_zones;

static int compare_sizes(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int read_sizes(void)
{
	DIR *dir = opendir(SIZES_DIR);
	const struct dirent *entry;
	uint64_t kb;

	while (dir && nr_sizes < MAX_SIZES && (entry = readdir(dir)))
		if (sscanf(entry->d_name, "hugepages-%" SCNu64 "kB", &kb) == 1)
			sizes[nr_sizes++] = kb << 10;
	if (dir)
		closedir(dir);
	if (!nr_sizes)
		return fail(UNSUPPORTED, "this kernel has no hugetlb pages: " SIZES_DIR
			    " is absent or empty (CONFIG_HUGETLBFS, CPU flags pse and pdpe1gb)");
	qsort(sizes, nr_sizes, sizeof(*sizes), compare_sizes);
	return DONE;
}

/* Unpopulated zones have no start_pfn line and so never make it into the table. */
static int read_zones(void)
{
	FILE *f = fopen("/proc/zoneinfo", "re");
	uint64_t spanned = 0, start;
	char line[256];
	int node = 0;

	if (!f)
		return fail(FAILED, "cannot read /proc/zoneinfo: %s", strerror(errno));
	while (nr_zones < MAX_ZONES && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Node %d, zone", &node) == 1 ||
		    sscanf(line, " spanned %" SCNu64, &spanned) == 1)
			continue;
		if (sscanf(line, " start_pfn: %" SCNu64, &start) == 1)
			zones[nr_zones++] = (struct zone){ node, start, start + spanned };
	}
	fclose(f);
	return DONE;
}

static int open_proc(const char *path, int *fd)
{
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd >= 0)
		return DONE;
	if (errno == ENOENT)
		return fail(UNSUPPORTED, "%s is absent: the kernel needs CONFIG_PROC_PAGE_MONITOR",
			    path);
	return fail(FAILED, "cannot read %s: %s: run as root", path, strerror(errno));
}

/**
 * hugepage_sizes - the sizes of hugepages that this kernel has
 * @bytes: where to put them, in ascending order
 * @max: how many fit there
 *
 * Return: how many there are.
 */
int hugepage_sizes(uint64_t *bytes, int max)
{
	if (!nr_sizes && read_sizes())
		return 0;
	for (int i = 0; i < nr_sizes && i < max; i++)
		bytes[i] = sizes[i];
	return nr_sizes < max ? nr_sizes : max;
}

/**
 * hugepage_open - open the files that the rest of this file reads
 *
 * Return: DONE, or an exit status after a message.
 */
int hugepage_open(void)
{
	int status = nr_sizes ? DONE : read_sizes();

	if (count_fd >= 0)
		return DONE;	/* --watch looks again */
	if (!status)
		status = read_zones();
	if (!status)
		status = open_proc("/proc/kpageflags", &flags_fd);
	if (!status)
		status = open_proc("/proc/kpagecount", &count_fd);
	return status;
}

/**
 * size_known - does the kernel have hugepages of this size
 * @bytes: the size
 */
bool size_known(uint64_t bytes)
{
	for (int i = 0; i < nr_sizes; i++)
		if (sizes[i] == bytes)
			return true;
	return false;
}

/**
 * default_size - the size mmap(MAP_HUGETLB) takes, in bytes
 *
 * Return: the size, the smallest there is if /proc/meminfo does not say.
 */
uint64_t default_size(void)
{
	long long kb = read_keyed_value("/proc/meminfo", "Hugepagesize:");

	return kb > 0 && size_known((uint64_t)kb << 10) ? (uint64_t)kb << 10 : sizes[0];
}

/**
 * known_sizes - list the hugepage sizes, as "2M, 1G"
 * @buf: where to put the list
 * @len: how much fits there
 */
void known_sizes(char *buf, size_t len)
{
	char one[24];

	*buf = '\0';
	for (int i = 0; i < nr_sizes; i++) {
		size_text(sizes[i], one, sizeof(one));
		snprintf(buf + strlen(buf), len - strlen(buf), "%s%s", i ? ", " : "", one);
	}
}

static bool read_entry(int fd, uint64_t pfn, uint64_t *entry)
{
	return pread(fd, entry, sizeof(*entry), (off_t)(pfn * sizeof(*entry))) == sizeof(*entry);
}

/**
 * page_flags - the KPF_* flags of a page
 * @pfn: the page
 * @flags: its flags
 *
 * Return: false if there is no memory at @pfn.
 */
bool page_flags(uint64_t pfn, uint64_t *flags)
{
	return read_entry(flags_fd, pfn, flags) && !(*flags & FLAG(NOPAGE));
}

/**
 * page_poisoned - is a page marked KPF_HWPOISON
 * @pfn: the page
 */
bool page_poisoned(uint64_t pfn)
{
	uint64_t flags;

	return page_flags(pfn, &flags) && flags & FLAG(HWPOISON);
}

/**
 * next_marked - the next page outside of hugepages that is marked KPF_HWPOISON
 * @pfn: where to look from; where it is
 *
 * Reads a lot at once: it is for looking at all of memory.
 */
bool next_marked(uint64_t *pfn)
{
	static uint64_t entry[8192];
	ssize_t got;

	for (uint64_t last = last_pfn(); *pfn < last; *pfn += (uint64_t)got) {
		got = pread(flags_fd, entry, sizeof(entry), (off_t)(*pfn * sizeof(*entry)));
		got /= (ssize_t)sizeof(*entry);
		if (got <= 0)
			return false;
		for (ssize_t i = 0; i < got; i++) {
			if (entry[i] & (FLAG(NOPAGE) | FLAG(HUGE)) || !(entry[i] & FLAG(HWPOISON)))
				continue;
			*pfn += (uint64_t)i;
			return true;
		}
	}
	return false;
}

/**
 * count_poisoned - how many pages of a hugepage are marked KPF_HWPOISON
 * @page: the hugepage, which may have been dissolved since
 */
uint64_t count_poisoned(const struct page *page)
{
	uint64_t entry[512], pfn = page->head, end = page->head + page->pages, count = 0;
	ssize_t got;

	while (pfn < end) {
		size_t want = end - pfn < 512 ? end - pfn : 512;

		got = pread(flags_fd, entry, want * sizeof(*entry), (off_t)(pfn * sizeof(*entry)));
		if (got <= 0)
			break;
		got /= sizeof(*entry);
		for (ssize_t i = 0; i < got; i++)
			count += !(entry[i] & FLAG(NOPAGE)) && entry[i] & FLAG(HWPOISON);
		pfn += got;
	}
	return count;
}

static bool block_on_node(uint64_t pfn, int node)
{
	char path[96];
	uint64_t block = 0;
	FILE *f = fopen(MEMORY_DIR "/block_size_bytes", "re");

	if (!f)
		return false;
	if (fscanf(f, "%" SCNx64, &block) != 1)
		block = 0;
	fclose(f);
	if (!block)
		return false;
	snprintf(path, sizeof(path), MEMORY_DIR "/memory%" PRIu64 "/node%d",
		 (pfn << PAGE_SHIFT) / block, node);
	return !access(path, F_OK);
}

/**
 * node_of - the NUMA node of a page
 * @pfn: the page
 *
 * Zones of several nodes may span the same PFNs, for instance after memory was
 * plugged in; then the memory block decides.
 *
 * Return: the node, ANY_NODE if it is unknown.
 */
int node_of(uint64_t pfn)
{
	int node = ANY_NODE;
	bool several = false;

	for (int i = 0; i < nr_zones; i++) {
		if (pfn < zones[i].start || pfn >= zones[i].end)
			continue;
		several |= node != ANY_NODE && node != zones[i].node;
		node = zones[i].node;
	}
	for (int i = 0; several && i < nr_zones; i++)
		if (pfn >= zones[i].start && pfn < zones[i].end &&
		    block_on_node(pfn, zones[i].node))
			return zones[i].node;
	return several ? ANY_NODE : node;
}

/* Is there a hugepage of just so many pages at @head? */
static bool hugepage_at(uint64_t head, uint64_t pages, uint64_t *flags)
{
	uint64_t last, next;

	if (!page_flags(head, flags) || (~*flags & (FLAG(HUGE) | FLAG(COMPOUND_HEAD))))
		return false;
	if (!page_flags(head + pages - 1, &last) || !(last & FLAG(COMPOUND_TAIL)))
		return false;
	return !page_flags(head + pages, &next) || !(next & FLAG(COMPOUND_TAIL));
}

/**
 * page_assume - fill in a page from arithmetic alone
 * @pfn: the raw page
 * @pages: the size of the hugepage it is in, or was in until a moment ago
 * @page: what to fill in
 */
void page_assume(uint64_t pfn, uint64_t pages, struct page *page)
{
	*page = (struct page) {
		.known = true,
		.huge = pages > 1,
		.pfn = pfn,
		.head = pfn & ~(pages - 1),
		.pages = pages,
		.node = node_of(pfn),
		.poisoned = page_poisoned(pfn),
	};
}

/**
 * page_lookup - look up the page and hugepage at a PFN
 * @pfn: the raw page
 * @page: the page and the hugepage around it; page->huge is false if there is none
 *
 * Return: DONE, or FAILED after a message if there is no memory at @pfn.
 */
int page_lookup(uint64_t pfn, struct page *page)
{
	uint64_t flags;

	if (!page_flags(pfn, &flags))
		return fail(FAILED,
			    "no memory at PFN 0x%" PRIx64 ": see /proc/zoneinfo for what there is",
			    pfn);
	page_assume(pfn, 1, page);
	if (!(flags & FLAG(HUGE)))
		return DONE;
	for (int i = 0; i < nr_sizes; i++) {
		uint64_t pages = sizes[i] >> PAGE_SHIFT;

		if (hugepage_at(pfn & ~(pages - 1), pages, &flags)) {
			page_assume(pfn, pages, page);
			return DONE;
		}
	}
	return fail(FAILED,
		    "the hugepage at PFN 0x%" PRIx64 " changed while being looked at: try again",
		    pfn);
}

/*
 * Free or not? hugetlb marks every hugepage dirty when it enters the page cache
 * and clears that when it leaves; a private one keeps an anonymous mapping until
 * it is freed, even while only a pin holds it. So neither flag and no mapper
 * means free, except between allocation and insertion; the kernel's "free huge
 * page" afterwards says which it was. No mapper alone is not enough: a file's
 * hugepage may be unmapped as well.
 */
static bool looks_free(uint64_t head, uint64_t flags)
{
	uint64_t mapcount;

	if (flags & (FLAG(DIRTY) | FLAG(ANON) | FLAG(LOCKED)))
		return false;
	return read_entry(count_fd, head, &mapcount) && !mapcount;
}

static bool wanted(enum scan what, uint64_t head, uint64_t flags)
{
	bool poisoned = flags & FLAG(HWPOISON), want_poisoned = what != SCAN_FREE;

	if (poisoned != want_poisoned)
		return false;
	return what == SCAN_POISONED || looks_free(head, flags);
}

/**
 * page_unmapped - is a hugepage in no page table
 * @page: the hugepage
 */
bool page_unmapped(const struct page *page)
{
	uint64_t mapcount;

	return read_entry(count_fd, page->head, &mapcount) && !mapcount;
}

static const char *const state_names[] = {
	[STATE_ANY] = "any", [STATE_FREE] = "free", [STATE_RESERVED] = "reserved",
	[STATE_SHARED] = "shared", [STATE_PRIVATE] = "private", [STATE_UNFAULTED] = "unfaulted",
	[STATE_PINNED] = "pinned",
};

/**
 * state_name - the name of a state in options and reports
 * @state: the state, up to STATE_PINNED
 */
const char *state_name(enum state state)
{
	return state_names[state];
}

/**
 * page_state - how a hugepage is used
 * @page: the hugepage
 *
 * Return: STATE_FREE, STATE_PRIVATE, STATE_SHARED, or STATE_ANY if it is not a hugepage.
 */
enum state page_state(const struct page *page)
{
	uint64_t flags;

	if (!page->known || !page->huge || !page_flags(page->head, &flags))
		return STATE_ANY;
	if (flags & FLAG(ANON))
		return STATE_PRIVATE;
	return looks_free(page->head, flags) ? STATE_FREE : STATE_SHARED;
}

/**
 * last_pfn - the first page frame behind all memory
 */
uint64_t last_pfn(void)
{
	uint64_t last = 0;

	for (int i = 0; i < nr_zones; i++)
		if (zones[i].end > last)
			last = zones[i].end;
	return last;
}

/**
 * scan_hugepages - look for hugepages by state
 * @what: which ones
 * @size: of this size, bytes
 * @node: on this node, or ANY_NODE
 * @found: the first ones found, or NULL to count them
 * @max: how many fit there
 *
 * Return: how many were found, at most @max.
 */
int scan_hugepages(enum scan what, uint64_t size, int node, struct page *found, int max)
{
	uint64_t pages = size >> PAGE_SHIFT, pfn, flags;
	int n = 0;

	for (int i = 0; i < nr_zones; i++) {
		if (node != ANY_NODE && zones[i].node != node)
			continue;
		pfn = (zones[i].start + pages - 1) & ~(pages - 1);
		for (; n < max && pfn + pages <= zones[i].end; pfn += pages) {
			if (!hugepage_at(pfn, pages, &flags) || !wanted(what, pfn, flags))
				continue;
			if (node_of(pfn) != zones[i].node)
				continue;
			if (found)
				page_assume(pfn, pages, &found[n]);
			n++;
		}
	}
	return n;
}
