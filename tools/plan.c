// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: which raw pages a call is going to hit.
 *
 * The tool finds and checks all of them before it hits the first one, and looks at
 * each once more right before its turn.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "inject.h"

static int add(struct plan *plan, const struct page *page, uint64_t at, enum repeat repeat)
{
	struct hit *grown;

	if (plan->hits >= MAX_HITS)
		return fail(FAILED, "more than %d errors in one call: use a smaller range, or soak",
			    MAX_HITS);
	if (!(plan->hits & (plan->hits + 1))) {
		grown = realloc(plan->hit, (plan->hits * 2 + 1) * sizeof(*grown));
		if (!grown)
			return fail(FAILED, "out of memory");
		plan->hit = grown;
	}
	plan->hit[plan->hits++] = (struct hit) { *page, at, repeat };
	return DONE;
}

static int check_state(const struct options *opt, const struct page *page)
{
	const char *is = state_mismatch(opt, page);

	if (!is)
		return DONE;
	return fail(FAILED, "--state %s: the hugepage at 0x%" PRIx64 " is %s",
		    state_name(opt->state), page->head, is);
}

static int check_poisoned(const struct options *opt, const struct page *page)
{
	if (opt->command != CMD_UNPOISON || page->poisoned)
		return DONE;
	return fail(FAILED, "PFN 0x%" PRIx64 " is not poisoned: there is nothing to take back",
		    page->pfn);
}

/* The raw page that is found, or chosen by --subpage, and what --again and --second add. */
static int add_checked(const struct options *opt, struct plan *plan, struct page *page,
		       uint64_t at)
{
	int status = target_pick_page(opt, page);

	if (!status)
		status = check_poisoned(opt, page);
	if (!status)
		status = check_state(opt, page);
	if (!status)
		status = add(plan, page, at, FIRST);
	if (!status && opt->again)
		status = add(plan, page, at, AGAIN);
	if (!status && opt->second && !page->huge)
		return fail(USAGE, "--second: PFN 0x%" PRIx64 " is in no hugepage", page->pfn);
	if (!status && opt->second)
		status = add(plan, page, at, SECOND);
	return status;
}

static int find_at(const struct options *opt, uint64_t at, struct page *page,
		   struct mapping *map)
{
	struct options here = *opt;

	here.at = at;
	return target_find(&here, page, map);
}

/* The part of a range in the hugepage at @at; moves @at behind it. */
static int add_hugepage(const struct options *opt, struct plan *plan, uint64_t *at, uint64_t end)
{
	uint64_t unit = opt->kind == TARGET_PFN ? 1 : PAGE_BYTES, next;
	struct mapping map;
	struct page page;
	int status = find_at(opt, *at, &page, &map);

	if (status)
		return status;
	target_unmap(&map);
	next = (*at & ~(page.pages * unit - 1)) + page.pages * unit;
	if (next > end || next < *at)
		next = end;
	if (opt->subpage != SUBPAGE_NAMED && page.huge) {
		status = add_checked(opt, plan, &page, *at);
		*at = next;
		return status;
	}
	for (; !status && *at < next; *at += unit) {
		page.poisoned = page_poisoned(page.pfn);
		status = add_checked(opt, plan, &page, *at);
		page.pfn++;
	}
	return status;
}

static int plan_range(const struct options *opt, struct plan *plan)
{
	uint64_t at = opt->at, end = opt->end;
	int status = DONE;

	if (opt->kind != TARGET_PFN) {
		at &= ~(PAGE_BYTES - 1);
		end = end > UINT64_MAX - PAGE_BYTES ? end & ~(PAGE_BYTES - 1) :
			(end + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	}
	while (!status && at < end)
		status = add_hugepage(opt, plan, &at, end);
	return status;
}

static bool planned(const struct plan *plan, uint64_t head)
{
	for (size_t i = 0; i < plan->hits; i++)
		if (plan->hit[i].page.head == head)
			return true;
	return false;
}

/*
 * A hugepage that is mapped twice gets one error; hugepages in another state
 * get none.
 */
static int plan_all_of(const struct options *opt, struct plan *plan)
{
	struct mapping map;
	struct page page;
	uint64_t *addr;
	size_t count;
	int status = process_hugepages(opt->pid, &addr, &count);

	for (size_t i = 0; !status && i < count; i++) {
		status = find_at(opt, addr[i], &page, &map);
		if (status)
			break;
		target_unmap(&map);
		if (!planned(plan, page.head) && !state_mismatch(opt, &page))
			status = add_checked(opt, plan, &page, addr[i]);
	}
	free(addr);
	if (!status && !plan->hits)
		return fail(FAILED, "process %" PRIu64 " maps no %shugepage%s", opt->pid,
			    count ? "such " : "", count ? ": none is in the --state" : "");
	return status;
}

/**
 * plan_make - find the pages to hit
 * @opt: names it
 * @plan: what is going to be hit
 *
 * Return: DONE, or an exit status after a message.
 */
int plan_make(const struct options *opt, struct plan *plan)
{
	struct mapping map;
	struct page page;
	int status;

	*plan = (struct plan) { 0 };
	if (opt->everywhere)
		return plan_all_of(opt, plan);
	if (opt->end)
		return plan_range(opt, plan);
	status = target_find(opt, &page, &map);
	if (status)
		return status;
	target_unmap(&map);
	return add_checked(opt, plan, &page, opt->at);
}

/**
 * plan_look_again - is it still there
 * @opt: names it
 * @hit: what was found
 * @map: our mapping of it, for ways that need one; to be undone by target_unmap()
 *
 * It may have been freed or migrated since, or its process may be gone.
 *
 * Return: DONE, or an exit status after a message.
 */
int plan_look_again(const struct options *opt, const struct hit *hit, struct mapping *map)
{
	struct page now;
	int status;

	*map = (struct mapping) { 0 };
	if (!hit->page.known)
		return DONE;
	if (opt->way != WAY_MADVISE && (hit->repeat != FIRST || hit->page.poisoned))
		return DONE;
	status = find_at(opt, hit->at, &now, map);
	if (status)
		return fail(status, "the target is not what it was: nothing was hit");
	if (now.head == hit->page.head && now.pages == hit->page.pages)
		return check_state(opt, &hit->page);
	target_unmap(map);
	return fail(FAILED, "the target moved from PFN 0x%" PRIx64 " to 0x%" PRIx64
		    " while being looked at: nothing was hit, try again", hit->page.head, now.head);
}

/**
 * plan_free - free a plan
 * @plan: the plan
 */
void plan_free(struct plan *plan)
{
	free(plan->hit);
	*plan = (struct plan) { 0 };
}
