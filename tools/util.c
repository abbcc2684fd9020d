// SPDX-License-Identifier: GPL-2.0
/* hugepoison-inject: numbers, small files and errors. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

#define CAP_SYS_ADMIN_BIT	21

/* Set while one of several attempts may fail silently. */
bool quiet;

/* The name that we were called by, for messages. */
const char *program = "hugepoison-inject";

/**
 * fail - print a message with its remedy
 * @status: the exit status to hand on
 * @fmt: the message, without a newline
 *
 * Return: @status, so that a caller can write "return fail(...)".
 */
int fail(int status, const char *fmt, ...)
{
	va_list ap;

	if (quiet)
		return status;
	fprintf(stderr, "%s: ", program);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return status;
}

/**
 * errno_name - "EBUSY" for EBUSY
 * @err: a positive errno
 *
 * Return: the name, or "unknown error" for a number the C library does not know.
 */
const char *errno_name(int err)
{
	const char *name = strerrorname_np(err);

	return name ? name : "unknown error";
}

/* The power of two that a size suffix stands for, -1 if it is none. */
static int suffix_shift(const char *text)
{
	if (!*text)
		return 0;
	if (text[1])
		return -1;
	switch (toupper((unsigned char)*text)) {
	case 'K': return 10;
	case 'M': return 20;
	case 'G': return 30;
	default: return -1;
	}
}

/**
 * parse_number - read a whole, non-negative number
 * @text: decimal, or hexadecimal after 0x
 * @suffixes: K, M and G may follow a decimal number
 * @max: the largest number that makes sense here
 * @out: the number
 *
 * A leading zero does not mean octal: nobody who types 0010 wants 8.
 *
 * Return: NULL, or the mistake in @text.
 */
const char *parse_number(const char *text, bool suffixes, uint64_t max, uint64_t *out)
{
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	const char *digits = hex ? text + 2 : text;
	int shift = 0;
	char *end;

	if (*text == '-')
		return "is negative";
	if (!(hex ? isxdigit((unsigned char)*digits) : isdigit((unsigned char)*digits)))
		return "is not a number (use decimal, or hexadecimal with 0x)";
	errno = 0;
	*out = strtoull(digits, &end, hex ? 16 : 10);
	if (errno == ERANGE)
		return "is too large";
	if (suffixes && !hex)
		shift = suffix_shift(end);
	else if (*end)
		shift = -1;
	if (shift < 0)
		return suffixes ? "has something behind the number (only K, M or G may follow)"
				: "has something behind the number (hexadecimal needs 0x)";
	if (*out > max >> shift)
		return "is too large";
	*out <<= shift;
	return NULL;
}

/**
 * read_value - the decimal number a sysfs file holds
 * @path: the file
 *
 * Return: the number, NO_VALUE if the file is absent or holds none.
 */
long long read_value(const char *path)
{
	FILE *f = fopen(path, "re");
	long long value;

	if (!f)
		return NO_VALUE;
	if (fscanf(f, "%lld", &value) != 1)
		value = NO_VALUE;
	fclose(f);
	return value;
}

/**
 * read_keyed_value - the number behind a key, as in /proc/meminfo
 * @path: the file
 * @key: the key with its colon
 *
 * Return: the number, NO_VALUE if there is no such line.
 */
long long read_keyed_value(const char *path, const char *key)
{
	FILE *f = fopen(path, "re");
	long long value = NO_VALUE;
	char line[256];

	if (!f)
		return NO_VALUE;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, strlen(key)))
			continue;
		if (sscanf(line + strlen(key), "%lld", &value) != 1)
			value = NO_VALUE;
		break;
	}
	fclose(f);
	return value;
}

/**
 * in_list_file - is a number in a list such as "0-1,4"
 * @path: a sysfs file with a list
 * @number: the number to look for
 */
bool in_list_file(const char *path, unsigned int number)
{
	FILE *f = fopen(path, "re");
	unsigned int first, last;
	bool found = false;
	int sep;

	if (!f)
		return false;
	while (!found && fscanf(f, "%u", &first) == 1) {
		last = first;
		sep = fgetc(f);
		if (sep == '-') {
			if (fscanf(f, "%u", &last) != 1)
				break;
			sep = fgetc(f);
		}
		found = first <= number && number <= last;
		if (sep != ',')
			break;
	}
	fclose(f);
	return found;
}

/**
 * size_text - 2097152 as "2M"
 * @bytes: a size
 * @buf: where to put the text
 * @len: how much fits there
 */
