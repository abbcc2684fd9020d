/* SPDX-License-Identifier: GPL-2.0 */
/* hugepoison-inject: numbers, small files, errors, JSON, colours. */
#ifndef HUGEPOISON_UTIL_H
#define HUGEPOISON_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define VERSION	"2"

/* Exit status. A function that returns int returns one of these. */
enum {
	DONE = 0,
	FAILED = 1,		/* nothing was touched, or the kernel refused */
	USAGE = 2,		/* the command line makes no sense */
	UNSUPPORTED = 77,	/* this kernel lacks what it takes */
};

#define PAGE_SHIFT	12
#define PAGE_BYTES	(1UL << PAGE_SHIFT)
#define ANY_NODE	(-1)
#define NO_VALUE	(-1LL)	/* a counter this kernel does not have */
#define MAX_NODES	1024
#define MAX_SIZES	8
#define MAX_HITS	65536	/* errors of one call; soak has no limit */

#define fallthrough	__attribute__((__fallthrough__))
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof(*(a)))

struct options;

/* util.c */
#define EVERYDAY_NAME	"hugepoisonctl"

extern bool quiet;
extern const char *program;

int fail(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *errno_name(int err);
const char *parse_number(const char *text, bool suffixes, uint64_t max, uint64_t *out);
const char *parse_range(const char *text, bool suffixes, uint64_t max, uint64_t *start,
			uint64_t *end);
long long read_value(const char *path);
long long read_keyed_value(const char *path, const char *key);
long long hardware_corrupted(void);
bool read_word(const char *path, char *buf, size_t len);
int write_text(const char *path, const char *text);
bool in_list_file(const char *path, unsigned int number);
bool node_online(int node);
void size_text(uint64_t bytes, char *buf, size_t len);
void print_name(FILE *f, const char *name);
bool privileged(void);
int check_privilege(void);
int finish_output(FILE *f, const char *name);
double now(void);
void sleep_until(double when);

/* json.c */
struct json_object;

void put_number(struct json_object *o, const char *key, uint64_t value);
void put_value(struct json_object *o, const char *key, long long value);
void put_text(struct json_object *o, const char *key, const char *text);
void put_bool(struct json_object *o, const char *key, bool value);
void put_target(struct json_object *o, const struct options *opt);
struct json_object *json_start(const char *action);
void json_finish(struct json_object *o, FILE *f, bool pretty);

/* colour.c */
enum colour { COLOUR_NONE, COLOUR_BAD, COLOUR_WARN, COLOUR_GOOD, COLOUR_END };

const char *colour(FILE *f, enum colour colour);

#endif /* HUGEPOISON_UTIL_H */
