// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: the kernel's trace events, in our own tracefs instance: other
 * tracers do not disturb us, nor we them.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/stat.h>

#include "inject.h"

#define INSTANCE	"hugepoison-monitor-"
#define BUFFER_KB	"256"	/* of each CPU: some thousand events */
#define PAGE_EVENT	"ras/memory_failure_event"

static bool find_tracefs(char *dir, size_t len)
{
	char debugfs[256];

	if (mounted_dir("tracefs", dir, len))
		return true;
	/* until Linux 4.1 a part of debugfs, and there is automounted still */
	if (!debugfs_dir(debugfs, sizeof(debugfs)))
		return false;
	snprintf(dir, len, "%s/tracing", debugfs);
	return !access(dir, F_OK);
}

/* Of a monitor that was killed; the kernel keeps one that has a reader. */
static void remove_stale(const char *tracefs)
{
	char path[PATH_MAX];
	const struct dirent *entry;
	DIR *dir;
	int pid;

	snprintf(path, sizeof(path), "%s/instances", tracefs);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		if (sscanf(entry->d_name, INSTANCE "%d", &pid) != 1 || !kill(pid, 0) ||
		    errno != ESRCH)
			continue;
		snprintf(path, sizeof(path), "%s/instances/%.64s", tracefs, entry->d_name);
		rmdir(path);
	}
	if (dir)
		closedir(dir);
}

static int turn_on(const struct trace *trace, const char *event)
{
	char path[PATH_MAX];
	int err;

	snprintf(path, sizeof(path), "%s/events/%s/enable", trace->dir, event);
	err = write_text(path, "1");
	if (err)
		return fail(FAILED, "cannot enable %s: %s", path, strerror(err));
	return DONE;
}

static bool event_there(const char *tracefs, const char *event)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/events/%s", tracefs, event);
	return !access(path, F_OK);
}

/* Events of mappings are many, and useful to few. */
static int enable_all(const struct trace *trace, const char *tracefs, bool mappings)
{
	static const char *const ours[] = {
		"hugepoison/hugepoison_contain", "hugepoison/hugepoison_release",
		"hugepoison/hugepoison_replace", "hugepoison/hugepoison_heal",
		"hugepoison/hugepoison_refill",
		"hugepoison/hugepoison_narrow", "hugepoison/hugepoison_promote",
	};
	size_t wanted = event_there(tracefs, "hugepoison") ? mappings ? 7 : 5 : 0;
	int status = DONE;

	for (size_t i = 0; !status && i < wanted; i++)
		status = turn_on(trace, ours[i]);
	if (!status && event_there(tracefs, PAGE_EVENT))
		status = turn_on(trace, PAGE_EVENT);
	return status;
}

static int make_instance(struct trace *trace, const char *tracefs, bool mappings)
{
	char path[PATH_MAX];
	int status;

	remove_stale(tracefs);
	snprintf(trace->dir, sizeof(trace->dir), "%s/instances/" INSTANCE "%d", tracefs, getpid());
	if (mkdir(trace->dir, 0700)) {
		int err = errno;

		trace->dir[0] = '\0';
		return fail(FAILED, "cannot make an instance in %s/instances: %s%s", tracefs,
			    strerror(err), err == EPERM ? ": is the kernel locked down?" : "");
	}
	snprintf(path, sizeof(path), "%s/buffer_size_kb", trace->dir);
	write_text(path, BUFFER_KB);
	snprintf(path, sizeof(path), "%s/trace_clock", trace->dir);
	trace->clock_known = !write_text(path, "mono");
	snprintf(path, sizeof(path), "%s/trace_pipe", trace->dir);
	trace->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (trace->fd < 0)
		return fail(FAILED, "cannot read %s: %m", path);
	status = enable_all(trace, tracefs, mappings);
	return status;
}

/**
 * trace_check - can this kernel report errors as they come
 * @tracefs: where its files are
 * @len: how much fits there
 *
 * Return: DONE, or an exit status after a message.
 */
