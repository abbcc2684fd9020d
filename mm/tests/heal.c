// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: good memory in place of the bad.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/kthread.h>

#include "internal.h"

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

/* A heal whose fresh hugepage, not filled, is in the file in place of the one hit at @raw. */
static void hugepoison_test_begin_exchange(struct kunit *test,
					   struct hugepoison_test_file *f,
					   struct hugepoison_heal *heal,
					   unsigned int raw)
{
	KUNIT_EXPECT_EQ(test, memory_failure(f->pfn + raw, MF_SW_SIMULATED), 0);
	vm_munmap(f->address, f->size);
	heal->inode = file_inode(f->file);
	heal->folio = f->folio;
	folio_lock(heal->folio);
	folio_lock(heal->fresh);
	mutex_lock(&mf_mutex);
	KUNIT_EXPECT_EQ(test, hugepoison_begin_exchange(heal), 1);
	mutex_unlock(&mf_mutex);
}

/* The hugepage is back in the file; both are unlocked. */
static void hugepoison_test_undo_exchange(struct hugepoison_test_file *f,
					  struct hugepoison_heal *heal)
{
	mutex_lock(&mf_mutex);
	hugepoison_exchange(f->file->f_mapping, heal->fresh, heal->folio);
	hugepoison_healing = NULL;
	mutex_unlock(&mf_mutex);
	folio_unlock(heal->fresh);
	folio_unlock(heal->folio);
	folio_put(heal->fresh);
}

/* A heal's hugepage says that it is not filled: its former owner's data is there. */
static void hugepoison_test_not_filled(struct kunit *test)
{
	struct hugepoison_heal heal = { .fresh = hugepoison_test_folio(test) };
	static const unsigned int raw[] = { 5 };
	struct hugepoison_test_file f;

	hugepoison_test_open(test, &f);
	/* as a private mapping leaves it */
	folio_mark_uptodate(heal.fresh);
	hugepoison_test_begin_exchange(test, &f, &heal, raw[0]);
	KUNIT_EXPECT_PTR_EQ(test, xa_load(&f.file->f_mapping->i_pages, 0),
			    heal.fresh);
	KUNIT_EXPECT_FALSE(test, folio_test_uptodate(heal.fresh));
	/* a try before this one may have unlocked it, and woken somebody who comes now */
	folio_unlock(heal.fresh);
	KUNIT_EXPECT_FALSE(test, hugepoison_is_settled(f.file->f_mapping,
						       heal.fresh));
	folio_lock(heal.fresh);
	hugepoison_test_undo_exchange(&f, &heal);
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
	hugepoison_test_begin_exchange(test, &f, &heal, raw[0]);

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
	mutex_unlock(&mf_mutex);
	hugepoison_test_undo_exchange(&f, &heal);
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
	int (*run)(void *healer);
	struct file *file;
	struct folio *fresh;
	struct hugepoison_heal *heal;
	int ret;
	struct completion done;
};

static void hugepoison_test_start(struct kunit *test,
				  struct hugepoison_test_healer *healer)
{
	init_completion(&healer->done);
	KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(healer->run, healer,
						    "hugepoison_test")));
}

/* Whether a heal ends while the caller keeps a lock. If not, it does later. */
static bool hugepoison_test_ends(struct kunit *test,
				 struct hugepoison_test_healer *healer)
{
	hugepoison_test_start(test, healer);
	return wait_for_completion_timeout(&healer->done, 5 * HZ);
}

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
	complete_all(&healer->done);
	return 0;
}

/*
 * Neither errors nor heals wait for the lock of a heal's hugepage, which users may still
 * have.
 */
static void hugepoison_test_locked_fresh(struct kunit *test)
{
	static const unsigned int raw[] = { 5 };
	struct hugepoison_test_healer healer = { .run = hugepoison_test_heal };
	struct hugepoison_test_file f;
	bool taken;

	hugepoison_test_open(test, &f);
	healer.file = f.file;
	healer.fresh = hugepoison_pool_spare(huge_page_order(&default_hstate), 0,
					     NULL);
	KUNIT_ASSERT_NOT_NULL(test, healer.fresh);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED),
			0);
	folio_lock(healer.fresh);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_ends(test, &healer));
	KUNIT_EXPECT_EQ(test, healer.ret, -EBUSY);
	taken = mutex_trylock(&mf_mutex);
	KUNIT_EXPECT_TRUE(test, taken);
	if (taken)
		mutex_unlock(&mf_mutex);
	folio_unlock(healer.fresh);
	wait_for_completion(&healer.done);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_ends(test, &healer));
	wait_for_completion(&healer.done);
	KUNIT_EXPECT_EQ(test, healer.ret, 0);
	KUNIT_EXPECT_PTR_EQ(test, xa_load(&f.file->f_mapping->i_pages, 0),
			    healer.fresh);
	folio_put(healer.fresh);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

