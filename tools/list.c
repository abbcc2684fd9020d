// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: bad pages and their owners.
 *
 * On our kernel root reads /proc/hugepoison/bad_pages. For a file or a segment the tool
 * maps it, and reads its losses from /proc/hugepoison/own. A stock kernel has marks on
 * hugepages, and says neither which pages are raw nor who owns them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "inject.h"

static uint64_t head_of(const struct bad *bad)
{
	return bad->pfn & ~((bad->kb >> 2) - 1);
}

/* How many lines from @i on are of the same hugepage: same head, state and owner. */
static size_t same_hugepage(const struct bad *list, size_t count, size_t i)
{
	size_t n = 1;

	while (i + n < count && head_of(&list[i + n]) == head_of(&list[i]) &&
	       list[i + n].kb == list[i].kb && !strcmp(list[i + n].state, list[i].state))
		n++;
	return n;
}

/* Page frames, as "0x5285,0x5287-0x5289", in a column so wide. */
static void print_frames(const struct bad *list, size_t n, int width)
{
	size_t last;

	for (size_t i = 0; i < n; i = last + 1) {
		for (last = i; last + 1 < n && list[last + 1].pfn == list[last].pfn + 1;)
			last++;
		width -= printf("%s0x%" PRIx64, i ? "," : "", list[i].pfn);
		if (last > i)
			width -= printf("-0x%" PRIx64, list[last].pfn);
	}
	printf("%*s ", width > 0 ? width : 0, "");
}

static void print_owner(const struct bad *bad)
{
	char path[256], pids[400];

	owner_path(bad, path, sizeof(path));
	if (!*path) {
		printf("%s\n", bad->owner);
		return;
	}
	if (owner_shmid(bad) >= 0)
		printf("shmid %ld", owner_shmid(bad));
	else
		print_name(stdout, path);
	owner_pids(bad, pids, sizeof(pids));
	printf("%s%s\n", *pids ? ", pid " : "", pids);
}

static enum colour state_colour(const char *state)
{
	if (!strcmp(state, "failed"))
		return COLOUR_BAD;
	return strcmp(state, "released") ? COLOUR_WARN : COLOUR_NONE;
}

static void print_hugepage(const struct options *opt, const struct bad *list, size_t n)
{
	char size[24], dimm[224];

	size_text(list->kb << 10, size, sizeof(size));
	printf("0x%-10" PRIx64 " %-4s %4d  %s%-10s%s ", head_of(list), size, list->node,
	       colour(stdout, state_colour(list->state)), list->state,
	       colour(stdout, COLOUR_END));
	print_frames(list, n, 16);
	if (opt->dimm) {
		dimm_text(list->pfn, dimm, sizeof(dimm));
		printf("%-24s ", dimm);
	}
	print_owner(list);
}

/* Neighbours in a hugepage may be on different modules. */
static size_t in_a_line(const struct options *opt, const struct bad *list, size_t count, size_t i)
{
	return opt->dimm ? 1 : same_hugepage(list, count, i);
}

static void print_hugepages(const struct options *opt, const struct bad *list, size_t count)
{
	size_t n;

	printf("%-12s %-4s %4s  %-10s %-16s ", "hugepage", "size", "node", "state", "page frames");
	if (opt->dimm)
		printf("%-24s ", "module");
	printf("owner\n");
	for (size_t i = 0; i < count; i += n) {
		n = in_a_line(opt, list, count, i);
		print_hugepage(opt, &list[i], n);
	}
	if (!count)
		printf("nothing is bad\n");
}

static struct json_object *json_pids(const struct bad *bad)
{
	struct json_object *list = json_object_new_array();
	char pids[400];

	owner_pids(bad, pids, sizeof(pids));
	for (char *pid = strtok(pids, ","); pid; pid = strtok(NULL, ","))
		json_object_array_add(list, json_object_new_int64(atoll(pid)));
	return list;
}

/**
 * json_owner - the owner of a bad page
 * @bad: the page
 * @pids: with the processes that map it, which takes a look at all processes
 *
 * Return: the object, NULL if it is nobody's.
 */
struct json_object *json_owner(const struct bad *bad, bool pids)
{
	struct json_object *o;
	char path[256];

	if (!strcmp(bad->owner, "-"))
		return NULL;
	o = json_object_new_object();
	owner_path(bad, path, sizeof(path));
	put_text(o, "kind", !*path ? "private" : owner_shmid(bad) < 0 ? "file" : "shm");
	put_text(o, "path", *path ? path : NULL);
	put_value(o, "shmid", owner_shmid(bad));
	if (pids)
		json_object_object_add(o, "pids", json_pids(bad));
	return o;
}

static struct json_object *json_dimms(const struct bad *list, size_t n)
{
	struct json_object *array = json_object_new_array(), *o;
	struct dimm dimm;

	for (size_t i = 0; i < n; i++) {
		dimm_find(list[i].pfn, &dimm);
		o = json_object_new_object();
		put_number(o, "pfn", list[i].pfn);
		put_text(o, "module", *dimm.name ? dimm.name : NULL);
		put_text(o, "source", dimm.source);
		json_object_array_add(array, o);
	}
	return array;
}

static struct json_object *json_hugepage(const struct options *opt, const struct bad *list,
					 size_t n)
{
	struct json_object *o = json_object_new_object(), *raw = json_object_new_array();
	struct json_object *frames = json_object_new_array();

	for (size_t i = 0; i < n; i++) {
		json_object_array_add(raw, json_object_new_uint64(list[i].pfn - head_of(list)));
		json_object_array_add(frames, json_object_new_uint64(list[i].pfn));
	}
	put_number(o, "head_pfn", head_of(list));
	put_number(o, "size_kb", list->kb);
	put_value(o, "node", list->node);
	put_text(o, "state", list->state);
	json_object_object_add(o, "raw", raw);
	json_object_object_add(o, "pfns", frames);
	if (opt->dimm)
		json_object_object_add(o, "dimms", json_dimms(list, n));
	json_object_object_add(o, "owner", json_owner(list, true));
	return o;
}

