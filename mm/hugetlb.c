// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the pool, and the mappings of hugepages.
 *
 * Included at the end of the stock file of this name, to reach its statics. A file uses
 * functions of the files before it only. Page faults and other users of a mapping run
 * under mmap_lock, and never take mf_mutex: the error handler takes the folio lock under
 * mf_mutex, and mmap_lock is always outside of the folio lock.
 */
#ifdef CONFIG_HUGEPOISON
#include "trace.c"

#include "pool.c"

#include "mapping.c"
#include "private.c"
#include "fate.c"
#include "zap.c"
#include "map.c"
#include "retry.c"
#include "narrow.c"
#include "mappers.c"
#include "promote.c"
#include "fault.c"
#include "refill.c"

#ifdef CONFIG_HUGEPOISON_KUNIT_TEST
#include "tests/hugetlb.c"
#include "tests/private.c"
#include "tests/promote.c"
#endif
#endif /* CONFIG_HUGEPOISON */
