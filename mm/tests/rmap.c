// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: the reverse map of hugepages.
 */
#include <kunit/test.h>
#include <linux/mman.h>
#include <linux/sched/rt.h>

#include "internal.h"

static struct folio *hugepage_test_folio(struct kunit *test)
{
	struct folio *folio =
		alloc_hugetlb_folio_nodemask(&default_hstate, 0, NULL,
					     GFP_KERNEL, true);

	KUNIT_ASSERT_NOT_NULL(test, folio);
	return folio;
}

/* The generic calls count a hugepage in one place and leave its pages alone. */
static void hugepage_test_file_rmap(struct kunit *test)
{
	struct folio *folio = hugepage_test_folio(test);
	struct vm_area_struct vma = { };
	struct page *page = folio_page(folio, 3);
	int tail = atomic_read(&page->_mapcount);

	static_branch_inc(&hugepoison_small_rmap_key);
	hugepoison_add_file_rmap(folio, 10);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), 10);
	KUNIT_EXPECT_TRUE(test, folio_mapped(folio));
	KUNIT_EXPECT_TRUE(test, folio_test_hugetlb(folio));
	KUNIT_EXPECT_EQ(test, atomic_read(&page->_mapcount), tail);
	KUNIT_EXPECT_EQ(test, folio_entire_mapcount(folio), 0);

	folio_remove_rmap_ptes(folio, page, 9, &vma);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), 1);
	folio_remove_rmap_pmd(folio, &folio->page, &vma);
	static_branch_dec(&hugepoison_small_rmap_key);
	KUNIT_EXPECT_FALSE(test, folio_mapped(folio));
	KUNIT_EXPECT_EQ(test, atomic_read(&page->_mapcount), tail);
	folio_put(folio);
}

/* A private hugepage counts in the same place. */
static void hugepage_test_anon_rmap(struct kunit *test)
{
	struct folio *folio = hugepage_test_folio(test);
	struct vm_area_struct vma = {
		.vm_start = SZ_1G,
		.vm_end = SZ_1G + PMD_SIZE,
		.vm_flags = VM_MAYWRITE,
	};
	unsigned long mapping = FOLIO_MAPPING_ANON;

	folio->mapping = (void *)mapping;
	folio->index = 0;
	hugepage_add_anon_rmap(folio, folio_page(folio, 2), 3, &vma,
			       SZ_1G + 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), 3);
	hugepoison_remove_rmap(folio, 3);
	KUNIT_EXPECT_FALSE(test, folio_mapped(folio));
	folio->mapping = NULL;
	folio_put(folio);
}

/* The number of mappings is estimated from the number of entries. */
static void hugepage_test_mapcount(struct kunit *test)
{
	struct folio *folio = hugepage_test_folio(test);
	int healthy = folio_nr_pages(folio) - 1;

	KUNIT_EXPECT_EQ(test, hugepoison_mapcount(folio), 0);
	hugepoison_add_file_rmap(folio, 1);
	KUNIT_EXPECT_EQ(test, hugepoison_mapcount(folio), 1);
	hugepoison_add_file_rmap(folio, healthy - 1);
	KUNIT_EXPECT_EQ(test, hugepoison_mapcount(folio), 1);
	hugepoison_add_file_rmap(folio, 2 * healthy);
	KUNIT_EXPECT_EQ(test, hugepoison_mapcount(folio), 3);
	hugepoison_remove_rmap(folio, 3 * healthy);
	hugetlb_add_file_rmap(folio);
	KUNIT_EXPECT_EQ(test, hugepoison_mapcount(folio), 1);
	hugetlb_remove_rmap(folio);
	folio_put(folio);
}

