// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: to systemd. An entry of its journal is a datagram of lines
 * KEY=value (https://systemd.io/JOURNAL_NATIVE_PROTOCOL); the message that we are
 * ready is one as well. Both take no library.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "event.h"

#define JOURNAL	"/run/systemd/journal/socket"

/* The kinds of messages: docs/operations.md and the catalog have them. */
static const char *message_id(const struct event *event)
{
	if (event->kind == EVENT_LOST)
		return MESSAGE_ID_LOST;
	if (event_is_error(event))
		return event_severity(event) <= 2 ? MESSAGE_ID_NOT_CONTAINED : MESSAGE_ID_ERROR;
	if (event->kind == EVENT_REPLACE && event_severity(event) <= 3)
		return MESSAGE_ID_POOL_SHORT;
	return MESSAGE_ID_AFTER;
}

/**
 * event_fields - an event for programs: lines KEY=value
 * @event: the event
 * @buf: where to put them
 * @len: how much fits there
 */
void event_fields(const struct event *event, char *buf, size_t len)
{
	char when[48], owner[256], node[16] = "";
	FILE *f = fmemopen(buf, len, "w");

	*buf = '\0';
	if (!f)
		return;
	event_time(event, when, sizeof(when));
	event_owner(event, owner, sizeof(owner));
	if (event->node != ANY_NODE)
		snprintf(node, sizeof(node), "%d", event->node);
	fprintf(f, "HUGEPOISON_EVENT=%s\nHUGEPOISON_TIME=%s\nHUGEPOISON_REPEATED=%" PRIu64 "\n",
		event_name(event->kind), when, event->repeated);
	if (event->kind == EVENT_LOST)
		fprintf(f, "HUGEPOISON_LOST=%" PRIu64 "\n", event->lost);
	else
		fprintf(f, "HUGEPOISON_PFN=0x%" PRIx64 "\nHUGEPOISON_SIZE_KB=%" PRIu64
			"\nHUGEPOISON_NODE=%s\nHUGEPOISON_OUTCOME=%s\nHUGEPOISON_STATE=%s\n"
			"HUGEPOISON_OWNER=%s\nHUGEPOISON_TYPE=%s\nHUGEPOISON_DURATION_NS=%" PRIu64
			"\nHUGEPOISON_INJECTED=%d\n", event->pfn, event->kb, node, event->outcome,
			event->bad.state, owner, event->type, event->ns, event->injected);
	fclose(f);
}

static void write_message(const struct event *event, FILE *f)
{
	char size[40], owner[256];

	if (event->kind == EVENT_LOST) {
		fprintf(f, "MESSAGE=%" PRIu64 " %s\n", event->lost, event_words(event));
		return;
	}
	if (event->kind == EVENT_PAGE)
		snprintf(size, sizeof(size), "%s", event->type);
	else
		size_text(event->kb << 10, size, sizeof(size));
	event_owner(event, owner, sizeof(owner));
	fprintf(f, "MESSAGE=0x%" PRIx64 ": %s: %s (%s", event->pfn, event_words(event),
		event->outcome, size);
	if (event->node != ANY_NODE)
		fprintf(f, ", node %d", event->node);
	if (strcmp(owner, "-"))
		fprintf(f, ", %s", owner);
	fprintf(f, ")%s", event->injected ? ", injected" : "");
	if (event->repeated)
		fprintf(f, ", %" PRIu64 " more times", event->repeated);
	fputc('\n', f);
}

/* A line that systemd's standard output takes for one of that priority. */
static int without_journal(const char *entry, int severity, int err)
{
	static bool told;

	if (!told)
		fail(FAILED, "cannot write to " JOURNAL ": %s: standard output gets the messages",
		     strerror(err));
	told = true;
	printf("<%d>%.*s\n", severity, (int)strcspn(entry, "\n") - 8, entry + 8);
	fflush(stdout);
	return FAILED;
}

static int send_to(const char *path, const char *text, size_t len)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	socklen_t size;
	int fd, err = 0;

	snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(to.sun_path));
	if (*to.sun_path == '@')
		*to.sun_path = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	if (sendto(fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&to, size) < 0)
		err = errno;
	close(fd);
	return err;
}

/**
 * journal_event - an event as an entry of systemd's journal
 * @event: the event
 *
 * The monitor never waits for the journal. If the journal does not take the entry, the
 * message goes to standard output.
 *
 * Return: DONE, or FAILED after a message.
 */
int journal_event(const struct event *event)
{
	char fields[2048], entry[4096];
	FILE *f = fmemopen(entry, sizeof(entry), "w");
	size_t len;
	int err;

	if (!f)
		return fail(FAILED, "out of memory");
	event_fields(event, fields, sizeof(fields));
	write_message(event, f);
	fprintf(f, "MESSAGE_ID=%s\nPRIORITY=%d\nSYSLOG_IDENTIFIER=hugepoison\n%s",
		message_id(event), event_severity(event), fields);
	len = (size_t)ftell(f);
	fclose(f);
	err = send_to(JOURNAL, entry, len);
	return err ? without_journal(entry, event_severity(event), err) : DONE;
}

/**
 * notify_ready - report to systemd, if it waits for that, that we have begun
 */
void notify_ready(void)
{
	const char *path = getenv("NOTIFY_SOCKET");

	if (path && (*path == '/' || *path == '@'))
		send_to(path, "READY=1", strlen("READY=1"));
}
