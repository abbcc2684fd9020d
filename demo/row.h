/* SPDX-License-Identifier: GPL-2.0-only */
/* The protocol of rowstore and rowload: rows, and requests for them. */
#ifndef ROW_H
#define ROW_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ROW_WORDS	125

struct row {
	unsigned long id, version, sum;
	unsigned long word[ROW_WORDS];	/* follow from id and version */
};

enum op { ROW_GET = 1, ROW_PUT = 2 };

/* The answer is the row as it is then; a GET only uses id. */
struct request {
	unsigned long op;
	struct row row;
};

#define GET_SIZE	(sizeof(unsigned long) + sizeof(unsigned long))

static inline unsigned long row_sum(const struct row *row)
{
	unsigned long sum = row->id * 31 + row->version;

	for (int i = 0; i < ROW_WORDS; i++)
		sum = (sum << 7 | sum >> 57) + row->word[i];
	return sum;
}

static inline void row_make(struct row *row, unsigned long id, unsigned long version)
{
	row->id = id;
	row->version = version;
	for (int i = 0; i < ROW_WORDS; i++)
		row->word[i] = (id << 32 ^ version) * (2 * i + 0x51ed27);
	row->sum = row_sum(row);
}

/* Reads or writes all of it; false if the other side is gone. */
static inline bool read_all(int fd, void *to, size_t len)
{
	for (ssize_t n; len; to = (char *)to + n, len -= n) {
		n = read(fd, to, len);
		if (n <= 0)
			return false;
	}
	return true;
}

static inline bool write_all(int fd, const void *from, size_t len)
{
	for (ssize_t n; len; from = (const char *)from + n, len -= n) {
		n = write(fd, from, len);
		if (n <= 0)
			return false;
	}
	return true;
}

/* Seconds of the clock that all processes share. */
static inline double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static inline void die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(EXIT_FAILURE);
}

/* Where the service listens. */
static inline void name_socket(struct sockaddr_un *addr, const char *path)
{
	addr->sun_family = AF_UNIX;
	if (snprintf(addr->sun_path, sizeof(addr->sun_path), "%s", path) <
	    (int)sizeof(addr->sun_path))
		return;
	fprintf(stderr, "%s: the name of the socket is too long: %s\n",
		program_invocation_short_name, path);
	exit(2);
}

static inline unsigned long parse_number(const char *what, const char *text, unsigned long most)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || !value || value > most) {
		fprintf(stderr, "%s: %s %s: say a number from 1 to %lu\n",
			program_invocation_short_name, what, text, most);
		exit(2);
	}
	return value;
}

#endif
