// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: events that repeat.
 *
 * Users can cause some events as often as they like: to heal a page fails each time, when
 * the cgroup has no hugepage left. So the monitor reports the first of equal events at once,
 * and how many came after it: after a second, then after two, four, and so on up to a
 * minute or so. Where none came meanwhile the next one is a first one again.
 *
 * Equal are events of one kind and outcome, on one page frame.
 */
#include <string.h>

#include "event.h"

#define FIRST_PAUSE	1.0
#define LAST_PAUSE	64.0

static bool equal(const struct event *a, const struct event *b)
{
	return a->kind == b->kind && a->pfn == b->pfn && a->kb == b->kb &&
	       !strcmp(a->outcome, b->outcome) && !strcmp(a->type, b->type);
}

static void count_one(struct told *told, const struct event *event)
{
	told->more++;
	told->event.seconds = event->seconds;
	told->event.ns = event->ns;
	told->event.lost = (told->more > 1 ? told->event.lost : 0) + event->lost;
}

static bool is_known(struct repeats *r, const struct event *event)
{
	for (size_t i = 0; i < r->count; i++) {
		if (!equal(&r->told[i].event, event))
			continue;
		count_one(&r->told[i], event);
		return true;
	}
	return false;
}

static void know(struct repeats *r, const struct event *event, double at)
{
	r->told[r->count++] = (struct told) {
		.event = *event, .since = at, .pause = FIRST_PAUSE,
	};
}

/**
 * repeats_first - whether to report an event, or only to count it
 * @r: what came before
 * @event: the event; where there are too many different ones, it becomes one that says so
 * @at: now, on the clock of the trace
 *
 * The last place is for the event that says so. The monitor reports errors in any case.
 */
bool repeats_first(struct repeats *r, struct event *event, double at)
{
	if (is_known(r, event))
		return false;
	if (r->count < MAX_REPEATS - 1) {
		know(r, event, at);
		return true;
	}
	if (event_is_urgent(event))
		return true;
	*event = (struct event) {
		.kind = EVENT_LOST, .node = ANY_NODE, .lost = 1, .seconds = event->seconds,
	};
	if (is_known(r, event))
		return false;
	know(r, event, at);
	return true;
}

/* A trace from a file may begin anew, and so may its clock. */
static bool is_due(const struct told *told, double at)
{
	return at >= told->since + told->pause || at < told->since - FIRST_PAUSE;
}

/**
 * repeats_due - the next number that it is time to report
 * @r: what came before
 * @at: now, on the clock of the trace
 * @event: the last of equal events, with their number
 *
 * Return: false if there is none.
 */
bool repeats_due(struct repeats *r, double at, struct event *event)
{
	for (size_t i = 0; i < r->count; i++) {
		struct told *told = &r->told[i];

		if (!is_due(told, at))
			continue;
		if (!told->more) {
			r->told[i--] = r->told[--r->count];
			continue;
		}
		*event = told->event;
		event->repeated = told->more;
		told->more = 0;
		told->since += told->pause;
		told->pause = told->pause < LAST_PAUSE ? told->pause * 2 : LAST_PAUSE;
		return true;
	}
	return false;
}