static int list_all(const struct options *opt)
{
	struct json_object *o, *array;
	size_t count, n;
	struct bad *list = read_bad_pages(&count);

	if (count == SIZE_MAX)
		return FAILED;
	if (opt->dimm)
		dimm_open(list, count);
	if (opt->json) {
		o = json_start("list");
		array = json_object_new_array();
		json_object_object_add(o, "hugepages", array);
		for (size_t i = 0; i < count; i += n) {
			n = same_hugepage(list, count, i);
			json_object_array_add(array, json_hugepage(opt, &list[i], n));
		}
		json_finish(o, stdout, true);
	} else {
		print_hugepages(opt, list, count);
	}
	free(list);
	return finish_output(stdout, "standard output");
}

/* ---- a stock kernel ---- */

static void add_stock(struct json_object *array, const struct page *page)
{
	struct json_object *o;
	char size[24];

	if (array) {
		o = json_object_new_object();
		put_number(o, "head_pfn", page->head);
		put_number(o, "size_kb", page->pages << PAGE_SHIFT >> 10);
		put_value(o, "node", page->node);
		put_text(o, "state", "poisoned");
		put_text(o, "raw", NULL);
		put_text(o, "pfns", NULL);
		put_text(o, "owner", NULL);
		json_object_array_add(array, o);
		return;
	}
	size_text(page->pages << PAGE_SHIFT, size, sizeof(size));
	printf("0x%-10" PRIx64 " %-4s %4d  poisoned\n", page->head, size, page->node);
}

static int list_marks(const struct options *opt)
{
	struct json_object *o = opt->json ? json_start("list") : NULL, *array = NULL;
	uint64_t size[MAX_SIZES];
	int sizes = hugepage_sizes(size, MAX_SIZES);

	if (o) {
		array = json_object_new_array();
		json_object_object_add(o, "hugepages", array);
	} else {
		printf("%-12s %-4s %4s  %s\n", "hugepage", "size", "node", "state");
	}
	for (int i = 0; i < sizes; i++) {
		int n = scan_hugepages(SCAN_POISONED, size[i], ANY_NODE, NULL, 1 << 30);
		struct page *found = calloc((size_t)n + 1, sizeof(*found));

		n = found ? scan_hugepages(SCAN_POISONED, size[i], ANY_NODE, found, n) : 0;
		for (int j = 0; j < n; j++)
			add_stock(array, &found[j]);
		free(found);
	}
	if (o)
		json_finish(o, stdout, true);
	else
		printf("\nWhich pages are raw, whose they are, and what became of pages that left\n"
		       "their hugepages, a stock kernel does not tell.\n");
	return finish_output(stdout, "standard output");
}

/* ---- losses of a file or a segment ---- */

static void add_lost(struct json_object *array, uint64_t offset, uint64_t kb, const char *state)
{
	struct json_object *o;

	if (!array) {
		printf("%-14" PRIu64 " %8" PRIu64 "  %s\n", offset, kb, state);
		return;
	}
	o = json_object_new_object();
	put_number(o, "offset", offset);
	put_number(o, "kb", kb);
	put_text(o, "state", state);
	json_object_array_add(array, o);
}

static int print_lost(const struct options *opt, const struct mapping *map)
{
	uint64_t start, end, kb, base = (uintptr_t)map->addr;
	struct json_object *o = NULL, *array = NULL;
	FILE *f = fopen("/proc/hugepoison/own", "re");
	char state[12], line[128];

	if (!f)
		return fail(UNSUPPORTED, "/proc/hugepoison/own: %s: a stock kernel does not tell; "
			    "verify finds out by reading all of it", strerror(errno));
	if (opt->json) {
		o = json_start("list");
		put_target(o, opt);
		array = json_object_new_array();
		json_object_object_add(o, "lost", array);
	} else {
		printf("%-14s %8s  %s\n", "offset", "kB", "state");
	}
	while (fgets(line, sizeof(line), f))
		if (parse_own(line, &start, &end, &kb, state) && start >= base &&
		    start < base + map->len)
			add_lost(array, start - base, kb, state);
	fclose(f);
	if (o)
		json_finish(o, stdout, true);
	return finish_output(stdout, "standard output");
}

static int list_target(const struct options *opt)
{
	struct mapping map;
	uint64_t size;
	int status;

	/* the sizes are needed to tell hugepages from others */
	if (!hugepage_sizes(&size, 1))
		return UNSUPPORTED;
	status = target_map(opt, &map, &size);
	if (!status)
		status = print_lost(opt, &map);
	target_unmap(&map);
	return status;
}

/**
 * run_list - the command list
 * @opt: the options
 *
 * Return: an exit status.
 */
int run_list(struct options *opt)
{
	int status;

	if (opt->kind != TARGET_NONE)
		return watch(opt, list_target);
	if (!privileged())
		return fail(FAILED, "not permitted: run as root, or name what is yours (--file, "
			    "--shmid)");
	status = hugepage_open();
	if (status)
		return status;
	if (opt->dimm && !kernel_has_hugepoison())
		return fail(UNSUPPORTED, "--dimm: a stock kernel does not tell which pages are "
			    "bad");
	return watch(opt, kernel_has_hugepoison() ? list_all : list_marks);
}
