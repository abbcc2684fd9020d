// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: the hit page and the changes, as a table and as JSON.
 * docs/inject-json.md describes the JSON; keys are never removed or renamed.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inject.h"

#ifndef BUS_MCEERR_AR
#define BUS_MCEERR_AR	4
#define BUS_MCEERR_AO	5
#endif

/* Without --yes the tool only looked, as with --dry-run. */
static bool looked_only(const struct options *opt)
{
	return opt->dry_run || (opt->command != CMD_UNPOISON && !opt->yes);
}

/**
 * result_text - "done", "failed" or "dry-run"
 * @r: all there is to tell
 */
const char *result_text(const struct report *r)
{
	if (looked_only(r->opt))
		return "dry-run";
	return r->out->verdict ? "failed" : "done";
}

/**
 * code_name - "BUS_MCEERR_AR" for BUS_MCEERR_AR
 * @code: si_code of a SIGBUS
 */
const char *code_name(int code)
{
	switch (code) {
	case BUS_MCEERR_AR: return "BUS_MCEERR_AR";
	case BUS_MCEERR_AO: return "BUS_MCEERR_AO";
	case BUS_ADRERR: return "BUS_ADRERR";
	default: return "unknown code";
	}
}

/* ---- the table ---- */

static void print_node(int node)
{
	if (node == ANY_NODE)
		printf(", any node");
	else
		printf(", node %d", node);
}

static void print_page(const struct page *page)
{
	char size[24];

	size_text(page->pages << PAGE_SHIFT, size, sizeof(size));
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
}

static void print_hit(const struct report *r)
{
	const struct page *page = &r->hit->page;
	bool unpoison = r->opt->command == CMD_UNPOISON;
	enum state state = looked_only(r->opt) ? page_state(page) : STATE_ANY;

	printf("%-9s ", unpoison ? "page" : looked_only(r->opt) ? "would hit" : "hit");
	print_page(page);
	printf("%s\n", page->poisoned && !unpoison ? ", poisoned before" : "");
	if (state != STATE_ANY)
		printf("%-9s %s%s\n", "state", state_name(state),
		       state != STATE_FREE && page_unmapped(page) ? ", mapped by nobody" : "");
}

static const char *urgency(enum way way)
{
	switch (way) {
	case WAY_MADVISE: return " (action required)";
	case WAY_SOFT_OFFLINE: return " (nothing is lost)";
	case WAY_UNPOISON: return "";
	default: return " (action optional)";
	}
}

static void print_outcome(const struct report *r)
{
	const struct signal_seen *sig = &r->out->sig;

	printf("%-9s %s%s\n", "via", way_name(r->opt->way), urgency(r->opt->way));
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
	bool dry_run = looked_only(r->opt);

	printf("\n%-18s %-9s %12s%s\n", "counter", "where", dry_run ? "now" : "before",
	       dry_run ? "" : "             after");
	for (int i = 0; i < r->counters->rows; i++)
		if (row_shown(&r->counters->row[i], dry_run))
			print_row(&r->counters->row[i], dry_run);
}

static void print_log(const struct report *r)
{
	int shown = 0;

	if (looked_only(r->opt))
		return;
	printf("\nkernel log\n");
	for (int i = 0; i < r->log->lines; i++)
		if (log_names(r->log->line[i], &r->hit->page))
			shown += printf("  %s\n", r->log->line[i]) > 0;
	if (!shown)
		printf("  nothing about this page\n");
	if (r->log->reader.fd < 0 || r->log->reader.lost)
		printf("  (incomplete: /dev/kmsg %s)\n",
		       r->log->reader.fd < 0 ? "cannot be read" : "overflowed");
}

static void print_table(const struct report *r)
{
	printf("%-9s ", "target");
	target_name(r->opt, stdout);
	printf("\n");
	print_hit(r);
	print_outcome(r);
	print_counters(r);
	print_log(r);
}

/**
 * report_row - one of several errors, in a line
 * @r: all there is to tell of it
 */
void report_row(const struct report *r)
{
	static const char *const repeat[] = { "", ", again", ", second" };
	const struct signal_seen *sig = &r->out->sig;

	printf("%-8s", result_text(r));
	print_page(&r->hit->page);
	printf("%s", repeat[r->hit->repeat]);
	if (r->out->err)
		printf(", %s", errno_name(r->out->err));
	if (sig->seen)
		printf(", SIGBUS %s lsb %d", code_name(sig->code), sig->lsb);
	printf("\n");
}

/* ---- JSON ---- */

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
	put_value(o, "node", page->node);
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
		put_value(o, "node", row->node);
		put_value(o, "before", row->before);
		put_value(o, "after", row->after);
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
	static const char *const repeat[] = { NULL, "again", "second" };
	struct json_object *o = json_start(r->opt->command == CMD_UNPOISON ? "unpoison" : "inject");
	enum state state = looked_only(r->opt) ? page_state(&r->hit->page) : STATE_ANY;

	put_text(o, "result", result_text(r));
	json_object_object_add(o, "error", json_error(r->out));
	put_target(o, r->opt);
	put_text(o, "via", way_name(r->opt->way));
	put_bool(o, "action_required", r->opt->way == WAY_MADVISE);
	put_text(o, "repeat", repeat[r->hit->repeat]);
	put_text(o, "state", state == STATE_ANY ? NULL : state_name(state));
	json_object_object_add(o, "hit", json_hit(&r->hit->page));
	json_object_object_add(o, "signal", json_signal(&r->out->sig));
	json_object_object_add(o, "counters", json_counters(r->counters));
	json_object_object_add(o, "kernel_log", json_log(r->log, &r->hit->page));
	put_bool(o, "log_complete",
		 looked_only(r->opt) || (r->log->reader.fd >= 0 && !r->log->reader.lost));
	json_finish(o, stdout, true);
}

/**
 * report_print - print all of a report
 * @r: all there is to tell
 */
void report_print(const struct report *r)
{
	if (r->opt->json)
		print_json(r);
	else
		print_table(r);
}
