// SPDX-License-Identifier: GPL-2.0
/* hugepoison-inject: the kernel's log from the injection on. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inject.h"

#define FACILITY_SHIFT	3
#define WAIT_SECONDS	2.0
#define READ_SECONDS	1.0

static const char *const prefixes[] = {
	"Memory failure: ", "hugepoison: ", "Unpoison: ", "Soft offline: ",
};

/*
 * A record is "PRIORITY,SEQUENCE,TIME,FLAGS[,...];TEXT\n", maybe with lines of
 * metadata behind. User space can write records too, but not in the kernel's
 * name: the facility in the priority gives them away.
 */
char *log_record_text(char *record)
{
	char *text = strchr(record, ';');

	if (!text || strtoul(record, NULL, 10) >> FACILITY_SHIFT)
		return NULL;
	text++;
	text[strcspn(text, "\n")] = '\0';
	return text;
}

/* Its number: the kernel counts records. */
static uint64_t record_number(const char *record)
{
	const char *comma = strchr(record, ',');

	return comma ? strtoull(comma + 1, NULL, 10) : 0;
}

/**
 * log_open - open the kernel's log
 * @r: what to read it with; r->fd stays -1 if it cannot be read
 */
void log_open(struct log_reader *r)
{
	*r = (struct log_reader) { .fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC) };
	/* the kernel gives a place in its log to each open file */
	r->end = r->fd < 0 ? -1 : open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

/**
 * log_close - close it
 * @r: the argument of log_open()
 */
void log_close(struct log_reader *r)
{
	if (r->fd >= 0)
		close(r->fd);
	if (r->end >= 0)
		close(r->end);
	*r = (struct log_reader) { .fd = -1, .end = -1 };
}

/**
 * log_begin - begin to read the records that the log has now
 * @r: the argument of log_open()
 *
 * Users can make the kernel write faster than one reader reads, by mount(2) in a user
 * namespace on each CPU. So reading has three ends: there is no more, a record that is
 * newer than this call, or a second.
 */
void log_begin(struct log_reader *r)
{
	r->done = r->fd < 0;
	r->newer = UINT64_MAX;
	r->until = now() + READ_SECONDS;
	if (r->end >= 0)
		lseek(r->end, 0, SEEK_END);
}

/*
 * Look for the first record that is newer than log_begin(). If the kernel has overwritten
 * that one, all older ones are gone as well.
 */
static void find_newer(struct log_reader *r)
{
	char record[LOG_RECORD_MAX + 1];
	ssize_t got;

	if (r->end < 0 || r->newer != UINT64_MAX)
		return;
	got = read(r->end, record, LOG_RECORD_MAX);
	if (got < 0 && errno == EPIPE)
		r->newer = 0;
	if (got <= 0)
		return;
	record[got] = '\0';
	r->newer = record_number(record);
}

/**
 * log_next - the next record of the kernel's own
 * @r: the argument of log_begin()
 * @record: where to put it
 *
 * Sets r->lost if the kernel has overwritten records that were not read.
 *
 * Return: its text, NULL if there is no more up to log_begin().
 */
char *log_next(struct log_reader *r, char record[LOG_RECORD_MAX + 1])
{
	char *text = NULL;
	ssize_t got;

	while (!text && !r->done) {
		got = read(r->fd, record, LOG_RECORD_MAX);
		if (!got || (got < 0 && errno != EINTR && errno != EPIPE))
			return NULL;
		r->lost |= got < 0 && errno == EPIPE;
		find_newer(r);
		r->done = !r->newer;
		if (now() > r->until) {
			r->lost = true;
			r->done = true;
		}
		if (got < 0)
			continue;
		record[got] = '\0';
		/* a newer one was read, so it counts; the next call goes on behind it */
		r->done |= record_number(record) >= r->newer;
		text = log_record_text(record);
	}
	return text;
}

/**
 * log_start - look at the kernel's log from now on
 * @log: the descriptor to read it with; log->reader.fd stays -1 if it cannot be read
 */
