// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: count the mappings of a hugepage that is mapped below
 * its size.
 */
#include <linux/rmap.h>
#include <linux/sched/signal.h>

#include "internal.h"

/*
 * On while hugepages may be mapped below their size. _large_mapcount is the only count:
 * it counts each such mapping, of a base page or a block. It says whether the hugepage is
 * mapped; page_vma_mapped_walk() finds where.
 */
DEFINE_STATIC_KEY_FALSE(hugepoison_small_rmap_key);

/*
 * Each VMA that is narrowed, or about to be, is a user of the key. Only narrowed VMAs map
 * hugepages below their size, so without users the key may be off:
 *
 *	hugepoison_get_small_rmap()	hugepoison_stop_small_rmap()
 *	  users++			  ready = false
 *	  smp_mb()			  smp_mb()
 *	  if (!ready) users--, fail	  if (users) ready = true, fail
 *					  key off
 *
 * At least one side sees the other's write. ready is set after the key is on everywhere,
 * and cleared before the key goes off.
 *
 * Patching code interrupts all CPUs. A process that narrows and unmaps in a loop must not
 * cause more than two patchings in HUGEPOISON_SMALL_IDLE.
 */
#define HUGEPOISON_SMALL_IDLE	(60 * HZ)

static atomic_long_t hugepoison_small_users = ATOMIC_LONG_INIT(0);
static bool hugepoison_small_ready;
static unsigned long hugepoison_small_used;	/* when last, in jiffies */
static DEFINE_MUTEX(hugepoison_small_mutex);	/* to switch the key */

/* Switch the key off. Return: false if there are users. */
static bool hugepoison_stop_small_rmap(void)
{
	lockdep_assert_held(&hugepoison_small_mutex);
	WRITE_ONCE(hugepoison_small_ready, false);
	/* pairs with hugepoison_get_small_rmap() */
	smp_mb();
	if (atomic_long_read(&hugepoison_small_users)) {
		WRITE_ONCE(hugepoison_small_ready, true);
		return false;
	}
	static_branch_disable(&hugepoison_small_rmap_key);
	pr_info("no mapping is narrowed any more\n");
	return true;
}

/* Switch the key off after HUGEPOISON_SMALL_IDLE without users: all unmapping pays. */
static void hugepoison_small_idle_work(struct work_struct *work)
{
	unsigned long until;

	mutex_lock(&hugepoison_small_mutex);
	until = READ_ONCE(hugepoison_small_used) + HUGEPOISON_SMALL_IDLE;
	if (atomic_long_read(&hugepoison_small_users))
		until = jiffies + HUGEPOISON_SMALL_IDLE;
	if (time_before(jiffies, until) || !hugepoison_stop_small_rmap())
		queue_delayed_work(hugepoison_wq, to_delayed_work(work),
				   max(1L, (long)(until - jiffies)));
	mutex_unlock(&hugepoison_small_mutex);
}

static DECLARE_DELAYED_WORK(hugepoison_small_idle_dwork,
			    hugepoison_small_idle_work);

/**
 * hugepoison_enable_small_rmap - allow mapping hugepages below their size
 *
 * Without users the key goes off after HUGEPOISON_SMALL_IDLE.
 *
 * Context: Process context, may sleep; takes cpu_hotplug_lock, so the caller must hold no
 * lock of memory management.
 */
void hugepoison_enable_small_rmap(void)
{
	mutex_lock(&hugepoison_small_mutex);
	WRITE_ONCE(hugepoison_small_used, jiffies);
	if (!hugepoison_small_ready) {
		static_branch_enable(&hugepoison_small_rmap_key);
		/* with ready set, all CPUs count */
		smp_store_release(&hugepoison_small_ready, true);
		queue_delayed_work(hugepoison_wq, &hugepoison_small_idle_dwork,
				   HUGEPOISON_SMALL_IDLE);
	}
	mutex_unlock(&hugepoison_small_mutex);
}

static void hugepoison_small_on_work(struct work_struct *work)
{
	hugepoison_enable_small_rmap();
}

static DECLARE_WORK(hugepoison_small_on, hugepoison_small_on_work);

/**
 * hugepoison_small_rmap_enabled - whether hugepages may be mapped below size now
 *
 * Context: Any. Only hugepoison_get_small_rmap() keeps it enabled.
 * Return: true for yes.
 */
bool hugepoison_small_rmap_enabled(void)
{
	return READ_ONCE(hugepoison_small_ready);
}

/**
 * hugepoison_await_small_rmap - wait until hugepages may be mapped below size
 *
 * A separate work switches the key on, so the wait is for the patching only.
 *
 * Context: Process context, sleeps, killable; no lock held.
 */
void hugepoison_await_small_rmap(void)
{
	while (!hugepoison_small_rmap_enabled() &&
	       !fatal_signal_pending(current)) {
		queue_work(hugepoison_wq, &hugepoison_small_on);
		schedule_timeout_killable(1);
	}
}

/**
 * hugepoison_put_small_rmap - drop a VMA as a user of the key
 *
 * Context: Any; the VMA has no entries in the reverse map left.
 */
void hugepoison_put_small_rmap(void)
{
	WRITE_ONCE(hugepoison_small_used, jiffies);
	/* the last entries are counted off before the key can go off */
	smp_mb__before_atomic();
	atomic_long_dec(&hugepoison_small_users);
}

