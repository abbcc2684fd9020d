/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory errors in hugepages: what the hooks in stock files call, and nothing else.
 *
 * Each hook is one call to something declared here. With CONFIG_HUGEPOISON=n
 * every one of them is a constant or the stock expression itself, so that the
 * hooked objects are the stock objects.
 */
#ifndef _LINUX_HUGEPOISON_H
#define _LINUX_HUGEPOISON_H

#include <linux/hash.h>
#include <linux/jump_label.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mm_types.h>
#include <linux/page-flags.h>
#include <linux/pgtable.h>
#include <linux/uio.h>

struct anon_vma;
struct dentry;
struct folio_batch;
struct hstate;
struct hugepage_subpool;
struct inode;
struct list_head;
struct task_struct;
struct vm_fault;

#ifdef CONFIG_HUGEPOISON

/* mm/hugepoison/reserve.c: a memory reserve for errors */
void *hugepoison_alloc_raw(void);
#define hugepoison_alloc_raw_entry(...)	hugepoison_alloc_raw()

/* Where there is no memory for one more raw page, those in the list stay there. */
static inline void hugepoison_empty_raws(struct folio *folio)
{
}

/* mm/hugepoison/raw.c: which pages of a hugepage are bad */
bool hugepoison_page_is_bad(struct page *page);

/* The list of raw pages changes under hugetlb_lock: a reader needs no other lock. */
#define hugepoison_raw_lock()	spin_lock_irq(&hugetlb_lock)
#define hugepoison_raw_unlock()	spin_unlock_irq(&hugetlb_lock)

/* mm/hugepoison/stand-in.c: good pages that stand in for raw pages */
bool hugepoison_is_refilled(struct page *raw);
struct page *hugepoison_file_page(struct page *page);
bool hugepoison_has_left_file(struct folio *folio);

/* mm/hugepoison/queue.c: the workers' works, and when they run */
void hugepoison_deleted(struct folio *folio);

/* mm/hugepoison/pool.c: hugepages that errors took from a pool */
void hugepoison_pool_resized(struct hstate *h, int nid);

/* mm/hugepoison/release.c: dissolve a poisoned hugepage */
bool hugepoison_free_poisoned(struct folio *folio);
void hugepoison_put_subpool(struct hugepage_subpool *spool);

/* mm/hugepoison/handler.c: the error handler's hugepage half */
int hugepoison_memory_failure(unsigned long pfn, int flags);
/* stock's call is for =n: sizeof() only keeps the compiler from calling it unused */
#define hugepoison_try_memory_failure(pfn, flags, stock)		\
	((void)sizeof(stock), hugepoison_memory_failure(pfn, flags))
#define hugepoison_handled(ret, stock)	((void)(stock), (ret) != -ENOENT)
short hugepoison_kill_shift(const struct page *page, struct vm_area_struct *vma,
			    short shift);
bool hugepoison_is_on_kill_list(struct task_struct *task,
				const struct page *page,
				struct list_head *to_kill);
int hugepoison_kill_accessing(struct task_struct *task, unsigned long pfn,
			      int flags);

/* mm/hugepoison/unpoison.c, offline.c, inject.c: other entries of stock's file */
bool hugepoison_unpoison(unsigned long pfn, int *ret);
int hugepoison_page_handle_poison(struct page *page);
int hugepoison_filter(struct page *page);

/* mm/hugepoison/heal-worker.c: good memory in place of the bad */
long hugepoison_heal_hole(struct inode *inode, loff_t offset, loff_t len);

/* mm/hugepoison/file.c: stock's ways to the hugepages of a file */
void hugepoison_zero_segment(struct folio *folio, size_t start, size_t end);
struct folio *hugepoison_lock_folio(struct hstate *h,
				    struct address_space *mapping, pgoff_t idx);
size_t hugepoison_copy_to_iter(struct folio *folio, size_t offset, size_t len,
			       struct iov_iter *to);
long hugepoison_refuse_folios(struct folio **folios, unsigned long nr);
unsigned int hugepoison_get_folios_contig(struct address_space *mapping,
					  pgoff_t *start, pgoff_t end,
					  struct folio_batch *fbatch);

/* mm/hugepoison/mapping.c: what a narrowed VMA is */
bool hugepoison_vma_is_narrowed(struct vm_area_struct *vma);
bool hugepoison_vma_is_hugetlb(struct vm_area_struct *vma);
unsigned long hugepoison_vm_op_pagesize(struct vm_area_struct *vma);
int hugepoison_entry_nr(struct page *page);