void log_start(struct log *log)
{
	*log = (struct log) { 0 };
	log_open(&log->reader);
	if (log->reader.fd >= 0)
		lseek(log->reader.fd, 0, SEEK_END);
}

static void keep(struct log *log, const char *text)
{
	char **grown = realloc(log->line, (size_t)(log->lines + 1) * sizeof(*grown));
	char *copy = strdup(text);

	if (grown)
		log->line = grown;
	if (!grown || !copy) {
		free(copy);
		log->reader.lost = true;
		return;
	}
	log->line[log->lines++] = copy;
}

/**
 * log_read - collect the error handler's lines since log_start()
 * @log: where to collect them
 */
void log_read(struct log *log)
{
	char record[LOG_RECORD_MAX + 1];
	const char *text;
	uint64_t pfn;

	log_begin(&log->reader);
	while ((text = log_next(&log->reader, record)))
		if (log_line_pfn(text, &pfn))
			keep(log, text);
}

static bool said(const struct log *log, const char *prefix, const struct page *page)
{
	for (int i = 0; i < log->lines; i++)
		if (!strncmp(log->line[i], prefix, strlen(prefix)) &&
		    log_names(log->line[i], page))
			return true;
	return false;
}

/**
 * log_wait - collect the lines until one is there, or does not come
 * @log: where to collect them
 * @prefix: what the line begins with
 * @page: the hugepage that it names
 */
void log_wait(struct log *log, const char *prefix, const struct page *page)
{
	struct pollfd fd = { log->reader.fd, POLLIN, 0 };
	double end = now() + WAIT_SECONDS, left = WAIT_SECONDS;

	log_read(log);
	while (log->reader.fd >= 0 && !said(log, prefix, page) && left > 0) {
		poll(&fd, 1, (int)(left * 1000) + 1);
		log_read(log);
		left = end - now();
	}
}

/**
 * log_free - close the log
 * @log: the argument of log_start()
 */
void log_free(struct log *log)
{
	for (int i = 0; i < log->lines; i++)
		free(log->line[i]);
	free(log->line);
	log_close(&log->reader);
	*log = (struct log) { .reader = log->reader };
}

/**
 * log_line_pfn - the PFN a line of the error handler is about
 * @line: the line
 * @pfn: the PFN
 *
 * Return: false if it is no such line.
 */
bool log_line_pfn(const char *line, uint64_t *pfn)
{
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
		size_t len = strlen(prefixes[i]);

		if (!strncmp(line, prefixes[i], len))
			return sscanf(line + len, "0x%" SCNx64, pfn) == 1;
	}
	return false;
}

/**
 * log_names - is a line about this hugepage
 * @line: the line
 * @page: the hugepage
 */
bool log_names(const char *line, const struct page *page)
{
	uint64_t pfn;

	return page->known && log_line_pfn(line, &pfn) &&
	       pfn >= page->head && pfn < page->head + page->pages;
}

/**
 * log_find_hit - which hugepage did the kernel choose
 * @log: the lines since the injection
 * @pages: the hugepage's size in base pages
 * @node: the node asked for, or ANY_NODE
 * @page: the hugepage
 *
 * Another program's error could be in the log, so a PFN counts only if it is on
 * the node and poisoned now, and only if all the lines agree.
 *
 * Return: how many hugepages qualify; @page is the last of them.
 */
int log_find_hit(const struct log *log, uint64_t pages, int node, struct page *page)
{
	struct page some;
	uint64_t pfn;
	int hits = 0;

	for (int i = 0; i < log->lines; i++) {
		if (!log_line_pfn(log->line[i], &pfn) || !page_poisoned(pfn))
			continue;
		page_assume(pfn, pages, &some);
		if (node != ANY_NODE && some.node != node)
			continue;
		if (hits && some.head == page->head)
			continue;
		*page = some;
		hits++;
	}
	return hits;
}
