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

/* /dev/kmsg hands out one record per read(); the kernel's limit is below this. */
#define RECORD_MAX	8192
#define FACILITY_SHIFT	3
#define WAIT_SECONDS	2.0

static const char *const prefixes[] = {
	"Memory failure: ", "hugepoison: ", "Unpoison: ", "Soft offline: ",
};

/**
 * log_start - look at the kernel's log from now on
 * @log: the descriptor to read it with; log->fd stays -1 if it cannot be read
 */
void log_start(struct log *log)
{
	*log = (struct log) { .fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC) };
	if (log->fd >= 0)
		lseek(log->fd, 0, SEEK_END);
}

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

static void keep(struct log *log, const char *text)
{
	char **grown = realloc(log->line, (size_t)(log->lines + 1) * sizeof(*grown));
	char *copy = strdup(text);

	if (grown)
		log->line = grown;
	if (!grown || !copy) {
		free(copy);
		log->lost = true;
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
	char record[RECORD_MAX + 1];
	const char *text;
	uint64_t pfn;
	ssize_t got;

	while (log->fd >= 0) {
		got = read(log->fd, record, RECORD_MAX);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EPIPE) {
			log->lost = true;
			continue;
		}
		if (got <= 0)
			return;
		record[got] = '\0';
		text = log_record_text(record);
		if (text && log_line_pfn(text, &pfn))
			keep(log, text);
	}
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
	struct pollfd fd = { log->fd, POLLIN, 0 };
	double end = now() + WAIT_SECONDS, left = WAIT_SECONDS;

	log_read(log);
	while (log->fd >= 0 && !said(log, prefix, page) && left > 0) {
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
	if (log->fd >= 0)
		close(log->fd);
	*log = (struct log) { .fd = -1 };
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
