// SPDX-License-Identifier: GPL-2.0
/* hugepoison-inject: keys and functions that all JSON objects share. */
#include <json-c/json.h>
#include <stdlib.h>

#include "page.h"

void put_number(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

/* NO_VALUE and ANY_NODE become null. */
void put_value(struct json_object *o, const char *key, long long value)
{
	json_object_object_add(o, key, value == NO_VALUE ? NULL : json_object_new_int64(value));
}

void put_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, text ? json_object_new_string(text) : NULL);
}

void put_bool(struct json_object *o, const char *key, bool value)
{
	json_object_object_add(o, key, json_object_new_boolean(value));
}

static void put_place(struct json_object *o, const char *key, const struct options *opt)
{
	if (opt->by_number)
		put_number(o, "hugepage", opt->number);
	else if (!opt->everywhere)
		put_number(o, key, opt->at);
	if (opt->end)
		put_number(o, "end", opt->end);
}

/**
 * put_target - add the command line's target
 * @o: the object that gets a "target"
 * @opt: the options
 */
void put_target(struct json_object *o, const struct options *opt)
{
	struct json_object *t = json_object_new_object();

	json_object_object_add(o, "target", t);
	switch (opt->kind) {
	case TARGET_FILE:
		put_text(t, "kind", "file");
		put_text(t, "file", opt->file);
		put_place(t, "offset", opt);
		break;
	case TARGET_PID:
		put_text(t, "kind", "pid");
		put_number(t, "pid", opt->pid);
		put_place(t, "addr", opt);
		break;
	case TARGET_SHM:
		put_text(t, "kind", "shm");
		put_number(t, "shmid", opt->shmid);
		put_place(t, "offset", opt);
		break;
	case TARGET_PFN:
		put_text(t, "kind", "pfn");
		put_place(t, "pfn", opt);
		break;
	default:
		put_text(t, "kind", "free");
		put_number(t, "size_kb", (opt->size ? opt->size : default_size()) >> 10);
		put_value(t, "node", opt->node);
	}
}

/**
 * json_start - begin a report
 * @action: the command
 *
 * Return: the object, with the keys that every report begins with.
 */
struct json_object *json_start(const char *action)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		exit(fail(FAILED, "out of memory"));
	put_text(o, "tool", "hugepoison-inject");
	put_text(o, "action", action);
	return o;
}

/**
 * json_finish - print a report
 * @o: the object, which is gone then
 * @f: where to
 * @pretty: in lines; else it is one line
 */
void json_finish(struct json_object *o, FILE *f, bool pretty)
{
	int how = pretty ? JSON_C_TO_STRING_PRETTY : JSON_C_TO_STRING_PLAIN;

	fprintf(f, "%s\n", json_object_to_json_string_ext(o, how | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}
