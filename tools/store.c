// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: the file with the page frames that are bad, over reboots.
 *
 * Lines of JSON: which machine, each page with the memory that it is on, how many pages.
 * The tool writes a new file beside and renames it, so a reader finds the old one or the
 * new one. Of a damaged file each readable line counts: leaving out a good page costs 4
 * KiB.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "memory.h"

#define FORMAT		1
#define DAMAGED		STORE_FILE ".damaged"
#define OTHER		STORE_FILE ".other-machine"

static const char *text_of(struct json_object *o, const char *key)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_string))
		return NULL;
	return json_object_get_string(v);
}

static bool number_of(struct json_object *o, const char *key, int64_t *value)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_int))
		return false;
	*value = json_object_get_int64(v);
	return *value >= 0;
}

/**
 * store_find - is a page remembered
 * @s: what is remembered
 * @pfn: the page frame
 *
 * Return: where, NULL if it is not.
 */
struct remembered *store_find(const struct store *s, uint64_t pfn)
{
	for (size_t i = 0; i < s->pages; i++)
		if (s->page[i].pfn == pfn)
			return &s->page[i];
	return NULL;
}

/**
 * store_add - remember a page
 * @s: what is remembered
 * @pfn: the page frame
 * @kb: the size of the hugepage that it was in, 4 if in none
 * @since: when, "" for now
 * @memory: what it is on, as memory_text() says
 *
 * Return: true if it was not remembered before.
 */
bool store_add(struct store *s, uint64_t pfn, uint64_t kb, const char *since, const char *memory)
{
	time_t when = time(NULL);
	struct remembered *grown;
	struct tm tm;

	if (store_find(s, pfn))
		return false;
	grown = realloc(s->page, (s->pages + 1) * sizeof(*grown));
	if (!grown)
		return false;
	s->page = grown;
	grown = &s->page[s->pages];
	*grown = (struct remembered) { .pfn = pfn, .kb = kb, .memory = strdup(memory) };
	if (!grown->memory)
		return false;
	snprintf(grown->since, sizeof(grown->since), "%s", since);
	if (!*since && gmtime_r(&when, &tm))
		strftime(grown->since, sizeof(grown->since), "%Y-%m-%dT%H:%M:%SZ", &tm);
	s->pages++;
	return true;
}

/**
 * store_forget - remember a page no longer
 * @s: what is remembered
 * @page: the page, one of @s
 */
void store_forget(struct store *s, struct remembered *page)
{
	free(page->memory);
	*page = s->page[--s->pages];
}

/**
 * memory_text - which memory a page frame is on
 * @dmi: what the firmware says
 * @pfn: the page frame
 *
 * Return: the modules that it may be on, to be freed. An exchange of any of them makes it
 * another text. "" where the firmware says nothing.
 */
char *memory_text(const struct dmi *dmi, uint64_t pfn)
{
	const struct module *module[MAX_MODULES];
	size_t n = dmi_modules(dmi, pfn, module), len = 0;
	char *text = NULL, one[224];
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		module_text(module[i], one, sizeof(one));
		fprintf(f, "%s%s", i ? "; " : "", one);
	}
	fclose(f);
	return text;
}

/* ---- reading ---- */

/* Parses a line; the last line counts the pages before it. */
static bool take_object(struct store *s, struct json_object *o, size_t line, int64_t *count)
{
	const char *page = text_of(o, "page"), *memory = text_of(o, "memory");
	const char *since = text_of(o, "since"), *machine = text_of(o, "machine");
	int64_t format, kb;
	uint64_t pfn;

	if (line == 1) {
		snprintf(s->machine, sizeof(s->machine), "%s", machine ? machine : "");
		return machine && number_of(o, "hugepoison", &format) && format == FORMAT;
	}
	if (number_of(o, "pages", count))
		return true;
	if (!page || !memory || !since || parse_number(page, false, UINT64_MAX >> 12, &pfn) ||
	    !number_of(o, "size_kb", &kb))
		return false;
	store_add(s, pfn, (uint64_t)kb, since, memory);
	return true;
}

/**
 * store_parse - parse the remembered pages
 * @s: where to put it
 * @f: the lines
 *
 * Return: the number of the first line that is damaged, 0 if none is.
 */
