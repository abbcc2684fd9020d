// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: pages that stand in for raw pages.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/highmem.h>
#include <linux/kthread.h>

#include "internal.h"

#define HUGEPOISON_TEST_WORD	0x5afe5afe5afe5afeUL

/* Fill a page with a word. */
static void hugepoison_test_set(struct page *page, unsigned long word)
{
	unsigned long *at = kmap_local_page(page);

	memset_l(at, word, PAGE_SIZE / sizeof(word));
	kunmap_local(at);
}

static unsigned long hugepoison_test_first(struct page *page)
{
	unsigned long *at = kmap_local_page(page), word = *at;

	kunmap_local(at);
	return word;
}

/* Have a new page stand in for a page of a locked hugepage. */
static struct page *hugepoison_test_add(struct kunit *test, struct page *raw)
{
	struct hugepoison_stand_in *stand_in = hugepoison_new_stand_in();
	struct page *page;

	KUNIT_ASSERT_NOT_NULL(test, stand_in);
	page = stand_in->page;
	hugepoison_test_set(page, HUGEPOISON_TEST_WORD);
	hugepoison_add_stand_in(stand_in, raw);
	return page;
}

/* It is found by exactly its raw page, and by itself, until it is removed. */
static void hugepoison_test_stand_in(struct kunit *test)
{
	struct folio *folio = hugepoison_test_folio(test);
	struct page *raw = folio_page(folio, 3), *page;

	folio_lock(folio);
	KUNIT_EXPECT_FALSE(test, hugepoison_is_refilled(raw));
	KUNIT_EXPECT_NULL(test, hugepoison_get_stand_in(raw));
	page = hugepoison_test_add(test, raw);
	KUNIT_EXPECT_PTR_EQ(test, hugepoison_stand_in_of(raw), page);
	KUNIT_EXPECT_NULL(test, hugepoison_stand_in_of(raw + 1));
	KUNIT_EXPECT_PTR_EQ(test, hugepoison_raw_behind(page), raw);
	KUNIT_EXPECT_PTR_EQ(test, hugepoison_get_stand_in(raw), page);
	KUNIT_EXPECT_EQ(test, page_count(page), 2);

	/* the page it shows is the file's; the reference goes there */
	KUNIT_EXPECT_PTR_EQ(test, hugepoison_file_page(page), raw);
	KUNIT_EXPECT_EQ(test, page_count(page), 1);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	folio_put(folio);

	/* a user keeps the page, but nobody finds it any more */
	get_page(page);
	hugepoison_remove_stand_in(raw);
	KUNIT_EXPECT_FALSE(test, hugepoison_is_refilled(raw));
	KUNIT_EXPECT_NULL(test, hugepoison_get_stand_in(raw));
	KUNIT_EXPECT_EQ(test, page_count(page), 1);
	/* a file system that steals the page from a pipe takes page_private() for its own */
	KUNIT_EXPECT_EQ(test, page_private(page), 0UL);
	KUNIT_EXPECT_NULL(test, hugepoison_raw_behind(page));
	KUNIT_EXPECT_PTR_EQ(test, hugepoison_file_page(page), page);
	put_page(page);
	hugepoison_remove_stand_in(raw);
	folio_unlock(folio);
	folio_put(folio);
}

struct hugepoison_test_getter {
	struct page *raw;
	unsigned long found;
	unsigned long wrong;
	bool stop;
	struct completion done;
};

static int hugepoison_test_get(void *data)
{
	struct hugepoison_test_getter *getter = data;
	struct page *page;

	while (!READ_ONCE(getter->stop)) {
		page = hugepoison_get_stand_in(getter->raw);
		if (page) {
			getter->wrong += hugepoison_test_first(page) !=
					 HUGEPOISON_TEST_WORD;
			put_page(page);
			WRITE_ONCE(getter->found, getter->found + 1);
		}
		cond_resched();
	}
	complete(&getter->done);
	return 0;
}

/* A page as it was freed a moment ago gets other contents. */
static void hugepoison_test_reuse(struct kunit *test)
{
	struct page *page = alloc_page(GFP_HIGHUSER);

	KUNIT_ASSERT_NOT_NULL(test, page);
	hugepoison_test_set(page, 0);
	__free_page(page);
}

