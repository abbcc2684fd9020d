// A hugepage mapped below its size is counted in one place: it has no count in
// each struct page. Before the sanity check, which knows of no such mapping.
// file: mm/rmap.c
// hunks: 1
@@
identifier folio, page, nr_pages, level;
@@
  __folio_add_rmap(struct folio *folio, struct page *page, int nr_pages,
  		   enum rmap_level level, ...)
  {
  ...
+ if (hugepage_small_rmap(folio)) {
+ 	hugepage_add_file_rmap(folio, level == RMAP_LEVEL_PTE ? nr_pages : 1);
+ 	return 0;
+ }
  __folio_rmap_sanity_checks(folio, page, nr_pages, level);
  ...
  }
