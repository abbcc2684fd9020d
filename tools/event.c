// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: events about memory errors, from a line of trace_pipe to one of ours.
 *
 * A line ends in what the kernel wrote; before that there is the name of a process, which
 * may be anything. So the last place in the line that looks like an event counts.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "inject.h"

static const char *const names[] = {
	[EVENT_CONTAIN] = "contain", [EVENT_NARROW] = "narrow", [EVENT_PROMOTE] = "promote",
	[EVENT_RELEASE] = "release", [EVENT_REPLACE] = "replace", [EVENT_HEAL] = "heal",
	[EVENT_REFILL] = "refill", [EVENT_PAGE] = "page", [EVENT_LOST] = "lost",
};

/**
 * event_name - what a kind of event is called
 * @kind: which one
 */
const char *event_name(enum event_kind kind)
{
	return names[kind];
}

/* The last " hugepoison_NAME: " in a line. */
static const char *find_ours(const char *line, enum event_kind *kind)
{
	const char *last = NULL, *at, *colon;

	for (at = strstr(line, " hugepoison_"); at; at = strstr(at + 1, " hugepoison_")) {
		const char *name = at + strlen(" hugepoison_");

		colon = strstr(name, ": pfn=");
		for (enum event_kind i = EVENT_CONTAIN; colon && i <= EVENT_REFILL; i++) {
			if ((size_t)(colon - name) != strlen(names[i]) ||
			    strncmp(name, names[i], strlen(names[i])))
				continue;
			*kind = i;
			last = at;
		}
	}
	return last;
}

static const char *find_last(const char *line, const char *text)
{
	const char *last = NULL;

	for (const char *at = strstr(line, text); at; at = strstr(at + 1, text))
		last = at;
	return last;
}

/* "12.345678:" right before the name of the event. */
static double seconds_before(const char *line, const char *at)
{
	const char *word = at;

	while (word > line && word[-1] != ' ')
		word--;
	return strtod(word, NULL);
}

static bool parse_ours(const char *line, struct event *event)
{
	const char *at = find_ours(line, &event->kind);

	if (!at)
		return false;
	event->seconds = seconds_before(line, at);
	return sscanf(strstr(at, "pfn="),
		      "pfn=%" SCNx64 " size=%" SCNu64 "kB node=%d outcome=%15s duration=%" SCNu64,
		      &event->pfn, &event->kb, &event->node, event->outcome, &event->ns) == 5;
}

/* The kernel's event for any page, hugepage or not: "pfn 0x1: recovery action for X: Y" */
static bool parse_page(const char *line, struct event *event)
{
	static const char name[] = " memory_failure_event: pfn ";
	const char *at = find_last(line, name), *result;

	if (!at)
		return false;
	event->kind = EVENT_PAGE;
	event->seconds = seconds_before(line, at);
	event->kb = PAGE_BYTES >> 10;
	event->node = ANY_NODE;
	if (sscanf(at + strlen(name), "0x%" SCNx64 ": recovery action for %39[^:]", &event->pfn,
		   event->type) != 2)
		return false;
	/* here the kernel does not say how large the hugepage is */
	if (strstr(event->type, "huge page"))
		event->kb = 0;
	result = find_last(at, ": ");
	return sscanf(result, ": %15s", event->outcome) == 1;
}

/* "CPU:1 [LOST 12 EVENTS]" */
static bool parse_loss(const char *line, struct event *event)
{
	const char *at = strstr(line, "[LOST ");

	if (strncmp(line, "CPU:", 4) || !at)
		return false;
	event->kind = EVENT_LOST;
	event->node = ANY_NODE;
	event->lost = strtoull(at + 6, NULL, 10);
	return true;
}

/**
 * event_parse - a line of trace_pipe
 * @line: the line
 * @event: what it says
 *
 * Return: false if it is about none of the events that we know.
 */
bool event_parse(const char *line, struct event *event)
{
	*event = (struct event) { 0 };
	if (!parse_loss(line, event) && !parse_ours(line, event) && !parse_page(line, event))
		return false;
	/* arithmetic on it must make sense */
	return !(event->pfn >> 52) && event->kb <= 1ULL << 40;
}

