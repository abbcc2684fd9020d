// SPDX-License-Identifier: GPL-2.0
/* hugepoison-inject: colour, on a terminal only, and not where NO_COLOR is set. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

static bool wanted(FILE *f)
{
	const char *no = getenv("NO_COLOR"), *terminal = getenv("TERM");

	return isatty(fileno(f)) && !(no && *no) && terminal && strcmp(terminal, "dumb");
}

/**
 * colour - the sequence that turns a colour on, or ends it
 * @f: where it is printed to
 * @colour: which one
 */
const char *colour(FILE *f, enum colour colour)
{
	static const char *const codes[] = {
		[COLOUR_NONE] = "", [COLOUR_BAD] = "\033[1;31m", [COLOUR_WARN] = "\033[33m",
		[COLOUR_GOOD] = "\033[32m", [COLOUR_END] = "\033[0m",
	};

	return wanted(f) ? codes[colour] : "";
}
