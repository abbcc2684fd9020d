// Fork of a private hugepage mapped below its size: whether it is exclusive is
// kept for the whole hugepage.
// file: include/linux/rmap.h
// hunks: 1
@@
identifier folio, page, nr_pages, src_vma, level;
@@
  __folio_try_dup_anon_rmap(struct folio *folio, struct page *page, int nr_pages,
  			    struct vm_area_struct *src_vma, enum rmap_level level)
  {
  ...
+ if (hugepage_small_rmap(folio))
+ 	return hugepage_try_dup_anon_rmap(folio, level == RMAP_LEVEL_PTE ?
+ 						   nr_pages : 1, src_vma);
  __folio_rmap_sanity_checks(folio, page, nr_pages, level);
  ...
  }
