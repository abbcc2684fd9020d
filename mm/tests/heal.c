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
	/* a step takes mf_mutex itself, and is urgent then, after what may take long */
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

/* A heal's hugepage says that it is not filled: its former owner's data is there. */
static void hugepoison_test_not_filled(struct kunit *test)
{
	struct hugepoison_heal heal = { .fresh = hugepoison_test_folio(test) };
	static const unsigned int raw[] = { 5 };
	struct hugepoison_test_file f;

	hugepoison_test_open(test, &f);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED),
			0);
	vm_munmap(f.address, f.size);
	heal.inode = file_inode(f.file);
	heal.folio = f.folio;
	/* as a private mapping leaves it */
	folio_mark_uptodate(heal.fresh);
	folio_lock(heal.folio);
	folio_lock(heal.fresh);
	mutex_lock(&mf_mutex);
	KUNIT_EXPECT_EQ(test, hugepoison_begin_exchange(&heal), 1);
	KUNIT_EXPECT_PTR_EQ(test, xa_load(&f.file->f_mapping->i_pages, 0),
			    heal.fresh);
	KUNIT_EXPECT_FALSE(test, folio_test_uptodate(heal.fresh));
	hugepoison_exchange(f.file->f_mapping, heal.fresh, heal.folio);
	hugepoison_healing = NULL;
	mutex_unlock(&mf_mutex);
	folio_unlock(heal.fresh);
	folio_unlock(heal.folio);
	folio_put(heal.fresh);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

struct hugepoison_test_error {
	unsigned long pfn;
	int ret;
	struct completion done;
};

static int hugepoison_test_report(void *data)
{
	struct hugepoison_test_error *error = data;

	error->ret = memory_failure(error->pfn, MF_SW_SIMULATED);
	complete(&error->done);
	return 0;
}

/*
 * An error in a hugepage that a heal has out of its file does not wait for its lock, which
 * reads may have that found it in the file.
 */
static void hugepoison_test_error_in_exchange(struct kunit *test)
{
	struct hugepoison_heal heal = { .fresh = hugepoison_test_folio(test) };
	static const unsigned int raw[] = { 5, 7 };
	struct hugepoison_test_error error = { };
	struct hugepoison_test_file f;
	bool soon;

	hugepoison_test_open(test, &f);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED), 0);
	vm_munmap(f.address, f.size);
	heal.inode = file_inode(f.file);
	heal.folio = f.folio;
	folio_lock(heal.fresh);
	folio_lock(heal.folio);
	mutex_lock(&mf_mutex);
	KUNIT_EXPECT_EQ(test, hugepoison_begin_exchange(&heal), 1);
	mutex_unlock(&mf_mutex);

	init_completion(&error.done);
	error.pfn = f.pfn + raw[1];
	KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(hugepoison_test_report, &error,
						    "hugepoison_test")));
	soon = wait_for_completion_timeout(&error.done, HZ);
	KUNIT_EXPECT_TRUE(test, soon);
	folio_unlock(heal.folio);
	if (!soon)
		wait_for_completion(&error.done);
	KUNIT_EXPECT_EQ(test, error.ret, 0);

	folio_lock(heal.folio);
	mutex_lock(&mf_mutex);
	KUNIT_EXPECT_EQ(test, hugepoison_nr_raw(heal.folio), heal.nr_raw + 1);
	hugepoison_exchange(f.file->f_mapping, heal.fresh, heal.folio);
	hugepoison_healing = NULL;
	mutex_unlock(&mf_mutex);
	folio_unlock(heal.folio);
	folio_unlock(heal.fresh);
	folio_put(heal.fresh);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

struct hugepoison_test_worker {
	unsigned long pfn;
	bool again;
	struct completion done;
};

static int hugepoison_test_contain_late(void *data)
{
	struct hugepoison_test_worker *worker = data;

	mutex_lock(&mf_mutex);
	worker->again = hugepoison_try_release(hugepoison_find(worker->pfn));
	mutex_unlock(&mf_mutex);
	complete(&worker->done);
	return 0;
}

/*
 * The worker does not wait for the lock of a hugepage with an error that is not contained: it
 * comes again, and releases others meanwhile.
 */
