// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: stock's ways to the hugepages of a file.
 *
 * Reading a file, zeroing a part of it and giving its hugepages to a device pass by raw pages,
 * and wait for heals.
 */
#include <linux/folio_batch.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/pagemap.h>
#include <linux/uio.h>

#include "internal.h"

/**
 * hugepoison_lock_folio - look up and lock a hugepage to change part of it
 * @h: its hstate
 * @mapping: the file
 * @idx: of the hugepage in the file, in hugepages
 *
 * The error handler takes i_mmap_rwsem under the folio lock, so the folio lock must not
 * be taken under i_mmap_rwsem. Dropping i_mmap_rwsem is safe: the folio lock keeps the
 * hugepage in the file, and the caller has read nothing before.
 *
 * Context: Process context; i_mmap_rwsem held for writing, and dropped in between.
 * Return: the hugepage, locked and with a reference, or ERR_PTR(-ENOENT).
 */
struct folio *hugepoison_lock_folio(struct hstate *h,
				    struct address_space *mapping, pgoff_t idx)
{
	struct folio *folio;

	i_mmap_unlock_write(mapping);
	folio = filemap_lock_hugetlb_folio(h, mapping, idx);
	i_mmap_lock_write(mapping);
	return folio;
}

/* Copy a part of one page of a hugepage to user space, or of what stands in for it. */
static size_t hugepoison_copy_page_to_iter(struct folio *folio, size_t offset,
					   size_t len, struct iov_iter *to)
{
	struct page *page = folio_page(folio, offset >> PAGE_SHIFT);
	struct page *stand_in = hugepoison_get_stand_in(page);
	size_t copied = 0;

	if (stand_in) {
		copied = copy_page_to_iter(stand_in, offset_in_page(offset), len, to);
		put_page(stand_in);
	} else if (!hugepoison_page_is_raw(folio, offset >> PAGE_SHIFT)) {
		copied = copy_page_to_iter(page, offset_in_page(offset), len, to);
	}
	return copied;
}

/**
 * hugepoison_copy_to_iter - copy part of a file's hugepage to user space
 * @folio: the hugepage, with a reference
 * @offset: the first byte
 * @len: bytes
 * @to: where to
 *
 * Like copy_folio_to_iter(), but it reads what stands in for a raw page. The reference
 * keeps a heal from ending.
 *
 * Context: Process context, may sleep.
 * Return: bytes copied; less at a page that is lost.
 */
size_t hugepoison_copy_to_iter(struct folio *folio, size_t offset, size_t len,
			       struct iov_iter *to)
{
	size_t done = 0, step, copied;

	if (!folio_test_hwpoison(folio))
		return copy_folio_to_iter(folio, offset, len, to);
	while (done < len) {
		step = min(len - done, PAGE_SIZE - offset_in_page(offset + done));
		copied = hugepoison_copy_page_to_iter(folio, offset + done, step,
						      to);
		done += copied;
		if (copied < step)
			break;
	}
	return done;
}

/*
 * Whether a file has a hugepage that was looked up without its lock. A heal's fresh hugepage
 * is locked until it stays in the file, or is out of it.
 */
static bool hugepoison_is_settled(struct address_space *mapping,
				  struct folio *folio)
{
	if (!folio_test_hugetlb(folio))
		return true;
	folio_wait_locked(folio);
	/* pairs with the unlock: it comes after the fresh hugepage has left the file */
	smp_rmb();
	if (READ_ONCE(folio->mapping) != mapping)
		return false;
	/* the next try of a heal may have put it there again, to be filled */
	smp_rmb();
	return folio_test_uptodate(folio);
}

/* Whether a file has all of the folios that were looked up. */
static bool hugepoison_are_settled(struct address_space *mapping,
				   struct folio_batch *fbatch)
{
	unsigned int i;

	for (i = 0; i < folio_batch_count(fbatch); i++)
		if (!hugepoison_is_settled(mapping, fbatch->folios[i]))
			return false;
	return true;
}

/**
 * hugepoison_refuse_folios - refuse to give a device hugepages that are poisoned
 * @folios: folios that are about to be given, with a pin each
 * @nr: how many
 *
 * A device with a whole hugepage reads raw pages, or the pages in place of lost ones, where a
 * process gets SIGBUS; and the device does not see the contents that a refill has put there.
 *
 * Context: Any but interrupts.
 * Return: 0, or -EHWPOISON if one is poisoned: no folio is pinned any more then.
 */
long hugepoison_refuse_folios(struct folio **folios, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; i++) {
		if (!folio_test_hugetlb(folios[i]) || !folio_test_hwpoison(folios[i]))
			continue;
		unpin_folios(folios, nr);
		return -EHWPOISON;
	}
	return 0;
}

/**
 * hugepoison_get_folios_contig - look up folios of a file to keep them
 * @mapping: the file
 * @start: the first page to look for; gets the one after the last that was found
 * @end: the last page to look for
 * @fbatch: to fill, empty
 *
 * Like filemap_get_folios_contig(), but it waits for a heal in one of them: before the heal
 * ends its fresh hugepage is in the file, but has other contents, and may be taken out.
 *
 * A caller that pins a hugepage without a heal pays for a test of its lock.
 *
 * Context: Process context, waits for the folio locks of hugepages, and takes none.
 * Return: the number of folios found.
 */
unsigned int hugepoison_get_folios_contig(struct address_space *mapping,
					  pgoff_t *start, pgoff_t end,
					  struct folio_batch *fbatch)
{
	const pgoff_t first = *start;
	unsigned int nr;

	for (;;) {
		nr = filemap_get_folios_contig(mapping, start, end, fbatch);
		if (hugepoison_are_settled(mapping, fbatch))
			return nr;
		folio_batch_release(fbatch);
		*start = first;
	}
}

/**
 * hugepoison_zero_segment - zero part of a file's hugepage
 * @folio: the hugepage
 * @start: the first byte to zero
 * @end: the byte after the last
 *
 * Like folio_zero_segment(), but it skips raw pages: touching one would be a machine
 * check in the kernel. Where another page stands in for a raw page, that one is zeroed.
 *
 * Context: Process context; folio lock held.
 */
void hugepoison_zero_segment(struct folio *folio, size_t start, size_t end)
{
	struct page *page;
	size_t step;

	if (!folio_test_hwpoison(folio)) {
		folio_zero_segment(folio, start, end);
		return;
	}
	for (; start < end; start += step) {
		step = min(end - start, PAGE_SIZE - offset_in_page(start));
		page = hugepoison_good_page(folio, start >> PAGE_SHIFT);
		if (page)
			memzero_page(page, offset_in_page(start), step);
	}
}