/* mm/hugepoison/fate.c: the fate of a hugepage in a mapping */
short hugepoison_accessed_shift(struct mm_struct *mm, unsigned long address,
				short shift);
bool hugepoison_discard_end(struct vm_area_struct *vma, unsigned long *end,
			    unsigned long size);

/* mm/hugepoison/zap.c: clear entries of narrowed VMAs */
bool hugepoison_zap_narrowed(struct vm_area_struct *vma, pgoff_t start,
			     pgoff_t end);
bool hugepoison_zap_hugepage(struct vm_area_struct *vma, pgoff_t start,
			     pgoff_t end);

/* mm/hugepoison/narrow.c: narrow a hugetlb VMA, and promote it again */
void hugepoison_vm_op_open(struct vm_area_struct *vma);
void hugepoison_vm_op_close(struct vm_area_struct *vma);
bool hugepoison_narrow_ends(struct mm_struct *mm, unsigned long start,
			    size_t len, bool *raced);

/* mm/hugepoison/fault.c: page faults */
vm_fault_t hugepoison_hit_fault(struct mm_struct *mm, struct vm_area_struct *vma,
				unsigned long address, unsigned int flags);
vm_fault_t hugepoison_poisoned_fault(struct vm_area_struct *vma,
				     unsigned long address, unsigned int flags,
				     vm_fault_t ret);
vm_fault_t hugepoison_vm_op_fault(struct vm_fault *vmf);
bool hugepoison_fault_in(struct mm_struct *mm, unsigned long address,
			 unsigned int flags);

/* mm/hugepoison/refill.c: a process fills a lost page again */
void hugepoison_delete(struct folio *folio);

#define hugepoison_vm_op(op)	hugepoison_vm_op_##op

/* mm/hugepoison/private.c: the pages of a narrowed private mapping */
void hugepoison_discard(struct vm_area_struct *vma, unsigned long start,
			unsigned long end);
bool hugepoison_writes_in_place(struct vm_area_struct *vma,
				unsigned long address);
int hugepoison_fork_narrowed(struct vm_area_struct *child,
			     struct vm_area_struct *parent);
bool hugepoison_copy_entry(pte_t *entry);
#define hugepoison_copied(entry, ...)	hugepoison_copy_entry(&(entry))
void hugepoison_clear_entry(struct mm_struct *mm, unsigned long address,
			    unsigned long size, bool only_one, pte_t *ptep);

/* mm/hugepoison/unmap.c: unmap a poisoned hugepage */
#define hugepoison_gets_hwpoison_entry(folio, page)			\
	(PageHWPoison(page) && !folio_test_hugetlb(folio))
void hugepoison_lock_file_mappers(struct address_space *mapping);
void hugepoison_unlock_file_mappers(struct address_space *mapping);
struct anon_vma *hugepoison_lock_anon_mappers(const struct folio *folio);
void hugepoison_unlock_anon_mappers(struct anon_vma *anon_vma);
bool hugepoison_unmap_poisoned(struct folio *folio);
bool hugepoison_cannot_move(struct folio *folio);

/* mm/hugepoison/small-rmap.c: count the mappings of a hugepage below its size */
int hugepoison_mapcount(struct folio *folio);
void hugepoison_remove_rmap(struct folio *folio, int nr_pages);

/* mm/hugepoison/hwpoison-inject.c: the debugfs files */
void hugepoison_inject_init(struct dentry *dir);

/* On while a hugepage is mapped below its size, and for a minute after; else a nop. */
DECLARE_STATIC_KEY_FALSE(hugepoison_small_rmap_key);

/**
 * hugepoison_small_rmap - whether a mapping of a folio counts as one of a
 *			 hugepage mapped below its size
 * @folio: the folio that is being mapped, unmapped or duplicated
 *
 * The generic reverse map counts mappings in each struct page. A hugepage has no room for
 * that: in the head page the word holds the page type, and the tails may be read-only
 * (HVO). Callers never pass a mapping of the hugepage's size: that is counted by
 * hugetlb_add_file_rmap() and similar functions.
 *
 * Context: Any.
 * Return: true if hugepoison_add_file_rmap() or a similar function has to count it.
 */