/**
 * hugepoison_get_small_rmap - make a VMA a user of the key before it is narrowed
 *
 * Context: Any.
 * Return: true with the key on until hugepoison_put_small_rmap(); false if the caller has
 * to call hugepoison_await_small_rmap() first.
 */
bool hugepoison_get_small_rmap(void)
{
	atomic_long_inc(&hugepoison_small_users);
	/* pairs with hugepoison_stop_small_rmap() */
	smp_mb__after_atomic();
	/* pairs with hugepoison_enable_small_rmap() */
	if (smp_load_acquire(&hugepoison_small_ready))
		return true;
	hugepoison_put_small_rmap();
	return false;
}

/**
 * hugepoison_dup_small_rmap - make the duplicate of a narrowed VMA a user of the key
 *
 * Context: Any; the narrowed VMA is a user.
 */
void hugepoison_dup_small_rmap(void)
{
	atomic_long_inc(&hugepoison_small_users);
}

/**
 * hugepoison_may_add_rmap - whether the counts allow more mappings of a hugepage
 * @folio: the hugepage
 * @nr_pages: mappings to be added
 *
 * Each mapping adds one to the reference count and to the mapcount, both signed 32 bits:
 * 8192 mappings of all base pages of a 1 GiB page would overflow them. The limit is half
 * of the range: all CPUs together cannot add the other half between this check and the
 * counting. A user who may map the file reaches it with two million mappings, whose page
 * tables, 8 GiB, are charged to his cgroup.
 *
 * Context: Any; the folio lock, held, keeps the error handler out.
 * Return: false if the caller must not map.
 */
bool hugepoison_may_add_rmap(struct folio *folio, int nr_pages)
{
	const int limit = INT_MAX / 2 - nr_pages;

	return folio_ref_count(folio) < limit &&
	       atomic_read(&folio->_large_mapcount) < limit;
}

/**
 * hugepoison_add_file_rmap - count mappings of a shared hugepage below its size
 * @folio: the hugepage, in the page cache
 * @nr_pages: mappings added, each of one base page or of one PMD block
 *
 * Context: Page table lock held; the caller has a reference for each mapping.
 */
void hugepoison_add_file_rmap(struct folio *folio, int nr_pages)
{
	VM_WARN_ON_FOLIO(!folio_test_hugetlb(folio), folio);
	VM_WARN_ON_FOLIO(nr_pages <= 0, folio);

	atomic_add(nr_pages, &folio->_large_mapcount);
}

/**
 * hugepoison_mapcount - estimate how many mappings a page of a hugepage has
 * @folio: the hugepage, mapped below its size or not
 *
 * For statistics (smaps, numa_maps). There is no count for each base page, so this
 * computes how many mappings need that many entries, if each maps the block with the raw
 * page by base pages.
 *
 * Context: Any.
 * Return: the estimate; exact if all mappings are of the hugepage's size.
 */
int hugepoison_mapcount(struct folio *folio)
{
	int whole = folio_entire_mapcount(folio);
	int entries = folio_nr_pages(folio) / PTRS_PER_PTE - 1 + PTRS_PER_PTE;

	return whole + DIV_ROUND_UP(folio_mapcount(folio) - whole, entries);
}

/**
 * hugepage_add_anon_rmap - count mappings of a private hugepage below its size
 * @folio: the hugepage; hugetlb_add_new_anon_rmap() made it anonymous
 * @page: the first base page mapped
 * @nr_pages: base pages mapped, in a row
 * @vma: the mapping, private
 * @address: where in @vma the first base page is mapped
 *
 * The head page's PageAnonExclusive is for the whole hugepage: the tails may be
 * read-only (HVO).
 *
 * Context: Page table lock held; the caller has a reference for each mapping.
 */
void hugepage_add_anon_rmap(struct folio *folio, struct page *page,
			    int nr_pages, struct vm_area_struct *vma,
			    unsigned long address)
{
	VM_WARN_ON_FOLIO(!folio_test_hugetlb(folio), folio);
	VM_WARN_ON_FOLIO(!folio_test_anon(folio), folio);
	VM_WARN_ON_FOLIO(nr_pages <= 0, folio);
	VM_WARN_ON_FOLIO(folio_page_idx(folio, page) + nr_pages >
			 folio_nr_pages(folio), folio);
	VM_WARN_ON_FOLIO(folio->index + folio_page_idx(folio, page) !=
			 linear_anon_page_index(vma, address), folio);

	atomic_add(nr_pages, &folio->_large_mapcount);
}

/**
 * hugepoison_remove_rmap - uncount mappings of a hugepage below its size
 * @folio: the hugepage
 * @nr_pages: mappings taken away
 *
 * Context: Page table lock held. The caller drops the references after it.
 */
void hugepoison_remove_rmap(struct folio *folio, int nr_pages)
{
	VM_WARN_ON_FOLIO(!folio_test_hugetlb(folio), folio);
	VM_WARN_ON_FOLIO(atomic_read(&folio->_large_mapcount) + 1 < nr_pages,
			 folio);

	atomic_sub(nr_pages, &folio->_large_mapcount);
}
