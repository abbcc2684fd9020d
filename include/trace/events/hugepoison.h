/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM hugepoison

#if !defined(_TRACE_HUGEPOISON_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_HUGEPOISON_H

#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/tracepoint.h>

/*
 * Operations after memory errors in hugepages, and their outcomes. All events have
 * the same fields:
 *
 *	pfn		the raw page in contain, heal and refill, the head of a
 *			hugepage in the others; 0 where there is none
 *	size		of the hugepage, in kB
 *	node		of that page frame, -1 where there is none
 *	outcome		see each event
 *	duration	in ns
 *
 * The clock is read only while an event is enabled: else @begin is 0. An operation
 * that began before its event was enabled is not traced.
 */
DECLARE_EVENT_CLASS(hugepoison,

	TP_PROTO(unsigned long pfn, unsigned int order, const char *outcome,
		 u64 begin),

	TP_ARGS(pfn, order, outcome, begin),

	TP_STRUCT__entry(
		__field(unsigned long, pfn)
		__field(unsigned long, size)
		__field(int, node)
		__string(outcome, outcome)
		__field(u64, duration)
	),

	TP_fast_assign(
		__entry->pfn = pfn;
		__entry->size = PAGE_SIZE << order >> 10;
		__entry->node = pfn ? pfn_to_nid(pfn) : NUMA_NO_NODE;
		__assign_str(outcome);
		__entry->duration = ktime_get_ns() - begin;
	),

	TP_printk("pfn=%#lx size=%lukB node=%d outcome=%s duration=%lluns",
		  __entry->pfn, __entry->size, __entry->node,
		  __get_str(outcome), __entry->duration)
);

/*
 * The handler has ended an error: from the report until the raw page is unmapped
 * everywhere and all signals are sent. The outcome is one of the counters in
 * /sys/kernel/mm/hugepoison/.
 */
DEFINE_EVENT_CONDITION(hugepoison, hugepoison_contain,
	TP_PROTO(unsigned long pfn, unsigned int order, const char *outcome,
		 u64 begin),
	TP_ARGS(pfn, order, outcome, begin),
	TP_CONDITION(begin)
);

/*
 * One mapping of a poisoned hugepage keeps the healthy pages ("narrowed"), or
 * cannot for now, and the log says why ("failed").
 */
DEFINE_EVENT_CONDITION(hugepoison, hugepoison_narrow,
	TP_PROTO(unsigned long pfn, unsigned int order, const char *outcome,
		 u64 begin),
	TP_ARGS(pfn, order, outcome, begin),
	TP_CONDITION(begin)
);

/*
 * One such mapping maps a hugepage again ("promoted"), or could not, as
 * somebody holds a page of it ("failed"). There is no page frame where the file
 * has nothing there.
 */
DEFINE_EVENT_CONDITION(hugepoison, hugepoison_promote,
	TP_PROTO(unsigned long pfn, unsigned int order, const char *outcome,
		 u64 begin),
	TP_ARGS(pfn, order, outcome, begin),
	TP_CONDITION(begin)
);

/*
 * A poisoned hugepage that nobody had any more was taken apart: its healthy pages
 * are free ("released").
 */
DEFINE_EVENT_CONDITION(hugepoison, hugepoison_release,
	TP_PROTO(unsigned long pfn, unsigned int order, const char *outcome,
		 u64 begin),
	TP_ARGS(pfn, order, outcome, begin),
	TP_CONDITION(begin)
);

/*
 * A fresh hugepage is in the pool for one that left it: @pfn is the fresh one
 * ("replaced"). Or no hugepage was available, and @pfn is the one that the pool
 * lacks from now on ("failed").
 */
DEFINE_EVENT_CONDITION(hugepoison, hugepoison_replace,
	TP_PROTO(unsigned long pfn, unsigned int order, const char *outcome,
		 u64 begin),
	TP_ARGS(pfn, order, outcome, begin),
	TP_CONDITION(begin)
);

/*
 * The owner has punched the raw page out of its file, and good memory took its
 * place ("healed"), or did not, and the log says why ("failed").
 */
DEFINE_EVENT_CONDITION(hugepoison, hugepoison_heal,
	TP_PROTO(unsigned long pfn, unsigned int order, const char *outcome,
		 u64 begin),
	TP_ARGS(pfn, order, outcome, begin),
	TP_CONDITION(begin)
);

/*
 * A process has filled a lost page again ("refilled"). There is no page frame where
 * the file of a private mapping no longer has the hugepage.
 */
DEFINE_EVENT_CONDITION(hugepoison, hugepoison_refill,
	TP_PROTO(unsigned long pfn, unsigned int order, const char *outcome,
		 u64 begin),
	TP_ARGS(pfn, order, outcome, begin),
	TP_CONDITION(begin)
);

#endif /* _TRACE_HUGEPOISON_H */

#include <trace/define_trace.h>
