// SPDX-License-Identifier: GPL-2.0
/* hugepoison-inject: policy, counters and pools, as a table, JSON or metrics. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "inject.h"

static const char *const gauges[] = { "mce_bad_pages", "poisoned_hugepages" };
static const char *const pool_files[] = { "nr_hugepages", "free_hugepages", "surplus_hugepages" };

static int add(struct status *s, int group, const char *name, uint64_t kb, int node,
	       long long value)
{
	struct figure *grown;

	if (value == NO_VALUE)
		return DONE;
	grown = realloc(s->figure, (s->figures + 1) * sizeof(*grown));
	if (!grown)
		return fail(FAILED, "out of memory");
	s->figure = grown;
	grown[s->figures] =
		(struct figure){ .group = group, .kb = kb, .node = node, .value = value };
	snprintf(grown[s->figures++].name, sizeof(grown->name), "%s", name);
	return DONE;
}

static bool is_gauge(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(gauges); i++)
		if (!strcmp(name, gauges[i]))
			return true;
	return false;
}

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* All files that the kernel has there; all but the gauges count events. */
static int take_ours(struct status *s, uint64_t kb, int node)
{
	struct dirent **entry;
	char dir[112], path[400];
	int status = DONE, n;

	snprintf(dir, sizeof(dir), OURS_DIR "/node%d/hugepages-%" PRIu64 "kB", node, kb);
	n = scandir(dir, &entry, not_hidden, alphasort);
	for (int i = 0; i < n; i++) {
		const char *name = entry[i]->d_name;

		snprintf(path, sizeof(path), "%s/%s", dir, name);
		if (!status)
			status = add(s, is_gauge(name) ? FIGURE_BAD : FIGURE_EVENT, name, kb, node,
				     read_value(path));
		free(entry[i]);
	}
	if (n >= 0)
		free(entry);
	return status;
}

/* A stock kernel has the marks only. */
static int take_marks(struct status *s, uint64_t kb, int node)
{
	int n = scan_hugepages(SCAN_POISONED, kb << 10, node, NULL, INT_MAX);

	return add(s, FIGURE_BAD, gauges[1], kb, node, n);
}

static int take_node(struct status *s, uint64_t kb, int node, bool marks)
{
	char path[160];
	int status = DONE;

	for (size_t i = 0; !status && i < ARRAY_SIZE(pool_files); i++) {
		snprintf(path, sizeof(path),
			 NODES_DIR "/node%d/hugepages/hugepages-%" PRIu64 "kB/%s", node, kb,
			 pool_files[i]);
		status = add(s, FIGURE_POOL, pool_files[i], kb, node, read_value(path));
	}
	if (!status && kernel_has_hugepoison())
		return take_ours(s, kb, node);
	return status || !marks ? status : take_marks(s, kb, node);
}

/**
 * status_take - read all figures
 * @s: where to put it; s->figure is to be freed
 *
 * Return: DONE, or an exit status after a message.
 */
int status_take(struct status *s)
{
	bool marks = !kernel_has_hugepoison() && privileged() && !hugepage_open();
	uint64_t size[MAX_SIZES];
	struct utsname uts;
	char path[128];
	int n = hugepage_sizes(size, MAX_SIZES), status = n ? DONE : UNSUPPORTED;

	*s = (struct status) { .replace = read_value(OURS_DIR "/replace"),
			       .corrupted_kb = hardware_corrupted() };
	uname(&uts);
	snprintf(s->kernel, sizeof(s->kernel), "%s", uts.release);
	read_word(OURS_DIR "/containment", s->policy, sizeof(s->policy));
	for (int i = 0; !status && i < n; i++) {
		for (int node = 0; !status && node < MAX_NODES; node++)
			if (node_online(node))
				status = take_node(s, size[i] >> 10, node, marks);
		snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%" PRIu64
			 "kB/resv_hugepages", size[i] >> 10);
		if (!status)
			status = add(s, FIGURE_POOL, "resv_hugepages", size[i] >> 10, ANY_NODE,
				     read_value(path));
	}
	return status;
}

/* ---- the table ---- */

static bool same_row(const struct figure *a, const struct figure *b)
{
	return a->group == b->group && a->kb == b->kb && !strcmp(a->name, b->name);
}

/* The sum over all nodes; a figure of the whole system is there once. */
static long long row_total(const struct status *s, const struct figure *row)
{
	long long total = 0;

	for (size_t i = 0; i < s->figures; i++)
		if (same_row(&s->figure[i], row))
			total += s->figure[i].value;
	return total;
}

