// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: promoting private mappings.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/mman.h>
#include <linux/task_work.h>

#include "internal.h"

/* A private mapping of one hugepage, with an error in a page of it, and narrowed. */
struct hugepoison_test_narrowed {
	struct file *file;
	unsigned long address;
	unsigned long size;
	unsigned long pfn;	/* of the poisoned hugepage */
	unsigned long raw;
};

static void hugepoison_test_narrow(struct kunit *test,
				   struct hugepoison_test_narrowed *n, int raw)
{
	struct page *page;
	char byte = 0;

	n->size = huge_page_size(&default_hstate);
	n->file = hugetlb_file_setup("hugepoison_test", n->size,
				     mk_vma_flags(VMA_NORESERVE_BIT),
				     HUGETLB_ANONHUGE_INODE, ilog2(n->size));
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, n->file);
	n->address = kunit_vm_mmap(test, n->file, 0, n->size,
				   PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_NORESERVE, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(n->address));
	KUNIT_ASSERT_EQ(test, put_user('x', (char __user *)n->address), 0);
	KUNIT_ASSERT_EQ(test, get_user_pages_fast(n->address, 1, 0, &page), 1);
	n->pfn = page_to_pfn(page);
	n->raw = n->address + raw * PAGE_SIZE;
	put_page(page);
	KUNIT_EXPECT_EQ(test, memory_failure(n->pfn + raw, MF_SW_SIMULATED), 0);
	KUNIT_EXPECT_EQ(test, get_user(byte, (char __user *)n->address), 0);
	KUNIT_EXPECT_EQ(test, byte, 'x');
}

/* The mapping goes, and with it the poisoned hugepage. Undo its error. */
static void hugepoison_test_unmap(struct kunit *test,
				  struct hugepoison_test_narrowed *n)
{
	struct folio *folio = pfn_folio(n->pfn);
	int i;

	vm_munmap(n->address, n->size);
	fput(n->file);
	flush_delayed_fput();
	for (i = 0; i < 100 && folio_test_hugetlb(folio); i++)
		msleep(20);
	KUNIT_EXPECT_FALSE(test, folio_test_hugetlb(folio));
	KUNIT_EXPECT_EQ(test, unpoison_memory(n->pfn + (n->raw - n->address) /
					      PAGE_SIZE), 0);
}

/* Whether the mapping is narrowed; @tried is whether promoting has failed. */
static bool hugepoison_test_is_small(struct hugepoison_test_narrowed *n, bool *tried)
{
	struct mm_struct *mm = current->mm;
	struct hugepoison_private *priv;
	struct vm_area_struct *vma;
	bool ret;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, n->address);
	ret = hugepoison_vma_is_narrowed(vma);
	priv = vma->vm_private_data;
	*tried = ret && priv->tried;
	mmap_read_unlock(mm);
	return ret;
}

/* Discard pages, then write to one of them. */
static void hugepoison_test_discard(struct kunit *test, unsigned long address,
				    unsigned long size)
{
	KUNIT_EXPECT_EQ(test, do_madvise(current->mm, address, size,
					 MADV_DONTNEED), 0);
	KUNIT_EXPECT_EQ(test, put_user('y', (char __user *)address), 0);
}

/*
 * Advice that failed is worth another try if the worker has narrowed its range meanwhile; only
 * one, as the advice may fail for another reason.
 */
static void hugepoison_test_advised(struct kunit *test)
{
	struct hugepoison_test_narrowed n;
	bool raced = false;

	hugepoison_test_narrow(test, &n, 5);
	KUNIT_EXPECT_TRUE(test, hugepoison_advise_again(current->mm, n.raw, PAGE_SIZE,
							MADV_DONTNEED, -EINVAL, &raced));
	KUNIT_EXPECT_FALSE(test, hugepoison_advise_again(current->mm, n.raw, PAGE_SIZE,
							 MADV_DONTNEED, -EINVAL, &raced));
	raced = false;
	KUNIT_EXPECT_FALSE(test, hugepoison_advise_again(current->mm, n.raw, PAGE_SIZE,
							 MADV_DONTNEED, -ENOMEM, &raced));
	KUNIT_EXPECT_FALSE(test, hugepoison_advise_again(current->mm, n.address,
							 huge_page_size(&default_hstate),
							 MADV_DONTNEED, -EINVAL, &raced));
	KUNIT_EXPECT_FALSE(test, raced);
	hugepoison_test_unmap(test, &n);
}

/*
 * The range becomes a hugepage again once its raw page is discarded, and keeps its contents.
 * A device that has pinned the hugepage may write to it, so the range stays small; then
 * no fault tries again before the process discards something.
 */
static void hugepoison_test_promote(struct kunit *test)
{
	struct hugepoison_test_narrowed n;
	struct folio *folio;
	char byte = 0;
	bool tried;
	int i;

	hugepoison_test_narrow(test, &n, 5);
	folio = pfn_folio(n.pfn);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_is_small(&n, &tried));
	KUNIT_EXPECT_FALSE(test, tried);
	folio_get(folio);
	hugepoison_test_discard(test, n.raw, PAGE_SIZE);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_is_small(&n, &tried));
	KUNIT_EXPECT_TRUE(test, tried);

	folio_put(folio);
	KUNIT_EXPECT_EQ(test, get_user(byte, (char __user *)n.raw + PAGE_SIZE), 0);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_is_small(&n, &tried));
	/* the narrow worker may have a reference still, so one try may be too early */
	for (i = 0; i < 100 && hugepoison_test_is_small(&n, &tried); i++) {
		hugepoison_test_discard(test, n.raw + PAGE_SIZE, PAGE_SIZE);
		msleep(20);
	}
	KUNIT_EXPECT_FALSE(test, hugepoison_test_is_small(&n, &tried));
	KUNIT_EXPECT_EQ(test, get_user(byte, (char __user *)n.address), 0);
	KUNIT_EXPECT_EQ(test, byte, 'x');
	KUNIT_EXPECT_EQ(test, get_user(byte, (char __user *)n.raw), 0);
	KUNIT_EXPECT_EQ(test, byte, 'y');
	KUNIT_EXPECT_EQ(test, get_user(byte, (char __user *)n.raw + 2 * PAGE_SIZE),
			0);
	KUNIT_EXPECT_EQ(test, byte, 0);
	hugepoison_test_unmap(test, &n);
}

