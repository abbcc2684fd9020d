// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the trace events.
 */
#define CREATE_TRACE_POINTS
#include <trace/events/hugepoison.h>
#undef CREATE_TRACE_POINTS