static bool first_of_row(const struct status *s, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (same_row(&s->figure[i], &s->figure[at]))
			return false;
	return true;
}

/* A size without hugepages, good or bad, is not worth its lines. */
static bool size_empty(const struct status *s, uint64_t kb)
{
	for (size_t i = 0; i < s->figures; i++)
		if (s->figure[i].kb == kb && s->figure[i].group != FIGURE_EVENT &&
		    s->figure[i].value)
			return false;
	return true;
}

static void print_nodes(FILE *f, const struct status *s, const struct figure *row)
{
	for (int node = 0; node < MAX_NODES; node++) {
		const struct figure *found = NULL;

		if (!node_online(node))
			continue;
		for (size_t i = 0; i < s->figures && !found; i++)
			if (s->figure[i].node == node && same_row(&s->figure[i], row))
				found = &s->figure[i];
		if (found)
			fprintf(f, " %9lld", found->value);
		else
			fprintf(f, " %9s", "-");
	}
}

static enum colour row_colour(const struct figure *row, long long total)
{
	if (!total || row->group == FIGURE_POOL)
		return COLOUR_NONE;
	return !strcmp(row->name, "failed") || !strcmp(row->name, "pinned") ? COLOUR_BAD :
									      COLOUR_WARN;
}

static void print_row(FILE *f, const struct status *s, const struct figure *row)
{
	long long total = row_total(s, row);
	char size[24];

	size_text(row->kb << 10, size, sizeof(size));
	fprintf(f, "%-4s %s%-20s%s %9lld", size, colour(f, row_colour(row, total)), row->name,
		colour(f, COLOUR_END), total);
	print_nodes(f, s, row);
	fprintf(f, "\n");
}

static void print_heads(FILE *f, const char *title)
{
	char name[24];

	fprintf(f, "\n%-25s %9s", title, "all");
	for (int node = 0; node < MAX_NODES; node++) {
		if (!node_online(node))
			continue;
		snprintf(name, sizeof(name), "node %d", node);
		fprintf(f, " %9s", name);
	}
	fprintf(f, "\n");
}

/* Gauges, or counters of events: of these only nonzero ones. */
static void print_part(FILE *f, const struct status *s, const char *title, bool events)
{
	size_t printed = 0;

	for (size_t i = 0; i < s->figures; i++) {
		const struct figure *row = &s->figure[i];

		bool event = row->group == FIGURE_EVENT;

		if (event != events || !first_of_row(s, i) ||
		    (events ? !row_total(s, row) : size_empty(s, row->kb)))
			continue;
		if (!printed++)
			print_heads(f, title);
		print_row(f, s, row);
	}
	if (!printed)
		fprintf(f, "\n%s: %s\n", title, events ? "nothing" : "no hugepages");
}

static void print_table(const struct status *s, FILE *f)
{
	fprintf(f, "Linux %s, ", s->kernel);
	if (*s->policy)
		fprintf(f, "hugepoison: containment %s, replace %lld\n", s->policy, s->replace);
	else
		fprintf(f, "stock: an error costs the hugepage\n");
	if (s->corrupted_kb != NO_VALUE)
		fprintf(f, "out of use: %lld kB (HardwareCorrupted)\n", s->corrupted_kb);
	else
		fprintf(f, "out of use: not told (no HardwareCorrupted: CONFIG_MEMORY_FAILURE)\n");
	print_part(f, s, "now", false);
	if (*s->policy)
		print_part(f, s, "since boot", true);
	if (!*s->policy && !privileged())
		fprintf(f, "\nHow many hugepages are poisoned a stock kernel tells root only.\n");
}

static void print_json(const struct status *s, FILE *f)
{
	static const char *const groups[] = { "bad", "event", "pool" };
	struct json_object *o = json_start("status"), *list = json_object_new_array(), *one;

	put_text(o, "kernel", s->kernel);
	put_text(o, "containment", *s->policy ? s->policy : NULL);
	put_value(o, "replace", s->replace);
	put_value(o, "hardware_corrupted_kb", s->corrupted_kb);
	json_object_object_add(o, "counters", list);
	for (size_t i = 0; i < s->figures; i++) {
		one = json_object_new_object();
		put_text(one, "name", s->figure[i].name);
		put_text(one, "group", groups[s->figure[i].group]);
		put_number(one, "size_kb", s->figure[i].kb);
		put_value(one, "node", s->figure[i].node);
		put_value(one, "value", s->figure[i].value);
		json_object_array_add(list, one);
	}
	json_finish(o, f, true);
}

