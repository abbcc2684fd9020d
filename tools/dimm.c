// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: on which memory module a page frame is. Three sources:
 *
 *	rasdaemon	address and label of the errors it recorded: the best source
 *	DMI		which modules an address may be on: one, without interleaving
 *	EDAC		how many errors each module had: one of them, if no other had any
 *
 * The first that names a single module counts.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/wait.h>

#include "memory.h"

#define DATABASE	"/var/lib/rasdaemon/ras-mc_event.db"
#define EDAC_DIR	"/sys/devices/system/edac/mc"

static struct dmi dmi;
static struct dimm *known;	/* of rasdaemon; the last one of a page frame counts */
static size_t nr_known;
static char edac[64];		/* the only module with uncorrected errors */

/* A label is the firmware's, or an admin's: it stays on its line. */
static void take_label(char *buf, size_t len, const char *label)
{
	snprintf(buf, len, "%.*s", (int)strcspn(label, "\n"), label);
	for (char *c = buf; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
}

/* ---- rasdaemon ---- */

static void ask(FILE *f, const struct bad *list, size_t count)
{
	fprintf(f, "SELECT address >> 12, label FROM mc_event WHERE label <> '' AND "
		"address >> 12 IN (-1");
	for (size_t i = 0; i < count; i++)
		fprintf(f, ",%" PRIu64, list[i].pfn);
	fprintf(f, ") ORDER BY id;\n");
}

static void take_answer(const char *line)
{
	struct dimm *grown;
	uint64_t pfn;
	int label = 0;

	if (sscanf(line, "%" SCNu64 "|%n", &pfn, &label) != 1 || !label)
		return;
	grown = realloc(known, (nr_known + 1) * sizeof(*grown));
	if (!grown)
		return;
	known = grown;
	known[nr_known].pfn = pfn;
	take_label(known[nr_known++].name, sizeof(grown->name), line + label);
}

static void become_sqlite(int in, int out)
{
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	execlp("sqlite3", "sqlite3", "-readonly", "-batch", "-list", "-separator", "|", DATABASE,
	       NULL);
	_exit(127);
}

/* A question as a whole, then all of the answer: neither side waits for the other. */
static int talk(int in, int out, const struct bad *list, size_t count)
{
	FILE *to = fdopen(in, "w"), *from = fdopen(out, "r");
	char line[256];

	if (!to || !from)
		return fail(FAILED, "out of memory");
	ask(to, list, count);
	fclose(to);
	while (fgets(line, sizeof(line), from))
		take_answer(line);
	fclose(from);
	return DONE;
}

static void ask_rasdaemon(const struct bad *list, size_t count)
{
	int to[2], from[2], status = 0;
	pid_t pid;

	if (!count || access(DATABASE, R_OK) || pipe2(to, O_CLOEXEC))
		return;
	if (pipe2(from, O_CLOEXEC)) {
		close(to[0]);
		close(to[1]);
		return;
	}
	fflush(NULL);
	pid = fork();
	if (!pid)
		become_sqlite(to[0], from[1]);
	close(to[0]);
	close(from[1]);
	talk(to[1], from[0], list, count);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		fail(FAILED, "cannot run sqlite3: %m");
	else if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		fail(FAILED, "rasdaemon has a database, and sqlite3 to read it with is absent: "
		     "apt install sqlite3");
	else if (status)
		fail(FAILED, "sqlite3 cannot read " DATABASE);
}

/* ---- EDAC ---- */

static bool edac_module(const char *dir, char *label, size_t len)
{
	char path[700], line[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/dimm_ue_count", dir);
	if (read_value(path) <= 0)
		return false;
	snprintf(path, sizeof(path), "%s/dimm_label", dir);
	f = fopen(path, "re");
	if (f && !fgets(line, sizeof(line), f))
		line[0] = '\0';
	if (f)
		fclose(f);
	take_label(label, len, line);
	return *label;
}

/* How many modules of a controller had uncorrected errors. */
static int edac_controller(const char *controller, char *label, size_t len)
{
	char path[320], dir[600];
	const struct dirent *entry;
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), EDAC_DIR "/%s", controller);
	d = opendir(path);
	while (d && (entry = readdir(d))) {
		if (strncmp(entry->d_name, "dimm", 4) && strncmp(entry->d_name, "rank", 4))
			continue;
		snprintf(dir, sizeof(dir), "%s/%s", path, entry->d_name);
		n += edac_module(dir, label, len);
	}
	if (d)
		closedir(d);
	return n;
}

static void ask_edac(void)
{
	const struct dirent *entry;
	DIR *d = opendir(EDAC_DIR);
	int n = 0;

	while (d && (entry = readdir(d)))
		if (!strncmp(entry->d_name, "mc", 2))
			n += edac_controller(entry->d_name, edac, sizeof(edac));
	if (d)
		closedir(d);
	if (n != 1)
		edac[0] = '\0';
}

/**
 * dimm_open - ask the three sources
 * @list: the pages in question
 * @count: how many they are
 */
void dimm_open(const struct bad *list, size_t count)
{
	nr_known = 0;
	dmi_read(&dmi);
	ask_edac();
	ask_rasdaemon(list, count);
}

/**
 * dimm_find - the module that a page frame is on
 * @pfn: the page frame
 * @dimm: its name and who says so; without a name if nobody knows
 */
void dimm_find(uint64_t pfn, struct dimm *dimm)
{
	const struct module *module[MAX_MODULES];
	size_t n;

	*dimm = (struct dimm) { .pfn = pfn };
	for (size_t i = 0; i < nr_known; i++)
		if (known[i].pfn == pfn)
			*dimm = known[i];
	if (*dimm->name) {
		dimm->source = "rasdaemon";
		return;
	}
	n = dmi_modules(&dmi, pfn, module);
	if (n == 1) {
		module_text(module[0], dimm->name, sizeof(dimm->name));
		dimm->source = "DMI";
	} else if (*edac) {
		snprintf(dimm->name, sizeof(dimm->name), "%s", edac);
		dimm->source = "EDAC";
	}
	dimm->candidates = n;
}

/**
 * dimm_text - the same for people
 * @pfn: the page frame
 * @buf: where to put it
 * @len: how much fits there
 */
void dimm_text(uint64_t pfn, char *buf, size_t len)
{
	struct dimm dimm;

	dimm_find(pfn, &dimm);
	if (*dimm.name)
		snprintf(buf, len, "%s (%s)", dimm.name, dimm.source);
	else if (dimm.candidates)
		snprintf(buf, len, "one of %zu (DMI)", dimm.candidates);
	else
		snprintf(buf, len, "-");
}