/* Lookups without the lock of the hugepage get a stand-in that nobody frees, or none. */
static void hugepoison_test_lookups(struct kunit *test)
{
	struct folio *folio = hugepoison_test_folio(test);
	struct hugepoison_test_getter getter = { .raw = folio_page(folio, 9) };
	unsigned long end = jiffies + 20 * HZ;

	init_completion(&getter.done);
	KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(hugepoison_test_get, &getter,
						    "hugepoison_test")));
	folio_lock(folio);
	while (READ_ONCE(getter.found) < 1000 && time_before(jiffies, end)) {
		hugepoison_test_add(test, getter.raw);
		cond_resched();
		hugepoison_remove_stand_in(getter.raw);
		hugepoison_test_reuse(test);
	}
	folio_unlock(folio);
	WRITE_ONCE(getter.stop, true);
	wait_for_completion(&getter.done);
	KUNIT_EXPECT_GE(test, getter.found, 1000UL);
	KUNIT_EXPECT_EQ(test, getter.wrong, 0UL);
	folio_put(folio);
}

/* Fill the page at @address with what the file has at @from. */
static void hugepoison_test_refill(struct kunit *test, unsigned long address,
				   unsigned long from)
{
	KUNIT_EXPECT_EQ(test, hugepoison_refill(current->mm, address,
						(char __user *)from), 0);
	KUNIT_EXPECT_EQ(test, hugepoison_refill(current->mm, address,
						(char __user *)from), -EEXIST);
}

static void hugepoison_test_expect(struct kunit *test, unsigned long address,
				   char wanted)
{
	char byte = ~wanted;

	KUNIT_EXPECT_EQ(test, hugepoison_test_read(address, &byte), 0);
	KUNIT_EXPECT_EQ(test, byte, wanted);
}

/* A hole in another raw page: the heal copies the stand-in, then drops it. */
static void hugepoison_test_heal_stand_in(struct kunit *test)
{
	static const unsigned int raw[] = { 3, 11 };
	struct hugepoison_test_file f;
	unsigned long hole = raw[1] * PAGE_SIZE;
	struct page *page;
	int i;

	hugepoison_test_open(test, &f);
	disable_delayed_work_sync(&hugepoison_reheal_dwork);
	for (i = 0; i < ARRAY_SIZE(raw); i++)
		KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[i],
						     MF_SW_SIMULATED), 0);
	hugepoison_test_refill(test, f.address + raw[0] * PAGE_SIZE, f.address);
	page = hugepoison_get_stand_in(pfn_to_page(f.pfn + raw[0]));
	KUNIT_ASSERT_NOT_NULL(test, page);
	/* a user of the stand-in may write to it: the hugepage stays */
	KUNIT_EXPECT_EQ(test, hugepoison_heal_hole(file_inode(f.file), hole,
						   PAGE_SIZE), -EBUSY);
	hugepoison_test_expect(test, f.address + raw[0] * PAGE_SIZE, 'x');
	put_page(page);
	KUNIT_EXPECT_EQ(test, hugepoison_heal_hole(file_inode(f.file), hole,
						   PAGE_SIZE), 0);
	KUNIT_EXPECT_PTR_NE(test, xa_load(&f.file->f_mapping->i_pages, 0), f.folio);
	KUNIT_EXPECT_FALSE(test, hugepoison_is_refilled(pfn_to_page(f.pfn + raw[0])));
	hugepoison_test_expect(test, f.address + raw[0] * PAGE_SIZE, 'x');
	hugepoison_test_expect(test, f.address + hole, 0);
	enable_delayed_work(&hugepoison_reheal_dwork);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

static bool hugepoison_test_reheal_one(const struct hugepoison_record *picked)
{
	struct hugepoison_held_file file = { };
	bool healed = hugepoison_reheal(picked, &file);

	hugepoison_drop_file(&file);
	return healed;
}

