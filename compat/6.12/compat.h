/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory errors in hugepages: what Linux 7.3 has and 6.12 has not, or by another name.
 *
 * Included by hugepoison/internal.h, at the end of each stock file that ours extend: a
 * name of stock may get another meaning here.
 */
#ifndef _MM_HUGEPOISON_COMPAT_H
#define _MM_HUGEPOISON_COMPAT_H

#include <linux/cma.h>
#include <linux/hugetlb.h>
#include <linux/memcontrol.h>
#include <linux/swapops.h>

#include "vmemmap.h"

/*
 * Entries of page tables. Newer releases have two of the names, but without the tests:
 * pte_to_swp_entry() decodes what is none, or present, as well.
 */
#undef softleaf_from_pte
#undef softleaf_to_pfn
static inline swp_entry_t softleaf_from_pte(pte_t entry)
{
	if (pte_none(entry) || pte_present(entry))
		return (swp_entry_t){ };
	return pte_to_swp_entry(entry);
}

#define softleaf_is_hwpoison(leaf)	is_hwpoison_entry(leaf)
#define softleaf_is_poison_marker(leaf)	is_poisoned_swp_entry(leaf)
#define softleaf_to_pfn(leaf)		swp_offset_pfn(leaf)
#define pte_is_marker(entry)		is_pte_marker(entry)
#define pte_is_uffd_wp_marker(entry)	pte_marker_uffd_wp(entry)
#define pte_mkuffd(entry)		pte_mkuffd_wp(entry)
/* our callers ask the mapping before */
#define make_huge_pte(vma, folio, try_mkwrite)				\
	make_huge_pte(vma, &(folio)->page, try_mkwrite)

/* Folios and pages */
#define __folio_index			index
#define FOLIO_MAPPING_ANON		PAGE_MAPPING_ANON
#undef vma_alloc_folio
#define vma_alloc_folio(gfp, order, vma, address)			\
	alloc_hooks(vma_alloc_folio_noprof(gfp, order, vma, address, false))
#define account_new_hugetlb_folio(h, folio)				\
	__prep_account_new_huge_page(h, folio_nid(folio))

/* There is no count of hugepages in use. */
#define NR_HUGETLB			0
static inline void hugepoison_no_stat(struct folio *folio, int item, long nr)
{
}

#define lruvec_stat_mod_folio(folio, item, nr)	hugepoison_no_stat(folio, item, nr)

/* Here a charge comes before the hugepage: it is committed at once. */
static inline int mem_cgroup_charge_hugetlb(struct folio *folio,
					    struct mm_struct *mm, gfp_t gfp)
{
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(mm);
	int ret = mem_cgroup_hugetlb_try_charge(memcg, gfp, folio_nr_pages(folio));

	if (!ret)
		mem_cgroup_commit_charge(folio, memcg);
	mem_cgroup_put(memcg);
	return ret == -ENOMEM ? ret : 0;
}

/* The array of areas is in hugetlb.c. */
#ifdef CONFIG_CMA
#define folio_test_hugetlb_cma(hugepage) ({				\
	struct folio *__folio = (hugepage);				\
									\
	cma_pages_valid(hugetlb_cma[folio_nid(__folio)],		\
			&__folio->page, 1); })

static inline bool cma_release_frozen(struct cma *cma, const struct page *page,
				      unsigned long nr)
{
	unsigned long i;

	if (!cma_pages_valid(cma, page, nr))
		return false;
	for (i = 0; i < nr; i++)
		set_page_refcounted((struct page *)page + i);
	return cma_release(cma, page, nr);
}
#endif

/* Mappings. An anonymous page of a file's mapping has the file's index. */
#define mapping_rmap_tree_foreach(vma, mapping, first, last)		\
	vma_interval_tree_foreach(vma, &(mapping)->i_mmap, first, last)
#define anon_rmap_tree_foreach(avc, anon_vma, first, last)		\
	anon_vma_interval_tree_foreach(avc, &(anon_vma)->rb_root, first, last)
#define folio_lock_anon_vma_read(of, rwc)				\
	folio_lock_anon_vma_read((struct folio *)(of), rwc)
#define vma_start_anon_pgoff(vma)	((vma)->vm_pgoff)
#define linear_anon_page_index(vma, address)	linear_page_index(vma, address)
#define zap_vma_range(vma, address, size)				\
	zap_page_range_single(vma, address, size, NULL)
#define vma_flags_t			vm_flags_t
#define legacy_to_vma_flags(flags)	(flags)
#define mk_vma_flags(flag)		(flag)
#define VMA_NORESERVE_BIT		VM_NORESERVE
#define vma_modify_flags(vmi, prev, vma, start, end, flags)		\
	vma_modify_flags(vmi, prev, vma, start, end, *(flags))

#define VM_WARN_ON_ONCE_VMA(cond, vma)	VM_WARN_ON_ONCE((cond) && (vma))

static inline void zap_vma(struct vm_area_struct *vma)
{
	zap_vma_range(vma, vma->vm_start, vma->vm_end - vma->vm_start);
}

/* Memory; later releases of 6.12 have it */
#ifndef kmalloc_obj
#define kmalloc_obj(object, gfp)		kmalloc(sizeof(object), gfp)
#define kzalloc_obj(object, gfp)		kzalloc(sizeof(object), gfp)
#endif

/* Files */
#define for_each_alias(dentry, inode)					\
	hlist_for_each_entry(dentry, &(inode)->i_dentry, d_u.d_alias)

#endif /* _MM_HUGEPOISON_COMPAT_H */
