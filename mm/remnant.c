// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: what is left of a private hugepage.
 *
 * Included by hugepoison/hugetlb.c. A private hugepage has no file to stay in.
 * The error handler takes it apart, and its healthy pages wait here, as base
 * pages without an owner, for those who mapped it: the remnant. Each of them has
 * a hwpoison entry that is marked as a holder; at its next touch it maps the
 * pages as ordinary anonymous memory (hugepoison/private.c) and is a holder no
 * more. Fork makes a holder of the child, unmapping ends one. What is left when
 * the last is gone is freed.
 *
 * So nothing is at stake while a mapper gets ready: what it lacks (page tables,
 * commit or memory cgroup limits) leaves the pages here and it can try again.
 *
 * The mark is the swap entry's exclusive bit, which means nothing in a hwpoison
 * entry. It stands for a count here, so that the remnant an entry speaks of is
 * there for as long as the entry.
 */
#include <linux/hashtable.h>
#include <linux/sched/mm.h>

/**
 * struct hugepoison_remnant - the healthy pages of one private hugepage
 * @node: in hugepoison_remnants, by @pfn
 * @dead: in hugepoison_dead once nobody holds it
 * @pfn: page frame of the hugepage's head
 * @order: of the hugepage
 * @holders: entries that are marked for it, and mappers at work on it
 * @apart: it is base pages by now, each healthy one with a reference of ours;
 *	   else it is still a hugepage and the error handler's
 * @mappers: who mapped it when the error came, for the worker; each mm is
 *	     held by mm_count alone, so that exiting is not held up
 * @lock: one mapper at a time makes the pages its own
 * @charged: the first of them was charged for them; under @lock
 * @bad: the raw pages, a bit for each page
 */
struct hugepoison_remnant {
	struct hlist_node node;
	struct llist_node dead;
	unsigned long pfn;
	unsigned int order;
	unsigned long holders;
	bool apart;
	struct hugepoison_mappers mappers;
	struct mutex lock;	/* see above */
	bool charged;
	unsigned long bad[];
};

static DEFINE_HASHTABLE(hugepoison_remnants, 6);
/* Inside page table locks; a hugepage may be freed, and ask, in an interrupt. */
static DEFINE_SPINLOCK(hugepoison_remnants_lock);

static LLIST_HEAD(hugepoison_dead);
static void hugepoison_bury_work(struct work_struct *work);
static DECLARE_WORK(hugepoison_bury, hugepoison_bury_work);

static struct hugepoison_remnant *hugepoison_remnant_find(unsigned long pfn)
{
	struct hugepoison_remnant *remnant;

	lockdep_assert_held(&hugepoison_remnants_lock);
	hash_for_each_possible(hugepoison_remnants, remnant, node, pfn)
		if (remnant->pfn == pfn)
			return remnant;
	return NULL;
}

/**
 * hugepoison_remnant_begin - the mappers of a private hugepage are to keep its
 *			      healthy pages
 * @folio: the hugepage, about to be unmapped
 *
 * Context: Process context, may sleep; mf_mutex held, so that it is the only
 * one for @folio.
 * Return: false when there is no memory for it.
 */
bool hugepoison_remnant_begin(struct folio *folio)
{
	unsigned long nr = folio_nr_pages(folio);
	struct hugepoison_remnant *remnant;
	bool there;

	spin_lock_irq(&hugepoison_remnants_lock);
	there = hugepoison_remnant_find(folio_pfn(folio));
	spin_unlock_irq(&hugepoison_remnants_lock);
	if (there)
		return true;

	remnant = kvzalloc(struct_size(remnant, bad, BITS_TO_LONGS(nr)),
			   GFP_KERNEL);
	if (!remnant)
		return false;
	remnant->pfn = folio_pfn(folio);
	remnant->order = folio_order(folio);
	mutex_init(&remnant->lock);
	spin_lock_irq(&hugepoison_remnants_lock);
	hash_add(hugepoison_remnants, &remnant->node, remnant->pfn);
	spin_unlock_irq(&hugepoison_remnants_lock);
	return true;
}

