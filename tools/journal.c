// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: the report of a soak, a line of JSON for each error, and one for
 * the soak before them. Each line goes to the disk at once: the machine may die
 * before the end. --resume cuts off an incomplete last line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inject.h"

static int line_out(FILE *f, struct json_object *o)
{
	json_finish(o, f, false);
	errno = 0;
	if (finish_output(f, "the --report"))
		return FAILED;
	/* a pipe cannot, and need not */
	if (fdatasync(fileno(f)) && errno != EINVAL && errno != EROFS)
		return fail(FAILED, "cannot write the report to the --report: %m");
	return DONE;
}

static bool number_of(struct json_object *o, const char *key, uint64_t *value)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_int) ||
	    json_object_get_int64(v) < 0)
		return false;
	*value = json_object_get_uint64(v);
	return true;
}

static bool text_is(struct json_object *o, const char *key, const char *text)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_string) &&
		!strcmp(json_object_get_string(v), text);
}

static bool same_target(struct json_object *o, const struct options *opt)
{
	struct json_object *mine = json_object_new_object(), *theirs, *target;
	bool same;

	put_target(mine, opt);
	same = json_object_object_get_ex(o, "target", &theirs) &&
		json_object_object_get_ex(mine, "target", &target) &&
		json_object_equal(theirs, target);
	json_object_put(mine);
	return same;
}

static bool take_line(struct json_object *o, const struct options *opt, struct soak *s)
{
	struct json_object *seconds;
	uint64_t n, loss;

	if (number_of(o, "seed", &s->seed))
		return text_is(o, "action", "soak") && same_target(o, opt);
	if (!number_of(o, "n", &n) || n != s->errors + 1 || !number_of(o, "loss_kb", &loss) ||
	    !json_object_object_get_ex(o, "seconds", &seconds))
		return false;
	s->errors = n;
	s->done += text_is(o, "result", "done");
	s->failed += text_is(o, "result", "failed");
	s->loss_kb = loss;
	s->seconds = json_object_get_double(seconds);
	return true;
}

/**
 * journal_parse - take in a line of a report
 * @line: the line
 * @opt: the target has to be the same
 * @s: where the soak has come to
 *
 * Return: false if the line makes no sense there.
 */
bool journal_parse(const char *line, const struct options *opt, struct soak *s)
{
	struct json_object *o = json_tokener_parse(line);
	bool good = o && json_object_is_type(o, json_type_object) && take_line(o, opt, s);

	json_object_put(o);
	return good;
}

static int take_up(FILE *f, const struct options *opt, struct soak *s)
{
	char *line = NULL;
	size_t len = 0;
	long end = 0;
	int status = DONE;
	uint64_t n = 0;

	while (!status && getline(&line, &len, f) > 0 && strchr(line, '\n')) {
		n++;
		if (!journal_parse(line, opt, s))
			status = fail(FAILED,
				      "--resume: line %" PRIu64 " of %s is none of a soak of "
				      "this target",
				      n, opt->report);
		end = ftell(f);
	}
	free(line);
	if (!status && !n)
		status = fail(FAILED, "--resume: %s has no whole line", opt->report);
	if (!status && (ftruncate(fileno(f), end) || fseek(f, end, SEEK_SET)))
		status = fail(FAILED, "cannot go on with %s: %m", opt->report);
	return status;
}

static int begin(FILE *f, const struct options *opt, const struct soak *s)
{
	struct json_object *o = json_start("soak");

	put_number(o, "seed", s->seed);
	put_target(o, opt);
	return line_out(f, o);
}

/**
 * journal_open - begin a report, or go on with one
 * @opt: the options
 * @s: where the soak has come to, in the latter case
 * @f: the report, NULL if there is none
 *
 * Return: DONE, or FAILED after a message.
 */
int journal_open(const struct options *opt, struct soak *s, FILE **f)
{
	int flags = opt->resume ? O_RDWR : O_WRONLY | O_CREAT | O_EXCL, fd, status;

	*f = NULL;
	if (!opt->report)
		return DONE;
	fd = open(opt->report, flags | O_CLOEXEC, 0644);
	/* a device or a pipe exists before, and cannot be resumed */
	if (fd < 0 && errno == EEXIST && !access(opt->report, W_OK)) {
		fd = open(opt->report, O_WRONLY | O_CLOEXEC | O_NOCTTY);
		if (fd >= 0 && lseek(fd, 0, SEEK_END) > 0) {
			close(fd);
			return fail(FAILED, "%s is there already: --resume goes on with it",
				    opt->report);
		}
	}
	if (fd >= 0)
		*f = fdopen(fd, opt->resume ? "r+" : "w");
	if (!*f)
		return fail(FAILED, "cannot %s %s: %m", opt->resume ? "go on with" : "write",
			    opt->report);
	status = opt->resume ? take_up(*f, opt, s) : begin(*f, opt, s);
	if (status) {
		fclose(*f);
		*f = NULL;
	}
	return status;
}

/**
 * journal_write - one error
 * @f: the report
 * @s: where the soak has come to
 * @hit: what was hit
 * @out: what came of it
 *
 * Return: DONE, or FAILED after a message.
 */
int journal_write(FILE *f, const struct soak *s, const struct hit *hit,
		  const struct outcome *out)
{
	struct json_object *o = json_object_new_object();

	if (!f) {
		json_object_put(o);
		return DONE;
	}
	put_number(o, "n", s->errors);
	put_number(o, "pfn", hit->page.pfn);
	put_number(o, "head_pfn", hit->page.head);
	put_number(o, "size_kb", hit->page.pages << PAGE_SHIFT >> 10);
	put_value(o, "node", hit->page.node);
	put_text(o, "result", out->verdict ? "failed" : "done");
	put_text(o, "errno", out->err ? errno_name(out->err) : NULL);
	put_number(o, "loss_kb", s->loss_kb);
	json_object_object_add(o, "seconds", json_object_new_double(s->seconds));
	return line_out(f, o);
}
