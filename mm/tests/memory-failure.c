// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: the marks, the records and the accounting of memory errors in hugepages.
 */
#include <kunit/test.h>

#include "internal.h"

/* A hugepage of the default size, from the pool or beside it, for this test. */
static struct folio *hugepoison_test_folio(struct kunit *test)
{
	struct folio *folio =
		alloc_hugetlb_folio_nodemask(&default_hstate, 0, NULL,
					     GFP_KERNEL, true);

	KUNIT_ASSERT_NOT_NULL(test, folio);
	return folio;
}

/* How many of @nr pages are marked, whatever they belong to by now. */
static unsigned long hugepoison_test_marked(unsigned long pfn, unsigned long nr)
{
	unsigned long marks = 0;

	while (nr--)
		marks += PageHWPoison(pfn_to_page(pfn + nr));
	return marks;
}

/* The number of struct pages that a hugepage has for itself: all, or under HVO a page. */
static unsigned long hugepoison_test_nr_own(struct folio *folio)
{
	return folio_test_hugetlb_vmemmap_optimized(folio) ?
	       PAGE_SIZE / sizeof(struct page) : folio_nr_pages(folio);
}

static unsigned long hugepoison_test_marks(struct folio *folio)
{
	return hugepoison_test_marked(folio_pfn(folio),
				      hugepoison_test_nr_own(folio));
}

/*
 * All subpages are marked at once and cleared at once. Under HVO the struct pages that
 * hugepages share are left alone: no page of another one is marked.
 */
static void hugepoison_test_mark(struct kunit *test)
{
	struct folio *folio = hugepoison_test_folio(test);
	struct folio *other = hugepoison_test_folio(test);
	unsigned long nr = folio_nr_pages(folio);

	kunit_info(test, "vmemmap %s\n",
		   folio_test_hugetlb_vmemmap_optimized(folio) ?
		   "optimized" : "complete");
	KUNIT_EXPECT_EQ(test, hugepoison_test_marks(folio), 0UL);

	mutex_lock(&mf_mutex);
	folio_set_hwpoison(folio);
	hugepoison_mark(folio, true);
	KUNIT_EXPECT_EQ(test, hugepoison_test_marks(folio),
			hugepoison_test_nr_own(folio));
	KUNIT_EXPECT_EQ(test, hugepoison_test_marked(folio_pfn(other), nr), 0UL);
	KUNIT_EXPECT_TRUE(test, folio_test_hugetlb(folio));
	KUNIT_EXPECT_EQ(test, folio_nr_pages(folio), nr);

	/* under HVO the head page's own flag shows in its copies: clear first */
	folio_clear_hwpoison(folio);
	hugepoison_mark(folio, false);
	mutex_unlock(&mf_mutex);
	KUNIT_EXPECT_EQ(test, hugepoison_test_marked(folio_pfn(folio), nr), 0UL);
	folio_put(other);
	folio_put(folio);
}

/*
 * A page fault that fills a hugepage has a reference and will set PG_locked without
 * asking who has it: an error does not lock the hugepage before it is in use.
 */
static void hugepoison_test_fresh(struct kunit *test)
{
	struct folio *folio = hugepoison_test_folio(test);

	mutex_lock(&mf_mutex);
	KUNIT_EXPECT_PTR_EQ(test, hugepoison_try_get(&folio->page), NULL);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	folio->mapping = (void *)FOLIO_MAPPING_ANON;
	KUNIT_EXPECT_PTR_EQ(test, hugepoison_try_get(&folio->page), folio);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	folio->mapping = NULL;
	mutex_unlock(&mf_mutex);
	folio_ref_dec(folio);
	folio_put(folio);
}

/*
 * A hugepage that is dissolved as soon as it is marked, before the handler comes
 * to it: its raw page is out of use, counted once, and the log knows of what
 * size the hugepage was.
 */
