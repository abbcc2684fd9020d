// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: hugepages that lose their raw pages only.
 *
 * User space cannot test these: faults that may not drop mmap_lock, an unreliable list of
 * raw pages, and the order of locks.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/shmem_fs.h>

#include "internal.h"

/* A file with one hugepage of the default size, mapped here and written to. */
struct hugepoison_test_file {
	struct file *file;
	unsigned long address;
	unsigned long size;
	struct folio *folio;
	unsigned long pfn;
	long corrupted;
};

static void hugepoison_test_open(struct kunit *test,
				 struct hugepoison_test_file *f)
{
	f->corrupted = atomic_long_read(&num_poisoned_pages);
	f->size = huge_page_size(&default_hstate);
	f->file = hugetlb_file_setup("hugepoison_test", f->size,
				     mk_vma_flags(VMA_NORESERVE_BIT),
				     HUGETLB_ANONHUGE_INODE, ilog2(f->size));
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, f->file);
	f->address = kunit_vm_mmap(test, f->file, 0, f->size,
				   PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_NORESERVE, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(f->address));
	KUNIT_ASSERT_EQ(test, put_user('x', (char __user *)f->address), 0);

	f->folio = filemap_lock_hugetlb_folio(&default_hstate,
					      f->file->f_mapping, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, f->folio);
	folio_unlock(f->folio);
	folio_put(f->folio);
	f->pfn = folio_pfn(f->folio);
}

/* The last user goes. */
static void hugepoison_test_leave(struct hugepoison_test_file *f)
{
	vm_munmap(f->address, f->size);
	fput(f->file);
	flush_delayed_fput();
}

/* The healthy pages are released, the raw ones kept until their errors are undone. */
static void hugepoison_test_undo(struct kunit *test,
				 struct hugepoison_test_file *f,
				 const unsigned int *raw, int nr)
{
	int i, ret;

	for (i = 0; i < 100 && folio_test_hugetlb(f->folio); i++)
		msleep(20);
	KUNIT_EXPECT_FALSE(test, folio_test_hugetlb(f->folio));
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages),
			f->corrupted + nr);
	for (i = 0; i < nr; i++) {
		KUNIT_EXPECT_TRUE(test,
				  hugepoison_unpoison(f->pfn + raw[i], &ret));
		KUNIT_EXPECT_EQ(test, ret, 0);
	}
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages),
			f->corrupted);
}

static void hugepoison_test_close(struct kunit *test,
				  struct hugepoison_test_file *f,
				  const unsigned int *raw, int nr)
{
	hugepoison_test_leave(f);
	hugepoison_test_undo(test, f, raw, nr);
}

static int hugepoison_test_read(unsigned long address, char *byte)
{
	return get_user(*byte, (char __user *)address);
}

/* Fault, and return the result's bits. */
static unsigned int hugepoison_test_fault(struct kunit *test,
					  unsigned long address,
					  unsigned int flags)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	vm_fault_t ret;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, address);
	ret = handle_mm_fault(vma, address, flags, NULL);
	/* these faults leave the lock held, whatever they return */
	mmap_assert_locked(mm);
	mmap_read_unlock(mm);
	return (__force unsigned int)ret;
}

static bool hugepoison_test_is_narrowed(unsigned long address)
{
	struct mm_struct *mm = current->mm;
	bool ret;

	mmap_read_lock(mm);
	ret = hugepoison_vma_is_narrowed(vma_lookup(mm, address));
	mmap_read_unlock(mm);
	return ret;
}

/* The si_addr_lsb of a known error, for a process whose entry says @shift. */
static short hugepoison_test_shift(unsigned long address, short shift)
{
	struct mm_struct *mm = current->mm;

	mmap_read_lock(mm);
	shift = hugepoison_accessed_shift(mm, address, shift);
	mmap_read_unlock(mm);
	return shift;
}

static void hugepoison_test_become(unsigned long pfn,
				   enum hugepoison_state state)
{
	mutex_lock(&mf_mutex);
	hugepoison_become(hugepoison_lookup(pfn), state);
	mutex_unlock(&mf_mutex);
}