/**
 * hugepoison_remnant_hold - an entry is about to stand for a private hugepage
 * @folio: the hugepage, anonymous, being unmapped
 * @mm: whose entry
 * @address: of the entry
 *
 * Context: Page table lock held.
 * Return: true when the entry has to be marked.
 */
bool hugepoison_remnant_hold(struct folio *folio, struct mm_struct *mm,
			     unsigned long address)
{
	struct hugepoison_remnant *remnant;

	VM_WARN_ON_FOLIO(!folio_test_anon(folio), folio);
	spin_lock_irq(&hugepoison_remnants_lock);
	remnant = hugepoison_remnant_find(folio_pfn(folio));
	if (remnant) {
		struct hugepoison_mappers *mappers = &remnant->mappers;

		remnant->holders++;
		if (mappers->nr < ARRAY_SIZE(mappers->at)) {
			mmgrab(mm);
			mappers->at[mappers->nr].mm = mm;
			mappers->at[mappers->nr++].address = address;
		}
	}
	spin_unlock_irq(&hugepoison_remnants_lock);
	return remnant;
}

static bool hugepoison_is_marked(pte_t entry)
{
	return is_hugetlb_entry_hwpoisoned(entry) && pte_swp_exclusive(entry);
}

/* The one an entry is marked for; NULL where it is not marked. */
static struct hugepoison_remnant *hugepoison_remnant_of(pte_t entry)
{
	struct hugepoison_remnant *remnant;

	lockdep_assert_held(&hugepoison_remnants_lock);
	if (!hugepoison_is_marked(entry))
		return NULL;
	remnant = hugepoison_remnant_find(swp_offset_pfn(pte_to_swp_entry(entry)));
	WARN_ON_ONCE(!remnant || !remnant->holders);
	return remnant;
}

/* The last one is gone: its pages are freed where that may take its time. */
static void hugepoison_remnant_die(struct hugepoison_remnant *remnant)
{
	lockdep_assert_held(&hugepoison_remnants_lock);
	hash_del(&remnant->node);
	if (llist_add(&remnant->dead, &hugepoison_dead))
		queue_work(hugepoison_wq, &hugepoison_bury);
}

static void hugepoison_remnant_put_locked(struct hugepoison_remnant *remnant)
{
	if (!--remnant->holders && remnant->apart)
		hugepoison_remnant_die(remnant);
}

static void hugepoison_remnant_put(struct hugepoison_remnant *remnant)
{
	spin_lock_irq(&hugepoison_remnants_lock);
	hugepoison_remnant_put_locked(remnant);
	spin_unlock_irq(&hugepoison_remnants_lock);
}

/**
 * hugepoison_entry_copied - fork copies an entry
 * @entry: the entry, of any kind
 *
 * Context: Page table lock held.
 * Return: true for a hwpoison entry; the copy holds what the original does.
 */
bool hugepoison_entry_copied(pte_t entry)
{
	struct hugepoison_remnant *remnant;

	if (likely(!is_hugetlb_entry_hwpoisoned(entry)))
		return false;
	spin_lock_irq(&hugepoison_remnants_lock);
	remnant = hugepoison_remnant_of(entry);
	if (remnant)
		remnant->holders++;
	spin_unlock_irq(&hugepoison_remnants_lock);
	return true;
}

/**
 * hugepoison_clear_entry - an entry that maps nothing is taken away
 * @mm: whose
 * @address: what it is for
 * @ptep: the entry, of any kind that is not present
 * @size: of its hugepage, in bytes
 * @ref_page: the one hugepage to be unmapped, NULL for all there are
 *
 * Stock's huge_pte_clear(). Not inline: whoever unmaps what is present is not to
 * pay for it. An entry that userfaultfd has a mark in is none of ours.
 *
 * With @ref_page the owner of a private mapping copies on write, the pool is
 * empty, and the children are to lose @ref_page. A hwpoison entry stays: it is no
 * mapping of @ref_page, and the owner counts mappings. Without the entry the
 * child would read zeros in its place, from the raw page as well.
 *
 * Context: Page table lock held.
 */