static void hugepoison_test_left(struct kunit *test)
{
	unsigned int order = huge_page_order(&default_hstate);
	struct folio *folio = hugepoison_pool_spare(order, 0, NULL);
	long before = atomic_long_read(&num_poisoned_pages);
	struct hugepoison_error err = { .flags = MF_SW_SIMULATED };
	struct hugepoison_record *record;

	/* from beside the pool: it goes when it is freed */
	KUNIT_ASSERT_NOT_NULL(test, folio);
	KUNIT_ASSERT_TRUE(test, folio_test_hugetlb_temporary(folio));
	err.page = folio_page(folio, 7);
	err.pfn = page_to_pfn(err.page);
	mutex_lock(&mf_mutex);
	hugepoison_begin_error(&err);
	spin_lock_irq(&hugetlb_lock);
	hugetlb_update_hwpoison(folio, err.page);
	spin_unlock_irq(&hugetlb_lock);
	folio_put(folio);

	KUNIT_EXPECT_EQ(test, hugepoison_contain_free(&err), 0);
	hugepoison_end_error(&err);
	KUNIT_EXPECT_EQ(test, err.order, order);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages),
			before + 1);
	record = hugepoison_lookup(err.pfn);
	KUNIT_EXPECT_NOT_NULL(test, record);
	KUNIT_EXPECT_TRUE(test, record && record->nr_bad == 1 &&
			  hugepoison_is(record, HUGEPOISON_STATE_RELEASED));
	mutex_unlock(&mf_mutex);
	KUNIT_EXPECT_EQ(test, page_count(err.page), 1);
	KUNIT_EXPECT_EQ(test, unpoison_memory(err.pfn), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages), before);
}

/* The errors of a hugepage are forgotten one by one, or all together. */
static void hugepoison_test_forget(struct kunit *test)
{
	static const unsigned int at[] = { 0, 5, 511 };
	struct folio *folio = hugepoison_test_folio(test);
	int i;

	spin_lock_irq(&hugetlb_lock);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		hugetlb_update_hwpoison(folio, folio_page(folio, at[i]));
	KUNIT_EXPECT_TRUE(test, hugepoison_is_raw(folio, folio_page(folio, 5)));
	KUNIT_EXPECT_FALSE(test, hugepoison_is_raw(folio, folio_page(folio, 6)));

	KUNIT_EXPECT_EQ(test, hugepoison_forget(folio, folio_page(folio, 5)),
			2UL);
	KUNIT_EXPECT_FALSE(test, hugepoison_is_raw(folio, folio_page(folio, 5)));
	KUNIT_EXPECT_TRUE(test, hugepoison_is_raw(folio, folio_page(folio, 0)));
	KUNIT_EXPECT_TRUE(test,
			  hugepoison_is_raw(folio, folio_page(folio, 511)));

	KUNIT_EXPECT_EQ(test, hugepoison_forget(folio, NULL), 0UL);
	KUNIT_EXPECT_FALSE(test, hugepoison_is_raw(folio, folio_page(folio, 0)));
	folio_clear_hwpoison(folio);
	spin_unlock_irq(&hugetlb_lock);
	folio_put(folio);
}

/* A record is found by any page of its hugepage, and there is one of each. */
static void hugepoison_test_records(struct kunit *test)
{
	struct folio *folio = hugepoison_test_folio(test);
	unsigned long pfn = folio_pfn(folio);
	struct hugepoison_record *record;

	mutex_lock(&mf_mutex);
	KUNIT_EXPECT_NULL(test, hugepoison_find(pfn));
	record = hugepoison_add(pfn, folio_order(folio));
	KUNIT_EXPECT_NOT_NULL(test, record);
	KUNIT_EXPECT_NULL(test, hugepoison_add(pfn, folio_order(folio)));
	KUNIT_EXPECT_PTR_EQ(test, hugepoison_find(pfn), record);
	KUNIT_EXPECT_PTR_EQ(test, hugepoison_find(pfn + 511), record);
	if (record)
		hugepoison_erase(record);
	KUNIT_EXPECT_NULL(test, hugepoison_find(pfn));
	mutex_unlock(&mf_mutex);
	folio_put(folio);
}

/* Accounting and its reversal cancel out, across the bounds of memory blocks. */
static void hugepoison_test_account(struct kunit *test)
{
	static const long nr[] = { 1, 512, 262144 };
	long before = atomic_long_read(&num_poisoned_pages);
	struct hugepoison_record record = { };
	int i;

	mutex_lock(&mf_mutex);
	for (i = 0; i < ARRAY_SIZE(nr); i++) {
		hugepoison_account(&record, 12345, nr[i]);
		KUNIT_EXPECT_EQ(test, record.nr_bad, nr[i]);
		KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages),
				before + nr[i]);
		hugepoison_account(&record, 12345, -nr[i]);
		KUNIT_EXPECT_EQ(test, record.nr_bad, 0L);
		KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages),
				before);
	}
	mutex_unlock(&mf_mutex);
}

/* As if the list of raw pages had never been lost: leave nothing behind. */
static void hugepoison_test_remember(struct folio *folio, struct page *page)
{
	spin_lock_irq(&hugetlb_lock);
	folio_clear_hugetlb_raw_hwp_unreliable(folio);
	hugetlb_update_hwpoison(folio, page);
	spin_unlock_irq(&hugetlb_lock);
}