static inline bool hugepoison_small_rmap(const struct folio *folio)
{
	return static_branch_unlikely(&hugepoison_small_rmap_key) &&
	       folio_test_large(folio) && folio_test_hugetlb(folio);
}

/**
 * hugepoison_small_rmap_large - hugepoison_small_rmap() for a large folio
 * @folio: the folio that is being unmapped
 *
 * While the key is on each large folio pays for this test, so it is as short as possible.
 *
 * Context: Any.
 * Return: as hugepoison_small_rmap().
 */
static inline bool hugepoison_small_rmap_large(const struct folio *folio)
{
	return static_branch_unlikely(&hugepoison_small_rmap_key) &&
	       folio_test_hugetlb(folio);
}

vm_fault_t hugetlb_fault(struct mm_struct *mm, struct vm_area_struct *vma,
			 unsigned long address, unsigned int flags);

/* A bit for each file that has had a hwpoison entry, by a hash; see unmap.c */
#define HUGEPOISON_HIT_FILES_BITS	12
extern unsigned long hugepoison_hit_files[];

/*
 * Whether a hugetlb VMA may have a hwpoison entry. A fault that comes while the entry is set
 * may miss it, and waits as on stock. Any context.
 */
static inline bool hugepoison_was_hit(const struct vm_area_struct *vma)
{
	return test_bit(hash_ptr(vma->vm_file->f_mapping,
				 HUGEPOISON_HIT_FILES_BITS),
			hugepoison_hit_files);
}

/**
 * hugepoison_hugetlb_fault - page fault in a hugetlb VMA
 * @mm: the address space
 * @vma: the hugetlb VMA
 * @address: where, in bytes
 * @flags: FAULT_FLAG_*
 *
 * Like hugetlb_fault(), but it narrows after poison, and waits if an error took the
 * hugepage. Inline: a fault without an error pays two instructions, and seven while
 * hugepages of other files may be mapped below their size.
 *
 * Context: As hugepoison_poisoned_fault().
 * Return: as hugetlb_fault(), or hugepoison_poisoned_fault().
 */
static inline vm_fault_t
hugepoison_hugetlb_fault(struct mm_struct *mm, struct vm_area_struct *vma,
			 unsigned long address, unsigned int flags)
{
	vm_fault_t ret;

	if (static_branch_unlikely(&hugepoison_small_rmap_key) &&
	    hugepoison_was_hit(vma))
		ret = hugepoison_hit_fault(mm, vma, address, flags);
	else
		ret = hugetlb_fault(mm, vma, address, flags);
	if (unlikely(ret & (VM_FAULT_HWPOISON_LARGE | VM_FAULT_SIGBUS)))
		ret = hugepoison_poisoned_fault(vma, address, flags, ret);
	return ret;
}

/**
 * hugepoison_fork - prepare a mapping that fork copies
 * @child: the child's VMA
 * @parent: the parent's VMA
 *
 * Context: mmap_lock of both held for writing.
 * Return: 0 when stock has to copy the entries, 1 when the child's faults set them,
 * -ENOMEM or -EINTR; as hugepoison_fork_narrowed().
 */
static inline int hugepoison_fork(struct vm_area_struct *child,
				  struct vm_area_struct *parent)
{
	if (static_branch_unlikely(&hugepoison_small_rmap_key) &&
	    hugepoison_vma_is_narrowed(parent))
		return hugepoison_fork_narrowed(child, parent);
	return 0;
}

/**
 * hugepoison_advise_again - whether failed advice about memory is worth another try
 * @mm: the address space
 * @start: the first byte
 * @len: bytes; the last page counts as a whole
 * @behavior: MADV_*
 * @error: the result of the advice
 * @raced: false before the first try; as hugepoison_narrow_ends()
 *
 * Successful advice pays one comparison.
 *
 * Context: Process context, may sleep; no lock held.
 * Return: true when a hugepage at an end of the range was narrowed.
 */
static inline bool hugepoison_advise_again(struct mm_struct *mm,
					   unsigned long start, size_t len,
					   int behavior, int error, bool *raced)
{
	return unlikely(error == -EINVAL) &&
	       (behavior == MADV_DONTNEED || behavior == MADV_DONTNEED_LOCKED ||
		behavior == MADV_FREE) &&
	       hugepoison_narrow_ends(mm, start, len, raced);
}

