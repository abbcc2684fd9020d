// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: the command monitor: events as they happen.
 *
 * Events come from our own tracefs instance, or a file with its output. The monitor
 * looks up each in the kernel's list of bad pages, and reports it: as a line, as an
 * entry of the journal, to triggers. On request it remembers errors.
 *
 * Users can cause many events. The list is long, and its readers hold a lock that the
 * error handler needs. So the monitor reads it once a second at most: events wait for that,
 * while more of them are taken out of the trace. None keeps it from its signals.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/signalfd.h>

#include "inject.h"

#define LOOK_MS		1000	/* if poll() of the trace should ever miss something */
#define LOOK_SECONDS	1.0	/* between two looks at the list of bad pages */
#define DRAIN_SECONDS	0.2	/* of events, then other things have their turn */
#define BATCH		256	/* events that wait for a look at the list */

/* Errors to remember: some are in no list of ours. */
struct errors {
	bool any;
	uint64_t page[BATCH];
	size_t pages;
};

struct monitor {
	const struct options *opt;
	struct trace trace;
	struct triggers triggers;
	struct repeats repeats;
	double ahead;		/* the clock of the trace is, of ours */
	struct event event[BATCH];
	size_t events;
	struct errors errors;
	struct bad *list;
	size_t count;
	double next_look;
	uint64_t told;
	int signals;
};

static void tell(struct monitor *m, const struct event *event)
{
	if (m->opt->json)
		event_json(event, stdout);
	else if (!m->opt->journal)
		event_print(event, stdout);
	if (m->opt->journal)
		journal_event(event);
	if (m->triggers.active && !event->repeated)
		triggers_event(&m->triggers, event);
	m->told++;
}

static bool enough(const struct monitor *m)
{
	return m->opt->count && m->told >= m->opt->count;
}

static void look(struct monitor *m)
{
	free(m->list);
	m->list = kernel_has_hugepoison() ? read_bad_pages(&m->count) : NULL;
	if (!m->list)
		m->count = 0;
	m->next_look = now() + LOOK_SECONDS;
}

static bool may_look(const struct monitor *m)
{
	return now() >= m->next_look;
}

static void remember(struct monitor *m)
{
	remember_errors(m->list, m->count, m->errors.page, m->errors.pages);
	m->errors = (struct errors) { 0 };
}

/* Report the events that wait. */
static void tell_all(struct monitor *m)
{
	injected_load();
	for (size_t i = 0; i < m->events && !enough(m); i++) {
		struct event *event = &m->event[i];

		event->injected = event_is_error(event) && was_injected(event->pfn);
		if (event_look_up(event, m->list, m->count))
			tell(m, event);
	}
	m->events = 0;
}

/* There is no room for more than a batch; further events find an old list. */
static void add(struct monitor *m, const struct event *event)
{
	if (m->events == BATCH && may_look(m))
		look(m);
	if (m->events == BATCH)
		tell_all(m);
	m->event[m->events] = *event;
	m->event[m->events++].when = trace_when(&m->trace, event->seconds);
}

/* Some of lost events may have been errors. */
static void note_error(struct monitor *m, const struct event *event)
{
	struct errors *errors = &m->errors;

	if (!m->opt->remember)
		return;
	errors->any = errors->any || event_is_error(event) || event->kind == EVENT_LOST;
	if (event->kind != EVENT_PAGE)
		return;
	if (errors->pages == BATCH)
		remember(m);
	errors->any = true;
	errors->page[errors->pages++] = event->pfn;
}

/* @at is on the clock of the trace. */
static void add_repeated(struct monitor *m, double at)
{
	struct event event;

	while (repeats_due(&m->repeats, at, &event))
		add(m, &event);
}

static double trace_now(const struct monitor *m)
{
	return now() + m->ahead;
}

