// Stock frees a poisoned hugepage as a whole, its raw pages with it, and the
// error handler takes one of them back out of the buddy allocator afterwards.
// Ours never puts any there.
// file: mm/hugetlb.c
// hunks: 1
@@
identifier folio;
@@
  __update_and_free_hugetlb_folio(...)
  {
  ...
+ if (hugepoison_free_poisoned(folio))
+ 	return;
  if (unlikely(folio_test_hwpoison(folio)))
  	folio_clear_hugetlb_hwpoison(folio);
  ...
  }
