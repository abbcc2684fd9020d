// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: the command remember: bad pages stay out of use over reboots.
 *
 * The kernel forgets with the next boot which pages are bad. So this command keeps them
 * in a file, with their memory modules, and takes them out of use early in the next
 * boot, by soft offline: the kernel moves the page's contents, or dissolves a free
 * hugepage, and hurts nobody. Where soft offline is off it takes out free pages only, by
 * hard offline.
 *
 * It leaves three kinds alone: injected ones, pages whose modules were exchanged, and
 * the kernel's own pages, which it cannot move.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/kernel-page-flags.h>

#include "inject.h"

#define MEMORY_DIR	"/sys/devices/system/memory"
#define TRIES		3

static struct dmi dmi;

/* Whether the file is this machine's, as far as the firmware tells. */
static int begin(struct store *s)
{
	int status = store_load(s);

	if (status)
		return status;
	dmi_read(&dmi);
	/* if the line that names it is damaged, compare the modules */
	if (s->damaged && !*s->machine)
		snprintf(s->machine, sizeof(s->machine), "%s", dmi.machine);
	s->other = s->pages && strcmp(s->machine, dmi.machine);
	return DONE;
}

/* ---- bad pages now ---- */

struct found {
	struct bad *page;
	size_t pages;
};

static void find(struct found *found, uint64_t pfn, uint64_t kb)
{
	struct bad *grown;

	for (size_t i = 0; i < found->pages; i++)
		if (found->page[i].pfn == pfn)
			return;
	grown = realloc(found->page, (found->pages + 1) * sizeof(*grown));
	if (!grown)
		return;
	found->page = grown;
	found->page[found->pages++] = (struct bad) { .pfn = pfn, .kb = kb };
}

/* Good memory that is only kept from use ("lost") does not count. */
static void find_listed(struct found *found, const struct bad *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(list[i].state, "lost"))
			find(found, list[i].pfn, list[i].kb);
}

/* Marks outside of hugepages: in a hugepage all pages may be marked. */
static void find_marked(struct found *found)
{
	for (uint64_t pfn = 0; next_marked(&pfn); pfn++)
		find(found, pfn, PAGE_BYTES >> 10);
}

static size_t add_found(struct store *s, const struct found *found)
{
	size_t added = 0;
	char *memory;

	for (size_t i = 0; i < found->pages; i++) {
		if (was_injected(found->page[i].pfn))
			continue;
		memory = memory_text(&dmi, found->page[i].pfn);
		added += memory &&
			 store_add(s, found->page[i].pfn, found->page[i].kb, "", memory);
		free(memory);
	}
	return added;
}

/* Another machine's pages do not count; sets its file aside. */
static void begin_anew(struct store *s)
{
	while (s->other && s->pages)
		store_forget(s, s->page);
	snprintf(s->machine, sizeof(s->machine), "%s", dmi.machine);
}

static int add_now(const struct found *found, size_t *added, size_t *all, bool dry_run)
{
	struct store s = { 0 };
	int dir = -1, status = store_lock(&dir);

	if (!status)
		status = begin(&s);
	if (!status) {
		begin_anew(&s);
		injected_load();
		*added = add_found(&s, found);
		*all = s.pages;
		if (*added && !dry_run)
			status = store_save(&s, dir);
	}
	store_free(&s);
	if (dir >= 0)
		close(dir);
	return status;
}

/**
 * remember_errors - remember the pages that are bad now
 * @list: what read_bad_pages() has found
 * @count: how many these are
 * @pfns: further page frames, which may be in no list
 * @nr_pfns: how many they are
 *
 * Return: DONE, or FAILED after a message.
 */
int remember_errors(const struct bad *list, size_t count, const uint64_t *pfns, size_t nr_pfns)
{
	struct found found = { 0 };
	size_t added, all;
	int status;

	find_listed(&found, list, count);
	for (size_t i = 0; i < nr_pfns; i++)
		find(&found, pfns[i], PAGE_BYTES >> 10);
	status = add_now(&found, &added, &all, false);
	free(found.page);
	return status;
}

static int run_now(const struct options *opt)
{
	struct found found = { 0 };
	size_t added = 0, all = 0, count = 0;
	struct bad *list;
	int status = hugepage_open();

	if (status)
		return status;
	list = kernel_has_hugepoison() ? read_bad_pages(&count) : NULL;
	find_listed(&found, list, list ? count : 0);
	free(list);
	find_marked(&found);
	status = add_now(&found, &added, &all, opt->dry_run);
	free(found.page);
	if (status)
		return status;
	printf("%s %zu more pages, %zu in all\n", opt->dry_run ? "would remember" : "remembered",
	       added, all);
	return finish_output(stdout, "standard output");
}

/* ---- replay ---- */

enum taken { TAKEN_OUT, TAKEN_BEFORE, TAKEN_ABSENT, TAKEN_EXCHANGED, TAKEN_FAILED, TAKEN_WOULD };

