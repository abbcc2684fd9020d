// A PMD maps a healthy block of a 1 GiB page, not only the head of a folio. For a
// private hugepage no page table was deposited with the PMD: a split unmaps it.
// file: mm/huge_memory.c
// hunks: 1
@@
identifier folio;
@@
  has_deposited_pgtable(..., struct folio *folio)
  {
  ...
- return folio && folio_test_anon(folio);
+ return folio && folio_test_anon(folio) && !hugepoison_small_rmap(folio);
  }