/**
 * hugepoison_advise_vector_again - as hugepoison_advise_again(), for many ranges
 * @mm: the address space
 * @iter: the ranges; it is at the first one, if that failed
 * @behavior: MADV_*
 * @error: the result of the advice
 * @raced: false before the first try; as hugepoison_narrow_ends()
 *
 * Context: Process context, may sleep; no lock held.
 * Return: true when a hugepage at an end of the range was narrowed.
 */
static inline bool hugepoison_advise_vector_again(struct mm_struct *mm,
						  struct iov_iter *iter,
						  int behavior, int error,
						  bool *raced)
{
	return unlikely(error == -EINVAL) &&
	       hugepoison_advise_again(mm, (unsigned long)iter_iov_addr(iter),
				       iter_iov_len(iter), behavior, error,
				       raced);
}

/**
 * hugepoison_fixup_user_fault - fault in memory with mmap_lock held
 * @mm: the address space
 * @address: where, in bytes
 * @flags: FAULT_FLAG_*
 *
 * Context: Process context, may sleep; mmap_lock held for reading. Where there
 * is an error it is dropped and taken again.
 * Return: as fixup_user_fault().
 */
static inline int hugepoison_fixup_user_fault(struct mm_struct *mm,
					      unsigned long address,
					      unsigned int flags)
{
	int ret = fixup_user_fault(mm, address, flags, NULL);

	return unlikely(ret) && hugepoison_fault_in(mm, address, flags) ? 0 :
									  ret;
}

/**
 * hugepoison_get_remote - get a page of another process, as ptrace does
 * @mm: its address space
 * @address: where, in bytes
 * @gup_flags: FOLL_*
 * @vma: set to the VMA
 *
 * Context: Process context, may sleep; mmap_lock held for reading. Where there
 * is an error it is dropped and taken again.
 * Return: as get_user_page_vma_remote().
 */
static inline struct page *hugepoison_get_remote(struct mm_struct *mm,
						 unsigned long address,
						 int gup_flags,
						 struct vm_area_struct **vma)
{
	unsigned int flags = FAULT_FLAG_REMOTE;
	struct page *page;

	page = get_user_page_vma_remote(mm, address, gup_flags, vma);
	if (gup_flags & FOLL_WRITE)
		flags |= FAULT_FLAG_WRITE;
	if (IS_ERR(page) && hugepoison_fault_in(mm, address, flags))
		page = get_user_page_vma_remote(mm, address, gup_flags, vma);
	return page;
}

/**
 * hugepoison_prepare_discard - prepare a mapping that MADV_DONTNEED will zap
 * @vma: the mapping
 * @start: the first byte
 * @end: the byte after the last
 *
 * By pointers, as then a caller loads the addresses only if they are needed. Anonymous
 * mappings pay no call, also while hugepages of other processes may be mapped below their
 * size.
 *
 * Context: Process context, may sleep; mmap_lock held for reading.
 */
static inline void hugepoison_prepare_discard(struct vm_area_struct *vma,
					      const unsigned long *start,
					      const unsigned long *end)
{
	if (static_branch_unlikely(&hugepoison_small_rmap_key) && vma->vm_file &&
	    hugepoison_vma_is_narrowed(vma))
		hugepoison_discard(vma, *start, *end);
}

/**
 * hugepoison_shares_writes - whether a write fault needs no copy
 * @vma: the mapping
 * @address: where nothing is mapped
 *
 * Context: mmap_lock or the VMA's lock held for reading.
 * Return: true in a shared mapping, and in a private one that writes in place.
 */
static inline bool hugepoison_shares_writes(struct vm_area_struct *vma,
					    unsigned long address)
{
	return vma->vm_flags & VM_SHARED ||
	       (static_branch_unlikely(&hugepoison_small_rmap_key) &&
		hugepoison_vma_is_narrowed(vma) &&
		hugepoison_writes_in_place(vma, address));
}

/**
 * hugepoison_is_cow - whether a page is a private mapping's copy
 * @folio: of the page, mapped by a base page's entry
 *
 * A private hugepage is anonymous, but its entries may be cleared like a file's: the next
 * fault sets them again.
 *
 * Context: Page table lock held.
 * Return: true for a copy.
 */
static inline bool hugepoison_is_cow(const struct folio *folio)
{
	return folio_test_anon(folio) && !hugepoison_small_rmap(folio);
}

/* The counter of a block's mapping: a private hugepage is anonymous. */
#define hugepoison_block_counter(folio)	mm_counter(folio)