void hugepoison_clear_entry(struct mm_struct *mm, unsigned long address,
			    pte_t *ptep, unsigned long size,
			    const struct page *ref_page)
{
	pte_t entry = huge_ptep_get(mm, address, ptep);
	struct hugepoison_remnant *remnant;

	if (ref_page && is_hugetlb_entry_hwpoisoned(entry))
		return;
	huge_pte_clear(mm, address, ptep, size);
	if (likely(!hugepoison_is_marked(entry)))
		return;
	spin_lock_irq(&hugepoison_remnants_lock);
	remnant = hugepoison_remnant_of(entry);
	if (remnant)
		hugepoison_remnant_put_locked(remnant);
	spin_unlock_irq(&hugepoison_remnants_lock);
}

/* Pages that belonged to the hugepage become pages of their own. */
static void hugepoison_remnant_fill(struct hugepoison_remnant *remnant)
{
	unsigned long i, nr = 1UL << remnant->order;

	for (i = 0; i < nr; i++) {
		struct page *page = pfn_to_page(remnant->pfn + i);

		if (PageHWPoison(page)) {
			__set_bit(i, remnant->bad);
			continue;
		}
		/* an error in it is reported as one in any base page from now on */
		set_mask_bits(&page->flags, PAGE_FLAGS_CHECK_AT_PREP, 0);
		set_page_refcounted(page);
	}
}

/**
 * hugepoison_remnant_keep - a hugepage was taken apart: who keeps its pages?
 * @pfn: page frame of what was its head
 *
 * Context: Any but NMI. The raw pages are marked; the others have no reference.
 * Return: true when the healthy pages have holders, false when they are the
 * caller's to free.
 */
bool hugepoison_remnant_keep(unsigned long pfn)
{
	struct hugepoison_remnant *remnant;
	unsigned long flags;
	bool keep;

	spin_lock_irqsave(&hugepoison_remnants_lock, flags);
	remnant = hugepoison_remnant_find(pfn);
	keep = remnant && remnant->holders;
	if (keep)
		remnant->holders++;
	else if (remnant)
		hugepoison_remnant_die(remnant);
	spin_unlock_irqrestore(&hugepoison_remnants_lock, flags);
	if (!keep)
		return false;

	hugepoison_remnant_fill(remnant);
	spin_lock_irqsave(&hugepoison_remnants_lock, flags);
	remnant->apart = true;
	hugepoison_remnant_put_locked(remnant);
	spin_unlock_irqrestore(&hugepoison_remnants_lock, flags);
	return true;
}

/**
 * hugepoison_remnant_end - a hugepage stays one after all
 * @pfn: page frame of its head
 *
 * Context: Process context; mf_mutex held, and nobody has an entry for it.
 */
void hugepoison_remnant_end(unsigned long pfn)
{
	struct hugepoison_remnant *remnant;

	spin_lock_irq(&hugepoison_remnants_lock);
	remnant = hugepoison_remnant_find(pfn);
	if (remnant && !WARN_ON_ONCE(remnant->holders))
		hugepoison_remnant_die(remnant);
	spin_unlock_irq(&hugepoison_remnants_lock);
}

/**
 * hugepoison_remnant_is_held - whether somebody has an entry for a hugepage
 * @pfn: page frame of its head
 *
 * Context: Any but interrupts.
 * Return: true for yes.
 */
bool hugepoison_remnant_is_held(unsigned long pfn)
{
	struct hugepoison_remnant *remnant;
	bool held;

	spin_lock_irq(&hugepoison_remnants_lock);
	remnant = hugepoison_remnant_find(pfn);
	held = remnant && remnant->holders;
	spin_unlock_irq(&hugepoison_remnants_lock);
	return held;
}

