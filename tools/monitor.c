// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: the command monitor: events as they happen.
 *
 * Events come from our own tracefs instance, or a file with its output. The monitor
 * looks up each in the kernel's list of bad pages, and reports it: as a line, as an
 * entry of the journal, to triggers. On request it remembers errors.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/signalfd.h>

#include "inject.h"

#define LOOK_MS		1000	/* if poll() of the trace should ever miss something */
#define BATCH		256	/* events for one look at the list of bad pages */

struct monitor {
	const struct options *opt;
	struct trace trace;
	struct triggers triggers;
	uint64_t told;
	int signals;
};

/* Errors of a batch to remember: some are in no list of ours. */
struct errors {
	bool any;
	uint64_t page[BATCH];
	size_t pages;
};

static void tell(struct monitor *m, const struct event *event)
{
	if (m->opt->json)
		event_json(event, stdout);
	else if (!m->opt->journal)
		event_print(event, stdout);
	if (m->opt->journal)
		journal_event(event);
	if (m->triggers.active)
		triggers_event(&m->triggers, event);
	m->told++;
}

static void note_error(struct errors *errors, const struct event *event)
{
	errors->any = errors->any || event_is_error(event) || event->kind == EVENT_LOST;
	if (event->kind == EVENT_PAGE)
		errors->page[errors->pages++] = event->pfn;
}

static bool enough(const struct monitor *m)
{
	return m->opt->count && m->told >= m->opt->count;
}

/* Reads the list once for a whole batch: it may be long. */
static void tell_all(struct monitor *m, struct event *event, size_t events)
{
	size_t count = 0;
	struct bad *list = kernel_has_hugepoison() ? read_bad_pages(&count) : NULL;
	struct errors errors = { 0 };

	if (!list)
		count = 0;
	injected_load();
	for (size_t i = 0; i < events && !enough(m); i++) {
		event[i].when = trace_when(&m->trace, event[i].seconds);
		event[i].injected = event_is_error(&event[i]) && was_injected(event[i].pfn);
		note_error(&errors, &event[i]);
		if (event_look_up(&event[i], list, count))
			tell(m, &event[i]);
	}
	free(list);
	if (errors.any && m->opt->remember)
		remember_errors(errors.page, errors.pages);
}

/* Return: DONE, or FAILED when no reader is left. */
static int drain(struct monitor *m)
{
	static struct event event[BATCH];
	char line[1024];
	size_t n;

	do {
		for (n = 0; n < BATCH && trace_line(&m->trace, line, sizeof(line));)
			n += event_parse(line, &event[n]);
		if (n)
			tell_all(m, event, n);
		if (finish_output(stdout, "standard output"))
			return FAILED;
	} while (n && !enough(m));
	return DONE;
}

static bool signalled(int fd)
{
	struct signalfd_siginfo info;

	return read(fd, &info, sizeof(info)) == sizeof(info);
}

static int listen_on(struct monitor *m)
{
	struct pollfd fds[] = { { m->trace.fd, POLLIN, 0 }, { m->signals, POLLIN, 0 } };
	int status = DONE;

	while (!status && !enough(m) && !m->trace.ended) {
		if (poll(fds, 2, LOOK_MS) < 0 && errno != EINTR)
			return fail(FAILED, "poll: %m");
		status = drain(m);
		if (signalled(m->signals))
			break;
	}
	return status;
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
	if (!status && opt->remember)
		remember_errors(NULL, 0);
	return status;
}

static int watch_events(const struct options *opt)
{
	struct monitor m = { .opt = opt, .trace = { .fd = -1 }, .signals = -1 };
	int status = begin(&m);

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