/**
 * event_severity - how bad is it, as syslog counts
 * @event: the event
 *
 * Return: 2 (critical) where an error may still be reached, 3 where a pool or an owner lost
 * more than the raw page, 5 for other errors, 6 for later steps.
 */
int event_severity(const struct event *event)
{
	static const char *const bad[] = { "contained", "dequeued", "isolated", "pinned" };

	if (event->kind == EVENT_LOST)
		return 4;
	if (!strcmp(event->outcome, "failed") || !strcmp(event->outcome, "Failed"))
		return event->kind == EVENT_CONTAIN || event->kind == EVENT_PAGE ? 2 : 3;
	if (event->kind != EVENT_CONTAIN && event->kind != EVENT_PAGE)
		return 6;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (!strcmp(event->outcome, bad[i]))
			return 3;
	return 5;
}

/**
 * event_is_error - is it the end of an error, or a later step
 * @event: the event
 */
bool event_is_error(const struct event *event)
{
	return event->kind == EVENT_CONTAIN || event->kind == EVENT_PAGE;
}

/**
 * event_is_urgent - does an admin have to know of it, whatever else happens
 * @event: the event
 *
 * Errors, and a pool that got smaller. No user can cause these as often as he likes.
 */
bool event_is_urgent(const struct event *event)
{
	return event_is_error(event) ||
	       (event->kind == EVENT_REPLACE && event_severity(event) <= 3);
}

/**
 * event_words - what happened, for people
 * @event: the event
 */
const char *event_words(const struct event *event)
{
	bool failed = !strcmp(event->outcome, "failed");

	switch (event->kind) {
	case EVENT_CONTAIN:
		return failed ? "memory error in a hugepage, not contained" :
				"memory error in a hugepage";
	case EVENT_PAGE:
		return "memory error";
	case EVENT_NARROW:
		return failed ? "a mapping cannot keep the healthy pages" :
				"a mapping keeps the healthy pages";
	case EVENT_PROMOTE:
		return failed ? "a mapping stays as base pages" : "a mapping has a hugepage again";
	case EVENT_RELEASE:
		return "the healthy pages of a hugepage are given back";
	case EVENT_REPLACE:
		return failed ? "the pool is one hugepage smaller" :
				"the pool has a fresh hugepage";
	case EVENT_HEAL:
		return failed ? "a raw page is not healed" : "good memory for a raw page";
	case EVENT_REFILL:
		return "a process has filled a lost page again";
	default:
		return "events were lost: list has what is bad";
	}
}

/* ---- state and owner ---- */

static bool is_in(const struct bad *bad, const struct event *event)
{
	uint64_t pages = event->kb >> 2;

	if (event->kind == EVENT_CONTAIN || event->kind == EVENT_HEAL ||
	    event->kind == EVENT_REFILL || event->kind == EVENT_PAGE)
		return bad->pfn == event->pfn;
	return bad->pfn >= event->pfn && bad->pfn < event->pfn + pages;
}

/**
 * event_look_up - state and owner, where the kernel has them still
 * @event: the event
 * @list: what is bad now
 * @count: how much that is
 *
 * Return: false if it is the kernel's own event on a page that ours reports as well.
 */
bool event_look_up(struct event *event, const struct bad *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!is_in(&list[i], event))
			continue;
		if (event->kind == EVENT_PAGE)
			return false;
		event->bad = list[i];
		break;
	}
	return event->kind != EVENT_PAGE || !kernel_has_hugepoison() ||
	       !strstr(event->type, "huge page");
}

/* ---- output ---- */

/**
 * event_time - when it was, in words
 * @event: the event
 * @buf: where to put them: UTC, or the seconds of a clock that is not ours
 * @len: how much fits there
 */
void event_time(const struct event *event, char *buf, size_t len)
{
	time_t whole = (time_t)event->when;
	struct tm tm;

	if (event->when <= 0 || !gmtime_r(&whole, &tm)) {
		snprintf(buf, len, "%.6f", event->seconds);
		return;
	}
	strftime(buf, len, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + strlen(buf), len - strlen(buf), ".%03dZ",
		 (int)((event->when - (double)whole) * 1000));
}

