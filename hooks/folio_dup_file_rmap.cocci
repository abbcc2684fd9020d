// Fork of a shared hugepage mapped below its size: see folio_add_rmap.cocci.
// file: include/linux/rmap.h
// hunks: 1
@@
identifier folio, page, nr_pages, level;
@@
  __folio_dup_file_rmap(struct folio *folio, struct page *page, int nr_pages,
  			enum rmap_level level)
  {
  ...
+ if (hugepage_small_rmap(folio)) {
+ 	hugepage_add_file_rmap(folio, level == RMAP_LEVEL_PTE ? nr_pages : 1);
+ 	return;
+ }
  __folio_rmap_sanity_checks(folio, page, nr_pages, level);
  ...
  }
