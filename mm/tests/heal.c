// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: good memory in place of the bad. Included by hugepoison/memory-failure.c.
 */
#include <linux/completion.h>
#include <linux/file.h>
#include <linux/kthread.h>
#include <linux/sched/rt.h>

static int hugepoison_test_step(struct hugepoison_heal *heal, int ret)
{
	/* it takes that itself, and is urgent then, after what may take long */
	lockdep_assert_not_held(&mf_mutex);
	return !rt_task(current) && task_nice(current) == MIN_NICE ? ret + 1 :
								     -EPERM;
}

/* A heal takes the handler's mutex at nobody's priority but the worker's. */
static void hugepoison_test_heal_by_worker(struct kunit *test)
{
	struct hugepoison_heal heal = { };

	KUNIT_EXPECT_EQ(test, hugepoison_heal_by_worker(&heal,
							hugepoison_test_step,
							1), 2);
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&mf_mutex));
}

/* Zeroing passes by the raw pages. */
static void hugepoison_test_zero(struct kunit *test)
{
	static const unsigned int raw[] = { 3 };
	struct hugepoison_test_file f;
	char *bad;

	hugepoison_test_open(test, &f);
	bad = page_address(folio_page(f.folio, raw[0]));
	memset(bad - PAGE_SIZE, 0x55, 3 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED),
			0);
	folio_lock(f.folio);
	hugepoison_zero_segment(f.folio, 2 * PAGE_SIZE + 1, 5 * PAGE_SIZE - 1);
	folio_unlock(f.folio);
	KUNIT_EXPECT_EQ(test, bad[-(long)PAGE_SIZE], 0x55);
	KUNIT_EXPECT_PTR_EQ(test, memchr_inv(bad - PAGE_SIZE + 1, 0,
					     PAGE_SIZE - 1), NULL);
	KUNIT_EXPECT_PTR_EQ(test, memchr_inv(bad, 0x55, PAGE_SIZE), NULL);
	KUNIT_EXPECT_PTR_EQ(test, memchr_inv(bad + PAGE_SIZE, 0,
					     PAGE_SIZE - 1), NULL);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

/*
 * A user holds the poisoned hugepage: the file keeps it. Without users the file gets a
 * fresh one, with zeros for the raw page only.
 */
static void hugepoison_test_held(struct kunit *test)
{
	static const unsigned int raw[] = { 3 };
	struct hugepoison_test_file f;
	unsigned long at, hole = raw[0] * PAGE_SIZE;
	struct inode *inode;
	char byte = 1;

	hugepoison_test_open(test, &f);
	at = f.address + hole;
	inode = file_inode(f.file);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED),
			0);
	folio_get(f.folio);
	KUNIT_EXPECT_EQ(test, hugepoison_heal_hole(inode, hole, PAGE_SIZE),
			-EBUSY);
	KUNIT_EXPECT_PTR_EQ(test, xa_load(&inode->i_mapping->i_pages, 0), f.folio);
	KUNIT_EXPECT_EQ(test, hugepoison_test_read(at, &byte), -EFAULT);
	KUNIT_EXPECT_EQ(test, hugepoison_test_read(f.address, &byte), 0);
	KUNIT_EXPECT_EQ(test, byte, 'x');

	folio_put(f.folio);
	KUNIT_EXPECT_EQ(test, hugepoison_heal_hole(inode, hole, PAGE_SIZE), 0);
	KUNIT_EXPECT_PTR_NE(test, xa_load(&inode->i_mapping->i_pages, 0), f.folio);
	KUNIT_EXPECT_EQ(test, hugepoison_test_read(f.address, &byte), 0);
	KUNIT_EXPECT_EQ(test, byte, 'x');
	KUNIT_EXPECT_EQ(test, hugepoison_test_read(at, &byte), 0);
	KUNIT_EXPECT_EQ(test, byte, 0);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

/* A file with one hugepage. */
static struct file *hugepoison_test_new_file(struct kunit *test)
{
	unsigned long size = huge_page_size(&default_hstate);
	struct file *file = hugetlb_file_setup("hugepoison_test", size,
					       mk_vma_flags(VMA_NORESERVE_BIT),
					       HUGETLB_ANONHUGE_INODE,
					       ilog2(size));

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	KUNIT_ASSERT_EQ(test, vfs_fallocate(file, 0, 0, size), 0);
	return file;
}

/* The page frame of a file's hugepage. */
static unsigned long hugepoison_test_pfn(struct kunit *test, struct file *file)
{
	struct folio *folio = filemap_get_folio(file->f_mapping, 0);
	unsigned long pfn;

	KUNIT_ASSERT_FALSE(test, IS_ERR(folio));
	pfn = folio_pfn(folio);
	folio_put(folio);
	return pfn;
}