/* Of which page frame a refill reports that it was lost: none for a page in swap. */
static void hugepoison_test_lost_pfn(struct kunit *test)
{
	struct hugepoison_test_narrowed n;
	struct vm_area_struct *vma;

	hugepoison_test_narrow(test, &n, 5);
	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, n.raw);
	KUNIT_EXPECT_EQ(test, hugepoison_lost_pfn(vma, n.raw, __pte(0)),
			n.pfn + 5);
	KUNIT_EXPECT_EQ(test, hugepoison_lost_pfn(vma, n.raw,
						  make_pte_marker(PTE_MARKER_POISONED)), 0UL);
	mmap_read_unlock(current->mm);
	hugepoison_test_unmap(test, &n);
}

/* List a range twice. The worker stays away. Return: how many ranges are listed. */
static size_t hugepoison_test_list(struct hugepoison_test_narrowed *n)
{
	struct mm_struct *mm = current->mm;
	int i;

	mmap_read_lock(mm);
	for (i = 0; i < 2; i++)
		hugepoison_queue_promotion(vma_lookup(mm, n->address));
	mmap_read_unlock(mm);
	cancel_delayed_work_sync(&hugepoison_promote_dwork);
	return list_count_nodes(&hugepoison_promotions);
}

/*
 * Hand over the first listed range, for which @nr hugepages are to spare. Return: false
 * for an empty list.
 */
static bool hugepoison_test_hand_over(long nr)
{
	long spare[HUGE_MAX_HSTATE];
	int i;

	for (i = 0; i < HUGE_MAX_HSTATE; i++)
		spare[i] = nr;
	return hugepoison_promote_next(spare);
}

/* A range is listed once, and leaves the list with its mapping. */
static void hugepoison_test_listed(struct kunit *test)
{
	struct hugepoison_test_narrowed n;

	hugepoison_test_narrow(test, &n, 5);
	KUNIT_EXPECT_FALSE(test, hugepoison_test_hand_over(1));
	KUNIT_EXPECT_EQ(test, hugepoison_test_list(&n), 1);
	hugepoison_test_unmap(test, &n);
	KUNIT_EXPECT_FALSE(test, hugepoison_test_hand_over(1));
}

/* A listed range becomes a hugepage when a task of its process returns to user mode. */
static void hugepoison_test_handed_over(struct kunit *test)
{
	struct hugepoison_test_narrowed n;
	bool tried;

	if (!IS_ENABLED(CONFIG_MEMCG))
		kunit_skip(test, "CONFIG_MEMCG is not set");
	hugepoison_test_narrow(test, &n, 5);
	KUNIT_EXPECT_EQ(test, do_madvise(current->mm, n.raw, PAGE_SIZE,
					 MADV_DONTNEED), 0);
	KUNIT_EXPECT_EQ(test, hugepoison_test_list(&n), 1);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_hand_over(0));
	KUNIT_EXPECT_TRUE(test, hugepoison_test_hand_over(1));
	KUNIT_EXPECT_FALSE(test, hugepoison_test_hand_over(1));
	KUNIT_EXPECT_TRUE(test, hugepoison_test_is_small(&n, &tried));
	task_work_run();
	KUNIT_EXPECT_FALSE(test, hugepoison_test_is_small(&n, &tried));
	hugepoison_test_unmap(test, &n);
}

/*
 * A fault in a shared mapping waits for mmap_lock, and meanwhile mremap() puts a private
 * one in its place: promoting that as a shared one would lose its contents.
 */
static void hugepoison_test_not_shared(struct kunit *test)
{
	struct hugepoison_test_narrowed n;
	struct mm_struct *mm;
	char byte = 0;
	bool tried;

	hugepoison_test_narrow(test, &n, 5);
	mm = current->mm;
	mmap_write_lock(mm);
	KUNIT_EXPECT_TRUE(test, hugepoison_vma_is_narrowed(vma_lookup(mm, n.address)));
	hugepoison_promote(mm, n.address);
	mmap_write_unlock(mm);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_is_small(&n, &tried));
	KUNIT_EXPECT_EQ(test, get_user(byte, (char __user *)n.address), 0);
	KUNIT_EXPECT_EQ(test, byte, 'x');
	hugepoison_test_unmap(test, &n);
}

static struct kunit_case hugepoison_promote_cases[] = {
	KUNIT_CASE(hugepoison_test_advised),
	KUNIT_CASE(hugepoison_test_promote),
	KUNIT_CASE(hugepoison_test_lost_pfn),
	KUNIT_CASE(hugepoison_test_listed),
	KUNIT_CASE(hugepoison_test_handed_over),
	KUNIT_CASE(hugepoison_test_not_shared),
	{}
};

static struct kunit_suite hugepoison_promote_suite = {
	.name = "hugepoison-promote",
	.test_cases = hugepoison_promote_cases,
};

kunit_test_suite(hugepoison_promote_suite);