static const char *const taken_words[] = {
	[TAKEN_OUT] = "taken out of use",
	[TAKEN_BEFORE] = "out of use already",
	[TAKEN_ABSENT] = "this kernel has no memory there",
	[TAKEN_EXCHANGED] = "left in use: the memory was exchanged",
	[TAKEN_FAILED] = "STILL IN USE",
	[TAKEN_WOULD] = "would be taken out of use",
};

static bool page_free(uint64_t pfn, uint64_t flags)
{
	struct page page;

	if (flags >> KPF_BUDDY & 1)
		return true;
	return flags >> KPF_HUGE & 1 && !page_lookup(pfn, &page) &&
	       page_state(&page) == STATE_FREE;
}

static int offline(const char *how, uint64_t pfn)
{
	char path[96], text[24];

	snprintf(path, sizeof(path), MEMORY_DIR "/%s_offline_page", how);
	snprintf(text, sizeof(text), "0x%" PRIx64, pfn << PAGE_SHIFT);
	return write_text(path, text);
}

/* A short reference to the page is gone at the next try. */
static int offline_softly(uint64_t pfn)
{
	int err = 0;

	for (int i = 0; i < TRIES; i++) {
		err = offline("soft", pfn);
		if (err != EBUSY && err != EAGAIN)
			break;
		sleep_until(now() + 0.1);
	}
	return err;
}

static enum taken take_out(uint64_t pfn, int *err)
{
	uint64_t flags;

	*err = offline_softly(pfn);
	if (*err && page_flags(pfn, &flags) && page_free(pfn, flags))
		*err = offline("hard", pfn);
	if (!*err && !page_poisoned(pfn))
		*err = EAGAIN;
	return *err ? TAKEN_FAILED : TAKEN_OUT;
}

static bool exchanged(const struct remembered *page)
{
	char *memory = memory_text(&dmi, page->pfn);
	bool other = !memory || strcmp(memory, page->memory);

	free(memory);
	return other;
}

static enum taken replay_page(const struct remembered *page, bool dry_run, int *err)
{
	uint64_t flags;

	*err = 0;
	if (exchanged(page))
		return TAKEN_EXCHANGED;
	if (!page_flags(page->pfn, &flags))
		return TAKEN_ABSENT;
	if (flags >> KPF_HWPOISON & 1)
		return TAKEN_BEFORE;
	return dry_run ? TAKEN_WOULD : take_out(page->pfn, err);
}

static void tell_page(const struct remembered *page, enum taken taken, int err)
{
	printf("0x%" PRIx64 ": %s\n", page->pfn, taken_words[taken]);
	fflush(stdout);
	if (taken == TAKEN_EXCHANGED)
		fail(FAILED, "0x%" PRIx64 " was on %s: if that was repaired, --forget 0x%" PRIx64,
		     page->pfn, *page->memory ? page->memory : "memory without a name", page->pfn);
	if (taken == TAKEN_FAILED)
		fail(FAILED, "0x%" PRIx64 ": cannot take it out of use: %s: the kernel's command "
		     "line can: memmap=4K$0x%" PRIx64, page->pfn, strerror(err),
		     page->pfn << PAGE_SHIFT);
}

static struct json_object *json_page(const struct remembered *page, const char *result)
{
	struct json_object *o = json_object_new_object();

	put_number(o, "pfn", page->pfn);
	put_number(o, "size_kb", page->kb);
	put_text(o, "since", page->since);
	put_text(o, "memory", *page->memory ? page->memory : NULL);
	put_text(o, "result", result);
	return o;
}

static int replay_all(const struct options *opt, const struct store *s)
{
	struct json_object *o = opt->json ? json_start("remember") : NULL;
	struct json_object *list = o ? json_object_new_array() : NULL;
	int status = DONE, err;
	enum taken taken;

	for (size_t i = 0; i < s->pages; i++) {
		taken = replay_page(&s->page[i], opt->dry_run, &err);
		if (taken == TAKEN_FAILED)
			status = FAILED;
		if (o)
			json_object_array_add(list, json_page(&s->page[i], taken_words[taken]));
		else
			tell_page(&s->page[i], taken, err);
	}
	if (o) {
		json_object_object_add(o, "pages", list);
		json_finish(o, stdout, true);
	} else if (!s->pages) {
		printf("nothing is remembered\n");
	}
	return status;
}

/*
 * Our kernel replaces a hugepage that it takes out of a pool, a stock one does not. So set
 * the pools to their former size.
 */
static long long pool_of(uint64_t size, int node, char path[160])
{
	snprintf(path, 160, NODES_DIR "/node%d/hugepages/hugepages-%" PRIu64 "kB/nr_hugepages",
		 node, size >> 10);
	return node_online(node) ? read_value(path) : NO_VALUE;
}

static int refill(uint64_t size, int node, long long before)
{
	char path[160], text[32], name[24];
	long long pool = pool_of(size, node, path);

	if (pool == NO_VALUE || pool >= before)
		return DONE;
	snprintf(text, sizeof(text), "%lld", before);
	write_text(path, text);
	pool = pool_of(size, node, path);
	if (pool >= before)
		return DONE;
	size_text(size, name, sizeof(name));
	return fail(FAILED, "the pool of %s hugepages of node %d is %lld smaller: no memory for a "
		    "fresh one: echo %lld > %s", name, node, before - pool, before, path);
}