/* What a private mapping keeps of a hugepage that it has a hwpoison entry for. */
static enum hugepoison_fate hugepoison_remnant_fate(pte_t entry)
{
	/* before the remnant: it may be there when the handling is done */
	bool handling = hugepoison_has_errors();
	struct hugepoison_remnant *remnant;
	enum hugepoison_fate fate;

	spin_lock_irq(&hugepoison_remnants_lock);
	remnant = hugepoison_remnant_of(entry);
	if (!remnant)
		fate = HUGEPOISON_WIDE;
	else if (READ_ONCE(remnant->apart))
		fate = HUGEPOISON_NARROW;
	else
		fate = handling ? HUGEPOISON_UNDECIDED : HUGEPOISON_WIDE;
	spin_unlock_irq(&hugepoison_remnants_lock);
	return fate;
}

/* Become a holder besides the entry; NULL when there is nothing to be had. */
static struct hugepoison_remnant *hugepoison_remnant_get(pte_t entry)
{
	struct hugepoison_remnant *remnant;

	spin_lock_irq(&hugepoison_remnants_lock);
	remnant = hugepoison_remnant_of(entry);
	if (remnant && !remnant->apart)
		remnant = NULL;
	if (remnant)
		remnant->holders++;
	spin_unlock_irq(&hugepoison_remnants_lock);
	return remnant;
}

/*
 * Whether the caller, who holds it twice (by an entry, and to work on it), is
 * the only one. Then nobody else can become a holder either.
 */
static bool hugepoison_remnant_is_ours(struct hugepoison_remnant *remnant)
{
	bool ours;

	spin_lock_irq(&hugepoison_remnants_lock);
	ours = remnant->holders == 2;
	spin_unlock_irq(&hugepoison_remnants_lock);
	return ours;
}

/* The pages nobody has taken are freed; those that were lose our reference. */
static void hugepoison_remnant_free(struct hugepoison_remnant *remnant)
{
	unsigned long i, nr = 1UL << remnant->order;
	struct hugepoison_mappers *mappers = &remnant->mappers;

	while (mappers->nr)
		mmdrop(mappers->at[--mappers->nr].mm);
	if (remnant->apart) {
		for_each_clear_bit(i, remnant->bad, nr) {
			put_page(pfn_to_page(remnant->pfn + i));
			if (!(i % SZ_4K))
				cond_resched();
		}
	}
	kvfree(remnant);
}

static void hugepoison_bury_work(struct work_struct *work)
{
	struct llist_node *dead = llist_del_all(&hugepoison_dead);
	struct hugepoison_remnant *remnant, *next;

	llist_for_each_entry_safe(remnant, next, dead, dead)
		hugepoison_remnant_free(remnant);
}

/**
 * hugepoison_find_holders - who mapped a private hugepage and has not touched
 *			     it since
 * @mappers: to fill
 *
 * Each is found once. Whoever cannot be narrowed for then does it by itself.
 *
 * Context: Process context, may sleep. The caller passes @mappers to
 * hugepoison_narrow_mappers().
 * Return: false when there is nobody more to be found.
 */
bool hugepoison_find_holders(struct hugepoison_mappers *mappers)
{
	struct hugepoison_mappers found = { };
	struct hugepoison_remnant *remnant;
	bool any;
	int bucket;

	spin_lock_irq(&hugepoison_remnants_lock);
	hash_for_each(hugepoison_remnants, bucket, remnant, node) {
		if (remnant->apart && remnant->mappers.nr) {
			swap(found, remnant->mappers);
			break;
		}
	}
	spin_unlock_irq(&hugepoison_remnants_lock);

	any = found.nr;
	while (found.nr) {
		struct hugepoison_mapper *mapper = &found.at[--found.nr];

		if (mmget_not_zero(mapper->mm))
			mappers->at[mappers->nr++] = *mapper;
		mmdrop(mapper->mm);
	}
	return any;
}
