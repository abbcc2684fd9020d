// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: run the programs of a directory for each event, in the order of their
 * names, with the event in the environment.
 *
 * A separate process runs them, one after the other. It gets events through two sockets
 * that hold some hundred each; the monitor drops and counts further ones. So no trigger can
 * make the monitor wait, and only one runs at a time. One socket is for urgent events alone,
 * and they go first: later steps, of which users can cause many, are in no error's way.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "event.h"

#define MAX_FIELDS	24

/* As run-parts has it: no editor's or package manager's leftovers. */
static int plain_name(const struct dirent *entry)
{
	for (const char *c = entry->d_name; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '_' && *c != '-')
			return 0;
	return 1;
}

/* A user who can write it would be root with the next error. */
static const char *why_unsafe(const struct stat *st)
{
	if (st->st_uid != 0)
		return "is not root's";
	if (st->st_mode & 0022)
		return "may be written by others than root";
	return NULL;
}

static bool may_run(const char *path)
{
	const char *why;
	struct stat st;

	if (stat(path, &st)) {
		fail(FAILED, "trigger %s: %m", path);
		return false;
	}
	if (!S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		return false;
	why = why_unsafe(&st);
	if (why)
		fail(FAILED, "trigger %s: %s: not run", path, why);
	return !why;
}

/* Return: false if it still runs when its time is up. */
static bool wait_for(pid_t pid, int *status)
{
	const struct timespec pause = { 0, 20000000 };
	double end = now() + TRIGGER_SECONDS;

	while (waitpid(pid, status, WNOHANG) == 0) {
		if (now() > end)
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}

static void become(const char *path, char **env)
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setpgid(0, 0);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	execle(path, path, NULL, env);
	fail(FAILED, "trigger %s: %m", path);
	_exit(127);
}

static void run_one(const char *path, char **env)
{
	pid_t pid = fork();
	int status = 0;

	if (!pid)
		become(path, env);
	if (pid < 0) {
		fail(FAILED, "trigger %s: %m", path);
		return;
	}
	setpgid(pid, pid);
	if (!wait_for(pid, &status)) {
		kill(-pid, SIGKILL);
		waitpid(pid, &status, 0);
		fail(FAILED, "trigger %s: ended after %d s", path, TRIGGER_SECONDS);
	} else if (WIFEXITED(status) && WEXITSTATUS(status)) {
		fail(FAILED, "trigger %s: exit status %d", path, WEXITSTATUS(status));
	} else if (WIFSIGNALED(status)) {
		fail(FAILED, "trigger %s: SIG%s", path, sigabbrev_np(WTERMSIG(status)));
	}
}

static void run_all(const char *dir, char **env)
{
	struct dirent **entry;
	char path[PATH_MAX];
	int n = scandir(dir, &entry, plain_name, alphasort);

	if (n < 0)
		fail(FAILED, "cannot read %s: %m", dir);
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, entry[i]->d_name);
		if (may_run(path))
			run_one(path, env);
		free(entry[i]);
	}
	if (n >= 0)
		free(entry);
}

/*
 * Lines KEY=value become an environment, with a PATH and no other variable of
 * ours.
 */
static void handle(const char *dir, char *fields)
{
	char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char *env[MAX_FIELDS + 2] = { path }, *save = NULL;
	size_t n = 1;

	for (char *line = strtok_r(fields, "\n", &save); line && n <= MAX_FIELDS;
	     line = strtok_r(NULL, "\n", &save))
		env[n++] = line;
	run_all(dir, env);
}

/* Return: how long it is, 0 when the monitor has ended and all its events are done. */
static size_t next_event(struct pollfd fds[2], char *fields, size_t len)
{
	ssize_t got;
	bool ended;

	for (;;) {
		ended = true;
		for (int i = 0; i < 2; i++) {
			got = recv(fds[i].fd, fields, len, MSG_DONTWAIT);
			if (got > 0)
				return (size_t)got;
			ended &= !got;
		}
		if (ended)
			return 0;
		poll(fds, 2, -1);
	}
}

static void serve(const char *dir, int urgent, int other)
{
	struct pollfd fds[2] = { { urgent, POLLIN, 0 }, { other, POLLIN, 0 } };
	char fields[2048];
	size_t len;

	prctl(PR_SET_NAME, "triggers");
	while ((len = next_event(fds, fields, sizeof(fields) - 1))) {
		fields[len] = '\0';
		handle(dir, fields);
	}
	_exit(0);
}

/**
 * triggers_check - may the programs of a directory be run as root
 * @dir: the directory
 *
 * Return: DONE, or FAILED after a message.
 */
int triggers_check(const char *dir)
{
	const char *why;
	struct stat st;

	if (stat(dir, &st))
		return fail(FAILED, "--triggers %s: %m", dir);
	if (!S_ISDIR(st.st_mode))
		return fail(FAILED, "--triggers %s: not a directory", dir);
	why = why_unsafe(&st);
	if (why)
		return fail(FAILED, "--triggers %s: %s: chown root and chmod 755 it", dir, why);
	return DONE;
}

/**
 * triggers_start - begin to run triggers
 * @t: the handle to run them with
 * @dir: where they are
 *
 * Return: DONE, or FAILED after a message.
 */
int triggers_start(struct triggers *t, const char *dir)
{
	int urgent[2], other[2], status = triggers_check(dir);

	if (status)
		return status;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, urgent) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, other))
		return fail(FAILED, "socketpair: %m");
	fflush(NULL);
	t->pid = fork();
	if (!t->pid) {
		close(urgent[0]);
		close(other[0]);
		serve(dir, urgent[1], other[1]);
	}
	close(urgent[1]);
	close(other[1]);
	t->urgent = urgent[0];
	t->other = other[0];
	t->active = t->pid > 0;
	return t->active ? DONE : fail(FAILED, "fork: %m");
}

/**
 * triggers_event - have the triggers run for an event, as soon as it is its turn
 * @t: the argument of triggers_start()
 * @event: the event
 */
void triggers_event(struct triggers *t, const struct event *event)
{
	int fd = event_is_urgent(event) ? t->urgent : t->other;
	char fields[2048];

	event_fields(event, fields, sizeof(fields));
	if (send(fd, fields, strlen(fields), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
		if (t->dropped)
			fail(FAILED, "the triggers are too slow: %" PRIu64 " events had none",
			     t->dropped);
		t->dropped = 0;
		return;
	}
	t->dropped++;
}

/**
 * triggers_stop - no more events; wait for the triggers of those that came
 * @t: the argument of triggers_start()
 */
void triggers_stop(struct triggers *t)
{
	if (!t->active)
		return;
	if (t->dropped)
		fail(FAILED, "the triggers are too slow: %" PRIu64 " events had none", t->dropped);
	close(t->urgent);
	close(t->other);
	waitpid(t->pid, NULL, 0);
	t->active = false;
}