size_t store_parse(struct store *s, FILE *f)
{
	size_t len = 0, n = 0, wrong = 0;
	struct json_object *o;
	int64_t count = -1;
	char *line = NULL;
	bool good;

	while (getline(&line, &len, f) > 0) {
		n++;
		o = json_tokener_parse(line);
		good = o && json_object_is_type(o, json_type_object) && count < 0 &&
		       take_object(s, o, n, &count);
		if (!good && !wrong)
			wrong = n;
		json_object_put(o);
	}
	free(line);
	if (!wrong && count != (int64_t)s->pages)
		wrong = n + 1;
	return wrong;
}

/**
 * store_load - read the file
 * @s: the remembered pages; none if there is no file
 *
 * Return: DONE, or FAILED after a message if it cannot be read. A damaged file can be
 * read, and gets a message.
 */
int store_load(struct store *s)
{
	FILE *f = fopen(STORE_FILE, "re");
	size_t wrong;

	*s = (struct store) { 0 };
	if (!f && (errno == ENOENT || errno == ENOTDIR))
		return DONE;
	if (!f)
		return fail(FAILED, "cannot read " STORE_FILE ": %m");
	wrong = store_parse(s, f);
	if (wrong || ferror(f)) {
		s->damaged = true;
		fail(FAILED, STORE_FILE ": line %zu: damaged: %zu pages can be read, and count",
		     wrong, s->pages);
	}
	fclose(f);
	return DONE;
}

/**
 * store_free - free it
 * @s: what store_load() has filled
 */
void store_free(struct store *s)
{
	for (size_t i = 0; i < s->pages; i++)
		free(s->page[i].memory);
	free(s->page);
	*s = (struct store) { 0 };
}

/* ---- writing ---- */

/**
 * store_lock - keep others from changing the file
 * @fd: what to unlock it with: close()
 *
 * Return: DONE, or FAILED after a message.
 */
int store_lock(int *fd)
{
	if (mkdir(STORE_DIR, 0700) && errno != EEXIST)
		return fail(FAILED, "cannot make " STORE_DIR ": %m");
	*fd = open(STORE_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0 || flock(*fd, LOCK_EX))
		return fail(FAILED, "cannot lock " STORE_DIR ": %m");
	return DONE;
}

static void write_lines(const struct store *s, FILE *f)
{
	struct json_object *o = json_object_new_object();
	char page[24];

	put_number(o, "hugepoison", FORMAT);
	put_text(o, "machine", s->machine);
	json_finish(o, f, false);
	for (size_t i = 0; i < s->pages; i++) {
		o = json_object_new_object();
		snprintf(page, sizeof(page), "0x%" PRIx64, s->page[i].pfn);
		put_text(o, "page", page);
		put_number(o, "size_kb", s->page[i].kb);
		put_text(o, "since", s->page[i].since);
		put_text(o, "memory", s->page[i].memory);
		json_finish(o, f, false);
	}
	o = json_object_new_object();
	put_number(o, "pages", s->pages);
	json_finish(o, f, false);
}

/* The remains of a crash or a damaged disk may still be useful. */
static void set_aside(const struct store *s)
{
	if (s->damaged && !rename(STORE_FILE, DAMAGED))
		fail(FAILED, "the damaged file is " DAMAGED " now");
	else if (s->other && !rename(STORE_FILE, OTHER))
		fail(FAILED, "the other machine's file is " OTHER " now");
}

/**
 * store_save - write the file
 * @s: the pages to remember
 * @dir: what store_lock() returned
 *
 * Return: DONE, or FAILED after a message; then the old file is there as it was.
 */
int store_save(const struct store *s, int dir)
{
	char path[] = STORE_FILE ".XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC), err = 0;
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	if (!f)
		return fail(FAILED, "cannot write " STORE_FILE ": %m");
	write_lines(s, f);
	if (fflush(f) || ferror(f) || fsync(fd))
		err = errno ? errno : EIO;
	fclose(f);
	if (!err)
		set_aside(s);
	if (!err && rename(path, STORE_FILE))
		err = errno;
	if (err) {
		unlink(path);
		return fail(FAILED, "cannot write " STORE_FILE ": %s: what was remembered before "
			    "is there still", strerror(err));
	}
	fsync(dir);
	return DONE;
}