/* The worker heals without a hole. */
static void hugepoison_test_reheal(struct kunit *test)
{
	static const unsigned int raw[] = { 7 };
	struct hugepoison_record picked = { .order = huge_page_order(&default_hstate) };
	struct hugepoison_test_file f;
	unsigned long at;

	hugepoison_test_open(test, &f);
	disable_delayed_work_sync(&hugepoison_reheal_dwork);
	at = f.address + raw[0] * PAGE_SIZE;
	picked.pfn = f.pfn;
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED), 0);
	/* nothing is refilled yet */
	KUNIT_EXPECT_FALSE(test, hugepoison_test_reheal_one(&picked));
	KUNIT_EXPECT_PTR_EQ(test, xa_load(&f.file->f_mapping->i_pages, 0), f.folio);
	hugepoison_test_refill(test, at, f.address);
	/* another heal, or a hole, is at work */
	inode_lock(file_inode(f.file));
	KUNIT_EXPECT_FALSE(test, hugepoison_test_reheal_one(&picked));
	inode_unlock(file_inode(f.file));
	KUNIT_EXPECT_TRUE(test, hugepoison_test_reheal_one(&picked));
	KUNIT_EXPECT_PTR_NE(test, xa_load(&f.file->f_mapping->i_pages, 0), f.folio);
	hugepoison_test_expect(test, at, 'x');
	enable_delayed_work(&hugepoison_reheal_dwork);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

/*
 * The contents of a raw page that was refilled are out of date, so its error is not undone. An
 * error in the stand-in loses the page again, and another refill brings it back.
 */
static void hugepoison_test_stand_in_fails(struct kunit *test)
{
	static const unsigned int raw[] = { 5 };
	struct hugepoison_test_file f;
	struct page *page;
	unsigned long at;
	char byte;
	int ret;

	hugepoison_test_open(test, &f);
	disable_delayed_work_sync(&hugepoison_reheal_dwork);
	at = f.address + raw[0] * PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED), 0);
	hugepoison_test_refill(test, at, f.address);
	hugepoison_test_expect(test, at, 'x');
	KUNIT_EXPECT_TRUE(test, hugepoison_unpoison(f.pfn + raw[0], &ret));
	KUNIT_EXPECT_EQ(test, ret, -EBUSY);
	hugepoison_test_expect(test, at, 'x');

	page = hugepoison_get_stand_in(pfn_to_page(f.pfn + raw[0]));
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, memory_failure(page_to_pfn(page), MF_SW_SIMULATED), 0);
	KUNIT_EXPECT_TRUE(test, PageHWPoison(page));
	KUNIT_EXPECT_FALSE(test, folio_mapped(page_folio(page)));
	KUNIT_EXPECT_EQ(test, page_count(page), 1);
	KUNIT_EXPECT_FALSE(test, hugepoison_is_refilled(pfn_to_page(f.pfn + raw[0])));
	KUNIT_EXPECT_EQ(test, hugepoison_test_read(at, &byte), -EFAULT);
	hugepoison_test_expect(test, f.address, 'x');
	/* drops our reference to it */
	KUNIT_EXPECT_EQ(test, unpoison_memory(page_to_pfn(page)), 0);

	hugepoison_test_refill(test, at, f.address);
	hugepoison_test_expect(test, at, 'x');
	enable_delayed_work(&hugepoison_reheal_dwork);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

static void hugepoison_test_end_handling(struct work_struct *work)
{
	hugepoison_end_handling();
}

/*
 * While the handler has an error in hand no page is said to be lost: it may be the one that
 * others can still write to.
 */
static void hugepoison_test_refill_waits(struct kunit *test)
{
	static DECLARE_DELAYED_WORK(end, hugepoison_test_end_handling);
	static const unsigned int raw[] = { 5 };
	struct hugepoison_test_file f;
	unsigned long until;

	hugepoison_test_open(test, &f);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED),
			0);
	hugepoison_begin_handling();
	until = jiffies + HZ / 5;
	schedule_delayed_work(&end, HZ / 5 + 1);
	KUNIT_EXPECT_EQ(test, hugepoison_refill(current->mm, f.address +
						raw[0] * PAGE_SIZE, NULL), -EFAULT);
	KUNIT_EXPECT_FALSE(test, time_before(jiffies, until));
	flush_delayed_work(&end);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

static struct kunit_case hugepoison_stand_in_cases[] = {
	KUNIT_CASE(hugepoison_test_stand_in),
	KUNIT_CASE(hugepoison_test_lookups),
	KUNIT_CASE(hugepoison_test_heal_stand_in),
	KUNIT_CASE(hugepoison_test_reheal),
	KUNIT_CASE(hugepoison_test_stand_in_fails),
	KUNIT_CASE(hugepoison_test_refill_waits),
	{}
};

static struct kunit_suite hugepoison_stand_in_suite = {
	.name = "hugepoison-stand-in",
	.test_cases = hugepoison_stand_in_cases,
};

kunit_test_suite(hugepoison_stand_in_suite);
