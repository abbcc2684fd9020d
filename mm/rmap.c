// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the reverse map.
 *
 * Included at the end of the stock file of this name, to reach its statics.
 */
#ifdef CONFIG_HUGEPOISON
#include "small-rmap.c"
#include "unmap.c"

#ifdef CONFIG_HUGEPOISON_KUNIT_TEST
#include "tests/rmap.c"
#endif
#endif /* CONFIG_HUGEPOISON */
