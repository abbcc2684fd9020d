// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the error handler and the records.
 *
 * Included at the end of the stock file of this name, to reach its statics. A file uses
 * functions of the files before it only. All files, also those of hugetlb.c and rmap.c,
 * use the first seven; the other files here use those of hugetlb.c and rmap.c.
 */
#ifdef CONFIG_HUGEPOISON
/* stock's file makes its own event; ours are made in trace.c */
#undef CREATE_TRACE_POINTS

#include "reason.c"
#include "wq.c"
#include "reserve.c"
#include "raw.c"
#include "stand-in.c"
#include "record.c"
#include "queue.c"

#include "release.c"
#include "lock.c"
#include "handler.c"
#include "narrow-worker.c"
#include "release-worker.c"
#include "unpoison.c"
#include "offline.c"
#include "heal.c"
#include "heal-worker.c"
#include "file.c"
#include "inject.c"
#include "hwpoison-inject.c"
#include "sysfs.c"
#include "proc.c"

#ifdef CONFIG_HUGEPOISON_KUNIT_TEST
#include "tests/memory-failure.c"
#include "tests/nomem.c"
#include "tests/narrow.c"
#include "tests/heal.c"
#include "tests/stand-in.c"
#endif
#endif /* CONFIG_HUGEPOISON */
