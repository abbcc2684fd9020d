// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: good pages that stand in for raw pages.
 *
 * When a process refills a raw page of a file's hugepage, the new contents are in a base
 * page of their own, the stand-in: each mapping maps it in the raw page's place, read() of
 * the file reads it. The hugepage stays as it is, with the raw page out of use, until a
 * heal copies both to a fresh hugepage.
 *
 * A stand-in is added and removed with the hugepage locked, as the lock says which pages
 * faults may map. A remover unmaps the stand-in before it drops the lock. Others look the
 * stand-in up under RCU, and take a reference.
 *
 * The page is neither in the page cache nor on an LRU list: nothing reclaims or migrates
 * it. It is charged to the memory cgroup of the process that refills.
 */
#include <linux/gfp.h>
#include <linux/llist.h>
#include <linux/slab.h>

#include "internal.h"

/* All stand-ins. Writers hold the spinlock, and the lock of the hugepage. */
static DEFINE_HASHTABLE(hugepoison_stand_ins, 8);
static DEFINE_SPINLOCK(hugepoison_stand_ins_lock);

/* The stand-in of exactly this page frame; RCU or the spinlock keeps it. */
static struct hugepoison_stand_in *hugepoison_find_stand_in(unsigned long raw)
{
	struct hugepoison_stand_in *stand_in;

	hash_for_each_possible_rcu(hugepoison_stand_ins, stand_in, node, raw,
				   lockdep_is_held(&hugepoison_stand_ins_lock))
		if (stand_in->raw == raw)
			return stand_in;
	return NULL;
}

/**
 * hugepoison_stand_in_of - the page that stands in for a raw page
 * @raw: any page of a hugepage
 *
 * Context: Any; the lock of the hugepage, held, keeps the stand-in. Without it the caller
 * may only ask whether there is one, and may be out of date.
 * Return: NULL if there is none.
 */
struct page *hugepoison_stand_in_of(struct page *raw)
{
	struct hugepoison_stand_in *stand_in;
	struct page *page;

	rcu_read_lock();
	stand_in = hugepoison_find_stand_in(page_to_pfn(raw));
	page = stand_in ? stand_in->page : NULL;
	rcu_read_unlock();
	return page;
}

/**
 * hugepoison_is_refilled - whether a page stands in for a raw page
 * @raw: any page of a hugepage
 *
 * Context: As hugepoison_stand_in_of().
 * Return: true for yes.
 */
bool hugepoison_is_refilled(struct page *raw)
{
	return hugepoison_stand_in_of(raw);
}

/**
 * hugepoison_get_stand_in - the page that stands in for a raw page, with a reference
 * @raw: any page of a hugepage, which need not be locked
 *
 * After a reference is taken the table is read again: before, the page may have been freed
 * and reused.
 *
 * Context: Any.
 * Return: NULL if there is none.
 */
struct page *hugepoison_get_stand_in(struct page *raw)
{
	struct page *page;

	rcu_read_lock();
	page = hugepoison_stand_in_of(raw);
	if (page && !get_page_unless_zero(page))
		page = NULL;
	rcu_read_unlock();
	if (page && hugepoison_stand_in_of(raw) != page) {
		put_page(page);
		page = NULL;
	}
	return page;
}

/**
 * hugepoison_new_stand_in - allocate a page to stand in for a raw page
 *
 * A limit of the cgroup is an error, never an OOM kill: the process asks for one page, and
 * it can live without.
 *
 * Context: Process context, may sleep; charges the caller's cgroup.
 * Return: NULL if there is no memory.
 */
struct hugepoison_stand_in *hugepoison_new_stand_in(void)
{
	const gfp_t gfp = __GFP_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
	struct hugepoison_stand_in *stand_in;

	stand_in = kmalloc_obj(*stand_in, GFP_KERNEL | gfp);
	if (!stand_in)
		return NULL;
	stand_in->page = alloc_page(GFP_HIGHUSER | gfp);
	if (stand_in->page)
		return stand_in;
	kfree(stand_in);
	return NULL;
}

/**
 * hugepoison_free_stand_in - free a stand-in that was not added
 * @stand_in: the stand-in
 *
 * Context: Process context.
 */
void hugepoison_free_stand_in(struct hugepoison_stand_in *stand_in)
{
	put_page(stand_in->page);
	kfree(stand_in);
}

/**
 * hugepoison_add_stand_in - have a page stand in for a raw page from now on
 * @stand_in: with the page, filled; the table takes it over
 * @raw: the raw page, which has none
 *
 * Context: Any but interrupts; the hugepage is locked.
 */
void hugepoison_add_stand_in(struct hugepoison_stand_in *stand_in,
			     struct page *raw)
{
	VM_WARN_ON_ONCE_PAGE(hugepoison_is_refilled(raw), raw);
	stand_in->raw = page_to_pfn(raw);
	set_page_private(stand_in->page, stand_in->raw);
	SetPageUptodate(stand_in->page);
	spin_lock(&hugepoison_stand_ins_lock);
	hash_add_rcu(hugepoison_stand_ins, &stand_in->node, stand_in->raw);
	spin_unlock(&hugepoison_stand_ins_lock);
}

