// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: many errors, at random, for a while.
 *
 * The n-th error takes the n-th of a sequence of random numbers that the seed fixes, so
 * a soak that is resumed goes on as if it had not been stopped.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inject.h"

#define PROGRESS_SECONDS	0.2

/* The choices: hugepages of a file by number, of a process by address. */
struct choice {
	uint64_t count;
	uint64_t *addr;
};

/*
 * A hugepage that this soak has hit: only the soak knows for sure where it is.
 */
struct known {
	uint64_t index, head;
};

static struct known *known;
static size_t knowns;
static sig_atomic_t stopped;	/* the signal; set by its handler */

static int stop_signal(void)
{
	return __atomic_load_n(&stopped, __ATOMIC_SEQ_CST);
}

static void on_signal(int signo)
{
	__atomic_store_n(&stopped, signo, __ATOMIC_SEQ_CST);
}

/* A sequence of numbers that look random: the n-th one of @seed. */
static uint64_t nth_random(uint64_t seed, uint64_t n)
{
	uint64_t x = seed ^ n * 0x9e3779b97f4a7c15;

	for (int round = 0; round < 3; round++) {
		x ^= x >> 31;
		x *= 0xd6e8feb86659fd93;
	}
	return x ^ x >> 32;
}

static int choices(const struct options *opt, struct choice *c)
{
	struct mapping map;
	uint64_t size;
	size_t count;
	int status;

	*c = (struct choice) { 0 };
	if (opt->kind == TARGET_PID) {
		status = process_hugepages(opt->pid, &c->addr, &count);
		c->count = count;
	} else {
		status = target_map(opt, &map, &size);
		if (!status)
			c->count = map.len / size;
		target_unmap(&map);
	}
	if (!status && !c->count)
		status = fail(FAILED, "the target has no hugepage");
	return status;
}

/* The options that name one of the choices as a target. */
static struct options narrowed_to(const struct options *opt, const struct choice *c, uint64_t i)
{
	struct options one = *opt;

	one.everywhere = false;
	one.by_number = !c->addr;
	one.number = i;
	one.at = c->addr ? c->addr[i] : 0;
	return one;
}

static bool known_head(uint64_t index, uint64_t *head)
{
	for (size_t i = knowns; i-- > 0;)
		if (known[i].index == index) {
			*head = known[i].head;
			return true;
		}
	return false;
}

static void remember(uint64_t index, uint64_t head)
{
	struct known *grown = realloc(known, (knowns + 1) * sizeof(*known));

	if (!grown)
		return;
	known = grown;
	known[knowns++] = (struct known) { index, head };
}

/*
 * Whether to hit this one. Holes and poisoned hugepages are no failures, there
 * are others.
 */
static bool suits(const struct options *one, struct hit *hit)
{
	struct mapping map;
	uint64_t head;
	bool found;

	quiet = true;
	found = !target_find(one, &hit->page, &map);
	quiet = false;
	if (found)
		target_unmap(&map);
	if (found && !hit->page.poisoned)
		return !state_mismatch(one, &hit->page);
	if (!one->second || !found || !known_head(one->number, &head))
		return false;
	/* of several poisoned ones the soak itself knows its own best */
	page_assume(head, hit->page.pages, &hit->page);
	hit->repeat = SECOND;
	return true;
}

/* The raw page for error number s->errors, and the options that name it. */
static int pick(const struct options *opt, const struct soak *s, struct hit *hit,
		struct options *one)
{
	uint64_t first = nth_random(s->seed, 2 * s->errors), index;
	struct choice c;
	int status = choices(opt, &c);
	bool found = false;

	for (uint64_t i = 0; !status && !found && !stop_signal() && i < c.count; i++) {
		*hit = (struct hit) { 0 };
		*one = narrowed_to(opt, &c, (first + i) % c.count);
		found = suits(one, hit);
	}
	free(c.addr);
	if (status || stop_signal())
		return FAILED;
	if (!found)
		return fail(FAILED,
			    "none of the target's %" PRIu64 " hugepages is left to be hit%s",
			    c.count,
			    opt->second ? "" : " (--second hits those with an error, too)");
	hit->at = one->at;
	if (opt->subpage != SUBPAGE_RANDOM)
		return target_pick_page(opt, &hit->page);
	index = nth_random(s->seed, 2 * s->errors + 1) % hit->page.pages;
	hit->page.pfn = hit->page.head + index;
	return DONE;
}

static void progress(const struct options *opt, const struct soak *s, bool last)
{
	static double shown;

	if (!isatty(STDERR_FILENO) || (!last && now() < shown + PROGRESS_SECONDS))
		return;
	shown = now();
	fprintf(stderr, "\r%" PRIu64, s->errors);
	if (opt->count)
		fprintf(stderr, " of %" PRIu64, opt->count);
	fprintf(stderr, " errors, %" PRIu64 " failed, %" PRIu64 " kB lost, %.0f s ", s->failed,
		s->loss_kb, s->seconds);
	if (last)
		fprintf(stderr, "\n");
}

static const char *limit_reached(const struct options *opt, const struct soak *s)
{
	if (opt->count && s->errors >= opt->count)
		return "count";
	if (opt->duration && s->seconds >= (double)opt->duration)
		return "duration";
	if (opt->max_loss && s->loss_kb << 10 >= opt->max_loss)
		return "max-loss";
	return NULL;
}