static int hugepoison_test_punch(void *data)
{
	struct hugepoison_test_healer *healer = data;

	healer->ret = hugepoison_heal_hole(file_inode(healer->file), 5 * PAGE_SIZE,
					   PAGE_SIZE);
	complete_all(&healer->done);
	return 0;
}

/* A user keeps the lock of the poisoned hugepage: its heal ends, and delays no other. */
static void hugepoison_test_locked_poisoned(struct kunit *test)
{
	struct hugepoison_test_healer healer = { .run = hugepoison_test_punch };
	static const unsigned int raw[] = { 5 };
	struct hugepoison_test_file f;

	hugepoison_test_open(test, &f);
	healer.file = f.file;
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED),
			0);
	folio_get(f.folio);
	folio_lock(f.folio);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_ends(test, &healer));
	KUNIT_EXPECT_EQ(test, healer.ret, -EBUSY);
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&hugepoison_heal_mutex));
	folio_unlock(f.folio);
	folio_put(f.folio);
	wait_for_completion(&healer.done);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_ends(test, &healer));
	wait_for_completion(&healer.done);
	KUNIT_EXPECT_EQ(test, healer.ret, 0);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

/* Heal page 5 while a user has the lock of the file's mappings, then without the user. */
static void hugepoison_test_heal_beside_user(struct kunit *test,
					     struct hugepoison_test_file *f)
{
	struct hugepoison_test_healer healer = {
		.run = hugepoison_test_punch, .file = f->file,
	};

	i_mmap_lock_write(f->file->f_mapping);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_ends(test, &healer));
	KUNIT_EXPECT_EQ(test, healer.ret, -EBUSY);
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&hugepoison_heal_mutex));
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&mf_mutex));
	i_mmap_unlock_write(f->file->f_mapping);
	wait_for_completion(&healer.done);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_ends(test, &healer));
	wait_for_completion(&healer.done);
	KUNIT_EXPECT_EQ(test, healer.ret, 0);
}

/* A user keeps the lock of a file's mappings: its heal ends, and delays no other. */
static void hugepoison_test_locked_mappings(struct kunit *test)
{
	static const unsigned int raw[] = { 5 };
	struct hugepoison_test_file f;
	char byte;

	hugepoison_test_open(test, &f);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED), 0);
	KUNIT_EXPECT_EQ(test, hugepoison_test_read(f.address, &byte), 0);
	hugepoison_test_heal_beside_user(test, &f);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

/*
 * The last lost page of a hugepage is healed in place, which needs the hugepage unmapped. No
 * error waits for a user that keeps the lock of the file's mappings.
 */
static void hugepoison_test_locked_in_place(struct kunit *test)
{
	static const unsigned int raw[] = { 5, 9 };
	struct hugepoison_test_file f;
	struct folio *fresh;
	char byte;

	hugepoison_test_open(test, &f);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED), 0);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[1], MF_SW_SIMULATED), 0);
	KUNIT_EXPECT_EQ(test, hugepoison_heal_hole(file_inode(f.file),
						   raw[1] * PAGE_SIZE, PAGE_SIZE), 0);
	fresh = xa_load(&f.file->f_mapping->i_pages, 0);
	KUNIT_EXPECT_TRUE(test, folio_test_hwpoison(fresh));
	KUNIT_EXPECT_EQ(test, hugepoison_test_read(f.address, &byte), 0);
	KUNIT_EXPECT_TRUE(test, folio_mapped(fresh));
	hugepoison_test_heal_beside_user(test, &f);
	KUNIT_EXPECT_PTR_EQ(test, xa_load(&f.file->f_mapping->i_pages, 0), fresh);
	KUNIT_EXPECT_FALSE(test, folio_test_hwpoison(fresh));
	KUNIT_EXPECT_EQ(test, hugepoison_test_read(f.address + 5 * PAGE_SIZE, &byte), 0);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