int trace_check(char *tracefs, size_t len)
{
	char path[PATH_MAX];

	if (!find_tracefs(tracefs, len))
		return fail(FAILED, "tracefs is not mounted: mount -t tracefs none "
			    "/sys/kernel/tracing");
	if (!event_there(tracefs, "hugepoison") && !event_there(tracefs, PAGE_EVENT))
		return fail(UNSUPPORTED, "this kernel has neither the events hugepoison "
			    "(CONFIG_HUGEPOISON) nor " PAGE_EVENT " (CONFIG_RAS)");
	snprintf(path, sizeof(path), "%s/instances", tracefs);
	if (access(path, F_OK))
		return fail(UNSUPPORTED, "%s is absent: this kernel has no instances of its trace "
			    "buffer", path);
	return DONE;
}

/**
 * trace_open - listen from now on
 * @trace: what to read and to close it with
 * @mappings: to the events of each mapping as well
 *
 * Return: DONE, or an exit status after a message.
 */
int trace_open(struct trace *trace, bool mappings)
{
	char tracefs[256];
	int status = trace_check(tracefs, sizeof(tracefs));

	if (!status)
		status = make_instance(trace, tracefs, mappings);
	return status;
}

/**
 * trace_open_file - read a trace's output from a file
 * @trace: what to read and to close it with
 * @name: its name, "-" for standard input
 *
 * Return: DONE, or FAILED after a message.
 */
int trace_open_file(struct trace *trace, const char *name)
{
	trace->fd = strcmp(name, "-") ? open(name, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	if (trace->fd < 0)
		return fail(FAILED, "cannot read %s: %m", name);
	return DONE;
}

/**
 * trace_close - stop listening, and leave nothing behind
 * @trace: the argument of trace_open(), whether it succeeded or not
 */
void trace_close(struct trace *trace)
{
	if (trace->fd > STDIN_FILENO)
		close(trace->fd);
	if (*trace->dir && rmdir(trace->dir))
		fail(FAILED, "cannot remove %s: %m", trace->dir);
	*trace = (struct trace) { .fd = -1 };
}

/* A whole line out of the buffer; an endless one is cut. */
static bool take_line(struct trace *trace, char *line, size_t len)
{
	const char *end = memchr(trace->text, '\n', trace->got);
	size_t n = end ? (size_t)(end - trace->text) : trace->got;

	if (!end && trace->got < sizeof(trace->text) && !(trace->ended && trace->got))
		return false;
	snprintf(line, len, "%.*s", (int)n, trace->text);
	n += !!end;
	memmove(trace->text, trace->text + n, trace->got - n);
	trace->got -= n;
	return true;
}

/*
 * A pipe that gives us a file's or another program's lines may be silent for long. The pipe
 * of a trace does not block.
 */
static bool silent(const struct trace *trace)
{
	struct pollfd fd = { trace->fd, POLLIN, 0 };

	return !*trace->dir && poll(&fd, 1, 0) <= 0;
}

/**
 * trace_line - the next line, if there is one already
 * @trace: where from
 * @line: where to put it
 * @len: how much fits there
 */
bool trace_line(struct trace *trace, char *line, size_t len)
{
	ssize_t got;

	while (!take_line(trace, line, len)) {
		if (trace->ended || silent(trace))
			return false;
		got = read(trace->fd, trace->text + trace->got, sizeof(trace->text) - trace->got);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return false;
		/* the pipe of a trace says 0 for "nothing yet", too; a file has ended */
		if (!got && *trace->dir)
			return false;
		trace->ended = !got;
		trace->got += (size_t)got;
	}
	return true;
}

/**
 * trace_when - a time of the trace as wall clock time
 * @trace: the trace it is from
 * @seconds: the time
 *
 * Return: seconds since 1970; 0 if it was another clock.
 */
double trace_when(const struct trace *trace, double seconds)
{
	struct timespec real;

	if (!trace->clock_known)
		return 0;
	clock_gettime(CLOCK_REALTIME, &real);
	return (double)real.tv_sec + (double)real.tv_nsec / 1e9 - (now() - seconds);
}
