// MADV_PAGEOUT and others split a large folio that they find partly mapped. A
// hugepage must not be split.
// file: mm/huge_memory.c
// hunks: 1
@@
identifier folio;
@@
  folio_check_splittable(struct folio *folio, ...)
  {
  ...
+ if (hugepoison_is_immovable(folio))
+ 	return -EBUSY;
  if (!folio->mapping && !folio_test_anon(folio))
  	return -EBUSY;
  ...
  }