/* To unpoison a narrowed hugepage does not wait for a user that keeps that lock either. */
static void hugepoison_test_locked_unpoison(struct kunit *test)
{
	static const unsigned int raw[] = { 5 };
	struct hugepoison_test_file f;
	char byte;

	hugepoison_test_open(test, &f);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED), 0);
	KUNIT_EXPECT_EQ(test, hugepoison_test_read(f.address, &byte), 0);
	i_mmap_lock_write(f.file->f_mapping);
	KUNIT_EXPECT_EQ(test, unpoison_memory(f.pfn + raw[0]), -EBUSY);
	i_mmap_unlock_write(f.file->f_mapping);
	KUNIT_EXPECT_EQ(test, unpoison_memory(f.pfn + raw[0]), 0);
	hugepoison_test_leave(&f);
}

/* A caller that waits for another heal does not have its file's lock, which users need. */
static void hugepoison_test_heal_waits(struct kunit *test)
{
	struct hugepoison_test_healer healer = { .run = hugepoison_test_punch };
	static const unsigned int raw[] = { 5 };
	struct hugepoison_test_file f;
	struct inode *inode;
	bool taken;

	hugepoison_test_open(test, &f);
	healer.file = f.file;
	inode = file_inode(f.file);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED),
			0);
	mutex_lock(&hugepoison_heal_mutex);
	hugepoison_test_start(test, &healer);
	KUNIT_EXPECT_EQ(test, wait_for_completion_timeout(&healer.done, HZ / 5), 0UL);
	taken = inode_trylock(inode);
	KUNIT_EXPECT_TRUE(test, taken);
	if (taken)
		inode_unlock(inode);
	mutex_unlock(&hugepoison_heal_mutex);
	wait_for_completion(&healer.done);
	KUNIT_EXPECT_EQ(test, healer.ret, 0);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

static struct hugepoison_heal
hugepoison_test_hole(struct hugepoison_test_file *f, unsigned long page)
{
	return (struct hugepoison_heal) {
		.inode = file_inode(f->file),
		.order = huge_page_order(&default_hstate),
		.first = page,
		.end = page + 1,
	};
}

/* A user of the file has its lock: other heals do not wait for him. */
static void hugepoison_test_locked_inode(struct kunit *test)
{
	struct hugepoison_test_healer healer = { .run = hugepoison_test_punch };
	static const unsigned int raw[] = { 5 };
	struct hugepoison_test_file f;
	struct hugepoison_heal heal;

	hugepoison_test_open(test, &f);
	healer.file = f.file;
	heal = hugepoison_test_hole(&f, 5);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED),
			0);
	inode_lock(heal.inode);
	KUNIT_EXPECT_EQ(test, hugepoison_heal_by_worker(&heal), -EAGAIN);
	KUNIT_EXPECT_FALSE(test, heal.needs_fresh);
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&hugepoison_heal_mutex));
	hugepoison_test_start(test, &healer);
	KUNIT_EXPECT_EQ(test, wait_for_completion_timeout(&healer.done, HZ / 5), 0UL);
	inode_unlock(heal.inode);
	wait_for_completion(&healer.done);
	KUNIT_EXPECT_EQ(test, healer.ret, 0);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

/* Keep the inode lock of a file, for another user in turn, until told to stop. */
static int hugepoison_test_keep_inode(void *data)
{
	struct hugepoison_test_healer *user = data;
	struct inode *inode = file_inode(user->file);

	while (!kthread_should_stop()) {
		inode_lock(inode);
		msleep(20);
		inode_unlock(inode);
	}
	return 0;
}

/*
 * Users of the file keep its lock, each for a moment, and one of them always waits: a worker
 * that tries the lock does not get it, but the caller's turn comes.
 */
