// A hugepage is unmapped by a walk that waits for its locks. Stock only tries for
// them, and under fault load leaves the raw page mapped.
// file: mm/memory-failure.c
// hunks: 1
@@
identifier folio;
@@
  int unmap_poisoned_folio(struct folio *folio, ...)
  {
  ...
+ if (hugepoison_unmap_poisoned(folio))
+ 	return folio_mapped(folio) ? -EBUSY : 0;
  if (folio_test_swapcache(folio)) { ... }
  ...
  }
