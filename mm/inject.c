// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the error handler's part of the injector.
 *
 * hwpoison-inject.c has the injector's files.
 */
#include <linux/cgroup.h>
#include <linux/export.h>
#include <linux/hugetlb.h>
#include <linux/hugetlb_cgroup.h>
#include <trace/events/hugepoison.h>

#include "internal.h"

/**
 * hugepoison_corrupt_free - inject an error into a free hugepage
 * @size: hugepage size, in bytes
 * @nid: node to look on, NUMA_NO_NODE for any
 * @subpage: which base page of the hugepage is the raw one
 *
 * The hugepage is chosen and marked under hugetlb_lock: else it could be allocated
 * before the error hits it.
 *
 * Context: Process context, may sleep; takes mf_mutex.
 * Return: as hugepoison_memory_failure(), or -EINVAL when there is no such
 * size, -ENOENT when no healthy hugepage of it is free there.
 */
int hugepoison_corrupt_free(unsigned long size, int nid, unsigned long subpage)
{
	struct hugepoison_error err = {
		.flags = MF_SW_SIMULATED,
		.begin = hugepoison_trace_begin(trace_hugepoison_contain_enabled()),
	};
	struct folio *folio = NULL;
	int ret = -ENOENT;
	int node;

	mutex_lock(&mf_mutex);
	hugepoison_begin_error(&err);
	spin_lock_irq(&hugetlb_lock);
	for_each_online_node(node) {
		if (nid == NUMA_NO_NODE || nid == node)
			folio = hugepoison_pool_find_free(size, node);
		if (folio)
			break;
	}
	if (!IS_ERR_OR_NULL(folio)) {
		err.page = folio_page(folio, subpage);
		err.pfn = page_to_pfn(err.page);
		hugetlb_update_hwpoison(folio, err.page);
	}
	spin_unlock_irq(&hugetlb_lock);

	if (IS_ERR(folio))
		ret = PTR_ERR(folio);
	else if (folio)
		ret = hugepoison_contain_free(&err);
	hugepoison_end_error(&err);
	mutex_unlock(&mf_mutex);
	return ret;
}

#if IS_ENABLED(CONFIG_HWPOISON_INJECT)
/* Set through debugfs; 0 excludes nothing. */
u64 hugepoison_filter_size;
u64 hugepoison_filter_cgroup;

/* Inode number of the hugetlb cgroup a hugepage is charged to, 0 for none. */
static u64 hugepoison_cgroup_ino(struct folio *folio)
{
	u64 ino = 0;
#ifdef CONFIG_CGROUP_HUGETLB
	struct hugetlb_cgroup *group;

	/* hugepages are uncharged under this lock */
	spin_lock_irq(&hugetlb_lock);
	group = folio_test_hugetlb(folio) ? hugetlb_cgroup_from_folio(folio) :
					    NULL;
	if (group)
		ino = cgroup_ino(group->css.cgroup);
	spin_unlock_irq(&hugetlb_lock);
#endif
	return ino;
}

/**
 * hugepoison_filter - whether the hugepage filters except a page
 * @page: the page about to be poisoned
 *
 * Context: Process context; takes hugetlb_lock.
 * Return: 0 to go on, -EINVAL when a filter is set and @page does not match.
 */
int hugepoison_filter(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (hugepoison_filter_size &&
	    (!folio_test_hugetlb(folio) ||
	     folio_size(folio) >> 10 != hugepoison_filter_size))
		return -EINVAL;
	if (hugepoison_filter_cgroup &&
	    hugepoison_cgroup_ino(folio) != hugepoison_filter_cgroup)
		return -EINVAL;
	return 0;
}
EXPORT_SYMBOL_GPL(hugepoison_filter);
#endif