/* Without leave to drop mmap_lock a fault fails until the worker has narrowed. */
static void hugepoison_test_no_retry(struct kunit *test)
{
	const unsigned int nowait = FAULT_FLAG_ALLOW_RETRY |
				    FAULT_FLAG_RETRY_NOWAIT;
	static const unsigned int raw[] = { 7 };
	struct hugepoison_test_file f;
	unsigned long at;
	short shift;
	char byte;
	int i;

	hugepoison_test_open(test, &f);
	at = f.address + raw[0] * PAGE_SIZE;
	shift = ilog2(f.size);
	KUNIT_EXPECT_EQ(test, hugepoison_test_shift(at, shift), shift);
	/* the worker is not to be there before */
	disable_delayed_work_sync(&hugepoison_narrow_dwork);
	mutex_lock(&mf_mutex);
	KUNIT_EXPECT_EQ(test, hugepoison_memory_failure(f.pfn + raw[0],
							MF_SW_SIMULATED), 0);
	mutex_unlock(&mf_mutex);
	KUNIT_EXPECT_FALSE(test, hugepoison_test_is_narrowed(f.address));
	/* its entry is of the hugepage's size, and the raw page is all that is lost */
	KUNIT_EXPECT_EQ(test, hugepoison_test_shift(at, shift), PAGE_SHIFT);
	hugepoison_test_become(f.pfn, HUGEPOISON_STATE_FAILED);
	KUNIT_EXPECT_EQ(test, hugepoison_test_shift(at, shift), shift);
	hugepoison_test_become(f.pfn, HUGEPOISON_STATE_NARROWED);
	KUNIT_EXPECT_EQ(test, hugepoison_test_fault(test, f.address, nowait),
			(__force unsigned int)VM_FAULT_RETRY);
	/* there is nothing to come back for */
	KUNIT_EXPECT_TRUE(test,
			  hugepoison_test_fault(test, at, nowait) &
			  (__force unsigned int)VM_FAULT_HWPOISON_LARGE);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_fault(test, f.address, 0) &
			  (__force unsigned int)VM_FAULT_HWPOISON_LARGE);
	enable_delayed_work(&hugepoison_narrow_dwork);
	hugepoison_queue_narrow_work();

	for (i = 0; i < 100 && !hugepoison_test_is_narrowed(f.address); i++)
		msleep(20);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_is_narrowed(f.address));
	KUNIT_EXPECT_EQ(test, hugepoison_test_fault(test, f.address, 0),
			(__force unsigned int)VM_FAULT_NOPAGE);
	KUNIT_EXPECT_EQ(test, hugepoison_test_fault(test, at, nowait),
			(__force unsigned int)VM_FAULT_HWPOISON);
	KUNIT_EXPECT_EQ(test, hugepoison_test_read(f.address, &byte), 0);
	KUNIT_EXPECT_EQ(test, byte, 'x');
	KUNIT_EXPECT_EQ(test, folio_mapcount(f.folio), 511);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

