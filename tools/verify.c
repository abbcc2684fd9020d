// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: read all of a target, and compare with the kernel's lists.
 *
 * The tool maps a file or segment, and reads each page that is there: the unreadable
 * pages have to be exactly those of /proc/hugepoison/own. The SIGBUS has to name the
 * page. The tool does not touch missing pages, which would allocate them.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "inject.h"

#ifndef BUS_MCEERR_AR
#define BUS_MCEERR_AR	4
#endif

/* A bit for each page that the kernel lists as lost. */
struct lost {
	bool *page;
	bool told;
};

static void mark_lost(struct lost *lost, uint64_t base, uint64_t start, uint64_t end,
		      const struct mapping *map)
{
	for (uint64_t at = start; at < end; at += PAGE_BYTES)
		if (at >= base && at - base < map->len)
			lost->page[(at - base) >> PAGE_SHIFT] = true;
}

static void read_lost(struct lost *lost, const struct mapping *map)
{
	FILE *f = fopen("/proc/hugepoison/own", "re");
	uint64_t start, end, kb;
	char line[128], state[12];

	lost->told = f;
	while (f && fgets(line, sizeof(line), f))
		if (parse_own(line, &start, &end, &kb, state))
			mark_lost(lost, (uintptr_t)map->addr, start, end, map);
	if (f)
		fclose(f);
}

static void count_page(const char *addr, bool lost, struct touched *t)
{
	struct signal_seen sig;
	bool can = touch(addr, &sig);

	t->pages++;
	if (can) {
		t->healthy += !lost;
		t->readable += lost;
		return;
	}
	t->raw += lost;
	t->lost += !lost;
	t->strange += sig.code != BUS_MCEERR_AR ||
		(sig.addr & ~(PAGE_BYTES - 1)) != ((uintptr_t)addr & ~(PAGE_BYTES - 1));
	if (!t->sig.seen)
		t->sig = sig;
}

static int read_hugepage(char *addr, uint64_t size, const bool *lost, struct touched *t)
{
	enum probe there;
	int status = probe_page(addr, size, &there);

	if (status)
		return status;
	if (there == PROBE_HOLE) {
		t->holes++;
		return DONE;
	}
	for (uint64_t at = 0; at < size; at += PAGE_BYTES)
		count_page(addr + at, lost[at >> PAGE_SHIFT], t);
	return DONE;
}

/* From which hugepage to which, as offsets. */
static int limits(const struct options *opt, const struct mapping *map, uint64_t size,
		  uint64_t *start, uint64_t *end)
{
	*start = opt->everywhere ? 0 : opt->by_number ? opt->number * size : opt->at;
	*end = opt->everywhere ? map->len : opt->end ? opt->end : *start + 1;
	if (*start >= map->len || *end > map->len)
		return fail(FAILED, "offset %" PRIu64 " is beyond the end (%zu bytes)",
			    *start < map->len ? *end : *start, map->len);
	*start &= ~(size - 1);
	*end = (*end + size - 1) & ~(size - 1);
	return DONE;
}

static int verify_mapping(const struct options *opt, struct touched *t)
{
	struct mapping map;
	struct lost lost = { 0 };
	uint64_t size, start, end;
	int status = target_map(opt, &map, &size);

	if (!status)
		status = limits(opt, &map, size, &start, &end);
	if (!status && !opt->dry_run) {
		lost.page = calloc((map.len + size) >> PAGE_SHIFT, sizeof(bool));
		if (!lost.page)
			status = fail(FAILED, "out of memory");
		else
			read_lost(&lost, &map);
		t->told = lost.told;
		for (uint64_t at = start; !status && at < end; at += size)
			status = read_hugepage((char *)map.addr + at, size,
					       lost.page + (at >> PAGE_SHIFT), t);
		free(lost.page);
	}
	target_unmap(&map);
	return status;
}

static const char *verdict(const struct touched *t)
{
	if (t->readable)
		return "pages that the kernel calls lost can be read";
	if (t->lost && !t->told)
		return "pages cannot be read, and this kernel does not tell which of them are raw";
	if (t->lost)
		return "pages that the kernel calls healthy cannot be read";
	if (t->strange)
		return "a SIGBUS was not BUS_MCEERR_AR, or named another page";
	return NULL;
}

static void print_json(const struct options *opt, const struct touched *t)
{
	struct json_object *o = json_start("verify"), *sig = NULL;

	put_text(o, "result", opt->dry_run ? "dry-run" : verdict(t) ? "failed" : "done");
	put_text(o, "message", verdict(t));
	put_target(o, opt);
	put_number(o, "pages", t->pages);
	put_number(o, "healthy", t->healthy);
	put_number(o, "raw", t->raw);
	put_number(o, "healthy_lost", t->lost);
	put_number(o, "raw_readable", t->readable);
	put_number(o, "wrong_signals", t->strange);
	put_number(o, "holes", t->holes);
	put_bool(o, "raw_pages_told", t->told);
	if (t->sig.seen) {
		sig = json_object_new_object();
		put_text(sig, "code", code_name(t->sig.code));
		put_number(sig, "addr", t->sig.addr);
		put_number(sig, "lsb", (uint64_t)t->sig.lsb);
	}
	json_object_object_add(o, "signal", sig);
	json_finish(o, stdout, true);
}

static void print_table(const struct options *opt, const struct touched *t)
{
	printf("target    ");
	target_name(opt, stdout);
	if (opt->dry_run) {
		printf("\nresult    dry-run: would read each page that is there\n");
		return;
	}
	printf("\nread      %" PRIu64 " pages; %" PRIu64 " hugepages are holes\n", t->pages,
	       t->holes);
	printf("healthy   %" PRIu64 " can be read, %" PRIu64 " cannot\n", t->healthy, t->lost);
	printf("raw       %" PRIu64 " cannot be read, %" PRIu64 " can\n", t->raw, t->readable);
	if (t->sig.seen)
		printf("signal    SIGBUS, %s, address 0x%" PRIxPTR ", lsb %d (the first)\n",
		       code_name(t->sig.code), t->sig.addr, t->sig.lsb);
	printf("result    %s\n", verdict(t) ? "failed" : "done");
}

/**
 * run_verify - the command verify
 * @opt: the options
 *
 * Return: an exit status.
 */
int run_verify(struct options *opt)
{
	struct touched t = { 0 };
	uint64_t size;
	int status = DONE;

	if (!hugepage_sizes(&size, 1))
		return UNSUPPORTED;
	if (opt->kind == TARGET_PID)
		status = check_privilege();
	if (!status && opt->kind == TARGET_PID)
		status = hugepage_open();
	if (!status)
		status = opt->kind == TARGET_PID ? verify_process(opt, &t) :
						   verify_mapping(opt, &t);
	if (status)
		return status;
	if (opt->json)
		print_json(opt, &t);
	else
		print_table(opt, &t);
	status = finish_output(stdout, "standard output");
	if (!status && verdict(&t))
		status = fail(FAILED, "%s", verdict(&t));
	return status;
}
