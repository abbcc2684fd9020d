// Stock frees all pages of a poisoned hugepage, then takes one raw page back out of
// the buddy allocator. Here no raw page gets there.
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
