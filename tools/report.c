// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: what was hit and what changed, as a table and as JSON.
 *
 * The JSON is one object. Keys are never removed or renamed; PFNs and addresses
 * are numbers; what is not known or does not exist is null.
 *
 *	tool		"hugepoison-inject"
 *	action		"inject" or "unpoison"
 *	result		"done", "failed" or "dry-run"
 *	error		null, or { "errno": "EBUSY" or null, "message": text }
 *	target		{ "kind": "file", "file", "offset" } or
 *			{ "kind": "pid", "pid", "addr" } or
 *			{ "kind": "shm", "shmid", "offset" } or
 *			{ "kind": "pfn", "pfn" } or
 *			{ "kind": "free", "size_kb", "node" }
 *	via		"corrupt-pfn", "corrupt-free-hugepage", "hard-offline",
 *			"madvise" or "unpoison-pfn"
 *	action_required	true if the caller itself was to be hit (madvise)
 *	hit		null, or { "pfn", "head_pfn", "subpage", "pages", "size_kb",
 *			"node", "hugepage": bool, "poisoned_before": bool }
 *	signal		null, or { "name", "code", "addr", "lsb" }
 *	counters	[ { "name", "node", "before", "after" } ... ], node null for the
 *			whole system, after null in a dry run. The kernel's own names
 *			and units (HardwareCorrupted: kB), and KPF_HWPOISON: pages of
 *			the hugepage that are so marked
 *	kernel_log	[ line ... ], those that name the hugepage
 *	log_complete	false if the kernel overwrote lines before they were read, or
 *			did not let us read them
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inject.h"

#define NODES_DIR	"/sys/devices/system/node"
#define MAX_NODES	1024

#ifndef BUS_MCEERR_AR
#define BUS_MCEERR_AR	4
#define BUS_MCEERR_AO	5
#endif

/* Rows that take more than reading one number out of one file. */
#define ROW_CORRUPTED	"HardwareCorrupted"
#define ROW_MARKED	"KPF_HWPOISON"