/* The way through the handler and back: contained whole, then all as before. */
static void hugepoison_test_contain(struct kunit *test)
{
	long before = atomic_long_read(&num_poisoned_pages);
	struct folio *folio = hugepoison_test_folio(test);
	unsigned long nr = folio_nr_pages(folio);
	struct hugepoison_record *record;
	int ret = 0;

	folio_set_hugetlb_migratable(folio);
	/* our reference is one more user: the handler says so, and contains it */
	KUNIT_EXPECT_EQ(test, memory_failure(folio_pfn(folio) + 7,
					     MF_SW_SIMULATED), -EBUSY);
	KUNIT_EXPECT_EQ(test, hugepoison_test_marks(folio),
			hugepoison_test_nr_own(folio));
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages),
			before + (long)nr);

	/* a second error costs nothing more */
	KUNIT_EXPECT_EQ(test, memory_failure(folio_pfn(folio) + 8,
					     MF_SW_SIMULATED), -EHWPOISON);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages),
			before + (long)nr);

	KUNIT_EXPECT_TRUE(test, hugepoison_unpoison(folio_pfn(folio) + 8, &ret));
	KUNIT_EXPECT_EQ(test, ret, -EBUSY);
	/* the worker is not to release it before this test is done with it */
	disable_delayed_work_sync(&hugepoison_release_dwork);
	folio_put(folio);
	KUNIT_EXPECT_TRUE(test, hugepoison_unpoison(folio_pfn(folio) + 8, &ret));
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_EQ(test, hugepoison_test_marks(folio),
			hugepoison_test_nr_own(folio));
	KUNIT_EXPECT_TRUE(test, hugepoison_unpoison(folio_pfn(folio) + 7, &ret));
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages), before);
	KUNIT_EXPECT_EQ(test, hugepoison_test_marked(folio_pfn(folio), nr), 0UL);

	mutex_lock(&mf_mutex);
	record = hugepoison_find(folio_pfn(folio));
	mutex_unlock(&mf_mutex);
	KUNIT_EXPECT_NULL(test, record);
	enable_delayed_work(&hugepoison_release_dwork);
}

/* Which pages are bad got lost: the hugepage is never given back in pieces. */
static void hugepoison_test_unreliable(struct kunit *test)
{
	long before = atomic_long_read(&num_poisoned_pages);
	struct folio *folio = hugepoison_test_folio(test);
	unsigned long nr = folio_nr_pages(folio);
	struct hugepoison_error err = {
		.flags = MF_SW_SIMULATED,
		.pfn = folio_pfn(folio) + 3,
		.page = folio_page(folio, 3),
	};
	int ret = 0;

	folio_set_hwpoison(folio);
	folio_set_hugetlb_raw_hwp_unreliable(folio);
	mutex_lock(&mf_mutex);
	hugepoison_begin_error(&err);
	/* this test's only reference becomes the handler's */
	KUNIT_EXPECT_EQ(test, hugepoison_contain(&err), 0);
	hugepoison_end_error(&err);
	mutex_unlock(&mf_mutex);
	KUNIT_EXPECT_TRUE(test, folio_test_hugetlb(folio));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	KUNIT_EXPECT_EQ(test, hugepoison_test_marks(folio),
			hugepoison_test_nr_own(folio));
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages),
			before + (long)nr);
	KUNIT_EXPECT_TRUE(test, hugepoison_unpoison(err.pfn, &ret));
	KUNIT_EXPECT_EQ(test, ret, -EBUSY);

	disable_delayed_work_sync(&hugepoison_release_dwork);
	hugepoison_test_remember(folio, err.page);
	KUNIT_EXPECT_TRUE(test, hugepoison_unpoison(err.pfn, &ret));
	KUNIT_EXPECT_EQ(test, ret, 0);
	enable_delayed_work(&hugepoison_release_dwork);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages), before);
}

/*
 * A process runs into an error that is known. Its page tables are walked with
 * mf_mutex dropped; on a kernel with lockdep the test fails if they are not.
 */