static void hugepoison_test_contended_inode(struct kunit *test)
{
	struct hugepoison_test_healer user;
	static const unsigned int raw[] = { 5 };
	struct task_struct *users[3];
	struct hugepoison_test_file f;
	struct hugepoison_heal heal;
	int i;

	hugepoison_test_open(test, &f);
	user.file = f.file;
	heal = hugepoison_test_hole(&f, 5);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED), 0);
	for (i = 0; i < ARRAY_SIZE(users); i++) {
		users[i] = kthread_run(hugepoison_test_keep_inode, &user,
				       "hugepoison_test");
		KUNIT_ASSERT_FALSE(test, IS_ERR(users[i]));
	}
	msleep(100);
	KUNIT_EXPECT_EQ(test, hugepoison_heal_in_turn(&heal), 0);
	KUNIT_EXPECT_NOT_NULL(test, heal.raw);
	KUNIT_EXPECT_PTR_EQ(test, heal.fresh, NULL);
	for (i = 0; i < ARRAY_SIZE(users); i++)
		kthread_stop(users[i]);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

/* Heals that fail, again and again, leave others the worker's CPU time. */
static void hugepoison_test_debt(struct kunit *test)
{
	static const unsigned int raw[] = { 5 };
	struct hugepoison_heal heal, next;
	struct hugepoison_test_file f;
	u64 begin;

	hugepoison_test_open(test, &f);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED), 0);
	folio_get(f.folio);
	heal = hugepoison_test_hole(&f, 5);
	KUNIT_EXPECT_EQ(test, hugepoison_heal_in_turn(&heal), -EBUSY);
	KUNIT_EXPECT_GT(test, heal.worked, 0ULL);
	begin = ktime_get_ns();
	next = hugepoison_test_hole(&f, 5);
	KUNIT_EXPECT_EQ(test, hugepoison_heal_in_turn(&next), -EBUSY);
	KUNIT_EXPECT_GE(test, ktime_get_ns() - begin, 10 * heal.worked);
	folio_put(f.folio);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

/* A caller is killed when its worker has a hugepage: the worker does not go on. */
static void hugepoison_test_killed(struct kunit *test)
{
	static const unsigned int raw[] = { 5 };
	struct hugepoison_test_file f;
	struct hugepoison_heal heal;

	hugepoison_test_open(test, &f);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED), 0);
	heal = hugepoison_test_hole(&f, 5);
	heal.needs_fresh = true;
	heal.killed = true;
	KUNIT_EXPECT_EQ(test, hugepoison_heal_with_spare(&heal), -EINTR);
	KUNIT_EXPECT_NOT_NULL(test, heal.fresh);
	hugepoison_put_fresh(&heal);
	KUNIT_EXPECT_PTR_EQ(test, xa_load(&f.file->f_mapping->i_pages, 0), f.folio);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

static int hugepoison_test_take_turn(void *data)
{
	struct hugepoison_test_healer *healer = data;
	struct hugepoison_turn *turn = hugepoison_get_turn(file_inode(healer->file));

	/* the test gives it back */
	down(&turn->turn);
	hugepoison_put_turn(turn);
	complete_all(&healer->done);
	return 0;
}

/* A caller that comes again does not overtake another one that waits for its turn. */
static void hugepoison_test_in_turn(struct kunit *test)
{
	struct hugepoison_test_healer healer = { .run = hugepoison_test_take_turn };
	struct hugepoison_turn *turn;
	struct hugepoison_test_file f;

	hugepoison_test_open(test, &f);
	healer.file = f.file;
	turn = hugepoison_get_turn(file_inode(f.file));
	KUNIT_ASSERT_NOT_NULL(test, turn);
	down(&turn->turn);
	hugepoison_test_start(test, &healer);
	KUNIT_EXPECT_EQ(test, wait_for_completion_timeout(&healer.done, HZ / 5), 0UL);
	up(&turn->turn);
	KUNIT_EXPECT_NE(test, down_trylock(&turn->turn), 0);
	wait_for_completion(&healer.done);
	KUNIT_EXPECT_EQ(test, turn->users, 1U);
	hugepoison_end_turn(turn);
	hugepoison_test_leave(&f);
}

/* The raw page of an earlier round is not healed when a later one finds nothing to heal. */
static void hugepoison_test_nothing_left(struct kunit *test)
{
	struct hugepoison_test_file f;
	struct hugepoison_heal heal;

	hugepoison_test_open(test, &f);
	heal = hugepoison_test_hole(&f, 5);
	heal.raw = folio_page(f.folio, 5);
	KUNIT_EXPECT_EQ(test, hugepoison_heal_with_inode(&heal), 0);
	KUNIT_EXPECT_PTR_EQ(test, heal.raw, NULL);
	hugepoison_test_leave(&f);
}