/* Each error costs its page; once their list is lost all of it goes. */
static void hugepoison_test_widen(struct kunit *test)
{
	static const unsigned int raw[] = { 0, 200, 511 };
	struct hugepoison_test_file f;
	DECLARE_BITMAP(bad, 512);
	char byte;
	int i, ret = 0;

	hugepoison_test_open(test, &f);
	for (i = 0; i < ARRAY_SIZE(raw); i++) {
		KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[i],
						     MF_SW_SIMULATED), 0);
		KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages),
				f.corrupted + i + 1);
		KUNIT_EXPECT_EQ(test, hugepoison_test_read(f.address + SZ_4K,
							   &byte), 0);
		KUNIT_EXPECT_EQ(test, hugepoison_test_read(f.address +
							   raw[i] * SZ_4K,
							   &byte), -EFAULT);
		KUNIT_EXPECT_EQ(test, folio_mapcount(f.folio), 511 - i);
	}
	hugepoison_raw_pages(f.folio, 0, bad, 512);
	KUNIT_EXPECT_EQ(test, bitmap_weight(bad, 512), ARRAY_SIZE(raw));
	KUNIT_EXPECT_TRUE(test, test_bit(200, bad));
	KUNIT_EXPECT_EQ(test, hugepoison_fate(f.folio), HUGEPOISON_NARROW);

	/* there is no place for one more in the list */
	hugepoison_test_starve(&hugepoison_raw_reserve, 0);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + 9, MF_SW_SIMULATED), 0);
	hugepoison_test_feed(test, &hugepoison_raw_reserve);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages),
			f.corrupted + 512);
	KUNIT_EXPECT_EQ(test, folio_mapcount(f.folio), 0);
	KUNIT_EXPECT_EQ(test, hugepoison_fate(f.folio), HUGEPOISON_WIDE);
	KUNIT_EXPECT_EQ(test, hugepoison_test_read(f.address + SZ_4K, &byte),
			-EFAULT);

	/* never given back */
	hugepoison_test_leave(&f);
	flush_delayed_work(&hugepoison_release_dwork);
	KUNIT_EXPECT_TRUE(test, folio_test_hugetlb(f.folio));
	disable_delayed_work_sync(&hugepoison_release_dwork);
	hugepoison_test_remember(f.folio, folio_page(f.folio, 9));
	KUNIT_EXPECT_TRUE(test, hugepoison_unpoison(f.pfn + 9, &ret));
	KUNIT_EXPECT_EQ(test, ret, 0);
	for (i = 0; i < ARRAY_SIZE(raw); i++) {
		KUNIT_EXPECT_TRUE(test, hugepoison_unpoison(f.pfn + raw[i],
							    &ret));
		KUNIT_EXPECT_EQ(test, ret, 0);
	}
	enable_delayed_work(&hugepoison_release_dwork);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages),
			f.corrupted);
}

/* However often users drop poisoned hugepages, the worker releases an unused one. */
static void hugepoison_test_soon(struct kunit *test)
{
	unsigned long end = jiffies + 2 * HZ;
	static const unsigned int raw[] = { 7 };
	struct hugepoison_test_file f;

	hugepoison_test_open(test, &f);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED),
			0);
	hugepoison_test_leave(&f);
	while (folio_test_hugetlb(f.folio) && time_before(jiffies, end)) {
		hugepoison_deleted(f.folio);
		usleep_range(500, 1000);
	}
	KUNIT_EXPECT_FALSE(test, folio_test_hugetlb(f.folio));
	hugepoison_test_undo(test, &f, raw, ARRAY_SIZE(raw));
}

/* Whether the worker comes to narrow a mapping. Waits for no lock that the worker has. */
static bool hugepoison_test_gets_narrowed(unsigned long address)
{
	struct mm_struct *mm = current->mm;
	bool ret = false;
	int i;

	for (i = 0; i < 100 && !ret; i++) {
		msleep(20);
		if (!mmap_read_trylock(mm))
			continue;
		ret = hugepoison_vma_is_narrowed(vma_lookup(mm, address));
		mmap_read_unlock(mm);
	}
	return ret;
}

/* Whether the error of a narrowed hugepage comes to be logged. */
static bool hugepoison_test_gets_logged(unsigned long pfn)
{
	bool ret = false;
	int i;

	for (i = 0; i < 100 && !ret; i++) {
		msleep(20);
		mutex_lock(&mf_mutex);
		ret = !READ_ONCE(hugepoison_lookup(pfn)->worker.unlogged);
		mutex_unlock(&mf_mutex);
	}
	return ret;
}

/*
 * An error in a file's hugepage, logged while the narrow worker is busy, whose mappings the
 * worker is not called for.
 */
static void hugepoison_test_hit(struct kunit *test,
				struct hugepoison_test_file *f,
				unsigned int raw)
{
	disable_delayed_work_sync(&hugepoison_narrow_dwork);
	WRITE_ONCE(hugepoison_narrowing, true);
	KUNIT_EXPECT_EQ(test, memory_failure(f->pfn + raw, MF_SW_SIMULATED), 0);
	WRITE_ONCE(hugepoison_narrowing, false);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_gets_logged(f->pfn));
	mutex_lock(&mf_mutex);
	WRITE_ONCE(hugepoison_lookup(f->pfn)->worker.eager, 0);
	mutex_unlock(&mf_mutex);
	enable_delayed_work(&hugepoison_narrow_dwork);
}

