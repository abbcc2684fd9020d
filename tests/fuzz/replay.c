// SPDX-License-Identifier: GPL-2.0-only
/*
 * A list of operations instead of random ones: a line for each, in the order in which
 * they began: LANE OPERATION SEED, and its result, which is ignored.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define LINES	(LANES * STEPS)

static struct line {
	int lane, op;
	unsigned long seed;
} *lines;

static unsigned int nr_lines;
static unsigned int next[LANES];

static bool take(const char *text, struct line *line)
{
	char name[32];

	if (sscanf(text, "%d %31s %lx", &line->lane, name, &line->seed) != 3)
		return false;
	line->op = op_find(name);
	return line->op >= 0 && line->lane >= 0 && line->lane < LANES;
}

/* Lines with # are no operations. Returns 0, or -1 for what makes no sense. */
int replay_load(const char *path)
{
	FILE *file = fopen(path, "re");
	char text[256];
	int ret = 0;

	lines = calloc(LINES, sizeof(*lines));
	if (!file || !lines)
		return -1;
	while (!ret && nr_lines < LINES && fgets(text, sizeof(text), file)) {
		if (*text == '#')
			continue;
		ret = take(text, &lines[nr_lines++]) ? 0 : -1;
	}
	fclose(file);
	return ret;
}

/* Returns the operation that is a lane's next, -1: none. @order: its place in the list. */
int replay_next(int which, unsigned long *seed, unsigned int *order)
{
	for (unsigned int i = next[which]; i < nr_lines; i++) {
		if (lines[i].lane != which)
			continue;
		next[which] = i + 1;
		*seed = lines[i].seed;
		*order = i;
		return lines[i].op;
	}
	return -1;
}
