// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: why something cannot be done, in words for the log.
 */
#include "internal.h"

static const char * const hugepoison_reasons[NR_HUGEPOISON_REASONS] = {
	[HUGEPOISON_WHY_USERFAULTFD] =
		"userfaultfd watches the mapping: unregister it",
	[HUGEPOISON_WHY_MAP_COUNT] =
		"no memory, or vm.max_map_count reached",
	[HUGEPOISON_WHY_NO_SPLIT] =
		"the mapping cannot be split",
	[HUGEPOISON_WHY_NO_PRIVATE] =
		"no memory to tell which of its pages are in use",
	[HUGEPOISON_WHY_LOCKED] =
		"another task has locked its file's mappings, to be tried again",
	[HUGEPOISON_WHY_NO_RECORD] =
		"no memory for a record of it",
	[HUGEPOISON_WHY_UNRELIABLE] =
		"which pages are bad was lost for want of memory",
	[HUGEPOISON_WHY_MAPPED] =
		"it is mapped: end the processes that map it",
	[HUGEPOISON_WHY_REFERENCED] =
		"somebody holds a reference to it",
	[HUGEPOISON_WHY_NOT_RAW] =
		"no error was reported in that page, but in others of its hugepage",
	[HUGEPOISON_WHY_LOST] =
		"it is good, but what was in it is lost: punch it out of its file",
	[HUGEPOISON_WHY_REFILLED] =
		"its owner has refilled it: what is in it is out of date",
	[HUGEPOISON_WHY_HELD] =
		"somebody holds its hugepage",
	[HUGEPOISON_WHY_ANOTHER_ERROR] =
		"there is one more error in it",
	[HUGEPOISON_WHY_NO_SPARE] =
		"no memory for it: free memory, or a hugepage, or raise the cgroup's limit",
	[HUGEPOISON_WHY_NO_VMEMMAP] =
		"no memory for its struct pages, to be tried again",
	[HUGEPOISON_WHY_REPLACE_OFF] =
		"replace is off",
	[HUGEPOISON_WHY_REFILLING] =
		"a fresh one is being looked for",
};

/**
 * hugepoison_why - a reason in words
 * @reason: the reason, not 0
 *
 * Context: Any.
 * Return: the end of a message.
 */
const char *hugepoison_why(enum hugepoison_reason reason)
{
	return hugepoison_reasons[reason];
}