static void take_loss(struct soak *s, long long base)
{
	long long kb = hardware_corrupted() - base;

	s->loss_kb = kb > 0 ? (uint64_t)kb : 0;
}

/* One error; FAILED if the soak cannot go on, not if the error failed. */
static int step(const struct options *opt, struct soak *s, long long base, double begun, FILE *f)
{
	struct outcome out;
	struct options one;
	struct hit hit;
	int status = pick(opt, s, &hit, &one);

	if (!status)
		status = inject_one(&one, &hit, &out);
	if (status)
		return status;
	s->errors++;
	s->done += !out.verdict;
	s->failed += !!out.verdict;
	s->seconds = now() - begun;
	take_loss(s, base);
	if (!out.verdict && one.by_number)
		remember(one.number, hit.page.head);
	return journal_write(f, s, &hit, &out);
}

static const char *run_until(const struct options *opt, struct soak *s, FILE *f)
{
	long long base = hardware_corrupted() - (long long)s->loss_kb;
	double begun = now() - s->seconds, next = now();
	const char *reason;

	while (!(reason = limit_reached(opt, s))) {
		if (opt->rate) {
			double end = opt->duration ? begun + (double)opt->duration : next;

			sleep_until(end < next ? end : next);
			next += 60.0 / (double)opt->rate;
			s->seconds = now() - begun;
			if (limit_reached(opt, s))
				continue;
		}
		if (stop_signal())
			return "signal";
		if (step(opt, s, base, begun, f))
			return stop_signal() ? "signal" : "error";
		progress(opt, s, false);
	}
	return reason;
}

static void print_summary(const struct options *opt, const struct soak *s, const char *reason,
			  bool well)
{
	struct json_object *o;

	if (!opt->json) {
		printf("target    ");
		target_name(opt, stdout);
		printf("\nseed      %" PRIu64 "\nerrors    %" PRIu64 ", of which %" PRIu64
		       " failed\nlost      %" PRIu64
		       " kB\ntime      %.1f s\nresult    %s, ended by %s\n",
		       s->seed, s->errors, s->failed, s->loss_kb, s->seconds,
		       well ? "done" : "failed", reason);
		return;
	}
	o = json_start("soak");
	put_text(o, "result", well ? "done" : "failed");
	put_text(o, "ended_by", reason);
	put_target(o, opt);
	put_number(o, "seed", s->seed);
	put_number(o, "errors", s->errors);
	put_number(o, "failed", s->failed);
	put_number(o, "loss_kb", s->loss_kb);
	json_object_object_add(o, "seconds", json_object_new_double(s->seconds));
	json_finish(o, stdout, true);
}

static int look_only(const struct options *opt, struct soak *s)
{
	struct options one;
	struct hit hit;
	int status = pick(opt, s, &hit, &one);

	if (status)
		return status;
	if (opt->json) {
		struct json_object *o = json_start("soak");

		put_text(o, "result", "dry-run");
		put_target(o, opt);
		put_number(o, "seed", s->seed);
		put_number(o, "first_pfn", hit.page.pfn);
		json_finish(o, stdout, true);
	} else {
		printf("target    ");
		target_name(opt, stdout);
		printf("\nseed      %" PRIu64 "\nwould hit raw page 0x%" PRIx64
		       " first, then others\n",
		       s->seed, hit.page.pfn);
	}
	status = finish_output(stdout, "standard output");
	if (status || opt->dry_run)
		return status;
	return fail(FAILED, "nothing was hit: is this a test machine? Then say --yes");
}

static int soak(const struct options *opt, struct soak *s)
{
	const struct sigaction action = { .sa_handler = on_signal };
	const char *reason;
	bool well;
	FILE *f;
	int status = journal_open(opt, s, &f);

	if (status)
		return status;
	/* no SA_RESTART: a signal ends a sleep, but not an error under way */
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	reason = run_until(opt, s, f);
	progress(opt, s, true);
	if (f)
		fclose(f);
	well = strcmp(reason, "signal") && strcmp(reason, "error") && !s->failed;
	print_summary(opt, s, reason, well);
	status = finish_output(stdout, "standard output");
	if (stop_signal())
		return fail(FAILED, "stopped by SIG%s%s", sigabbrev_np(stop_signal()),
			    opt->report ? "; --resume goes on" : "");
	if (!status && s->failed)
		return fail(FAILED,
			    "%" PRIu64 " of %" PRIu64 " errors were not handled, or not fully",
			    s->failed, s->errors);
	return status || well ? status : FAILED;
}

/**
 * run_soak - the command soak
 * @opt: the options
 *
 * Return: an exit status.
 */
int run_soak(struct options *opt)
{
	struct soak s = { .seed = opt->seeded ? opt->seed : random_number() >> 16 };
	int status = check_privilege();

	if (!status)
		status = hugepage_open();
	opt->way = way_choose(opt);
	if (!status)
		status = way_check(opt->way);
	if (!status && opt->max_loss && hardware_corrupted() == NO_VALUE)
		status = fail(UNSUPPORTED, "--max-loss: this kernel has no HardwareCorrupted");
	if (!status)
		status = opt->yes && !opt->dry_run ? soak(opt, &s) : look_only(opt, &s);
	free(known);
	return status;
}