struct hugepoison_test_healer {
	struct file *file;
	struct folio *fresh;
	int ret;
	struct completion done;
};

static int hugepoison_test_heal(void *data)
{
	struct hugepoison_test_healer *healer = data;
	struct hugepoison_heal heal = {
		.inode = file_inode(healer->file),
		.fresh = healer->fresh,
		.first = 5,
		.end = 6,
	};

	inode_lock(heal.inode);
	healer->ret = hugepoison_heal_once(&heal);
	inode_unlock(heal.inode);
	complete(&healer->done);
	return 0;
}

/* Errors do not wait for the lock of a heal's hugepage, which users may still have. */
static void hugepoison_test_locked_fresh(struct kunit *test)
{
	struct hugepoison_test_healer healer = {
		.file = hugepoison_test_new_file(test),
		.fresh = hugepoison_pool_spare(huge_page_order(&default_hstate), 0),
	};
	unsigned long pfn = hugepoison_test_pfn(test, healer.file);
	bool taken, early;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, healer.fresh);
	KUNIT_EXPECT_EQ(test, memory_failure(pfn + 5, MF_SW_SIMULATED), 0);
	folio_lock(healer.fresh);
	init_completion(&healer.done);
	KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(hugepoison_test_heal, &healer,
						    "hugepoison_test")));
	early = wait_for_completion_timeout(&healer.done, HZ / 5);
	KUNIT_EXPECT_FALSE(test, early);
	taken = mutex_trylock(&mf_mutex);
	KUNIT_EXPECT_TRUE(test, taken);
	if (taken)
		mutex_unlock(&mf_mutex);
	folio_unlock(healer.fresh);
	if (!early)
		wait_for_completion(&healer.done);
	KUNIT_EXPECT_EQ(test, healer.ret, 0);
	KUNIT_EXPECT_EQ(test, hugepoison_test_pfn(test, healer.file),
			folio_pfn(healer.fresh));

	folio_put(healer.fresh);
	fput(healer.file);
	flush_delayed_fput();
	for (i = 0; i < 100 && folio_test_hugetlb(pfn_folio(pfn)); i++)
		msleep(20);
	KUNIT_EXPECT_FALSE(test, folio_test_hugetlb(pfn_folio(pfn)));
	KUNIT_EXPECT_EQ(test, unpoison_memory(pfn + 5), 0);
}

struct hugepoison_test_pin {
	struct file *file;
	struct folio *folio;
	long nr;
	struct completion done;
};

static int hugepoison_test_pin_folio(void *data)
{
	struct hugepoison_test_pin *pin = data;
	pgoff_t offset;

	pin->nr = memfd_pin_folios(pin->file, 0, PAGE_SIZE - 1, &pin->folio, 1,
				   &offset);
	complete(&pin->done);
	return 0;
}

/*
 * A heal's hugepage, not filled yet, is not what memfd_pin_folios() finds. When the heal is
 * undone memfd_pin_folios() finds the hugepage that was there before.
 */
static void hugepoison_test_settled(struct kunit *test)
{
	struct hugepoison_test_pin pin = { .file = hugepoison_test_new_file(test) };
	struct folio *fresh = hugepoison_test_folio(test), *folio;
	struct address_space *mapping = pin.file->f_mapping;
	bool early;

	folio = filemap_lock_hugetlb_folio(&default_hstate, mapping, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(folio));
	folio_lock(fresh);
	hugepoison_exchange(mapping, folio, fresh);
	folio_unlock(folio);

	init_completion(&pin.done);
	KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(hugepoison_test_pin_folio,
						    &pin, "hugepoison_test")));
	early = wait_for_completion_timeout(&pin.done, HZ / 5);
	KUNIT_EXPECT_FALSE(test, early);

	folio_lock(folio);
	hugepoison_exchange(mapping, fresh, folio);
	folio_unlock(fresh);
	folio_unlock(folio);
	if (!early)
		wait_for_completion(&pin.done);
	KUNIT_EXPECT_EQ(test, pin.nr, 1L);
	KUNIT_EXPECT_PTR_EQ(test, pin.folio, folio);
	if (pin.nr == 1)
		unpin_folios(&pin.folio, 1);
	folio_put(folio);
	folio_put(fresh);
	fput(pin.file);
	flush_delayed_fput();
}

static struct kunit_case hugepoison_heal_cases[] = {
	KUNIT_CASE(hugepoison_test_heal_by_worker),
	KUNIT_CASE(hugepoison_test_zero),
	KUNIT_CASE(hugepoison_test_held),
	KUNIT_CASE(hugepoison_test_locked_fresh),
	KUNIT_CASE(hugepoison_test_settled),
	{}
};

static struct kunit_suite hugepoison_heal_suite = {
	.name = "hugepoison-heal",
	.test_cases = hugepoison_heal_cases,
};

kunit_test_suite(hugepoison_heal_suite);
