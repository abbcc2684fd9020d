// SPDX-License-Identifier: GPL-2.0
/* hugepoison-inject: the counters that an error may change, before and after. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inject.h"

static long long row_value(const struct counter *row, const struct page *page)
{
	if (!strcmp(row->name, ROW_CORRUPTED))
		return hardware_corrupted();
	if (!strcmp(row->name, ROW_MARKED))
		return page->known ? (long long)count_poisoned(page) : NO_VALUE;
	return read_value(row->path);
}

static int add_row(struct counters *c, const char *name, const char *dir, int node, bool important)
{
	struct counter *grown = realloc(c->row, (size_t)(c->rows + 1) * sizeof(*grown));
	struct counter *row;

	if (!grown)
		return fail(FAILED, "out of memory");
	c->row = grown;
	row = &c->row[c->rows++];
	*row = (struct counter) {
		.node = node, .important = important, .before = NO_VALUE, .after = NO_VALUE,
	};
	snprintf(row->name, sizeof(row->name), "%s", name);
	if (dir)
		snprintf(row->path, sizeof(row->path), "%s/%s", dir, name);
	return DONE;
}

static int add_node_rows(struct counters *c, const struct page *page, int node)
{
	bool here = node == page->node;
	uint64_t kb = page->pages << PAGE_SHIFT >> 10;
	char dir[112];
	int status;

	snprintf(dir, sizeof(dir), NODES_DIR "/node%d/hugepages/hugepages-%" PRIu64 "kB", node, kb);
	status = add_row(c, "nr_hugepages", dir, node, here);
	if (!status)
		status = add_row(c, "free_hugepages", dir, node, here);
	if (!status)
		status = add_row(c, "surplus_hugepages", dir, node, false);
	snprintf(dir, sizeof(dir), OURS_DIR "/node%d/hugepages-%" PRIu64 "kB", node,
		 kb);
	if (!status)
		status = add_row(c, "mce_bad_pages", dir, node, here);
	if (!status)
		status = add_row(c, "poisoned_hugepages", dir, node, here);
	return status;
}

static int add_pool_rows(struct counters *c, const struct page *page)
{
	char dir[80];
	int status;

	snprintf(dir, sizeof(dir), "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB",
		 page->pages << PAGE_SHIFT >> 10);
	status = add_row(c, "nr_hugepages", dir, ANY_NODE, false);
	if (!status)
		status = add_row(c, "free_hugepages", dir, ANY_NODE, false);
	if (!status)
		status = add_row(c, "resv_hugepages", dir, ANY_NODE, true);
	for (int node = 0; !status && node < MAX_NODES; node++)
		if (node_online(node))
			status = add_node_rows(c, page, node);
	return status;
}

/**
 * counters_start - take the counters before the injection
 * @c: where to put them
 * @page: what is going to be hit
 *
 * Return: DONE, or FAILED after a message.
 */
int counters_start(struct counters *c, const struct page *page)
{
	int status = DONE;

	*c = (struct counters) { 0 };
	if (page->huge)
		status = add_pool_rows(c, page);
	if (!status)
		status = add_row(c, ROW_CORRUPTED, NULL, ANY_NODE, true);
	if (!status)
		status = add_row(c, ROW_MARKED, NULL, ANY_NODE, true);
	for (int i = 0; i < c->rows; i++)
		c->row[i].before = row_value(&c->row[i], page);
	return status;
}

/**
 * counters_finish - take the counters after the injection
 * @c: what counters_start() filled in
 * @page: what was hit
 */
void counters_finish(struct counters *c, const struct page *page)
{
	for (int i = 0; i < c->rows; i++)
		c->row[i].after = row_value(&c->row[i], page);
}

/**
 * counters_free - free the counters
 * @c: what counters_start() filled in
 */
void counters_free(struct counters *c)
{
	free(c->row);
	*c = (struct counters) { 0 };
}
