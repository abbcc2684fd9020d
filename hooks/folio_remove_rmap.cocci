// The mappings of a hugepage mapped below its size are in one count, as it has none
// in each struct page. Only large folios come here, so base pages pay nothing. The
// generic assertions do not hold for it either, and exist with CONFIG_DEBUG_VM
// only.
// file: mm/rmap.c
// hunks: 2
@@
symbol folio, page, nr_pages, level;
@@
  __folio_remove_rmap(...)
  {
  <...
(
- __folio_rmap_sanity_checks(folio, page, nr_pages, level);
+ if (!IS_ENABLED(CONFIG_DEBUG_VM) || !hugepoison_small_rmap(folio))
+ 	__folio_rmap_sanity_checks(folio, page, nr_pages, level);
|
  if (!folio_test_large(folio)) { ... }
+ if (hugepoison_small_rmap_large(folio)) {
+ 	hugepoison_remove_rmap(folio, nr_pages);
+ 	break;
+ }
)
  ...>
  }