static void print_status(const struct options *opt, const struct status *s, FILE *f)
{
	if (opt->prometheus)
		metrics_print(s, f);
	else if (opt->json)
		print_json(s, f);
	else
		print_table(s, f);
}

/* Prints it all, and closes @f. */
static int print_closing(const struct options *opt, const struct status *s, FILE *f)
{
	int status;

	print_status(opt, s, f);
	errno = 0;
	status = finish_output(f, opt->output);
	fclose(f);
	return status;
}

/*
 * The tool keeps a device or a FIFO. A FIFO without a reader is an error: cron would
 * start one process after the other to wait for a reader.
 */
static int write_into(const struct options *opt, const struct status *s)
{
	int fd = open(opt->output, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	FILE *f;

	if (fd < 0 && errno == ENXIO)
		return fail(FAILED, "--output: nobody reads %s", opt->output);
	if (fd >= 0)
		fcntl(fd, F_SETFL, 0);
	f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f)
		return fail(FAILED, "cannot write to %s: %s", opt->output, strerror(errno));
	return print_closing(opt, s, f);
}

/* The mode of the replaced file; a new file is readable for another user's collector. */
static int dress(int fd, const struct stat *old)
{
	if (!old)
		return fchmod(fd, 0644);
	/* only root can give a file away: the contents matter more than the owner */
	if (fchown(fd, old->st_uid, old->st_gid) && errno != EPERM)
		return -1;
	return fchmod(fd, old->st_mode & 0777);
}

/*
 * A reader finds the old file or the new one, never a part: the tool writes beside it
 * and renames. A collector ignores the temporary name's suffix.
 */
static int replace_file(const struct options *opt, const struct status *s, const char *file,
			const struct stat *old)
{
	char path[PATH_MAX + 8];
	int status, fd;
	FILE *f;

	if (snprintf(path, sizeof(path), "%s.XXXXXX", file) >= (int)sizeof(path))
		return fail(FAILED, "--output: the name is too long");
	fd = mkstemp(path);
	f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f)
		return fail(FAILED, "cannot write beside %s: %s", file, strerror(errno));
	status = dress(fd, old) ?
		 fail(FAILED, "cannot set the mode of %s: %s", path, strerror(errno)) : DONE;
	if (status)
		fclose(f);
	else
		status = print_closing(opt, s, f);
	if (!status && rename(path, file))
		status = fail(FAILED, "cannot replace %s: %s", file, strerror(errno));
	if (status)
		unlink(path);
	return status;
}

/* Replace the target of a symbolic link, not the link. */
static int replace_existing(const struct options *opt, const struct status *s,
			    const struct stat *old)
{
	struct stat own;
	char *file;
	int status;

	if (!lstat(opt->output, &own) && !S_ISLNK(own.st_mode))
		return replace_file(opt, s, opt->output, old);
	file = realpath(opt->output, NULL);
	if (!file)
		return fail(FAILED, "--output: %s: %s", opt->output, strerror(errno));
	status = replace_file(opt, s, file, old);
	free(file);
	return status;
}

/*
 * The file of --output may be missing, replaceable, writable in place, or none
 * of these.
 */
static int write_output(const struct options *opt, const struct status *s)
{
	struct stat old;

	if (stat(opt->output, &old)) {
		if (errno != ENOENT)
			return fail(FAILED, "--output: %s: %s", opt->output, strerror(errno));
		if (!lstat(opt->output, &old))
			return fail(FAILED, "--output: %s is a symbolic link to nothing: remove it",
				    opt->output);
		return replace_file(opt, s, opt->output, NULL);
	}
	switch (old.st_mode & S_IFMT) {
	case S_IFREG:
		return replace_existing(opt, s, &old);
	case S_IFCHR:
	case S_IFIFO:
		return write_into(opt, s);
	default:
		return fail(FAILED, "--output: %s is %s: name a file", opt->output,
			    S_ISDIR(old.st_mode) ? "a directory" :
			    S_ISBLK(old.st_mode) ? "a disk, which it would overwrite" :
			    "a socket");
	}
}

static int show_status(const struct options *opt)
{
	struct status s;
	int status = status_take(&s);

	if (!status && opt->output && !opt->dry_run) {
		status = write_output(opt, &s);
	} else if (!status) {
		print_status(opt, &s, stdout);
		status = finish_output(stdout, "standard output");
	}
	free(s.figure);
	return status;
}

/**
 * run_status - the command status
 * @opt: the options
 *
 * Return: an exit status.
 */
int run_status(struct options *opt)
{
	return watch(opt, show_status);
}
