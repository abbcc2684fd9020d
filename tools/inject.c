// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: inject and unpoison.
 *
 * The order of events: find the raw pages, see whether the kernel can poison them; then
 * for each take the counters, look at the page once more, inject, take the counters
 * again, judge, report. Everything before the first injection only reads.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "inject.h"

/*
 * The kernel chose the hugepage: its log names it, and /proc/kpageflags has to
 * agree.
 */
static const char *find_choice(const struct log *log, struct page *page)
{
	struct page hit;
	int hits = log_find_hit(log, page->pages, page->node, &hit);

	if (hits > 1)
		return "several hugepages were poisoned at the same time: ours is not known";
	if (!hits)
		return "the kernel reports success, but its log names no page";
	hit.poisoned = false;
	*page = hit;
	return NULL;
}

/* A free hugepage of our own choice may have been taken before the error struck. */
static bool was_free(const struct log *log, const struct page *page)
{
	for (int i = 0; i < log->lines; i++)
		if (log_names(log->line[i], page) && strstr(log->line[i], "free huge page"))
			return true;
	return log->reader.fd < 0 || log->reader.lost;	/* no evidence against it */
}

static const char *judge_unpoison(const struct outcome *out, const struct page *page)
{
	if (out->err)
		return "the kernel did not take the error back";
	/* With CONFIG_HUGEPOISON another error of the hugepage may keep it marked. */
	if (page_poisoned(page->head) && !kernel_has_hugepoison())
		return "the kernel reports success, but the hugepage is still marked";
	return NULL;
}

static const char *judge(const struct options *opt, const struct outcome *out,
			 const struct log *log, struct hit *hit)
{
	struct page *page = &hit->page;
	const char *wrong = NULL;

	if (opt->command == CMD_UNPOISON)
		return judge_unpoison(out, page);
	if (hit->repeat == AGAIN && out->err == EHWPOISON)
		return NULL;	/* known already, as it should be */
	if (out->err == ETIMEDOUT)
		return "the kernel has not handled the machine check";
	if (out->err)
		return "the kernel did not handle the error, or not fully";
	if (!page->known)
		wrong = find_choice(log, page);
	if (!wrong && !page_poisoned(page->pfn))
		return "the kernel reports success, but the page is not marked: do the "
		       "corrupt-filter-* files in debugfs exclude it?";
	if (!wrong && opt->kind == TARGET_FREE && hit->repeat == FIRST &&
	    opt->way != WAY_SOFT_OFFLINE && !was_free(log, page))
		return "the hugepage was no longer free when the error struck it";
	return wrong;
}

/* Notes an injected error, before the injection if the page is known by then. */
static void apply(const struct options *opt, struct hit *hit, const struct mapping *map,
		  struct log *log, struct outcome *out)
{
	bool back = opt->command == CMD_UNPOISON, chosen = !hit->page.known;
	struct page page = hit->page;
	int note = injected_begin();

	if (!chosen && !back)
		injected_note(note, page.pfn, false);
	way_apply(opt, &page, map, out);
	log_read(log);
	if (chosen && !out->err && log_find_hit(log, page.pages, page.node, &page) == 1)
		injected_note(note, page.pfn, false);
	if (back && !out->err)
		injected_note(note, page.pfn, true);
	injected_end(note);
}

/* Applies the way to a page that was looked at just now. */
static void strike(const struct options *opt, struct hit *hit, const struct mapping *map,
		   struct log *log, struct outcome *out)
{
	struct options here = *opt;

	/* the kernel chooses once only: later errors hit that page again */
	if (opt->way == WAY_CORRUPT_FREE && hit->repeat != FIRST)
		here.way = way_choose(&(struct options) { .kind = TARGET_PFN });
	if (here.way != opt->way && way_check(here.way)) {
		out->err = EOPNOTSUPP;
		out->verdict = "the kernel lacks the way to hit a page by its number";
		return;
	}
	log_start(log);
	if (log->reader.fd < 0 && !hit->page.known) {
		out->verdict = "cannot read /dev/kmsg, where the kernel says which hugepage it "
			       "chose: use --via corrupt-pfn";
		return;
	}
	apply(&here, hit, map, log, out);
	if (here.way != opt->way)
		way_check(opt->way);
	out->verdict = judge(opt, out, log, hit);
}

/**
 * inject_one - look once more, hit, judge; without a report
 * @opt: the options
 * @hit: what to hit; filled in where the kernel chooses
 * @out: what came of it
 *
 * Return: DONE if it was hit, with any outcome; else an exit status after a message.
 */
int inject_one(const struct options *opt, struct hit *hit, struct outcome *out)
{
	struct log log = { .reader = { .fd = -1, .end = -1 } };
	struct mapping map;
	int status;

	*out = (struct outcome) { 0 };
	status = plan_look_again(opt, hit, &map);
	if (status)
		return status;
	if (opt->way != WAY_MADVISE)
		target_unmap(&map);
	strike(opt, hit, &map, &log, out);
	log_free(&log);
	target_unmap(&map);
	return DONE;
}