/**
 * event_owner - whose it is, in a word or two
 * @event: the event
 * @buf: where to put them, "-" if it is nobody's, or not known
 * @len: how much fits there
 *
 * Escapes bytes that would break a line or a field, as the kernel does.
 */
void event_owner(const struct event *event, char *buf, size_t len)
{
	const char *name;

	if (!*event->bad.owner) {
		snprintf(buf, len, "-");
		return;
	}
	if (owner_shmid(&event->bad) >= 0) {
		snprintf(buf, len, "shmid %ld", owner_shmid(&event->bad));
		return;
	}
	/* DEVICE INODE NAME */
	name = strchr(event->bad.owner, ' ');
	name = name ? strchr(name + 1, ' ') : NULL;
	snprintf(buf, len, "%s", name ? name + 1 : event->bad.owner);
}

static void print_lost_line(const struct event *event, FILE *f)
{
	fprintf(f, "%-24s %-8s %" PRIu64 " events: list has what is bad\n", "-", "lost",
		event->lost);
}

/**
 * event_header - the names of the columns
 * @f: where to
 */
void event_header(FILE *f)
{
	fprintf(f, "%-24s %-8s %-12s %-4s %4s  %-10s %-10s %s\n", "time", "event", "page frame",
		"size", "node", "outcome", "state", "owner");
}

/**
 * event_print - an event as a line
 * @event: the event
 * @f: where to
 */
void event_print(const struct event *event, FILE *f)
{
	char when[48], size[24] = "-", node[16] = "-", owner[256], more[48] = "";

	if (event->kind == EVENT_LOST) {
		print_lost_line(event, f);
		return;
	}
	event_time(event, when, sizeof(when));
	if (event->kb)
		size_text(event->kb << 10, size, sizeof(size));
	if (event->node != ANY_NODE)
		snprintf(node, sizeof(node), "%d", event->node);
	event_owner(event, owner, sizeof(owner));
	if (event->repeated)
		snprintf(more, sizeof(more), ", %" PRIu64 " more times", event->repeated);
	fprintf(f, "%-24s %-8s 0x%-10" PRIx64 " %-4s %4s  %s%-10s%s %-10s %s%s%s\n", when,
		event_name(event->kind), event->pfn, size, node,
		colour(f, event_severity(event) <= 3 ? COLOUR_BAD : COLOUR_NONE), event->outcome,
		colour(f, COLOUR_END), *event->bad.state ? event->bad.state : "-", owner,
		event->injected ? ", injected" : "", more);
}

/**
 * event_json - an event as an object in a line
 * @event: the event
 * @f: where to
 */
void event_json(const struct event *event, FILE *f)
{
	struct json_object *o = json_start("monitor");
	char when[48], seconds[32];

	event_time(event, when, sizeof(when));
	snprintf(seconds, sizeof(seconds), "%.6f", event->seconds);
	put_text(o, "event", event_name(event->kind));
	put_text(o, "time", event->when > 0 ? when : NULL);
	json_object_object_add(o, "seconds", json_object_new_double_s(event->seconds, seconds));
	put_number(o, "repeated", event->repeated);
	if (event->kind == EVENT_LOST) {
		put_number(o, "lost", event->lost);
		json_finish(o, f, false);
		return;
	}
	put_number(o, "pfn", event->pfn);
	put_value(o, "size_kb", event->kb ? (long long)event->kb : NO_VALUE);
	put_value(o, "node", event->node);
	put_text(o, "outcome", event->outcome);
	put_value(o, "duration_ns", event->kind == EVENT_PAGE ? NO_VALUE : (long long)event->ns);
	put_text(o, "type", *event->type ? event->type : NULL);
	put_text(o, "state", *event->bad.state ? event->bad.state : NULL);
	json_object_object_add(o, "owner",
			       *event->bad.owner ? json_owner(&event->bad, false) : NULL);
	put_bool(o, "injected", event->injected);
	json_finish(o, f, false);
}