static long long row_value(const struct counter *row, const struct page *page)
{
	if (!strcmp(row->name, ROW_CORRUPTED))
		return read_keyed_value("/proc/meminfo", ROW_CORRUPTED ":");
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
	snprintf(dir, sizeof(dir), "/sys/kernel/mm/hugepoison/node%d/hugepages-%" PRIu64 "kB", node,
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
		if (in_list_file(NODES_DIR "/online", (unsigned int)node))
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
 * counters_free - let go of the counters
 * @c: what counters_start() filled in
 */
void counters_free(struct counters *c)
{
	free(c->row);
	*c = (struct counters) { 0 };
}

static const char *result_text(const struct report *r)
{
	if (r->opt->dry_run)
		return "dry-run";
	return r->out->verdict ? "failed" : "done";
}

static const char *code_name(int code)
{
	switch (code) {
	case BUS_MCEERR_AR: return "BUS_MCEERR_AR";
	case BUS_MCEERR_AO: return "BUS_MCEERR_AO";
	case BUS_ADRERR: return "BUS_ADRERR";
	default: return "unknown code";
	}
}

/* ---- the table ---- */

static void print_target(const struct options *opt)
{
	printf("%-9s ", "target");
	switch (opt->kind) {
	case TARGET_FILE:
		printf("file %s, offset %" PRIu64 "\n", opt->file, opt->offset);
		break;
	case TARGET_PID:
		printf("process %" PRIu64 ", address 0x%" PRIx64 "\n", opt->pid, opt->addr);
		break;
	case TARGET_SHM:
		printf("shared memory segment %" PRIu64 ", offset %" PRIu64 "\n", opt->shmid,
		       opt->offset);
		break;
	case TARGET_PFN:
		printf("PFN 0x%" PRIx64 "\n", opt->pfn);
		break;
	default:
		printf("a%s free hugepage\n", opt->unpoison ? " poisoned" : "");
	}
}

static void print_node(int node)
{
	if (node == ANY_NODE)
		printf(", any node");
	else
		printf(", node %d", node);
}

static void print_hit(const struct report *r)
{
	const struct page *page = r->page;
	char size[24];

	size_text(page->pages << PAGE_SHIFT, size, sizeof(size));
	printf("%-9s ", r->opt->unpoison ? "page" : r->opt->dry_run ? "would hit" : "hit");
	if (!page->huge)
		printf("page 0x%" PRIx64 ", in no hugepage", page->pfn);
	else if (page->known)
		printf("raw page 0x%" PRIx64 ", index %" PRIu64 " of %" PRIu64
		       ", of the %s hugepage at 0x%" PRIx64, page->pfn, page->pfn - page->head,
		       page->pages, size, page->head);
	else
		printf("raw page %" PRIu64 " of a free %s hugepage of the kernel's choice",
		       page->pfn, size);
	print_node(page->node);
	printf("%s\n", page->poisoned && !r->opt->unpoison ? ", poisoned before" : "");
}

static void print_outcome(const struct report *r)
{
	const struct signal_seen *sig = &r->out->sig;

	printf("%-9s %s%s\n", "via", way_name(r->opt->way),
	       r->opt->way == WAY_MADVISE ? " (action required)" :
	       r->opt->way == WAY_UNPOISON ? "" : " (action optional)");
	printf("%-9s %s", "result", result_text(r));
	if (r->out->err)
		printf(", %s (%s)", errno_name(r->out->err), strerror(r->out->err));
	printf("\n");
	if (sig->seen)
		printf("%-9s SIGBUS, %s, address 0x%" PRIxPTR ", lsb %d\n", "signal",
		       code_name(sig->code), sig->addr, sig->lsb);
}

static void print_value(long long value)
{
	if (value == NO_VALUE)
		printf(" %12s", "-");
	else
		printf(" %12lld", value);
}

static void print_row(const struct counter *row, bool dry_run)
{
	char where[24] = "system";

	if (row->node != ANY_NODE)
		snprintf(where, sizeof(where), "node %d", row->node);
	else if (!strcmp(row->name, ROW_CORRUPTED))
		snprintf(where, sizeof(where), "kB");
	else if (!strcmp(row->name, ROW_MARKED))
		snprintf(where, sizeof(where), "pages");
	printf("%-18s %-9s", row->name, where);
	print_value(row->before);
	if (!dry_run) {
		printf("  ->");
		print_value(row->after);
		if (row->before != row->after && row->before != NO_VALUE && row->after != NO_VALUE)
			printf("  (%+lld)", row->after - row->before);
	}
	printf("\n");
}

static bool row_shown(const struct counter *row, bool dry_run)
{
	if (row->before == NO_VALUE && row->after == NO_VALUE)
		return false;
	return row->important || (!dry_run && row->before != row->after);
}

static void print_counters(const struct report *r)
{
	bool dry_run = r->opt->dry_run;

	printf("\n%-18s %-9s %12s%s\n", "counter", "where", dry_run ? "now" : "before",
	       dry_run ? "" : "             after");
	for (int i = 0; i < r->counters->rows; i++)
		if (row_shown(&r->counters->row[i], dry_run))
			print_row(&r->counters->row[i], dry_run);
}

static void print_log(const struct report *r)
{
	int shown = 0;

	if (r->opt->dry_run)
		return;
	printf("\nkernel log\n");
	for (int i = 0; i < r->log->lines; i++)
		if (log_names(r->log->line[i], r->page))
			shown += printf("  %s\n", r->log->line[i]) > 0;
	if (!shown)
		printf("  nothing about this page\n");
	if (r->log->fd < 0 || r->log->lost)
		printf("  (incomplete: /dev/kmsg %s)\n",
		       r->log->fd < 0 ? "cannot be read" : "overflowed");
}

static void print_table(const struct report *r)
{
	print_target(r->opt);
	print_hit(r);
	print_outcome(r);
	print_counters(r);
	print_log(r);
}

/* ---- JSON ---- */

static struct json_object *json_number(long long value)
{
	return value == NO_VALUE ? NULL : json_object_new_int64(value);
}

static void put_number(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

static void put_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, text ? json_object_new_string(text) : NULL);
}

static void put_bool(struct json_object *o, const char *key, bool value)
{
	json_object_object_add(o, key, json_object_new_boolean(value));
}

static struct json_object *json_target(const struct options *opt)
{
	struct json_object *o = json_object_new_object();

	switch (opt->kind) {
	case TARGET_FILE:
		put_text(o, "kind", "file");
		put_text(o, "file", opt->file);
		put_number(o, "offset", opt->offset);
		break;
	case TARGET_PID:
		put_text(o, "kind", "pid");
		put_number(o, "pid", opt->pid);
		put_number(o, "addr", opt->addr);
		break;
	case TARGET_SHM:
		put_text(o, "kind", "shm");
		put_number(o, "shmid", opt->shmid);
		put_number(o, "offset", opt->offset);
		break;
	case TARGET_PFN:
		put_text(o, "kind", "pfn");
		put_number(o, "pfn", opt->pfn);
		break;
	default:
		put_text(o, "kind", "free");
		put_number(o, "size_kb", (opt->size ? opt->size : default_size()) >> 10);
		json_object_object_add(o, "node", json_number(opt->node));
	}
	return o;
}

static struct json_object *json_hit(const struct page *page)
{
	struct json_object *o;

	if (!page->known)
		return NULL;
	o = json_object_new_object();
	put_number(o, "pfn", page->pfn);
	put_number(o, "head_pfn", page->head);
	put_number(o, "subpage", page->pfn - page->head);
	put_number(o, "pages", page->pages);
	put_number(o, "size_kb", page->pages << PAGE_SHIFT >> 10);
	json_object_object_add(o, "node", json_number(page->node));
	put_bool(o, "hugepage", page->huge);
	put_bool(o, "poisoned_before", page->poisoned);
	return o;
}

static struct json_object *json_signal(const struct signal_seen *sig)
{
	struct json_object *o;

	if (!sig->seen)
		return NULL;
	o = json_object_new_object();
	put_text(o, "name", "SIGBUS");
	put_text(o, "code", code_name(sig->code));
	put_number(o, "addr", sig->addr);
	put_number(o, "lsb", (uint64_t)sig->lsb);
	return o;
}

static struct json_object *json_error(const struct outcome *out)
{
	struct json_object *o;

	if (!out->verdict)
		return NULL;
	o = json_object_new_object();
	put_text(o, "errno", out->err ? errno_name(out->err) : NULL);
	put_text(o, "message", out->verdict);
	return o;
}

static struct json_object *json_counters(const struct counters *c)
{
	struct json_object *list = json_object_new_array(), *o;

	for (int i = 0; i < c->rows; i++) {
		const struct counter *row = &c->row[i];

		if (row->before == NO_VALUE && row->after == NO_VALUE)
			continue;
		o = json_object_new_object();
		put_text(o, "name", row->name);
		json_object_object_add(o, "node", json_number(row->node));
		json_object_object_add(o, "before", json_number(row->before));
		json_object_object_add(o, "after", json_number(row->after));
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *json_log(const struct log *log, const struct page *page)
{
	struct json_object *list = json_object_new_array();

	for (int i = 0; i < log->lines; i++)
		if (log_names(log->line[i], page))
			json_object_array_add(list, json_object_new_string(log->line[i]));
	return list;
}

static void print_json(const struct report *r)
{
	struct json_object *o = json_object_new_object();

	put_text(o, "tool", "hugepoison-inject");
	put_text(o, "action", r->opt->unpoison ? "unpoison" : "inject");
	put_text(o, "result", result_text(r));
	json_object_object_add(o, "error", json_error(r->out));
	json_object_object_add(o, "target", json_target(r->opt));
	put_text(o, "via", way_name(r->opt->way));
	put_bool(o, "action_required", r->opt->way == WAY_MADVISE);
	json_object_object_add(o, "hit", json_hit(r->page));
	json_object_object_add(o, "signal", json_signal(&r->out->sig));
	json_object_object_add(o, "counters", json_counters(r->counters));
	json_object_object_add(o, "kernel_log", json_log(r->log, r->page));
	put_bool(o, "log_complete", r->opt->dry_run || (r->log->fd >= 0 && !r->log->lost));
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}

/**
 * report_print - print the report, and make sure it got out
 * @r: all there is to tell
 *
 * Return: DONE, or FAILED after a message if standard output cannot take it.
 */
int report_print(const struct report *r)
{
	if (r->opt->json)
		print_json(r);
	else
		print_table(r);
	if (fflush(stdout) || ferror(stdout))
		return fail(FAILED, "cannot write the report to standard output");
	return DONE;
}