static int complain(const struct outcome *out)
{
	return fail(FAILED, "%s%s%s", out->verdict, out->err ? ": " : "",
		    out->err ? errno_name(out->err) : "");
}

static bool in_full(const struct options *opt, const struct plan *plan)
{
	return plan->hits == 1 || opt->json;
}

/* Our kernel's worker logs some errors a moment later. */
static void wait_for_log(const struct options *opt, const struct page *page,
			 const struct outcome *out, struct log *log)
{
	bool errs = opt->command == CMD_INJECT && opt->way != WAY_SOFT_OFFLINE;

	if (errs && !out->err && page->huge && kernel_has_hugepoison())
		log_wait(log, "hugepoison: ", page);
}

static void report(const struct options *opt, const struct plan *plan, const struct report *r)
{
	if (in_full(opt, plan))
		report_print(r);
	else
		report_row(r);
}

static int hit_and_report(const struct options *opt, const struct plan *plan, struct hit *hit)
{
	struct counters counters = { 0 };
	struct outcome out = { 0 };
	struct log log = { .reader = { .fd = -1, .end = -1 } };
	struct mapping map = { 0 };
	int status = counters_start(&counters, &hit->page);

	if (!status)
		status = plan_look_again(opt, hit, &map);
	if (!status) {
		if (opt->way != WAY_MADVISE)
			target_unmap(&map);
		strike(opt, hit, &map, &log, &out);
		counters_finish(&counters, &hit->page);
		if (in_full(opt, plan))
			wait_for_log(opt, &hit->page, &out, &log);
		report(opt, plan, &(struct report) { opt, hit, &out, &counters, &log });
		status = finish_output(stdout, "standard output");
		if (out.verdict)
			status = complain(&out);
	}
	log_free(&log);
	counters_free(&counters);
	target_unmap(&map);
	return status;
}

/* --again and --second: to the page of the error before. */
static void follow(const struct plan *plan, size_t i)
{
	struct hit *hit = &plan->hit[i];

	hit->page = plan->hit[i - 1].page;
	hit->page.poisoned = true;
	if (hit->repeat == SECOND)
		hit->page.pfn =
			hit->page.head + (hit->page.pfn - hit->page.head + 1) % hit->page.pages;
}

/* An error dissolves a free hugepage, and then anybody may have its other pages. */
static int check_follow(const struct options *opt, const struct hit *hit)
{
	struct page now;
	int status;

	if (!hit->page.known)
		return fail(FAILED, "which hugepage was hit is not known: no --again, no --second");
	if (hit->repeat == AGAIN || opt->any_page)
		return DONE;
	status = page_lookup(hit->page.pfn, &now);
	if (!status && (!now.huge || now.head != hit->page.head))
		return fail(FAILED,
			    "the hugepage at 0x%" PRIx64 " is dissolved: no second error there",
			    hit->page.head);
	return status;
}

/* A failed error does not stop the others. */
static int hit_all(const struct options *opt, const struct plan *plan)
{
	int worst = DONE, status;

	for (size_t i = 0; i < plan->hits; i++) {
		status = DONE;
		if (plan->hit[i].repeat != FIRST) {
			follow(plan, i);
			status = check_follow(opt, &plan->hit[i]);
		}
		if (!status)
			status = hit_and_report(opt, plan, &plan->hit[i]);
		if (status)
			worst = status;
		if (ferror(stdout))
			return status;
	}
	return worst;
}

static int show_all(const struct options *opt, const struct plan *plan)
{
	struct outcome out = { 0 };
	struct log log = { .reader = { .fd = -1, .end = -1 } };
	int status = DONE;

	for (size_t i = 0; !status && i < plan->hits; i++) {
		struct counters counters = { 0 };

		if (plan->hit[i].repeat != FIRST)
			follow(plan, i);
		status = counters_start(&counters, &plan->hit[i].page);
		if (!status)
			report(opt, plan,
			       &(struct report){ opt, &plan->hit[i], &out, &counters, &log });
		counters_free(&counters);
	}
	return status ? status : finish_output(stdout, "standard output");
}

static int act(const struct options *opt, const struct plan *plan)
{
	bool confirmed = opt->yes || opt->command == CMD_UNPOISON;
	int status;

	if (!opt->dry_run && confirmed) {
		sleep_until(now() + (double)opt->delay);
		return hit_all(opt, plan);
	}
	status = show_all(opt, plan);
	if (status || opt->dry_run)
		return status;
	return fail(FAILED, "nothing was hit: is this a test machine? Then say --yes");
}

/**
 * run_inject - the commands inject and unpoison
 * @opt: the options
 *
 * Return: an exit status.
 */
int run_inject(struct options *opt)
{
	struct plan plan = { 0 };
	int status = check_privilege();

	if (!status)
		status = hugepage_open();
	if (status)
		return status;
	opt->way = way_choose(opt);
	status = plan_make(opt, &plan);
	if (!status)
		status = way_check(opt->way);
	if (!status)
		status = act(opt, &plan);
	plan_free(&plan);
	return status;
}