/* Far below the overflow there is no more mapping. */
static void hugepage_test_limit(struct kunit *test)
{
	struct folio *folio = hugepage_test_folio(test);
	int mapcount = atomic_read(&folio->_large_mapcount);

	KUNIT_EXPECT_TRUE(test, hugepoison_may_add_rmap(folio, 512));
	/*
	 * 1000 mappers of a 1 GiB page, one block of it by base pages: a
	 * million, a thousandth of the limit; even by base pages alone, a
	 * quarter of it.
	 */
	atomic_set(&folio->_large_mapcount, 1000 * (511 + 512));
	folio_ref_add(folio, 1000 * (511 + 512));
	KUNIT_EXPECT_TRUE(test, hugepoison_may_add_rmap(folio, INT_MAX / 2 -
							1000 * 1024));
	folio_ref_sub(folio, 1000 * (511 + 512));
	atomic_set(&folio->_large_mapcount, 1000 * 262144);
	KUNIT_EXPECT_TRUE(test, hugepoison_may_add_rmap(folio, 512));
	atomic_set(&folio->_large_mapcount, INT_MAX / 2 - 512);
	KUNIT_EXPECT_FALSE(test, hugepoison_may_add_rmap(folio, 512));
	atomic_set(&folio->_large_mapcount, mapcount);

	folio_ref_add(folio, INT_MAX / 2);
	KUNIT_EXPECT_FALSE(test, hugepoison_may_add_rmap(folio, 1));
	folio_ref_sub(folio, INT_MAX / 2);
	folio_put(folio);
}

/* The folio mapped at @address of this test's mm, NULL where an entry is bad. */
static struct folio *hugepage_test_entry(unsigned long address, pte_t *entry)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	struct folio *folio = NULL;
	pte_t *ptep;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, address);
	hugetlb_vma_lock_read(vma);
	ptep = hugetlb_walk(vma, address, huge_page_size(hstate_vma(vma)));
	*entry = huge_ptep_get(mm, address, ptep);
	if (pte_present(*entry))
		folio = page_folio(pte_page(*entry));
	hugetlb_vma_unlock_read(vma);
	mmap_read_unlock(mm);
	return folio;
}

static void hugepage_test_expect_poisoned(struct kunit *test,
					  unsigned long address,
					  struct folio *folio)
{
	pte_t entry;

	KUNIT_EXPECT_NULL(test, hugepage_test_entry(address, &entry));
	KUNIT_EXPECT_TRUE(test, hugepoison_is_hwpoison(entry));
	KUNIT_EXPECT_EQ(test, softleaf_to_pfn(softleaf_from_pte(entry)),
			folio_pfn(folio));
}

/* Every mapping gets a hwpoison entry, and all that was counted is uncounted. */
static void hugepage_test_unmap(struct kunit *test, unsigned long flags)
{
	struct hstate *h = &default_hstate;
	unsigned long size = huge_page_size(h), address[2], overcommit;
	int refs, nr = flags & MAP_SHARED ? 2 : 1, i;
	struct folio *folio = NULL;
	struct file *file;
	pte_t entry;

	overcommit = h->nr_overcommit_huge_pages;
	h->nr_overcommit_huge_pages = overcommit + 2;
	file = hugetlb_file_setup("hugepage_test", size,
				  mk_vma_flags(VMA_NORESERVE_BIT),
				  HUGETLB_ANONHUGE_INODE, ilog2(size));
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	for (i = 0; i < nr; i++) {
		address[i] = kunit_vm_mmap(test, file, 0, size,
					   PROT_READ | PROT_WRITE,
					   flags | MAP_NORESERVE, 0);
		KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(address[i]));
		KUNIT_ASSERT_EQ(test, put_user((char)i, (char __user *)address[i]),
				0);
	}

	folio = hugepage_test_entry(address[0], &entry);
	KUNIT_ASSERT_NOT_NULL(test, folio);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), nr);
	refs = folio_ref_count(folio);
	folio_get(folio);
	folio_lock(folio);
	KUNIT_EXPECT_TRUE(test, hugepoison_unmap_poisoned(folio));
	folio_unlock(folio);

	KUNIT_EXPECT_FALSE(test, folio_mapped(folio));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), refs + 1 - nr);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&current->mm->hugetlb_usage), 0L);
	for (i = 0; i < nr; i++) {
		hugepage_test_expect_poisoned(test, address[i], folio);
		vm_munmap(address[i], size);
	}
	folio_put(folio);
	fput(file);
	h->nr_overcommit_huge_pages = overcommit;
}

