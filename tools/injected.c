// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: injected errors, as opposed to real ones.
 *
 * The kernel does not mark a page whose error was injected. So this tool notes each
 * injection below /run, before it injects, and others leave a line in the kernel's log:
 * the injector's files and madvise() say "Injecting memory failure". Both are gone with
 * the next boot, as the errors are. An error in neither counts as real: a program that
 * has found bad memory uses hard_offline_page.
 *
 * Where the kernel chooses the page the tool notes it afterwards. It holds the lock of
 * the file meanwhile, so readers wait, not for long.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "inject.h"

#define DIR_PATH	"/run/hugepoison"
#define FILE_PATH	DIR_PATH "/injected"
#define WAIT_SECONDS	5

static uint64_t *pages;
static size_t nr_pages;

static void learn(uint64_t pfn)
{
	uint64_t *grown;

	if (was_injected(pfn))
		return;
	grown = realloc(pages, (nr_pages + 1) * sizeof(*grown));
	if (!grown)
		return;
	pages = grown;
	pages[nr_pages++] = pfn;
}

static void unlearn(uint64_t pfn)
{
	for (size_t i = 0; i < nr_pages; i++)
		if (pages[i] == pfn)
			pages[i--] = pages[--nr_pages];
}

/**
 * injected_line - parse a line of the kernel's log about an injected error
 * @text: the line
 * @pfn: the page frame
 *
 * The line has to begin so: further on, the kernel quotes what users say, such as
 * the unknown options of a mount in a user namespace.
 */
bool injected_line(const char *text, uint64_t *pfn)
{
	static const char *const says[] = {
		"Injecting memory failure at pfn ", "Injecting memory failure for pfn ",
		"Soft offlining pfn ",
	};

	for (size_t i = 0; i < ARRAY_SIZE(says); i++) {
		size_t len = strlen(says[i]);

		if (!strncmp(text, says[i], len))
			return sscanf(text + len, "0x%" SCNx64, pfn) == 1;
	}
	return false;
}

/*
 * Of a log that is written faster than we read some lines are lost: then an injected error
 * counts as real, and costs a page.
 */
static void load_log(void)
{
	static struct log_reader reader = { .fd = -1, .end = -1 };
	char record[LOG_RECORD_MAX + 1];
	const char *text;
	uint64_t pfn;

	/* kept open: from the second time on there are new lines only */
	if (reader.fd < 0)
		log_open(&reader);
	log_begin(&reader);
	while ((text = log_next(&reader, record)))
		if (injected_line(text, &pfn))
			learn(pfn);
}

/* Another tool may be about to note the kernel's choice. */
static void lock_shared(int fd)
{
	double end = now() + WAIT_SECONDS;

	while (flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK && now() < end)
		sleep_until(now() + 0.05);
}

/* "0x5285", or "-0x5285" for one that was taken back. */
static void load_notes(void)
{
	FILE *f = fopen(FILE_PATH, "re");
	char line[64];
	uint64_t pfn;

	if (!f)
		return;
	lock_shared(fileno(f));
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "0x%" SCNx64, &pfn) == 1)
			learn(pfn);
		else if (sscanf(line, "-0x%" SCNx64, &pfn) == 1)
			unlearn(pfn);
	}
	fclose(f);
}

/**
 * injected_load - find out which errors of this boot were injected
 */
void injected_load(void)
{
	load_log();
	load_notes();
}

/**
 * was_injected - was the error in this page, as far as injected_load() found out
 * @pfn: the page frame
 */
bool was_injected(uint64_t pfn)
{
	for (size_t i = 0; i < nr_pages; i++)
		if (pages[i] == pfn)
			return true;
	return false;
}

/**
 * injected_begin - an error is about to be injected, or a page to be forgotten
 *
 * Return: a descriptor to note it with; -1 if there is nowhere to note it, as on a rescue
 * system.
 */
int injected_begin(void)
{
	int fd;

	mkdir(DIR_PATH, 0755);
	fd = open(FILE_PATH, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		flock(fd, LOCK_EX);
	return fd;
}

/**
 * injected_note - note which page it is
 * @fd: what injected_begin() returned
 * @pfn: the page frame
 * @back: the error was taken back
 */
void injected_note(int fd, uint64_t pfn, bool back)
{
	char line[32];
	int len = snprintf(line, sizeof(line), "%s0x%" PRIx64 "\n", back ? "-" : "", pfn);

	if (fd >= 0 && write(fd, line, (size_t)len) != len)
		fail(FAILED, "cannot write " FILE_PATH ": %m: the error may be taken for a real "
		     "one");
}

/**
 * injected_end - the error was injected
 * @fd: what injected_begin() returned
 */
void injected_end(int fd)
{
	if (fd >= 0)
		close(fd);
}
