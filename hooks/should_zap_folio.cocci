// Unmapping a file leaves a private mapping its copies, which are anonymous. A
// private hugepage mapped below its size is anonymous too, but no copy.
// file: mm/memory.c
// hunks: 1
@@
identifier folio;
@@
  should_zap_folio(..., struct folio *folio)
  {
  ...
- return !folio_test_anon(folio);
+ return !hugepoison_is_cow(folio);
  }
