/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory errors in hugepages: what the hooks in stock files call.
 *
 * Each hook is one call to something declared here. With CONFIG_HUGEPOISON=n
 * every one of them is a constant or the stock expression itself, so that the
 * hooked objects are the stock objects.
 */
#ifndef _LINUX_HUGEPOISON_H
#define _LINUX_HUGEPOISON_H

#include <linux/jump_label.h>
#include <linux/mm_types.h>
#include <linux/page-flags.h>
#include <linux/pgtable.h>

struct dentry;

#ifdef CONFIG_HUGEPOISON

/* mm/hugepoison/memory-failure.c: the error handler's hugepage half */
int hugepoison_memory_failure(unsigned long pfn, int flags, int *hugetlb);
bool hugepoison_unpoison(unsigned long pfn, int *ret);
int hugepoison_corrupt_free(unsigned long size, int nid, unsigned long subpage);
int hugepoison_filter(struct page *page);

extern u64 hugepoison_filter_size;
extern u64 hugepoison_filter_cgroup;

/* mm/hugepoison/hugetlb.c: the pool */
int hugepoison_pool_replace(struct folio *folio, unsigned int order);
bool hugepoison_pool_isolate(struct folio *folio);
struct folio *hugepoison_pool_find_free(unsigned long size, int nid);

/* mm/hugepoison/rmap.c: the reverse map */
bool hugepage_unmap_poisoned(struct folio *folio);
bool hugepage_may_add_rmap(struct folio *folio, int nr_pages);
void hugepage_add_file_rmap(struct folio *folio, int nr_pages);
void hugepage_add_anon_rmap(struct folio *folio, struct page *page,
			    int nr_pages, struct vm_area_struct *vma,
			    unsigned long address);
int hugepage_try_dup_anon_rmap(struct folio *folio, int nr_pages,
			       struct vm_area_struct *src_vma);
void hugepage_remove_rmap(struct folio *folio, int nr_pages);

/* mm/hugepoison/hwpoison-inject.c: the debugfs files */
void hugepoison_inject_init(struct dentry *dir);

/* On while some hugepage is mapped below its size; a nop in the rmap else. */
DECLARE_STATIC_KEY_FALSE(hugepage_small_rmap_key);

/**
 * hugepage_small_rmap - whether a mapping of a folio counts as one of a
 *			 hugepage mapped below its size
 * @folio: the folio that is being mapped, unmapped or duplicated
 *
 * The generic reverse map keeps a count in each struct page. A hugepage has
 * no room for one: the word holds the page type in the head page, and the
 * tails may be mapped read-only (HVO). Its callers never pass a hugepage
 * mapped at its own size, that goes through hugetlb_add_file_rmap() and kin.
 *
 * Context: Any.
 * Return: true where hugepage_add_file_rmap() and kin have to do the counting.
 */
static inline bool hugepage_small_rmap(const struct folio *folio)
{
	return static_branch_unlikely(&hugepage_small_rmap_key) &&
	       folio_test_large(folio) && folio_test_hugetlb(folio);
}

/**
 * hugepoison_available - free hugepages that no reservation is waiting for
 * @free: free hugepages of the pool, in hugepages
 * @reserved: hugepages of the pool that are promised, in hugepages
 *
 * An error may take a free hugepage that was promised and that nothing can
 * replace; then more is promised than there is. Stock subtracts and would
 * read that as very many pages to spare.
 *
 * Context: hugetlb_lock held where the answer has to last.
 * Return: the difference, never below zero.
 */
static inline unsigned long hugepoison_available(unsigned long free,
						 unsigned long reserved)
{
	return free > reserved ? free - reserved : 0;
}

#ifdef CONFIG_HUGETLB_PMD_PAGE_TABLE_SHARING
/**
 * hugepoison_table_is_shared - whether several processes share a page table of
 *				hugepage entries
 * @size: of the hugepages that its entries map, in bytes
 * @table: the page table
 *
 * The count of sharers is kept, and set to begin with, for tables of PMDs
 * alone. In any other it is what the page's last user left there.
 *
 * Context: Whatever keeps @table from going away.
 * Return: true when another process uses the same @table.
 */
static inline bool hugepoison_table_is_shared(unsigned long size,
					      struct ptdesc *table)
{
	return size == PMD_SIZE && ptdesc_pmd_is_shared(table);
}
#endif

void hugepoison_reset_vmemmap(struct page *to);

#else /* !CONFIG_HUGEPOISON */

#define hugepoison_memory_failure(pfn, flags, hugetlb)			\
	try_memory_failure_hugetlb(pfn, flags, hugetlb)
#define hugepoison_available(free, reserved)	((free) - (reserved))
/* not inline: taking the address of a variable is enough to change the code */
#define hugepoison_unpoison(...)		false
#define hugepoison_table_is_shared(size, table)				\
	((void)(size), ptdesc_pmd_is_shared(table))

static inline int hugepoison_filter(struct page *page)
{
	return 0;
}

static inline bool hugepage_unmap_poisoned(struct folio *folio)
{
	return false;
}

static inline bool hugepage_small_rmap(const struct folio *folio)
{
	return false;
}

static inline void hugepage_add_file_rmap(struct folio *folio, int nr_pages)
{
}

static inline int hugepage_try_dup_anon_rmap(struct folio *folio, int nr_pages,
					     struct vm_area_struct *src_vma)
{
	return 0;
}

static inline void hugepage_remove_rmap(struct folio *folio, int nr_pages)
{
}

static inline void hugepoison_reset_vmemmap(struct page *to)
{
}

static inline void hugepoison_inject_init(struct dentry *dir)
{
}

#endif /* CONFIG_HUGEPOISON */
#endif /* _LINUX_HUGEPOISON_H */