struct hugepoison_test_queued {
	struct work_struct work;
	struct completion *until;
	struct completion done;
};

static void hugepoison_test_queued_work(struct work_struct *work)
{
	struct hugepoison_test_queued *queued =
		container_of(work, struct hugepoison_test_queued, work);

	if (queued->until)
		wait_for_completion(queued->until);
	complete(&queued->done);
}

/* The allocation of one gigantic hugepage may never end: heals of other files go on. */
static void hugepoison_test_stuck_gigantic(struct kunit *test)
{
	struct hugepoison_heal heal = { .order = PUD_SHIFT - PAGE_SHIFT };
	struct workqueue_struct *wq = hugepoison_heal_wq(&heal);
	struct hugepoison_test_queued stuck = { }, other = { };

	init_completion(&stuck.done);
	init_completion(&other.done);
	stuck.until = &other.done;
	INIT_WORK_ONSTACK(&stuck.work, hugepoison_test_queued_work);
	INIT_WORK_ONSTACK(&other.work, hugepoison_test_queued_work);
	queue_work(wq, &stuck.work);
	queue_work(wq, &other.work);
	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&stuck.done, 5 * HZ), 0UL);
	complete_all(&other.done);
	flush_work(&stuck.work);
	flush_work(&other.work);
	destroy_work_on_stack(&stuck.work);
	destroy_work_on_stack(&other.work);
}

static int hugepoison_test_end_exchange(void *data)
{
	struct hugepoison_test_healer *healer = data;

	healer->ret = hugepoison_end_exchange(healer->heal, -EBUSY);
	complete_all(&healer->done);
	return 0;
}

/*
 * A heal is undone while a user has the lock of the poisoned hugepage, for which he has
 * queued before: he finds the hugepage in its file, and the heal does not wait for him.
 */
static void hugepoison_test_locked_undo(struct kunit *test)
{
	struct hugepoison_heal heal = { .fresh = hugepoison_test_folio(test) };
	struct hugepoison_test_healer healer = {
		.heal = &heal, .run = hugepoison_test_end_exchange,
	};
	static const unsigned int raw[] = { 5 };
	struct hugepoison_test_file f;

	hugepoison_test_open(test, &f);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED),
			0);
	vm_munmap(f.address, f.size);
	heal.inode = file_inode(f.file);
	heal.folio = f.folio;
	folio_lock(heal.folio);
	folio_lock(heal.fresh);
	mutex_lock(&mf_mutex);
	KUNIT_EXPECT_EQ(test, hugepoison_begin_exchange(&heal), 1);
	mutex_unlock(&mf_mutex);
	/* the lock stays taken, as if handed to the user */
	KUNIT_EXPECT_TRUE(test, hugepoison_test_ends(test, &healer));
	KUNIT_EXPECT_EQ(test, healer.ret, -EBUSY);
	folio_unlock(heal.folio);
	wait_for_completion(&healer.done);
	KUNIT_EXPECT_PTR_EQ(test, xa_load(&f.file->f_mapping->i_pages, 0), f.folio);
	KUNIT_EXPECT_PTR_EQ(test, f.folio->mapping, f.file->f_mapping);
	KUNIT_EXPECT_FALSE(test, folio_test_locked(heal.fresh));
	folio_put(heal.fresh);
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
	/* a pin moves a hugepage out of CMA, if it has no other user */
	folio_put(f.folio);
	folio_unlock(f.folio);
	if (!early)
		wait_for_completion(&pin.done);
	KUNIT_EXPECT_EQ(test, pin.nr, 1L);
	if (pin.nr == 1) {
		KUNIT_EXPECT_PTR_EQ(test, pin.folio->mapping, mapping);
		unpin_folios(&pin.folio, 1);
	}
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
 * The worker that heals after a refill has its spare before any lock: memory may be short,
 * and the file's users need the inode lock.
 */