/*
 * Where the lock of a file's mappings is taken the worker comes again. Meanwhile it holds
 * no mmap_lock, and narrows mappings of other files.
 */
static void hugepoison_test_taken(struct kunit *test)
{
	static const unsigned int raw[] = { 7 };
	struct hugepoison_test_file f, other;

	hugepoison_test_open(test, &f);
	hugepoison_test_open(test, &other);
	hugepoison_test_hit(test, &f, raw[0]);
	hugepoison_test_hit(test, &other, raw[0]);

	/* for reading: the worker finds the mapping, and cannot narrow it */
	i_mmap_lock_read(f.file->f_mapping);
	hugepoison_queue_narrow_folio(f.folio);
	msleep(500);
	hugepoison_queue_narrow_folio(other.folio);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_gets_narrowed(other.address));
	i_mmap_unlock_read(f.file->f_mapping);
	hugepoison_queue_narrow_folio(f.folio);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_gets_narrowed(f.address));

	/* the other error is there as well */
	f.corrupted++;
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
	hugepoison_test_close(test, &other, raw, ARRAY_SIZE(raw));
}

struct hugepoison_test_locker {
	struct mm_struct *mm;
	int ret;
	struct completion done;
};

static int hugepoison_test_lock_all(void *data)
{
	struct hugepoison_test_locker *locker = data;

	mmap_write_lock(locker->mm);
	locker->ret = mm_take_all_locks(locker->mm);
	if (!locker->ret)
		mm_drop_all_locks(locker->mm);
	mmap_write_unlock(locker->mm);
	complete(&locker->done);
	return 0;
}

/* Another file, mapped below the narrowed one: its lock would be the first by address. */
static struct file *hugepoison_test_map_below(struct kunit *test,
					      struct hugepoison_test_file *f)
{
	struct file *file = shmem_kernel_file_setup("hugepoison_test", PAGE_SIZE,
						    mk_vma_flags(VMA_NORESERVE_BIT));
	unsigned long address;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	address = kunit_vm_mmap(test, file, f->address - f->size, PAGE_SIZE,
				PROT_READ, MAP_SHARED, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(address));
	KUNIT_ASSERT_LT(test, address, f->address);
	return file;
}

/* Of all locks of an address space that of a narrowed VMA's file comes before other files'. */
static void hugepoison_test_all_locks(struct kunit *test)
{
	struct hugepoison_test_locker locker = { };
	static const unsigned int raw[] = { 7 };
	struct address_space *mapping;
	struct hugepoison_test_file f;
	struct file *other;
	char byte;
	int i;

	hugepoison_test_open(test, &f);
	mapping = f.file->f_mapping;
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED),
			0);
	KUNIT_EXPECT_EQ(test, hugepoison_test_read(f.address, &byte), 0);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_is_narrowed(f.address));
	other = hugepoison_test_map_below(test, &f);

	/* the first mapping has brought it */
	locker.mm = current->mm;
	init_completion(&locker.done);
	i_mmap_lock_write(mapping);
	KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(hugepoison_test_lock_all,
						    &locker, "hugepoison_test")));
	for (i = 0; i < 100 && !rwsem_is_contended(&mapping->i_mmap_rwsem); i++)
		msleep(20);
	KUNIT_EXPECT_TRUE(test, rwsem_is_contended(&mapping->i_mmap_rwsem));
	KUNIT_EXPECT_FALSE(test,
			   rwsem_is_locked(&other->f_mapping->i_mmap_rwsem));
	i_mmap_unlock_write(mapping);
	wait_for_completion(&locker.done);
	KUNIT_EXPECT_EQ(test, locker.ret, 0);
	fput(other);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

static struct kunit_case hugepoison_narrow_cases[] = {
	KUNIT_CASE(hugepoison_test_no_retry),
	KUNIT_CASE(hugepoison_test_widen),
	KUNIT_CASE(hugepoison_test_soon),
	KUNIT_CASE(hugepoison_test_taken),
	KUNIT_CASE(hugepoison_test_all_locks),
	{}
};

static struct kunit_suite hugepoison_narrow_suite = {
	.name = "hugepoison-narrow",
	.test_cases = hugepoison_narrow_cases,
};

kunit_test_suite(hugepoison_narrow_suite);
