// The counterpart of folio_add_rmap.cocci.
// file: mm/rmap.c
// hunks: 1
@@
identifier folio, page, nr_pages, vma, level;
@@
  __folio_remove_rmap(struct folio *folio, struct page *page, int nr_pages,
  		      struct vm_area_struct *vma, enum rmap_level level)
  {
  ...
+ if (hugepage_small_rmap(folio)) {
+ 	hugepage_remove_rmap(folio, level == RMAP_LEVEL_PTE ? nr_pages : 1);
+ 	return;
+ }
  __folio_rmap_sanity_checks(folio, page, nr_pages, level);
  ...
  }
