// A hugepage mapped below its size is counted in one place: it has no count in
// each struct page. Only large folios come here: base pages pay nothing for it.
// Nor do the generic assertions hold for it, of which there are none otherwise.
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