static void hugepoison_test_locked_failed(struct kunit *test)
{
	static const unsigned int raw[] = { 5 };
	struct hugepoison_test_worker worker = { };
	struct hugepoison_record *record;
	struct hugepoison_test_file f;
	bool soon;

	hugepoison_test_open(test, &f);
	disable_delayed_work_sync(&hugepoison_release_dwork);
	worker.pfn = f.pfn + raw[0];
	KUNIT_EXPECT_EQ(test, memory_failure(worker.pfn, MF_SW_SIMULATED), 0);
	mutex_lock(&mf_mutex);
	record = hugepoison_find(worker.pfn);
	hugepoison_become(record, HUGEPOISON_STATE_FAILED);
	mutex_unlock(&mf_mutex);

	folio_lock(f.folio);
	init_completion(&worker.done);
	KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(hugepoison_test_contain_late, &worker,
						    "hugepoison_test")));
	soon = wait_for_completion_timeout(&worker.done, HZ);
	KUNIT_EXPECT_TRUE(test, soon);
	KUNIT_EXPECT_TRUE(test, worker.again);
	folio_unlock(f.folio);
	if (!soon)
		wait_for_completion(&worker.done);

	hugepoison_test_contain_late(&worker);
	KUNIT_EXPECT_FALSE(test, worker.again);
	KUNIT_EXPECT_TRUE(test, hugepoison_is(record, HUGEPOISON_STATE_NARROWED));
	enable_delayed_work(&hugepoison_release_dwork);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
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
	static const unsigned int raw[] = { 5 };
	struct hugepoison_test_healer healer = { };
	struct hugepoison_test_file f;
	bool taken, early;

	hugepoison_test_open(test, &f);
	healer.file = f.file;
	healer.fresh = hugepoison_pool_spare(huge_page_order(&default_hstate), 0);
	KUNIT_ASSERT_NOT_NULL(test, healer.fresh);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED),
			0);
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
	KUNIT_EXPECT_PTR_EQ(test, xa_load(&f.file->f_mapping->i_pages, 0),
			    healer.fresh);
	folio_put(healer.fresh);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
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
	struct folio *fresh = hugepoison_test_folio(test);
	struct hugepoison_test_pin pin = { };
	struct hugepoison_test_file f;
	struct address_space *mapping;
	bool early;

	hugepoison_test_open(test, &f);
	vm_munmap(f.address, f.size);
	pin.file = f.file;
	mapping = f.file->f_mapping;
	folio_get(f.folio);
	folio_lock(f.folio);
	folio_lock(fresh);
	hugepoison_exchange(mapping, f.folio, fresh);
	folio_unlock(f.folio);

	init_completion(&pin.done);
	KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(hugepoison_test_pin_folio,
						    &pin, "hugepoison_test")));
	early = wait_for_completion_timeout(&pin.done, HZ / 5);
	KUNIT_EXPECT_FALSE(test, early);

	folio_lock(f.folio);
	hugepoison_exchange(mapping, fresh, f.folio);
	folio_unlock(fresh);
	folio_unlock(f.folio);
	if (!early)
		wait_for_completion(&pin.done);
	KUNIT_EXPECT_EQ(test, pin.nr, 1L);
	KUNIT_EXPECT_PTR_EQ(test, pin.folio, f.folio);
	if (pin.nr == 1)
		unpin_folios(&pin.folio, 1);
	folio_put(f.folio);
	folio_put(fresh);
	fput(f.file);
	flush_delayed_fput();
}

/* No device gets a poisoned hugepage: it would read what is in the raw page's place. */
static void hugepoison_test_refused(struct kunit *test)
{
	static const unsigned int raw[] = { 5 };
	struct hugepoison_test_pin pin = { };
	struct hugepoison_test_file f;
	int references;

	hugepoison_test_open(test, &f);
	pin.file = f.file;
	init_completion(&pin.done);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED),
			0);
	references = folio_ref_count(f.folio);
	hugepoison_test_pin_folio(&pin);
	KUNIT_EXPECT_EQ(test, pin.nr, -EHWPOISON);
	KUNIT_EXPECT_EQ(test, folio_ref_count(f.folio), references);
	KUNIT_EXPECT_FALSE(test, folio_maybe_dma_pinned(f.folio));
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

/*
 * While a user heals, for as long as he likes, the worker waits for him without the lock of
 * anybody's file, and uses up no try.
 */
static void hugepoison_test_reheal_waits(struct kunit *test)
{
	bool again = false;

	mutex_lock(&hugepoison_heal_mutex);
	KUNIT_EXPECT_FALSE(test, hugepoison_reheal_next(0, &again));
	KUNIT_EXPECT_TRUE(test, again);
	mutex_unlock(&hugepoison_heal_mutex);
}

static struct kunit_case hugepoison_heal_cases[] = {
	KUNIT_CASE(hugepoison_test_heal_by_worker),
	KUNIT_CASE(hugepoison_test_zero),
	KUNIT_CASE(hugepoison_test_held),
	KUNIT_CASE(hugepoison_test_not_filled),
	KUNIT_CASE(hugepoison_test_error_in_exchange),
	KUNIT_CASE(hugepoison_test_locked_failed),
	KUNIT_CASE(hugepoison_test_locked_fresh),
	KUNIT_CASE(hugepoison_test_settled),
	KUNIT_CASE(hugepoison_test_refused),
	KUNIT_CASE(hugepoison_test_reheal_waits),
	{}
};

static struct kunit_suite hugepoison_heal_suite = {
	.name = "hugepoison-heal",
	.test_cases = hugepoison_heal_cases,
};

kunit_test_suite(hugepoison_heal_suite);