static void take(struct monitor *m, struct event *event)
{
	bool lost = event->kind == EVENT_LOST;
	double at = lost ? trace_now(m) : event->seconds;

	m->ahead = at - now();
	if (!m->opt->from)
		event->seconds = at;
	add_repeated(m, at);
	if (lost)
		note_error(m, event);
	if (!repeats_first(&m->repeats, event, at))
		return;
	if (!lost)
		note_error(m, event);
	add(m, event);
}

static void drain(struct monitor *m)
{
	double end = now() + DRAIN_SECONDS;
	struct event event;
	char line[1024];

	while (!enough(m) && now() < end && trace_line(&m->trace, line, sizeof(line)))
		if (event_parse(line, &event))
			take(m, &event);
}

static bool waiting(const struct monitor *m)
{
	return m->events || m->errors.any;
}

/* Return: DONE, or FAILED when no reader is left. */
static int tell_waiting(struct monitor *m)
{
	int status;

	if (waiting(m)) {
		look(m);
		tell_all(m);
	}
	status = finish_output(stdout, "standard output");
	if (m->errors.any)
		remember(m);
	return status;
}

static bool signalled(int fd)
{
	struct signalfd_siginfo info;

	return read(fd, &info, sizeof(info)) == sizeof(info);
}

static int wait_ms(const struct monitor *m)
{
	double left = m->next_look - now();

	if (!waiting(m))
		return LOOK_MS;
	return left > 0 ? (int)(left * 1000) + 1 : 0;
}

static int listen_on(struct monitor *m)
{
	struct pollfd fds[] = { { m->trace.fd, POLLIN, 0 }, { m->signals, POLLIN, 0 } };
	int status = DONE;

	while (!status && !enough(m) && !m->trace.ended) {
		if (poll(fds, 2, wait_ms(m)) < 0 && errno != EINTR)
			return fail(FAILED, "poll: %m");
		drain(m);
		add_repeated(m, trace_now(m));
		if (may_look(m))
			status = tell_waiting(m);
		if (signalled(m->signals))
			break;
	}
	if (status)
		return status;
	add_repeated(m, INFINITY);
	return tell_waiting(m);
}

/* These signals end the monitor between two events, never within one. */
static int take_signals(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		fail(FAILED, "signalfd: %m");
	return fd;
}

static int begin(struct monitor *m)
{
	const struct options *opt = m->opt;
	int status = DONE;

	m->signals = take_signals();
	if (m->signals < 0)
		return FAILED;
	if (opt->triggers)
		status = triggers_start(&m->triggers, opt->triggers);
	if (!status)
		status = opt->from ? trace_open_file(&m->trace, opt->from) :
				     trace_open(&m->trace, opt->mappings);
	/*
	 * errors from before we listened; later ones are reported and
	 * remembered below
	 */
	if (!status && opt->remember) {
		look(m);
		remember(m);
	}
	return status;
}

static int watch_events(const struct options *opt)
{
	static struct monitor m = { .trace = { .fd = -1 }, .signals = -1 };
	int status;

	m.opt = opt;
	status = begin(&m);

	if (!status && !opt->json && !opt->journal) {
		event_header(stdout);
		status = finish_output(stdout, "standard output");
	}
	if (!status) {
		notify_ready();
		status = listen_on(&m);
	}
	trace_close(&m.trace);
	triggers_stop(&m.triggers);
	free(m.list);
	if (m.signals >= 0)
		close(m.signals);
	return status;
}

static int check_only(const struct options *opt)
{
	char tracefs[256] = "";
	int status = opt->from ? DONE : trace_check(tracefs, sizeof(tracefs));

	if (!status && opt->triggers)
		status = triggers_check(opt->triggers);
	if (status)
		return status;
	printf("would listen to %s\n", opt->from ? opt->from : tracefs);
	return finish_output(stdout, "standard output");
}

/**
 * run_monitor - the command monitor
 * @opt: the options
 *
 * Return: an exit status.
 */
int run_monitor(struct options *opt)
{
	int status = opt->from && !opt->remember ? DONE : check_privilege();

	if (status)
		return status;
	return opt->dry_run ? check_only(opt) : watch_events(opt);
}