static void hugepoison_test_reheal_waits(struct kunit *test)
{
	static const unsigned int raw[] = { 5 };
	unsigned long spared, before, at;
	struct hugepoison_test_file f;
	struct inode *inode;
	bool taken;
	int i;

	hugepoison_test_open(test, &f);
	inode = file_inode(f.file);
	at = f.address + raw[0] * PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED),
			0);
	KUNIT_EXPECT_EQ(test, hugepoison_refill(current->mm, at,
						(char __user *)f.address), 0);
	before = READ_ONCE(default_hstate.nr_huge_pages);
	mutex_lock(&hugepoison_heal_mutex);
	mod_delayed_work(hugepoison_wq, &hugepoison_reheal_dwork, 0);
	for (i = 0; i < 250; i++) {
		spared = READ_ONCE(default_hstate.nr_huge_pages) - before;
		if (spared)
			break;
		msleep(20);
	}
	KUNIT_EXPECT_EQ(test, spared, 1UL);
	taken = inode_trylock(inode);
	KUNIT_EXPECT_TRUE(test, taken);
	if (taken)
		inode_unlock(inode);
	mutex_unlock(&hugepoison_heal_mutex);
	flush_delayed_work(&hugepoison_reheal_dwork);
	KUNIT_EXPECT_PTR_NE(test, xa_load(&inode->i_mapping->i_pages, 0), f.folio);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

/* Heals of one hugepage that fail, as often as its owner likes, keep no other untold. */
static void hugepoison_test_tells(struct kunit *test)
{
	const unsigned int order = huge_page_order(&default_hstate);
	static const unsigned int raw[] = { 5 };
	struct hugepoison_heal heal = { .order = order }, other = { .order = order };
	struct hugepoison_test_file f, g;
	int i;

	hugepoison_test_open(test, &f);
	heal.raw = pfn_to_page(f.pfn + raw[0]);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED), 0);
	hugepoison_test_open(test, &g);
	other.raw = pfn_to_page(g.pfn + raw[0]);
	KUNIT_EXPECT_EQ(test, memory_failure(g.pfn + raw[0], MF_SW_SIMULATED), 0);
	KUNIT_EXPECT_TRUE(test, hugepoison_may_tell(&heal));
	for (i = 0; i < 2 * DEFAULT_RATELIMIT_BURST; i++)
		KUNIT_EXPECT_FALSE(test, hugepoison_may_tell(&heal));
	KUNIT_EXPECT_TRUE(test, hugepoison_may_tell(&other));
	hugepoison_test_close(test, &g, raw, ARRAY_SIZE(raw));
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

static struct kunit_case hugepoison_heal_cases[] = {
	KUNIT_CASE(hugepoison_test_zero),
	KUNIT_CASE(hugepoison_test_held),
	KUNIT_CASE(hugepoison_test_not_filled),
	KUNIT_CASE(hugepoison_test_error_in_exchange),
	KUNIT_CASE(hugepoison_test_locked_failed),
	KUNIT_CASE(hugepoison_test_locked_fresh),
	KUNIT_CASE(hugepoison_test_locked_poisoned),
	KUNIT_CASE(hugepoison_test_locked_mappings),
	KUNIT_CASE(hugepoison_test_locked_in_place),
	KUNIT_CASE(hugepoison_test_locked_unpoison),
	KUNIT_CASE(hugepoison_test_heal_waits),
	KUNIT_CASE(hugepoison_test_locked_inode),
	KUNIT_CASE(hugepoison_test_contended_inode),
	KUNIT_CASE(hugepoison_test_debt),
	KUNIT_CASE(hugepoison_test_killed),
	KUNIT_CASE(hugepoison_test_in_turn),
	KUNIT_CASE(hugepoison_test_nothing_left),
	KUNIT_CASE(hugepoison_test_stuck_gigantic),
	KUNIT_CASE(hugepoison_test_locked_undo),
	KUNIT_CASE(hugepoison_test_settled),
	KUNIT_CASE(hugepoison_test_refused),
	KUNIT_CASE(hugepoison_test_reheal_waits),
	KUNIT_CASE(hugepoison_test_tells),
	{}
};

static struct kunit_suite hugepoison_heal_suite = {
	.name = "hugepoison-heal",
	.test_cases = hugepoison_heal_cases,
};

kunit_test_suite(hugepoison_heal_suite);