static void hugepage_test_unmap_shared(struct kunit *test)
{
	hugepage_test_unmap(test, MAP_SHARED);
}

static void hugepage_test_unmap_private(struct kunit *test)
{
	hugepage_test_unmap(test, MAP_PRIVATE);
}

/* Stock unmaps all that is no hugepage. */
static void hugepage_test_unmap_other(struct kunit *test)
{
	struct page *page = alloc_page(GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	lock_page(page);
	KUNIT_EXPECT_FALSE(test, hugepoison_unmap_poisoned(page_folio(page)));
	unlock_page(page);
	__free_page(page);
}

static bool hugepage_test_stop(void)
{
	bool stopped;

	mutex_lock(&hugepoison_small_mutex);
	stopped = hugepoison_stop_small_rmap();
	mutex_unlock(&hugepoison_small_mutex);
	return stopped;
}

/* The key stays on as long as it has a user, and gets none while it is off. */
static void hugepage_test_small_key(struct kunit *test)
{
	hugepoison_await_small_rmap();
	KUNIT_ASSERT_TRUE(test, hugepoison_get_small_rmap());
	hugepoison_dup_small_rmap();
	hugepoison_put_small_rmap();
	KUNIT_EXPECT_FALSE(test, hugepage_test_stop());
	KUNIT_EXPECT_TRUE(test, hugepoison_small_rmap_enabled());
	KUNIT_EXPECT_TRUE(test, static_key_enabled(&hugepoison_small_rmap_key));

	hugepoison_put_small_rmap();
	KUNIT_EXPECT_TRUE(test, hugepage_test_stop());
	KUNIT_EXPECT_FALSE(test, static_key_enabled(&hugepoison_small_rmap_key));
	KUNIT_EXPECT_FALSE(test, hugepoison_get_small_rmap());
	KUNIT_EXPECT_EQ(test, atomic_long_read(&hugepoison_small_users), 0L);

	hugepoison_await_small_rmap();
	KUNIT_EXPECT_TRUE(test, hugepoison_get_small_rmap());
	hugepoison_put_small_rmap();
}

struct hugepage_test_work {
	struct work_struct work;
	int nice;
	bool urgent;
	bool still;
};

static void hugepage_test_get_nice(struct work_struct *work)
{
	struct hugepage_test_work *own =
		container_of(work, struct hugepage_test_work, work);

	hugepoison_begin_urgent();
	own->urgent = rt_task(current);
	hugepoison_end_urgent();
	own->still = rt_task(current);
	own->nice = task_nice(current);
}

/* The works that follow an error do not wait for the tasks of a user. */
static void hugepage_test_wq(struct kunit *test)
{
	struct hugepage_test_work own = { .nice = MAX_NICE };

	INIT_WORK_ONSTACK(&own.work, hugepage_test_get_nice);
	queue_work(hugepoison_wq, &own.work);
	flush_work(&own.work);
	destroy_work_on_stack(&own.work);
	KUNIT_EXPECT_TRUE(test, own.urgent);
	KUNIT_EXPECT_FALSE(test, own.still);
	KUNIT_EXPECT_EQ(test, own.nice, MIN_NICE);
}

static struct kunit_case hugepage_rmap_cases[] = {
	KUNIT_CASE(hugepage_test_file_rmap),
	KUNIT_CASE(hugepage_test_anon_rmap),
	KUNIT_CASE(hugepage_test_mapcount),
	KUNIT_CASE(hugepage_test_limit),
	KUNIT_CASE(hugepage_test_unmap_shared),
	KUNIT_CASE(hugepage_test_unmap_private),
	KUNIT_CASE(hugepage_test_unmap_other),
	KUNIT_CASE(hugepage_test_small_key),
	KUNIT_CASE(hugepage_test_wq),
	{}
};

static struct kunit_suite hugepage_rmap_suite = {
	.name = "hugepoison-rmap",
	.test_cases = hugepage_rmap_cases,
};

kunit_test_suite(hugepage_rmap_suite);