/**
 * hugepoison_remove_stand_in - end that a page stands in for a raw page
 * @raw: the raw page, of a locked hugepage
 *
 * A mapping of the stand-in keeps the page: unmap it before the hugepage is unlocked.
 *
 * Context: Any but interrupts.
 */
void hugepoison_remove_stand_in(struct page *raw)
{
	struct hugepoison_stand_in *stand_in;

	spin_lock(&hugepoison_stand_ins_lock);
	stand_in = hugepoison_find_stand_in(page_to_pfn(raw));
	if (stand_in)
		hash_del_rcu(&stand_in->node);
	spin_unlock(&hugepoison_stand_ins_lock);
	if (!stand_in)
		return;
	/*
	 * vmsplice() may give the page to a pipe, and FUSE steals it from there once nobody
	 * else has a reference: then page_private() has to be a file system's, or none.
	 */
	set_page_private(stand_in->page, 0);
	put_page(stand_in->page);
	kfree_rcu(stand_in, rcu);
}

/*
 * The raw page that any page stands in for, or NULL. Other pages have anything in
 * page_private(): the table decides.
 */
static struct page *hugepoison_raw_behind(struct page *page)
{
	const unsigned long raw = READ_ONCE(page->private);
	struct hugepoison_stand_in *stand_in;
	bool found;

	rcu_read_lock();
	stand_in = hugepoison_find_stand_in(raw);
	found = stand_in && stand_in->page == page;
	rcu_read_unlock();
	return found ? pfn_to_page(raw) : NULL;
}

/**
 * hugepoison_file_page - the page of a file that a mapped page shows
 * @page: any page, with a reference
 *
 * For who asks a page for its file and index, which a stand-in has not. Other pages without
 * a file are rare there, so only they are looked up.
 *
 * Context: Any.
 * Return: @page, or the raw page that it stands in for, to which the reference has moved.
 */
struct page *hugepoison_file_page(struct page *page)
{
	struct folio *folio;
	struct page *raw;

	if (likely(READ_ONCE(page_folio(page)->mapping)))
		return page;
	raw = hugepoison_raw_behind(page);
	folio = raw ? page_folio(raw) : NULL;
	if (!folio || !folio_try_get(folio))
		return page;
	/* before the reference was taken the hugepage may have been freed and reused */
	if (page_folio(raw) != folio || hugepoison_stand_in_of(raw) != page) {
		folio_put(folio);
		return page;
	}
	put_page(page);
	return raw;
}

/**
 * hugepoison_has_left_file - whether a heal may have taken a page from its file
 * @folio: the page's folio, with a reference; it has no mapping
 *
 * A heal puts a fresh hugepage in the poisoned one's place while others have references to
 * it. Another look finds the fresh one, or that the file has none.
 *
 * Context: Any.
 * Return: true for yes.
 */
bool hugepoison_has_left_file(struct folio *folio)
{
	return folio_test_hugetlb(folio) && folio_test_hwpoison(folio);
}

/**
 * hugepoison_next_refilled - a raw page of a hugepage that a page stands in for
 * @folio: the hugepage, locked
 *
 * Context: Any but interrupts; takes hugetlb_lock.
 * Return: NULL if there is none.
 */
struct page *hugepoison_next_refilled(struct folio *folio)
{
	struct page *refilled = NULL;
	struct raw_hwp_page *raw;

	spin_lock_irq(&hugetlb_lock);
	if (folio_test_hwpoison(folio))
		llist_for_each_entry(raw, raw_hwp_list_head(folio)->first, node)
			if (hugepoison_is_refilled(raw->page))
				refilled = raw->page;
	spin_unlock_irq(&hugetlb_lock);
	return refilled;
}

/* The number of raw pages of a hugepage that pages stand in for. */
static unsigned long hugepoison_nr_refilled(struct folio *folio)
{
	struct raw_hwp_page *raw;
	unsigned long nr = 0;

	lockdep_assert_held(&mf_mutex);
	llist_for_each_entry(raw, raw_hwp_list_head(folio)->first, node)
		nr += hugepoison_is_refilled(raw->page);
	return nr;
}

/**
 * hugepoison_good_page - the page that has the contents of a page of a hugepage
 * @folio: the hugepage, locked
 * @at: the subpage
 *
 * Context: Any but interrupts; takes hugetlb_lock.
 * Return: the subpage, or what stands in for it, or NULL if the contents are lost.
 */
struct page *hugepoison_good_page(struct folio *folio, unsigned long at)
{
	struct page *page = folio_page(folio, at);

	if (hugepoison_page_is_raw(folio, at))
		return hugepoison_stand_in_of(page);
	return page;
}