/**
 * hugepoison_is_block - whether a PMD may map a block that starts at a page
 * @page: what a PMD points to
 *
 * Context: Any.
 * Return: true for the head of a folio, and for the blocks of a 1 GiB page.
 */
static inline bool hugepoison_is_block(const struct page *page)
{
	return PageHead(page) || PageHuge(page);
}

/**
 * hugepoison_is_immovable - whether a folio can neither be moved nor split
 * @folio: any folio
 *
 * A poisoned hugepage can not. Code that expects only transparent hugepages mapped below
 * their size may find a narrowed one. A healthy hugepage is mapped below its size where
 * its errors were undone, or while promoting moves a range to it: a private one, and a
 * narrowed mapping exists. Else the counters would not be worth a look: while one process
 * unmaps a hugepage they differ for a moment, and a user would get that pinned for long
 * where pages have to be movable.
 *
 * Context: Any.
 * Return: true for a hugepage that is poisoned, or mapped below its size.
 */
static inline bool hugepoison_is_immovable(const struct folio *folio)
{
	return folio_test_hugetlb(folio) &&
	       (folio_test_hwpoison(folio) ||
		(hugepoison_small_rmap(folio) && folio_test_anon(folio) &&
		 folio_mapcount(folio) != folio_entire_mapcount(folio)));
}

/**
 * hugepoison_available - free hugepages that are not reserved
 * @free: free hugepages of the pool
 * @reserved: reserved hugepages of the pool
 *
 * An error may take a reserved free hugepage that cannot be replaced: then more are
 * reserved than free. Stock's subtraction would wrap to a huge number of available ones.
 *
 * Stock also lets @reserved wrap below zero: an owner's reservation ends while a device
 * still has the hugepage, or a truncation races with a fault. Then none is reserved. Any
 * user can bring that about, so it must not look like a huge number of reserved ones.
 *
 * Context: hugetlb_lock held if the result has to last.
 * Return: the difference, never below zero.
 */
static inline unsigned long hugepoison_available(unsigned long free,
						 unsigned long reserved)
{
	if ((long)reserved < 0)
		return free;
	return free > reserved ? free - reserved : 0;
}

#ifdef CONFIG_HUGETLB_PMD_PAGE_TABLE_SHARING
/**
 * hugepoison_table_is_shared - whether several processes share a page table of
 *				hugepage entries
 * @size: of the hugepages that its entries map, in bytes
 * @table: the page table
 *
 * Stock initializes and keeps the count of sharers for tables of PMDs only. In any other
 * table the word has a value that its page's last user left.
 *
 * Context: The caller keeps @table.
 * Return: true when another process uses the same @table.
 */
static inline bool hugepoison_table_is_shared(unsigned long size,
					      struct ptdesc *table)
{
	return size == PMD_SIZE && ptdesc_pmd_is_shared(table);
}
#endif

#else /* !CONFIG_HUGEPOISON */

#define hugepoison_try_memory_failure(pfn, flags, stock)		\
	((void)(pfn), (void)(flags), (stock))
#define hugepoison_handled(ret, stock)	((void)(ret), (stock))
#define hugepoison_gets_hwpoison_entry(folio, page)			\
	((void)(folio), PageHWPoison(page))
#define hugepoison_available(free, reserved)	((free) - (reserved))
/* not inline: taking the address of a variable is enough to change the code */
#define hugepoison_unpoison(...)		false
#define hugepoison_page_handle_poison(page)	__page_handle_poison(page)
#define hugepoison_page_is_bad(page)		is_page_hwpoison(page)
#define hugepoison_kill_accessing(task, pfn, flags)			\
	kill_accessing_process(task, pfn, flags)
#define hugepoison_pool_resized(...)		do { } while (0)
#define hugepoison_free_poisoned(...)		false
#define hugepoison_hugetlb_fault(mm, vma, address, flags)		\
	hugetlb_fault(mm, vma, address, flags)
#define hugepoison_vm_op(op)			hugetlb_vm_op_##op
#define hugepoison_vma_is_hugetlb(vma)		is_vm_hugetlb_page(vma)
#define hugepoison_zap_narrowed(...)		false
#define hugepoison_zap_hugepage(...)		false
#define hugepoison_cannot_move(...)		false
#define hugepoison_zero_segment(folio, start, end)			\
	folio_zero_segment(folio, start, end)