static void hugepoison_test_accessed(struct kunit *test)
{
	struct folio *folio = hugepoison_test_folio(test);
	unsigned long pfn = folio_pfn(folio) + 7;
	int ret = 0;

	/* a process has an address space, which this thread needs for that */
	KUNIT_ASSERT_NE(test, 0UL,
			kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_READ,
				      MAP_ANONYMOUS | MAP_PRIVATE, 0));
	folio_set_hugetlb_migratable(folio);
	disable_delayed_work_sync(&hugepoison_release_dwork);
	KUNIT_EXPECT_EQ(test, memory_failure(pfn, MF_SW_SIMULATED), -EBUSY);

	/* it maps nothing of the kind: there is nobody to kill */
	KUNIT_EXPECT_EQ(test, memory_failure(pfn, MF_SW_SIMULATED |
						  MF_ACTION_REQUIRED), 0);
	mutex_lock(&mf_mutex);
	KUNIT_EXPECT_EQ(test, 0,
			hugepoison_kill_accessing(current, pfn,
						  MF_ACTION_REQUIRED));
	lockdep_assert_held(&mf_mutex);
	mutex_unlock(&mf_mutex);

	folio_put(folio);
	KUNIT_EXPECT_TRUE(test, hugepoison_unpoison(pfn, &ret));
	KUNIT_EXPECT_EQ(test, ret, 0);
	enable_delayed_work(&hugepoison_release_dwork);
}

/* Read a counter or gauge of a sysfs directory. */
static long hugepoison_test_gauge(struct folio *folio, bool base_pages)
{
	struct hugepoison_dir dir = {
		.h = folio_hstate(folio),
		.nid = folio_nid(folio),
	};

	return hugepoison_sum(&dir, base_pages);
}

/* The gauges can be read while an error is handled, and agree with the records. */
static void hugepoison_test_gauges(struct kunit *test)
{
	struct folio *folio = hugepoison_test_folio(test);
	long hugepages = hugepoison_test_gauge(folio, false);
	long pages = hugepoison_test_gauge(folio, true);
	struct hugepoison_record *record;

	folio_set_hwpoison(folio);
	mutex_lock(&mf_mutex);
	record = hugepoison_add(folio_pfn(folio), folio_order(folio));
	KUNIT_EXPECT_NOT_NULL(test, record);
	if (record) {
		hugepoison_account(record, record->pfn, 3);
		KUNIT_EXPECT_EQ(test, hugepoison_test_gauge(folio, false),
				hugepages + 1);
		KUNIT_EXPECT_EQ(test, hugepoison_test_gauge(folio, true),
				pages + 3);
		hugepoison_account(record, record->pfn, -3);
		hugepoison_erase(record);
	}
	mutex_unlock(&mf_mutex);
	folio_clear_hwpoison(folio);
	KUNIT_EXPECT_EQ(test, hugepoison_test_gauge(folio, false), hugepages);
	KUNIT_EXPECT_EQ(test, hugepoison_test_gauge(folio, true), pages);
	folio_put(folio);
}

/*
 * A hugepage with many errors comes apart: its raw pages stay out of use, each
 * with a record, the head page's among them, and nothing else does.
 */
static void hugepoison_test_take_apart(struct kunit *test)
{
	static const unsigned int at[] = { 0, 1, 63, 64, 255, 511 };
	long before = atomic_long_read(&num_poisoned_pages);
	struct folio *folio = hugepoison_test_folio(test);
	unsigned long pfn = folio_pfn(folio);
	struct hugepoison_record *record;
	int i;

	/* as one that was in use */
	folio_mark_uptodate(folio);
	folio_mark_dirty(folio);
	folio_set_referenced(folio);
	spin_lock_irq(&hugetlb_lock);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		hugetlb_update_hwpoison(folio, folio_page(folio, at[i]));
	spin_unlock_irq(&hugetlb_lock);

	mutex_lock(&mf_mutex);
	record = hugepoison_add(pfn, folio_order(folio));
	KUNIT_EXPECT_NOT_NULL(test, record);
	/* all of it is marked and counted */
	for (i = 0; i < ARRAY_SIZE(at); i++)
		hugepoison_account(record, pfn + at[i], 1);
	hugepoison_become(record, HUGEPOISON_STATE_CONTAINED);
	KUNIT_EXPECT_EQ(test, record->nr_bad, (long)folio_nr_pages(folio));
	KUNIT_EXPECT_NE(test, hugepoison_dissolve(record, folio),
			HUGEPOISON_ISOLATED);
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		record = hugepoison_find(pfn + at[i]);
		KUNIT_ASSERT_NOT_NULL(test, record);
		KUNIT_EXPECT_TRUE(test, hugepoison_is(record,
						      HUGEPOISON_STATE_RELEASED));
		KUNIT_EXPECT_EQ(test, record->nr_bad, 1L);
		KUNIT_EXPECT_EQ(test, page_count(pfn_to_page(pfn + at[i])), 1);
		KUNIT_EXPECT_EQ(test, *hugepoison_flags(pfn_to_page(pfn + at[i])) &
				PAGE_FLAGS_CHECK_AT_PREP, 0UL);
	}
	KUNIT_EXPECT_NULL(test, hugepoison_find(pfn + 2));
	mutex_unlock(&mf_mutex);
	KUNIT_EXPECT_EQ(test, hugepoison_test_marked(pfn, 512),
			(unsigned long)ARRAY_SIZE(at));
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages),
			before + (long)ARRAY_SIZE(at));

	for (i = 0; i < ARRAY_SIZE(at); i++)
		KUNIT_EXPECT_EQ(test, unpoison_memory(pfn + at[i]), 0);
	KUNIT_EXPECT_EQ(test, hugepoison_test_marked(pfn, 512), 0UL);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages), before);
}