void size_text(uint64_t bytes, char *buf, size_t len)
{
	if (bytes && !(bytes & ((1UL << 30) - 1)))
		snprintf(buf, len, "%" PRIu64 "G", bytes >> 30);
	else if (bytes && !(bytes & ((1UL << 20) - 1)))
		snprintf(buf, len, "%" PRIu64 "M", bytes >> 20);
	else
		snprintf(buf, len, "%" PRIu64 "K", bytes >> 10);
}

/**
 * parse_range - read a number, or two with a dash between
 * @text: START, or START-END
 * @suffixes: K, M and G may follow a decimal number
 * @max: the largest number that makes sense here
 * @start: the first number
 * @end: the second one, 0 if there is none
 *
 * Return: NULL, or the mistake in @text.
 */
const char *parse_range(const char *text, bool suffixes, uint64_t max, uint64_t *start,
			uint64_t *end)
{
	const char *dash = *text ? strchr(text + 1, '-') : NULL, *wrong;
	char first[32];

	*end = 0;
	if (!dash)
		return parse_number(text, suffixes, max, start);
	if ((size_t)(dash - text) >= sizeof(first))
		return "is too large";
	snprintf(first, sizeof(first), "%.*s", (int)(dash - text), text);
	wrong = parse_number(first, suffixes, max, start);
	if (!wrong)
		wrong = parse_number(dash + 1, suffixes, max, end);
	if (!wrong && *end <= *start)
		return "is a range that ends before it begins (START-END, END is the first that is "
		       "left out)";
	return wrong;
}

/**
 * hardware_corrupted - kB of memory out of use, for the whole system
 *
 * Return: HardwareCorrupted of /proc/meminfo, NO_VALUE if the kernel has none.
 */
long long hardware_corrupted(void)
{
	return read_keyed_value("/proc/meminfo", "HardwareCorrupted:");
}

/**
 * read_word - the word that counts in a small file: the one in brackets, or the first
 * @path: the file
 * @buf: where to put the word
 * @len: how much fits there
 */
bool read_word(const char *path, char *buf, size_t len)
{
	FILE *f = fopen(path, "re");
	char line[128] = "";
	const char *word;

	*buf = '\0';
	if (!f)
		return false;
	word = fgets(line, sizeof(line), f);
	fclose(f);
	if (!word)
		return false;
	word = strchr(line, '[');
	word = word ? word + 1 : line;
	snprintf(buf, len, "%.*s", (int)strcspn(word, " ]\n"), word);
	return *buf;
}

/**
 * write_text - write to a file of the kernel's
 * @path: the file
 * @text: what to write
 *
 * Return: 0, or the errno.
 */
int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) < 0)
		err = errno;
	close(fd);
	return err;
}

/**
 * node_online - is there such a NUMA node
 * @node: its number
 */
bool node_online(int node)
{
	return in_list_file("/sys/devices/system/node/online", (unsigned int)node);
}

/**
 * print_name - print the name of a file so that it stays on its line
 * @f: where to
 * @name: any bytes
 */
void print_name(FILE *f, const char *name)
{
	for (; *name; name++) {
		if (*name == '\\' || (unsigned char)*name < ' ' || *name == 0x7f)
			fprintf(f, "\\%03o", (unsigned char)*name);
		else
			fputc(*name, f);
	}
}

/**
 * privileged - do we have CAP_SYS_ADMIN
 *
 * PFNs, kpageflags, debugfs and MADV_HWPOISON all ask for this one.
 */
bool privileged(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	uint64_t caps = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %" SCNx64, &caps) == 1)
			break;
	if (f)
		fclose(f);
	return caps >> CAP_SYS_ADMIN_BIT & 1;
}

/**
 * check_privilege - refuse to go on without CAP_SYS_ADMIN
 *
 * Return: DONE, or FAILED after a message.
 */
int check_privilege(void)
{
	if (privileged())
		return DONE;
	return fail(FAILED, "not permitted: run as root (it takes CAP_SYS_ADMIN)");
}

/**
 * finish_output - make sure that the printed text got out
 * @f: where it was printed to
 * @name: its name in messages
 *
 * Return: DONE, or FAILED after a message.
 */
int finish_output(FILE *f, const char *name)
{
	if (fflush(f) || ferror(f))
		return fail(FAILED, "cannot write the report to %s: %s", name,
			    errno ? strerror(errno) : "error");
	return DONE;
}

/**
 * now - seconds on a clock that only goes forward
 */
double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/**
 * sleep_until - wait, or return early when a signal comes
 * @when: on the clock of now()
 */
void sleep_until(double when)
{
	double left = when - now();

	if (left > 0)
		nanosleep(&(struct timespec){ (time_t)left,
			  (long)((left - (double)(time_t)left) * 1e9) }, NULL);
}