#define hugepoison_heal_hole(...)		0
#define hugepoison_is_refilled(...)		false
#define hugepoison_file_page(page)		(page)
#define hugepoison_has_left_file(...)		false
#define hugepoison_copy_to_iter(folio, offset, len, to)			\
	copy_folio_to_iter(folio, offset, len, to)
#define hugepoison_lock_folio(h, mapping, idx)				\
	filemap_lock_hugetlb_folio(h, mapping, idx)
#define hugepoison_alloc_raw_entry(stock)	(stock)
#define hugepoison_refuse_folios(...)		0
#define hugepoison_get_folios_contig(mapping, start, end, fbatch)	\
	filemap_get_folios_contig(mapping, start, end, fbatch)
#define hugepoison_empty_raws(folio)		__folio_free_raw_hwp(folio, false)
#define hugepoison_raw_lock()			mutex_lock(&mf_mutex)
#define hugepoison_raw_unlock()			mutex_unlock(&mf_mutex)
#define hugepoison_is_on_kill_list(...)			false
#define hugepoison_put_subpool(spool)		hugepage_put_subpool(spool)
#define hugepoison_lock_file_mappers(mapping)	i_mmap_lock_read(mapping)
#define hugepoison_unlock_file_mappers(mapping)	i_mmap_unlock_read(mapping)
#define hugepoison_lock_anon_mappers(folio)	folio_lock_anon_vma_read(folio, NULL)
#define hugepoison_unlock_anon_mappers(anon_vma)	anon_vma_unlock_read(anon_vma)
#define hugepoison_accessed_shift(mm, address, shift)			\
	((void)(mm), (void)(address), (shift))
#define hugepoison_fork(...)			0
#define hugepoison_prepare_discard(...)		do { } while (0)
#define hugepoison_shares_writes(vma, ...)	((vma)->vm_flags & VM_SHARED)
#define hugepoison_is_cow(folio)		folio_test_anon(folio)
#define hugepoison_block_counter(folio)		mm_counter_file(folio)
#define hugepoison_advise_again(mm, start, len, behavior, error, raced)	\
	((void)(mm), (void)(start), (void)(len), (void)(behavior),	\
	 (void)(error), (void)(raced), false)
#define hugepoison_advise_vector_again(mm, iter, behavior, error, raced) \
	((void)(mm), (void)(iter), (void)(behavior), (void)(error),	\
	 (void)(raced), false)
#define hugepoison_fixup_user_fault(mm, address, flags)			\
	fixup_user_fault(mm, address, flags, NULL)
#define hugepoison_get_remote(mm, address, gup_flags, vma)		\
	get_user_page_vma_remote(mm, address, gup_flags, vma)
#define hugepoison_copied(entry, stock)	((void)(entry), (stock))
#define hugepoison_clear_entry(mm, address, size, only_one, ptep)	\
	((void)(only_one), huge_pte_clear(mm, address, ptep, size))
#define hugepoison_vma_is_narrowed(...)		false
/* not inline: the compiler would then arrange its caller's code in another way */
#define hugepoison_is_immovable(...)			false
#define hugepoison_entry_nr(page)		compound_nr(page)
#define hugepoison_is_block(page)		PageHead(page)
#define hugepoison_table_is_shared(size, table)				\
	((void)(size), ptdesc_pmd_is_shared(table))

static inline int hugepoison_filter(struct page *page)
{
	return 0;
}

static inline short hugepoison_kill_shift(const struct page *page,
					  struct vm_area_struct *vma,
					  short shift)
{
	return shift;
}

static inline bool hugepoison_discard_end(struct vm_area_struct *vma,
					  unsigned long *end, unsigned long size)
{
	*end = ALIGN_DOWN(*end, size);
	return true;
}

static inline void hugepoison_delete(struct folio *folio)
{
}

static inline void hugepoison_deleted(struct folio *folio)
{
}

static inline int hugepoison_mapcount(struct folio *folio)
{
	return 0;
}

static inline bool hugepoison_unmap_poisoned(struct folio *folio)
{
	return false;
}

static inline bool hugepoison_small_rmap(const struct folio *folio)
{
	return false;
}

static inline bool hugepoison_small_rmap_large(const struct folio *folio)
{
	return false;
}

static inline void hugepoison_remove_rmap(struct folio *folio, int nr_pages)
{
}

static inline void hugepoison_inject_init(struct dentry *dir)
{
}

#endif /* CONFIG_HUGEPOISON */
#endif /* _LINUX_HUGEPOISON_H */