static int replay_with_pools(const struct options *opt, const struct store *s)
{
	long long (*before)[MAX_SIZES] = calloc(MAX_NODES, sizeof(*before));
	uint64_t size[MAX_SIZES];
	int n = hugepage_sizes(size, MAX_SIZES), status;
	char path[160];

	if (!before)
		return fail(FAILED, "out of memory");
	for (int node = 0; node < MAX_NODES; node++)
		for (int i = 0; i < n; i++)
			before[node][i] = pool_of(size[i], node, path);
	status = replay_all(opt, s);
	for (int node = 0; !opt->dry_run && node < MAX_NODES; node++)
		for (int i = 0; i < n; i++)
			if (refill(size[i], node, before[node][i]))
				status = FAILED;
	free(before);
	return status;
}

static int run_replay(const struct options *opt)
{
	struct store s;
	int status = begin(&s);

	if (!status && s.other)
		status = fail(FAILED, STORE_FILE " is of another machine (%s, this is %s): nothing "
			      "is taken out of use; --forget-all begins anew", s.machine,
			      *dmi.machine ? dmi.machine : "one without a name");
	if (!status && s.pages && access(MEMORY_DIR "/soft_offline_page", F_OK) &&
	    access(MEMORY_DIR "/hard_offline_page", F_OK))
		status = fail(UNSUPPORTED, "this kernel cannot take a page out of use: "
			      "CONFIG_MEMORY_FAILURE and CONFIG_MEMORY_HOTPLUG");
	if (!status && s.pages)
		status = hugepage_open();
	if (!status)
		status = replay_with_pools(opt, &s);
	if (!status)
		status = finish_output(stdout, "standard output");
	if (!status && s.damaged)
		status = FAILED;
	store_free(&s);
	return status;
}

/* ---- list, forget ---- */

static int run_show(const struct options *opt)
{
	struct json_object *o, *list;
	struct store s;
	char size[24];
	int status = begin(&s);

	if (status)
		return status;
	if (opt->json) {
		o = json_start("remember");
		put_text(o, "machine", s.machine);
		put_bool(o, "this_machine", !s.other);
		list = json_object_new_array();
		for (size_t i = 0; i < s.pages; i++)
			json_object_array_add(list, json_page(&s.page[i], NULL));
		json_object_object_add(o, "pages", list);
		json_finish(o, stdout, true);
	} else {
		printf("%-12s %-4s %-20s %s\n", "page frame", "size", "since", "memory");
		for (size_t i = 0; i < s.pages; i++) {
			size_text(s.page[i].kb << 10, size, sizeof(size));
			printf("0x%-10" PRIx64 " %-4s %-20s %s\n", s.page[i].pfn, size,
			       s.page[i].since, *s.page[i].memory ? s.page[i].memory : "-");
		}
		if (!s.pages)
			printf("nothing is remembered\n");
		else if (s.other)
			printf("\nof another machine (%s): nothing of it counts here\n", s.machine);
	}
	status = s.damaged ? FAILED : DONE;
	store_free(&s);
	return finish_output(stdout, "standard output") ? FAILED : status;
}

/*
 * The page stays bad until the next boot: the monitor must not remember it
 * again.
 */
static void forget(struct store *s, struct remembered *page, int note)
{
	injected_note(note, page->pfn, false);
	store_forget(s, page);
}

static int forget_some(const struct options *opt, struct store *s, int dir)
{
	struct remembered *page = store_find(s, opt->at);
	bool all = opt->memory == MEMORY_FORGET_ALL;
	size_t n = all ? s->pages : 1;
	int note;

	if (!all && !page)
		return fail(FAILED, "page frame 0x%" PRIx64 " is not remembered", opt->at);
	printf("%s %zu pages\n", opt->dry_run ? "would forget" : "forgotten:", n);
	if (opt->dry_run)
		return DONE;
	note = injected_begin();
	while (all ? s->pages : n--)
		forget(s, all ? s->page : page, note);
	injected_end(note);
	if (all)
		snprintf(s->machine, sizeof(s->machine), "%s", dmi.machine);
	return store_save(s, dir);
}

static int run_forget(const struct options *opt)
{
	struct store s = { 0 };
	int dir = -1, status = store_lock(&dir);

	if (!status)
		status = begin(&s);
	if (!status)
		status = forget_some(opt, &s, dir);
	store_free(&s);
	if (dir >= 0)
		close(dir);
	return status ? status : finish_output(stdout, "standard output");
}

/**
 * run_remember - the command remember
 * @opt: the options
 *
 * Return: an exit status.
 */
int run_remember(struct options *opt)
{
	int status = check_privilege();

	if (status)
		return status;
	switch (opt->memory) {
	case MEMORY_NOW:
		return run_now(opt);
	case MEMORY_REPLAY:
		return run_replay(opt);
	case MEMORY_FORGET:
	case MEMORY_FORGET_ALL:
		return run_forget(opt);
	default:
		return run_show(opt);
	}
}