/*
 * Every step from one state to another, the legal ones marked: new, failed, narrowed,
 * contained, pinned, isolated, leaving, released.
 */
static void hugepoison_test_steps(struct kunit *test)
{
	static const char * const legal[NR_HUGEPOISON_STATES] = {
		[HUGEPOISON_STATE_NEW] =	".+++++++",
		[HUGEPOISON_STATE_FAILED] =	".+++++++",
		[HUGEPOISON_STATE_NARROWED] =	".++...+.",
		[HUGEPOISON_STATE_CONTAINED] =	"......+.",
		[HUGEPOISON_STATE_PINNED] =	"......+.",
		[HUGEPOISON_STATE_ISOLATED] =	"......+.",
		[HUGEPOISON_STATE_LEAVING] =	".......+",
		[HUGEPOISON_STATE_RELEASED] =	"........",
	};
	int from, to;

	for (from = 0; from < NR_HUGEPOISON_STATES; from++)
		for (to = 0; to < NR_HUGEPOISON_STATES; to++)
			KUNIT_EXPECT_EQ_MSG(test, hugepoison_is_step(from, to),
					    legal[from][to] == '+',
					    "from %d to %d", from, to);
}

/* A state is open, or all of the hugepage is out of use, or it is neither; not both. */
static void hugepoison_test_states(struct kunit *test)
{
	struct hugepoison_record record = { };
	int state, open = 0, whole = 0, used = 0;

	for (state = 0; state < NR_HUGEPOISON_STATES; state++) {
		record.state = state;
		KUNIT_EXPECT_FALSE(test, hugepoison_is_open(&record) &&
				   hugepoison_is_whole(state));
		open += hugepoison_is_open(&record);
		whole += hugepoison_is_whole(state);
		used += hugepoison_awaits_release(&record);
	}
	KUNIT_EXPECT_EQ(test, open, 3);
	KUNIT_EXPECT_EQ(test, whole, 3);
	KUNIT_EXPECT_EQ(test, used, 5);
}

/* Every outcome has a file name of its own, and something to say if it is logged. */
static void hugepoison_test_actions(struct kunit *test)
{
	int i, j;

	for (i = 0; i < NR_HUGEPOISON_OUTCOMES; i++) {
		KUNIT_ASSERT_NOT_NULL(test, hugepoison_actions[i].name);
		KUNIT_EXPECT_EQ(test, !hugepoison_actions[i].what,
				i == HUGEPOISON_REFILLED);
		for (j = 0; j < i; j++)
			KUNIT_EXPECT_STRNEQ(test, hugepoison_actions[i].name,
					    hugepoison_actions[j].name);
	}
}

static struct kunit_case hugepoison_failure_cases[] = {
	KUNIT_CASE(hugepoison_test_mark),
	KUNIT_CASE(hugepoison_test_fresh),
	KUNIT_CASE(hugepoison_test_left),
	KUNIT_CASE(hugepoison_test_forget),
	KUNIT_CASE(hugepoison_test_records),
	KUNIT_CASE(hugepoison_test_account),
	KUNIT_CASE(hugepoison_test_contain),
	KUNIT_CASE(hugepoison_test_unreliable),
	KUNIT_CASE(hugepoison_test_accessed),
	KUNIT_CASE(hugepoison_test_gauges),
	KUNIT_CASE(hugepoison_test_take_apart),
	KUNIT_CASE(hugepoison_test_steps),
	KUNIT_CASE(hugepoison_test_states),
	KUNIT_CASE(hugepoison_test_actions),
	{}
};

static struct kunit_suite hugepoison_failure_suite = {
	.name = "hugepoison-memory-failure",
	.test_cases = hugepoison_failure_cases,
};

kunit_test_suite(hugepoison_failure_suite);
